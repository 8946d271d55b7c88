"""What more than one cell draws, in colours that everybody can tell apart, with words for those who do not see it."""

from course_utils.pictures.plots import COLOURS, channel_ranges, code_line, curves_by_bits, use_course_style

__all__ = ["COLOURS", "channel_ranges", "code_line", "curves_by_bits", "use_course_style"]
