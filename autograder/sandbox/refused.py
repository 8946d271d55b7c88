"""What was refused to an answer: told from its errors and from what it printed.

An answer's process says what it tried (`autograder.processes.candidate`), so this is for a person to look at and never
for a score: who ends the process at once, or forges its own output, is not found by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TRIED = "not possible in the grader: "
"""How a candidate's line about a program or the network begins."""

SIGNS = [
    (re.compile(rf"{TRIED}(.+)"), "{}"),
    (re.compile(r"(?<=[\w.:]) is withheld in this lab"), "withheld: {}"),
    (re.compile(r"(?<=[\w.]) is loaded already, and cannot be loaded again"), "withheld: {} loaded again"),
    (re.compile(r"Read-only file system: '([^']+)'|\[Errno 13\] Permission denied: '([^']+)'"), "file: {}"),
    # a path below the root that is not there: outside of its folder an answer sees only the system
    (re.compile(r"No such file or directory: '(/[^']+)'"), "file: {}"),
    (re.compile(r"Operation not permitted|Function not implemented"), "system call"),
    (re.compile(r"(?:can't allocate memory|MemoryError|more than [\d.]+ GiB of memory)"), "memory"),
    (re.compile(r"File too large|No space left on device"), "too large a file"),
    (re.compile(r"Resource temporarily unavailable|can't start new thread"), "too many processes or threads"),
]
"""What an error or a line of output says, and what the report calls it: by what the expression takes out of it, or by
the name before it. An expression that began with the name would be tried at every letter of a long text."""

NAME_BACKWARDS = re.compile(r"[\w.:]{1,100}")


def refusals(texts: Iterable[str]) -> list[str]:
    """What was refused, each thing once, in the order in which it was met.

    Args:
        texts: the messages of a submission's rows, and what its answers printed.
    """
    found: dict[str, None] = {}
    for text in texts:
        for sign, words in SIGNS:
            for match in sign.finditer(text):
                before = NAME_BACKWARDS.match(text[max(0, match.start() - 100) : match.start()][::-1])
                detail = next(filter(None, match.groups()), before[0][::-1] if before else "")
                found[words.format(detail[:100])] = None
    return list(found)
