"""Plain data between two processes that do not trust each other.

A message is msgpack, in one of `autograder.processes.frames`. Only data can be said in it: None, booleans, numbers,
strings, bytes, lists, tuples, sets, dicts, tensors, arrays, and *handles*, which are numbers that stand for an object
on the other side. Decoding builds these and nothing else; it never imports, calls or unpickles what came in, and
it refuses frames that are too long, too deep, or whose shapes do not fit their bytes.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack
import numpy as np
import torch

from autograder.processes.frames import MAX_BYTES, WireError

MAX_ITEMS = 1_000_000
"""The most items of a list or dict, and of all in a message; an item of one byte costs up to a hundred in memory."""

MAX_SET = 1_000
"""The most items of a set, and keys of a dict that are no text. A stranger can choose items that look alike to it, each
of which is compared with all, in one call of C that no time limit ends."""

MAX_KEYS = 10_000
"""The most keys of a dict that are text, of which it takes long to find many that look alike."""

MAX_DIMENSIONS = 32

MAX_DEPTH = 32
"""How deep extensions may nest. Python's own recursion limit comes too late: each level crosses C code as well."""


class Ext(IntEnum):
    """What msgpack has no word for."""

    TUPLE = 1
    SET = 2
    BIG_INT = 3
    COMPLEX = 4
    TENSOR = 5
    ARRAY = 6
    DTYPE = 7
    GENERATOR = 8
    HANDLE = 9


TORCH_DTYPES = {
    str(d).removeprefix("torch."): d
    for d in (
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
}
NUMPY_KINDS = "biufc"
NUMPY_NAMES = re.compile(rf"[<|][{NUMPY_KINDS}]\d{{1,2}}")  # of dtypes, in `Ext.ARRAY`


@dataclass(frozen=True)
class Handle:
    """An object that stays on the candidate's side."""

    number: int
    type_name: str


@dataclass(frozen=True)
class GeneratorState:
    """A random generator: its number on the sender's side, and its state at the time of sending."""

    number: int
    state: bytes


class Encoder:
    """Turns values into frames.

    Args:
        reference: called for a value that is not plain data; returns the `Handle` or `GeneratorState` to send, or
            raises `WireError`.

    Attributes:
        arrays: the tensors and arrays met, in order, so that changes made in place can be sent back by number.
    """

    def __init__(self, reference: Callable[[Any], Handle | GeneratorState] | None = None):
        self.reference = reference
        self.arrays: list[torch.Tensor | np.ndarray] = []
        self.depth = 0

    def pack(self, value: Any) -> bytes:
        """
        Raises:
            WireError: if something in the value is not data, too large, or nested too deep.
        """
        with _one_deeper(self):
            return self._pack(value)

    def _pack(self, value: Any) -> bytes:
        try:
            body = msgpack.packb(value, default=self._extension, strict_types=True)
        except (ValueError, RecursionError) as error:
            raise WireError(f"a value cannot be sent: {error}") from None
        if len(body) > MAX_BYTES:
            raise WireError(
                f"a value of {len(body) / 2**20:.0f} MiB cannot be sent (limit {MAX_BYTES / 2**20:.0f} MiB)"
            )
        return body

    def _extension(self, value: Any) -> Any:
        match value:
            case np.generic() if value.dtype.kind in NUMPY_KINDS:
                return value.item()
            case int() if type(value) is int:
                return msgpack.ExtType(Ext.BIG_INT, str(value).encode())
            case int() | float() | str():  # of a derived type: an IntEnum, say
                return next(base(value) for base in (int, float, str) if isinstance(value, base))
            case complex():
                return msgpack.ExtType(Ext.COMPLEX, struct.pack("!dd", value.real, value.imag))
            case tuple():
                return msgpack.ExtType(Ext.TUPLE, self.pack(list(value)))
            case list():
                return list(value)
            case dict():
                return dict(value)
            case set() | frozenset():
                return msgpack.ExtType(Ext.SET, self.pack(list(value)))
            case torch.dtype():
                return msgpack.ExtType(Ext.DTYPE, str(value).removeprefix("torch.").encode())
            case torch.Tensor():
                return self._tensor(value)
            case np.ndarray() if value.dtype.kind in NUMPY_KINDS:
                return self._array(value)
            case Handle():
                return msgpack.ExtType(Ext.HANDLE, self.pack([value.number, value.type_name]))
            case GeneratorState():
                return msgpack.ExtType(Ext.GENERATOR, self.pack([value.number, value.state]))
        if self.reference is None:
            raise WireError(f"a value of type {type(value).__name__} cannot be sent")
        return self._extension(self.reference(value))

    def _tensor(self, tensor: torch.Tensor) -> msgpack.ExtType:
        name = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout is not torch.strided or name not in TORCH_DTYPES:
            raise WireError(f"a tensor of dtype {name}, layout {tensor.layout} cannot be sent")
        if tensor.numel() * tensor.element_size() > MAX_BYTES:  # before contiguous() makes an expanded one real
            raise WireError(f"a tensor of shape {tuple(tensor.shape)} is too large to be sent")
        self.arrays.append(tensor)
        # in the order of memory, so that what is not contiguous here is not so on the other side
        order = sorted(range(tensor.dim()), key=lambda n: -tensor.stride(n))
        plain = tensor.permute(order)
        return msgpack.ExtType(Ext.TENSOR, msgpack.packb([name, list(plain.shape), order, content(plain)]))

    def _array(self, array: np.ndarray) -> msgpack.ExtType:
        if array.nbytes > MAX_BYTES:
            raise WireError(f"an array of shape {array.shape} is too large to be sent")
        self.arrays.append(array)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return msgpack.ExtType(Ext.ARRAY, msgpack.packb([little.dtype.str, list(array.shape), content(little)]))


class Arrived(NamedTuple):
    """A tensor or array that came in."""

    array: torch.Tensor | np.ndarray
    twin: torch.Tensor | np.ndarray  # another view of the same memory, which nobody else has
    memory: bytearray
    sent: bytes  # what the memory held

    def has_changed(self) -> bool:
        """Whether a call wrote into it, or gave it other memory with other numbers."""
        if self.memory != self.sent:
            return True
        place = [(a.data_ptr(), a.shape, a.stride()) for a in self[:2] if isinstance(a, torch.Tensor)]
        return place != place[:1] * 2 and content(self.array) != content(self.twin)


def content(array: torch.Tensor | np.ndarray) -> bytes:
    """The numbers of an array one after the other, the last dimension running fastest."""
    if isinstance(array, torch.Tensor):
        plain = array.detach()
        array = (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy(force=True)
    return array.tobytes()


class Decoder:
    """Turns frames into values.

    Args:
        resolve: called for each `Handle` and `GeneratorState`; returns what stands for it on this side. Without it
            these come out as they are.

    Attributes:
        arrived: the tensors and arrays met, in the order of `Encoder.arrays`.
    """

    def __init__(self, resolve: Callable[[Handle | GeneratorState], Any] | None = None):
        self.resolve = resolve or (lambda reference: reference)
        self.arrived: list[Arrived] = []
        self.depth = 0
        self.items = 0

    def unpack(self, body: bytes) -> Any:
        """
        Raises:
            WireError: if the body is anything but well-formed data.
        """
        with _one_deeper(self):
            return self._unpack(body)

    def _unpack(self, body: bytes) -> Any:
        most = min(MAX_ITEMS, len(body))  # an item takes a byte at least; room for all is made before the first is read
        try:
            return msgpack.unpackb(
                body,
                ext_hook=self._extension,
                list_hook=self._count,
                object_pairs_hook=self._dict,
                strict_map_key=False,
                max_array_len=most,
                max_map_len=most,
            )
        except WireError:
            raise
        except Exception as error:  # whatever a stranger's bytes make msgpack, struct, numpy or torch raise
            raise WireError(f"a message is not well-formed ({type(error).__name__}: {error})") from None

    def _count(self, items: list) -> list:
        """Lists of empty lists would take sixty times the memory of their bytes."""
        self.items += 1 + len(items)
        if self.items > MAX_ITEMS:
            raise WireError(f"a message has more than {MAX_ITEMS} items")
        return items

    def _dict(self, pairs: list[tuple[Any, Any]]) -> dict:
        limit = MAX_KEYS if all(type(key) is str for key, _ in self._count(pairs)) else MAX_SET
        if len(pairs) > limit:
            raise WireError(f"a dict has {len(pairs)} keys (limit {limit})")
        return dict(pairs)

    def _parts(self, data: bytes, count: int) -> list[Any]:
        """The parts of an extension: numbers, texts, bytes, and lists of few of these."""
        parts = msgpack.unpackb(data, list_hook=self._count, max_array_len=MAX_DIMENSIONS, max_map_len=0, max_ext_len=0)
        if not isinstance(parts, list) or len(parts) != count:
            raise WireError(f"an extension has not {count} parts")
        return parts

    def _extension(self, code: int, data: bytes) -> Any:
        match code:
            case Ext.TUPLE:
                return tuple(self.unpack(data))
            case Ext.SET:
                items = self.unpack(data)
                if len(items) > MAX_SET:
                    raise WireError(f"a set has {len(items)} items (limit {MAX_SET})")
                return set(items)
            case Ext.BIG_INT:  # int() itself refuses more than a few thousand digits
                return int(data.decode("ascii"))
            case Ext.COMPLEX:
                return complex(*struct.unpack("!dd", data))
            case Ext.TENSOR:
                name, shape, order, raw = self._parts(data, 4)
                dtype = TORCH_DTYPES[name]
                self._check_shape(shape, len(raw), dtype.itemsize)
                memory = bytearray(raw)
                flat = torch.frombuffer(memory, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
                twin = flat.reshape(shape).permute([order.index(n) for n in range(len(shape))])
                return self._keep(Arrived(twin.detach(), twin, memory, raw))
            case Ext.ARRAY:
                name, shape, raw = self._parts(data, 3)
                if not isinstance(name, str) or not NUMPY_NAMES.fullmatch(name):
                    raise WireError("an array of such a dtype is not data")
                dtype = np.dtype(name)
                self._check_shape(shape, len(raw), dtype.itemsize)
                memory = bytearray(raw)
                twin = np.frombuffer(memory, dtype=dtype).reshape(shape)
                return self._keep(Arrived(twin[...], twin, memory, raw))
            case Ext.DTYPE:
                return TORCH_DTYPES[data.decode("ascii")]
            case Ext.GENERATOR:
                number, state = self._parts(data, 2)
                return self.resolve(GeneratorState(int(number), bytes(state)))
            case Ext.HANDLE:
                number, type_name = self._parts(data, 2)
                return self.resolve(Handle(int(number), str(type_name)[:100]))
        raise WireError(f"extension {code} is unknown")

    def _keep(self, arrived: Arrived) -> torch.Tensor | np.ndarray:
        self.arrived.append(arrived)
        return arrived.array

    @staticmethod
    def _check_shape(shape: Any, nbytes: int, itemsize: int) -> None:
        fits = (
            isinstance(shape, list)
            and len(shape) <= MAX_DIMENSIONS
            and all(type(n) is int and 0 <= n < 2**40 for n in shape)
        )
        if not fits or math.prod(shape) * itemsize != nbytes:
            raise WireError(f"a shape {str(shape)[:100]} does not fit {nbytes} bytes of {itemsize}")


@contextlib.contextmanager
def _one_deeper(coder: Encoder | Decoder) -> Iterator[None]:
    coder.depth += 1
    try:
        if coder.depth > MAX_DEPTH:
            raise WireError(f"a message nests deeper than {MAX_DEPTH} levels")
        yield
    finally:
        coder.depth -= 1
