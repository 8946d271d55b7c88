"""Networks and their weights: the document's architecture, damaged files, and the figures that the weights claim."""

from __future__ import annotations

import functools

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from course_utils import data
from course_utils.data import cifar
from course_utils.networks.models import (
    WEIGHTS,
    ClassyClassifier,
    SimpleNet,
    WeightsError,
    accuracy,
    load_trained,
    mobilenet_v2,
    normalize,
    trained_facts,
)

FEW_BITS = ["classyclassifier-cifar10", "classyclassifier-shapes"]
"""Those of which data/README.md tells the accuracy with fewer bits, too."""

TRAINED = [*FEW_BITS, *(f"{n}-{data}" for n in ("mobilenetv2", "simplenet") for data in ("cifar10", "shapes"))]
DATA_OF = {name: name.split("-")[1] for name in TRAINED}


@functools.cache
def test_set(dataset: str) -> tuple[torch.Tensor, torch.Tensor]:
    if dataset == "cifar10":
        if cifar.find() is None:
            pytest.skip("CIFAR-10 is not here: set COURSE_DATA to the folder that holds it")
        images, labels = data.cifar10(train=False)
    else:
        images, labels = data.shapes(train=False)
    return normalize(images), labels


test_set.__test__ = False


def test_classyclassifier_is_the_documents():
    model = ClassyClassifier()
    assert [name for name, _ in model.named_children()] == [
        "layer1_conv",
        "layer2_pool",
        "layer3_conv",
        "layer4_pool",
        "layer5_flat",
        "layer6_fc",
        "layer7_fc",
        "layer8_fc",
    ]
    assert sum(p.numel() for p in model.parameters()) == 128_262
    shapes = {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape)}))
    assert model(torch.zeros(7, 3, 32, 32)).shape == (7, 10)
    assert list(shapes.values()) == [
        (7, 16, 28, 28),
        (7, 16, 14, 14),
        (7, 32, 10, 10),
        (7, 32, 5, 5),
        (7, 800),
        (7, 128),
        (7, 84),
        (7, 10),
    ]


def test_forward_is_relu_between_layers():
    torch.manual_seed(0)
    m, x = ClassyClassifier(), torch.randn(4, 3, 32, 32)
    features = nn.Sequential(m.layer1_conv, nn.ReLU(), m.layer2_pool, m.layer3_conv, nn.ReLU(), m.layer4_pool)
    head = nn.Sequential(nn.Flatten(), m.layer6_fc, nn.ReLU(), m.layer7_fc, nn.ReLU(), m.layer8_fc)
    assert torch.equal(m(x), head(features(x)))


def test_simplenet_is_table_3_1():
    model = SimpleNet()
    # 20 (3 * 25 + 1) + 2 * 20, 50 (20 * 25 + 1) + 2 * 50, 500 (1250 + 1), 10 (500 + 1)
    assert sum(p.numel() for p in model.parameters()) == 1520 + 40 + 25_050 + 100 + 625_500 + 5010
    shapes = []
    for layer in model.children():
        layer.register_forward_hook(lambda _, inputs, output: shapes.append((*inputs[0].shape[1:], *output.shape[1:])))
    assert model(torch.zeros(7, 3, 32, 32)).shape == (7, 10)
    assert shapes == [  # the table's inputs and outputs; its row 3 has 14 14 for 10 10, its row 5 14 10 for 10 10
        (3, 32, 32, 20, 28, 28),
        (20, 28, 28, 20, 28, 28),
        (20, 28, 28, 20, 14, 14),
        (20, 14, 14, 50, 10, 10),
        (50, 10, 10, 50, 10, 10),
        (50, 10, 10, 50, 5, 5),
        (50, 5, 5, 1250),
        (1250, 500),
        (500, 10),
    ]


def test_simplenet_has_a_relu_where_its_text_says():
    torch.manual_seed(0)
    m, x = SimpleNet(), torch.randn(4, 3, 32, 32)
    features = nn.Sequential(m.layer0_conv, m.layer1_norm, nn.ReLU(), m.layer2_pool)
    features.extend([m.layer3_conv, m.layer4_norm, nn.ReLU(), m.layer5_pool])
    head = nn.Sequential(nn.Flatten(), m.layer7_fc, nn.ReLU(), m.layer8_fc)
    with torch.no_grad():
        for norm in (m.layer1_norm, m.layer4_norm):  # statistics that are not 0 and 1
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        assert torch.equal(m.eval()(x), head(features.eval()(x)))


def test_mobilenet_v2_is_counted_as_the_thesis_counts_it():
    model = mobilenet_v2()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    depthwise = [m for m in convolutions if m.groups > 1]
    assert (len(convolutions) - len(depthwise), len(depthwise)) == (35, 17)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 52
    assert sum(p.numel() for p in model.parameters()) == 700_490
    sizes = []
    for layer in model.features:
        layer.register_forward_hook(lambda _, __, output: sizes.append(output.shape[-1]))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sizes == [16] * 4 + [8] * 3 + [4] * 7 + [2] * 5


def test_normalize_maps_pixels_to_minus_one_to_one():
    x = normalize(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert x.dtype == torch.float32
    # 51 / 127.5 - 1 = -0.6; the division and the subtraction each round once, by half a unit in the last place
    assert x.tolist() == pytest.approx([-1.0, -0.6, 1.0], abs=2**-23)
    with pytest.raises(TypeError, match="uint8"):
        normalize(x)


def test_accuracy_counts():
    def model(x: torch.Tensor) -> torch.Tensor:  # calls every image by its first pixel
        return nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).float()

    images = torch.zeros(7, 3, 32, 32)
    images[:, 0, 0, 0] = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    labels = torch.tensor([0, 1, 2, 3, 9, 9, 9])
    for batch_size in (1, 3, 7, 100):  # a last batch that is smaller counts by its images
        assert accuracy(model, images, labels, batch_size) == 4 / 7


def test_accuracy_refuses_what_it_cannot_count():
    model, images, labels = ClassyClassifier(), torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(TypeError, match="normalize"):
        accuracy(model, images.to(torch.uint8), labels)
    with pytest.raises(ValueError, match="2 images and 1 labels"):
        accuracy(model, images, labels[:1])
    with pytest.raises(ValueError, match="0 images"):
        accuracy(model, images[:0], labels[:0])


@pytest.mark.parametrize("name", TRAINED)
def test_trained_weights_reach_the_accuracy_they_claim(name):
    facts = trained_facts(name)
    assert facts["dataset"] == DATA_OF[name]
    model = load_trained(name)
    assert not model.training
    images, labels = test_set(DATA_OF[name])
    assert len(images) == int(facts["test_images"])
    # another machine adds up in another order: that moves logits by some 1e-6 and can turn a tie or two in 10,000
    assert accuracy(model, images, labels) == pytest.approx(float(facts["accuracy"]), abs=2e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_readme_tells_the_figures_of_the_weights(name):
    facts = trained_facts(name)
    command = f"`python {facts['script']} --dataset {facts['dataset']} --seed {facts['seed']}`"
    cells, *_ = readme_rows(name)
    assert cells[2:6] == [command, facts["seed"], facts["epochs"], facts["accuracy"]]


def readme_rows(name: str) -> list[list[str]]:
    """The rows on these weights in data/README.md: how they were trained, and their accuracy with fewer bits."""
    lines = (WEIGHTS.parent / "README.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith(f"| `{name}`")]


def test_accuracy_of_shapes_leaves_room_both_ways():
    """The generated set must be learnable and yet hard, or quantization would show nothing."""
    assert 0.75 <= float(trained_facts("classyclassifier-shapes")["accuracy"]) <= 0.95


def fake_quantize(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Per-tensor affine between min and max, straight from the definition; independent of course_utils."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / (2**bits - 1)
    zero_point = round(-low / scale)
    return scale * ((x / scale + zero_point).round().clamp(0, 2**bits - 1) - zero_point)


def quantized(name: str, bits: int) -> nn.Module:
    """The network with weights, and inputs of layers that have weights, rounded to so many bits."""
    model = load_trained(name)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data = fake_quantize(layer.weight.data, bits)
            layer.register_forward_pre_hook(lambda _, inputs: (fake_quantize(inputs[0], bits),))
    return model


@pytest.mark.parametrize("name", FEW_BITS)
def test_few_bits_hurt(name):
    images, labels = (part[:1000] for part in test_set(DATA_OF[name]))
    full = accuracy(load_trained(name), images, labels)
    loss = {bits: full - accuracy(quantized(name, bits), images, labels) for bits in (8, 4, 3, 2)}
    # the images are the same ones, so a difference comes from those whose label changes: few at 8 bits
    assert abs(loss[8]) < 0.01, loss
    assert loss[4] > 0.03, loss
    assert loss[4] < loss[3] < loss[2], loss
    assert loss[2] > 0.3, loss


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW_BITS)
def test_readme_tells_the_accuracy_with_fewer_bits(name):
    _, cells = readme_rows(name)
    images, labels = test_set(DATA_OF[name])
    for bits, claimed in zip((8, 6, 5, 4, 3, 2), cells[2:], strict=True):
        # a sum that another machine rounds otherwise can fall on the next integer: more images turn than in float
        assert accuracy(quantized(name, bits), images, labels) == pytest.approx(float(claimed), abs=5e-3), bits


@pytest.fixture
def good(tmp_path):
    """A folder that holds the file of an untrained network, sound in itself."""
    path = tmp_path / "classyclassifier-test.safetensors"
    save_file(ClassyClassifier().state_dict(), path)
    load_trained("classyclassifier-test", tmp_path)
    return path


def refused(path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_trained(path.stem, path.parent)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_loading_gives_the_tensors_of_the_file(good):
    state, saved = load_trained(good.stem, good.parent).state_dict(), load_file(good)
    assert all(torch.equal(state[key], saved[key]) for key in saved)


def test_missing_weights_name_what_there_is(good):
    message = refused(good.with_stem("classyclassifier-none"))
    assert "no such weights" in message
    assert "there are: classyclassifier-test" in message


@pytest.mark.parametrize("keep", [0, 4, 100, -4])
def test_truncated_file(good, keep):
    good.write_bytes(good.read_bytes()[:keep])
    assert "damaged" in refused(good)
    with pytest.raises(WeightsError, match="damaged"):
        trained_facts(good.stem, good.parent)


def test_damaged_header(good):
    content = bytearray(good.read_bytes())
    content[20] ^= 0xFF
    good.write_bytes(content)
    assert "damaged" in refused(good)


def drop(state):
    del state["layer3_conv.bias"]
    return "missing ['layer3_conv.bias'], not expected []"


def rename(state):
    state["layer3.bias"] = state.pop("layer3_conv.bias")
    return "missing ['layer3_conv.bias'], not expected ['layer3.bias']"


def transpose(state):
    state["layer7_fc.weight"] = state["layer7_fc.weight"].T.contiguous()
    return "layer7_fc.weight is (128, 84) torch.float32, expected (84, 128) torch.float32"


def halve(state):
    state["layer7_fc.weight"] = state["layer7_fc.weight"].half()
    return "layer7_fc.weight is (84, 128) torch.float16, expected (84, 128) torch.float32"


def put_nan(state):
    state["layer8_fc.weight"][3, 4] = torch.nan
    return "layer8_fc.weight holds NaN or infinity"


def put_infinity(state):
    state["layer8_fc.bias"][3] = -torch.inf
    return "layer8_fc.bias holds NaN or infinity"


@pytest.mark.parametrize("harm", [drop, rename, transpose, halve, put_nan, put_infinity])
def test_wrong_tensors_are_named(good, harm):
    state = load_file(good)
    message = harm(state)
    save_file(state, good)
    assert message in refused(good)


def test_unknown_architecture(good):
    renamed = good.rename(good.with_stem("lenet-test"))
    assert "no architecture is called 'lenet', known: classyclassifier, simplenet" in refused(renamed)
