"""The command ``course``."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from autograder import ROOT
from autograder.errors import CourseError

if TYPE_CHECKING:
    from autograder.grading.cache import ResultCache
    from autograder.grading.grader import Graded
    from autograder.grading.spread import Examiners
    from autograder.labs.due import Dates
    from autograder.labs.lab import Lab

console = Console()

GRADES = Path("build/grades")
REPORT = Path("build/report")


class OneLine(click.ClickException):
    """A `CourseError` as a person sees it: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file=None) -> None:
        click.echo(f"course: {self.format_message()}", file=file, err=True)


class Course(click.Group):
    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except CourseError as error:
            raise OneLine(" ".join(str(error).split())) from error
        except ModuleNotFoundError as error:
            if error.name not in ("fcntl", "resource"):  # which Windows lacks
                raise
            told = "this command runs answers, which needs a POSIX system: use it on Linux or macOS, or in Windows' WSL"
            raise OneLine(told) from error


@click.group(cls=Course, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, hidden=True, help="The course's folder.")
@click.pass_context
def main(context: click.Context, root: Path) -> None:
    """The quantization course: build its labs, grade submissions, look at grades.

    \b
    A student's evening:
      course lab                                     JupyterLab, at the start page
      course check notebooks/02_quantization_helpers/02_quantization_helpers.ipynb

    \b
    An instructor's week:
      course build                                   make the notebooks that students get
      course grade 02_quantization_helpers --submissions inbox/
      course gradebook                               who has how many points
      course report                                  which exercise went wrong, and how (HTML)

    \b
    An author's hour:
      course new 07_pruning --exercise prune         a skeleton: what is to be written is marked TODO
      course gates 02_quantization_helpers           is the lab honest? every variant, its score, its message
    """
    context.obj = root


def _labs(root: Path, names: tuple[str, ...]) -> list[Lab]:
    from autograder.labs.lab import Lab, lab_names

    return [Lab(name, root) for name in names or lab_names(root)]


@main.command()
@click.argument("labs", nargs=-1)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a committed release is not a fresh build.")
@click.pass_obj
def build(root: Path, labs: tuple[str, ...], check: bool) -> None:
    """Make the student notebooks of LABS (all, and the demos, if none is named) from solutions/.

    Writes notebooks/<lab>/<lab>.ipynb for students and build/source/<lab>/<lab>.ipynb for instructors.
    """
    from autograder.labs import build as builder
    from autograder.labs.lab import Lab, lab_names
    from autograder.labs.pages import Page, released_pages

    stale, pages = [], released_pages(root)
    for name in labs or (*lab_names(root), *pages):
        lab = Page(name, root) if name in pages else Lab(name, root)
        if check:
            current = builder.is_current(lab)
            console.print(f"{lab.name}: {'current' if current else '[bold red]differs from a fresh build'}")
            stale += [] if current else [lab.name]
        else:
            changed = builder.build(lab)
            console.print(f"{lab.name}: {'written' if changed else 'unchanged'} (notebooks/{lab.name})")
    if stale:
        raise SystemExit(1)


@main.command()
@click.argument("labs", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Grade every lab of the course.")
@click.option(
    "--submissions", type=click.Path(path_type=Path), required=True, help="Folder with <student>/<lab>.ipynb in it."
)
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where results go.")
@click.option(
    "--gradebook", type=click.Path(path_type=Path), help="nbgrader's database.  [default: <output>/gradebook.db]"
)
@click.option(
    "--due",
    metavar="TIME",
    help="When the lab is due, e.g. '2026-11-30 23:59 UTC'; kept in the gradebook.  [default: the lab's own]",
)
@click.option("--timestamps", type=click.Path(path_type=Path), help="CSV student,time[,lab]: when it was handed in.")
@click.option("--extensions", type=click.Path(path_type=Path), help="CSV student,time[,lab]: own due dates.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that grade, here.  [default: one for each core; fewer for a small class]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Grade on the workers of this dask scheduler instead.")
@click.option("--require-sandbox", is_flag=True, help="Refuse to grade where a part of the sandbox is missing.")
@click.option("--dry-run", is_flag=True, help="Show what would change in <output>/<lab>.csv; write no grade.")
@click.option("--student", metavar="NAME", help="Grade this one afresh and print the rows; write no grade.")
@click.option("--verbose", is_flag=True, help="With --student: print what the student's code printed, too.")
@click.pass_obj
def grade(
    root: Path,
    labs: tuple[str, ...],
    every: bool,
    submissions: Path,
    output: Path,
    gradebook: Path | None,
    due: str | None,
    timestamps: Path | None,
    extensions: Path | None,
    workers: int | None,
    scheduler: str | None,
    require_sandbox: bool,
    dry_run: bool,
    student: str | None,
    verbose: bool,
) -> None:
    """Grade the submissions for LABS.

    Takes the answer cells out of every <student>/<lab>.ipynb, runs them in a process of their own, and checks them from
    another one. Writes <output>/<lab>.csv (one row per question), nbgrader's gradebook, and the notebooks that
    formgrader shows. Exits with 0 whenever it graded, whatever the scores; a submission that cannot be read scores 0,
    with the reason in its rows.

    Results are kept in <output>/cache.db, by answers, checks and version of the kit: grading an unchanged class again
    takes seconds, a grader that was killed goes on where it was, and after a changed check only that check is graded
    again (look first, with --dry-run).

    A time that is not in --timestamps is taken from the timestamp.txt that nbgrader's exchange lays beside a notebook.
    What lateness costs is for the LateSubmissionPlugin in nbgrader_config.py to say.
    """
    from autograder.grading.spread import open_examiners

    if not labs and not every:
        raise CourseError("say which lab to grade, or --all")
    if verbose and student is None:
        raise CourseError("--verbose shows one student's output: say which with --student NAME")
    if due and len(labs) != 1:
        raise CourseError("--due is for one lab at a time")
    if student is not None:
        _show_student(_labs(root, labs), student, submissions, verbose)
        return
    workers = workers or _enough_workers(submissions)
    with open_examiners(workers, scheduler) as examiners:  # first, for they start in the background
        from autograder.grading.cache import ResultCache
        from autograder.grading.grader import student_folders
        from autograder.records.gradebook import GradeWriter

        with console.status("starting"):
            chosen, folders = _labs(root, labs), student_folders(submissions)
            # the gradebook is looked at before anything is graded: what is wrong with it should not cost an hour
            writers = [
                GradeWriter(
                    lab, output, gradebook or output / "gradebook.db", _dates(lab, due, timestamps, extensions, folders)
                )
                for lab in chosen
                if not dry_run
            ]
            walls = examiners.walls()
        _tell_walls(walls, require_sandbox)
        with ResultCache(output / "cache.db") as cache:
            for number, lab in enumerate(chosen):
                if dry_run:
                    _show_changes(lab, output, _grade_lab(lab, folders, examiners, cache))
                    continue
                with writers[number] as writer:
                    for graded in _grade_lab(lab, folders, examiners, cache):
                        writer.add(graded)
                counts = _counted(r.status for r in writer.rows)
                console.print(f"{lab.name}: {len(folders)} submissions graded ({counts})")
                console.print(f"  rows in {output / lab.name}.csv, gradebook in {writer.database}")


def _enough_workers(submissions: Path) -> int:
    """One for each core, and for each ten submissions: a few are graded before a second worker has started."""
    return max(1, min(os.cpu_count() or 1, len(list(submissions.glob("*/*"))) // 10))


def _dates(
    lab: Lab, due: str | None, timestamps: Path | None, extensions: Path | None, folders: dict[str, Path]
) -> Dates:
    """What the options say of dates. Names students in the files of whom there is no submission."""
    from autograder.labs.due import Dates, read_time, read_times

    handed_in = read_times(timestamps, lab.name) if timestamps else {}
    own = read_times(extensions, lab.name) if extensions else {}
    if unknown := (handed_in.keys() | own.keys()) - folders.keys():
        told = f"{lab.name}: times, but no submission, of {', '.join(sorted(unknown))}"
        console.print(told, style="bold yellow", markup=False)
    return Dates(read_time(due, "--due") if due else lab.due, own, handed_in)


def _grade_lab(lab: Lab, folders: dict[str, Path], examiners: Examiners, cache: ResultCache) -> Iterator[Graded]:
    """Grades what students handed in for a lab, with a progress bar, in the order in which they are done."""
    from autograder.grading.grader import Submission, Task

    # read when its turn comes, so that a large class does not fill the memory
    tasks = (Task(Submission.read(student, lab, folder), cache) for student, folder in folders.items())
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[slowest]}"),
    )
    slowest = (0.0, "")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(lab.name, total=len(folders), rate="", slowest="")
        for task, report in examiners.examine_all(tasks):
            graded = task.finish(report)
            slowest = max([slowest, *((row.seconds, row.question) for row in graded.rows)])
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed or 0
            progress.update(bar, rate=f"{speed:.1f}/s", slowest=f"slowest: {slowest[1]}, {slowest[0]:.1f} s")
            progress.advance(bar)
            yield graded


def _show_student(labs: list[Lab], student: str, submissions: Path, verbose: bool) -> None:
    """Prints what becomes of one student's submissions. All of it is a stranger's text: no markup, no control codes."""
    from autograder.grading.grader import Grader, Submission, student_folders
    from autograder.records.report import clean

    def tell(text: str, style: str = "") -> None:
        console.print(clean(text), style=style, markup=False, highlight=False)

    folders = student_folders(submissions)
    if student not in folders:
        raise CourseError(f"there is no folder {submissions / student}")
    with Grader() as grader:
        _tell_walls(grader.walls(), required=False)
        for lab in labs:
            graded = grader.grade(Submission.read(student, lab, folders[student]))
            console.rule(f"{lab.name}: {graded.score:g} points", align="left")
            for note in graded.submission.answers.notes:
                tell(f"note: {note}")
            for row in graded.rows:
                tell(f"{row.question}: {row.status}, {row.score:g} of {row.max_score:g}, {row.seconds:.2f} s")
                if row.message:
                    tell(f"  {row.message}")
            for cell, text in graded.output.items() if verbose else ():
                console.rule(f"printed in {cell}", align="left", style="dim")
                tell(text)


def _tell_walls(standing: list[str], required: bool) -> None:
    """Says which walls of the sandbox stand; refuses if one is missing that was required."""
    from autograder.sandbox.walls import WALLS

    missing = [wall for wall in WALLS if wall not in standing]
    if missing and required:
        raise CourseError(f"this system gives no full sandbox, and --require-sandbox was said: no {', '.join(missing)}")
    if missing:
        console.print(f"sandbox: only {', '.join(standing)}; NOT in force: {', '.join(missing)}", style="bold yellow")
    else:
        console.print(f"sandbox: {', '.join(standing)}", style="dim")


def _show_changes(lab: Lab, output: Path, graded: Iterator[Graded]) -> None:
    """Compares results with the csv that is there, and prints the rows that differ."""
    from autograder.records.gradebook import previous_rows

    before = previous_rows(lab, output)
    table = Table("student", "question", "before", "after", "message", title=f"{lab.name}: what would change")
    for row in sorted((r for g in graded for r in g.rows), key=lambda r: (r.student, r.question)):
        score, status = before.get((row.student, row.question), ("-", "no row"))
        if status != "graded by hand" and (score, status) != (f"{row.score:g}", row.status):
            after = f"{row.score:g} {row.status}"
            table.add_row(escape(row.student), row.question, f"{score} {status}", after, escape(row.message))
    console.print(table if table.row_count else f"{lab.name}: nothing would change")


def _counted(statuses: Iterable[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in Counter(statuses).most_common())


@main.command()
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are.")
def gradebook(output: Path) -> None:
    """Print every student's points, lab by lab."""
    from autograder.records.gradebook import late_penalties, read_csvs, totals

    rows = read_csvs(output)
    points = totals(rows, late_penalties(output))
    largest = rows.drop_duplicates(["lab", "question"]).groupby("lab")["max_score"].sum()
    waiting = rows[rows["status"] == "by hand"].groupby("student").size()
    table = Table(title="Gradebook")
    table.add_column("student")
    for lab in points.columns:
        best = largest.sum() if lab == "total" else largest[lab]
        table.add_column(f"{lab}\nof {best:g}", justify="right")
    table.add_column("answers waiting\nfor a person", justify="right")
    for student, row in points.iterrows():
        cells = ["-" if value != value else f"{value:g}" for value in row]
        table.add_row(escape(str(student)), *cells, str(waiting.get(student, 0)))
    console.print(table)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are.")
@click.option("--to", type=click.Path(path_type=Path), default=REPORT, show_default=True, help="Folder to write to.")
def report(output: Path, to: Path) -> None:
    """Write an HTML page that shows how the class did, and where."""
    from autograder.records.report import write_report

    console.print(f"report: {write_report(output, to)}")


@main.command()
@click.argument("lab")
@click.option("--title", default="TODO: a title", help="What stands above the notebook.")
@click.option(
    "--exercise", "exercises", multiple=True, default=["first_exercise"], help="A function to write; say it repeatedly."
)
@click.pass_obj
def new(root: Path, lab: str, title: str, exercises: tuple[str, ...]) -> None:
    """Make the skeleton of a new LAB in solutions/.

    It builds, and passes the gates but for what is not written yet: reference answers, variants and hints. Nothing is
    overwritten.
    """
    from autograder.authoring.new import new_lab

    source = new_lab(root, lab, title, exercises)
    console.print(f"{source}: write what is marked TODO, there and in the files beside it, then:", soft_wrap=True)
    console.print(f"  course build {lab}\n  course gates {lab} --failed")


@main.command()
@click.argument("lab")
@click.option("--failed", is_flag=True, help="Print only what does not hold.")
@click.pass_obj
def gates(root: Path, lab: str, failed: bool) -> None:
    """Put LAB through the honesty gates: each variant, its score, the message it got.

    Exits with 1 if something does not hold.
    """
    from autograder.authoring.gates import run_gates
    from autograder.grading.cache import ResultCache
    from autograder.grading.grader import Grader
    from autograder.labs.lab import Lab

    chosen, broken = Lab(lab, root), 0
    with ResultCache(root / "build" / "gates.db") as cache, Grader(cache) as grader:
        title = ""
        for verdict in run_gates(chosen, grader):
            if verdict.holds and failed:
                continue
            if verdict.gate != title:
                title = verdict.gate
                console.rule(title, align="left")
            mark = "[green]✓[/]" if verdict.holds else "[bold red]✗[/]"
            score = "" if verdict.score is None else f"{verdict.score:g}/{verdict.max_score:g}"
            console.print(f"{mark} {verdict.subject:<48} {score:>7}  ", end="", highlight=False)
            console.print(verdict.message, markup=False, highlight=False, style="" if not verdict.holds else "dim")
            broken += not verdict.holds
    console.print(f"{chosen.name}: {'every gate holds' if not broken else f'{broken} verdicts do not hold'}")
    if broken:
        raise SystemExit(1)


@main.command()
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
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
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


@main.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def open_lab(root: Path, arguments: tuple[str, ...]) -> None:
    """Open JupyterLab at the start page: what to do first, how far each lab is, and the demos.

    ARGUMENTS go to JupyterLab as they are, for instance --no-browser --port 9000.
    """
    from autograder.labs.pages import open_jupyterlab, write_start_page

    try:
        page = write_start_page(root)
    except CourseError as error:  # the labs may be fine all the same
        console.print(f"no start page: {error}\n`course doctor` may say why", style="bold yellow", markup=False)
        page = root / "notebooks"
    open_jupyterlab(root, page, arguments)


@main.command()
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
    table = Table("data set", "what it is", "where it is found")
    for row in data_sets.describe():
        table.add_row(row.name, row.about, row.found or f"not here: {escape(row.hint)}")
    console.print(table)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are.")
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

    made = make(output, system, read_roster(roster, system))
    write_export(made, path)
    console.print(f"{path}: {len(made.table) - (system == 'canvas')} students", markup=False, soft_wrap=True)
    for words, names in (("in the roster, but nothing graded", made.ungraded), ("NOT in the roster", made.unknown)):
        if names:
            console.print(f"{words}: {', '.join(names)}", markup=False, soft_wrap=True)
    if made.unknown:
        raise SystemExit(1)


@main.command()
@click.argument("lab")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder that gets <student>/<LAB>.ipynb.")
@click.pass_obj
def collect(root: Path, lab: str, source: Path, to: Path) -> None:
    """Take the notebooks for LAB out of SOURCE, a folder or a zip archive of Canvas or Moodle.

    What is refused is named, with the reason, and the rest goes on; the exit code is then 1.
    """
    from autograder.grading.collect import collect as take
    from autograder.labs.lab import Lab

    done = take(source, Lab(lab, root).name, to)
    for refused in done.refused:
        console.print(f"refused: {refused}", markup=False, soft_wrap=True)
    console.print(
        f"{to}: {len(done.taken)} submissions for {lab}, {len(done.refused)} files refused",
        markup=False,
        soft_wrap=True,
    )
    if done.refused:
        raise SystemExit(1)


@main.command()
@click.argument("lab")
@click.option("--submissions", type=click.Path(path_type=Path), required=True, help="As for `course grade`.")
@click.option("--pairs", type=click.IntRange(1), default=20, show_default=True, help="How many to show.")
@click.pass_obj
def similar(root: Path, lab: str, submissions: Path, pairs: int) -> None:
    """List the answers to LAB that are most alike, released code left aside. Likeness is no proof of anything."""
    from autograder.grading.grader import find_submissions
    from autograder.labs.lab import Lab
    from autograder.records.similar import similar as compare

    chosen = Lab(lab, root)
    found = compare(chosen, find_submissions(chosen, submissions))
    table = Table("exercise", "students", "alike", "lines in common (renamed code counts as alike, not as common)")
    for pair in found[:pairs]:
        lines = "\n".join(pair.common[:8]) + (f"\n... {len(pair.common) - 8} more" if len(pair.common) > 8 else "")
        table.add_row(pair.exercise, escape(f"{pair.first}, {pair.second}"), f"{pair.likeness:.0%}", escape(lines))
    console.print(table)
    console.print("Likeness is no proof: short exercises have few right answers. Read both before you judge.")


@main.command()
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


@main.command()
@click.pass_obj
def site(root: Path) -> None:
    """Make the static site: labs without answers, guides, reference. Writes build/site/index.html.

    A lab runs again only if something that decides about its outputs has changed. Exits with 1 if a link on the pages
    leads nowhere, something comes from another host, a picture has no text alternative, or an answer shows.
    """
    from autograder.authoring.site import make_site

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        bars = {}

        def told(name: str, done: int, count: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=count)
            progress.update(bars[name], completed=done)

        faults = make_site(_labs(root, ()), root, told)
    for fault in faults:
        console.print(fault, style="bold red", markup=False, soft_wrap=True)
    console.print("build/site/index.html" if not faults else f"faults on the pages: {len(faults)}")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
