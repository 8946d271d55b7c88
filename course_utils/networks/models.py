"""The networks that the labs quantize, with weights trained here.

A classifier takes float images as `normalize` makes them; a detector, RGB in [0, 1]. Trained weights lie in
``data/weights`` as safetensors (numbers only: loading them runs no code); ``data/README.md`` says how each was made.

Stands on torch, torchvision, safetensors and `darknet`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors
import torch
from torch import nn
from torch.nn import functional

from course_utils.data import generated_scenes
from course_utils.data.places import places, remedy
from course_utils.networks.darknet import Darknet, DarknetError, Section, load_darknet

__all__ = [
    "WEIGHTS",
    "ClassyClassifier",
    "SimpleNet",
    "TinyYOLOv3",
    "WeightsError",
    "accuracy",
    "architecture",
    "detector",
    "load_darknet",
    "load_trained",
    "mobilenet_v2",
    "normalize",
    "trained_facts",
]

_PACKAGE = Path(__file__).resolve().parents[1]
WEIGHTS = _PACKAGE / "weights" if (_PACKAGE / "weights").is_dir() else _PACKAGE.parent / "data" / "weights"
"""Where trained weights lie: in the package where it is installed from a wheel, else in the course's folder."""


class WeightsError(ValueError):
    """A file of weights that is missing or not what it should be; the message names the file and what is wrong."""


class ClassyClassifier(nn.Module):
    """The classifier of the Purdue assignment on static quantization, layer names included; 128,262 parameters.

    It maps float images (B, 3, 32, 32) to ten logits (B, 10). The flattened features are (B, 32 * 5 * 5 = 800).
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer1_conv = nn.Conv2d(3, 16, kernel_size=5)  # (B, 16, 28, 28)
        self.layer2_pool = nn.MaxPool2d(kernel_size=2, stride=2)  # (B, 16, 14, 14)
        self.layer3_conv = nn.Conv2d(16, 32, kernel_size=5)  # (B, 32, 10, 10)
        self.layer4_pool = nn.MaxPool2d(kernel_size=2, stride=2)  # (B, 32, 5, 5)
        self.layer5_flat = nn.Flatten()
        self.layer6_fc = nn.Linear(800, 128)
        self.layer7_fc = nn.Linear(128, 84)
        self.layer8_fc = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.layer1_conv(x))
        x = self.layer2_pool(x)
        x = functional.relu(self.layer3_conv(x))
        x = self.layer4_pool(x)
        x = self.layer5_flat(x)
        x = functional.relu(self.layer6_fc(x))
        x = functional.relu(self.layer7_fc(x))
        return self.layer8_fc(x)


class SimpleNet(nn.Module):
    """SimpleNet of table 3.1 of the tuwien report, layer numbers included; 657,220 parameters.

    It maps float images (B, 3, 32, 32) to ten logits (B, 10). The table lists no activations: here a ReLU stands behind
    each batch norm and behind the first fully connected layer. Its row of layer 3 gives 14 x 14 as the output of a
    5 x 5 convolution of 14 x 14; it is 10 x 10, as its next row says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer0_conv = nn.Conv2d(3, 20, kernel_size=5)  # (B, 20, 28, 28)
        self.layer1_norm = nn.BatchNorm2d(20)
        self.layer2_pool = nn.MaxPool2d(kernel_size=2, stride=2)  # (B, 20, 14, 14)
        self.layer3_conv = nn.Conv2d(20, 50, kernel_size=5)  # (B, 50, 10, 10)
        self.layer4_norm = nn.BatchNorm2d(50)
        self.layer5_pool = nn.MaxPool2d(kernel_size=2, stride=2)  # (B, 50, 5, 5)
        self.layer6_flat = nn.Flatten()
        self.layer7_fc = nn.Linear(1250, 500)
        self.layer8_fc = nn.Linear(500, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.layer1_norm(self.layer0_conv(x)))
        x = self.layer2_pool(x)
        x = functional.relu(self.layer4_norm(self.layer3_conv(x)))
        x = self.layer5_pool(x)
        x = self.layer6_flat(x)
        x = functional.relu(self.layer7_fc(x))
        return self.layer8_fc(x)


def mobilenet_v2() -> nn.Module:
    """torchvision's MobileNetV2 for images of 32 x 32: float (B, 3, 32, 32) to ten logits (B, 10).

    It has the 35 convolutions, 17 depthwise ones and one linear layer of the network for ImageNet, half of the channels
    (but for the last convolution's 1280), ReLU6, and batch normalization apart from the convolutions; only the second
    stage keeps its height and width, so that the map before the pooling is 2 x 2 and not 1 x 1. 700,490 parameters.
    """
    from torchvision.models import MobileNetV2  # here, as it takes as long to import as torch

    # expansion, channels, blocks and stride of every stage, as in table 2 of Sandler et al., arXiv:1801.04381
    stages = [
        [1, 16, 1, 1],
        [6, 24, 2, 1],  # there: stride 2
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    return MobileNetV2(num_classes=10, width_mult=0.5, inverted_residual_setting=stages)


Anchors = tuple[tuple[float, float], ...]

COCO_ANCHORS: Anchors = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
"""Width and height in pixels of an input of 416 x 416; Redmon found them by clustering COCO's boxes."""


class TinyYOLOv3(Darknet):
    """Tiny YOLOv3 as table 3.2 of the tuwien report lists it, from section 0 to 23; with 80 classes 8,858,734 numbers.

    `Darknet` says how it is called and what its layers are called. The table leaves out the sizes of the kernels; they
    are those of Redmon's yolov3-tiny.cfg. Where the table says that layers 18, 21 and 22 take and give 13 x 13 (and 22
    gives 256 channels), it is layers 21 and 22 that work on 26 x 26, and 255 channels.

    Args:
        classes: how many.
        width: the number of filters of every convolution but the heads is multiplied by it (rounded, at least 1).
        size: height and width of the input in pixels, a multiple of 32.
        anchors: six (width, height) in pixels, the smallest first; by default COCO's, scaled to ``size``.

    Raises:
        DarknetError: if one of these is out of range.
    """

    def __init__(self, classes: int, width: float = 1.0, size: int = 416, anchors: Anchors | None = None) -> None:
        if size % 32:
            raise DarknetError(f"TinyYOLOv3: size={size} should be a multiple of 32, the step of the coarser head")
        anchors = anchors or tuple((w * size / 416, h * size / 416) for w, h in COCO_ANCHORS)

        def convolution(filters: int, kernel: int) -> tuple[str, dict]:
            filters = max(1, round(filters * width))
            options = {"filters": filters, "size": kernel, "pad": 1, "batch_normalize": 1, "activation": "leaky"}
            return "convolutional", options

        def head(*mask: int) -> list[tuple[str, dict]]:
            numbers = {"mask": mask, "anchors": sum(anchors, ()), "num": len(anchors), "classes": classes}
            convolution = {"filters": len(mask) * (5 + classes), "size": 1, "activation": "linear"}
            return [
                ("convolutional", convolution),
                ("yolo", {name: ",".join(map(str, n)) if isinstance(n, tuple) else n for name, n in numbers.items()}),
            ]

        sections = [("net", {"channels": 3, "height": size, "width": size})]
        for filters in (16, 32, 64, 128, 256, 512):  # 0 to 11
            sections += [convolution(filters, 3), ("maxpool", {"size": 2, "stride": 1 if filters == 512 else 2})]
        sections += [convolution(1024, 3), convolution(256, 1), convolution(512, 3), *head(3, 4, 5)]  # 12 to 16
        sections += [("route", {"layers": "13"}), convolution(128, 1), ("upsample", {"stride": 2})]  # 17 to 19
        sections += [("route", {"layers": "19,8"}), convolution(256, 3), *head(0, 1, 2)]  # 20 to 23
        super().__init__(
            [
                Section(kind, {name: str(value) for name, value in options.items()}, number)
                for number, (kind, options) in enumerate(sections, start=-1)
            ]
        )


def _scenes() -> TinyYOLOv3:
    """For `course_utils.data.scenes`. The anchors are near the k-means centres of the training boxes' sizes."""
    anchors = ((16, 16), (20, 20), (26, 26), (34, 34), (44, 44), (56, 56))
    return TinyYOLOv3(len(generated_scenes.CLASSES), 0.3125, generated_scenes.SIZE, anchors)


_ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "classyclassifier": ClassyClassifier,
    "simplenet": SimpleNet,
    "mobilenetv2": mobilenet_v2,
    "scenes": _scenes,
}


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Pixels as every network here expects them: uint8 0..255 of any shape to float32 -1..1.

    Raises:
        TypeError: if the pixels are not uint8; they may be normalized already.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"normalize takes uint8 pixels, got {images.dtype}")
    return images.float() / 127.5 - 1.0


def architecture(name: str) -> nn.Module:
    """The network that weights of this name belong to, untrained; the name is as for `load_trained`.

    Raises:
        WeightsError: if there is no such network.
    """
    kind = name.split("-")[0]
    if kind not in _ARCHITECTURES:
        raise WeightsError(f"no architecture is called {kind!r}, known: {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[kind]()


def load_trained(name: str, folder: Path = WEIGHTS) -> nn.Module:
    """A trained network, in eval mode.

    Args:
        name: architecture and data set, such as ``"classyclassifier-cifar10"`` or ``"classyclassifier-shapes"``.
        folder: where ``<name>.safetensors`` lies.

    Raises:
        WeightsError: if there are no such weights, or the file is damaged, does not fit the architecture, or holds
            NaN or infinity.
    """
    weights, _ = _read(name, folder)
    path = folder / f"{name}.safetensors"
    try:
        model = architecture(name)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    expected = {key: (tuple(value.shape), value.dtype) for key, value in model.state_dict().items()}
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or extra:
        raise WeightsError(f"{path}: wrong tensors for {name}: missing {missing}, not expected {extra}")
    for key, (shape, dtype) in expected.items():
        found = weights[key]
        if (tuple(found.shape), found.dtype) != (shape, dtype):
            raise WeightsError(f"{path}: {key} is {tuple(found.shape)} {found.dtype}, expected {shape} {dtype}")
        if not found.isfinite().all():
            raise WeightsError(f"{path}: {key} holds NaN or infinity")
    model.load_state_dict(weights)
    return model.eval()


_DARKNET = {"coco": "yolo-fastest-1.1", "coco-train": "yolo-fastest-1.1", "retail": "yolov3-tiny-aix2022"}


def detector(dataset: str, root: str | Path | None = None) -> Darknet:
    """The trained detector for a set of images, in eval mode.

    Args:
        dataset: the name of a `course_utils.data.DetectionSet`.
        root: folder to look in first for networks of others, before those of `places`.

    Raises:
        WeightsError: if there is no detector for it, or its files are not here.
        DarknetError: if its files are damaged.
    """
    if dataset not in _DARKNET:
        return load_trained(dataset)
    files = [f"darknet/{_DARKNET[dataset]}.{ending}" for ending in ("cfg", "weights")]
    for place in places(root):
        if all((place / file).is_file() for file in files):
            return load_darknet(*(place / file for file in files))
    raise WeightsError(f"The detector for {dataset!r} is not here: {remedy(files, root)}")


def trained_facts(name: str, folder: Path = WEIGHTS) -> dict[str, str]:
    """What the training script wrote about its result: ``dataset``, ``accuracy`` or ``map50``, ``seed``,
    ``epochs``, ``script``.

    Raises:
        WeightsError: if the file is missing or damaged.
    """
    return _read(name, folder)[1]


def accuracy(
    model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, labels: torch.Tensor, batch_size: int = 500
) -> float:
    """Share of images whose largest logit is the label's.

    Args:
        model: anything that maps float images (B, C, H, W) to logits (B, classes).
        images: float, as `normalize` makes them, (N, C, H, W), N > 0.
        labels: integers (N,).
        batch_size: images a call.

    Raises:
        TypeError: if the images are integers, that is not normalized.
        ValueError: if there is no image, or not one label for each.
    """
    if not images.is_floating_point():
        raise TypeError(f"accuracy takes float images, got {images.dtype}: call normalize(images) first")
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"accuracy needs one label an image, got {len(images)} images and {len(labels)} labels")
    with torch.no_grad():
        batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        correct = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in batches)
    return correct / len(images)


def _read(name: str, folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.safetensors"))
        raise WeightsError(f"{path}: no such weights; there are: {', '.join(there) or 'none'}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged, not readable as safetensors: {error}") from error
