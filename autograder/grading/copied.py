"""Names answers that are mostly a copy of `course_utils`: its sources lie on every student's machine.

A line is compared as its words, with each name one and the same word, so that renaming hides nothing; comments, layout
and docstrings are left out, and so is what is too short to say whose it is. A text that is packed cannot be
compared, and is named as such. **It is a hint and no proof:** there are few ways to write a formula down.
"""

from __future__ import annotations

import contextlib
import functools
import io
import keyword
import re
import token
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import course_utils
from autograder.labs.build import release
from autograder.labs.lab import Lab

LEAST_WORDS = 8
"""A line with fewer words is no sign: ``return x * scale`` may be anybody's."""

LEAST_LINES = 6
"""An answer with fewer lines to compare is not judged: there a copy and a right answer look the same."""

LONGEST = 200_000
"""Letters of an answer that is compared: ten of the largest modules of `course_utils` have fewer."""

SHOWN = 8
"""Of the shared lines, how many are told."""

UNREADABLE = re.compile(r"\S{100,}")
"""So many letters without a blank are no sentence; the shortest packed function has hundreds."""

MOSTLY = 0.75
"""The part of an answer's lines from which on it is named. Pastes have 80% to 100% (benchmarks/pasted.py)."""


@dataclass(frozen=True)
class Copied:
    """An answer that is mostly a copy.

    Attributes:
        exercise: its ``grade_id``.
        share: the part of its lines that stand in `course_utils`, 0 to 1.
        source: the file where most of them stand, from the package's folder.
        lines: of the answer, that stand there.
    """

    exercise: str
    share: float
    source: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.exercise}: {self.share:.0%} of its lines stand in course_utils/{self.source}"

    @property
    def with_lines(self) -> str:
        """The same with the first of the lines, as the report shows it."""
        more = f" | ... {len(self.lines) - SHOWN} more" if len(self.lines) > SHOWN else ""
        return f"{self}: {' | '.join(self.lines[:SHOWN])}{more}"


def copied(lab: Lab, answers: Mapping[str, str], least: float = MOSTLY) -> list[Copied]:
    """The answers that share lines with `course_utils`, and how much.

    Args:
        answers: exercise -> source.
        least: answers that share less are left out.
    """
    released = _released_lines(lab)
    found = []
    for exercise in lab.exercises:
        if len(answers.get(exercise.id, "")) > LONGEST:
            continue
        own = {words: text for words, text in lines_of(answers.get(exercise.id, "")).items() if words not in released}
        if len(own) < LEAST_LINES:
            continue
        shared = [words for words in own if words in kit_lines()]
        if shared and len(shared) / len(own) >= least:
            files = [kit_lines()[words] for words in shared]
            most = max(sorted(set(files)), key=files.count)
            found.append(Copied(exercise.id, len(shared) / len(own), most, tuple(own[words] for words in shared)))
    return found


def packed(lab: Lab, answers: Mapping[str, str]) -> list[str]:
    """A line for each answer with a text in it that nobody can read, as `course_utils` is packed for students: it may
    hide a copy."""
    found = []
    for exercise in lab.exercises:
        source = answers.get(exercise.id, "")
        texts = [part.string for part in _tokens(source) if part.type == token.STRING] if len(source) <= LONGEST else []
        if longest := max((len(run) for text in texts for run in UNREADABLE.findall(text)), default=0):
            found.append(f"{exercise.id}: holds a text without a blank in {longest} letters, which may be run")
    return found


@functools.cache
def _released_lines(lab: Lab) -> frozenset[tuple[str, ...]]:
    return frozenset(words for cell in release(lab).cells for words in lines_of(cell.source))


@functools.cache
def kit_lines() -> dict[tuple[str, ...], str]:
    """Every line of `course_utils` that is long enough to tell, as words -> the file."""
    folder = Path(course_utils.__file__).parent
    lines: dict[tuple[str, ...], str] = {}
    for path in sorted(folder.rglob("*.py")):
        for words in lines_of(path.read_text(encoding="utf-8")):
            lines.setdefault(words, path.relative_to(folder).as_posix())
    return lines


def lines_of(source: str) -> dict[tuple[str, ...], str]:
    """The logical lines of a source that are long enough, as words -> text. What is no Python ends where it breaks."""
    lines: dict[tuple[str, ...], str] = {}
    parts: list[tokenize.TokenInfo] = []
    skipped = (token.INDENT, token.DEDENT, token.COMMENT, token.NL, token.ENDMARKER)
    for part in _tokens(source):
        if part.type == token.NEWLINE:
            if len(parts) >= LEAST_WORDS:
                lines.setdefault(tuple(map(_word, parts)), " ".join(p.string for p in parts))
            parts = []
        elif part.type not in skipped:
            parts.append(part)
    return lines


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """What is no Python ends where it breaks."""
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        yield from tokenize.generate_tokens(io.StringIO(source).readline)


def _word(part: tokenize.TokenInfo) -> str:
    if part.type == token.NAME and not keyword.iskeyword(part.string):
        return "name"
    return "text" if part.type == token.STRING else part.string
