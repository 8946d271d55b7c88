"""The allow-list of system calls: its numbers, the filter that is made of it, and that the demos need no more.

That the labs need no more, `tests/labs/test_walls_of_labs.py` tells; the mishaps of `test_mishaps`, and all variants of
the gates, are graded behind the same walls."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import re
from pathlib import Path

import pytest
from mini_course import write_mini

from autograder.grading.grader import Grader, Submission
from autograder.grading.submission import Answers
from autograder.labs.pages import Page
from autograder.sandbox import walls
from autograder.sandbox.system_calls import ALLOWED, ONLY, YOUNG

HEADERS = [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")]
X86_64, AARCH64 = 0, 1
ALLOW, KILL = "allowed", "ended"


def numbers(machine: int) -> dict[str, int]:
    """Of Linux's own header; aarch64 has the numbers that all younger machines share."""
    if not HEADERS[machine].exists():
        pytest.skip(f"NOT COMPARED: {HEADERS[machine]} is not installed (Debian: linux-libc-dev)")
    text = HEADERS[machine].read_text()
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    same = re.findall(r"#define __NR_(\w+) __NR3264_(\w+)", text)  # by another name where addresses have 64 bits
    return found | {name: found[other] for name, other in same if other in found}


@pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_numbers_are_linuxs_own(machine):
    known = numbers(machine)
    # arch_prctl is x86's; the old calls that younger machines never had have a number on x86_64 only
    assert {name: known.get(name) for name in ALLOWED} == {name: number[machine] for name, number in ALLOWED.items()}
    assert set(ONLY) <= set(ALLOWED)


@pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_numbers_are_those_of_libseccomp(machine):
    """It has a table of its own for each machine, wherever it runs."""
    if (path := ctypes.util.find_library("seccomp")) is None:
        pytest.skip("NOT COMPARED: libseccomp is not installed (Debian: libseccomp2)")
    look_up = ctypes.CDLL(path).seccomp_syscall_resolve_name_arch
    found = {n: look_up(ctypes.c_uint32(walls._AUDIT_ARCHITECTURE[machine]), n.encode()) for n in ALLOWED}
    # below 0 are those that the machine does not have
    assert {name: number if number >= 0 else None for name, number in found.items()} == {
        name: numbers[machine] for name, numbers in ALLOWED.items()
    }


def outcome(program: list[tuple[int, int, int, int]], number: int, *arguments: int, architecture: int) -> object:
    """What the kernel would make of a call: `ALLOW`, `KILL`, or the number of an error."""
    seen = {0: number, 4: architecture} | {16 + 8 * n: value for n, value in enumerate(arguments)}
    held, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        match code:
            case 0x20:
                held = seen.get(constant, 0)
            case 0x54:
                held &= constant
            case 0x15:
                at += if_true if held == constant else if_false
            case 0x35:
                at += if_true if held >= constant else if_false
            case 0x06:
                return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(constant, constant & 0xFFFF)


@pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_the_filter_does_what_the_list_says(machine):
    program, here = walls._filter(machine), walls._AUDIT_ARCHITECTURE[machine]
    assert len(program) < 4096, "as many the kernel takes"
    listed = {number[machine]: name for name, number in ALLOWED.items() if number[machine] is not None}

    def call(name_or_number: str | int, *arguments: int, architecture: int = here) -> object:
        number = ALLOWED[name_or_number][machine] if isinstance(name_or_number, str) else name_or_number
        return outcome(program, number, *arguments, architecture=architecture)

    for number in range(1024):
        name = listed.get(number)
        if name is None:
            assert call(number) == (errno.EPERM if number < YOUNG else errno.ENOSYS), number
        elif name not in ONLY:
            assert call(number, 2**32 - 1, 2**32 - 1) == ALLOW, name
    for name, only in ONLY.items():
        if ALLOWED[name][machine] is None:
            continue
        for value in only.values:
            assert call(name, *[0] * only.argument, value) == ALLOW, (name, value)
        for bits in only.never:
            assert call(name, *[0] * only.argument, bits | 0x11) == only.error, (name, bits)
        assert call(name, *[0] * only.argument, 0xFFFF) == only.error, name
    assert call("mmap", 0, 0, 0, 0x22) == ALLOW  # private memory
    assert call("mmap", 0, 0, 0, 0x01) == ALLOW  # a file that others may see
    assert call("clone", 0x3D0F00) == ALLOW  # a thread, as glibc makes one
    assert call("clone", 0x1200011) == ALLOW  # os.fork
    assert call(0x40000000 + 1) == errno.ENOSYS  # x86_64's second table
    assert call("read", architecture=0x40000003) == KILL  # the table of 32 bits


def skip_without_a_filter(grader: Grader) -> None:
    if "system calls" not in grader.walls():
        pytest.skip("NOT TRIED: this system's sandbox does not filter system calls")


def test_demos_need_no_more(grader, tmp_path):
    skip_without_a_filter(grader)
    code = [cell.source for cell in Page("demos").notebook.cells if cell.cell_type == "code"]
    lab = write_mini(
        tmp_path,
        """# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course: {title: Demos, check_seconds: 120}
# ---

# %% nbgrader={"grade_id": "shown", "solution": true}
def shown():
    ### BEGIN SOLUTION
    return 0
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_shown", "grade": true, "points": 1}
assert shown() > 10
""",
    )
    answer = "\n".join([*code, "import matplotlib.pyplot as plt", f"def shown():\n    return {len(code)}"])
    (row,) = grader.grade(Submission("demos", lab, Answers({"shown": answer}))).rows
    assert row.status == "passed", row
