"""Networks of the YOLOv3 family: a list of sections, as darknet's cfg files hold it, becomes a torch module.

Each section becomes one entry of ``net.layers``, made of torch's own layers, and is numbered as darknet numbers it:
from 0, [net] not counted. `darknet` reads sections from files; `models.TinyYOLOv3` writes its own list.

Sources: J. Redmon, darknet (parser.c, maxpool_layer.c, route_layer.c, yolo_layer.c); J. Redmon and A. Farhadi,
"YOLOv3: An Incremental Improvement", 2018. Stands on torch only.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["Darknet", "DarknetError", "Route", "Section", "Shortcut", "Yolo", "decode"]

_LEAK = 0.1
_EPSILON = 1e-6  # added to the variance, as OpenCV does; darknet adds it to the deviation, or 1e-5 to the variance


class DarknetError(ValueError):
    """A cfg or weights file that cannot be read; the message names the file, the section and what is wrong."""


@dataclass(frozen=True)
class Section:
    """One section of a cfg.

    Attributes:
        kind: the name in brackets, such as ``"convolutional"``.
        options: name and value, as they are written.
        number: as darknet counts, from 0; [net] is -1.
    """

    kind: str
    options: dict[str, str] = field(default_factory=dict)
    number: int = -1

    def error(self, message: str) -> DarknetError:
        """An error that names this section."""
        return DarknetError(f"section {self.number} [{self.kind}]: {message}")

    def text(self, name: str, default: str) -> str:
        """An option as it is written."""
        return self.options.get(name, default)

    def integer(self, name: str, default: int | None = None, least: int = 0) -> int:
        """An option that is one integer; without a default it must be there."""
        value = self._numbers(name, int, None if default is None else [default])
        if len(value) != 1 or value[0] < least:
            raise self.error(f"{name}={self.options.get(name)} should be one integer of at least {least}")
        return value[0]

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """An option that is one or more integers with commas between."""
        return self._numbers(name, int, default)

    def reals(self, name: str, default: list[float] | None = None) -> list[float]:
        """An option that is one or more finite numbers with commas between."""
        return self._numbers(name, float, default)

    def _numbers(self, name: str, kind: type, default: list | None) -> list:
        if name not in self.options:
            if default is None:
                raise self.error(f"{name} is missing")
            return default
        try:
            values = [kind(part) for part in self.options[name].split(",") if part.strip()]
        except ValueError:
            values = []
        most = 2**31 if kind is int else math.inf  # darknet's own integers have 32 bits
        if not values or not all(abs(value) < most for value in values):
            told = f"{name}={self.options[name]:.60}"
            raise self.error(f"{told} is not a number, or numbers with commas between, that darknet could hold")
        return values


Shape = tuple[int, int, int]  # channels, height, width


class MaxPool(nn.MaxPool2d):
    """Largest of size x size values. As in darknet, all padding, ``size - 1`` by default, is shared between the two
    sides, the odd one to the right and below; so size 2 and stride 1 keep height and width.
    """

    def __init__(self, size: int, stride: int, padding: int) -> None:
        super().__init__(size, stride)
        self.total_padding = padding

    def output_side(self, side: int) -> int:
        return (side + self.total_padding - self.kernel_size) // self.stride + 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.total_padding // 2
        # only what windows reach: sides that are multiples of the stride need no copy
        after_width, after_height = (
            max(0, (self.output_side(side) - 1) * self.stride + self.kernel_size - side - before)
            for side in (x.shape[3], x.shape[2])
        )
        if before or after_width or after_height:
            x = functional.pad(x, (before, after_width, before, after_height), value=-math.inf)
        return super().forward(x)


class Route(nn.Module):
    """Outputs of earlier sections one behind the other along the channels, of each only one of ``groups`` parts."""

    def __init__(self, sources: Sequence[int], groups: int, group: int) -> None:
        super().__init__()
        self.sources, self.groups, self.group = tuple(sources), groups, group

    def forward(self, _: torch.Tensor, outputs: dict[int, torch.Tensor]) -> torch.Tensor:
        parts = [outputs[source].chunk(self.groups, dim=1)[self.group] for source in self.sources]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        return f"sources={self.sources}, groups={self.groups}, group={self.group}"


class Shortcut(nn.Module):
    """The section before plus an earlier one of the same shape, then the activation."""

    def __init__(self, source: int, activation: nn.Module) -> None:
        super().__init__()
        self.sources, self.activation = (source,), activation

    def forward(self, x: torch.Tensor, outputs: dict[int, torch.Tensor]) -> torch.Tensor:
        return self.activation(x + outputs[self.sources[0]])

    def extra_repr(self) -> str:
        return f"source={self.sources[0]}"


class Yolo(nn.Module):
    """A head: what its raw numbers mean. It holds no parameters.

    Attributes:
        anchors: list of (width, height) in pixels of the network's input.
        classes: how many.
        scale_xy: stretches the range of a box's centre over its cell's edge; 1 in YOLOv3.
    """

    def __init__(self, anchors: list[tuple[float, float]], classes: int, scale_xy: float) -> None:
        super().__init__()
        self.anchors, self.classes, self.scale_xy = anchors, classes, scale_xy

    def forward(self, head: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        return decode(head, self.anchors, size, self.scale_xy)

    def extra_repr(self) -> str:
        return f"anchors={self.anchors}, classes={self.classes}, scale_xy={self.scale_xy}"


class Darknet(nn.Module):
    """A network made from sections, with random weights until some are loaded.

    ``layers[i]`` is section i. A convolution is an ``nn.Sequential`` of ``conv``, with batch normalisation ``norm``,
    and, unless linear, ``activation``.

    Attributes:
        size: height and width of the input, pixels.
        sections: what it was made from, [net] left out.

    Raises:
        DarknetError: if a section is unknown, asks for what is not implemented, or does not fit the ones before.
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        super().__init__()
        if not sections or sections[0].kind not in ("net", "network"):
            raise DarknetError("a cfg starts with [net]")
        net, *self.sections = sections
        self.channels = net.integer("channels", 3, least=1)
        self.size = net.integer("height", least=1), net.integer("width", least=1)
        self.layers = nn.ModuleList()
        before: list[Shape | None] = []
        for section in self.sections:
            if section.kind not in _BUILDERS:
                raise section.error(f"unknown; known are {', '.join(_BUILDERS)}")
            previous = before[-1] if before else (self.channels, *self.size)
            if previous is None and section.kind not in ("route", "yolo"):
                raise section.error("a [yolo] before it has no output to go on with; a [route] should follow it")
            layer, shape = _BUILDERS[section.kind](section, previous, before)
            if shape is not None and min(shape) < 1:
                raise section.error(f"its output would be {shape[1]} x {shape[2]} pixels")
            self.layers.append(layer)
            before.append(shape)
        self._kept = {source for layer in self.layers for source in getattr(layer, "sources", ())}

    @property
    def yolos(self) -> list[Yolo]:
        """The heads, in the order of the cfg."""
        return [layer for layer in self.layers if isinstance(layer, Yolo)]

    def raw_heads(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What goes into each [yolo], in the order of the cfg; of a classifier what goes into its [softmax].

        Args:
            x: float (batch, channels, height, width), RGB in [0, 1], of the cfg's size.

        Returns:
            float tensors (batch, anchors * (5 + classes), rows, columns); of a classifier one (batch, classes).

        Raises:
            ValueError: if x has another shape.
        """
        if x.shape[1:] != (self.channels, *self.size):
            expected = f"(batch, {self.channels}, {self.size[0]}, {self.size[1]})"
            raise ValueError(f"the network takes images {expected}, got {tuple(x.shape)}")
        return self._run(x)

    def _run(self, x: torch.Tensor) -> list[torch.Tensor]:
        heads, outputs = [], {}
        for number, layer in enumerate(self.layers):
            if isinstance(layer, Yolo):
                heads.append(x)
            elif isinstance(layer, Route | Shortcut):
                x = layer(x, outputs)
            elif not isinstance(layer, nn.Softmax):
                x = layer(x)
            if number in self._kept:
                outputs[number] = x
        classifies = any(isinstance(layer, nn.AdaptiveAvgPool2d | nn.Softmax) for layer in self.layers)
        if not heads and classifies and x.shape[2:] == (1, 1):
            x = x.flatten(1)  # convolutions may stand between [avgpool] and [softmax], as in darknet53.cfg
        return heads or [x]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | torch.Tensor:
        """Boxes and scores before suppression; of a classifier the probabilities (batch, classes).

        Args:
            x: as for `raw_heads`.

        Returns:
            boxes, float (batch, n, 4): left, top, right, bottom in pixels of x; scores, float (batch, n, classes): the
            probability that there is something, times the probability of the class.
        """
        heads = self.raw_heads(x)
        if not self.yolos:
            return heads[0].softmax(dim=1) if any(isinstance(layer, nn.Softmax) for layer in self.layers) else heads[0]
        decoded = [yolo(head, self.size) for yolo, head in zip(self.yolos, heads, strict=True)]
        boxes, scores = zip(*decoded, strict=True)
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)

    def graph(self) -> fx.GraphModule:
        """`raw_heads` of a detector as torch.fx traces it, for what replaces layers; it shares this network's layers.

        Raises:
            DarknetError: if the network has no [yolo].
        """
        if not self.yolos:
            raise DarknetError("only the graph of a detector can be traced: this network has no [yolo]")
        return fx.GraphModule(self, _Tracer().trace(self)).train(self.training)

    def computed_by(self, raw_heads: Callable[[torch.Tensor], list[torch.Tensor]]) -> Darknet:
        """This detector with the numbers before its [yolo]s computed by something else.

        Args:
            raw_heads: takes and gives what `raw_heads` does.
        """
        net = copy.copy(self)
        object.__setattr__(net, "raw_heads", raw_heads)  # past torch, which would add it to this network's modules, too
        return net

    def folded(self) -> Darknet:
        """A copy in eval mode in which every batch normalisation is part of its convolution's weights and bias."""
        net = copy.deepcopy(self).eval()
        for layer in net.layers:
            if isinstance(layer, nn.Sequential) and hasattr(layer, "norm"):
                layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
                del layer.norm
        return net


class _Tracer(fx.Tracer):
    """Follows `Darknet._run`, which has no question to the shape of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.traced_func_name = "_run"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, MaxPool) or super().is_leaf_module(m, module_qualified_name)


def decode(
    head: torch.Tensor, anchors: Sequence[tuple[float, float]], size: tuple[int, int], scale_xy: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes and scores of one YOLOv3 head.

    With t the head's numbers in the cell of column i and row j: centre = (i + sigmoid(t_x), j + sigmoid(t_y)) cells,
    width = anchor width x exp(t_w), height likewise, score = sigmoid(t_object) x sigmoid(t_class).

    Args:
        head: float (batch, len(anchors) * (5 + classes), rows, columns); of each anchor t_x, t_y, t_w, t_h, t_object,
            then one t_class a class.
        anchors: (width, height) of each, pixels of the input.
        size: height and width of the input, pixels.
        scale_xy: s of scaled-YOLO: sigmoid(t) becomes s * sigmoid(t) - (s - 1) / 2 for the centre.

    Returns:
        boxes, float (batch, n, 4) in pixels of the input, cut at its edges; scores, float (batch, n, classes);
        n = len(anchors) * rows * columns.

    Source: J. Redmon and A. Farhadi, "YOLOv3: An Incremental Improvement", 2018, section 2.1.
    """
    batch, _, rows, columns = head.shape
    t = head.view(batch, len(anchors), -1, rows, columns)
    size_of = head.new_tensor(anchors).view(1, -1, 2, 1, 1)
    limits = head.new_tensor([size[1], size[0]]).view(1, 1, 2, 1, 1)
    grid = torch.stack(
        [
            torch.arange(columns, device=head.device).expand(rows, columns),
            torch.arange(rows, device=head.device)[:, None].expand(rows, columns),
        ]
    )
    cells = head.new_tensor([columns, rows]).view(1, 1, 2, 1, 1)
    centre = (t[:, :, 0:2].sigmoid() * scale_xy - (scale_xy - 1) / 2 + grid) * (limits / cells)
    half = t[:, :, 2:4].exp() * size_of / 2
    corners = torch.cat([(centre - half).clamp(min=0), (centre + half).clamp(min=0)], dim=2)
    boxes = corners.minimum(torch.cat([limits, limits], dim=2))
    scores = t[:, :, 4:5].sigmoid() * t[:, :, 5:].sigmoid()
    return boxes.movedim(2, -1).flatten(1, 3), scores.movedim(2, -1).flatten(1, 3)


def _refuse(section: Section, *harmless: tuple[str, str]) -> None:
    """Options of darknet's forks that would change the arithmetic."""
    for name, default in harmless:
        if section.text(name, default) != default:
            raise section.error(f"{name}={section.options[name]} is not implemented, only {name}={default}")


def _activation(section: Section, default: str) -> nn.Module | None:
    name = section.text("activation", default)
    match name:
        case "linear":
            return None
        case "leaky":
            return nn.LeakyReLU(_LEAK)
        case "relu":
            return nn.ReLU()
    raise section.error(f"activation={name} is not implemented; linear, leaky and relu are")


def _convolutional(section: Section, previous: Shape, _: list) -> tuple[nn.Module, Shape]:
    _refuse(section, ("dilation", "1"), ("binary", "0"), ("xnor", "0"), ("antialiasing", "0"), ("flipped", "0"))
    channels, height, width = previous
    filters, groups = section.integer("filters", 1, least=1), section.integer("groups", 1, least=1)
    size, stride = section.integer("size", 1, least=1), section.integer("stride", 1, least=1)
    _refuse(section, ("stride_x", str(stride)), ("stride_y", str(stride)))
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    if channels % groups or filters % groups:
        raise section.error(f"{channels} channels and {filters} filters do not fall into {groups} groups")
    normalized = bool(section.integer("batch_normalize", 0))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["conv"] = nn.Conv2d(channels, filters, size, stride, padding, groups=groups, bias=not normalized)
    if normalized:
        parts["norm"] = nn.BatchNorm2d(filters, eps=_EPSILON)
    if (activation := _activation(section, "logistic")) is not None:  # darknet's default
        parts["activation"] = activation
    sides = ((side + 2 * padding - size) // stride + 1 for side in (height, width))
    return nn.Sequential(parts), (filters, *sides)


def _maxpool(section: Section, previous: Shape, _: list) -> tuple[nn.Module, Shape]:
    _refuse(section, ("maxpool_depth", "0"), ("antialiasing", "0"))
    stride = section.integer("stride", 1, least=1)
    size = section.integer("size", stride, least=1)
    _refuse(section, ("stride_x", str(stride)), ("stride_y", str(stride)))
    padding = section.integer("padding", size - 1)
    if padding // 2 >= size:
        raise section.error(f"padding={padding} is wider than size={size}")
    layer = MaxPool(size, stride, padding)
    return layer, (previous[0], layer.output_side(previous[1]), layer.output_side(previous[2]))


def _sources(section: Section, places: list[int], before: list[Shape | None]) -> tuple[list[int], list[Shape]]:
    """Section numbers (negative ones count back from here) and the shapes of their outputs."""
    numbers = [section.number + place if place < 0 else place for place in places]
    for place, number in zip(places, numbers, strict=True):
        if not 0 <= number < section.number:
            raise section.error(f"{place} means section {number}, but only 0 to {section.number - 1} lie before it")
        if before[number] is None:
            raise section.error(f"{place} means section {number}, a [yolo], which has no output to go on with")
    return numbers, [before[number] for number in numbers]


def _route(section: Section, _: Shape | None, before: list[Shape | None]) -> tuple[nn.Module, Shape]:
    numbers, shapes = _sources(section, section.integers("layers"), before)
    groups, group = section.integer("groups", 1, least=1), section.integer("group_id", 0)
    if group >= groups:
        raise section.error(f"group_id={group} should be below groups={groups}")
    for number, (channels, *sides) in zip(numbers, shapes, strict=True):
        if sides != list(shapes[0][1:]):
            here, there = (f"{height} x {width}" for height, width in (sides, shapes[0][1:]))
            raise section.error(f"section {number} gives {here} pixels and section {numbers[0]} {there}")
        if channels % groups:
            raise section.error(f"the {channels} channels of section {number} do not fall into {groups} groups")
    return Route(numbers, groups, group), (sum(shape[0] for shape in shapes) // groups, *shapes[0][1:])


def _shortcut(section: Section, previous: Shape, before: list[Shape | None]) -> tuple[nn.Module, Shape]:
    _refuse(section, ("weights_type", "none"))
    (number, *others), (shape, *_) = _sources(section, section.integers("from"), before)
    if others:
        raise section.error("it adds one section, not several")
    if shape != previous:
        raise section.error(f"section {number} gives {shape}, the section before {previous}: they cannot be added")
    return Shortcut(number, _activation(section, "linear") or nn.Identity()), previous


def _upsample(section: Section, previous: Shape, _: list) -> tuple[nn.Module, Shape]:
    _refuse(section, ("scale", "1"))
    stride = section.integer("stride", 2, least=1)
    return nn.Upsample(scale_factor=stride, mode="nearest"), (previous[0], stride * previous[1], stride * previous[2])


def _dropout(_: Section, previous: Shape, __: list) -> tuple[nn.Module, Shape]:
    return nn.Identity(), previous  # and [cost]: they matter to training in darknet only


def _avgpool(_: Section, previous: Shape, __: list) -> tuple[nn.Module, Shape]:
    return nn.AdaptiveAvgPool2d(1), (previous[0], 1, 1)


def _softmax(section: Section, previous: Shape, _: list) -> tuple[nn.Module, Shape]:
    _refuse(section, ("groups", "1"), ("temperature", "1"), ("tree", ""))
    if previous[1:] != (1, 1):
        raise section.error(f"it takes one number a class, as [avgpool] gives, not {previous[1]} x {previous[2]}")
    return nn.Softmax(dim=1), previous


def _yolo(section: Section, previous: Shape | None, _: list) -> tuple[nn.Module, None]:
    _refuse(section, ("new_coords", "0"))
    if previous is None:
        raise section.error("a [yolo] before it has no output to go on with")
    classes = section.integer("classes", 20, least=1)
    numbers = section.reals("anchors")
    anchors = list(zip(numbers[::2], numbers[1::2], strict=False))
    total = section.integer("num", 1, least=1)
    if len(numbers) != 2 * total:
        raise section.error(f"num={total} anchors are {2 * total} numbers, found {len(numbers)}")
    mask = section.integers("mask", list(range(total)))
    if not all(0 <= index < total for index in mask):
        raise section.error(f"mask={section.options['mask']} should hold anchors 0 to {total - 1}")
    if min(numbers) <= 0:
        raise section.error(f"anchors={section.options['anchors']} should be larger than 0")
    expected = len(mask) * (5 + classes)
    if previous[0] != expected:
        raise section.error(
            f"{len(mask)} anchors x (5 + {classes} classes) are {expected} channels, but {previous[0]} come in"
        )
    return Yolo([anchors[index] for index in mask], classes, section.reals("scale_x_y", [1.0])[0]), None


_BUILDERS = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "route": _route,
    "shortcut": _shortcut,
    "upsample": _upsample,
    "dropout": _dropout,
    "cost": _dropout,
    "avgpool": _avgpool,
    "softmax": _softmax,
    "yolo": _yolo,
}
