"""Which answers of a class are alike, the released code left aside.

Answers are compared as sequences of tokens in which names and literals are one word each, comments and layout none: so
renaming hides nothing. **Likeness is no proof.** Short exercises have few right answers, and students are told what to
write; look at the pairs yourself.
"""

from __future__ import annotations

import io
import itertools
import keyword
import token
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from autograder.grading.copied import SHOWN, copied, kit_lines, packed
from autograder.grading.reading import Submission
from autograder.labs.build import release
from autograder.labs.lab import Lab
from autograder.processes.limited import Limited, Stopped
from autograder.sandbox.strangers import shortened

LEAST = 40  # words that an answer must have beyond the released ones: what is shorter is alike by chance
MOST = 20_000  # words that an answer may have; two such are compared in a fifth of a second
ALIKE = 0.75  # pairs below are not listed, and most of them need not be compared in full

Lines = list[tuple[str, list[str]]]  # see `_lines`


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


@dataclass
class Compared:
    """What came of looking at a class.

    Attributes:
        pairs: of answers that are alike, the most alike first.
        copies: student -> what is to be said of answers that are mostly a copy of `course_utils`, or may hide one;
            each with the first lines of it.
        left_out: student -> what of theirs was not compared, and why.
    """

    pairs: list[Pair] = field(default_factory=list)
    copies: dict[str, list[tuple[str, list[str]]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


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


def compare(lab: Lab, submissions: Iterable[Submission]) -> Compared:
    """Compares everybody's answers. They are taken apart in a child with limits."""
    found, own = Compared(), {}
    known = {text for cell in release(lab).cells for text, _ in _lines(cell.source)}
    kit_lines()  # once for all children
    with Limited({"look": lambda sources: _looked(lab, known, sources)}) as limited:
        for submission in submissions:
            if submission.unreadable:
                found.left_out[submission.student] = submission.unreadable
                continue
            try:
                own[submission.student], copies = limited.call("look", submission.answers.sources)
            except Stopped as error:
                found.left_out[submission.student] = f"the answers cannot be compared: {error}"
                continue
            if copies:
                found.copies[submission.student] = [(text, lines) for text, lines in copies]
            told = [*submission.answers.refused.values()]
            for exercise, lines in own[submission.student].items():
                if (words := sum(len(line) for _, line in lines)) > MOST:
                    told.append(f"{exercise}: {words:,} words are too many to be compared")
            if told:
                found.left_out[submission.student] = "; ".join(told)
    for exercise in lab.exercises:
        lines = {student: theirs[exercise.id] for student, theirs in own.items() if exercise.id in theirs}
        found.pairs += _pairs(exercise.id, lines)
    found.pairs.sort(key=lambda pair: (-pair.likeness, -len(pair.common), pair.exercise, pair.first, pair.second))
    return found


def similar(lab: Lab, submissions: Iterable[Submission]) -> list[Pair]:
    """Pairs of answers that are long enough to say anything and at least `ALIKE`, the most alike first."""
    return compare(lab, submissions).pairs


def _looked(lab: Lab, known: set[str], sources: dict[str, str]) -> tuple[dict[str, Lines], list[tuple[str, list[str]]]]:
    """Exercise -> lines beyond the released ones; and what `Compared.copies` says of one student."""
    lines = {
        exercise.id: [line for line in _lines(sources[exercise.id]) if line[0] not in known]
        for exercise in lab.exercises
        if exercise.id in sources
    }
    copies = [(str(copy), [shortened(line, 500) for line in copy.lines[:SHOWN]]) for copy in copied(lab, sources)]
    return lines, copies + [(line, []) for line in packed(lab, sources)]


def _pairs(exercise: str, lines: dict[str, Any]) -> list[Pair]:
    words = {student: [word for _, line in own for word in line] for student, own in lines.items()}
    counts = {student: Counter(own) for student, own in words.items() if LEAST <= len(own) <= MOST}
    found = []
    for one, other in itertools.combinations(sorted(counts), 2):
        length = len(words[one]) + len(words[other])
        if 2 * (counts[one] & counts[other]).total() < ALIKE * length:  # no order could make them more alike
            continue
        likeness = 2 * _in_common(words[one], words[other]) / length
        if likeness >= ALIKE:
            shared = {text for text, _ in lines[other]}
            common = tuple(shortened(text, 500) for text, line in lines[one] if text in shared and len(line) > 2)
            found.append(Pair(exercise, one, other, likeness, common))
    return found


def _in_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, all of a row at once in the bits of one number.

    Takes len(one) * len(other) / 30 steps, whatever the words. Source: H. Hyyrö, Bit-Parallel LCS-length Computation
    Revisited (AWOCA 2004).
    """
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    every = (1 << len(one)) - 1
    left = every  # bits that are 0 are those where the common part grows
    for word in other:
        met = left & places.get(word, 0)
        left = ((left + met) | (left - met)) & every
    return len(one) - left.bit_count()


def _lines(source: str) -> Lines:
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
