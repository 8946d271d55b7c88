"""The students' wheel: `course_utils` with the trained weights, and of `autograder` what students' commands need.

A wheel is a zip with four small files beside the modules, so it is written here: the same sources give the same bytes,
and no build backend, no network and no second list of packages is needed. (An instructor's wheel, ``pip wheel .``, is
setuptools'.)

Modules in `PACKED` do what a lab asks for. Labs need them, in demos and in text; nobody needs to read them there. They
are carried without readable source. That keeps a copy from lying open, and is no lock: docs/instructor.md.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement

STUDENTS_PART = (
    "__init__.py",
    "cli.py",
    "doctor.py",
    "errors.py",
    "commands/*.py",
    "grading/__init__.py",
    "grading/check_notebook.py",
    "labs/__init__.py",
    "labs/notebook_file.py",
    "labs/pages.py",
    "labs/jupyterlab/labconfig/*.json",
    "sandbox/__init__.py",
    "sandbox/strangers.py",
)
"""Of `autograder`: what `course lab`, `check`, `profile`, `data` and `doctor` need. Others say what is missing."""

PACKED = (
    "deep_compression/accounting.py",
    "deep_compression/codebook.py",
    "deep_compression/huffman.py",
    "deep_compression/positions.py",
    "deep_compression/pruning.py",
    "demos/bit_toggler.py",
    "low_bit/activations.py",
    "low_bit/layers.py",
    "low_bit/levels.py",
    "low_bit/straight_through.py",
    "low_bit/weights.py",
    "low_bit/xnor.py",
    "numerics/affine.py",
    "numerics/fixed_point.py",
    "numerics/formats.py",
    "numerics/rounding.py",
    "profiler/layers.py",
    "profiler/ratios.py",
    "profiler/recreation.py",
    "quantization/integer_layers.py",
    "quantization/observers.py",
    "quantization/power_of_two.py",
    "quantization/real_quantization.py",
    "quantization/tflite_kernels.py",
    "ristretto/fine_tuning.py",
    "ristretto/formats.py",
    "ristretto/shifts.py",
    "ristretto/trimming.py",
)
"""Of `course_utils`: modules that earn points when pasted (benchmarks/pasted.py), or hold a line of an answer."""

NO_DATE = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold


def payload(root: Path, weights: Path) -> dict[str, bytes]:
    """The files that the wheel installs, by their path in it.

    Args:
        root: a checkout.
        weights: folder of the trained weights, compressed networks and the tables of trainings.
    """
    kit, helpers = root / "autograder", root / "course_utils"
    found = {p for pattern in STUDENTS_PART for p in kit.glob(pattern)}
    found |= {*helpers.rglob("*.py"), *helpers.rglob("*.jinja")}
    files = {p.relative_to(root).as_posix(): p.read_bytes().replace(b"\r\n", b"\n") for p in sorted(found)}
    for name in PACKED:
        path = f"course_utils/{name}"
        files[path] = packed(files[path])
    for path in sorted(path for kind in ("safetensors", "json", "deepc") for path in weights.glob(f"*.{kind}")):
        files[f"course_utils/weights/{path.name}"] = path.read_bytes()
    return files


def packed(source: bytes) -> bytes:
    """A module that does the same and cannot be read: its first docstring, and the source as a blob."""
    about = ast.get_docstring(ast.parse(source)) or ""
    text = base64.b85encode(zlib.compress(source, 9)).decode()  # its letters need no escapes
    blob = "\n".join(text[at : at + 110] for at in range(0, len(text), 110))
    return (
        f'"""{about.splitlines()[0]}\n\nIts source is packed: labs ask for what stands in it.\n"""\n\n'
        "import base64\nimport zlib\n\n"
        f'_SOURCE = """\n{blob}\n"""\n'
        'exec(compile(zlib.decompress(base64.b85decode("".join(_SOURCE.split()))), __file__, "exec"))\n'
    ).encode()


def unpacked(text: str) -> str:
    """The source in a `packed` module; empty for any other text."""
    blob = re.search(r'^_SOURCE = """\n(.+?)\n"""$', text, re.MULTILINE | re.DOTALL)
    return zlib.decompress(base64.b85decode("".join(blob[1].split()))).decode() if blob else ""


def write_wheel(project: Mapping, version: str, files: dict[str, bytes]) -> tuple[str, bytes]:
    """
    Args:
        project: the table ``project`` of pyproject.toml.
        version: as the wheel is to be called.
        files: `payload`.

    Returns:
        The wheel's file name and its bytes.
    """
    name = project["name"].replace("-", "_")
    folder = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{folder}/METADATA": _metadata(project, version).encode(),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: course handout\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{folder}/entry_points.txt": b"[console_scripts]\ncourse = autograder.cli:main\n",
    }
    record = [f"{path},sha256={_hash(content)},{len(content)}" for path, content in files.items()]
    files[f"{folder}/RECORD"] = "\n".join([*record, f"{folder}/RECORD,,", ""]).encode()
    return f"{name}-{version}-py3-none-any.whl", zip_bytes(files)


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """A zip of these files, sorted, without dates: the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            entry = zipfile.ZipInfo(path, NO_DATE)
            entry.create_system = 3  # POSIX, on Windows too
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def students_requirements(project: Mapping) -> dict[str, list[str]]:
    """What the students' wheel asks for: without an extra, and with ``lab``."""
    return {"": list(project["dependencies"]), "lab": list(project["optional-dependencies"]["lab"])}


def _metadata(project: Mapping, version: str) -> str:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
    ]
    for extra, requirements in students_requirements(project).items():
        lines += [f"Provides-Extra: {extra}"] if extra else []
        marker = f'; extra == "{extra}"' if extra else ""
        lines += [f"Requires-Dist: {Requirement(text)}{marker}" for text in requirements]
    return "\n".join(lines) + "\n"


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
