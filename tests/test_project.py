"""One place for every pin, and a tree that keeps its promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from autograder.labs.lab import Lab, lab_names

ROOT = Path(__file__).parents[1]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Name -> version: what constraints.txt freezes, the one place that decides."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonical(name): version for name, version in (line.split("==") for line in lines)}


def test_the_wheel_asks_for_ranges_whose_lower_bounds_are_tested():
    for line in PROJECT["dependencies"] + EXTRAS["lab"]:
        assert re.fullmatch(r"[\w.\-]+>=[\d.]+", line), line
    lines = list(map(Requirement, (ROOT / "tests" / "oldest.txt").read_text().splitlines()))
    bounds = {
        name: Version(version) for name, version in (b.split(">=") for b in PROJECT["dependencies"] + EXTRAS["lab"])
    }
    # "===": no "2.13.0+cpu" that lies on a machine, beside a torchvision of another build
    for python in ("3.11", "3.12", "3.13"):  # the newest may lack wheels of what is that old
        here = [r for r in lines if r.marker is None or r.marker.evaluate({"python_version": python})]
        oldest = {r.name: Version(str(r.specifier).lstrip("=")) for r in here}
        assert len(oldest) == len(here) and oldest.keys() == bounds.keys()
        assert {name for name in bounds if oldest[name] != bounds[name]} <= {r.name for r in lines if r.marker}
        assert python == "3.13" or oldest == bounds


def test_the_table_of_labs_for_instructors_is_what_the_labs_say():
    text = (ROOT / "docs" / "instructor.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d\d_\w+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    labs = [Lab(name) for name in lab_names(ROOT)]
    points = {lab.name: {q.id: q.points for q in lab.questions} for lab in labs}
    written = {lab.name: sum(q.points for q in lab.questions if q.kind == "written") for lab in labs}
    expected = [(n.name, n.settings["minutes"], sum(points[n.name].values()), written[n.name]) for n in labs]
    assert [(name, *map(int, numbers)) for name, *numbers in told] == expected


def test_environment_yml_carries_the_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    carried = dict(line.split("==") for line in pip if "==" in line)
    needed = {Requirement(line).name for line in PROJECT["dependencies"] + EXTRAS["lab"] + EXTRAS["grading"]}
    assert needed - {PROJECT["name"]} <= carried.keys()
    assert carried == {name: pins()[canonical(name)] for name in carried}


def test_constraints_freeze_all_that_pyproject_asks_for():
    wanted = [*PROJECT["dependencies"], *EXTRAS["lab"], *EXTRAS["grading"], *EXTRAS["dev"]]
    for requirement in map(Requirement, wanted):
        if requirement.name != PROJECT["name"]:
            pinned = pins().get(canonical(requirement.name))
            assert pinned and requirement.specifier.contains(pinned), f"{requirement}: run `make lock`"


def test_what_is_installed_is_what_constraints_say():
    frozen = pins()
    listing = subprocess.check_output([sys.executable, "-m", "pip", "list", "--format", "json"], text=True)
    installed = {canonical(p["name"]): p["version"] for p in json.loads(listing)}
    differing = {n: (v, installed[n]) for n, v in frozen.items() if n in installed and installed[n] != v}
    assert not differing, f"constraints.txt and the environment differ: {differing}"


def test_every_variant_and_every_excuse_fits_today_s_labs():
    """What no longer applies to a reference answer is named; here, because it is quick, and the gates are not."""
    from autograder.authoring.mutants import excuses, mutants_of
    from autograder.labs.lab import Lab, lab_names

    for lab in map(Lab, lab_names()):
        assert lab.variants(right=True) and lab.variants(right=False)
        for exercise in lab.exercises:
            assert excuses(lab, exercise).keys() <= {mutant.name for mutant in mutants_of(exercise)}, exercise.id
