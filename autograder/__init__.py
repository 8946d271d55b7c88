"""Builds the labs from their sources and grades submissions honestly; see docs/architecture.md."""

from pathlib import Path

HANDOUT = "handout.json"
"""A file that `course handout` lays into the folder that students get; it says which release that is."""


def course_folder(package: Path = Path(__file__).parent, here: Path | None = None) -> Path:
    """The checkout that this package is installed from, else the handout around ``here``, else ``here``."""
    checkout = package.resolve().parent
    if (checkout / "solutions").is_dir():
        return checkout
    here = (here or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / HANDOUT).is_file()), here)


ROOT = course_folder()
"""The course's folder, in which the labs lie in ``notebooks/``.

:meta hide-value:
"""
