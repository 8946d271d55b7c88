"""One student whose everything is hostile to who reads it, through every command: nothing comes out that is obeyed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import write_mini

from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.reading import student_folders
from autograder.labs.build import answered
from autograder.sandbox.strangers import OBEYED, visible, visible_name

CLEARS, TITLE, TURNS = "\x1b[2J", "\x1b]0;owned\x07", "\u202e"
HOSTILE = f"{CLEARS}{TITLE}\x9b31m{TURNS}\u2028[bold]red[/bold]"

ANSWER = f"""
print({HOSTILE!r})
def double(x):
    raise ValueError({HOSTILE!r})
"""

COMMANDS = {
    "grade one": ["grade", "00_mini", "--submissions", "INBOX", "--student", "NAME", "--verbose"],
    "collect": ["collect", "00_mini", "INBOX", "--to", "COLLECTED", "--verbose"],
    "grade": ["grade", "00_mini", "--submissions", "INBOX", "--output", "GRADES"],
    "grade again": ["grade", "00_mini", "--submissions", "INBOX", "--output", "GRADES", "--dry-run"],
    "gradebook": ["gradebook", "--output", "GRADES"],
    "similar": ["similar", "00_mini", "--submissions", "INBOX"],
    "report": ["report", "--output", "GRADES", "--to", "REPORT"],
    "feedback": ["feedback", "00_mini", "--output", "GRADES"],
    "status": ["status", "--submissions", "INBOX", "--output", "GRADES"],
    "export": [
        "export",
        "00_mini",
        "--output",
        "GRADES",
        "--to",
        "moodle",
        "--waiting",
        "--file",
        "EXPORT.csv",
        "--roster",
        "ROSTER",
    ],
    "check": ["check", "NOTEBOOK"],
    "an error": ["grade", HOSTILE],
}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("hostile")
    lab = write_mini(root / "course")
    inbox, name = root / "inbox", f"eve{HOSTILE}".replace("/", "")
    why = f"{HOSTILE}<!-- {TURNS} --> &#8238; &#155;31m &#36;&#92;href{{javascript:alert(1)}}{{x}}&#36;"
    notebook = answered(lab, {"double": ANSWER, "why": why})
    notebook.metadata["title"] = HOSTILE
    for student in (name, "ann"):
        (inbox / student).mkdir(parents=True)
        nbformat.write(notebook, inbox / student / "00_mini.ipynb")
    (inbox / name / f"{HOSTILE.replace('/', '')}.txt").write_text(HOSTILE)
    roster = root / "roster.csv"
    line = f'"{visible_name(name)}","Eve, {HOSTILE}",eve@example.org\r\n'
    roster.write_text("student,name,email\r\nann,Ann,ann@example.org\r\n" + line, encoding="utf-8", newline="")
    return (
        lab,
        root,
        {"ROSTER": roster, "INBOX": inbox, "NAME": visible_name(name), "NOTEBOOK": inbox / name / "00_mini.ipynb"},
    )


def test_nothing_that_a_terminal_or_a_page_obeys_comes_out(course):
    lab, root, words = course
    words |= {name: root / name.lower() for name in ("GRADES", "REPORT", "EXPORT.csv", "COLLECTED")}
    told = {}
    for command, arguments in COMMANDS.items():
        line = ["--root", str(lab.root), *(str(words.get(a, a)) for a in arguments)]
        told[command] = CliRunner().invoke(main, line)
        assert told[command].exception is None or isinstance(told[command].exception, SystemExit), command
        assert told[command].exit_code in (0, 1) or command == "an error", told[command].output
        assert not OBEYED.search(told[command].output), command
    assert r"\x1b[2J" in told["grade one"].output, "it is shown, not dropped"
    pages = [
        p
        for folder in ("report", "grades", "export.csv")
        for p in (root / folder).rglob("*")
        if p.suffix in (".html", ".csv")
    ]
    assert len(pages) >= 5
    for page in pages:
        assert not OBEYED.search(page.read_text(encoding="utf-8")), page


def test_what_is_shown_is_told_apart_from_what_is_written():
    assert visible("a\r\nb\tc") == "a\nb\tc"
    assert visible("\x1b[31mred\x1b[0m \x1b[2J \u202e \udc80") == r"red \x1b[2J \u202e \udc80"
    assert visible("Çelik, 李, नमस्ते, 👩\u200d🔬") == "Çelik, 李, नमस्ते, 👩\u200d🔬"
    assert visible_name("two\nlines") == r"two\nlines"
    assert len(visible_name("x" * 1000)) == 300


def test_two_folders_that_look_the_same_are_refused_by_name(tmp_path: Path):
    for name in ("e\u0301va", "\u00e9va"):
        (tmp_path / name).mkdir()
    if len([*tmp_path.iterdir()]) < 2:
        pytest.skip("this file system takes the two for one")
    with pytest.raises(CourseError, match="look the same, 'éva'"):
        student_folders(tmp_path)
