"""Networks that others trained: their published sizes and accuracies, and files that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn

from course_utils.data import places
from course_utils.data.imagenet import imagenet
from course_utils.networks import WeightsError
from course_utils.networks.published import PUBLISHED, MobileNetV1, published

# what the README of the data has: numbers, and right at first and among five, of 250 and of 942 images
CLAIMED = {
    "mobilenet_v2_float": (3_489_097, (224, 247), (755, 888)),
    "mobilenet_v1_025": (475_544, (153, 204), (606, 819)),
    "squeezenet1.1_onnx": (1_235_496, (162, 213), (662, 848)),
}


def right(name: str, data: str, course_data) -> tuple[int, int]:
    network = published(name, course_data)
    first = among_five = 0
    with torch.no_grad():
        for images, labels in zip(*(part.split(25) for part in imagenet(data, course_data)), strict=True):
            best = network.model(network.prepare(images)).topk(5).indices == (labels + network.first_class)[:, None]
            first, among_five = first + int(best[:, 0].sum()), among_five + int(best.any(1).sum())
    return first, among_five


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_as_many_numbers_as_its_readme_says_and_can_be_traced(course_data, name):
    model = published(name, course_data).model
    assert not model.training
    numbers = [v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")]
    assert sum(v.numel() for v in numbers) == CLAIMED[name][0]
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(fx.symbolic_trace(model)(x), model(x))


@pytest.mark.parametrize("name", ["mobilenet_v1_025", pytest.param("squeezenet1.1_onnx", marks=pytest.mark.slow),
                                  pytest.param("mobilenet_v2_float", marks=pytest.mark.slow)])  # fmt: skip
def test_accuracy_on_250_crops_is_the_readmes(course_data, name):
    assert right(name, "imagenet", course_data) == CLAIMED[name][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_accuracy_on_942_photos_is_the_readmes(course_data, name):
    assert right(name, "imagenet_val", course_data) == CLAIMED[name][2]


def test_kinds_of_layers_are_counted_as_the_papers_count_them(course_data):
    def convolutions(name: str) -> tuple[int, int]:
        found = [m for m in published(name, course_data).model.modules() if isinstance(m, nn.Conv2d)]
        return sum(m.groups == 1 for m in found), sum(m.groups > 1 for m in found)

    assert convolutions("mobilenet_v2_float") == (35, 17)
    assert convolutions("mobilenet_v1_025") == (14, 13)
    assert convolutions("squeezenet1.1_onnx") == (26, 0)


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """Writes the file of a MobileNetV1 with changes, in a data folder of its own."""
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(places, "DATA", tmp_path)
    path = tmp_path / PUBLISHED["mobilenet_v1_025"][0]
    path.parent.mkdir()

    def write(change=lambda arrays: None):
        state = {k: v.numpy() for k, v in MobileNetV1().state_dict().items() if "num_batches" not in k}
        norm = {k.replace("_bn.weight", "_bn.gamma").replace("_bn.bias", "_bn.beta"): v for k, v in state.items()}
        change(norm)
        np.savez(path, **norm)
        return path

    return write


def test_arrays_go_where_they_belong(stored):
    def mark(arrays):
        arrays["conv_dw_3_bn.gamma"][:] = 5

    stored(mark)
    assert published("mobilenet_v1_025").model.conv_dw_3_bn.weight.unique().tolist() == [5]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda a: a.pop("conv_pw_2.weight"),
            "missing ['conv_pw_2.weight'], not expected []",
        ),
        (
            lambda a: a.update(extra=np.zeros(3)),
            "missing [], not expected ['extra']",
        ),
        (lambda a: a.update({"conv_preds.bias": np.zeros(999)}), "conv_preds.bias is (999,), expected (1000,)"),
        (lambda a: a["conv1.weight"].fill(np.nan), "conv1.weight holds NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_named(stored, change, told):
    path = stored(change)
    with pytest.raises(WeightsError) as caught:
        published("mobilenet_v1_025")
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_what_is_damaged_or_not_here_is_named(stored):
    path = stored()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged, not readable as npz"):
        published("mobilenet_v1_025")
    path.unlink()
    with pytest.raises(WeightsError, match=r"set COURSE_DATA to .* mobilenet_v1_025/.*npz \(looked in "):
        published("mobilenet_v1_025")
    with pytest.raises(WeightsError, match="there are mobilenet_v2_float, mobilenet_v1_025, squeezenet1"):
        published("mobilenet_v3")
