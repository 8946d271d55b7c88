"""The three inner loops that are worth compiling, by numba.

`formats`, `affine` and `format_search` import this module when they first meet a large float32 tensor on the CPU, and
do without it when numba is missing: torch's own operations give the same result, at a half to a quarter of the speed.

Why numba and not ``torch.compile``: both reach the speed of a copy, but torch.compile calls a C++ compiler, which many
a student's machine lacks (it then raises), takes ten seconds for its first kernel, and forks worker processes. Numba
brings its compiler along and takes less than a second. One compilation serves every format, because the format is in
the arguments. ``parallel=True`` is left out on purpose: it would start threads, after which a process cannot safely
fork, and one core already saturates the memory. Nothing is cached on disk, so nothing stale or foreign is ever loaded.

Stands on numba and numpy.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["fake_quantize", "round_to_float", "sum_in_cells"]


@intrinsic
def _as_int(context, value):
    """The 32 bits of a float32, read as an integer."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.int32))

    return types.int32(types.float32), generate


@intrinsic
def _as_float(context, value):
    """The 32 bits of an integer, read as a float32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@njit(error_model="numpy", nogil=True)
def round_to_float(x, y, lowest, highest, spacing, largest, beyond, flush):
    """``y[i]`` = ``x[i]`` rounded to a float format, nearest and ties to even; `formats` tells the mathematics.

    Args:
        x, y: float32 arrays of one dimension, ``y`` is written.
        lowest, highest: the powers of two at which the format's first and last normal binade begin.
        spacing: 2^-mantissa_bits, the distance between neighbours in the binade that begins at 1.
        largest: the largest finite value.
        beyond: what larger results become: ``largest`` again, infinity or NaN.
        flush: smaller results become zero; 0 keeps the subnormals.
    """
    for i in range(x.size):
        binade = _as_float(_as_int(x[i]) & np.int32(0x7F800000))
        step = min(max(binade, lowest), highest) * spacing
        r = np.rint(x[i] / step) * step
        if abs(r) > largest:
            r = np.copysign(beyond, r)
        if abs(r) < flush:
            r = np.copysign(np.float32(0), r)
        y[i] = r


@njit(error_model="numpy", nogil=True)
def fake_quantize(x, y, scale, zero_point, quant_min, quant_max):
    """``y[o, c, i]`` = whole number nearest to ``x[o, c, i] / scale[c]``, within bounds, times ``scale[c]``.

    The bounds are ``quant_min - zero_point[c]`` and ``quant_max - zero_point[c]``; `affine` tells why.

    Args:
        x, y: float32 arrays (outer, channels, inner), ``y`` is written.
        scale, zero_point: float32 arrays (channels,), or (1,) for all channels; zero points may be int32, too.
        quant_min, quant_max: float32, the integers' range.

    Returns:
        Whether all scales are positive and finite, and whether all zero points are whole and within the range; ``y``
        means nothing if not.
    """
    next_scale, next_zero = int(scale.size > 1), int(zero_point.size > 1)
    scale_is_usable = zero_point_is_usable = True
    for o in range(x.shape[0]):
        if x.shape[2] == 1:  # channels are neighbours in memory: the inner loop runs over them
            for c in range(x.shape[1]):
                s, z = scale[c * next_scale], np.float32(zero_point[c * next_zero])
                scale_is_usable &= 0 < s < np.inf
                zero_point_is_usable &= quant_min <= z <= quant_max and z == np.rint(z)
                y[o, c, 0] = _within(np.rint(x[o, c, 0] / s), quant_min - z, quant_max - z) * s
        else:
            for c in range(x.shape[1]):
                s, z = scale[c * next_scale], np.float32(zero_point[c * next_zero])
                scale_is_usable &= 0 < s < np.inf
                zero_point_is_usable &= quant_min <= z <= quant_max and z == np.rint(z)
                low, high = quant_min - z, quant_max - z
                for i in range(x.shape[2]):
                    y[o, c, i] = _within(np.rint(x[o, c, i] / s), low, high) * s
    return scale_is_usable, zero_point_is_usable


@njit(error_model="numpy")
def _within(q, low, high):
    """``q`` clamped; NaN stays."""
    q = low if q < low else q
    return high if q > high else q


@njit(error_model="numpy", nogil=True)
def sum_in_cells(x, sums, rest_bits):
    """Counts numbers by the first bits of ``|x|``, and sums up the rest of their bits; `format_search` tells what for.

    Args:
        x: float32 array of one dimension, below 2^29 numbers (else the last sum could overflow).
        sums: int64 array (cells, 3), to which are added: how many x are in the cell, the sum of the rests of their
            bits, and the sum of the squares of these.
        rest_bits: how many bits are the rest, at most 17.
    """
    for i in range(x.size):
        bits = _as_int(x[i]) & np.int32(0x7FFFFFFF)
        cell = bits >> rest_bits
        rest = np.int64(bits & ((1 << rest_bits) - 1))
        sums[cell, 0] += 1
        sums[cell, 1] += rest
        sums[cell, 2] += rest * rest
