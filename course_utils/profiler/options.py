"""What may be chosen for a layer, and which layers are chosen: plain data, as a configuration file has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from course_utils.numerics.formats import FloatFormat
from course_utils.quantization.observers import Observer, entropy_threshold, mse_range

__all__ = ["ADJUSTMENTS", "KINDS", "RANGES", "Choice", "Options"]

ADJUSTMENTS = ("fixed_point", "scale_shift", "power_of_two")
"""How a layer's sums come to the output's grid: times a whole number of 31 bits and a shift; times one of ``num_bits``
and a shift; a shift alone, to which the weights' grid is fitted (tuwien report, 3.2 and 3.6)."""

KINDS = ("conv", "depthwise", "linear", "add", "pool")
"""Kinds of layers that can be replaced: convolution, depthwise convolution, fully connected, addition of two tensors,
global average pooling."""


def _entropy(observer: Observer, num_bits: int) -> tuple[float, float]:
    threshold = entropy_threshold(observer.histogram.magnitudes(), num_bits)
    return max(observer.histogram.min, -threshold), min(observer.histogram.max, threshold)


RANGES: dict[str, Callable[[Observer, int], tuple[float, float]]] = {
    "min_max": lambda observer, _: (min(observer.mins), max(observer.maxs)),
    "average": lambda observer, _: observer.average_range(),
    "mse": lambda observer, num_bits: mse_range(observer.histogram, num_bits),
    "entropy": _entropy,
}
"""Ways to choose an activation's range from what an observer saw, by name; the thesis has ``min_max`` (4.2.1)."""


@dataclass(frozen=True)
class Options:
    """How one layer is replaced; the flags by the thesis' names (4.3.1), which stand on TensorFlow Lite's scheme.

    Attributes:
        quantized: in whole numbers; if not, the layer computes in float32, with what is merged into it.
        merge_batch_norm: a batch norm that follows a convolution or fully connected layer goes into its weights.
        merge_relu: a ReLU or ReLU6 that follows goes into the output's grid, which then begins at 0 (and ends at 6).
        per_channel_quant: a grid for each output channel's weights. A fully connected layer's have one for all rows.
        symmetric_weights: weights on a grid with zero point 0.
        rounding_div: the last division rounds to nearest; else it drops the remainder, which rounds down.
        num_bits: of weights and activations, 2 to 16.
        weight_bits: of the weights, 2 to 16, if it is another number.
        adjustment: of convolutions and fully connected layers, one of `ADJUSTMENTS`.
        float_format: weights, input and output go to this format instead of whole numbers, and the layer computes in
            float32.

    Raises:
        ValueError: if a number of bits is out of range; or TypeError, if an option is of the wrong type.
    """

    quantized: bool = True
    merge_batch_norm: bool = True
    merge_relu: bool = True
    per_channel_quant: bool = True
    symmetric_weights: bool = True
    rounding_div: bool = True
    num_bits: int = 8
    weight_bits: int | None = None
    adjustment: str = "fixed_point"
    float_format: FloatFormat | None = None

    def __post_init__(self) -> None:
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is true or false, not {getattr(self, name)!r}")
        for name in ("num_bits", "weight_bits"):
            bits = getattr(self, name)
            if bits is None and name == "weight_bits":
                continue
            if not isinstance(bits, int) or isinstance(bits, bool):
                raise TypeError(f"{name} is a whole number, not {bits!r}")
            if not 2 <= bits <= 16:
                raise ValueError(f"{name} is 2 to 16, not {bits}")
        if self.adjustment not in ADJUSTMENTS:
            raise ValueError(f"adjustment is one of {', '.join(ADJUSTMENTS)}, not {self.adjustment!r}")

    @property
    def bits_of_weights(self) -> int:
        return self.num_bits if self.weight_bits is None else self.weight_bits


FLAGS = ("quantized", "merge_batch_norm", "merge_relu", "per_channel_quant", "symmetric_weights", "rounding_div")


@dataclass(frozen=True)
class Choice:
    """Some layers of a network, and how they are replaced.

    Attributes:
        which: a kind (see `KINDS`), or the name of one layer as `layers_of` has it.
        indices: of a kind's layers, in the order in which the network calls them, from 0; by default all.
    """

    which: str
    indices: Sequence[int] | None = None
    options: Options = field(default_factory=Options)
