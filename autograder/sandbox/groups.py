"""A control group for each candidate, with a limit of memory, where the system lends the grader a group of its own.

It counts what no process is seen to hold: what the kernel keeps for an answer. Linux lends a group (version 2,
delegated, with the memory controller) to ``systemd-run --user --scope --property Delegate=yes course grade ...``, for
instance. Without one the watcher of `autograder.sandbox.walls` counts what processes hold, and what belongs to none is
refused. Sources: cgroups(7), and systemd's "Control group APIs and delegation". Tested on folders that look like
groups; NOT on a machine that lends one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

GROUP = "memory group"
"""What `autograder.sandbox.walls.enter` adds to the walls that stand."""

NO_GROUP = "; no memory group is lent: what processes hold is counted, and what belongs to none is refused"
"""What is said where there is none."""

GRADER = "grader"  # a group that limits others may hold no processes itself: ours move into one below


def lent(groups: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")) -> Path | None:
    """The group below which ours can be made; None if the system lends none."""
    try:
        own = next(line[3:] for line in of_process.read_text().splitlines() if line.startswith("0::"))
        group = groups / own.lstrip("/")
        if group.name == GRADER:  # another server of the same grader's was here
            group = group.parent
        if not _delegated(group) or "memory" not in (group / "cgroup.controllers").read_text().split():
            return None
        inner = group / GRADER
        inner.mkdir(exist_ok=True)
        for process in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                (inner / "cgroup.procs").write_text(process)
        (group / "cgroup.subtree_control").write_text("+memory")
    except (OSError, StopIteration):
        return None
    return group


def _delegated(group: Path) -> bool:
    """systemd marks what it lends. What one only could write to, as root, is not ours."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


def make(lent: Path, name: str, memory: int) -> Path:
    """A new group in which all processes together may take so many bytes, of the kernel's too; those of candidates that
    have ended are removed."""
    for old in lent.glob("candidate-*"):
        with contextlib.suppress(OSError):  # somebody is in there
            old.rmdir()
    group = lent / f"candidate-{name}"
    group.mkdir()
    (group / "memory.max").write_text(str(memory))
    with contextlib.suppress(OSError):  # there is nothing to swap to
        (group / "memory.swap.max").write_text("0")
    (group / "memory.oom.group").write_text("1")  # all of them end, not one
    return group


def join(group: Path) -> None:
    """Puts this process into the group, and so all that descend from it."""
    (group / "cgroup.procs").write_text("0")


def overran(folder: int) -> bool:
    """Whether a group, opened as a folder, has ended its processes because they took more than it may."""
    try:
        with open(os.open("memory.events", os.O_RDONLY, dir_fd=folder)) as file:  # noqa: PTH123
            return int(dict(line.split() for line in file)["oom_kill"]) > 0
    except (OSError, KeyError, ValueError):
        return False
