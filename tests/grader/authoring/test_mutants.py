"""Mutants: what is changed, that each is named and graded, and that a receipt is of the lab that it is for."""

from __future__ import annotations

import ast
import contextlib

import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini

from autograder.authoring import mutants
from autograder.authoring.mutations import mutations
from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.grader import Grader
from autograder.grading.spread import Here
from autograder.labs.lab import Lab

KINDS = {
    "if 1 <= n <= 16: x": ["if 1 < n <= 16:", "if 1 <= n:", "if n <= 16:", "never: if 1 <= n <= 16:"],
    "y = a is None": ["y = not a", "y = a is not None"],
    "y = a and b": ["y = (a)", "y = (b)", "y = a or b"],
    "y = (a - b) / c": ["y = (a + b) / c", "y = (a - b) * c"],
    "y = -a": ["y = a"],
    "y = x.double()": ["y = x", "y = x.float()"],
    "y = x.to(torch.int64)": ["y = x.to(torch.int32)", "y = x"],
    "y = torch.round(x)": ["y = torch.floor(x)", "y = torch.trunc(x)", "y = torch.round_(x)"],
    "y = x.clamp(0, 255)": ["y = x.clamp(None, 255)", "y = x.clamp(0, None)", "y = x.clamp_(0, 255)"],
    "y = min(max(a, 0), 9)": ["y = min((a), 9)", "y = (max(a, 0))"],
    "y = x.sum(dim=1, keepdim=True)": [
        "y = x.sum(keepdim=True)",
        "y = x.sum(dim=1)",
        "y = x.mean(dim=1, keepdim=True)",
    ],
    "y = x.reshape(3)": ["y = x.view(3)"],
    "y = x.clone()": ["y = x"],
    "y = copy.deepcopy(m)": ["y = copy.copy(m)", "y = (m)"],
    "x = x.float()": ["without: x = x.float()"],
    "x = x + 1": ["x += 1"],
    "x[m] = 0": ["without: x[m] = 0"],
    "handle.remove()": ["without: handle.remove()"],
    "seen = []": ['seen = globals().setdefault("_kept_seen", [])'],
    "self.n = 1": ["type(self).n = 1"],
    "y = f(p, q)": ["y = f(q, p)"],
    "y = isinstance(a, int)": ["y = type(a) is int"],
    "y = isinstance(a, (int, B))": ["y = type(a) in (int, B)"],
    "y = isinstance(a, kinds)": ["y = type(a) in (kinds if type(kinds) is tuple else (kinds,))"],
    "y = [v for v in x if v]": ["y = [v for v in x if True]"],
    "for v in x: pass": ["for v in list(x)[:-1]:"],
    "with torch.no_grad(): y = 1": ["without: with torch.no_grad():"],
    "raise ValueError('no')": ["raise Exception('no')"],
    "return q, 'é', s": ["return torch.as_tensor(q).double(), 'é', s", "return q, 'é', torch.as_tensor(s).double()"],
}


def changed(source: str) -> dict[str, str]:
    return {m.name: m.source for m in mutations(source, set(range(1, 100)))}


@pytest.mark.parametrize("line", KINDS)
def test_a_line_is_changed_in_every_way(line: str):
    source = f"def f():\n    {line}\n"
    found = changed(source)
    assert set(KINDS[line]) <= found.keys()
    for mutant in found.values():
        assert mutant != source
        ast.parse(mutant)


def test_only_the_solution_is_changed_and_no_text():
    source = 'def f(x=8):\n    """Adds 1."""\n    y = x + 1\n    raise ValueError(f"{x + 1} is no 1")\n'
    assert {m.source.splitlines()[1] for m in mutations(source, {2, 3, 4})} == {'    """Adds 1."""'}
    assert all("is no 1" in m.source for m in mutations(source, {2, 3, 4}))
    assert [m.name for m in mutations(source, {4})] == ['raise Exception(f"{x + 1} is no 1")']


def test_equal_changes_at_two_places_have_two_names():
    found = changed("def f(x):\n    x = x + 1\n    x = x + 1\n")
    assert {"x = x - 1", "x = x - 1 (2)"} <= found.keys()
    assert found["x = x - 1 (2)"].splitlines()[2] == "    x = x - 1"


@pytest.fixture
def lab(tmp_path) -> Lab:
    return write_mini(tmp_path, MINI.replace('Twice x; a ValueError for a string."""', 'Twice x; refuses strings."""'))


def outcome(lab: Lab, grader: Grader) -> mutants.Outcome:
    return mutants.grade_mutants(lab, lab.exercises[:1], Here(grader))[lab.exercises[0].id]


def test_survivors_and_what_only_hidden_lines_catch_are_listed(lab, grader):
    came = outcome(lab, grader)
    assert came.mutants == len(mutants.mutants_of(lab.exercises[0]))
    assert came.only_hidden == ["never: if isinstance(x, str):", 'raise Exception("a string cannot be doubled")']
    assert list(came.survivors) == ["if type(x) is str:", "return torch.as_tensor(FACTOR * x).double()"]
    assert [fault for fault in came.faults if not fault.startswith("survives")] == [
        "only hidden lines catch 2 of 3; at most 10% may be"
    ]


def test_an_excuse_stands_in_the_docstring_or_says_why_it_is_the_same(lab, grader):
    name = "if type(x) is str:"
    path = lab.folder / mutants.EXCUSES

    def excused(name: str, reason: str) -> list[str]:
        path.write_text(f"[double]\n{name!r} = {reason!r}\n")
        return [fault for fault in outcome(lab, grader).faults if fault.startswith("survives")]

    assert len(excused(name, "refuses strings.")) == 1
    assert len(excused(name, "the same: nobody derives from str")) == 1
    with pytest.raises(CourseError, match="does not stand in the docstring of double"):
        excused(name, "refuses numbers")
    with pytest.raises(CourseError, match="does not stand in the docstring of double"):
        excused(name, "the same: ")
    with pytest.raises(CourseError, match="has no mutant 'return 17'"):
        excused("return 17", "refuses strings.")
    with pytest.raises(CourseError, match="the checks of double catch 'return FACTOR / x'"):
        excused("return FACTOR / x", "refuses strings.")


def test_a_slow_machine_does_not_make_an_excused_mutant_wrong(lab, grader, monkeypatch):
    monkeypatch.setattr(mutants, "SECONDS", 1e-4)
    name = "if type(x) is str:"
    (lab.folder / mutants.EXCUSES).write_text(f"[double]\n{name!r} = 'refuses strings.'\n")
    assert list(outcome(lab, grader).survivors) == [name]


def test_a_receipt_is_refused_when_anything_has_changed(lab, grader):
    def first_faults(lab: Lab) -> list[str]:
        return [fault for fault in mutants.receipt_faults(lab) if fault.startswith("double")]

    assert first_faults(lab) == ["double has mutants that were never graded: run `course mutants 00_mini double`"]
    came = outcome(lab, grader)
    mutants.write_receipt(lab, {"double": came, "gone": came})
    assert first_faults(lab) == [f"double: {fault}" for fault in came.faults]
    assert mutants.read_receipt(lab) == {"double": came}
    source = lab.source.read_text()
    for old, new in (("is doubled", "is twice"), ("return FACTOR * x", "return x + x"), ("FACTOR = 2", "FACTOR = 2.0")):
        lab.source.write_text(source.replace(old, new))
        changed = Lab(lab.name, lab.root)
        if old in source:
            assert "has changed since" in first_faults(changed)[0]
    lab.source.write_text(source.replace("# # Mini", "# # Mini, with another title"))
    assert "has changed since" not in first_faults(Lab(lab.name, lab.root))[0], "prose does not matter"


def test_the_command_shows_a_mutant_and_knows_the_exercises(lab):
    def run(*arguments: str):
        return CliRunner().invoke(main, ["--root", str(lab.root), "mutants", "00_mini", *arguments])

    assert "return FACTOR / x\n" in run("double", "--show", "return FACTOR / x").output
    assert "there is none with the name 'return FACTOR'; near: 'return FACTOR" in run("--show", "return FACTOR").output
    assert "'triple' is no exercise of 00_mini (double, counter)" in run("triple").output


def test_the_command_tells_excused_ones_from_holes(lab, monkeypatch):
    came = mutants.Outcome(of="", mutants=10, only_hidden=["a"], survivors={"b": "the same: b", "c": ""})
    monkeypatch.setattr(mutants, "grade_mutants", lambda *_: {"double": came})
    monkeypatch.setattr("autograder.grading.spread.open_examiners", lambda *_: contextlib.nullcontext())
    done = CliRunner().invoke(main, ["--root", str(lab.root), "mutants", "00_mini", "double"])
    assert "10 mutants: 7 caught, 1 by hidden lines only, 1 excused, 1 not" in done.output
    assert "survives: c" in done.output and "an excuse in mutants.toml" in done.output and done.exit_code == 1
