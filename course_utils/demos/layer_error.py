"""A layer of a network, in floating point and in whole numbers, and what lies between them.

`record_layers` runs a network once and keeps what goes into every linear and convolutional layer and what comes out.
`compute_layer_error` runs one of them again through a quantized layer; it gets the class of that layer handed in,
the student's, and never brings one along. `draw_layer_error` shows the float output, the quantized output and the
histogram of their difference; `layer_error_demo` adds the controls, `layer_error_still` does without.

Stands on `affine` (the grids of input and output, the ratio of signal to noise), `demos` (the image in HTML), `plots`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_utils.demos.base import drawable, image_tag, live
from course_utils.numerics import affine
from course_utils.pictures import plots

__all__ = [
    "LayerError",
    "Record",
    "compute_layer_error",
    "draw_layer_error",
    "layer_error_demo",
    "layer_error_still",
    "quantized_input",
    "record_layers",
]

MakeLayer = Callable[[nn.Module, int], Any]
"""``make(layer, num_bits)`` gives an object with ``run_quantized_layer``, such as a class `QuantizedLayer`."""


@dataclass(frozen=True)
class Record:
    """One layer and what passed through it: float32 tensors, the output before any activation function."""

    name: str
    layer: nn.Module
    inputs: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class LayerError:
    """A layer's output twice. Arrays are float64 and have the output's shape; no unit but the network's own."""

    name: str
    num_bits: int
    expected: np.ndarray  # the float layer's output
    got: np.ndarray  # the quantized layer's output, dequantized
    step: float  # the output's scale factor
    sqnr_db: float

    @property
    def error_in_steps(self) -> np.ndarray:
        return (self.got - self.expected) / self.step

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        error = self.error_in_steps
        return (
            f"{self.name}, {self.num_bits} bits · output step {self.step:.3g} · SQNR {self.sqnr_db:.1f} dB · "
            f"mean error {error.mean():+.3f} steps · largest {np.abs(error).max():.2f} steps"
        )


def record_layers(network: nn.Module, images: Tensor) -> dict[str, Record]:
    """Runs the network once; returns a record of every `Linear` and `Conv2d` by name, in the order they ran."""
    records: dict[str, Record] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            records[name] = Record(name, layer, inputs[0].detach().clone(), output.detach().clone())

        return hook

    hooks = [
        m.register_forward_hook(keep(n)) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return records


def quantized_input(record: Record, num_bits: int = 8) -> tuple[Tensor, float, int, float, int]:
    """What ``run_quantized_layer`` takes: input codes, float32; the grids of input and output over their ranges."""
    grids = []
    for tensor in (record.inputs, record.outputs):
        scale, zero_point = affine.scale_and_zero_point(*affine.value_range(tensor), num_bits)
        grids += [float(scale), int(zero_point)]
    codes = affine.quantize(record.inputs, grids[0], grids[1], num_bits=num_bits).float()
    return codes, *grids


def compute_layer_error(make: MakeLayer, record: Record, num_bits: int = 8) -> LayerError:
    """Runs a layer quantized, on the input that the float layer had.

    Args:
        make: see `MakeLayer`.
        record: the layer, from `record_layers`.
        num_bits: of weights, input and output.

    Returns:
        The numbers to draw. Whatever the quantized layer raises passes through.

    Raises:
        ValueError: if what the quantized layer returns cannot be drawn.
    """
    codes, x_scale, x_zero, out_scale, out_zero = quantized_input(record, num_bits)
    run = make(record.layer, num_bits).run_quantized_layer
    q = drawable(run(codes, x_scale, x_zero, out_scale, out_zero), record.outputs.shape, run)
    expected, got = record.outputs.double(), out_scale * (q.double() - out_zero)
    return LayerError(record.name, num_bits, expected.numpy(), got.numpy(), out_scale, affine.sqnr_db(expected, got))


def draw_layer_error(error: LayerError, axes: Sequence[Any]) -> None:
    """Draws on three axes: the float output, the quantized output (same colours), the histogram of the error."""
    first, second, third = axes
    for ax in axes:  # drawn on before: a control moved. Emptying axes is faster than making new ones
        for artist in [*ax.images, *ax.patches]:
            artist.remove()
    low, high = float(error.expected.min()), float(error.expected.max())
    for ax, values, title in ((first, error.expected, "float"), (second, error.got, f"{error.num_bits} bits")):
        picture, what = _mosaic(values)
        ax.imshow(picture, vmin=low, vmax=high, cmap="cividis", aspect="auto", interpolation="nearest")
        ax.set_title(f"{error.name}, {title}", y=1)  # with a place given, matplotlib need not look for one
        ax.set_xlabel(f"{what}\noutput value, dark {low:.3g} to bright {high:.3g}")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
    steps = error.error_in_steps.ravel()
    reach = max(1.0, float(np.quantile(np.abs(steps), 0.999)))
    counts, edges = np.histogram(np.clip(steps, -reach, reach), bins=np.linspace(-reach, reach, 81))
    third.axvspan(-0.5, 0.5, color=plots.COLOURS["sky"], alpha=0.25, label="rounding of the output alone")
    third.stairs(100 * counts / steps.size, edges, fill=True, color=plots.COLOURS["vermillion"])
    third.set_xlim(-reach, reach)
    third.set_title(f"SQNR {error.sqnr_db:.1f} dB, mean {steps.mean():+.3f} steps", y=1)
    third.set_xlabel(f"error (output steps of {error.step:.3g})")
    third.set_ylabel("share of the outputs (%)")
    third.legend(loc="upper left", fontsize=8)
    third.set_ylim(0, 1.3 * 100 * counts.max() / steps.size)


def layer_error_still(make: MakeLayer, records: Mapping[str, Record], settings: Sequence[tuple[str, int]]) -> Figure:
    """The demo without controls: one row for each ``(layer name, num_bits)``."""
    figure = Figure(figsize=(10, 3.0 * len(settings)), layout="constrained")
    rows = figure.subplots(len(settings), 3, squeeze=False)
    errors = [compute_layer_error(make, records[name], num_bits) for name, num_bits in settings]
    for axes, error in zip(rows, errors, strict=True):
        draw_layer_error(error, axes)
    figure.set_label(". ".join(error.summary for error in errors))  # the text alternative: see alt_text
    return figure


def layer_error_demo(make: MakeLayer, records: Mapping[str, Record], num_bits: int = 8) -> Any:
    """A choice of the layer and a slider for the bits; the pictures follow.

    Both controls take the keyboard. The picture carries its numbers as text for screen readers. What the student's
    layer raises is shown in the picture's place.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    style = {"description_width": "60px"}
    choice = widgets.Dropdown(options=list(records), description="layer", style=style)
    bits = widgets.IntSlider(
        value=num_bits, min=2, max=8, description="num_bits", style=style, layout=widgets.Layout(width="340px")
    )
    picture = widgets.HTML()
    figure = Figure(figsize=(10.5, 3.3), dpi=72, layout="none")
    figure.subplots_adjust(left=0.02, right=0.985, top=0.91, bottom=0.18, wspace=0.2)
    axes = figure.subplots(1, 3)

    def show() -> str:
        error = compute_layer_error(make, records[choice.value], bits.value)
        draw_layer_error(error, axes)
        return f"<p>{error.summary}</p>{image_tag(figure, error.summary)}"

    update = live(picture, show)
    for control in (choice, bits):
        control.observe(update, names="value")
    update()
    return widgets.VBox([choice, bits, picture])


def _mosaic(values: np.ndarray) -> tuple[np.ndarray, str]:
    """The output as one picture, and what it shows: the first image's channels side by side, or all rows."""
    if values.ndim < 4:
        return values.reshape(-1, values.shape[-1]), f"{values.shape[-1]} outputs across, one image a row"
    maps = values[0]
    columns = math.ceil(math.sqrt(len(maps)))
    rows = math.ceil(len(maps) / columns)
    height, width = maps.shape[1:]
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number, channel in enumerate(maps):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        picture[top : top + height, left : left + width] = channel
    return picture, f"{len(maps)} channels of the first image"
