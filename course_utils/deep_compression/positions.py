"""Where the weights that are not zero lie: gaps of few bits, with filler zeros where a gap does not fit.

As the authors' files have it: a gap is the number of weights skipped, and a filler is an entry with the largest gap
whose weight is zero. S. Han and others, arXiv:1510.00149, section 2. Stands on NumPy.
"""

from __future__ import annotations

import numpy as np

__all__ = ["absolute_positions", "relative_positions"]


def relative_positions(mask: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The entries that a file lists: one for each weight kept, and fillers.

    With r weights skipped before a kept one there are ``r // 2**bits`` fillers, then its own gap ``r % 2**bits``.
    Behind the last kept weight there are none. With ``bits`` 0 each weight up to the last kept one is an entry.

    Args:
        mask: bool, any shape, read row by row: where a weight is kept.
        bits: of a gap, at least 0.

    Returns:
        gaps: int64 (entries,), 0 to ``2**bits - 1``.
        positions: int64 (entries,), of the entry among all weights; fillers are those where the mask is False.
    """
    kept = np.flatnonzero(mask)
    skipped = np.diff(kept, prepend=-1) - 1
    fillers = skipped >> bits
    ends = np.cumsum(fillers + 1)  # entries up to and with each kept weight
    gaps = np.full(ends[-1] if len(ends) else 0, 2**bits - 1, np.int64)
    gaps[ends - 1] = skipped & (2**bits - 1)
    return gaps, absolute_positions(gaps)


def absolute_positions(gaps: np.ndarray) -> np.ndarray:
    """The positions that belong to gaps; int64, both."""
    return np.cumsum(np.asarray(gaps, np.int64) + 1) - 1
