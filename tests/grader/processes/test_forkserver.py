"""The processes that all others are forked off: nothing of one job reaches the next."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from autograder.processes import forkserver
from autograder.processes.clock import LONGEST, Clock, TimeUp
from autograder.processes.forkserver import REPLY, REQUEST
from autograder.sandbox import walls


@pytest.mark.timeout(120, method="thread")  # the other method takes the alarm that is the subject here
def test_a_time_limit_does_not_leave_a_reply_behind():
    """It would be taken for the answer to the next request, and a process of another student be ended, or none."""
    ours, theirs = socket.socketpair()
    rung = []

    def answer_late() -> None:
        theirs.recv(REQUEST.size)
        time.sleep(LONGEST * 0.1 + 1)
        rung.append(time.perf_counter())
        theirs.sendall(REPLY.pack(7))

    server = threading.Thread(target=answer_late)
    server.start()
    with pytest.raises(TimeUp), Clock().limit(0.1):
        forkserver.kill(ours, 1)
    server.join()
    assert rung, "the limit waits for the reply"
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def wait_for_ever(connection: socket.socket) -> None:
    """What a child that nobody ends does."""
    connection.sendall(b"!")
    time.sleep(600)


def test_a_session_ends_with_all_its_children():
    """Also with those that who asked for them has forgotten."""
    ours, theirs = socket.socketpair()
    server = os.fork()
    if server == 0:
        ours.close()
        forkserver.serve(theirs, wait_for_ever)
        os._exit(0)
    theirs.close()
    try:
        with forkserver.session(ours) as connection:
            here, there = socket.socketpair()
            children = [forkserver.fork(connection, there) for _ in range(3)]
            there.close()
            for _ in children:
                assert here.recv(1) == b"!"
            assert all(psutil.pid_exists(child) for child in children)
        assert not any(psutil.pid_exists(child) for child in children)
        with forkserver.session(ours) as connection:  # and the next one works
            there, here = socket.socketpair()
            forkserver.fork(connection, there)
            assert here.recv(1) == b"!"
    finally:
        ours.close()
        os.waitpid(server, 0)


HIDES = {
    "a name that is no text": "libc.prctl(15, b'\\xff\\xfe', 0, 0, 0)\nprint('held', flush=True)\ntime.sleep(600)",
    "a main thread that has ended": (
        "threading.Thread(target=lambda: (time.sleep(0.5), print('held', flush=True), time.sleep(600))).start()\n"
        "libc.syscall(60 if platform.machine() == 'x86_64' else 93, 0)"
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TRIED: memory is counted on Linux only")
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", HIDES)
def test_memory_is_counted_whatever_a_process_does_to_hide_it(name, exact):
    lines = f"import ctypes, platform, threading, time\nlibc = ctypes.CDLL(None)\nhoard = b'x' * 2**26\n{HIDES[name]}"
    process = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE)
    processes = os.open("/proc", os.O_RDONLY)
    try:
        assert process.stdout.readline() == b"held\n"
        assert walls._memory(processes, process.pid, exact=exact) >= 2**26
    finally:
        os.close(processes)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
