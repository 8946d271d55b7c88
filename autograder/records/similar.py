"""Which answers of a class are alike, the released code left aside.

Answers are compared as sequences of tokens in which names and literals are one word each, comments and layout none: so
renaming hides nothing. **Likeness is no proof.** Short exercises have few right answers, and students are told what to
write; look at the pairs yourself.
"""

from __future__ import annotations

import difflib
import io
import itertools
import keyword
import token
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass

from autograder.grading.grader import Submission
from autograder.labs.build import release
from autograder.labs.lab import Lab

LEAST = 40  # words that an answer must have beyond the released ones: what is shorter is alike by chance
ALIKE = 0.7  # pairs below are not listed, and most of them need not be compared in full


@dataclass(frozen=True)
class Pair:
    """Two answers to one exercise.

    Attributes:
        likeness: 0 to 1; the part of their tokens, in order, that they share.
        common: lines that stand in both, layout and comments aside, and not in the release.
    """

    exercise: str
    first: str
    second: str
    likeness: float
    common: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Students whose answers are alike, and to which exercises; of `common` those of the first exercise."""

    students: tuple[str, ...]
    exercises: tuple[tuple[str, float], ...]  # with the likeness, the most alike first
    common: tuple[str, ...]


def grouped(pairs: Iterable[Pair]) -> list[Group]:
    """Pairs put together: who has the same answer, names aside, is one group, and one group in all exercises where the
    same students have it. The groups with the most exercises that are alike come first."""
    alike: dict[tuple[str, ...], dict[str, Pair]] = {}
    by_exercise: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_exercise.setdefault(pair.exercise, []).append(pair)
    for exercise, found in by_exercise.items():
        same = _same(found)
        for pair in found:
            students = tuple(sorted({*same.get(pair.first, [pair.first]), *same.get(pair.second, [pair.second])}))
            own = alike.setdefault(students, {})
            own[exercise] = min(own.get(exercise, pair), pair, key=lambda p: p.likeness)
    groups = [
        Group(
            students,
            tuple((p.exercise, p.likeness) for p in sorted(own.values(), key=lambda p: -p.likeness)),
            max(own.values(), key=lambda p: p.likeness).common,
        )
        for students, own in alike.items()
    ]
    return sorted(groups, key=lambda g: (-sum(likeness for _, likeness in g.exercises), g.students))


def _same(pairs: list[Pair]) -> dict[str, set[str]]:
    """Student -> all who have the same answer as sequences of words."""
    same: dict[str, set[str]] = {}
    for pair in pairs:
        if pair.likeness == 1:
            together = same.get(pair.first, {pair.first}) | same.get(pair.second, {pair.second})
            same |= dict.fromkeys(together, together)
    return same


def similar(lab: Lab, submissions: Iterable[Submission]) -> list[Pair]:
    """Pairs of answers that are long enough to say anything and at least `ALIKE`, the most alike first."""
    released = [cell.source for cell in release(lab).cells]
    known = {text for source in released for text, _ in _lines(source)}
    found = []
    submissions = list(submissions)
    for exercise in lab.exercises:
        answers = {s.student: _lines(s.answers.sources.get(exercise.id, "")) for s in submissions}
        own = {student: [line for line in lines if line[0] not in known] for student, lines in answers.items()}
        words = {student: [word for _, line in lines for word in line] for student, lines in own.items()}
        for one, other in itertools.combinations(sorted(s for s in words if len(words[s]) >= LEAST), 2):
            matcher = difflib.SequenceMatcher(None, words[one], words[other], autojunk=False)
            if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < ALIKE or matcher.ratio() < ALIKE:
                continue
            shared = {text for text, _ in own[other]}
            common = tuple(text for text, line in own[one] if text in shared and len(line) > 2)
            found.append(Pair(exercise.id, one, other, matcher.ratio(), common))
    return sorted(found, key=lambda pair: (-pair.likeness, -len(pair.common), pair.exercise, pair.first, pair.second))


def _lines(source: str) -> list[tuple[str, list[str]]]:
    """The logical lines of a source, each as text and as words.

    The text has one blank between words; of the words, names, numbers and strings stand for all of their kind.
    Comments and layout are left out. What is no Python ends where Python's tokenizer gives up.
    """
    lines: list[tuple[str, list[str]]] = []
    parts: list[tokenize.TokenInfo] = []
    skipped = (token.INDENT, token.DEDENT, token.COMMENT, token.NL, token.ENDMARKER)
    try:
        for part in tokenize.generate_tokens(io.StringIO(source).readline):
            if part.type == token.NEWLINE:
                lines.append((" ".join(p.string for p in parts), [_word(p) for p in parts]))
                parts = []
            elif part.type not in skipped:
                parts.append(part)
    except (tokenize.TokenError, SyntaxError):
        pass
    return lines


def _word(part: tokenize.TokenInfo) -> str:
    if part.type == token.NAME:
        return part.string if keyword.iskeyword(part.string) else "name"
    return {token.NUMBER: "number", token.STRING: "text"}.get(part.type, part.string)
