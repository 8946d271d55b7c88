"""The networks that the labs quantize, with weights trained here.

Every network takes float images as `normalize` makes them. Trained weights lie in ``data/weights`` as safetensors
(numbers only: loading them runs no code); ``data/README.md`` says how each was made.

Stands on torch and safetensors only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors
import torch
from torch import nn
from torch.nn import functional

__all__ = ["WEIGHTS", "ClassyClassifier", "WeightsError", "accuracy", "load_trained", "normalize", "trained_facts"]

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"


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


_ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {"classyclassifier": ClassyClassifier}


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Pixels as every network here expects them: uint8 0..255 of any shape to float32 -1..1.

    Raises:
        TypeError: if the pixels are not uint8; they may be normalized already.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"normalize takes uint8 pixels, got {images.dtype}")
    return images.float() / 127.5 - 1.0


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
    architecture = name.split("-")[0]
    if architecture not in _ARCHITECTURES:
        raise WeightsError(f"{path}: no architecture is called {architecture!r}, known: {', '.join(_ARCHITECTURES)}")
    model = _ARCHITECTURES[architecture]()
    expected = {key: (tuple(value.shape), value.dtype) for key, value in model.state_dict().items()}
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or extra:
        raise WeightsError(f"{path}: wrong tensors for {architecture}: missing {missing}, not expected {extra}")
    for key, (shape, dtype) in expected.items():
        found = weights[key]
        if (tuple(found.shape), found.dtype) != (shape, dtype):
            raise WeightsError(f"{path}: {key} is {tuple(found.shape)} {found.dtype}, expected {shape} {dtype}")
        if not found.isfinite().all():
            raise WeightsError(f"{path}: {key} holds NaN or infinity")
    model.load_state_dict(weights)
    return model.eval()


def trained_facts(name: str, folder: Path = WEIGHTS) -> dict[str, str]:
    """What the training script wrote about its result: ``dataset``, ``accuracy``, ``seed``, ``epochs``, ``script``.

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
