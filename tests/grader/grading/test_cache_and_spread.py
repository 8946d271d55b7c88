"""Nothing is graded twice, nothing is lost, and a lost worker costs time only."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from mini_course import DOUBLE, MINI, newest_parent, write_mini
from nbgrader.api import Gradebook
from test_cli import course, rows_of

from autograder.authoring.answered import reference_answers
from autograder.errors import CourseError
from autograder.grading.cache import ResultCache
from autograder.grading.grader import Grader, Submission, Task
from autograder.grading.spread import open_examiners
from autograder.labs.build import answered
from autograder.labs.lab import Lab


class Counting:
    """A grader that counts the checks it is asked for."""

    def __init__(self, grader: Grader):
        self.grader, self.checks = grader, 0

    def grade(self, lab: Lab, cache: ResultCache, **sources: str):
        answers = reference_answers(lab)
        answers.sources |= sources
        task = Task(Submission("ann", lab, answers), cache)
        self.checks = 0 if task.job is None else sum(c["kind"] == "check" for c in task.job.cells)
        return task.finish(self.grader.examine(task.job) if task.job else None)


@pytest.fixture
def cache(tmp_path):
    with ResultCache(tmp_path / "cache" / "cache.db") as cache:
        yield cache


def test_a_second_time_costs_nothing_and_gives_the_same(mini, grader, cache):
    counting = Counting(grader)
    first = counting.grade(mini, cache, double="print('hi')\n" + DOUBLE)
    assert counting.checks == 3
    again = counting.grade(mini, cache, double="print('hi')\n" + DOUBLE)
    assert counting.checks == 0
    assert [asdict(r) for r in again.rows] == [asdict(r) for r in first.rows]
    assert again.output == first.output
    assert again.walls == first.walls


def test_other_answers_are_graded_anew(mini, grader, cache):
    counting = Counting(grader)
    counting.grade(mini, cache)
    counting.grade(mini, cache, double=DOUBLE)
    assert counting.checks == 3


@pytest.mark.parametrize(
    ("old", "new", "checks"),
    [
        ("the double of 3 is 6", "twice 3 is 6", 1),
        ("FACTOR = 2", "FACTOR = 2.0", 3),
        ("check_seconds: 2", "check_seconds: 3", 3),
        ("# Why?", "# Why, oh why?", 0),
        ('"points": 2', '"points": 5', 1),  # the release says a check's points in its cell
    ],
)
def test_a_changed_lab_is_graded_again_as_far_as_it_changed(mini, grader, cache, tmp_path, old, new, checks):
    counting = Counting(grader)
    counting.grade(mini, cache)
    assert old in MINI
    changed = write_mini(tmp_path, MINI.replace(old, new))
    graded = counting.grade(changed, cache)
    assert counting.checks == checks
    assert graded.score == changed.max_score


def test_checks_cannot_lean_on_one_another(grader, tmp_path):
    leaning = MINI.replace("counter = Counter(5)\n", "counter = Counter(5)\n    remembered = 6.0\n").replace(
        "gradient(3.0), 6.0", "gradient(3.0), remembered"
    )
    lab = write_mini(tmp_path, leaning)
    rows = {r.question: r for r in grader.grade(Submission("ann", lab, reference_answers(lab))).rows}
    assert rows["check_counter"].status == "passed"
    assert "remembered" in rows["check_counter_gradient"].message


@pytest.fixture
def inbox(mini, tmp_path) -> Path:
    return write_inbox(mini, tmp_path / "inbox", 12)


def write_inbox(mini: Lab, folder: Path, count: int) -> Path:
    """Every third student is wrong, each in a way of their own, so that no result serves two."""
    for number in range(count):
        source = f"# student {number}\n" + (DOUBLE if number % 3 else DOUBLE.replace("x + x", f"{number} * x"))
        (folder / f"s{number:03}").mkdir(parents=True)
        nbformat.write(answered(mini, {"double": source}), folder / f"s{number:03}" / "00_mini.ipynb")
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_grader_goes_on_where_it_was(mini, tmp_path, kills):
    """Killed at random moments, every fourth time while it still starts, then run once more: the result is that of an
    undisturbed run."""
    temporary = tempfile.mkdtemp()  # not below tmp_path: the path of a socket has to be short
    inbox = write_inbox(mini, tmp_path / "inbox", 6 * kills)
    arguments = ["--root", str(mini.root), "grade", "00_mini", "--submissions", str(inbox), "--output"]

    def start(output: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "autograder.cli", *arguments, str(output)]
        own = os.environ | {"TMPDIR": temporary}
        return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def wait_for_first_words(process: subprocess.Popen) -> float:
        started = time.perf_counter()
        assert any("sandbox" in line for line in process.stdout), "it says so when it begins to grade"
        return time.perf_counter() - started

    calm = start(tmp_path / "calm")
    starting, began = wait_for_first_words(calm), time.perf_counter()
    assert calm.wait() == 0
    grading = time.perf_counter() - began

    moments = random.Random(7)
    for number in range(kills):
        process = start(tmp_path / "rough")
        if number % 4 == 3:
            time.sleep(moments.uniform(0, starting))
        else:
            wait_for_first_words(process)
            time.sleep(moments.uniform(0, grading / kills))
        assert process.poll() is None, "there is something left to kill"
        process.kill()
        process.communicate()
    assert course(mini, *arguments[2:], tmp_path / "rough").exit_code == 0
    assert rows_of(tmp_path / "rough") == rows_of(tmp_path / "calm")
    assert (tmp_path / "rough" / "00_mini.csv").read_bytes() == (tmp_path / "calm" / "00_mini.csv").read_bytes()
    assert gradebook_rows(tmp_path / "rough") == gradebook_rows(tmp_path / "calm")
    time.sleep(1)
    assert not [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("TMPDIR") == temporary
    ], "a killed grader leaves no process behind"
    assert list(Path(temporary).glob("grading-*")) == [], "nor its socket"
    shutil.rmtree(temporary)


def gradebook_rows(output: Path) -> list[tuple]:
    """All grades and comments in nbgrader's database."""
    with Gradebook(f"sqlite:///{output / 'gradebook.db'}") as gradebook:
        rows = []
        for student in gradebook.students:
            notebook = gradebook.find_submission_notebook("00_mini", "00_mini", student.id)
            rows += [(student.id, g.name, g.auto_score, g.manual_score, g.needs_manual_grade) for g in notebook.grades]
            rows += [(student.id, c.name, c.auto_comment, c.manual_comment) for c in notebook.comments]
        return sorted(rows, key=str)


def test_dry_run_shows_what_would_change_and_writes_nothing(mini, inbox, tmp_path):
    output = tmp_path / "grades"
    arguments = ["grade", "00_mini", "--submissions", inbox, "--output", output]
    assert course(mini, *arguments).exit_code == 0
    before = (output / "00_mini.csv").read_bytes()
    assert "no grade written: 12 students as before" in course(mini, *arguments, "--dry-run").output
    changed = write_mini(tmp_path / "changed", MINI.replace("double(3), 6,", "double(3), 9,"))
    result = course(changed, *arguments, "--dry-run")
    assert "would change" in result.output
    assert "s001" in result.output, "it passed, and would fail"
    assert "check_double: 2/2 passed -> 0/2 failed" in result.output
    assert "check_counter" not in result.output, "nothing would become of it"
    assert (output / "00_mini.csv").read_bytes() == before


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("count", "timed"), [(12, False), pytest.param(80, True, marks=pytest.mark.slow)])
def test_workers_killed_in_the_middle_lose_nothing_and_little_time(mini, count, timed):
    """Two workers, one killed when three quarters are done. Even if it never came back the other would need
    3/4 + 2/4 of the time, and one job more for the one that was lost. Timed on an idle machine only: on a busy one the
    start of a new worker takes too much of the time."""
    slow = "import time\ntime.sleep(0.5)\n"

    def graded(kill_after: int) -> float:
        tasks = []
        for number in range(count):
            answers = reference_answers(mini)
            answers.sources["double"] = f"# {number}\n{slow}{DOUBLE}"
            tasks.append(Task(Submission(f"s{number}", mini, answers)))
        done = {}
        started = time.perf_counter()
        for task, report in examiners.examine_all(tasks):
            done[task.submission.student] = [r["status"] for r in report.results]
            if len(done) == kill_after:
                os.kill(min(examiners.client.run(os.getpid).values()), signal.SIGKILL)
        assert len(done) == count
        assert {tuple(statuses) for statuses in done.values()} == {("passed",) * 3}
        return time.perf_counter() - started

    with open_examiners(2, None) as examiners:
        assert "limits" in examiners.walls()
        calm = graded(kill_after=0) if timed else 0.0
        disturbed = graded(kill_after=count * 3 // 4)
    if timed:
        assert disturbed <= 1.5 * calm


def test_an_examiner_that_is_killed_costs_nobody_else_and_is_not_remembered(mini, cache):
    waiting = "import time\ntime.sleep(1.5)\n" + DOUBLE  # within the limit of 2 s
    with Grader(cache) as grader:
        grader.walls()
        servers = newest_parent().children()

        def kill_examiner() -> None:
            while not (children := servers[-1].children()):  # the examiners' server was asked for last
                time.sleep(0.01)
            time.sleep(0.5)
            children[0].kill()

        answers = reference_answers(mini)
        answers.sources["double"] = waiting
        killer = threading.Thread(target=kill_examiner)
        killer.start()
        rows = grader.grade(Submission("ann", mini, answers)).rows
        assert not servers[0].children(), "nor does the candidate outlive its submission"
        killer.join()
        assert [r.status for r in rows] == ["crashed", "passed", "passed", "by hand"]
        assert "the process that examines it ended" in rows[0].message
        assert grader.grade(Submission("bob", mini, reference_answers(mini))).score == 4
        assert grader.grade(Submission("ann", mini, answers)).score == 4, "graded again, not remembered"


@pytest.mark.timeout(900)
def test_no_more_jobs_are_out_than_the_memory_of_a_large_class_would_take(mini, monkeypatch):
    monkeypatch.setattr("autograder.grading.spread.IN_FLIGHT", 3)
    taken = []

    def tasks():
        for number in range(10):
            taken.append(number)
            answers = reference_answers(mini)
            answers.sources["double"] = f"# {number}\n{DOUBLE}"
            yield Task(Submission(f"s{number}", mini, answers))

    with open_examiners(2, None) as examiners:
        ahead = [len(taken) - done for done, _ in enumerate(examiners.examine_all(tasks()))]
    assert len(ahead) == 10
    assert max(ahead) <= 3


def test_memory_does_not_grow_with_the_class(mini, grader):
    """Each submission is read, graded and let go; what stays is its rows, a few kB."""
    process = psutil.Process()

    def held() -> np.ndarray:
        """Bytes of Python objects here, where the system's count would not show what fits into gaps of the heap; bytes
        of the grading processes; open files of all."""
        gc.collect()
        servers = newest_parent().children(recursive=True)
        python = tracemalloc.get_traced_memory()[0]
        files = sum(p.num_fds() for p in [process, *servers])
        return np.array([python, sum(p.memory_full_info().uss for p in servers), files])

    def grade(count: int) -> None:
        for number in range(count):
            answers = reference_answers(mini)
            answers.sources["double"] = f"# {number}\nprint('x' * 10_000)\n{DOUBLE}"
            grader.grade(Submission(f"s{number}", mini, answers))

    tracemalloc.start()
    try:
        grade(20)  # what is filled once: caches of torch, msgpack and the like
        growth = []
        for _ in range(3):
            before = held()
            grade(20)
            growth.append((held() - before) / 20)
    finally:
        tracemalloc.stop()
    # A leak grows every time, and one as little as a kept report (its output has 10 kB) or job (40 kB) would show. What
    # grows once is something else: threads that earlier tests have left to end by themselves.
    python, servers, files = np.min(growth, axis=0)
    assert python < 5_000, growth
    assert servers < 5_000, growth
    assert files < 1, growth


def test_workers_and_one_process_agree(mini, inbox, tmp_path):
    arguments = ["grade", "00_mini", "--submissions", inbox, "--output"]
    assert course(mini, *arguments, tmp_path / "one").exit_code == 0
    assert course(mini, *arguments, tmp_path / "two", "--workers", "2").exit_code == 0
    assert (tmp_path / "one" / "00_mini.csv").read_bytes() == (tmp_path / "two" / "00_mini.csv").read_bytes()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://192.0.2.1:8786", "not behind TLS"),
        ("nonsense", "is no scheduler's address"),
        ("tcp://127.0.0.1:1", "no dask scheduler answers"),
    ],
)
def test_a_scheduler_that_cannot_or_should_not_be_used_is_refused(address, words):
    with pytest.raises(CourseError, match=words), open_examiners(1, address):
        pass


def test_results_depend_on_all_of_the_kit_that_runs_where_answers_are_graded():
    code = (
        "import sys, autograder.processes.candidate, autograder.processes.examiner, autograder.processes.forkserver\n"
    )
    code += "print(*sorted(name for name in sys.modules if name.startswith('autograder.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    folders = ("autograder.processes", "autograder.sandbox")
    beside = {name for name in loaded if not name.startswith(folders)}
    assert len(loaded) > len(beside)
    assert beside == {"autograder.errors", "autograder.labs", "autograder.labs.cell"}, "environment_key reads these"
