"""Runs in a candidate, in an answer's place: asks for each withheld thing, and prints those that do not refuse.

The gate puts the list of entries in front of this source. See `autograder.sandbox.withhold` for what an entry can be.
"""

import importlib
import sys
import types

import torch

ENTRIES: list[str] = []
DUMMIES = {
    **{"Tensor": torch.ones(2, 2), "int": 1, "SymInt": 1, "float": 1.0, "number": 1.0, "bool": False, "str": ""},
    **{"ScalarType": torch.float32, "Scalar": 1.0, "Device": torch.device("cpu"), "Layout": torch.strided},
}


def refuses(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except Exception as error:
        return "is withheld in this lab" in str(error)
    return False


def dummy(kind):
    name = str(kind)
    if name.startswith("Optional"):
        return None
    return [dummy(kind.getElementType())] if name.startswith("List") else DUMMIES[name]


def operator_refuses(entry):
    namespace, _, name = entry.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name)
    asked = []
    for overload in packet.overloads():
        operator = getattr(packet, overload)
        if not overload.endswith("out"):
            wanted = [argument for argument in operator._schema.arguments if not argument.has_default_value()]
            plain = [dummy(argument.type) for argument in wanted if not argument.kwarg_only]
            asked.append(refuses(operator, *plain, **{a.name: dummy(a.type) for a in wanted if a.kwarg_only}))
    return all(asked)


def module_refuses(module):
    """None of its own things works, and something refuses."""
    found = [value for name, value in vars(module).items() if not name.startswith("_") and callable(value)]
    own = [value for value in found if getattr(value, "__module__", None) == module.__name__]
    within = [m for name, m in list(sys.modules.items()) if name.startswith(f"{module.__name__}.")]
    return not own and (any(map(refuses, found)) or any(map(module_refuses, within)))


def thing_refuses(entry):
    if "::" in entry:
        return operator_refuses(entry)
    if entry in sys.modules:
        return module_refuses(sys.modules[entry])
    if "." not in entry:
        return refuses(importlib.import_module, entry)
    thing = resolved(entry)
    return isinstance(thing, types.FunctionType | type) and refuses(thing)


def resolved(name):
    if name in sys.modules:
        return sys.modules[name]
    owner, _, last = name.rpartition(".")
    return getattr(resolved(owner), last)


groups = importlib.import_module("autograder.sandbox.withhold").GROUPS  # loaded already
for entry in [each for listed in ENTRIES for each in groups.get(listed, [listed])]:
    if not thing_refuses(entry):
        print(f"does not refuse: {entry}")
print("all were asked")
