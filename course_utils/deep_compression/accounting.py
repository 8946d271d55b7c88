"""How many bits a compressed network takes: every one is counted, stage by stage and part by part.

The stages are those of the paper's pipeline: float32; pruned (what is left as float32, with its gap); shared (codes and
gaps of fixed widths, and the codebooks); huffman (what `file` writes). Stands on NumPy, `huffman` and `positions`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from course_utils.deep_compression.huffman import code_lengths
from course_utils.deep_compression.pruning import settle, weight_layers

__all__ = ["PARTS", "STAGES", "Size", "TensorSize", "distinct", "plain_tensors", "size"]

STAGES = ("float", "pruned", "shared", "huffman")
PARTS = ("codebook", "codes", "gaps", "tables", "floats", "frame")
"""Of the last stage: shared values; Huffman's codes of them and of the gaps; the lengths of both codes; what stays
float32, such as biases; and what makes a file of it: lengths, checksums, bits up to a whole byte."""

WIDEST_GAP = 8
"""Bits of a gap, at most."""
LENGTH_BITS = 6
"""Of the length of a code word, in a table."""
MOST_CENTROIDS = 255
HEADER_BYTES, TENSOR_BYTES, SHARED_BYTES = 15, 9, 5
"""Of the file's frame: before all, around each tensor, and more for each whose values are shared."""


@dataclass(frozen=True)
class TensorSize:
    """
    Attributes:
        name: as in the network's ``state_dict``.
        numbers, kept: how many there are, and how many are not zero.
        stages: bits after each of `STAGES`, without a frame; only the first two where a layer's weight has too many
            values to be shared.
        parts: bits of each of `PARTS` in the file; empty in that case.
        gap_bits: in the file; None for a tensor that stays float32, because it takes fewer bits so.
        fillers: entries in the file that are zeros.
    """

    name: str
    numbers: int
    kept: int
    stages: Mapping[str, int]
    parts: Mapping[str, int]
    gap_bits: int | None = None
    fillers: int = 0


@dataclass(frozen=True)
class Size:
    """
    Attributes:
        tensors: in the network's order.
    """

    tensors: tuple[TensorSize, ...]

    @property
    def numbers(self) -> int:
        return sum(t.numbers for t in self.tensors)

    @property
    def kept(self) -> int:
        """Numbers that are not zero."""
        return sum(t.kept for t in self.tensors)

    def bits(self, stage: str) -> int:
        """Of all tensors after a stage, without a frame.

        Raises:
            ValueError: if a layer does not share its weights, and the stage is a later one.
        """
        for tensor in self.tensors:
            if stage not in tensor.stages:
                raise ValueError(
                    f"{tensor.name} has more than {MOST_CENTROIDS} different values that are not zero: share() it first"
                )
        return sum(t.stages[stage] for t in self.tensors)

    def ratio(self, stage: str) -> float:
        """How many times smaller than float32."""
        return self.bits("float") / self.bits(stage)

    def parts(self) -> dict[str, int]:
        """Bits of each of `PARTS`, over all tensors; together they are the file's, to the bit.

        Raises:
            ValueError: as `bits`.
        """
        self.bits("huffman")
        sums = {part: sum(t.parts.get(part, 0) for t in self.tensors) for part in PARTS}
        sums["frame"] += 8 * HEADER_BYTES
        return sums


def plain_tensors(network: nn.Module) -> tuple[dict[str, np.ndarray], set[str]]:
    """All numbers of a network, masks and codebooks applied.

    Returns:
        name -> float32 array, in the order of ``state_dict``. (A batch normalization's count of batches is left out.)
        The names of those that are weights of `weight_layers`.

    Raises:
        ValueError: if a tensor is not float32, or a number is not finite.
    """
    plain = settle(copy.deepcopy(network))
    tensors = {}
    for name, tensor in plain.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        array = tensor.detach().cpu().numpy()
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} should be float32 and finite, it is {array.dtype} or holds NaN or infinity")
        tensors[name] = array
    return tensors, {f"{name}.weight".removeprefix(".") for name in weight_layers(plain)}


def distinct(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns:
        the different values that are not zero, ascending.
        int64 of the weight's shape: 0 where it is zero, else 1 + the number of its value.
    """
    codes = np.zeros(weight.shape, np.int64)
    values, inverse = np.unique(weight[weight != 0], return_inverse=True)
    codes[weight != 0] = inverse + 1
    return values, codes


def size(network: nn.Module) -> Size:
    """Counts. How each tensor is stored is chosen by counting, too, at each stage: the width of its gaps, 0 to 8 bits,
    and whether its values are shared at all (biases seldom gain by it).

    Raises:
        ValueError: as `plain_tensors`.
    """
    tensors, weights = plain_tensors(network)
    return Size(tuple(_tensor(name, array, name in weights) for name, array in tensors.items()))


def _tensor(name: str, array: np.ndarray, is_weight: bool) -> TensorSize:
    values, codes = distinct(array)
    kept = np.flatnonzero(codes)
    skipped = np.diff(kept, prepend=-1) - 1
    plain = 32 * array.size
    entries = [len(kept) + int((skipped >> b).sum()) for b in range(WIDEST_GAP + 1)]
    stages = {"float": plain, "pruned": min(count * (32 + b) for b, count in enumerate(entries))}
    shareable = len(values) <= MOST_CENTROIDS
    if is_weight and not shareable:
        return TensorSize(name, array.size, len(kept), stages, {})
    gap_bits, parts = None, {"floats": plain}
    stages["shared"] = plain
    if shareable:
        codebook, width = 32 * len(values), math.ceil(math.log2(len(values) + 1))
        stages["shared"] = min(plain, codebook + min(count * (width + b) for b, count in enumerate(entries)))
        counts = np.bincount(codes.ravel()[kept], minlength=len(values) + 1)
        for b in range(WIDEST_GAP + 1):
            shared = {"codebook": codebook, **_huffman_parts(counts, skipped, b)}
            if sum(shared.values()) < sum(parts.values()):
                gap_bits, parts = b, shared
    stages["huffman"] = sum(parts.values())
    frame = TENSOR_BYTES + (SHARED_BYTES if gap_bits is not None else 0)
    parts["frame"] = 8 * frame + -stages["huffman"] % 8
    fillers = 0 if gap_bits is None else entries[gap_bits] - len(kept)
    return TensorSize(name, array.size, len(kept), stages, parts, gap_bits, fillers)


def _huffman_parts(code_counts: np.ndarray, skipped: np.ndarray, gap_bits: int) -> dict[str, int]:
    """Bits of codes, gaps and tables with gaps of this width; gaps of no bits are not written."""
    largest = 2**gap_bits - 1
    fillers = int((skipped >> gap_bits).sum())
    code_counts = code_counts.copy()
    code_counts[0] = fillers
    gap_counts = np.bincount(skipped & largest, minlength=largest + 1)
    gap_counts[largest] += fillers
    tables = len(code_counts) + (len(gap_counts) if gap_bits else 0)
    return {
        "codes": int(code_counts @ code_lengths(code_counts)),
        "gaps": int(gap_counts @ code_lengths(gap_counts)) if gap_bits else 0,
        "tables": LENGTH_BITS * tables,
    }
