"""One cell of a lab: see `autograder.labs.lab` for the four kinds."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

HIDDEN = re.compile(r"BEGIN HIDDEN TESTS|END HIDDEN TESTS")


@dataclass(frozen=True)
class Cell:
    """One cell of the instructor notebook."""

    id: str
    kind: str  # "given", "exercise", "check" or "written"
    source: str
    is_code: bool
    points: float = 0.0
    explore: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What the cell defines at its top level: functions, classes, variables."""
        names: list[str] = []
        for node in ast.parse(self.source).body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    names.append(node.name)
                case ast.Assign():
                    names += [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
                case ast.AnnAssign(target=ast.Name() as target):
                    names.append(target.id)
        return tuple(names)

    def solution_lines(self) -> set[int]:
        """Line numbers (from 1) of an exercise's reference answer, between the marks."""
        inside, numbers = False, set()
        for number, line in enumerate(self.source.splitlines(), start=1):
            if "BEGIN SOLUTION" in line or "END SOLUTION" in line:
                inside = "BEGIN" in line
            elif inside:
                numbers.add(number)
        return numbers

    def hidden_lines(self) -> set[int]:
        """Line numbers (from 1) of the hidden part of a check."""
        hidden, inside = set(), False
        for number, line in enumerate(self.source.splitlines(), start=1):
            if HIDDEN.search(line):
                inside = "BEGIN" in line
            elif inside:
                hidden.add(number)
        return hidden
