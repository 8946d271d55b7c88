"""Looks for answers in what is handed out: every file, every file in a zip or wheel, every text in a notebook.

A secret is a line of a reference answer, of a hidden check or of a model answer, unless a lab shows it to everybody;
and the first line of each variant in ``right/`` and ``wrong/``, which says what it is. Packed modules are unpacked.
They do what an exercise asks for, so a line of an answer may stand there, and nowhere else; other secrets may not.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from autograder.authoring.gates import secret_lines
from autograder.handout.wheel import unpacked
from autograder.labs.build import release
from autograder.labs.lab import Lab

SHORTEST = 25
"""Letters of the shortest secret (see `secret_lines`): each is looked up by as many."""

WRITING = re.compile(rf"[^\x00-\x08\x0e-\x1f\x7f\ufffd]{{{SHORTEST},}}")
"""As much writing as a secret is long, at least: in trained weights there is hardly any."""


class Secret(NamedTuple):
    """A line that must not be told, and where it stands."""

    where: str
    line: str
    answer: bool  # of a reference answer, and of nothing else


Secrets = dict[str, list[Secret]]
"""The first `SHORTEST` letters -> secrets that begin so."""


def secrets_of(labs: Iterable[Lab]) -> Secrets:
    """What must not be found in what is handed out of these labs. Give all labs of the course, also those that stay."""
    labs = list(labs)
    shown = "\n".join(cell.source for lab in labs for cell in release(lab).cells)
    secrets: Secrets = {}
    for lab in labs:
        hidden = {line for cell in lab.cells if cell.kind in ("check", "written") for line in _lines(cell.source)}
        own = [Secret(lab.name, line, line not in hidden) for line in secret_lines(lab)]
        for secret in [*own, *_variants(lab)]:
            if len(secret.line) >= SHORTEST and secret.line not in shown:  # what another lab gives everybody is none
                secrets.setdefault(secret.line[:SHORTEST], []).append(secret)
    return secrets


def _lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


def _variants(lab: Lab) -> Iterator[Secret]:
    for right in (True, False):
        for variant in lab.variants(right=right):
            word, where = "Way" if right else "Mistake", f"{lab.name}, {variant.name}"
            yield Secret(where, f"# {word}: {variant.about}", False)
            yield Secret(where, f'{word.lower()} = "{variant.about}"', False)


def found_in(text: str, secrets: Secrets) -> set[Secret]:
    """The secrets that stand in a text."""
    return {
        secret
        for run in WRITING.finditer(text)
        for at in range(run.start(), run.end() - SHORTEST + 1)
        for secret in secrets.get(text[at : at + SHORTEST], ())
        if text.startswith(secret.line, at)
    }


def leaks(name: str, content: bytes, secrets: Secrets) -> list[str]:
    """What of the secrets a file tells, one line each; what is in a zip or wheel is looked at file by file."""
    told = []
    for where, text in texts(name, content):
        found = found_in(text, secrets) | {s for s in found_in(unpacked(text), secrets) if not s.answer}
        told += [f"{where}: a line of {secret.where}: {secret.line}" for secret in sorted(found)]
        parts = PurePosixPath(where).parts
        told += [f"{where}: a folder of answers" for part in ("solutions", "right", "wrong") if part in parts]
    return told


def texts(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """The texts in a file, each with where it stands. In JSON, and so in notebooks, lines stand as they are shown."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from texts(f"{name}/{member}", archive.read(member))
        return
    text = content.decode("utf-8", "replace")
    yield name, text
    if name.endswith((".ipynb", ".json")):
        yield name, "\n".join(_strings(json.loads(text)))


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():  # a source as a list of lines is one text
            yield "".join(v if isinstance(v, str) else "" for v in value)
            for part in value:
                if not isinstance(part, str):
                    yield from _strings(part)
        case dict():
            for part in value.values():
                yield from _strings(part)
