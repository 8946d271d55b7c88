"""What powers of two cost whole networks: the variants that are compared, and the stored figures of each.

``data/measure/measure_power_of_two.py`` measures every variant at its numbers of bits and stores what comes out beside
the weights, ``power_of_two-<network>.json``; `read_table` reads it. The first six are the columns of the tuwien
report's tables 4.1 to 4.3 and 4.5 to 4.7, the next are its open question (section 5.1); each of the others changes one
definition on which the report is silent or does not agree with itself.

Stands on `integer_network` and `stored_table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.networks.models import WEIGHTS
from course_utils.networks.stored_table import TableError, read_stored, stored_path
from course_utils.quantization.integer_network import Scheme
from course_utils.quantization.power_of_two import document_outliers, document_shift_scale, remove_outliers

__all__ = ["BITS", "VARIANTS", "Table", "TableError", "Variant", "cells", "read_table", "table_path"]

BITS = (2, 3, 4, 5, 6, 8, 10, 12, 16)
FEW, WIDE = (2, 3, 4, 8), (10, 12, 16)
OUTLIERS = 4  # m of the report's tables


@dataclass(frozen=True)
class Variant:
    """One column.

    Attributes:
        about: what it is, in few words.
        options: of `Scheme`, but for the number of bits.
        bits: at which it is measured.
        calibration: on which images: ``"training"``, or ``"test"`` as the report does it.
        printed_fold: batch norms are folded as equation 3.13 is printed.
    """

    about: str
    options: Mapping[str, object]
    bits: tuple[int, ...] = BITS
    calibration: str = "training"
    printed_fold: bool = False

    def scheme(self, num_bits: int) -> Scheme:
        return Scheme(num_bits, **self.options)


def _pseudocode(data, m):
    return document_outliers(data, m, pseudocode=True)


def _in_convolutions(weight, m):
    return remove_outliers(weight, m) if weight.dim() == 4 else weight


def _in_linear_layers(weight, m):
    return remove_outliers(weight, m) if weight.dim() == 2 else weight


def _variants() -> dict[str, Variant]:
    float_, scale, power = ({"adjustment": way} for way in ("float", "scale_shift", "power_of_two"))
    cut = {"outliers": OUTLIERS}
    result = {
        "float": Variant("float adjustment, min/max", float_),
        "float outliers": Variant("float adjustment, outliers cut", float_ | cut),
        "scale_shift": Variant("scale * 2^shift, min/max", scale),
        "scale_shift outliers": Variant("scale * 2^shift, outliers cut", scale | cut),
        "power_of_two": Variant("power of two, min/max", power),
        "power_of_two outliers": Variant("power of two, outliers cut", power | cut),
        "float channel": Variant("float adjustment, per channel", float_ | {"per_channel": True}),
        "power_of_two channel": Variant("power of two, per channel", power | {"per_channel": True}),
        "power_of_two bias": Variant("power of two, bias corrected by layer", power | {"bias_correction": "layer"}),
        "power_of_two bias channel": Variant(
            "power of two, bias corrected by channel", power | {"bias_correction": "channel"}
        ),
        "power_of_two channel bias channel": Variant(
            "power of two, per channel, bias corrected by channel",
            power | {"per_channel": True, "bias_correction": "channel"},
        ),
    }
    definitions = {
        "printed_scale": ("largest code (2^n - 1) / 2", {"printed_scale": True}),
        "unsigned": ("unsigned codes behind a ReLU", {"unsigned": True}),
        "before_activation": ("output range before the ReLU", {"before_activation": True}),
        "adjust_last": ("last layer adjusted, too", {"adjust_last": True}),
    }
    for name, (about, options) in definitions.items():
        for way in (float_, power):
            adjustment = way["adjustment"]
            result[f"{adjustment} {name}"] = Variant(f"{adjustment}, {about}", way | options, FEW)
        # does the report's verdict on outliers hang on this definition?
        result[f"float outliers {name}"] = Variant(f"float, outliers cut, {about}", float_ | cut | options, FEW)
    result |= {
        "scale_shift document": Variant("the report's search", scale | {"search": document_shift_scale}, FEW),
        "scale_shift document outliers": Variant(
            "the report's search, outliers cut", scale | cut | {"search": document_shift_scale}, FEW
        ),
        "nearest_shift": Variant("nearest shift, weights as they are", {"adjustment": "nearest_shift"}, FEW),
        "float outliers 2": Variant("float adjustment, cut at m = 2", float_ | {"outliers": 2}, (*FEW, 16)),
        "float outliers program": Variant(
            "cut to +-m deviations from 0", float_ | cut | {"remove": document_outliers}, (*FEW, 16)
        ),
        "float outliers pseudocode": Variant(
            "outliers to +m deviations, negative ones, too", float_ | cut | {"remove": _pseudocode}, (*FEW, 16)
        ),
        "float outliers convolutions": Variant(
            "outliers cut in convolutions alone", float_ | cut | {"remove": _in_convolutions}, (*FEW, 16)
        ),
        "float outliers linear": Variant(
            "outliers cut in fully connected layers alone", float_ | cut | {"remove": _in_linear_layers}, (*FEW, 16)
        ),
        "float outliers scale": Variant(
            "a finer step as by cutting, nothing cut", float_ | cut | {"cut": "scale"}, (*FEW, 16)
        ),
        "float outliers weights": Variant(
            "outliers cut, the step as before", float_ | cut | {"cut": "weights"}, (*FEW, 16)
        ),
        "float test calibration": Variant("calibrated on test images", float_, FEW, "test"),
        "float printed fold": Variant("batch norms folded by equation 3.13", float_, (*FEW, 16), printed_fold=True),
        "float wrap": Variant("sums beyond 32 bits wrap around", float_ | {"accumulator": "wrap"}, WIDE),
        "float saturate": Variant("sums beyond 32 bits saturate", float_ | {"accumulator": "saturate"}, WIDE),
    }
    return result


VARIANTS: dict[str, Variant] = _variants()
"""Name -> variant; the names are those of the stored cells."""


def cells() -> list[tuple[str, int]]:
    """(variant, bits), the report's own bit widths first."""
    order = [8, 4, 16, 3, 2, 6, 5, 12, 10]
    every = [(name, bits) for name, variant in VARIANTS.items() for bits in variant.bits]
    return sorted(every, key=lambda cell: order.index(cell[1]))


@dataclass(frozen=True)
class Table:
    """Measured figures of one network.

    Attributes:
        facts: network, data, measure (``"accuracy"`` or ``"mAP@0.5"``), images, calibration images, float (the float
            network's figure), seed, versions, script.
        figures: (variant, bits) -> figure, 0 to 1.
    """

    facts: dict[str, object]
    figures: dict[tuple[str, int], float] = field(default_factory=dict)

    def figure(self, variant: str, bits: int) -> float:
        """
        Raises:
            TableError: if there is no such cell.
        """
        if (variant, bits) not in self.figures:
            raise TableError(f"the table of {self.facts['network']} has no {variant!r} at {bits} bits")
        return self.figures[variant, bits]

    def column(self, variant: str) -> dict[int, float]:
        """Bits -> figure, of all that were measured, from few bits to many."""
        return {bits: self.figures[name, bits] for name, bits in sorted(self.figures) if name == variant}


def table_path(network: str, folder: Path = WEIGHTS) -> Path:
    return stored_path("power_of_two", network, folder)


def read_table(network: str, folder: Path = WEIGHTS) -> Table:
    """The stored table of a network: ``"simplenet-shapes"``, ``"simplenet-cifar10"``, ``"scenes"``, ...

    Raises:
        TableError: if it is not there, or is not what the script writes.
    """

    def table(told: dict) -> Table:
        columns = told["figures"].items()
        figures = {(name, int(bits)): float(figure) for name, column in columns for bits, figure in column.items()}
        return Table(dict(told["facts"]), figures)

    return read_stored(table_path(network, folder), table, "data/measure/measure_power_of_two.py")
