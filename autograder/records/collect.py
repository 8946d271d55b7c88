"""Takes submissions out of a folder or an archive of a learning system into ``<to>/<student>/<lab>.ipynb``.

Whose a file is, the systems' names say (`system_names`), else the folders. Every file has one end: taken, passed over
(for another one of the same person, or because nobody handed it in) or refused. Whoever handed something in
and has no notebook is named. Nothing is guessed: where a name can mean two people, both are refused by name.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

import nbformat
import yaml

from autograder.errors import CourseError
from autograder.grading.submission import holds, other_lab
from autograder.labs.lab import Lab, lab_names
from autograder.processes.limited import Limited, Stopped
from autograder.records.archives import Source, files_in, is_litter, readers
from autograder.records.origins import LIST, remember
from autograder.records.roster import Roster, folder_name
from autograder.records.system_names import Reading, is_sensible, readings, time_in
from autograder.sandbox.strangers import LONGEST_NAME, few, shortened, visible_name
from course_utils.checks.notebook import Unreadable, parse_notebook

WRAPPERS = {"submissions", "submission", "submitted", "submitted files", "abgaben", "inbox", "handed in", "downloads"}
"""Folders that are nobody's name."""

METADATA = "submission_metadata.yml"  # Gradescope's: whose each of its folders is

PATIENCE = 60.0  # seconds for the files of one student

NAMED = 5  # files, in the line about a student without a notebook

LOOKALIKE = re.compile(r"\.ipynb\b|\.(json|txt|ipynb)$|^[^.]+$", re.IGNORECASE)
"""Names that programs give to a notebook when they store it: x.ipynb.txt, x.json, x.ipynb (1), x."""


@dataclass
class Collected:
    """What became of every file and of everybody.

    Attributes:
        taken: student -> where the notebook came from.
        ends: every file, whether it was "taken", "passed over" or "refused", and why.
        without: whoever handed in something, but no notebook that can be read; and what is wrong with it.
        strangers: who is not in the roster.
        absent: who is in the roster, and of whom nothing is in the archive, nor a notebook from before.
        doubtful: who is in the roster, has no notebook, and may be meant by a name that means several.
        before: who has a notebook from before, and of whom none was taken.
        renewed: of whom a different notebook was replaced.
        late: whose notebook the system calls late.
    """

    taken: dict[str, str] = field(default_factory=dict)
    ends: dict[Source, tuple[str, str]] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def end(self, source: Source, how: str, why: str = "") -> None:
        """Notes what became of a file. One of a group, which is taken for one of them, is taken."""
        if self.ends.get(source, ("",))[0] != "taken":
            self.ends[source] = (how, why)

    def ended(self, how: str) -> list[str]:
        """Files that ended so, each with the reason."""
        return [
            f"{visible_name(s.name)}: {why}" if why else visible_name(s.name)
            for s, (e, why) in self.ends.items()
            if e == how
        ]

    @property
    def refused(self) -> list[str]:
        return self.ended("refused")

    @property
    def lost(self) -> list[str]:
        """Of whom no notebook lies there, though they handed in something."""
        return [student for student in self.without if student not in self.taken and student not in self.before]

    @property
    def complete(self) -> bool:
        """Whether nobody has to look after anything."""
        return not (self.refused or self.without or self.strangers)


@dataclass
class _Found:
    """A file, and whose it is."""

    source: Source
    who: str  # as the archive has it
    reading: Reading | None  # None where folders say it
    own_name: str  # the file's, without what a system put before it
    time: datetime | None = None
    version: int = 0  # as Teams counts what is handed in again
    late: bool = False


def collect(source: Path, lab: Lab, to: Path, roster: Roster | None = None) -> Collected:
    """
    Args:
        source: a folder or a zip archive.
        to: gets a folder for each student. What lies there of the same student and lab is replaced.
        roster: gives the students their names; without one they are called as the archive calls them.

    Raises:
        CourseError: if the source cannot be read.
    """
    functions = readers() | {
        "look": lambda name, content=b"": _look(content, name, lab),
        "listed": _listed,
        "holds": lambda folder: bool(holds(Path(folder), lab)),
    }
    with Limited(functions) as limited:
        return _collect(source, _Looks(lab, limited), to, roster)


@dataclass
class _Looks:
    """Looks at files in a child with limits."""

    lab: Lab
    limited: Limited

    def __call__(self, content: bytes, name: str) -> tuple[str, bool]:
        """See `_look`."""
        try:
            problem, fits = self.limited.call("look", name, blob=content)
        except Stopped as error:
            problem, fits = f"it cannot be read: {error}", False
        return shortened(problem, LONGEST_NAME), fits

    def read(self, source: Source) -> bytes:
        """
        Raises:
            CourseError: if it cannot be read.
            Stopped: if that takes too much.
        """
        return self.limited.call("content", *source.place)

    def holds(self, folder: Path) -> bool:
        """Whether there is something for the lab in a student's folder."""
        try:
            return self.limited.call("holds", str(folder))
        except Stopped:  # its row will tell
            return True


def _collect(source: Path, look: _Looks, to: Path, roster: Roster | None) -> Collected:
    done, lab = Collected(), look.lab
    sources = files_in(source, look.limited, leave_out=to)
    found = _whose(sources, look, source.stem, roster, done)
    by_student = _students(found, sources, look, roster, done)
    rows = []
    for student, files in sorted(by_student.items()):
        if (best := _best(student, files, look, done)) is None:
            continue
        file, content, problem = best
        folder = to / student
        target = folder / f"{lab.name}.ipynb"
        if obstacle := _in_the_way(folder, target):
            done.end(file.source, "refused", obstacle)
            done.without[student] = obstacle
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists() and (before := target.read_bytes()) != content:
            if problem and not look(before, target.name)[0]:
                done.end(file.source, "refused", problem)
                done.without[student] = problem
                continue
            done.renewed.append(student)
        if problem:
            done.without[student] = f"taken all the same: {problem}"
        target.write_bytes(content)
        done.taken[student] = file.source.name
        done.end(file.source, "taken")
        done.late += [student] if file.late else []
        rows.append(_listed_as(student, lab, [file], source))
    done.before = [student for student in _there(to, look, roster) if student not in done.taken]
    for student in done.before:
        if student in done.without:
            done.without[student] += "; the notebook from before stays"
    rows += [_listed_as(student, lab, by_student[student], source, done.without[student]) for student in done.lost]
    if roster is not None:
        known = {*by_student, *done.before}
        done.doubtful = [student for student in dict.fromkeys(done.doubtful) if student not in known]
        done.absent = [student for student in roster.students if student not in known | {*done.doubtful}]
    remember(to, rows)
    return done


def _in_the_way(folder: Path, target: Path) -> str:
    """Why a notebook cannot be laid into a student's folder, by what lies there; empty if it can."""
    for path in (folder, target):
        if path.is_symlink():
            return f"{path} is a link to elsewhere"
    if folder.exists() and not folder.is_dir():
        return f"{folder} is no folder"
    return f"{target} is no file" if target.exists() and not target.is_file() else ""


def _listed_as(student: str, lab: Lab, files: list[_Found], archive: Path, problem: str = "") -> list[str]:
    """The line about a student in the list of what was collected; of several files, the time of the last."""
    time = max((file.time for file in files if file.time), key=datetime.timestamp, default=None)
    late = "late" if any(file.late for file in files) else ""
    written = time.isoformat(sep=" ") if time else ""
    return [student, lab.name, written, late, files[0].source.name, archive.name, problem]


def _there(to: Path, look: _Looks, roster: Roster | None) -> list[str]:
    """Who has a notebook of the lab in the folder, however it came there; everybody whom the folder's name may mean."""
    if not to.is_dir():
        return []
    folders = [folder_name(path.name) for path in sorted(to.iterdir()) if path.is_dir() and look.holds(path)]
    return list(dict.fromkeys(s for name in folders for s in (roster.may_be(name) if roster else []) or [name]))


# --- whose


def _whose(sources: list[Source], look: _Looks, stem: str, roster: Roster | None, done: Collected) -> list[_Found]:
    """Files with the person each belongs to, as the archive has it. Those of nobody are passed over or refused."""
    lab = look.lab
    found, by_folder = [], []
    ambiguous: list[tuple[Source, list[Reading]]] = []
    flat, around = _flat_folders(sources)
    for source in sources:
        if "__MACOSX" in source.parts or source.parts[-1] == METADATA:
            done.end(source, "passed over", "a system laid it there")
        elif file := _by_folder_name(source, around):
            found.append(file)
        elif (said := _sensible(source, flat, lab, roster)) and len({r.who for r in said}) == 1:
            found.append(_by_file_name(source, said[0]))
        elif said:
            ambiguous.append((source, said))
        else:
            by_folder.append(source)
    uploads = [len(str(f.reading.upload)) for f in found if f.reading and f.reading.upload]
    known = {f.who for f in found}
    for source, said in ambiguous:
        likely = [r for r in said if r.who in known] or [
            r for r in said if uploads and min(uploads) <= len(str(r.upload)) <= max(uploads)
        ]
        if len({r.who for r in likely}) == 1:
            found.append(_by_file_name(source, likely[0]))
        else:
            told = " or ".join(dict.fromkeys(r.who for r in said))
            done.end(source, "refused", f"it may be of {told}: rename it, or use a roster")
    if found and not any(_may_be_notebook(source) for source in by_folder):  # a system's own lists and pages
        for source in by_folder:
            done.end(source, "passed over", "it is no notebook and nobody's")
        return found
    return found + _by_folders(by_folder, look, stem, roster, done)


def _by_folder_name(source: Source, around: int) -> _Found | None:
    """The outermost folder that a system named: what is below it, a student named."""
    path = "/".join((*source.parts[:-1], ""))
    for at, part in enumerate(source.parts[: source.outer][: len(source.parts) - 1]):
        for said in readings(part, "folder") or readings(path, "path"):
            if said.format.system == "Gradescope" and at > around:  # somebody may call a folder so
                continue
            found = _Found(source, said.who, said, source.parts[-1], said.time)
            # of what lies in an archive that was handed in, the system has named the archive
            match = re.fullmatch(r"(\d{14})_(.+)", source.parts[source.outer - 1])
            if said.format.system == "ILIAS" and match and (time := time_in(match[1], "%Y%m%d%H%M%S")):
                found.time, found.own_name = time, match[2] if source.outer == len(source.parts) else found.own_name
            return found
    return None


def _flat_folders(sources: list[Source]) -> tuple[set[tuple[str, ...]], int]:
    """Folders in which the files of several people lie side by side; and how many folders all files have around them,
    of which the innermost counts as such a folder too."""
    people: dict[tuple[str, ...], set[str]] = {}
    for source in sources:
        if said := readings(source.parts[source.outer - 1], "file"):
            people.setdefault(source.parts[: source.outer - 1], set()).add(said[0].who)
    folders = [s.parts[: s.outer - 1] for s in sources if not is_litter(s.parts)]
    around: tuple[str, ...] = ()
    while len({f[: len(around) + 1] for f in folders}) == 1 and len(folders[0]) > len(around):
        around = folders[0][: len(around) + 1]
    return {folder for folder, names in people.items() if len(names) > 1} | {(), around}, len(around)


def _sensible(source: Source, flat: set[tuple[str, ...]], lab: Lab, roster: Roster | None) -> list[Reading]:
    """What the file's name may say of its owner: one reading if the roster or the lab's name decides."""
    if source.parts[: source.outer - 1] not in flat:
        return []
    said = readings(source.parts[source.outer - 1], "file")
    strict = [r for r in said if r.format.system != "Google Classroom"]
    said = strict or [r for r in said if _likeness(r.file, lab) or _known(roster, r.name)]
    by_roster = [r for r in said if _known(roster, r.who) or (roster and roster.with_id(r.number))]
    by_lab = [r for r in said if _likeness(r.file, lab) == 2]
    return by_roster if len(by_roster) == 1 else by_lab if len(by_lab) == 1 else said


def _known(roster: Roster | None, who: str) -> bool:
    try:
        return roster is not None and roster.student(who) is not None
    except CourseError:
        return True


def _by_file_name(source: Source, said: Reading) -> _Found:
    inner = source.parts[-1] if len(source.parts) > source.outer else said.file
    return _Found(source, said.who, said, inner, said.time, late=said.late)


def _by_folders(sources: list[Source], look: _Looks, stem: str, roster: Roster | None, done: Collected) -> list[_Found]:
    """The files of a plain folder for each person, perhaps with folders of the class or of sections around them."""
    lab = look.lab
    notebooks = [s for s in sources if _may_be_notebook(s) and _folders(s) and not is_litter(s.parts)]
    start, doubtful = _people_start(notebooks, lab, stem)
    found: list[_Found] = []
    places: dict[str, set[tuple[str, ...]]] = {}  # who -> folders of that name
    for source in sources:
        folders, alone = _folders(source), PurePosixPath(source.name).stem
        depth = next((n for n, name in enumerate(folders) if _known(roster, name)), None)
        if depth is not None or (folders[start:] and not doubtful):
            at = start if depth is None else depth
            places.setdefault(folders[at], set()).add(folders[: at + 1])
            version = max([int(m[1]) for p in folders if (m := re.fullmatch(r"Version (\d+)", p))], default=0)
            found.append(_Found(source, folders[at], None, source.parts[-1], version=version))
        elif not folders and _known(roster, alone):
            found.append(_Found(source, alone, None, source.parts[-1]))
        elif not _is_notebook(source, look):
            done.end(source, "passed over", "it is no notebook and nobody's")
        elif doubtful and folders:
            told = " or ".join(repr(name) for name in doubtful)
            done.end(source, "refused", f"is {told} the student? Use a roster, or give that folder itself")
        else:
            done.end(source, "refused", "its name does not say whose it is")
    for who, paths in places.items():
        if len(paths) > 1 and not _known(roster, who):
            told = ", ".join("/".join(path) for path in sorted(paths))
            for file in [f for f in found if f.who == who]:
                found.remove(file)
                done.end(file.source, "refused", f"one person or two? {told}")
    return found


def _folders(source: Source) -> tuple[str, ...]:
    """The folders around a file; an archive for each person counts as a folder of its name."""
    if len(source.parts) > source.outer:
        *around, archive = source.parts[: source.outer]
        return (*around, PurePosixPath(archive).stem)
    return source.parts[:-1]


def _people_start(notebooks: list[Source], lab: Lab, stem: str) -> tuple[int, list[str]]:
    """How many folders stand around those of the people; and if that is doubtful, what the person may be called."""
    paths = {_folders(source) for source in notebooks}
    levels = enumerate(zip(*paths, strict=False))
    around = next((n for n, names in levels if len(set(names)) > 1), min(map(len, paths), default=0))
    names = {path[around] for path in paths if path[around:]}
    several = len([name for name in names if not _is_work(name, lab)]) > 1
    # several people below the folders around all notebooks, if these hold none themselves
    start = around if several and all(path[around:] for path in paths) else 0
    while paths and len({path[start] for path in paths if path[start:]}) == 1:  # one folder around all
        below = {path[start + 1] for path in paths if path[start + 1 :] and not _is_work(path[start + 1], lab)}
        if len(below) < 2:  # one person: which of the folders bears the name?
            path = max(paths, key=len)
            names = [n for n in range(start, len(path)) if not _is_nobody(path[n], lab, stem)]
            if len(names) == 1 or (names and path[: names[0] + 1] in paths):
                return names[0], []
            return start, [path[n] for n in names] or list(path)
        start += 1
    inner = {path[start : start + 2] for path in paths if path[start + 1 :] and not _is_work(path[start + 1], lab)}
    several = any(times > 1 for times in Counter(top for top, _ in inner).values())
    holds = any(len(path) == start + 1 for path in paths)
    return start + (several and not holds), []  # sections, if no folder at this level holds a notebook itself


def _is_work(name: str, lab: Lab) -> bool:
    """Whether a folder is of one's work rather than of one's name."""
    other = r"(version|lab|sheet|blatt|part|exercise|assignment) ?\d+|old|new|final|work|src|backup|notebooks?"
    return _likeness(name, lab) == 2 or name in lab_names(lab.root) or bool(re.fullmatch(other, name, re.IGNORECASE))


def _is_nobody(name: str, lab: Lab, stem: str) -> bool:
    return name.casefold() in WRAPPERS | {stem.casefold()} or _is_work(name, lab)


# --- which student


def _students(
    found: list[_Found], sources: list[Source], look: _Looks, roster: Roster | None, done: Collected
) -> dict[str, list[_Found]]:
    """Folder's name -> the files of this student. Where two people would become one, all of theirs are refused."""
    handed_in_by = _gradescope(sources, look, done)
    files: dict[str, list[_Found]] = {}
    people: dict[str, set[str]] = {}  # folder's name -> who came to it, as the archive has them
    for file in found:
        names = [file.who]
        if file.reading is not None and file.reading.format.system == "Gradescope":
            listed, file.time = handed_in_by.get(file.who, ([], None))
            names = listed or names  # the list may name nobody
        for name in names:
            try:
                canvas = file.reading is not None and file.reading.format.system == "Canvas"
                student = roster and ((roster.with_id(file.reading.number) if canvas else None) or roster.student(name))
            except CourseError as error:
                done.end(file.source, "refused", str(error))
                done.doubtful += roster.may_be(name) if roster else []
                break
            if student is None:
                student = folder_name(name)
                if roster is not None and student not in done.strangers:
                    done.strangers.append(student)
            if not student or student.casefold().startswith(LIST):  # where the list of all lies
                done.end(file.source, "refused", f"{name!r} is no name for a folder")
                break
            files.setdefault(student, []).append(file)
            people.setdefault(student, set()).add(name)
    same: dict[str, list[str]] = {}
    for student in files:
        same.setdefault(student.casefold(), []).append(student)
    for students in same.values():
        names = sorted(set().union(*(people[s] for s in students)))
        group = roster is not None and any(len(roster.students.get(s, ())) > 1 for s in students)
        if len(names) > 1 and not group:
            told = f"{' and '.join(map(repr, names))} would share the folder {students[0]!r}"
            for file in [f for s in students for f in files.pop(s)]:
                done.end(file.source, "refused", told)
    return files


def _gradescope(sources: list[Source], look: _Looks, done: Collected) -> dict[str, tuple[list[str], datetime | None]]:
    """Gradescope's folder -> who handed it in (several for a group), and when."""
    known: dict[str, tuple[list[str], datetime | None]] = {}
    for source in (s for s in sources if s.parts[-1] == METADATA and not s.trouble):
        if source.outer < len(source.parts) or any(readings(part, "folder") for part in source.parts[:-1]):
            continue  # it lies in what a student handed in
        try:
            for folder, people, time in look.limited.call("listed", blob=look.read(source)):
                known[folder] = (people, time and datetime.fromisoformat(time))
        except (CourseError, Stopped) as error:
            done.end(source, "refused", f"it does not say who handed in what: {error}")
    return known


def _listed(content: bytes = b"") -> list[tuple[str, list[str], str | None]]:
    """Of Gradescope's list: a folder, who handed it in, when."""
    found = []
    try:
        for folder, entry in yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)).items():
            people = [p.get(":email") or p.get(":sid") or p.get(":name") for p in entry[":submitters"]]
            time = entry.get(":created_at")
            time = time.isoformat() if isinstance(time, datetime) and is_sensible(time) else None
            found.append((str(folder), [str(p) for p in people if p], time))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CourseError(str(error)) from None
    return found


# --- which file


def _best(student: str, files: list[_Found], look: _Looks, done: Collected) -> tuple[_Found, bytes, str] | None:
    """The notebook that counts, its content, and what is wrong with it, if anything. All other files are passed over
    or refused."""
    candidates, aside, lab = [], [], look.lab
    best: tuple[tuple, bytes] | None = None  # the content of no other candidate is kept
    end = time.monotonic() + PATIENCE
    for file in files:
        if is_litter((*file.source.parts[:-1], file.own_name)):
            aside.append((file, "a system's or Jupyter's own copy"))
        elif file.source.trouble:
            aside.append((file, file.source.trouble))
        elif not _may_be_notebook(file.source):
            aside.append((file, _what_else(file.source)))
        elif time.monotonic() > end:
            aside.append((file, f"not looked at: the files of {student} take more than {PATIENCE:g} s"))
        else:
            try:
                content = look.read(file.source)
            except (CourseError, Stopped) as error:
                aside.append((file, str(error)))
                continue
            problem, fits = look(content, file.own_name)
            named = file.own_name.lower().endswith(".ipynb")
            if problem and (not named or problem.startswith("it is a notebook of ")):
                aside.append((file, problem))
            else:
                rank = _rank(file, not problem, fits, lab)
                candidates.append((rank, file, problem))
                best = (rank, content) if best is None or rank >= best[0] else best
    if best is None:
        for file, why in aside:
            done.end(file.source, "refused", why)
        told = dict.fromkeys(f"{visible_name(file.own_name)}: {why}" for file, why in aside)
        done.without[student] = "; ".join(few([*told], NAMED))
        return None
    undated = [c for c in candidates if c[1].reading and c[1].reading.format.times and c[1].time is None]
    if undated and len({c[1].source.parts[: c[1].source.outer - 1] for c in candidates}) > 1:
        for _, file, _ in candidates:
            done.end(file.source, "refused", "which is the later one? The time in its name cannot be read")
        done.without[student] = "it is not known which hand-in is the later one"
        return None
    *others, (_, chosen, problem) = sorted(candidates, key=lambda c: c[0])
    for file, why in aside:
        done.end(file.source, "passed over", why)
    for _, file, wrong in others:
        done.end(file.source, "passed over", f"for {chosen.source.name}" + (f": {wrong}" if wrong else ""))
    return chosen, best[1], problem


def _what_else(source: Source) -> str:
    """What a file is that is no notebook."""
    kind = re.search(r"\.(rar|7z|tar|tgz|gz|bz2|xz|zip)$", source.parts[-1], re.IGNORECASE)
    if kind is None:
        return "it is no notebook"
    within = "a zip archive within another" if kind[1].lower() == "zip" else f"a {kind[1].lower()} archive"
    return f"{within} is not opened"


def _rank(file: _Found, whole: bool, fits: bool, lab: Lab) -> tuple:
    """What counts more, and then what was handed in later: of two hand-ins the later one, of the files of one hand-in
    the one with the lab's name."""
    upload = file.reading.upload if file.reading else 0
    time = file.time.timestamp() if file.time else 0.0
    name = file.source.name
    return (
        whole,
        fits,
        time,
        file.version,
        _likeness(file.own_name, lab),
        upload,
        -len(file.source.parts),
        _natural(name),
    )


def _look(content: bytes, name: str, lab: Lab) -> tuple[str, bool]:
    """What is wrong with a file, if anything; and whether it has exercises of the lab in it."""
    try:
        cells = [nbformat.from_dict(cell) for cell in parse_notebook(content, name).cells]
    except Unreadable as error:
        return str(error), False
    if other := other_lab(cells, lab):
        return f"it is a notebook of {other}", False
    ids = {cell.id for cell in lab.answers}
    return "", any(cell.metadata.get("nbgrader", {}).get("grade_id") in ids for cell in cells)


def _is_notebook(source: Source, look: _Looks) -> bool:
    """Whether somebody might miss a file of which nobody knows whose it is."""
    if not _may_be_notebook(source) or is_litter(source.parts):
        return False
    try:
        named = source.parts[-1].lower().endswith(".ipynb")
        return named or bool(source.trouble) or not look(look.read(source), source.parts[-1])[0]
    except (CourseError, Stopped):
        return True


def _may_be_notebook(source: Source) -> bool:
    return bool(LOOKALIKE.search(source.parts[-1])) and source.parts[-1] != METADATA


def _likeness(name: str, lab: Lab) -> int:
    """2 for the lab's own name, also as browsers, Canvas and Jupyter number copies; 1 if it has that name in it."""
    stem = re.sub(r"(?i)\.ipynb.*$|\.(json|txt|zip)$", "", name).strip()
    plain = re.sub(r"(?i)^copy of |([ _-]*\(\d+\)|-\d+|-copy\d*| - copy( \(\d+\))?)+$", "", stem)
    own = lab.name.casefold()
    return 2 if own in (plain.casefold(), stem.casefold()) else int(own in stem.casefold())


def _natural(text: str) -> list[tuple[int, int | str]]:
    """A key by which file 10 comes after file 9."""
    return [(1, int(p)) if p.isdecimal() else (0, p) for p in re.split(r"(\d+)", text) if p]
