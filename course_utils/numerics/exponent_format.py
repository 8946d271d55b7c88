"""The format of MX scales, e8m0; `formats` hands its name on.

A power of two is nothing but an exponent, and a float32 has one in its bits: so the code is what is left of those bits
when the mantissa has been rounded away. docs/bits.md tells more.

Stands on `rounding`, `carriers`, `chunks`. Source: OCP microscaling formats (MX) 1.0, section 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.numerics.carriers import LAYOUT, power_of_two, require_floating
from course_utils.numerics.chunks import decoded, encoded, quantized
from course_utils.numerics.rounding import Overflow, Rounding, require_overflow, require_rounding

__all__ = ["ExponentFormat"]


@dataclass(frozen=True)
class ExponentFormat:
    """OCP MX's scale e8m0: eight exponent bits and nothing else. The powers of two from 2^-127 to 2^127, and NaN (255).

    There is no zero, no infinity and no sign. Zero becomes 2^-127, the nearest there is; negative numbers become NaN.
    """

    bits = 8
    bias = 127
    has_nan = True
    dtype = torch.float32
    code_range, code_dtype = (0, 255), torch.uint8
    largest = power_of_two(127)
    smallest = power_of_two(-127)

    def __str__(self) -> str:
        return "e8m0"

    def values(self) -> Tensor:
        """All 255 powers of two, ascending, float32."""
        return self.decode(torch.arange(255))

    def quantize(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Overflow = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Each number to a power of two; see `FloatFormat.quantize`. Ties go to the even code. Overflow is NaN.

        Returns:
            float32 (float64 for float64), ``x``'s shape.
        """
        self._require(x, rounding, overflow)
        compute = torch.promote_types(x.dtype, torch.float32)

        def work(block: Tensor, out: Tensor) -> None:
            out.copy_(self._values(self._codes(block, rounding, overflow, generator)))

        return quantized(self, x, rounding, overflow, generator, compute, compute, work)

    def encode(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Overflow = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The codes of ``quantize(x, ...)``: uint8, exponent plus 127, 255 for NaN.

        They are the exponent field of a float32, whose mantissa is rounded away.
        """
        self._require(x, rounding, overflow)

        def work(block: Tensor, out: Tensor) -> None:
            out.copy_(self._codes(block, rounding, overflow, generator))

        return encoded(self, x, rounding, overflow, generator, torch.promote_types(x.dtype, torch.float32), work)

    def decode(self, codes: Tensor) -> Tensor:
        """The values of codes in [0, 255]: float32, the same shape; 255 is NaN."""
        return decoded(self, codes)

    def _require(self, x: Tensor, rounding: Rounding, overflow: Overflow) -> None:
        """Refuses what `quantize` refuses."""
        require_floating(x)
        require_rounding(rounding)
        require_overflow(overflow)

    def _codes(self, block: Tensor, rounding: Rounding, overflow: Overflow, generator) -> Tensor:
        """See `encode`; in an integer dtype as wide as the block's."""
        integer, mantissa_bits, bias = LAYOUT[block.dtype]
        bits, smallest = block.view(integer), float(block.amin()) if block.numel() else 0.0
        if not (ordinary := smallest >= power_of_two(-126)):  # or there is a NaN
            bits = bits & torch.iinfo(integer).max
            if block.dtype == torch.float32:  # its numbers below are subnormal: half as many for a step
                bits.sub_((2**mantissa_bits - bits).clamp_min_(0))
        if bias != self.bias:
            bits = bits - ((bias - self.bias) << mantissa_bits)
        if not ordinary:
            bits.clamp_min_(0)
        if rounding == "stochastic":
            draw = torch.rand(bits.shape, generator=generator, dtype=block.dtype, device=bits.device)
            code = draw.mul_(2.0**mantissa_bits).to(integer).add_(bits)
        elif rounding == "nearest-even":
            code = (bits >> mantissa_bits).bitwise_and_(1).add_(bits).add_(2 ** (mantissa_bits - 1) - 1)
        else:
            code = bits + (2 ** (mantissa_bits - 1) if rounding == "nearest-away" else 0)
        code.bitwise_right_shift_(mantissa_bits).clamp_max_(254 if overflow == "saturate" else 255)
        if not smallest >= 0:  # there are negative numbers or NaN
            code.masked_fill_((block < 0) | block.isnan(), 255)
        return code

    def _values(self, codes: Tensor) -> Tensor:
        """See `decode`. The code is a float32's exponent field, but 2^-127 is subnormal, and 255 would be infinity."""
        value = (codes.int() << 23).clamp_min_(2**22).view(torch.float32)
        return value.add_(value - value)  # infinity less infinity is NaN

    def _compiled(self, loops, real: type, rounding: Rounding, overflow: Overflow):
        return loops.exponent_format(rounding, overflow)

    def _compiled_codes(self, loops):
        return loops.exponent_format("nearest-even", "saturate")
