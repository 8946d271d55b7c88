"""Makes library calls refuse that would do an exercise for the student.

A lab lists them in its front matter. An entry is

- a module, ``course_utils.numerics.affine``: all its functions and classes; a package, ``course_utils.numerics``: those
  of every module below it, and what is not loaded yet cannot be loaded;
- a dotted name, ``torch.quantize_per_tensor``;
- ``@torch_quantizers``: all of a group, see `GROUPS`;
- a torch operator, ``aten::quantize_per_tensor``: refused in torch's dispatcher, by whatever name it is reached;
- a name without a dot, ``torchao``: its import is refused, whether it is installed here or not.

A function of Python's refuses *in place*: it loses its code, so that every name, table, closure or search through live
objects that leads to it leads to a refusal, and no original is left. Torch's operators refuse in the dispatcher, at
every key by which numbers would come out; what torch has of the same name in its tables of decompositions goes with
them. The files in which all this stands are hidden from the answer (`hidden`), and so are `NEVER_NEEDED`.

`prepare` runs in the candidates' fork server; `hidden` and `withhold` in a candidate before any answer. It stops short
cuts, not sabotage: who writes a quantizer in order to circumvent it has done the exercise; and who calls the machine
code of torch's libraries by its address, or writes down what a withheld function does, is not stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import importlib.util
import linecache
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch._decomp import global_decomposition_table

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

NEVER_NEEDED = ("brevitas", "gfloat", "ml_dtypes", "onnx", "onnxruntime", "torchao")
"""Packages that do exercises of more than one lab, and that no answer needs: they are not there."""

MATH = ("CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")
BACKENDS = ("CPU", "QuantizedCPU", "SparseCPU", "SparseCsrCPU", "MkldnnCPU", "NestedTensorCPU", "FuncTorchBatched")
"""Dispatch keys at which an operator computes; at the others it passes on, or has no numbers (Meta)."""

COPIES = ("torch._refs", "torch._refs.nn.functional", "torch._decomp.decompositions")
"""Where torch has operators once more, in Python, by the same name."""

USED = ("__init__", "__new__", "__call__", "__post_init__")  # of the methods with such names; the others only describe

_functions: dict[str, list[types.FunctionType]] = {}  # module of a library -> all functions that were defined in it
_known_as: dict[int, list[tuple[types.ModuleType, str]]] = {}  # object id -> where it is known, and by what name
_loaded: set[str] = set()  # the course's modules, and those of which something is withheld
_packages: set[str] = set()  # whose import, and that of every module below, is refused


class Withheld(RuntimeError):
    """A call that would do the exercise. The lab asks for your own code."""


def load() -> None:
    """Imports what may be withheld, and notes all functions of Python's in it. The parent of all candidates does this
    once: to list all objects writes to their pages, which are shared from then on.
    """
    importlib.import_module("torch.ao.quantization.fx._decomposed")  # its operators exist from then on
    for name in COPIES:
        importlib.import_module(name)
    importlib.import_module("torchvision")  # which course_utils imports when it is needed, and not before
    import_all(course_utils)
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType:
            name = str(thing.__globals__.get("__name__"))
            if name.partition(".")[0] in LIBRARIES:
                _functions.setdefault(name, []).append(thing)


def prepare() -> None:
    """What the candidates' fork server does once: from now on no module of course_utils can load and bring an original
    along; notes who knows what by which name."""
    if not _functions:
        load()
    linecache.clearcache()  # it may hold the text of a module
    _loaded.update(name for name in sys.modules if name.partition(".")[0] == "course_utils")
    sys.meta_path.insert(0, _Finder())
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in LIBRARIES and isinstance(module, types.ModuleType):
            for attribute, value in list(vars(module).items()):
                if callable(value):
                    _known_as.setdefault(id(value), []).append((module, attribute))


def hidden(entries: Iterable[str]) -> list[Path]:
    """The files and folders that would bring back what `withhold` takes away. Loads what is going to be withheld.

    Raises:
        LookupError: if an entry names nothing that exists (a slip of the lab's author).
    """
    entries = _entries(entries)
    packages = {*NEVER_NEEDED, *(entry for entry in entries if "." not in entry and "::" not in entry)}
    paths = [path for name in packages for path in _installed_at(name)]
    modules = set(COPIES if any(map(_operator, entries)) else ())
    for entry in entries:
        if "." in entry and "::" not in entry:
            found = _resolve(entry)
            modules.update(_modules_below(entry) if isinstance(found, types.ModuleType) else ())
            modules.update(str(function.__globals__.get("__name__")) for function in _behind(found))
    for module in modules:
        if file := getattr(sys.modules.get(module), "__file__", None):
            paths += [Path(file), Path(importlib.util.cache_from_source(file))]
    return paths


def withhold(entries: Iterable[str]) -> None:
    """Makes every entry refuse, in this process.

    Raises:
        LookupError: if an entry names nothing that exists (a slip of the lab's author).
    """
    entries = _entries(entries)
    # all are found before any refuses: to load a module may take another one
    found = {entry: _resolve(entry) for entry in entries if "." in entry and "::" not in entry}
    _loaded.update(_module(entry) for entry in found)
    for operator in dict.fromkeys(filter(None, map(_operator, entries))):
        _withhold_operator(operator)
    for entry in entries:
        if entry not in found and "::" not in entry:
            if entry in sys.modules:
                raise LookupError(f"withhold: {entry!r} is loaded already; name what of it is withheld")
            _packages.add(entry)
        elif isinstance(found.get(entry), types.ModuleType):
            if not sum(_withhold_module(module) for module in _modules_below(entry)):
                raise LookupError(f"withhold: {entry!r} makes nothing refuse: what it hands on is defined elsewhere")
            _packages.add(entry)
        elif entry in found and callable(found[entry]):
            _replace(entry, found[entry])
        elif entry in found:
            raise LookupError(f"withhold: {entry!r} makes nothing refuse: it cannot be called")


def _entries(entries: Iterable[str]) -> list[str]:
    entries = [each for entry in entries for each in GROUPS.get(entry, [entry])]
    if unknown := [entry for entry in entries if entry.startswith("@")]:
        raise LookupError(f"withhold: there is no group {unknown[0]!r} (groups: {', '.join(GROUPS)})")
    return entries


def _operator(entry: str) -> str | None:
    """The operator that an entry is by its own name, as ``torch.ops.quantized.linear`` is, or as ``torch.quantile``."""
    if "::" in entry:
        return entry
    if entry.startswith("torch.ops.") and entry.count(".") == 3:
        return "::".join(entry.split(".")[2:])
    owner, _, name = entry.rpartition(".")
    return f"aten::{name}" if owner == "torch" and hasattr(torch.ops.aten, name) else None


def _modules_below(entry: str) -> list[str]:
    below = f"{entry}."
    return [name for name in sys.modules if name == entry or name.startswith(below)]


def _installed_at(package: str) -> list[Path]:
    """Where a package lies that is installed, and not loaded."""
    try:
        spec = importlib.util.find_spec(package) if package not in sys.modules else None
    except (ImportError, ValueError, Withheld):
        return []
    if spec is None:
        return []
    return [Path(folder) for folder in spec.submodule_search_locations or ()] or [Path(str(spec.origin))]


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
        raise LookupError(f"withhold: {entry!r} does not exist: misspelt, or not installed?") from None


def _module(entry: str) -> str:
    return entry if entry in sys.modules else _module(entry.rpartition(".")[0])


def _withhold_module(module: str) -> int:
    """All that was defined in it; what it only hands on has another home. Returns how many things that is."""
    defined = [(n, v) for n, v in vars(sys.modules[module]).items() if getattr(v, "__module__", None) == module]
    read = {id(f) for _, owner in defined if isinstance(owner, type) for v in vars(owner).values() if (f := _getter(v))}
    count = 0
    for name, value in defined:
        if callable(value):
            _rename(f"{module}.{name}", value)
            _withhold_methods(f"{module}.{name}", value)
            count += 1
    for function in _functions.get(module, []):
        if id(function) not in read:
            _empty(function, module)
    return count


def _getter(attribute: Any) -> Any:
    """The function behind what is read like a value: what an object says of itself is not withheld."""
    return attribute.fget if isinstance(attribute, property) else getattr(attribute, "func", None)


def _replace(entry: str, original: Any) -> None:
    """Takes the code out of one thing, and the names that lead to it."""
    for function in list(_behind(original)):
        _empty(function, entry)
    _rename(entry, original)


def _rename(entry: str, original: Any) -> None:
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


def _behind(thing: Any, seen: set[int] | None = None) -> Iterator[types.FunctionType]:
    """The functions of Python's that something to call consists of: under decorators, in a class, and the private ones
    of its module that are named after it, as ``_quantile_unchecked`` is after ``quantile``."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, type):
        for value in vars(thing).values():
            if not isinstance(value, property):
                yield from _behind(value, seen)
        return
    if isinstance(thing, types.FunctionType):
        yield thing
        for each in () if "." in thing.__qualname__ else _functions.get(str(thing.__globals__.get("__name__")), []):
            if each.__qualname__ == f"_{thing.__name__}" or each.__qualname__.startswith(f"_{thing.__name__}_"):
                yield from _behind(each, seen)
        for cell in thing.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is empty
                if getattr(cell.cell_contents, "__qualname__", None) == thing.__qualname__:
                    yield from _behind(cell.cell_contents, seen)
    for name in ("__wrapped__", "__func__", "_implementation", "py_func"):  # functools', methods', numpy's, numba's
        if (inner := getattr(thing, name, None)) is not None and callable(inner):
            yield from _behind(inner, seen)


def _empty(function: types.FunctionType, entry: str) -> None:
    """Puts a refusal in the place of a function's code. What Python itself calls, to compare or to print, stays."""
    name = function.__name__
    if name.startswith("__") and name.endswith("__") and name not in USED:
        return
    constants = tuple(_raised(entry) if constant == _PLACE else constant for constant in _EMPTY.co_consts)
    code = function.__code__
    function.__code__ = _EMPTY.replace(
        co_consts=constants, co_freevars=code.co_freevars, co_name=code.co_name, co_qualname=code.co_qualname
    )
    function.__defaults__ = function.__kwdefaults__ = None
    vars(function).pop("__wrapped__", None)


@functools.cache
def _raised(entry: str) -> type[Withheld]:
    """What an emptied function raises: it can look nothing up, so the class brings its message along."""
    return type("Withheld", (Withheld,), {"__init__": lambda self: RuntimeError.__init__(self, _reason(entry))})


def _emptied(*_: Any, **__: Any) -> Any:
    raise "here stands the exception"  # type: ignore[misc]  # noqa: B016


_EMPTY, _PLACE = _emptied.__code__, "here stands the exception"


def _withhold_operator(entry: str) -> None:
    namespace, _, operator = entry.partition("::")
    packet = getattr(getattr(torch.ops, namespace), operator, None)
    if packet is None:
        raise LookupError(f"withhold: torch has no operator {entry!r}")
    library = torch._C._dispatch_library("IMPL", namespace, "", __file__, 0)  # a torch.library.Library can be ended
    overloads = [getattr(packet, overload) for overload in packet.overloads()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it overrides a kernel is the intention
        for overload in overloads:
            name = overload.name()
            for key in (*MATH, *BACKENDS):
                if key == "CPU" or torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
                    library.impl(name.partition("::")[2], key, _refusal(entry), False)
    # The override lives as long as this: for ever, and known to nobody, or it could be found and ended.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))
    for overload in overloads:
        copies = [table.pop(overload, None) for kind, table in global_decomposition_table.items() if kind != "meta"]
        for function in [f for copy in copies if copy is not None for f in _behind(copy)]:
            _empty(function, entry)
    for module in COPIES if namespace == "aten" else ():
        if callable(copy := getattr(sys.modules[module], operator, None)):
            _replace(f"{module}.{operator}", copy)


def _refusal(entry: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise Withheld(_reason(entry))

    refuse.__name__ = refuse.__qualname__ = entry.rpartition(".")[2]
    return refuse


def _reason(entry: str) -> str:
    return f"{entry} is withheld in this lab: it would do the exercise for you; write it yourself"
