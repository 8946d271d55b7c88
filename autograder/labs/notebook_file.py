"""Reads a notebook's file, whoever saved it: students' programs write all sorts of things.

Needs nothing of nbgrader's, so that students can check a notebook without it.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat import NotebookNode

MAX_BYTES = 50 * 2**20
"""The largest notebook file that is read. Plots and prints of a lab take one or two MiB."""


class Unreadable(Exception):
    """A submission without a notebook to take answers from. The message says what is wrong with it."""


def read_cells(path: Path) -> list[NotebookNode]:
    """A notebook's cells, whoever saved it.

    Raises:
        Unreadable: if the file is not a notebook. Its message names the file and what is wrong.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise Unreadable(f"{path.name} has {size / 2**20:.0f} MiB (limit {MAX_BYTES / 2**20:.0f} MiB)")
        notebook = json.loads(_decode(path.read_bytes()))
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path.name} is not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:  # a ValueError: no JSON, or a number of thousands of digits
        where = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"{path.name} is not a notebook: it is not JSON{where}") from None
    if not isinstance(notebook, dict):
        raise Unreadable(f"{path.name} is not a notebook: it is JSON, but no object")
    try:
        if notebook.get("nbformat", 4) < 4:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
        cells = notebook["cells"]
        return [nbformat.from_dict(c | {"source": _text(c["source"])}) for c in cells]
    except Exception as error:
        raise Unreadable(f"{path.name} is not a notebook: {type(error).__name__}: {error}") from None


def _decode(content: bytes) -> str:
    """UTF-8 as Jupyter writes it, or what an editor on Windows may have made of it."""
    encoding = json.detect_encoding(content)  # UTF-16 and UTF-32 show themselves
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if not content.lstrip().startswith(b"{"):
            raise
        return content.decode("cp1252", "replace")


def _text(source: str | list[str]) -> str:
    text = source if isinstance(source, str) else "".join(source)
    text = text.encode("utf-8", "replace").decode()  # JSON can say half a character, which no file or wire can hold
    return text.replace("\r\n", "\n").replace("\r", "\n")
