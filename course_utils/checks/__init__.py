"""What a check cell calls, and what is told beside it: panel, hints, progress.

`expectations` is loaded when one of its names is asked for: `hints` and `progress` are read where torch never is.
"""

import importlib
from typing import Any

__all__ = [
    "check",
    "expect",
    "expect_close",
    "expect_equal",
    "expect_raises",
    "expect_returns",
    "generator",
    "probe",
    "python_steps",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("course_utils.checks.expectations"), name)
