"""The students' and authors' parts use nothing that only POSIX systems have; the grader says so where it does.

There is no macOS and no Windows here. So the code is read for what would not work there, and the commands run with the
modules blocked that Windows lacks.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

GRADER = {
    *("authoring/gates", "for_nbgrader/kernel", "grading/cache", "grading/grader", "grading/spread"),
    *(
        "processes/candidate",
        "processes/clock",
        "processes/examiner",
        "processes/forkserver",
        "processes/job",
        "processes/limited",
        "processes/servers",
    ),
    *("sandbox/groups", "sandbox/walls", "sandbox/withhold"),
}
"""Modules of `autograder` that need a POSIX system, or exist only for those that do. All others must not."""

MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty"}

CALLS = {
    "os": {
        *("chown", "chroot", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg", "getpgid", "getuid"),
        *("killpg", "lchown", "mkfifo", "mknod", "nice", "setgid", "setsid", "setuid", "statvfs", "sysconf", "uname"),
        *("wait", "wait3", "wait4", "WNOHANG", "O_NOFOLLOW", "O_DIRECTORY"),
    },
    "signal": {
        *("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGXFSZ"),
        *("alarm", "pause", "pthread_kill", "setitimer", "sigwait", "sigtimedwait"),
    },
    "socket": {"AF_UNIX", "recv_fds", "send_fds"},
}
"""Module -> what of it Windows lacks, by Python's own documentation ("Availability: Unix")."""

POSIX_FOLDERS = ("/bin/", "/dev/", "/etc/", "/home/", "/proc/", "/sys/", "/tmp", "/usr/", "/var/")

AUTOGRADER = ROOT / "autograder"
PORTABLE = sorted(
    [*(ROOT / "course_utils").rglob("*.py"), ROOT / "nbgrader_config.py"]
    + [p for p in AUTOGRADER.rglob("*.py") if p.relative_to(AUTOGRADER).with_suffix("").as_posix() not in GRADER]
    + [p for p in (ROOT / "solutions").rglob("*.py") if p.parent.name not in ("wrong", "right")]
)


def not_portable(source: str) -> list[str]:
    """What in a source works on POSIX systems only, each with its line."""
    tree = ast.parse(source)
    elsewhere = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "os.name == 'nt'"
        for statement in node.orelse
        for part in ast.walk(statement)
    }
    nodes = (node for node in ast.walk(tree) if id(node) not in elsewhere)
    return [f"line {node.lineno}: {what}" for node in nodes for what in _names(node)]


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [f"import {n.name}" for n in names if n.name.partition(".")[0] in MODULES]
        case ast.ImportFrom(module=str(module), names=names):
            lacking = CALLS.get(module, set())
            return (
                [f"import {module}"]
                if module in MODULES
                else [f"{module}.{n.name}" for n in names if n.name in lacking]
            )
        case ast.Attribute(value=ast.Name(id=module), attr=name) if name in CALLS.get(module, ()):
            return [f"{module}.{name}"]
        case ast.Constant(value=str(text)) if text.startswith(POSIX_FOLDERS):
            return [f"the path {text!r}"]
        case ast.BinOp(op=ast.Add(), right=ast.Constant(value=str(text))) if _joins(node.left, text):
            return [f"a path joined with {text!r}: use pathlib"]
        case ast.Call():
            return _text_without_encoding(node)
    return []


def _joins(left: ast.AST, text: str) -> bool:
    """``str(path) + "/name"``."""
    return text.startswith("/") and isinstance(left, ast.Call) and getattr(left.func, "id", "") == "str"


def _text_without_encoding(call: ast.Call) -> list[str]:
    """Text files in whatever encoding the system prefers: on Windows that is often not UTF-8."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg for keyword in call.keywords}
    # archive.open, Image.open, os.open ... take no text; of a Path, open's first argument is its mode
    if name == "open":
        mode = [a.value for a in call.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        mode += [k.value.value for k in call.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
        of_path = isinstance(call.func, ast.Attribute) and len(call.args) <= 1
        is_text = isinstance(call.func, ast.Name) or (of_path and any(set(m) <= set("rwax+t") for m in mode if m))
        binary = any("b" in m for m in mode if set(m) <= set("rwaxbt+"))
        return ["open() without encoding"] if is_text and not binary and "encoding" not in given else []
    if name in ("read_text", "write_text") and "encoding" not in given:
        places = 1 if name == "read_text" else 2  # Path.read_text("utf-8"), Path.write_text(text, "utf-8")
        return [f"{name}() without encoding"] if len(call.args) < places else []
    return []


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from pwd import getpwuid",
        "from os import fork",
        "import os\nos.getuid()",
        "import signal\nsignal.signal(signal.SIGKILL, None)",
        "open('x')",
        "open('x', 'w')",
        "path.open('w')",
        "path.read_text()",
        "path.write_text('x')",
        "Path('/tmp/x')",
        "str(folder) + '/name'",
        "if os.name == 'nt':\n    import fcntl",
        "if os.name == 'nt':\n    pass\nimport fcntl",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert len(not_portable(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import os, signal, socket\nos.getpid()\nsignal.SIGINT",
        "open('x', 'rb')\nopen('x', encoding='utf-8')\npath.open('rb')\narchive.open(member)",
        "path.read_text('utf-8')\npath.write_text('x', encoding='utf-8')",
        "Path('build/grades') / 'x'\nurl + '/x'",
        "if os.name == 'nt':\n    import msvcrt\nelse:\n    import fcntl",
    ],
)
def test_the_search_passes_what_works_everywhere(source: str) -> None:
    assert not not_portable(source)


@pytest.mark.parametrize("path", PORTABLE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_students_and_authors_part_is_portable(path: Path) -> None:
    assert not not_portable(path.read_text(encoding="utf-8"))


def test_no_file_has_a_name_that_windows_refuses() -> None:
    reserved = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("not a checkout of git: the names of its files were not looked at")
    names = files.stdout.rstrip("\0").split("\0")
    for name in names:
        assert not set(name) & set('<>:"\\|?*'), name
        assert all(p.split(".")[0].lower() not in reserved and p[-1] not in ". " for p in name.split("/")), name
        assert len(name) < 160, f"{name}: a path has 260 characters there, with the folder of the checkout"
    assert len({name.lower() for name in names}) == len(names), "two names that differ in case only"


WITHOUT = """
import contextlib, io, json, os, sys

# the libraries have builds for every system; these are this system's, and may use what it has
import IPython, jupyter_client, matplotlib.pyplot, nbclient, nbconvert, nbgrader.api, nbgrader.apps
import numpy, pandas, torch

ABSENT = {"fcntl", "grp", "pwd", "resource", "termios"}

class Absent:
    @staticmethod
    def find_spec(name, *_):
        if name in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ABSENT:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
del os.fork

from click.testing import CliRunner
from autograder.cli import main

done = [CliRunner().invoke(main, command) for command in json.loads(sys.argv[1])]
print(json.dumps([[d.exit_code, d.output, repr(d.exception)] for d in done]))
"""


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """What commands do where the modules are absent: name -> exit code, output, exception."""
    root = tmp_path_factory.mktemp("elsewhere")
    (root / "inbox" / "ada").mkdir(parents=True)
    notebook = root / "notebooks" / "07_pruning" / "07_pruning.ipynb"
    commands = {
        "help": ["--help"],
        "new": ["--root", str(root), "new", "07_pruning"],
        "build": ["--root", str(root), "build", "07_pruning"],
        "current": ["--root", str(root), "build", "--check"],
        "check": ["--root", str(root), "check", str(notebook)],
        "doctor": ["--root", str(root), "doctor"],
        "grade": ["--root", str(root), "grade", "07_pruning", "--submissions", str(root / "inbox")],
        "gates": ["--root", str(root), "gates", "07_pruning"],
    }
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(list(commands.values()))],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(commands, map(tuple, json.loads(ran.stdout.splitlines()[-1])), strict=True))


@pytest.mark.xdist_group("without posix")  # so that one process does it once
@pytest.mark.parametrize(
    ("command", "wanted", "said"),
    [
        ("help", 0, "Usage:"),
        ("new", 0, "replace what is marked TODO"),
        ("build", 0, "07_pruning: written"),
        ("current", 0, "07_pruning: current"),
        ("check", 1, "0 of 2 checks pass"),  # the stub
        ("doctor", None, "WSL"),  # what else it finds is this machine's
        ("grade", 2, "WSL"),
        ("gates", 2, "WSL"),
    ],
)
def test_commands_without_posix_modules(without: dict, command: str, wanted: int | None, said: str) -> None:
    exit_code, output, exception = without[command]
    assert wanted in (exit_code, None) and said in output, (output, exception)
    assert "Traceback" not in output
