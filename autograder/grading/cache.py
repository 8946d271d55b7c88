"""Remembers what became of a check, so that nothing is graded twice.

A result is found again by everything that it depends on: the check, the lab's given cells, all answers, the limits, and
the code that grades. A changed check, a changed answer or another version of the kit has another key; so a stale result
cannot come back, and nothing needs to be cleared. Because each result is stored as soon as it is there, a grader that
was killed goes on where it was.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import autograder
import course_utils
from autograder.labs.cell import Cell
from autograder.processes.job import Job


class ResultCache:
    """An SQLite file of results, one row per check and submission. Use as a context manager.

    Args:
        path: the file; without one the results are kept in memory.
    """

    def __init__(self, path: Path | None = None):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self.database = sqlite3.connect(path or ":memory:", timeout=60)  # another run may be writing
        self.database.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, result TEXT NOT NULL)")

    def __enter__(self) -> ResultCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def get(self, key: str) -> dict | None:
        row = self.database.execute("SELECT result FROM results WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, results: dict[str, dict]) -> None:
        """Stores results, all or none of them."""
        with self.database:
            rows = [(key, json.dumps(result)) for key, result in results.items()]
            self.database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", rows)


def common_key(job: Job) -> str:
    """Stands for everything but the check that a result depends on."""
    given = [c["source"] for c in job.cells if c["kind"] == "given" and c["is_code"]]
    parts = asdict(job) | {"cells": given, "exercise_of": None, "uses": None, "environment": environment_key()}
    return _digest(parts)


def check_key(common: str, check: Cell) -> str:
    return _digest([common, check.id, check.source])


@functools.cache
def environment_key() -> str:
    """Changes with every line of the kit's code that runs where answers are graded, and every version of what decides
    about numbers."""
    kit = Path(autograder.__file__).parent
    folders = [kit / "processes", kit / "sandbox", Path(course_utils.__file__).parent]
    files = [kit / "labs" / "cell.py", *(path for folder in folders for path in sorted(folder.rglob("*.py")))]
    sources = {str(path.relative_to(kit.parent)): path.read_text("utf-8") for path in files}
    return _digest([sources, version("torch"), version("numpy")])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
