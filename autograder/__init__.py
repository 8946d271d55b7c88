"""Builds the labs from their sources and grades submissions honestly; see docs/architecture.md."""
