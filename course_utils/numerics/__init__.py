"""Number formats, scale and zero point: every way in which a real number becomes a few bits.

Stands on torch and NumPy; numba makes it faster where it is installed.
"""

from course_utils.numerics import affine, format_search
from course_utils.numerics.block_formats import BLOCK_FORMATS, BlockFormat
from course_utils.numerics.fixed_point import DynamicFixedPoint, FixedPoint
from course_utils.numerics.formats import FORMATS, ExponentFormat, FloatFormat

__all__ = [
    "BLOCK_FORMATS",
    "FORMATS",
    "BlockFormat",
    "DynamicFixedPoint",
    "ExponentFormat",
    "FixedPoint",
    "FloatFormat",
    "affine",
    "format_search",
]
