"""What each submission was called where it came from: by that name a learning system takes feedback back."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

FOLDER = ".collected"  # in the folder of submissions, where it is nobody's

PREFIXES = {
    # "Ada Lovelace_4711_assignsubmission_file_", a folder or the beginning of a file's name
    "moodle": re.compile(r"(?:^|.*/)(?P<prefix>[^/]*_\d+_assignsubmission_file)(?:_[^/]*|)(?:/|$)"),
    # "lovelaceada_LATE_4711_900001_"; with anonymous grading "anon_x7Yz_900001_"
    "canvas": re.compile(r"(?:^|.*/)(?P<prefix>(?:anon(?:ymous)?_(?:LATE_)?[^/_]+|[^/]*?_\d+)_\d+)_[^/]+$"),
}
"""System -> how it begins the names of files in the archives that it offers; it reads them again in the same way."""

JOINED = {"moodle": "{prefix}_/feedback.html", "canvas": "{prefix}_feedback.html"}


def remember(submissions: Path, lab: str, taken: dict[str, str]) -> None:
    """Notes what submissions were called in an archive; what is known of others stays."""
    path = Path(submissions) / FOLDER / f"{lab}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = origins(submissions, lab) | taken
    path.write_text(json.dumps(known, ensure_ascii=False, indent=1, sort_keys=True), encoding="utf-8")


def origins(submissions: Path, lab: str) -> dict[str, str]:
    """Student -> what the file was called in the archive; empty if nothing was collected."""
    path = Path(submissions) / FOLDER / f"{lab}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def pack(pages: dict[str, Path], known: dict[str, str], system: str, path: Path) -> list[str]:
    """Puts pages into a zip archive under the names by which a system finds the students.

    Args:
        pages: student -> page.
        known: see `origins`.
        system: one of `PREFIXES`.

    Returns:
        Students who are not in it, since it is not known what the system called their files.
    """
    left_out = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for student, page in pages.items():
            if match := PREFIXES[system].match(known.get(student, "")):
                archive.write(page, JOINED[system].format(prefix=match["prefix"]))
            else:
                left_out.append(student)
    return left_out
