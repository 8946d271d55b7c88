"""What a check cell says when a rule holds, and when it breaks."""

from __future__ import annotations

import math
import time
from collections import namedtuple

import numpy as np
import pytest
import torch

from course_utils.checks import expectations
from course_utils.checks.cases import forms, reused, side_by_side, state_of, watched
from course_utils.checks.expectations import (
    CheckFailed,
    check,
    expect,
    expect_close,
    expect_domain,
    expect_equal,
    expect_no_loop,
    expect_raises,
    expect_returns,
    expect_type,
    expect_unchanged,
    generator,
)


def raising(error: Exception):
    def call():
        raise error

    return call


def test_success_counts_rules_and_cases(capsys):
    with check("exercise"):
        expect(True, "first rule")
        expect_equal(1, 1, "second rule")
        expect_equal(2, 2, "second rule")
    assert capsys.readouterr().out.startswith("✓ exercise: 2 rules hold, 3 cases, ")


def test_expectations_work_outside_a_check():
    expect(torch.tensor(True), "a rule")


def test_failure_tells_rule_input_values_and_hint():
    with pytest.raises(CheckFailed) as failed:
        expect(False, "the rule", given=1, expected=2, got=3, hint="look here")
    text = str(failed.value)
    assert failed.value.rule == "the rule"
    for part in ("rule broken: the rule", "given     1", "expected  2", "got       3", "hint      look here"):
        assert part in text


def test_failure_is_shown_without_a_traceback():
    assert CheckFailed("the rule")._render_traceback_() == ["✗ rule broken: the rule"]


def test_smallest_failing_input_is_shown():
    given = torch.tensor([5.0, -2.0, 3.0])
    with pytest.raises(CheckFailed) as failed:
        expect_equal(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 1.0]), "a rule", given=given)
    assert "given     -2 at [1], 2 of 3 elements differ" in str(failed.value)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor([1.0, math.nan]), [1.0, math.nan]),
        (math.inf, math.inf),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
        ("text", "text"),
        (None, None),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_equal_values_are_equal(got, expected):
    expect_equal(got, expected, "a rule")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (torch.tensor([1, 2]), [1, 3]),
        (torch.zeros(3), torch.zeros(3, 1)),  # never broadcast
        (torch.zeros(0), 0.0),
        (math.nan, 1.0),
        (-math.inf, math.inf),
        (math.inf, 1.0),
        (None, 1.0),
        ("1", 1.0),
        (1.0, None),
        ("text", "Text"),
        (1 + 0j, 1.0),
    ],
)
def test_different_values_differ(got, expected):
    with pytest.raises(CheckFailed):
        expect_equal(got, expected, "a rule")


def test_python_floats_are_compared_in_float64():
    expect_equal(1 / 3, 1 / 3, "a rule")
    for got, expected in ((0.0, 1e-60), (1.0, 1.0 + 1e-12), ([0.1], [0.1 + 1e-15])):
        with pytest.raises(CheckFailed):
            expect_close(got, expected, "a rule", within=1e-65)


def test_close_takes_a_tolerance_per_element():
    expect_close([1.0, 10.0], [1.1, 11.0], "a rule", within=torch.tensor([0.11, 1.1]))
    with pytest.raises(CheckFailed, match=r"at \[1\]"):
        expect_close([1.0, 10.0], [1.1, 11.0], "a rule", within=torch.tensor([0.11, 0.9]))


def test_close_never_accepts_nan():
    with pytest.raises(CheckFailed):
        expect_close(math.nan, 1.0, "a rule", within=math.inf)


def test_expected_errors():
    expect_raises(ValueError, raising(ValueError("no")), "a rule")
    with pytest.raises(CheckFailed, match="TypeError: no"):
        expect_raises(ValueError, raising(TypeError("no")), "a rule")
    with pytest.raises(CheckFailed, match="got       7"):
        expect_raises(ValueError, lambda: 7, "a rule")


def test_an_error_where_a_result_is_expected_names_the_rule():
    assert expect_returns(lambda: 7, "a rule") == 7
    with pytest.raises(CheckFailed, match="a rule") as failed:
        expect_returns(raising(ZeroDivisionError("by zero")), "a rule", hint="ask first")
    assert "ZeroDivisionError: by zero" in str(failed.value)


@pytest.mark.parametrize("call", [expect_raises, expect_returns])
def test_an_untouched_exercise_says_so(call):
    arguments = (ValueError,) if call is expect_raises else ()
    with pytest.raises(CheckFailed, match="quantize_tensor is written"), check("quantize_tensor"):
        call(*arguments, raising(NotImplementedError("quantize_tensor")), "a rule")


@pytest.mark.parametrize("call", [expect_raises, expect_returns])
def test_torch_not_implementing_something_does_not_make_an_exercise_untouched(call):
    def answer():
        return torch.tensor([5]) + 2 ** (0 - 1) >> 0  # a real number, which >> cannot shift

    arguments = (ValueError,) if call is expect_raises else ()
    with pytest.raises(CheckFailed, match=r"a rule\n.*\n.*not implemented for .Float."), check("fixed_multiply"):
        call(*arguments, answer, "a rule")
    with pytest.raises(NotImplementedError, match="not implemented for"), check("fixed_multiply"):
        answer()


def test_an_untouched_exercise_that_an_answer_calls_is_named():
    with pytest.raises(CheckFailed, match="four_terms is written"), check("quantized_matmul"):
        raising(NotImplementedError("four_terms"))()


def test_a_missing_return_is_told():
    for call in (
        lambda: expect(False, "a rule", got=None),
        lambda: expect_equal(None, 3, "a rule"),
        lambda: expect_raises(ValueError, lambda: None, "a rule"),
    ):
        with pytest.raises(CheckFailed, match="got       None: is a return missing"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: never_run(1),  # noqa: F821
        lambda: expect_returns(lambda: never_run(1), "a rule"),  # noqa: F821
        lambda: expect_raises(ValueError, lambda: never_run(1), "a rule"),  # noqa: F821
    ],
)
def test_an_exercise_cell_that_was_not_run_says_so(call):
    with pytest.raises(CheckFailed, match=r"run the exercise cell, and every cell above"), check("never_run"):
        call()


def test_an_unknown_name_in_the_students_own_code_is_told_as_it_is():
    answer = {}
    exec(compile("def answer(x):\n    return unknown + x", "<answer>", "exec"), answer)
    with pytest.raises(NameError, match="unknown"), check("answer"):
        answer["answer"](1)
    with pytest.raises(CheckFailed, match="a rule") as caught, check("answer"):
        expect_returns(lambda: answer["answer"](1), "a rule")
    assert "name 'unknown' is not defined" in str(caught.value)


def test_other_errors_of_the_student_pass_through():
    with pytest.raises(KeyError), check("exercise"):
        raising(KeyError("mine"))()


@pytest.mark.parametrize(
    ("expected", "got", "shown"),
    [
        (1 / 3, 0.5, ("0.333333", "0.5")),
        (1.0, 1.0 + 2**-23, ("1", "1.00000012")),
        (1.0, 1.0 + 2**-52, ("1", "1.0000000000000002")),
        ([0.1, "a"], [0.25, "a"], ("[0.1, 'a']", "[0.25, 'a']")),
    ],
)
def test_as_many_digits_as_tell_the_values_apart(expected, got, shown):
    with pytest.raises(CheckFailed) as caught:
        expect(False, "a rule", expected=expected, got=got)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [f"  expected  {shown[0]}", f"  got       {shown[1]}"]


def test_long_values_are_cut():
    with pytest.raises(CheckFailed) as failed:
        expect(False, "a rule", got=torch.zeros(10_000))
    assert len(str(failed.value)) < 500


def test_generators_are_fresh_and_follow_the_seed(monkeypatch):
    first, second = (torch.rand(3, generator=generator()) for _ in range(2))
    assert torch.equal(first, second)
    monkeypatch.setattr(expectations, "_seed", 12345)
    assert not torch.equal(first, torch.rand(3, generator=generator()))


def test_whole_numbers_beyond_float64_are_told_apart():
    with pytest.raises(CheckFailed) as failure:
        expect_equal(torch.tensor([2**53 + 1]), torch.tensor([2**53]), "exact")
    assert "9007199254740993" in str(failure.value)
    expect_equal(torch.tensor([2**53 + 1]), [2**53 + 1], "exact")
    expect_equal(torch.tensor(3), 3.0, "a whole number equals the float of its value")


@pytest.mark.parametrize(("got", "expected"), [(-(2**63), 0), (-(2**63), 2**63 - 1), (2**63 - 1, -(2**63))])
def test_whole_numbers_do_not_wrap_round(got, expected):
    """What a cast of NaN or infinity to int64 gives is not 0."""
    with pytest.raises(expectations.CheckFailed):
        expectations.expect_equal(torch.tensor([got]), torch.tensor([expected]), "they are equal")
    with pytest.raises(expectations.CheckFailed):
        expectations.expect_close(torch.tensor([got]), torch.tensor([expected]), "they are close", within=2)


@pytest.mark.parametrize(
    "loop",
    [
        lambda x: [one + one for one in x],
        lambda x: [one + one for one in x.reshape(1, -1).unbind(-1)],
        lambda x: torch.tensor([math.ldexp(round(math.frexp(v)[0] * 16) / 16, math.frexp(v)[1]) for v in x.tolist()]),
        lambda x: np.vectorize(lambda v: math.ldexp(round(v), 0))(x.numpy()),
        lambda x: [torch.where(x >= 2.0**k, x / 2.0**k, x).round() for k in range(-126, 128)],
    ],
    ids=["rows", "columns", "comprehension", "vectorize", "hundreds of passes"],
)
def test_time_tells_a_loop_and_hundreds_of_passes_from_tensor_code(loop):
    expect_no_loop(lambda x: x.double().exp().log1p().round(), torch.ones)
    assert "no Python loop over the elements, nor what" in told(lambda: expect_no_loop(loop, torch.ones))


def test_a_slow_answer_is_told_before_its_time_is_up():
    """Each try takes as long as the whole limit of a check would leave for three."""
    started = time.perf_counter()
    assert "no Python loop" in told(lambda: expect_no_loop(lambda x: time.sleep(0.5), torch.ones))
    assert time.perf_counter() - started < 4


SOME = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**53,
        2**53 + 1,
        2**70,
        0.0,
        -0.0,
        1.0,
        math.nan,
        math.inf,
        "1",
        "",
        1j,
        torch.Size([2]),
    ),
    *(np.float64(1), np.int64(1), np.array([1.0, 2.0]), [1, 2], (1, 2), [1.0, 2.0], {"a": 1}, {"a": torch.ones(2)}, []),
    *(torch.tensor(v, dtype=d) for v in (1, [1, 2], [2, 1], []) for d in (torch.float32, torch.float16, torch.int8)),
    *(torch.tensor([1.0, math.nan]), torch.tensor([True, False]), torch.tensor([1j, 2j]), torch.ones(1, 2)),
    *(torch.nn.Parameter(torch.ones(2)), torch.ones(2), torch.ones(2).to_sparse(), [torch.ones(2)], [torch.ones(2), 1]),
]


@pytest.mark.parametrize("within", [0.0, 0.5, math.inf])
def test_the_short_way_for_what_is_plainly_equal_decides_nothing(within, monkeypatch):
    def verdicts():
        for got in SOME:
            for expected in SOME:
                try:
                    expectations._compare(got, expected, within, "they are equal", None, "")
                except Exception as error:
                    yield f"{type(error).__name__}: {error}"
                else:
                    yield "holds"

    short = list(verdicts())
    monkeypatch.setattr(expectations, "_same", lambda got, expected: False)
    assert short == list(verdicts())
    assert short.count("holds") > len(SOME) / 2


def told(call) -> str:
    with pytest.raises(CheckFailed) as failed:
        call()
    return str(failed.value)


def test_only_a_truth_value_equals_a_truth_value():
    expect_equal(torch.tensor([True, False]), [True, False], "a mask")
    expect_equal(np.array([True]), torch.tensor([True]), "a mask")
    for got in (torch.tensor([1.0, 0.0]), [1, 0], torch.tensor([1, 0])):
        assert "expected  tensor([True, False]), a bool tensor of shape (2,)" in told(
            lambda got=got: expect_equal(got, torch.tensor([True, False]), "a mask")
        )
    assert "got       tensor([1, 0]), a float32 tensor" in told(
        lambda: expect_equal(torch.tensor([1.0, 0.0]), torch.tensor([True, False]), "a mask")
    )
    assert "got       1, a Python int" in told(lambda: expect_equal(1, True, "a flag"))
    assert "got       None: is a return missing?" in told(lambda: expect_equal(None, True, "a flag"))
    expect_equal(torch.tensor([True]), [1], "a number for which a truth value does")


def test_dtypes_are_told_where_they_differ():
    third = torch.tensor([1 / 3])
    text = told(lambda: expect_equal(third, third.double() + 1e-9, "a third"))
    assert "(float64) at [0]" in text
    assert "(float32)" in text
    assert "float32" not in told(lambda: expect_equal(third, third + 1, "a third"))


def test_containers_of_tensors_are_compared_item_by_item():
    parts = {"a": torch.ones(2), "b": (torch.zeros(3), [torch.tensor(True), "text"])}
    expect_equal(parts, {"a": torch.ones(2), "b": (torch.zeros(3), [True, "text"])}, "all parts")
    text = told(
        lambda: expect_equal({"a": torch.ones(2), "b": torch.ones(3)}, {"a": torch.ones(2), "b": torch.zeros(3)}, "r")
    )
    assert "given     ['b'] of the result" in text
    assert "expected  0 at [0], 3 of 3 elements differ" in text
    assert "expected  a Python list of 2" in told(
        lambda: expect_equal([torch.ones(2)], [torch.ones(2), torch.ones(3)], "r")
    )
    assert "got       a float32 tensor of shape (2, 2)" in told(
        lambda: expect_equal(torch.ones(2, 2), [torch.ones(2), torch.ones(3)], "r")
    )
    assert "expected  [a, b]" in told(
        lambda: expect_equal({"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(2)}, "r")
    ).replace("'", "")


GOOD_TYPES = [(1, int), (np.int64(1), int), (1.0, float), (1, float), (np.float32(1), float), (True, bool), ([], list)]
GOOD_TYPES += [(torch.ones(2), torch.float32), (torch.ones(2), torch.Tensor)]
BAD_TYPES = [(True, int), (1.0, int), (True, float), (torch.ones(()), float), (1, bool), ((), list), (None, int)]
BAD_TYPES += [(torch.ones(2).double(), torch.float32), (1.0, torch.float32), (np.ones(2), torch.float64)]


def test_types():
    for got, kind in GOOD_TYPES:
        expect_type(got, kind, "its type")
    for got, kind in BAD_TYPES:
        assert "rule broken: its type" in told(lambda got=got, kind=kind: expect_type(got, kind, "its type"))
    expect_type(torch.ones(2, 3), torch.float32, "its shape", shape=(2, 3))
    text = told(lambda: expect_type(torch.ones(2, 3).double(), torch.float32, "its shape", shape=[3, 2]))
    assert "expected  a float32 tensor of shape (3, 2)" in text
    assert "got       a float64 tensor of shape (2, 3)" in text
    assert "expected  a Python int" in told(lambda: expect_type(1.5, int, "r"))


def test_a_domain_has_both_ends():
    def takes(low, high):
        def call(n):
            if not low <= n <= high:
                raise ValueError(n)
            return n

        return call

    ends = {"inside": (1, 16), "outside": (0, 17)}
    expect_domain(takes(1, 16), "n lies in 1 .. 16", **ends)
    for wrong, given in ((takes(0, 16), 0), (takes(1, 17), 17), (takes(2, 16), 1), (takes(1, 15), 16)):
        text = told(lambda wrong=wrong: expect_domain(wrong, "n lies in 1 .. 16", **ends, hint="both ends"))
        assert f"given     {given}\n" in text and "both ends" in text


def test_nothing_of_an_argument_changes_unseen():
    def changes(thing, call) -> str:
        before = state_of(thing)
        expect_unchanged(before, state_of(thing), "it is left alone")
        call(thing)
        return told(lambda: expect_unchanged(before, state_of(thing), "it is left alone", hint="copy it"))

    def network():
        return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(2, 1, bias=False))

    cases = [
        (torch.ones(2), lambda x: x.zero_(), "values"),
        (torch.ones(2), lambda x: x.requires_grad_(), "requires_grad"),
        (torch.ones(2, requires_grad=True), lambda x: x.sum().backward(), "grad"),
        (torch.ones(2), lambda x: x.resize_(3), "values"),
        ([torch.ones(2), 1], lambda x: x.append(1), "length"),
        ([torch.ones(2), 1], lambda x: x.__setitem__(1, 2), "[1]"),
        ({"a": torch.ones(2)}, lambda x: x["a"].zero_(), "['a'].values"),
        ({"a": 1}, lambda x: x.update(b=2), "keys"),
        (network(), lambda m: m.eval(), "training"),
        (network(), lambda m: m[1].eval(), "1.training"),
        (network(), lambda m: m[0].bias.data.zero_(), "0.bias.values"),
        (network(), lambda m: setattr(m[0], "bias", None), "0.bias.values"),
        (network(), lambda m: m[0].weight.requires_grad_(False), "0.weight.requires_grad"),
        (network(), lambda m: m[1](torch.ones(1, 2, 2, 2)), "1.running_mean.values"),
        (network(), lambda m: m[2].register_forward_hook(print), "2.hooks"),
        (network(), lambda m: m[2].register_forward_pre_hook(print), "2.hooks"),
        (network(), lambda m: setattr(m, "0", torch.nn.Identity()), "0.class"),
        (network(), lambda m: m.append(torch.nn.ReLU()), "3.class"),
        (network(), lambda m: setattr(m[1], "eps", 0.1), "1.attributes"),
        (network(), lambda m: setattr(m[1], "qconfig", object()), "1.attributes"),
        (network(), lambda m: m.double(), "0.weight.values"),
    ]
    for thing, call, name in cases:
        assert f"given     {name}\n" in changes(thing, call), name
    traced = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.ReLU()))
    assert "code" in changes(traced, lambda m: (m.graph.erase_node(list(m.graph.nodes)[-1]), m.recompile()))
    assert next(iter(state_of(1, torch.ones(1)))) == "argument 1"


def test_forms_have_the_same_values():
    x = torch.arange(24.0).reshape(2, 3, 4)
    found = dict(forms(x, (torch.float32, torch.float64)))
    assert len(found) == 10
    for name, form in found.items():
        assert form.dtype == (torch.float64 if "float64" in name else torch.float32)
        assert torch.equal(form.flatten(), x.flatten()[: form.numel()].to(form.dtype))
    assert not found["float32, shape (2, 3, 4), not contiguous"].is_contiguous()
    with pytest.raises(RuntimeError, match="view"):
        found["float64, shape (2, 3, 4), not contiguous"].view(-1)
    assert [form.dim() for form in found.values()][:5] == [3, 3, 1, 0, 1]
    assert "float32, empty" not in dict(forms(x, empty=False))


def test_state_on_the_class_shows_side_by_side():
    class Own:
        def __init__(self, value):
            self.value = value

    class Shared:
        def __init__(self, value):
            type(self).value = value

    def both(kind):
        return side_by_side([lambda: kind(1), lambda: kind(2)], lambda made: made.value)

    assert both(Own) == ([1, 2], [1, 2])
    assert both(Shared) == ([1, 2], [2, 2])


REMEMBERED: dict[int, torch.Tensor] = {}
BUFFER = torch.zeros(2, 3)


def by_identity(x):
    return REMEMBERED.setdefault(id(x), x + 1)


@pytest.mark.parametrize(
    ("use", "at_once", "later"),
    [
        (lambda x: x + 1, [1, 2], [1, 2]),
        (by_identity, [1, 1], [1, 1]),
        (lambda x: x, [0, 1], [0, 0]),
        (lambda x: torch.add(x, 1, out=BUFFER), [1, 2], [2, 2]),
    ],
    ids=["right", "kept by identity", "the argument itself", "one buffer"],
)
def test_storage_that_is_used_again(use, at_once, later):
    sets = [(torch.zeros(3, 2).T,), (torch.ones(2, 3),)]
    expect_equal(reused(use, sets), tuple([torch.full((2, 3), n) for n in found] for found in (at_once, later)), "")
    assert not sets[0][0].any() and sets[1][0].all(), "the check's own tensors are left alone"


def test_objects_stay_the_same_where_the_values_fit():
    Pair = namedtuple("Pair", "counts width")
    first = (torch.zeros(2), np.zeros(2), [1, {"a": torch.zeros(1)}], Pair(torch.zeros(2), 1.0), 1)
    second = (torch.ones(2), np.ones(2), [2, {"a": torch.ones(1)}], Pair(torch.ones(2), 1.0), 2)
    other = (torch.ones(3), np.ones(2, int), [1], Pair(torch.ones(2), 2.0), 3)
    seen = []
    assert reused(lambda *arguments: seen.append(arguments) or arguments[-1], [first, second, other])[0] == [1, 2, 3]
    kept = [[a is b for a, b in zip(seen[0], later, strict=True)] for later in seen[1:]]
    assert kept == [[True, True, True, True, False], [False] * 5]
    assert seen[0][2][1]["a"] is seen[1][2][1]["a"] and seen[2][3].counts is seen[0][3].counts
    assert isinstance(seen[2][3], Pair)


def test_every_call_is_watched():
    def overwrites(x, scale=None):
        return (x.double() if scale is None else scale).mul_(2)

    call = watched(overwrites, "x is left alone", hint="copy it")
    assert call(torch.ones(2)).tolist() == [2, 2]
    with pytest.raises(CheckFailed, match="rule broken: x is left alone"):
        call(torch.ones(2, dtype=torch.float64))
    with pytest.raises(CheckFailed, match="argument 2"):
        call(torch.ones(2), scale=torch.ones(1))
