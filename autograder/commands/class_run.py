"""How `course grade` goes through a class: bars, tables and lines around `grading` and `records`."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import TextColumn, TimeRemainingColumn

from autograder.commands.shown import console, progress_bar
from autograder.errors import CourseError
from autograder.sandbox.strangers import few

if TYPE_CHECKING:
    from autograder.grading.cache import ResultCache
    from autograder.grading.grader import Graded
    from autograder.grading.reading import Reader, Submission
    from autograder.grading.spread import Examiners
    from autograder.labs.due import Dates
    from autograder.labs.lab import Lab
    from autograder.records.roster import Roster
    from autograder.records.rows import Records

NAMED = 30
"""So many students are named of whom something changed; `course grade --dry-run` shows every row."""


def enough_workers(submissions: Path) -> int:
    """One for each core, and for each ten submissions: a few are graded before a second worker has started."""
    cores = os.cpu_count() or 1
    return max(1, len(list(itertools.islice(submissions.glob("*/*"), 10 * cores))) // 10)


def people_of(
    lab: Lab,
    folders: dict[str, Path],
    roster: Roster | None,
    reader: Reader,
    submissions: Path,
    forget: Collection[str] = (),
) -> tuple[dict[str, Path | str], list[str]]:
    """Whose submissions are to be graded, by the roster's names if there is one: the folder of each, or why there is no
    notebook of what they handed in. And who handed in nothing.

    Args:
        forget: who is left out of those without a notebook.

    Raises:
        CourseError: if two folders of one person both hold the lab.
    """
    from autograder.records.origins import without_notebook

    found: dict[str, Path | str] = {}
    absent = []
    for name, folder in folders.items():
        student = (roster.student(name) if roster else None) or name
        held = reader.holds(folder, lab)
        if held is False or (held is None and roster is not None):
            absent.append(student)
        elif student in found:
            raise CourseError(f"{found[student]} and {folder} are both of {student}, and both hold {lab.name}")
        else:
            found[student] = folder
    found |= without_notebook(submissions, lab.name, {*found, *forget}, roster)
    everybody = [*absent, *(roster.students if roster else ())]
    return dict(sorted(found.items())), [student for student in dict.fromkeys(everybody) if student not in found]


def dates_of(
    lab: Lab,
    due: str | None,
    timestamps: Path | None,
    extensions: Path | None,
    folders: Iterable[str],
    *,
    submissions: Path | None = None,
    output: Path | None = None,
    roster: Roster | None = None,
    zone: str | None = None,
) -> Dates:
    """What the options, the archives and the lab say of dates. Tells how times without a zone are read, and names
    students in the files of whom there is no submission.

    Args:
        folders: the names of those who handed in.
        submissions: the folder with the list that `course collect` wrote; or that into which nbgrader's exchange
            collects, which is in ``output``.
    """
    from autograder.labs.due import SUBMITTED, Clock, Dates, named_zone, read_time, zone_of
    from autograder.labs.lab import lab_names
    from autograder.records.origins import LIST, collected
    from autograder.records.rows import zone_of_due
    from autograder.records.times import read_times

    before = zone_of_due(output, lab.name) if output else ""  # of the date that an earlier run was told
    written = due or ("" if before else lab.due_text)
    if zone:
        clock = Clock(named_zone(zone, "--zone"), "--zone")
    elif written and (own_zone := zone_of(written, "--due" if due else f"{lab.source}, due")):
        clock = Clock(own_zone, "that of the due date")
    elif before:
        clock = Clock(named_zone(before, str(output)), "that of the due date")
    else:
        clock = Clock()
    handed_in, called_late = {}, set()
    for row in collected(submissions, lab.name) if submissions else ():
        student = (roster.student(row["student"]) if roster else None) or row["student"]
        if row["time"]:
            handed_in[student] = read_time(row["time"], f"{submissions / LIST}", clock)
        elif row["late"]:
            called_late.add(student)
    labs = lab_names(lab.root)
    if timestamps:
        handed_in |= read_times(timestamps, lab.name, clock, roster, folders, labs)
    own = read_times(extensions, lab.name, clock, roster, folders, labs) if extensions else {}
    moment = read_time(due, "--due", clock) if due else None if before else lab.due
    if before and lab.due_text and not due:
        told = f"{lab.name}: due as an earlier --due said, not as the lab's source says"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    for told in clock.told():
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    if unknown := (handed_in.keys() | own.keys()) - set(folders):
        told = f"{lab.name}: times, but no submission, of {', '.join(sorted(unknown))}"
        console.print(told, style="bold yellow", markup=False, soft_wrap=True)
    collected_there = output and submissions and submissions.resolve() == (output / SUBMITTED).resolve()
    exchange = submissions if collected_there else None
    late = frozenset(called_late - handed_in.keys())
    return Dates(moment, own, handed_in, late, exchange, str(zone_of(due, "--due") or clock.zone) if due else "")


def tell_late(lab: Lab, records: Records | None) -> None:
    """Who was late, by how much, and what it costs; and of whom nobody knows, where there is a due date."""
    from autograder.records.rows import lateness

    everybody = sorted(records.submissions.items()) if records else ()
    own = {student: about for (student, name), about in everybody if name == lab.name}
    for student, about in own.items():
        if about.late or about.penalty:
            console.print(f"late: {student}, {lateness(about)}", markup=False, highlight=False, soft_wrap=True)
    if undated := [student for student, about in own.items() if about.due and about.handed_in is None]:
        who = f"all {len(own)} submissions" if len(undated) == len(own) else ", ".join(undated)
        told = f"{lab.name}: not known when it was handed in, so not late: {who} (--timestamps FILE says it)"
        console.print(told, style="bold yellow", markup=False, highlight=False, soft_wrap=True)


def tell_other_names(records: Records | None, roster: Roster | None) -> None:
    """Names who has grades under another name than the roster gives: they would stand there twice."""
    if records is None or roster is None:
        return
    for student in sorted(set(records.rows["student"])):
        known = None
        with contextlib.suppress(CourseError):  # it may mean several people: then it is nobody's other name
            known = roster.student(student)
        if known not in (None, student):
            told = f"{student} has grades, and is {known} in {roster.path}: `course grade LAB --forget '{student}'`"
            console.print(told, style="bold yellow", markup=False, highlight=False, soft_wrap=True)


def grade_lab(
    lab: Lab, people: dict[str, Path | str], reader: Reader, examiners: Examiners, cache: ResultCache, secret: bytes
) -> Iterator[Graded]:
    """Grades what students handed in for a lab, with a progress bar, in the order in which they are done; `people_of`
    says whose that is."""
    from autograder.grading.grader import Task

    # read when its turn comes, so that a large class does not fill the memory
    read = (read_submission(reader, student, lab, where) for student, where in people.items())
    tasks = (Task(submission, cache, secret=secret) for submission in read)
    columns = TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[slowest]}")
    slowest = (0.0, "")
    with progress_bar(*columns) as progress:
        bar = progress.add_task(lab.name, total=len(people), rate="", slowest="")
        for task, report in examiners.examine_all(tasks):
            graded = task.finish(report)
            slowest = max([slowest, *((row.seconds, row.question) for row in graded.rows)])
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed or 0
            progress.update(bar, rate=f"{speed:.1f}/s", slowest=f"slowest: {slowest[1]}, {slowest[0]:.1f} s")
            progress.advance(bar)
            yield graded


def read_submission(reader: Reader, student: str, lab: Lab, where: Path | str) -> Submission:
    """See `people_of`."""
    from autograder.grading.reading import Submission

    if isinstance(where, str):
        return Submission.lost(student, lab, where, None, "")
    return reader.read(student, lab, where)


def show_student(
    labs: list[Lab], student: str, submissions: Path, output: Path, roster: Roster | None, verbose: bool
) -> None:
    """Prints what becomes of one student's submissions. All of it is a stranger's text: no markup, no control codes."""
    from autograder.grading.grader import Grader
    from autograder.grading.reading import Reader, student_folders
    from autograder.grading.seeds import KNOWN, SECRET, secret_beside
    from autograder.records.origins import without_notebook

    def tell(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False)

    folders = student_folders(submissions)
    known = (roster.student(student) if roster else None) or student
    if student not in folders and roster:
        student = next((name for name in folders if roster.student(name) == known), student)
    lost = {lab.name: without_notebook(submissions, lab.name, (), roster).get(known) for lab in labs}
    if student not in folders and not any(lost.values()):
        raise CourseError(f"there is no folder {submissions / student}")
    records = records_or_none(output)
    # where nobody was graded yet there is no secret, and to look at a student makes none
    secret = secret_beside(output) if (output / SECRET).exists() else KNOWN
    with Grader(secret=secret) as grader, Reader(labs) as reader:
        with console.status("starting"):
            walls = grader.walls()
        tell_walls(walls, required=False)
        for lab in labs:
            where = folders.get(student)
            if lost[lab.name] and not (where and reader.holds(where, lab)):
                where = lost[lab.name]
            if where is None:
                tell(f"{lab.name}: nothing was handed in")
                continue
            with console.status(f"{lab.name}: grading {student} afresh"):
                graded = grader.grade(read_submission(reader, student, lab, where))
            kept = _kept(records, known, lab)
            counts = f"; in the gradebook {records.totals().loc[known, lab.name]:g}" if kept else ""
            console.rule(f"{lab.name}: {graded.score:g} points{counts}", align="left")
            for note in graded.submission.answers.notes:
                tell(f"note: {note}")
            for row in graded.rows:
                tell(f"{row.question}: {row.status}, {row.score:g} of {row.max_score:g}, {row.seconds:.2f} s")
                score, status = kept.get(row.question, (row.score, row.status))
                if differs := (score, status) != (row.score, row.status):
                    tell(f"  in the gradebook: {status}, {score:g} of {row.max_score:g}")
                if row.message and not (differs and row.status == "by hand"):
                    tell(f"  {row.message}")
            for cell, text in graded.output.items() if verbose else ():
                console.rule(f"printed in {cell}", align="left", style="dim")
                tell(text)


def _kept(records: Records | None, student: str, lab: Lab) -> dict[str, tuple[float, str]]:
    """Question -> points and status, as the gradebook has them of one student."""
    if records is None:
        return {}
    rows = records.of(lab.name)
    own = rows[rows["student"] == student]
    return {row.question: (row.score, row.status) for row in own.itertuples()}


def tell_walls(standing: list[str], required: bool) -> None:
    """Says which walls of the sandbox stand; refuses if one is missing that was required."""
    from autograder.sandbox.groups import GROUP, NO_GROUP
    from autograder.sandbox.walls import WALLS

    missing = [wall for wall in WALLS if wall not in standing]
    if missing and required:
        raise CourseError(f"this system gives no full sandbox, and --require-sandbox was said: no {', '.join(missing)}")
    if missing:
        console.print(f"sandbox: only {', '.join(standing)}; NOT in force: {', '.join(missing)}", style="bold yellow")
    else:
        told = f"sandbox: {', '.join(standing)}{'' if GROUP in standing else NO_GROUP}"
        console.print(told, style="dim", highlight=False)


def show_changes(lab: Lab, before: Records | None, after: Records | None) -> None:
    """Prints every row that a run would change or take away; of students who are new only that they are."""
    from autograder.records.changes import changes

    def tell(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    known = set() if before is None else set(before.of(lab.name)["student"])
    for student, rows in itertools.groupby(changes(before, after, lab.name), lambda change: change.student):
        if student not in known:
            tell(f"{student}: new", "bold")
            continue
        tell(student, "bold")
        for row in rows:
            tell(f"  {row.question}: {row.before or 'nothing'} -> {row.after or 'gone'}")
            if row.message:
                tell(f"      {row.message.splitlines()[0]}", "dim")


def tell_whose(lab: str, before: Records | None, after: Records | None, tense: str) -> None:
    """Names those of whom something changed, and who was there before."""
    from autograder.records.changes import whose

    if students := whose(before, after, lab):
        told = f"{tense}: {', '.join(few(students, NAMED))}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def records_or_none(output: Path) -> Records | None:
    from autograder.records.rows import read_records

    try:
        return read_records(output)
    except CourseError:
        return None


def counted(statuses: Iterable[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in Counter(statuses).most_common())
