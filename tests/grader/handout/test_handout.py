"""What is handed out: all that students need, no answer, the same bytes each time, and what is new since last time."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini
from packaging.requirements import Requirement

from autograder import HANDOUT
from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.grader import Grader, Submission
from autograder.handout import make, wheel
from autograder.handout.make import contents, make_handout
from autograder.labs.build import release, release_id
from autograder.labs.lab import Lab

PLANTED = 'raise ValueError("a string cannot be doubled")'  # a line of the mini course's answer
HIDDEN = 'expect_raises(ValueError, lambda: double("ab"), "a string is refused")'  # and of a hidden check


@pytest.fixture
def mini(tmp_path: Path, monkeypatch) -> Lab:
    """A small lab; and small weights, so that the wheel is quickly packed and searched."""
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "small.safetensors").write_bytes(bytes(100))
    monkeypatch.setattr(make, "WEIGHTS", weights)
    lab = write_mini(tmp_path / "course")
    (lab.folder / "hints.toml").write_text('[double]\nidea = "add it to itself"\nsteps = "return the sum"\n')
    (lab.folder / "wrong").mkdir()
    (lab.folder / "wrong" / "double__triples.py").write_text(
        "# Mistake: takes it three times, as nobody asked\n# Rule: the double\ndef double(x):\n    return x + x + x\n"
    )
    return lab


def test_folder_and_zip_hold_the_same_and_two_runs_the_same_bytes(mini: Lab, tmp_path: Path) -> None:
    made = make_handout([mini], mini.root, tmp_path / "a")
    again = make_handout([Lab(mini.name, mini.root)], mini.root, tmp_path / "b")
    assert made.archive.read_bytes() == again.archive.read_bytes()
    lying = {
        p.relative_to(made.folder.parent).as_posix(): p.read_bytes() for p in made.folder.rglob("*") if p.is_file()
    }
    with zipfile.ZipFile(made.archive) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == lying
    names = {name.partition("/")[2] for name in lying}
    assert names == set(json.loads(lying[f"{make.NAME}/{HANDOUT}"])["files"])
    assert names >= {"README.md", "start.py", "requirements.txt", "environment.yml", "docs/student.md", "LICENSE"}
    assert names >= {"notebooks/00_mini/00_mini.ipynb", "notebooks/00_mini/hints.toml"}
    readme = (made.folder / "README.md").read_text()
    assert made.release in readme and "Mini" in readme
    assert len(readme.splitlines()) <= 45, "one screen"
    where = str(Path.cwd()).encode()
    assert not [name for name, content in lying.items() if where in content or str(tmp_path).encode() in content]


def test_links_lead_somewhere(mini: Lab) -> None:
    files = contents([mini], mini.root)
    for page in ("README.md", "docs/student.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", files[page].decode()):
            if not target.startswith("http"):
                assert (PurePosixPath(page).parent / target).as_posix().removeprefix("./") in files, (page, target)


def test_students_are_asked_for_nothing_that_only_graders_need(mini: Lab) -> None:
    files = contents([mini], mini.root)
    lock = {line.partition("==")[0] for line in files["constraints.txt"].decode().split()}
    assert {"torch", "sympy", "jupyterlab", "tornado"} <= lock, "also what is pulled in"
    assert not lock & {"nbgrader", "dask", "sqlalchemy", "alembic", "jupytext", "pytest", "sphinx"}
    lines = files["requirements.txt"].decode().splitlines()
    pinned = [line for line in lines if "==" in line]
    assert len(pinned) > 10 and all(Requirement(line).specifier for line in pinned)
    name = next(name for name in files if name.endswith(".whl"))
    assert f"./{name}[lab]" in lines
    with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
        inside = archive.namelist()
        metadata = archive.read(next(n for n in inside if n.endswith("METADATA"))).decode()
    needs = [Requirement(line.partition(": ")[2]) for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert {"torch", "jupyterlab"} <= {r.name for r in needs}
    assert "nbgrader" not in {r.name for r in needs}
    assert all(str(r.specifier).startswith(">=") for r in needs), "ranges: what a student has may stay"
    left_out = ("autograder/processes", "autograder/sandbox/wa", "autograder/sandbox/with", "autograder/handout")
    assert not [n for n in inside if n.startswith(left_out)]
    assert [n for n in inside if n.endswith(".safetensors")]


@pytest.mark.parametrize("where", ["hints", "page", "package", "guide", "variant", "packed"])
def test_an_answer_anywhere_and_nothing_is_written(mini: Lab, tmp_path: Path, monkeypatch, where: str) -> None:
    """In the hints' file, in a notebook, in a wheel in the zip: whoever put it there."""
    payload = wheel.payload
    if where == "hints":
        mini.hints_path.write_text(f"[double]\nidea = '{PLANTED}'\nsteps = ''\n")
    elif where == "page":  # in JSON its quotation marks are escaped
        (mini.root / "solutions" / "demos.py").write_text(f"# %%\nif True:\n    {PLANTED}\n")
    elif where == "package":
        planted = {"course_utils/x.py": f"def double(x):\n    {PLANTED}\n".encode()}
        monkeypatch.setattr(wheel, "payload", lambda *a: payload(*a) | planted)
    elif where == "packed":  # not readable, and yet there
        planted = {"course_utils/x.py": wheel.packed(f'"""Doubles."""\n# {HIDDEN}\n'.encode())}
        monkeypatch.setattr(wheel, "payload", lambda *a: payload(*a) | planted)
    elif where == "variant":
        variant = (mini.folder / "wrong" / "double__triples.py").read_bytes()
        monkeypatch.setattr(wheel, "payload", lambda *a: payload(*a) | {"course_utils/x.py": variant})
    else:
        guide = tmp_path / "templates"
        guide.mkdir()
        for path in make.TEMPLATES.glob("*.jinja"):
            (guide / path.name).write_bytes(path.read_bytes())
        (guide / "start.py").write_text(f"# {PLANTED}\n")
        monkeypatch.setattr(make, "TEMPLATES", guide)
    with pytest.raises(CourseError, match=r"nothing was written.*00_mini"):
        make_handout([mini], mini.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_lab_that_stays_is_as_secret(mini: Lab, tmp_path: Path) -> None:
    """Its answers may not stand in another lab's hints either."""
    other = MINI.replace("double", "twice").replace("cannot be", "can never be")
    folder = mini.root / "solutions" / "01_other"
    folder.mkdir()
    (folder / "01_other.py").write_text(other)
    mini.hints_path.write_text("[double]\nidea = 'raise ValueError(\"a string can never be twiced\")'\nsteps = ''\n")
    with pytest.raises(CourseError, match="01_other"):
        make_handout([mini], mini.root, tmp_path / "out")


def test_what_is_new_for_students_and_what_only_behind_the_scenes(mini: Lab, tmp_path: Path) -> None:
    def made_again(old: str, new: str) -> list[str]:
        assert old in mini.source.read_text()
        mini.source.write_text(mini.source.read_text().replace(old, new))
        return make_handout([Lab(mini.name, mini.root)], mini.root, tmp_path / "out").changes

    assert make_handout([mini], mini.root, tmp_path / "out").changes == []
    folder = tmp_path / "out" / make.NAME
    (folder / ".venv").mkdir()
    assert made_again("# Mini", "# Mini") == ["00_mini: unchanged", "package: unchanged"]
    hidden = made_again(
        'expect_raises(ValueError, lambda: double("ab")', 'expect_raises(ValueError, lambda: double("b")'
    )
    assert "behind the scenes only" in hidden[0]
    wheels = set(folder.glob("*.whl"))
    seen = made_again("Twice x; a ValueError", "Two times x; a ValueError")
    assert "changed for students" in seen[0] and release_id(Lab(mini.name, mini.root)) in seen[0]
    assert len(set(folder.glob("*.whl")) - wheels) == 1 == len(list(folder.glob("*.whl"))), "the old one is gone"
    assert (folder / ".venv").is_dir(), "what it did not make stays"
    (named,) = folder.glob("*.whl")
    mini.hints_path.write_text('[double]\nidea = "ask a friend"\nsteps = "return the sum"\n')
    assert made_again("# Mini", "# Mini")[0] == "00_mini: its hints changed"
    assert named not in folder.glob("*.whl"), "the release is named anew whatever changes in it"


@pytest.mark.parametrize(
    "told", ["[]", "{}", '{"files": ["../../precious"], "release": "", "labs": {}, "package": ""}']
)
def test_what_another_wrote_into_the_folder_deletes_nothing_outside(told: str, mini: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "out" / make.NAME
    folder.mkdir(parents=True)
    (folder / HANDOUT).write_text(told)
    (tmp_path / "precious").write_text("years of work")
    with pytest.raises(CourseError, match="is no handout"):
        make_handout([mini], mini.root, tmp_path / "out")
    assert (tmp_path / "precious").is_file()


def test_a_folder_of_something_else_is_left_alone(mini: Lab, tmp_path: Path) -> None:
    mine = tmp_path / "out" / make.NAME / "thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    done = CliRunner().invoke(main, ["--root", str(mini.root), "handout", "--to", str(tmp_path / "out")])
    assert done.exit_code == 2 and len(done.output.strip().splitlines()) == 1
    assert "is no handout" in done.output
    assert [p.name for p in mine.parent.iterdir()] == ["thesis.tex"]


def test_the_first_cell_says_what_is_missing(mini: Lab) -> None:
    path = "notebooks/00_mini/00_mini.ipynb"
    url = "https://example.org/course/"
    files, with_url = contents([mini], mini.root), contents([mini], mini.root, url)
    name = next(name for name in with_url if name.endswith(".whl"))
    for made, wanted in ((files, "start.py"), (with_url, url + name)):
        cell = nbformat.reads(made[path].decode(), as_version=4).cells[0]
        assert wanted in cell.source and "course_utils" in cell.source
        assert not cell.metadata.get("nbgrader")
    with pytest.raises(CourseError, match="no address"):
        contents([mini], mini.root, "example.org/course")


def test_a_packed_module_does_the_same_and_cannot_be_read(tmp_path: Path, monkeypatch) -> None:
    source = (
        '"""What it is for.\n\nMore.\n"""\nfrom __future__ import annotations\n\n\ndef double(x: Later) -> Later:\n'
    )
    source += '    """Twice x."""\n    return 2 * x  # "quotes" and ümlauts\n'
    (tmp_path / "packed_example.py").write_bytes(wheel.packed(source.encode()))
    text = (tmp_path / "packed_example.py").read_text(encoding="utf-8")
    assert "2 * x" not in text and wheel.unpacked(text) == source and wheel.unpacked(source) == ""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "packed_example", raising=False)
    import packed_example  # type: ignore[import-not-found]

    assert packed_example.double(4) == 8
    assert packed_example.double.__doc__ == "Twice x."
    assert packed_example.double.__annotations__["x"] == "Later"
    assert packed_example.__doc__.startswith("What it is for.")


def test_a_notebook_of_an_earlier_release_is_graded_and_says_where_it_came_from(mini: Lab, tmp_path: Path) -> None:
    """What was asked for since is missing in it; what was there before counts as ever."""
    earlier = make_handout([mini], mini.root, tmp_path / "out").folder / "notebooks" / mini.name / f"{mini.name}.ipynb"
    was, student = release_id(mini), tmp_path / "student"
    student.mkdir()
    (student / earlier.name).write_bytes(earlier.read_bytes().replace(b"YOUR ANSWER HERE", b"Because."))
    assert Submission.read("ann", mini, student).answers.notes == [], "the present release is nothing to tell"
    source = mini.source.read_text()
    halved = source[
        source.index('# %% nbgrader={"grade_id": "double"') : source.index('# %% nbgrader={"grade_id": "counter"')
    ]
    mini.source.write_text(source + "\n" + halved.replace("double", "halve"))
    present = Lab(mini.name, mini.root)
    submission = Submission.read("ann", present, student)
    assert submission.answers.sources["why"] == "Because."
    told = " ".join(submission.answers.notes)
    assert f"release {was}" in told and release_id(present) in told and was != release_id(present)
    assert "halve: the cell is missing" in told
    assert {"double", "counter", "why"} == submission.answers.sources.keys()


def test_what_was_not_touched_in_an_earlier_release_was_not_attempted(mini: Lab, tmp_path: Path) -> None:
    """The stub and a check have changed since; the notebook itself says what they were."""
    earlier = make_handout([mini], mini.root, tmp_path / "out").folder / "notebooks" / mini.name
    hint = "    expect_equal(double(3), 6"
    for old, new in (("Twice x; a ValueError", "Two times x; a ValueError"), (hint, hint.replace("3), 6", "4), 8"))):
        assert old in mini.source.read_text()
        mini.source.write_text(mini.source.read_text().replace(old, new))
    present = Lab(mini.name, mini.root)
    submission = Submission.read("ann", present, earlier)
    stubs = {cell["id"]: cell.source for cell in release(present).cells}
    assert submission.answers.sources == {cell.id: stubs[cell.id] for cell in present.answers}
    assert len(submission.answers.notes) == 1, "where it came from; no check cell was edited"
    with Grader() as grader:
        assert {row.status for row in grader.grade(submission).rows} == {"not attempted"}

    path = earlier / f"{mini.name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    next(c for c in notebook.cells if c["id"] == "double").source += "\n# I give up"
    for odd in ({}, {"double": 7, "why": None}, "none", ["double"]):
        notebook.metadata.course["cells"] = odd
        nbformat.write(notebook, path)
        assert "I give up" in Submission.read("ann", present, earlier).answers.sources["double"]


def test_a_release_is_no_place_to_write_to_the_grader(mini: Lab, tmp_path: Path) -> None:
    """What stands there is a stranger's text: told is only what could be a release."""
    notebook = nbformat.from_dict(release(mini))
    for odd in ("<script>", "x" * 10**5, 7, ["a"], None):
        notebook.metadata["course"]["release"] = odd
        nbformat.write(notebook, tmp_path / f"{mini.name}.ipynb")
        assert Submission.read("ann", mini, tmp_path).answers.notes == []


def test_what_students_modules_import_at_once_is_in_the_wheel() -> None:
    """What a function imports only when it is called may be missing: the command says then whose it is."""
    files = wheel.payload(make.ROOT, make.ROOT / "data" / "none")
    for path, content in files.items():
        if path.startswith("autograder/") and path.endswith(".py"):
            for node in ast.parse(content).body:
                if isinstance(node, ast.ImportFrom) and node.module.startswith(("autograder", "course_utils")):
                    wanted = node.module.replace(".", "/")
                    assert {f"{wanted}.py", f"{wanted}/__init__.py"} & files.keys(), f"{path} imports {node.module}"


def test_what_earns_points_when_pasted_is_packed() -> None:
    """benchmarks/pasted.py measured it, for every exercise; the modules stand in the wheel without readable source. The
    observers would earn points with a rule or two mended."""
    earning = {"demos/bit_toggler", "numerics/affine", "numerics/fixed_point", "numerics/formats", "numerics/rounding"}
    earning |= {f"quantization/{name}" for name in ("integer_layers", "observers", "real_quantization")}
    assert {f"{module}.py" for module in earning} <= set(wheel.PACKED)
    files = wheel.payload(make.ROOT, make.ROOT / "data" / "none")
    for name in wheel.PACKED:
        text = files[f"course_utils/{name}"].decode()
        assert "\ndef " not in text and "\nclass " not in text, name
