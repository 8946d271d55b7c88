"""Makes the skeleton of a lab: a source that builds, and the answer variants that the gates ask for, to be filled in;
and of a demo with its test.

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

DEMO = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_lab(root: Path, name: str, title: str, exercises: Sequence[str], demo: str | None = None) -> list[Path]:
    """Writes ``solutions/<name>/``, a demo if one is named, and never overwrites anything.

    Args:
        root: the course's folder.
        name: two digits, which order the labs, and words: ``07_pruning``.
        title: what stands above the notebook.
        exercises: the functions that students write.
        demo: shows the first of them. Its code is written to ``course_utils/demos``, its test to
            ``tests/helpers/demos``; the list of demos and the page of all demos get it, too.

    Returns:
        The lab's source, and the demo's code and test.

    Raises:
        CourseError: if a name does not fit, there is such a folder or demo, or a demo has no place to be shown.
    """
    if not NAME.fullmatch(name):
        raise CourseError(f"{name!r} is no name for a lab: write two digits and lower-case words, like 07_pruning")
    for exercise in exercises:
        if not exercise.isidentifier() or keyword.iskeyword(exercise) or "__" in exercise:
            raise CourseError(f"{exercise!r} is no name for an exercise: it must name a function, without __ in it")
    if twice := sorted({e for e in exercises if exercises.count(e) > 1}):
        raise CourseError(f"the exercise {twice[0]!r} was named twice")
    of_demo = {} if demo is None else _demo(Path(root), demo)
    folder = Path(root) / "solutions" / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise CourseError(f"{folder} is there already, and nothing was written") from None
    source = folder / f"{name}.py"
    shared = (folder.parent / "shared" / "how_to_work.md").is_file()
    title = " ".join(title.split())
    about = {"title": title, "exercises": exercises, "shared": shared, "demo": demo}
    texts = {source: _rendered("new_lab.py.jinja", **about), **of_demo}
    texts[folder / "hints.toml"] = _rendered("new_hints.toml.jinja", exercises=exercises)
    for exercise in exercises:
        for kind, least in (("right", MIN_RIGHT), ("wrong", MIN_WRONG)):
            texts[folder / kind / f"{exercise}.toml"] = _rendered(f"new_{kind}.toml.jinja", least=least)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return [source, *list(of_demo)[:2]]


def _rendered(template: str, **about: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(about)


def _demo(root: Path, demo: str) -> dict[Path, str]:
    """What is to be written for a demo: its code, its test, the list of demos, and the page that shows them all.

    Raises:
        CourseError: if the name does not fit, there is such a demo, or one of the last two is not there.
    """
    if not DEMO.fullmatch(demo) or keyword.iskeyword(demo):
        raise CourseError(f"{demo!r} is no name for a demo: write lower-case words, like pruned_weights")
    folder, page = root / "course_utils" / "demos", root / "solutions" / "demos.py"
    code, listed = folder / f"{demo}.py", folder / "__init__.py"
    test = root / "tests" / "helpers" / "demos" / f"test_{demo}.py"
    for path in (code, test):
        if path.exists():
            raise CourseError(f"{path} is there already, and nothing was written")
    for path in (listed, page):
        if not path.is_file():
            raise CourseError(f"{path} is not there, where every demo is to be found; nothing was written")
    kind = "".join(word.capitalize() for word in demo.split("_"))
    return {
        code: _rendered("new_demo.py.jinja", demo=demo, kind=kind),
        test: _rendered("new_demo_test.py.jinja", demo=demo),
        listed: _with_demo(listed.read_text(encoding="utf-8"), demo),
        page: page.read_text(encoding="utf-8") + _rendered("new_demo_page.py.jinja", demo=demo),
    }


def _with_demo(package: str, demo: str) -> str:
    """The source of the package of all demos, with one more, in order."""
    lines = package.splitlines(keepends=True)

    def put(new: str, like: str) -> None:
        places = [i for i, line in enumerate(lines) if re.match(like, line)]
        lines.insert(next((i for i in places if lines[i] > new), places[-1] + 1), new)

    put(f"from course_utils.demos.{demo} import {demo}_demo, {demo}_still\n", r"from course_utils\.demos\.")
    for part in ("demo", "still"):
        put(f'    "{demo}_{part}",\n', '    "[a-z]')
    return "".join(lines)
