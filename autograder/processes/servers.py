"""The processes that grade, and the way of a job through them.

Neither this module nor what it imports loads torch: the grader's own process and dask's workers only pass data on.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import asdict
from typing import Self

from autograder.errors import CourseError
from autograder.processes import forkserver
from autograder.processes.forkserver import Parent, connect
from autograder.processes.frames import Closed, Wire, WireError
from autograder.processes.job import GRACE_SECONDS, START_SECONDS, Job, Report, crowding, read_walls


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
            ours.settimeout(START_SECONDS * crowding())
            try:
                return read_walls(Wire(ours))
            except WireError as error:
                raise CourseError(f"a candidate process does not start: {error}") from error
            finally:
                ours.close()

    def examine(self, job: Job) -> Report:
        """Runs a job in a fresh examiner. Should that die or hang itself, the report says so, and nothing of the next
        job is touched."""
        with forkserver.session(self.candidates) as candidates:
            ours, theirs = socket.socketpair()
            pid = forkserver.fork(self.examiners, theirs, candidates)
            theirs.close()
            # longer than its own limits, also should the machine become busy meanwhile
            ours.settimeout(10 * (START_SECONDS + (job.seconds + 2 * GRACE_SECONDS) * 2 * len(job.cells)))
            wire = Wire(ours)
            try:
                wire.send(json.dumps(asdict(job)).encode())
                return Report(**json.loads(wire.receive()))
            except (Closed, WireError) as error:
                return Report(lost=f"the process that examines the answers ended without a result: {error}")
            finally:
                forkserver.kill(self.examiners, pid)
                ours.close()
