"""What checks draw their hidden inputs from: another seed for every answer, which nobody can foresee or choose.

A seed is the HMAC of the answer, under a secret that lies beside the gradebook. So the same answer meets the same
inputs whenever it is graded, and who does not know the secret cannot say which. An examiner, here or on another host,
is told the seeds and not the secret; a candidate neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from autograder.errors import CourseError

SECRET = "seeds.secret"
"""Beside the gradebook. Who deletes it has every answer graded on other inputs."""

KNOWN = b"no secret: gates, mutants and tests give the same on every machine"
"""What seeds are made with where nobody is graded."""

DIGITS = 64


def secret_beside(output: Path) -> bytes:
    """The secret in the folder of the gradebook; made, for its owner only to read, if there is none.

    Raises:
        CourseError: if there is a file that is none.
    """
    path = Path(output) / SECRET
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{SECRET}.{os.getpid()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(secrets.token_hex(DIGITS // 2))
        with contextlib.suppress(FileExistsError):  # another run has been quicker
            os.link(new, path)
        new.unlink()
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
        if len(secret) != DIGITS // 2:
            raise ValueError
    except (OSError, ValueError):
        raise CourseError(f"{path} is no secret: put back the one that was there, or delete it for a new one") from None
    return secret


def seed(secret: bytes, *told: str) -> int:
    """A number from 0 to 2^63 - 1 that only who knows the secret can foresee."""
    digest = hmac.digest(secret, "\0".join(told).encode("utf-8", "surrogatepass"), hashlib.sha256)
    return int.from_bytes(digest[:8]) >> 1
