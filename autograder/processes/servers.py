"""The processes that grade, and the way of a job through them.

Neither this module nor what it imports loads torch: the grader's own process and dask's workers only pass data on.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from dataclasses import asdict, replace
from typing import Self

from autograder.errors import CourseError
from autograder.processes import forkserver
from autograder.processes.clock import LONGEST
from autograder.processes.forkserver import Parent, connect
from autograder.processes.frames import Closed, Wire, WireError
from autograder.processes.job import GRACE_SECONDS, START_SECONDS, Job, Report, Result, begin

STUCK = "what it gave is so large or so odd that the check computed without end"


class Servers:
    """A fork server of candidates and one of examiners. They start in the background; who asks too early waits.

    Use as a context manager.

    Args:
        parent: path of the `Parent` that they come from; without one they have their own.
    """

    def __init__(self, parent: str | None = None):
        self.parent = parent

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            path = self.parent or stack.enter_context(Parent()).path
            self.candidates = stack.enter_context(connect(path, "autograder.processes.candidate"))
            self.examiners = stack.enter_context(connect(path, "autograder.processes.examiner"))
            self.opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def walls(self) -> list[str]:
        """Which walls of the sandbox stand here, asked of a candidate that is started for it."""
        with forkserver.session(self.candidates) as candidates:
            ours, theirs = socket.socketpair()
            forkserver.fork(candidates, theirs)
            theirs.close()
            ours.settimeout(LONGEST * START_SECONDS)
            try:
                return begin(Wire(ours), [])
            except WireError as error:
                raise CourseError(f"a candidate process does not start: {error}") from error
            finally:
                ours.close()

    def examine(self, job: Job) -> Report:
        """Runs a job in a fresh examiner. Should that die or hang itself at an exercise, in its cell or a check, this
        costs the exercise's checks, and another examiner does the rest; nothing of the next job is touched."""
        report = Report()
        while True:
            ended, where = self._examine(job, report)
            if not ended:
                return report
            exercise = job.exercise_of.get(where, where)
            if exercise not in job.answers:  # in the lab's own cells: another one would fare no better
                report.lost = f"no result: {ended}"
                return report
            known = {r["question"] for r in report.results}
            lost = [c["id"] for c in job.cells if job.exercise_of.get(c["id"]) == exercise and c["id"] not in known]
            told = f"{exercise}: {ended} (at {where})"
            status = "timeout" if ended == STUCK else "crashed"
            report.results += [asdict(Result(check, False, status, told, told)) for check in lost]
            report.doubtful += lost if status == "crashed" else []
            job = replace(
                job,
                cells=[c for c in job.cells if c["id"] not in known.union(lost)],
                answers=job.answers if where != exercise else {e: a for e, a in job.answers.items() if e != exercise},
            )

    def _examine(self, job: Job, report: Report) -> tuple[str, str]:
        """Adds to a report. Returns why the examiner ended too early, or nothing, and the cell that it was at then."""
        with forkserver.session(self.candidates) as candidates:
            ours, theirs = socket.socketpair()
            pid = forkserver.fork(self.examiners, theirs, candidates)
            theirs.close()
            # longer than its own limits for what it does between two messages
            ours.settimeout(LONGEST * (START_SECONDS + 2 * (job.seconds + GRACE_SECONDS)))
            wire, where, ended = Wire(ours), "", ""
            try:
                wire.send(json.dumps(asdict(job)).encode())
                while True:
                    told = json.loads(wire.receive())
                    where = told.get("at", where)
                    if "result" in told:
                        report.results.append(told["result"])
                    if "report" in told:
                        last = Report(**told["report"])
                        report.output, report.walls, report.error = last.output, last.walls, last.error
                        return "", ""
            except (Closed, WireError) as error:
                ended = f"the process that examines it ended: {error}"
            finally:
                status = forkserver.kill(self.examiners, pid)
                ours.close()
            return STUCK if status == -signal.SIGXCPU else ended, where
