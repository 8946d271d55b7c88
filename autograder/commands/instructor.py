"""An instructor's commands: from the labs' release and what was handed in to grades, pages and files for an LMS."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.commands.class_run import (
    counted,
    dates_of,
    enough_workers,
    grade_lab,
    people_of,
    records_or_none,
    show_changes,
    show_student,
    tell_late,
    tell_other_names,
    tell_walls,
    tell_whose,
)
from autograder.commands.shown import GRADES, INBOX, console, labs_of
from autograder.errors import CourseError
from autograder.sandbox.strangers import few

if TYPE_CHECKING:
    from autograder.grading.reading import Reader
    from autograder.labs.lab import Lab

MOST_FILES = 300
"""So many files are named without --verbose."""


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
@click.argument("labs", nargs=-1)
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder that gets folder and zip.")
@click.option("--wheel-url", metavar="URL", default="", help="Where the wheel will lie, for Colab and Kaggle.")
@click.pass_obj
def handout(root: Path, labs: tuple[str, ...], to: Path, wheel_url: str) -> None:
    """Make what students get of LABS (all if none is named): a folder, and the same as a zip.

    In it are the released notebooks with their hints, the demos, the students' package, and start.py, which installs
    and opens it all. Every file is searched for lines of answers and hidden checks; if one is found, nothing is
    written. Made again over an earlier handout, it tells which labs changed for students and which behind the scenes.
    """
    from autograder.handout.make import make_handout

    with console.status("making the handout"):
        made = make_handout(labs_of(root, labs), root, to, wheel_url)
    for line in made.changes:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"release {made.release}: {made.folder} and {made.archive}", markup=False, soft_wrap=True)


@click.command()
@click.argument("lab")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=INBOX,
    show_default=True,
    help="Folder that gets <student>/<LAB>.ipynb.",
)
@click.option("--roster", type=click.Path(path_type=Path), help="Who is in the class.  [default: roster.csv, if there]")
@click.option("--verbose", is_flag=True, help="Name all files that were passed over, not only notebooks.")
@click.pass_obj
def collect(root: Path, lab: str, source: Path, to: Path, roster: Path | None, verbose: bool) -> None:
    """Take the notebooks for LAB out of SOURCE, a folder or a zip archive of a learning system.

    Understood are the names that Canvas, Moodle, Brightspace, Gradescope, Blackboard, ILIAS, Teams and Google Classroom
    give, and a folder for each student. Every file is taken, passed over or refused; what is refused, and whoever is
    left without a notebook, is named, and the exit code is then 1.
    """
    from autograder.labs.lab import Lab
    from autograder.records.collect import collect as take
    from autograder.records.roster import course_roster

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    people = course_roster(root, roster)
    for note in people.notes if people else ():
        tell(f"note: {note}")
    done = take(source, Lab(lab, root), to, people)
    for how in ("passed over", "refused"):
        # one notebook for another is worth a look
        told = [f for f in done.ended(how) if verbose or how == "refused" or ".ipynb: for " in f]
        for file in told if verbose else few(told, MOST_FILES):
            tell(f"{how}: {file}")
    for student, why in done.without.items():
        tell(f"no notebook of {student}: {why}")
    if done.lost:
        tell(f"{len(done.lost)} of these will be graded as unreadable, unless you lay a notebook into {to}/<student>/")
    for told, students in (
        ("NOT in the roster", done.strangers),
        ("late, says the system", done.late),
        ("another notebook lay there, and is replaced", done.renewed),
        (f"who of them? (refused; lay the file into {to}/<student>/)", done.doubtful),
        ("not handed in", done.absent),
    ):
        if students:
            tell(f"{told}: {', '.join(students)}")
    counts = ", ".join(f"{len(done.ended(how))} {how}" for how in ("taken", "passed over", "refused"))
    before = f"; of {len(done.before)} more a notebook lies there from before" if done.before else ""
    tell(f"{to}: {len(done.taken)} submissions for {lab}; {len(done.ends)} files: {counts}{before}")
    if not done.complete:
        raise SystemExit(1)


@click.command()
@click.argument("labs", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Grade every lab of the course.")
@click.option(
    "--submissions",
    type=click.Path(path_type=Path),
    default=INBOX,
    show_default=True,
    help="Folder with <student>/<lab>.ipynb in it.",
)
@click.option("--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where results go.")
@click.option(
    "--due",
    metavar="TIME",
    help="When the lab is due, e.g. '2026-11-30 23:59 UTC'; kept in the gradebook.  [default: the lab's own]",
)
@click.option("--timestamps", type=click.Path(path_type=Path), help="CSV student,time[,lab]: when it was handed in.")
@click.option("--extensions", type=click.Path(path_type=Path), help="CSV student,time[,lab]: own due dates.")
@click.option("--zone", metavar="NAME", help="Of times that say none.  [default: that of the due date; else UTC]")
@click.option("--roster", type=click.Path(path_type=Path), help="Who is in the class.  [default: roster.csv, if there]")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that grade, here.  [default: one for each core; fewer for a small class]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Grade on the workers of this dask scheduler instead.")
@click.option("--require-sandbox", is_flag=True, help="Refuse to grade where a part of the sandbox is missing.")
@click.option("--dry-run", is_flag=True, help="Show every row that would change or go; write no grade.")
@click.option("--forget", metavar="NAME", multiple=True, help="Take this student out of the grades; say it repeatedly.")
@click.option("--student", metavar="NAME", help="Grade this one afresh and print the rows; write no grade.")
@click.option("--verbose", is_flag=True, help="With --student: print what the student's code printed, too.")
@click.pass_obj
def grade(
    root: Path,
    labs: tuple[str, ...],
    every: bool,
    submissions: Path,
    output: Path,
    due: str | None,
    timestamps: Path | None,
    extensions: Path | None,
    zone: str | None,
    roster: Path | None,
    workers: int | None,
    scheduler: str | None,
    require_sandbox: bool,
    dry_run: bool,
    forget: tuple[str, ...],
    student: str | None,
    verbose: bool,
) -> None:
    """Grade the submissions for LABS.

    Takes the answer cells out of every <student>/<lab>.ipynb, runs them in a process of their own, and checks them from
    another one. Writes <output>/gradebook.db, nbgrader's gradebook, the notebooks that formgrader shows, and a copy of
    the rows in <output>/<lab>.csv. Exits with 0 whenever it graded, whatever the scores; a submission that cannot be
    read scores 0, with the reason in its rows.

    Only those in --submissions change: who was graded before stays, until --forget takes them out. Before anything
    changes the gradebook is copied to <output>/backups; `course undo` goes back.

    Results are kept in <output>/cache.db, by answers, checks and version of the kit: grading an unchanged class again
    takes seconds, a grader that was killed goes on where it was, and after a changed check only that check is graded
    again (look first, with --dry-run).

    --timestamps is a file of your own, Moodle's grading worksheet or Gradescope's list of scores. A time that is not in
    it is the one that `course collect` found in the archive; for what nbgrader's exchange collected, into
    <output>/submitted, that of the timestamp.txt there; a student's own such file counts nothing. What lateness costs
    is for the LateSubmissionPlugin in nbgrader_config.py to say. Who is in the roster, or has a folder, and handed in
    nothing for the lab is named, and gets no rows.
    """
    from autograder.grading.spread import open_examiners

    if not labs and not every:
        raise CourseError("say which lab to grade, or --all")
    if verbose and student is None:
        raise CourseError("--verbose shows one student's output: say which with --student NAME")
    if due and len(labs) != 1:
        raise CourseError("--due is for one lab at a time")
    if student is not None:
        from autograder.records.roster import course_roster

        show_student(labs_of(root, labs), student, submissions, output, course_roster(root, roster), verbose)
        return

    def start_reader() -> None:
        from autograder.grading.reading import Reader

        nonlocal chosen, reader
        chosen = labs_of(root, labs)
        reader = stack.enter_context(Reader(chosen))

    chosen: list[Lab] = []
    reader: Reader
    workers = workers or enough_workers(submissions)
    # first, for they start in the background
    with contextlib.ExitStack() as stack, open_examiners(workers, scheduler, start_reader) as examiners:
        from autograder.grading.cache import ResultCache
        from autograder.grading.reading import student_folders
        from autograder.grading.seeds import secret_beside
        from autograder.records.backups import backed_up, rehearsal
        from autograder.records.changes import summary
        from autograder.records.gradebook import GradeWriter
        from autograder.records.roster import course_roster

        with console.status("starting"):
            folders = student_folders(submissions)
            folders = {student: folder for student, folder in folders.items() if student not in forget}
            people = course_roster(root, roster)
            handed_in = [people_of(lab, folders, people, reader, submissions, forget) for lab in chosen]
            tell_other_names(before := records_or_none(output), people)
            place = stack.enter_context(rehearsal(output)) if dry_run else output
            if not dry_run:
                stack.enter_context(backed_up(output))
            # the gradebook is looked at before anything is graded: what is wrong with it should not cost an hour
            options = {"submissions": submissions, "output": output, "roster": people, "zone": zone}
            dates = [
                dates_of(lab, due, timestamps, extensions, own, **options)
                for lab, (own, _) in zip(chosen, handed_in, strict=True)
            ]
            writers = [GradeWriter(lab, place, own) for lab, own in zip(chosen, dates, strict=True)]
            walls = examiners.walls()
        tell_walls(walls, require_sandbox)
        cache, secret = stack.enter_context(ResultCache(output / "cache.db")), secret_beside(output)
        for lab, writer, (own, absent) in zip(chosen, writers, handed_in, strict=True):
            unreadable: list[str] = []
            with writer:
                gone = [student for student in forget if writer.forget(student, submissions)]
                for graded in grade_lab(lab, own, reader, examiners, cache, secret):
                    writer.add(graded)
                    if why := graded.submission.unreadable:
                        unreadable.append(f"{graded.submission.student}: {why}")
            if unknown := [student for student in forget if student not in gone]:
                console.print(f"{lab.name}: there are no grades of {', '.join(unknown)}", markup=False)
            after = records_or_none(place)
            for told in sorted(unreadable):
                console.print(f"cannot be read: {told}", markup=False, highlight=False, soft_wrap=True)
            tell_late(lab, after)
            graded_before = set(after.of(lab.name)["student"]) if after else set()
            if absent := [student for student in absent if student not in graded_before]:
                console.print(f"not handed in: {', '.join(absent)}", markup=False, highlight=False, soft_wrap=True)
            if dry_run:
                show_changes(lab, before, after)
            else:
                rows = after.of(lab.name) if after else None  # with what persons gave
                statuses = () if rows is None else rows[rows["student"].isin(list(own))]["status"]
                told = f"{lab.name}: {len(own)} submissions graded ({counted(statuses)})"
                console.print(told, markup=False, soft_wrap=True)
            told = summary(before, after, lab.name, tense="would change" if dry_run else "changed")
            console.print(f"{lab.name}{', no grade written' if dry_run else ''}: {told}", markup=False, soft_wrap=True)
            if not dry_run:
                tell_whose(lab.name, before, after, "changed")
        if not dry_run:
            console.print(f"gradebook: {writers[0].database}; what next: course status", markup=False)
