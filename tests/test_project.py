"""One place for every pin, and a tree that keeps its promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def pins() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    return dict(line.split("==") for line in lines)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        assert re.fullmatch(r"[\w.\-\[\]]+==[\w.]+", line), line


def test_environment_yml_carries_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    carried = dict(line.split("==") for line in pip if "==" in line)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {line.partition("==")[0] for line in needed} <= carried.keys()
    assert carried == {name: pins()[name] for name in carried}


def test_constraints_freeze_what_pyproject_pins():
    lines = (ROOT / "constraints.txt").read_text().split()
    frozen = {canonical(name): version for name, version in (line.split("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    for line in wanted:
        name, version = line.split("==")
        assert frozen.get(canonical(name)) == version, f"{line}: run `make lock`"


def test_what_is_installed_is_what_constraints_say():
    lines = (ROOT / "constraints.txt").read_text().split()
    frozen = {canonical(name): version for name, version in (line.split("==") for line in lines)}
    listing = subprocess.check_output([sys.executable, "-m", "pip", "list", "--format", "json"], text=True)
    installed = {canonical(p["name"]): p["version"] for p in json.loads(listing)}
    differing = {n: (v, installed[n]) for n, v in frozen.items() if n in installed and installed[n] != v}
    assert not differing, f"constraints.txt and the environment differ: {differing}"
