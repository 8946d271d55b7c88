"""The report: true to the rows, and harmless whatever a student is called or prints."""

from __future__ import annotations

import base64
import hashlib
import inspect
import random
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mini_records import records_of

from autograder.errors import CourseError
from autograder.grading import grader
from autograder.grading.grader import Grader, Submission
from autograder.grading.submission import Answers
from autograder.labs.lab import Lab
from autograder.processes import examiner
from autograder.records import report
from autograder.records.gradebook import GradeWriter
from autograder.records.report import KINDS, MIN_STUDENTS, LabReport, discrimination, lab_report, write_report
from autograder.records.roster import Person, Roster
from autograder.records.rows import COLUMNS, Records, Submitted, read_records
from autograder.sandbox.refused import refusals
from autograder.sandbox.walls import WALLS

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


LAB = "00_mini"


def class_of(rows: list[tuple], **submissions: Submitted) -> Records:
    return records_of([(student, LAB, *rest) for student, *rest in rows], **{LAB: submissions})


@pytest.fixture
def grades() -> Records:
    return class_of(ROWS)


PAGES = ["index.html", "00_mini.html"]


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, grades: Records, tmp_path: Path) -> str:
    """Each of the two pages."""
    return (write_report(grades, tmp_path / "report").parent / request.param).read_text(encoding="utf-8")


@pytest.fixture
def lab_page(grades: Records, tmp_path: Path) -> str:
    return write_report(grades, tmp_path / "report").with_name("00_mini.html").read_text(encoding="utf-8")


@pytest.fixture
def rows(grades: Records) -> pd.DataFrame:
    return grades.rows


@pytest.fixture
def lab(rows: pd.DataFrame) -> LabReport:
    return lab_report("00_mini", rows, {})


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


def test_lateness_stands_beside_the_points_and_counts_in_the_distribution(tmp_path: Path) -> None:
    grades = class_of(ROWS, ada=Submitted(penalty=1.5))
    lab = lab_report(LAB, grades.rows, grades.run(LAB))
    assert (lab.points["ada"].earned, lab.points["ada"].late, lab.points["ada"].net) == (3, 1.5, 1.5)
    assert dict(lab.bins)["50 to 59 %"] == 2  # ada: 1.5 of 3; bob: 3 of 6
    told = "".join(Elements(_read(grades, "00_mini.html", tmp_path)).text)
    assert "Counts" in told and "Earned" in told and "\u22121.5" in told and "less what lateness costs" in told


def test_by_how_much_somebody_was_late_is_told_though_it_costs_nothing(tmp_path: Path) -> None:
    due = datetime(2026, 11, 30, 12)
    about = Submitted(due=due, handed_in=due + timedelta(days=1, hours=3))
    told = "".join(Elements(_read(class_of(ROWS, ada=about), "00_mini.html", tmp_path)).text)
    assert "1 d 3 h" in told and "Late" in told


def test_who_handed_in_nothing_is_named_and_in_no_figure(tmp_path: Path) -> None:
    grades = class_of(ROWS)
    roster = Roster([Person("ada"), Person("zoe & co"), Person("bob"), Person("<b>yan</b>")])
    plain = lab_report(LAB, grades.rows, grades.run(LAB))
    lab = lab_report(LAB, grades.rows, grades.run(LAB), roster.absent(set(grades.rows["student"])))
    assert lab.absent == ["zoe & co", "<b>yan</b>"]
    assert (lab.median, lab.bins, lab.hardest, lab.table) == (plain.median, plain.bins, plain.hardest, plain.table)
    write_report(grades, tmp_path, roster)
    page = Elements((tmp_path / "00_mini.html").read_text(encoding="utf-8"))
    assert "zoe & co" in page.text and "<b>yan</b>" in page.text


def test_without_lateness_there_is_one_column_of_points(lab_page: str) -> None:
    assert "Earned" not in lab_page and "late" not in "".join(Elements(lab_page).text)


def test_time_is_the_median_of_those_in_time_and_names_the_slow(rows: pd.DataFrame) -> None:
    took = {"check_easy": {"ada": 0.2, "bob": 0.3, HOSTILE: 3.0, "eve": 60.0}}
    easy = next(q for q in lab_report("00_mini", rows, {"took": took}).questions if q.name == "check_easy")
    assert easy.seconds == 0.3  # of 0.2, 0.3 and 3.0: eve had no result in time
    assert easy.slow == [(HOSTILE, 3.0)]


def _class(students: int, answers: dict[str, list[int]]) -> pd.DataFrame:
    records = [
        (f"s{n:02}", "00_mini", question, scores[n], 1, "passed" if scores[n] else "failed", "")
        for n in range(students)
        for question, scores in answers.items()
    ]
    return pd.DataFrame(records, columns=COLUMNS)


def test_discrimination_is_the_correlation_with_the_other_questions() -> None:
    draw = random.Random(0)
    one, two = ([draw.randint(0, 1) for _ in range(30)] for _ in range(2))
    rest = [a + b for a, b in zip(one, two, strict=True)]
    against = [int(score < 1) for score in rest]
    found = discrimination(_class(30, {"one": one, "two": two, "against": against, "all": [1] * 30}))
    others = np.array(rest) + 1  # "all" gives everybody its point
    assert found["against"] == pytest.approx(np.corrcoef(against, others)[0, 1]) and found["against"] < -0.5
    assert found["all"] is None  # it tells nobody from anybody


def test_discrimination_leaves_out_what_says_nothing() -> None:
    scores = [n % 2 for n in range(MIN_STUDENTS)]
    few = _class(MIN_STUDENTS - 1, {"one": scores, "two": scores})
    assert discrimination(few) == {"one": None, "two": None}
    enough = _class(MIN_STUDENTS, {"one": scores, "two": scores, "why": scores})
    assert discrimination(enough)["one"] == pytest.approx(1)
    waits = enough.copy()
    waits.loc[waits["question"] == "why", "status"] = "by hand"
    assert discrimination(waits)["why"] is None and discrimination(waits)["one"] == pytest.approx(1)
    empty = enough.copy()
    empty.loc[empty["student"] == "s00", "status"] = "unreadable"
    assert discrimination(empty)["one"] is None  # one student short


def test_page_says_what_discrimination_is_or_why_there_is_none(lab_page: str, tmp_path: Path) -> None:
    assert "too few students" in lab_page and "corrected item-total" not in lab_page
    scores = [n % 2 for n in range(MIN_STUDENTS)]
    many = _class(MIN_STUDENTS, {"one": scores, "two": scores, "odd": [1 - s for s in scores]})
    large = _read(Records(many.assign(seconds=0.0), {}), "00_mini.html", tmp_path)
    assert "corrected item-total correlation" in large and "too few students" not in large
    assert '<span class="low">\u22121.00</span>' in large


def test_anomalies_name_edits_refusals_and_the_slow(tmp_path: Path) -> None:
    about = {
        "bob": Submitted(notes=["check_edge: the check cell was edited"]),
        "eve": Submitted(refused=["program (os.system)"]),
    }
    grades = class_of(ROWS, **about)
    for student, seconds in (("ada", 0.1), ("bob", 0.1), ("eve", 4.0)):
        of = (grades.rows["student"] == student) & (grades.rows["question"] == "check_edge")
        grades.rows.loc[of, "seconds"] = seconds
    page = _read(grades, "00_mini.html", tmp_path)
    anomalies = page[page.index('id="anomalies"') : page.index('id="points"')]
    for told in ("check cell was edited", "program (os.system)", "4 s", "no result within 10 s", "it is not JSON"):
        assert told in anomalies
    index = Elements(_read(grades, "index.html", tmp_path))
    assert "3" in index.text  # bob, eve and zed


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("not possible in the grader: network (socket.connect)\n", ["network (socket.connect)"]),
        ("f: your code raised Withheld: torch.mean is withheld in this lab: it would", ["withheld: torch.mean"]),
        ("f: OSError: [Errno 30] Read-only file system: '/usr/x' (line 2)", ["file: /usr/x"]),
        ("f: FileNotFoundError: [Errno 2] No such file or directory: '/etc/passwd'", ["file: /etc/passwd"]),
        ("f: FileNotFoundError: [Errno 2] No such file or directory: 'data.csv'", []),  # of its own folder
        ("f: it took more than 2 GiB of memory", ["memory"]),
        ("f: rule broken: the double of 3 is 6", []),
    ],
)
def test_refusals_are_told_from_errors_and_output(text: str, called: list[str]) -> None:
    assert refusals([text, text]) == called  # each once


def test_a_refused_program_stands_in_the_run_also_if_the_answer_hides_the_error(
    mini: Lab, grader: Grader, tmp_path: Path
) -> None:
    hiding = (
        "import os, socket\nos.system('ls')\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError:\n    pass\n"
        "def double(x):\n    return 2 * x\n"
    )
    answers = Answers({c.id: c.source for c in mini.answers} | {"double": hiding})
    with GradeWriter(mini, tmp_path) as writer:
        writer.add(grader.grade(Submission("eve", mini, answers)))
        writer.add(grader.grade(Submission("ada", mini, Answers({c.id: c.source for c in mini.answers}))))
    run = read_records(tmp_path).run("00_mini")
    assert run["refused"] == {
        "eve": ["program (os.system)", "network (socket.getaddrinfo)", "network (socket.connect)"]
    }
    assert run["took"]["check_double"].keys() == {"ada", "eve"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "no record of a sandbox"),
        ([], "no sandbox was"),
        (["limits"], "Not in force: files, network"),
        (list(WALLS), "a sandbox was in force"),
    ],
)
def test_page_begins_with_the_truth_about_the_sandbox(record: list[str] | None, said: str, tmp_path: Path) -> None:
    grades = class_of(ROWS, **{HOSTILE: Submitted(walls=record, notes=["<i>"])})
    page, index = _read(grades, "00_mini.html", tmp_path), _read(grades, "index.html", tmp_path)
    assert said in page[: page.index("<table")]
    assert (said in index[: index.index("<table")]) == (record != list(WALLS))  # there only what is amiss


def _read(grades: Records, name: str, to: Path) -> str:
    return write_report(grades, to / "report").with_name(name).read_text(encoding="utf-8")


def test_hostile_names_and_messages_stay_text(page: str) -> None:
    elements = Elements(page)
    assert not elements.attributes("img")
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'\"" in page, "a browser runs the page's own script and no other"
    assert HOSTILE not in page and "alert" not in script
    assert "\x1b" not in page and "\x00" not in page
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)


def test_hostile_texts_are_there_to_read(lab_page: str) -> None:
    assert any(HOSTILE in text for text in Elements(lab_page).text)
    assert "{{ 7*7 }}" in lab_page


def test_page_needs_nothing_from_outside(page: str) -> None:
    elements = Elements(page)
    assert not elements.attributes("link")
    assert all(a["href"].startswith("#") or a["href"] in PAGES for a in elements.attributes("a"))
    assert "default-src 'none'" in elements.attributes("meta")[2]["content"]
    assert not any("src" in attributes for _, attributes in elements.tags)
    assert "url(" not in page and "@import" not in page


def test_tables_have_captions_and_headers_and_links_lead_somewhere(page: str) -> None:
    elements = Elements(page)
    assert len(elements.attributes("table")) == len(elements.attributes("caption")) > 0
    assert all(th.get("scope") in ("col", "row") for th in elements.attributes("th"))
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in elements.attributes("a") if a["href"].startswith("#")} <= set(ids)
    assert elements.attributes("html")[0]["lang"] == "en"


def test_every_status_of_the_grader_has_a_mark() -> None:
    source = inspect.getsource(grader.Row)
    listed = source[source.index("# passed") + 2 :].split("\n")[0].split(", ")
    assert set(listed) == set(KINDS)
    assert all(
        f'"{s}"' in inspect.getsource(examiner) + inspect.getsource(grader) for s in KINDS if s != "graded by hand"
    )


def test_same_rows_give_the_same_bytes(grades: Records, tmp_path: Path) -> None:
    first, second = (write_report(grades, tmp_path / name).parent for name in "ab")
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in PAGES)


def test_all_right_and_several_labs(tmp_path: Path) -> None:
    rows = [(student, LAB, *rest) for student, *rest in ROWS]
    right = [("ada", "01_other", "check_one", 1, 1, "passed", ""), ("007", "01_other", "check_one", 1, 1, "passed", "")]
    index = write_report(records_of(rows + right), tmp_path / "report")
    links = {a["href"] for a in Elements(index.read_text(encoding="utf-8")).attributes("a")}
    assert links == {"00_mini.html", "01_other.html"}
    page = (index.parent / "01_other.html").read_text(encoding="utf-8")
    assert "None: no answer is wrong" in page and "007" in page


def test_no_grades_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="course grade"):
        read_records(tmp_path)


def test_a_message_that_no_end_comes_of_costs_the_messages_of_its_lab(monkeypatch, tmp_path):
    """Whatever a stranger's message does to what makes pages of it: a right one is written, and it is told."""
    grades = class_of([("ada", "check_easy", 0, 1, "failed", "endless")])
    usual = report.visible

    def endless(text: str) -> str:
        while text == "endless":
            pass
        return usual(text)

    monkeypatch.setattr(report, "visible", endless)
    monkeypatch.setattr(report, "SECONDS", 1.0)
    told: list[str] = []
    index = write_report(grades, tmp_path, tell=told.append)
    assert told == ["00_mini: its page has no messages: it took more than 1 s"]
    assert index.is_file()
    page = index.with_name("00_mini.html").read_text(encoding="utf-8")
    assert "(left out: it took more than 1 s)" in page
    assert "endless" not in page
    assert "ada" in page
