"""One student whose everything is hostile to who reads it, through every command: nothing comes out that is obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import write_mini

from autograder import HANDOUT
from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.reading import student_folders
from autograder.handout import make
from autograder.labs.build import answered
from autograder.records import marking
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
    "mark": ["mark", "00_mini", "--output", "GRADES", "--no-browser"],
    "grade elsewhere": ["grade", "00_mini", "--submissions", "INBOX", "--output", "OTHER"],
    "forget": ["grade", "00_mini", "--submissions", "INBOX", "--output", "OTHER", "--forget", "NAME"],
    "undo": ["undo", "--output", "OTHER"],
    "check": ["check", "NOTEBOOK"],
    "profile": ["profile", "SETTINGS"],
    "profile, compared": ["profile", "--compare", "RUN", "RUN"],
    "handout": ["handout", "--to", "HANDOUT"],
    "an error": ["grade", HOSTILE],
}

REFUSED = ("an error", "profile")

OF_THE_COURSE = {"build", "data", "demo", "doctor", "gates", "lab", "mutants", "new", "site"}
"""Commands that read nothing of strangers': the course's own sources, and the machine."""


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
    named = HOSTILE.replace("/", "")
    settings, run = root / f"{named}.toml", root / named
    settings.write_text(f"network = {json.dumps(HOSTILE)}\n", encoding="utf-8")
    run.mkdir()
    one = {"top1": 0.5, "top5": 0.5, "change": 0.0, "standard_error": 0.0}
    accuracy = {"reference": one, "recreated": one, HOSTILE: one}
    summary = {"network": HOSTILE, "images": 1, "accuracy": accuracy, "difference": one, "output_sqnr_db": 1.0}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "layers.csv").write_text(f'name,sqnr_db\n"{HOSTILE}",1\n', encoding="utf-8")
    before = {"release": "", "package": "", "files": []}
    before |= {"labs": {HOSTILE: {"release": "", "hints": "", "behind": ""}}}
    (root / "handout" / make.NAME).mkdir(parents=True)
    (root / "handout" / make.NAME / HANDOUT).write_text(json.dumps(before))
    words = {"ROSTER": roster, "INBOX": inbox, "NAME": visible_name(name), "NOTEBOOK": inbox / name / "00_mini.ipynb"}
    return lab, root, words | {"SETTINGS": settings, "RUN": run}


def test_every_command_is_tried():
    tried = {arguments[0] for arguments in COMMANDS.values()}
    assert tried | OF_THE_COURSE == main.commands.keys(), "a new command reads something of strangers', or does not"
    assert not tried & OF_THE_COURSE


def test_nothing_that_a_terminal_or_a_page_obeys_comes_out(course, monkeypatch):
    lab, root, words = course
    words |= {name: root / name.lower() for name in ("GRADES", "REPORT", "EXPORT.csv", "COLLECTED", "HANDOUT", "OTHER")}
    pages_to_mark = []

    def looked_at(marking, port, told):
        told("http://127.0.0.1/")
        pages_to_mark.extend(marking.page(question.id, "key") for question in marking.questions)

    monkeypatch.setattr(marking, "serve", looked_at)
    (root / "weights").mkdir()  # so that the handout is quickly packed
    monkeypatch.setattr(make, "WEIGHTS", root / "weights")
    told = {}
    for command, arguments in COMMANDS.items():
        line = ["--root", str(lab.root), *(str(words.get(a, a)) for a in arguments)]
        told[command] = CliRunner().invoke(main, line)
        assert told[command].exception is None or isinstance(told[command].exception, SystemExit), command
        assert told[command].exit_code in (0, 1) or command in REFUSED, told[command].output
        assert not OBEYED.search(told[command].output), command
    for command in ("grade one", "profile", "handout"):
        assert r"\x1b[2J" in told[command].output, "it is shown, not dropped"
    assert "1 student" in told["undo"].output, "who was taken out is back"
    assert len(pages_to_mark) == 1 and pages_to_mark[0].count('data-student="') == 2
    assert not OBEYED.search(pages_to_mark[0])
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
