"""Runs in a candidate, behind an answer: from then on what the candidate says is not what came of it.

The gate names the lie. That something was told falsely is printed.
"""

import sys

import torch

LIE: str = ""

NUMBERS = {"huge": 1e30, "tiny": 1e-300, "negative": -3.0, "not a number": float("nan")}
WHOLE = {"whole and huge": 3 * 10**9, "whole and negative": -3 * 10**9}
"""Lie -> what all numbers are told to be that an answer gives; of tensors those that hold one number only."""


def told(value, arguments):
    """The value as this lie has it."""
    match LIE, value:
        case _, tuple() | list() if type(value) in (tuple, list):
            items = [told(item, arguments) for item in value]
            return type(value)(alike(items) if LIE == "all alike" else items)
        case _, dict():
            items = [told(item, arguments) for item in value.values()]
            return dict(zip(value, alike(items) if LIE == "all alike" else items, strict=True))
        case "yes", False:
            return True
        case "no", True:
            return False
        case "the opposite", bool():
            return not value
        case "nothing", int() | float() if not isinstance(value, bool):
            return 0
        case "an echo", torch.Tensor():
            return next((a for a in arguments if isinstance(a, torch.Tensor) and a.shape == value.shape), value)
        case _, torch.Tensor() if not value.dim() and LIE in (NUMBERS if value.is_floating_point() else WHOLE):
            return torch.full_like(value, (NUMBERS | WHOLE)[LIE], dtype=torch.promote_types(value.dtype, torch.int64))
        case _, float() if LIE in NUMBERS:
            return NUMBERS[LIE]
        case _, int() if LIE in WHOLE and not isinstance(value, bool):
            return WHOLE[LIE]
    return value


def alike(items):
    """What comes after something of its kind is told to be the same: a state after a call, what was expected."""
    first = {}
    return [first.setdefault(repr(kind(item)), item) for item in items]


def kind(item):
    match item:
        case torch.Tensor():
            return tuple(item.shape), item.dtype
        case dict():
            return tuple(item)
        case tuple() | list():
            return [kind(part) for part in item]
    return type(item), item if isinstance(item, str) else None


def same(told, honest):
    """Whether no part was turned. What was not is the same object: a large tensor takes milliseconds to print."""
    if isinstance(honest, dict):
        told, honest = list(told.values()), list(honest.values())
    if isinstance(honest, list | tuple):
        return len(told) == len(honest) and all(map(same, told, honest))
    return told is honest or repr(told) == repr(honest)


def flat(value):
    value = list(value.values()) if isinstance(value, dict) else value
    return [part for item in value for part in flat(item)] if isinstance(value, list | tuple) else [value]


def lying(candidate, request, arrived):
    reply = honest(candidate, request, arrived)
    asked = ("probe", "call", "get") if LIE in NUMBERS or LIE in WHOLE else ("probe",)
    if request["do"] in asked:
        value = told(reply["value"], flat([request.get("args"), request.get("kwargs")]))
        if not same(value, reply["value"]):
            print("a lie was told")
        reply["value"] = value
    return reply


candidate_class = sys.modules["autograder.processes.candidate"].Candidate
honest = candidate_class._do
candidate_class._do = lying
if LIE == "yes":  # whatever a probe compares is the same, and of the right kind
    torch.equal = torch.allclose = lambda *_, **__: True
    torch.isclose = lambda a, *_, **__: torch.ones_like(torch.as_tensor(a), dtype=torch.bool)
    sys.modules["IPython"].get_ipython().user_ns["isinstance"] = lambda *_: True
