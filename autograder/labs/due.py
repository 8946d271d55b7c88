"""When an assignment is due, and when it was handed in; what lateness costs is for nbgrader's plugin to say.

A time is written ``2026-11-30 23:59 Europe/Vienna``, or as a learning system writes it. Nothing about it is guessed: a
date that can be read in two ways, a zone that is not known and an hour that the clock shows twice are refused. A time
without a zone is in the zone of `Clock`, which keeps count of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autograder.errors import CourseError

TIMESTAMP = "timestamp.txt"  # what nbgrader's exchange lays beside a notebook
SUBMITTED = "submitted"  # where it does so, beside the gradebook

EXAMPLE = "write for instance 2026-11-30 23:59 Europe/Vienna"

OFFSETS = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "GMT": 0, "UT": 0}
"""Abbreviations in hours, those of RFC 2822; any other stands for several zones."""

MONTHS = {
    name: month
    for month, names in enumerate(
        (
            *("jan january januar jänner", "feb february februar", "mar march mär märz", "apr april", "may mai"),
            *("jun june juni", "jul july juli", "aug august", "sep sept september", "oct october okt oktober"),
            *("nov november", "dec december dez dezember"),
        ),
        start=1,
    )
    for name in names.split()
}

_WORD = r"(?P<month>[^\W\d_]+)\.?"
_CLOCK = (
    r"(?:(?:,? +(?:at +|um +)?|T)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
_DATES = (
    r"(?P<year>\d{4})(?P<s>[-/.])(?P<month>\d{1,2})(?P=s)(?P<day>\d{1,2})",
    r"(?P<one>\d{1,2})(?P<s>[-/.])(?P<two>\d{1,2})(?P=s)(?P<year>\d{4})",
    rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?[ -]{_WORD},?[ -](?P<year>\d{{4}})",
    rf"{_WORD} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})",
)
_WEEKDAY = r"(?:(?:mo|tu|we|th|fr|sa|su|di|mi|do|so)[^\W\d_]*\.?,? +)?"
FORMS = [re.compile(rf"{_WEEKDAY}{date}{_CLOCK}(?P<zone>.*)", re.IGNORECASE) for date in _DATES]


@dataclass
class Clock:
    """How times are read that do not say their zone.

    Attributes:
        zone: their zone.
        why: what says so, for the output.
        zoneless: where they stood, and how many; None stands for no place.
    """

    zone: tzinfo = UTC
    why: str = "no other is said"
    zoneless: Counter[str] = field(default_factory=Counter)

    def told(self) -> list[str]:
        """A line for each place with times without a zone."""
        return [
            f"{place}: {count} time{'s' if count > 1 else ''} without a zone, read in {self.zone} ({self.why})"
            for place, count in self.zoneless.items()
        ]

    def utc(self, time: datetime, where: str) -> datetime:
        """A time as the gradebook keeps it: in UTC, and without saying so.

        Args:
            where: the place for `told`, then perhaps a comma and a line.

        Raises:
            CourseError: if the clock shows that hour twice or never, or no calendar has it.
        """
        if time.tzinfo is None:
            self.zoneless[where.partition(", line ")[0]] += 1
            time = time.replace(tzinfo=self.zone)
        try:
            if time.utcoffset() != time.replace(fold=1).utcoffset():
                told = f"clocks in {time.tzinfo} are changed at {time:%Y-%m-%d %H:%M}: say the offset"
                raise CourseError(f"{where}: {told}")
            return time.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            raise CourseError(f"{where}: in UTC that is before the year 1 or after 9999") from None


@dataclass(frozen=True)
class Dates:
    """What is known of one lab's dates, all in UTC. What is not known stays as the gradebook has it.

    Attributes:
        extensions: student -> due date of their own.
        handed_in: student -> when.
        called_late: of whom a learning system says that it was late, and not by how much.
        exchange: the folder into which nbgrader's exchange collected what is graded, with the time beside each
            notebook; None if it came another way.
        zone: in which ``--due`` said the due date; empty if the lab or nobody did.
    """

    due: datetime | None = None
    extensions: dict[str, datetime] = field(default_factory=dict)
    handed_in: dict[str, datetime] = field(default_factory=dict)
    called_late: frozenset[str] = frozenset()
    exchange: Path | None = None
    zone: str = ""


def read_time(text: str, where: str, clock: Clock | None = None) -> datetime:
    """A time, in UTC and without a zone.

    Args:
        clock: reads times without a zone; by default in UTC.

    Raises:
        CourseError: if it is no time, or can be read in two ways; the message names ``where`` it stands.
    """
    return (clock or Clock()).utc(_parsed(text, where), where)


def zone_of(text: str, where: str) -> tzinfo | None:
    """The zone that a time says, if it does."""
    return _parsed(text, where).tzinfo


def named_zone(name: str, where: str) -> tzinfo:
    """
    Raises:
        CourseError: if there is no such zone.
    """
    if name.upper() in ("Z", "UTC"):
        return UTC
    if match := re.fullmatch(r"(?:UTC|GMT)? ?([+-])(\d{1,2})(?::?(\d\d))?", name, re.IGNORECASE):
        sign, hours, minutes = match[1], int(match[2]), int(match[3] or 0)
        if hours <= 14 and minutes < 60:
            return timezone((-1 if sign == "-" else 1) * timedelta(hours=hours, minutes=minutes))
    if name.upper() in OFFSETS:
        return timezone(timedelta(hours=OFFSETS[name.upper()]), name.upper())
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        told = "write a name such as Europe/Vienna, or an offset such as +01:00"
        raise CourseError(f"{where}: the zone {name!r} is not known: {told}") from None


def _parsed(text: str, where: str) -> datetime:
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    match = next(filter(None, (form.fullmatch(plain) for form in FORMS)), None)
    if match is None:
        raise CourseError(f"{where}: {text!r} is no time ({EXAMPLE})")
    found = match.groupdict()
    if found["hour"] is None:
        raise CourseError(f"{where}: {text!r} may be the day's beginning or its end: write 00:00 or 23:59 behind it")
    zone = named_zone(found["zone"].strip(" ()"), where) if found["zone"].strip(" ()") else None
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            raise CourseError(f"{where}: {text!r} is no time: no clock shows {hour} {found['half']}m")
        hour = hour % 12 + 12 * (found["half"].lower() == "p")
    try:
        year, month, day = int(found["year"]), *_day(found, text, where)
        fraction = int((found["fraction"] or "0")[:6].ljust(6, "0"))
        return datetime(year, month, day, hour, int(found["minute"]), int(found["second"] or 0), fraction, zone)
    except ValueError as error:
        raise CourseError(f"{where}: {text!r} is no time: {error} ({EXAMPLE})") from None


def _day(found: dict[str, str], text: str, where: str) -> tuple[int, int]:
    """Month and day."""
    if "one" in found:
        one, two = int(found["one"]), int(found["two"])
        if one != two and one <= 12 and two <= 12:
            readings = " or ".join(f"{found['year']}-{month:02}-{day:02}" for month, day in ((one, two), (two, one)))
            raise CourseError(f"{where}: {text!r} may be {readings}: write the year first")
        return (one, two) if two > 12 else (two, one)
    month = found["month"]
    number = int(month) if month.isdecimal() else MONTHS.get(month.casefold())
    if number is None:
        raise CourseError(f"{where}: {text!r} is no time: the month {month!r} is not known ({EXAMPLE})")
    return number, int(found["day"])


def timestamp_beside(notebook: Path) -> tuple[datetime | None, str]:
    """The time in ``timestamp.txt``, and what is wrong with it, if anything is."""
    path = notebook.parent / TIMESTAMP
    if path.is_symlink() or not path.is_file():
        return None, ""
    try:
        with path.open("rb") as file:
            return read_time(file.read(100).decode(), TIMESTAMP), ""
    except (OSError, UnicodeDecodeError):
        return None, f"{TIMESTAMP} cannot be read"
    except CourseError as error:
        return None, str(error)
