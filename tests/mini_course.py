"""A tiny course to grade, for all tests of the grader."""

from __future__ import annotations

from pathlib import Path

import psutil

from autograder.labs.lab import Lab

MINI = '''\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Mini
#     check_seconds: 2
#     withhold:
#       [course_utils.checks.expect_raises, course_utils.numerics.affine, torchao,
#        torch.quantize_per_tensor, "aten::quantize_per_channel"]
# ---

# %% [markdown]
# # Mini

# %%
import torch

from course_utils.checks import check, expect, expect_close, expect_equal, expect_raises, generator, probe

FACTOR = 2

# %% tags=["explore"]
raise RuntimeError("the grader must leave explore cells out")

# %% nbgrader={"grade_id": "double", "solution": true}
def double(x):
    """Twice x; a ValueError for a string."""
    ### BEGIN SOLUTION
    if isinstance(x, str):
        raise ValueError("a string cannot be doubled")
    return FACTOR * x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_double", "grade": true, "points": 2}
with check("double"):
    expect_equal(double(3), 6, "the double of 3 is 6")
    ### BEGIN HIDDEN TESTS
    x = torch.randn(5, generator=generator())
    before = x.clone()
    result = double(x)
    expect_equal(x, before, "doubling leaves its input alone", hint="do not write into x")
    expect_equal(result, x + x, "doubling works on tensors", given=x, hint="multiply by two")
    expect_raises(ValueError, lambda: double("ab"), "a string is refused")
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "counter", "solution": true}
class Counter:
    """Counts up; draws steps from a generator; knows a gradient."""
    ### BEGIN SOLUTION
    def __init__(self, start):
        self.value = start

    def step(self, generator):
        self.value += int(torch.randint(1, 10, (), generator=generator))
        return self.value

    def square(self, x):
        return x * x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_counter", "grade": true, "points": 1}
with check("counter"):
    counter = Counter(5)
    expect_equal(counter.value, 5, "a counter starts where it is told")
    ### BEGIN HIDDEN TESTS
    steps = torch.randint(1, 10, (2,), generator=generator())
    source = generator()
    one, two = torch.randint(1, 10, (), generator=source), torch.randint(1, 10, (), generator=source)
    source = generator()
    expect_equal(counter.step(source), 5 + one, "the first step is the generator's first number")
    expect_equal(counter.step(source), 5 + one + two, "the generator moves on")
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_counter_gradient", "grade": true, "points": 1}
with check("counter"):
    @probe
    def gradient(at):
        x = torch.tensor(at, requires_grad=True)
        Counter(0).square(x).backward()
        return x.grad

    expect_equal(gradient(3.0), 6.0, "the square's gradient at 3 is 6")

# %% [markdown]
# Why?

# %% [markdown] nbgrader={"grade_id": "why", "grade": true, "solution": true, "points": 3}
# Because the model answer says so, at length.
'''

DOUBLE = "def double(x):\n    if isinstance(x, str):\n        raise ValueError\n    return x + x\n"


def write_mini(root: Path, source: str = MINI) -> Lab:
    folder = root / "solutions" / "00_mini"
    folder.mkdir(parents=True)
    (folder / "00_mini.py").write_text(source, encoding="utf-8")
    return Lab("00_mini", root)


def newest_parent() -> psutil.Process:
    """The process that the servers of the grader that was started last come from."""
    parents = [p for p in psutil.Process().children() if "autograder.processes.forkserver" in p.cmdline()]
    return max(parents, key=psutil.Process.create_time)
