"""The system calls that an answer may make: an allow-list, as data. `autograder.sandbox.walls` makes a filter of it.

What is not on the list does not exist for an answer: other programs, other processes' memory, mounts, modules, keys,
and all by which the kernel holds memory, locks or slots that belong to no process and that no limit counts (semaphores
and queues of System V, asynchronous input and output, pages given to pipes, watches and locks on files).

The list was measured with strace on x86-64: what torch, numpy, matplotlib, numba, IPython and ipykernel call after the
walls are up, in the labs' reference answers, wrong variants, demos and the mishaps of the tests; the rest is what
Python's own functions of files, time, threads and signals need. The numbers for aarch64 are those of Linux's headers
and of libseccomp; they have NOT been run on such a machine.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

YOUNG = 424
"""From this number on, the same on both machines, what is not allowed does not exist (ENOSYS): libraries ask for calls
that came with Linux 5.1 and later, and do without. What is older is refused (EPERM)."""

ALLOWED: dict[str, tuple[int | None, int | None]] = {  # name: number on x86_64, on aarch64  # what needs it
    # memory
    "brk": (12, 214),  # memory
    "mmap": (9, 222),  # memory, files in memory
    "munmap": (11, 215),  # memory
    "mprotect": (10, 226),  # memory: torch's and numba's code
    "mremap": (25, 216),  # memory: realloc of large blocks
    "madvise": (28, 233),  # memory: allocators give back what is free
    "msync": (26, 227),  # mmap.flush
    # files: the walls say which
    "open": (2, None),  # files
    "openat": (257, 56),  # files
    "close": (3, 57),  # files
    "close_range": (436, 436),  # subprocess, os.closerange
    "read": (0, 63),  # files, pipes, sockets
    "write": (1, 64),  # files, pipes, sockets
    "readv": (19, 65),  # files in pieces
    "writev": (20, 66),  # files in pieces
    "pread64": (17, 67),  # files from a place on
    "pwrite64": (18, 68),  # files from a place on
    "preadv": (295, 69),  # os.preadv
    "pwritev": (296, 70),  # os.pwritev
    "lseek": (8, 62),  # files
    "ftruncate": (77, 46),  # files
    "truncate": (76, 45),  # os.truncate
    "fallocate": (285, 47),  # os.posix_fallocate
    "fsync": (74, 82),  # os.fsync
    "fdatasync": (75, 83),  # os.fdatasync
    "sendfile": (40, 71),  # shutil.copyfile
    "copy_file_range": (326, 285),  # pathlib's and coreutils' copies
    "fcntl": (72, 25),  # descriptors; see `ONLY`
    "dup": (32, 23),  # descriptors
    "dup2": (33, None),  # descriptors
    "dup3": (292, 24),  # descriptors
    "pipe": (22, None),  # pipes
    "pipe2": (293, 59),  # pipes
    "ioctl": (16, 29),  # isatty, the terminal's size; see `ONLY`
    "stat": (4, None),  # what a file is, in old libraries
    "lstat": (6, None),  # what a file is, in old libraries
    "fstat": (5, 80),  # what a file is
    "newfstatat": (262, 79),  # what a file is
    "statx": (332, 291),  # what a file is
    "access": (21, None),  # os.access, in old libraries
    "faccessat": (269, 48),  # os.access
    "faccessat2": (439, 439),  # os.access
    "statfs": (137, 43),  # shutil.disk_usage, MKL
    "fstatfs": (138, 44),  # os.fstatvfs
    "getdents64": (217, 61),  # os.listdir
    "getcwd": (79, 17),  # os.getcwd
    "chdir": (80, 49),  # os.chdir
    "fchdir": (81, 50),  # os.fchdir
    "mkdir": (83, None),  # os.mkdir, in old libraries
    "mkdirat": (258, 34),  # os.mkdir
    "rmdir": (84, None),  # os.rmdir
    "unlink": (87, None),  # os.unlink
    "unlinkat": (263, 35),  # os.unlink, shutil.rmtree
    "rename": (82, None),  # os.rename
    "renameat": (264, 38),  # os.rename
    "renameat2": (316, 276),  # os.rename
    "link": (86, None),  # os.link
    "linkat": (265, 37),  # os.link
    "symlink": (88, None),  # os.symlink
    "symlinkat": (266, 36),  # os.symlink
    "readlink": (89, None),  # os.readlink, Path.resolve
    "readlinkat": (267, 78),  # os.readlink, Path.resolve
    "chmod": (90, None),  # os.chmod
    "fchmod": (91, 52),  # os.chmod
    "fchmodat": (268, 53),  # os.chmod
    "umask": (95, 166),  # tempfile and the like
    "utimensat": (280, 88),  # shutil.copystat
    "getxattr": (191, 8),  # shutil.copystat
    "lgetxattr": (192, 9),  # shutil.copystat
    "fgetxattr": (193, 10),  # shutil.copystat
    "listxattr": (194, 11),  # shutil.copystat
    "llistxattr": (195, 12),  # shutil.copystat
    "flistxattr": (196, 13),  # shutil.copystat
    # waiting
    "poll": (7, None),  # sockets, zmq
    "ppoll": (271, 73),  # sockets, zmq
    "select": (23, None),  # time.sleep of old, sockets
    "pselect6": (270, 72),  # sockets
    "epoll_create": (213, None),  # asyncio
    "epoll_create1": (291, 20),  # asyncio, zmq
    "epoll_ctl": (233, 21),  # asyncio, zmq
    "epoll_wait": (232, None),  # asyncio, zmq
    "epoll_pwait": (281, 22),  # asyncio, zmq
    "eventfd2": (290, 19),  # zmq
    # time
    "clock_gettime": (228, 113),  # time; mostly without a call
    "clock_getres": (229, 114),  # time.get_clock_info
    "clock_nanosleep": (230, 115),  # time.sleep
    "nanosleep": (35, 101),  # time.sleep
    "gettimeofday": (96, 169),  # time; mostly without a call
    "time": (201, None),  # time; mostly without a call
    "times": (100, 153),  # os.times
    "setitimer": (38, 103),  # signal.setitimer
    "getitimer": (36, 102),  # signal.getitimer
    "alarm": (37, None),  # signal.alarm
    "pause": (34, None),  # signal.pause
    # sockets: the candidate's wire, asyncio's own pair, the kernel's in its folder
    "socket": (41, 198),  # asyncio, zmq; see `ONLY`
    "socketpair": (53, 199),  # asyncio; see `ONLY`
    "connect": (42, 203),  # zmq
    "bind": (49, 200),  # zmq
    "listen": (50, 201),  # zmq
    "accept": (43, 202),  # zmq
    "accept4": (288, 242),  # zmq
    "getsockname": (51, 204),  # zmq
    "getpeername": (52, 205),  # zmq
    "getsockopt": (55, 209),  # zmq
    "setsockopt": (54, 208),  # zmq
    "shutdown": (48, 210),  # sockets
    "sendto": (44, 206),  # the wire
    "recvfrom": (45, 207),  # the wire
    "sendmsg": (46, 211),  # zmq
    "recvmsg": (47, 212),  # zmq
    # processes and threads
    "clone": (56, 220),  # threads, os.fork; see `ONLY`
    "exit": (60, 93),  # the end of a thread
    "exit_group": (231, 94),  # the end
    "wait4": (61, 260),  # os.wait
    "waitid": (247, 95),  # os.waitid
    "futex": (202, 98),  # locks between threads
    "set_robust_list": (273, 99),  # glibc, in a new thread
    "set_tid_address": (218, 96),  # glibc, in a new process
    "rseq": (334, 293),  # glibc, in a new thread
    "sched_yield": (24, 124),  # OpenMP
    "sched_getaffinity": (204, 123),  # how many cores there are
    "sched_getparam": (143, 121),  # glibc: attributes of a thread
    "sched_setscheduler": (144, 119),  # zmq, which ends the process otherwise; see `ONLY`
    "sched_getscheduler": (145, 120),  # glibc: attributes of a thread
    "sched_get_priority_max": (146, 125),  # glibc: attributes of a thread
    "sched_get_priority_min": (147, 126),  # glibc: attributes of a thread
    "getcpu": (309, 168),  # OpenMP, OpenBLAS
    "arch_prctl": (158, None),  # AMX of x86-64; see `ONLY`
    "prctl": (157, 167),  # names of threads; see `ONLY`
    "prlimit64": (302, 261),  # resource.getrlimit; see `ONLY`
    "getrlimit": (97, 163),  # resource.getrlimit
    "getrusage": (98, 165),  # resource.getrusage
    "getpriority": (140, 141),  # os.getpriority
    "sysinfo": (99, 179),  # glibc: sorting, os.sysconf
    "uname": (63, 160),  # platform
    "getrandom": (318, 278),  # secrets, hashes, torch.seed
    # who one is
    "getpid": (39, 172),  # os.getpid
    "gettid": (186, 178),  # threading.get_native_id
    "getppid": (110, 173),  # os.getppid
    "getpgrp": (111, None),  # os.getpgrp
    "getpgid": (121, 155),  # os.getpgid
    "getsid": (124, 156),  # os.getsid
    "setpgid": (109, 154),  # os.setpgid
    "setsid": (112, 157),  # os.setsid
    "getuid": (102, 174),  # os.getuid
    "geteuid": (107, 175),  # os.geteuid
    "getgid": (104, 176),  # os.getgid
    "getegid": (108, 177),  # os.getegid
    "getresuid": (118, 148),  # os.getresuid
    "getresgid": (120, 150),  # os.getresgid
    "getgroups": (115, 158),  # os.getgroups
    # signals
    "rt_sigaction": (13, 134),  # signals
    "rt_sigprocmask": (14, 135),  # signals
    "rt_sigreturn": (15, 139),  # the end of a signal's handler
    "rt_sigpending": (127, 136),  # signal.sigpending
    "rt_sigsuspend": (130, 133),  # signals
    "rt_sigtimedwait": (128, 137),  # signal.sigtimedwait
    "sigaltstack": (131, 132),  # faulthandler, numba
    "restart_syscall": (219, 128),  # the system itself, after a stop
    "kill": (62, 129),  # os.kill; to nobody but its own
    "tgkill": (234, 131),  # abort, threads
}


class Only(NamedTuple):
    """What of an allowed call is not allowed.

    Attributes:
        argument: which one decides, from 0; its lower 32 bits.
        values: all that it may be; empty for those that `never` decides about.
        never: bits that must not all be set, for each of these masks.
        error: what the rest gets.
    """

    argument: int
    values: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    error: int = errno.EPERM


_UNIX, _INET, _INET6 = 1, 2, 10  # others are not all kept in by a network namespace (vsock)
# libzmq lives with EOPNOTSUPP, and ends the process at another error
_FAMILIES = Only(0, values=(_UNIX, _INET, _INET6), error=errno.EOPNOTSUPP)

ONLY = {
    # neither new namespaces (of mounts, control groups, names, System V, users, processes, networks), nor CLONE_VFORK,
    # by which a parent waits in a way that counts as load; clone3's flags cannot be seen: without it libc takes clone
    "clone": Only(0, never=(0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x4000)),
    # shared memory of no file (MAP_SHARED and MAP_ANONYMOUS) stays when it is taken out of the process's sight; pages
    # of the system's own store (MAP_HUGETLB) are nobody's
    "mmap": Only(3, never=(0x21, 0x40000)),
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ; no lock, lease, watch or larger pipe
    "fcntl": Only(1, values=(0, 1, 2, 3, 4, 1030, 1032)),
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS2; else: it is no terminal
    "ioctl": Only(1, values=(0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A), error=errno.ENOTTY),
    # PR_SET_NAME, PR_GET_NAME; not to outlive one's parent, nor to hide what one holds
    "prctl": Only(0, values=(15, 16)),
    # what oneDNN asks before it uses AMX's registers: which there are, which may be used, to use them
    "arch_prctl": Only(0, values=(0x1021, 0x1022, 0x1023)),
    "sched_setscheduler": Only(
        1, values=(0,)
    ),  # SCHED_OTHER, as everybody is: not to be served last, which waits for free
    "prlimit64": Only(0, values=(0,)),  # of oneself
    "socket": _FAMILIES,
    "socketpair": _FAMILIES,
}
"""Of these calls only a part."""
