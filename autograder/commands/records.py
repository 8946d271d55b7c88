"""What an instructor does with grades: look at them, mark written answers, hand them back, take them elsewhere."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from autograder.commands.shown import GRADES, INBOX, REPORT, console

OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are."
)


@click.command()
@OUTPUT
def gradebook(output: Path) -> None:
    """Print every student's points, lab by lab, less what lateness costs."""
    from autograder.records.rows import read_records

    records = read_records(output)
    points, largest, short = records.totals(), records.largest, short_names(records.labs)
    waiting = records.rows[records.rows["status"] == "by hand"].groupby("student").size()
    table = Table("student")
    for lab in points.columns:
        best = largest.sum() if lab == "total" else largest[lab]
        table.add_column(f"{short.get(lab, lab)}\nof {best:g}", justify="right")
    table.add_column("wait", justify="right")
    for student, row in points.iterrows():
        cells = ["-" if value != value else f"{value:g}" for value in row]
        waits = waiting.get(student, 0)
        table.add_row(escape(str(student)), *cells, str(waits) if waits else "")
    console.print(table)
    for lab, name in short.items():
        if name != lab:
            console.print(f"{name}: {lab}", markup=False, highlight=False)
    if len(waiting):
        told = f"wait: answers that wait for a person, {waiting.sum()} in all, 0 points so far: course mark"
        console.print(told, markup=False, highlight=False)


def short_names(labs: list[str]) -> dict[str, str]:
    """Labs by their numbers, so that a table of many fits a terminal; by their names if that is unclear."""
    numbers = [lab.partition("_")[0] for lab in labs]
    alone = len(labs) == 1 or len(set(numbers)) < len(labs)
    return {lab: lab if alone else number for lab, number in zip(labs, numbers, strict=True)}


@click.command()
@OUTPUT
@click.option("--to", type=click.Path(path_type=Path), default=REPORT, show_default=True, help="Folder to write to.")
def report(output: Path, to: Path) -> None:
    """Write HTML pages that show how the class did, and where."""
    from autograder.records.report import write_report
    from autograder.records.rows import read_records

    console.print(f"report: {write_report(read_records(output), to)}", markup=False, soft_wrap=True)


@click.command()
@click.argument("lab")
@OUTPUT
@click.option("--for", "system", type=click.Choice(["moodle", "canvas"]), help="Pack the pages for this system.")
@click.option(
    "--submissions",
    type=click.Path(path_type=Path),
    default=INBOX,
    show_default=True,
    help="Where they were collected.",
)
@click.pass_obj
def feedback(root: Path, lab: str, output: Path, system: str | None, submissions: Path) -> None:
    """Write a page for each student: points by exercise, messages, comments, and the notebook.

    Pages lie in <output>/feedback/<student>/LAB/, where `nbgrader release_feedback` finds them, too. --for packs them
    into <output>/feedback/LAB-SYSTEM.zip by the names that `course collect` found in the system's archive; whose name
    is not known is told, and the exit code is 1.
    """
    from autograder.labs.lab import Lab
    from autograder.records.feedback import FOLDER, write_feedback
    from autograder.records.origins import origins, pack
    from autograder.records.rows import read_records

    records = read_records(output, [lab])
    pages = write_feedback(Lab(lab, root), records, output)
    console.print(f"{lab}: {len(pages)} pages in {output / FOLDER}", markup=False, soft_wrap=True)
    waiting = records.rows.loc[records.rows["status"] == "by hand", "student"].unique()
    if len(waiting):
        told = f'{len(waiting)} of them say "not graded yet" of written answers: course mark {lab}'
        console.print(told, style="bold yellow", markup=False, soft_wrap=True)
    if system is not None:
        archive = output / FOLDER / f"{lab}-{system}.zip"
        left_out = pack(pages, origins(submissions, lab), system, archive)
        console.print(f"{archive}: {len(pages) - len(left_out)} pages for {system}", markup=False, soft_wrap=True)
        if left_out:
            told = f"not in it, since {submissions} does not know their {system} files: {', '.join(left_out)}"
            console.print(told, style="bold yellow", markup=False, soft_wrap=True)
            raise SystemExit(1)


@click.command()
@click.argument("lab")
@OUTPUT
@click.option("--port", type=int, default=0, help="On this machine.  [default: one that is free]")
@click.option("--browser/--no-browser", default=True, help="Whether to open the page.")
@click.pass_obj
def mark(root: Path, lab: str, output: Path, port: int, browser: bool) -> None:
    """Mark the written answers to LAB in a browser: one question, its marking scheme, everybody's answers.

    Points and comments go into the gradebook at once. The page is served on this machine only, until Ctrl-C; from
    another one reach it by ssh -L PORT:127.0.0.1:PORT with --port PORT.
    """
    import contextlib
    import webbrowser

    from autograder.labs.lab import Lab
    from autograder.records.backups import backed_up
    from autograder.records.marking import Marking, serve
    from autograder.records.rows import write_csv

    marking = Marking(Lab(lab, root), output)

    def told(address: str) -> None:
        console.print(f"{address}\nCtrl-C ends it.", markup=False, soft_wrap=True)
        if browser:
            webbrowser.open(address)

    with backed_up(output), contextlib.suppress(KeyboardInterrupt):
        serve(marking, port, told)
    write_csv(output, lab)
    left = sum(marking.waiting().values())
    console.print(f"{lab}: {left} answers wait" if left else f"{lab}: no answer waits; next: course feedback {lab}")


@click.command()
@OUTPUT
def undo(output: Path) -> None:
    """Put the gradebook back as it was before the last run that changed it; repeatedly, up to ten runs.

    Notebooks that formgrader shows stay as they are until `course grade` writes them again.
    """
    from autograder.commands.class_run import records_or_none
    from autograder.records.backups import undo as restore
    from autograder.records.changes import summary
    from autograder.records.rows import write_csv

    now = records_or_none(output)
    copy = restore(output)
    then = records_or_none(output)
    console.print(f"{output}: the gradebook is that of {copy.stem}", markup=False, highlight=False)
    for lab in sorted({*(now.labs if now else ()), *(then.labs if then else ())}):
        write_csv(output, lab)
        console.print(f"{lab}: {summary(now, then, lab, tense='changed back')}", markup=False, highlight=False)


@click.command()
@click.argument("lab")
@click.option(
    "--submissions",
    type=click.Path(path_type=Path),
    default=INBOX,
    show_default=True,
    help="Folder with <student>/<lab>.ipynb in it.",
)
@click.option("--groups", type=click.IntRange(1), default=20, show_default=True, help="How many to show.")
@click.pass_obj
def similar(root: Path, lab: str, submissions: Path, groups: int) -> None:
    """List the answers to LAB that are most alike, released code left aside. Likeness is no proof of anything."""
    from autograder.grading.grader import find_submissions
    from autograder.labs.lab import Lab
    from autograder.records.similar import grouped
    from autograder.records.similar import similar as compare

    chosen = Lab(lab, root)
    found = grouped(compare(chosen, find_submissions(chosen, submissions)))
    for group in found[:groups]:
        console.print(", ".join(group.students), style="bold", markup=False, highlight=False)
        for exercise, likeness in group.exercises:
            told = "the same but for names and numbers" if likeness == 1 else f"{likeness:.0%} alike"
            console.print(f"  {exercise}: {told}", markup=False, highlight=False)
        for line in group.common[:8]:
            console.print(f"      {line}", markup=False, highlight=False, style="dim")
        if len(group.common) > 8:
            console.print(f"      ... {len(group.common) - 8} more lines in common", style="dim")
    if len(found) > groups:
        console.print(f"... {len(found) - groups} more: --groups {len(found)} shows them")
    console.print("Likeness is no proof: short exercises have few right answers. Read the answers before you judge.")


@click.command()
@OUTPUT
@click.option("--to", "system", type=click.Choice(["canvas", "moodle", "gradescope"]), required=True)
@click.option("--roster", type=click.Path(path_type=Path), required=True, help="CSV: student, and what --to needs.")
@click.option("--file", "path", type=click.Path(path_type=Path), required=True, help="CSV file to write.")
def export(output: Path, system: str, roster: Path, path: Path) -> None:
    """Write grades, less what lateness costs, as the CSV file that Canvas, Moodle or Gradescope imports.

    The roster has a column `student`, the name of the folder, and `id` (canvas) or `email` (moodle, gradescope);
    `name`, `sis`, `login` and `section` are passed on. Who is not in it is named, and not in the file: exit code 1.
    """
    from autograder.records.export import export as make
    from autograder.records.export import read_roster, write_export
    from autograder.records.rows import read_records

    made = make(read_records(output), system, read_roster(roster, system))
    write_export(made, path)
    console.print(f"{path}: {len(made.table) - (system == 'canvas')} students", markup=False, soft_wrap=True)
    for words, names in (("in the roster, but nothing graded", made.ungraded), ("NOT in the roster", made.unknown)):
        if names:
            console.print(f"{words}: {', '.join(names)}", markup=False, soft_wrap=True)
    if made.unknown:
        raise SystemExit(1)
