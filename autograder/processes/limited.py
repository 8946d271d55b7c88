"""Work on what strangers made, in a child with limits: what goes wrong there costs one call, and is told.

The child is forked off this process: it has imported everything and knows what it works with. It serves one call after
the other; where one goes wrong, the next call gets a fresh child. Between the two go JSON and bytes, in frames. Nothing
that a child does changes this process, and it can write no file.

A system without fork has no such child: there the functions are called here, without limits.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from autograder.errors import CourseError
from autograder.processes import forkserver
from autograder.processes.clock import LONGEST
from autograder.processes.frames import MAX_BYTES, Closed, Wire, WireError

SECONDS = 10.0
"""Of processor time for each call, and `LONGEST` times as many by the clock on the wall. To read a right notebook, or
to make a page of it, takes a few hundredths."""

MEMORY = 2**30
"""Bytes that a child may take beyond what it was forked with (Linux)."""

LONGEST_REPLY = 32 * 2**20  # bytes

_OUT_OF_MEMORY = 201  # exit code


class Stopped(Exception):
    """A call that came to no end. The message says why, and can stand behind a name and a colon."""


class Limited:
    """Functions that run in a child with limits. Use as a context manager, or let the process's end close it.

    Args:
        functions: name -> a function of plain data, that returns plain data, or bytes. A `CourseError` of it is raised
            here, too.
        seconds: other than `SECONDS`.
    """

    def __init__(self, functions: dict[str, Callable[..., Any]], seconds: float | None = None):
        self.functions, self.seconds = functions, seconds or SECONDS
        self.control: socket.socket | None = None  # to the process that forks the children
        self.wire: Wire | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.control is not None:
            self._end()
            self.control.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.server, 0)
            self.control = None

    def call(self, name: str, *arguments: Any, blob: bytes = b"") -> Any:
        """
        Args:
            blob: becomes the function's last argument, if there is any of it.

        Raises:
            Stopped: if the limits were reached, or something else went wrong.
            CourseError: the function's own.
        """
        if not hasattr(os, "fork"):
            told = _called(self.functions[name], [*arguments, *([blob] if blob else [])])
        else:
            told = self._told(json.dumps([name, arguments]).encode(), blob)
        if "error" in told:
            raise CourseError(told["error"])
        if "stopped" in told:
            raise Stopped(told["stopped"])
        return told["value"]

    def start(self) -> None:
        """Forks the process that children come from, if that was not done; it must not be done beside busy threads."""
        if self.control is not None or not hasattr(os, "fork"):
            return
        self.control, theirs = socket.socketpair()
        self.server = os.fork()
        if self.server == 0:
            _serve_children(theirs, lambda connection: _serve(connection, self.functions, self.seconds))
        theirs.close()

    def _told(self, request: bytes, blob: bytes) -> dict[str, Any]:
        self.start()
        if self.wire is None:
            ours, theirs = socket.socketpair()
            self.child = forkserver.fork(self.control, theirs)
            theirs.close()
            ours.settimeout(LONGEST * self.seconds)
            self.wire = Wire(ours)
        began = time.monotonic()
        try:
            self.wire.send(request)
            self.wire.send(blob)
            told, content = json.loads(self.wire.receive()), self.wire.receive()
            return told or {"value": content}
        except (Closed, WireError, ValueError):
            late = time.monotonic() - began >= LONGEST * self.seconds
            raise Stopped(self._why(self._end(), late)) from None
        except BaseException:  # Ctrl-C, say: the answer of this call must not be taken for that of the next one
            self._end()
            raise

    def _end(self) -> int:
        if self.wire is None:
            return 0
        status = forkserver.kill(self.control, self.child)
        self.wire.connection.close()
        self.wire = None
        return status

    def _why(self, status: int, late: bool) -> str:
        if late or status == -signal.SIGXCPU:
            return f"it took more than {self.seconds:g} s"
        if status == _OUT_OF_MEMORY:
            return f"it took more than {MEMORY / 2**30:g} GiB of memory"
        return f"the process that worked on it ended ({f'signal {-status}' if status < 0 else f'exit code {status}'})"


def _serve_children(control: socket.socket, child: Callable[[socket.socket], None]) -> None:
    """The forking process's whole life: it does nothing else, so that it can fork at any time."""
    with contextlib.suppress(BaseException):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked, and then ends this
        keep = control.fileno()
        os.closerange(3, keep)  # the gradebook, say, and connections whose other ends wait for a close
        os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
        gc.freeze()
        forkserver.serve(control, child)
    os._exit(0)


def _serve(connection: socket.socket, functions: dict[str, Callable[..., Any]], seconds: float) -> None:
    """A child's whole life: call after call until nobody asks any more."""
    import resource

    from autograder.sandbox import walls

    for stream in (1, 2):  # what a library prints about a stranger's text is not for the terminal
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, resource.getrlimit(limit)[1]))
    walls.limit_memory(MEMORY)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    wire = Wire(connection)
    while True:
        try:
            name, arguments = json.loads(wire.receive())
            blob = wire.receive()
        except Closed:
            return
        end = math.ceil(time.process_time() + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (end if most == resource.RLIM_INFINITY else min(end, most), most))
        for frame in _reply(functions[name], [*arguments, *([blob] if blob else [])]):
            wire.send(frame)


def _reply(function: Callable[..., Any], arguments: list[Any]) -> tuple[bytes, bytes]:
    """What is sent: JSON, and a result that is bytes, of which the JSON says nothing."""
    try:
        told = _called(function, arguments)
        content = told.pop("value") if isinstance(told.get("value"), bytes) else b""
        body = json.dumps(told).encode()
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    for size, most in ((len(body), LONGEST_REPLY), (len(content), MAX_BYTES)):
        if size > most:
            why = f"what came of it has {size / 2**20:.0f} MiB (limit {most / 2**20:.0f} MiB)"
            return json.dumps({"stopped": why}).encode(), b""
    return body, content


def _called(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"value": function(*arguments)}
    except CourseError as error:
        return {"error": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # whatever a stranger's data make a library raise
        return {"stopped": f"{type(error).__name__}: {str(error)[:300]}"}
