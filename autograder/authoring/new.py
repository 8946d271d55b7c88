"""Makes the skeleton of a lab: a source that builds, and the answer variants that the gates ask for, to be filled in.

What is to be written is marked TODO; the texts are in ``new_*.jinja`` beside this file.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2

from autograder.errors import CourseError
from autograder.labs.lab import MIN_RIGHT, MIN_WRONG

NAME = re.compile(r"\d\d_[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_lab(root: Path, name: str, title: str, exercises: Sequence[str]) -> Path:
    """Writes ``solutions/<name>/`` and never overwrites anything.

    Args:
        root: the course's folder.
        name: two digits, which order the labs, and words: ``07_pruning``.
        title: what stands above the notebook.
        exercises: the functions that students write.

    Returns:
        The lab's source.

    Raises:
        CourseError: if a name does not fit, or there is such a folder.
    """
    if not NAME.fullmatch(name):
        raise CourseError(f"{name!r} is no name for a lab: write two digits and lower-case words, like 07_pruning")
    for exercise in exercises:
        if not exercise.isidentifier() or keyword.iskeyword(exercise) or "__" in exercise:
            raise CourseError(f"{exercise!r} is no name for an exercise: it must name a function, without __ in it")
    if twice := sorted({e for e in exercises if exercises.count(e) > 1}):
        raise CourseError(f"the exercise {twice[0]!r} was named twice")
    folder = Path(root) / "solutions" / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise CourseError(f"{folder} is there already, and nothing was written") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def write(path: Path, template: str, **about: object) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(environment.get_template(template).render(about), encoding="utf-8", newline="\n")

    source = folder / f"{name}.py"
    shared = (folder.parent / "shared" / "how_to_work.md").is_file()
    write(source, "new_lab.py.jinja", title=" ".join(title.split()), exercises=exercises, shared=shared)
    write(folder / "hints.toml", "new_hints.toml.jinja", exercises=exercises)
    for exercise in exercises:
        for number in range(1, MIN_RIGHT + 1):
            write(folder / "right" / f"{exercise}__way-{number}.py", "new_right.py.jinja", exercise=exercise)
        for number in range(1, MIN_WRONG + 1):
            write(folder / "wrong" / f"{exercise}__mistake-{number}.py", "new_wrong.py.jinja", exercise=exercise)
    return source
