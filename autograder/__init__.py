"""Builds the labs from their sources and grades submissions honestly; see docs/architecture.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The course's folder: the checkout that this package is installed from.

:meta hide-value:
"""
