"""Products of packed signs: against whole numbers, for every length, compiled and not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.low_bit import xnor
from course_utils.low_bit.xnor import pack_signs, xnor_dot, xnor_matvec
from course_utils.numerics.chunks import compiled_loops


def signs(rng, *shape):
    return torch.from_numpy(rng.integers(0, 2, shape) * 2 - 1)


@pytest.mark.parametrize("length", [*range(131), 1000, 4095, 4096, 4097])
def test_exact_for_every_length(length):
    rng = np.random.default_rng(length)
    a, b = signs(rng, length), signs(rng, length)
    packed = pack_signs(a), pack_signs(b)
    assert packed[0].shape == (-(-length // 64),) and packed[0].dtype == torch.int64
    assert xnor_dot(*packed, length) == int((a * b).sum())
    assert xnor_dot(packed[0], packed[0], length) == length
    assert xnor_dot(packed[0], pack_signs(-a), length) == -length


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_matrix_by_vector(length, rows, seed):
    rng = np.random.default_rng(seed)
    matrix, vector = signs(rng, rows, length), signs(rng, length)
    result = xnor_matvec(pack_signs(matrix), pack_signs(vector), length)
    assert result.dtype == torch.int32
    assert torch.equal(result.long(), matrix @ vector)


@pytest.mark.parametrize("length", [4096, 4033, 65])
def test_the_compiled_loop_and_numpy_agree(length, monkeypatch):
    assert compiled_loops(), "numba is not installed: the compiled loop is not tested"
    rng = np.random.default_rng(1)
    rows = 2 * xnor._WORTH_COMPILING // -(-length // 64)
    matrix, vector = signs(rng, rows, length), signs(rng, length)
    packed = pack_signs(matrix), pack_signs(vector)
    compiled = xnor_matvec(*packed, length)
    monkeypatch.setattr(xnor, "compiled_loops", lambda: None)
    assert torch.equal(xnor_matvec(*packed, length), compiled)
    assert torch.equal(compiled.long(), matrix @ vector)


def test_bits_are_where_they_are_said_to_be():
    x = -torch.ones(70)
    x[0] = x[65] = 1
    x[3] = 0.0
    assert pack_signs(x).tolist() == [1 + 8, 2]
    x[63] = 5
    assert pack_signs(x).tolist() == [1 + 8 - 2**63, 2]
    assert pack_signs(torch.zeros(2, 3, 0)).shape == (2, 3, 0)
    wide = torch.randn(6, 100).T  # not contiguous
    assert torch.equal(pack_signs(wide), pack_signs(wide.contiguous()))


def test_what_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        pack_signs(torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match="one axis"):
        pack_signs(torch.tensor(1.0))
    words = pack_signs(torch.ones(65))
    with pytest.raises(ValueError, match="64 elements are 1 words, not 2"):
        xnor_dot(words, words, 64)
    with pytest.raises(TypeError, match="int64"):
        xnor_dot(words.int(), words, 65)
    with pytest.raises(ValueError, match="a matrix and a vector"):
        xnor_matvec(words, words, 65)
