"""Makes what students get: a folder and the same as a zip, with no answer in it.

``<to>/quantization-course/`` and ``<to>/quantization-course.zip``. Same sources, same bytes: no dates, nothing of this
machine. What was handed out before is read from the folder's ``handout.json``, so that it can be said what is new.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2
import nbformat
from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autograder import HANDOUT, ROOT
from autograder.errors import CourseError
from autograder.handout import wheel
from autograder.handout.scan import leaks, secrets_of
from autograder.labs.build import release, release_digests, release_id
from autograder.labs.lab import Lab, lab_names
from autograder.labs.pages import DEMOS, START, Page
from course_utils.checks import hints
from course_utils.networks.models import WEIGHTS

NAME = "quantization-course"

GUIDES = ("docs/student.md", "docs/pictures/panel.png", "LICENSE")

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Handout:
    """What was made.

    Attributes:
        folder: with everything in it; the zip lies beside it.
        release: as it calls itself.
        changes: one line for each lab, what is new for students; empty if nothing was handed out before.
    """

    folder: Path
    release: str
    changes: list[str]

    @property
    def archive(self) -> Path:
        return self.folder.with_suffix(".zip")


def make_handout(labs: Iterable[Lab], root: Path, to: Path, wheel_url: str = "") -> Handout:
    """Writes the handout of some labs into the folder ``to``.

    Files of an earlier handout there are replaced; what students do not get (a ``.venv`` from trying it) stays.

    Args:
        labs: which, of the course in ``root``.
        wheel_url: where the wheel will lie, for those who open a notebook without the folder (Colab, Kaggle).

    Raises:
        CourseError: if a file would tell an answer, or the folder holds something else.
    """
    labs, folder = list(labs), Path(to) / NAME
    before = _read_before(folder)
    files = contents(labs, root, wheel_url)
    archive = wheel.zip_bytes({f"{NAME}/{path}": content for path, content in files.items()})
    given = {lab.name: lab for lab in labs}
    secrets = secrets_of(given.get(name) or Lab(name, root) for name in lab_names(root))
    if found := [line for path, content in files.items() for line in leaks(path, content, secrets)]:
        raise CourseError(f"nothing was written, for it would tell answers ({len(found)} lines): {found[0]}")
    for path in before.get("files", []):
        if path not in files:
            (folder / path).unlink(missing_ok=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    folder.with_suffix(".zip").write_bytes(archive)
    now = json.loads(files[HANDOUT])
    return Handout(folder, now["release"], changes(before, now) if before else [])


def _read_before(folder: Path) -> dict:
    """What the handout in a folder says of itself; empty if there is none.

    Raises:
        CourseError: if the folder holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        told = json.loads((folder / HANDOUT).read_text(encoding="utf-8"))
        if not {"release", "labs", "package", "files"} <= told.keys():
            raise ValueError
        # somebody else may have written it: nothing beyond the folder is deleted
        if any(not (folder / path).resolve().is_relative_to(folder.resolve()) for path in told["files"]):
            raise ValueError
        changes(told, told)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        told = f"{folder} is no handout (no {HANDOUT} in it that says what was made)"
        raise CourseError(f"{told}: name another folder with --to") from None
    return told


def contents(labs: list[Lab], root: Path, wheel_url: str = "") -> dict[str, bytes]:
    """Every file of the handout, by its path in the folder, sorted; the same sources give the same bytes."""
    if not (ROOT / "pyproject.toml").is_file():
        raise CourseError("a handout is made in a checkout of the course: there is no pyproject.toml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = wheel.payload(ROOT, WEIGHTS)
    fixed = {path: _text(ROOT / path) for path in GUIDES if (ROOT / path).is_file()}
    fixed["start.py"] = _text(TEMPLATES / "start.py")
    asked = [text for texts in wheel.students_requirements(project).values() for text in texts]
    pins = dict(_pins(tuple(asked), (ROOT / "constraints.txt").read_text(encoding="utf-8")))
    unnamed = {**fixed, **_notebooks(labs, root, wheel_url)}  # all that is handed out, before it bears the name
    unnamed |= {path.name: _text(path) for path in TEMPLATES.glob("*.jinja")}
    label = _label(project["version"], installed, unnamed, pins, str(wheel.students_requirements(project)))
    wheel_name, wheel_content = wheel.write_wheel(project, label, installed)
    files = {
        **fixed,
        wheel_name: wheel_content,
        **_notebooks(labs, root, _first_cell(wheel_name, wheel_url)),
        "constraints.txt": "".join(f"{name}=={version}\n" for name, version in pins.items()).encode(),
    }
    about = {
        "release": label,
        "wheel": wheel_name,
        "labs": {lab.name: lab.settings.get("title", lab.name) for lab in labs},
        "first": labs[0].name if labs else "",
        "requirements": [f"{name}=={pins[canonicalize_name(name)]}" for name in (Requirement(t).name for t in asked)],
    }
    files |= {name: _rendered(f"{name}.jinja", about) for name in ("README.md", "requirements.txt", "environment.yml")}
    told = {
        "release": label,
        "labs": {
            lab.name: {"release": release_id(lab), "hints": _hints_id(lab), "behind": _digest(_behind(lab))}
            for lab in labs
        },
        "package": _digest(installed),
        "files": sorted([*files, HANDOUT]),
    }
    files[HANDOUT] = (json.dumps(told, indent=1) + "\n").encode()
    return dict(sorted(files.items()))


def changes(before: dict, now: dict) -> list[str]:
    """What is new since an earlier handout, one line for each lab and one for the package."""
    lines = []
    for name in sorted({*before["labs"], *now["labs"]}):
        old, new = before["labs"].get(name), now["labs"].get(name)
        if old is None or new is None:
            lines.append(f"{name}: {'new' if old is None else 'no longer handed out'}")
        elif old["release"] != new["release"]:
            lines.append(f"{name}: changed for students ({old['release']} -> {new['release']})")
        elif old["hints"] != new["hints"]:
            lines.append(f"{name}: its hints changed")
        elif old["behind"] != new["behind"]:
            lines.append(f"{name}: changed behind the scenes only; students need nothing new")
        else:
            lines.append(f"{name}: unchanged")
    package = "unchanged" if before["package"] == now["package"] else "changed: `python start.py` brings it up to date"
    return [*lines, f"package: {package}"]


def _behind(lab: Lab) -> dict[str, bytes]:
    """What students do not see of a lab, but are graded by."""
    return {cell.id: cell.source.encode() for cell in lab.cells if cell.kind in ("check", "exercise", "written")} | {
        "settings": json.dumps(lab.settings, sort_keys=True, default=str).encode()
    }


def _hints_id(lab: Lab) -> str:
    return _digest({hints.FILE: lab.hints_path.read_bytes()}) if lab.hints_path.is_file() else ""


def _label(version: str, *parts: object) -> str:
    """The handout's name for itself: the kit's version, and a few letters that any change to what is in it changes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update((_digest(part) if isinstance(part, dict) else str(part)).encode())
    return f"{version}+h{digest.hexdigest()[:7]}"  # a letter first: pip takes the zeros off a number


def _digest(files: dict[str, bytes] | dict[str, str]) -> str:
    parts = {name: value if isinstance(value, bytes) else value.encode() for name, value in sorted(files.items())}
    hashes = "".join(f"{name}\0{hashlib.sha256(value).hexdigest()}\0" for name, value in parts.items())
    return hashlib.sha256(hashes.encode()).hexdigest()[:16]


def _text(path: Path) -> bytes:
    content = path.read_bytes()
    return content if path.suffix == ".png" else content.replace(b"\r\n", b"\n")


def _rendered(template: str, about: dict) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(about).encode()


def _notebooks(labs: list[Lab], root: Path, first_cell: str) -> dict[str, bytes]:
    """Releases with their hints, the demos and the start page, each with the cell that says what is missing."""
    files = {}
    for lab in labs:
        notebook = nbformat.from_dict(release(lab))
        notebook.metadata.setdefault("course", {}).update(release=release_id(lab), cells=release_digests(lab))
        files[f"notebooks/{lab.name}/{lab.name}.ipynb"] = _with_first_cell(notebook, first_cell)
        if lab.hints_path.is_file():
            files[f"notebooks/{lab.name}/{hints.FILE}"] = _text(lab.hints_path)
    for name in (DEMOS, START):
        page = Page(name, root)
        if page.source.is_file():
            notebook = nbformat.from_dict(page.notebook)
            # the start page is for the folder, and is run each time
            files[f"notebooks/{name}.ipynb"] = (
                _with_first_cell(notebook, first_cell) if name == DEMOS else _bytes(notebook)
            )
    return files


def _bytes(notebook: NotebookNode) -> bytes:
    return nbformat.writes(notebook).encode() + b"\n"


def _with_first_cell(notebook: NotebookNode, source: str) -> bytes:
    # tagged, so that `course check` leaves it out; collapsed, since where all is well it says nothing
    metadata = {"tags": ["explore"], "jupyter": {"source_hidden": True}}
    cell = nbformat.v4.new_code_cell(source, id="package", metadata=metadata)
    return _bytes(nbformat.from_dict({**notebook, "cells": [cell, *notebook.cells]}))


def _first_cell(wheel_name: str, wheel_url: str) -> str:
    """The cell that stands above every notebook, and does nothing where the package is installed.

    Raises:
        CourseError: if the address is none.
    """
    where = wheel_name
    if wheel_url:
        if not wheel_url.startswith(("http://", "https://")):
            raise CourseError(f"--wheel-url {wheel_url} is no address: it begins with https://")
        where = wheel_url if wheel_url.endswith(".whl") else f"{wheel_url.rstrip('/')}/{wheel_name}"
    template = "first_cell_with_url.py.jinja" if wheel_url else "first_cell.py.jinja"
    return _rendered(template, {"wheel": where}).decode().rstrip("\n")


@functools.cache  # a hundred packages are asked what they need
def _pins(asked: tuple[str, ...], lock: str) -> tuple[tuple[str, str], ...]:
    """What students install, with all that it pulls in, as constraints.txt has it: names and versions.

    Raises:
        CourseError: if the lock file lacks something that is asked for.
    """
    frozen = {canonicalize_name(name): version for name, version in (line.split("==") for line in lock.split())}
    left = [Requirement(text) for text in asked]
    if missing := [r.name for r in left if canonicalize_name(r.name) not in frozen]:
        raise CourseError(f"constraints.txt has no version of {missing[0]}: run `make lock`")
    wanted: set[str] = set()
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name in wanted:
            continue
        wanted.add(name)
        try:
            texts = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:  # of another system
            continue
        for text in texts:
            further = Requirement(text)
            extras = ("", *requirement.extras)
            # what another system needs is taken along: a pin of what nobody installs does no harm
            if "extra" not in str(further.marker) or any(further.marker.evaluate({"extra": e}) for e in extras):
                left.append(further)
    return tuple((name, frozen[name]) for name in sorted(wanted & frozen.keys()))
