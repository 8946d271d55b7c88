"""8-bit networks of TFLite's form, unpacked into a JSON and an npz file, as something that runs.

The JSON has ``tensors``, ``operators`` in the order of their execution, ``inputs`` and ``outputs``. A tensor has
``index``, ``name``, ``shape``, ``dtype`` and, if it is quantized, ``scale`` and ``zero_point``; with ``constant`` its
values are ``t<index>`` in the npz, and with ``per_axis`` the scales and zero points of its slices along that axis are
``t<index>_scale`` and ``t<index>_zero_point``. An operator has ``op``, ``inputs``, ``outputs`` and its options.

`load_tflite` checks all of this before anything runs. Options that no kernel knows are kept in `Node.options` and do
nothing; that shapes come out as the file says them is checked.

Stands on NumPy, torch and `tflite_kernels`, which gives the arithmetic and its sources.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.quantization import tflite_kernels as kernels
from course_utils.quantization.tflite_kernels import Grid

__all__ = ["Node", "StoredTensor", "TfliteError", "TfliteNetwork", "load_tflite"]

_DTYPES = {"int8": torch.int8, "uint8": torch.uint8, "int32": torch.int32}


class TfliteError(ValueError):
    """A network that cannot be read; the message names the file, the tensor or operator, and what is wrong."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the file.

    Attributes:
        index: its number in the file.
        name: as TensorFlow gave it.
        shape: as stored; the first axis of an activation is the batch, 1 in the file.
        dtype: of its codes.
        grid: of an activation, or of weights with one scale; None if there is none or it is per channel.
        scales: float32 (channels,) if per channel, else None.
        axis: along which ``scales`` run, else None.
        values: of a constant; None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    grid: Grid | None = None
    scales: Tensor | None = None
    axis: int | None = None
    values: Tensor | None = None

    def __str__(self) -> str:
        return f"tensor {self.index} ({self.name.partition(';')[0]})"

    def real(self, codes: Tensor | None = None) -> Tensor:
        """Codes, or the constant itself, as real numbers: float32."""
        codes = self.values if codes is None else codes
        if self.grid is not None and self.dtype != torch.int32:
            return self.grid.real(codes)
        if self.scales is None:
            raise TfliteError(f"{self} has no scale")
        shape = [-1 if axis == self.axis else 1 for axis in range(codes.dim())]
        return codes.float() * self.scales.reshape(shape)


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        number: its place in the order of execution, from 0.
        op: TFLite's name, such as ``"CONV_2D"``.
        inputs: of its kernel, numbers of tensors that are computed.
        constants: numbers of its weights, bias and so on.
        output: number of the tensor it makes.
        options: as they stand in the file.
        kernel: maps codes to codes; it holds the weights.
    """

    number: int
    op: str
    inputs: tuple[int, ...]
    constants: tuple[int, ...]
    output: int
    options: dict[str, Any]
    kernel: Callable[..., Tensor] = field(repr=False)

    @property
    def name(self) -> str:
        """Number and operator, such as ``"3 CONV_2D"``; unlike names of tensors it says where in the network."""
        return f"{self.number} {self.op}"


Watch = Callable[[Node, Tensor], None]


class TfliteNetwork:
    """A whole network on whole numbers.

    Attributes:
        tensors: number to `StoredTensor`.
        nodes: in the order of execution.
        input, output: the network's input tensor, and the one that its calls return.
    """

    def __init__(self, tensors: dict[int, StoredTensor], nodes: Sequence[Node], input: int, logits: int) -> None:
        self.tensors, self.nodes = tensors, list(nodes)
        self.input, self.output = tensors[input], tensors[logits]
        last = {number: node.number for node in self.nodes for number in node.inputs}
        self._done = {node.number: [n for n in node.inputs if last[n] == node.number] for node in self.nodes}

    def __call__(self, images: Tensor, watch: Watch | None = None) -> Tensor:
        """Codes of the logits: what goes into the softmax if there is one, else the network's output.

        Args:
            images: codes (batch, height, width, channels) of the input's dtype.
            watch: called after each node with the node and its output codes. They are not kept any longer than the
                network needs them, so memory does not grow with its depth.

        Returns:
            codes (batch, classes), of the dtype of ``network.output``; ``network.output.real`` makes logits of them.

        Raises:
            ValueError: if the images have another shape or dtype.
        """
        expected = self.input.shape[1:]
        if images.shape[1:] != expected or images.dtype != self.input.dtype:
            raise ValueError(
                f"the network takes {self.input.dtype} (batch, {', '.join(map(str, expected))}), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        codes, logits = {self.input.index: images}, images
        for node in self.nodes:
            result = node.kernel(*(codes[number] for number in node.inputs))
            if watch is not None:
                watch(node, result)
            if node.output == self.output.index:
                logits = result
                if watch is None:
                    break
            for number in self._done[node.number]:
                codes.pop(number, None)
            codes[node.output] = result
        return logits


def load_tflite(path: str | Path) -> TfliteNetwork:
    """A network from its JSON; the npz beside it has the same name.

    Raises:
        TfliteError: if a file cannot be read, or a tensor or operator is missing, unknown, or does not fit.
    """
    path = Path(path)
    try:
        return _Reader(_read_json(path), _read_arrays(path.with_suffix(".npz"))).network()
    except TfliteError as error:
        raise TfliteError(f"{path}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TfliteError(f"cannot be read: {error}") from error
    for name in ("tensors", "operators", "inputs", "outputs"):
        if not isinstance(description, dict) or not isinstance(description.get(name), list):
            raise TfliteError(f"the list {name!r} is missing")
    return description


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TfliteError(f"{path.name} cannot be read: {error}") from error


class _Reader:
    """Makes tensors, then nodes; each is checked against the ones before."""

    def __init__(self, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.description, self.arrays = description, arrays
        self.tensors: dict[int, StoredTensor] = {}
        for place, entry in enumerate(description["tensors"]):
            tensor = self._tensor(place, entry)
            if tensor.index in self.tensors:
                raise TfliteError(f"{tensor}: another tensor has this index too")
            self.tensors[tensor.index] = tensor

    def network(self) -> TfliteNetwork:
        ends = {name: self.description[name] for name in ("inputs", "outputs")}
        for name, numbers in ends.items():
            if len(numbers) != 1 or not _whole(*numbers) or numbers[0] not in self.tensors:
                raise TfliteError(f"{name}: one tensor of the list is expected, not {numbers}")
        (start,), (end,) = ends.values()
        self.known = {start}  # what is computed so far
        nodes = [self._node(number, entry) for number, entry in enumerate(self.description["operators"])]
        if end not in self.known:
            raise TfliteError(f"outputs: no operator makes {self.tensors[end]}")
        softmax = [node.inputs[0] for node in nodes if node.op == "SOFTMAX"]
        return TfliteNetwork(self.tensors, nodes, start, softmax[-1] if softmax else end)

    # --- tensors ---

    def _tensor(self, place: int, entry: Any) -> StoredTensor:
        if not isinstance(entry, dict) or not _whole(entry.get("index", place)):
            raise TfliteError(f"entry {place} of the list 'tensors' is no tensor with an index: {entry!r:.80}")
        index, name, shape = entry.get("index", place), str(entry.get("name", "")), entry.get("shape")
        here = StoredTensor(index, name, (), torch.int8)  # for the messages
        if not isinstance(shape, list) or not _whole(*shape) or min(shape, default=1) < 1:
            raise TfliteError(f"{here}: its shape {shape!r} should be positive whole numbers")
        shape = tuple(shape)
        if not isinstance(entry.get("dtype"), str) or entry["dtype"] not in _DTYPES:
            raise TfliteError(f"{here}: dtype {entry.get('dtype')!r} is not implemented; {', '.join(_DTYPES)} are")
        dtype = _DTYPES[entry["dtype"]]
        values = self._array(here, f"t{index}", dtype, shape) if entry.get("constant") else None
        axis = entry.get("per_axis")
        if axis is None:
            grid = self._grid(here, dtype, entry["scale"], entry.get("zero_point", 0)) if "scale" in entry else None
            return StoredTensor(index, name, shape, dtype, grid, values=values)
        if values is None or not (_whole(axis) and 0 <= axis < len(shape)):
            raise TfliteError(f"{here}: per_axis={axis!r} is for a constant, and one of its {len(shape)} axes")
        scales = self._array(here, f"t{index}_scale", torch.float32, (shape[axis],))
        if not bool((torch.isfinite(scales) & (scales > 0)).all()):
            wrong = int((~(torch.isfinite(scales) & (scales > 0))).nonzero()[0])
            raise TfliteError(f"{here}: scale {wrong} is {float(scales[wrong])}; scales are positive and finite")
        points = self._array(here, f"t{index}_zero_point", torch.int64, (shape[axis],))
        if bool(points.any()):
            raise TfliteError(f"{here}: a zero point per channel is {int(points[points != 0][0])}; TFLite has 0 only")
        return StoredTensor(index, name, shape, dtype, None, scales, axis, values)

    def _grid(self, here: StoredTensor, dtype: torch.dtype, scale: Any, zero_point: Any) -> Grid:
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not _whole(zero_point):
            raise TfliteError(f"{here}: scale {scale!r} and zero point {zero_point!r} should be numbers")
        if dtype == torch.int32 and zero_point:
            raise TfliteError(f"{here}: the zero point of 32-bit numbers is 0, not {zero_point}")
        try:
            return Grid(scale, zero_point, torch.int8 if dtype == torch.int32 else dtype)
        except ValueError as error:
            raise TfliteError(f"{here}: {error}") from error

    def _array(self, here: StoredTensor, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        if name not in self.arrays:
            raise TfliteError(f"{here}: the array {name} is missing")
        values = self.arrays[name]
        wanted = str(dtype).removeprefix("torch.")
        if values.shape != shape or values.dtype != np.dtype(wanted):
            raise TfliteError(
                f"{here}: the array {name} should be {wanted} {list(shape)}, not {values.dtype} {list(values.shape)}"
            )
        return torch.from_numpy(values)

    # --- operators ---

    def _node(self, number: int, entry: Any) -> Node:
        if not isinstance(entry, dict):
            raise TfliteError(f"operator {number} has no name and inputs: {entry!r:.80}")
        op, inputs, outputs = (entry.get(name) for name in ("op", "inputs", "outputs"))
        here = f"operator {number} ({op})"
        if not isinstance(op, str) or op not in _MAKERS:
            raise TfliteError(f"{here} is not implemented; {', '.join(_MAKERS)} are")
        if not all(isinstance(numbers, list) and _whole(*numbers) for numbers in (inputs, outputs)):
            raise TfliteError(f"{here}: inputs and outputs should be lists of tensor numbers")
        inputs = [n for n in inputs if n != -1]  # TFLite's mark for an input that is left out
        for n in (*inputs, *outputs):
            if n not in self.tensors:
                raise TfliteError(f"{here}: tensor {n!r} is missing")
        if len(outputs) != 1 or outputs[0] in self.known or self.tensors[outputs[0]].values is not None:
            raise TfliteError(f"{here}: one output that no operator has made yet is expected, not {outputs}")
        constants = tuple(n for n in inputs if self.tensors[n].values is not None)
        computed = tuple(n for n in inputs if n not in constants)
        for n in computed:
            if n not in self.known:
                raise TfliteError(f"{here}: {self.tensors[n]} is neither constant nor made by an operator before")
        try:
            kernel, shape = _MAKERS[op](_Operands(self, entry, computed, constants, outputs[0]))
        except (TfliteError, ValueError, TypeError) as error:
            raise TfliteError(f"{here}: {error}") from error
        output = self.tensors[outputs[0]]
        if shape != output.shape:
            raise TfliteError(f"{here}: {output} would be {list(shape)}, the file says {list(output.shape)}")
        self.known.add(outputs[0])
        return Node(number, op, computed, constants, outputs[0], dict(entry), kernel)


@dataclass(frozen=True)
class _Operands:
    """What a kernel is made of, with words for what is missing."""

    reader: _Reader
    options: dict[str, Any]
    computed: tuple[int, ...]
    constants: tuple[int, ...]
    output_number: int

    def inputs(self, count: int) -> list[StoredTensor]:
        if len(self.computed) != count:
            raise TfliteError(f"{count} computed input(s) are expected, not {len(self.computed)}")
        return [self.reader.tensors[n] for n in self.computed]

    @property
    def output(self) -> StoredTensor:
        return self.reader.tensors[self.output_number]

    def weights(self, axes: int) -> tuple[StoredTensor, StoredTensor | None]:
        """Weights of so many axes, and the bias if there is one."""
        if not 1 <= len(self.constants) <= 2:
            raise TfliteError(f"constant weights and a constant bias are expected, not {len(self.constants)} constants")
        weight, *bias = (self.reader.tensors[n] for n in self.constants)
        if len(weight.shape) != axes or weight.dtype == torch.int32:
            raise TfliteError(
                f"{weight}: the weights should be 8-bit with {axes} axes, not {weight.dtype} {weight.shape}"
            )
        return weight, bias[0] if bias else None

    def grid(self, tensor: StoredTensor) -> Grid:
        if tensor.grid is None or tensor.dtype == torch.int32:
            raise TfliteError(f"{tensor} has no scale and zero point of 8-bit codes")
        return tensor.grid

    def pair(self, *names: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """Height and width, from the first of these options that is there."""
        value = next((self.options[name] for name in names if name in self.options), default)
        if value is None:
            raise TfliteError(f"the option {names[0]!r} is missing")
        if not (
            isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value)
        ):
            raise TfliteError(f"{names[0]}={value!r} should be two positive whole numbers, height and width")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        return str(self.options.get(name, default)).upper()

    def layer(self, weight: StoredTensor, bias: StoredTensor | None, axis: int) -> tuple[list, dict]:
        """Arguments that all layers with weights take."""
        (x,) = self.inputs(1)
        given, made = self.grid(x), self.grid(self.output)
        if weight.axis not in (None, axis):
            raise TfliteError(f"{weight}: its scales should run along axis {axis}, not {weight.axis}")
        if given.dtype != weight.dtype or made.dtype != weight.dtype:
            raise TfliteError(
                f"weights of {weight.dtype}, input of {given.dtype} and output of {made.dtype} do not fit"
            )
        scale = weight.scales if weight.axis is not None else self.grid(weight).scale
        if bias is not None:
            self._check_bias(bias, given, scale, made, weight.shape[axis])
        zero_point = 0 if weight.axis is not None else self.grid(weight).zero_point
        arguments = [weight.values, scale, None if bias is None else bias.values, given, made]
        return arguments, {"weight_zero_point": zero_point, "activation": self.text("activation", "NONE")}

    def _check_bias(self, bias: StoredTensor, given: Grid, scale: Tensor | float, made: Grid, out: int) -> None:
        if bias.dtype != torch.int32 or bias.shape != (out,):
            raise TfliteError(f"{bias}: a bias should be int32 [{out}], not {bias.dtype} {list(bias.shape)}")
        stored = bias.scales if bias.axis is not None else bias.grid and bias.grid.scale
        if stored is None:
            return
        off = (torch.as_tensor(stored).double() - torch.as_tensor(scale).double() * given.scale).abs().max()
        if float(off) > 0.02 * made.scale:  # TFLite's own tolerance
            raise TfliteError(f"{bias}: its scale is not the input's times the weights'")

    def windows(self, shape: tuple[int, ...], window: Sequence[int]) -> tuple[tuple[int, int], dict[str, Any]]:
        """Output height and width of windows over an image, and the options that say so."""
        stride, padding = self.pair("stride", default=(1, 1)), self.text("padding", "VALID")
        covered = zip(shape[1:3], window, stride, strict=True)
        if padding == "SAME":
            sides = tuple(math.ceil(side / step) for side, _, step in covered)
        else:
            sides = tuple((side - cells) // step + 1 for side, cells, step in covered)
        return sides, {"stride": stride, "padding": padding}


def _whole(*values: Any) -> bool:
    return all(type(value) is int for value in values)  # not isinstance: True is no number here


def _image(tensor: StoredTensor) -> tuple[int, ...]:
    if len(tensor.shape) != 4:
        raise TfliteError(f"{tensor}: (batch, height, width, channels) is expected, not {list(tensor.shape)}")
    return tensor.shape


Made = tuple[Callable[..., Tensor], tuple[int, ...]]  # a kernel and the shape of what it makes


def _convolution(o: _Operands) -> Made:
    weight, bias = o.weights(4)
    (x,) = o.inputs(1)
    out, height, width, channels = weight.shape
    if _image(x)[3] != channels:
        raise TfliteError(f"{weight}: it takes {channels} channels, {x} has {x.shape[3]}")
    arguments, options = o.layer(weight, bias, 0)
    dilation = o.pair("dilation", default=(1, 1))
    window = [d * (side - 1) + 1 for d, side in zip(dilation, (height, width), strict=True)]
    sides, places = o.windows(x.shape, window)
    return kernels.Convolution(*arguments, **options, **places, dilation=dilation), (x.shape[0], *sides, out)


def _depthwise(o: _Operands) -> Made:
    weight, bias = o.weights(4)
    (x,) = o.inputs(1)
    one, height, width, out = weight.shape
    channels, each = _image(x)[3], o.options.get("depth_multiplier", out // x.shape[3])
    if one != 1 or out != channels * each:
        raise TfliteError(f"{weight}: {list(weight.shape)} does not give {each} channel(s) for each of {channels}")
    arguments, options = o.layer(weight, bias, 3)
    dilation = o.pair("dilation", default=(1, 1))
    window = [d * (side - 1) + 1 for d, side in zip(dilation, (height, width), strict=True)]
    sides, places = o.windows(x.shape, window)
    kernel = kernels.DepthwiseConvolution(*arguments, in_channels=channels, **options, **places, dilation=dilation)
    return kernel, (x.shape[0], *sides, out)


def _fully_connected(o: _Operands) -> Made:
    weight, bias = o.weights(2)
    (x,) = o.inputs(1)
    if math.prod(x.shape[1:]) != weight.shape[1]:
        raise TfliteError(f"{weight}: it takes {weight.shape[1]} numbers, {x} has {math.prod(x.shape[1:])}")
    arguments, options = o.layer(weight, bias, 0)
    return kernels.FullyConnected(*arguments, **options), (x.shape[0], weight.shape[0])


def _add(o: _Operands) -> Made:
    first, second = o.inputs(2)
    if first.shape != second.shape:
        raise TfliteError(f"{first} {list(first.shape)} and {second} {list(second.shape)} cannot be added")
    grids = (o.grid(tensor) for tensor in (first, second, o.output))
    return kernels.Add(*grids, o.text("activation", "NONE")), first.shape


def _average_pool(o: _Operands) -> Made:
    (x,) = o.inputs(1)
    _same_grid(o, x)
    window = o.pair("filter", "kernel", "window", "filter_size", "kernel_size", "pool_size", default=_only_window(o, x))
    sides, places = o.windows(_image(x), window)
    kernel = kernels.AveragePool(o.grid(x), window, **places, activation=o.text("activation", "NONE"))
    return kernel, (x.shape[0], *sides, x.shape[3])


def _only_window(o: _Operands, x: StoredTensor) -> tuple[int, int] | None:
    """The whole image, if one output without padding leaves no other choice."""
    if o.output.shape[1:3] == (1, 1) and o.text("padding", "VALID") == "VALID":
        return _image(x)[1:3]
    return None


def _mean(o: _Operands) -> Made:
    (x,) = o.inputs(1)
    if len(o.constants) != 1:
        raise TfliteError("the axes should be one constant")
    axes = o.reader.tensors[o.constants[0]].values.reshape(-1).tolist()
    if not all(-len(x.shape) <= axis < len(x.shape) and axis % len(x.shape) != 0 for axis in axes):
        raise TfliteError(f"its axes {axes} should be axes of {x} without the batch")
    axes = sorted({axis % len(x.shape) for axis in axes})
    kept = tuple(1 if axis in axes else side for axis, side in enumerate(x.shape))
    keep = bool(o.options.get("keep_dims", kept == o.output.shape))
    shape = kept if keep else tuple(side for axis, side in enumerate(x.shape) if axis not in axes)
    count = math.prod(x.shape[axis] for axis in axes)
    return kernels.Mean(o.grid(x), o.grid(o.output), axes, count, keep), shape


def _quantize(o: _Operands) -> Made:
    (x,) = o.inputs(1)
    return kernels.Requantize(o.grid(x), o.grid(o.output)), x.shape


def _softmax(o: _Operands) -> Made:
    (x,) = o.inputs(1)
    return kernels.Softmax(o.grid(x), o.grid(o.output), float(o.options.get("beta", 1.0))), x.shape


def _reshape(o: _Operands) -> Made:
    (x,) = o.inputs(1)
    _same_grid(o, x)
    shape = o.output.shape
    if math.prod(shape) != math.prod(x.shape) or shape[:1] != x.shape[:1]:
        raise TfliteError(f"{x} {list(x.shape)} cannot become {list(shape)}, image by image")
    return lambda codes: codes.reshape(len(codes), *shape[1:]), shape


def _same_grid(o: _Operands, x: StoredTensor) -> None:
    given, made = o.grid(x), o.grid(o.output)
    close = abs(given.scale - made.scale) <= 1e-6  # TFLite's own tolerance
    if not close or (given.zero_point, given.dtype) != (made.zero_point, made.dtype):
        raise TfliteError(f"{x} and {o.output} should have the same scale and zero point")


_MAKERS: dict[str, Callable[[_Operands], Made]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average_pool,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "MEAN": _mean,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
}
