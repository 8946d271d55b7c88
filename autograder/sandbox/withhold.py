"""Makes library calls refuse that would do an exercise for the student.

A lab lists them in its front matter. An entry is

- a module, ``course_utils.numerics.affine``: all its functions and classes; a package, ``course_utils.numerics``: those
  of every module below it, and what is not loaded yet cannot be loaded;
- a dotted name, ``torch.quantize_per_tensor``;
- ``@torch_quantizers``: all of a group, see `GROUPS`;
- a torch operator, ``aten::quantize_per_tensor``: refused in torch's dispatcher, by whatever name it is reached;
- a name without a dot, ``torchao``: its import is refused, whether it is installed here or not.

`prepare` runs in the candidates' fork server, `withhold` in a candidate before any answer. It stops short cuts, not
sabotage: who writes a quantizer in order to circumvent it has done the exercise.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

import course_utils

LIBRARIES = ("course_utils", "numpy", "torch", "torchvision")  # that may know an original by several names

GROUPS = {
    "@torch_fake_quantizers": [
        "torch.fake_quantize_per_tensor_affine",
        "torch.fake_quantize_per_channel_affine",
        "aten::fake_quantize_per_tensor_affine",
        "aten::fake_quantize_per_channel_affine",
        "aten::fake_quantize_per_tensor_affine_cachemask",
        "aten::fake_quantize_per_channel_affine_cachemask",
        "aten::_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
        "aten::_fused_moving_avg_obs_fq_helper",
    ],
    "@torch_quantizers": [
        "torch.quantize_per_tensor",
        "torch.quantize_per_tensor_dynamic",
        "torch.quantize_per_channel",
        "aten::quantize_per_tensor",
        "aten::quantize_per_tensor_dynamic",
        "aten::quantize_per_channel",
    ],
}
"""What several labs withhold: torch's own ways to simulate quantization, and to quantize, by function and operator."""

_known_as: dict[int, list[tuple[types.ModuleType, str]]] = {}  # object id -> where it is known, and by what name
_loaded: set[str] = set()  # the course's modules, and those of which something is withheld
_packages: set[str] = set()  # whose import, and that of every module below, is refused
_libraries: list[torch.library.Library] = []  # an operator's override lives as long as its Library


class Withheld(RuntimeError):
    """A call that would do the exercise. The lab asks for your own code."""


def withhold(entries: Iterable[str]) -> None:
    """Makes every entry refuse, in this process.

    Raises:
        LookupError: if an entry names nothing that exists (a slip of the lab's author).
    """
    entries = [each for entry in entries for each in GROUPS.get(entry, [entry])]
    if unknown := [entry for entry in entries if entry.startswith("@")]:
        raise LookupError(f"withhold: there is no group {unknown[0]!r} (groups: {', '.join(GROUPS)})")
    # all are found before any refuses: to load a module may take another one
    found = {entry: _resolve(entry) for entry in entries if "." in entry and "::" not in entry}
    _loaded.update(_module(entry) for entry in found)
    for entry in entries:
        if "::" in entry:
            _withhold_operator(entry)
        elif entry not in found:
            if entry in sys.modules:
                raise LookupError(f"withhold: {entry!r} is loaded already; name what of it is withheld")
            _packages.add(entry)
        elif isinstance(found[entry], types.ModuleType):
            modules = [name for name in sys.modules if f"{name}.".startswith(f"{entry}.")]
            if not sum(_withhold_module(module) for module in modules):
                raise LookupError(f"withhold: {entry!r} makes nothing refuse: what it hands on is defined elsewhere")
            _packages.add(entry)
        elif callable(found[entry]):
            _replace(entry, found[entry])
        else:
            raise LookupError(f"withhold: {entry!r} makes nothing refuse: it cannot be called")


def prepare() -> None:
    """Imports all of course_utils, so that no module of it can load later and bring an original along, and notes who
    knows what by which name. The fork server does this once: it takes longer than grading.
    """
    importlib.import_module("torch.ao.quantization.fx._decomposed")  # its operators exist from then on
    import_all(course_utils)
    _loaded.update(name for name in sys.modules if name.partition(".")[0] == "course_utils")
    sys.meta_path.insert(0, _Finder())
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in LIBRARIES and isinstance(module, types.ModuleType):
            for attribute, value in list(vars(module).items()):
                if callable(value):
                    _known_as.setdefault(id(value), []).append((module, attribute))


class _Finder:
    """The first of Python's finders. It finds nothing, but can refuse."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if any(f"{name}.".startswith(f"{package}.") for package in _packages):
            raise Withheld(_reason(name))
        if name in _loaded:  # loaded again it would bring the originals back
            raise ImportError(f"{name} is loaded already, and cannot be loaded again in the grader")


def import_all(package: types.ModuleType) -> None:
    """Imports every module of a package."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)


def _resolve(entry: str) -> Any:
    try:
        return importlib.import_module(entry)
    except ImportError:
        pass
    owner, _, name = entry.rpartition(".")
    try:
        return getattr(_resolve(owner), name)
    except (AttributeError, ValueError):
        raise LookupError(f"withhold: {entry!r} does not exist") from None


def _module(entry: str) -> str:
    return entry if entry in sys.modules else _module(entry.rpartition(".")[0])


def _withhold_module(module: str) -> int:
    """All that was defined in it; what it only hands on has another home. Returns how many things that is."""
    count = 0
    for name, value in list(vars(sys.modules[module]).items()):
        if callable(value) and getattr(value, "__module__", None) == module:
            _replace(f"{module}.{name}", value)
            _withhold_methods(f"{module}.{name}", value)
            count += 1
    return count


def _replace(entry: str, original: Any) -> None:
    """Puts a refusal wherever the original is known by a name: in its owner, and in every module that imported it."""
    refusal: Any = _refusal(entry)
    owner, _, name = entry.rpartition(".")
    if isinstance(original, type):  # others may name it in an isinstance or in ``A | B``
        refusal = type(name, (), {"__new__": refusal})
    setattr(_resolve(owner), name, refusal)
    for module, attribute in _known_as.get(id(original), []):
        setattr(module, attribute, refusal)


def _withhold_methods(entry: str, owner: Any) -> None:
    """Objects of a withheld class may be at hand already, in a table of formats say: their methods refuse too."""
    if isinstance(owner, type):
        for name, value in list(vars(owner).items()):
            if not name.startswith("_") and callable(value):
                setattr(owner, name, _refusal(f"{entry}.{name}"))


def _withhold_operator(entry: str) -> None:
    namespace, _, operator = entry.partition("::")
    packet = getattr(getattr(torch.ops, namespace), operator, None)
    if packet is None:
        raise LookupError(f"withhold: torch has no operator {entry!r}")
    library = torch.library.Library(namespace, "IMPL")
    _libraries.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it overrides a kernel is the intention
        count = 0
        for overload in packet.overloads():
            name = operator if overload == "default" else f"{operator}.{overload}"
            for key in ("CPU", "CompositeImplicitAutograd", "CompositeExplicitAutograd"):
                try:
                    library.impl(name, _refusal(entry), key)
                    count += 1
                    break
                except RuntimeError:
                    continue
    if not count:
        raise LookupError(f"withhold: {entry!r} makes nothing refuse: torch does not let it be overridden")


def _refusal(entry: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise Withheld(_reason(entry))

    refuse.__name__ = refuse.__qualname__ = entry.rpartition(".")[2]
    return refuse


def _reason(entry: str) -> str:
    return f"{entry} is withheld in this lab: it would do the exercise for you; write it yourself"
