"""Time limits that a busy machine does not shorten and an answer cannot stretch.

What counts is what an examiner and its candidate use and what they wait for; not how long they stood in the queue for a
core, where others had taken all. Linux tells that of every process. An answer that keeps the cores busy itself, with
processes or threads of its own, waits on its own account.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

LONGEST = 10
"""However busy the machine is, a limit ends after so many times its seconds by the clock on the wall."""

UNTOLD = 3
"""By how much limits are longer where the system does not tell how long a process waited for a core (macOS)."""

TICKS = (0.05, 0.25)  # seconds between two looks, drawn: an answer cannot know when to look idle

WORTH_ASKING = 0.001  # seconds of waiting, below which it does not matter who is to blame for them

_draw = random.SystemRandom().uniform


class TimeUp(BaseException):
    """Raised by the alarm. A BaseException, so that no ``except Exception`` of a check swallows it."""


class Clock:
    """Counts the seconds of this process and of a candidate, inside of `limit`.

    Attributes:
        counted: seconds so far.
        candidate: process number of the candidate, once there is one.
    """

    def __init__(self) -> None:
        self.counted = 0.0
        self.candidate: int | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raises `TimeUp` inside the block when its time is up."""
        began, end = time.perf_counter(), self.counted + seconds
        self._begin()

        def ring(*_: object) -> None:
            self._look()
            if self.counted >= end or time.perf_counter() - began >= LONGEST * seconds:
                raise TimeUp
            again()

        def again() -> None:
            signal.setitimer(signal.ITIMER_REAL, min(_draw(*TICKS), max(end - self.counted, 0.001)))

        signal.signal(signal.SIGALRM, ring)
        again()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._look()

    def _begin(self) -> None:
        self._at, self._queued = time.perf_counter(), self._in_queue()

    def _look(self) -> None:
        """Counts what has passed since the last look."""
        at, (own, theirs) = self._at, self._queued
        self._begin()
        passed, (own_after, theirs_after) = self._at - at, self._queued
        if own is None or own_after is None:
            self.counted += passed / UNTOLD
            return
        waited = own_after - own
        if theirs is not None and theirs_after is not None:
            waited += theirs_after - theirs
            if waited > WORTH_ASKING and _busy_beside(self.candidate):
                waited = 0.0
        self.counted += min(max(passed - waited, 0.0), passed)

    def _in_queue(self) -> tuple[float | None, float | None]:
        """Seconds that this process and the candidate have waited for a core since they began."""
        return in_queue("self"), None if self.candidate is None else in_queue(self.candidate)


def in_queue(process: int | str) -> float | None:
    """Seconds that a process's first thread has waited for a core; None if the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def only_child(process: int) -> int | None:
    """The first child of a process, if the system tells of it."""
    children = _read(f"/proc/{process}/task/{process}/children").split()
    return int(children[0]) if children else None


def _busy_beside(process: int) -> bool:
    """Whether another thread of a process, or a process that descends from it, wants a core at this moment."""
    for task in Path(f"/proc/{process}/task").glob("*"):
        if task.name != str(process) and _wants_core(task):
            return True
        for child in _read(f"{task}/children").split():
            if _wants_core(Path(f"/proc/{child}")) or _busy_beside(int(child)):
                return True
    return False


def _wants_core(task: Path) -> bool:
    return _read(f"{task}/stat").rpartition(")")[2].split()[:1] == ["R"]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")  # a process can give itself a name that is no text
    except OSError:  # it has ended
        return ""
