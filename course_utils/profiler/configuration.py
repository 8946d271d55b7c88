"""An experiment as a TOML file has it: which network, which data, how many samples, which layers and how.

::

    network = "classyclassifier"   # or another one of `subjects.networks`
    data = "shapes"                # of `subjects.data_for` it; if it is left out, what is here
    images = 1000                  # of the test set, from the first on; all if it is left out
    batch_size = 50
    seed = 0                       # draws the calibration samples from the training set
    fully_quantized = true         # run torch's own 8-bit form of the network beside; true if it is left out

    [calibration]
    samples = 100
    ranges = "min_max"             # or average, mse, entropy

    [search]
    samples = 500                  # training images on which `course profile --budget` and `--drop` choose

    [[layers]]                     # as many as you like; of layers chosen twice, the last one counts
    kind = "conv"                  # or depthwise, linear, add, pool; or name = "layer1_conv"
    indices = [0, 1]               # of that kind, in the network's order; all if it is left out
    num_bits = 8                   # and every other option of `Options`

Nothing in it is executed. Every mistake is one line that says where in the file it is and what is allowed.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from course_utils.numerics.formats import FloatFormat
from course_utils.profiler.errors import ProfilerError
from course_utils.profiler.options import KINDS, RANGES, Choice, Options
from course_utils.profiler.subjects import data_for, networks

__all__ = ["Configuration", "ConfigurationError", "configuration_text", "read_configuration"]


class ConfigurationError(ProfilerError):
    """A configuration file that cannot be used; the message names the file, the place and what is allowed."""


@dataclass(frozen=True)
class Configuration:
    """See the module's text.

    Attributes:
        choices: the layers.
        text: the file, as it was.
    """

    network: str
    choices: tuple[Choice, ...]
    data: str | None = None
    images: int | None = None
    batch_size: int = 50
    seed: int = 0
    samples: int = 100
    ranges: str = "min_max"
    fully_quantized: bool = True
    search_samples: int = 500
    text: str = ""


OPTIONS = tuple(field.name for field in fields(Options))


def read_configuration(path: str | Path) -> Configuration:
    """
    Raises:
        ConfigurationError: if the file is not there, no TOML, or something in it is not allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no UTF-8 text (byte {error.start})") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is no TOML: {error}") from error
    look = _Table(str(path), "", table)
    calibration = _Table(str(path), "calibration", look.take("calibration", dict, {}))
    search = _Table(str(path), "search", look.take("search", dict, {}))
    layers = look.take("layers", list, [])
    network = look.take("network", str, among=networks())
    result = Configuration(
        network=network,
        data=look.take("data", str, None, among=data_for(network)),
        choices=tuple(_choice(_Table(str(path), f"layers[{n}]", entry)) for n, entry in enumerate(layers)),
        images=look.take("images", int, None, least=1),
        batch_size=look.take("batch_size", int, 50, least=1),
        seed=look.take("seed", int, 0, least=0),
        samples=calibration.take("samples", int, 100, least=1),
        ranges=calibration.take("ranges", str, "min_max", among=tuple(RANGES)),
        fully_quantized=look.take("fully_quantized", bool, True),
        search_samples=search.take("samples", int, 500, least=1),
        text=text,
    )
    calibration.nothing_left("samples", "ranges")
    search.nothing_left("samples")
    known = ("network", "data", "images", "batch_size", "seed", "fully_quantized", "calibration", "search", "layers")
    look.nothing_left(*known)
    if not result.choices:
        look.fail("layers", "there is no [[layers]] table: choose at least one layer")
    return result


def configuration_text(configuration: Configuration, comment: str = "") -> str:
    """A file that `read_configuration` reads as the same configuration, but for its text.

    Args:
        comment: lines to stand above.

    Raises:
        ConfigurationError: if a float format is another than a file can name.
    """
    top = {"network": configuration.network, "data": configuration.data, "images": configuration.images}
    top |= {"batch_size": configuration.batch_size}
    top |= {"seed": configuration.seed, "fully_quantized": configuration.fully_quantized}
    tables = {
        "calibration": {"samples": configuration.samples, "ranges": configuration.ranges},
        "search": {"samples": configuration.search_samples},
    }
    parts = [*(f"# {line}" for line in comment.splitlines()), *_lines(top)]
    for name, table in tables.items():
        parts += ["", f"[{name}]", *_lines(table)]
    usual = Options()
    for choice in configuration.choices:
        which = "kind" if choice.which in KINDS else "name"
        table = {which: choice.which, "indices": None if choice.indices is None else list(choice.indices)}
        own = {name: getattr(choice.options, name) for name in OPTIONS}
        parts += ["", "[[layers]]", *_lines(table | {k: v for k, v in own.items() if v != getattr(usual, k)})]
    return "\n".join(parts) + "\n"


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, FloatFormat):
        if value != FloatFormat(value.exponent_bits, value.mantissa_bits):
            raise ConfigurationError(f"{value}: a file has no place for a bias or specials of its own")
        return f"{{ exponent_bits = {value.exponent_bits}, mantissa_bits = {value.mantissa_bits} }}"
    # in JSON as in TOML, but for one character that only TOML has to escape
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_MISSING: Any = object()


class _Table:
    """A table of the file, from which keys are taken; what is left in the end is unknown."""

    def __init__(self, file: str, place: str, table: Any):
        self.file, self.place = file, place
        if not isinstance(table, dict):
            raise ConfigurationError(f"{file}: {place}: a table is expected, not {table!r}")
        self.left = dict(table)

    def fail(self, key: str, told: str) -> None:
        raise ConfigurationError(f"{self.file}: {f'{self.place}.' if self.place else ''}{key}: {told}")

    def take(
        self, key: str, kind: type, default: Any = _MISSING, *, least: int | None = None, among: tuple[str, ...] = ()
    ) -> Any:
        value = self.left.pop(key, _MISSING)
        if value is _MISSING:
            if default is _MISSING:
                self.fail(key, "is missing")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            named = {str: "a text", int: "a whole number", list: "a list", dict: "a table", bool: "true or false"}
            self.fail(key, f"{named[kind]} is expected, not {value!r}")
        if least is not None and value < least:
            self.fail(key, f"is at least {least}, not {value}")
        if among and value not in among:
            self.fail(key, f"is one of {', '.join(among)}, not {value!r}")
        return value

    def nothing_left(self, *known: str) -> None:
        for key in self.left:
            self.fail(key, f"is no key here; there are {', '.join(known)}")


def _choice(table: _Table) -> Choice:
    kind, name = table.take("kind", str, None, among=KINDS), table.take("name", str, None)
    if (kind is None) == (name is None):
        table.fail("kind", "either a kind or the name of one layer is needed")
    indices = table.take("indices", list, None)
    if indices is not None:
        if name is not None:
            table.fail("indices", "are for a kind; the layer of this table has a name")
        if any(not isinstance(i, int) or isinstance(i, bool) or i < 0 for i in indices):
            table.fail("indices", f"are whole numbers from 0 on, not {indices!r}")
        if len(set(indices)) < len(indices):
            table.fail("indices", f"name a layer twice: {indices!r}")
    values = {key: table.left.pop(key) for key in OPTIONS if key in table.left}
    if "float_format" in values:
        values["float_format"] = _format(table, values["float_format"])
    options = _made(table, lambda: Options(**values))
    table.nothing_left("kind", "name", "indices", *OPTIONS)
    return Choice(kind or name, None if indices is None else tuple(indices), options)


def _format(table: _Table, value: Any) -> FloatFormat:
    inner = _Table(table.file, f"{table.place}.float_format", value)
    bits = {key: inner.take(key, int) for key in ("exponent_bits", "mantissa_bits")}
    inner.nothing_left(*bits)
    return _made(inner, lambda: FloatFormat(**bits))


def _made(table: _Table, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{table.file}: {table.place}: {error}") from error
