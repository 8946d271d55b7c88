"""The report: true to the rows, and harmless whatever a student is called or prints."""

from __future__ import annotations

import csv
import inspect
import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from autograder import examiner, grading
from autograder.errors import CourseError
from autograder.gradebook import COLUMNS
from autograder.report import KINDS, LabReport, _lab_report, write_report
from autograder.sandbox import WALLS

HOSTILE = "<script>alert(1)</script>"
RULE = "edge: rule broken: a constant tensor has a scale\n  got       nan"

ROWS = [
    ("ada", "check_easy", 1, 1, "passed", ""),
    ("ada", "check_edge", 2, 2, "passed", ""),
    ("ada", "why", 0, 3, "by hand", "why waits for a person's grade"),
    ("bob", "check_easy", 1, 1, "passed", ""),
    ("bob", "check_edge", 0, 2, "failed", RULE),
    ("bob", "why", 2, 3, "graded by hand", "why: by a person"),
    ("eve", "check_easy", 0, 1, "timeout", "easy: no result within 10 s"),
    ("eve", "check_edge", 0, 2, "failed", RULE.replace("nan", "inf")),
    ("eve", "why", 0, 3, "not attempted", "why was not answered"),
    (HOSTILE, "check_easy", 1, 1, "passed", ""),
    (
        HOSTILE,
        "check_edge",
        0,
        2,
        "error",
        'edge: your code raised X: "><img src=x onerror=alert(1)>\x1b[31m\x00{{ 7*7 }}',
    ),
    (HOSTILE, "why", 0, 3, "not attempted", "why was not answered"),
    ("zed", "check_easy", 0, 1, "unreadable", "00_mini.ipynb is not a notebook: it is not JSON"),
    ("zed", "check_edge", 0, 2, "unreadable", "00_mini.ipynb is not a notebook: it is not JSON"),
    ("zed", "why", 0, 3, "unreadable", "00_mini.ipynb is not a notebook: it is not JSON"),
]


@pytest.fixture
def grades(tmp_path: Path) -> Path:
    folder = tmp_path / "grades"
    folder.mkdir()
    write_rows(folder, "00_mini", ROWS)
    return folder


@pytest.fixture
def page(grades: Path, tmp_path: Path) -> str:
    return write_report(grades, tmp_path / "report").read_text(encoding="utf-8")


@pytest.fixture
def lab(grades: Path) -> LabReport:
    rows = pd.read_csv(grades / "00_mini.csv", keep_default_na=False)
    return _lab_report("00_mini", rows, {})


def write_rows(folder: Path, lab: str, rows: list[tuple]) -> None:
    with (folder / f"{lab}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([student, lab, *rest] for student, *rest in rows)


class Elements(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_hardest_question_is_the_one_that_the_fewest_pass(lab: LabReport) -> None:
    assert [q.name for q in lab.questions] == ["check_edge", "check_easy", "why"]
    hardest = lab.hardest
    assert hardest is not None and hardest.name == "check_edge"
    assert (hardest.passed, hardest.decided, hardest.students) == (1, 5, 5)


def test_waiting_answers_make_no_question_the_hardest(lab: LabReport) -> None:
    why = lab.questions[-1]
    assert why.waiting and why.decided == 4 and why.mean == pytest.approx(0.5)


def test_messages_are_told_apart_by_their_rule_not_by_their_values(lab: LabReport) -> None:
    first = lab.messages[0]
    assert first.text == "edge: rule broken: a constant tensor has a scale"
    assert first.students == ["bob", "eve"] and first.questions == ["check_edge"]
    assert "got       nan" in first.example
    assert not any("not a notebook" in m.text or "not answered" in m.text for m in lab.messages)


def test_oddities_name_student_and_reason_once(lab: LabReport) -> None:
    assert [(o.student, o.status, len(o.questions)) for o in lab.oddities] == [
        ("eve", "timeout", 1),
        ("zed", "unreadable", 3),
    ]


def test_distribution_counts_every_student_once(lab: LabReport) -> None:
    bins = dict(lab.bins)
    assert sum(bins.values()) == 5
    assert bins["100 %"] == 1  # ada: her written answer is not counted yet
    assert bins["50 to 59 %"] == 1  # bob: 3 of 6
    assert bins["10 to 19 %"] == 1  # the hostile one: 1 of 6
    assert bins["0 to 9 %"] == 2


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "no record of a sandbox"),
        ([], "no sandbox was"),
        (["limits"], "Not in force: files, network"),
        (list(WALLS), "a sandbox was in force"),
    ],
)
def test_page_begins_with_the_truth_about_the_sandbox(
    grades: Path, tmp_path: Path, record: list[str] | None, said: str
) -> None:
    if record is not None:
        (grades / "00_mini.run.json").write_text(
            json.dumps({"walls": record, "notes": {"<b>": ["<i>"]}, "seconds": {}})
        )
    page = write_report(grades, tmp_path / "report").read_text(encoding="utf-8")
    assert said in page[: page.index("<table")]


def test_hostile_names_and_messages_stay_text(page: str) -> None:
    elements = Elements(page)
    assert not elements.attributes("script") and not elements.attributes("img")
    assert any(HOSTILE in text for text in elements.text)
    assert "{{ 7*7 }}" in page and "\x1b" not in page and "\x00" not in page
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)


def test_page_needs_nothing_from_outside(page: str) -> None:
    elements = Elements(page)
    assert not elements.attributes("link")
    assert all(a["href"].startswith("#") for a in elements.attributes("a"))
    assert not any("src" in attributes for _, attributes in elements.tags)
    assert "url(" not in page and "@import" not in page


def test_tables_have_captions_and_headers_and_links_lead_somewhere(page: str) -> None:
    elements = Elements(page)
    assert len(elements.attributes("table")) == len(elements.attributes("caption")) > 0
    assert all(th.get("scope") in ("col", "row") for th in elements.attributes("th"))
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in elements.attributes("a")} <= set(ids)
    assert elements.attributes("html")[0]["lang"] == "en"


def test_every_status_of_the_grader_has_a_mark() -> None:
    source = inspect.getsource(grading.Row)
    listed = source[source.index("# passed") + 2 :].split("\n")[0].split(", ")
    assert set(listed) == set(KINDS)
    assert all(
        f'"{s}"' in inspect.getsource(examiner) + inspect.getsource(grading) for s in KINDS if s != "graded by hand"
    )


def test_same_rows_give_the_same_bytes(grades: Path, tmp_path: Path) -> None:
    first = write_report(grades, tmp_path / "a").read_bytes()
    assert write_report(grades, tmp_path / "b").read_bytes() == first


def test_all_right_and_several_labs(grades: Path, tmp_path: Path) -> None:
    write_rows(grades, "01_other", [("ada", "check_one", 1, 1, "passed", ""), ("007", "check_one", 1, 1, "passed", "")])
    page = write_report(grades, tmp_path / "report").read_text(encoding="utf-8")
    assert "01_other" in page and "None: no answer is wrong" in page and "007" in page


def test_no_grades_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="course grade"):
        write_report(tmp_path, tmp_path / "report")
