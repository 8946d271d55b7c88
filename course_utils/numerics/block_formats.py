"""Block formats: neighbours share a scale (OCP microscaling formats, MX 1.0; NVIDIA's NVFP4).

The elements are so narrow (down to 4 bits) that they could not reach far by themselves; the scale moves their range to
where the block's numbers are. Quantizing divides by the scale, rounds to the element format, and multiplies.

**MX**: 32 elements, and a scale of 8 bits, a power of two. As the specification has it (section 6.3), it is

    2^(floor(log2(largest magnitude in the block)) - exponent of the element format's largest value)

so that the largest number falls into the elements' topmost binade. There it may still exceed the largest element (in
e4m3 from 464 to 512, which is NaN's place); then it saturates.

**NVFP4**: 16 elements in e2m1, whose largest value is 6, a scale in e4m3, whose largest value is 448, and a float32 for
the whole tensor:

    tensor scale = largest magnitude in the tensor / (448 * 6)
    scale        = largest magnitude in the block / 6 / tensor scale, rounded to e4m3
    element      = x / (scale * tensor scale), rounded to e2m1; the product is a float32

so that the block with the tensor's largest number has the scale 448, and the largest number of each block comes near 6.

What the sources leave open. Here:

- A block with NaN or infinity has the scale NaN, and so all of it is NaN (torchao: only with NaN). The tensor scale of
  NVFP4 is that of the finite numbers, so that the other blocks do not suffer.
- A block of zeros has the smallest scale, 2^-127 (MX) or 2^-9 (NVFP4). Zeros keep their sign, but for mxint8.
- In NVFP4, a scale that would round to zero is 2^-9, too. The tensor scale of nothing but zeros is 1, and none is below
  2^-126, where a float32 would lose digits.
- In mxint8 the code -128, value -2, is used like any other.
- Blocks run along the last axis. The last one may be shorter.

Stands on `formats`, `chunks`, `carriers`. Sources: OCP MX 1.0; NVIDIA, Pretraining large language models with NVFP4
(arXiv 2509.25149, appendix on quantization).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from course_utils.numerics.carriers import power_of_two, require_floating
from course_utils.numerics.chunks import (
    REAL,
    block_length,
    compiled_loops,
    draw_key,
    empty,
    in_blocks,
    in_slices,
    largest_finite,
    may_have_nan,
    runs_compiled,
)
from course_utils.numerics.formats import FORMATS, FixedPoint, FloatFormat, Rounding
from course_utils.numerics.rounding import require_rounding

__all__ = ["BLOCK_FORMATS", "NVFP4", "BlockFormat", "TwoLevelFormat"]


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
    scale_format = FORMATS["e8m0"]

    def __post_init__(self) -> None:
        if self.block_size not in [2**n for n in range(17)]:
            raise ValueError(f"block_size is a power of two up to 2^16, not {self.block_size}")

    def __str__(self) -> str:
        return f"{self.element} in blocks of {self.block_size}"

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
        return self._scales(self._blocks(x))[1]

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
        blocks = self._blocks(x)
        require_rounding(rounding)
        compute = torch.promote_types(x.dtype, torch.float32)

        def work(flat: Tensor, out: Tensor, scale: Tensor) -> None:
            element, scale = out.view(-1, self.block_size), scale.unsqueeze(-1)
            torch.div(flat.view(-1, self.block_size), scale, out=element)
            self.element._quantize_block(out, out, rounding, "saturate", generator)
            element.mul_(scale)

        if self._runs_compiled(blocks):
            y, *_ = self._compiled("quantize_blocks", blocks, compute, rounding, generator)
        else:
            wide = torch.promote_types(compute, self.element.dtype)
            y = in_blocks(work, blocks, wide, compute, self._scales(blocks)[1])
        return y.flatten(-2)[..., : x.shape[-1]]

    def encode(
        self, x: Tensor, rounding: Rounding = "nearest-even", generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """The codes of the elements and those of the scales.

        Args:
            x, rounding, generator: see `quantize`.

        Returns:
            (codes, scales): the element format's integers in ``x``'s shape; uint8 in the shape of `scales`.
            Where the scale is NaN the elements' codes are those of zeros.

        Raises:
            TypeError, ValueError: see `quantize`.
        """
        return self._encode(x, rounding, generator)[:2]

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """The values of what `encode` returned: float32, the shape of ``codes``.

        Raises:
            TypeError, ValueError: see `FloatFormat.decode`.
        """
        return self._decode(codes, scales, None)

    def _encode(self, x: Tensor, rounding, generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """The codes of the elements, those of the scales, and the scale of the whole tensor."""
        blocks = self._blocks(x)
        require_rounding(rounding)
        compute = torch.promote_types(x.dtype, torch.float32)

        def work(flat: Tensor, out: Tensor, scale: Tensor) -> None:
            element = flat.view(-1, self.block_size) / scale.unsqueeze(-1)
            if may_have_nan(scale):
                element.masked_fill_(scale.isnan().unsqueeze(-1), 0.0)
            element = element.view(-1)
            self.element._encode_block(element, out, rounding, "saturate", generator, room=element)

        if self._runs_compiled(blocks):
            codes, *scales = self._compiled("encode_blocks", blocks, self.element.code_dtype, rounding, generator)
        else:
            scale_codes, scale, tensor_scale = self._scales(blocks)
            wide = torch.promote_types(compute, self.element.dtype)
            codes = in_blocks(work, blocks, wide, self.element.code_dtype, scale)
            scales = scale_codes, tensor_scale
        return codes.flatten(-2)[..., : x.shape[-1]], *scales

    def _decode(self, codes: Tensor, scales: Tensor, tensor_scale: Tensor | None) -> Tensor:
        element = self._blocks(self.element.decode(codes))
        scale = self._decoded(scales, tensor_scale, torch.float32).unsqueeze(-1)
        return (element * scale).flatten(-2)[..., : codes.shape[-1]]

    def _blocks(self, x: Tensor) -> Tensor:
        """(..., blocks, block_size), the last block filled up with zeros."""
        require_floating(x)
        if x.dim() == 0:
            raise ValueError("blocks run along the last axis, and a single number has none")
        missing = -x.shape[-1] % self.block_size
        x = pad(x.detach(), (0, missing)) if missing else x.detach()
        return x.contiguous().unflatten(-1, (x.shape[-1] // self.block_size, self.block_size))

    def _scales(self, blocks: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The codes of the scales, the scales, and the scale of the whole tensor; by torch's operations."""
        compute = torch.promote_types(blocks.dtype, torch.float32)
        largest = torch.empty(blocks.shape[:-1], dtype=compute, device=blocks.device)
        # Bits without the sign are in the order of magnitudes, and NaN above all; and torch is faster with integers.
        integer = {torch.float32: torch.int32, torch.float64: torch.int64}[compute]
        count = block_length(blocks) // self.block_size
        for piece, out in zip(blocks.flatten(0, -2).split(count), largest.view(-1).split(count), strict=True):
            torch.amax(piece.to(compute).abs().view(integer), -1, out=out.view(integer))
        tensor_scale = self._tensor_scale(blocks, largest)
        codes = self._scale_codes(largest, tensor_scale)
        return codes, self._decoded(codes, tensor_scale, compute), tensor_scale

    def _tensor_scale(self, blocks: Tensor, largest: Tensor | None = None) -> Tensor | None:
        """The scale of the whole tensor, if there is one; ``largest`` are the largest magnitudes of the blocks."""

    def _scale_codes(self, largest: Tensor, tensor_scale: Tensor | None) -> Tensor:
        """uint8: the codes of the scales that belong to the largest magnitudes of blocks."""
        exponent = largest.double().view(torch.int64) >> 52  # 0 for zero, 2047 for NaN and infinity; the bias is 1023
        shift = self.scale_format.bias - 1023 + 1 - math.frexp(self.element.largest)[1]
        return (exponent + shift).clamp_(0, 254).add_((exponent + 1) >> 11).to(torch.uint8)

    def _decoded(self, scales: Tensor, tensor_scale: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The scales of these codes."""
        return self.scale_format.decode(scales).to(dtype)

    def _runs_compiled(self, blocks: Tensor) -> bool:
        return runs_compiled(blocks) and self.block_size >= compiled_loops().RUN and self.element.bits <= 31

    def _compiled(self, loop: str, blocks: Tensor, result: torch.dtype, rounding, generator):
        """(values or codes, codes of the scales, scale of the whole tensor): by a loop over blocks."""
        loops, real = compiled_loops(), REAL[torch.promote_types(blocks.dtype, torch.float32)]
        tensor_scale = self._tensor_scale(blocks)
        described, rule = (
            self.element._compiled(loops, real, rounding, "saturate"),
            self._rule(loops, tensor_scale, real),
        )
        (y, numbers), (scales, codes) = empty(blocks.shape, result), empty(blocks.shape[:-1], torch.uint8)
        key, size = draw_key(rounding, generator), self.block_size
        in_slices(loop, blocks, numbers, codes, size, described, key, rule, unit=size)
        return y, scales, tensor_scale

    def _rule(self, loops, tensor_scale: Tensor | None, real: type):
        """What the loop wants to know of the scales."""
        return loops.power_of_two(self.element.largest, real)


@dataclass(frozen=True)
class TwoLevelFormat(BlockFormat):
    """Elements under a scale in e4m3, and one float32 scale for the tensor; with the defaults, NVFP4."""

    element: FloatFormat = FORMATS["e2m1"]
    block_size: int = 16
    scale_format = FORMATS["e4m3"]

    def encode(
        self, x: Tensor, rounding: Rounding = "nearest-even", generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(codes, scales, tensor scale): as of `BlockFormat.encode`, and a float32 of no dimension."""
        return self._encode(x, rounding, generator)

    def decode(self, codes: Tensor, scales: Tensor, tensor_scale: Tensor) -> Tensor:
        """The values of what `encode` returned: float32, the shape of ``codes``.

        Raises:
            TypeError, ValueError: see `FloatFormat.decode`.
        """
        return self._decode(codes, scales, tensor_scale)

    def _tensor_scale(self, blocks: Tensor, largest: Tensor | None = None) -> Tensor:
        finite = largest is not None and largest.numel() > 0 and bool(largest.amax() < torch.inf)
        size = largest_finite(largest if finite else blocks)
        scale = max(size / (self.scale_format.largest * self.element.largest), power_of_two(-126)) if size else 1.0
        return torch.full((), scale, device=blocks.device)

    def _scale_codes(self, largest: Tensor, tensor_scale: Tensor) -> Tensor:
        # Both divisors are tensors, because torch multiplies a GPU tensor by the reciprocal of a number that is not.
        wanted = largest / torch.full_like(tensor_scale, self.element.largest) / tensor_scale
        wanted.clamp_min_(self.scale_format.smallest).add_((largest - largest).abs_())  # NaN for infinity
        return self.scale_format.encode(wanted)

    def _decoded(self, scales: Tensor, tensor_scale: Tensor, dtype: torch.dtype) -> Tensor:
        return self.scale_format.decode(scales).to(dtype) * tensor_scale

    def _rule(self, loops, tensor_scale: Tensor, real: type):
        return loops.two_levels(float(tensor_scale), self.element.largest, self.scale_format, real)


NVFP4 = TwoLevelFormat()

BLOCK_FORMATS: dict[str, BlockFormat] = {
    "mxfp8_e5m2": BlockFormat(FORMATS["e5m2"]),
    "mxfp8_e4m3": BlockFormat(FORMATS["e4m3"]),
    "mxfp6_e3m2": BlockFormat(FORMATS["e3m2"]),
    "mxfp6_e2m3": BlockFormat(FORMATS["e2m3"]),
    "mxfp4": BlockFormat(FORMATS["e2m1"]),
    "mxint8": BlockFormat(FixedPoint(2, 6)),
}
