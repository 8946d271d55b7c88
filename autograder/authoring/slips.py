"""Slips of an author that no grading shows, because the answers that the gates know get their points all the same.

They are found by reading the source: it takes no time, and grades nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from autograder.labs.cell import Cell
from autograder.labs.lab import Lab

LEAST_LETTERS = 25
"""A shorter line (a bare ``return q``) gives nothing away, and is found by chance."""

MOST_SHOWN = 0.5
"""A cell that shows this part of the lines of an answer gives it away."""

DRAWS = re.compile(
    r"torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial|poisson)|.*\.(normal|uniform|random|bernoulli)_"
    r"|np\.random\.(rand|randn|randint|random|normal|uniform|choice|permutation|shuffle|standard_normal)"
    r"|random\.(random|randint|randrange|uniform|gauss|choice|choices|sample|shuffle)"
)
"""What draws from a global state, unless it is handed a generator."""

RULE_AT = {"expect": 1, "expect_returns": 1, "expect_domain": 1} | dict.fromkeys(
    ("expect_equal", "expect_close", "expect_raises", "expect_type", "expect_unchanged"), 2
)
"""Which argument of an expectation is its rule, counted from 0."""


COMPARED = {"expect": 1, "expect_equal": 2, "expect_close": 2, "expect_unchanged": 2}
"""How many of an expectation's arguments are what it looks at."""


def slips(lab: Lab) -> Iterator[tuple[str, str]]:
    """Cell or file, and what is wrong with it."""
    yield from _left_to_do(lab)
    yield from _answers_shown(lab)
    yield from _only_hidden(lab)
    theirs = {name: c.id for c in lab.cells if c.kind in ("given", "exercise") for name in _assigned(c)}
    for cell in lab.cells:
        if cell.kind == "check":
            for name in sorted(_assigned(cell) & theirs.keys()):
                told = (
                    f"overwrites {name!r} of the cell {theirs[name]}, and in a notebook that stays: take another name"
                )
                yield cell.id, told
        if cell.kind == "check" or (cell.kind == "given" and cell.is_code and not cell.explore):
            yield from ((cell.id, told) for node in _judging(ast.parse(cell.source)) for told in _amiss(node))


def _left_to_do(lab: Lab) -> Iterator[tuple[str, str]]:
    for path in sorted(p for p in lab.folder.rglob("*") if p.suffix in (".py", ".toml")):
        lines = [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if "TODO" in line]
        if lines:
            yield path.name, f"{len(lines)} TODO left, the first in line {lines[0]}"


def _answers_shown(lab: Lab) -> Iterator[tuple[str, str]]:
    """Answers of which at least half the lines stand in one cell that students get: gate 6 takes a line that every
    release shows for no secret. What else is handed out, `course handout` looks through."""
    for exercise in lab.exercises:
        lines = exercise.source.splitlines()
        answer = {lines[number - 1].strip() for number in exercise.solution_lines()}
        answer = {line for line in answer if len(line) >= LEAST_LETTERS and not line.startswith("#")}
        for cell in lab.cells:
            cut = cell.solution_lines() | cell.hidden_lines()
            shown = {line.strip() for n, line in enumerate(cell.source.splitlines(), 1) if n not in cut}
            both = sorted(answer & shown)
            if both and cell.kind != "written" and len(both) >= MOST_SHOWN * len(answer):
                told = f"shows {len(both)} of {len(answer)} long lines of the answer to {exercise.id}: {both[0]!r}"
                yield cell.id, told


def _only_hidden(lab: Lab) -> Iterator[tuple[str, str]]:
    """Rules that only hidden lines know, so that a student with every tick may lose points by them."""
    checks = [(c, ast.parse(c.source), c.hidden_lines()) for c in lab.cells if c.is_code and not c.explore]
    texts = [(node, hidden) for _, tree, hidden in checks for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    shown = {node.value for node, hidden in texts if node.lineno not in hidden}
    for cell, tree, hidden in checks:
        for rule in dict.fromkeys(rule for line, rule in _rules(tree) if line in hidden):
            if rule not in shown:
                yield cell.id, f"has a rule with no case in the lines that students see: {rule!r}"


def _rules(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and rule of the expectations whose rule stands there, or in a name above. Others are not looked at."""
    named = [n for n in ast.walk(tree) if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)]
    for node in ast.walk(tree):
        at = RULE_AT.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        if at is not None and len(node.args) > at:
            rule: ast.expr | None = node.args[at]
            if isinstance(rule, ast.Name):
                above = [a for a in named if a.targets[0].id == rule.id and a.lineno <= node.lineno]
                rule = max(above, key=lambda a: a.lineno).value if above else None
            if isinstance(rule, ast.Constant) and isinstance(rule.value, str):
                yield node.lineno, rule.value


def _assigned(cell: Cell) -> set[str]:
    """What a code cell binds in the notebook: by assignment, definition, import, loop or ``with``."""
    if not cell.is_code or cell.explore:
        return set()
    names: set[str] = set()
    todo: list[ast.AST] = list(ast.parse(cell.source).body)
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                continue
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
        todo += ast.iter_child_nodes(node)
    return names


def _judging(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of what runs where answers are judged: probes, which run beside them, are left out."""
    for node in ast.iter_child_nodes(tree):
        probe = isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "probe" for d in node.decorator_list)
        if not probe:
            yield from chain([node], _judging(node))


def _amiss(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[ast.Is() | ast.IsNot(), *_]):
            if all(isinstance(side, ast.Name | ast.Subscript | ast.Attribute) or _calls_an_answer(side)
                   for side in (node.left, *node.comparators)):  # fmt: skip
                yield (
                    f"asks `{ast.unparse(node)}`: in grading, arguments and results are copies, so let a @probe ask, "
                    "or take `reused`"
                )
        case ast.Call():
            called = ast.unparse(node.func)
            if called == "id" or called.endswith(".data_ptr"):
                yield f"asks `{ast.unparse(node)}`: in grading, arguments and results are copies, so let a @probe ask"
            if DRAWS.fullmatch(called) and not any(k.arg == "generator" for k in node.keywords):
                yield f"draws `{ast.unparse(node)}` from no seed: say generator=g, with g = generator()"
            if called.rpartition(".")[2] in COMPARED and _says_nothing(called.rpartition(".")[2], node.args):
                yield f"`{ast.unparse(node)}` holds or breaks whatever the answer is: compare something of the answer's"


def _says_nothing(expectation: str, arguments: list[ast.expr]) -> bool:
    """Whether an expectation is of constants, or of a thing and itself. (Two calls may well differ.)"""
    sides = arguments[: COMPARED[expectation]]
    if expectation == "expect" and sides and isinstance(sides[0], ast.Compare):
        sides = [sides[0].left, *sides[0].comparators]
    inside = [type(node) for side in sides for node in ast.walk(side)]
    if ast.Call in inside or ast.Starred in inside or not sides:
        return False
    return ast.Name not in inside or (len(sides) > 1 and len({ast.dump(side) for side in sides}) == 1)


def _calls_an_answer(side: ast.AST) -> bool:
    return isinstance(side, ast.Call) and ast.unparse(side.func) != "type"
