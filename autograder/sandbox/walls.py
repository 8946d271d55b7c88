"""Shuts a process in before it runs a student's code.

`enter` is called in a freshly forked candidate process and puts up as many walls as the system allows:

=============  ======================================================================================================
files          a root of its own: the system, the interpreter and course_utils, read-only; a small scratch folder in
               memory; nothing else: no solutions, submissions, gradebook, home folders
network        none, not even the machine's own loopback
processes      sees and signals nobody but its own children; all of them end with it
user           root gives up its rights for a user number that nobody has; an ordinary user gives up those that a user
               namespace lends
system calls   those that Python, torch, numpy, matplotlib and IPython need, listed in `system_calls`; no other
limits         memory, processes, CPU time, open files, file size
=============  ======================================================================================================

On Linux all of these hold for root and, where user namespaces are allowed, for an ordinary user; elsewhere only
*limits* does. `enter` returns the names of the walls that stand, before any answer runs, so that the grader can say so
or refuse. It uses the kernel's calls through ctypes and needs no other program.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Collection
from pathlib import Path

from autograder.sandbox import groups
from autograder.sandbox.system_calls import ALLOWED, ONLY, YOUNG

WALLS = ("files", "network", "processes", "user", "system calls", "limits")

MEMORY = 2 * 2**30
"""Bytes that an answer may take beyond what the interpreter and torch hold already."""

SCRATCH = 64 * 2**20
"""Bytes in the scratch folder, and of any one file."""

FILES = 10_000  # in the scratch folder; an empty one has no size, but takes the kernel's memory
PROCESSES = 64  # threads count too
CPU_SECONDS = 600
OPEN_FILES = 64
# What lies in a socket belongs to no process. Linux lets one hold 416 KiB at most, as it is usually set up: all sockets
# of all processes together 64 * 64 * 416 KiB, less than `MEMORY`.

OUT_OF_MEMORY = 201
"""Exit code of a candidate whose processes together took more than `MEMORY`."""

_libc = ctypes.CDLL(None, use_errno=True)

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    *(1, 2, 4, 8, 32),
    *(4096, 16384, 1 << 18),
)
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38


def can_separate(course: Path | None, folders: list[Path]) -> bool:
    """Tries, in a process of its own, whether this system lets us have namespaces and a root of our own."""
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            _separate()
            _fork_and_watch()
            _rebuild_root(course, folders)
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def enter(
    keep: Collection[int],
    course: Path | None,
    folders: list[Path],
    covered: Collection[Path] = (),
    *,
    separate: bool,
    lent: Path | None = None,
) -> list[str]:
    """Goes behind the walls. Returns in a new process, whose parent only watches over it and passes on how it ends.

    Args:
        keep: the file descriptors, beside 0 to 2, that stay open.
        course: its folder, which is not shown even where it lies in one that is.
        folders: what can be read beside the system: the trained weights, which lie in the course.
        covered: files and folders of what is shown that cannot be read.
        separate: whether to take namespaces and a root of its own; what `can_separate` said.
        lent: a control group in which to make one; what `groups.lent` said.

    Returns:
        The walls that stand, a subset of `WALLS`, and `groups.GROUP` if one was made.
    """
    walls = []
    nobody = 2_000_000_000 + os.getpid()  # one of its own for every candidate, so that they do not share limits
    if separate:
        group = groups.make(lent, str(os.getpid()), MEMORY + SCRATCH) if lent else None
        _separate()
        _fork_and_watch(group)
        _rebuild_root(course, folders, covered)
        walls += [groups.GROUP] if group else []
        walls += ["files", "network", "processes"]
    for before, after in itertools.pairwise([2, *sorted(keep), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]):
        os.closerange(before + 1, after)
    os.setsid()  # a signal to "the process group" must not reach the grader's
    _limit()
    if sys.platform == "linux":
        if _give_up_rights(nobody):
            walls.append("user")
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # again: a change of user forgets it
        if _refuse_system_calls():
            walls.append("system calls")
    return [w for w in (*WALLS, groups.GROUP) if w in [*walls, "limits"]]


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _separate() -> None:
    """New namespaces for everything; as an ordinary user in a new user namespace."""
    flags = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _call("unshare", flags)
        return
    _call("unshare", flags | _NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _fork_and_watch(group: Path | None = None) -> None:
    """Returns in the child, which is process 1 of its namespace, and in the control group if there is one. The parent
    stays behind until the child has ended."""
    processes = os.open("/proc", os.O_RDONLY)  # the child's change of root takes this process along
    events = os.open(group, os.O_RDONLY) if group else None
    child = os.fork()
    if child == 0:
        os.close(processes)
        if group:
            groups.join(group)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
    before = _memory(processes, child)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        # the first figure is quick and counts what processes share once for each; the second is slow and exact
        if _memory(processes, child) - before > MEMORY and _memory(processes, child, exact=True) - before > MEMORY:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os._exit(OUT_OF_MEMORY)
        with contextlib.suppress(InterruptedError):
            signal.sigtimedwait([signal.SIGCHLD], 0.05)
    code = os.waitstatus_to_exitcode(status)
    if events is not None and groups.overran(events):
        os._exit(OUT_OF_MEMORY)
    if code < 0:  # pass the signal on
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def _memory(processes: int, process: int, *, exact: bool = False) -> int:
    """Bytes that a process and all that descend from it hold, files aside; ``processes`` is ``/proc``, opened.

    The exact figure shares out what processes have in common. It is refused for one that has declared itself not
    dumpable; then the other figure, never smaller, counts.
    """

    def read(name: str) -> bytes:  # a process can give itself a name that is no text
        with open(os.open(f"{process}/{name}", os.O_RDONLY, dir_fd=processes), "rb") as file:  # noqa: PTH123
            return file.read()

    def held(name: str) -> int:
        told = dict(line.split()[:2] for line in read(name).splitlines() if line.endswith(b"kB"))
        return sum(int(told.get(n, 0)) for n in (b"RssAnon:", b"RssShmem:", b"Pss_Anon:", b"Pss_Shmem:"))

    amount, children = 0, set()
    try:
        threads = os.open(f"{process}/task", os.O_RDONLY, dir_fd=processes)
    except OSError:  # it has ended
        return 0
    try:
        for thread in os.listdir(threads):  # noqa: PTH208
            with contextlib.suppress(OSError):
                amount = max(amount, held(f"task/{thread}/status"))  # the main thread may have ended before the others
            with contextlib.suppress(OSError):
                children.update(read(f"task/{thread}/children").split())
    finally:
        os.close(threads)
    if exact:
        with contextlib.suppress(OSError):
            amount = held("smaps_rollup")
    return amount * 1024 + sum(_memory(processes, int(c), exact=exact) for c in children)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [s.encode() if s is not None else None for s in (source, target, kind)]
    _call("mount", *encoded, ctypes.c_ulong(flags), options.encode() if options else None)


def _rebuild_root(course: Path | None, folders: list[Path], covered: Collection[Path] = ()) -> None:
    """A root in memory with read-only views of what an answer needs; then the old root is let go."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    root = next(p for p in ("/sys", "/mnt", "/media") if Path(p).is_dir())  # covered in this namespace only
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        system = Path("/", name)
        if system.is_symlink():
            Path(root, name).symlink_to(system.readlink())
        elif system.is_dir():
            _bind(system, root)
    Path(root, "tmp").mkdir()  # before the views: what they show may lie in the real /tmp
    _mount("tmpfs", f"{root}/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={SCRATCH},nr_inodes={FILES}")
    etc = [Path("/etc", n) for n in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "fonts", "alternatives")]
    prefixes = sorted({Path(sys.prefix), Path(sys.base_prefix).resolve(), Path(sys.base_exec_prefix).resolve()})
    shown: list[Path] = []
    ours = ["/"]  # what lies in memory, and is written to until all is shown
    views = {Path("/usr"), *etc, *prefixes, *folders} | ({course} if course else set())
    for path in sorted(views, key=lambda path: len(path.parts)):
        inside = any(path.is_relative_to(other) for other in shown)
        if path == course:
            if inside:  # a course in /usr/local, say, would be shown with all that it holds
                _mount("tmpfs", f"{root}{course}", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
                shown = [other for other in shown if not course.is_relative_to(other)]
                ours.append(str(course))
        elif path.exists() and not inside:
            _bind(path, root)
            shown.append(path)
    for path in {*covered, *(each.resolve() for each in covered)}:
        _cover(Path(root, *path.parts[1:]))
    Path(root, "dev").mkdir()
    for name in ("null", "random", "urandom"):  # not zero: mapped, it is memory that belongs to no process
        _bind(Path("/dev", name), root, _MS_RDONLY)  # that is about its time stamps and the like
    Path(root, "proc").mkdir()
    with contextlib.suppress(OSError):  # some containers do not let a user namespace have it; torch can do without
        _mount("proc", f"{root}/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    os.chdir(root)
    if (machine := _machine()) is None:
        raise OSError(f"no system call numbers are known for {platform.machine()}")
    _call("syscall", _PIVOT_ROOT[machine], b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
    for path in ours:
        _mount("none", path, None, _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
    os.chdir("/tmp")


def _cover(path: Path) -> None:
    """In the place of a file comes a device that cannot be opened, in that of a folder an empty one."""
    if path.is_symlink() or path.resolve() != path or not path.exists():  # it is shown by another name, or not at all
        return
    if path.is_dir():
        _mount("tmpfs", str(path), "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "mode=0,size=4k")
    else:
        _mount("/dev/null", str(path), None, _MS_BIND)
        _mount("none", str(path), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _kept(path))


def _bind(path: Path, root: str, flags: int = _MS_RDONLY | _MS_NODEV) -> None:
    target = Path(root, *path.parts[1:])
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(path), str(target), None, _MS_BIND)
    _mount("none", str(target), None, _MS_REMOUNT | _MS_BIND | _MS_NOSUID | flags | _kept(target))


def _kept(target: Path) -> int:
    """A mount from outside keeps the restrictions it has there, or a user namespace may not touch it."""
    have = os.statvfs(target).f_flag
    kept = have & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME | os.ST_RELATIME)
    return kept & ~os.ST_RELATIME | ((1 << 21) if kept & os.ST_RELATIME else 0)


def limit_memory(most: int = MEMORY) -> None:
    """At most so many bytes beyond what the process has now, which with torch is mostly library (Linux only)."""
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        value = in_use + most if hard == resource.RLIM_INFINITY else min(in_use + most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (value, value))


def _limit() -> None:
    """Limits of the process."""
    limit_memory()
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_FSIZE: SCRATCH,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    if sys.platform == "linux":
        limits[resource.RLIMIT_NPROC] = PROCESSES
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large is an error, not the end


def _give_up_rights(nobody: int) -> bool:
    """No rights beyond an ordinary user's, and no way back to them."""
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(nobody, nobody, nobody)
            os.setresuid(nobody, nobody, nobody)
        for capability in range(64):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        header = struct.pack("Ii", 0x20080522, 0)
        _call("capset", header, bytes(24))
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    except OSError:
        return False
    return True


_AUDIT_ARCHITECTURE = (0xC000003E, 0xC00000B7)  # of x86_64 and aarch64
_PIVOT_ROOT = (155, 41)


def _machine() -> int | None:
    return {"x86_64": 0, "aarch64": 1}.get(platform.machine())


def _filter(machine: int) -> list[tuple[int, int, int, int]]:
    """`system_calls` as a program of the kernel's packet filter: instruction, jumps if true and if not, a constant."""
    load, equal, at_least, mask, give = 0x20, 0x15, 0x35, 0x54, 0x06
    number, architecture, arguments = 0, 4, 16  # where they stand in what the program looks at
    allow, error, end = 0x7FFF0000, 0x00050000, 0x80000000
    program = [
        (load, 0, 0, architecture),
        (equal, 1, 0, _AUDIT_ARCHITECTURE[machine]),
        (give, 0, 0, end),
        (load, 0, 0, number),
    ]
    for name, numbers in ALLOWED.items():
        if numbers[machine] is None:
            continue
        part: list[tuple[int, int, int, int]] = []
        if only := ONLY.get(name):
            look = (load, 0, 0, arguments + 8 * only.argument)
            for bits in only.never:
                part += [look, (mask, 0, 0, bits), (equal, 0, 1, bits), (give, 0, 0, error | only.error)]
            if only.values:
                part.append(look)
                part += [i for value in only.values for i in ((equal, 0, 1, value), (give, 0, 0, allow))]
                part.append((give, 0, 0, error | only.error))
        program += [(equal, 0, len(part) + 1, numbers[machine]), *part, (give, 0, 0, allow)]
    return [
        *program,
        (at_least, 0, 1, YOUNG),  # x86_64's second table, too
        (give, 0, 0, error | errno.ENOSYS),
        (give, 0, 0, error | errno.EPERM),
    ]


def _refuse_system_calls() -> bool:
    """A seccomp filter: `system_calls` says what goes through."""
    machine = _machine()
    if machine is None:
        return False
    program = _filter(machine)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    return _libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0) == 0
