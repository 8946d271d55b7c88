"""The marking page: one question and all answers to it; what is typed there, and only there, is in the gradebook."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mini_course import MINI, write_mini
from mini_records import write_grades
from nbgrader.api import Gradebook

from autograder.errors import CourseError
from autograder.grading.grader import Graded, Row, Submission
from autograder.grading.submission import Answers
from autograder.labs.lab import Lab
from autograder.records.gradebook import GradeWriter
from autograder.records.marking import Marking, _server
from autograder.records.rows import read_records

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
NAME = "bob [1] <i>"


@pytest.fixture
def marking(mini: Lab, tmp_path: Path) -> Marking:
    write_grades(mini, tmp_path, {"ann": {}, NAME: {}, "cyd": {"why": "not attempted"}})
    return Marking(mini, tmp_path)


def row(output: Path, student: str) -> dict:
    rows = read_records(output).rows
    return rows[(rows["student"] == student) & (rows["question"] == "why")].to_dict("records")[0]


def rows_of(student: str, lab: Lab) -> list[Row]:
    kinds = {"written": "by hand", "check": "failed"}
    return [Row(student, lab.name, q.id, 0, q.points, kinds[q.kind]) for q in lab.questions]


def give(marking: Marking, student: str, points: float | None, comment: str = "") -> None:
    marking.give("why", student, row(marking.output, student)["answer"], points, comment)


def test_points_and_comments_are_in_the_gradebook_and_can_be_taken_back(marking: Marking) -> None:
    assert marking.waiting() == {"why": 2}
    give(marking, NAME, 1.5, " Half of it. ")
    told = row(marking.output, NAME)
    assert (told["score"], told["status"]) == (1.5, "graded by hand")
    assert read_records(marking.output).submissions[NAME, "00_mini"].comments == {"why": "Half of it."}
    assert marking.waiting() == {"why": 1}
    give(marking, NAME, None)
    assert row(marking.output, NAME)["status"] == "by hand"
    assert read_records(marking.output).submissions[NAME, "00_mini"].comments == {}


@pytest.mark.parametrize("points", [-0.5, 3.5, float("nan"), float("inf")])
def test_points_are_between_none_and_all(marking: Marking, points: float) -> None:
    with pytest.raises(CourseError, match="is not between 0 and 3 points"):
        give(marking, "ann", points)


def test_an_answer_that_was_changed_meanwhile_gets_no_points(marking: Marking, mini: Lab) -> None:
    seen = row(marking.output, "ann")["answer"]
    answers = {c.id: c.source for c in mini.answers} | {"why": "another"}
    rows = rows_of("ann", mini)
    with GradeWriter(mini, marking.output) as writer:
        writer.add(Graded(Submission("ann", mini, Answers(answers)), rows))
    with pytest.raises(CourseError, match="has changed since"):
        marking.give("why", "ann", seen, 1.0, "")


def test_the_page_has_scheme_and_answers_and_hides_who(marking: Marking) -> None:
    give(marking, "ann", 2.0, "Good.")
    page = marking.page("why", "key")
    scheme = page[page.index("<aside>") :]
    assert "Because the model answer says so" in scheme and "Why?" in scheme and "Good." in scheme
    students = re.findall(r'data-student="([^"]*)"', page)
    assert students == ["bob [1] &lt;i&gt;", "ann"], "who waits comes first; nothing is asked of who wrote nothing"
    assert all("<details>" in before for before in page.split("<bdi>")[:-1])


def test_points_for_nothing_given_elsewhere_leave_the_page_to_the_others(marking: Marking, mini: Lab) -> None:
    answers = {c.id: c.source for c in mini.answers if c.id != "why"}
    rows = [replace(r, status="missing") if r.question == "why" else r for r in rows_of("dan", mini)]
    with GradeWriter(mini, marking.output) as writer:
        writer.add(Graded(Submission("dan", mini, Answers(answers)), rows))
    with Gradebook(f"sqlite:///{marking.output / 'gradebook.db'}") as gradebook:  # as formgrader does
        gradebook.find_grade("why", "00_mini", "00_mini", "dan").manual_score = 1.0
        gradebook.db.commit()
    page = marking.page("why", "key")
    assert sorted(re.findall(r'data-student="([^"]*)"', page)) == ["ann", "bob [1] &lt;i&gt;", "dan"]


def test_answers_cannot_act(mini: Lab, tmp_path: Path) -> None:
    answers = {c.id: c.source for c in mini.answers} | {"why": SCRIPT}
    rows = rows_of("eve", mini)
    with GradeWriter(mini, tmp_path) as writer:
        writer.add(Graded(Submission("eve", mini, Answers(answers)), rows))
    marking = Marking(mini, tmp_path)
    give(marking, "eve", 0.0, SCRIPT)
    page = marking.page("why", "key")
    assert page.count("<script") == 1 and "<img src" not in page


def test_a_lab_without_written_questions_is_told(tmp_path: Path) -> None:
    lab = write_mini(tmp_path, MINI[: MINI.index("# %% [markdown]\n# Why?")])
    with pytest.raises(CourseError, match="no written questions"):
        Marking(lab, tmp_path)


@pytest.fixture
def server(marking: Marking) -> Iterator[_server]:
    with _server(marking, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: _server, method: str, path: str, body: dict | None = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    sent = None if body is None else json.dumps(body)
    connection.request(method, path, sent, {"Content-Type": "application/json"} | headers)
    return connection.getresponse()


def test_the_page_is_served_and_takes_points(server: _server, marking: Marking) -> None:
    reply = ask(server, "GET", f"/{server.key}/")
    page = reply.read().decode()
    assert reply.status == 200
    key = re.search(r"script-src 'nonce-([^']+)'", reply.headers["Content-Security-Policy"])
    assert key and f'<script nonce="{key[1]}">' in page
    body = {"student": "ann", "answer": row(marking.output, "ann")["answer"], "points": 2.5, "comment": "Yes."}
    reply = ask(server, "POST", f"/{server.key}/why", body)
    assert (reply.status, json.loads(reply.read())) == (200, {"why": 1})
    assert row(marking.output, "ann")["score"] == 2.5


def test_nobody_else_is_served(server: _server, marking: Marking) -> None:
    body = {"student": "ann", "answer": row(marking.output, "ann")["answer"], "points": 2.5, "comment": ""}
    key = server.key
    assert ask(server, "GET", "/").status == 404
    assert ask(server, "POST", "/guess/why", body).status == 404
    assert ask(server, "GET", f"/{key}/check_double").status == 404
    assert ask(server, "GET", f"/{key}/", Host="evil.example").status == 404, "a name that leads here from elsewhere"
    assert ask(server, "POST", f"/{key}/why", body, **{"Content-Type": "text/plain"}).status == 409, "a form elsewhere"
    assert ask(server, "POST", f"/{key}/why", body | {"points": "many"}).status == 409
    assert ask(server, "POST", f"/{key}/why", {"student": "ann"}).status == 409
    assert row(marking.output, "ann")["status"] == "by hand"
