"""A compressed network as one file, and back.

Little-endian; bits in a byte from the highest down::

    header    "DEEPCOMP", version (1 byte), tensors (2), CRC-32 of their names and shapes (4)
    tensor    length of the content (4), content, CRC-32 of both (4); in the order of the network's state_dict
    content   255 (1) and the numbers as float32; or bits of a gap (1), values (1), entries (4), the values as float32,
              and then, in bits: 6 for the length of each code's word, code 0 (a zero) first, and of each gap's; the
              codes' words; the gaps' words; zeros up to a whole byte. Gaps of no bits have no words.

The names and shapes stand in the network that a file is loaded into. Stands on NumPy, torch and `accounting`.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_utils.deep_compression.accounting import LENGTH_BITS, WIDEST_GAP, Size, distinct, plain_tensors, size
from course_utils.deep_compression.huffman import code_lengths, decode, encode
from course_utils.deep_compression.positions import absolute_positions, relative_positions
from course_utils.deep_compression.pruning import settle

__all__ = ["FileError", "compress", "load"]

MAGIC, VERSION, FLOATS = b"DEEPCOMP", 1, 255
_HEADER, _SHARED, _NUMBER = struct.Struct("<8sBHI"), struct.Struct("<BBI"), struct.Struct("<I")


class FileError(ValueError):
    """A compressed network that cannot be read; the message names the file, the tensor or layer, and the byte."""


def compress(network: nn.Module, path: str | Path) -> Size:
    """Writes a network whose weights are shared (`share`), pruned or not.

    Returns:
        what was counted; its parts together are the file's bits.

    Raises:
        ValueError: if a layer has more than 255 different weights that are not zero, or a tensor is not float32 and
            finite.
    """
    counted = size(network)
    counted.bits("huffman")  # raises where weights are not shared
    tensors, _ = plain_tensors(network)
    content = [_HEADER.pack(MAGIC, VERSION, len(tensors), _outline(tensors))]
    for array, chosen in zip(tensors.values(), counted.tensors, strict=True):
        if chosen.gap_bits is None:
            part = bytes([FLOATS]) + array.astype("<f4").tobytes()
        else:
            part = _shared_content(array, chosen.gap_bits)
        part = _NUMBER.pack(len(part)) + part
        content += [part, _NUMBER.pack(zlib.crc32(part))]
    Path(path).write_bytes(b"".join(content))
    return counted


def load(path: str | Path, network: nn.Module) -> nn.Module:
    """Reads what `compress` wrote of such a network. A file that is refused leaves the network as it is.

    Args:
        network: of the same architecture; changed in place. Masks and codebooks that it has become plain weights.

    Returns:
        the network, in eval mode.

    Raises:
        FileError: if the file cannot be read, is damaged or truncated, or belongs to another network.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error}") from error
    try:
        arrays = _read(content, plain_tensors(network)[0])
    except _Damage as damage:
        raise FileError(f"{path}: {damage}") from None
    settle(network).load_state_dict({k: torch.from_numpy(v.copy()) for k, v in arrays.items()}, strict=False)
    return network.eval()


class _Damage(Exception):
    """What is wrong, and where."""


def _outline(tensors: dict[str, np.ndarray]) -> int:
    return zlib.crc32("".join(f"{name} {array.shape}\n" for name, array in tensors.items()).encode())


def _shared_content(weight: np.ndarray, gap_bits: int) -> bytes:
    values, codes = distinct(weight)
    gaps, positions = relative_positions(codes != 0, gap_bits)
    symbols = [(codes.ravel()[positions], len(values) + 1)]
    if gap_bits:
        symbols.append((gaps, 2**gap_bits))
    lengths = [code_lengths(np.bincount(part, minlength=count)) for part, count in symbols]
    table = np.concatenate(lengths)[:, None] >> np.arange(LENGTH_BITS)[::-1] & 1
    words = [encode(part, of) for (part, _), of in zip(symbols, lengths, strict=True)]
    bits = np.concatenate([table.ravel().astype(np.uint8), *words])
    head = _SHARED.pack(gap_bits, len(values), len(positions))
    return head + values.astype("<f4").tobytes() + np.packbits(bits).tobytes()


def _read(content: bytes, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if len(content) < _HEADER.size:
        raise _Damage(f"header, byte {len(content)}: the file ends; the header is {_HEADER.size} bytes")
    magic, version, count, outline = _HEADER.unpack_from(content)
    if magic != MAGIC:
        raise _Damage(f"header, byte 0: not a compressed network, it begins with {magic!r}")
    if version != VERSION:
        raise _Damage(f"header, byte 8: version {version}, known is {VERSION}")
    if count != len(tensors):
        raise _Damage(f"header, byte 9: {count} tensors, the network has {len(tensors)}")
    if outline != _outline(tensors):
        raise _Damage("header, byte 11: the file's tensors have other names or shapes than the network's")
    arrays, at = {}, _HEADER.size
    for name, like in tensors.items():
        if len(content) < at + 8:
            raise _Damage(f"tensor {name}, byte {len(content)}: the file ends")
        (length,) = _NUMBER.unpack_from(content, at)
        end = at + 4 + length
        if len(content) < end + 4:
            raise _Damage(f"tensor {name}, byte {at}: {length} bytes are announced, the file ends before")
        if _NUMBER.unpack_from(content, end)[0] != zlib.crc32(content[at:end]):
            raise _Damage(f"tensor {name}, byte {at}: the checksum of bytes {at} to {end} is wrong")
        try:
            arrays[name] = _read_tensor(content[at + 4 : end], like)
        except ValueError as error:
            raise _Damage(f"tensor {name}, byte {at + 4}: {error}") from None
        at = end + 4
    if at != len(content):
        raise _Damage(f"byte {at}: {len(content) - at} bytes follow the last tensor")
    return arrays


def _read_tensor(part: bytes, like: np.ndarray) -> np.ndarray:
    if part[:1] == bytes([FLOATS]):
        if len(part) != 1 + 4 * like.size:
            raise ValueError(f"{4 * like.size} bytes of float32 are due, found {len(part) - 1}")
        return _finite(np.frombuffer(part, "<f4", offset=1)).reshape(like.shape)
    if len(part) < _SHARED.size:
        raise ValueError(f"{_SHARED.size} bytes are due, found {len(part)}")
    gap_bits, count, entries = _SHARED.unpack_from(part)
    if gap_bits > WIDEST_GAP:
        raise ValueError(f"gaps of {gap_bits} bits, at most {WIDEST_GAP}")
    if entries > like.size:
        raise ValueError(f"{entries} entries, the tensor has {like.size} numbers")
    begin = _SHARED.size + 4 * count
    if len(part) < begin:
        raise ValueError(f"{count} values are due, found {len(part) - _SHARED.size} bytes")
    values = _finite(np.frombuffer(part, "<f4", count, _SHARED.size))
    bits = np.unpackbits(np.frombuffer(part, np.uint8, offset=begin))
    counts = [count + 1, *([2**gap_bits] if gap_bits else [])]
    at = LENGTH_BITS * sum(counts)
    if len(bits) < at:
        raise ValueError(f"lengths of {sum(counts)} code words are due, found {len(bits)} bits")
    lengths = bits[:at].reshape(-1, LENGTH_BITS) @ (1 << np.arange(LENGTH_BITS)[::-1])
    symbols = []
    for of in np.split(lengths, [count + 1])[: len(counts)]:
        read, used = decode(bits[at:], of, entries)
        symbols.append(read)
        at += used
    if len(bits) - at >= 8 or bits[at:].any():
        raise ValueError("bits follow the last code word")
    codes, gaps = symbols if gap_bits else (symbols[0], np.zeros(entries, np.int64))
    positions = absolute_positions(gaps)
    if entries and positions[-1] >= like.size:
        raise ValueError(f"the entries reach number {positions[-1]} of {like.size}")
    weight = np.zeros(like.size, np.float32)
    weight[positions] = np.concatenate([np.zeros(1, np.float32), values])[codes]
    return weight.reshape(like.shape)


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among the numbers")
    return values.astype(np.float32)
