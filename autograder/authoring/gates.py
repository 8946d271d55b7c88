"""The honesty gates: what every lab must pass before a student sees it.

Each gate grades some answers of known worth and compares. A gate yields one `Verdict` after the other; a lab passes
when all hold.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.authoring.answered import (
    checks_of,
    points_of,
    reference_answers,
    released_answers,
    rows_of,
    together,
    with_variants,
)
from autograder.authoring.slips import slips
from autograder.grading.grader import Graded, Grader, Row, Submission, make_job
from autograder.grading.submission import Answers
from autograder.labs.build import is_current, release_bytes
from autograder.labs.cell import Cell
from autograder.labs.lab import MIN_RIGHT, MIN_WRONG, Lab
from autograder.labs.variants import Variant
from autograder.records.gradebook import autograded_notebook
from course_utils.checks import hints

KEPT = ("passed", "by hand")

UNBROKEN = "no variant breaks: "

SHOWN_OF_LAB, SHOWN_OF_EXERCISE = 0.95, 0.90
"""Of a lab's and of each exercise's wrong variants, how many the shown part of the checks must catch."""

NUMBER_LIES = ("huge", "tiny", "negative", "not a number", "whole and huge", "whole and negative")
PROBE_LIES = ("yes", "no", "the opposite", "all alike", "nothing", "an echo")
DRAWS = 3  # of inputs for a candidate that lies in reply to probes
LIE_TOLD = "a lie was told"
"""What `lies.py` knows to tell, and what it prints."""


@dataclass(frozen=True)
class Verdict:
    """One thing that a gate looked at."""

    gate: str
    subject: str
    holds: bool
    score: float | None = None
    max_score: float | None = None
    message: str = ""


def run_gates(lab: Lab, grader: Grader, chosen: Collection[int] = (), seeds: int = 1) -> Iterator[Verdict]:
    """All gates of a lab, or those with the ``chosen`` numbers (from 1): one verdict after the other.

    The first is always tried: where the reference answers lose points, the others would say nothing, and are left out,
    but for the last, which grades nothing and is told before all.

    Args:
        seeds: how many times the checks of gates 1, 4 and 5 draw their inputs; and in gate 13 each variant its lie.
    """
    if not chosen or len(GATES) in chosen:
        yield from nothing_slips(lab, grader)
        if chosen and set(chosen) == {len(GATES)}:
            return
    reference = list(reference_scores_all(lab, grader))
    holds = all(verdict.holds for verdict in reference)
    if not holds or not chosen or 1 in chosen:
        yield from reference
    if not holds:
        told = "not tried: they would say nothing while the reference answers lose points"
        yield Verdict("the other gates", lab.name, False, message=told)
        return
    for number, gate in enumerate(GATES[:-1], start=1):
        if number != 1 and (not chosen or number in chosen):
            yield from gate(lab, grader)
    for grader.draw in range(1, seeds):
        for number, gate in enumerate(GATES, start=1):
            if number in (1, 4, 5, 13) and (not chosen or number in chosen):
                yield from (replace(v, gate=f"{v.gate}, seed {grader.draw + 1}") for v in gate(lab, grader))
    grader.draw = 0


def reference_scores_all(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """1. The reference answers earn every point."""
    graded = _grade(lab, grader, reference_answers(lab))
    yield _verdict("reference scores all", "reference answers", graded, lab.max_score)


def release_scores_nothing(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """2. The untouched release earns nothing, and every question says that it was not attempted."""
    graded = _grade(lab, grader, released_answers(lab))
    attempted = [r.question for r in graded.rows if r.status != "not attempted"]
    message = f"counts as attempted: {', '.join(attempted)}" if attempted else ""
    yield _verdict("release scores nothing", "untouched release", graded, 0.0, also=not attempted, message=message)


def alone_earns_its_own(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """3. Each exercise, answered alone, earns exactly its own points."""
    for exercise in lab.exercises:
        answers = released_answers(lab)
        answers.sources[exercise.id] = exercise.source
        graded = _grade(lab, grader, answers)
        yield _verdict("alone earns its own", exercise.id, graded, points_of(lab, exercise.id))


def wrong_variants_lose(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """4. Every wrong variant loses points and gets the message that names its mistake's rule."""
    gate = "wrong variant loses"
    wrong = lab.variants(right=False)
    yield from _enough(gate, lab, wrong, MIN_WRONG)
    broken: set[str] = set()
    lost_rows = _lost_at_all(lab, grader, wrong)
    for variant in wrong:
        own = lost_rows[variant]
        if not _names_rule(own, variant):  # before it is said: what comes of the variant without company
            own = _lost_rows(lab, grader, [variant])[variant]
        messages, lost, named = _told(own), bool(own), _names_rule(own, variant)
        reason = "" if lost and named else "full score: " if not lost else f"no message names {variant.rule!r}: "
        points = points_of(lab, variant.exercise)
        score = points - sum(r.max_score for r in own)
        broken.update(match for r in own for match in re.findall(r"rule broken: (.+)", r.message))
        yield Verdict(gate, variant.name, lost and named, score, points, reason + messages)
    for check, rule in rules_of(lab, grader):  # no fault, but what nobody breaks may as well hold for every answer
        if rule not in broken and not grader.draw:
            yield Verdict(gate, check, True, message=f"{UNBROKEN}{rule}")


def rules_of(lab: Lab, grader: Grader) -> list[tuple[str, str]]:
    """Every rule that holds for the reference answers, with the check that states it first."""
    job = replace(make_job(lab, reference_answers(lab)), list_rules=True)
    rules: dict[str, str] = {}
    for result in grader.examine(job).results:
        for rule in result["rules"]:
            rules.setdefault(" ".join(rule.split()), result["question"])
    return [(check, rule) for rule, check in rules.items()]


def right_variants_score(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """5. Every right variant, however written, earns every point, and takes none from the others."""
    gate = "right variant scores"
    right = lab.variants(right=True)
    yield from _enough(gate, lab, right, MIN_RIGHT)
    # the first ones of all exercises are graded together, then the second ones: a few submissions instead of many, and
    # variants that hinder each other are found, too
    by_exercise = [[v for v in right if v.exercise == exercise.id] for exercise in lab.exercises]
    for company in itertools.zip_longest(*by_exercise):
        variants = [v for v in company if v is not None]
        lost_rows = [r for r in _grade(lab, grader, with_variants(lab, variants)).rows if r.status not in KEPT]
        for variant in variants:
            own = {c.id for c in checks_of(lab, variant.exercise)}
            lost = [r for r in lost_rows if r.question in own]
            lost_rows = [r for r in lost_rows if r.question not in own]
            points = points_of(lab, variant.exercise)
            score = points - sum(r.max_score for r in lost)
            yield Verdict(gate, variant.name, not lost, score, points, " | ".join(r.message for r in lost))
        for row in lost_rows:
            names = ", ".join(v.name for v in variants)
            yield Verdict(gate, row.question, False, message=f"lost beside {names}: {row.message}")


def nothing_leaks(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """6. No line of an answer, hidden check or model answer is in the release, nor in what feedback is made from."""
    secrets = secret_lines(lab)
    yield Verdict("nothing leaks", "something to hide", bool(secrets), message=f"{len(secrets)} secret lines")
    texts = {"release": ([release_bytes(lab).decode("utf-8")], ""), "hints": ([str(lab.hints)], "")}
    graded = {"the release": _grade(lab, grader, released_answers(lab))}
    wrong = lab.variants(right=False)
    for group, result in _grade_together(lab, grader, wrong, as_shown=True):
        graded[f"{', '.join(v.name for v in group)} as shown"] = result
    for group, result in _grade_together(lab, grader, _left_by_shown(lab, grader, wrong)):
        graded[", ".join(v.name for v in group)] = result
    for who, result in graded.items():
        # what the student wrote is no secret to the student, also where a traceback shows a line of it
        own = "\n".join(result.submission.answers.sources.values())
        cells = autograded_notebook(result).cells
        texts[f"feedback on {who}"] = ([text for c in cells for text in (c.source, str(c.get("outputs", "")))], own)

    @functools.cache  # feedback pages have most of their cells in common
    def found(text: str) -> tuple[str, ...]:
        return tuple(line for line in secrets if line in text)

    for name, (parts, own) in texts.items():
        leaked = [line for part in parts for line in found(part) if line not in own]
        yield Verdict("nothing leaks", name, not leaked, message=f"contains: {leaked[0]}" if leaked else "")


def order_does_not_matter(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """7. Grading three times in shuffled order gives identical results."""
    right, wrong = (together(lab, lab.variants(right=right)) for right in (True, False))
    submissions = [*right[:1], *wrong[:1]]  # with a variant of most exercises each
    names = [f"{'right' if v[0].right else 'wrong'}: {', '.join(each.name for each in v)}" for v in submissions]
    seen: dict[str, set[str]] = {name: set() for name in names}
    order = list(zip(names, submissions, strict=True))
    for seed in range(3):
        random.Random(seed).shuffle(order)
        for name, variants in order:
            # the first time, what another gate or an earlier run has graded will do: it should be the same, too
            rows = grader.grade(Submission("", lab, with_variants(lab, variants)), afresh=seed > 0).rows
            seen[name].add(repr([(r.question, r.score, r.status, r.message) for r in rows]))
    for name, results in seen.items():
        message = "" if len(results) == 1 else f"{len(results)} different results"
        yield Verdict("order does not matter", name, len(results) == 1, message=message)


def release_is_current(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """8. The committed release equals a fresh build, byte for byte."""
    current = is_current(lab)
    message = "" if current else f"run `course build {lab.name}` and commit notebooks/{lab.name}"
    yield Verdict("release is current", lab.name, current, message=message)


def hints_are_there(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """9. Every exercise has the two levels of hints that the result panel opens on demand."""
    exercises = [exercise.id for exercise in lab.exercises]
    for name in dict.fromkeys([*exercises, *lab.hints]):
        levels = lab.hints.get(name, {})
        if name not in exercises:
            message = "is no exercise of this lab"
        else:
            missing = [level for level in hints.KEYS if not str(levels.get(level, "")).strip()]
            message = f"{lab.hints_path.name} lacks {' and '.join(missing)}" if missing else ""
        yield Verdict("hints are there", name, not message, message=message)
    for cell in lab.cells:
        if cell.kind == "check":  # the panel looks its hints up by this name
            own = lab.exercise_of(cell).id
            others = {name for name in re.findall(r"with check\(\"([^\"]*)\"", cell.source) if name != own}
            message = f"says check({others.pop()!r}), not check({own!r})" if others else ""
            yield Verdict("hints are there", cell.id, not message, message=message)


def shown_checks_catch(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """10. A green tick means something: what a student sees of the checks catches nearly every wrong variant alone."""
    gate = "shown checks catch"
    wrong = lab.variants(right=False)
    lost = _lost_rows(lab, grader, wrong, as_shown=True)
    ratios = {}
    for exercise in (*(e.id for e in lab.exercises), lab.name):
        of_it = [v for v in wrong if exercise in (v.exercise, lab.name)]
        least = SHOWN_OF_LAB if exercise == lab.name else SHOWN_OF_EXERCISE
        caught = sum(bool(lost[v]) for v in of_it)
        ratios[exercise] = caught >= least * len(of_it)
        told = f"{caught} of {len(of_it)} wrong variants caught; at least {least:.0%} are needed"
        yield Verdict(gate, exercise, ratios[exercise], message=told)
    for variant in wrong:  # a missed one is at fault only where too many are missed
        holds = bool(lost[variant]) or (ratios[variant.exercise] and ratios[lab.name])
        yield Verdict(gate, variant.name, holds, message=_told(lost[variant]) or "only hidden lines catch it")


def mutants_are_caught(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """11. The receipt of `course mutants` is of today's lab, and says nothing against it."""
    from autograder.authoring.mutants import receipt_faults

    gate, faults = "mutants are caught", receipt_faults(lab)
    yield Verdict(gate, lab.name, not faults, message=f"{len(faults)} faults" if faults else "")
    for fault in faults:
        exercise, _, told = fault.partition(": ")
        yield Verdict(gate, exercise, False, message=told)


def withheld_refuses(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """12. What the lab withholds refuses: an answer that asks for each thing gets none."""
    gate, exercise = "withheld refuses", lab.exercises[0].id
    source = Path(__file__).with_name("asks.py").read_text(encoding="utf-8")
    answers = reference_answers(lab)
    answers.sources[exercise] = source.replace("ENTRIES: list[str] = []", f"ENTRIES = {lab.withheld!r}")
    graded = _grade(lab, grader, answers)
    output = graded.output.get(exercise, "").splitlines()
    asked = "all were asked" in output
    own = {c.id for c in checks_of(lab, exercise)}
    message = " | ".join(r.message for r in graded.rows if r.question in own)
    yield Verdict(gate, f"{len(lab.withheld)} entries", asked, message="" if asked else message)
    for line in output:
        if line.startswith("does not refuse: "):
            yield Verdict(gate, line.removeprefix("does not refuse: "), False, message="does not refuse")


def lies_gain_nothing(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """13. What a candidate says is a claim: who lies about numbers, or in reply to probes, gains nothing by it, and no
    check computes with absurd numbers before it looks at them."""
    gate = "lies gain nothing"
    numbers: dict[bool, set[str]] = {}  # whether whole ones -> the checks that are told such numbers
    for lie in NUMBER_LIES:
        answers = reference_answers(lab)
        last = lab.exercises[-1].id
        answers.sources[last] = _lying(answers.sources[last], lie)
        # a check that the first lie about such numbers has nothing to turn in goes the same way under the next one
        graded = grader.grade(Submission("", lab, answers), only=numbers.get(lie.startswith("whole")))
        lied = {r.question for r in graded.rows if LIE_TOLD in graded.output.get(r.question, "")}
        numbers.setdefault(lie.startswith("whole"), lied)
        yield Verdict(gate, f"numbers: {lie}", True, message=f"told in {len(lied)} checks")
        for row in graded.rows:
            if row.status in ("timeout", "crashed") or (row.status == "passed" and row.question in lied):
                told = "all points for numbers" if row.status == "passed" else f"{row.status} on numbers"
                yield Verdict(gate, row.question, False, message=f"{told} that are {lie}: {row.message}")
    probing = [c for c in lab.cells if c.kind == "check" and "@probe" in c.source]
    asked = {lab.exercise_of(c).id for c in probing}
    wrong = lab.variants(right=False)
    lost = _lost_at_all(lab, grader, wrong)  # of all: fewer would make other groups, which gate 4 has not graded
    wrong = [v for v in wrong if v.exercise in asked]
    told = {v: PROBE_LIES[(number + grader.draw) % len(PROBE_LIES)] for number, v in enumerate(wrong)}
    for lie in PROBE_LIES:
        for group in together(lab, [v for v in wrong if told[v] == lie]):
            answers = with_variants(lab, [replace(v, source=_lying(v.source, lie)) for v in group])
            # one that has no result in time costs time, and a lie has nothing to turn
            rows = {r.question: v for v in group for r in lost[v] if r.status != "timeout"}
            only = {c.id for c in probing} & rows.keys()
            for _ in range(DRAWS):  # a mistake that not all inputs show gains a point by luck, a lie every time
                if only:
                    graded = grader.grade(Submission("", lab, answers), only=only)
                    only = {r.question for r in graded.rows if r.status == "passed"}
                grader.draw += 1
            grader.draw -= DRAWS
            gained = {rows[question]: question for question in only}
            for variant in group:
                message = f"gains {gained[variant]} by lying: {lie}" if variant in gained else ""
                yield Verdict(gate, variant.name, variant not in gained, message=message)


def nothing_slips(lab: Lab, grader: Grader) -> Iterator[Verdict]:
    """14. The source has no slips that grading cannot show: see `autograder.authoring.slips`."""
    gate, found = "nothing slips", list(slips(lab))
    yield Verdict(gate, lab.name, not found, message=f"{len(found)} slips" if found else "")
    for where, told in found:
        yield Verdict(gate, where, False, message=told)


def _lying(answer: str, lie: str) -> str:
    source = Path(__file__).with_name("lies.py").read_text(encoding="utf-8").replace('LIE: str = ""', f"LIE = {lie!r}")
    return f"{answer}\nexec({source!r}, {{}})\n"


GATES: list[Callable[[Lab, Grader], Iterator[Verdict]]] = [
    reference_scores_all,
    release_scores_nothing,
    alone_earns_its_own,
    wrong_variants_lose,
    right_variants_score,
    nothing_leaks,
    order_does_not_matter,
    release_is_current,
    hints_are_there,
    shown_checks_catch,
    mutants_are_caught,
    withheld_refuses,
    lies_gain_nothing,
    nothing_slips,
]


def _grade(lab: Lab, grader: Grader, answers: Answers) -> Graded:
    return grader.grade(Submission("", lab, answers))


def _grade_together(
    lab: Lab, grader: Grader, variants: list[Variant], *, as_shown: bool = False
) -> Iterator[tuple[list[Variant], Graded]]:
    """Grades variants among reference answers by the checks of their own exercises: those must find their mistakes."""
    for group in together(lab, variants):
        own = {c.id for v in group for c in checks_of(lab, v.exercise)}
        submission = Submission("", lab, with_variants(lab, group))
        yield group, grader.grade(submission, only=own, as_shown=as_shown)


def _lost_rows(
    lab: Lab, grader: Grader, variants: list[Variant], *, as_shown: bool = False
) -> dict[Variant, list[Row]]:
    """What each variant loses of its own exercise's checks."""
    lost = {}
    for group, graded in _grade_together(lab, grader, variants, as_shown=as_shown):
        for variant in group:
            lost[variant] = [r for r in rows_of(lab, variant, graded.rows) if r.status != "passed"]
    return lost


def _lost_at_all(lab: Lab, grader: Grader, wrong: list[Variant]) -> dict[Variant, list[Row]]:
    """What each variant loses, by the whole checks where their shown part does not settle it."""
    lost = _lost_rows(lab, grader, wrong, as_shown=True)
    return lost | _lost_rows(lab, grader, _left_by_shown(lab, grader, wrong))


def _left_by_shown(lab: Lab, grader: Grader, wrong: list[Variant]) -> list[Variant]:
    """Those that the whole checks must judge: the others break the rule of their mistake on a shown line, with an input
    that is the same for everybody, so that the grader's seed and hidden lines change nothing about it."""
    settled = set()
    for group, graded in _grade_together(lab, grader, wrong, as_shown=True):
        for variant in group:
            lost = [r for r in rows_of(lab, variant, graded.rows) if r.status != "passed"]
            if _names_rule([r for r in lost if r.question not in graded.drew], variant):
                settled.add(variant)
    return [v for v in wrong if v not in settled]


def _told(lost: list[Row]) -> str:
    return " | ".join(" ".join(r.message.split()) for r in lost)


def _names_rule(lost: list[Row], variant: Variant) -> bool:
    return bool(lost) and " ".join(variant.rule.split()) in _told(lost)


def secret_lines(lab: Lab) -> list[str]:
    """Lines of answers, hidden checks and model answers that do not stand in the rest of the lab too.

    Short ones (a bare ``return q``) give nothing away and would be found by chance.
    """
    public: set[str] = set()
    secret: list[str] = []
    for cell in lab.cells:
        hidden = _secret_line_numbers(cell)
        for number, line in enumerate(cell.source.splitlines(), start=1):
            (secret.append if number in hidden else public.add)(line.strip())
    shown = "\n".join(public)
    return sorted({line for line in secret if len(line) >= 25 and line not in shown})


def _secret_line_numbers(cell: Cell) -> set[int]:
    if cell.kind == "written":
        return set(range(1, len(cell.source.splitlines()) + 1))
    return cell.solution_lines() if cell.kind == "exercise" else cell.hidden_lines()


def _enough(gate: str, lab: Lab, variants: list[Variant], least: int) -> Iterator[Verdict]:
    for exercise in lab.exercises:
        count = sum(v.exercise == exercise.id for v in variants)
        yield Verdict(gate, f"{exercise.id} has {count}", count >= least, message=f"at least {least} are needed")


def _verdict(
    gate: str, subject: str, graded: Graded, wanted: float, *, also: bool = True, message: str = ""
) -> Verdict:
    broken = [r.message for r in graded.rows if r.status not in (*KEPT, "not attempted")]
    holds = graded.score == wanted and also
    text = "" if holds else " | ".join([f"wanted {wanted:g}", *([message] if message else []), *broken])
    return Verdict(gate, subject, holds, graded.score, graded.submission.lab.max_score, text)
