"""Processes that cost milliseconds: a parent imports torch once, and children are forked off it for every job.

Importing torch takes longer than grading a lab. So one process, the `Parent`, imports what all need. Whoever connects
to it gets a *server* for one side (candidate, examiner), forked off, which prepares what is its own and then does
nothing but fork; a job gets a copy of it. Candidates come from a `session`, a copy of their server for one job, which
ends with all that it has forked. That is safe only while the parents run torch on one thread, hence
`torch.set_num_threads(1)` before anything else, and it needs a POSIX system.

The candidates' server never reads a course file: a fork inherits memory, and what the parent has seen, a student's code
could find.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from autograder import ROOT
from autograder.errors import CourseError

REQUEST = struct.Struct("!ci")  # what, pid
REPLY = struct.Struct("!i")
NAME = struct.Struct("64s")  # of the module that a server is to serve
FORK, SESSION, WAIT, INTERRUPT, KILL = b"F", b"S", b"W", b"I", b"K"

MAX_FDS = 4


class Parent:
    """Starts the process that all servers are forked off, in the background. Use as a context manager.

    Attributes:
        path: of its socket, for `connect`, at once; it answers when it has imported everything.
    """

    def __enter__(self) -> Self:
        if not hasattr(os, "fork"):
            raise CourseError("grading needs os.fork, which this system lacks: grade on Linux or macOS, or in WSL")
        folder = tempfile.mkdtemp(prefix="grading-")  # for its owner only
        self.path = f"{folder}/socket"
        # a process can read the environment that its parent was started with: nothing of the grader's goes along
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                listener.bind(self.path)
            except OSError as error:  # its path may have some hundred characters
                Path(folder).rmdir()
                raise CourseError(
                    f"no socket at {self.path}: {error}; set TMPDIR to a folder nearer the root"
                ) from error
            listener.listen()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autograder.processes.forkserver", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # closed, it says that the grader has gone
                cwd=ROOT,  # "-m" imports from here first: not from a submission's folder
                env=kept | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONHASHSEED": "0"},
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()
        shutil.rmtree(Path(self.path).parent, ignore_errors=True)  # should it have ended before it could do so itself


def connect(path: str, module: str) -> socket.socket:
    """Asks the parent at ``path`` for a server, which ends when the connection is closed, and its children with it.

    Args:
        module: dotted name of a module with a function ``child(*sockets)``, run in each forked child; a function
            ``prepare()``, if there is one, is run once.

    Returns:
        A connection for `fork`, `interrupt` and `kill`; who asks too early waits.
    """
    control = socket.socket(socket.AF_UNIX)
    try:
        control.connect(path)
        control.sendall(NAME.pack(module.encode()))
    except OSError as error:
        raise CourseError(f"the grading processes have gone: {error}") from error
    return control


def fork(control: socket.socket, *sockets: socket.socket) -> int:
    """Asks the server behind ``control`` for a child that gets copies of the sockets. Returns its process number."""
    return _ask(control, FORK, 0, *sockets)


@contextlib.contextmanager
def session(control: socket.socket) -> Iterator[socket.socket]:
    """A connection like ``control``, for one job: when the block ends, all children that were asked for on it have
    ended too, and no request or reply of it can be taken for one of the next job's."""
    ours, theirs = socket.socketpair()
    pid = _ask(control, SESSION, 0, theirs)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        _ask(control, WAIT, pid)


def interrupt(control: socket.socket, pid: int) -> None:
    """Sends a child what Ctrl-C would send."""
    _ask(control, INTERRUPT, pid)


def kill(control: socket.socket, pid: int) -> int:
    """Ends a child if it still runs. Returns how it ended: an exit code, or minus the signal that ended it."""
    return _ask(control, KILL, pid)


def _ask(control: socket.socket, what: bytes, pid: int, *sockets: socket.socket) -> int:
    # A time limit that ended this halfway would leave the reply behind, to be taken for that to the next request.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        socket.send_fds(control, [REQUEST.pack(what, pid)], [s.fileno() for s in sockets])
        reply = control.recv(REPLY.size, socket.MSG_WAITALL)
    except OSError as error:
        raise CourseError(f"a grading process has gone: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
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
        if what in (FORK, SESSION):
            pid = os.fork()
            if pid == 0:
                _run_child(control, child if what == FORK else functools.partial(serve, child=child), fds)
            children.add(pid)
            control.sendall(REPLY.pack(pid))
        elif what == WAIT:
            os.waitpid(pid, 0)
            children.discard(pid)
            control.sendall(REPLY.pack(0))
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


def _die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Linux: a child whose parent is killed is killed too, so that nothing of a student's outlives the grader."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal_number)


def main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))

    def end(*_: object) -> None:
        shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
        os._exit(0)  # there is nothing else to tidy up, and some libraries chatter when they are asked to

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader, which then ends this
    _die_with_parent(signal.SIGTERM)
    gc.disable()  # of what is imported nothing is garbage, and to look takes a tenth of the time
    import torch

    torch.set_num_threads(1)
    import matplotlib.pyplot  # noqa: F401  every lab imports it

    from autograder.sandbox.withhold import load

    load()
    gc.freeze()
    gc.enable()
    _use_large_pages()
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            end()
        control, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _run_server(control)
        control.close()


def _use_large_pages() -> None:
    """Linux 6.1 and later: moves what this process holds into pages of 2 MiB. What a fork costs is mostly the copy of
    the table of pages, which is short then. A system that has no such pages to give leaves all as it is."""
    if sys.platform == "linux":
        collapse, madvise = 25, ctypes.CDLL(None).madvise
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            addresses, rights, _, _, file, *_ = line.split()
            if rights == "rw-p" and file == "0":
                begin, end = (int(address, 16) for address in addresses.split("-"))
                madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), collapse)


def _run_server(control: socket.socket) -> None:
    """What a server does, all its life."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with_parent()
        (name,) = NAME.unpack(control.recv(NAME.size, socket.MSG_WAITALL))
        module = importlib.import_module(name.rstrip(b"\0").decode())
        if hasattr(module, "prepare"):
            module.prepare()
        gc.freeze()
        serve(control, module.child)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
