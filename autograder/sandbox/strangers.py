"""Text of strangers is text: what a terminal or a browser would obey is shown instead."""

from __future__ import annotations

import re
from collections.abc import Sequence

COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of IPython's tracebacks

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls (C0, C1) but for tab and newline; escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of reading
    "\u2028\u2029"  # line and paragraph separator
    "\ud800-\udfff]"  # halves of characters, which no file can hold: undecoded bytes of a file name
)

NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")

LONGEST_NAME = 300  # characters; longer than any real one

LONGEST_TEXT = 5000  # characters of a message: an examiner's has 4000 at most

MOST_LINES = 100  # of a list that one person's work gives rise to


def visible(text: str) -> str:
    r"""A text on one or several lines: controls are written as Python writes them (``\x1b``), colours are left out."""
    plain = COLOURS.sub("", text.replace("\r\n", "\n"))
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), plain)


def visible_name(name: str) -> str:
    """A name, of a file or a person, on one line."""
    return visible(name.replace("\n", "\\n").replace("\t", "\\t"))[:LONGEST_NAME]


def visible_cell(text: str) -> str:
    """A cell of a table that no spreadsheet takes for a formula: an apostrophe stands before it. Numbers are none."""
    if NUMBER.fullmatch(text):
        return text
    acts = text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n")
    return visible(f"'{text}" if acts else text)


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text that is not longer than a person would read; what is left out is counted."""
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest:,} more characters)"


def few(lines: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """The first of many lines, and how many more there are."""
    return [*lines] if len(lines) <= most else [*lines[:most], f"... and {len(lines) - most:,} more"]
