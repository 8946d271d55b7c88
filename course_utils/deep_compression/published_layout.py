"""The layout in which the authors of Deep Compression published SqueezeNet: read, and written.

Little-endian, without magic or checksum: for each layer the number of its entries as uint32; then for each layer, in
the network's order, 256 float32 of a codebook whose first is 0, the biases as float32, a byte of code for each entry,
and its gaps, two of 4 bits a byte, the lower half first. Gaps are those of `positions`, with code 0 for fillers; the
weights are read row by row, (out, in, height, width). The sizes of the layers stand in the network.

Source: github.com/songhan/SqueezeNet-Deep-Compression, decode.py. Stands on NumPy, torch and `networks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.deep_compression.accounting import MOST_CENTROIDS, distinct, plain_tensors
from course_utils.deep_compression.file import FileError
from course_utils.deep_compression.positions import absolute_positions, relative_positions
from course_utils.deep_compression.pruning import settle, weight_layers
from course_utils.networks.published import Published, SqueezeNet10, bgr_minus_mean, find_file

__all__ = ["StoredLayer", "load_deep_compression", "read_layers", "save_deep_compression", "squeezenet"]

GAP_BITS, ENTRIES = 4, 256
_FILLER = 2**GAP_BITS - 1


@dataclass(frozen=True)
class StoredLayer:
    """
    Attributes:
        codebook: float32 (256,), its first 0.
        codes: uint8, of the weight's shape; the weight is ``codebook[codes]``.
        bias: float32 (out,); (0,) where the layer has none.
        entries, fillers: how many the file lists, and how many of them are zeros.
    """

    codebook: Tensor
    codes: Tensor
    bias: Tensor
    entries: int
    fillers: int


def read_layers(path: str | Path, architecture: nn.Module) -> dict[str, StoredLayer]:
    """What a file holds for each layer of a network, by the names of `weight_layers`.

    Raises:
        FileError: if the file cannot be read, is truncated or too long, or contradicts itself or the network; the
            message names the file, the layer and the byte.
        ValueError: if the network has numbers that the layout has no place for.
    """
    path, layers = Path(path), _fitting_layers(architecture)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error}") from error
    stored, at = {}, 4 * len(layers)
    if len(content) < at:
        raise FileError(f"{path}: header, byte {len(content)}: the file ends; {len(layers)} counts are {at} bytes")
    counts = np.frombuffer(content, "<u4", len(layers)).tolist()
    for number, (name, layer) in enumerate(layers.items()):
        if counts[number] > layer.weight.numel():
            raise FileError(
                f"{path}: layer {name}, byte {4 * number}: {counts[number]} entries, "
                f"the layer has {layer.weight.numel()} weights"
            )
    for (name, layer), count in zip(layers.items(), counts, strict=True):
        reader = _Reader(path, name, content, at)
        stored[name] = _read_layer(reader, layer, count)
        at = reader.at
    if at != len(content):
        raise FileError(f"{path}: byte {at}: {len(content) - at} bytes follow the last layer")
    return stored


class _Reader:
    def __init__(self, path: Path, layer: str, content: bytes, at: int) -> None:
        self.path, self.layer, self.content, self.at = path, layer, content, at

    def error(self, at: int, what: str) -> FileError:
        return FileError(f"{self.path}: layer {self.layer}, byte {at}: {what}")

    def take(self, what: str, dtype: str, count: int) -> np.ndarray:
        end = self.at + count * np.dtype(dtype).itemsize
        if end > len(self.content):
            raise self.error(self.at, f"its {what} reach to byte {end}, the file ends at {len(self.content)}")
        taken = np.frombuffer(self.content, dtype, count, self.at)
        if taken.dtype.kind == "f" and not np.isfinite(taken).all():
            raise self.error(self.at + 4 * int(np.argmin(np.isfinite(taken))), f"NaN or infinity among its {what}")
        self.at = end
        return taken


def _read_layer(reader: _Reader, layer: nn.Conv2d | nn.Linear, count: int) -> StoredLayer:
    codebook = reader.take("codebook", "<f4", ENTRIES)
    if codebook[0] != 0:
        raise reader.error(reader.at - 4 * ENTRIES, f"its codebook begins with {codebook[0]}, not with 0")
    bias = reader.take("biases", "<f4", 0 if layer.bias is None else layer.bias.numel())
    codes_at, codes = reader.at, reader.take("codes", "u1", count)
    gaps_at, packed = reader.at, reader.take("gaps", "u1", (count + 1) // 2)
    gaps = np.stack([packed & 15, packed >> 4], axis=1).ravel()
    if count % 2 and gaps[count]:
        raise reader.error(reader.at - 1, "the half byte behind its last gap is not 0")
    gaps = gaps[:count]
    odd = (codes == 0) & (gaps != _FILLER)
    if odd.any():
        first = int(odd.argmax())
        raise reader.error(codes_at + first, f"an entry of code 0 has a gap of {gaps[first]}; a filler's is {_FILLER}")
    positions = absolute_positions(gaps)
    outside = positions >= layer.weight.numel()
    if outside.any():
        first = int(outside.argmax())
        raise reader.error(
            gaps_at + first // 2, f"entry {first} is for weight {positions[first]} of {layer.weight.numel()}"
        )
    full = np.zeros(layer.weight.numel(), np.uint8)
    full[positions] = codes
    return StoredLayer(
        torch.from_numpy(codebook.astype(np.float32)),
        torch.from_numpy(full).view(layer.weight.shape),
        torch.from_numpy(bias.astype(np.float32)),
        count,
        int((codes == 0).sum()),
    )


def _fitting_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    tensors, weights = plain_tensors(network)
    for name in tensors:
        owner, _, kind = name.rpartition(".")
        if name not in weights and not (kind == "bias" and f"{owner}.weight".removeprefix(".") in weights):
            raise ValueError(f"the layout has no place for {name}: only weights and biases of convolutions and linear")
    return weight_layers(network)


def load_deep_compression(path: str | Path, architecture: nn.Module) -> nn.Module:
    """A network from a file in the published layout. A file that is refused leaves the network as it is.

    Args:
        architecture: a network whose convolutions and linear layers are the file's, in their order; changed in place.

    Returns:
        the network, in eval mode.

    Raises:
        FileError, ValueError: as `read_layers`.
    """
    stored = read_layers(path, architecture)
    for name, layer in weight_layers(settle(architecture)).items():
        found = stored[name]
        numbers = {"weight": found.codebook[found.codes.long()], "bias": found.bias}
        layer.load_state_dict({key: numbers[key] for key in layer.state_dict()})
    return architecture.eval()


def save_deep_compression(network: nn.Module, path: str | Path) -> None:
    """Writes a network whose weights are shared in the published layout; codebooks ascend.

    Raises:
        ValueError: if a layer has more than 255 different weights that are not zero, or the layout has no place for
            a number of the network.
    """
    layers = _fitting_layers(network)
    tensors, _ = plain_tensors(network)
    counts, content = [], []
    for name in layers:
        values, codes = distinct(tensors[f"{name}.weight".removeprefix(".")])
        if len(values) > MOST_CENTROIDS:
            raise ValueError(f"layer {name} has {len(values)} different weights, the layout has room for 255: share()")
        gaps, positions = relative_positions(codes != 0, GAP_BITS)
        counts.append(len(gaps))
        codebook = np.zeros(ENTRIES, "<f4")
        codebook[1 : 1 + len(values)] = values
        halves = np.append(gaps, 0)[: len(gaps) + len(gaps) % 2].astype(np.uint8)
        bias = tensors.get(f"{name}.bias".removeprefix("."), np.empty(0, np.float32))
        content += [
            codebook,
            bias.astype("<f4"),
            codes.ravel()[positions].astype(np.uint8),
            halves[::2] | halves[1::2] << 4,
        ]
    Path(path).write_bytes(np.array(counts, "<u4").tobytes() + b"".join(part.tobytes() for part in content))


def squeezenet(root: str | Path | None = None) -> Published:
    """SqueezeNet 1.0 as the authors published it, from a local folder; it takes images of 227 x 227.

    Args:
        root: folder to look in first, before those of `course_utils.data.places`.

    Raises:
        WeightsError: if the file is not here.
        FileError: if it is damaged.
    """
    path = find_file("squeezenet/compressed_SqueezeNet.net", "The network of Deep Compression's authors", root)
    return Published(load_deep_compression(path, SqueezeNet10()), bgr_minus_mean)
