"""Products of vectors of +1 and -1 whose signs are packed into words of 64 bits: XNOR and population count.

Bit j of word k is 1 where element 64 k + j is +1 (or above: its sign counts, and 0 counts as +1). What a last word has
more than the vector is 0, in every vector: **the padding**. Two vectors of n elements that differ in d places have the
product n - 2 d, and d is the population count of XOR, to which the padding adds nothing; XNOR's count would be 64 for
each word minus d, padding included, so that n - 2 d is also 2 * popcount(XNOR) - 2 * (64 * words) + n. XOR spares that
correction and is what is computed.

Large products go through a compiled loop, all others through numpy; both are exact, for every length.
Stands on numpy, torch and `course_utils.numerics`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_utils.numerics.chunks import compiled_loops

__all__ = ["pack_signs", "xnor_dot", "xnor_matvec"]

WORD = 64
_WORTH_COMPILING = 2**14  # words


def pack_signs(x: Tensor) -> Tensor:
    """The signs of the last axis, packed.

    Args:
        x: real numbers (..., n); >= 0 is +1. n may be 0.

    Returns:
        int64 (..., ceil(n / 64)): the words' bits (torch can do little with unsigned ones).

    Raises:
        ValueError: if ``x`` has no axis, or a NaN, which has no sign.
    """
    if x.dim() == 0:
        raise ValueError("pack_signs takes a tensor of one axis or more")
    if x.is_floating_point() and bool(x.isnan().any()):
        raise ValueError("NaN has no sign to pack")
    bits = (x >= 0).cpu().numpy()
    words = -(-bits.shape[-1] // WORD)
    padded = np.zeros((*bits.shape[:-1], words * WORD), bool)
    padded[..., : bits.shape[-1]] = bits
    packed = np.packbits(padded, axis=-1, bitorder="little").view("<u8")
    return torch.from_numpy(packed.astype(np.uint64).view(np.int64))


def xnor_dot(a: Tensor, b: Tensor, length: int) -> int:
    """The product of two packed vectors of so many elements.

    Args:
        a, b: int64 (ceil(length / 64),), as `pack_signs` makes them, with zeros as padding.

    Raises:
        ValueError: if they are not of that length.
    """
    return int(xnor_matvec(a[None], b, length)[0])


def xnor_matvec(matrix: Tensor, vector: Tensor, length: int) -> Tensor:
    """The products of each row of a packed matrix with a packed vector.

    Args:
        matrix, vector: int64 (rows, words) and (words,), words = ceil(length / 64), as `pack_signs` makes them.
        length: elements of a row.

    Returns:
        int32 (rows,): between -length and length, and as odd as it.

    Raises:
        TypeError: if they are not int64.
        ValueError: if they are not of that length.
    """
    if matrix.dim() != 2 or vector.dim() != 1:
        raise ValueError(f"a matrix and a vector, not shapes {tuple(matrix.shape)} and {tuple(vector.shape)}")
    for words in (matrix, vector):
        _require_words(words, length)
    rows, column = matrix.numpy().view(np.uint64), vector.numpy().view(np.uint64)
    result = np.empty(len(rows), np.int32)
    if rows.size >= _WORTH_COMPILING and compiled_loops():
        compiled_loops().xnor_products(np.ascontiguousarray(rows), np.ascontiguousarray(column), length, result)
    else:
        _count(rows, column, length, result)
    return torch.from_numpy(result)


def _count(rows: np.ndarray, column: np.ndarray, length: int, result: np.ndarray) -> None:
    """What the compiled loop does, by numpy."""
    result[:] = length - 2 * np.bitwise_count(rows ^ column).sum(axis=1, dtype=np.int64)


def _require_words(words: Tensor, length: int) -> None:
    if words.dtype != torch.int64:
        raise TypeError(f"packed signs are int64, not {words.dtype}: see pack_signs")
    if words.dim() == 0 or words.shape[-1] != -(-length // WORD):
        have = words.shape[-1] if words.dim() else "no"
        raise ValueError(f"{length} elements are {-(-length // WORD)} words, not {have}")
