"""What an examiner is told and what it answers: plain data. And how long it may take."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from autograder.processes.frames import Wire

START_SECONDS = 30.0  # for a candidate to start; it takes a tenth of a second on an idle machine
GRACE_SECONDS = 2.0  # from the interrupt of a hanging call to its end by force

HANGING = 2
"""Of so many limits, an answer that hangs may use up the time; its further checks share what is left of it."""


@dataclass(frozen=True)
class Job:
    """What the examiner needs to know of a lab and a submission. Plain data, made by the grader."""

    cells: list[dict]  # of `Cell`, with the reference answers left out
    names: dict[str, list[str]]  # exercise -> names its answer must define
    answers: dict[str, str]  # exercise -> the student's source
    stubs: dict[str, str]  # exercise -> source of the untouched exercise
    exercise_of: dict[str, str]  # check -> exercise
    uses: dict[str, list[str]]  # check -> names in its source that exercises define
    withheld: list[str]
    seconds: float  # for each check and each answer cell, as `autograder.processes.clock` counts them
    seeds: dict[str, int]  # exercise -> what its checks draw their inputs from
    list_rules: bool = False  # say with each result which rules held
    as_shown: bool = False  # judge as a notebook does: an input that was overwritten is not put back for a second look


@dataclass(frozen=True)
class Result:
    """What became of one check.

    `message` is for the instructor; `public` leaves out the expected values of hidden expectations.
    """

    question: str
    passed: bool
    status: str  # passed, failed, error, timeout, crashed, not attempted
    message: str = ""
    public: str = ""
    seconds: float = 0.0
    drew: bool = False  # whether inputs were drawn for it: with another seed there might be another result
    rules: list[str] = field(default_factory=list)  # that held, if the job asks for them


@dataclass
class Report:
    """What came of a job: a result per check, and what the answers printed in each answer and check cell."""

    results: list[dict] = field(default_factory=list)
    output: dict[str, str] = field(default_factory=dict)
    walls: list[str] = field(default_factory=list)  # of the sandbox that the answers ran in
    error: str = ""  # a slip of the lab's author or of ours, never of the student
    doubtful: list[str] = field(default_factory=list)  # checks that may have no result by an accident of the machine's
    lost: str = ""  # why the examiner itself ended before it had an answer: then nothing else is known


def begin(wire: Wire, withheld: list[str]) -> list[str]:
    """The first exchange with a candidate, before it has seen an answer: it is told what it is to withhold, and says
    which walls of the sandbox stand.

    Raises:
        LookupError: if it cannot withhold that (a slip of the lab's author).
    """
    wire.send(json.dumps(withheld).encode())
    told = json.loads(wire.receive())
    if "error" in told:
        raise LookupError(told["error"])
    return told["walls"]
