"""`make quick`: the tests that depend on what was changed, the nearest first, until an answer is due.

What was changed is what differs from the last commit; if nothing does, what the last commit changed; or all since a
revision: ``make quick SINCE=main``. A test file is as far from a module as its imports lead; the tests of the module's
own folder are near, too. A changed lab has its gates, and its run in a browser. Results of gates are kept by content
in build/, so that a gate that nothing touched costs nothing the next time.

What time leaves undone is named. `make test` runs everything.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import deque
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 90  # what is begun before then is finished: an answer within two minutes
PACKAGES = {"autograder": "grader", "course_utils": "helpers"}
"""Package -> the folder of tests/ that mirrors it."""

FIXED = {
    **dict.fromkeys(("pyproject.toml", "constraints.txt", "environment.yml", "Makefile"), "tests/test_project.py"),
    **dict.fromkeys(("README.md", "CONTRIBUTING.md", "docs", "data/README.md"), "tests/grader/authoring/test_site.py"),
    "nbgrader_config.py": "tests/browser/test_formgrader.py",
    "solutions/start.py": "tests/browser/test_start_page.py",
}
"""What is no module -> its test."""


def changed_files(since: str | None) -> list[str]:
    """Paths below the root, as git tells them; files that are gone left out."""

    def git(*arguments: str) -> list[str]:
        return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True).splitlines()

    new = git("ls-files", "--others", "--exclude-standard")
    changed = git("diff", "--name-only", since or "HEAD") + new
    if not changed and since is None:
        changed = git("diff", "--name-only", "HEAD~1")
    return sorted({name for name in changed if (ROOT / name).exists()})


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(path: Path) -> frozenset[str]:
    """The project's modules that a file imports itself, and the packages whose names it takes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {name for name in names if name.partition(".")[0] in PACKAGES}
    return frozenset(found)


def distances(changed: set[str]) -> dict[Path, int]:
    """Test file -> how many imports lie between it and the nearest changed module (1: it imports it itself)."""
    sources = {module_of(p): p for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    users: dict[str, set[str | Path]] = {}
    for user, path in [*sources.items(), *((path, path) for path in tests)]:
        for name in imports(path) & sources.keys():
            users.setdefault(name, set()).add(user)
    far: dict[str | Path, int] = dict.fromkeys(changed, 0)
    queue = deque(changed)
    while queue:
        here = queue.popleft()
        for user in users.get(here, ()):
            if user not in far:
                far[user] = far[here] + 1
                queue.append(user)
    return {path: far[path] for path in tests if path in far}


def selected(changed: list[str]) -> list[str]:
    """What pytest is asked to run, the nearest first."""
    modules, first, labs = set(), [], []
    for name in changed:
        path = ROOT / name
        package, *inner = path.relative_to(ROOT).parts
        if package in PACKAGES and path.suffix == ".py":
            modules.add(module_of(path))
            mirror = ROOT / "tests" / PACKAGES[package] / Path(*inner[:-1])
            first += sorted(mirror.glob("test_*.py"))
        elif package == "tests":
            first += [path] if path.name.startswith("test_") else sorted(path.parent.rglob("test_*.py"))
        elif package == "solutions" and len(inner) > 1 and (ROOT / "solutions" / inner[0] / f"{inner[0]}.py").is_file():
            labs.append(inner[0])
        elif package == "solutions" and inner[0] == "shared":
            labs += [p.parent.name for p in (ROOT / "solutions").glob("*/*.py") if p.stem == p.parent.name]
        else:
            first += [ROOT / test for start, test in FIXED.items() if name == start or name.startswith(f"{start}/")]
    near = distances(modules)
    further = sorted((path for path in near if "browser" not in path.parts), key=lambda path: (near[path], path))
    files = list(dict.fromkeys([*first, *further]))
    chosen = [str(path.relative_to(ROOT)) for path in files if "tests/labs" not in path.as_posix()]
    for lab in dict.fromkeys(labs):
        chosen += [f"tests/labs:{lab}", f"tests/browser/test_labs.py:{lab}"]
    return chosen


def main() -> int:
    since = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else None
    changed = changed_files(since)
    chosen = selected(changed)
    print(f"changed: {', '.join(changed) or 'nothing'}", flush=True)
    if not chosen:
        print("no test depends on that; `make test` runs all")
        return 0
    labs = {entry.partition(":")[2] for entry in chosen} - {""}
    files = list(dict.fromkeys(entry.partition(":")[0] for entry in chosen))
    only = [f"--labs={','.join(sorted(labs))}"] if labs else []
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", f"--seconds={SECONDS}", *only, *files]
    return subprocess.call(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
