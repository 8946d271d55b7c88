"""Changes an answer in one place, by rule: the small mistakes that nobody thinks of when writing variants.

`mutations` gives all changed sources of an exercise's reference answer. Only what stands between the solution marks is
changed, and no text, so that messages stay. Each is named by the statement as it then reads, which also says where it
is, and stays the same while that statement does.

The source is changed as text at the places that Python's own parser tells; nothing is printed anew, so that a change
is the only difference.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.MatMult: ("@", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"),
}
OTHER_NAMES = {
    # rounding
    "round": ("floor", "trunc"),
    "floor": ("ceil", "trunc"),
    "ceil": ("floor",),
    "trunc": ("floor",),
    # which end, which of several
    "min": ("max",),
    "max": ("min",),
    "amin": ("amax",),
    "amax": ("amin",),
    "argmin": ("argmax",),
    "argmax": ("argmin",),
    "minimum": ("maximum",),
    "maximum": ("minimum",),
    "any": ("all",),
    "all": ("any",),
    "sum": ("mean",),
    "mean": ("sum",),
    "log": ("log2",),
    "log2": ("log",),
    "log10": ("log",),
    "isnan": ("isinf",),
    "isinf": ("isnan",),
    "zeros": ("ones",),
    "ones": ("zeros",),
    "zeros_like": ("ones_like",),
    "ones_like": ("zeros_like",),
    # views, copies, types
    "reshape": ("view",),
    "double": ("float",),
    "float": ("half", "double"),
    "deepcopy": ("copy",),
    "float64": ("float32",),
    "float32": ("float16", "float64"),
    "int64": ("int32", "float32"),
    "int32": ("int16", "int64"),
    "int16": ("int8",),
    "int8": ("uint8",),
    "uint8": ("int8",),
    "bool": ("uint8",),
}
"""Functions, methods and dtypes: what somebody might have written instead."""

LEFT_OUT = {
    *("clone", "copy", "detach", "contiguous", "float", "double", "long", "int", "bool", "to", "type", "item"),
    *("abs", "clamp", "clip", "round", "floor", "flatten", "reshape", "squeeze", "unsqueeze", "nan_to_num"),
}
"""Methods without which an expression still means something."""

UNWRAPPED = {"abs", "float", "int", "bool", "round", "list", "tuple", "sorted", "reversed", "deepcopy", "copy"}
"""Functions of one argument, which may be left away."""

IN_PLACE = {
    *("abs", "add", "ceil", "clamp", "clip", "copysign", "div", "exp", "floor", "log", "log2", "masked_fill", "mul"),
    *("nan_to_num", "neg", "round", "sign", "sqrt", "square", "sub", "trunc", "unsqueeze", "squeeze"),
}
"""torch's functions with a twin that writes into its input."""

MODULES = {"torch", "np", "numpy", "math", "nn", "F", "functional", "copy", "operator", "itertools"}


@dataclass(frozen=True)
class Mutation:
    """An exercise's whole source with one place changed.

    Attributes:
        name: the changed statement, or what became of it: ``never: if low > high:``.
    """

    name: str
    source: str


def mutations(source: str, lines: set[int]) -> list[Mutation]:
    """All changes of a source, in its order; no two with the same name or source.

    Args:
        source: Python.
        lines: the numbers, from 1, of those that may be changed.
    """
    text = _Text(source)
    found: dict[str, str] = {}
    seen = {source}
    tree = ast.parse(source)
    for statement, node, parents in _walk(tree):
        if node.lineno not in lines or node.end_lineno not in lines:
            continue
        for edit in _edits(text, node, parents):
            changed, name = text.changed(edit), edit.name or text.as_changed(statement, edit)
            if changed in seen or not _compiles(changed):
                continue
            seen.add(changed)
            count = sum(known == name or known.startswith(f"{name} (") for known in found)
            found[f"{name} ({count + 1})" if count else name] = changed
    return [Mutation(name, changed) for name, changed in found.items()]


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    new: str
    name: str = ""  # instead of the statement as it then reads


class _Text:
    """A source in bytes, as the parser counts columns."""

    def __init__(self, source: str):
        self.bytes = source.encode()
        self.starts = [0]
        for line in self.bytes.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.AST) -> int:
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: ast.AST) -> str:
        return self.between(self.start(node), self.end(node))

    def between(self, start: int, end: int) -> str:
        return self.bytes[start:end].decode()

    def changed(self, edit: _Edit) -> str:
        return (self.bytes[: edit.start] + edit.new.encode() + self.bytes[edit.end :]).decode()

    def header(self, statement: ast.stmt) -> tuple[int, int]:
        """Where a statement begins, and where it or its first line, of those with a body, ends."""
        body = getattr(statement, "body", None)
        return self.start(statement), self.start(body[0]) if body else self.end(statement)

    def as_changed(self, statement: ast.stmt, edit: _Edit) -> str:
        start, end = self.header(statement)
        return _one_line(self.between(start, edit.start) + edit.new + self.between(edit.end, max(end, edit.end)))

    def label(self, statement: ast.stmt) -> str:
        return _one_line(self.between(*self.header(statement)))

    def replaced(self, node: ast.AST, new: str) -> _Edit:
        return _Edit(self.start(node), self.end(node), new)


def _one_line(text: str) -> str:
    return " ".join(line.partition("  #")[0].strip() for line in text.splitlines()).strip()


def _walk(tree: ast.Module) -> Iterator[tuple[ast.stmt, ast.expr | ast.stmt, list[ast.AST]]]:
    """Every statement and expression with the statement that it stands in and all that it stands in, innermost last.

    What a raise says, texts, annotations and the defaults of arguments are left out.
    """

    def descend(node: ast.AST, parents: list[ast.AST], statement: ast.stmt | None) -> Iterator[tuple]:
        if isinstance(node, ast.stmt):
            statement = node
        if isinstance(node, ast.stmt | ast.expr):
            yield statement, node, parents
        if isinstance(node, ast.Raise | ast.JoinedStr):
            return
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from descend(child, [*parents, node], statement)

    for statement in tree.body:
        yield from descend(statement, [], None)


def _compiles(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _edits(text: _Text, node: ast.expr | ast.stmt, parents: list[ast.AST]) -> Iterator[_Edit]:
    match node:
        case ast.Compare():
            yield from _of_comparison(text, node)
        case ast.BoolOp():
            yield from _of_and_or(text, node)
        case ast.UnaryOp():
            yield text.replaced(node, text.of(node).lstrip("-~+").removeprefix("not").strip())
        case ast.BinOp():
            yield _operator(text, node.left, node.right, *OPERATORS[type(node.op)])
        case ast.Constant(value=bool() as value):
            yield text.replaced(node, str(not value))
        case ast.Constant(value=int() as value):
            yield text.replaced(node, str(value + 1))
            if value > 0:
                yield text.replaced(node, str(value - 1))
        case ast.Constant(value=float() as value):
            yield text.replaced(node, str(value * 2 if value else 1.0))
        case ast.IfExp():
            yield text.replaced(node, f"({text.of(node.body)})")
            yield text.replaced(node, f"({text.of(node.orelse)})")
        case ast.Attribute():
            for other in OTHER_NAMES.get(node.attr, ()):
                yield _Edit(text.end(node) - len(node.attr), text.end(node), other)
        case ast.Name() if _is_called(node, parents) and node.id not in ("float", "bool"):
            for other in ("int",) if node.id == "round" else OTHER_NAMES.get(node.id, ()):
                yield text.replaced(node, other)
        case ast.Call():
            yield from _of_call(text, node)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for loop in node.generators:
                for condition in loop.ifs:
                    yield text.replaced(condition, "True")
        case ast.stmt():
            yield from _of_statement(text, node, parents)


def _is_called(node: ast.expr, parents: list[ast.AST]) -> bool:
    return isinstance(parents[-1], ast.Call) and parents[-1].func is node


def _operator(text: _Text, left: ast.expr, right: ast.expr, old: str, new: str) -> _Edit:
    start, end = text.end(left), text.start(right)
    return _Edit(start, end, text.between(start, end).replace(old, new, 1))


def _of_comparison(text: _Text, node: ast.Compare) -> Iterator[_Edit]:
    terms = [node.left, *node.comparators]
    for left, operator, right in zip(terms, node.ops, node.comparators, strict=False):
        yield _operator(text, left, right, *COMPARISONS[type(operator)])
    if len(node.ops) == 2:  # one of two bounds ignored
        yield _Edit(text.start(node), text.start(terms[1]), "")
        yield _Edit(text.end(terms[1]), text.end(node), "")
    match node:
        case ast.Compare(ops=[ast.Is()], comparators=[ast.Constant(value=None)]):
            yield text.replaced(node, f"not {text.of(node.left)}")
        case ast.Compare(ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            yield text.replaced(node, text.of(node.left))


def _of_and_or(text: _Text, node: ast.BoolOp) -> Iterator[_Edit]:
    old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in zip(node.values, node.values[1:], strict=False):
        yield _operator(text, left, right, old, new)
    for left_out in node.values:
        kept = [f"({text.of(v)})" for v in node.values if v is not left_out]
        yield text.replaced(node, f" {old} ".join(kept))


def _of_call(text: _Text, node: ast.Call) -> Iterator[_Edit]:
    arguments = [text.of(a) for a in node.args]
    keywords = [text.of(k) for k in node.keywords]
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    is_method = owner is not None and not (isinstance(owner, ast.Name) and owner.id in MODULES)

    def called(arguments: list[str], function: str = "") -> _Edit:
        return text.replaced(node, f"{function or text.of(node.func)}({', '.join(arguments)})")

    for left_out in keywords:
        yield called([*arguments, *(k for k in keywords if k is not left_out)])
    if is_method and name in LEFT_OUT:
        yield text.replaced(node, text.of(owner))
    if not is_method and name in UNWRAPPED and len(arguments) == 1:
        yield text.replaced(node, f"({arguments[0]})")
    operand = owner if is_method else node.args[0] if node.args else None
    named = isinstance(operand, ast.Name | ast.Attribute | ast.Subscript)  # else nobody else knows what is overwritten
    if named and name in IN_PLACE and (is_method or text.of(node.func).startswith("torch.")):
        yield called([*arguments, *keywords], f"{text.of(node.func)}_")
    if name in ("clamp", "clip"):
        for bound in range(0 if is_method else 1, len(arguments)):
            yield called([*arguments[:bound], "None", *arguments[bound + 1 :], *keywords])
    elif name in ("min", "max", "minimum", "maximum") and len(arguments) == 2 and not keywords:
        for argument in arguments:
            yield text.replaced(node, f"({argument})")
    elif name == "isinstance":
        yield text.replaced(node, f"type({arguments[0]}) {_is_one_of(node.args[1], arguments[1])}")
    elif name == "isfinite":
        infinite = f"{text.of(owner)}.isinf({', '.join(arguments)})" if owner else f"isinf({arguments[0]})"
        yield text.replaced(node, f"({text.of(node)} | {infinite})")
    elif name == "where" and len(arguments) == 3:
        yield called([arguments[0], arguments[2], arguments[1], *keywords])
    elif len(arguments) > 1 and name not in ("zip", "getattr", "hasattr", "isinstance", "setattr"):
        yield called([arguments[1], arguments[0], *arguments[2:], *keywords])


def _is_one_of(kinds: ast.expr, text: str) -> str:
    """What `isinstance` asks for, without derived classes."""
    match kinds:
        case ast.Tuple():
            return f"in {text}"
        case ast.Name(id=name) if name.islower() and not hasattr(builtins, name):  # a variable: one class or several
            return f"in ({text} if type({text}) is tuple else ({text},))"
    return f"is {text}"


def _of_statement(text: _Text, node: ast.stmt, parents: list[ast.AST]) -> Iterator[_Edit]:
    def left_out() -> _Edit:
        return _Edit(text.start(node), text.end(node), "pass", f"without: {text.label(node)}")

    match node:
        case ast.Expr(value=ast.Constant()):
            pass
        case ast.Expr() | ast.AugAssign() | ast.Break() | ast.Continue():
            yield left_out()
            if isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
                yield _operator(text, node.target, node.value, *(f"{o}=" for o in OPERATORS[type(node.op)]))
        case ast.Raise():
            if isinstance(node.exc, ast.Call):
                yield text.replaced(node.exc.func, "Exception")
        case ast.Assign(targets=[target]):
            yield from _of_assignment(text, node, target, parents, left_out())
        case ast.If():
            always = [] if isinstance(node.body[-1], ast.Raise | ast.Continue | ast.Break) else ["always"]
            for word in [*always, "never"]:
                test = text.replaced(node.test, str(word == "always"))
                yield _Edit(test.start, test.end, test.new, f"{word}: {text.label(node)}")
        case ast.For():
            yield text.replaced(node.iter, f"list({text.of(node.iter)})[:-1]")
        case ast.With(items=[ast.withitem(optional_vars=None)]):
            start, end = text.header(node)
            head = text.between(start, end)
            yield _Edit(start, end, f"if True:{head[head.rindex(':') + 1 :]}", f"without: {text.label(node)}")
        case ast.Return(value=ast.expr() as value):
            # another type: a tensor for a number, a number for a truth value, float64 for everything else
            for result in value.elts if isinstance(value, ast.Tuple) else [value]:
                yield text.replaced(result, f"torch.as_tensor({text.of(result)}).double()")


def _of_assignment(
    text: _Text, node: ast.Assign, target: ast.expr, parents: list[ast.AST], left_out: _Edit
) -> Iterator[_Edit]:
    value = text.of(node.value)
    if isinstance(target, ast.Attribute | ast.Subscript):
        yield left_out
    names = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
    if isinstance(target, ast.Name):
        if target.id in names:  # it has a value already
            yield left_out
        if _is_fresh(node.value):  # state that one call leaves to the next
            yield text.replaced(node.value, f'globals().setdefault("_kept_{target.id}", {value})')
        match node.value:  # written into the operand, which may be the input
            case ast.BinOp(left=ast.Name(id=target.id), op=op) if type(op) in OPERATORS:
                right = text.between(text.end(node.value.left), text.end(node.value))
                sign = OPERATORS[type(op)][0]
                yield text.replaced(node, f"{target.id} {right.strip().replace(sign, f'{sign}=', 1)}")
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield text.replaced(target.value, "type(self)")  # state of all objects


def _is_fresh(value: ast.expr) -> bool:
    """Whether an expression makes something that can change: a list, a dict, a tensor of zeros."""
    match value:
        case ast.List() | ast.Dict() | ast.Set():
            return True
        case ast.Call(func=ast.Name(id="list" | "dict" | "set" | "defaultdict" | "Counter")):
            return True
        case ast.Call(func=ast.Attribute(attr="zeros" | "ones" | "full" | "zeros_like" | "defaultdict" | "Counter")):
            return True
    return False
