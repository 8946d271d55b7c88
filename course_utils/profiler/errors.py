"""The mistakes that a person can mend."""

from __future__ import annotations

__all__ = ["ProfilerError"]


class ProfilerError(ValueError):
    """A network, a choice or data that cannot be profiled. The message is one line that names the culprit."""
