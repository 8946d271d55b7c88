"""Click a bit of a floating-point number and see what becomes of sign, exponent, fraction and value.

In three layers, like every demo: `compute_bits` turns a bit pattern into the numbers behind it, `draw_bits` puts them
on matplotlib axes, and two views show them: `bit_toggler_demo` with buttons and sliders, `bit_toggler_still` for those
who have none. `draw_columns` writes significands in binary one below the other, as one adds them on paper.

Stands on `formats`, `plots`, `demos`, torch, matplotlib and ipywidgets.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from course_utils.demos.base import image_tag
from course_utils.numerics.formats import FloatFormat
from course_utils.pictures.plots import COLOURS

__all__ = [
    "PRESETS",
    "Bits",
    "bit_toggler_demo",
    "bit_toggler_still",
    "compute_bits",
    "draw_bits",
    "draw_columns",
    "nearest_code",
]

PRESETS: dict[str, tuple[int, int]] = {
    "float32": (8, 23),
    "float16": (5, 10),
    "bfloat16": (8, 7),
    "e5m2": (5, 2),
    "e4m3": (4, 3),
    "e3m4": (3, 4),
}
"""Exponent bits and mantissa bits of the formats with a name. All are IEEE-style: the top exponent is reserved."""

FIELD_COLOURS = {"sign": COLOURS["vermillion"], "exponent": COLOURS["green"], "fraction": COLOURS["blue"]}

OwnValue = Callable[[int, int, int], float]


@dataclass(frozen=True)
class Bits:
    """A bit pattern of an IEEE-style float format, read."""

    exponent_bits: int
    mantissa_bits: int
    code: int  # the whole pattern as a number, sign bit highest
    sign: int
    exponent: int  # the stored field
    fraction: int  # the stored field
    kind: str  # "normal", "subnormal", "zero", "infinity" or "NaN"
    value: float
    step: float  # distance to the next larger magnitude; NaN where there is none

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent field."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def width(self) -> int:
        """Bits of the whole pattern."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def text(self) -> str:
        """The pattern as zeros and ones, a space between the fields."""
        digits = f"{self.code:0{self.width}b}"
        return f"{digits[0]} {digits[1 : 1 + self.exponent_bits]} {digits[1 + self.exponent_bits :]}"

    @property
    def name(self) -> str:
        """The format's usual name."""
        known = {split: name for name, split in PRESETS.items()}
        return known.get((self.exponent_bits, self.mantissa_bits), f"e{self.exponent_bits}m{self.mantissa_bits}")

    @property
    def formula(self) -> str:
        """How the value comes about, in one line."""
        shown = f"{self.value:.9g}"
        if self.kind in ("infinity", "NaN"):
            rule = "zero" if self.kind == "infinity" else "not zero"
            return f"exponent all ones, fraction {rule}: {shown}"
        leading, exponent = (1, self.exponent - self.bias) if self.kind == "normal" else (0, 1 - self.bias)
        sign = "-" if self.sign else "+"
        top = 2**self.mantissa_bits
        return f"{sign}({leading} + {self.fraction}/{top}) · 2^{exponent} = {shown}"

    @property
    def summary(self) -> str:
        """Everything in words, also for a screen reader."""
        exponent = 1 - self.bias if self.exponent == 0 else self.exponent - self.bias
        meaning = "reserved" if self.kind in ("infinity", "NaN") else f"means 2^{exponent}"
        step = "" if math.isnan(self.step) else f" · next number {self.step:.4g} further"
        return (
            f"{self.name}, {self.kind} · sign {self.sign} · exponent {self.exponent} ({meaning}) · "
            f"fraction {self.fraction} · {self.formula}{step}"
        )


def compute_bits(code: int, exponent_bits: int = 8, mantissa_bits: int = 23) -> Bits:
    """Reads a bit pattern.

    Args:
        code: the pattern as a number, 0 to 2^(1 + exponent_bits + mantissa_bits) - 1.
        exponent_bits: 1 to 8.
        mantissa_bits: 1 to 23.

    Raises:
        ValueError: if the code does not fit, or there is no such format.
    """
    number_format = FloatFormat(exponent_bits, mantissa_bits)
    if not 0 <= code < 2**number_format.bits:
        raise ValueError(f"{code} is no pattern of {number_format.bits} bits")
    sign, exponent = code >> (number_format.bits - 1), code >> mantissa_bits & (2**exponent_bits - 1)
    fraction = code & (2**mantissa_bits - 1)
    if exponent == 2**exponent_bits - 1:
        kind = "NaN" if fraction else "infinity"
    elif exponent == 0:
        kind = "subnormal" if fraction else "zero"
    else:
        kind = "normal"
    finite = kind not in ("infinity", "NaN")
    return Bits(
        exponent_bits=exponent_bits,
        mantissa_bits=mantissa_bits,
        code=code,
        sign=sign,
        exponent=exponent,
        fraction=fraction,
        kind=kind,
        value=number_format.decode(torch.tensor(code)).item(),
        step=2.0 ** (max(exponent, 1) - number_format.bias - mantissa_bits) if finite else math.nan,
    )


def nearest_code(value: float, exponent_bits: int, mantissa_bits: int) -> int:
    """The pattern of the format's number nearest to a value; what is too large becomes infinity."""
    x = torch.tensor(value, dtype=torch.float64)
    return int(FloatFormat(exponent_bits, mantissa_bits).encode(x, overflow="infinity"))


def draw_bits(bits: Bits, axes: Axes) -> None:
    """Draws the pattern as a row of boxes in the colours of its fields, with their meaning below.

    Few artists for many bits: a text for each bit would take most of a demo's tenth of a second.
    """
    for artist in [*axes.lines, *axes.collections, *axes.texts]:  # drawn on before: a bit was pressed
        artist.remove()
    axes.set_axis_off()
    ends = {"sign": (0, 1), "exponent": (1, 1 + bits.exponent_bits), "fraction": (1 + bits.exponent_bits, bits.width)}
    fields = [name for name, (first, last) in ends.items() for _ in range(first, last)]
    digits = bits.text.replace(" ", "")
    room = max(bits.width, 15)  # few bits stay as small as many
    left, right = np.arange(bits.width) + 0.06, np.arange(bits.width) + 0.94
    low, high = np.zeros(bits.width), np.ones(bits.width)
    corners = np.stack([[left, low], [right, low], [right, high], [left, high]]).transpose(2, 0, 1)
    colours = [FIELD_COLOURS[name] for name in fields]
    fill = [colour if digit == "1" else "white" for colour, digit in zip(colours, digits, strict=True)]
    axes.add_collection(PolyCollection(corners, facecolors=fill, edgecolors=colours, linewidths=1.5), autolim=False)
    for name in ends:
        for digit, colour in (("0", "black"), ("1", "white")):
            places = [n + 0.5 for n in range(bits.width) if fields[n] == name and digits[n] == digit]
            height, size = [0.5] * len(places), 9 if room > 20 else 11
            axes.add_line(Line2D(places, height, linestyle="", marker=f"${digit}$", color=colour, markersize=size))

    below = {
        "sign": f"sign\n{bits.sign}: {'-' if bits.sign else '+'}",
        "exponent": f"exponent\n{bits.exponent}" + _exponent_meaning(bits),
        "fraction": f"fraction\n{bits.fraction} / 2^{bits.mantissa_bits} = {bits.fraction / 2**bits.mantissa_bits:.9g}",
    }
    for name, (first, last) in ends.items():
        middle, height = (first + last) / 2, -0.22
        if name == "exponent" and (bits.width <= 12 or bits.exponent_bits < 5):  # no room between its neighbours
            height = -1.15
            axes.add_line(Line2D([middle, middle], [-0.1, -1.05], color=FIELD_COLOURS[name], linewidth=0.8))
        axes.text(middle, height, below[name], ha="center", va="top", fontsize=10)
    start = (bits.width - room) / 2
    axes.text(start, 1.3, f"{bits.name}: {bits.formula}", ha="left", va="bottom", fontsize=12)
    axes.set_xlim(start - 0.6, start + room + 0.6)
    axes.set_ylim(-2.2, 2.1)


def _exponent_meaning(bits: Bits) -> str:
    if bits.kind in ("infinity", "NaN"):
        return ": reserved"
    if bits.exponent == 0:
        return f": subnormal, 2^{1 - bits.bias}"
    return f" - {bits.bias} = {bits.exponent - bits.bias}"


def draw_columns(
    axes: Axes, rows: Sequence[tuple[str, float]], places: int = 6, *, line_above: int | None = None
) -> None:
    """Significands in binary, digit under digit, as one adds them on paper.

    Args:
        rows: (label, significand) from top to bottom; 0 <= significand < 4.
        places: how many digits after the point to show; what lies beyond is not drawn.
        line_above: the row above which the addition's line stands, if any.
    """
    axes.set_axis_off()
    for number, (label, significand) in enumerate(rows):
        height = -number
        whole = math.floor(significand * 2**places)
        digits = f"{whole:0{places + 2}b}"
        first = digits.find("1")  # leading zeros are faint: they are there to show the shift
        axes.text(-0.6, height, label, ha="right", va="center", fontsize=10)
        for place, digit in enumerate(digits):
            x = place + (0.6 if place >= 2 else 0)
            faint = place < first or first < 0
            colour = "0.75" if faint else COLOURS["blue"]
            axes.text(x, height, digit, ha="center", va="center", fontsize=14, family="monospace", color=colour)
        axes.text(1.8, height, ".", ha="center", va="center", fontsize=14, family="monospace")
        axes.text(places + 2.2, height, f"= {significand:.9g}", ha="left", va="center", fontsize=10, color="0.35")
    if line_above is not None:
        axes.plot([-0.4, places + 2], [0.5 - line_above] * 2, color=COLOURS["black"], linewidth=1)
    axes.set_xlim(-0.62 * (places + 4), places + 6.5)
    axes.set_ylim(-len(rows) + 0.4, 0.7)


def bit_toggler_still(
    examples: Sequence[tuple[float, str]] = ((0.15625, "float32"), (0.15625, "float16"), (-10.5, "e4m3")),
) -> Figure:
    """The demo without buttons: one row for each ``(value, format)``, the value rounded to the format.

    Args:
        examples: formats by their name in `PRESETS`.
    """
    figure = Figure(figsize=(10, 2.0 * len(examples)), layout="constrained")
    shown = [compute_bits(nearest_code(value, *PRESETS[name]), *PRESETS[name]) for value, name in examples]
    for axes, bits in zip(figure.subplots(len(examples), 1, squeeze=False)[:, 0], shown, strict=True):
        draw_bits(bits, axes)
    figure.set_label(". ".join(bits.summary for bits in shown))  # the text alternative: see alt_text
    return figure


def bit_toggler_demo(
    own_value: OwnValue | None = None, value: float = 0.15625, exponent_bits: int = 8, mantissa_bits: int = 23
) -> Any:
    """Buttons for the bits, sliders for the format, a field to type a number into.

    Buttons take the Tab key and the space bar, sliders the arrow keys. The picture carries its numbers as text.

    Args:
        own_value: ``own_value(sign, exponent, fraction)`` of the student for float32. Where the format is float32 its
            answer is shown below the picture; what it raises is shown too.
        value, exponent_bits, mantissa_bits: what to begin with.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="380px"), "style": {"description_width": "100px"}}
    # a slider that is being dragged would change the format many times a second
    split = [
        widgets.IntSlider(value=exponent_bits, min=1, max=8, description="exponent bits", **wide),
        widgets.IntSlider(value=mantissa_bits, min=1, max=23, description="mantissa bits", **wide),
    ]
    presets = [
        widgets.Button(description=name, tooltip=f"{e} exponent bits, {m} mantissa bits", layout={"width": "84px"})
        for name, (e, m) in PRESETS.items()
    ]
    typed = widgets.FloatText(
        value=value, description="type a number", layout={"width": "260px"}, **{"style": wide["style"]}
    )
    flip, down, up = (
        widgets.Button(description=text, tooltip=tip, layout={"width": "110px"})
        for text, tip in (
            ("± sign", "flip the sign bit"),
            ("◀ code - 1", "the pattern before this one"),
            ("code + 1 ▶", "the pattern after this one"),
        )
    )
    buttons = [widgets.Button(layout={"width": "24px", "padding": "0", "margin": "1px"}) for _ in range(32)]
    picture = widgets.HTML()
    figure = Figure(figsize=(9.6, 2.1), dpi=80, layout="none")
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    state = {"code": nearest_code(value, exponent_bits, mantissa_bits), "quiet": False}

    def show() -> None:
        bits = compute_bits(state["code"], split[0].value, split[1].value)
        digits = bits.text.replace(" ", "")
        for number, button in enumerate(buttons):
            if number >= bits.width:
                button.layout.display = "none"
                continue
            field = "sign" if number == 0 else "exponent" if number <= bits.exponent_bits else "fraction"
            one = digits[number] == "1"
            button.description = digits[number]
            button.tooltip = f"bit {bits.width - 1 - number}, {field}"
            button.style.button_color = FIELD_COLOURS[field] if one else "white"
            button.style.text_color = "white" if one else FIELD_COLOURS[field]
            button.layout.border = f"1px solid {FIELD_COLOURS[field]}"
            button.layout.display = None
        draw_bits(bits, axes)
        picture.value = f"{image_tag(figure, bits.summary)}<p>{html.escape(bits.summary)}</p>{_own(own_value, bits)}"

    def go_to(code: int) -> None:
        state["code"] = code % 2 ** (1 + split[0].value + split[1].value)
        show()

    def change_format(_: Any = None) -> None:
        """Keeps the value, as well as the new format can."""
        if not state["quiet"]:
            state["code"] = nearest_code(state["value"], split[0].value, split[1].value)
            show()

    def choose(e: int, m: int) -> None:
        state["quiet"] = True  # two sliders move, one picture changes
        split[0].value, split[1].value = e, m
        state["quiet"] = False
        change_format()

    def remember() -> None:
        bits = compute_bits(state["code"], split[0].value, split[1].value)
        state["value"] = bits.value

    def press(bit_number: int) -> None:
        go_to(state["code"] ^ 1 << (split[0].value + split[1].value - bit_number))
        remember()

    def step(by: int) -> None:
        go_to(state["code"] + by)
        remember()

    def take_typed(change: dict) -> None:
        state["value"] = change["new"]
        change_format()

    state["value"] = value
    for number, button in enumerate(buttons):
        button.on_click(lambda _, number=number: press(number))
    for button, (e, m) in zip(presets, PRESETS.values(), strict=True):
        button.on_click(lambda _, e=e, m=m: choose(e, m))
    flip.on_click(lambda _: press(0))
    down.on_click(lambda _: step(-1))
    up.on_click(lambda _: step(1))
    for slider in split:
        slider.observe(change_format, names="value")
    typed.observe(take_typed, names="value")
    show()
    row = widgets.Layout(flex_flow="row wrap")
    return widgets.VBox(
        [
            widgets.HBox(presets, layout=row),
            widgets.HBox(split, layout=row),
            widgets.HBox([typed, flip, down, up], layout=row),
            widgets.HBox(buttons, layout=row),
            picture,
        ]
    )


def _own(own_value: OwnValue | None, bits: Bits) -> str:
    """What the student's own function says, as a line of HTML."""
    if own_value is None or (bits.exponent_bits, bits.mantissa_bits) != PRESETS["float32"]:
        return ""
    try:
        answer = own_value(bits.sign, bits.exponent, bits.fraction)
        same = answer == bits.value or (answer != answer and bits.value != bits.value)
        verdict = "the same" if same else "not the same"
        text = f"your float32_value({bits.sign}, {bits.exponent}, {bits.fraction}) = {answer!r}: {verdict}"
    except Exception as error:  # the student's: shown, so that the buttons stay alive
        text = f"your float32_value raised {type(error).__name__}: {error}"
    return f"<p>{html.escape(text)}</p>"
