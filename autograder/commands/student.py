"""A student's commands: open the labs, check one without a browser, look at data and machine."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click
from rich.markup import escape
from rich.progress import TextColumn
from rich.table import Column, Table

from autograder.commands.shown import GRADES, console, progress_bar
from autograder.errors import CourseError
from course_utils import COMMAND


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def lab(root: Path, arguments: tuple[str, ...]) -> None:
    """Open JupyterLab at the start page: what to do first, how far each lab is, and the demos.

    ARGUMENTS go to JupyterLab as they are, for instance --no-browser --port 9000.
    """
    from autograder.labs.pages import open_jupyterlab, write_start_page

    try:
        page = write_start_page(root)
    except CourseError as error:  # the labs may be fine all the same
        console.print(f"no start page: {error}\n`{COMMAND} doctor` may say why", style="bold yellow", markup=False)
        page = root / "notebooks"
    open_jupyterlab(root, page, arguments)


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--hints", type=click.IntRange(0, 3), default=1, show_default=True, help="Levels of hints to print.")
@click.pass_obj
def check(root: Path, notebook: Path, hints: int) -> None:
    """Run NOTEBOOK and tell what its visible checks say, without a browser.

    The cells run in order in a fresh kernel, as "Restart and run all" does; demos and experiments are left out. Grading
    adds hidden checks of the same rules. Exits with 1 if a check fails or is missing.
    """
    from autograder.grading.check_notebook import check_notebook, missing_checks
    from course_utils.checks.hints import LEVELS

    passed, earned, most = 0, 0.0, 0.0
    verdicts = []
    with progress_bar(TextColumn("cells")) as progress:
        bar = progress.add_task(notebook.name, total=None)
        for done, total, verdict in check_notebook(notebook):
            progress.update(bar, completed=done, total=total)
            verdicts += [verdict] if verdict else []
    for verdict in verdicts:
        style = "" if verdict.passed else "bold"
        console.print(f"{verdict.question} ({verdict.points:g} points)", style=style, markup=False, highlight=False)
        text = verdict.text if hints else verdict.text.partition("\n  hint ")[0]
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        for level in LEVELS[1:hints]:  # the first level is a part of the text
            if level in verdict.hints:
                told = f"  {level}:\n{textwrap.indent(verdict.hints[level], '    ')}"
                console.print(told, markup=False, highlight=False, soft_wrap=True)
        passed, most = passed + verdict.passed, most + verdict.points
        earned += verdict.points * verdict.passed
    lost = missing_checks(notebook, root / "notebooks" / notebook.stem / notebook.name)
    for question in lost:
        console.print(f"{question} is missing: the grader has it, so what it asks still counts", style="bold")
    console.print(f"{passed} of {len(verdicts) + len(lost)} checks pass; {earned:g} of {most:g} points shown here")
    if lost or passed < len(verdicts):
        raise SystemExit(1)


@click.command()
@click.option("--fetch", "wanted", metavar="NAME", help="Download this data set into data/ and verify its checksum.")
def data(wanted: str | None) -> None:
    """List the data sets of the labs and where each is found.

    A data set is looked for in the folder that the environment variable COURSE_DATA names, then in data/. Nothing is
    downloaded unless --fetch asks for it; without CIFAR-10 the labs run on generated images.
    """
    from course_utils import data as data_sets

    if wanted is not None:
        try:
            console.print(f"{wanted}: {data_sets.fetch(wanted)}")
        except data_sets.DataError as error:
            raise CourseError(str(error)) from error
        return
    table = Table("data set", "what it is", Column("where it is found", overflow="fold"))
    for row in data_sets.describe():
        table.add_row(row.name, row.about, escape(row.found or f"not here: {row.hint}"))
    console.print(table)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are.")
@click.pass_obj
def doctor(root: Path, output: Path) -> None:
    """Look at this machine: what does the course lack here, and how is it mended?

    Nothing is changed, and no browser or network is needed. Exits with 1 if something hinders the labs or the grader;
    what is only noted (a data set that is not here, a sandbox that this system cannot give) is no hindrance.
    """
    from autograder.doctor import examine

    table = Table("", "what", "found, and how to mend it")
    problems = 0
    for finding in examine(root, output):
        told = escape(finding.found) + (f"\n[bold]mend:[/] {escape(finding.mend)}" if finding.mend else "")
        table.add_row(finding.verdict, escape(finding.subject), told)
        problems += finding.verdict == "problem"
    console.print(table)
    console.print("everything that is needed is here" if not problems else f"problems to mend: {problems}")
    if problems:
        raise SystemExit(1)
