"""What a check cell calls, and what is told beside it: panel, hints, progress.

`expectations` and `cases` are loaded when one of their names is asked for: `hints` and `progress` are read where torch
never is.
"""

import importlib
from typing import Any

__all__ = [
    "check",
    "expect",
    "expect_close",
    "expect_domain",
    "expect_equal",
    "expect_no_loop",
    "expect_raises",
    "expect_returns",
    "expect_type",
    "expect_unchanged",
    "forms",
    "generator",
    "probe",
    "reused",
    "side_by_side",
    "state_of",
    "watched",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "cases" if name in ("forms", "reused", "side_by_side", "state_of", "watched") else "expectations"
    return getattr(importlib.import_module(f"course_utils.checks.{module}"), name)
