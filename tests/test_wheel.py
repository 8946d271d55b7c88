"""The course, installed from a wheel into an environment outside the checkout, runs a lab. (Of the students' wheel
`tests/grader/handout/test_full_circle.py` asks more.)"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from borrowed import borrowed_environment, find_python, outside

from autograder import ROOT
from autograder.handout.make import make_handout
from autograder.labs.build import answered
from autograder.labs.lab import Lab

LABS = ["01_floating_point", "03_quantized_layer", "06_yolo_minifloat"]  # numbers alone, a trained network, a detector

LOADS = """
from pathlib import Path
from course_utils.networks.models import WEIGHTS, load_trained
assert WEIGHTS == Path(__import__("course_utils").__file__).parent / "weights", WEIGHTS
for network in ("classyclassifier", "mobilenetv2", "simplenet"):
    for data in ("cifar10", "shapes"):
        load_trained(f"{network}-{data}")
load_trained("scenes")
"""


def run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def check_labs(python: Path, folder: Path, names: list[str]) -> None:
    """Weights load, and the checks of answered notebooks pass, far from the checkout."""
    run(python, "-c", LOADS, cwd=folder, env=outside())
    for name in names:
        nbformat.write(answered(Lab(name)), folder / f"{name}.ipynb")
        run(python, "-m", "autograder.cli", "check", folder / f"{name}.ipynb", cwd=folder, env=outside())


def test_a_wheel_holds_nothing_that_an_earlier_build_left(tmp_path: Path) -> None:
    """`pip wheel .` builds in the checkout, and packs what lies in build/lib."""
    weights = ("small.safetensors", "table.json", "compressed.deepc")
    stale = "build/lib/course_utils/room/gone.py"
    for name in ("course_utils/kept.py", stale, *(f"data/weights/{name}" for name in weights)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    build = "from setuptools import setup; from autograder.handout.weights import WithWeights; "
    build += "setup(name='x', packages=['course_utils'], cmdclass={'build_py': WithWeights})"
    run(sys.executable, "-c", build, "build_py", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    built = {
        p.relative_to(tmp_path / "build" / "lib").as_posix() for p in tmp_path.rglob("build/lib/**/*") if p.is_file()
    }
    assert built == {"course_utils/kept.py", *(f"course_utils/weights/{name}" for name in weights)}


@pytest.mark.slow
def test_the_wheel_of_the_checkout_holds_every_file_that_it_needs(tmp_path: Path) -> None:
    """``pip wheel .`` fetches setuptools; nothing else is downloaded."""
    made = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT]
    run(*made, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    python = borrowed_environment(tmp_path / "env", without=())
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path, env=outside())
    check_labs(python, tmp_path, LABS[:1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_oldest_versions_that_it_asks_for_are_enough(tmp_path: Path, version: str) -> None:
    """Downloads torch and all else as ``oldest.txt`` has it: gigabytes."""
    if not (interpreter := find_python(version)):
        pytest.skip(f"there is no Python {version} here: the oldest versions were NOT tried with it")
    made = make_handout([Lab(name) for name in LABS], ROOT, tmp_path / "out")
    run(interpreter, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    try:
        python = tmp_path / "env" / "bin" / "python"
        (wheel,) = made.folder.glob("*.whl")
        lock = ROOT / "tests" / "oldest.txt"
        run(python, "-m", "pip", "install", "--no-cache-dir", "--requirement", lock, f"{wheel}[lab]", cwd=tmp_path)
        check_labs(python, tmp_path, LABS)
    finally:
        shutil.rmtree(tmp_path / "env")  # gigabytes
