"""Who is in the class: rosters as spreadsheets and learning systems write them, and what they call people."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.errors import CourseError
from autograder.records.roster import FILE, Person, Roster, course_roster, folder_name, read_roster
from autograder.records.tables import read_table

CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Lab 2 (9),Final Score\n"
    ",,,,,Manual Posting,\n"
    "    Points Possible,,,,,10.0,(read only)\n"
    '"Lovelace, Ada",4711,SID-1,ada@x.org,Mon,,\n'
    '"Pascal, Blaise",4712,SID-2,blaise@x.org,Tue,9,\n'
    '"Student, Test",4799,,b1946ac9,Mon,,\n'
)
MOODLE = (
    "Identifier,Full name,Email address,Status,Grade,Maximum grade,Last modified (submission)\n"
    'Participant 123456,Ada Lovelace,ada@x.org,Submitted for grading,,10.00,"Monday, 5 October 2026, 11:23 PM"\n'
    "Participant 123457,Blaise Pascal,blaise@x.org,No submission,,10.00,-\n"
)
MOODLE_DE = (
    'ID,"Vollständiger Name",E-Mail-Adresse,Status,Bewertung,"Bewertung kann geändert werden",ID-Nummer\n'
    'Teilnehmer/in123456,"Ada Lovelace",ada@x.org,"Zur Bewertung abgegeben",,Ja,0042\n'
    'Teilnehmer/in123457,"Blaise Pascal",b@x.org,"Keine Abgabe",,Ja,0043\n'
)
PARTICIPANTS_DE = (
    "Vorname;Nachname;ID-Nummer;E-Mail-Adresse;Gruppen\nAda;Lovelace;0042;ada@x.org;\nBlaise;Pascal;;b@x.org;\n"
)
PARTICIPANTS = '"First name",Surname,"Email address",Groups\nAda,Lovelace,ada@x.org,"Group 1"\nBlaise,Pascal,b@x.org,\n'
GRADESCOPE = "First Name,Last Name,SID,Email,Sections\nAda,Lovelace,1,ada@x.org,\nBlaise,Pascal,2,blaise@x.org,\n"
BRIGHTSPACE = (
    "OrgDefinedId,Username,Last Name,First Name,Email,End-of-Line Indicator\n"
    "#1001,#alovelace,Lovelace,Ada,ada@x.org,#\n#1002,#bpascal,Pascal,Blaise,blaise@x.org,#\n"
)
PLAIN = "student,id,name\nada,4711,Ada Lovelace\nblaise,4712,Blaise Pascal\n"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "roster.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "folders", "calls"),
    [
        (CANVAS, ["ada@x.org", "blaise@x.org"], ["lovelaceada_4711", "4711", "Lovelace, Ada", "SID-1", "ADA@x.org"]),
        (MOODLE, ["ada@x.org", "blaise@x.org"], ["Ada Lovelace_123456", "Participant_123456", "Ada Lovelace_99"]),
        (MOODLE_DE, ["ada@x.org", "b@x.org"], ["Ada Lovelace_123456", "Teilnehmerin_123456", "0042", "ADA@X.org"]),
        (PARTICIPANTS_DE, ["ada@x.org", "b@x.org"], ["Ada Lovelace_123456", "Lovelace, Ada", "0042"]),
        (PARTICIPANTS, ["ada@x.org", "b@x.org"], ["Group 1-Ada Lovelace_5", "ada lovelace", "adalovelace"]),
        (GRADESCOPE, ["ada@x.org", "blaise@x.org"], ["Ada Lovelace", "1"]),
        (BRIGHTSPACE, ["alovelace", "bpascal"], ["Ada Lovelace", "1001", "02-mini-alovelace", "alovelace"]),
        (PLAIN, ["ada", "blaise"], ["ada", "Ada", "lovelaceada_4711", "lovelaceada_LATE_4711".replace("LATE_", "")]),
    ],
)
def test_every_system_s_list_gives_the_same_people(content, folders, calls, tmp_path):
    roster = read_roster(written(tmp_path, content))
    assert list(roster.students) == folders
    assert [roster.student(text) for text in calls] == [folders[0]] * len(calls)
    assert roster.student("Blaise Pascal") == folders[1]
    assert roster.student("somebody else") is None


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffstudent,id\nada,4711\n".encode(),
        "student\tid\nada\t4711\n".encode("utf-16"),
        "student\tid\nada\t4711\n".encode("utf-16-le"),
        b"student;id;name\nada;4711;x\n",
        b"sep=;\r\nstudent;id\r\nada;4711\r\n",
        b"sep=,\nstudent,id\nada,4711\n",
        b"student,id\nada,4711\n,,\n\n",
        b"\n\nstudent,id,,\nada,4711,,\n,,,\n",
        b" Student , ID \r\n ada , 4711 \r\n",
        b"student,id\nada,4711.0\n",
        "student,id\nada\u00a0,4711\n".encode(),
        b'student,id,name\n"ada",4711,"Lovelace, Ada; ""the first"""\n',
    ],
)
def test_what_spreadsheets_make_of_a_file(content, tmp_path):
    (person,) = read_roster(written(tmp_path, content)).people
    assert (person.student, person.id) == ("ada", "4711")


def test_what_was_changed_in_reading_is_told(tmp_path):
    assert "4711.0 is read as 4711" in read_roster(written(tmp_path, "student,id\nada,4711.0\n")).notes[0]
    assert "read as cp1252" in read_roster(written(tmp_path, "student,id\nJos\u00e9,1\n".encode("cp1252"))).notes[0]
    assert "Student, Test" in read_roster(written(tmp_path, CANVAS)).notes[0]


def test_an_address_names_the_same_folder_in_whatever_case_it_is_written(tmp_path):
    roster = read_roster(written(tmp_path, "email,name\nAda.Li@X.org,Ada Li\n"))
    assert list(roster.students) == ["ada.li@x.org"] and roster.people[0].email == "Ada.Li@X.org"
    assert roster.student("ADA.LI@X.ORG") == roster.student("Ada Li_7") == "ada.li@x.org"


def test_names_are_composed(tmp_path):
    roster = read_roster(written(tmp_path, "student,id\nJose\u0301,12\n"))
    assert list(roster.students) == ["Jos\u00e9"]
    assert roster.student("Jose\u0301") == roster.student("Jos\u00e9_3") == "Jos\u00e9"


def test_the_people_of_a_group_share_a_folder(tmp_path):
    roster = read_roster(written(tmp_path, "student,id,name\nteam_1_55,101,A B\nteam_1_55,102,C D\n"))
    assert [p.id for p in roster.students["team_1_55"]] == ["101", "102"]
    assert roster.student("101") == roster.student("C D") == "team_1_55"


def test_two_of_one_name_are_told_apart_by_their_numbers_and_never_guessed(tmp_path):
    text = "Identifier,Full name,Email address\nParticipant 1,Ada Li,a@x.org\nParticipant 2,Ada Li,b@x.org\n"
    roster = read_roster(written(tmp_path, text))
    assert roster.student("Ada Li_2") == "b@x.org"
    for call in ("Ada Li", "Ada Li_7", "Group-Ada Li_7"):
        with pytest.raises(CourseError, match=r"may be any of a@x.org, b@x.org"):
            roster.student(call)


def test_a_number_of_another_assignment_does_not_make_one_person_another(tmp_path):
    roster = read_roster(written(tmp_path, "Identifier,Full name\nParticipant 1,Ada Li\nParticipant 2,Bo Ek\n"))
    assert roster.student("Ada Li_2") == "Ada Li"


@pytest.mark.parametrize("text", ["week-2", "lab_2", "Lab 2", "section 2", "x-y_2", "lab-2-submissions"])
def test_a_number_that_is_also_an_id_does_not_make_a_person_of_a_folder(text, tmp_path):
    roster = read_roster(written(tmp_path, "student,id,name\nada,1,Ada Lovelace\nbob,2,Bob Ek\n"))
    assert roster.student(text) is None
    assert (roster.student("2"), roster.with_id("2"), roster.with_id("3"), roster.with_id("")) == (
        "bob",
        "bob",
        None,
        None,
    )


def test_an_id_behind_a_name_that_the_roster_writes_otherwise(tmp_path):
    roster = read_roster(written(tmp_path, "student,id,name\nada,4711,Ada King\nbob,4712,\n"))
    assert roster.student("lovelaceada_4711") == "ada"
    assert roster.student("ekbob_4712") == "bob"


def test_hyphens_in_names_are_no_groups(tmp_path):
    roster = read_roster(written(tmp_path, "student,name\nj,Jean-Luc Li\nl,Luc Li\n"))
    assert roster.student("Jean-Luc Li_3") == "j"
    assert roster.student("Team 4-Jean-Luc Li_3") == "j"
    assert roster.student("Team 4-Luc Li_3") == "l"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("student,id\n", "names nobody"),
        ("grade,points\n1,2\n", "no column that says who is meant"),
        ("student,id,id\nada,1,2\n", "the column 'id' stands there twice"),
        ("student,id\na,1\nb,1\n", "line 3: the id '1' stands there twice"),
        ("student,email\na,x@y.z\nb,X@Y.z\n", "line 3: the email 'X@Y.z' stands there twice"),
        ("name,section\nAda,1\nAda,2\n", "line 3: the name 'Ada' stands there twice"),
        ("student,id\nada,4711\0\n", "line 2: it holds a NUL"),
        ("student,id,name\nada,4711,Lovelace, Ada\n", "line 2: 4 cells under 3 columns"),
        ("student,id\nada,4.71E+08\n", "line 2: a spreadsheet has cut the id"),
        ("student,id\n,5\nada,4711\n,\n", None),  # everybody has an id: the folders are named by it
        ("student,name\nada,A\n,\n,B\nbob,\n", "line 4: nobody there has a student"),
    ],
)
def test_what_cannot_be_used_is_told_by_line(content, words, tmp_path):
    if words is None:
        assert list(read_roster(written(tmp_path, content)).students) == ["5", "4711"]
        return
    with pytest.raises(CourseError, match=words):
        read_roster(written(tmp_path, content))


def test_the_course_s_own_roster_is_found_and_a_named_one_wins(tmp_path):
    assert course_roster(tmp_path) is None
    (tmp_path / FILE).write_text(PLAIN)
    assert list(course_roster(tmp_path).students) == ["ada", "blaise"]
    (tmp_path / "other.csv").write_text("student\nzoe\n")
    assert list(course_roster(tmp_path, tmp_path / "other.csv").students) == ["zoe"]
    with pytest.raises(CourseError, match="cannot be read"):
        course_roster(tmp_path, tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("रीता", "रीता"),
        ("Jose\u0301 Ñandú", "José Ñandú"),
        ("a/b\\c:d", "a_b_c_d"),
        ("[x] (1) & y*?", "[x] (1) & y__"),
        (" .. ", ""),
        ("é" * 150, "é" * 100),
    ],
)
def test_folders_keep_the_letters_of_names(text, name):
    assert folder_name(text) == name


def test_a_table_keeps_lines_and_header(tmp_path):
    table = read_table(written(tmp_path, 'sep=;\nA; b\n1;"x\ny"\n\n2;\n'))
    assert (table.header, table.separator) == (["A", "b"], ";")
    assert [cells for _, cells in table.rows] == [["1", "x\ny"], ["2", ""]]
    assert [line for line, _ in table.rows] == [4, 6]


def test_people_of_one_s_own_making():
    roster = Roster([Person("ada", name="Ada", id="1"), Person("bob", id="2")])
    assert roster.student("ADA") == "ada"


def test_a_student_s_name_that_no_folder_may_have_means_the_student():
    roster = Roster([Person(folder_name("bo[1]*")), Person("cy")])
    assert roster.student("bo[1]*") == roster.student("bo[1]_") == "bo[1]_"
    assert roster.student("bo[2]*") is None


def test_two_names_that_no_folder_tells_apart_are_not_one_person(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("student,id\nbo*,1\nbo?,2\n")
    with pytest.raises(CourseError, match=r"line 3: the student 'bo\?' would have the folder of line 2, 'bo_'"):
        read_roster(path)
    path.write_text("student,id\nteam 1,1\nTeam 1,2\n")
    assert len(read_roster(path).people) == 2, "a group"


def test_somebody_of_another_list_is_found_by_ids_of_the_same_kind_first(tmp_path):
    theirs = read_roster(
        written(tmp_path, "id,sis,email,name\n42,7,a@x.org,Ada Li\n7,42,b@x.org,Bo Ek\n9,,c@x.org,Ada Li\n")
    )
    assert theirs.same(Person("ada", id="42")) == "a@x.org", "not b, whose number in another column is the same"
    assert theirs.same(Person("bo", email="B@X.org", sis="42", name="somebody else")) == "b@x.org"
    assert theirs.same(Person("c", login="9")) == "c@x.org", "an id in another column, if there is none in the same"
    assert theirs.same(Person("d", name="Bo Ek", participant="42")) == "b@x.org", "a participant's number is no id"
    assert theirs.same(Person("e", email="e@x.org")) is None
    with pytest.raises(CourseError, match=r"ada has ids of several people in .*: a@x.org, b@x.org"):
        theirs.same(Person("ada", email="a@x.org", id="7"))
    with pytest.raises(CourseError, match=r"'Ada Li' may be any of a@x.org, c@x.org"):
        theirs.same(Person("ada", name="Ada Li"))
