"""The wire carries every kind of plain data both ways, and refuses everything else."""

from __future__ import annotations

import math
import socket

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autograder.processes.frames import HEADER, MAX_BYTES, Closed, Wire, WireError
from autograder.processes.wire import TORCH_DTYPES, Decoder, Encoder, Ext

numbers = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
plain = st.recursive(
    st.none() | numbers | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(-9, 9), inner),
    max_leaves=10,
)


@given(plain)
def test_plain_values_come_back_equal_and_of_the_same_type(value):
    back = Decoder().unpack(Encoder().pack(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", TORCH_DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3, 4)])
def test_tensors(dtype, shape):
    tensor = torch.randint(0, 2, shape).to(dtype)
    back = Decoder().unpack(Encoder().pack([tensor]))[0]
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    assert torch.equal(back, tensor)


def test_odd_tensors_and_arrays():
    strided = torch.arange(12.0).reshape(3, 4).t()
    needs_grad = torch.ones(2, requires_grad=True)
    special = torch.tensor([math.nan, math.inf, -math.inf, -0.0])
    big_endian = np.arange(3, dtype=">i4")
    sent = [strided, needs_grad, special, big_endian, np.float32(0.5), torch.Size([2])]
    back = Decoder().unpack(Encoder().pack(sent))
    assert torch.equal(back[0], strided)
    assert back[0].stride() == strided.stride(), "what is not contiguous here is not so over there"
    assert not back[1].requires_grad
    assert back[2].numpy().tobytes() == special.numpy().tobytes()
    assert back[3].tolist() == [0, 1, 2]
    assert back[4] == 0.5
    assert back[5] == (2,)


def given_other_memory(tensor, values):
    tensor.data = values


LEFT_ALONE = {
    "read": lambda x: x.sum(),
    "written with what it holds": lambda x: x.mul_(1),
    "the same numbers in other memory": lambda x: given_other_memory(x, x.clone()),
    "requires gradients": lambda x: x.requires_grad_(),
}
CHANGED = {
    "negated": lambda x: x.neg_(),
    "one element": lambda x: x.view(-1)[-1:].zero_(),
    "zero with a sign": lambda x: x.view(-1)[:1].neg_(),
    "other memory": lambda x: given_other_memory(x, x + 1),
    "a part of it": lambda x: given_other_memory(x, x[:1]),
    "turned": lambda x: x.t_(),
    "shorter": lambda x: x.resize_(1, 2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("use", [*LEFT_ALONE.items(), *CHANGED.items()], ids=lambda use: use[0])
def test_what_a_call_changes_in_place_is_noticed(use, dtype):
    decoder = Decoder()
    x, _, empty, array = decoder.unpack(
        Encoder().pack([torch.arange(6).reshape(2, 3).to(dtype), torch.ones(2), torch.ones(0, 2), np.arange(3)])
    )
    use[1](x)
    assert [arrived.has_changed() for arrived in decoder.arrived] == [use[0] in CHANGED, False, False, False]
    array += 1
    empty.zero_()
    assert [arrived.has_changed() for arrived in decoder.arrived][1:] == [False, False, True]


def test_a_stride_of_0_along_a_dimension_of_size_1_does_no_harm():
    tensor = torch.ones(1).as_strided((1, 1), (0, 0))
    assert Decoder().unpack(Encoder().pack(tensor)).tolist() == [[1.0]]


@pytest.mark.parametrize(
    "value", [object(), lambda: 0, type, torch.nn.Linear(1, 1), torch.ones(2).to_sparse(), np.array([object()]), torch]
)
def test_what_is_not_data_cannot_be_sent(value):
    with pytest.raises(WireError):
        Encoder().pack(value)


def test_an_expanded_tensor_is_refused_before_it_is_made_real():
    with pytest.raises(WireError, match="too large"):
        Encoder().pack(torch.ones(1).expand(2**40))


def ext(code: int, *parts: object) -> bytes:
    return msgpack.packb(msgpack.ExtType(code, msgpack.packb(list(parts))))


HOSTILE = {
    "not msgpack": b"\xc1",
    "nothing": b"",
    "cut short": msgpack.packb("hello")[:-1],
    "something behind": msgpack.packb(1) + msgpack.packb(2),
    "deeper than deep": b"\x91" * 100_000 + b"\xc0",
    "tuples in tuples": None,
    "an unknown extension": ext(99, 1),
    "a list that claims a billion items": b"\xdd\x40\x00\x00\x00",
    "a shape larger than its bytes": ext(Ext.TENSOR, "float32", [2**20, 2**20], [0, 1], b"1234"),
    "a negative shape": ext(Ext.TENSOR, "float32", [-1, -1], [0, 1], b"1234"),
    "a shape that is no list": ext(Ext.TENSOR, "float32", 1, [0], b"1234"),
    "a shape of floats": ext(Ext.TENSOR, "float32", [1.0], [0], b"1234"),
    "a hundred dimensions": ext(Ext.TENSOR, "float32", [1] * 100, list(range(100)), b"1234"),
    "an empty tensor of absurd shape": ext(Ext.TENSOR, "float32", [0, 2**62], [0, 1], b""),
    "a dtype that does not exist": ext(Ext.TENSOR, "object", [1], [0], b"12345678"),
    "an order that names a dimension twice": ext(Ext.TENSOR, "float32", [1, 1], [0, 0], b"1234"),
    "an order of too many dimensions": ext(Ext.TENSOR, "float32", [1], [], b"1234"),
    "an array of objects": ext(Ext.ARRAY, "O", [1], b"12345678"),
    "an array of records": ext(Ext.ARRAY, "i4,i4", [1], b"12345678"),
    "a number of a million digits": msgpack.packb(msgpack.ExtType(Ext.BIG_INT, b"9" * 1_000_000)),
    "a key that is a list": b"\x81\x90\xc0",
    "a set of lists": ext(Ext.SET, []),
    "a set whose items all look alike": ext(  # each new one is compared with all before: a minute, in one call of C
        Ext.SET, *(msgpack.ExtType(Ext.BIG_INT, str(k * (2**61 - 1)).encode()) for k in range(60_000))
    ),
    "a dict whose keys all look alike": msgpack.packb(
        {msgpack.ExtType(Ext.BIG_INT, str(k * (2**61 - 1)).encode()): 0 for k in range(60_000)}
    ),
    "a dict of more texts than anybody needs": msgpack.packb({str(k): 0 for k in range(60_000)}),
    "a tensor whose shape is a forest": ext(Ext.TENSOR, "float32", [[[]] * 30] * 30, [], b""),
    "a tensor with parts that are a dict": ext(Ext.TENSOR, {"a": 1}, [], [], b"1234"),
    "a tensor of too few parts": ext(Ext.TENSOR, "float32"),
    "an array whose dtype is a long story": ext(Ext.ARRAY, "i4," * 100_000, [1], b"1234"),
}
nested = msgpack.packb([])
for _ in range(2000):
    nested = msgpack.packb(msgpack.ExtType(Ext.TUPLE, msgpack.packb([1])[:1] + nested))
HOSTILE["tuples in tuples"] = nested


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_frames_are_refused(name):
    with pytest.raises(WireError):
        Decoder().unpack(HOSTILE[name])


def test_counting_comes_before_building(monkeypatch):
    """A few bytes may announce many items: no room is made for more than the bytes that are there."""
    seen = []
    monkeypatch.setattr(msgpack, "unpackb", lambda body, **options: seen.append(options))
    Decoder().unpack(b"\xdd\x00\x0f\x42\x40" * 10)
    assert seen[0]["max_array_len"] == seen[0]["max_map_len"] == 50


def test_frames_over_a_socket():
    ours, theirs = socket.socketpair()
    Wire(ours).send(b"hello")
    assert Wire(theirs).receive() == b"hello"
    ours.sendall(HEADER.pack(MAX_BYTES + 1))
    with pytest.raises(WireError, match="too long"):
        Wire(theirs).receive()
    ours.close()
    with pytest.raises(Closed):
        Wire(theirs).receive()
