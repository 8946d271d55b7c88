"""A page to mark written answers: one question, its marking scheme, and everybody's answer to it.

`Marking` knows the answers and writes points and comments into the gradebook; `serve` shows them in a browser, on this
machine only and under an address that nobody guesses. Answers are strangers' text: what of them could act is taken out,
and the page's own policy lets a browser run nothing but the page's script.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import Gradebook

from autograder.errors import CourseError
from autograder.labs.lab import Lab
from autograder.records.gradebook import nbgrader_id
from autograder.records.markdown import rendered, safe_markdown
from autograder.records.pages import template
from autograder.records.rows import GRADEBOOK, read_records

MARKED = ("by hand", "graded by hand")
MAX_REQUEST = 100_000  # bytes


class Marking:
    """The written answers to a lab, as they lie in the gradebook's folder."""

    def __init__(self, lab: Lab, output: Path):
        self.lab, self.output = lab, Path(output)
        self.questions = [question for question in lab.questions if question.kind == "written"]
        if not self.questions:
            raise CourseError(f"{lab.name} has no written questions: there is nothing to mark")
        self.waiting()  # are there grades?

    def waiting(self) -> dict[str, int]:
        """Question -> answers that wait for a person."""
        rows = read_records(self.output, [self.lab.name]).rows
        counts = rows.loc[rows["status"] == "by hand", "question"].value_counts()
        return {question.id: int(counts.get(question.id, 0)) for question in self.questions}

    def page(self, question: str, script_key: str) -> str:
        """The page of one question. Those who wait come first; who they are shows when one asks."""
        cell = next(cell for cell in self.questions if cell.id == question)
        above = self.lab.cells[self.lab.cells.index(cell) - 1]
        records = read_records(self.output, [self.lab.name])
        rows = records.rows[(records.rows["question"] == question) & records.rows["status"].isin(MARKED)]
        answers = []
        for row in rows.to_dict("records"):
            comment = records.submissions[row["student"], self.lab.name].comments.get(question, "")
            answers.append(row | {"page": self._answer(row), "comment": comment, "waits": row["status"] == "by hand"})
        used = Counter(answer["comment"] for answer in answers if answer["comment"])
        return template("marking").render(
            lab=self.lab.name,
            title=self.lab.titles[question],
            titles=self.lab.titles,
            question=question,
            points=cell.points,
            asked="" if above.is_code else rendered(above.source),
            scheme=rendered(cell.source),
            answers=sorted(answers, key=lambda answer: not answer["waits"]),
            bank=[comment for comment, _ in used.most_common(9)],
            waiting=self.waiting(),
            script_key=script_key,
        )

    def _answer(self, row: dict[str, Any]) -> str:
        if not row["answer"]:  # nothing was handed in, and a person has given points all the same, in formgrader say
            return ""
        path = self.output / "autograded" / nbgrader_id(row["student"]) / self.lab.name / f"{self.lab.name}.ipynb"
        cells = {cell["id"]: cell.source for cell in nbformat.read(path, 4).cells} if path.is_file() else {}
        source = cells.get(row["question"], "")
        if hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest() != row["answer"]:
            raise CourseError(f"{path} is not what was graded: run `course grade {self.lab.name}` once more")
        return safe_markdown(source)

    def give(self, question: str, student: str, answer: str, points: float | None, comment: str) -> None:
        """Writes a person's points and comment; without points the answer goes on waiting.

        Args:
            answer: stands for the text that the person saw, as the row has it.

        Raises:
            CourseError: if the answer is not there any more, or the points are none.
        """
        cell = next((cell for cell in self.questions if cell.id == question), None)
        records = read_records(self.output, [self.lab.name])
        rows = records.rows[(records.rows["student"] == student) & (records.rows["question"] == question)]
        if cell is None or rows.empty or rows["answer"].iloc[0] != answer:
            raise CourseError("this answer has changed since: load the page again")
        if points is not None and not (math.isfinite(points) and 0 <= points <= cell.points):
            raise CourseError(f"{points:g} is not between 0 and {cell.points:g} points")
        with Gradebook(f"sqlite:///{(self.output / GRADEBOOK).resolve()}") as gradebook:
            place = (question, self.lab.name, self.lab.name, nbgrader_id(student))
            grade = gradebook.find_grade(*place)
            grade.manual_score, grade.needs_manual_grade = points, points is None
            gradebook.find_comment(*place).manual_comment = comment.strip() or None
            gradebook.db.commit()


def serve(marking: Marking, port: int, told: Callable[[str], None]) -> None:
    """Shows the pages until it is interrupted.

    Args:
        port: on 127.0.0.1; 0 for any that is free.
        told: gets the address.
    """
    with _server(marking, port) as server:
        told(server.address)
        server.serve_forever()


class _server(HTTPServer):
    def __init__(self, marking: Marking, port: int):
        super().__init__(("127.0.0.1", port), _Handler)
        self.marking, self.key = marking, secrets.token_urlsafe(16)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self.address = f"http://127.0.0.1:{self.server_port}/{self.key}/"


class _Handler(BaseHTTPRequestHandler):
    server: _server

    def do_GET(self) -> None:
        if (question := self._asked()) is None:
            return
        script_key = secrets.token_urlsafe(16)
        try:
            page = self.server.marking.page(question, script_key)
        except CourseError as error:
            self._send(409, str(error), "text/plain")
            return
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
        self._send(200, page, "text/html", f"{policy}form-action 'none'; script-src 'nonce-{script_key}'")

    def do_POST(self) -> None:
        if (question := self._asked()) is None:
            return
        try:
            size = int(self.headers.get("Content-Length", 0))
            if not 0 < size <= MAX_REQUEST or self.headers.get_content_type() != "application/json":
                raise ValueError("no request of this page")
            given = json.loads(self.rfile.read(size))
            points = None if given["points"] is None else float(given["points"])
            self.server.marking.give(question, given["student"], given["answer"], points, given["comment"])
            self._send(200, json.dumps(self.server.marking.waiting()), "application/json")
        except (CourseError, ValueError, KeyError, TypeError) as error:
            self._send(409, str(error), "text/plain")

    def _asked(self) -> str | None:
        """The question that is meant; None, and an answer was sent, if somebody else asks than the page."""
        _, key, *rest = self.path.split("/")
        known = secrets.compare_digest(key.encode(), self.server.key.encode())
        questions = [cell.id for cell in self.server.marking.questions]
        question = (rest[0] if rest and rest[0] else questions[0]) if known else ""
        if self.headers.get("Host") not in self.server.hosts or question not in questions:
            self._send(404, "there is nothing here", "text/plain")
            return None
        return question

    def _send(self, status: int, text: str, kind: str, policy: str = "default-src 'none'") -> None:
        content = text.encode("utf-8")
        self.send_response(status)
        headers = {"Content-Security-Policy": policy, "Content-Type": f"{kind}; charset=utf-8"}
        headers |= {"Content-Length": str(len(content)), "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Requests are nothing to tell."""
