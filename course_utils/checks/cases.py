"""What a check tries beside values: inputs in other forms, objects side by side, storage that is used again, and what
an answer must leave alone.

Each of these closes a kind of mistake that slips through checks which only compare values. They return plain data, and
so serve in a `probe`, too.

Stands on `expectations` and torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from course_utils.checks.expectations import expect_unchanged, probe

__all__ = ["forms", "reused", "side_by_side", "state_of", "watched"]


def forms(
    x: torch.Tensor, dtypes: Iterable[torch.dtype] | None = None, *, empty: bool = True
) -> Iterator[tuple[str, torch.Tensor]]:
    """The same values in every form that an answer should take.

    Args:
        x: tensor of at least two dimensions.
        dtypes: those that the docstring names; x's own by default.
        empty: whether an empty tensor is among them.

    Yields:
        What it is, for ``given=``, and the tensor: as it is; not contiguous; one-dimensional; without a dimension;
        empty.
    """
    for dtype in [x.dtype] if dtypes is None else dtypes:
        name, cast = str(dtype).removeprefix("torch."), x.to(dtype)
        yield f"{name}, shape {tuple(x.shape)}", cast
        # stored in the opposite order of dimensions
        backwards = cast.permute(*range(x.dim())[::-1]).contiguous().permute(*range(x.dim())[::-1])
        yield f"{name}, shape {tuple(x.shape)}, not contiguous", backwards
        yield f"{name}, one-dimensional", cast.flatten()
        yield f"{name}, without a dimension", cast.flatten()[0]
        if empty:
            yield f"{name}, empty", cast.flatten()[:0]


def side_by_side(makes: Iterable[Callable[[], Any]], use: Callable[[Any], Any]) -> tuple[list, list]:
    """Results of objects that are used one after the other, and of the same ones when all are made before any is used.

    They differ where objects share what each should keep for itself: on the class, in a global variable.

    Args:
        makes: make one object each.
        use: gives plain data of an object.

    Returns:
        Two lists, which `expect_equal` compares.
    """
    makes = list(makes)
    alone = [use(make()) for make in makes]
    return alone, [use(made) for made in [make() for make in makes]]


def reused(use: Callable[..., Any], sets: Iterable[Sequence[Any]]) -> tuple[list, list]:
    """Results of calls whose arguments lie in the same storage, one set of values after the other.

    ``at_once`` is wrong where an answer knows an argument again by its identity (``id``, an `lru_cache`, its storage's
    address) or keeps the last call's state; ``later`` where a result is a view of an argument, or a buffer that the
    next call fills: both must be what the check computes itself for each set.

    What goes to the grader's candidate and comes back is copied, so there all calls are made within one `probe`. This
    function brings its own: a check calls it with the student's function (``reused(fake_quantize, sets)``). Where
    ``use`` is a function of the check, the check's own `probe` calls ``reused``; for a layer, ``use`` makes no new one.

    Args:
        use: called with each set in turn; gives plain data.
        sets: arguments of one call each. A tensor, array, list or dict of the first set stays the same object in all
            later ones, and takes over their values; where shape, dtype or length differ, and for plain data, the later
            set's own is passed. The sets themselves are not changed.

    Returns:
        Two lists, of one result a set: ``at_once``, copied right after its call; and ``later``, when the storage has
        been written over once more, with the first set's values.
    """

    @probe
    def _calls_in_same_storage(use, sets):  # the probe's source goes by itself, without this module's imports
        from course_utils.checks.cases import _in_same_storage

        return _in_same_storage(use, sets)

    return _calls_in_same_storage(use, [list(arguments) for arguments in sets])


def _in_same_storage(use: Callable[..., Any], sets: list[list]) -> tuple[list, list]:
    arguments, at_once, results = _copied(sets[0]), [], []
    for values in sets:
        arguments = [_written(old, new) for old, new in zip(arguments, values, strict=True)]
        results.append(use(*arguments))
        at_once.append(_copied(results[-1]))
    for old, new in zip(arguments, sets[0], strict=True):
        _written(old, new)
    return at_once, _copied(results)


def _copied(value: Any) -> Any:
    """Plain data with storage of its own."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _of_same_type(value, [_copied(item) for item in value])
    return value


def _written(old: Any, new: Any) -> Any:
    """The old object with the new values, where they fit; else a copy of the new one."""
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        if old.shape == new.shape and old.dtype == new.dtype:
            old.data.copy_(new)  # as NumPy would: the tensor's count of versions does not tell
            return old
    elif isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if old.shape == new.shape and old.dtype == new.dtype:
            old[...] = new
            return old
    elif isinstance(old, dict) and isinstance(new, dict):
        fresh = {key: _written(old.get(key), value) for key, value in new.items()}
        old.clear()
        old.update(fresh)
        return old
    elif isinstance(old, list | tuple) and type(old) is type(new) and len(old) == len(new):
        items = [_written(was, value) for was, value in zip(old, new, strict=True)]
        if isinstance(old, list):
            old[:] = items
            return old
        return old if all(a is b for a, b in zip(old, items, strict=True)) else _of_same_type(old, items)
    return _copied(new)


def _of_same_type(value: list | tuple, items: list) -> Any:
    return value._make(items) if hasattr(value, "_make") else type(value)(items)


def watched(function: Callable[..., Any], rule: str, *, hint: str = "") -> Callable[..., Any]:
    """The function, and with every call of it the expectation that its arguments are left alone.

    The grader hears of tensors and arrays that a student's function changes, not of lists, dicts and objects: watch
    over these within a `probe`, by `state_of`.

    Not for use within `expect_returns`, which would take the broken rule for an error of the call.

    Args:
        rule, hint: see `expect`.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        before = state_of(*args, *kwargs.values())
        result = function(*args, **kwargs)
        expect_unchanged(before, state_of(*args, *kwargs.values()), rule, hint=hint)
        return result

    return call


def state_of(*things: Any) -> dict[str, Any]:
    """All that a call could change of its arguments, as data: call it before and after, and compare by
    `expect_unchanged`.

    Args:
        things: tensors (values, dtype, requires_grad, gradient), modules (the same of parameters and buffers, missing
            ones too; mode, class, attributes and number of hooks of every layer; a graph's code), lists, tuples and
            dicts of these, and plain data.

    Modes, counts and truth values are told as text, so that of a `probe` no such answer can be guessed by a number.
    """
    state: dict[str, Any] = {}
    for number, thing in enumerate(things):
        _note(state, "" if len(things) == 1 else f"argument {number + 1}", thing)
    return state


def _note(state: dict[str, Any], name: str, thing: Any) -> None:
    dotted = f"{name}." if name else ""
    if isinstance(thing, torch.Tensor):
        state[f"{dotted}values"] = thing.detach().clone()
        state[f"{dotted}requires_grad"] = str(thing.requires_grad)
        if thing.is_leaf:
            state[f"{dotted}grad"] = None if thing.grad is None else thing.grad.clone()
    elif isinstance(thing, torch.nn.Module):
        for path, layer in thing.named_modules(remove_duplicate=False):
            _note_layer(state, f"{dotted}{path}." if path else dotted, layer)
    elif isinstance(thing, dict):
        state[f"{dotted}keys"] = [str(key) for key in thing]
        for key, value in thing.items():
            _note(state, f"{name}[{key!r}]", value)
    elif isinstance(thing, list | tuple):
        state[f"{dotted}length"] = len(thing)
        for number, value in enumerate(thing):
            _note(state, f"{name}[{number}]", value)
    else:
        state[name or "value"] = thing if isinstance(thing, bool | int | float | str | None) else repr(thing)


_PLAIN = torch.nn.Module()  # has what every layer has


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | None)


def _note_layer(state: dict[str, Any], dotted: str, layer: torch.nn.Module) -> None:
    state[f"{dotted}class"] = type(layer).__name__
    state[f"{dotted}training"] = str(layer.training)
    own = {name: value for name, value in vars(layer).items() if name not in vars(_PLAIN)}
    state[f"{dotted}attributes"] = ", ".join(
        f"{name}={value!r}" if _is_plain(value) else name for name, value in own.items()
    )
    hooks = sum(len(table) for name, table in vars(layer).items() if name.endswith("_hooks"))
    state[f"{dotted}hooks"] = f"{hooks} hooks"
    if isinstance(layer, torch.fx.GraphModule):
        state[f"{dotted}code"] = layer.code
    for name, tensor in [*layer._parameters.items(), *layer._buffers.items()]:
        _note(state, f"{dotted}{name}", tensor)
