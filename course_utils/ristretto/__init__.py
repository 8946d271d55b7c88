"""Ristretto: how few bits a whole network needs, in dynamic fixed point, minifloats or powers of two.

`formats` has the number systems, `layers` networks that round, `trimming` the search, `fine_tuning` a training behind
the rounding, `shifts` networks that multiply by shifting. Stands on `numerics`, `networks` and `low_bit`.
"""

from course_utils.ristretto.fine_tuning import fine_tune
from course_utils.ristretto.formats import (
    SYSTEMS,
    LayerFormats,
    PowersOfTwo,
    exponent_bits_by_rule,
    fixed_point_for,
    least_error_format,
    minifloat,
    powers_of_two_for,
)
from course_utils.ristretto.layers import Ranges, measure, quantized
from course_utils.ristretto.shifts import biases_in_sums, shift_network
from course_utils.ristretto.trimming import PARTS, Trial, Trimmed, formats_of, trim

__all__ = [
    "PARTS",
    "SYSTEMS",
    "LayerFormats",
    "PowersOfTwo",
    "Ranges",
    "Trial",
    "Trimmed",
    "biases_in_sums",
    "exponent_bits_by_rule",
    "fine_tune",
    "fixed_point_for",
    "formats_of",
    "least_error_format",
    "measure",
    "minifloat",
    "powers_of_two_for",
    "quantized",
    "shift_network",
    "trim",
]
