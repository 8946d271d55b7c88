"""What the commands share: the console, where results lie, one look for every progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
)
from rich.text import Text

from autograder.sandbox.strangers import visible

if TYPE_CHECKING:
    from autograder.labs.lab import Lab


class _Console(Console):
    """Shows what a terminal would obey: names, messages and outputs are strangers'."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


console = _Console()

INBOX = Path("inbox")
GRADES = Path("build/grades")
REPORT = Path("build/report")


def labs_of(root: Path, names: tuple[str, ...]) -> list[Lab]:
    """The named labs of the course, or all of them if none is named."""
    from autograder.labs.lab import Lab, lab_names

    return [Lab(name, root) for name in names or lab_names(root)]


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar that says how many are done, with more ``columns`` behind. It goes when it is done, and fills no log."""
    usual = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*usual, *columns, console=console, transient=True, disable=not console.is_terminal)
