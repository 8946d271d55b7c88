"""Block formats: blocks of 32 neighbours share one scale, a power of two (OCP microscaling formats, MX 1.0).

The elements are so narrow (down to 4 bits) that they could not reach far by themselves; the scale, 8 bits for 32 of
them, moves their range to where the block's numbers are. As the specification has it (section 6.3), the scale is

    2^(floor(log2(largest magnitude in the block)) - exponent of the element format's largest value)

so that the largest number falls into the elements' topmost binade. There it may still exceed the largest element (in
e4m3 from 464 to 512, which is NaN's place); then it saturates.

The specification leaves some cases open. Here:

- A block with NaN or infinity has the scale NaN, and so all of it is NaN; with torchao and microxcaling.
- A block of zeros has the smallest scale, 2^-127. Zeros keep their sign, but for mxint8.
- In mxint8 the code -128, value -2, is used like any other.
- Blocks run along the last axis. The last one may be shorter than 32.

Stands on `formats`, `blocks`, `carriers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from course_utils.numerics.carriers import require_floating
from course_utils.numerics.chunks import in_blocks
from course_utils.numerics.formats import FORMATS, FixedPoint, FloatFormat, Rounding

__all__ = ["BLOCK_FORMATS", "BlockFormat"]

SCALE = FORMATS["e8m0"]


@dataclass(frozen=True)
class BlockFormat:
    """Elements of one format under a shared power of two.

    Attributes:
        element: the format of each number, divided by the scale.
        block_size: how many share a scale; a power of two up to 2^16.

    Raises:
        ValueError: for another block size.
    """

    element: FloatFormat | FixedPoint
    block_size: int = 32

    def __post_init__(self) -> None:
        if self.block_size not in [2**n for n in range(17)]:
            raise ValueError(f"block_size is a power of two up to 2^16, not {self.block_size}")

    def __str__(self) -> str:
        return f"{self.element} in blocks of {self.block_size}"

    @property
    def bits_per_value(self) -> float:
        """Bits of an element and its share of the scale."""
        return self.element.bits + SCALE.bits / self.block_size

    def scales(self, x: Tensor) -> Tensor:
        """The scale of each block.

        Args:
            x: floating point, at least one axis.

        Returns:
            float32 (float64 for float64); ``x``'s shape with the last axis divided by the block size, rounded up.

        Raises:
            TypeError: if ``x`` is not a floating-point tensor.
            ValueError: if it has no axis.
        """
        return self._scales(self._blocks(x)).squeeze(-1)

    def quantize(
        self, x: Tensor, rounding: Rounding = "nearest-even", generator: torch.Generator | None = None
    ) -> Tensor:
        """Each number to a value of its block's grid, scale * element.

        Args:
            x: floating point, at least one axis.
            rounding, generator: see `rounding.round_`.

        Returns:
            ``x``'s shape; float32, or float64 for float64. No gradient.

        Raises:
            TypeError, ValueError: see `scales`; and ValueError for an unknown ``rounding``.
        """
        compute = torch.promote_types(self._blocks(x).dtype, torch.float32)

        def work(flat: Tensor, out: Tensor) -> None:
            block = flat.view(-1, self.block_size)
            scale = self._scales(block)
            element = self.element.quantize(block / scale, rounding, generator=generator)
            torch.mul(element, scale, out=out.view(-1, self.block_size))

        y = in_blocks(work, self._blocks(x), compute, compute)
        return y.flatten(-2)[..., : x.shape[-1]]

    def encode(
        self, x: Tensor, rounding: Rounding = "nearest-even", generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The codes of the elements and those of the scales.

        Args:
            x, rounding, generator: see `quantize`.

        Returns:
            (codes, scales): the element format's integers in ``x``'s shape; uint8 in the shape of `scales`.
            Where the scale is NaN (255) the elements' codes are those of zeros.

        Raises:
            TypeError, ValueError: see `quantize`.
        """
        block = self._blocks(x)
        block = block.to(torch.promote_types(block.dtype, torch.float32))
        scale = self._scales(block)
        element = torch.where(scale.isnan(), 0.0, block / scale)
        codes = self.element.encode(element, rounding, generator=generator)
        return codes.flatten(-2)[..., : x.shape[-1]], SCALE.encode(scale.squeeze(-1))

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """The values of what `encode` returned: float32, the shape of ``codes``.

        Raises:
            TypeError, ValueError: see `FloatFormat.decode`.
        """
        element = self._blocks(self.element.decode(codes))
        return (element * SCALE.decode(scales).unsqueeze(-1)).flatten(-2)[..., : codes.shape[-1]]

    def _blocks(self, x: Tensor) -> Tensor:
        """(..., blocks, block_size), the last block filled up with zeros."""
        require_floating(x)
        if x.dim() == 0:
            raise ValueError("blocks run along the last axis, and a single number has none")
        missing = -x.shape[-1] % self.block_size
        x = pad(x.detach(), (0, missing)) if missing else x.detach()
        return x.unflatten(-1, (x.shape[-1] // self.block_size, self.block_size))

    def _scales(self, blocks: Tensor) -> Tensor:
        """(..., blocks, 1): the scales of (..., blocks, block_size)."""
        largest = blocks.abs().amax(-1, keepdim=True).double()
        binade = torch.frexp(largest).exponent - 1 - (math.frexp(self.element.largest)[1] - 1)
        exponent = torch.where(largest == 0, -127, binade.clamp(-127, 127))
        scale = SCALE.decode(exponent + SCALE.bias).to(torch.promote_types(blocks.dtype, torch.float32))
        return torch.where(largest.isfinite(), scale, torch.nan)


BLOCK_FORMATS: dict[str, BlockFormat] = {
    "mxfp8_e5m2": BlockFormat(FORMATS["e5m2"]),
    "mxfp8_e4m3": BlockFormat(FORMATS["e4m3"]),
    "mxfp6_e3m2": BlockFormat(FORMATS["e3m2"]),
    "mxfp6_e2m3": BlockFormat(FORMATS["e2m3"]),
    "mxfp4": BlockFormat(FORMATS["e2m1"]),
    "mxint8": BlockFormat(FixedPoint(2, 6)),
}
