"""How long grading takes, here and by others: ``python benchmarks/grading.py`` prints two tables and draws a chart.

The first table is a class of 100 mixed submissions of the lab on quantization helpers (right, wrong in many ways, half
done, empty, with syntax errors, with deleted and edited cells), graded by

- ``nbgrader autograde`` as it comes,
- ``otter run``, one command for each submission, as it is meant without Docker,
- ``course grade`` with one worker and with two, in the sandbox.

A figure is the time of whole commands, start and gradebook included. otter-grader gets fewer submissions, in two sizes;
the straight line through these says what 100 would take. Peers run the same cells as we do: what is tagged for looking
and playing is left out of their notebooks, too. Left out of the class are endless loops, whose cost is the time limit
whoever grades, and what ends a peer's whole run: an exercise cell twice, a file that is no notebook, an answer that
ends its process. *Cells alone* is the time that the given cells, answers and checks of the
same submissions take by themselves, each in a fork of one process that has imported everything; nobody can be faster.

The second table is the memory of a whole run: all processes, what they share counted once (Linux's PSS), at its peak.
The lab is a tiny one, so that large classes do not take long.

nbgrader comes with the course, otter-grader and psutil by ``pip install '.[bench,dev]'``; without otter-grader its line
is left out, by name.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import nbformat
import psutil
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from sample_class import answered, sample_class  # noqa: E402  it stands beside the tests

import course_utils  # noqa: E402
from autograder.grading.submission import read_answers  # noqa: E402
from autograder.labs.lab import Lab  # noqa: E402
from autograder.sandbox.withhold import import_all  # noqa: E402
from course_utils.checks.notebook import Unreadable  # noqa: E402

LAB = "02_quantization_helpers"
LEFT_OUT = ("endless loop", "ends the process", "cell twice", "not a notebook")
CHART = ROOT / "docs" / "pictures" / "grading.png"

TINY = """\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %%
from course_utils.checks.expectations import check, expect_equal

# %% nbgrader={"grade_id": "double", "solution": true}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_double", "grade": true, "points": 1}
with check("double"):
    expect_equal(double(3), 6, "the double of 3 is 6")
    ### BEGIN HIDDEN TESTS
    expect_equal(double(4), 8, "the double of 4 is 8")
    ### END HIDDEN TESTS
"""


def write_class(lab: Lab, count: int, folder: Path) -> None:
    """``folder/<student>/<lab>.ipynb`` for ``count`` students, no two alike: answers are signed in a comment."""
    kinds = [s for s in sample_class(lab) if not any(words in s.about for words in LEFT_OUT)]
    exercises = {c.id for c in lab.exercises}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        content = kind.content
        with contextlib.suppress(nbformat.reader.NotJSONError, UnicodeDecodeError):
            notebook = nbformat.reads(content.decode("utf-8"), as_version=4)
            for cell in notebook.cells:
                if cell["id"] in exercises and "YOUR CODE HERE" not in cell.source:
                    cell.source += f"\n# {number}"
            content = nbformat.writes(notebook).encode("utf-8")
        path = folder / f"{kind.name}-{number:04}" / f"{lab.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)


def run(*command: object, cwd: Path | None = None) -> float:
    """Seconds that a command takes. Its exit code is not looked at: peers end with an error when one student's
    notebook is broken."""
    # nbgrader calls alembic by its name
    own = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], cwd=cwd, env=own, capture_output=True, text=True)
    return time.perf_counter() - started


def ours(workers: int, inbox: Path, output: Path, root: Path = ROOT, lab: str = LAB) -> float:
    grade = [sys.executable, "-m", "autograder.cli", "--root", root, "grade", lab, "--require-sandbox"]
    seconds = run(*grade, "--submissions", inbox, "--output", output, "--workers", workers)
    rows = (output / f"{lab}.csv").read_text(encoding="utf-8")
    assert all(f"\n{student.name}," in rows for student in inbox.iterdir()), "everybody has rows"
    return seconds


def without_demos(lab: Lab, notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    explore = {c.id for c in lab.cells if c.explore}
    notebook.cells = [c for c in notebook.cells if c.get("id") not in explore]
    return notebook


def copy_for_peers(lab: Lab, path: Path, to: Path) -> None:
    """A submission less the demos; one that is no notebook as it is."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        nbformat.write(without_demos(lab, nbformat.read(path, as_version=4)), to)
    except (nbformat.reader.NotJSONError, UnicodeDecodeError):
        shutil.copyfile(path, to)


def nbgrader(lab: Lab, inbox: Path, folder: Path) -> float:
    """Stock ``nbgrader autograde`` of everybody. Making the release is not counted."""
    source = folder / "source" / lab.name / f"{lab.name}.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(without_demos(lab, nbformat.from_dict(json.loads(json.dumps(lab.instructor_notebook)))), source)
    for student in inbox.iterdir():
        name = f"{lab.name}.ipynb"
        copy_for_peers(lab, student / name, folder / "submitted" / student.name / lab.name / name)
    command = [sys.executable, "-m", "nbgrader"]
    run(*command, "generate_assignment", lab.name, cwd=folder)
    seconds = run(*command, "autograde", lab.name, cwd=folder)
    graded = len(list((folder / "autograded").glob("*/*/*.ipynb")))
    print(f"  nbgrader autograde: {graded} of {len(list(inbox.iterdir()))} graded, {seconds:.1f} s", flush=True)
    assert graded, "nbgrader graded nobody"
    return seconds


OTTER_TEST = """\
from otter.test_files import test_case
OK_FORMAT = False
name = {name!r}
points = {points}

@test_case(points={points}, hidden=True)
def {name}(env):
    exec({source!r}, env)
"""


def otter(lab: Lab, inbox: Path, folder: Path) -> float:
    """``otter run`` of one after the other. The check cells are its tests. Making these is not counted."""
    tests = folder / "tests"
    tests.mkdir(parents=True)
    for cell in lab.cells:
        if cell.kind == "check":
            test = OTTER_TEST.format(name=cell.id, points=cell.points, source=cell.source)
            (tests / f"{cell.id}.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "otter"]
    run(*command, "generate", "--tests-dir", tests, "--no-environment", "--output-path", folder / "a.zip", cwd=folder)
    seconds, graded = 0.0, 0
    for student in inbox.iterdir():
        notebook, results = folder / student.name / f"{lab.name}.ipynb", folder / student.name
        copy_for_peers(lab, student / f"{lab.name}.ipynb", notebook)
        arguments = ["--autograder", folder / "a.zip", "--output-dir", results, "--no-logo", notebook]
        seconds += run(*command, "run", *arguments, cwd=folder)
        graded += (results / "results.json").is_file()
    print(f"  otter run: {graded} of {len(list(inbox.iterdir()))} graded, {seconds:.1f} s", flush=True)
    assert graded, "otter graded nobody"
    return seconds


def cells_alone(lab: Lab, inbox: Path) -> float:
    """Seconds of the cells of everybody: given ones, answers, checks; the sum over processes forked for it."""
    total = 0.0
    for student in inbox.iterdir():
        try:
            answers = read_answers(student / f"{lab.name}.ipynb", lab).sources
        except Unreadable:
            continue
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            namespace: dict = {"__name__": "__main__"}
            sources = [answers.get(c.id, "") if c.kind == "exercise" else c.source for c in lab.cells if _runs(c)]
            started = time.perf_counter()
            for source in sources:
                with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(source, "cell", "exec"), namespace)
            os.write(send, str(time.perf_counter() - started).encode())
            os._exit(0)
        os.close(send)
        os.waitpid(child, 0)
        with open(receive) as pipe:  # noqa: PTH123  a file descriptor
            total += float(pipe.read() or 0)  # nothing from those that end their process
    return total


def _runs(cell) -> bool:
    return cell.is_code and not cell.explore


def compare(lab: Lab, sizes: list[int], peer_sizes: list[int], chart: Path) -> None:
    """The first table and the chart."""
    graders: dict[str, Callable[[Path, Path], float]] = {
        "nbgrader autograde": lambda inbox, folder: nbgrader(lab, inbox, folder),
        "otter run": lambda inbox, folder: otter(lab, inbox, folder),
        "course grade, 1 worker": lambda inbox, folder: ours(1, inbox, folder),
        "course grade, 2 workers": lambda inbox, folder: ours(2, inbox, folder),
    }
    if importlib.util.find_spec("otter") is None:
        graders.pop("otter run")
        print("otter-grader is not installed: left out (pip install '.[bench]')")
    sizes_of = dict.fromkeys(graders, sizes)
    sizes_of["nbgrader autograde"] = sorted({*peer_sizes, max(sizes)})
    sizes_of["otter run"] = peer_sizes
    seconds: dict[str, dict[int, float]] = {name: {} for name in graders}
    with tempfile.TemporaryDirectory() as temporary:
        for size in sorted({*sizes, *peer_sizes}):
            inbox = Path(temporary, f"inbox-{size}")
            write_class(lab, size, inbox)
            for number, (name, grade) in enumerate(graders.items()):
                if size in sizes_of[name]:
                    seconds[name][size] = grade(inbox, Path(temporary, f"{number}-{size}"))
                    print(f"  {name}, {size} submissions: {seconds[name][size]:.1f} s", flush=True)
        alone = cells_alone(lab, inbox)
    largest = max(sizes)
    whole = {name: at(measured, largest) for name, measured in seconds.items()}
    print(f"\n{lab.name}, {largest} submissions, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':26s}{'seconds':>10s}{'each':>8s}{'above cells':>13s}{'nbgrader takes':>16s}")
    for name, total in {**whole, "cells alone": alone}.items():
        above = (total - alone) / largest
        marks = "*" if largest not in seconds.get(name, [largest]) else " "
        ratio = whole["nbgrader autograde"] / total
        print(f"{name:26s}{total:9.1f}{marks}{total / largest:8.2f}{above:13.2f}{ratio:14.1f} x")
    print(f"* by the straight line through {' and '.join(map(str, peer_sizes))} submissions\n")
    draw(seconds, largest, chart)


def at(measured: dict[int, float], size: int) -> float:
    """What was measured, or what the straight line through the smallest and largest class says."""
    if size in measured:
        return measured[size]
    few, many = min(measured), max(measured)
    return measured[many] + (measured[many] - measured[few]) / (many - few) * (size - many)


def draw(seconds: dict[str, dict[int, float]], largest: int, path: Path) -> None:
    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator

    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    colours = {"otter": "#8c510a", "nbgrader": "#bf812d", "1 worker": "#35978f", "2 workers": "#01665e"}
    for name, measured in seconds.items():
        colour = next(c for word, c in colours.items() if word in name)
        sizes = sorted(measured)
        axes.plot(sizes, [measured[s] for s in sizes], "o-", color=colour)
        if largest not in measured:
            beyond = range(sizes[-1], largest + 1)
            axes.plot(beyond, [at(measured, s) for s in beyond], "--", color=colour)
        place = {"1 worker": "bottom", "2 workers": "top"}.get(name.partition(", ")[2], "center")  # these end together
        axes.annotate(f"  {name}", (largest, at(measured, largest)), va=place)
    axes.set(xlabel="submissions", ylabel="seconds, whole command", xscale="log", yscale="log")
    ticks = sorted({size for measured in seconds.values() for size in measured})
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlim(right=5 * largest)  # room for the names
    axes.set_title("Seconds to grade a class (dashed: a straight line through what was measured)", fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    print(f"chart: {path}")


def memory(sizes: list[int]) -> None:
    """The second table."""
    print(
        f"memory of `course grade`, tiny lab\n{'submissions':>12s}{'peak MiB':>10s}{'grader MiB':>12s}{'seconds':>9s}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "solutions", "00_tiny")
        folder.mkdir(parents=True)
        (folder / "00_tiny.py").write_text(TINY, encoding="utf-8")
        lab = Lab("00_tiny", Path(temporary))
        for size in sizes:
            inbox = Path(temporary, f"inbox-{size}")
            for number in range(size):
                path = inbox / f"s{number:05}" / "00_tiny.ipynb"
                path.parent.mkdir(parents=True)
                nbformat.write(answered(lab, {"double": f"def double(x):\n    return x + x  # {number}"}), path)
            watch = Watch()
            seconds = ours(1, inbox, Path(temporary, f"grades-{size}"), Path(temporary), lab.name)
            whole, grader = watch.end()
            print(f"{size:12d}{whole / 2**20:10.0f}{grader / 2**20:12.0f}{seconds:9.1f}", flush=True)


class Watch(threading.Thread):
    """Looks twice a second at the memory of the command that runs, and of all processes that descend from it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.whole = self.grader = 0
        self.ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(0.5):
            commands = psutil.Process().children()
            descendants = [process for command in commands for process in command.children(recursive=True)]
            grader = held(commands)
            self.grader = max(self.grader, grader)
            self.whole = max(self.whole, grader + held(descendants))

    def end(self) -> tuple[int, int]:
        """Bytes at their peak: of all processes, and of the one that writes the gradebook."""
        self.ended.set()
        self.join()
        return self.whole, self.grader


def held(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            total += process.memory_full_info().pss
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 50, 100], help="classes that we grade")
    parser.add_argument(
        "--peer-sizes",
        type=int,
        nargs="+",
        default=[2, 10],
        help="classes that otter grades; nbgrader the largest, too",
    )
    parser.add_argument("--memory-sizes", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--chart", type=Path, default=CHART)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    matplotlib.use("agg")
    import_all(course_utils)
    compare(Lab(LAB), arguments.sizes, arguments.peer_sizes, arguments.chart)
    if arguments.memory_sizes:
        memory(arguments.memory_sizes)


if __name__ == "__main__":
    main()
