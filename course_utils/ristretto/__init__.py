"""Ristretto: how few bits a whole network needs, in dynamic fixed point, minifloats or powers of two.

`formats` has the number systems, `layers` networks that round, `trimming` the search. Stands on `numerics`, `networks`
and `low_bit`.
"""

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
from course_utils.ristretto.trimming import PARTS, Trial, Trimmed, formats_of, trim

__all__ = [
    "PARTS",
    "SYSTEMS",
    "LayerFormats",
    "PowersOfTwo",
    "Ranges",
    "Trial",
    "Trimmed",
    "exponent_bits_by_rule",
    "fixed_point_for",
    "formats_of",
    "least_error_format",
    "measure",
    "minifloat",
    "powers_of_two_for",
    "quantized",
    "trim",
]
