"""What is withheld: a whole package at once, whatever module of it something is defined in and wherever it is known."""

import re
import subprocess
import sys

import pytest
from mini_course import write_mini

from autograder import ROOT
from autograder.grading.grader import Submission
from autograder.grading.submission import Answers
from autograder.labs.lab import Lab
from autograder.sandbox.withhold import withhold

LEFT = """
import importlib, inspect, pkgutil
from autograder.sandbox import withhold
import course_utils

withhold.prepare()
import course_utils.numerics as package
names = [found.name for found in pkgutil.walk_packages(package.__path__, "course_utils.numerics.")]
modules = [package] + [importlib.import_module(name) for name in names]
defined = [(m.__name__, n) for m in modules for n, v in vars(m).items()
           if callable(v) and getattr(v, "__module__", "").startswith("course_utils.numerics")]
from course_utils.numerics import FORMATS
e4m3 = FORMATS["e4m3"]
withhold.withhold(["course_utils.numerics"])


def refuses(call):
    try:
        call()
    except withhold.Withheld:
        return True
    except Exception:
        pass
    return False


print(len(modules), len(defined))
print([(m, n) for m, n in defined if not refuses(getattr(importlib.import_module(m), n))])
print(refuses(lambda: e4m3.quantize(None)), refuses(lambda: importlib.import_module("course_utils.numerics.later")))
"""


def test_a_withheld_package_takes_every_module_below_it_along():
    done = subprocess.run([sys.executable, "-c", LEFT], cwd=ROOT, capture_output=True, text=True, check=True)
    counts, left, others = done.stdout.splitlines()
    modules, defined = map(int, counts.split())
    assert modules == len(list((ROOT / "course_utils" / "numerics").glob("*.py")))
    assert defined > 50, "it looked at something"
    assert left == "[]"
    assert others == "True True"


def test_a_group_that_is_not_there_is_named():
    with pytest.raises(LookupError, match="there is no group '@quantisers'"):
        withhold(["@quantisers"])


@pytest.mark.parametrize("entry", ["os.path", "math.pi"])
def test_an_entry_that_makes_nothing_refuse_is_told(entry: str):
    """``os.path`` only hands on what is defined in ``posixpath``; a number cannot be called."""
    with pytest.raises(LookupError, match=f"withhold: '{entry}' makes nothing refuse"):
        withhold([entry])


LAB = """# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Withheld
#     check_seconds: 10
#     withhold:
#       [course_utils.numerics.affine, torch.ao.quantization.observer, numpy.quantile, torch.quantile,
#        torch.nn.functional.mse_loss, "aten::mse_loss", "@torch_quantizers", torch.ops.quantized.linear]
# ---

# %% nbgrader={"grade_id": "f", "solution": true}
def f(x):
    ### BEGIN SOLUTION
    return x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_f", "grade": true, "points": 1}
assert f(2) == 2
"""

PRELUDE = """
import gc, importlib, importlib.util, marshal, runpy, sys
import numpy as np
import torch
f = lambda x: x
x = torch.tensor([0.5, 1.5, 2.5])
gc.unfreeze()
withheld = sys.modules["autograder.sandbox.withhold"]
observer = sys.modules["torch.ao.quantization.observer"]

def found(name, module):
    kinds = [o for o in gc.get_objects() if isinstance(o, (type, type(lambda: 0)))]
    return next(o for o in kinds if o.__name__ == name and o.__module__ == module)

def attempt(reach):
    try:
        told = reach()
    except BaseException as refused:
        print("refused:", type(refused).__name__, refused)
    else:
        print("REACHED", told)
"""

ONE_LINERS = {
    "the first finder taken away, a package": (
        "sys.meta_path.pop(0); import gfloat\nattempt(lambda: gfloat.round_float)"
    ),
    "the first finder taken away, another": (
        "sys.meta_path.pop(0); import ml_dtypes\nattempt(lambda: ml_dtypes.float8_e4m3fn(1.3))"
    ),
    "the first finder taken away, a module once more": (
        "sys.meta_path.pop(0); del sys.modules['torch.ao.quantization.observer']\n"
        "attempt(lambda: importlib.import_module('torch.ao.quantization.observer').MinMaxObserver()(x))"
    ),
    "the register of overridden operators cleared": (
        "getattr(withheld, '_libraries', []).clear(); gc.collect()\n"
        "attempt(lambda: torch.quantize_per_tensor_dynamic(x, torch.quint8, False))\n"
        "attempt(lambda: torch.ops.aten.quantize_per_tensor(x, 0.1, 0, torch.quint8))"
    ),
    "the overrides of operators found and ended": (
        "[o.m.reset() for o in gc.get_objects() if type(o).__name__ == 'Library' and o.kind == 'IMPL' and o.m]\n"
        "attempt(lambda: torch.ops.aten.quantize_per_tensor(x, 0.1, 0, torch.quint8))"
    ),
    "torch's table of decompositions": (
        "from torch._decomp import decomposition_table as table\n"
        "attempt(lambda: table[torch.ops.aten.mse_loss.default](x, x + 1))"
    ),
    "torch's operators once more in Python": "attempt(lambda: torch._refs.nn.functional.mse_loss(x, x + 1))",
    "an operator's kernels in Python": (
        "attempt(lambda: torch.ops.aten.mse_loss.default.py_kernels[torch._C.DispatchKey.Meta](x, x + 1))"
    ),
    "an operator taken apart": "attempt(lambda: torch.ops.aten.quantile.default.decompose(x, x[:1]))",
    "an operator by another key": (
        "keys = torch._C.DispatchKeySet(torch._C.DispatchKey.QuantizedCPU)\n"
        "attempt(lambda: torch.ops.aten.quantile.default.redispatch(keys, x, x[:1]))"
    ),
    "an operator over a batch": "attempt(lambda: torch.func.vmap(torch._C._nn.mse_loss)(x, x + 1))",
    "an operator in script": "attempt(lambda: torch._C._jit_get_operation('aten::mse_loss')[0](x, x + 1))",
    "a method of tensors": "attempt(lambda: x.quantile(0.5))",
    "the original, found among live objects": (
        "attempt(lambda: found('quantize', 'course_utils.numerics.affine')(x, 0.1, 0))\n"
        "attempt(lambda: found('mse_loss', 'torch.nn.functional')(x, x + 1))\n"
        "attempt(lambda: found('MinMaxObserver', observer.__name__)()._calculate_qparams(x[0], x[1]))\n"
        "attempt(lambda: found('quantile', 'numpy')(x.numpy(), 0.5))"
    ),
    "the original, in a table of its own": "attempt(lambda: torch.ao.quantization.default_qconfig.activation()(x))",
    "what stands behind the original": (
        "attempt(lambda: np.lib._function_base_impl._quantile_unchecked(x.numpy(), np.asanyarray(0.5)))"
    ),
    "the original, by what the grader noted": (
        "held = [f for name, functions in getattr(withheld, '_functions', {}).items() if 'affine' in name\n"
        "        for f in functions if f.__name__ == 'quantize']\n"
        "attempt(lambda: held[0](x, 0.1, 0))"
    ),
    "the file run": "attempt(lambda: runpy.run_path(observer.__file__)['MinMaxObserver']()(x))",
    "the file of a function run": (
        "attempt(lambda: runpy.run_path(np.lib._function_base_impl.__file__)['quantile'](x.numpy(), 0.5))"
    ),
    "the file that Python keeps beside it": (
        "attempt(lambda: len(open(importlib.util.cache_from_source(observer.__file__), 'rb').read()))"
    ),
    "the file by its loader": "attempt(lambda: observer.__loader__.get_code('torch.ao.quantization.observer').co_name)",
}


WAYS = {"Withheld", "ModuleNotFoundError", "PermissionError", "AttributeError", "KeyError", "StopIteration"}
"""A refusal; and what is not there, cannot be read, is empty, has left the table, or is not found any more."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return write_mini(tmp_path_factory.mktemp("withheld"), LAB)


@pytest.mark.parametrize("name", ONE_LINERS)
def test_withheld_stays_withheld(name, lab, grader):
    if "files" not in grader.walls():
        pytest.skip("NOT TRIED: this system's sandbox lacks files")
    graded = grader.grade(Submission("mallory", lab, Answers({"f": PRELUDE + ONE_LINERS[name]})))
    told = str([graded.rows, graded.output])
    assert "REACHED" not in told, told
    refused = re.findall(r"refused: (\w+)", told)
    assert refused, told
    assert set(refused) <= WAYS, told


def test_what_is_not_withheld_works_as_before(lab, grader):
    """Beside what refuses: numpy's median, which shares helpers with its quantile, other losses and other operators."""
    right = """
import numpy as np
import torch
from course_utils.numerics import FORMATS
def f(x):
    assert np.median([1.0, 2.0, 9.0]) == 2
    assert torch.nn.functional.l1_loss(torch.ones(2), torch.zeros(2)) == 1
    assert torch.tensor([1.0, 3.0, 2.0]).median() == 2
    return x
"""
    (row,) = grader.grade(Submission("ann", lab, Answers({"f": right}))).rows
    assert row.status == "passed", row
