"""Global switches of Python, NumPy and torch: what one answer sets must not decide about another one.

The candidate reads them after each cell and sets them before each check. Their functions are taken here, before an
answer could put others in their place.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch._tensor_str import PRINT_OPTS

SWITCHES: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, lambda device: _set_default_device(device)),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (lambda: dataclasses.asdict(PRINT_OPTS), lambda options: vars(PRINT_OPTS).update(options)),
    (np.geterr, lambda kinds: np.seterr(**kinds)),
    (np.get_printoptions, lambda options: np.set_printoptions(**options)),
    (lambda: list(warnings.filters), lambda filters: _set_filters(filters)),
    (sys.getrecursionlimit, sys.setrecursionlimit),
]
"""How each is read and set."""

_flush_denormal = torch.set_flush_denormal  # it cannot be read; nobody but an answer sets it
_seed_torch, _seed_numpy, _seed_python = torch.manual_seed, np.random.seed, random.seed


def read() -> list[Any]:
    """Where all switches stand."""
    return [getter() for getter, _ in SWITCHES]


def put_back(state: list[Any]) -> None:
    """Sets all switches as `read` found them."""
    for (getter, setter), value in zip(SWITCHES, state, strict=True):
        if getter() != value:  # some, such as the default device, are slow to set
            setter(value)
    _flush_denormal(False)


def seed(number: int) -> None:
    """Seeds the three global random generators.

    Args:
        number: 0 to 2^32 - 1.
    """
    _seed_torch(number)
    _seed_numpy(number)
    _seed_python(number)


def _set_default_device(device: torch.device) -> None:
    # none at all is the CPU too, and does not stand between torch and each of its calls
    torch.set_default_device(None if device == torch.device("cpu") else device)


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # which also tells Python that what it remembers of warnings is out of date
    warnings.filters[:] = filters
