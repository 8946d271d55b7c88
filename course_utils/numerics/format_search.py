"""Which split of a word into exponent and mantissa bits loses least: the search for whole networks.

For a tensor and a word length, the splits are ``FloatFormat(e, word_length - 1 - e)``, with e from 1 to 6 (8-bit words)
or 7 (16-bit words). The error of a split is the mean squared error of rounding to it; the best split is the one with
the least error, and of equals the one with fewest exponent bits. As a loop, which is also the definition::

    errors = {e: mse(x, FloatFormat(e, word_length - 1 - e).quantize(x)) for e in range(1, 7)}
    best = min(errors, key=errors.get)

`search_errors` and `search` return the same, sooner.

8-bit words: one pass for all splits
------------------------------------
A number is rounded up or down as it lies above or below a boundary: the middle between two neighbouring values, or the
largest value. In an 8-bit word the middles have at most 6 mantissa bits behind the leading one (5 of the values, and
one for the middle). So if float32 numbers are sorted into cells by their exponent and the first 6 bits of their
mantissa, every boundary is the edge of a cell, and a split rounds all numbers of a cell to the same value r. With a the
lower edge of the cell, and ``d = |x| - a``::

    sum (|x| - r)^2 = sum d^2 + (a - r) * (2 * sum d + n * (a - r)).

Three sums per cell serve all splits: n, sum d, sum d^2. The first two are exact, because within a cell d is a whole
number below 2^17 times one power of two, so that float64 has room for the sum of 2^36 of them. The sign of x does not
matter, since all splits are symmetric; nor do ties, since both neighbours are equally far.

16-bit words: blocks
--------------------
There the cells would be too many. Each block of the tensor is rounded to all splits while it is in the cache.

Why the choice is the loop's
----------------------------
Sums of float64 numbers depend on their order, in the last digits. So where the sum above cancels, and where two splits
are so close that those digits could decide, the errors are computed again as the definition has it.

Stands on `formats`, `affine` (the error), `chunks`, and on `compiled` where numba is installed. Source of the search:
ECE209 report on minifloat quantization of YOLOv3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from course_utils.numerics.affine import mse
from course_utils.numerics.carriers import require_floating
from course_utils.numerics.chunks import compiled_loops, runs_compiled
from course_utils.numerics.formats import FloatFormat

__all__ = ["SPLITS", "Search", "search", "search_errors", "search_network", "split"]

SPLITS = {8: range(1, 7), 16: range(1, 8)}  # word length -> exponent bits

BLOCK = 2**16  # elements; with its copies in float64 it stays in a core's second-level cache
CELL_BITS = 6  # of the mantissa
REST_BITS = 23 - CELL_BITS  # of the mantissa, too: they say where in its cell a number lies
CELLS = 2 ** (8 + CELL_BITS)

# Adding n float64 numbers of one sign, one after the other, may lose n * 2^-53 of their sum: 2^-37 in a block of 2^16,
# so less than LOST with the few sums around it; UNCERTAIN in the loop's sum over 2^23. Where more than UNCERTAIN may be
# lost, the error is computed again; what is left is right to nine digits. Two errors, each off by UNCERTAIN here and
# again in the loop, may change places if they are within CLOSE.
LOST = 2.0**-36
UNCERTAIN = 2.0**-30
CLOSE = 4 * UNCERTAIN


@dataclass(frozen=True)
class Search:
    """What the search found for one tensor.

    Attributes:
        word_length: 8 or 16.
        errors: exponent bits -> mean squared error.
        exponent_bits: of the best split.
    """

    word_length: int
    errors: dict[int, float]
    exponent_bits: int

    @property
    def format(self) -> FloatFormat:
        """The best split."""
        return split(self.exponent_bits, self.word_length)


def split(exponent_bits: int, word_length: int) -> FloatFormat:
    """The format of a sign, so many exponent bits and the rest of the word as mantissa.

    Raises:
        ValueError: for another word length than 8 or 16, or exponent bits that are not searched.
    """
    _require_word_length(word_length)
    if exponent_bits not in SPLITS[word_length]:
        splits = SPLITS[word_length]
        raise ValueError(f"exponent_bits of {word_length}-bit words are {splits[0]} to {splits[-1]}: {exponent_bits}")
    return FloatFormat(exponent_bits, word_length - 1 - exponent_bits)


def search_errors(x: Tensor, word_length: int = 8) -> dict[int, float]:
    """The mean squared error of every split.

    Args:
        x: float32, float16 or bfloat16, any shape, finite, not empty.
        word_length: 8 or 16.

    Returns:
        exponent bits -> E[(x - rounded x)^2], to nine digits the real number.

    Raises:
        TypeError: if ``x`` is not a tensor of these dtypes.
        ValueError: if ``x`` is empty or not finite, or for another word length.
    """
    return _errors(_flat(x, word_length), word_length)


def search(x: Tensor, word_length: int = 8) -> int:
    """The exponent bits of the split with the least mean squared error; of equals the fewest.

    Args, Raises: see `search_errors`.
    """
    x = _flat(x, word_length)
    return _choose(x, _errors(x, word_length), word_length)


def search_network(tensors: Mapping[str, Tensor], word_length: int = 8) -> dict[str, Search]:
    """The search for every tensor of a network.

    Args:
        tensors: name -> tensor, for instance the weights in ``model.named_parameters()``; see `search_errors`.
        word_length: 8 or 16.

    Returns:
        name -> `Search`, in the same order.

    Raises:
        TypeError, ValueError: see `search_errors`; they name the tensor.
    """
    elements = sum(x.numel() for x in tensors.values() if isinstance(x, Tensor))
    found = {}
    for name, x in tensors.items():
        try:
            x = _flat(x, word_length)
            errors = _errors(x, word_length, elements)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
        found[name] = Search(word_length, errors, _choose(x, errors, word_length))
    return found


def _require_word_length(word_length: int) -> None:
    if word_length not in SPLITS:
        raise ValueError(f"word_length is 8 or 16, not {word_length!r}")


def _flat(x: Tensor, word_length: int) -> Tensor:
    """``x`` as float32 of one dimension, after a look at what it is."""
    _require_word_length(word_length)
    require_floating(x)
    if x.dtype == torch.float64:
        raise TypeError("x must be float32, float16 or bfloat16, not torch.float64: call x.float() first")
    if x.numel() == 0:
        raise ValueError("an empty tensor has no error")
    return x.detach().float().contiguous().view(-1)


def _errors(x: Tensor, word_length: int, elements: int | None = None) -> dict[int, float]:
    """See `search_errors`; ``elements`` are those of the whole network."""
    with np.errstate(invalid="ignore"):  # infinities and NaN are met by the next line
        total, lost = _of_8_bits(x, runs_compiled(x, elements)) if word_length == 8 else _of_16_bits(x)
    if not np.isfinite(total).all():
        raise ValueError("x must be finite: it has infinities or NaN")
    return {
        e: float(t) / x.numel() if lost_ <= UNCERTAIN * t else _by_definition(x, e, word_length)
        for e, t, lost_ in zip(SPLITS[word_length], total, lost, strict=True)
    }


def _by_definition(x: Tensor, exponent_bits: int, word_length: int) -> float:
    return mse(x, split(exponent_bits, word_length).quantize(x))


def _choose(x: Tensor, errors: dict[int, float], word_length: int) -> int:
    """The first of the smallest; where several are close, by the definition. A sum of squares that is 0 is exact."""
    least = min(errors.values())
    close = [e for e, error in errors.items() if error <= least * (1 + CLOSE)]
    if least == 0 or len(close) == 1:
        return close[0]
    return min(close, key=lambda e: _by_definition(x, e, word_length))


def _of_8_bits(x: Tensor, compiled: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each split the sum of squared errors, and how much of it may be lost to rounding. NaN if ``x`` has NaN."""
    n, d, squares = _cells_compiled(x) if compiled and x.numel() < 2**29 else _cells(x)
    used = n.nonzero()[0]
    n, d, gap = n[used], d[used], _gaps()[:, used]
    one, two = 2 * d * gap, n * gap**2
    total = squares + (one + two).sum(1)
    return total, LOST * (squares + (abs(one) + two).sum(1))


def _cells(x: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
    """n and sum d of each cell, and sum d^2 of all."""
    n = torch.zeros(CELLS, dtype=torch.int64, device=x.device)
    d = torch.zeros(CELLS, dtype=torch.float64, device=x.device)
    squares = 0.0
    for block in x.split(BLOCK):
        size = block.abs()
        bits = size.view(torch.int32)
        cell = bits >> REST_BITS
        edge = (bits & -(2**REST_BITS)).view(torch.float32)
        above = (size - edge).double()  # exact: what the bits behind the cell's say
        n += torch.bincount(cell, minlength=CELLS)
        d += torch.bincount(cell, above, minlength=CELLS)
        squares += float(torch.dot(above, above))
    return n.cpu().numpy(), d.cpu().numpy(), squares


def _cells_compiled(x: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
    """The same in one loop with whole numbers: d in units of 2^(exponent - 23)."""
    sums = np.zeros((CELLS, 3), dtype=np.int64)
    compiled_loops().sum_in_cells(x.numpy(), sums, REST_BITS)
    n, d, squares = sums.T
    return n, d * _units(), float((squares * _units() ** 2).sum())


def _of_16_bits(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """As `_of_8_bits`. The rounding is the sum (x + c*E) - c*E that the text of `formats` derives. The sign of zeros,
    which that sum loses, makes no error here, and all splits share E."""
    formats = [split(e, 16) for e in SPLITS[16]]
    total = np.zeros(len(formats))
    for block in x.split(BLOCK):
        wide = block.double()
        binade = (block.view(torch.int32) & 0x7F800000).view(torch.float32)
        for i, f in enumerate(formats):
            c = 1.5 * 2 ** (23 - f.mantissa_bits)
            e = binade.clamp(2.0**f.min_exponent, 2.0**f.max_exponent)
            rounded = torch.add(block, e, alpha=c).sub_(e, alpha=c).clamp_(-f.largest, f.largest)
            error = rounded.double().sub_(wide)
            total[i] += float(torch.dot(error, error))
    return total, LOST * total


@cache
def _units() -> np.ndarray:
    """(cells,): what the last bit of a float32 is worth. Subnormals, of exponent 0, have the unit of exponent 1."""
    return np.exp2(np.maximum(np.arange(CELLS) >> CELL_BITS, 1) - (127.0 + 23))


@cache
def _gaps() -> np.ndarray:
    """(splits, cells): a - r, the cell's lower edge less what its numbers are rounded to. NaN for NaN and infinity."""
    cell = torch.arange(CELLS, dtype=torch.int32) << REST_BITS
    edge, middle = cell.view(torch.float32), (cell + 2 ** (REST_BITS - 1)).view(torch.float32)
    return torch.stack([edge.double() - split(e, 8).quantize(middle).double() for e in SPLITS[8]]).numpy()
