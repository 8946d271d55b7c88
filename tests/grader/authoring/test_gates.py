"""The gates themselves can fail: each one catches the lab that breaks it."""

from __future__ import annotations

import shutil

import pytest
from mini_course import MINI, write_mini

from autograder.authoring import gates
from autograder.labs.build import build
from autograder.labs.lab import Lab


@pytest.fixture
def lab(tmp_path) -> Lab:
    lab = write_mini(tmp_path)
    for kind, header in (
        ("wrong", "# Mistake: three times\n# Rule: the double of 3 is 6\n"),
        ("right", "# Way: other\n"),
    ):
        (lab.folder / kind).mkdir()
        for number in range(5):
            body = "3 * x" if kind == "wrong" else "x + x"
            source = f"{header}def double(x):\n    if isinstance(x, str): raise ValueError\n    return {body}\n"
            (lab.folder / kind / f"double__{number}.py").write_text(source)
    return lab


def with_source(lab: Lab, old: str, new: str) -> Lab:
    assert old in MINI
    lab.source.write_text(MINI.replace(old, new))
    return Lab(lab.name, lab.root)


def broken(gate, lab, grader) -> list[str]:
    return [v.subject for v in gate(lab, grader) if not v.holds]


def test_a_good_lab_passes(lab, grader):
    for gate in (gates.reference_scores_all, gates.release_scores_nothing, gates.alone_earns_its_own):
        assert broken(gate, lab, grader) == []
    assert broken(gates.nothing_leaks, lab, grader) == []
    assert broken(gates.order_does_not_matter, lab, grader) == []
    assert broken(gates.withheld_refuses, lab, grader) == []
    assert broken(gates.wrong_variants_lose, lab, grader) == ["counter has 0"]
    assert broken(gates.right_variants_score, lab, grader) == ["counter has 0"]


def test_a_wrong_reference_is_caught(lab, grader):
    lab = with_source(lab, "return FACTOR * x", "return 3 * x")
    assert broken(gates.reference_scores_all, lab, grader) == ["reference answers"]


def test_points_for_nothing_are_caught(lab, grader):
    free = '# %% nbgrader={"grade_id": "check_free", "grade": true, "points": 1}\npass\n\n# %% [markdown]\n# Why?\n'
    lab = with_source(lab, "# %% [markdown]\n# Why?\n", free)
    assert broken(gates.release_scores_nothing, lab, grader) == ["untouched release"]


def test_an_exercise_that_needs_another_is_caught(lab, grader):
    lab = with_source(lab, "return x * x", "return double(x) * x / 2")
    assert broken(gates.alone_earns_its_own, lab, grader) == ["counter"]


def test_a_mistake_that_keeps_its_points_or_is_told_wrongly_is_caught(lab, grader):
    harmless = (lab.folder / "right" / "double__0.py").read_text().removeprefix("# Way: other\n")
    header = "# Mistake: none\n# Rule: the double of 3 is 6\n"
    (lab.folder / "wrong" / "double__0.py").write_text(header + harmless)
    path = lab.folder / "wrong" / "double__1.py"
    path.write_text(path.read_text().replace("the double of 3 is 6", "a rule that no check has"))
    assert set(broken(gates.wrong_variants_lose, lab, grader)) == {"double__0", "double__1", "counter has 0"}


def test_a_right_variant_that_loses_is_caught(lab, grader):
    shutil.copyfile(lab.folder / "wrong" / "double__0.py", lab.folder / "right" / "double__0.py")
    path = lab.folder / "right" / "double__0.py"
    path.write_text("# Way: other\n" + path.read_text())
    assert "double__0" in broken(gates.right_variants_score, lab, grader)


def test_a_right_variant_that_takes_points_from_others_is_caught(lab, grader):
    path = lab.folder / "right" / "double__1.py"
    path.write_text(path.read_text() + "torch.randint = lambda *a, **k: 0\n")
    assert broken(gates.right_variants_score, lab, grader) == ["counter has 0", "check_counter"]


def test_a_leak_is_caught(lab, grader, monkeypatch):
    monkeypatch.setattr(gates, "release_bytes", lambda lab: lab.source.read_bytes())
    assert broken(gates.nothing_leaks, lab, grader) == ["release"]


def test_luck_is_caught(lab, grader):
    lucky = "import os\n    expect_equal(double(3), 6, f'{os.urandom(8).hex()}"
    lab = with_source(lab, 'expect_equal(double(3), 6, "the double of 3 is 6"', lucky + "'")
    assert broken(gates.order_does_not_matter, lab, grader) == ["wrong: double__0"]


def test_a_mistake_that_only_hidden_lines_catch_leaves_the_tick_green(lab, grader):
    assert broken(gates.shown_checks_catch, lab, grader) == []
    path = lab.folder / "wrong" / "double__0.py"
    path.write_text(path.read_text().replace("return 3 * x", "return 6"))  # right for 3, all that the notebook tries
    told = {v.subject: v for v in gates.shown_checks_catch(lab, grader)}
    assert [name for name, v in told.items() if not v.holds] == ["double", "00_mini", "double__0"]
    assert told["double"].message == "4 of 5 wrong variants caught; at least 90% are needed"
    assert "the double of 3 is 6" in told["double__1"].message


def test_shown_checks_are_run_as_in_a_notebook(lab, grader):
    """With seed 0, and without a second look at an input that was overwritten."""
    seed_is_0 = "torch.equal(torch.rand(2, generator=generator()), torch.rand(2, generator=torch.manual_seed(0)))"
    first_hidden = "    ### BEGIN HIDDEN TESTS\n    x = torch.randn(5"
    shown = f"    expect({seed_is_0}, 'seed 0')\n    x = torch.ones(2)\n    expect_equal(double(x), x + x, 'added')\n"
    lab = with_source(lab, first_hidden, shown + first_hidden)
    assert broken(gates.reference_scores_all, lab, grader) == ["reference answers"]  # the grader's seed is another one
    path = lab.folder / "wrong" / "double__0.py"
    path.write_text(path.read_text().replace("return 3 * x", "return x.zero_() if hasattr(x, 'zero_') else 2 * x"))
    assert "double__0" in broken(gates.shown_checks_catch, lab, grader)


def test_while_the_reference_loses_nothing_else_is_tried(lab, grader):
    lab = with_source(lab, "return FACTOR * x", "return 3 * x")
    assert [(v.gate, v.holds) for v in gates.run_gates(lab, grader, chosen=[8])] == [
        ("reference scores all", False),
        ("the other gates", False),
    ]


def test_other_seeds_draw_other_inputs(lab, grader):
    assert {v.holds for v in gates.run_gates(lab, grader, [1], seeds=2)} == {True}
    drawn = "torch.rand((), generator=generator())"
    rare = f"    expect({drawn} < 0.8, 'a rule that breaks for one seed in five')\n    ### BEGIN HIDDEN TESTS\n    x = "
    lab = with_source(lab, "    ### BEGIN HIDDEN TESTS\n    x = ", rare)
    told = [v for v in gates.run_gates(lab, grader, [1], seeds=40) if not v.holds]
    assert told, "0.8^40 is one in 7,500"
    grader.draw = 0


def test_rules_that_nobody_breaks_are_listed(lab, grader):
    told = [v.message for v in gates.wrong_variants_lose(lab, grader) if v.message.startswith("no variant breaks")]
    assert "no variant breaks: a string is refused" in told
    assert "no variant breaks: the double of 3 is 6" not in told


def test_what_is_withheld_is_asked_for(lab, grader, monkeypatch):
    assert broken(gates.withheld_refuses, lab, grader) == []
    monkeypatch.setattr(Lab, "withheld", ["torch.quantize_per_tensor"])
    allowed = "import torch\nfrom unittest import mock\ntorch.quantize_per_tensor = mock.Mock()\n"
    path = gates.Path(gates.__file__).with_name("asks.py")
    monkeypatch.setattr(gates.Path, "read_text", lambda self, **_: allowed + path.read_bytes().decode())
    assert broken(gates.withheld_refuses, lab, grader) == ["torch.quantize_per_tensor"]


def test_drift_is_caught(lab, grader):
    assert broken(gates.release_is_current, lab, grader) == ["00_mini"]
    build(lab)
    assert broken(gates.release_is_current, lab, grader) == []


PROBE = """        x = torch.tensor(at, requires_grad=True)
        Counter(0).square(x).backward()
        return x.grad

    expect_equal(gradient(3.0), 6.0, "the square's gradient at 3 is 6")
"""
VERDICT = """        x = torch.tensor(at, requires_grad=True)
        Counter(0).square(x).backward()
        return torch.equal(x.grad, torch.tensor(6.0))

    expect(gradient(3.0), "the square's gradient at 3 is 6")
"""


def test_a_probe_that_returns_a_verdict_is_caught(lab, grader):
    reference = next(c.source for c in lab.answers if c.id == "counter")
    assert "return x * x" in reference
    wrong = "# Mistake: cubes\n# Rule: the square's gradient at 3 is 6\n" + reference.replace("x * x", "x * x * x")
    for number in range(len(gates.PROBE_LIES)):
        (lab.folder / "wrong" / f"counter__{number}.py").write_text(f"{wrong}\n# {number}\n")
    assert broken(gates.lies_gain_nothing, lab, grader) == []
    gained = [v for v in gates.lies_gain_nothing(with_source(lab, PROBE, VERDICT), grader) if not v.holds]
    assert {v.message for v in gained} == {
        f"gains check_counter_gradient by lying: {lie}" for lie in ("yes", "the opposite")
    }


def test_a_check_that_computes_with_any_number_is_caught(lab, grader):
    old = "expect_equal(double(3), 6,"
    assert broken(gates.lies_gain_nothing, lab, grader) == []
    endless = with_source(lab, old, "expect_equal(sum(range(double(3))), 15,")
    told = [(v.subject, v.message) for v in gates.lies_gain_nothing(endless, grader) if not v.holds]
    assert [subject for subject, _ in told] == ["check_double"]
    assert "timeout on numbers that are whole and huge" in told[0][1]
    believing = with_source(lab, old, "expect_close(9, 6, 'nearly', within=double(3.0));" + old)
    told = [v.message for v in gates.lies_gain_nothing(believing, grader) if not v.holds]
    assert told[0] == "all points for numbers that are huge: ", "the tolerance is what the answer makes it"


def test_slips_are_told_first_and_alone_cost_no_grading(lab, grader):
    lab = with_source(lab, "# # Mini", "# # TODO")
    told = list(gates.run_gates(lab, None, [14]))
    assert [(v.gate, v.subject) for v in told[:2]] == [("nothing slips", "00_mini"), ("nothing slips", "00_mini.py")]
    first = next(gates.run_gates(lab, grader))
    assert first == told[0] and not first.holds
