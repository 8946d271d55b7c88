"""Arrows between folders run one way: in each package a folder imports only what stands before it in these lists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = {
    "course_utils": [
        *("checks", "data", "numerics", "pictures", "quantization", "networks", "low_bit"),
        *("ristretto", "deep_compression", "profiler", "demos"),
    ],
    "autograder": [
        *("labs", "sandbox", "processes", "grading", "records", "for_nbgrader", "authoring", "handout", "commands"),
    ],
}
"""Package -> its folders, from the ground up; docs/architecture.md draws them."""


def imported(path: Path) -> set[str]:
    """The dotted names that a module imports, also inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", ORDER)
def test_every_folder_has_its_floor(package):
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert folders == set(ORDER[package])


@pytest.mark.parametrize("package", ORDER)
def test_arrows_run_one_way(package):
    order = ORDER[package]
    upward = []
    for path in sorted((ROOT / package).glob("*/*.py")):
        here = path.parent.name
        for name in imported(path):
            top, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            if top == package and there in order and order.index(there) > order.index(here):
                upward.append(f"{path.relative_to(ROOT)} imports {name}, which stands above it")
    assert not upward, "\n".join(upward)


def test_what_notebooks_import_knows_nothing_of_grading():
    known = [p for p in (ROOT / "course_utils").rglob("*.py") if any("autograder" in name for name in imported(p))]
    assert not known


def test_torchvision_is_imported_when_it_is_needed():
    """To import it takes as long as torch itself: no lab's first cell and no command waits for it."""
    waits = []
    for path in sorted((ROOT / "course_utils").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom) and "torchvision" in ast.unparse(node):
                waits.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
    assert not waits, "\n".join(waits)
