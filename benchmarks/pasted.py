"""How far pasting goes: for each exercise the nearest function of `course_utils`, with all that it stands on, pasted
into the answer cell with the least change that it needs, and what that earns.

    python benchmarks/pasted.py [LABS]

Grading refuses *calls* of what a lab withholds; a copied source is an answer like any other. The table says which
modules the students' wheel had better not carry in plain sight (`autograder.handout.wheel.PACKED`), and whether
`course grade` names the paste as a copy (`autograder.grading.copied`).
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

from autograder import ROOT
from autograder.authoring.answered import checks_of, reference_answers
from autograder.grading.copied import copied
from autograder.grading.grader import Grader, Submission
from autograder.labs.lab import Lab, lab_names

WITHOUT_NUMBA = {"runs_compiled": "def runs_compiled(*_):\n    return False"}
"""What a student would write instead: the compiled loops are for speed alone."""


@dataclass(frozen=True)
class Paste:
    """What is pasted: names of a module of `course_utils`, and the lines that make an answer of them."""

    module: str
    names: tuple[str, ...]
    adapter: str = ""


PASTES = {
    "float32_fields": Paste(
        "demos.bit_toggler",
        ("compute_bits", "nearest_code"),
        "def float32_fields(x):\n"
        "    b = compute_bits(nearest_code(x, 8, 23))\n    return b.sign, b.exponent, b.fraction",
    ),
    "float32_value": Paste(
        "demos.bit_toggler",
        ("compute_bits",),
        "def float32_value(s, e, f):\n    return compute_bits(s << 31 | e << 23 | f).value",
    ),
    "minifloat_values": Paste(
        "numerics.formats", ("FloatFormat",), "def minifloat_values(e, m):\n    return FloatFormat(e, m).values()"
    ),
    "round_to_minifloat": Paste(
        "numerics.formats",
        ("FloatFormat",),
        "def round_to_minifloat(x, e, m):\n"
        "    if not (1 <= e <= 8 and 1 <= m <= 10):\n        raise ValueError\n"
        "    return FloatFormat(e, m).quantize(x)",
    ),
    "to_fixed": Paste(
        "numerics.fixed_point",
        ("FixedPoint",),
        "def to_fixed(x, i, f):\n"
        "    if x.isnan().any() or i < 1 or f < 0:\n        raise ValueError\n"
        "    return FixedPoint(i, f).encode(x).long()",
    ),
    "fixed_multiply": Paste(
        "quantization.integer_layers",
        ("requantize",),
        "def fixed_multiply(a, b, f):\n"
        "    if not 0 <= f <= 31:\n        raise ValueError\n"
        "    return requantize(a.long() * b.long(), 1, f).clamp(-(2**31), 2**31 - 1)",
    ),
    "quantize_tensor": Paste(
        "numerics.affine",
        ("scale_and_zero_point", "quantize", "value_range"),
        "def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):\n"
        "    if x.isnan().any():\n        raise ValueError\n"
        "    low = value_range(x)[0].item() if min_val is None else min_val\n"
        "    high = value_range(x)[1].item() if max_val is None else max_val\n"
        "    s, z = scale_and_zero_point(low, high, num_bits)\n"
        "    return quantize(x, s, z, num_bits=num_bits).float(), s.item(), z.item()",
    ),
    "dequantize_tensor": Paste(
        "numerics.affine",
        ("dequantize",),
        "_given = dequantize\n\n\ndef dequantize_tensor(q, s, z):\n    return _given(q.long(), s, z)",
    ),
    "quantize_symmetric": Paste(
        "numerics.affine",
        ("scale_and_zero_point", "quantize", "value_range"),
        "def quantize_symmetric(x, num_bits=8):\n"
        "    s, z = scale_and_zero_point(*value_range(x), num_bits, signed=True, symmetric=True)\n"
        "    return quantize(x, s, z, num_bits=num_bits, signed=True).float(), s.item(), 0",
    ),
    "quantize_per_channel": Paste(
        "numerics.affine",
        ("scale_and_zero_point", "quantize", "value_range"),
        "def quantize_per_channel(w, axis=0, num_bits=8):\n"
        "    s, z = scale_and_zero_point(*value_range(w, axis=axis), num_bits)\n"
        "    q = quantize(w, s, z, num_bits=num_bits, axis=axis).float()\n"
        "    shape = [1] * w.dim()\n    shape[axis] = -1\n"
        "    return q, s.view(shape), z.view(shape)",
    ),
    "mse": Paste("numerics.affine", ("mse",)),
    "sqnr_db": Paste("numerics.affine", ("sqnr_db",)),
    "round_stochastic": Paste(
        "numerics.rounding",
        ("round_",),
        "def round_stochastic(x, step, generator):\n"
        "    if not (0 < step < float('inf')) or not x.isfinite().all():\n        raise ValueError\n"
        "    return (round_(x.double() / step, 'stochastic', generator) * step).float()",
    ),
    "quantized_matmul": Paste(
        "quantization.integer_layers",
        ("integer_linear",),
        "def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):\n"
        "    return integer_linear(a_q, a_zero, b_q.T, b_zero), a_scale * b_scale",
    ),
    "fixed_point_multiplier": Paste("quantization.integer_layers", ("fixed_point_multiplier",)),
    "requantize": Paste("quantization.integer_layers", ("requantize",)),
    "quantized_layer": Paste("quantization.integer_layers", ("QuantizedLayer",)),
    "percentile_range": Paste("quantization.observers", ("percentile_range",)),
    "mse_range": Paste("quantization.observers", ("mse_range",)),
    "entropy_threshold": Paste("quantization.observers", ("entropy_threshold",)),
    "quantize_with_fx": Paste(
        "quantization.real_quantization",
        ("quantize",),
        "def quantize_with_fx(model, batches):\n    return quantize(model, batches[0] if batches else None, batches)",
    ),
    "fake_quantize": Paste(
        "numerics.affine",
        ("fake_quantize",),
        "class FakeQuantize(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x, scale, zero_point, quant_min, quant_max):\n"
        "        return fake_quantize(x, scale, zero_point, num_bits=8, signed=quant_min < 0)\n\n"
        "    @staticmethod\n    def backward(ctx, grad):\n        return grad, None, None, None, None",
    ),
    "letterbox": Paste(
        "networks.detection",
        ("letterbox",),
        "_given = letterbox\n\n\ndef letterbox(image, size):\n    return _given(image.permute(2, 0, 1), size)[0]",
    ),
    "symbolic_convert": Paste(
        "numerics.formats",
        ("FloatFormat",),
        "def symbolic_convert(value, word_length, exponent_bits):\n"
        "    if not (1 <= exponent_bits <= 7 and exponent_bits + 2 <= word_length <= 16):\n        raise ValueError\n"
        "    return FloatFormat(exponent_bits, word_length - 1 - exponent_bits).quantize(value)",
    ),
    "difference": Paste("numerics.affine", ("mse",), "difference = mse"),
    "search": Paste(
        "numerics.format_search",
        ("search",),
        "_given = search\n\n\ndef search(data, word_length, convert=None, measure=None):\n"
        "    return _given(data, word_length)",
    ),
}
"""Exercise -> the nearest function. Exercises that are not here have none."""


def module_path(module: str) -> Path:
    path = ROOT / "course_utils" / Path(*module.split("."))
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"


def pasted(paste: Paste) -> str:
    """The answer cell: what the names stand on, the names, the adapter."""
    imports: dict[str, None] = {}
    parts: dict[str, str] = {}
    for name in paste.names:
        _take(paste.module, name, imports, parts)
    return "\n\n".join(["from __future__ import annotations", "\n".join(imports), *parts.values(), paste.adapter])


def _take(module: str, name: str, imports: dict[str, None], parts: dict[str, str]) -> None:
    """Adds the definition of a name, after those that it needs; each once."""
    if name in parts:
        return
    source = module_path(module).read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        match node:
            case ast.ImportFrom(module=str(origin), names=aliases) if origin.startswith("course_utils"):
                for alias in aliases:
                    if (alias.asname or alias.name) == name:
                        origin_module = origin.removeprefix("course_utils.")
                        if module_path(f"{origin_module}.{alias.name}").is_file() and alias.name == "affine":
                            return  # a module: its functions are taken where they are called
                        _take(origin_module, alias.name, imports, parts)
            case ast.Import() | ast.ImportFrom() if node.__class__ is ast.Import or node.module != "__future__":
                if any((alias.asname or alias.name).partition(".")[0] == name for alias in node.names):
                    imports[ast.unparse(node)] = None
            case ast.FunctionDef() | ast.ClassDef() if node.name == name:
                _add(module, name, WITHOUT_NUMBA.get(name) or _segment(source, node), imports, parts)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(n, ast.Name) and n.id == name for target in targets for n in ast.walk(target)):
                    _add(module, name, _segment(source, node), imports, parts)


def _segment(source: str, node: ast.AST) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def _add(module: str, name: str, text: str, imports: dict[str, None], parts: dict[str, str]) -> None:
    parts[name] = ""  # so that what calls itself is taken once
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "affine":
            _take("numerics.affine", node.attr, imports, parts)
        elif isinstance(node, ast.Name) and node.id != name:
            _take(module, node.id, imports, parts)
    del parts[name]
    parts[name] = text.replace("affine.", "")


def main(names: list[str]) -> None:
    print(f"{'exercise':<34}{'pasted':<34}{'lines':>16}{'earns':>10}{'copy':>8}")
    with Grader() as grader:
        for lab in (Lab(name) for name in names or lab_names()):
            for exercise in lab.exercises:
                paste = PASTES.get(exercise.id)
                if paste is None:
                    print(f"{exercise.id:<34}none")
                    continue
                answers = reference_answers(lab)
                answers.sources[exercise.id] = source = pasted(paste)
                checks = {c.id for c in checks_of(lab, exercise.id)}
                graded = grader.grade(Submission("", lab, answers), only=checks)
                most = sum(row.max_score for row in graded.rows)
                share = max((c.share for c in copied(lab, {exercise.id: source}, least=0.0)), default=0.0)
                lost = next((row.message for row in graded.rows if row.score < row.max_score), "")
                what = f"{paste.module}.{paste.names[0]}"
                print(f"{exercise.id:<34}{what:<44}{len(source.splitlines()):>5}{graded.score:>6g}/{most:<4g}", end="")
                print(f"{share:>6.0%}  {lost[:90]}")


if __name__ == "__main__":
    main(sys.argv[1:])
