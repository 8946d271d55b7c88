"""A step of setuptools' build: a wheel holds the trained weights, compressed networks and the tables of trainings,
which lie in ``data/weights``, and nothing that an earlier build has left.

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
        if self.editable_mode:
            return
        built = {Path(path) for path in self.get_outputs(include_bytecode=False)}
        for path in sorted(path for kind in ("safetensors", "json", "deepc") for path in SOURCE.glob(f"*.{kind}")):
            target = Path(self.build_lib, TARGET, path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            built.add(target)
        # `pip wheel .` builds in the checkout and packs all of build/lib, modules too that were deleted since
        for package in sorted({name.partition(".")[0] for name in self.packages}):
            for path in Path(self.build_lib, package).rglob("*"):
                if path.is_file() and path not in built:
                    path.unlink()
