"""Starts the course. In a terminal, in this folder: python start.py

The first time it makes .venv here and installs what the labs need; then, and each time later, JupyterLab opens.

    python start.py --check LAB    what the checks of a lab say, without a browser
    python start.py doctor         what is wrong with this installation

Other arguments go to JupyterLab, for instance --no-browser. Python's own library is enough for this file, and every
Python back to 2.7 can read it, so that an old one is told by name.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys

NEEDED, NEWEST = (3, 11), (3, 13)
DISK_GB = 8 if sys.platform.startswith("linux") else 3  # on Linux, torch brings what NVIDIA's cards need

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")
PYTHON = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
READY = os.path.join(VENV, "ready")  # written when all is installed; holds what that was
LOCK = os.path.join(HERE, ".installing")  # locked while something is installed

NO_NETWORK = "no package could be fetched: is there a network connection? Run this again, and it goes on"
NO_PACKAGE = "torch or another package is not there for Python {0} yet: run this with Python 3.11, 3.12 or 3.13"
NO_DISK = "the disk is full: make room, then run this again, and it goes on"
REASONS = (
    (("No space left", "not enough space", "Errno 28", "quota exceeded"), NO_DISK),
    (
        ("Long Path",),
        "this folder's path is too long for Windows: unpack the course in a shorter one, for instance C:\\course",
    ),
    (
        ("ermission denied", "Access is denied", "Read-only file system"),
        "this folder cannot be written to: unpack the course where you may write, for instance in your home folder",
    ),
    (("onnection", "Retrying", "name resolution", "getaddrinfo", "timed out", "ProxyError", "SSLError"), NO_NETWORK),
    # without a network, pip finds no version of anything; with one, none for a Python that is too new
    (
        ("No matching distribution", "ResolutionImpossible"),
        NO_NETWORK if sys.version_info[:2] <= NEWEST else NO_PACKAGE.format(sys.version.split()[0]),
    ),
)
"""What pip says -> what to do."""


def main(arguments):
    if sys.version_info[:2] < NEEDED:
        stop(
            "this is Python {0}, the course needs 3.11, 3.12 or 3.13: install one of them from python.org, then run "
            "start.py with it (python3.12 start.py; on Windows: py -3.12 start.py)".format(sys.version.split()[0])
        )
    if not os.path.exists(os.path.join(HERE, "requirements.txt")):
        stop("there is no requirements.txt beside it: unpack the whole zip, then run the start.py that you find there")
    command = course_command(arguments)
    wanted = what_is_wanted()
    if not is_installed(wanted):
        with open(LOCK, "ab") as lock:
            hold(lock)
            if not is_installed(wanted):
                install()
                write(READY, wanted)
    process = subprocess.Popen([PYTHON, "-m", "autograder.cli", "--root", HERE] + command, env=environment())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the course got it, too, and ends in its own way
            pass


def course_command(arguments):
    """The arguments for `course`."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        sys.exit(0)
    if arguments[:1] == ["--check"]:
        folder = os.path.join(HERE, "notebooks")
        labs = sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))
        if len(arguments) < 2 or arguments[1] not in labs:
            stop("--check wants the name of a lab: {0}".format(", ".join(labs)))
        lab = arguments[1]
        return ["check", os.path.join(folder, lab, lab + ".ipynb")] + arguments[2:]
    if arguments[:1] in (["doctor"], ["data"], ["check"], ["lab"]):
        return arguments
    return ["lab"] + arguments


def what_is_wanted():
    """Changes with everything that is to be installed; the wheel's name in requirements.txt tells its content."""
    names = ("requirements.txt", "constraints.txt")
    return hashlib.sha256("".join(read(os.path.join(HERE, name)) for name in names).encode("utf-8")).hexdigest()


def is_installed(wanted):
    return os.path.exists(PYTHON) and read(READY) == wanted


def hold(lock):
    """Keeps a second start from installing at the same time. The lock goes with this process, however that ends."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError) as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            stop("it is being installed here by another start.py: wait until that one is done, then run this again")
        # else a file system without locks, a server's perhaps: there one has to take care


def install():
    """Makes .venv, or goes on where an earlier run stopped."""
    begun = os.path.exists(PYTHON) and call([PYTHON, "-m", "pip", "--version"])[0] == 0
    if not begun:
        free = shutil.disk_usage(HERE).free / 1e9
        if free < DISK_GB:
            stop(
                "the course needs {0} GB of disk, here are {1:.1f}: make room, then run this again".format(
                    DISK_GB, free
                )
            )
        print("First start: making the folder .venv")
        code, told = call([sys.executable, "-m", "venv", "--clear", VENV])
        if code and ("ensurepip is not available" in told or "No module named" in told):
            stop("this Python cannot make environments: install its part `venv` (on Debian: apt install python3-venv)")
        if code and shutil.disk_usage(HERE).free < 1e8:  # what pip's own installer says of it, venv keeps to itself
            stop(NO_DISK)
        if code:
            stop(what_to_do(told, "Python could not make the folder .venv: "))
    print("Installing what the labs need. This takes some minutes, the first time.")
    sys.stdout.flush()
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    code, told = call(pip + ["--requirement", "requirements.txt"], show=True)
    if code:
        stop(what_to_do(told, "the installation stopped; run this again, and it goes on. pip said: "))


def call(command, show=False):
    """Runs a program here. Returns its exit code and what it complained of; with ``show`` its progress is seen."""
    output = None if show else subprocess.PIPE
    process = subprocess.Popen(command, cwd=HERE, env=environment(), stdout=output, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, ((out or b"") + err).decode("utf-8", "replace")


def environment():
    """This process's, without what would make the course's Python find other packages."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")}
    own["PIP_USER"] = "0"
    own["COURSE_COMMAND"] = "python start.py"  # what the course's messages call themselves
    return own


def what_to_do(told, otherwise):
    for signs, reason in REASONS:
        if any(sign in told for sign in signs):
            return reason
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["nothing"]
    return otherwise + errors[-1]


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except (IOError, OSError):
        return ""


def write(path, text):
    with open(path, "wb") as file:
        file.write(text.encode("utf-8"))


def stop(reason):
    sys.exit("start.py: " + reason)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        stop("stopped; run it again, and it goes on")
    except (IOError, OSError) as error:
        stop(what_to_do(str(error), ""))
