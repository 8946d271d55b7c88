"""Classifiers for ImageNet as others trained them, in float, from a local folder; nothing is downloaded here.

Each is one npz with the arrays ``NAME.weight``, ``NAME.bias`` and so on, float32, convolutions as torch has them
(out, in, height, width). The modules here are called as the arrays are. TensorFlow's padding "SAME" puts, at stride 2
and even size, no row before the image and one behind it: there a module pads and the convolution does not.

- ``mobilenet_v2_float``: Google's MobileNetV2 1.0, batch normalization folded. M. Sandler et al., arXiv:1801.04381.
- ``mobilenet_v1_025``: Keras' MobileNetV1, a quarter of the width. A. Howard et al., arXiv:1704.04861.
- ``squeezenet1.1_onnx``: SqueezeNet 1.1 of the ONNX model zoo. F. Iandola et al., arXiv:1602.07360.

`SqueezeNet10` has no such file: `course_utils.deep_compression.squeezenet` reads it as its authors compressed it.

Stands on NumPy and torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.data.places import places, remedy
from course_utils.networks.models import WeightsError, normalize

__all__ = ["PUBLISHED", "Published", "SqueezeNet10", "bgr_minus_mean", "fill", "find_file", "published"]


@dataclass(frozen=True)
class Published:
    """
    Attributes:
        model: maps what ``prepare`` makes to logits (n, classes); in eval mode, torch.fx can trace it.
        prepare: uint8 images, 0..255, to what the model takes; of ImageNet, (n, 3, 224, 224) in RGB.
        first_class: the logit of class 0.
    """

    model: nn.Module
    prepare: Callable[[Tensor], Tensor]
    first_class: int = 0


def published(name: str, root: str | Path | None = None) -> Published:
    """
    Args:
        name: one of `PUBLISHED`.
        root: folder to look in first, before those of `course_utils.data.places`.

    Raises:
        WeightsError: if there is no such network, its file is not here, or is damaged.
    """
    if name not in PUBLISHED:
        raise WeightsError(f"no published network is called {name!r}; there are {', '.join(PUBLISHED)}")
    file, make, prepare, first_class = PUBLISHED[name]
    model = make()
    fill(model, find_file(file, f"The network {name!r}", root))
    return Published(model, prepare, first_class)


def find_file(file: str, what: str, root: str | Path | None = None) -> Path:
    """
    Args:
        file: relative to a data folder.
        what: how a message names it.
        root: folder to look in first, before those of `course_utils.data.places`.

    Raises:
        WeightsError: if it is nowhere.
    """
    path = next((place / file for place in places(root) if (place / file).is_file()), None)
    if path is None:
        raise WeightsError(f"{what} is not here: {remedy([file], root)}")
    return path


def fill(model: nn.Module, path: Path) -> None:
    """Puts the arrays of an npz in a model's parameters and buffers of the same names; then it is in eval mode.

    Raises:
        WeightsError: if the file is damaged, its arrays are not the model's, or one holds NaN or infinity.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {_torch_name(key): torch.from_numpy(stored[key]) for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: damaged, not readable as npz: {error}") from error
    # torch counts batches beside a batch norm's statistics; nobody stores that for a network that is only run
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing or extra:
        raise WeightsError(f"{path}: wrong arrays for {type(model).__name__}: missing {missing}, not expected {extra}")
    for key, shape in expected.items():
        if tuple(arrays[key].shape) != shape:
            raise WeightsError(f"{path}: {key} is {tuple(arrays[key].shape)}, expected {shape}")
        if not arrays[key].isfinite().all():
            raise WeightsError(f"{path}: {key} holds NaN or infinity")
    model.load_state_dict(arrays, strict=False)
    model.eval()


def _torch_name(key: str) -> str:
    return key.replace(".gamma", ".weight").replace(".beta", ".bias")


def _convolution(in_: int, out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """With padding "SAME", but for stride 2, where `BEHIND` pads."""
    return nn.Conv2d(in_, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=bias)


BEHIND = (0, 1, 0, 1)  # left, right, top, bottom


class InvertedResidual(nn.Module):
    """A block of MobileNetV2: (n, in, h, w) to (n, out, h / stride, w / stride)."""

    def __init__(self, in_: int, out: int, stride: int, expansion: int):
        super().__init__()
        wide = in_ * expansion
        self.expand = _convolution(in_, wide, 1) if expansion > 1 else None
        self.pad = nn.ZeroPad2d(BEHIND) if stride == 2 else None
        self.depthwise = _convolution(wide, wide, 3, stride, wide)
        self.project = _convolution(wide, out, 1)
        self.adds = stride == 1 and in_ == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y = y if self.pad is None else self.pad(y)
        y = self.project(nn.functional.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class MobileNetV2Folded(nn.Module):
    """MobileNetV2 1.0 without batch norms: float (n, 3, h, w) to 1001 logits, of which the first is "none of them"."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d(BEHIND)
        self.Conv = _convolution(3, 32, 3, 2)
        blocks, channels = [], 32
        stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
        for expansion, out, count, stride in (*stages, (6, 320, 1, 1)):
            for number in range(count):
                blocks.append(InvertedResidual(channels, out, stride if number == 0 else 1, expansion))
                channels = out
        self.blocks = [f"expanded_conv_{number}" if number else "expanded_conv" for number in range(len(blocks))]
        for name, block in zip(self.blocks, blocks, strict=True):
            self.add_module(name, block)
        self.Conv_1 = _convolution(channels, 1280, 1)
        self.Logits = nn.Linear(1280, 1001)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.Conv(self.pad(x)))
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.Logits(nn.functional.relu6(self.Conv_1(x)).mean((2, 3)))


class MobileNetV1(nn.Module):
    """MobileNetV1 of a quarter of the width: float (n, 3, h, w) to 1000 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d(BEHIND)
        self.conv1, self.conv1_bn = _convolution(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8, eps=1e-3)
        widths = (8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
        self.strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
        for i, (in_, out, stride) in enumerate(zip(widths, widths[1:], self.strides, strict=False), start=1):
            self.add_module(f"conv_dw_{i}", _convolution(in_, in_, 3, stride, in_, bias=False))
            self.add_module(f"conv_pw_{i}", _convolution(in_, out, 1, bias=False))
            for kind, channels in (("dw", in_), ("pw", out)):
                self.add_module(f"conv_{kind}_{i}_bn", nn.BatchNorm2d(channels, eps=1e-3))
        self.conv_preds = nn.Linear(256, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.conv1_bn(self.conv1(self.pad(x))))
        for i, stride in enumerate(self.strides, start=1):
            x = self.pad(x) if stride == 2 else x
            for kind in ("dw", "pw"):
                name = f"conv_{kind}_{i}"
                x = nn.functional.relu6(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))
        return self.conv_preds(x.mean((2, 3)))


class Fire(nn.Module):
    """A block of SqueezeNet: (n, in, h, w) to (n, 2 * expanded, h, w)."""

    def __init__(self, in_: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze1x1 = _convolution(in_, squeezed, 1)
        self.expand1x1 = _convolution(squeezed, expanded, 1)
        self.expand3x3 = _convolution(squeezed, expanded, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze1x1(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1: float (n, 3, h, w) to 1000 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64, 3, 2)
        self.pool = nn.MaxPool2d(3, 2)
        self.fire2, self.fire3 = Fire(64, 16, 64), Fire(128, 16, 64)
        self.fire4, self.fire5 = Fire(128, 32, 128), Fire(256, 32, 128)
        self.fire6, self.fire7 = Fire(256, 48, 192), Fire(384, 48, 192)
        self.fire8, self.fire9 = Fire(384, 64, 256), Fire(512, 64, 256)
        self.conv10 = _convolution(512, 1000, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv1(x).relu())
        x = self.pool(self.fire3(self.fire2(x)))
        x = self.pool(self.fire5(self.fire4(x)))
        x = self.fire9(self.fire8(self.fire7(self.fire6(x))))
        return self.conv10(x).relu().mean((2, 3))


class SqueezeNet10(nn.Module):
    """SqueezeNet 1.0 with Caffe's pooling: float (n, 3, h, w), as `bgr_minus_mean` makes them, to 1000 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 96, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.fire2, self.fire3, self.fire4 = Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128)
        self.fire5, self.fire6 = Fire(256, 32, 128), Fire(256, 48, 192)
        self.fire7, self.fire8 = Fire(384, 48, 192), Fire(384, 64, 256)
        self.fire9 = Fire(512, 64, 256)
        self.conv10 = nn.Conv2d(512, 1000, 1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv1(x).relu())
        x = self.pool(self.fire4(self.fire3(self.fire2(x))))
        x = self.pool(self.fire8(self.fire7(self.fire6(self.fire5(x)))))
        return self.conv10(self.fire9(x)).relu().mean((2, 3))


def bgr_minus_mean(images: Tensor) -> Tensor:
    """As Caffe's networks for ImageNet take them: uint8 RGB (n, 3, h, w) to float BGR less the mean colour."""
    return images.flip(1).float() - torch.tensor((104.0, 117.0, 123.0)).view(3, 1, 1)


def _standardized(images: Tensor) -> Tensor:
    """ImageNet's mean and standard deviation, as torchvision has them."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images.float() / 255 - mean) / std


PUBLISHED: dict[str, tuple[str, Callable[[], nn.Module], Callable[[Tensor], Tensor], int]] = {
    "mobilenet_v2_float": (
        "mobilenet_v2_float/mobilenet_v2_1.0_224_float.npz", MobileNetV2Folded, normalize, 1,
    ),
    "mobilenet_v1_025": ("mobilenet_v1_025/mobilenet_v1_0.25_224_float.npz", MobileNetV1, normalize, 0),
    "squeezenet1.1_onnx": ("squeezenet/squeezenet1.1_onnx.npz", SqueezeNet, _standardized, 0),
}  # fmt: skip
"""Name -> its file, relative to a data folder; how it is made; what its images go through; the logit of class 0."""
