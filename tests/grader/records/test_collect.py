"""Archives of learning systems, and folders as people lay them: nobody is lost, and nobody becomes somebody else."""

from __future__ import annotations

import io
import json
import random
import re
import stat
import struct
import tracemalloc
import unicodedata
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
import yaml
from click.testing import CliRunner

from autograder.cli import main
from autograder.errors import CourseError
from autograder.labs.build import release
from autograder.labs.lab import Lab
from autograder.processes import limited
from autograder.records import archives
from autograder.records.collect import Collected, collect
from autograder.records.origins import LIST, collected, without_notebook
from autograder.records.roster import Person, Roster
from autograder.records.system_names import FORMATS, readings


@pytest.fixture(scope="module")
def book(mini: Lab):
    """The bytes of a notebook of the mini lab that bears a mark."""
    raw = json.loads(nbformat.writes(release(mini)))

    def make(mark: str = "") -> bytes:
        return json.dumps(raw | {"mark": mark}).encode()

    return make


def mark(folder: Path, student: str) -> str:
    return json.loads((folder / student / "00_mini.ipynb").read_text())["mark"]


def zipped(path: Path, members: dict[str, bytes | zipfile.ZipInfo]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def inner_zip(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


@pytest.fixture
def take(mini: Lab, book, tmp_path):
    """Collects from an archive, and from a folder with the same files: the same comes of both. What is in a file: a
    text (a notebook marked with it), bytes, or the files of an archive."""

    def made(content: str | bytes | dict) -> bytes:
        if isinstance(content, dict):
            return inner_zip({name: made(inner) for name, inner in content.items()})
        return book(content) if isinstance(content, str) else content

    def run(members: dict[str, str | bytes | dict], roster: Roster | None = None) -> Collected:
        files = {name: made(content) for name, content in members.items()}
        for name, data in files.items():
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(data)
        from_folder = collect(tmp_path / "in", mini, tmp_path / "from folder", roster)
        done = collect(zipped(tmp_path / "in.zip", files), mini, tmp_path / "inbox", roster)
        assert (from_folder.taken, sorted(from_folder.refused)) == (done.taken, sorted(done.refused))
        ended = {"/".join(source.parts[: source.outer]) for source in done.ends}
        assert ended == {unicodedata.normalize("NFC", name) for name in members}, "every file has an end"
        return done

    return run


# --- the table of formats


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.system}, {form.part}")
def test_each_format_reads_its_example(form):
    text, fields = form.example
    (said,) = [r for r in readings(text, form.part) if r.format is form][:1]
    assert {k: fields[k] for k in ("name", "number", "file") if k in fields} == {
        k: getattr(said, k) for k in ("name", "number", "file") if k in fields
    }
    assert said.upload == int(fields.get("upload", 0))
    assert said.late == ("late" in fields)
    assert (said.time is not None) == ("time" in fields)
    assert (said.time is not None and said.time.tzinfo is UTC) == ("utc" in fields)


@pytest.mark.parametrize(
    ("text", "part", "time"),
    [
        ("1-2 - A - Oct 5, 2026 1123 PM", "folder", datetime(2026, 10, 5, 23, 23)),
        ("1-2 - A - Oct 6, 2026 902 AM", "folder", datetime(2026, 10, 6, 9, 2)),
        ("1-2 - A - October 6, 2026 1202 AM", "folder", datetime(2026, 10, 6, 0, 2)),
        ("1-2 - A - 6 October, 2026 2102", "folder", datetime(2026, 10, 6, 21, 2)),
        ("1-2 - A - Oct. 6, 2026 9 02 AM", "folder", None),
        ("L_al_attempt_2026-10-05-23-23-10.txt", "file", datetime(2026, 10, 5, 23, 23, 10)),
    ],
)
def test_times_in_names(text, part, time):
    assert readings(text, part)[0].time == time


# --- whole archives: what lies in them, and who is taken with which notebook

ARCHIVES = {
    "nbgrader, the folder inbound of an exchange": (
        {
            "inbound/ada+00_mini+2026-10-05 09:00:00.000000 UTC+Zm9v/00_mini.ipynb": "older",
            "inbound/ada+00_mini+2026-10-12 08:00:00.000000 UTC+YmFy/00_mini.ipynb": "newer",
            "inbound/bob+00_mini+2026-10-05 09_00_00.000000 UTC/00_mini.ipynb": "b",
        },
        {"ada": "newer", "bob": "b"},
    ),
    "two folders around those of the people": (
        {f"OneDrive/Lab 2/{who}/00_mini.ipynb": who for who in ("ada", "bob", "cy")},
        {"ada": "ada", "bob": "bob", "cy": "cy"},
    ),
    "Brightspace, without a space behind the name": (
        {
            "1-2 - Alan Turing- 5 October, 2026 1123/lab.ipynb": "older",
            "1-2 - Alan Turing- 12 October, 2026 923/lab.ipynb": "newer",
        },
        {"Alan Turing_1": "newer"},
    ),
    "Canvas": (
        {
            "lovelaceada_4711_999_00_mini.ipynb": "older",
            "lovelaceada_4711_1001_00_mini-1.ipynb": "newer",  # 1001 is more than 999, as a text it is less
            "pascalblaise_LATE_4712_1002_my_notebook.ipynb": "late",
            "pascalblaise_LATE_4712_1003_notes.pdf": b"%PDF",
            "de_la_cruzana_4713_1004_00_mini.ipynb": "a name with _",
        },
        {"lovelaceada_4711": "newer", "pascalblaise_4712": "late", "de_la_cruzana_4713": "a name with _"},
    ),
    "Canvas, the lab's own name": (
        {"ada_4711_1001_00_mini.ipynb": "lab", "ada_4711_1002_scratch.ipynb": b'{"cells": []}'},
        {"ada_4711": "lab"},
    ),
    "Canvas, groups and anonymous": (
        {
            "team_1_55_1004_00_mini.ipynb": "1",
            "team_1_56_1005_00_mini.ipynb": "2",
            "anon_12345_1006_00_mini.ipynb": "3",
            "anon_x7Yz2_1007_00_mini.ipynb": "4",
            "LATE_anon_aB3dE_1008_00_mini.ipynb": "5",
        },
        {"team_1_55": "1", "team_1_56": "2", "anon_12345": "3", "anon_x7Yz2": "4", "anon_aB3dE": "5"},
    ),
    "Canvas, own names that begin with numbers": (
        {"ada_4711_1001_2_mine.ipynb": "a", "bob_4712_1002_00_mini.ipynb": "b", "cyd_4713_1003_0_x.ipynb": "c"},
        {"ada_4711": "a", "bob_4712": "b", "cyd_4713": "c"},
    ),
    "Canvas, in a folder around": (
        {"submissions/ada_1_10_00_mini.ipynb": "a", "submissions/bob_2_11_00_mini.ipynb": "b"},
        {"ada_1": "a", "bob_2": "b"},
    ),
    "Canvas, litter behind a prefix": (
        {
            "ada_4711_1001_00_mini.ipynb": "right",
            "ada_4711_1002_._00_mini.ipynb": "litter",
            "ada_4711_1003_00_mini-checkpoint.ipynb": "litter",
            "ada_4711_1004_00_mini-checkpoint-1.ipynb": "litter",
        },
        {"ada_4711": "right"},
    ),
    "Canvas, zip archives handed in": (
        {
            "ada_4711_1001_lab.zip": {"lab/00_mini.ipynb": "a", "lab/.ipynb_checkpoints/x.ipynb": b"", "m.md": b""},
            "bob_4712_1002_00_mini.ipynb": "b",
        },
        {"ada_4711": "a", "bob_4712": "b"},
    ),
    "Moodle": (
        {
            "Ada Lovelace_123456_assignsubmission_file_/00_mini.ipynb": "a",
            "Ada Lovelace_123456_assignsubmission_file_/scratch.ipynb": b'{"cells": []}',
            "José Ñandú_123457_assignsubmission_file/work/00_mini.ipynb": "j",
            "Team 1-Bo Ek_123458_assignsubmission_file_/00_mini.ipynb": "b",
            "Participant_123459_assignsubmission_file_/00_mini.ipynb": "p",
            "__MACOSX/x_1_assignsubmission_file_/._00_mini.ipynb": b"litter",
        },
        {
            "Ada Lovelace_123456": "a",
            "José Ñandú_123457": "j",
            "Team 1-Bo Ek_123458": "b",
            "Participant_123459": "p",
        },
    ),
    "Moodle without folders": (
        {
            "Ada Lovelace_123456_assignsubmission_file_00_mini.ipynb": "a",
            "Blaise Pascal_123457_assignsubmission_file_my_own.ipynb": "b",
            "Blaise Pascal_123457_assignsubmission_onlinetext_onlinetext.html": b"<p>",
        },
        {"Ada Lovelace_123456": "a", "Blaise Pascal_123457": "b"},
    ),
    "Brightspace": (
        {
            "31415-6203 - Ada Lovelace - Oct 5, 2026 1123 PM/00_mini.ipynb": "older",
            "31415-6203 - Ada Lovelace - Oct 6, 2026 902 AM/00_mini final.ipynb": "newer",
            "31415-6203 - Blaise Pascal - Oct 5, 2026 1040 AM/00_mini.ipynb": "b",
            "27182-6203 - Cyd - 5 oktobra 2026 1040/00_mini.ipynb": "c",
            "index.html": b"<html>",
        },
        {"Ada Lovelace_31415": "newer", "Blaise Pascal_31415": "b", "Cyd_27182": "c"},
    ),
    "Blackboard": (
        {
            "Lab_0_al123_attempt_2026-10-05-23-23-10.txt": b"Name: Ada",
            "Lab_0_al123_attempt_2026-10-05-23-23-10_00_mini.ipynb": "older",
            "Lab_0_al123_attempt_2026-10-06-01-00-00_00_mini.ipynb": "newer",
            "Lab_0_bp9_attempt_2026-10-05-23-23-10_x.ipynb": "b",
        },
        {"al123": "newer", "bp9": "b"},
    ),
    "ILIAS": (
        {
            "Lab 0/Abgaben/Lovelace_Ada_al_123/20261005112300_00_mini.ipynb": "older",
            "Lab 0/Abgaben/Lovelace_Ada_al_123/20261006112300_00_mini.ipynb": "newer",
            "Lab 0/Abgaben/Team 7/Pascal_Blaise_bp_124/20261005112300_00_mini.ipynb": "b",
            "Lab 0/status.xlsx": b"PK",
        },
        {"Lovelace_Ada_al_123": "newer", "Pascal_Blaise_bp_124": "b"},
    ),
    "Gradescope": (
        {
            "assignment_1_export/submission_metadata.yml": (
                b"submission_11:\n  :submitters:\n  - :name: Ada\n    :email: ada@x.org\n    :sid: '1'\n"
                b"  :created_at: 2026-10-05 21:23:00 Z\n"
                b"submission_12:\n  :submitters:\n  - :name: Bob\n    :email: bob@x.org\n  - :name: Cyd\n"
            ),
            "assignment_1_export/submission_11/00_mini.ipynb": "a",
            "assignment_1_export/submission_12/00_mini.ipynb": "both",
        },
        {"ada@x.org": "a", "bob@x.org": "both", "Cyd": "both"},
    ),
    "Gradescope, the list left out": (
        {"export/submission_11/00_mini.ipynb": "a", "export/submission_12/00_mini.ipynb": "b"},
        {"submission_11": "a", "submission_12": "b"},
    ),
    "Google Classroom": (
        {"Ada Lovelace - 00_mini.ipynb": "a", "Bo-Li Ek - Copy of 00_mini.ipynb": "b"},
        {"Ada Lovelace": "a", "Bo-Li Ek": "b"},
    ),
    "Teams": (
        {
            "Submitted files/Ada/Lab 0/Version 2/00_mini.ipynb": "older",
            "Submitted files/Ada/Lab 0/Version 10/00_mini.ipynb": "newer",
            "Submitted files/Bob/Lab 0/Version 1/00_mini.ipynb": "b",
        },
        {"Ada": "newer", "Bob": "b"},
    ),
    "GitHub Classroom": (
        {
            "lab-0-submissions/lab-0-ada/00_mini.ipynb": "a",
            "lab-0-submissions/lab-0-ada/.git/HEAD": b"ref",
            "lab-0-submissions/lab-0-bob/notebooks/00_mini.ipynb": "b",
        },
        {"lab-0-ada": "a", "lab-0-bob": "b"},
    ),
    "an archive for each": (
        {"ada.zip": {"x/00_mini.ipynb": "a"}, "bob.zip": {"00_mini.ipynb": "b", "__MACOSX/._00_mini.ipynb": b""}},
        {"ada": "a", "bob": "b"},
    ),
    "folders": (
        {"ada/00_mini.ipynb": "a", "bob/x/other.ipynb": "b", "bob/.ipynb_checkpoints/c.ipynb": "c"},
        {"ada": "a", "bob": "b"},
    ),
    "a folder around": (
        {"submissions/ada/00_mini.ipynb": "a", "submissions/bob/00_mini.ipynb": "b", "submissions/x.txt": b"x"},
        {"ada": "a", "bob": "b"},
    ),
    "two folders around, and one person": ({"Downloads/in/ada/00_mini.ipynb": "a"}, {"ada": "a"}),
    "folders named by the lab and the person": (
        {"all/00_mini-ada/00_mini.ipynb": "a", "all/00_mini-bob/x.ipynb": "b"},
        {"00_mini-ada": "a", "00_mini-bob": "b"},
    ),
    "sections": (
        {"mon/ada/00_mini.ipynb": "a", "mon/bob/00_mini.ipynb": "b", "tue/cyd/00_mini.ipynb": "c"},
        {"ada": "a", "bob": "b", "cyd": "c"},
    ),
    "nbgrader's folders": (
        {"submitted/ada/00_mini/00_mini.ipynb": "a", "submitted/bob/00_mini/00_mini.ipynb": "b"},
        {"ada": "a", "bob": "b"},
    ),
    "an old copy in a folder of its own": (
        {"ada/00_mini.ipynb": "a", "ada/old/00_mini.ipynb": "old", "bob/00_mini.ipynb": "b"},
        {"ada": "a", "bob": "b"},
    ),
    "other scripts": (
        {
            "रीता/00_mini.ipynb": "1",
            "रूता/00_mini.ipynb": "2",
            "Jose\u0301/00_mini.ipynb": "3",
            "王小明/00_mini.ipynb": "4",
            "[Ada] (1) & co/00_mini.ipynb": "5",
        },
        {"रीता": "1", "रूता": "2", "Jos\u00e9": "3", "王小明": "4", "[Ada] (1) & co": "5"},
    ),
    "suffixes as programs write them": (
        {
            "ada/00_mini.IPYNB": "1",
            "bob/00_mini.ipynb.txt": "2",
            "cyd/00_mini.json": "3",
            "dan/00_mini": "4",
            "eve/00_mini.ipynb.json": "5",
            "fay/00_mini (1).ipynb": "6",
            "fay/notes.txt": b"notes",
        },
        {"ada": "1", "bob": "2", "cyd": "3", "dan": "4", "eve": "5", "fay": "6"},
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(name, take, tmp_path):
    members, students = ARCHIVES[name]
    done = take(members)
    assert {student: mark(tmp_path / "inbox", student) for student in done.taken} == students
    assert (done.refused, done.without, done.complete) == ([], {}, True)


# --- who is left without a notebook, and what is nobody's


@pytest.mark.parametrize(
    ("members", "refused", "without"),
    [
        ({"ada/00_mini.py": b"x = 1", "bob/00_mini.ipynb": "b"}, ["ada/00_mini.py: it is no notebook"], ["ada"]),
        (
            {"ada/lab.html": b"<p>", "ada/lab.pdf": b"%PDF", "bob/m.ipynb": "b"},
            ["ada/lab.html", "ada/lab.pdf"],
            ["ada"],
        ),
        ({"ada/x.7z": b"7z", "bob/m.ipynb": "b"}, ["ada/x.7z: a 7z archive is not opened"], ["ada"]),
        ({"ada/notes.txt": b"notes", "bob/m.ipynb": "b"}, ["ada/notes.txt: notes.txt is not a notebook"], ["ada"]),
        ({"ada_1_2_link.html": b"<a>"}, ["ada_1_2_link.html: it may be of ada_1 or ada_1_2"], []),
        ({"ada_1_text.html": b"<p>", "bob_2_3_00_mini.ipynb": "b"}, ["ada_1_text.html: it is no notebook"], ["ada_1"]),
        ({"A_1_assignsubmission_onlinetext/onlinetext.html": b"<p>"}, ["A_1_assignsubmission_onlinetext"], ["A_1"]),
        ({"ada/00_mini-checkpoint.ipynb": "old", "bob/m.ipynb": "b"}, ["ada/00_mini-checkpoint.ipynb"], ["ada"]),
        ({"ada/bad.zip": b"PK\x03\x04", "bob/m.ipynb": "b"}, ["ada/bad.zip: it is no zip archive"], ["ada"]),
        ({"ada/empty.zip": {}, "bob/m.ipynb": "b"}, ["ada/empty.zip: it is an empty archive"], ["ada"]),
        (
            {"ada/in.zip": {"deep.zip": b"PK"}, "bob/m.ipynb": "b"},
            ["ada/in.zip/deep.zip: a zip archive within another is not opened"],
            ["ada"],
        ),
        (
            {"1-2 - Ada - 5 oktobra 2026 1123/m.ipynb": "1", "1-2 - Ada - 6 oktobra 2026 902/m.ipynb": "2"},
            ["1-2 - Ada - 5 oktobra 2026 1123/m.ipynb: which is the later one?", "1-2 - Ada - 6 oktobra 2026 902"],
            ["Ada_1"],
        ),
        ({"nobodys.ipynb": "x", "ada/m.ipynb": "a", "bob/m.ipynb": "b"}, ["nobodys.ipynb: its name does not say"], []),
        ({"notes - v2.ipynb": "x"}, ["notes - v2.ipynb: its name does not say"], []),
        ({"ada_1_10_2_mine.ipynb": "a"}, ["ada_1_10_2_mine.ipynb: it may be of ada_1 or ada_1_10"], []),
        ({"a/b/m.ipynb": "a"}, ["a/b/m.ipynb: is 'a' or 'b' the student?"], []),
        (
            {"mon/ada/m.ipynb": "1", "tue/ada/m.ipynb": "2", "tue/bob/m.ipynb": "3"},
            ["mon/ada/m.ipynb: one person or two? mon/ada, tue/ada", "tue/ada/m.ipynb: one person or two?"],
            [],
        ),
        (
            {"lab:x/m.ipynb": "1", "lab*x/m.ipynb": "2"},
            ["lab*x/m.ipynb: 'lab*x' and 'lab:x' would share", "lab:x/m"],
            [],
        ),
        ({"Ada/m.ipynb": "1", "ada/m.ipynb": "2"}, ["Ada/m.ipynb: 'Ada' and 'ada' would share", "ada/m.ipynb"], []),
        (
            {"in/m.ipynb": "template", "in/ada/m.ipynb": "1", "in/bob/m.ipynb": "2"},
            ["in/m.ipynb: its name does not"],
            [],
        ),
    ],
)
def test_who_is_left_without_a_notebook_is_named(members, refused, without, take):
    done = take(members)
    assert len(done.refused) == len(refused)
    assert all(told.startswith(start) for told, start in zip(sorted(done.refused), refused, strict=True)), done.refused
    assert list(done.without) == without
    assert not done.complete


def test_a_broken_notebook_is_taken_for_want_of_another_and_told(take, book, tmp_path):
    done = take({"ada/00_mini.ipynb": b"{", "bob/00_mini.ipynb": b"", "bob/mine.ipynb": "whole"})
    assert done.taken == {"ada": "ada/00_mini.ipynb", "bob": "bob/mine.ipynb"}
    assert "taken all the same: 00_mini.ipynb is not a notebook" in done.without["ada"]
    assert "is empty" in next(told for told in done.ended("passed over") if told.startswith("bob/00_mini.ipynb"))


def test_a_broken_notebook_does_not_replace_a_whole_one_from_before(mini, book, tmp_path):
    first = {
        "ada/00_mini.ipynb": book("whole"),
        "bob/00_mini.ipynb": b"{",
        "cyd/m.ipynb": book(),
        "dan/m.ipynb": book(),
    }
    collect(zipped(tmp_path / "one.zip", first), mini, tmp_path / "inbox")
    second = {"ada/00_mini.ipynb": b"", "bob/00_mini.ipynb": b"[", "cyd/m.rar": b"Rar!", "eve/m.ipynb": book()}
    done = collect(zipped(tmp_path / "two.zip", second), mini, tmp_path / "inbox")
    assert mark(tmp_path / "inbox", "ada") == "whole"
    assert done.without["ada"] == "00_mini.ipynb is empty; the notebook from before stays"
    assert done.without["bob"].startswith("taken all the same: ") and done.renewed == ["bob"]
    assert done.without["cyd"].endswith("; the notebook from before stays")
    assert done.refused == [
        "ada/00_mini.ipynb: 00_mini.ipynb is empty",
        "cyd/m.rar: a rar archive is not opened",
    ]
    assert (done.before, list(done.taken)) == (["ada", "cyd", "dan"], ["bob", "eve"])


def test_who_handed_in_no_notebook_is_in_the_list_until_there_is_one(mini, book, tmp_path):
    inbox = tmp_path / "inbox"
    first = {"ada/00_mini.ipynb": book(), "bob/m.rar": b"Rar!", "cyd/a.pdf": b"%PDF"}
    collect(zipped(tmp_path / "one.zip", first), mini, inbox)
    problems = {row["student"]: row["problem"] for row in collected(inbox)}
    assert problems["ada"] == "" and problems["cyd"] == "a.pdf: it is no notebook"
    assert problems["bob"] == "m.rar: a rar archive is not opened"
    assert list(without_notebook(inbox, "00_mini", {"ada"}, None)) == ["bob", "cyd"]
    assert list(without_notebook(inbox, "00_mini", {"bob"}, None)) == ["cyd"], "bob's was laid there by hand"
    assert without_notebook(inbox, "01_other", (), None) == {}
    collect(zipped(tmp_path / "two.zip", {"bob/m.ipynb": book(), "ada/m.rar": b"Rar!"}), mini, inbox)
    assert list(without_notebook(inbox, "00_mini", (), None)) == ["cyd"], "ada's notebook from before stays"


def test_a_list_of_an_earlier_kit_is_read(tmp_path):
    (tmp_path / LIST).write_text("student,lab,time,late,source,archive\nada,00_mini,,,ada/m.ipynb,in.zip\n")
    assert collected(tmp_path)[0]["problem"] == "" and without_notebook(tmp_path, "00_mini", (), None) == {}


def test_a_notebook_of_another_lab_is_not_taken_for_this_one(take, mini):
    folder = mini.root / "solutions" / "01_other"
    folder.mkdir(exist_ok=True)
    marked = "### BEGIN SOLUTION\nhalve = 1\n### END SOLUTION\n"
    (folder / "01_other.py").write_text('# %% nbgrader={"grade_id": "halve", "solution": true}\n' + marked)
    cell = {"cell_type": "code", "source": "", "metadata": {"nbgrader": {"grade_id": "halve"}}}
    other = json.dumps({"cells": [cell]}).encode()
    try:
        done = take({"ada/00_mini.ipynb": other, "bob/00_mini.ipynb": "b", "bob/01_other.ipynb": other})
    finally:
        (folder / "01_other.py").unlink()
    assert done.refused == ["ada/00_mini.ipynb: it is a notebook of 01_other"]
    assert done.ended("passed over") == ["bob/01_other.ipynb: it is a notebook of 01_other"]


# --- names in zip archives


def test_utf_8_names_without_the_flag_that_says_so(mini, book, tmp_path):
    path = zipped(tmp_path / "in.zip", {"Jos\u00e9/00_mini.ipynb": book(), "r\u016ft\u0101/00_mini.ipynb": book()})
    content = bytearray(path.read_bytes())
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(sign)
        while at >= 0:
            content[at + flags + 1] &= ~0x08
            at = content.find(sign, at + 1)
    path.write_bytes(content)
    assert zipfile.ZipFile(path).namelist()[0] != "Jos\u00e9/00_mini.ipynb"
    assert list(collect(path, mini, tmp_path / "inbox").taken) == ["Jos\u00e9", "r\u016ft\u0101"]


def test_names_of_an_old_windows(mini, book, tmp_path):
    path = zipped(tmp_path / "in.zip", {"J_rg/00_mini.ipynb": book(), "Bob/00_mini.ipynb": book()})
    path.write_bytes(path.read_bytes().replace(b"J_rg/", b"J\x94rg\\"))  # ö in the code page of DOS
    assert list(collect(path, mini, tmp_path / "inbox").taken) == ["Bob", "J\u00f6rg"]


# --- with a roster

CLASS = Roster(
    [
        Person("ada", name="Ada Lovelace", id="4711", email="ada@x.org", participant="123456"),
        Person("blaise", name="Pascal, Blaise", id="4712", login="bp9"),
        Person("jl", name="Jean-Luc Li", id="4713"),
        Person("team", name="Bo Ek", id="5001"),
        Person("team", name="Cyd Om", id="5002"),
    ]
)


@pytest.mark.parametrize(
    "members",
    [
        {"lovelaceada_4711_10_00_mini.ipynb": "a", "pascalblaise_LATE_4712_11_x.ipynb": "b"},
        {"Ada Lovelace_1_assignsubmission_file_/m.ipynb": "a", "Blaise Pascal_2_assignsubmission_file_m.ipynb": "b"},
        {"Team 1-Ada Lovelace_1_assignsubmission_file_/m.ipynb": "a", "lab/x-bp9/m.ipynb": "b"},
        {"ADA/m.ipynb": "a", "Pascal, Blaise/m.ipynb": "b"},
        {"inbox/week/ada/deep/m.ipynb": "a", "inbox/week/blaise/m.ipynb": "b"},
        {"ada.ipynb": "a", "Blaise Pascal.ipynb": "b"},
        {"Ada Lovelace - x.ipynb": "a", "Pascal, Blaise - notes.ipynb": "b"},
        {"ada@x.org/m.ipynb": "a", "Lab_bp9_attempt_2026-10-05-23-23-10_m.ipynb": "b"},
        {"team_1_4711_10_00_mini.ipynb": "a", "team_2_4712_11_00_mini.ipynb": "b"},  # of whoever handed in for the team
        {"week-4713/ada/m.ipynb": "a", "week-4713/blaise/m.ipynb": "b"},
        {"lovelaceada_4711_10_2_mine.ipynb": "a", "pascalblaise_4712_11_3_x.ipynb": "b"},
    ],
)
def test_the_same_person_is_the_same_in_every_archive(members, take, tmp_path):
    done = take(members, CLASS)
    assert {student: mark(tmp_path / "inbox", student) for student in done.taken} == {"ada": "a", "blaise": "b"}
    assert (done.strangers, done.absent, done.complete) == ([], ["jl", "team"], True)


def test_the_people_of_a_group_share_a_folder(take, tmp_path):
    done = take({"Bo Ek_1_assignsubmission_file_/m.ipynb": "b", "Cyd Om_2_assignsubmission_file_/n.ipynb": "c"}, CLASS)
    assert list(done.taken) == ["team"]
    assert len(done.ended("passed over")) == 1


def test_who_is_not_in_the_roster_is_taken_and_told(take):
    done = take(
        {"Zoe Z_9_assignsubmission_file_/m.ipynb": "z", "Ada Lovelace_1_assignsubmission_file_/m.ipynb": "a"}, CLASS
    )
    assert done.strangers == ["Zoe Z_9"]
    assert set(done.taken) == {"Zoe Z_9", "ada"}
    assert not done.complete


def test_two_of_one_name_do_not_become_one(take):
    one = Roster([Person("ada", name="Ada Li"), Person("bob")])
    done = take({"Ada Li_1_assignsubmission_file_/m.ipynb": "1", "Ada Li_2_assignsubmission_file_/m.ipynb": "2"}, one)
    assert done.taken == {}
    assert all("'Ada Li_1' and 'Ada Li_2' would share the folder 'ada'" in told for told in done.refused)


def test_who_may_be_meant_is_named_until_a_notebook_is_laid_by_hand(mini, book, tmp_path):
    two = Roster(
        [Person("a1", name="Ada Li"), Person("a2", name="Ada Li"), Person("bob"), Person("zoe"), Person("yan")]
    )
    names = ("Ada Li_1_assignsubmission_file_/m.ipynb", "Ada Li_2_assignsubmission_file_/m.ipynb")
    archive = zipped(tmp_path / "in.zip", {name: book() for name in (*names, "Bob_3_assignsubmission_file_/m.ipynb")})
    done = collect(archive, mini, tmp_path / "inbox", two)
    assert (list(done.taken), done.doubtful, done.absent) == (["bob"], ["a1", "a2"], ["zoe", "yan"])
    for student in ("a1", "yan"):
        (tmp_path / "inbox" / student).mkdir()
        (tmp_path / "inbox" / student / "00_mini.ipynb").write_bytes(book())
    done = collect(archive, mini, tmp_path / "inbox", two)
    assert (done.before, done.doubtful, done.absent) == (["a1", "yan"], ["a2"], ["zoe"])
    assert len(done.refused) == 2 and not done.complete


# --- tricks


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def test_tricks_are_refused_by_name_and_the_rest_goes_on(mini, book, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 3 * 2**20)
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ada/00_mini.ipynb", book("ada"))
        archive.writestr("../../pwned/climbs.ipynb", b"x")
        archive.writestr("/pwned/absolute.ipynb", b"x")
        archive.writestr("C:\\pwned\\drive.ipynb", b"x")
        archive.writestr("a\\..\\..\\back.ipynb", b"x")
        archive.writestr(link("link/00_mini.ipynb"), "../ada/00_mini.ipynb")
        archive.writestr("bomb/00_mini.ipynb", bytes(2 * 2**20))
        archive.writestr("large/00_mini.ipynb", bytes(4 * 2**20))
        archive.writestr("liar/00_mini.ipynb", bytes(range(256)) * 4)
        archive.writestr("zoe/00_mini.ipynb", book("zoe"))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"liar/00_mini.ipynb") - 46  # its entry in the central directory: the size is a lie
    assert content[at : at + 4] == b"PK\x01\x02"
    content[at + 24 : at + 28] = struct.pack("<I", 7)
    path.write_bytes(content)

    done = collect(path, mini, tmp_path / "inbox")

    assert sorted(done.taken) in (["ada", "zoe"], ["ada", "liar", "zoe"])  # zipfile itself may see through the lie
    told = "\n".join(done.refused)
    for name in ("climbs", "absolute", "drive", "back", "link/", "bomb/", "large/"):
        assert name in told
    for reason in ("leads out", "it is a link", "zip bomb", "4 MiB (limit 3 MiB)"):
        assert reason in told
    assert not list(tmp_path.rglob("*pwned*"))
    assert {p.name for p in tmp_path.iterdir()} == {"in.zip", "inbox"}


def test_links_in_a_folder_are_not_followed(mini, book, tmp_path):
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "00_mini.ipynb").write_bytes(book())
    (tmp_path / "in" / "mallory").mkdir()
    (tmp_path / "in" / "mallory" / "00_mini.ipynb").symlink_to(tmp_path / "in" / "ada" / "00_mini.ipynb")
    (tmp_path / "in" / "mallory" / "round.ipynb").symlink_to("round.ipynb")
    done = collect(tmp_path / "in", mini, tmp_path / "inbox")
    assert done.taken == {"ada": "ada/00_mini.ipynb"}
    assert done.refused == [f"mallory/{name}.ipynb: it is a link, or no file" for name in ("00_mini", "round")]
    (tmp_path / "inbox" / "ada" / "00_mini.ipynb").unlink()
    (tmp_path / "inbox" / "ada" / "00_mini.ipynb").symlink_to(tmp_path / "elsewhere")
    assert "is a link to elsewhere" in collect(tmp_path / "in", mini, tmp_path / "inbox").without["ada"]
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_named_like_a_classmate_in_one_s_own_hand_in_is_one_s_own(take, tmp_path):
    name = "Ada Lovelace_1_assignsubmission_file_"
    members = {f"Mallory_9_assignsubmission_file_/{name}/00_mini.ipynb": "m", f"{name}/00_mini.ipynb": "a"}
    take(members)
    assert mark(tmp_path / "inbox", "Ada Lovelace_1") == "a"
    assert mark(tmp_path / "inbox", "Mallory_9") == "m"


@pytest.mark.parametrize(
    ("own", "bobs"),
    [
        (
            "Lab 2_eve_attempt_2026-10-05-23-23-10_x_bob_attempt_2026-10-06-10-00-00_00_mini.ipynb",
            "Lab 2_bob_attempt_2026-10-05-20-00-00_00_mini.ipynb",
        ),
        (
            "Eve_7_assignsubmission_file_x-bob_9_assignsubmission_file_00_mini.ipynb",
            "Bob_9_assignsubmission_file_a.ipynb",
        ),
        ("eve_11_9001_a_12_9999_00_mini.ipynb", "bob_12_9000_00_mini.ipynb"),
        ("eve_11_9001_x-bob_5_9999_00_mini.ipynb", "bob_12_9000_00_mini.ipynb"),
    ],
    ids=["Blackboard", "Moodle", "Canvas, by the number", "Canvas, by the name"],
)
def test_a_file_that_is_named_as_if_it_were_another_one_s_replaces_nobody_s(own, bobs, take, tmp_path):
    roster = Roster([Person("eve", name="Eve", id="11"), Person("bob", name="Bob", id="12")], Path("roster.csv"), [])
    done = take({own: "e", bobs: "b"}, roster)
    assert mark(tmp_path / "inbox", "bob") == "b"
    assert done.taken.get("eve") == own or own in " ".join(done.refused)


def test_a_time_of_one_s_own_counts_nothing(take, tmp_path):
    members: dict[str, str | dict] = {
        "Lab/Abgaben/Eve_E_eve_1/20261005120000_work.zip": {"20200101000000_00_mini.ipynb": "e"},
        "Lab/Abgaben/Bob_B_bob_2/99999999999999_00_mini.ipynb": "b",
        "Lab/Abgaben/Cem_C_cem_3/20261005120000_00_mini.ipynb": "c",
    }
    done = take(members)
    assert len(done.taken) == 3
    times = {row["student"]: row["time"] for row in collected(tmp_path / "inbox")}
    noon = "2026-10-05 12:00:00"
    assert times == {"Eve_E_eve_1": noon, "Bob_B_bob_2": "", "Cem_C_cem_3": noon}


def test_who_is_called_like_the_list_of_all_or_like_a_file_costs_nobody_else_anything(mini, book, tmp_path):
    (tmp_path / "inbox" / "dot" / "00_mini.ipynb").mkdir(parents=True)
    (tmp_path / "inbox" / "bob").write_text("somebody laid a file there")
    members = {f"{who}/00_mini.ipynb": book(who) for who in ("ada", "bob", LIST, f"{LIST}.part", "dot", "eve")}
    done = collect(zipped(tmp_path / "in.zip", members), mini, tmp_path / "inbox")
    assert sorted(done.taken) == ["ada", "eve"] and len(done.refused) == 4
    assert sorted(done.without) == ["bob", "dot"]
    problems = {row["student"]: bool(row["problem"]) for row in collected(tmp_path / "inbox")}
    assert problems == {"ada": False, "bob": True, "dot": True, "eve": False}


def test_folders_of_gradescopes_of_which_its_list_names_nobody_are_their_own(take, tmp_path):
    nobody = {":submitters": [{":email": None, ":name": None}], ":created_at": datetime(1, 1, 1)}
    listed = {"submission_11": {":submitters": []}, "submission_12": nobody, "submission_13": nobody}
    members: dict[str, str | bytes] = {f"submission_{n}/00_mini.ipynb": str(n) for n in (11, 12, 13)}
    done = take(members | {"submission_metadata.yml": yaml.safe_dump(listed).encode()})
    assert sorted(done.taken) == ["submission_11", "submission_12", "submission_13"]


@pytest.mark.parametrize("place", ["work/", "work.zip"])
def test_a_list_of_gradescopes_in_one_s_own_hand_in_claims_nobody_s(place, take, tmp_path):
    own = {":submitters": [{":email": "eve@example.org"}], ":created_at": datetime(2026, 10, 5)}
    claims = yaml.safe_dump({"submission_11": own, "submission_12": own}).encode()
    listed = {
        "submission_11": {":submitters": [{":email": "ada@example.org"}]},
        "submission_12": {":submitters": [{":email": "eve@example.org"}]},
    }
    members: dict[str, str | bytes | dict] = {
        "submission_metadata.yml": yaml.safe_dump(listed).encode(),
        "submission_11/00_mini.ipynb": "a",
        "submission_12/00_mini.ipynb": "e",
    }
    file = "submission_metadata.yml"
    members |= (
        {f"submission_12/{place}": {file: claims}}
        if place.endswith("zip")
        else {f"submission_12/{place}{file}": claims}
    )
    take(members)
    assert mark(tmp_path / "inbox", "ada@example.org") == "a"
    assert mark(tmp_path / "inbox", "eve@example.org") == "e"


def test_archives_within_that_are_damaged_or_odd_cost_their_own(mini, book, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_INNER", 20)
    monkeypatch.setattr(archives, "MAX_INNER", 2**20)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00_mini.ipynb", book("bob"))
    damaged = bytearray(memory.getvalue())
    damaged[60:90] = b"\xff" * 30
    noise = random.Random(1).randbytes(2**19)
    members = {
        "ada/00_mini.ipynb": book("ada"),
        "bob/work.zip": bytes(damaged),
        "cyd/work.zip": inner_zip({f"{n}.ipynb": b"" for n in range(21)}),
        "dan/work.zip": inner_zip({"x" * 300 + ".ipynb": book("dan")}),
        "eve/work.zip": inner_zip({f"{n}.ipynb": noise for n in range(3)}),
        "zoe/00_mini.ipynb": book("zoe"),
    }
    done = collect(zipped(tmp_path / "in.zip", members), mini, tmp_path / "inbox")
    assert {"ada", "zoe"} <= done.taken.keys() <= {"ada", "zoe", "eve"}
    told = "\n".join(
        [*done.refused, *done.without.values(), *(f"{s.name}: {why}" for s, (_, why) in done.ends.items())]
    )
    for name in ("bob", "cyd", "dan"):
        assert name in done.without
    for reason in ("Error -3", "more than 20 files", "longer than a file's can be", "have more than 0.000977 GiB"):
        assert reason in told


def bomb(size: int) -> bytes:
    """An archive with so many zeros, which says that it holds 1 MiB. zipfile unpacks a whole block of bzip2 at once."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("00_mini.ipynb", bytes(size))
    content = bytearray(memory.getvalue())
    for at in (22, content.find(b"PK\x01\x02") + 24):  # before the file, and in the directory
        content[at : at + 4] = struct.pack("<I", 2**20)
    return bytes(content)


def test_an_archive_that_is_larger_than_it_says_costs_its_own(mini, book, tmp_path, monkeypatch):
    monkeypatch.setattr(limited, "MEMORY", 64 * 2**20)
    monkeypatch.setattr(archives, "MAX_RATIO", 2**20)  # it is larger than it says, too
    members = {"ada/00_mini.ipynb": book("ada"), "eve/work.zip": bomb(2**28), "zoe/00_mini.ipynb": book("zoe")}
    done = collect(zipped(tmp_path / "in.zip", members), mini, tmp_path / "inbox")
    assert sorted(done.taken) == ["ada", "zoe"]
    assert done.without == {"eve": "00_mini.ipynb: it took more than 0.0625 GiB of memory"}


@pytest.mark.parametrize(
    "claims",
    [
        "[" * 100_000,
        "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 10}]}}\n" for n in range(1, 12)),
        "submission_11: {:submitters: [1]}",
    ],
    ids=["deep", "merged again and again", "of another shape"],
)
def test_a_list_by_the_name_of_gradescopes_costs_nobody_anything(claims, mini, book, tmp_path, monkeypatch):
    monkeypatch.setattr(limited, "SECONDS", 1.0)
    members = {f"{who}/00_mini.ipynb": book(who) for who in ("ada", "eve")}
    source = zipped(tmp_path / "in.zip", members | {"eve/submission_metadata.yml": claims.encode()})
    done = collect(source, mini, tmp_path / "inbox")
    assert sorted(done.taken) == ["ada", "eve"]
    (told,) = done.refused
    assert told.startswith("eve/submission_metadata.yml: it does not say who handed in what: ")


def test_too_many_files_are_one_line_that_says_where_they_are(mini, book, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 50)
    members = {f"Lab 2/{who}/00_mini.ipynb": book(who) for who in ("ada", "eve")}
    members |= {f"Lab 2/eve/cache/{n}/{n}.txt": b"" for n in range(60)}
    for name, content in members.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    for source in (zipped(tmp_path / "in.zip", members), tmp_path / "in"):
        told = f"{source} cannot be read: it has more than 50 files: 62, 60 of them in Lab 2/eve/cache"
        with pytest.raises(CourseError, match=f"^{re.escape(told)}$"):
            collect(source, mini, tmp_path / "inbox")


def test_an_archive_that_is_cut_off_is_not_taken_for_one_within(mini, book, tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ada/00_mini.ipynb", book("ada"))
        archive.writestr("eve/work.zip", inner_zip({"ada/00_mini.ipynb": book("of eve's")}))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CourseError, match="bytes stand before its first file, as where an archive is cut off"):
        collect(path, mini, tmp_path / "inbox")


def test_of_many_large_notebooks_one_after_the_other_is_held(mini, book, tmp_path):
    large = book("x" * 2**20)
    source = zipped(tmp_path / "in.zip", {"eve/work.zip": inner_zip({f"{n}.ipynb": large for n in range(30)})})
    tracemalloc.start()
    try:
        done = collect(source, mini, tmp_path / "inbox", Roster([Person("eve")]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "eve" in done.taken
    # the best one so far, and the next: as bytes that come and come whole, and as a message that goes
    assert peak < 6 * len(large)


def test_what_is_no_archive_is_one_line(mini, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CourseError, match=r"x\.zip cannot be read: it is no zip archive that can be opened"):
        collect(tmp_path / "x.zip", mini, tmp_path)


# --- what is kept of it


def test_the_list_says_where_everything_came_from(mini, book, tmp_path):
    name = "1-2 - Ada - Oct 5, 2026 1123 PM/00_mini.ipynb"
    one = zipped(tmp_path / "one.zip", {name: book(), "bob_LATE_1_2_00_mini.ipynb": book()})
    collect(one, mini, tmp_path / "inbox")
    assert [list(row.values()) for row in collected(tmp_path / "inbox", "00_mini")] == [
        ["Ada_1", "00_mini", "2026-10-05 23:23:00", "", name, "one.zip", ""],
        ["bob_1", "00_mini", "", "late", "bob_LATE_1_2_00_mini.ipynb", "one.zip", ""],
    ]
    assert collected(tmp_path / "inbox", "01_other") == collected(tmp_path) == []
    again = collect(zipped(tmp_path / "two.zip", {"bob_1_7_00_mini.ipynb": book("new")}), mini, tmp_path / "inbox")
    assert again.renewed == ["bob_1"]
    assert [row["source"] for row in collected(tmp_path / "inbox")] == [name, "bob_1_7_00_mini.ipynb"]
    inside = collect(tmp_path, mini, tmp_path / "inbox")  # the folder it writes to is not collected from
    assert not any(source.name.startswith("inbox/") for source in inside.ends)
    assert (tmp_path / "inbox" / LIST).is_file()


def run(mini: Lab, *arguments: object):
    return CliRunner().invoke(main, ["--root", str(mini.root), "collect", "00_mini", *map(str, arguments)])


def test_the_command_exits_with_1_if_somebody_is_left_out(mini, book, tmp_path):
    source = zipped(tmp_path / "in.zip", {"ada/a.ipynb": book(), "bob/lab.html": b"", "nobodys.ipynb": b"{}"})
    result = run(mini, source, "--to", tmp_path / "inbox")
    assert result.exit_code == 1
    assert "refused: nobodys.ipynb: its name does not say whose it is" in result.output
    assert "no notebook of bob: lab.html: it is no notebook" in result.output
    assert "1 submissions for 00_mini; 3 files: 1 taken, 0 passed over, 2 refused" in result.output


def test_a_notebook_passed_over_for_another_is_named(mini, book, tmp_path):
    source = zipped(tmp_path / "in.zip", {n: book() for n in ("ada/00_mini.ipynb", "ada/x.ipynb", "ada/.y")})
    told = run(mini, source, "--to", tmp_path / "inbox").output
    assert "passed over: ada/x.ipynb: for ada/00_mini.ipynb" in told and "ada/.y" not in told


def test_the_command_takes_a_roster_and_says_who_handed_in_nothing(mini, book, tmp_path):
    (tmp_path / "class.csv").write_text("student,id,name\nada,4711.0,Ada\nzoe,4712,Zoe\n")
    source = zipped(tmp_path / "in.zip", {"x_LATE_4711_1_00_mini.ipynb": book(), "x_4711_2_notes.ipynb": b"{}"})
    result = run(mini, source, "--to", tmp_path / "inbox", "--roster", tmp_path / "class.csv", "--verbose")
    assert result.exit_code == 0, result.output
    for words in (
        "4711.0 is read as 4711",
        "late, says the system: ada",
        "not handed in: zoe",
        "passed over: x_4711_2",
    ):
        assert words in result.output
