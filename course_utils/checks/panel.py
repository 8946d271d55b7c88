"""What a check cell shows in a notebook: a panel with the verdict, the facts, a picture and hints to open on demand.

The panel is one display output in three forms: HTML for people who look, plain text for those who cannot, and data
(`VERDICT`) for what reads saved notebooks: the start page and ``course check``. Outside a notebook there is no panel;
the text of `checks` stands for itself.

Stands on `hints`, `progress` and torch; on matplotlib when there is something to draw.
"""

from __future__ import annotations

import base64
import html
import io
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from course_utils.checks.hints import LEVELS, further_hints
from course_utils.checks.progress import VERDICT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Difference", "Panel", "draw_difference", "in_notebook", "show"]

FEW, MANY = 4, 20_000  # elements between which a picture says more than the facts do, and can still be read
GREEN, VERMILLION = "#009E73", "#D55E00"  # Okabe and Ito's, as in `plots`; a mark and a word stand beside each


@dataclass(frozen=True)
class Difference:
    """Element by element, what a check asked for and what came.

    Attributes:
        given: the input, float64, of the others' shape; None if it has another one.
        expected, got: float64.
        bad: bool, where the two are further apart than the rule allows.
        within: float64, how far apart they may be.
    """

    given: torch.Tensor | None
    expected: torch.Tensor
    got: torch.Tensor
    bad: torch.Tensor
    within: torch.Tensor

    @property
    def summary(self) -> str:
        """The picture in words."""
        gap = (self.got - self.expected).abs()[self.bad]
        finite = gap[gap.isfinite()]
        largest = f", by {float(finite.max()):.3g} at most" if len(finite) else ""
        return f"yours differs from the target at {int(self.bad.sum())} of {self.bad.numel()} places{largest}"


@dataclass(frozen=True)
class Panel:
    """A verdict, ready to be displayed.

    Attributes:
        exercise: the name.
        held: rule -> how many cases of it held.
        text: the verdict in plain text, one fact a line.
        facts: the broken rule, and what the check says of it, by name. Empty if all rules held.
        hints: level -> text, from the vaguest to the plainest.
        difference: what there is to draw.
    """

    exercise: str
    held: dict[str, int]
    text: str
    facts: dict[str, str]
    hints: dict[str, str] = field(default_factory=dict)
    difference: Difference | None = None

    @property
    def passed(self) -> bool:
        return not self.facts

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        data = {"exercise": self.exercise, "passed": self.passed, "hints": self.hints}
        return {"text/plain": self.text, "text/html": self.html(), VERDICT: data}

    def html(self) -> str:
        """The panel. Its colours come with a mark and a word; the hints open with mouse, Enter or space bar."""
        colour, word = (GREEN, "passed") if self.passed else (VERMILLION, "not yet")
        rules = f"{len(self.held)} rule{'s' if len(self.held) != 1 else ''}"
        parts = [
            f'<div role="region" aria-label="check of {_escaped(self.exercise)}: {word}" '
            f'style="border-left: 6px solid {colour}; padding: 0.2em 1em; margin: 0.3em 0; max-width: 60em">'
        ]
        if self.passed:
            parts.append(f"<p><strong>{_escaped(self.text)}</strong></p>")
            items = "".join(f"<li>{_escaped(rule)}</li>" for rule in self.held)
            parts.append(f"<details><summary>the {rules}</summary><ul>{items}</ul></details>")
        else:
            so_far = f"; {rules} before it hold{'s' if len(self.held) == 1 else ''}" if self.held else ""
            parts.append(f"<p><strong>✗ {_escaped(self.exercise)}: not yet</strong>{so_far}</p><table>")
            cell = "text-align: left; vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere"
            parts += [
                f'<tr><th scope="row" style="{cell}">{_escaped(name)}</th><td style="{cell}">{_escaped(fact)}</td></tr>'
                for name, fact in self.facts.items()
            ]
            parts.append("</table>")
            if self.difference is not None:
                parts.append(_image(draw_difference(self.difference), self.difference.summary))
            parts.append(_nested_hints(self.hints))
        return "".join(parts) + "</div>"


def show(
    exercise: str, held: dict[str, int], text: str, facts: dict[str, str], difference: Difference | None = None
) -> None:
    """Displays the panel of a check in the notebook.

    Args:
        exercise, held, text, difference: see `Panel`.
        facts: the broken rule and what is said of it, a hint among them.
    """
    from IPython.display import display

    told = dict(facts)
    hints = {LEVELS[0]: told.pop("hint")} if "hint" in told else {}
    if told:
        hints |= further_hints(exercise)
    display(Panel(exercise, held, text, told, hints, difference))


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, where displays can be seen."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def drawable(expected: torch.Tensor) -> bool:
    """Whether a picture says more than numbers."""
    return FEW <= expected.numel() <= MANY


def draw_difference(difference: Difference) -> Figure:
    """Target and yours side by side: as curves over the input, or as maps, with a cross where they differ."""
    from matplotlib.figure import Figure

    maps = difference.expected.dim() >= 2 and min(difference.expected.shape[-2:]) > 1
    figure = Figure(figsize=(9, 2.9), dpi=80, layout="constrained")
    (_draw_maps if maps else _draw_curves)(difference, figure)
    return figure


def _draw_curves(d: Difference, figure: Figure) -> None:
    expected, got, bad, within = (t.flatten() for t in (d.expected, d.got, d.bad, d.within))
    x = torch.arange(len(expected)).double() if d.given is None else d.given.flatten()
    order = x.argsort()
    x, expected, got, bad, within = (t[order].numpy() for t in (x, expected, got, bad, within))
    size, cross = (4, 6) if len(x) > 100 else (8, 10)  # a cross is seen around its dot
    crosses = {"color": VERMILLION, "markersize": cross, "markeredgewidth": 2}
    left, middle, right = figure.subplots(1, 3, sharex=True)
    middle.sharey(left)
    for axes, y, name in ((left, expected, "target: what the rule asks"), (middle, got, "yours")):
        axes.plot(x, y, ".", color="#0072B2", markersize=size)
        axes.set_title(name, loc="left", fontsize=10)
    middle.plot(x[bad], got[bad], "x", **crosses)
    right.fill_between(x, -within, within, color="#56B4E9", alpha=0.5, label="allowed")
    right.plot(x, got - expected, ".", color="#0072B2", markersize=size)
    right.plot(x[bad], (got - expected)[bad], "x", **crosses, label="too far")
    right.set_title("yours - target", loc="left", fontsize=10)
    right.legend(fontsize=8)
    for axes in (left, middle, right):
        axes.set_xlabel("position" if d.given is None else "input", fontsize=9)


def _draw_maps(d: Difference, figure: Figure) -> None:
    shape = d.expected.shape[-2:]
    expected, got, bad = (t.reshape(-1, *shape) for t in (d.expected, d.got, d.bad))
    page = int(bad.flatten(1).any(1).int().argmax())  # the first map that has a difference
    both = torch.stack([expected[page], got[page]])
    finite = both[both.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    shown: list[tuple[str, torch.Tensor, dict[str, float]]] = [
        ("target: what the rule asks", expected[page], {"vmin": low, "vmax": high}),
        ("yours", got[page], {"vmin": low, "vmax": high}),
    ]
    if d.given is not None:
        shown.insert(0, ("input", d.given.reshape(-1, *shape)[page], {}))
    for axes, (name, values, limits) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        figure.colorbar(axes.imshow(values.numpy(), cmap="cividis", aspect="auto", **limits), ax=axes)
        axes.locator_params(integer=True)
        axes.set_title(name if len(expected) == 1 else f"{name}, [{page}]", loc="left", fontsize=10)
        if name == "yours":
            rows, columns = bad[page].nonzero().T.numpy()
            axes.plot(columns, rows, "x", color=VERMILLION, markersize=6)


def _nested_hints(hints: dict[str, str]) -> str:
    """Each level inside the one before, so that nobody reads the steps without the idea."""
    inner = ""
    for number, (level, hint) in reversed(list(enumerate(hints.items(), start=1))):
        inner = (
            f'<details style="margin: 0.3em 0"><summary>Hint {number} of {len(hints)}: {level}</summary>'
            f'<p style="white-space: pre-wrap; margin: 0.3em 1em">{_escaped(hint)}</p>{inner}</details>'
        )
    return inner


def _image(figure: Figure, alternative: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{_escaped(alternative)}" src="data:image/png;base64,{data}">'


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
