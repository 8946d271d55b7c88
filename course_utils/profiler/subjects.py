"""The networks and data that a configuration can name.

Networks of the course run on the data that they were trained on; published ones for ImageNet on one of its two sets
of crops, and they are calibrated with the other one, so that no image is seen twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_utils.data import classification_data
from course_utils.data.imagenet import SETS, find, imagenet
from course_utils.data.places import places
from course_utils.networks.models import WEIGHTS, load_trained, normalize
from course_utils.networks.published import PUBLISHED, published
from course_utils.networks.tflite import TfliteNetwork, load_tflite
from course_utils.profiler.errors import ProfilerError

__all__ = ["Subject", "data_for", "networks", "subject"]

_COURSE = ("cifar10", "shapes")
_TFLITE = "mobilenet_v2/tf2_mobilenet_v2_1.0_224_ptq.json"  # made of mobilenet_v2_float


@dataclass(frozen=True)
class Subject:
    """
    Attributes:
        model: in eval mode.
        images: uint8 (N, 3, height, width), to test it on.
        labels: int64 (N,), numbers of the model's logits.
        calibration: uint8 (n, 3, height, width), from which samples are drawn; none of them is in ``images``.
        calibration_labels: int64 (n,), as ``labels``.
        prepare: makes of such images what the model takes.
        note: one line, which data this is.
        classes: a name for each logit; empty if it has none.
        fully_quantized: name -> the same model as others quantized it: maps what the model takes to logits.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    calibration: Tensor
    calibration_labels: Tensor
    prepare: Callable[[Tensor], Tensor]
    note: str
    classes: tuple[str, ...] = ()
    fully_quantized: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)


def networks() -> tuple[str, ...]:
    """The names of all networks."""
    trained = {name for path in WEIGHTS.glob("*.safetensors") for name in [path.stem.rpartition("-")[0]] if name}
    return (*sorted(name for name in trained if data_for(name)), *PUBLISHED)


def data_for(network: str) -> tuple[str, ...]:
    """The names of the data that a network can run on; none if there is no such network."""
    if network in PUBLISHED:
        return tuple(SETS)
    return tuple(data for data in _COURSE if (WEIGHTS / f"{network}-{data}.safetensors").is_file())


def subject(network: str, data: str | None = None) -> Subject:
    """
    Args:
        network: one of `networks`.
        data: one of `data_for` it; by default CIFAR-10 if it is here, else the generated shapes; or ``"imagenet_val"``.

    Raises:
        ProfilerError: if there is no such network, or it does not run on these data.
        WeightsError, DataError: if its file, or the data, are not here or damaged.
    """
    if not (known := data_for(network)):
        raise ProfilerError(f"network is one of {', '.join(networks())}, not {network!r}")
    if data is not None and data not in known:
        raise ProfilerError(f"data for {network} is one of {', '.join(known)}, not {data!r}")
    if network in PUBLISHED:
        return _published(network, data or "imagenet_val")
    test = classification_data(train=False, name=data)
    training = classification_data(train=True, name=data)
    model = load_trained(f"{network}-{test.name}")
    images = (test.images, test.labels, training.images, training.labels)
    return Subject(model, *images, normalize, test.note, tuple(test.classes))


def _published(network: str, data: str) -> Subject:
    made = published(network)
    (other,) = SETS.keys() - {data}
    images, labels = imagenet(data)
    calibration, calibration_labels = imagenet(other)
    note = f"Data: {data}, {len(images):,} crops of ImageNet from {find(data)}; calibration with {other}"
    beside = {}
    path = next((place / _TFLITE for place in places() if (place / _TFLITE).is_file()), None)
    if network == "mobilenet_v2_float" and path is not None:
        beside["TFLite"] = _logits(load_tflite(path))
    pairs = (images, labels + made.first_class, calibration, calibration_labels + made.first_class)
    return Subject(made.model, *pairs, made.prepare, note, fully_quantized=beside)


def _logits(network: TfliteNetwork) -> Callable[[Tensor], Tensor]:
    """Of what `normalize` makes, pixels -1..1: the network takes pixels 0..255, the channels last."""

    def call(x: Tensor) -> Tensor:
        pixels = ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return network.output.real(network(pixels))

    return call
