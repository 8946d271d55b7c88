"""The number systems of Ristretto, and which format of each a tensor gets from its largest magnitude.

- *Dynamic fixed point*: a word length and one binary point for each tensor, `course_utils.numerics.DynamicFixedPoint`.
- *Minifloat*: floats without codes for infinity and NaN, one split of the word for the whole network.
- *Powers of two*, for weights: the multiplication becomes a shift. Activations stay in dynamic fixed point.
- *Fixed point*, to compare with: one format Qm.n for the whole network.

Source: P. Gysel, "Ristretto: Hardware-Oriented Approximation of Convolutional Neural Networks", arXiv:1605.06402.
Stands on `course_utils.numerics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from course_utils.numerics import DynamicFixedPoint, FixedPoint, FloatFormat
from course_utils.numerics.carriers import power_of_two, require_floating
from course_utils.numerics.rounding import Rounding, round_

__all__ = [
    "SYSTEMS",
    "Format",
    "LayerFormats",
    "PowersOfTwo",
    "exponent_bits_by_rule",
    "fixed_point_for",
    "least_error_format",
    "minifloat",
    "powers_of_two_for",
]

SYSTEMS = ("dynamic_fixed_point", "minifloat", "power_of_two", "fixed_point")
FEWEST_EXPONENT_BITS = 4  # Ristretto's: "experiments show LeNet needs 4 bits"
MOST_EXPONENT_BITS = 7  # with 8, and none of them for infinity, float32 does not carry the largest values


class Format(Protocol):
    """What all formats have."""

    @property
    def largest(self) -> float: ...

    def quantize(self, x: Tensor, rounding: Rounding = ..., *, generator: torch.Generator | None = ...) -> Tensor: ...


@dataclass(frozen=True)
class PowersOfTwo:
    """Zero and +-2^lowest, ..., +-2^highest.

    A number goes to the value that is nearest to it, not to the nearest exponent: between 2^k and 2^(k+1) the border is
    the middle, 3/4 of the upper one, and not sqrt(1/2) of it; between 0 and 2^lowest it is half of that. In the middle
    it goes away from zero.

    Raises:
        ValueError: if ``lowest`` is above ``highest``, or a value is not a normal float32 number.
    """

    lowest: int
    highest: int

    def __post_init__(self) -> None:
        if not -126 <= self.lowest <= self.highest <= 127:
            raise ValueError(f"exponents should rise from -126 or more to 127 or less: {self.lowest} to {self.highest}")

    def __str__(self) -> str:
        return f"2^{self.lowest}..2^{self.highest}"

    @property
    def largest(self) -> float:
        """The largest value."""
        return power_of_two(self.highest)

    def quantize(
        self, x: Tensor, rounding: Rounding = "nearest-away", *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Each number to a value; what is beyond the largest one, infinities too, to it. NaN stays NaN.

        Args:
            x: float32 or float64, any shape.
            rounding, generator: see `course_utils.numerics.rounding.round_`; stochastic rounding is between neighbours.

        Returns:
            ``x``'s dtype and shape. There is no negative zero. No gradient.
        """
        require_floating(x)
        x = x.detach().clamp(-self.largest, self.largest)
        _, exponent = torch.frexp(x)  # |x| = [1/2, 1) * 2^exponent, so its binade begins at 2^(exponent - 1)
        binade = torch.ldexp(torch.ones_like(x), (exponent - 1).clamp_(self.lowest, self.highest))
        return round_(x / binade, rounding, generator).mul_(binade).add_(0.0)  # -0.0 + 0.0 is 0.0

    def exponents(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Signs -1, 0, 1 and exponents, int64, of values of this format; the exponent of 0 is `lowest`."""
        _, exponent = torch.frexp(values)
        return values.sign().long(), torch.where(values == 0, self.lowest, exponent.long() - 1)


@dataclass(frozen=True)
class LayerFormats:
    """The formats of one layer; None is float.

    Attributes:
        weight, input, output: of the weights, and of what goes in and comes out (before an activation function).
        bias: None as a rule: biases are added to sums, which are wider than words.
    """

    weight: Format | None = None
    input: Format | None = None
    output: Format | None = None
    bias: Format | None = None


def fixed_point_for(largest: float, bits: int, *, spared: int = 0) -> FixedPoint:
    """What `DynamicFixedPoint` chooses for a tensor with this largest magnitude.

    Args:
        largest: a finite number of at least 0.
        bits: length of the word.
        spared: integer bits that are taken away; what does not fit any more is clipped. The published copies of
            Ristretto take one away from activations.
    """
    chosen = DynamicFixedPoint(bits).format_for(torch.tensor([largest], dtype=torch.float64))
    return FixedPoint(chosen.integer_bits - spared, chosen.fraction_bits + spared)


def least_error_format(x: Tensor, bits: int) -> FixedPoint:
    """The fixed-point format of this length with the least squared error; it may clip the largest numbers.

    Tried are those that reach from the largest magnitude down to 2^-23 of it; of equals the one that reaches further is
    taken.

    Args:
        x: finite floating point, any shape, not empty.
        bits: length of the word, 2 to 25.

    Raises:
        ValueError: if ``x`` is empty or not finite.
    """
    if not (x.numel() and x.isfinite().all()):
        raise ValueError("the least error is that of finite numbers, at least one of them")
    x = x.detach().double()
    largest = float(x.abs().max())
    finest = 126 - fixed_point_for(largest, bits).fraction_bits
    tried = [fixed_point_for(largest, bits, spared=spared) for spared in range(min(23, finest) + 1)]
    return min(tried, key=lambda chosen: float(((chosen.quantize(x) - x) ** 2).sum()))


def powers_of_two_for(largest: float, bits: int) -> PowersOfTwo:
    """Codes of a sign and ``bits - 1`` bits, one of which is zero: 2^(bits - 1) - 1 exponents, the highest at the
    power of two that is nearest to the largest magnitude.

    Raises:
        ValueError: if ``bits`` is below 2.
    """
    if bits < 2:
        raise ValueError(f"a power of two with a sign has at least 2 bits, not {bits}")
    nearest = float(PowersOfTwo(-126, 127).quantize(torch.tensor([largest], dtype=torch.float64)))
    highest = math.frexp(nearest)[1] - 1 if nearest else 0
    return PowersOfTwo(max(highest - (2 ** (bits - 1) - 2), -126), highest)


def exponent_bits_by_rule(largest: float) -> int:
    """Ristretto's rule for a network whose activations reach ``largest``: ceil(log2(log2(largest) - 1) + 1), but at
    least 4. Weights are left out of it, because they are smaller as a rule."""
    reach = math.log2(largest) - 1 if largest > 0 else 0.0
    needed = math.ceil(math.log2(reach) + 1) if reach > 0 else 0
    return max(needed, FEWEST_EXPONENT_BITS)


def minifloat(bits: int, exponent_bits: int, subnormals: bool = True) -> FloatFormat:
    """A float of so many bits, all codes numbers.

    Raises:
        ValueError: if no bit is left for the mantissa, which Ristretto asks for.
    """
    mantissa_bits = bits - 1 - exponent_bits
    if mantissa_bits < 1:
        raise ValueError(f"{bits} bits with {exponent_bits} for the exponent leave none for the mantissa")
    return FloatFormat(exponent_bits, mantissa_bits, specials="none", subnormals=subnormals)
