"""The format of MX scales, e8m0; `formats` hands its name on.

A power of two is nothing but an exponent, and a float64 has one in its bits, wide enough for all of them: so the code
is what is left of those bits when the mantissa has been rounded away. docs/bits.md tells more.

Stands on `rounding`, `carriers`, `chunks`. Source: OCP microscaling formats (MX) 1.0, section 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.numerics.carriers import power_of_two, require_floating
from course_utils.numerics.chunks import decoded, encoded
from course_utils.numerics.rounding import Overflow, Rounding, require_overflow, require_rounding

__all__ = ["ExponentFormat"]

MANTISSA_BITS, BIAS = 52, 1023  # of float64


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
        codes = self.encode(x, rounding, overflow, generator)
        return self.decode(codes).to(torch.promote_types(x.dtype, torch.float32))

    def encode(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Overflow = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The codes of ``quantize(x, ...)``: uint8, exponent plus 127, 255 for NaN.

        They are the exponent field of a float64, whose mantissa is rounded away; docs/bits.md tells more.
        """
        require_floating(x)
        require_rounding(rounding)
        require_overflow(overflow)

        def work(block: Tensor, out: Tensor) -> None:
            code = block.abs().view(torch.int64).sub_((BIAS - self.bias) << MANTISSA_BITS).clamp_min_(0)
            if rounding == "stochastic":
                draw = torch.rand(code.shape, generator=generator, dtype=torch.float64, device=code.device)
                code.add_(draw.mul_(2.0**MANTISSA_BITS).long())
            elif rounding == "nearest-even":
                code.add_((code >> MANTISSA_BITS).bitwise_and_(1)).add_(2 ** (MANTISSA_BITS - 1) - 1)
            elif rounding == "nearest-away":
                code.add_(2 ** (MANTISSA_BITS - 1))
            code = (code >> MANTISSA_BITS).clamp_max_(254 if overflow == "saturate" else 255)
            out.copy_(code.masked_fill_((block < 0) | block.isnan(), 255))

        return encoded(self, x, rounding, overflow, generator, torch.float64, work)

    def decode(self, codes: Tensor) -> Tensor:
        """The values of codes in [0, 255]: float32, the same shape; 255 is NaN."""
        return decoded(self, codes)

    def _values(self, codes: Tensor) -> Tensor:
        value = ((codes.long() - self.bias + BIAS) << MANTISSA_BITS).view(torch.float64)
        return torch.where(codes == 255, torch.nan, value).float()

    def _compiled(self, loops, real: type, rounding: Rounding, overflow: Overflow):
        return loops.exponent_format(rounding, overflow)

    def _compiled_codes(self, loops):
        return loops.exponent_format("nearest-even", "saturate")
