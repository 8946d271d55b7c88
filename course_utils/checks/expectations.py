"""What a check cell calls: named expectations whose failure explains itself.

A check cell wraps its expectations in ``with check("quantize_tensor"):`` and states each one as a *rule* of the
exercise. When a rule is broken the student reads which rule, for which (smallest) input, what was expected, what
came, and one hint; never a bare ``AssertionError``. In a notebook this is a panel (`panel`), elsewhere text. The
grader runs the very same code, so that a notebook and the gradebook cannot disagree.

Stands on `panel` and torch.
"""

from __future__ import annotations

import functools
import math
import numbers
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from course_utils.checks import panel
from course_utils.checks.panel import Difference

__all__ = [
    "CheckFailed",
    "check",
    "expect",
    "expect_close",
    "expect_domain",
    "expect_equal",
    "expect_no_loop",
    "expect_raises",
    "expect_returns",
    "expect_type",
    "expect_unchanged",
    "generator",
    "probe",
]

_seed = 0  # the grader sets another one for every submission, so that inputs cannot be learnt by heart
_run_probe: Callable[[Callable], Callable] = lambda function: function  # noqa: E731  the grader sets another one


_UNTOLD: Any = object()  # None is something that functions return


class Unavailable(Exception):
    """For the grader: there is nothing to check, because an answer's cell failed or its process ended."""


class CheckFailed(AssertionError):
    """A broken rule, told in full.

    Attributes:
        rule: the broken rule, one sentence.
    """

    def __init__(
        self,
        rule: str,
        *,
        given: Any = None,
        expected: Any = None,
        got: Any = _UNTOLD,
        hint: str = "",
        difference: Difference | None = None,
    ):
        self.rule = rule
        self.difference = difference
        self.in_panel = False
        got = "None: is a return missing?" if got is None else None if got is _UNTOLD else got
        self.facts = {"given": given, "expected": expected, "got": got, "hint": hint or None}
        super().__init__(self._text("given", "expected", "got", "hint"))

    @property
    def public(self) -> str:
        """The same without the expected value: what a student may read of a hidden check."""
        return self._text("given", "got", "hint")

    @property
    def shown(self) -> dict[str, str]:
        """Every fact there is, as text."""
        digits = _digits(self.facts["expected"], self.facts["got"])
        return {name: _show(fact, digits) for name, fact in self.facts.items() if fact is not None}

    def _text(self, *names: str) -> str:
        lines = [f"  {name:<9} {fact}" for name, fact in self.shown.items() if name in names]
        return "\n".join([f"rule broken: {self.rule}", *lines])

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines instead of a traceback through the check's own code."""
        return [f"✗ rule broken: {self.rule} (see the panel above)" if self.in_panel else f"✗ {self}"]


class check:
    """Context manager around the expectations of one check cell.

    Args:
        exercise: the exercise's name, as in its cell's ``grade_id``.

    On success it tells how many rules held. The ``NotImplementedError`` of an untouched exercise, and a name that the
    check looks for in vain, become a `CheckFailed` that says so; every other error of the student's code passes through
    with its own traceback. In a notebook a panel shows the verdict.
    """

    active: check | None = None
    rules: ClassVar[dict[str, None]] = {}  # for the grader: all that held since it was cleared
    drew: ClassVar[bool] = False  # for the grader: whether a `generator` was made since this was set to False

    def __init__(self, exercise: str):
        self.exercise = exercise
        self.held: dict[str, int] = {}  # rule -> how many times it held

    def __enter__(self) -> check:
        check.active = self
        self.cell = sys._getframe(1).f_code.co_filename
        self.started = time.perf_counter()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        check.active = None
        if error is None:
            self._tell(self._success(), {})
            return
        if not isinstance(error, Exception):  # the interrupt key, the end of the process
            return
        failed = error if isinstance(error, CheckFailed) else self._explained(error)
        if failed is None:
            raised = f"{type(error).__name__}: {error}"
            self._tell(f"✗ {self.exercise}: {raised}", {"raised": raised, "where": "see the traceback below"})
            return
        failed.in_panel = self._tell(f"✗ {failed}", {"rule broken": failed.rule, **failed.shown}, failed.difference)
        if failed is not error:
            raise failed from None

    def _explained(self, error: Exception) -> CheckFailed | None:
        """What to tell instead of an error that says that there is nothing to check; None for every other error."""
        if _is_stub(error):
            return CheckFailed(
                f"{error if str(error) else self.exercise} is written",
                got="NotImplementedError: the exercise cell still holds its stub",
                hint="replace the raise line in the exercise cell by your answer, run it, then run this cell again",
            )
        if self.misses(error):
            return CheckFailed(
                f"{self.exercise} is defined",
                got=str(error),
                hint="run the exercise cell, and every cell above it, then run this cell again",
            )
        return None

    def _success(self) -> str:
        seconds = time.perf_counter() - self.started
        rules, cases = len(self.held), sum(self.held.values())
        told = f"{rules} rule{'s hold' if rules != 1 else ' holds'}, {cases} case{'s' if cases != 1 else ''}"
        return f"✓ {self.exercise}: {told}, {seconds:.2f} s"

    def _tell(self, text: str, facts: dict[str, str], difference: Difference | None = None) -> bool:
        """Shows the panel and returns True, or prints a success where there is no notebook."""
        if panel.in_notebook():
            panel.show(self.exercise, self.held, text, facts, difference)
            return True
        if not facts:
            print(text)
        return False

    def misses(self, error: BaseException | None) -> bool:
        """Whether the check itself, not the student's code, looked for a name that is not there."""
        if not isinstance(error, NameError):
            return False
        return traceback.extract_tb(error.__traceback__)[-1].filename == self.cell


def _is_stub(error: BaseException | None) -> bool:
    """Whether an error is a stub's, which has the exercise's name or nothing to say; torch raises some that explain."""
    return isinstance(error, NotImplementedError) and (not str(error) or str(error).isidentifier())


def _passes_through(error: Exception) -> bool:
    """Whether an error says that there is nothing to check, rather than how the answer does on an input."""
    missed = check.active is not None and check.active.misses(error)
    return missed or _is_stub(error) or isinstance(error, Unavailable)


def _held(rule: str) -> None:
    if check.active is not None:
        check.active.held[rule] = check.active.held.get(rule, 0) + 1
        check.rules[rule] = None


def expect(
    holds: Any, rule: str, *, given: Any = None, expected: Any = None, got: Any = _UNTOLD, hint: str = ""
) -> None:
    """Expect a condition.

    Args:
        holds: a truth value; a one-element tensor will do.
        rule: the rule it stands for, one sentence in the student's terms.
        given, expected, got: shown when the rule is broken.
        hint: what to look at, one sentence.

    Raises:
        CheckFailed: if it does not hold.
    """
    if not bool(holds):
        raise CheckFailed(rule, given=given, expected=expected, got=got, hint=hint)
    _held(rule)


def expect_equal(got: Any, expected: Any, rule: str, *, given: Any = None, hint: str = "") -> None:
    """Expect exact equality, element by element; NaN equals NaN, and shapes must agree.

    Args:
        got: a tensor, number, list, tuple or dict of these, or anything comparable with ``==``.
        expected: what it must be. Numbers are compared as float64, whatever their dtype (`expect_type` tells dtypes
            apart); but for a truth value only a truth value will do.
        rule, hint: see `expect`.
        given: the input. A tensor of the result's shape is taken element by element, and the failing element of
            smallest magnitude is shown.

    Raises:
        CheckFailed: if they differ.
    """
    _compare(got, expected, 0.0, rule, given, hint)


def expect_close(got: Any, expected: Any, rule: str, *, within: Any, given: Any = None, hint: str = "") -> None:
    """Expect ``|got - expected| <= within``, element by element.

    Args:
        within: the tolerance, a number or a tensor that broadcasts; take it from theory (scale / 2, one unit in the
            last place), not from what happens to pass.
        got, expected, rule, given, hint: see `expect_equal`.

    Raises:
        CheckFailed: if they are further apart.
    """
    _compare(got, expected, within, rule, given, hint)


def expect_raises(
    error: type[BaseException], call: Callable[[], Any], rule: str, *, given: Any = None, hint: str = ""
) -> None:
    """Expect that ``call()`` refuses its input by raising ``error``.

    Raises:
        CheckFailed: if it returns, or raises something else. A stub's ``NotImplementedError`` passes through.
    """
    try:
        result = call()
    except error:
        _held(rule)
        return
    except Exception as other:
        if _passes_through(other):
            raise
        raise CheckFailed(
            rule, given=given, expected=error.__name__, got=f"{type(other).__name__}: {other}", hint=hint
        ) from None
    raise CheckFailed(rule, given=given, expected=error.__name__, got=result, hint=hint)


def expect_returns(call: Callable[[], Any], rule: str, *, given: Any = None, hint: str = "") -> Any:
    """Expect that ``call()`` gives a result for its input instead of raising.

    For inputs on which a wrong answer raises (a division by zero, the minimum of nothing): the student then reads the
    rule instead of a bare traceback.

    Returns:
        The result.

    Raises:
        CheckFailed: if it raises. A stub's ``NotImplementedError`` passes through.
    """
    try:
        result = call()
    except Exception as error:
        if _passes_through(error):
            raise
        raise CheckFailed(
            rule, given=given, expected="a result", got=f"{type(error).__name__}: {error}", hint=hint
        ) from None
    _held(rule)
    return result


def expect_type(
    got: Any,
    kind: type | torch.dtype,
    rule: str,
    *,
    shape: Sequence[int] | None = None,
    given: Any = None,
    hint: str = "",
) -> None:
    """Expect a result of a type: a tensor of a dtype, and of a shape if one is given, or a Python object.

    Args:
        kind: ``torch.float32``, say, for a tensor; ``int`` for a whole number that is no truth value; ``float`` for any
            real number that is no truth value, since 1 is as good as 1.0; else a class.
        got, rule, given, hint: see `expect`.

    Raises:
        CheckFailed: if it is of another one.
    """
    if isinstance(kind, torch.dtype):
        fits = isinstance(got, torch.Tensor) and got.dtype == kind and (shape is None or got.shape == tuple(shape))
        of_shape = "" if shape is None else f" of shape {tuple(shape)}"
        wanted = f"a {_dtype(kind)} tensor{of_shape}"
    else:
        # what the grader gets of NumPy's numbers are Python's
        classes = {int: numbers.Integral, float: numbers.Real, bool: (bool, np.bool_)}
        fits = isinstance(got, classes.get(kind, kind)) and (kind is bool or not isinstance(got, bool | np.bool_))
        wanted = f"a Python {kind.__name__}"
    if not fits:
        raise CheckFailed(rule, given=given, expected=wanted, got=None if got is None else _kind(got), hint=hint)
    _held(rule)


def expect_domain(
    call: Callable[[Any], Any],
    rule: str,
    *,
    inside: Iterable[Any],
    outside: Iterable[Any],
    error: type[BaseException] = ValueError,
    hint: str = "",
) -> None:
    """Expect that ``call`` takes some arguments and refuses others: both ends of a range, from both sides.

    Args:
        inside: arguments for which it returns; the ends of the range.
        outside: arguments for which it raises ``error``; what lies next to them.
        rule, hint: see `expect`.

    Raises:
        CheckFailed: for the first argument that is not treated so.
    """
    for argument in inside:
        expect_returns(functools.partial(call, argument), rule, given=argument, hint=hint)
    for argument in outside:
        expect_raises(error, functools.partial(call, argument), rule, given=argument, hint=hint)


def expect_unchanged(before: dict[str, Any], after: dict[str, Any], rule: str, *, hint: str = "") -> None:
    """Expect that a call has left its arguments alone: two results of `state_of`, from before and after it.

    Raises:
        CheckFailed: if anything differs; it says what.
    """
    for name in [*before, *(n for n in after if n not in before)]:
        if name not in before or name not in after:
            told = "is gone" if name in before else "is new"
            raise CheckFailed(rule, given=name, expected="as before the call", got=f"{name} {told}", hint=hint)
        try:
            expect_equal(after[name], before[name], rule)
            same = not isinstance(before[name], torch.Tensor) or before[name].dtype == after[name].dtype
        except CheckFailed:
            same = False
        if not same:
            values = isinstance(before[name], torch.Tensor) and isinstance(after[name], torch.Tensor)
            was, came = (
                ("as before the call", "other values or another type") if values else (before[name], after[name])
            )
            raise CheckFailed(rule, given=name, expected=_show(was), got=_show(came), hint=hint)
    _held(rule)


def generator() -> torch.Generator:
    """A fresh random generator for a check's inputs.

    Its seed is fixed in a notebook and drawn anew for every submission by the grader.
    """
    check.drew = True
    return torch.Generator().manual_seed(_seed)


def probe(function: Callable) -> Callable:
    """Marks a function of a check that must run beside the student's code, because it needs what is not data there:
    gradients, modules, callbacks. It may use whatever the lab's given cells import, and must return plain data.
    In a notebook it is the function itself; the grader runs it in the candidate process.
    """
    return _run_probe(function)


def expect_no_loop(call: Callable[[torch.Tensor], Any], data: Callable[[int], torch.Tensor]) -> None:
    """Expect that ``call(data(n))`` computes with whole tensors: for up to 250,000 elements it takes less than half
    the time of a loop that takes each number apart and does nothing with it, or less than 30 ms. (Tensor code, also a
    lookup in a table, takes up to a quarter, whatever a loop calculates at least as much again. Time cannot tell a loop
    from a hundred passes over the tensor; so a docstring says this limit.) Each n is five times the last, so that a
    slow loop is found early. Only the quickest of up to eight tries counts, with one thread, for other programs may
    have the processors, and torch's threads wait for each other; of three where they take longer than a second, for a
    check has a time limit, too.

    Args:
        call: does the work on a tensor of n elements.
        data: makes the tensor. A shape of one row or one column tells loops over rows or columns, too.

    Raises:
        CheckFailed: if it takes too long.
    """
    rule = "there is no Python loop over the elements, nor what takes half as long as one"
    for n in (2000, 10_000, 50_000, 250_000):
        x, plain = data(n), torch.linspace(-20, 20, n)
        loop = took = math.inf
        allowed, started = 0.03, time.perf_counter()
        for tries in range(1, 9):
            took = min(took, _seconds(lambda x=x: call(x)))
            if took < allowed:
                break
            loop = min(loop, _seconds(lambda plain=plain: list(map(math.frexp, plain.tolist()))))
            allowed = 0.03 + loop / 2
            if tries >= 3 and time.perf_counter() - started > 1:
                break
        expect(
            took < allowed,
            rule,
            given=f"shape {tuple(x.shape)}; a loop that calls math.frexp for each element takes {1000 * loop:.0f} ms",
            got=f"{1000 * took:.0f} ms",
            hint="map, tolist and comprehensions loop, too: let torch work on the whole tensor at once, in few passes",
        )


def _seconds(work: Callable[[], Any]) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        torch.set_num_threads(threads)


def set_seed(seed: int) -> None:
    """For the grader: the seed of `generator` from now on."""
    global _seed
    _seed = seed


def run_probes_with(run: Callable[[Callable], Callable]) -> None:
    """For the grader: how `probe` functions are run from now on."""
    global _run_probe
    _run_probe = run


def _same(got: Any, expected: Any) -> bool:
    """Whether two values of one type are plainly equal. What is not may still be: NaN and NaN, 1 and 1.0."""
    if type(got) is not type(expected):
        return False
    if type(got) is torch.Tensor:
        alike = got.dtype == expected.dtype and got.device == expected.device and not got.is_complex()
        return alike and {got.layout, expected.layout} == {torch.strided} and torch.equal(got, expected)
    return type(got) in (bool, int, float, str) and got == expected


def _numbers(value: Any) -> torch.Tensor | None:
    """``value`` as int64 or float64 tensor, or None if it is not made of numbers (complex ones and None stay out)."""
    tensor = value
    if not isinstance(value, torch.Tensor):
        try:
            tensor = torch.as_tensor(value)
            if tensor.is_floating_point():
                # Python's floats are float64: torch's default float32 would turn 1e-60 into 0
                tensor = torch.as_tensor(value, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            return None
    if tensor.is_complex():
        return None
    return tensor.detach().to("cpu", torch.float64 if tensor.is_floating_point() else torch.int64)


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(value: Any) -> str:
    """What something is, rather than its value: ``a float32 tensor of shape (3, 5)``, ``a Python list``."""
    if isinstance(value, torch.Tensor):
        return f"a {_dtype(value.dtype)} tensor of shape {tuple(value.shape)}"
    items = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return f"a {'NumPy' if isinstance(value, np.ndarray | np.generic) else 'Python'} {type(value).__name__}{items}"


def _is_truth(value: Any) -> bool:
    """Whether a value, and each one in it, is True or False."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.dtype in (torch.bool, np.bool_)
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_truth, value))
    return isinstance(value, bool)


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(map(_holds_arrays, value.values() if isinstance(value, dict) else value))
    return isinstance(value, torch.Tensor | np.ndarray)


def _compare_items(got: Any, expected: list | tuple | dict, within: Any, rule: str, given: Any, hint: str) -> None:
    """Lists, tuples and dicts whose items are tensors of several shapes, or hold such ones."""
    if type(got) is dict and type(expected) is dict and got.keys() != expected.keys():
        raise CheckFailed(rule, given=given, expected=list(expected), got=list(got), hint=hint)
    if type(got) is not type(expected) or len(got) != len(expected):
        came = None if got is None else _kind(got)
        raise CheckFailed(rule, given=given, expected=_kind(expected), got=came, hint=hint)
    for key in expected if isinstance(expected, dict) else range(len(expected)):
        try:
            _compare(got[key], expected[key], within, rule, None, hint)
        except CheckFailed as failed:
            place = f"[{key!r}] of the result"
            failed.facts["given"] = place if given is None else f"{_show(given)}; {place}"
            raise CheckFailed(rule, difference=failed.difference, **failed.facts) from None


def _compare(got: Any, expected: Any, within: Any, rule: str, given: Any, hint: str) -> None:
    if _same(got, expected):  # most are, and the rest takes fifty times as long
        _held(rule)
        return
    if _is_truth(expected) and not _is_truth(got):
        told = [f"{_show(value)}, {_kind(value)}" for value in (expected, got)]
        raise CheckFailed(rule, given=given, expected=told[0], got=None if got is None else told[1], hint=hint)
    got_numbers, expected_numbers = _numbers(got), _numbers(expected)
    if isinstance(expected, list | tuple | dict) and (
        (expected_numbers is None and _holds_arrays(expected)) or (got_numbers is None and _holds_arrays(got))
    ):
        _compare_items(got, expected, within, rule, given, hint)
        return
    if expected_numbers is None:  # strings, None: compared as they are
        expect(
            type(got) is type(expected) and got == expected, rule, given=given, expected=expected, got=got, hint=hint
        )
        return
    if got_numbers is None:
        raise CheckFailed(rule, given=given, expected=expected, got=got, hint=hint)
    if got_numbers.shape != expected_numbers.shape:
        shapes = [f"shape {tuple(t.shape)}" for t in (expected_numbers, got_numbers)]
        raise CheckFailed(rule, given=given, expected=shapes[0], got=shapes[1], hint=hint)
    allowed = torch.as_tensor(within, dtype=torch.float64)
    gap = (got_numbers - expected_numbers).abs()
    if gap.is_floating_point() and (gap <= allowed).all():  # most are, and there is no more to ask
        _held(rule)
        return
    # where both are whole numbers they are compared as such: float64 cannot tell 2^53 from 2^53 + 1
    same = (got_numbers == expected_numbers) | (got_numbers.isnan() & expected_numbers.isnan())
    if not gap.is_floating_point():
        # int64 wraps round: -2^63, which overflowing casts give, would be 1 away from 2^63 - 1, and less than 0 from 0
        rough = (got_numbers.double() - expected_numbers.double()).abs()
        gap = torch.where(rough < 2.0**62, gap.double(), rough)
    bad = ~(same | (gap <= allowed))
    if bad.any():
        given_numbers = _numbers(given) if isinstance(given, torch.Tensor) else None
        elementwise = given_numbers is not None and given_numbers.shape == bad.shape
        size = (given_numbers if elementwise else expected_numbers).double().abs().nan_to_num(nan=torch.inf)
        where = int(torch.where(bad, size, torch.inf).flatten().argmin())
        if not bad.flatten()[where]:  # every failing element is infinite: take the first
            where = int(bad.flatten().int().argmax())
        if bad.dim():
            place = ", ".join(str(int(i)) for i in torch.unravel_index(torch.tensor(where), bad.shape))
            at = f" at [{place}], {int(bad.sum())} of {bad.numel()} elements differ"
        else:
            at = ""
        wanted, came = expected_numbers.flatten()[where].item(), got_numbers.flatten()[where].item()
        digits = _digits(wanted, came)
        types = ["", ""]
        if isinstance(got, torch.Tensor) and isinstance(expected, torch.Tensor) and got.dtype != expected.dtype:
            types = [f" ({_dtype(tensor.dtype)})" for tensor in (expected, got)]
        raise CheckFailed(
            rule,
            given=f"{_show(given_numbers.flatten()[where], digits)}{at}" if elementwise else given,
            expected=f"{_show(wanted, digits)}{types[0]}{'' if elementwise else at}",
            got=f"{_show(came, digits)}{types[1]}",
            hint=hint,
            difference=_difference(given_numbers if elementwise else None, expected_numbers, got_numbers, bad, allowed),
        )
    _held(rule)


def _difference(
    given: torch.Tensor | None, expected: torch.Tensor, got: torch.Tensor, bad: torch.Tensor, allowed: torch.Tensor
) -> Difference | None:
    if not panel.drawable(expected):
        return None
    numbers = None if given is None else given.double()
    return Difference(numbers, expected.double(), got.double(), bad, allowed.expand(bad.shape))


def _digits(first: Any, second: Any) -> int:
    """How many significant digits tell two values apart: 6, 9 (enough for any two of float32) or 17 (of float64)."""
    return next((digits for digits in (6, 9) if _show(first, digits) != _show(second, digits)), 17)


def _show(value: Any, digits: int = 9) -> str:
    """A value on one line, at most 400 characters."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
        value = value if not isinstance(value, list) else f"tensor({_show(value, digits)})"
    whole = isinstance(value, float) and value.is_integer() and 0 < abs(value) < 2**53
    if isinstance(value, list | tuple):
        text = ", ".join(repr(v) if isinstance(v, str) else _show(v, digits) for v in value[:200])
        text = f"[{text}]" if isinstance(value, list) else f"({text}{',' if len(value) == 1 else ''})"
    elif isinstance(value, str):
        text = value
    else:
        text = str(int(value)) if whole else f"{value:.{digits}g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:397] + "..."
