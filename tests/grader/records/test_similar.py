"""Which answers of a class are alike."""

from __future__ import annotations

import nbformat
from click.testing import CliRunner
from mini_course import DOUBLE, write_mini

from autograder.cli import main
from autograder.grading.grader import Submission
from autograder.grading.submission import Answers
from autograder.labs.build import answered
from autograder.labs.lab import Lab
from autograder.records.similar import Pair, grouped, similar

LONG = '''
def double(x):
    """Twice x."""
    if isinstance(x, str):
        raise ValueError("no strings")
    total, rounds = x * 0, 2
    for number in range(rounds):
        total = total + x
    check = [total - x, total - x]
    return total if len(check) == rounds else check[0] + check[1]
'''


def submission(lab: Lab, student: str, source: str) -> Submission:
    return Submission(student, lab, Answers({"double": source}))


def test_renamed_and_reformatted_code_is_alike(mini: Lab):
    renamed = LONG.replace("total", "s").replace("number", "_").replace("rounds", "n").replace("no strings", "Nein")
    renamed = renamed.replace("    for", "    # my own idea\n    for").replace("s = s + x", "s = (s + x)")
    other = DOUBLE + "\n".join(f"value_{n} = [{n}, *map(str, range({n}))]" for n in range(9))
    answers = {"ann": LONG, "bob": renamed, "cyd": other, "dan": DOUBLE, "eve": DOUBLE, "fay": "def double(:"}
    found = similar(mini, [submission(mini, student, source) for student, source in answers.items()])
    assert [(p.exercise, p.first, p.second) for p in found] == [("double", "ann", "bob")], "short ones say nothing"
    assert found[0].likeness > 0.9
    assert not [line for line in found[0].common if "total" in line]
    copied = similar(mini, [submission(mini, "ann", LONG), submission(mini, "bob", LONG)])
    assert copied[0].likeness == 1
    assert "total = total + x" in copied[0].common


def test_released_code_does_not_count(mini: Lab):
    released = next(c.source for c in mini.cells if c.id == "check_double").partition("### BEGIN")[0]
    given = "\n".join(c.source for c in mini.cells if c.kind == "given" and c.is_code and not c.explore)
    padding = "\n".join([given] * 9 + [released])
    found = similar(mini, [submission(mini, s, padding + f"\n{s} = {n}") for n, s in enumerate(("ann", "bob"))])
    assert found == []


def test_the_command_says_that_it_is_no_proof(mini: Lab, tmp_path):
    for student in ("ann", "bob"):
        (tmp_path / student).mkdir()
        nbformat.write(answered(mini, {"double": LONG}), tmp_path / student / "00_mini.ipynb")
    arguments = ["--root", str(mini.root), "similar", "00_mini", "--submissions", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "ann, bob\n  counter: the same" in result.output and "  double: the same but for names" in result.output
    assert "no proof" in result.output


def test_who_handed_in_nothing_is_no_failure(tmp_path):
    lab = write_mini(tmp_path)
    (tmp_path / "roster.csv").write_text("student\nann\nbob\ncyd\n")
    for student in ("ann", "bob"):
        (tmp_path / "inbox" / student).mkdir(parents=True)
    nbformat.write(answered(lab), tmp_path / "inbox" / "ann" / "00_mini.ipynb")
    arguments = ["--root", str(lab.root), "similar", "00_mini", "--submissions", str(tmp_path / "inbox")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0 and "not handed in: bob, cyd" in result.output, result.output
    (tmp_path / "inbox" / "bob" / "00_mini.ipynb").write_text("{")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "NOT compared: bob: 00_mini.ipynb is not a notebook" in result.output


def pair(exercise: str, first: str, second: str, likeness: float) -> Pair:
    return Pair(exercise, first, second, likeness, (f"{exercise} of {first}",))


def test_copies_are_one_group_and_others_are_alike_to_all_of_it() -> None:
    found = grouped(
        [
            *(pair("double", *two, 1.0) for two in (("ann", "bob"), ("ann", "cyd"), ("bob", "cyd"))),
            *(pair("double", one, "dan", 0.8) for one in ("ann", "bob", "cyd")),
            pair("counter", "ann", "bob", 0.9),
            pair("double", "eve", "fay", 0.75),
            pair("counter", "eve", "fay", 1.0),
        ]
    )
    assert [(g.students, g.exercises) for g in found] == [
        (("eve", "fay"), (("counter", 1.0), ("double", 0.75))),
        (("ann", "bob", "cyd"), (("double", 1.0),)),
        (("ann", "bob"), (("counter", 0.9),)),
        (("ann", "bob", "cyd", "dan"), (("double", 0.8),)),
    ]
    assert found[0].common == ("counter of eve",)
