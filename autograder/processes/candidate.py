"""The untrusted side: runs a student's answers and calls them when the examiner asks.

Nothing here holds a hidden check, an expected value or a score. What this process says is a claim that the examiner
takes as plain data.

First it is told what to withhold, and says which walls of the sandbox stand (`autograder.processes.job.begin`). Then
requests (dicts) and replies:

- ``{"do": "run", "cell": id, "source": text, "given": truth value}``: runs a given cell or an answer. Reply
  ``{"value": None}``.
- ``{"do": "names", "names": [...], "cell": id, "answer": id}``: before the check of that cell, which belongs to that
  answer. ``{"value": {name: value or Handle}}`` of those that exist. Global switches are set as that answer left them.
- ``{"do": "call", "target": Handle, "args": [...], "kwargs": {...}}``: calls it. Reply
  ``{"value": result, "changed": {number: array}}`` with the tensors among the arguments that the call changed in place.
- ``{"do": "get", "target": Handle, "name": attribute}``: ``{"value": ...}``.
- ``{"do": "probe", "source": text, "name": function, "args": [...], "kwargs": {...}}``: defines the examiner's function
  beside the answers and calls it.

Every reply has the request's ``"number"`` and ``"output"``, what was printed meanwhile (its end), and instead of
``"value"`` may have ``"error"``: type, builtin base types, message, and the lines of the student's cells it passed
through.
"""

from __future__ import annotations

import bdb
import builtins
import contextlib
import io
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
import zlib
from pathlib import Path
from typing import Any

import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import SList
from traitlets.config import Config

from autograder import ROOT
from autograder.processes import switches
from autograder.processes.frames import Closed, Wire, WireError
from autograder.processes.wire import Arrived, Decoder, Encoder, GeneratorState, Handle
from autograder.sandbox import groups, walls
from autograder.sandbox.refused import TRIED
from autograder.sandbox.withhold import hidden, withhold
from autograder.sandbox.withhold import prepare as prepare_to_withhold

FOLDERS = [ROOT / "data" / "weights"]
"""All of the course that an answer can read. Not course_utils: `prepare` has imported it, and in its files stand the
originals of what a lab withholds."""

OUTPUT_LIMIT = 10_000  # characters kept of what a cell or call prints

ATTEMPTS = {
    "os.system": "program",
    "os.exec": "program",
    "os.posix_spawn": "program",
    "subprocess.Popen": "program",
    "socket.connect": "network",
    "socket.getaddrinfo": "network",
}
"""Python's audit events -> what the walls refuse of it."""

_separate = False
_lent: Path | None = None


def prepare() -> None:
    """What the fork server does once, before the first child."""
    global _separate, _lent
    prepare_to_withhold()
    sys.path[:] = [p for p in sys.path if p and Path(p) != ROOT]  # what stands beside the course is not importable
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder  # not the profile of whoever grades
        _shell()
    _separate = walls.can_separate(ROOT, FOLDERS)
    _lent = groups.lent() if _separate else None


def child(connection: socket.socket) -> None:
    """The forked child's whole life."""
    wire = Wire(connection)
    withheld = json.loads(wire.receive())
    try:
        covered = hidden(withheld)
        standing = walls.enter([connection.fileno()], ROOT, FOLDERS, covered, separate=_separate, lent=_lent)
        withhold(withheld)
    except LookupError as error:
        wire.send(json.dumps({"error": str(error)}).encode())
        return
    _prepare_process(scratch="/tmp" if "files" in standing else tempfile.gettempdir())
    wire.send(json.dumps({"walls": standing}).encode())
    Candidate(wire).serve()


class Candidate:
    """Answers requests until the wire closes."""

    def __init__(self, wire: Wire):
        self.wire = wire
        self.shell = InteractiveShell.instance()  # that of `prepare`
        self.objects: list[Any] = []  # handle number -> object
        self.generators: dict[int, tuple[bytes, torch.Generator]] = {}
        self.given_switches = switches.read()  # as the given cells have set them
        self.own_switches: dict[str, list[Any]] = {}  # answer cell -> as it left them
        self.busy = False
        signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, *_: Any) -> None:
        """The examiner's way to end a call that hangs. One that comes too late is ignored."""
        if self.busy:
            raise KeyboardInterrupt("the time limit was reached")

    def serve(self) -> None:
        while True:
            try:
                decoder = Decoder(self._resolve)
                request = decoder.unpack(self.wire.receive())
            except Closed:
                return
            self.wire.send(self._reply(request, decoder.arrived))

    def _reply(self, request: dict, arrived: list[Arrived]) -> bytes:
        output = _Tail()
        reply: dict[str, Any] = {}
        try:
            self.busy = True
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                reply = self._do(request, arrived)
            self.busy = False
            return Encoder(self._reference).pack(reply | {"number": request["number"], "output": output.text()})
        except BaseException as error:
            self.busy = False
            described = {"error": _describe(error), "number": request["number"], "output": output.text()}
            return Encoder().pack(described)

    def _do(self, request: dict, arrived: list[Arrived]) -> dict[str, Any]:
        match request["do"]:
            case "run":
                try:
                    self._run(request["source"], request["cell"])
                finally:
                    if request["given"]:
                        self.given_switches = switches.read()
                    else:
                        self.own_switches[request["cell"]] = switches.read()
                        switches.put_back(self.given_switches)
                return {"value": None}
            case "names":
                switches.put_back(self.own_switches.get(request["answer"], self.given_switches))
                switches.seed(zlib.crc32(request["cell"].encode()))
                known = self.shell.user_ns
                return {"value": {name: known[name] for name in request["names"] if name in known}}
            case "get":
                return {"value": getattr(request["target"], request["name"])}
            case "call":
                return self._call(request["target"], request, arrived)
            case "probe":
                self._run(request["source"], f"probe {request['name']}")
                return self._call(self.shell.user_ns.pop(request["name"]), request, arrived)
        raise WireError(f"unknown request {request['do']!r}")

    def _run(self, source: str, name: str) -> None:
        result = self.shell.run_cell(source, cell_id=name)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise error

    def _call(self, target: Any, request: dict, arrived: list[Arrived]) -> dict[str, Any]:
        value = target(*request["args"], **request["kwargs"])
        return {"value": value, "changed": {n: a.array for n, a in enumerate(arrived) if a.has_changed()}}

    def _reference(self, value: Any) -> Handle:
        """What is not data stays here, and goes over the wire as a number."""
        self.objects.append(value)
        return Handle(len(self.objects) - 1, type(value).__name__)

    def _resolve(self, reference: Handle | GeneratorState) -> Any:
        if isinstance(reference, Handle):
            return self.objects[reference.number]
        # The same generator of the examiner's is the same one here, so that it moves on from call to call, unless the
        # examiner has reseeded its own since.
        state, known = self.generators.get(reference.number, (None, None))
        if state != reference.state:
            known = torch.Generator()
            known.set_state(torch.frombuffer(bytearray(reference.state), dtype=torch.uint8))
            self.generators[reference.number] = (reference.state, known)
        return known


class _Tail(io.StringIO):
    """Keeps the end of what is written, so that a flood of prints cannot fill the memory."""

    def write(self, text: str) -> int:
        written = super().write(text[-OUTPUT_LIMIT:])
        if self.tell() > 4 * OUTPUT_LIMIT:
            end = self.text()
            self.seek(0)
            self.truncate()
            super().write(end)
        return written

    def text(self) -> str:
        return _sendable(self.getvalue()[-OUTPUT_LIMIT:])


def _sendable(text: str) -> str:
    """Half a character, as in ``"\\udc80"``, has no bytes to be sent as."""
    return text.encode("utf-8", "backslashreplace").decode()


def _prepare_process(scratch: str) -> None:
    """A scratch folder of its own, nothing to read from the terminal, nothing written to it, no telling environment."""
    scratch = tempfile.tempdir = tempfile.mkdtemp(prefix="answers-", dir=scratch)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  lives as long as the process
    os.chdir(scratch)
    os.environ.update(HOME=scratch, TMPDIR=scratch, USER="student", MPLCONFIGDIR=scratch)
    os.environ["PYTHONBREAKPOINT"] = "0"  # a breakpoint() left behind is passed over: there is nobody to debug
    sys.addaudithook(_tell_attempt)


def _shell() -> None:
    """IPython, one for the process, without a terminal: magics, ``display``, top-level ``await`` as in a notebook."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=config)
    shell.system = _no_program  # "!pip install ..." is left behind in many a notebook, and must not end the cell
    shell.getoutput = _no_program
    shell.enable_gui = lambda gui=None: None  # %matplotlib asks for it; there is no window here
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None  # errors go back as data


def _no_program(command: str, **_: Any) -> SList:
    """What ``!command`` and ``lines = !command`` do here."""
    print(f"{TRIED}!{command}")
    return SList()


def _tell_attempt(event: str, arguments: tuple) -> None:
    """An answer may well catch the error; that it tried stands in its output all the same."""
    if event in ATTEMPTS:
        print(f"{TRIED}{ATTEMPTS[event]} ({event})")


def _describe(error: BaseException) -> dict[str, Any]:
    """An exception as data. What a hostile ``__str__`` raises is its own problem."""
    try:
        message = _syntax_message(error) if isinstance(error, SyntaxError) else str(error)[:2000]
        if isinstance(error, bdb.BdbQuit):  # which says nothing itself
            message = "a debugger was started, and here is nobody to use it: remove pdb.set_trace()"
    except Exception:
        message = "(its message cannot be shown)"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith("<ipython-input")]
    bases = [t.__name__ for t in type(error).__mro__ if getattr(builtins, t.__name__, None) is t]
    return {
        "type": _sendable(type(error).__name__[:100]),
        "bases": bases,
        "message": _sendable(message),
        "lines": [_sendable(f"line {f.lineno} of {f.name}: {f.line}"[:300]) for f in frames[-3:]],
    }


def _syntax_message(error: SyntaxError) -> str:
    return f"{error.msg} in line {error.lineno}: {(error.text or '').strip()}"[:2000]
