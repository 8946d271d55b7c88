"""Gaps and back; Huffman's lengths against another implementation, entropy, prefixes, round trips."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from course_utils.deep_compression import (
    absolute_positions,
    canonical_codes,
    code_lengths,
    decode,
    encode,
    relative_positions,
)

MASKS = hnp.arrays(np.bool_, st.integers(0, 200), elements=st.sampled_from([True, False, False, False, False, False]))
COUNTS = st.lists(st.integers(0, 10**6) | st.integers(0, 3), min_size=1, max_size=60).map(np.array)


@given(MASKS, st.integers(0, 5))
def test_every_weight_kept_is_an_entry_once_and_fillers_are_needed(mask, bits):
    gaps, positions = relative_positions(mask, bits)
    assert ((gaps >= 0) & (gaps < 2**bits)).all()
    assert (positions == absolute_positions(gaps)).all()
    kept = mask[positions]
    assert positions[kept].tolist() == np.flatnonzero(mask).tolist()
    assert (gaps[~kept] == 2**bits - 1).all()
    assert kept[-1:].all(), "no filler behind the last weight"


def test_gaps_by_hand():
    mask = np.zeros(40, bool)
    mask[[0, 4, 8, 39]] = True
    gaps, positions = relative_positions(mask, 2)
    # 30 weights lie between 8 and 39: seven fillers of four, and two
    assert gaps.tolist() == [0, 3, 3, *[3] * 7, 2]
    assert positions.tolist() == [0, 4, 8, *range(12, 40, 4), 39]
    assert relative_positions(mask, 0)[1].tolist() == list(range(40))
    assert [len(part) for part in relative_positions(np.zeros(9, bool), 3)] == [0, 0]


def other_lengths(counts: np.ndarray) -> list[int]:
    """A heap of trees; the length is the depth of a leaf."""
    heap = [(int(count), symbol, symbol) for symbol, count in enumerate(counts) if count]
    heapq.heapify(heap)
    fresh = len(counts)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (a[0] + b[0], fresh, (a[2], b[2])))
        fresh += 1
    lengths = [0] * len(counts)

    def walk(tree, depth):
        if isinstance(tree, tuple):
            walk(tree[0], depth + 1)
            walk(tree[1], depth + 1)
        else:
            lengths[tree] = max(depth, 1)

    if heap:
        walk(heap[0][2], 0)
    return lengths


@given(COUNTS)
def test_lengths_are_as_short_as_another_implementations(counts):
    mine, other = code_lengths(counts), other_lengths(counts)
    # where counts tie, trees may differ; what they cost may not
    assert int(mine @ counts) == int(np.array(other) @ counts)
    assert ((mine > 0) == (counts > 0)).all()


@given(st.lists(st.integers(0, 40), min_size=2, max_size=30, unique=True).map(lambda n: 3 ** np.array(n, object)))
def test_lengths_equal_another_implementations_where_no_sums_tie(counts):
    counts = counts[counts < 2**62].astype(np.int64)
    assert code_lengths(counts).tolist() == other_lengths(counts)


@given(COUNTS)
def test_a_code_is_within_a_bit_of_the_entropy(counts):
    total = counts.sum()
    if not total:
        assert not code_lengths(counts).any()
        return
    shares = counts[counts > 0] / total
    entropy = float(-(shares * np.log2(shares)).sum())
    mean = float(code_lengths(counts) @ counts / total)
    assert entropy - 1e-9 <= mean <= entropy + 1
    assert mean < entropy + 1 or (counts > 0).sum() == 1


@given(COUNTS)
def test_no_word_begins_another_and_no_room_is_left(counts):
    lengths = code_lengths(counts)
    words = canonical_codes(lengths)
    texts = sorted(f"{w:0{n}b}" for w, n in zip(words.tolist(), lengths.tolist(), strict=True) if n)
    assert not any(b.startswith(a) for a, b in itertools.pairwise(texts))
    if len(texts) > 1:
        assert sum(2.0 ** -len(text) for text in texts) == 1


@given(st.lists(st.integers(0, 20), max_size=300).map(lambda s: np.array(s, np.int64)))
def test_symbols_come_back(symbols):
    lengths = code_lengths(np.bincount(symbols, minlength=1))
    bits = encode(symbols, lengths)
    assert len(bits) == lengths[symbols].sum()
    read, used = decode(np.concatenate([bits, np.ones(5, np.uint8)]), lengths, len(symbols))
    assert (read == symbols).all() and used == len(bits)


def test_one_symbol_takes_one_bit_and_canonical_words_are_rfc_1951s():
    assert code_lengths(np.array([0, 7, 0])).tolist() == [0, 1, 0]
    # the example of section 3.2.2: symbols A to H
    lengths = np.array([3, 3, 3, 3, 3, 2, 4, 4])
    assert canonical_codes(lengths).tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


def test_deep_codes_have_as_many_bits_as_they_need():
    fibonacci = [1, 1]
    while len(fibonacci) < 60:
        fibonacci.append(sum(fibonacci[-2:]))
    lengths = code_lengths(np.array(fibonacci))
    assert lengths.max() == 59
    symbols = np.array([0, 59, 1, 30])
    assert decode(encode(symbols, lengths), lengths, 4)[0].tolist() == symbols.tolist()


def test_what_is_no_code_is_refused():
    with pytest.raises(ValueError, match="not negative"):
        code_lengths(np.array([1, -1]))
    with pytest.raises(ValueError, match="no prefix-free code"):
        canonical_codes(np.array([1, 1, 1]))
    with pytest.raises(ValueError, match="0 to 62"):
        canonical_codes(np.array([63, 1]))
    with pytest.raises(ValueError, match="symbol 1 has no code word"):
        encode(np.array([1]), np.array([1, 0]))
    with pytest.raises(ValueError, match="end after 1 of 2"):
        decode(np.array([0], np.uint8), np.array([1, 1]), 2)
    with pytest.raises(ValueError, match="bit 1 ends no code word"):
        decode(np.array([1, 1], np.uint8), np.array([2, 2, 2]), 1)
    with pytest.raises(ValueError, match="end after 0 of 1"):
        decode(np.array([], np.uint8), np.array([0, 0]), 1)
