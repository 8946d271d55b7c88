"""Global switches: one answer's do not decide about another one."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mini_course import DOUBLE

from autograder.processes import switches

CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "grad mode": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), lambda: torch.ones(1).dtype),
    "default device": (lambda: torch.set_default_device("meta"), lambda: torch.ones(1).device),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "matmul precision": (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
    "anomaly mode": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "subnormals": (lambda: torch.set_flush_denormal(True), lambda: float(torch.tensor([1e-310]).double().mul(1))),
    "print options": (lambda: torch.set_printoptions(precision=1), lambda: str(torch.tensor(1 / 3))),
    "numpy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "numpy's print options": (lambda: np.set_printoptions(precision=1), lambda: str(np.array(1 / 3) * np.ones(1))),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: list(warnings.filters)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_switch_is_put_back(name: str):
    change, look = CHANGES[name]
    before, seen = switches.read(), look()
    change()
    try:
        if name != "subnormals":  # some processors cannot flush them
            assert look() != seen
    finally:
        switches.put_back(before)
    assert look() == seen


def test_without_a_default_device_there_is_none_afterwards():
    """A default of "cpu" would stand between torch and each of its calls, and move a GPU's tensor in `as_tensor`."""
    before = switches.read()
    torch.set_default_device("meta")
    switches.put_back(before)
    assert not torch.overrides._get_current_function_mode_stack()


def test_seeds_are_put_back():
    def drawn() -> list:
        return [random.random(), np.random.random(), float(torch.rand(()))]  # noqa: NPY002  what an answer may use

    switches.seed(7)
    first = drawn()
    switches.seed(7)
    assert drawn() == first


@pytest.mark.parametrize("place", ["in its cell", "in its function"])
def test_gradients_switched_off_by_one_answer_cost_another_one_nothing(place: str, grade):
    off = "import torch\ntorch.set_grad_enabled(False)\n"
    inside = "def double(x):\n    torch.set_grad_enabled(False)\n"
    source = off + DOUBLE if place == "in its cell" else DOUBLE.replace("def double(x):\n", inside)
    rows = grade(double=source)
    assert {row.question: row.status for row in rows.values() if row.status not in ("passed", "by hand")} == {}


def test_what_an_answer_sets_in_its_cell_holds_in_its_own_check(grade):
    source = "torch.set_default_dtype(torch.float64)\n" + DOUBLE.replace(
        "return x + x", 'assert torch.ones(1).dtype == torch.float64, "gone"\n    return x + x'
    )
    assert grade(double=source)["check_double"].status == "passed"
