"""Processes that cost milliseconds: a server imports torch once and forks a child for every job.

Importing torch takes longer than grading a lab. So each side (candidate, examiner) has one parent that has imported
everything and does nothing else; a job gets a copy of it by `os.fork`. That is safe only while the parent runs torch on
one thread, hence `torch.set_num_threads(1)` before anything else, and it needs a POSIX system.

The candidate's parent never reads a course file: a fork inherits memory, and what the parent has seen, a student's code
could find.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pkgutil
import signal
import socket
import struct
import subprocess
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path

from autograder.errors import CourseError

REQUEST = struct.Struct("!ci")  # what, pid
REPLY = struct.Struct("!i")
FORK, INTERRUPT, KILL = b"F", b"I", b"K"

MAX_FDS = 4


class ForkServer:
    """Runs ``serve(module)`` in a process of its own and asks it for children.

    Args:
        module: dotted name of a module with a function ``prepare()``, run once, and a function ``child(*sockets)``,
            run in each forked child.
    """

    def __init__(self, module: str):
        if not hasattr(os, "fork"):
            raise CourseError("grading needs os.fork, which this system lacks: grade on Linux or macOS, or in WSL")
        self.control, theirs = socket.socketpair()
        # a process can read the environment that its parent was started with: nothing of the grader's goes along
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        environment = kept | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autograder.forkserver", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parents[1],  # "-m" imports from here first: not from a submission's folder
            env=environment,
        )
        theirs.close()

    def close(self) -> None:
        """Ends the server, and with it all its children."""
        self.control.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fork(control: socket.socket, *sockets: socket.socket) -> int:
    """Asks the server behind ``control`` for a child that gets copies of the sockets. Returns its process number."""
    return _ask(control, FORK, 0, *sockets)


def interrupt(control: socket.socket, pid: int) -> None:
    """Sends a child what Ctrl-C would send."""
    _ask(control, INTERRUPT, pid)


def kill(control: socket.socket, pid: int) -> int:
    """Ends a child if it still runs. Returns how it ended: an exit code, or minus the signal that ended it."""
    return _ask(control, KILL, pid)


def _ask(control: socket.socket, what: bytes, pid: int, *sockets: socket.socket) -> int:
    try:
        socket.send_fds(control, [REQUEST.pack(what, pid)], [s.fileno() for s in sockets])
        reply = control.recv(REPLY.size, socket.MSG_WAITALL)
    except OSError as error:
        raise CourseError(f"a grading process has gone: {error}") from error
    if len(reply) < REPLY.size:
        raise CourseError("a grading process has gone: it closed its control connection")
    return REPLY.unpack(reply)[0]


def serve(control: socket.socket, child: Callable[..., None]) -> None:
    """Forks, interrupts and ends children as asked, until the other end of ``control`` closes."""
    children: set[int] = set()
    while True:
        request, fds, *_ = socket.recv_fds(control, REQUEST.size, MAX_FDS)
        if len(request) < REQUEST.size:
            break
        what, pid = REQUEST.unpack(request)
        if what == FORK:
            pid = os.fork()
            if pid == 0:
                _run_child(control, child, fds)
            children.add(pid)
            control.sendall(REPLY.pack(pid))
        elif what == INTERRUPT:
            if pid in children:
                os.kill(pid, signal.SIGINT)
            control.sendall(REPLY.pack(0))
        elif what == KILL:
            control.sendall(REPLY.pack(_end(pid) if pid in children else 0))
            children.discard(pid)
        for fd in fds:
            os.close(fd)
    for pid in children:
        _end(pid)


def import_all(package: types.ModuleType) -> None:
    """Imports every module of a package, for a server's ``prepare()``: its children then need not."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)


def _run_child(control: socket.socket, child: Callable[..., None], fds: list[int]) -> None:
    """What a forked child does: its job, and then nothing else of its parent's."""
    status = 1
    try:
        _die_with_parent()
        control.close()
        child(*(socket.socket(fileno=fd) for fd in fds))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _end(pid: int) -> int:
    """Kills a child unless it has ended by itself, and returns how it ended."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _die_with_parent() -> None:
    """Linux: a child whose parent is killed is killed too, so that nothing of a student's outlives the grader."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    import torch

    torch.set_num_threads(1)
    _die_with_parent()
    module = importlib.import_module(sys.argv[1])
    module.prepare()
    control = socket.socket(fileno=int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader, which then closes the control connection
    gc.freeze()
    serve(control, module.child)
    os._exit(0)  # there is nothing to tidy up, and some libraries chatter when they are


if __name__ == "__main__":
    main()
