"""Other answers to an exercise, right and wrong: the material that the gates test a lab's checks with.

They lie beside the lab, in ``right/`` and ``wrong/``, in one of two forms. ``<exercise>__<name>.py`` is a whole answer.
``<exercise>.toml`` has one table for each answer that differs from the reference in a few places only::

    [floors]
    mistake = "rounds down instead of to nearest"
    rule = "a code is round(x / scalefactor) + zeropoint"
    replace = "torch.round(x / scalefactor)"
    by = "torch.floor(x / scalefactor)"

``replace`` must stand just once between the solution marks, so that a change of the reference answer is either taken
over or told. Several places are two lists of equal length. A right answer has ``way`` instead of ``mistake`` and
``rule``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import CourseError
from autograder.labs.cell import Cell


@dataclass(frozen=True)
class Variant:
    """Another answer to one exercise, right or wrong."""

    name: str
    exercise: str
    right: bool
    source: str  # all of it
    rule: str  # wrong only: must appear in the message that the variant triggers
    about: str  # the mistake, or the way


def read_variants(folder: Path, exercises: Iterable[Cell], *, right: bool) -> list[Variant]:
    """The answers in a folder, sorted by name. None if there is no such folder.

    Raises:
        CourseError: if a file's name names no exercise, a variant lacks what it needs, two have the same name, or a
            difference does not apply.
    """
    by_id = {e.id: e for e in exercises}
    found: dict[str, Variant] = {}
    for path in sorted(folder.glob("*.py")) + sorted(folder.glob("*.toml")):
        name, _, _ = path.stem.partition("__")
        if name not in by_id:
            raise CourseError(f"{path}: {name!r} is no exercise of this lab ({', '.join(sorted(by_id))})")
        several = _differences(path, by_id[name], right) if path.suffix == ".toml" else [_whole(path, name, right)]
        for variant in several:
            if variant.name in found:
                raise CourseError(f"{path}: there are two variants with the name {variant.name}")
            found[variant.name] = variant
    return [found[name] for name in sorted(found)]


def _whole(path: Path, exercise: str, right: bool) -> Variant:
    source = path.read_text(encoding="utf-8")
    header = dict(re.findall(r"^# (Mistake|Rule|Way): *(.+)$", source, re.MULTILINE))
    for needed in ("Way",) if right else ("Mistake", "Rule"):
        if needed not in header:
            raise CourseError(f"{path} lacks the comment line '# {needed}: ...'")
    about = header["Way"] if right else header["Mistake"]
    return Variant(path.stem, exercise, right, source, header.get("Rule", ""), about)


def _differences(path: Path, exercise: Cell, right: bool) -> Iterator[Variant]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CourseError(f"{path} is not TOML: {error}") from error
    wanted = {"replace", "by"} | ({"way"} if right else {"mistake", "rule"})
    for name, table in tables.items():
        where = f"{path}, [{name}]"
        if not isinstance(table, dict) or table.keys() != wanted:
            raise CourseError(f"{where} must have {', '.join(sorted(wanted))}, and nothing else")
        old, new = ([text] if isinstance(text, str) else text for text in (table["replace"], table["by"]))
        if len(old) != len(new):
            raise CourseError(f"{where} replaces {len(old)} places by {len(new)} texts")
        source = _replaced(exercise, list(zip(old, new, strict=True)), where)
        about = table["way" if right else "mistake"]
        yield Variant(f"{exercise.id}__{name}", exercise.id, right, source, table.get("rule", ""), about)


def _replaced(exercise: Cell, changes: list[tuple[str, str]], where: str) -> str:
    """The reference answer, without its marks, with some places changed."""
    lines = exercise.source.splitlines(keepends=True)
    inside = exercise.solution_lines()
    # what must not be found is blanked, so that places stay the same
    searched = "".join(line if n in inside else "\0" * len(line) for n, line in enumerate(lines, start=1))
    places = []
    for old, new in ((old.strip("\n"), new.strip("\n")) for old, new in changes):
        if not old.strip() or (count := searched.count(old)) != 1:
            told = (
                "replaces nothing"
                if not old.strip()
                else f"{old.strip()!r} stands {count} times in the answer, not once"
            )
            raise CourseError(f"{where} does not apply: {told}")
        places.append((searched.index(old), len(old), new))
    source, end = exercise.source, len(exercise.source)
    for start, length, new in sorted(places, reverse=True):
        if start + length > end:
            raise CourseError(f"{where} does not apply: two of its places overlap")
        source, end = source[:start] + new + source[start + length :], start
    changed = "".join(
        line for line in source.splitlines(keepends=True) if not re.match(r"\s*### (BEGIN|END) SOLUTION", line)
    )
    try:
        compile(changed, where, "exec")
    except SyntaxError as error:
        raise CourseError(f"{where} makes no Python: {error.msg} in {str(error.text).strip()!r}") from None
    return changed
