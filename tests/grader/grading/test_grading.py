"""What becomes of right, wrong and broken answers on their way through candidate and examiner."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mini_course import DOUBLE, MINI, write_mini

from autograder.authoring.answered import reference_answers
from autograder.grading.grader import Grader, Submission
from autograder.grading.submission import Answers
from autograder.labs.cell import Cell
from autograder.labs.lab import Lab
from autograder.processes.examiner import Examiner


def test_right_answers_pass(grade):
    rows = grade(double=DOUBLE)
    assert {q: (r.score, r.status) for q, r in rows.items()} == {
        "check_double": (2.0, "passed"),
        "check_counter": (1.0, "passed"),
        "check_counter_gradient": (1.0, "passed"),
        "why": (0.0, "by hand"),
    }


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("def double(x):\n    return 3 * x", "failed", ["the double of 3 is 6", "expected  6", "got       9"]),
        ("def double(x):\n    return 6", "failed", ["doubling works on tensors"]),
        ("def double(x):\n    x *= 2\n    return x", "failed", ["leaves its input alone"]),
        ("def double(x):\n    return x + x", "failed", ["a string is refused", "expected  ValueError", "abab"]),
        ("def double(x):\n    return x / 0", "error", ["ZeroDivisionError", "line 2 of double"]),
        ("def double(x):\n    return helper(x)", "error", ["NameError", "helper"]),
        ("def double(x)\n    return x", "error", ["SyntaxError", "line 1"]),
        ("raise KeyError('early')", "error", ["double is missing", "KeyError"]),
        ("x = 1", "error", ["does not define double"]),
        ("double = 7", "failed", ["cannot be used", "not callable"]),
        ("def double(x):\n    while True: pass", "timeout", ["within 2 s"]),
        ("while True: pass", "error", ["did not finish within 2 s"]),
        ("import os\ndef double(x):\n    os._exit(3)", "crashed", ["exit code 3"]),
        ("import ctypes\nctypes.string_at(0)", "error", ["SIGSEGV"]),
        ("import sys\ndef double(x):\n    sys.exit()", "error", ["SystemExit"]),
        ("def double(x):\n    return input()", "error", ["EOFError"]),
        ("def double(x):\n    return object()", "failed", ["the double of 3 is 6", "<object>"]),
        ("def double(x):\n    return lambda: 6", "failed", ["<function>"]),
        ("def double(x):\n    raise NotImplementedError", "failed", ["double is written"]),
    ],
)
def test_other_answers_lose_only_their_own(grade, source, status, words):
    rows = grade(double=source)
    assert (rows["check_double"].score, rows["check_double"].status) == (0.0, status)
    for word in words:
        assert word in rows["check_double"].message
    assert rows["check_counter"].status == rows["check_counter_gradient"].status == "passed"


def test_a_call_that_swallows_the_interrupt_is_ended(grade):
    stubborn = "def double(x):\n    import time\n    while True:\n        try:\n            time.sleep(99)\n"
    rows = grade(double=stubborn + "        except BaseException:\n            continue")
    assert rows["check_double"].status == "timeout"
    assert rows["check_counter"].status == "passed", "the candidate is started anew"


def test_magics_displays_and_await_work_as_in_a_notebook(grade):
    source = "%matplotlib inline\nimport asyncio\nawait asyncio.sleep(0)\ndisplay('hello')\n" + DOUBLE
    assert grade(double=source)["check_double"].status == "passed"


def test_floods_of_output_are_cut(mini: Lab, grader: Grader):
    answers = Answers({c.id: c.source for c in mini.answers} | {"double": "print('x' * 10**7)\n" + DOUBLE})
    graded = grader.grade(Submission("student", mini, answers))
    assert graded.rows[0].status == "passed"
    assert 0 < len(graded.output["double"]) <= 20_000


LIARS = {
    "an object that equals everything": "class Liar:\n    def __eq__(self, other): return True\n    "
    "def __bool__(self): return True\n    def __array__(self, *a, **k): import numpy; return numpy.array(6)\n"
    "def double(x): return Liar()",
    "a patched expectation": "import course_utils.checks.expectations as c\nc._compare = lambda *a: None\n"
    "c.expect_equal = lambda *a, **k: None\ndef double(x): return None",
    "a patched torch": "import torch\ntorch.equal = lambda *a: True\ndef double(x): return None",
    "a tensor type of its own": "import torch\nclass T(torch.Tensor):\n    def __eq__(self, o): return True\n"
    "def double(x): return torch.zeros(5).as_subclass(T)",
    "an exit that looks like success": "import os\ndef double(x):\n    print('passed')\n    os._exit(0)",
    "a number of a derived type": "class N(int):\n    def __eq__(self, o): return True\n    __hash__ = None\n"
    "def double(x): return N(1)",
}


@pytest.mark.parametrize("name", LIARS)
def test_lies_earn_nothing(grade, name):
    rows = grade(double=LIARS[name])
    assert rows["check_double"].score == 0
    assert rows["check_counter"].status == "passed"


@pytest.mark.parametrize(
    "call",
    [
        "torch.quantize_per_tensor(torch.ones(1), 0.1, 0, torch.quint8)",
        "torch._C._VariableFunctions.quantize_per_channel(*[torch.ones(1)] * 3, 0, torch.quint8)",
        "torch.ops.aten.quantize_per_channel(*[torch.ones(1)] * 3, 0, torch.quint8)",
        "course_utils.checks.expectations.expect_raises(ValueError, print, '')",
        "expect_raises(ValueError, print, '')",
    ],
)
def test_withheld_calls_refuse_and_say_so(grade, call):
    rows = grade(double=f"import course_utils.checks.expectations\ndef double(x):\n    return {call}")
    assert rows["check_double"].status == "error"
    assert "is withheld in this lab" in rows["check_double"].message


def test_expected_values_of_hidden_checks_are_not_public(grade):
    hidden = grade(double="def double(x):\n    return x if hasattr(x, 'shape') else 2 * x")["check_double"]
    assert "expected" in hidden.message
    assert "expected" not in hidden.public
    assert "doubling works on tensors" in hidden.public
    visible = grade(double="def double(x):\n    return 7")["check_double"]
    assert visible.public == visible.message


def test_a_shown_function_that_hidden_lines_call_does_not_tell_expected_values():
    source = "def look(x):\n    1 / x\nlook(1)\n### BEGIN HIDDEN TESTS\nlook(0)\n### END HIDDEN TESTS\nlook(0)"
    check = Cell("check_look", "check", source, is_code=True)
    for is_hidden in (True, False):
        code = source if is_hidden else source.replace("look(0)\n### END", "look(2)\n### END")
        with pytest.raises(ZeroDivisionError) as error:
            exec(compile(code, "<check_look>", "exec"), {})
        assert Examiner._on_hidden_line(check, error.value) is is_hidden


def test_hidden_inputs_differ_between_submissions_and_stay_when_graded_again(grade):
    spy = "def double(x):\n    if hasattr(x, 'shape'):\n        raise RuntimeError(str(x.tolist()))\n    return 2 * x"
    first, again, other = (grade(double=s)["check_double"].message for s in (spy, spy, spy + "\n# another"))
    assert first == again
    assert first != other


def test_an_untouched_exercise_is_not_attempted(mini: Lab, grader: Grader):
    graded = grader.grade(Submission("student", mini, Answers({"double": "def double(x):\n    pass"})))
    assert [r.status for r in graded.rows] == ["failed", "missing", "missing", "missing"]


def test_a_withheld_module_takes_the_methods_of_its_objects_along(tmp_path, grader):
    """`FORMATS` holds objects that were made before anything was withheld."""
    lab = write_mini(tmp_path, MINI.replace("[course_utils.checks.expect_raises,", "[course_utils.numerics.formats,"))
    answers = reference_answers(lab)
    answers.sources["double"] = (
        "from course_utils.numerics import FORMATS\n"
        "def double(x):\n    return FORMATS['e3m4'].quantize(torch.tensor(6.0))"
    )
    row = grader.grade(Submission("ann", lab, answers)).rows[0]
    assert row.status == "error"
    assert "is withheld in this lab" in row.message


REUSED = """
    sets = [(torch.zeros(3),), (torch.ones(3),)]
    for results in reused(double, sets):
        expect_equal(results, [2 * x for x, in sets], "each call has a result of its own")
"""
KEPT = "honest, kept = double, {}\ndef "


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        (DOUBLE, "passed", ""),
        (DOUBLE + KEPT + "double(x): return kept.setdefault(id(x), honest(x))", "failed", "a result of its own"),
        (DOUBLE + KEPT + "double(x): return kept.setdefault(0, torch.zeros(3)).copy_(2 * x)", "failed", "of its own"),
        ("x = 1", "error", "does not define double"),
    ],
)
def test_storage_that_is_used_again_is_the_same_in_the_candidate(tmp_path, grader, source, status, words):
    given = MINI.replace("probe\n\nFACTOR", "probe, reused\n\nFACTOR")
    start = given.index("    expect_equal(double(3), 6,")
    end = given.index('# %% nbgrader={"grade_id": "counter"')
    lab = write_mini(tmp_path, given[:start] + REUSED.lstrip("\n") + "\n" + given[end:])
    answers = Answers({c.id: c.source for c in lab.answers} | {"double": source})
    row = grader.grade(Submission("student", lab, answers)).rows[0]
    assert row.status == status, row.message
    assert words in row.message


def test_the_graders_own_process_does_without_torch():
    """To import it takes longer than grading a lab; those processes that do so are started first, in the background."""
    modules = ("cli", "grading.cache", "records.gradebook", "grading.grader", "grading.spread")
    imports = ", ".join(f"autograder.{module}" for module in modules)
    code = f"import sys, {imports}; print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
