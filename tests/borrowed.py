"""Environments for tests of what is installed: they borrow this environment's packages, so that nothing is downloaded.

The kit itself is not lent, nor what students do not have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

KIT = ("autograder", "course_utils", "quantization_course", "__editable__", "_quantization")
GRADING = ("alembic", "dask", "distributed", "jupytext", "msgpack", "nbgrader", "sqlalchemy")
"""Packages of the extra ``grading``, that students have not. (Bleach and Jinja2 come with JupyterLab.)"""


def borrowed_environment(folder: Path, without: tuple[str, ...] = GRADING) -> Path:
    """Makes a virtual environment in ``folder`` whose packages are this one's, the kit and ``without`` left out.

    Returns:
        its Python.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    mine = Path(sysconfig.get_path("purelib"))
    lent = folder / "lent"
    lent.mkdir()
    for path in mine.iterdir():
        if path.suffix != ".pth" and not path.name.lower().startswith((*KIT, *without)):
            (lent / path.name).symlink_to(path)
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = folder / scripts / Path(sys.executable).name
    own = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    Path(own, "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
    for name in ("share/jupyter",):  # JupyterLab's pages, widgets and the kernel
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(Path(sys.prefix, name))
    return python


def outside() -> dict[str, str]:
    """The environment variables of a process that knows nothing of the checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COURSE_DATA", "JUPYTER_PATH")} | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # nobody listens there
        "PIP_RETRIES": "0",
        "PIP_FIND_LINKS": "",
    }


def find_python(version: str) -> str:
    """A Python of this version, such as "3.12": beside those that pyenv keeps, or on the path; empty if there is
    none."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    beside = [str(p / "bin" / "python") for p in sorted(kept.glob(f"{version}.*"))]
    for python in filter(None, [*beside, shutil.which(f"python{version}")]):
        told = subprocess.run(
            [python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if told.stdout.startswith(f"{version}."):
            return python
    return ""
