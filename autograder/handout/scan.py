"""Looks for answers in what is handed out: every file, every file in a zip or wheel, every text in a notebook.

A secret is a line of a reference answer, of a hidden check or of a model answer, unless a lab shows it to everybody;
and the first line of each variant in ``right/`` and ``wrong/``, which says what it is.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from autograder.authoring.gates import secret_lines
from autograder.labs.build import release
from autograder.labs.lab import Lab

SHORTEST = 25
"""Letters of the shortest secret (see `secret_lines`): each is looked up by as many."""

Secrets = dict[str, list[tuple[str, str]]]
"""The first `SHORTEST` letters -> lines that begin so, each with where it stands."""


def secrets_of(labs: Iterable[Lab]) -> Secrets:
    """What must not be found in what is handed out of these labs. Give all labs of the course, also those that stay."""
    labs = list(labs)
    shown = "\n".join(cell.source for lab in labs for cell in release(lab).cells)
    secrets: Secrets = {}
    for lab in labs:
        for where, line in [*((lab.name, line) for line in secret_lines(lab)), *_variants(lab)]:
            if len(line) >= SHORTEST and line not in shown:  # what another lab gives everybody is none
                secrets.setdefault(line[:SHORTEST], []).append((where, line))
    return secrets


def _variants(lab: Lab) -> Iterator[tuple[str, str]]:
    for right in (True, False):
        for variant in lab.variants(right=right):
            word, where = "Way" if right else "Mistake", f"{lab.name}, {variant.name}"
            yield where, f"# {word}: {variant.about}"
            yield where, f'{word.lower()} = "{variant.about}"'


def found_in(text: str, secrets: Secrets) -> set[tuple[str, str]]:
    """The secrets that stand in a text, each with where it comes from."""
    places = range(len(text) - SHORTEST + 1)
    return {
        secret
        for at in places
        for secret in secrets.get(text[at : at + SHORTEST], ())
        if text.startswith(secret[1], at)
    }


def leaks(name: str, content: bytes, secrets: Secrets) -> list[str]:
    """What of the secrets a file tells, one line each; what is in a zip or wheel is looked at file by file."""
    told = []
    for where, text in texts(name, content):
        told += [f"{where}: a line of {lab}: {line}" for lab, line in sorted(found_in(text, secrets))]
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
