"""Both tools behind the one call, against a network that is worked out by hand."""

import importlib.util
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_utils.networks.models import accuracy, load_trained, normalize
from course_utils.quantization import real_quantization
from course_utils.quantization.real_quantization import NotAvailable, available, default_engine, quantize, quiet

has_torchao = importlib.util.find_spec("torchao") is not None
without_torchao = pytest.mark.skipif(
    not has_torchao, reason="torchao is NOT INSTALLED: PT2E, the successor of fx, is not tested"
)
both = pytest.mark.parametrize("how", ["fx", pytest.param("pt2e", marks=without_torchao)])


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x):
        return self.fc(functional.relu(self.conv(x)).flatten(1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture
def batches():
    g = torch.Generator().manual_seed(1)
    return [torch.rand(16, 3, 8, 8, generator=g) * 2 - 1 for _ in range(4)]


def by_hand(model, x, batches):
    """The network with inputs of the two layers on 8-bit grids between min and max, weights per channel."""

    def grid(values, samples):
        low, high = min(float(samples.min()), 0), max(float(samples.max()), 0)
        step = (high - low) / 255
        zero = round(-low / step)
        return ((values / step).round() + zero).clamp(0, 255).sub(zero) * step

    def weight(w):
        step = w.abs().flatten(1).amax(1).view(-1, *[1] * (w.dim() - 1)) / 127.5
        return (w / step).round().clamp(-128, 127) * step

    data = torch.cat(batches)
    with torch.no_grad():
        between = functional.relu(model.conv(data)).flatten(1)
        x = functional.conv2d(grid(x, data), weight(model.conv.weight), model.conv.bias, padding=1)
        x = grid(functional.relu(x).flatten(1), between)
        return functional.linear(x, weight(model.fc.weight), model.fc.bias)


@both
def test_close_to_the_hand_made_one(model, batches, how):
    x = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        expected, got = by_hand(model, x, batches), quantize(model, batches[0], batches, how)(x)
        exact = model(x)
    noise = float((got - exact).square().mean())
    # fx on x86 spends 7 bits on activations (steps twice as large, so four times the noise) and also rounds the output
    assert 0 < noise < 16 * float((expected - exact).square().mean()) + float(exact.square().mean()) * 1e-4


@both
def test_weights_are_integers_per_channel(model, batches, how):
    quantized = quantize(model, batches[0], batches, how)
    if how == "fx":
        weight = quantized.conv.weight().int_repr()
        steps = quantized.conv.weight().q_per_channel_scales()
    else:
        weight, steps = quantized.state_dict()["_frozen_param0"], quantized.state_dict()["_scale_0"]
    assert weight.dtype == torch.int8 and weight.shape == model.conv.weight.shape and steps.shape == (4,)
    back = weight.float() * steps.view(-1, 1, 1, 1)
    assert bool(((back - model.conv.weight).abs() <= 0.501 * steps.view(-1, 1, 1, 1)).all())


@both
def test_calibration_sees_every_batch(model, how):
    small, large = torch.rand(8, 3, 8, 8) * 0.2 - 0.1, torch.rand(8, 3, 8, 8) * 8 - 4
    x = large * 0.9
    with torch.no_grad():
        exact = model(x)
        errors = [
            float((quantize(model, small, batches, how)(x) - exact).square().mean())
            for batches in ([small], [small, large])
        ]
    assert errors[1] < errors[0] / 20


@both
def test_any_batch_size_afterwards_and_the_model_stays(model, batches, how):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for example in (batches[0], batches[0][:1]):
        quantized = quantize(model, example, batches, how)
        for size in (1, 2, 7, 64):
            assert quantized(torch.zeros(size, 3, 8, 8)).shape == (size, 5)
    assert type(model.conv) is nn.Conv2d and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@both
def test_classyclassifier_keeps_its_accuracy(how):
    from course_utils.data import shapes

    images, labels = (t[:1000] for t in shapes(train=False))
    training = normalize(shapes(train=True)[0][:320])
    model = load_trained("classyclassifier-shapes")
    quantized = quantize(model, training[:2], training.split(32), how)
    x = normalize(images)
    # 8 bits change the class of well under 2 % of these images, and a changed class is as often a gain as a loss
    assert abs(accuracy(quantized, x, labels) - accuracy(model, x, labels)) < 0.01
    with torch.no_grad():
        assert float((quantized(x).argmax(1) != model(x).argmax(1)).float().mean()) < 0.02


@both
def test_no_warning_gets_through(model, batches, how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize(model, batches[0], batches, how)


def test_quiet_lets_other_warnings_pass():
    with quiet(), pytest.warns(DeprecationWarning, match="something else"):
        warnings.warn("something else", DeprecationWarning, stacklevel=1)


def test_refusals(model, batches):
    with pytest.raises(ValueError, match="how is one of fx, pt2e"):
        quantize(model, batches[0], batches, "eager")
    with pytest.raises(ValueError, match="at least one batch"):
        quantize(model, batches[0], [])
    with pytest.raises(ValueError, match="training mode"):
        quantize(model.train(), batches[0], batches)
    with pytest.raises(ValueError, match="engine is one of"):
        quantize(model.eval(), batches[0], batches, engine="abacus")


def test_says_what_is_missing(model, batches, monkeypatch):
    monkeypatch.setattr(real_quantization, "_FX", "torch.ao.gone")
    monkeypatch.setattr(real_quantization, "_PT2E", "torchao_that_is_not_there")
    reasons = available()
    assert "has no torch.ao.gone any more" in reasons["fx"] and "pip install torchao" in reasons["pt2e"]
    for how in ("fx", "pt2e"):
        with pytest.raises(NotAvailable):
            quantize(model, batches[0], batches, how)


def test_available_agrees_with_what_is_installed():
    assert available()["fx"] == ""
    assert (available()["pt2e"] == "") == has_torchao
    assert default_engine() in torch.backends.quantized.supported_engines
