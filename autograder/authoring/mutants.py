"""Grades the reference answers' mutants, and keeps a receipt of it beside the lab.

A mutant is a reference answer with one place changed by rule (`mutations`). Checks whose author has also thought up the
wrong variants let through what that author did not think of; a mutant that keeps its points is such a hole, or is right
by the docstring. Then `mutants.toml` beside the lab excuses it, by its name and a sentence of the docstring::

    [double]
    "if isinstance(x, str) and x:" = "A ValueError for a string that is not empty."

or, where the changed code gives the same results, by ``the same: `` and the reason.

Grading all takes minutes, so `mutants.json`, the receipt, says what came of it and of which answers and checks.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import random
import tomllib
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from autograder import processes
from autograder.authoring import mutations
from autograder.authoring.answered import checks_of, hurried, rows_of, together, with_variants
from autograder.authoring.mutations import Mutation
from autograder.errors import CourseError
from autograder.grading.cache import ResultCache
from autograder.grading.grader import Submission, Task
from autograder.grading.spread import Examiners
from autograder.labs.cell import Cell
from autograder.labs.lab import Lab
from autograder.labs.variants import Variant
from course_utils.checks import cases, expectations

EXCUSES, RECEIPT = "mutants.toml", "mutants.json"

SAME = "the same: "
"""How an excuse begins that needs no sentence of the docstring."""

SHOWN = 0.90
"""How many of an exercise's mutants, the excused ones left aside, the shown part of the checks must catch."""


SECONDS = 2.0
"""How long a check waits for a mutant: several times what a whole check takes with a right answer. Many never end.

For one that is excused, and so is as right as the reference answer, it waits as long as for a student's."""


@dataclass(frozen=True)
class Outcome:
    """What came of one exercise's mutants. A mutant that is not caught by the shown part may be by hidden lines.

    Attributes:
        of: stands for the exercise and its checks, as they were; see `digest`.
        mutants: how many there are.
        only_hidden: names of those that only hidden lines catch.
        survivors: names of those that keep their points, with the reasons that excuse them, or empty texts.
    """

    of: str
    mutants: int
    only_hidden: list[str]
    survivors: dict[str, str]

    def among(self, names: Collection[str]) -> Outcome:
        """The same of some of the mutants only."""
        survivors = {name: reason for name, reason in self.survivors.items() if name in names}
        return Outcome(self.of, len(names), [name for name in self.only_hidden if name in names], survivors)

    @property
    def faults(self) -> list[str]:
        """What does not hold, one line each."""
        faults = [f"survives: {name}" for name, reason in self.survivors.items() if not reason]
        wrong = self.mutants - len(self.survivors)
        if wrong - len(self.only_hidden) < SHOWN * wrong:
            faults.append(f"only hidden lines catch {len(self.only_hidden)} of {wrong}; at most {1 - SHOWN:.0%} may be")
        return faults


def mutants_of(exercise: Cell) -> list[Mutation]:
    """The mutants of an exercise's reference answer."""
    return mutations.mutations(exercise.source, exercise.solution_lines())


def grade_mutants(
    lab: Lab,
    exercises: Iterable[Cell],
    examiners: Examiners,
    cache: ResultCache | None = None,
    graded: Callable[[int], object] = lambda count: None,
    only: dict[str, set[str]] | None = None,
) -> dict[str, Outcome]:
    """Grades the mutants of some exercises by their checks: by their shown part, and by the whole where that is not
    enough.

    Args:
        graded: called after each grading, with how many mutants it was for.
        only: exercise -> the names of those to grade; by default all.

    Returns:
        Exercise -> what came of its mutants.

    Raises:
        CourseError: if `mutants.toml` excuses what is not there, or not in the docstring's words.
    """
    excused = {e.id: excuses(lab, e) for e in exercises}
    mutants = {e.id: mutants_of(e) for e in exercises}
    for exercise, names in excused.items():
        if unknown := sorted(names.keys() - {m.name for m in mutants[exercise]}):
            raise CourseError(f"{lab.folder / EXCUSES}: {exercise} has no mutant {unknown[0]!r}")
    if only is not None:
        mutants = {i: [m for m in own if m.name in only[i]] for i, own in mutants.items()}
    chosen = {i: {m.name for m in own} for i, own in mutants.items()}
    answers = [Variant(m.name, i, m.name in excused[i], m.source, "", "") for i, own in mutants.items() for m in own]
    not_shown = _that_pass(lab, answers, examiners, cache, graded, as_shown=True)
    left = _that_pass(lab, not_shown, examiners, cache, graded, as_shown=False)
    outcomes = {}
    for exercise in exercises:
        survivors = {v.name: excused[exercise.id].get(v.name, "") for v in left if v.exercise == exercise.id}
        if caught := excused[exercise.id].keys() & chosen[exercise.id] - survivors.keys():
            told = f"the checks of {exercise.id} catch {min(caught)!r}: remove the excuse"
            raise CourseError(f"{lab.folder / EXCUSES}: {told}")
        only_hidden = [v.name for v in not_shown if v.exercise == exercise.id and v.name not in survivors]
        outcomes[exercise.id] = Outcome(digest(lab, exercise), len(mutants[exercise.id]), only_hidden, survivors)
    return outcomes


def _that_pass(
    lab: Lab,
    answers: list[Variant],
    examiners: Examiners,
    cache: ResultCache | None,
    graded: Callable[[int], object],
    *,
    as_shown: bool,
) -> list[Variant]:
    """Those answers, in their order, that keep all points of their exercise."""
    tasks = {}
    for right, patient in ((False, hurried(lab, SECONDS)), (True, lab)):
        for group in together(patient, [v for v in answers if v.right == right]):
            own = {c.id for v in group for c in checks_of(patient, v.exercise)}
            task = Task(Submission("", patient, with_variants(patient, group)), cache, own, as_shown=as_shown)
            tasks[id(task)] = task, group
    passed = set()
    for task, report in examiners.examine_all(t for t, _ in tasks.values()):
        group, rows = tasks[id(task)][1], task.finish(report).rows
        passed |= {v for v in group if all(r.status == "passed" for r in rows_of(lab, v, rows))}
        graded(len(group))
    return [v for v in answers if v in passed]


def excuses(lab: Lab, exercise: Cell) -> dict[str, str]:
    """Names of an exercise's mutants that may survive, and why.

    Raises:
        CourseError: if the file is not TOML, names no exercise, or a reason is not the docstring's.
    """
    path = lab.folder / EXCUSES
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CourseError(f"{path} is not TOML: {error}") from error
    if unknown := sorted(table.keys() - {e.id for e in lab.exercises}):
        raise CourseError(f"{path}: {unknown[0]!r} is no exercise of {lab.name}")
    own = table.get(exercise.id, {})
    told = " ".join(exercise.source.split())
    for name, reason in own.items():
        same = reason.startswith(SAME) and reason.removeprefix(SAME).strip()
        if not same and " ".join(reason.split()) not in told:
            raise CourseError(f"{path}: the reason for {name!r} does not stand in the docstring of {exercise.id}")
    return own


def digest(lab: Lab, exercise: Cell) -> str:
    """Changes with all that decides whether a mutant is caught: given code, answer, mutants, checks, excuses, and of
    what checks are made of that which these use.

    The processes that run answer and checks are left out. They change often and are to change no result; whether they
    do, the tests find out, which grade mutants anew.
    """
    given = [c.source for c in lab.cells if c.kind == "given" and c.is_code and not c.explore]
    checks = [c.source for c in checks_of(lab, exercise.id)]
    own = [exercise.source, *(m.source for m in mutants_of(exercise)), excuses(lab, exercise)]
    return _hash([given, own, checks, lab.withheld, lab.check_seconds, _reached(checks)])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _reached(checks: list[str]) -> list[str]:
    """The definitions in `expectations` and `cases` that checks use, and those that these use."""
    defined: dict[str, ast.stmt] = {}
    for module in (expectations, cases):
        for node in _without_docstrings(Path(module.__file__).read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            named = [target.id for target in targets if isinstance(target, ast.Name)]
            defined.update(dict.fromkeys([*named, getattr(node, "name", "")], node))
    found: dict[str, str] = {}
    waiting: list[ast.AST] = [ast.parse(source) for source in checks]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Name) and node.id in defined and node.id not in found:
                found[node.id] = ast.unparse(defined[node.id])
                waiting.append(defined[node.id])
    return [found[name] for name in sorted(found)]


def _code(path: Path) -> str:
    """A module without comments and docstrings."""
    return ast.unparse(_without_docstrings(path.read_text(encoding="utf-8")))


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [n for n in node.body if not isinstance(n, ast.Expr) or not isinstance(n.value, ast.Constant)]
            node.body = node.body or [ast.Pass()]
    return tree


def read_receipt(lab: Lab) -> dict[str, Outcome]:
    """Exercise -> what came of its mutants when they were graded last. Empty if they never were."""
    path = lab.folder / RECEIPT
    if not path.is_file():
        return {}
    return {name: Outcome(**outcome) for name, outcome in json.loads(path.read_text(encoding="utf-8")).items()}


def write_receipt(lab: Lab, outcomes: dict[str, Outcome]) -> Path:
    """Writes what came of some exercises, beside what is known of the others; what is no exercise any more goes."""
    known = read_receipt(lab) | outcomes
    kept = {e.id: asdict(known[e.id]) for e in lab.exercises if e.id in known}
    path = lab.folder / RECEIPT
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    return path


def receipt_faults(lab: Lab) -> list[str]:
    """What a lab's receipt says against it, or that it is of another lab than today's; one line each."""
    receipt = read_receipt(lab)
    faults = []
    for exercise in lab.exercises:
        outcome = receipt.get(exercise.id)
        if outcome is None or outcome.of != digest(lab, exercise):
            old = "has changed since its mutants were graded" if outcome else "has mutants that were never graded"
            faults.append(f"{exercise.id} {old}: run `course mutants {lab.name} {exercise.id}`")
        else:
            faults += [f"{exercise.id}: {fault}" for fault in outcome.faults]
    return faults


def sample_of_the_day(lab: Lab) -> dict[str, set[str]]:
    """Exercise -> names of some of its mutants: of all together as many as an exercise has, on average, and some more.

    They are drawn by all that the outcomes depend on and by the code that runs answers and checks: others are when any
    of that changes. Those of different exercises are graded together, so all exercises cost no more than one.
    """
    folder = Path(processes.__file__).parent
    runs = [_code(path) for path in sorted(folder.glob("*.py"))]
    draw = random.Random(_hash([runs, *(digest(lab, e) for e in lab.exercises)]))
    names = {e.id: [m.name for m in mutants_of(e)] for e in lab.exercises}
    return {i: set(draw.sample(own, math.ceil(len(own) / len(names)))) for i, own in names.items()}


def chosen_exercises(lab: Lab, names: Iterable[str]) -> list[Cell]:
    """
    Raises:
        CourseError: if one is no exercise of the lab.
    """
    known = {e.id: e for e in lab.exercises}
    if unknown := [name for name in names if name not in known]:
        raise CourseError(f"{unknown[0]!r} is no exercise of {lab.name} ({', '.join(known)})")
    return [known[name] for name in names] or list(lab.exercises)
