"""Where HTML pages come from: the templates beside this file, which escape what they are handed."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

import jinja2

__all__ = ["template"]


def template(name: str) -> jinja2.Template:
    """The template in ``<name>.html.jinja``. What it asks for and is not handed is an error."""
    return _environment().get_template(f"{name}.html.jinja")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sha256"] = _sha256
    return environment


def _sha256(script: str) -> str:
    """By this a page's policy lets a browser run this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
