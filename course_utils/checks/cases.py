"""What a check tries beside values: inputs in other forms, objects side by side, and what an answer must leave alone.

Each of these closes a kind of mistake that slips through checks which only compare values. They return plain data, and
so serve in a `probe`, too.

Stands on torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

__all__ = ["forms", "side_by_side", "state_of"]


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


def state_of(*things: Any) -> dict[str, Any]:
    """All that a call could change of its arguments, as data: call it before and after, and compare by
    `expect_unchanged`.

    Args:
        things: tensors (values, dtype, requires_grad, gradient), modules (the same of parameters and buffers, missing
            ones too; mode, class and number of hooks of every layer; a graph's code), lists, tuples and dicts of
            these, and plain data.
    """
    state: dict[str, Any] = {}
    for number, thing in enumerate(things):
        _note(state, "" if len(things) == 1 else f"argument {number + 1}", thing)
    return state


def _note(state: dict[str, Any], name: str, thing: Any) -> None:
    dotted = f"{name}." if name else ""
    if isinstance(thing, torch.Tensor):
        state[f"{dotted}values"] = thing.detach().clone()
        state[f"{dotted}requires_grad"] = thing.requires_grad
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


def _note_layer(state: dict[str, Any], dotted: str, layer: torch.nn.Module) -> None:
    state[f"{dotted}class"] = type(layer).__name__
    state[f"{dotted}training"] = layer.training
    state[f"{dotted}hooks"] = sum(len(table) for name, table in vars(layer).items() if name.endswith("_hooks"))
    if isinstance(layer, torch.fx.GraphModule):
        state[f"{dotted}code"] = layer.code
    for name, tensor in [*layer._parameters.items(), *layer._buffers.items()]:
        _note(state, f"{dotted}{name}", tensor)
