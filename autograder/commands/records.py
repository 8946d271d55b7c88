"""What an instructor does with grades: look at them, mark written answers, hand them back, take them elsewhere."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from autograder.commands.shown import GRADES, INBOX, REPORT, console
from autograder.errors import CourseError

OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), default=GRADES, show_default=True, help="Where grades are."
)

ROSTER = click.option(
    "--roster", type=click.Path(path_type=Path), help="Who is in the class.  [default: roster.csv, if there]"
)


@click.command()
@OUTPUT
@click.option(
    "--submissions",
    type=click.Path(path_type=Path),
    default=INBOX,
    show_default=True,
    help="Where `course collect` put them.",
)
@ROSTER
@click.pass_obj
def status(root: Path, output: Path, submissions: Path, roster: Path | None) -> None:
    """Print where each lab stands, and what to do next.

    "feedback" and "exported" count students who have what the gradebook says now.
    """
    from autograder.commands.class_run import records_or_none
    from autograder.commands.shown import labs_of
    from autograder.records.roster import course_roster
    from autograder.records.status import standing

    records, people = records_or_none(output), course_roster(root, roster)
    found = [standing(lab, records, submissions, output, people) for lab in labs_of(root, ())]
    short = short_names([one.lab for one in found])
    table = Table("lab")
    for heading in ("col-\nlected", "graded", "answers\nwait", "late", "not\nhanded in", "feed-\nback", "ex-\nported"):
        table.add_column(heading, justify="right")
    for one in found:
        absent = len(one.absent) if people else "?"
        sets = (one.collected, one.graded, one.waiting, one.late, absent, one.feedback, one.exported)
        table.add_row(escape(short[one.lab]), *(str(len(v) if isinstance(v, set) else v) for v in sets))
    console.print(table)
    if people is None:
        console.print("not handed in: not known without a roster (roster.csv here, or --roster)", highlight=False)
    console.print("next:", style="bold")
    if not any(one.built for one in found):
        console.print("  course build", highlight=False)
    begun = [one for one in found if one.collected or one.graded]
    for one in begun or found[:1]:
        reasons = [f"{len(one.ungraded)} not graded as they lie there"] if one.ungraded and one.graded else []
        reasons += [f"{len(one.outdated)} graded with another version of the lab"] if one.outdated else []
        for step in one.next[not any(other.built for other in found) :]:
            told = f"  # {', '.join(reasons)}" if reasons and step.startswith("course grade") else ""
            console.print(f"  {step}{told}", markup=False, highlight=False, soft_wrap=True)
    if begun and not any(one.next for one in begun):
        console.print("  nothing: all that was collected is graded, and back with students")


@click.command()
@OUTPUT
@ROSTER
@click.pass_obj
def gradebook(root: Path, output: Path, roster: Path | None) -> None:
    """Print every student's points, lab by lab, less what lateness costs; who was late, and who handed in nothing."""
    from autograder.records.roster import course_roster
    from autograder.records.rows import lateness, read_records

    records, people = read_records(output), course_roster(root, roster)
    points, largest, short = records.totals(), records.largest, short_names(records.labs)
    waiting = records.rows[records.rows["status"] == "by hand"].groupby("student").size()
    if len(records.labs) == 1:
        points = points.drop(columns="total")
    table = Table("student")
    for lab in points.columns:
        best = largest.sum() if lab == "total" else largest[lab]
        table.add_column(f"{short.get(lab, lab)}\nof {best:g}", justify="right")
    table.add_column("wait", justify="right")
    for student, row in points.iterrows():
        cells = ["-" if value != value else f"{value:g}" for value in row]
        waits = waiting.get(student, 0)
        table.add_row(escape(str(student)), *cells, str(waits) if waits else "")
    for student in people.absent(map(str, points.index)) if people else ():
        table.add_row(escape(student), *["-"] * len(points.columns), "")
    console.print(table)
    for lab, name in short.items():
        if name != lab:
            console.print(f"{name}: {lab}", markup=False, highlight=False)
    for (student, lab), about in sorted(records.submissions.items(), key=lambda item: item[0][::-1]):
        if told := lateness(about):
            console.print(f"{lab}: {student}, {told}", markup=False, highlight=False, soft_wrap=True)
    for lab in records.labs if people else ():
        if absent := people.absent(set(records.of(lab)["student"])):
            told = f"{lab}: not handed in (-): {', '.join(absent)}"
            console.print(told, markup=False, highlight=False, soft_wrap=True)
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
@ROSTER
@click.pass_obj
def report(root: Path, output: Path, to: Path, roster: Path | None) -> None:
    """Write HTML pages that show how the class did, and where."""
    from autograder.records.report import write_report
    from autograder.records.roster import course_roster
    from autograder.records.rows import read_records

    def tell(line: str) -> None:
        console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)

    written = write_report(read_records(output), to, course_roster(root, roster), tell)
    console.print(f"report: {written}", markup=False, soft_wrap=True)


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
    is not known is told, and so is whose answers could only be shown as they were written: the exit code is then 1.
    """
    from autograder.labs.lab import Lab
    from autograder.records.feedback import FOLDER, write_feedback
    from autograder.records.origins import origins, pack
    from autograder.records.roster import course_roster
    from autograder.records.rows import read_records

    records, people = read_records(output, [lab]), course_roster(root)
    written = write_feedback(Lab(lab, root), records, output, people)
    pages = written.pages
    console.print(f"{lab}: {len(pages)} pages in {output / FOLDER}", markup=False, soft_wrap=True)
    if absent := people.absent(pages) if people else ():
        console.print(f"no page, for nothing was handed in: {', '.join(absent)}", markup=False, soft_wrap=True)
    waiting = records.rows.loc[records.rows["status"] == "by hand", "student"].unique()
    if len(waiting):
        told = f'{len(waiting)} of them say "not graded yet" of written answers: course mark {lab}'
        console.print(told, style="bold yellow", markup=False, soft_wrap=True)
    left_out: list[str] = []
    if system is not None:
        archive = output / FOLDER / f"{lab}-{system}.zip"
        left_out = pack(pages, origins(submissions, lab), system, archive)
        console.print(f"{archive}: {len(pages) - len(left_out)} pages for {system}", markup=False, soft_wrap=True)
        if left_out:
            told = f"not in it, since {submissions} does not know their {system} files: {', '.join(left_out)}"
            console.print(told, style="bold yellow", markup=False, soft_wrap=True)
    for student, why in written.plain.items():
        told = f"{student}: the page shows the answers as they were written, without colours and formulas: {why}"
        console.print(told, style="bold yellow", markup=False, soft_wrap=True)
    if left_out or written.plain:
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
    told = f"{left} answers wait" if left else f"no answer waits; next: course feedback {lab}"
    console.print(f"{lab}: {told}", markup=False, highlight=False, soft_wrap=True)


@click.command()
@OUTPUT
def undo(output: Path) -> None:
    """Put the gradebook back as it was before the last run that changed it; repeatedly, up to ten runs.

    Notebooks that formgrader shows stay as they are until `course grade` writes them again.
    """
    from autograder.commands.class_run import records_or_none, tell_whose
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
        tell_whose(lab, now, then, "changed back")


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
    """List the answers to LAB that are most alike, released code left aside. Likeness is no proof of anything.

    Then the answers that are mostly a copy of course_utils, whose sources students have. What could not be compared is
    named, and the exit code is then 1.
    """
    from autograder.commands.class_run import people_of, read_submission
    from autograder.grading.reading import Reader, student_folders
    from autograder.labs.lab import Lab
    from autograder.records.roster import course_roster
    from autograder.records.similar import compare, grouped

    chosen, folders = Lab(lab, root), student_folders(submissions)
    with Reader([chosen]) as reader:
        own, absent = people_of(chosen, folders, course_roster(root), reader, submissions)
        compared = compare(chosen, (read_submission(reader, student, chosen, where) for student, where in own.items()))
    found = grouped(compared.pairs)
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
    for student, copies in compared.copies.items():
        for text, lines in copies:
            console.print(f"{student}: {text}", style="bold", markup=False, highlight=False)
            for line in lines:
                console.print(f"      {line}", markup=False, highlight=False, style="dim")
    console.print("Likeness is no proof: short exercises have few right answers. Read the answers before you judge.")
    if absent:
        console.print(f"not handed in: {', '.join(absent)}", markup=False, highlight=False, soft_wrap=True)
    for student, why in compared.left_out.items():
        told = f"NOT compared: {student}: {why}"
        console.print(told, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    if compared.left_out:
        raise SystemExit(1)


@click.command()
@click.argument("labs", nargs=-1)
@OUTPUT
@click.option("--to", "system", type=click.Choice(["canvas", "moodle", "gradescope"]), required=True)
@ROSTER
@click.option("--into", type=click.Path(path_type=Path), help="A file that Canvas or Moodle exported, to be filled.")
@click.option("--column", "columns", metavar="LAB=NAME", multiple=True, help="With --into: the column of a lab.")
@click.option("--file", "path", type=click.Path(path_type=Path), required=True, help="CSV file to write.")
@click.option("--zero", is_flag=True, help="0 points for what was not handed in, instead of an empty cell.")
@click.option("--comments", is_flag=True, help="What persons wrote, too (Moodle).")
@click.option("--waiting", "unfinished", is_flag=True, help="Export although answers wait for a person.")
@click.pass_obj
def export(
    root: Path,
    labs: tuple[str, ...],
    output: Path,
    system: str,
    roster: Path | None,
    into: Path | None,
    columns: tuple[str, ...],
    path: Path,
    zero: bool,
    comments: bool,
    unfinished: bool,
) -> None:
    """Write grades of LABS (all if none is named), less what lateness costs, as a CSV file to import.

    With --into it is the file that the system exported, Canvas's gradebook or Moodle's grading worksheet of one lab,
    with points in the labs' columns. Without, it is a new table of everybody in the roster, whose people need an id
    (canvas) or an e-mail address (moodle, gradescope). Who is graded and in neither is named: exit code 1.
    """
    from autograder.labs.lab import Lab, lab_names
    from autograder.records import export as exporting
    from autograder.records.roster import course_roster
    from autograder.records.rows import read_records
    from autograder.records.status import note_export

    def tell(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    records = read_records(output, labs)
    if missing := sorted(set(labs) - set(records.labs)):
        raise CourseError(f"there are no grades of {missing[0]} in {output}: run `course grade {missing[0]}` first")
    if wait := exporting.waiting(records):
        if not unfinished:
            raise CourseError(f"{wait}: `course mark LAB`, or say --waiting to export their points so far")
        tell(f"{wait}: their points are those so far", "bold yellow")
    people = course_roster(root, roster)
    if people is None and into is None:
        raise CourseError("who is in the class? say --roster FILE or --into FILE, or put roster.csv here")
    points = exporting.Points(records, {lab: Lab(lab, root) for lab in records.labs if lab in lab_names(root)}, zero)
    if into is not None:
        if odd := [text for text in columns if text.partition("=")[0] not in records.labs or "=" not in text]:
            raise CourseError(f"--column {odd[0]!r}: write LAB=NAME, with one of {', '.join(records.labs)}")
        chosen = dict(text.split("=", 1) for text in columns)
        made = exporting.fill(points, system, into, people, chosen, comments)
    else:
        made = exporting.new_table(points, system, people, comments)
    exporting.write_export(made, path)
    for note in made.notes:
        tell(f"note: {note}")
    tell(f"{path}: {made.students} students, {', '.join(records.labs)}")
    for words, names in (("not handed in", made.ungraded), ("graded, but NOT in the list of people", made.unknown)):
        if names:
            tell(f"{words}: {', '.join(names)}")
    note_export(output, points)
    if made.unknown:
        raise SystemExit(1)
