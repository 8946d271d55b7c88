"""Networks and data by name, and how published networks run in the profiler."""

from __future__ import annotations

import pytest
import torch

from course_utils.data import DataError, places
from course_utils.networks import WeightsError
from course_utils.networks.published import PUBLISHED
from course_utils.profiler import Choice, Configuration, Options, ProfilerError, run
from course_utils.profiler.subjects import data_for, networks, subject


def test_all_networks_are_named_with_their_data():
    names = networks()
    assert {"classyclassifier", "mobilenetv2", *PUBLISHED} <= set(names)
    assert "scenes" not in names  # it finds boxes
    assert data_for("classyclassifier") == ("cifar10", "shapes")
    assert data_for("squeezenet1.1_onnx") == ("imagenet", "imagenet_val")
    assert data_for("scenes") == data_for("resnet") == ()


def test_a_network_of_the_course_runs_on_the_data_that_are_asked_for(course_data, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(course_data))
    assert "CIFAR-10" in subject("classyclassifier").note
    on = subject("classyclassifier", "shapes")
    assert "shapes" in on.note
    assert on.images.shape == (10_000, 3, 32, 32)
    assert on.prepare(on.images[:2]).dtype == torch.float32
    assert len(on.classes) == 10


def test_what_is_not_known_or_not_here_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(places, "DATA", tmp_path)
    with pytest.raises(ProfilerError, match=r"network is one of classyclassifier, .*, not 'resnet'"):
        subject("resnet")
    with pytest.raises(ProfilerError, match="data for classyclassifier is one of cifar10, shapes, not 'imagenet'"):
        subject("classyclassifier", "imagenet")
    with pytest.raises(DataError, match="CIFAR-10 is not here"):
        subject("classyclassifier", "cifar10")
    with pytest.raises(WeightsError, match="'mobilenet_v1_025' is not here"):
        subject("mobilenet_v1_025")


@pytest.mark.parametrize(
    "network",
    [name if name == "mobilenet_v1_025" else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED],
)
def test_a_published_network_is_profiled_on_imagenet(course_data, monkeypatch, network):
    """Each kind of layer that it has, at 8 bits, on few images: the output is near the reference's."""
    monkeypatch.setenv("COURSE_DATA", str(course_data))
    choices = [Choice(kind) for kind in ("conv", "depthwise", "add", "pool", "linear")]
    configuration = Configuration(network, choices, data="imagenet", images=4, batch_size=4, samples=4)
    monkeypatch.setattr("course_utils.profiler.subjects.imagenet", few(course_data))
    made = run(configuration)
    assert set(made.recreation.left.values()) <= {"the network has no layer of this kind"}
    kinds = {"mobilenet_v2_float": 35 + 17 + 10 + 1 + 1, "mobilenet_v1_025": 14 + 13 + 1 + 1, "squeezenet1.1_onnx": 27}
    assert len(made.recreation.replaced) == kinds[network]
    last = made.layers()[-1]
    assert last.ratio_of_sums > 10
    expected = "TFLite" if network == "mobilenet_v2_float" else "fully quantized"
    assert list(made.profile.outcomes) == ["reference", "recreated", expected]
    finer = run(Configuration(**vars(configuration) | {"choices": [Choice("conv", options=Options(num_bits=16))]}))
    # by how much is not known: the ranges come from other images, and what those of the test exceed them by is cut
    assert finer.layers()[-1].ratio_of_sums > last.ratio_of_sums


def few(course_data):
    """The first images of a set, without decoding all."""
    from course_utils.data.imagenet import imagenet

    images, labels = imagenet("imagenet", course_data)
    parts = {"imagenet": slice(0, 8), "imagenet_val": slice(8, 16)}
    return lambda name: (images[parts[name]], labels[parts[name]])
