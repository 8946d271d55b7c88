"""Fixed point: whole numbers times one power of two; `formats` hands these names on.

Stands on `rounding`, `carriers`, `chunks`. Sources: the Q format of digital signal processors; dynamic fixed
point as in Ristretto (Gysel 2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from course_utils.numerics.carriers import holds, integer_dtype, power_of_two, require_floating
from course_utils.numerics.chunks import REAL, decoded, encoded, largest_finite, may_have_nan, quantized, require_no_nan
from course_utils.numerics.rounding import Rounding, require_overflow, require_rounding, round_

__all__ = ["DynamicFixedPoint", "FixedPoint"]


@dataclass(frozen=True)
class FixedPoint:
    """``integer_bits`` before the point, ``fraction_bits`` behind it: value = code / 2^fraction_bits.

    Attributes:
        integer_bits: with the sign bit, if there is one. Negative for numbers all below one half, one quarter...
        fraction_bits: negative for multiples of 2, 4, ...
        signed: two's complement, so [-2^(integer_bits - 1), 2^(integer_bits - 1)), or [0, 2^integer_bits).

    Raises:
        ValueError: if the word is not 1 to 32 bits long (2 to 32 with sign), or its step not 2^-126 to 2^96.
    """

    integer_bits: int
    fraction_bits: int
    signed: bool = True
    has_nan = False

    def __post_init__(self) -> None:
        if not (1 + self.signed <= self.bits <= 32 and -96 <= self.fraction_bits <= 126):
            raise ValueError(f"{self}: {self.bits} bits with a step of 2^{-self.fraction_bits} are not supported")

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}fixed{self.integer_bits}.{self.fraction_bits}"

    @property
    def bits(self) -> int:
        """Length of a code."""
        return self.integer_bits + self.fraction_bits

    @property
    def significant_bits(self) -> int:
        """Binary digits of the largest value."""
        return self.bits - self.signed

    @property
    def dtype(self) -> torch.dtype:
        """The smallest of float32 and float64 that carries every value."""
        return torch.float32 if holds(torch.float32, self) else torch.float64

    @property
    def step(self) -> float:
        """The distance between neighbouring values."""
        return power_of_two(-self.fraction_bits)

    @property
    def smallest(self) -> float:
        """The smallest positive value."""
        return self.step

    @property
    def largest(self) -> float:
        """The largest value."""
        return self.code_range[1] * self.step

    @property
    def lowest(self) -> float:
        """The lowest value: 0, or one step further from zero than `largest`."""
        return self.code_range[0] * self.step

    @property
    def code_range(self) -> tuple[int, int]:
        """The lowest and the highest code."""
        return -(2 ** (self.bits - 1)) if self.signed else 0, 2 ** (self.bits - self.signed) - 1

    @property
    def code_dtype(self) -> torch.dtype:
        """Of what `encode` returns: the smallest that holds all codes."""
        return integer_dtype(*self.code_range)

    def values(self) -> Tensor:
        """Every value, ascending, in `dtype`.

        Raises:
            ValueError: for a word of more than 24 bits.
        """
        if self.bits > 24:
            raise ValueError(f"{self} has 2^{self.bits} codes, too many for a table")
        return self.decode(torch.arange(self.code_range[0], self.code_range[1] + 1))

    def quantize(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Literal["saturate"] = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Each number to a value of the format; what is beyond the range, infinities too, to its end.

        Args:
            x: floating point, any shape.
            rounding, generator: see `rounding.round_`.
            overflow: ``"saturate"``; fixed point has nothing else.

        Returns:
            A tensor of ``x``'s shape, in ``x``'s dtype where that holds every value, else in float32 or float64.
            NaN stays NaN. There is no negative zero. No gradient.

        Raises:
            TypeError: if ``x`` is not a floating-point tensor.
            ValueError: for an unknown ``rounding`` or ``overflow``.
        """
        self._require(x, rounding, overflow)
        compute = torch.promote_types(x.dtype, self.dtype)

        def work(block: Tensor, out: Tensor) -> None:
            self._quantize_block(block, out, rounding, overflow, generator)

        result = x.dtype if holds(x.dtype, self) else compute
        return quantized(self, x, rounding, overflow, generator, compute, result, work)

    def encode(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Literal["saturate"] = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The whole numbers ``quantize(x, ...) / step``.

        Returns:
            The smallest integer dtype that holds them all, ``x``'s shape.

        Raises:
            TypeError, ValueError: see `quantize`; and ValueError if ``x`` has NaN.
        """
        self._require(x, rounding, overflow)

        def work(block: Tensor, out: Tensor) -> None:
            if may_have_nan(block) and block.isnan().any():
                require_no_nan(self)
            self._encode_block(block, out, rounding, overflow, generator)

        return encoded(self, x, rounding, overflow, generator, torch.promote_types(x.dtype, self.dtype), work)

    def decode(self, codes: Tensor) -> Tensor:
        """The values of whole numbers: ``codes * step`` in `dtype`, the same shape.

        Raises:
            TypeError: if ``codes`` are not integers.
            ValueError: if one is outside the word's range.
        """
        return decoded(self, codes)

    def _require(self, x: Tensor, rounding: Rounding, overflow: str) -> None:
        """Refuses what `quantize` refuses."""
        require_floating(x)
        require_rounding(rounding)
        require_overflow(overflow, ("saturate",))

    def _quantize_block(self, block: Tensor, out: Tensor, rounding, overflow, generator) -> None:
        """See `quantize`; ``block`` and ``out``, which may be the same, in a dtype that carries the values."""
        q = round_(torch.div(block, self.step, out=out), rounding, generator)
        q.clamp_(*self.code_range).mul_(self.step).add_(0.0)  # -0.0 + 0.0 is 0.0

    def _encode_block(self, block: Tensor, out: Tensor, rounding, overflow, generator, room=None) -> None:
        """See `encode`; ``block`` is without NaN, in a dtype that carries the values. ``room`` is overwritten."""
        out.copy_(round_(torch.div(block, self.step, out=room), rounding, generator).clamp_(*self.code_range))

    def _values(self, codes: Tensor) -> Tensor:
        return codes.to(self.dtype).mul_(self.step)

    def _compiled(self, loops, real: type, rounding: Rounding, overflow: str):
        return loops.fixed_format(self, real, rounding)

    def _compiled_codes(self, loops):
        return loops.fixed_codes(self, REAL[self.dtype])


@dataclass(frozen=True)
class DynamicFixedPoint:
    """Fixed point whose point moves with the tensor: a word length, and one exponent for each tensor.

    The exponent is chosen so that the step is the finest one at which the tensor's largest magnitude is not clipped.
    (Ristretto's rule, integer_bits = ceil(log2 max) + 1, is the same but where the largest magnitude rounds to a
    power of two: there it saves the bit and clips that value by up to one step.)

    Attributes:
        bits: length of a word.
        signed: two's complement, or no negative numbers.

    Raises:
        ValueError: if the word is not 1 to 24 bits long (2 to 25 with sign), which is what float32 carries.
    """

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 1 + self.signed <= self.bits <= 24 + self.signed:
            raise ValueError(f"a word of {self.bits} bits is not supported")

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}dynamic{self.bits}"

    def format_for(self, x: Tensor) -> FixedPoint:
        """The fixed-point format of a tensor; of its finite values, that is, and 1.0 where all of them are zero."""
        require_floating(x)
        largest = largest_finite(x, self.signed)
        _, exponent = math.frexp(largest if largest > 0 else 1.0)  # largest = [1/2, 1) * 2^exponent
        integer_bits = exponent + self.signed
        if round(math.ldexp(largest, self.bits - integer_bits)) > 2 ** (self.bits - self.signed) - 1:
            integer_bits += 1
        integer_bits = min(max(integer_bits, self.bits - 126), self.bits + 96)
        return FixedPoint(integer_bits, self.bits - integer_bits, self.signed)

    def quantize(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Literal["saturate"] = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """``format_for(x).quantize(x, ...)``; see `FixedPoint.quantize`."""
        return self.format_for(x).quantize(x, rounding, overflow, generator)

    def encode(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Literal["saturate"] = "saturate",
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, FixedPoint]:
        """The whole numbers and the format that says what they mean; see `FixedPoint.encode`."""
        chosen = self.format_for(x)
        return chosen.encode(x, rounding, overflow, generator), chosen

    def decode(self, codes: Tensor, chosen: FixedPoint) -> Tensor:
        """The values of what `encode` returned."""
        return chosen.decode(codes)

    def values(self, chosen: FixedPoint) -> Tensor:
        """Every value at the exponent that `format_for` chose."""
        return chosen.values()
