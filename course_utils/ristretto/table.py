"""What is measured of Ristretto's number systems on whole networks: the settings, and the stored figures of each.

``data/measure/measure_ristretto.py`` measures every setting of a network on all its test images and stores what comes
out beside the weights, ``ristretto-<network>.json``; `read_table` reads it. Those with figures of the lecture are its
three tables; the others change one thing on which they are silent.

Stands on `formats`, `layers`, `trimming` and `course_utils.networks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.networks.models import WEIGHTS
from course_utils.networks.stored_table import TableError, read_stored, stored_path
from course_utils.numerics import FixedPoint, FloatFormat
from course_utils.numerics.rounding import Rounding
from course_utils.ristretto.formats import LayerFormats, fixed_point_for, least_error_format
from course_utils.ristretto.layers import Ranges
from course_utils.ristretto.trimming import PARTS, formats_of

__all__ = [
    "LECTURE",
    "SETTINGS",
    "Line",
    "PublishedMinifloat",
    "Setting",
    "Table",
    "TableError",
    "published_fixed_point",
    "read_table",
]

LECTURE = {"lenet5_caffe": 0.9915, "cifar10_full_65000": 0.8169}
"""Float accuracies of the networks of the lecture's tables; they are of its own runs of the same recipes."""


@dataclass(frozen=True)
class PublishedMinifloat:
    """The minifloat of Ristretto's published code: exponent code 0 is a binade like all others, and what lies below it
    becomes zero. So there are no subnormals, and one binade more than without them elsewhere.

    (That code on the processor also leaves a layer's remaining numbers as they are once it has met such a number: it
    returns where it should go on. This is not repeated here.)
    """

    exponent_bits: int
    mantissa_bits: int

    def __str__(self) -> str:
        return f"e{self.exponent_bits}m{self.mantissa_bits}"

    @property
    def _wide(self) -> FloatFormat:
        return FloatFormat(7, self.mantissa_bits, specials="none")

    @property
    def smallest(self) -> float:
        return 2.0 ** (1 - 2 ** (self.exponent_bits - 1))

    @property
    def largest(self) -> float:
        return (2 - 2.0**-self.mantissa_bits) * 2.0**2 ** (self.exponent_bits - 1)

    def quantize(
        self, x: Tensor, rounding: Rounding = "nearest-even", *, generator: torch.Generator | None = None
    ) -> Tensor:
        rounded = self._wide.quantize(x, rounding, generator=generator).clamp_(-self.largest, self.largest)
        return rounded.masked_fill_(x.abs() < self.smallest, 0.0)


def published_fixed_point(largest: float, bits: int) -> FixedPoint:
    """Ristretto's rule for weights, ceil(log2 largest) + 1 integer bits, "assuming an infinitely long fraction". A
    largest magnitude that rounds to the power of two above it is clipped, by half of the range in a word of 2 bits."""
    integer_bits = math.ceil(math.log2(largest)) + 1
    return FixedPoint(integer_bits, bits - integer_bits)


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        system: ``"dynamic_fixed_point"``, ``"fixed_point"``, ``"minifloat"``, ``"power_of_two"``; or ``"float"``, for
            what training alone brings.
        word_lengths: of convolution weights, fully connected weights, layer outputs.
        spared: integer bits taken from layer outputs; the published copies of Ristretto take one.
        weights: how the point of dynamic fixed point weights is chosen. ``"largest"``: by the largest magnitude, as
            `DynamicFixedPoint` does it; ``"published"``: as Ristretto does it, see `published_fixed_point`;
            ``"error"``: by the least squared error; or for each layer the integer bits that are spared.
        integer_bits: of fixed point.
        exponent_bits: of minifloats.
        subnormals: of minifloats: True, False, or ``"published"``, see `PublishedMinifloat`.
        tuned: the roundings with which it is fine-tuned, too.
        lecture: its figures, after and before fine-tuning.
    """

    system: str
    word_lengths: tuple[int, int, int]
    spared: int = 0
    weights: str | tuple[int, ...] = "largest"
    integer_bits: int | None = None
    exponent_bits: int | None = None
    subnormals: bool | str = True
    tuned: tuple[str, ...] = ()
    lecture: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """As the stored rows are called, for instance ``"dynamic_fixed_point 4/4/4 spared 1"``."""
        if self.system == "float":
            return self.system
        words = "/".join(map(str, self.word_lengths))
        told = f" spared {self.spared}" if self.spared else ""
        if self.system == "fixed_point":
            words, told = f"Q{self.integer_bits}.{self.word_lengths[0] - self.integer_bits}", ""
        if self.system == "minifloat":
            words = f"e{self.exponent_bits}m{self.word_lengths[0] - 1 - self.exponent_bits}"
            told = {True: "", False: " without subnormals"}.get(self.subnormals, f" {self.subnormals}")
        if self.weights != "largest":
            chosen = self.weights if isinstance(self.weights, str) else ",".join(map(str, self.weights))
            told += f" weights by {chosen}"
        return f"{self.system} {words}{told}"

    def formats(self, network: nn.Module, ranges: Mapping[str, Ranges]) -> dict[str, LayerFormats]:
        """Of all layers; ``ranges`` are what `measure` returned."""
        words = dict(zip(PARTS, self.word_lengths, strict=True))
        if self.system == "float":
            return {}
        if self.system == "fixed_point":
            form = FixedPoint(self.integer_bits, self.word_lengths[0] - self.integer_bits)
            return {name: LayerFormats(form, form, form) for name in ranges}
        if self.system == "minifloat" and self.subnormals == "published":
            form = PublishedMinifloat(self.exponent_bits, self.word_lengths[0] - 1 - self.exponent_bits)
            return {name: LayerFormats(form, form, form) for name in ranges}
        options = {} if self.exponent_bits is None else {"exponent_bits": self.exponent_bits}
        found = formats_of(self.system, ranges, words, subnormals=bool(self.subnormals), spared=self.spared, **options)
        if self.weights == "largest":
            return found
        layers = {}
        for place, (name, own) in enumerate(found.items()):
            bits = self.word_lengths[0 if ranges[name].convolution else 1]
            if self.weights == "published":
                weight = published_fixed_point(ranges[name].weight, bits)
            elif self.weights == "error":
                weight = least_error_format(network.get_submodule(name).weight, bits)
            else:
                weight = fixed_point_for(ranges[name].weight, bits, spared=self.weights[place])
            layers[name] = LayerFormats(weight, own.input, own.output)
        return layers


def _settings(dynamic: list[Setting], static: Setting, floats: Setting) -> dict[str, Setting]:
    """The lecture's rows, and around them what they are silent on."""
    bits = static.word_lengths[0]
    splits = range(1, 9) if bits == 8 else range(6, 11)
    every = [
        Setting("float", (32, 32, 32), tuned=NEAREST),
        *dynamic,
        static,
        floats,
        *(
            Setting("minifloat", (8, 8, 8), exponent_bits=e, subnormals=kind)
            for kind in (True, False, "published")
            for e in (4, 5, 3, 6)
        ),
        Setting("power_of_two", (4, 4, 8)),
        *(Setting("fixed_point", static.word_lengths, integer_bits=m) for m in splits),
    ]
    named: dict[str, Setting] = {}
    for setting in every:
        named.setdefault(setting.name, setting)
    return named


BOTH, NEAREST = ("nearest", "stochastic"), ("nearest",)
FEW = [
    Setting("dynamic_fixed_point", (4, 4, 4), spared=1, tuned=BOTH, lecture=(0.9895, 0.9872)),
    Setting("dynamic_fixed_point", (4, 4, 4), tuned=BOTH),
    Setting("dynamic_fixed_point", (2, 2, 4), spared=1, weights="published", tuned=BOTH, lecture=(0.9881, 0.9803)),
    Setting("dynamic_fixed_point", (2, 2, 4), spared=1),
    Setting("dynamic_fixed_point", (2, 2, 4)),
    Setting("dynamic_fixed_point", (2, 2, 4), spared=1, weights="error", tuned=BOTH),
    Setting("dynamic_fixed_point", (8, 8, 8)),
]


BEST_OF_ALL = (0, 2, 2, 1)  # of 256 choices, on 1,000 training images: 0 to 3 for conv1, 1 to 4 for the others


def _unpublished(settings: list[Setting]) -> list[Setting]:
    return [Setting(**(vars(setting) | {"lecture": None})) for setting in settings]


SETTINGS: dict[str, dict[str, Setting]] = {
    "lenet5_caffe": _settings(
        [*FEW, Setting("dynamic_fixed_point", (2, 2, 4), spared=1, weights=BEST_OF_ALL)],
        Setting("fixed_point", (8, 8, 8), integer_bits=4, tuned=NEAREST, lecture=(0.9888, 0.8890)),
        Setting("minifloat", (8, 8, 8), exponent_bits=4, tuned=NEAREST, lecture=(0.9920, 0.9920)),
    ),
    "cifar10_full_65000": _settings(
        [
            Setting("dynamic_fixed_point", (8, 8, 8), spared=1, tuned=BOTH, lecture=(0.8144, 0.8064)),
            Setting("dynamic_fixed_point", (8, 8, 8)),
            Setting("dynamic_fixed_point", (4, 4, 4), spared=1),
        ],
        Setting("fixed_point", (16, 16, 16), integer_bits=8, tuned=NEAREST, lecture=(0.8138, 0.8094)),
        Setting("minifloat", (8, 8, 8), exponent_bits=5, tuned=NEAREST, lecture=(0.8085, 0.8047)),
    ),
    "classyclassifier-shapes": _settings(
        _unpublished(FEW),
        Setting("fixed_point", (8, 8, 8), integer_bits=4, tuned=NEAREST),
        Setting("minifloat", (8, 8, 8), exponent_bits=4, tuned=NEAREST),
    ),
}
"""Network -> name of the row -> setting, in the order in which they are measured."""


@dataclass(frozen=True)
class Line:
    """A row and what was measured of it.

    Attributes:
        setting: see `Setting`.
        accuracy: on all test images, without fine-tuning.
        tuned: rounding -> accuracy after fine-tuning with it.
    """

    setting: Setting
    accuracy: float
    tuned: dict[str, float]


@dataclass(frozen=True)
class Table:
    """Measured figures of one network.

    Attributes:
        facts: network, data, images, calibration images, float (the float network's accuracy), steps, batch, learning
            rate, seed, weights (a digest), versions, script.
        lines: name -> line, of all settings that are measured.
    """

    facts: dict[str, object]
    lines: dict[str, Line] = field(default_factory=dict)


def table_path(network: str, folder: Path = WEIGHTS) -> Path:
    return stored_path("ristretto", network, folder)


def read_table(network: str, folder: Path = WEIGHTS) -> Table:
    """The stored table of a network of `SETTINGS`.

    Raises:
        TableError: if it is not there, or is not what the script writes.
    """

    def table(told: dict) -> Table:
        rows, lines = told["rows"], {}
        for name, setting in SETTINGS[network].items():
            if name in rows:
                lines[name] = Line(setting, float(rows[name]["accuracy"]), dict(rows[name]["tuned"]))
        if unknown := rows.keys() - lines.keys():
            raise ValueError(f"no setting is called {sorted(unknown)[0]!r}")
        return Table(dict(told["facts"]), lines)

    return read_stored(table_path(network, folder), table, "data/measure/measure_ristretto.py")
