"""Huffman's code, canonical: its lengths say all, so that a file holds only these.

D. Huffman, "A Method for the Construction of Minimum-Redundancy Codes", 1952; canonical as in RFC 1951, section 3.2.2:
shorter code words first, among equal lengths by symbol. Stands on NumPy.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LONGEST", "canonical_codes", "code_lengths", "decode", "encode"]

LONGEST = 62
"""Bits of a code word, at most: it fits int64. A longer one would take more symbols than any memory holds."""


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """How long each symbol's code word is, so that all together are shortest.

    Args:
        counts: whole numbers (symbols,), how often each occurs.

    Returns:
        int64 (symbols,); 0 for a symbol that does not occur, 1 for one that occurs alone.

    Raises:
        ValueError: if a count is negative.
    """
    counts = np.asarray(counts, np.int64)
    if (counts < 0).any():
        raise ValueError("counts are not negative")
    lengths = np.zeros(len(counts), np.int64)
    symbols = np.flatnonzero(counts)
    if len(symbols) == 1:
        lengths[symbols] = 1
    # trees wait in two queues, both ascending: leaves sorted once, and joined trees in the order of their making
    leaves = [(int(counts[s]), [int(s)]) for s in sorted(symbols, key=lambda s: counts[s])][::-1]
    joined: list[tuple[int, list[int]]] = []
    first = 0  # of those joined that are still alone
    for _ in range(len(symbols) - 1):
        pair = []
        for _ in range(2):
            if leaves and (first == len(joined) or leaves[-1][0] <= joined[first][0]):
                pair.append(leaves.pop())
            else:
                pair.append(joined[first])
                first += 1
        below = pair[0][1] + pair[1][1]
        lengths[below] += 1
        joined.append((pair[0][0] + pair[1][0], below))
    return lengths


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """The code words of these lengths.

    Args:
        lengths: int64 (symbols,), 0 for a symbol without a code word.

    Returns:
        int64 (symbols,): the word as a number, its first bit the highest of ``length`` bits; 0 where there is none.

    Raises:
        ValueError: if no prefix-free code has these lengths.
    """
    codes = np.zeros(len(lengths), np.int64)
    if max(lengths, default=0) > LONGEST or min(lengths, default=0) < 0:
        raise ValueError(f"lengths are 0 to {LONGEST}")
    word = before = 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        length = int(lengths[symbol])
        if length == 0:
            continue
        word <<= length - before
        if word >= 1 << length:
            raise ValueError("no prefix-free code has these lengths")
        codes[symbol] = word
        word, before = word + 1, length
    return codes


def encode(symbols: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The code words of symbols, one behind the other.

    Args:
        symbols: whole numbers (n,).
        lengths: of all code words, as `code_lengths` has them.

    Returns:
        bits, uint8 of 0 and 1.

    Raises:
        ValueError: if a symbol has no code word.
    """
    symbols, lengths = np.asarray(symbols, np.int64), np.asarray(lengths, np.int64)
    each = lengths[symbols]
    if (each == 0).any():
        raise ValueError(f"symbol {symbols[each == 0][0]} has no code word")
    words = np.repeat(canonical_codes(lengths)[symbols], each)
    ends = np.repeat(np.cumsum(each), each)
    return (words >> (ends - 1 - np.arange(len(words))) & 1).astype(np.uint8)


def decode(bits: np.ndarray, lengths: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """The first symbols of a string of bits.

    Args:
        bits: uint8 of 0 and 1.
        lengths: of all code words.
        count: how many symbols to read.

    Returns:
        symbols: int64 (count,).
        used: how many bits they took.

    Raises:
        ValueError: if the bits end before, hold what is no code word, or no code has these lengths.
    """
    words = {(int(n), int(w)): s for s, (n, w) in enumerate(zip(lengths, canonical_codes(lengths), strict=True)) if n}
    longest = int(max(lengths, default=0))
    symbols: list[int] = []
    word = length = used = 0
    for bit in bits.tolist() if count else ():
        word, length, used = word << 1 | bit, length + 1, used + 1
        symbol = words.get((length, word))
        if symbol is not None:
            symbols.append(symbol)
            if len(symbols) == count:
                break
            word = length = 0
        elif length >= longest:
            raise ValueError(f"bit {used - 1} ends no code word")
    if len(symbols) < count:
        raise ValueError(f"the bits end after {len(symbols)} of {count} symbols")
    return np.array(symbols, np.int64), used
