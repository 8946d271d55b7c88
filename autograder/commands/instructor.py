"""An instructor's commands: from the labs' release and what was handed in to grades, pages and files for an LMS."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from autograder.commands.class_run import (
    counted,
    dates_of,
    enough_workers,
    grade_lab,
    show_changes,
    show_student,
    tell_walls,
)
from autograder.commands.shown import GRADES, REPORT, console, labs_of
from autograder.errors import CourseError


@click.command()
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


@click.command()
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


@click.command()
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
        show_student(labs_of(root, labs), student, submissions, verbose)
        return
    workers = workers or enough_workers(submissions)
    with open_examiners(workers, scheduler) as examiners:  # first, for they start in the background
        from autograder.grading.cache import ResultCache
        from autograder.grading.grader import student_folders
        from autograder.records.gradebook import GradeWriter

        with console.status("starting"):
            chosen, folders = labs_of(root, labs), student_folders(submissions)
            # the gradebook is looked at before anything is graded: what is wrong with it should not cost an hour
            database = gradebook or output / "gradebook.db"
            writers = [
                GradeWriter(lab, output, database, dates_of(lab, due, timestamps, extensions, folders))
                for lab in chosen
                if not dry_run
            ]
            walls = examiners.walls()
        tell_walls(walls, require_sandbox)
        with ResultCache(output / "cache.db") as cache:
            for number, lab in enumerate(chosen):
                if dry_run:
                    show_changes(lab, output, grade_lab(lab, folders, examiners, cache))
                    continue
                with writers[number] as writer:
                    for graded in grade_lab(lab, folders, examiners, cache):
                        writer.add(graded)
                counts = counted(r.status for r in writer.rows)
                console.print(f"{lab.name}: {len(folders)} submissions graded ({counts})")
                console.print(f"  rows in {output / lab.name}.csv, gradebook in {writer.database}")


@click.command()
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


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are.")
@click.option("--to", type=click.Path(path_type=Path), default=REPORT, show_default=True, help="Folder to write to.")
def report(output: Path, to: Path) -> None:
    """Write an HTML page that shows how the class did, and where."""
    from autograder.records.report import write_report

    console.print(f"report: {write_report(output, to)}")


@click.command()
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


@click.command()
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
