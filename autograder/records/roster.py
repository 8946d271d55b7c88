"""Who is in the class: one list for collecting, times, grades and exports.

A roster is what a learning system exports (Canvas's gradebook, Moodle's grading worksheet or list of participants,
Gradescope's or Brightspace's list) or a CSV file of one's own. It gives every person one name for good: the name of
the folder and the row in the gradebook. `Roster.student` finds it from whatever an archive or a file calls the person.

    roster = course_roster(root, path)        # --roster, or roster.csv in the course's folder, or None
    roster.students                           # {"ada": (Person, ...), ...}: more than one for a group's folder
    roster.student("Lovelace, Ada")           # "ada"; None if unknown; CourseError if it may be two people
"""

from __future__ import annotations

import contextlib
import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autograder.errors import CourseError
from autograder.records.tables import Table, read_table

FILE = "roster.csv"
"""The roster in the course's folder, used where no other is named."""

COLUMNS = {
    "student": ["student", "folder"],
    "name": ["name", "full name", "vollständiger name"],
    "first": ["first name", "firstname", "first", "vorname"],
    "last": ["last name", "lastname", "last", "surname", "nachname", "familienname"],
    "email": ["email", "email address", "e-mail", "e-mail-adresse", "e-mail address"],
    "id": ["id", "id number", "student id", "canvas id", "id-nummer", "matrikelnummer"],
    "sis": ["sis", "sid", "sis user id", "orgdefinedid"],
    "login": ["login", "sis login id", "username", "user name", "anmeldename", "benutzername"],
    "participant": ["identifier", "participant", "id of the participant"],
    "section": ["section", "sections", "class section"],
    "group": ["group", "groups", "gruppe", "gruppen"],
}
"""What is known of a person, and what systems and people call the column (in any case of letters)."""

IDS = ("email", "id", "sis", "login", "participant")
"""What only one person has."""

PARTICIPANT = ("participant", "teilnehmer/in", "teilnehmerin")
"""What Moodle writes before a participant's number, in lists and (without the stroke) in names of files."""

FOLDER = ("student", "login", "email", "sis", "id", "name")
"""The first of these that everybody has gives the folders their names."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Person:
    """One line of a roster. What it does not say is empty.

    Attributes:
        student: the name of the folder, and in the gradebook. The people of a group may share one.
        line: in the file.
    """

    student: str
    name: str = ""
    email: str = ""
    id: str = ""
    sis: str = ""
    login: str = ""
    participant: str = ""  # Moodle's number of one person in one assignment, without the word before it
    section: str = ""
    group: str = ""
    line: int = 0


class Roster:
    """The people of a class, in the file's order.

    Attributes:
        notes: what was changed or passed over in reading the file; to be printed.
    """

    def __init__(self, people: Iterable[Person], path: Path = Path(FILE), notes: Iterable[str] = ()):
        self.people, self.path, self.notes = tuple(people), path, list(notes)
        for field in IDS:
            known: dict[str, Person] = {}
            for person in self.people:
                value = _plain(getattr(person, field))
                if value and value in known:
                    raise CourseError(
                        f"{path}, line {person.line}: the {field} {getattr(person, field)!r} stands there twice "
                        f"(line {known[value].line} too)"
                    )
                known[value] = person

    @functools.cached_property
    def students(self) -> dict[str, tuple[Person, ...]]:
        """Folder's name -> who is meant by it, in the roster's order."""
        found: dict[str, tuple[Person, ...]] = {}
        for person in self.people:
            found[person.student] = (*found.get(person.student, ()), person)
        return found

    def student(self, text: str) -> str | None:
        """The folder's name of whom a folder, an archive or a file calls ``text``; None if nobody is called so.

        Understood are the folder's name, every id, the name in either order (also run together, as Canvas does), each
        also with a number behind (``Ada Lovelace_123456``), and behind the name of a group (``Group 1-Ada Lovelace``).

        Raises:
            CourseError: if it may mean several people.
        """
        students = self.may_be(text)
        if len(students) > 1:
            raise CourseError(f"{text!r} may be any of {', '.join(students)} in {self.path}")
        return students[0] if students else None

    def absent(self, names: Iterable[str]) -> list[str]:
        """The folders' names of whom nothing is among ``names``, which may call people as `student` understands it."""
        there = set()
        for name in names:
            with contextlib.suppress(CourseError):  # whoever it is, it is told where it matters
                there.add(self.student(name))
        return [student for student in self.students if student not in there]

    def may_be(self, text: str) -> list[str]:
        """The folders' names of everybody whom ``text`` may mean; `student` says what is understood."""
        return list(dict.fromkeys(person.student for person in self._people(text)))

    def same(self, other: Person) -> str | None:
        """The folder's name here of somebody of another list; None if there is nobody of these ids and this name.

        Ids in columns of the same kind count before ids anywhere, for Canvas's id and the university's have the same
        form, and before names, which several people may have.

        Raises:
            CourseError: if the ids, or without them the name, are those of several people.
        """
        ids = {field: _plain(getattr(other, field)) for field in IDS}
        found = [p for field, value in ids.items() if value for p in self._by_field.get((field, value), ())]
        if not found:
            of_person = {value for field, value in ids.items() if value and field != "participant"}
            places = [(field, value) for field in IDS if field != "participant" for value in of_person]
            found = [person for place in places for person in self._by_field.get(place, ())]
        students = list(dict.fromkeys(person.student for person in found))
        if len(students) > 1:
            raise CourseError(f"{other.student} has ids of several people in {self.path}: {', '.join(students)}")
        if students:
            return students[0]
        names = (name for name in (other.student, other.name) if name)
        return next((student for name in names if (student := self.student(name)) is not None), None)

    def with_id(self, number: str) -> str | None:
        """The folder's name of whom the system of this roster gives this id; None if it is nobody's."""
        return next((person.student for person in self.people if number and person.id == number), None)

    def _people(self, text: str) -> tuple[Person, ...]:
        folder, text = _plain(folder_name(text)), _plain(text)
        if (
            found := self._by_folder.get(text)
            or self._by_folder.get(folder)
            or self._by_id.get(text)
            or self._by_name.get(_run_together(text))
        ):
            return found
        if match := re.fullmatch(r"(?P<name>.+)[_ ](?P<number>\d+)", text):
            if match["name"] in PARTICIPANT:  # where grading is anonymous
                return tuple(p for p in self.people if p.participant == match["number"])
            named, letters = self._called(match["name"]), _run_together(match["name"])
            numbered = self._by_id.get(match["number"], ())
            # Moodle counts anew in every assignment, and "week_2" is no name: a number alone may be somebody else's
            likely = tuple(p for p in numbered if not p.name or any(w in letters for w in _words(p.name)))
            return tuple(p for p in numbered if p in named) or named or likely
        return self._called(text)

    def _called(self, text: str) -> tuple[Person, ...]:
        """By a name, a login or a folder, perhaps with a group or a repository in front."""
        parts = text.split("-")
        for start in range(len(parts)):
            rest = "-".join(parts[start:]).strip()
            if start and rest.isdecimal():  # the number of a week, say
                return ()
            if found := self._by_folder.get(rest) or self._by_id.get(rest) or self._by_name.get(_run_together(rest)):
                return found
        return ()

    @functools.cached_property
    def _by_folder(self) -> dict[str, tuple[Person, ...]]:
        return _grouped((_plain(person.student), person) for person in self.people)

    @functools.cached_property
    def _by_id(self) -> dict[str, tuple[Person, ...]]:
        return _grouped((_plain(getattr(person, field)), person) for person in self.people for field in IDS)

    @functools.cached_property
    def _by_field(self) -> dict[tuple[str, str], tuple[Person, ...]]:
        named = [((field, _plain(getattr(person, field))), person) for person in self.people for field in IDS]
        return _grouped(named)

    @functools.cached_property
    def _by_name(self) -> dict[str, tuple[Person, ...]]:
        """Names run together, in every order that keeps the circle: a roster may write either name first."""
        named = []
        for person in self.people:
            last, comma, first = person.name.partition(",")
            words = f"{first} {last}".split() if comma else person.name.split()
            orders = [[*words[n:], *words[:n]] for n in range(len(words))]
            named += [(_run_together(" ".join(order)), person) for order in orders]
        return _grouped(named)


def course_roster(root: Path, path: Path | None = None) -> Roster | None:
    """The roster that was named, or the one in the course's folder; None if there is neither.

    Raises:
        CourseError: see `read_roster`.
    """
    if path is None and not (root / FILE).is_file():
        return None
    return read_roster(path or root / FILE)


def read_roster(path: Path) -> Roster:
    """
    Raises:
        CourseError: if the file cannot be read, has no column that tells people apart or a known one twice, if an id
            stands there twice, or somebody has none of what the others' folders are named by. The line is named.
    """
    return roster_of(read_table(path))


def roster_of(table: Table) -> Roster:
    """The people in a table; `read_roster` says of errors."""
    path, place = table.path, _columns(table)
    notes = [] if table.encoding.startswith("utf") else [f"{path} is not UTF-8: read as {table.encoding}"]
    rows = [
        (line, {field: cells[column] for field, column in place.items()})
        for line, cells in table.rows
        if not _is_no_person(table, cells, notes)
    ]
    if not rows:
        raise CourseError(f"{path} names nobody: it has a line of columns and no more")
    for line, row in rows:
        for field in (f for f in IDS if f in row):
            row[field] = _clean_id(row[field], field, f"{path}, line {line}", notes)
        if not row.get("name"):
            row["name"] = f"{row.get('first', '')} {row.get('last', '')}".strip()
    folder = next((f for f in FOLDER if all(row.get(f) for _, row in rows)), None)
    if folder is None:
        some = [f for f in FOLDER if f in place or (f == "name" and ("first" in place or "last" in place))]
        field = some[0] if some else "student"
        line = next((line for line, row in rows if not row.get(field)), rows[0][0])
        raise CourseError(f"{path}, line {line}: nobody there has a {field} (columns: {', '.join(table.header)})")
    people = []
    for line, row in rows:
        known = {f: row.get(f, "") for f in ("name", *IDS, "section", "group")}
        # one export writes an address in other letters than the next, and folders are for the whole term
        own = row[folder].lower() if folder == "email" else row[folder]
        people.append(Person(folder_name(own), **known, line=line))
    if folder == "student":
        _refuse_merged(path, people, [row["student"] for _, row in rows])
    else:
        _refuse_twice(path, people, folder)
    return Roster(people, path, notes)


def folder_name(text: str) -> str:
    """A name as a folder may have it on every system, otherwise as it is: Unicode, composed (NFC).

    Two names can become one by this: whoever makes folders has to look.
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join("_" if c in '/\\:*?"<>|' or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    return text.strip(" .").encode()[:200].decode("utf-8", "ignore").strip(" .")


def _columns(table: Table) -> dict[str, int]:
    """What is known -> number of the column."""
    names = [" ".join(name.casefold().lstrip("\ufeff").split()) for name in table.header]
    if (
        "bewertung kann geändert werden" in names
    ):  # the grading worksheet of a German Moodle: its ID is of one assignment
        names = ["identifier" if name == "id" else name for name in names]
    place: dict[str, int] = {}
    for field, aliases in COLUMNS.items():
        for alias in aliases:
            found = [number for number, name in enumerate(names) if name == alias]
            if len(found) > 1:
                raise CourseError(f"{table.path}: the column {table.header[found[0]]!r} stands there twice")
            if found and field not in place:
                place[field] = found[0]
    if _is_canvas(table) and "student" in place:  # what it calls the name
        place["name"] = place.pop("student")
    if not {"student", "name", "last", *IDS} & place.keys():
        known = "student, name, email, id, sis, login"
        raise CourseError(f"{table.path} has no column that says who is meant (any of {known}): {', '.join(names)}")
    return place


def _is_canvas(table: Table) -> bool:
    """Whether it is Canvas's gradebook: its columns, or its line of the points that are possible."""
    known = any(name.casefold() in ("sis login id", "sis user id") for name in table.header)
    return known or any(cells[0].casefold() == "points possible" for _, cells in table.rows[:3])


def _is_no_person(table: Table, cells: list[str], notes: list[str]) -> bool:
    """Whether a line of Canvas's gradebook is about the points of its columns, or the student it has for testing."""
    if not _is_canvas(table):
        return False
    who = cells[0].casefold()
    if who in ("student, test", "test student"):
        notes.append(f"{table.path}: Canvas's {cells[0]!r} is nobody, left out")
        return True
    return who == "points possible" or (not who and any(c.casefold().startswith("manual posting") for c in cells))


def _clean_id(value: str, field: str, where: str, notes: list[str]) -> str:
    """An id as the system has it, not as a spreadsheet shows it."""
    if field == "participant":
        return re.sub(r"^\D+(?=\d+$)", "", value)
    if re.fullmatch(r"\d+\.0+", value):
        notes.append(f"{where}: the {field} {value} is read as {value.partition('.')[0]}")
        return value.partition(".")[0]
    if re.fullmatch(r"\d+[.,]\d+E\+?\d+", value, re.IGNORECASE):
        raise CourseError(f"{where}: a spreadsheet has cut the {field} {value}: export the file again")
    return value.removeprefix("#") if field in ("sis", "login") else value  # so Brightspace guards them


def _refuse_twice(path: Path, people: list[Person], folder: str) -> None:
    """Only a column of one's own says that two people are a group; two who are called the same are not."""
    known: dict[str, Person] = {}
    for person in people:
        if person.student in known:
            raise CourseError(
                f"{path}, line {person.line}: the {folder} {person.student!r} stands there twice "
                f"(line {known[person.student].line} too): add a column student with a name for each"
            )
        known[person.student] = person


def _refuse_merged(path: Path, people: list[Person], names: list[str]) -> None:
    """The same name twice is a group; two names that no folder can tell apart are not."""
    known: dict[str, tuple[str, int]] = {}
    for person, name in zip(people, names, strict=True):
        before, line = known.setdefault(person.student, (_plain(name), person.line))
        if before != _plain(name):
            raise CourseError(
                f"{path}, line {person.line}: the student {name!r} would have the folder of line {line}, "
                f"{person.student!r}: call one of them otherwise"
            )


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _run_together(text: str) -> str:
    """A name's letters, as Canvas writes it into files."""
    text = unicodedata.normalize("NFC", text).casefold()
    return "".join(c for c in text if unicodedata.category(c)[0] in "LMN")


def _words(name: str) -> list[str]:
    """The words of a name that are long enough to be found again in it."""
    return [word for word in map(_run_together, re.split(r"[\s,.-]+", name)) if len(word) > 2]


def _grouped(pairs: Iterable[tuple[Key, Person]]) -> dict[Key, tuple[Person, ...]]:
    found: dict[Key, dict[Person, None]] = {}
    for key, person in pairs:
        if key:
            found.setdefault(key, {})[person] = None
    return {key: tuple(people) for key, people in found.items()}
