"""How learning systems name what they put into an archive: one table, `FORMATS`.

A system says whose a file is in the name of a folder or in front of the file's own name. To support another one, add a
line; its test is the example beside it. Facts from the systems' own sources where they are public: Canvas
(content_zipper.rb), Moodle (mod/assign/locallib.php).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Format:
    """
    Attributes:
        system: what writes such names.
        part: where they stand: a "folder" of the path, the "file", or the "path" of folders with / behind each.
        pattern: a regular expression for all of that part (of a path: for its beginning) with the fields ``name`` and
            ``number`` (who), ``file`` (its own name), ``upload`` (later ones are larger), ``time`` (in UTC, if there
            is a field ``utc``) and ``late``.
            A name that is written ``.+?`` may end at several places.
        times: how ``time`` is written, for strptime; without a zone, for none stands there.
        example: such a name, and what its fields are.
    """

    system: str
    part: str
    pattern: str
    times: tuple[str, ...] = ()
    example: tuple[str, dict[str, str | None]] = ("", {})


# the first of the system's own words count: what stands behind them, a student has chosen
_MOODLE = r"(?P<name>(?:(?!_assignsubmission_).)+)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)"
_BRIGHTSPACE = r"(?P<number>\d+)-\d+ - (?P<name>.+?) ?- (?P<time>(?:(?! - ).)*\b\d{4}\b(?:(?! - ).)*)"  # any language
_BRIGHTSPACE_TIMES = ("%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p", "%d %b, %Y %H%M", "%d %B, %Y %H%M", "%b %d, %Y %H%M")
_NUMBER = r"[1-9]\d*"  # as databases count

FORMATS = (
    Format(
        "Moodle",
        "folder",
        rf"{_MOODLE}_?",
        example=("Ada Lovelace_123456_assignsubmission_file_", {"name": "Ada Lovelace", "number": "123456"}),
    ),
    Format(  # "Download submissions in folders" switched off
        "Moodle",
        "file",
        rf"{_MOODLE}_(?P<file>.+)",
        example=("Ada_7_assignsubmission_file_my lab.ipynb", {"name": "Ada", "number": "7", "file": "my lab.ipynb"}),
    ),
    Format(
        "Canvas",
        "file",
        rf"(?P<name>.+?)(?<!_LATE)(?P<late>_LATE)?_(?P<number>{_NUMBER})_(?P<upload>{_NUMBER})_(?P<file>.+)",
        example=(
            "de_la_cruzana_LATE_4711_9001_02_lab.ipynb",
            {"name": "de_la_cruzana", "late": "_LATE", "number": "4711", "upload": "9001", "file": "02_lab.ipynb"},
        ),
    ),
    Format(  # anonymous grading
        "Canvas",
        "file",
        rf"(?P<late>LATE_)?(?P<name>anon)_(?P<number>[0-9A-Za-z]{{5}})_(?P<upload>{_NUMBER})_(?P<file>.+)",
        example=(
            "LATE_anon_x7Yz2_9001_lab.ipynb",
            {"name": "anon", "late": "LATE_", "number": "x7Yz2", "upload": "9001", "file": "lab.ipynb"},
        ),
    ),
    Format(  # who wrote into the text field, or gave a link
        "Canvas",
        "file",
        rf"(?P<name>.+?)(?<!_LATE)(?P<late>_LATE)?_(?P<number>{_NUMBER})_(?P<file>(?:text|link)\.html)",
        example=("pascalblaise_4712_link.html", {"name": "pascalblaise", "number": "4712", "file": "link.html"}),
    ),
    Format(
        "Brightspace",
        "folder",
        _BRIGHTSPACE,
        _BRIGHTSPACE_TIMES,
        example=(
            "31415-6203 - Ada Lovelace - Oct 5, 2026 1123 PM",
            {"name": "Ada Lovelace", "number": "31415", "time": "Oct 5, 2026 1123 PM"},
        ),
    ),
    Format(
        "Brightspace",
        "file",
        rf"{_BRIGHTSPACE} - (?P<file>.+)",
        _BRIGHTSPACE_TIMES,
        example=(
            "31415-6203 - Ada - Oct 5, 2026 902 AM - lab.ipynb",
            {"name": "Ada", "number": "31415", "time": "Oct 5, 2026 902 AM", "file": "lab.ipynb"},
        ),
    ),
    Format(
        "Blackboard",
        "file",
        r"(?:(?!_attempt_\d{4}-).)+_(?P<name>[^_]+)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>.+)|\.txt)",
        ("%Y-%m-%d-%H-%M-%S",),
        example=(
            "Lab_2_al123_attempt_2026-10-05-23-23-10_02_lab.ipynb",
            {"name": "al123", "time": "2026-10-05-23-23-10", "file": "02_lab.ipynb"},
        ),
    ),
    Format(
        "ILIAS",
        "path",
        r"(?:[^/]+/)*?(?:Submissions|Abgaben)/(?:Team[ _]\d+/)?(?P<name>[^/_]+_[^/_]+_[^/]+)_(?P<number>\d+)/",
        example=("Lab/Abgaben/Team 5/Lovelace_Ada_al_123/", {"name": "Lovelace_Ada_al", "number": "123"}),
    ),
    Format(
        "Gradescope",
        "folder",
        r"submission_(?P<number>\d+)",
        example=("submission_271828", {"number": "271828"}),
    ),
    Format(  # the folder "inbound" of an exchange, a folder for every time that somebody submits
        "nbgrader",
        "folder",
        r"(?P<name>[^+]+)\+[^+]+\+(?P<time>\d{4}-\d\d-\d\d \d\d[:_]\d\d[:_]\d\d)(?:\.\d+)?"
        r"(?: (?:(?P<utc>UTC)|[^+]+))?(?:\+.+)?",
        ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H_%M_%S"),
        example=(
            "ada+02_lab+2026-10-05 12:00:00.000000 UTC+Zm9v",
            {"name": "ada", "time": "2026-10-05 12:00:00", "utc": "UTC"},
        ),
    ),
    Format(  # the files of a class's folder in Google Drive; only where the file is the lab's, or the name is known
        "Google Classroom",
        "file",
        r"(?P<name>[^-].*?) - (?P<file>.+)",
        example=("Ada Lovelace - 02_lab.ipynb", {"name": "Ada Lovelace", "file": "02_lab.ipynb"}),
    ),
)


@dataclass(frozen=True)
class Reading:
    """What a name says, by one format. What it does not say is empty or None."""

    format: Format
    name: str = ""
    number: str = ""
    file: str = ""
    upload: int = 0
    time: datetime | None = None  # without a zone, or in UTC
    late: bool = False

    @property
    def who(self) -> str:
        """The person, as the archive has it."""
        return "_".join(filter(None, (self.name, self.number))) if self.name else f"submission_{self.number}"


def readings(text: str, part: str) -> list[Reading]:
    """All that a part of a path may say; empty if no system names files so."""
    found = []
    for form in (form for form in FORMATS if form.part == part):
        match, own = _match(form, text, 1), len(text)
        while match:
            found.append(_reading(form, match))
            if "(?P<name>.+?)" not in form.pattern:
                break
            # what by one way to read it is the file's own name, a student has chosen: nobody else's name reaches there
            own = min(own, match.start("file") - 1) if "file" in match.groupdict() else own
            match = _match(form, text, len(match["name"]) + 1)
            match = match if match and match.end("name") < own else None
    return found


def _match(form: Format, text: str, shortest: int) -> re.Match | None:
    pattern = form.pattern.replace("(?P<name>.+?)", f"(?P<name>.{{{shortest},}}?)")
    return re.match(pattern, text) if form.part == "path" else re.fullmatch(pattern, text)


def _reading(form: Format, match: re.Match) -> Reading:
    fields = {field: value for field, value in match.groupdict().items() if value}
    fields["upload"] = int(fields.get("upload", 0))
    fields["late"] = "late" in fields
    fields["time"] = next(filter(None, (time_in(fields.get("time"), written) for written in form.times)), None)
    if fields.pop("utc", None) and fields["time"]:
        fields["time"] = fields["time"].replace(tzinfo=UTC)
    return Reading(form, **fields)


def time_in(text: str | None, written: str) -> datetime | None:
    """The time that a text says in strptime's way; None if it says none."""
    if text is None:
        return None
    text = " ".join(text.replace(".", "").split())
    # strptime takes "1123" as hours and minutes, but of "902" it would make 90 and 2
    text = re.sub(r"(?<= )(\d)(\d\d)(?=( [AP]M)?$)", r"0\1\2", text.replace(",", ", ").replace("  ", " "))
    try:
        time = datetime.strptime(text, written)
    except ValueError:
        return None
    return time if is_sensible(time) else None


def is_sensible(time: datetime) -> bool:
    """Whether a system can have meant that time; what is far off cannot be computed with."""
    return 1970 < time.year < 9999
