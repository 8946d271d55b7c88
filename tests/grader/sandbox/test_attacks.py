"""Hostile submissions: each gets the points of its right answers and nothing else, and touches nobody.

Most replace the answer to ``double`` in the mini lab; the answer to ``counter`` stays right. An attack says in its
output what it reached. In the sources UPPER CASE words stand for real places outside: see `world`.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy
import pytest
from mini_course import DOUBLE, newest_parent, write_mini

from autograder import ROOT
from autograder.grading.grader import Graded, Grader, Submission
from autograder.grading.reading import find_submissions
from autograder.grading.submission import Answers
from autograder.labs.build import release
from autograder.labs.lab import Lab
from autograder.records.gradebook import GradeWriter
from autograder.records.pages import _sha256
from autograder.records.report import write_report
from autograder.records.rows import read_records
from autograder.sandbox.walls import WALLS

TOKEN = "canary-7c1f"
"""Stands in every file, variable and process that an answer must not see."""

PRELUDE = '''
import atexit, builtins, ctypes, gc, mmap, os, resource, signal, socket, struct, subprocess, sys, threading, time
from pathlib import Path
import msgpack
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(15, b"COMM", 0, 0, 0)
right = lambda x: int("x") if isinstance(x, str) else x + x
double = lambda x: 3 * x

def attempt(reach, *arguments):
    try:
        reached = reach(*arguments)
    except BaseException as refused:
        print("refused:", type(refused).__name__, refused)
    else:
        print("REACHED", reached)

def system(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return number

def wire():
    return next(o for o in gc.get_objects() if type(o).__name__ == "Wire").connection

def forge(body):
    wire().sendall(struct.pack("!Q", len(body)) + body)

def say(value, **more):
    forge(msgpack.packb({"value": value, "output": ""} | more))

def lie_with(body):
    """The honest reply to a call is replaced."""
    encoder = sys.modules["autograder.processes.wire"].Encoder
    def double(x):
        honest = encoder.pack
        def once(self, reply):
            encoder.pack = honest
            return honest(self, {"number": reply["number"], "output": ""} | body) if isinstance(body, dict) else body
        encoder.pack = once
    return double
'''


@dataclass(frozen=True)
class Attack:
    source: str
    earns: float = 0.0  # points of check_double, that the answer is worth
    harms_itself: bool = False  # the other exercises may lose too: all answers of a submission share a process
    walls: bool = True  # without the sandbox it could do harm: not tried there


ATTACKS = {
    # --- what earned points in one process (GRADING.md)
    "patched assert_close and builtins": Attack(
        "import torch.testing\ntorch.testing.assert_close = torch.allclose = torch.equal = lambda *a, **k: True\n"
        "builtins.abs = lambda *a: 0\nbuiltins.AssertionError = Warning",
        walls=False,
    ),
    "patched expectations": Attack(
        "from course_utils.checks import expectations as checks\n"
        "for name in ('expect', 'expect_equal', 'expect_close', '_compare', 'check'):\n"
        "    setattr(checks, name, lambda *a, **k: None)",
        walls=False,
    ),
    "a thread that patches all the time": Attack(
        "import torch\nfrom course_utils.checks import expectations as checks\n"
        "def patch():\n"
        "    while True:\n        checks._compare = torch.equal = lambda *a: True\n        time.sleep(0.01)\n"
        "threading.Thread(target=patch, daemon=True).start()",
        walls=False,
    ),
    "an AST transformer that drops expectations": Attack(
        "import ast\nclass Drop(ast.NodeTransformer):\n"
        "    def visit_With(self, node): return ast.Pass()\n    def visit_Assert(self, node): return ast.Pass()\n"
        "get_ipython().ast_transformers.append(Drop())",
        walls=False,
    ),
    "an input transformer that drops expectations": Attack(
        "drop = lambda lines: [line for line in lines if 'expect' not in line]\n"
        "get_ipython().input_transformers_cleanup.append(drop)\nget_ipython().input_transformers_post.append(drop)",
        walls=False,
    ),
    "an overridden run_cell that always succeeds": Attack(
        "shell = type(get_ipython())\nrun = shell.run_cell\n"
        "def run_cell(self, *a, **k):\n    result = run(self, *a, **k)\n    result.error_in_exec = None\n"
        "    return result\nshell.run_cell = run_cell\ndef double(x): raise ZeroDivisionError",
        walls=False,
    ),
    "an overridden do_execute": Attack(
        "from ipykernel.ipkernel import IPythonKernel\n"
        "async def do_execute(self, *a, **k): return {'status': 'ok', 'payload': [], 'user_expressions': {}}\n"
        "IPythonKernel.do_execute = do_execute",
        walls=False,
    ),
    "a forged execute_reply with the kernel's key": Attack(
        "attempt(lambda: get_ipython().kernel.session.key)\nattempt(lambda: get_ipython().parent_header['msg_id'])",
        walls=False,
    ),
    "suppressed errors": Attack(
        "get_ipython().set_custom_exc((BaseException,), lambda *a, **k: None)\nsys.excepthook = lambda *a: None\n"
        "def double(x):\n    import contextlib\n    with contextlib.suppress(BaseException):\n        raise KeyError",
        walls=False,
    ),
    "an object that equals everything": Attack(
        "class Liar(int):\n    __eq__ = __le__ = __ge__ = __bool__ = lambda *a: True\n    __ne__ = lambda *a: False\n"
        "    __sub__ = __rsub__ = __abs__ = lambda *a: 0\n    __class__ = property(lambda self: type(2.0))\n"
        "    __hash__ = None\ndef double(x): return Liar()",
        walls=False,
    ),
    "a tensor type that rewrites torch functions": Attack(
        "import torch\nclass Liar(torch.Tensor):\n    @classmethod\n"
        "    def __torch_function__(cls, *a, **k): return torch.tensor(True)\n"
        "def double(x): return torch.Tensor.as_subclass(torch.zeros(5), Liar)",
        walls=False,
    ),
    "the hidden checks read from In[-1] and its like": Attack(
        "def double(x):\n    from IPython.core.history import HistoryAccessor\n"
        "    told = [*In, *map(str, get_ipython().history_manager.input_hist_raw), _i, _ii, _iii]\n"
        "    attempt(lambda: next(t for t in told if 'expect' + '_' in t and 'attempt' not in t))\n    return 3 * x",
        walls=False,
    ),
    "a search through frames and live objects": Attack(
        "def double(x):\n    frame, found = sys._getframe(), []\n    while frame:\n"
        "        found += [str(v)[:500] for v in [*frame.f_locals.values(), *frame.f_globals.values()]\n"
        "                  if isinstance(v, (str, dict, list))]\n        frame = frame.f_back\n"
        "    gc.unfreeze()\n    found += [v for o in gc.get_objects() if type(o) is dict for v in list(o.values())\n"
        "              if type(v) is str]\n    needle = 'leaves its ' + 'input alone'\n"
        "    attempt(lambda: next(f for f in found if needle in f))\n    return 3 * x",
    ),
    "a search through all memory": Attack(
        "def scan(first, second):\n    end = time.time() + 1.2\n"
        "    for line in open('/proc/self/maps'):\n        area, rights, _, _, inode = line.split()[:5]\n"
        "        low, high = (int(p, 16) for p in area.split('-'))\n"
        "        if rights[:2] != 'rw' or inode != '0' or high - low > 2**28 or '[' in line: continue\n"
        "        held = ctypes.string_at(low, high - low)\n        at = held.find(first)\n"
        "        while at >= 0:\n"
        "            if held[at + len(first):].startswith(second): return low + at\n"
        "            at = held.find(first, at + 1)\n"
        "        if time.time() > end: break\n    raise LookupError\n"
        "attempt(scan, b'doubling leaves ', b'its input alone')",
    ),
    "solutions": Attack(
        "attempt(lambda: Path('LAB').read_text())\nattempt(os.listdir, 'COURSE/solutions')\n"
        "attempt(lambda: Path('/proc/1/root/LAB').read_text())\nattempt(os.listdir, 'REPO/solutions')\n"
        "attempt(lambda: Path('REPO/autograder/processes/examiner.py').read_text())"
    ),
    "submissions of others": Attack(
        "attempt(lambda: Path('CANARY/submissions/alice/00_mini.ipynb').read_text())\n"
        "attempt(os.listdir, 'CANARY/submissions')\nattempt(os.symlink, 'x', 'CANARY/pwned')"
    ),
    "the gradebook written by a detached process": Attack(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        for _ in range(40):\n            time.sleep(0.1)\n"
        "            for path in ('CANARY/gradebook.db', 'CANARY/pwned.db', '/tmp/pwned.db', 'REPO/pwned.db'):\n"
        "                try: Path(path).write_text('pwned')\n                except OSError: pass\n"
        "    os._exit(0)"
    ),
    "the grader killed": Attack(
        "for pid in (GRADER, PARENT, SERVER, BYSTANDER, os.getppid() or 99999):\n"
        "    attempt(os.kill, pid, signal.SIGKILL)\n"
        "try: os.kill(-1, signal.SIGTERM)\nexcept OSError: pass"
    ),
    "signals to the grader and its groups": Attack(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for pid in (GRADER, PARENT, SERVER, BYSTANDER):\n"
        "    attempt(os.kill, pid, signal.SIGSTOP)\n    attempt(os.killpg, pid, signal.SIGSTOP)\n"
        "    attempt(signal.pidfd_send_signal, 0, signal.SIGINT)\nos.killpg(0, signal.SIGTERM)\n"
        "attempt(os.setpgid, 0, GRADER)"
    ),
    "persistence in the home folder": Attack(
        "for place in ('HOME', os.path.expanduser('~root'), 'SITE', 'REPO', '/usr/lib', '/etc'):\n"
        "    for name in ('.ipython/profile_default/startup/pwned.py', '.bashrc-pwned', 'pwned.pth'):\n"
        "        attempt(lambda: Path(place, name).write_text('import os'))"
    ),
    "a torch/ that shadows the real one": Attack(
        "for name in ('torch', 'autograder', 'course_utils', 'msgpack'):\n    os.makedirs(name)\n"
        "    Path(name, '__init__.py').write_text('equal = allclose = unpackb = lambda *a, **k: True')\n"
        "sys.path.insert(0, os.getcwd())\nsys.modules.pop('torch.testing', None)\n"
        "os.environ['PYTHONPATH'] = os.getcwd()"
    ),
    # --- resources
    "a fork bomb": Attack(
        "end = time.time() + 1\nwhile time.time() < end:\n    try:\n        if os.fork() == 0: time.sleep(60)\n"
        "    except OSError: break"
    ),
    "a fork bomb that forks again when killed": Attack(
        "def again():\n    while True:\n        try:\n            if os.fork() == 0: again()\n"
        "            time.sleep(0.05)\n        except BaseException: continue\n"
        "if os.fork() == 0: again()"
    ),
    "threads until none is left": Attack(
        "for _ in range(10_000):\n    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    except RuntimeError: break\nelse:\n    print('REACHED 10000 threads')"
    ),
    "a memory bomb": Attack("def double(x):\n    hoard = []\n    while True: hoard.append(bytearray(2**26))"),
    "a memory bomb in many processes": Attack(
        "for _ in range(8):\n    if os.fork() == 0:\n        hoard = bytearray(900 * 2**20)\n        time.sleep(60)\n"
        "def double(x):\n    time.sleep(60)",
        harms_itself=True,  # a busy machine finds the memory full only while another exercise is checked
    ),
    "memory of many processes that hide what they hold": Attack(
        "libc.prctl(4, 0, 0, 0, 0)\nfor _ in range(8):\n    if os.fork() == 0:\n"
        "        hoard = bytearray(900 * 2**20)\n        time.sleep(60)\ndef double(x):\n    time.sleep(60)",
        harms_itself=True,  # as above: on a busy machine it has filled the memory only when the next check runs
    ),
    "memory that belongs to no process": Attack(
        "attempt(system, 68, 0, 0o1600)\n"
        "attempt(system, 319, b'x', 0)\nattempt(system, 29, 0, 2**20, 0o1600)\nattempt(system, 447, 0)\n"
        "import mmap\nattempt(mmap.mmap, -1, 2**20)\n"
        "attempt(lambda: mmap.mmap(open('/dev/zero', 'r+b').fileno(), 2**20))"
    ),
    "memory of semaphores and queues": Attack(
        "attempt(system, 64, 0, 32000, 0o1600)\nattempt(system, 68, 0, 0o1600)\n"
        "attempt(system, 240, b'x', 0o102, 0o600, 0)"
    ),
    "pages given to a pipe": Attack(
        "reader, writer = os.pipe()\npage = ctypes.create_string_buffer(4096)\n"
        "vector = (ctypes.c_size_t * 2)(ctypes.addressof(page), 4096)\n"
        "attempt(system, 278, writer, vector, 1, 0)\nattempt(system, 276, reader, writer, 1, 0)\n"
        "import fcntl\nattempt(fcntl.fcntl, writer, fcntl.F_SETPIPE_SZ, 2**20)"
    ),
    "slots of asynchronous input and output": Attack(
        "context = ctypes.c_ulong()\nattempt(system, 206, 60_000, ctypes.byref(context))\n"
        "attempt(system, 425, 8, bytes(120))"
    ),
    "locks on files": Attack(
        "import fcntl\nOFD_SETLK = 37\n"
        "for file in (open(os.__file__), open('mine', 'w+')):\n"
        "    attempt(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    attempt(fcntl.lockf, file, fcntl.LOCK_SH, 1)\n"
        "    attempt(fcntl.fcntl, file, OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 1, 0))\n"
        "    attempt(fcntl.fcntl, file, fcntl.F_SETLEASE, fcntl.F_RDLCK)\n"
        "attempt(fcntl.fcntl, os.open('.', os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE)"
    ),
    "watches on files": Attack("attempt(system, 294, 0)\nattempt(system, 253)\nattempt(system, 300, 0, 0)"),
    "a place at the end of the queue for a core": Attack(
        "attempt(os.nice, 19)\nattempt(os.sched_setscheduler, 0, os.SCHED_IDLE, os.sched_param(0))\n"
        "attempt(os.sched_setscheduler, 0, os.SCHED_BATCH, os.sched_param(0))"
    ),
    "waits that count as load": Attack(
        "VFORK = 0x4000\ndef vfork():\n    pid = libc.syscall(56, VFORK | signal.SIGCHLD, 0, 0, 0, 0)\n"
        "    if pid == 0: os._exit(0)\n    if pid < 0: raise OSError(ctypes.get_errno(), 'refused')\n"
        "    return pid\nattempt(vfork)"
    ),
    "a process that hides what it holds, or adopts others": Attack(
        "attempt(system, 157, 4, 0, 0, 0, 0)\nattempt(system, 157, 36, 1, 0, 0, 0)"
    ),
    "the whole machine's files written out": Attack("attempt(system, 162)\nattempt(system, 306, 0)"),
    "system calls that nobody knows yet": Attack("for number in (500, 1000, 2**29): attempt(system, number)"),
    "time stamps of devices": Attack(
        "open('/dev/null', 'w').write('x')\nfor name in ('null', 'random', 'urandom'):\n"
        "    attempt(os.utime, f'/dev/{name}')\n    attempt(os.chmod, f'/dev/{name}', 0o666)"
    ),
    "memory of a process whose name is no text": Attack(
        "libc.prctl(15, b'\\xff\\xfe', 0, 0, 0)\nfor _ in range(8):\n    if os.fork() == 0:\n"
        "        hoard = bytearray(900 * 2**20)\n        time.sleep(60)\ndef double(x):\n    time.sleep(60)",
        harms_itself=True,  # as above
    ),
    "a full disk": Attack(
        "end = time.time() + 1\ntry:\n    for n in range(10_000):\n"
        "        Path(f'f{n}').write_bytes(bytes(2**20))\n        if time.time() > end: break\n"
        "    else: print('REACHED', n)\nexcept OSError as full: print(full)\n"
        "attempt(os.truncate, 'f0', 10**12)"
    ),
    "more files than there are inodes": Attack(
        "end = time.time() + 1\ntry:\n    for n in range(100_000):\n        os.mkdir(f'd{n}')\n"
        "        if time.time() > end: break\n    else: print('REACHED', n)\nexcept OSError as full: print(full)"
    ),
    "a flood of output": Attack(
        "end = time.time() + 0.5\nwhile time.time() < end:\n    print('x' * 10**6)\n"
        "    print('y' * 10**6, file=sys.stderr)\n"
        "    os.write(1, b'z' * 10**6)\n    os.write(2, b'z' * 10**6)"
    ),
    "a busy processor on every core": Attack("for _ in range(8):\n    if os.fork() == 0:\n        while True: pass"),
    # --- ends, halts, and what outlives
    "an exit that looks like success": Attack(
        "def double(x):\n    print('passed')\n    os._exit(0)",
        walls=False,
    ),
    "an exit of the cell itself with status 0": Attack("os._exit(0)", walls=False),
    "a forged reply at exit": Attack(
        "atexit.register(lambda: say(6))\ndef double(x):\n    sys.exit(0)",
        walls=False,
    ),
    "a stop of itself so that the examiner waits": Attack(
        "def double(x):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    signal.pause()"
    ),
    "a call that cannot be interrupted": Attack(
        "def double(x):\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    while True: time.sleep(9)",
        walls=False,
    ),
    "a process that outlives its parent": Attack(
        "attempt(system, 157, 1, 0, 0, 0, 0)\n"
        "def double(x):\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    while True: time.sleep(9)"
    ),
    "a recursion that overruns the stack": Attack(
        "sys.setrecursionlimit(10**9)\ndef double(x): return double(x)",
    ),
    "its own wire closed": Attack("def double(x):\n    os.closerange(3, 256)", walls=False),
    # --- the wire
    "an in-place change that is none": Attack(
        "def lie(x):\n    return lie_with({'value': 6, 'changed': {True: [], 0: 5, -1: None, 'a': 1, 2**60: 2}})(x)\n"
        "double = lie",
        walls=False,
    ),
    "a forged reply before the honest one": Attack(
        "def double(x):\n    say(x + x if not isinstance(x, str) else None)\n    return 3 * x", walls=False
    ),
    "forged replies from a thread during a call": Attack(
        "def double(x):\n    def lie():\n        for _ in range(50): say(6)\n"
        "    thread = threading.Thread(target=lie)\n    thread.start()\n    thread.join()\n    return 7",
        walls=False,
    ),
    "forged replies from a thread for ever": Attack(
        "def lie():\n    while True:\n        say({'double': 6})\n        time.sleep(0.001)\n"
        "threading.Thread(target=lie, daemon=True).start()",
        harms_itself=True,
    ),
    "a reply that drips": Attack(
        "def double(x):\n    wire().sendall(struct.pack('!Q', 1000))\n    while True:\n        wire().sendall(b'.')\n"
        "        time.sleep(0.05)"
    ),
    "a reply that is announced and never comes": Attack(
        "def double(x):\n    wire().sendall(struct.pack('!Q', 2**26))\n    time.sleep(60)", walls=False
    ),
    "a reply of 16 EiB": Attack("def double(x):\n    wire().sendall(b'\\xff' * 8)", walls=False),
    "a reply that is no data": Attack("double = lie_with(b'\\xc1' * 100)", walls=False),
    "a reply of a million empty lists, 24 times": Attack(
        "million = b'\\xdd' + struct.pack('!I', 10**6) + b'\\x90' * 10**6\n"
        "double = lie_with(b'\\x82\\xa5value\\xdc\\x00\\x18' + million * 24 + b'\\xa6output\\xa0')",
    ),
    "a reply that nests a thousand levels": Attack(
        "double = lie_with(b'\\x82\\xa5value\\x06\\xa6output' + b'\\x91' * 900 + b'\\xc0')", walls=False
    ),
    "a reply with half a complex number": Attack(
        "double = lie_with({'value': msgpack.ExtType(4, b'abc')})", walls=False
    ),
    "a tensor of shape 2**39 to the 20th": Attack(
        "shape = msgpack.packb(['float32', [0] + [2**39] * 20, b''])\n"
        "double = lie_with({'value': msgpack.ExtType(5, shape)})",
        walls=False,
    ),
    "a tensor whose bytes are too few": Attack(
        "shape = msgpack.packb(['float32', [10**9], b'1234'])\ndouble = lie_with({'value': msgpack.ExtType(5, shape)})",
        walls=False,
    ),
    "handles and generators that do not exist": Attack(
        "body = [msgpack.ExtType(9, msgpack.packb([10**9, 'f'])), msgpack.ExtType(8, msgpack.packb([0, b'x']))]\n"
        "double = lie_with({'value': body})",
        walls=False,
    ),
    "inputs of the check changed from afar": Attack(
        "def double(x):\n    if hasattr(x, 'zero_'):\n        x.zero_()\n        return x\n    return 2 * x",
        walls=False,
    ),
    "an error that claims to be another": Attack(
        "class StopIteration(Exception): pass\n"
        "class CheckFailed(AssertionError):\n    def __str__(self): raise SystemExit\n"
        "def double(x):\n    raise CheckFailed",
        walls=False,
    ),
    "an error made of nothing but lists": Attack(
        "double = lie_with({'error': {'type': [[[]]], 'bases': [[], 'eval', 'ExceptionGroup', 7],\n"
        "    'message': {'a': [1]}, 'lines': [[], 5]}, 'output': [[]]})",
        walls=False,
    ),
    # --- what is no data
    "tensors of absurd shape": Attack(
        "import torch\ndef double(x):\n    return torch.zeros(1).expand(2**20, 2**20)", walls=False
    ),
    "an answer that encodes for ever": Attack(
        "class Endless(dict):\n    def keys(self):\n        while True: yield 1\n    __iter__ = keys\n"
        "    def __getitem__(self, key): return key\ndouble = Endless()",
        walls=False,
    ),
    "an answer that contains itself": Attack("double = []\ndouble.append(double)", walls=False),
    "an answer of 60 MiB of text": Attack("def double(x): return 'ab ' * (20 * 2**20)"),
    "output and errors that are no characters": Attack(
        "print('\\udc80 \\x1b]0;pwned\\x07 \\x00')\ndef double(x):\n    raise ValueError('\\udc80')", walls=False
    ),
    # --- the walls
    "ptrace": Attack("attempt(system, 101, 16, SERVER, 0, 0)\nattempt(system, 101, 0, 0, 0, 0)"),
    "memory of other processes": Attack(
        "for pid in (PARENT, SERVER, GRADER, BYSTANDER):\n"
        "    for name in ('mem', 'maps', 'environ', 'cmdline', 'fd', 'root'):\n"
        "        attempt(lambda: os.listdir(f'/proc/{pid}/{name}'))\n"
        "        attempt(lambda: open(f'/proc/{pid}/{name}', 'rb').read(9))\n"
        "attempt(system, 310, SERVER, 0, 0, 0, 0, 0)\n"
        "print('REACHED' if len([p for p in os.listdir('/proc') if p.isdigit()]) > 1 else 'alone')"
    ),
    "the network": Attack(
        "attempt(socket.create_connection, ('127.0.0.1', PORT), 1)\n"
        "attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53)))\n"
        "attempt(socket.getaddrinfo, 'example.org', 80)\n"
        "attempt(lambda: socket.socket(socket.AF_INET6).connect(('::1', PORT)))"
    ),
    "sockets that a network namespace does not keep in": Attack(
        "for family in (16, 17, 21, 31, 38, 40, 44):\n    for kind in (1, 2, 3, 5):\n"
        "        attempt(lambda: socket.socket(family, kind).fileno())"
    ),
    "unix sockets by name and by path": Attack(
        "def connect(name):\n    socket.socket(socket.AF_UNIX).connect(name)\n"
        "for name in ('\\0ABSTRACT', 'CANARY/socket', 'FORKS', '/var/run/docker.sock'):\n    attempt(connect, name)"
    ),
    "inherited file descriptors": Attack(
        "held = {fd: os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if int(fd) > 2}\n"
        "held = {k: v for k, v in held.items() if not v.startswith('/proc/')}\n"
        "print('REACHED' if len(held) > 2 or any(TOKEN in v for v in held.values()) else 'none', held)\n"
        "for fd in range(3, 256):\n    try: print(os.pread(fd, 100, 0))\n    except OSError: pass".replace(
            "TOKEN", repr(TOKEN)
        )
    ),
    "the grader's environment": Attack(
        "print(dict(os.environ))\nfor place in ('/proc/self/environ', '/proc/1/environ'):\n"
        "    try: print(open(place).read())\n    except OSError: pass"
    ),
    "root's rights": Attack(
        "attempt(os.setuid, 0)\nattempt(os.setgid, 0)\nattempt(os.setgroups, [0])\nattempt(os.setresuid, 0, 0, 0)\n"
        "attempt(os.chown, '.', 0, 0)\nattempt(system, 126, 0, 0)\nattempt(os.nice, -5)\nattempt(os.chroot, '.')\n"
        "attempt(lambda: subprocess.run(['su', '-c', 'id'], check=True, capture_output=True))\n"
        "print('REACHED' if os.getuid() == 0 else 'nobody')"
    ),
    "mounts and namespaces": Attack(
        "attempt(system, 165, b'none', b'/tmp', b'tmpfs', 0, 0)\nattempt(system, 166, b'/proc', 2)\n"
        "attempt(system, 155, b'.', b'.')\nattempt(system, 428, -100, b'/', 0)\nattempt(system, 430, b'tmpfs', 0)\n"
        "for flag in (0x20000, 0x10000000, 0x40000000, 0x20000000, 0x8000000):\n"
        "    attempt(system, 272, flag)\n    attempt(system, 56, flag | 17, 0, 0, 0, 0)\n"
        "attempt(system, 308, 0, 0)\nattempt(system, 435, 0, 0)"
    ),
    "kernel interfaces": Attack(
        "for number in (321, 298, 323, 425, 250, 248, 246, 175, 313, 304, 438, 103):\n"
        "    attempt(system, number, 0, 0, 0, 0)\n"
        "for path in ('/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/dev/sda', '/dev/kmsg'):\n"
        "    attempt(lambda: open(path, 'w'))\nattempt(os.mknod, 'disk', 0o60600, os.makedev(8, 0))"
    ),
    "system calls of the x32 table": Attack(
        "attempt(system, 0x40000000 + 272, 0x20000)\nattempt(system, 0x40000000 + 39)"
    ),
    "system calls of the 32-bit table": Attack(
        "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "page.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20; int 0x80; ret\n"
        "call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))\n"
        "def double(x):\n    attempt(call)\n    return right(x)"
    ),
    "files outside the scratch folder": Attack(
        "for place in ('/', '/usr', '/etc', '/dev', 'SITE', 'CANARY', 'REPO', '/tmp/..', '/proc/1/cwd/../..'):\n"
        "    attempt(lambda: Path(place, 'pwned').write_text('x'))\n"
        "for path in ('SITE/torch/__init__.py', 'CANARY/world', '/usr/bin/env'):\n"
        "    attempt(lambda: open(path, 'a'))\n    attempt(os.chmod, path, 0o777)\n    attempt(os.unlink, path)"
    ),
    # --- short cuts
    "withheld modules loaded again": Attack(
        "import importlib, torch\nfrom course_utils.checks import expectations as checks\n"
        "attempt(importlib.reload, checks)\nattempt(importlib.reload, torch)\n"
        "name = 'course_utils.checks.expectations'\nsys.modules.pop(name)\nattempt(importlib.import_module, name)\n"
        "attempt(lambda: checks.expect_raises(ValueError, lambda: int('x'), ''))",
        walls=False,
    ),
    "withheld modules run from their files": Attack(
        "import importlib.util, inspect, runpy\nfrom course_utils.checks import expectations as checks\n"
        "attempt(runpy.run_path, checks.__file__)\nattempt(inspect.getsource, checks)\n"
        "spec = importlib.util.spec_from_file_location('mine', checks.__file__)\n"
        "attempt(lambda: spec.loader.exec_module(importlib.util.module_from_spec(spec)))\n"
        "attempt(lambda: Path('REPO/course_utils/numerics/affine.py').read_text())"
    ),
    "another Python, in which nothing is withheld": Attack(
        "code = 'import torch; print(torch.quantize_per_tensor(torch.ones(1), 1.0, 0, torch.quint8))'\n"
        "attempt(subprocess.run, [sys.executable, '-c', code], 0)\nattempt(os.execv, sys.executable, ['python'])\n"
        "attempt(lambda: os.posix_spawn(sys.executable, ['python'], {}))\nprint(get_ipython().getoutput('id'))"
    ),
    "parts of withheld modules that are not public": Attack(
        "from course_utils.numerics import affine\n"
        "for name in ('_rows', '_extremes', 'quantize'):\n    attempt(getattr(affine, name), 1)",
        walls=False,
    ),
    "packages that do the exercise": Attack(
        "def load(name):\n    return __import__(name)\nattempt(load, 'torchao')\n"
        "attempt(load, 'torchao.quantization.quant_primitives')",
        walls=False,
    ),
    "withheld operators by other names": Attack(
        "import torch\nx, s, z = torch.ones(2, 3), torch.ones(2), torch.zeros(2, dtype=torch.int64)\n"
        "channel = (x, s, z, 0, torch.quint8)\nattempt(torch.quantize_per_channel, *channel)\n"
        "attempt(torch.ops.aten.quantize_per_channel.default, *channel)\n"
        "attempt(torch._C._VariableFunctions.quantize_per_channel, *channel)\n"
        "attempt(torch.ops.aten.quantize_per_channel.out, *channel, out=None)",
        walls=False,
    ),
}
for name in ("ptrace", "the network", "solutions", "root's rights", "mounts and namespaces", "a flood of output"):
    # the same with a right answer: an attack costs nothing that was earned
    ATTACKS[f"{name}, by one who knows the answer"] = Attack(ATTACKS[name].source + "\ndouble = right", earns=2.0)


@dataclass(frozen=True)
class World:
    """What stands outside of the sandbox."""

    places: dict[str, str]
    canary: Path
    bystander: subprocess.Popen
    listeners: list[socket.socket]

    def fill_in(self, source: str) -> str:
        return re.sub("|".join(self.places), lambda match: self.places[match[0]], source)

    def state(self) -> dict[str, bytes]:
        watched = [self.canary, Path.home(), ROOT, Path("/tmp"), Path("/"), Path.cwd()]
        left = {str(p): b"" for folder in watched for p in folder.glob("*pwned*")}
        files = [p for p in self.canary.rglob("*") if p.is_file()]
        return left | {str(p): p.read_bytes() for p in files}

    def visitors(self) -> int:
        count = 0
        for listener in self.listeners:
            try:
                listener.accept()
                count += 1
            except BlockingIOError:
                pass
        return count


@pytest.fixture(scope="module")
def grader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grader]:
    """One that is started with secrets around: in the environment, and in an open file."""
    secret = tmp_path_factory.mktemp("secret") / f"{TOKEN}.txt"
    secret.write_text(TOKEN)
    with secret.open() as file, pytest.MonkeyPatch.context() as patch:
        os.set_inheritable(file.fileno(), True)
        patch.setenv("GRADEBOOK_PASSWORD", TOKEN)
        with Grader() as grader:
            yield grader


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, mini: Lab, grader: Grader) -> Iterator[World]:
    canary = tmp_path_factory.mktemp("canary")
    (canary / "submissions" / "alice").mkdir(parents=True)
    for name in ("submissions/alice/00_mini.ipynb", "gradebook.db", "world"):
        (canary / name).write_text(TOKEN)
        (canary / name).chmod(0o666)
    canary.chmod(0o777)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", TOKEN])
    grader.walls()  # from then on there is a server
    parent = newest_parent()
    server = parent.children()[0]
    listeners = [socket.socket(), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
    listeners[0].bind(("127.0.0.1", 0))
    abstract = f"{TOKEN}-{os.getpid()}"
    listeners[1].bind(f"\0{abstract}")
    os.chdir(canary)  # a socket's path may have 107 characters only
    listeners[2].bind("socket")
    (canary / "socket").chmod(0o777)
    os.chdir(ROOT)
    for listener in listeners:
        listener.listen()
        listener.setblocking(False)
    places = {
        "LAB": str(mini.source),
        "COURSE": str(mini.root),
        "REPO": str(ROOT),
        "CANARY": str(canary),
        "HOME": str(Path.home()),
        "SITE": str(Path(pytest.__file__).parents[1]),
        "GRADER": str(os.getpid()),
        "PARENT": str(parent.pid),
        "SERVER": str(server.pid),
        "FORKS": grader.candidates.getpeername(),
        "BYSTANDER": str(bystander.pid),
        "PORT": str(listeners[0].getsockname()[1]),
        "ABSTRACT": abstract,
        "COMM": f"attack-{os.getpid()}",
    }
    yield World(places, canary, bystander, listeners)
    bystander.kill()
    bystander.wait()
    for listener in listeners:
        listener.close()


@pytest.fixture(scope="module")
def walls(grader: Grader) -> list[str]:
    return grader.walls()


def submit(mini: Lab, grader: Grader, source: str) -> Graded:
    answers = {c.id: c.source for c in mini.answers} | {"double": source}
    return grader.grade(Submission("mallory", mini, Answers(answers)))


def scores(graded: Graded) -> dict[str, float]:
    return {row.question: row.score for row in graded.rows}


FULL = {"check_double": 2.0, "check_counter": 1.0, "check_counter_gradient": 1.0, "why": 0.0}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_earns_what_it_knows_and_touches_nothing(name, mini, grader, world, walls):
    attack = ATTACKS[name]
    if attack.walls and (missing := [wall for wall in WALLS if wall not in walls]):
        pytest.skip(f"NOT TRIED: this system's sandbox lacks {', '.join(missing)}")
    before = world.state()

    graded = submit(mini, grader, world.fill_in(PRELUDE + attack.source))
    got, told = scores(graded), str([graded.rows, graded.output])

    assert got["check_double"] == attack.earns, graded.rows[0]
    if not attack.harms_itself:
        assert got == FULL | {"check_double": attack.earns}, graded.rows
    assert all(row.status == "passed" or row.message for row in graded.rows)
    assert "REACHED" not in told, graded.output
    assert TOKEN not in told, graded.output
    assert len(told) < 100_000
    assert world.visitors() == 0
    assert world.bystander.poll() is None
    assert Path(f"/proc/{world.bystander.pid}/stat").read_text().split()[2] == "S", "the bystander is not stopped"

    next_one = submit(mini, grader, DOUBLE)
    assert scores(next_one) == FULL, next_one.rows
    if "processes" in walls:
        end = time.monotonic() + 5
        while left_over(world) and time.monotonic() < end:
            time.sleep(0.1)
        assert left_over(world) == [], "a process outlived its submission"
    assert world.state() == before


def left_over(world: World) -> list[str]:
    """Processes that bear the name that attacks give themselves."""
    left = []
    for name in Path("/proc").glob("[0-9]*/comm"):
        try:
            if (
                name.read_bytes().strip() == world.places["COMM"].encode()
                and b"Z" not in name.with_name("stat").read_bytes()
            ):
                left.append(name.parent.name)
        except OSError:
            continue
    return left


def test_a_stop_iteration_does_not_end_a_checks_loop(tmp_path, grader):
    looping = """# %% nbgrader={"grade_id": "f", "solution": true}
def f(x):
    ### BEGIN SOLUTION
    return x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_f", "grade": true, "points": 1}
assert all(y == x for x, y in enumerate(map(f, range(5))))
"""
    lab = write_mini(tmp_path, looping)
    for source, points in (("def f(x):\n    return x", 1), ("def f(x):\n    raise StopIteration", 0)):
        graded = grader.grade(Submission("mallory", lab, Answers({"f": source})))
        assert graded.rows[0].score == points, graded.rows


@pytest.mark.parametrize(
    ("source", "points"),
    [
        ("def f(x):\n    return 2 * x", 1),
        ("def f(x):\n    x *= 2\n    return x / 2 * 2", 0),
        ("def f(x):\n    x.zero_()\n    return x", 0),
        ("def f(x):\n    x.zero_()\n    return torch.zeros(5)", 0),
        ("def f(x):\n    result = 2 * x\n    x += 0\n    return result", 1),
    ],
)
def test_an_overwritten_input_does_not_make_an_answer_right(source, points, tmp_path, grader):
    """The check forgets to say that the input stays as it is."""
    forgetful = """# %%
import torch
from course_utils.checks.expectations import check, expect_equal, generator

# %% nbgrader={"grade_id": "f", "solution": true}
def f(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_f", "grade": true, "points": 1}
with check("f"):
    x = torch.randn(5, generator=generator())
    expect_equal(f(x), 2 * x, "it doubles")
"""
    lab = write_mini(tmp_path, forgetful)
    row = grader.grade(Submission("mallory", lab, Answers({"f": source}))).rows[0]
    assert row.score == points, row
    assert points or "it doubles" in row.public


def test_what_given_cells_made_stays_as_it_is(tmp_path, grader):
    """An answer must not turn the data that checks share into something that is easy to be right for."""
    sharing = """# %%
import torch
from course_utils.checks.expectations import check, expect_equal, generator

DATA = torch.arange(1.0, 6.0)

# %% nbgrader={"grade_id": "f", "solution": true}
def f(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_f", "grade": true, "points": 1}
with check("f"):
    expect_equal(f(DATA), 2 * DATA, "it doubles")

# %% nbgrader={"grade_id": "check_f_again", "grade": true, "points": 1}
with check("f"):
    expect_equal(f(DATA), 2 * DATA, "it doubles again")
"""
    lab = write_mini(tmp_path, sharing)
    for source in ("def f(x):\n    return x.zero_()", "def f(x):\n    x.zero_()\n    raise ValueError"):
        rows = grader.grade(Submission("mallory", lab, Answers({"f": source}))).rows
        assert [row.score for row in rows] == [0, 0], rows


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TRIED: this system has no namespaces")
def test_a_course_inside_of_what_is_shown_is_covered(tmp_path):
    """As if the course lay in /usr/local: numpy plays its part, in the folder of the interpreter's packages."""
    course = Path(numpy.__file__).parent
    code = f"""if True:
        import os, socket, sys
        from pathlib import Path
        from autograder.sandbox import walls
        course, shown = Path({str(course)!r}), Path({str(course / "random")!r})
        separate = walls.can_separate(course, [shown])
        wire = socket.socket()
        standing = walls.enter([wire.fileno()], course, [shown], separate=separate)
        try:
            (course / "pwned").touch()
        except OSError as refused:
            told = type(refused).__name__
        print(separate, sorted(os.listdir(course)), bool(os.listdir(shown)), bool(os.listdir(course.parent)), told)"""
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if told.startswith("False"):
        pytest.skip("NOT TRIED: this system lets us have no root of our own")
    assert told.split("\n")[0] == "True ['random'] True True OSError"


LEAVE = """
import glob, os, pickle
places = ["/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), os.getcwd(), "/run", "REPO/data/weights"]
found = [p for place in places for p in glob.glob(place + "/**/inputs-of-checks", recursive=True)]
print("FOUND" if found else "nothing", found)

def double(x):
    for place in places:
        try:
            with open(place + "/inputs-of-checks", "ab") as file:
                pickle.dump(x, file)
        except OSError:
            pass
    return x + x
"""


def test_check_inputs_of_others_are_neither_left_behind_nor_the_same(tmp_path, mini, grader, world, walls):
    if "files" not in walls:
        pytest.skip("NOT TRIED: this system's sandbox lacks files")
    for student in range(2):
        graded = submit(mini, grader, world.fill_in(LEAVE))
        assert "nothing" in graded.output["double"], student
    telling = """# %%
import torch
from course_utils.checks.expectations import check, expect_equal, generator

# %% nbgrader={"grade_id": "f", "solution": true}
def f(x):
    ### BEGIN SOLUTION
    return x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_f", "grade": true, "points": 1}
with check("f"):
    expect_equal(f(torch.randint(2**40, (), generator=generator())), -1, "it is told")
"""
    lab = write_mini(tmp_path, telling)
    answers = [Answers({"f": f"def f(x):\n    return x  # {student}"}) for student in ("ann", "bob", "bob")]
    got = [re.search(r"got +(\d+)", grader.grade(Submission("", lab, a)).rows[0].message)[1] for a in answers]
    assert got[0] != got[1], "each submission has inputs of its own"
    assert got[1] == got[2], "and the same ones when it is graded again"


def test_what_lies_where_the_grader_is_started_is_not_imported(mini, tmp_path, monkeypatch):
    """``cd submissions/mallory; course grade`` with a ``torch`` folder in it."""
    for name in ("torch", "numpy", "msgpack", "autograder", "course_utils", "IPython"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nequal = lambda *a: True")
    monkeypatch.chdir(tmp_path)
    with Grader() as grader:
        assert scores(submit(mini, grader, "def double(x): return 3 * x")) == FULL | {"check_double": 0.0}
    assert not (tmp_path / "pwned").exists()


def as_notebook(mini: Lab, **answers: object) -> dict:
    """A right submission as JSON, with some sources replaced."""
    notebook = json.loads(nbformat.writes(release(mini)))
    right = {c.id: c.source for c in mini.answers if c.kind == "exercise"} | answers
    for cell in notebook["cells"]:
        cell["source"] = right.get(cell["id"], cell["source"])
    return notebook


def link_to_another(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").symlink_to(folder.parent / "alice" / "00_mini.ipynb")


def link_to_the_solution(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").symlink_to(mini.source)


def link_in_a_folder(folder: Path, mini: Lab) -> None:
    (folder / "work").mkdir()
    (folder / "work" / "mine.ipynb").symlink_to(folder.parent / "alice" / "00_mini.ipynb")


def linked_folder(folder: Path, mini: Lab) -> None:
    (folder / "work").symlink_to(folder.parent / "alice")


def link_to_a_device(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").symlink_to("/dev/zero")


def link_to_itself(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").symlink_to("00_mini.ipynb")


def a_pipe(folder: Path, mini: Lab) -> None:
    os.mkfifo(folder / "00_mini.ipynb")


def a_folder_by_that_name(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").mkdir()


def of_200_mb(folder: Path, mini: Lab) -> None:
    with (folder / "00_mini.ipynb").open("wb") as file:
        file.truncate(200 * 2**20)


def deep_json(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").write_text('{"cells": ' + "[" * 100_000 + "]" * 100_000 + "}")


def a_number_of_ten_thousand_digits(folder: Path, mini: Lab) -> None:
    (folder / "00_mini.ipynb").write_text('{"cells": [], "nbformat": ' + "9" * 10_000 + "}")


def deep_metadata(folder: Path, mini: Lab) -> None:
    text = json.dumps(as_notebook(mini) | {"cells": [{"source": "", "metadata": "DEEP"}]})
    (folder / "00_mini.ipynb").write_text(text.replace('"DEEP"', '{"a":' * 900 + "1" + "}" * 900))


def a_name_that_climbs(folder: Path, mini: Lab) -> None:
    (folder / "..\\..\\00_mini.ipynb").write_text("{}")
    (folder / "%2e%2e%2fetc%2fpasswd.ipynb").write_text("{}")


UNREADABLE = [
    *(link_to_another, link_to_the_solution, link_in_a_folder, linked_folder, link_to_a_device, link_to_itself),
    *(a_pipe, a_folder_by_that_name, of_200_mb, deep_json, deep_metadata, a_name_that_climbs),
    a_number_of_ten_thousand_digits,
]


@pytest.mark.parametrize("lay", UNREADABLE, ids=lambda f: f.__name__)
def test_a_folder_that_is_a_trap_is_told_and_the_next_student_graded(lay, mini, grader, tmp_path):
    for student in ("alice", "mallory"):
        (tmp_path / student).mkdir()
    (tmp_path / "alice" / "00_mini.ipynb").write_text(json.dumps(as_notebook(mini)))
    lay(tmp_path / "mallory", mini)
    alice, mallory = (grader.grade(s) for s in find_submissions(mini, tmp_path))
    assert alice.score == 4
    assert mallory.score == 0
    assert {row.status for row in mallory.rows} == {"unreadable"}
    assert all(".ipynb" in row.message for row in mallory.rows)


HOSTILE_CELLS = {
    "half a character": {"source": "s = '\ud800'\n" + DOUBLE, "points": 2},
    "a null character": {"source": "s = 1\0\n" + DOUBLE, "points": 0},
    "a parser bomb": {"source": "x = " + "-" * 200_000 + "1\n" + DOUBLE, "points": 0},
    "a deep expression": {"source": "x = " + "1+" * 50_000 + "1\n" + DOUBLE, "points": 0},
    "brackets without end": {"source": "(" * 100_000, "points": 0},
    "a number of a million digits": {"source": "x = " + "9" * 10**6 + "\n" + DOUBLE, "points": 0},
}


@pytest.mark.parametrize("with_id", [True, False], ids=["with its id", "without"])
@pytest.mark.parametrize("name", HOSTILE_CELLS)
def test_text_that_is_a_trap_costs_its_own_points_only(name, with_id, mini, grader, tmp_path):
    source, points = HOSTILE_CELLS[name].values()
    notebook = as_notebook(mini, double=source)
    if not with_id:
        for cell in notebook["cells"]:
            if cell["id"] == "double":
                cell["metadata"] = {"nbgrader": {"grade_id": ["double"], "schema_version": {}}}
    (tmp_path / "00_mini.ipynb").write_text(json.dumps(notebook))
    graded = grader.grade(Submission.read("mallory", mini, tmp_path))
    got = scores(graded)
    assert got["check_double"] == points, graded.rows[0]
    assert got == FULL | {"check_double": points}
    assert graded.rows[0].message or points


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"


class Acting(HTMLParser):
    """Collects what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "svg", "img") or any(name.startswith("on") for name, _ in attributes):
            self.found.append(f"{tag} {attributes}")


def test_markup_in_names_outputs_and_errors_stays_text(mini, grader, tmp_path):
    student = "<img src=x onerror=alert(1)>'\"&{{7*7}}"
    folder = tmp_path / "submissions" / student
    folder.mkdir(parents=True)
    source = f"""from IPython.display import HTML, Javascript, display
print({SCRIPT!r})
display(HTML({SCRIPT!r}), Javascript("alert(1)"), {{"text/html": {SCRIPT!r}}}, raw=False)
def double(x):
    raise type({SCRIPT!r}, (Exception,), {{}})({SCRIPT!r})"""
    notebook = as_notebook(mini, double=source, why=SCRIPT)
    notebook["cells"][0]["outputs"] = [{"output_type": "display_data", "data": {"text/html": SCRIPT}, "metadata": {}}]
    (folder / "00_mini.ipynb").write_text(json.dumps(notebook))
    (submission,) = find_submissions(mini, tmp_path / "submissions")
    graded = grader.grade(submission)
    assert scores(graded) == FULL | {"check_double": 0.0}
    with GradeWriter(mini, tmp_path / "grades") as writer:
        writer.add(graded)

    page = Acting()
    index = write_report(read_records(tmp_path / "grades"), tmp_path / "report")
    pages = [index.read_text(), index.with_name("00_mini.html").read_text()]
    for text in pages:
        allowed = re.search(r"script-src '(sha256-[^']+)'", text)[1]
        (own,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert _sha256(own) == allowed, "the page's own script, and no other, may run"
        page.feed(text.replace(f"<script>{own}</script>", ""))
    assert page.found == []
    (autograded,) = (tmp_path / "grades" / "autograded").rglob("*.ipynb")
    outputs = [o for c in nbformat.read(autograded, 4).cells for o in c.get("outputs", [])]
    assert outputs
    assert {o.output_type for o in outputs} <= {"stream", "error"}, "nothing that a viewer takes for HTML"
