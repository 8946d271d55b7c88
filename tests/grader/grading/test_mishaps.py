"""Honest accidents: each costs what it must and no more, and the student is told what to do.

Every mishap starts from a notebook with right answers. It changes the notebook, returns other bytes for the file, or
lays out the folder itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from autograder.grading.grader import Grader, Submission
from autograder.grading.reading import find_submissions
from autograder.labs.build import release
from autograder.labs.lab import Lab
from autograder.records.gradebook import GradeWriter
from autograder.records.rows import read_records

DOUBLE = '''def double(x):
    """Twice x: für Text ein Fehler."""
    if isinstance(x, str):
        raise ValueError
    return x + x
'''
FULL = {"check_double": 2.0, "check_counter": 1.0, "check_counter_gradient": 1.0}


@dataclass(frozen=True)
class Mishap:
    happen: Callable[[dict, Path], bytes | None]
    loses: tuple[str, ...] = ()  # questions
    told: tuple[str, ...] = ()  # words that the student reads, in each message or in the notes


MISHAPS: dict[str, Mishap] = {}


def mishap(*told: str, loses: tuple[str, ...] = ()) -> Callable:
    def register(happen: Callable[[dict, Path], bytes | None]) -> Callable:
        MISHAPS[happen.__name__] = Mishap(happen, loses, told)
        return happen

    return register


def cell(notebook: dict, grade_id: str) -> dict:
    return next(c for c in notebook["cells"] if c["id"] == grade_id)


def code(source: str, **more: object) -> dict:
    new = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, "id": "new"}
    return new | more


def answer(source: str, *told: str, loses: bool = False, name: str) -> None:
    """A mishap within the answer to ``double``."""

    def happen(notebook: dict, folder: Path) -> None:
        cell(notebook, "double")["source"] = source

    MISHAPS[name] = Mishap(happen, ("check_double",) if loses else (), told)


DOUBLE_ONLY = ("check_double",)
COUNTER_ONLY = ("check_counter", "check_counter_gradient")
ALL = tuple(FULL)


# --- cells


@mishap("double: the exercise cell was deleted", loses=DOUBLE_ONLY)
def exercise_deleted(notebook, folder):
    notebook["cells"].remove(cell(notebook, "double"))


@mishap("check_double: the check cell was deleted")
def check_deleted(notebook, folder):
    notebook["cells"].remove(cell(notebook, "check_double"))


@mishap()
def given_cells_deleted(notebook, folder):
    notebook["cells"] = [c for c in notebook["cells"] if c["id"] in ("double", "counter", "why")]


@mishap("double: 2 cells have this id")
def exercise_duplicated_with_an_old_version_above(notebook, folder):
    at = notebook["cells"].index(cell(notebook, "double"))
    notebook["cells"].insert(at, cell(notebook, "double") | {"source": "def double(x):\n    return 3 * x"})


@mishap("double: 2 cells have this id")
def exercise_duplicated_with_the_stub_below(notebook, folder):
    notebook["cells"].append(
        cell(notebook, "double")
        | {
            "source": 'def double(x):\n    """Twice x; a ValueError for a string."""\n    # YOUR CODE HERE\n'
            '    raise NotImplementedError("double")'
        }
    )


@mishap("double: 2 cells have this id")
def exercise_duplicated_with_a_broken_version_above(notebook, folder):
    at = notebook["cells"].index(cell(notebook, "double"))
    notebook["cells"].insert(at, cell(notebook, "double") | {"source": "def double(x)\n    return 3 *"})


def split(notebook, first, second):
    at = notebook["cells"].index(cell(notebook, "double"))
    whole = notebook["cells"].pop(at)
    notebook["cells"][at:at] = [whole | {"source": first}, whole | {"source": second, "id": "other"}]


@mishap("double: 2 cells have this id")
def exercise_split_within_the_function(notebook, folder):
    lines = DOUBLE.splitlines()
    split(notebook, "\n".join(lines[:3]), "\n".join(lines[3:]))


@mishap("double: 2 cells have this id")
def exercise_split_before_the_last_line(notebook, folder):
    lines = DOUBLE.splitlines()
    split(notebook, "\n".join(lines[:4]), "\n".join(lines[4:]))


@mishap("double: 2 cells have this id")
def exercise_split_between_helper_and_function(notebook, folder):
    split(notebook, "def helper(x):\n    return x + x", DOUBLE.replace("return x + x", "return helper(x)"))


@mishap("double: 2 cells have this id")
def exercise_split_between_function_and_helper(notebook, folder):
    split(notebook, DOUBLE.replace("return x + x", "return helper(x)"), "def helper(x):\n    return x + x")


@mishap("counter: the cell's id is lost")
def exercises_merged(notebook, folder):
    counter = cell(notebook, "counter")
    notebook["cells"].remove(counter)
    cell(notebook, "double")["source"] += "\n\n" + counter["source"]


@mishap("check_double: the check cell was deleted")
def exercise_merged_with_its_check(notebook, folder):
    check = cell(notebook, "check_double")
    notebook["cells"].remove(check)
    cell(notebook, "double")["source"] += "\n\n" + check["source"]


@mishap("double: the cell's id is lost")
def exercise_merged_into_the_cell_above(notebook, folder):
    double = cell(notebook, "double")
    notebook["cells"].remove(double)
    cell(notebook, "given-2")["source"] += "\n\n" + double["source"]


@mishap("counter: the cell's id is lost")
def exercise_merged_into_the_check_above(notebook, folder):
    counter = cell(notebook, "counter")
    notebook["cells"].remove(counter)
    cell(notebook, "check_double")["source"] += "\n\n" + counter["source"]


@mishap("double: the cell's id is lost")
def exercise_copied_into_a_new_cell_and_deleted(notebook, folder):
    notebook["cells"].remove(cell(notebook, "double"))
    notebook["cells"].append(code(DOUBLE))


@mishap()
def exercise_retyped_as_markdown(notebook, folder):
    cell(notebook, "double")["cell_type"] = "markdown"


@mishap()
def exercise_retyped_as_raw(notebook, folder):
    cell(notebook, "double")["cell_type"] = "raw"


@mishap()
def cells_reordered(notebook, folder):
    notebook["cells"].reverse()


@mishap("check_double: the check cell was edited")
def check_edited(notebook, folder):
    cell(notebook, "check_double")["source"] = "assert double(3) == 7"


@mishap()
def given_cell_edited(notebook, folder):
    cell(notebook, "given-2")["source"] = "FACTOR = 3\nimport numpy as torch"


@mishap("double: the cell's id is lost")
def all_metadata_stripped(notebook, folder):
    notebook["metadata"] = {}
    for each in notebook["cells"]:
        each["metadata"] = {}


@mishap("helper is defined in a cell you added, and only exercise cells are graded: move it there", loses=DOUBLE_ONLY)
def helper_in_an_added_cell(notebook, folder):
    notebook["cells"].insert(0, code("def helper(x):\n    return x + x"))
    cell(notebook, "double")["source"] = "def double(x):\n    return helper(x)"


@mishap("np is defined in a cell you added", loses=DOUBLE_ONLY)
def import_in_an_added_cell(notebook, folder):
    notebook["cells"].insert(0, code("import numpy as np"))
    cell(notebook, "double")["source"] = "def double(x):\n    return np.add(x, x)"


@mishap("cannot be used", "not callable", loses=DOUBLE_ONLY)
def name_rebound_in_a_later_exercise(notebook, folder):
    cell(notebook, "counter")["source"] += "\n\ndouble = double(21)"


@mishap()
def name_rebound_in_an_added_cell(notebook, folder):
    notebook["cells"].append(code("double = 42"))


@mishap("double still holds its stub", loses=DOUBLE_ONLY)
def one_exercise_not_attempted(notebook, folder):
    stub = 'def double(x):\n    """Twice x; a ValueError for a string."""\n    # YOUR CODE HERE\n'
    cell(notebook, "double")["source"] = stub + '    raise NotImplementedError("double")'


# --- programs that save notebooks


@mishap()
def saved_by_colab(notebook, folder):
    notebook["nbformat_minor"] = 0
    notebook["metadata"] = {
        "colab": {"provenance": [], "collapsed_sections": ["abc"], "gpuType": "T4"},
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "accelerator": "GPU",
        "widgets": {"application/vnd.jupyter.widget-state+json": {"1": {"model_name": "HTMLModel"}}},
    }
    for each in notebook["cells"]:
        each["metadata"] |= {"id": each.pop("id"), "outputId": "1b2c", "colab": {"base_uri": "https://localhost:8080/"}}
        each["source"] = each["source"].splitlines(keepends=True)


@mishap()
def saved_by_vs_code(notebook, folder):
    notebook["metadata"] = {
        "kernelspec": {"display_name": ".venv", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "version": "3.12.4", "file_extension": ".py"},
        "vscode": {"interpreter": {"hash": "31f2aee4e71d21fbe5cf8b01ff0e069b"}},
    }
    for number, each in enumerate(notebook["cells"]):
        each["id"] = f"{number:08x}"
        each["metadata"]["vscode"] = {"languageId": "python"}


@mishap()
def saved_by_jupyterlab(notebook, folder):
    notebook["metadata"]["toc-autonumbering"] = True
    for each in notebook["cells"]:
        each["metadata"] |= {"editable": True, "slideshow": {"slide_type": ""}, "collapsed": True, "scrolled": True}
        each["metadata"] |= {"jupyter": {"source_hidden": True}, "jp-MarkdownHeadingCollapsed": True, "tags": ["a"]}


@mishap()
def saved_by_classic_notebook(notebook, folder):
    notebook["nbformat_minor"] = 4
    notebook["metadata"] |= {"toc": {"base_numbering": 1}, "varInspector": {"cols": {}}, "hide_input": False}
    for each in notebook["cells"]:
        del each["id"]
        each["metadata"] |= {"ExecuteTime": {"end_time": "2026-01-01"}, "hidden": True, "run_control": {"frozen": True}}


@mishap()
def saved_as_nbformat_3(notebook, folder):
    old = nbformat.convert(nbformat.from_dict(notebook), 3)
    return json.dumps(old).encode()


for minor in range(6):

    def saved_as_an_old_minor_version(notebook, folder, minor=minor):
        notebook["nbformat_minor"] = minor
        for each in notebook["cells"]:
            if minor < 5:
                del each["id"]
            if minor < 2:
                each["metadata"]["collapsed"] = False

    MISHAPS[f"saved_as_nbformat_4_{minor}"] = Mishap(saved_as_an_old_minor_version)


@mishap()
def cell_ids_doubled(notebook, folder):
    for each in notebook["cells"]:
        each["id"] = "same"


@mishap()
def another_kernel(notebook, folder):
    notebook["metadata"]["kernelspec"] = {"name": "conda-env-quant-py", "display_name": "Python [conda env:quant]"}


@mishap()
def a_kernel_of_another_language(notebook, folder):
    notebook["metadata"]["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}


@mishap()
def no_metadata_at_all(notebook, folder):
    del notebook["metadata"]


@mishap()
def run_out_of_order(notebook, folder):
    for number, each in enumerate(notebook["cells"]):
        if each["cell_type"] == "code":
            each["execution_count"] = 900 - 7 * number


@mishap()
def outputs_of_megabytes(notebook, folder):
    plot = {"output_type": "display_data", "data": {"image/png": "iVBOR" * 10**6}, "metadata": {}}
    text = {"output_type": "stream", "name": "stdout", "text": ["line\n"] * 10**5}
    cell(notebook, "double")["outputs"] = [plot, text]


@mishap()
def outputs_with_errors(notebook, folder):
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["\x1b[31mKeyError\x1b[0m"]}
    cell(notebook, "check_double")["outputs"] = [error]


# --- files


def write(notebook: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))


@mishap("the notebook is named 00_mini (1).ipynb")
def renamed_by_the_browser(notebook, folder):
    write(notebook, folder / "00_mini (1).ipynb")


@mishap("the notebook is named Übung final v2.ipynb")
def renamed_by_the_student(notebook, folder):
    write(notebook, folder / "Übung final v2.ipynb")


@mishap()
def in_a_folder_of_its_own(notebook, folder):
    write(notebook, folder / "00_mini" / "00_mini.ipynb")


@mishap()
def the_whole_course_folder_zipped(notebook, folder):
    write(notebook, folder / "course" / "notebooks" / "00_mini" / "00_mini.ipynb")
    write({}, folder / "course" / "notebooks" / "notes.ipynb")


@mishap()
def with_checkpoints(notebook, folder):
    write(notebook, folder / "work" / "00_mini.ipynb")
    write({}, folder / "work" / ".ipynb_checkpoints" / "00_mini-checkpoint.ipynb")
    write({}, folder / ".ipynb_checkpoints" / "00_mini-checkpoint.ipynb")


@mishap()
def archived_by_macos(notebook, folder):
    write(notebook, folder / "00_mini" / "00_mini.ipynb")
    (folder / "__MACOSX" / "00_mini").mkdir(parents=True)
    (folder / "__MACOSX" / "00_mini" / "._00_mini.ipynb").write_bytes(b"\x00\x05\x16\x07")


@mishap()
def two_notebooks_one_by_the_right_name(notebook, folder):
    write(notebook, folder / "00_mini.ipynb")
    write({}, folder / "00_mini-Copy1.ipynb")


@mishap("00_mini.ipynb is missing", "a.ipynb, b.ipynb", loses=ALL)
def two_notebooks_by_other_names(notebook, folder):
    write(notebook, folder / "a.ipynb")
    write(notebook, folder / "b.ipynb")


@mishap("00_mini.ipynb is missing", "no notebook", loses=ALL)
def an_empty_folder(notebook, folder):
    (folder / "readme.txt").write_text("I uploaded the wrong thing")


@mishap("00_mini.ipynb is not a notebook", "line 1", loses=ALL)
def a_web_page_instead(notebook, folder):
    return b"<!DOCTYPE html><html><body>Sign in</body></html>"


@mishap("00_mini.ipynb is not a notebook: it is not JSON", loses=ALL)
def half_an_upload(notebook, folder):
    whole = json.dumps(notebook, indent=1).encode()
    return whole[: len(whole) // 2]


@mishap("00_mini.ipynb is empty", loses=ALL)
def an_empty_file(notebook, folder):
    return b""


@mishap("00_mini.ipynb is not a notebook: it is not JSON", "line 2", loses=ALL)
def conflict_markers_in_the_file(notebook, folder):
    text = json.dumps(notebook, indent=1)
    return text.replace("{\n", "{\n<<<<<<< HEAD\n", 1).encode()


@mishap()
def windows_line_ends_in_the_file(notebook, folder):
    return json.dumps(notebook, indent=1).replace("\n", "\r\n").encode()


@mishap()
def windows_line_ends_in_the_sources(notebook, folder):
    for each in notebook["cells"]:
        each["source"] = each["source"].replace("\n", "\r\n")


@mishap()
def old_mac_line_ends_in_the_sources(notebook, folder):
    for each in notebook["cells"]:
        each["source"] = each["source"].replace("\n", "\r")


ENCODINGS = {"utf-8 with a mark": "utf-8-sig", "utf-16": "utf-16", "utf-16 big end": "utf-16-be", "latin-1": "latin-1"}
for label, encoding in ENCODINGS.items():

    def encoded(notebook, folder, encoding=encoding):
        return json.dumps(notebook, ensure_ascii=False).encode(encoding)

    MISHAPS[f"encoded as {label}"] = Mishap(encoded)


# --- what is left in an answer

answer("import warnings\n" + DOUBLE.replace("return", "warnings.warn('old')\n    return"), name="warnings")
answer("import sys\n" + DOUBLE.replace("return", "print('odd', file=sys.stderr)\n    return"), name="prints to stderr")
answer("import logging\n" + DOUBLE.replace("return", "logging.error('odd')\n    return"), name="logs")
answer("import torch\ntorch.range(0, 3)\ntorch.tensor(torch.ones(2))\n" + DOUBLE, name="warnings of torch")
answer("for i in range(20):\n    print('x' * 10**6)\n" + DOUBLE, name="prints of megabytes")
answer(DOUBLE.replace("return", "breakpoint()\n    return"), name="breakpoint()")
answer(
    DOUBLE.replace("return", "import pdb; pdb.set_trace()\n    return"), "set_trace", loses=True, name="pdb.set_trace()"
)
answer(DOUBLE.replace("return", "input('x?')\n    return"), "EOFError", "input", loses=True, name="input() in a call")
answer(DOUBLE + "\nn = int(input('n?'))", name="input() at the end of the cell")
answer("import pdb; pdb.set_trace()\n" + DOUBLE, "double is missing", "BdbQuit", loses=True, name="pdb in the cell")
answer(
    "import ipywidgets as w\nfrom IPython.display import display\n" + DOUBLE + "display(w.IntSlider(), w.Output())\n"
    "w.interact(lambda k: double(k), k=(1, 9))",
    name="widgets left running",
)
answer(
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nfor _ in range(25):\n    plt.figure(figsize=(1, 1))\n"
    "plt.plot([1])\nplt.show()\n" + DOUBLE,
    name="plots left open",
)
answer("%%time\n" + DOUBLE, name="%%time")
answer("%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'svg'\n" + DOUBLE, name="% magics")
answer("!pip install sympyx\n%pip install x\nfiles = !ls\nlen(files)\n" + DOUBLE, name="! commands")
answer(
    "%matplotlib widget\n" + DOUBLE,
    *("double is missing", "line 1", "'widget' is not a recognised"),
    loses=True,
    name="%matplotlib widget, which is not installed",
)
answer("%matplotlib notebook\n" + DOUBLE, name="%matplotlib notebook")
answer("%%capture out\n" + DOUBLE, name="%%capture")
answer(DOUBLE + "\n%timeit -n 1 -r 1 double(2)", name="%timeit")
answer(DOUBLE + "\ndouble?", name="a question mark")
answer("import sympyx\n" + DOUBLE, "sympyx", "ModuleNotFoundError", loses=True, name="something missing imported above")
answer(DOUBLE + "import sympyx", name="something missing imported below")
answer(
    DOUBLE.replace("return", "import sympyx\n    return"),
    *("ModuleNotFoundError", "sympyx"),
    loses=True,
    name="something missing imported in a call",
)
answer("from google.colab import drive\n" + DOUBLE, "google", "ModuleNotFoundError", loses=True, name="google.colab")
answer("def doubled(x):\n    return x + x", "does not define double", loses=True, name="a function renamed")
answer(DOUBLE + "\ndouble(", "SyntaxError", "line 7", loses=True, name="trailing unfinished code")
answer(DOUBLE + "\ndouble(None)", name="a trailing call that fails")
answer(DOUBLE + "\nprint(undefined)", name="a trailing name that is not defined")
answer(DOUBLE + "\nwhile True:\n    pass", name="a trailing endless loop")
answer(DOUBLE + "\nassert double(2) == 5, 'my test'", name="an own test that is wrong")
answer(DOUBLE + "\nexit()", name="exit() at the end")
answer(
    "<<<<<<< HEAD\n" + DOUBLE + "=======\n>>>>>>> main", "SyntaxError", "line 1", loses=True, name="conflict markers"
)
answer(DOUBLE.replace("    return", "\treturn"), "TabError", loses=True, name="tabs among blanks")
answer(DOUBLE.replace("return x", "return\u00a0x"), "U+00A0", loses=True, name="a blank from a web page")
answer(DOUBLE.replace('"""', "\u201d"), "U+201D", loses=True, name="quotes from a word processor")
answer(DOUBLE + '    raise NotImplementedError("double")', name="the stub's last line left below")
answer(
    DOUBLE.replace("    if", '    raise NotImplementedError("double")\n    if'),
    "replace the raise line",
    loses=True,
    name="the stub's last line left above",
)
answer(
    DOUBLE.replace("return x + x", "print(x + x)"),
    "expected  6",
    loses=True,
    name="printed instead of returned",
)
answer("from __future__ import annotations\n" + DOUBLE, name="a future import")
answer("import time\ntime.sleep(0.5)\n" + DOUBLE, name="a slow cell")
answer("import os\nos.chdir('/')\n" + DOUBLE, name="another folder")
answer("import sys\nsys.stdout = None\n" + DOUBLE + "print('x')", name="stdout taken away")
answer("import torch\ntorch.set_default_dtype(torch.float64)\n" + DOUBLE, name="another default dtype")
answer("import torch\ntorch.manual_seed(0)\ntorch.set_num_threads(4)\n" + DOUBLE, name="seeds and threads")
answer(
    "import random, numpy as np\nnp.seterr(all='raise')\nrandom.seed(1)\n" + DOUBLE, name="errors of numpy turned on"
)
answer(
    "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(2).map(abs, [1]))\n" + DOUBLE,
    name="threads",
)
answer(
    "with open('notes.txt', 'w') as f:\n    f.write('x')\nassert open('notes.txt').read() == 'x'\n" + DOUBLE,
    name="files written",
)


def test_a_folder_whose_name_is_not_utf_8_stops_nobody(mini: Lab, grader: Grader, tmp_path: Path) -> None:
    names = [b"ann", b"caf\xe9", "Ñandú\tTab".encode(), b"\xed" * 250, b"<" * 200]
    try:
        for name in names:
            folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/inbox/" + name))
            folder.mkdir(parents=True)
            (folder / "00_mini.ipynb").write_text(json.dumps(nbformat.from_dict(release(mini))))
    except OSError:
        pytest.skip("NOT TRIED: this file system takes UTF-8 names only")
    with GradeWriter(mini, tmp_path / "grades") as writer:
        for submission in find_submissions(mini, tmp_path / "inbox"):
            writer.add(grader.grade(submission))
    long = {"\\xed" * 75, "<" * 200}  # as nbgrader has the last, it has 600 letters
    assert set(read_records(tmp_path / "grades").rows["student"]) == {"ann", "caf\\xe9", "Ñandú\\tTab"} | long


@pytest.mark.parametrize("name", MISHAPS)
def test_a_mishap_costs_what_it_must_and_says_why(name: str, mini: Lab, grader: Grader, tmp_path: Path) -> None:
    case = MISHAPS[name]
    notebook = json.loads(nbformat.writes(release(mini)))
    right = {c.id: c.source for c in mini.answers if c.kind == "exercise"} | {"double": DOUBLE}
    for each in notebook["cells"]:
        each["source"] = right.get(each["id"], "".join(each["source"]))

    content = case.happen(notebook, tmp_path)
    if not any(tmp_path.iterdir()):
        (tmp_path / "00_mini.ipynb").write_bytes(content if content is not None else json.dumps(notebook).encode())
    submission = Submission.read("student", mini, tmp_path)
    rows = {row.question: row for row in grader.grade(submission).rows}

    scores = {question: rows[question].score for question in FULL}
    assert scores == FULL | dict.fromkeys(case.loses, 0.0), rows
    for question in case.loses:
        assert rows[question].status != "passed"
        assert rows[question].public, "a student is told"
        for words in case.told:
            assert words in rows[question].public
    if not case.loses:
        for words in case.told:
            assert words in "\n".join(submission.answers.notes)
