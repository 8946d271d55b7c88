"""What a student gets back: the points first, all that a person wrote, nothing to run or load; packed for systems."""

from __future__ import annotations

import re
import shutil
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import write_mini
from mini_records import write_grades
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange.default import ExchangeReleaseFeedback
from traitlets.config import Config, PyFileConfigLoader

from autograder import ROOT
from autograder.cli import main
from autograder.errors import CourseError
from autograder.labs.due import Dates
from autograder.labs.lab import Lab
from autograder.records import feedback
from autograder.records.feedback import _told, has_current_page, page_path, write_feedback
from autograder.records.origins import origins, pack, remember
from autograder.records.roster import read_roster
from autograder.records.rows import read_records

NAMES = ["ann", "bob [2] *?", "Zoë {x}", "<b>eve"]


@pytest.fixture
def pages(mini: Lab, tmp_path: Path) -> dict[str, str]:
    """Student -> page: bob is late and failed a check, ann's written answer was graded by a person."""
    dates = Dates(due=datetime(2026, 11, 30, 12), handed_in={NAMES[1]: datetime(2026, 12, 2, 15, 30)})
    write_grades(
        mini, tmp_path, {name: {"check_double": "failed"} if name == NAMES[1] else {} for name in NAMES}, dates
    )
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "00_mini", "00_mini", "ann")
        grade.manual_score, grade.needs_manual_grade = 2.5, False
        gradebook.find_comment("why", "00_mini", "00_mini", "ann").manual_comment = "Well said, <i>ann</i>."
        gradebook.find_comment("double", "00_mini", "00_mini", "ann").manual_comment = "Short."
        gradebook.db.commit()
    written = write_feedback(mini, read_records(tmp_path), tmp_path).pages
    assert list(written) == sorted(NAMES)
    return {student: path.read_text(encoding="utf-8") for student, path in written.items()}


def text(page: str) -> str:
    body = page[page.index("<body") :]
    return " ".join(re.sub("<[^>]+>", " ", body).split())


def first_part(page: str) -> str:
    return text(page[: page.index("<details>")])


def test_the_page_begins_with_points_by_exercise_and_what_a_person_wrote(pages: dict[str, str]) -> None:
    told = first_part(pages["ann"])
    assert "6.5 of 7 points" in told and "not graded yet" not in told
    assert "why 2.5 of 3" in told.replace("Well said, &lt;i&gt;ann&lt;/i&gt;. ", "")
    assert "Well said, &lt;i&gt;ann" in told and "Short." in told
    told = first_part(pages[NAMES[1]])
    assert "2 of 7 points so far; 3 of them are not graded yet" in told
    assert "Handed in 2 days 3 hours late." in told
    assert "check_double: failed" in told and "0.0 / " not in told


def test_every_exercise_leads_to_its_answer_by_name(pages: dict[str, str]) -> None:
    for page in pages.values():
        links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page)
        assert links == [("double", "Mini"), ("counter", "counter"), ("why", "why")]
        for anchor, name in links:
            assert page.count(f'id="{anchor}"') == 1
            assert f"Your answer: {name}" in page


def test_a_page_runs_nothing_and_loads_nothing(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "default-src 'none'" in page
        assert not re.search(r"<(script|link|iframe)|\bsrc=|url\(|@import", page)
        assert "HIDDEN" not in page and "Because the model answer" in page, "the answer of everybody in this class"
    assert "<b>eve" not in pages[NAMES[3]]


def test_a_page_that_is_out_of_date_is_told(pages: dict[str, str], tmp_path: Path) -> None:
    assert has_current_page(read_records(tmp_path), "ann", "00_mini", tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        gradebook.find_comment("why", "00_mini", "00_mini", "ann").manual_comment = "On second thoughts"
        gradebook.db.commit()
    records = read_records(tmp_path)
    assert has_current_page(records, "ann", "00_mini", tmp_path) is False
    assert has_current_page(records, NAMES[1], "00_mini", tmp_path)
    assert has_current_page(records, "nobody", "00_mini", tmp_path) is None


def test_a_page_calls_people_by_their_names(mini: Lab, tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text("student,name\nteam,Ada Lovelace\nteam,Emmy Noether\n")
    write_grades(mini, tmp_path, {"team": {}, "zoe": {}})
    written = write_feedback(mini, read_records(tmp_path), tmp_path, read_roster(tmp_path / "roster.csv")).pages
    assert "<bdi>Ada Lovelace, Emmy Noether</bdi>" in written["team"].read_text()
    assert "<bdi>zoe</bdi>" in written["zoe"].read_text()


def test_a_page_needs_the_notebook(mini: Lab, tmp_path: Path) -> None:
    write_grades(mini, tmp_path, {"ann": {}})
    (tmp_path / "autograded" / "ann" / "00_mini" / "00_mini.ipynb").unlink()
    with pytest.raises(CourseError, match="run `course grade 00_mini` once more"):
        write_feedback(mini, read_records(tmp_path), tmp_path)


def test_the_exchange_releases_pages_of_submissions_that_were_added_by_hand(
    pages: dict[str, str], tmp_path: Path
) -> None:
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.assignment_id = "00_mini"
    config.CourseDirectory.course_id = "quantization"
    config.Exchange.root = str(tmp_path / "exchange")
    config.Exchange.assignment_dir = str(tmp_path)
    (tmp_path / "exchange").mkdir(mode=0o777)
    (tmp_path / "exchange").chmod(0o777)
    directory = CourseDirectory(config=config)
    ExchangeReleaseFeedback(coursedir=directory, authenticator=None, config=config).start()
    assert len(list((tmp_path / "exchange").rglob("*.html"))) == len(NAMES)


@pytest.mark.parametrize(
    ("minutes", "told"),
    [(0, ""), (1, "1 minute"), (61, "1 hour 1 minute"), (1440, "1 day"), (2 * 1440 + 3 * 60 + 9, "2 days 3 hours")],
)
def test_how_late_it_was_is_told_in_words(minutes: int, told: str) -> None:
    assert _told(timedelta(minutes=minutes)) == told
    if minutes:
        assert _told(timedelta(minutes=minutes) - timedelta(seconds=20)) == told, "begun minutes count"


@pytest.mark.parametrize(
    ("system", "origin", "name"),
    [
        (
            "moodle",
            "Ada Lovelace_4711_assignsubmission_file_/00_mini.ipynb",
            "Ada Lovelace_4711_assignsubmission_file_/feedback.html",
        ),
        (
            "moodle",
            "CS-1/Ada Lovelace_4711_assignsubmission_file_00_mini.ipynb",
            "Ada Lovelace_4711_assignsubmission_file_/feedback.html",
        ),
        (
            "moodle",
            "Group 1-Ada_L_4711_assignsubmission_file/x/00_mini.ipynb",
            "Group 1-Ada_L_4711_assignsubmission_file_/feedback.html",
        ),
        (
            "moodle",
            "Eve_7_assignsubmission_file_/Bob_9_assignsubmission_file_/00_mini.ipynb",
            "Eve_7_assignsubmission_file_/feedback.html",
        ),
        (
            "moodle",
            "Eve_7_assignsubmission_file_Bob_9_assignsubmission_file_00_mini.ipynb",
            "Eve_7_assignsubmission_file_/feedback.html",
        ),
        ("canvas", "lab_1_2_x/eve_11_9001_a.zip/bob_12_9000_00_mini.ipynb", "eve_11_9001_feedback.html"),
        ("canvas", "eve_11_9001_bob_12_9000_00_mini.ipynb", "eve_11_9001_feedback.html"),
        ("canvas", "lovelaceada_4711_900007_00_mini-1.ipynb", "lovelaceada_4711_900007_feedback.html"),
        ("canvas", "lovelaceada_LATE_4711_900007_a_b_1_2.ipynb", "lovelaceada_LATE_4711_900007_feedback.html"),
        ("canvas", "anon_x7Yz_900007_00_mini.ipynb", "anon_x7Yz_900007_feedback.html"),
        ("canvas", "ada/00_mini.ipynb", None),
        ("moodle", "lovelaceada_4711_900007_00_mini-1.ipynb", None),
        ("moodle", "", None),
    ],
)
def test_pages_are_packed_under_the_names_that_the_system_gave(
    system: str, origin: str, name: str | None, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("page")
    left_out = pack({"ada": tmp_path / "page.html"}, {"ada": origin}, system, tmp_path / "f.zip")
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        assert archive.namelist() == ([name] if name else [])
    assert left_out == ([] if name else ["ada"])


def test_collect_remembers_and_feedback_packs(mini: Lab, tmp_path: Path) -> None:
    def course(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["--root", str(mini.root), *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result.output

    notebook = nbformat.writes(mini.instructor_notebook)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("lovelaceada_4711_900001_00_mini.ipynb", notebook)
        archive.writestr("pascalblaise_4712_900002_00_mini.ipynb", notebook)
    course("collect", "00_mini", tmp_path / "in.zip", "--to", tmp_path / "inbox")
    students = sorted(origins(tmp_path / "inbox", "00_mini"))
    assert len(students) == 2
    write_grades(mini, tmp_path / "grades", {student: {} for student in students})
    options = ["--output", tmp_path / "grades", "--submissions", tmp_path / "inbox", "--for", "canvas"]
    told = course("feedback", "00_mini", *options)
    assert "2 pages for canvas" in told and "not graded yet" in told and "no page" not in told
    with zipfile.ZipFile(tmp_path / "grades" / "feedback" / "00_mini-canvas.zip") as archive:
        assert sorted(archive.namelist()) == [
            "lovelaceada_4711_900001_feedback.html",
            "pascalblaise_4712_900002_feedback.html",
        ]
    write_grades(mini, tmp_path / "grades", {"by hand": {}})
    assert "by hand" in course("feedback", "00_mini", *options, code=1)
    remember(tmp_path / "inbox", [[students[0], "00_mini", "", "", "another", "x.zip", ""]])
    assert list(origins(tmp_path / "inbox", "00_mini").values()) == [
        "another",
        "pascalblaise_4712_900002_00_mini.ipynb",
    ]


def test_who_gets_no_page_is_named(tmp_path: Path) -> None:
    lab = write_mini(tmp_path)
    (tmp_path / "roster.csv").write_text("student\nann\nbob\n")
    write_grades(lab, tmp_path / "grades", {"ann": {}})
    arguments = ["--root", str(tmp_path), "feedback", lab.name, "--output", str(tmp_path / "grades")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0 and "no page, for nothing was handed in: bob\n" in result.output


def test_nbgraders_own_command_makes_the_same_page(tmp_path: Path) -> None:
    """By the course's configuration, in a course that is elsewhere, as formgrader's button does."""
    lab, grades = write_mini(tmp_path), tmp_path / "build" / "grades"
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    write_grades(lab, grades, {"ann": {}, "bob [2]": {"check_double": "failed"}})
    config = PyFileConfigLoader("nbgrader_config.py", path=str(tmp_path)).load_config()
    config.CourseDirectory.assignment_id = lab.name
    GenerateFeedback(coursedir=CourseDirectory(config=config), config=config).start()
    theirs = {student: page_path(grades, student, lab.name).read_text() for student in ("ann", "bob [2]")}
    assert "not graded yet" in theirs["ann"]
    written = write_feedback(lab, read_records(grades), grades).pages
    assert theirs == {student: path.read_text() for student, path in written.items()}


def test_outside_of_the_limits_no_answer_is_rendered(mini: Lab, tmp_path: Path, monkeypatch) -> None:
    write_grades(mini, tmp_path, {"ann": {}})
    notebook = nbformat.read(tmp_path / "autograded" / "ann" / mini.name / f"{mini.name}.ipynb", 4)
    rendered: list[str] = []
    monkeypatch.setattr(feedback, "_page", lambda cell: rendered.append(cell["id"]))
    feedback.render_release(notebook)
    answers = {cell.id for cell in mini.answers}
    assert rendered == [cell["id"] for cell in notebook.cells if cell["id"] not in answers]
