"""A step of setuptools' build: the trained weights, which lie in ``data/weights``, are package data of a wheel.

Run by setuptools alone (see pyproject.toml); nothing else of the kit is there then.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

SOURCE, TARGET = Path("data", "weights"), Path("course_utils", "weights")


class WithWeights(build_py):
    """Copies the weights beside the modules. An editable installation finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for path in sorted(SOURCE.glob("*.safetensors")):
                target = Path(self.build_lib, TARGET, path.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
