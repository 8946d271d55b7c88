"""What is withheld: a whole package at once, whatever module of it something is defined in and wherever it is known."""

import subprocess
import sys

import pytest

from autograder import ROOT
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
