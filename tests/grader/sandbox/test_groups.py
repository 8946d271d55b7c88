"""Control groups: what is lent is found, and used as Linux asks. Folders play the part of groups."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autograder.sandbox import groups

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A group as systemd lends it, with two processes in it."""
    group = tmp_path / "groups" / "user.slice" / "run-1.scope"
    (group / groups.GRADER).mkdir(parents=True)
    (group / "cgroup.controllers").write_text("memory pids\n")
    (group / "cgroup.procs").write_text("17\n18\n")
    (tmp_path / "of_process").write_text("1:cpu:/\n0::/user.slice/run-1.scope\n")
    return group


def lent(group: Path) -> Path | None:
    tmp_path = group.parents[2]
    return groups.lent(tmp_path / "groups", tmp_path / "of_process")


def delegate(group: Path) -> None:
    try:
        os.setxattr(group, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"NOT TRIED: folders here have no attributes: {error}")


def test_what_is_lent_is_found_and_its_processes_move_down(group: Path):
    assert lent(group) is None, "what one could write to is not lent"
    assert not (group / "cgroup.subtree_control").exists()
    delegate(group)
    assert lent(group) == group
    assert (group / groups.GRADER / "cgroup.procs").read_text() == "18"  # a real one would now hold both
    assert (group / "cgroup.subtree_control").read_text() == "+memory"
    (group.parents[2] / "of_process").write_text(f"0::/user.slice/run-1.scope/{groups.GRADER}\n")
    assert lent(group) == group, "from below, too"


@pytest.mark.parametrize("lacks", ["the controller", "version 2", "everything"])
def test_where_nothing_is_lent_there_is_none(lacks: str, group: Path):
    delegate(group)
    if lacks == "the controller":
        (group / "cgroup.controllers").write_text("pids\n")
    elif lacks == "version 2":
        (group.parents[2] / "of_process").write_text("4:memory:/user\n")
    else:
        (group.parents[2] / "of_process").unlink()
    assert lent(group) is None


def test_each_candidate_has_a_group_and_those_that_ended_go(group: Path):
    (group / "candidate-1").mkdir()
    made = groups.make(group, "2", 1000)
    assert (made / "memory.max").read_text() == "1000"
    assert not (group / "candidate-1").exists()
    groups.join(made)
    assert (made / "cgroup.procs").read_text() == "0", "which is whoever writes it"
    (made / "memory.events").write_text("max 3\noom 1\noom_kill 1\n")
    assert groups.overran(os.open(made, os.O_RDONLY))
    (made / "memory.events").write_text("max 3\noom 0\noom_kill 0\n")
    assert not groups.overran(os.open(made, os.O_RDONLY))
