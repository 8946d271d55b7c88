"""What differs between two states of a gradebook: what a run changed, or would change."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.records.rows import Records

LATENESS = "(lateness)"  # in place of a question: the points that it costs


@dataclass(frozen=True)
class Change:
    """A row that is not what it was; ``before`` or ``after`` is empty if it was not there, or is not any more."""

    student: str
    question: str
    before: str
    after: str
    message: str  # of the row as it is


def changes(before: Records | None, after: Records | None, lab: str) -> list[Change]:
    """The rows of a lab that differ, by student, in the lab's order."""
    old, new = _rows(before, lab), _rows(after, lab)
    keys = sorted(dict.fromkeys([*new, *old]), key=lambda key: key[0])  # stable: questions stay in their order
    return [
        Change(*key, old.get(key, ("", ""))[0], *new.get(key, ("", ""))) for key in keys if old.get(key) != new.get(key)
    ]


def whose(before: Records | None, after: Records | None, lab: str) -> list[str]:
    """The students who are in both states, and of whom a row differs."""
    both = {student for student, _ in _rows(before, lab)} & {student for student, _ in _rows(after, lab)}
    return list(dict.fromkeys(c.student for c in changes(before, after, lab) if c.student in both))


def summary(before: Records | None, after: Records | None, lab: str, *, tense: str) -> str:
    """One line: how many rows change, who comes, who goes; ``tense`` is "would change" or "changed", say."""
    old, new = ({student for student, _ in _rows(records, lab)} for records in (before, after))
    students = {*whose(before, after, lab)}
    changed = [c for c in changes(before, after, lab) if c.student in students]
    told = [
        f"{_many(len(changed), 'row')} of {_many(len(students), 'student')} {tense}" if changed else "",
        f"{_many(len(new - old), 'student')} new" if new - old else "",
        f"{_many(len(old - new), 'student')} gone" if old - new else "",
        f"{_many(len(new & old - students), 'student')} as before" if new & old - students else "",
    ]
    return ", ".join(filter(None, told)) or "nobody"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _rows(records: Records | None, lab: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(student, question) -> points with status and a person's comment, and message."""
    if records is None:
        return {}
    rows = {}
    for row in records.of(lab).itertuples():
        about = records.submissions.get((row.student, lab))
        comment = about.comments.get(row.question, "") if about else ""
        told = f"{row.score:g}/{row.max_score:g} {row.status}" + (f', "{comment}"' if comment else "")
        rows[row.student, row.question] = (told, row.message)
    late = {(s, LATENESS): (f"-{points:g}", "") for (s, name), points in records.penalties.items() if name == lab}
    return rows | late
