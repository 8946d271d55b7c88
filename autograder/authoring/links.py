"""Checks a folder of HTML pages: every link inside leads somewhere, and nothing is loaded from another host.

The network is never asked. Of a link to another host only the form is looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself, as tag and attribute."""

CSS_LOADS = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")


@dataclass
class Page(HTMLParser):
    """The links, anchors and words of one page."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[tuple[str, bool]] = field(default_factory=list)  # target, and whether the browser loads it by itself
    silent: list[str] = field(default_factory=list)  # pictures without a text alternative
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append((values["href"], False))
        elif values.get(LOADED.get(tag, ""), ""):
            self.links.append((values[LOADED[tag]], True))
        if tag == "img" and not values.get("alt", "").strip():
            self.silent.append(values.get("src", "")[:60])

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def read_pages(folder: Path) -> dict[Path, Page]:
    """All pages below ``folder``, by their resolved path."""
    return {path: Page(path) for path in sorted(Path(folder).resolve().rglob("*.html"))}


def faults(pages: dict[Path, Page]) -> list[str]:
    """What is wrong with the pages' links and pictures, one line each; nothing if all is well."""
    found: list[str] = []
    for path, page in pages.items():
        found += [f"{path.name}: {fault}" for link in page.links if (fault := _fault(pages, path, *link))]
        found += [f"{path.name}: a picture without a text alternative: {source}" for source in page.silent]
    return found


def style_faults(folder: Path) -> list[str]:
    """Style sheets below ``folder`` that load what is not there, or from another host."""
    found = []
    for path in sorted(Path(folder).resolve().rglob("*.css")):
        for target in CSS_LOADS.findall(path.read_text(encoding="utf-8")):
            if fault := _fault({}, path, target, loaded=True):
                found.append(f"{path.name}: {fault}")
    return found


def _fault(pages: dict[Path, Page], path: Path, target: str, loaded: bool) -> str:
    parts = urlsplit(target)
    if parts.scheme == "data" or target == "#":  # "#" is the top of the page, by HTML's own rule
        return ""
    if parts.scheme or parts.netloc:
        if loaded:
            return f"is loaded from another host: {target}"
        if parts.scheme == "mailto" and "@" in parts.path:
            return ""
        good = parts.scheme in ("http", "https") and "." in parts.netloc and " " not in target
        return "" if good else f"is no address: {target}"
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if there.is_dir():
        there /= "index.html"
    if not there.is_file():
        return f"leads nowhere: {target}"
    if parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
        return f"has no such place: {target}"
    return ""
