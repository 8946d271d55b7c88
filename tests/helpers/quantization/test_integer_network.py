"""Whole networks in whole numbers, against a reference that does every step in int64 from the float weights."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_utils.data import shapes
from course_utils.networks import Darknet, SimpleNet, accuracy, load_trained, normalize
from course_utils.networks.darknet_network import MaxPool, Route, Section, Shortcut, Yolo
from course_utils.quantization import power_of_two as p2
from course_utils.quantization.integer_network import ADJUSTMENTS, Calibrated, Scheme

EVERY_SCHEME = [
    *(Scheme(bits, adjustment) for bits in (2, 4, 8, 16) for adjustment in ADJUSTMENTS),
    *(Scheme(4, adjustment, per_channel=True) for adjustment in ADJUSTMENTS),
    *(Scheme(3, adjustment, adjust_last=True, outliers=2.0) for adjustment in ADJUSTMENTS),
    *(Scheme(3, adjustment, outliers=1.5, cut=cut) for adjustment in ADJUSTMENTS[:3] for cut in ("scale", "weights")),
    Scheme(5, "power_of_two", printed_scale=True, unsigned=True),
    Scheme(16, "float", accumulator="saturate"),
    Scheme(5, "scale_shift", before_activation=True, search=p2.document_shift_scale),
]


def label(scheme: Scheme) -> str:
    on = [
        name for name in ("per_channel", "adjust_last", "printed_scale", "before_activation") if getattr(scheme, name)
    ]
    on += [f"cut-{scheme.cut}"] if scheme.cut != "both" else []
    on += [scheme.accumulator] if scheme.accumulator != "exact" else []
    return "-".join([f"{scheme.num_bits}bit", scheme.adjustment, *on])


def random_norms(model: nn.Module) -> nn.Module:
    """Statistics that are not 0 and 1, and in eval mode."""
    generator = torch.Generator().manual_seed(7)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(norm.weight, 0.5, 2, generator=generator)
            nn.init.normal_(norm.bias, generator=generator)
    return model.eval()


def layer_by_definition(x, q_x: float, layer: nn.Module, slope: float, q_y: float | None, scheme: Scheme):
    """int64 codes to int64 codes, to real numbers without a q_y; from the float weights and the scales alone."""
    n, top = scheme.num_bits, 2 ** (scheme.num_bits - 1) - 1
    wanted = (2**n - 1) / 2 if scheme.printed_scale else top
    weight = ranged = layer.weight.detach().double()
    if scheme.outliers is not None:
        cut = p2.remove_outliers(layer.weight.detach(), scheme.outliers).double()
        weight, ranged = weight if scheme.cut == "scale" else cut, weight if scheme.cut == "weights" else cut
    lowest, highest = (-math.inf, math.inf) if scheme.cut == "scale" else (-top - 1, top)
    channels = len(weight)
    result, reals = [], []
    for o in range(channels):
        largest = float((ranged[o] if scheme.per_channel else ranged).abs().max())
        q_w = wanted / largest
        adjustment = None if q_y is None else q_y / (q_x * q_w)
        if scheme.adjustment == "power_of_two" and q_y is not None:
            shift = math.ceil(math.log2(adjustment))
            q_w = q_y / q_x * 2.0**-shift
            adjustment = 2.0**shift
        w = torch.tensor([max(lowest, min(highest, round(v * q_w))) for v in weight[o].reshape(-1).tolist()])
        real_bias = 0.0 if layer.bias is None else float(layer.bias.detach()[o])
        b = round(real_bias * (q_x * q_w))
        b = b if scheme.accumulator == "exact" else max(-(2**31), min(2**31 - 1, b))
        if isinstance(layer, nn.Linear):
            acc = (x * w).sum(-1) + b
        else:
            one = w.view(1, *weight.shape[1:])
            per_group = channels // layer.groups
            width = weight.shape[1]
            group = o // per_group
            (k, _), (s, _), (p, _) = layer.kernel_size, layer.stride, layer.padding
            part = functional.pad(x[:, group * width : (group + 1) * width], (p, p, p, p))
            windows = part.unfold(2, k, s).unfold(3, k, s)
            acc = (windows * one[:, :, None, None]).sum((1, 4, 5)) + b
        if scheme.accumulator == "saturate":
            acc = acc.clamp(-(2**31), 2**31 - 1)
        if q_y is None:
            reals.append((acc.double() / (q_x * q_w)).float())
            continue
        leak = Fraction(slope) if slope in (0, 1) else Fraction(205, 2048)
        if scheme.adjustment == "float":
            values = [
                math.floor(a * adjustment + 0.5)
                if a >= 0 or slope == 1
                else math.floor(float(a * leak) * adjustment + 0.5)
                for a in acc.reshape(-1).tolist()
            ]
        else:
            if scheme.adjustment == "scale_shift":
                scale, shift = scheme.search(adjustment, n)
            else:
                scale, shift = 1, round(math.log2(adjustment))
            exact = scale * Fraction(2) ** shift
            values = [
                math.floor(a * exact * (1 if a >= 0 else leak) + Fraction(1, 2)) for a in acc.reshape(-1).tolist()
            ]
        low, high = (0, 2**n - 1) if scheme.unsigned and slope == 0 else (0 if slope == 0 else -top - 1, top)
        result.append(torch.tensor([max(low, min(high, v)) for v in values]).view(acc.shape))
    return torch.stack(reals or result, 1)


class Small(nn.Module):
    """What SimpleNet has, in small: the reference goes over every number in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.conv2, self.norm2 = nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False), nn.BatchNorm2d(6)
        self.fc1, self.fc2 = nn.Linear(54, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(functional.relu(self.norm1(self.conv1(x))))
        x = self.norm2(self.conv2(x)).relu()
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


@pytest.mark.parametrize("scheme", EVERY_SCHEME, ids=label)
def test_a_classifier_is_the_reference_bit_for_bit(scheme):
    torch.manual_seed(1)
    images = torch.randn(18, 3, 16, 16)
    calibrated = Calibrated(random_norms(Small()), images[:16].split(8))
    network = calibrated.quantized(scheme)
    q = {name: codes.q for name, codes in network.codes.items()}
    graph, half = calibrated.graph, 2 ** (scheme.num_bits - 1)
    x = (images[16:].double() * q["x"]).round().clamp(-half, half - 1).long()
    x = layer_by_definition(x, q["x"], graph.conv1, 0, q["conv1"], scheme)
    x = functional.max_pool2d(x.double(), 2).long()
    x = layer_by_definition(x, q["conv1"], graph.conv2, 0, q["conv2"], scheme).flatten(1)
    x = layer_by_definition(x, q["conv2"], graph.fc1, 0, q["fc1"], scheme)
    x = layer_by_definition(x, q["fc1"], graph.fc2, 1, q["fc2"] if scheme.adjust_last else None, scheme)
    if scheme.adjust_last:
        x = (x.double() / q["fc2"]).float()
    assert torch.equal(network(images[16:]), x)


def detector_sections() -> list[Section]:
    """Every kind of section that hands numbers on, leaky and linear and ReLU, in 16 x 16."""

    def conv(filters, size=3, stride=1, activation="leaky", groups=1):
        options = {"filters": filters, "size": size, "stride": stride, "pad": 1, "batch_normalize": 1, "groups": groups}
        return "convolutional", options | {"activation": activation}

    rows = [
        ("net", {"channels": 3, "height": 16, "width": 16}),
        conv(4),  # 0
        ("maxpool", {"size": 2, "stride": 2}),
        conv(4, groups=4, activation="relu"),  # 2
        conv(4, size=1, activation="linear"),
        ("shortcut", {"from": -3}),  # 4
        ("maxpool", {"size": 2, "stride": 1}),
        conv(6, stride=2),  # 6
        ("upsample", {"stride": 2}),
        ("route", {"layers": "-1,4"}),  # 8
        ("route", {"layers": "-1", "groups": 2, "group_id": 1}),
        ("convolutional", {"filters": 7, "size": 1, "activation": "linear"}),  # 10
        ("yolo", {"mask": "0", "anchors": "4,4", "num": 1, "classes": 2}),
    ]
    return [
        Section(kind, {name: str(value) for name, value in options.items()}, number)
        for number, (kind, options) in enumerate(rows, start=-1)
    ]


@pytest.mark.parametrize("scheme", EVERY_SCHEME, ids=label)
def test_a_detector_is_the_reference_bit_for_bit(scheme):
    torch.manual_seed(3)
    net = random_norms(Darknet(detector_sections()))
    images = torch.rand(10, 3, 16, 16)
    network = Calibrated(net.graph(), images[:8].split(4)).quantized(scheme)
    q = {name: codes.q for name, codes in network.codes.items()}
    half = 2 ** (scheme.num_bits - 1)
    low, high = (0, 2 * half - 1) if scheme.unsigned else (-half, half - 1)  # images are never below zero
    x, q_x = (images[8:].double() * q["x"]).round().clamp(low, high).long(), q["x"]
    outputs: dict[int, tuple[torch.Tensor, float]] = {}
    for number, layer in enumerate(net.folded().layers):
        if isinstance(layer, Yolo):
            break
        if isinstance(layer, nn.Sequential):
            activation = getattr(layer, "activation", None)
            slope = 1 if activation is None else 0 if isinstance(activation, nn.ReLU) else 0.1
            q_y = None if number == 10 and not scheme.adjust_last else q[f"layers_{number}_conv"]
            x, q_x = layer_by_definition(x, q_x, layer.conv, slope, q_y, scheme), q_y
        elif isinstance(layer, MaxPool):
            x = layer(x.double()).long()
        elif isinstance(layer, Shortcut):
            other, q_other = outputs[layer.sources[0]]
            assert q_other == q_x  # both on one scale, or codes could not be added
            x = (x + other).clamp(-half, half - 1)
        elif isinstance(layer, Route):
            assert len({outputs[source][1] for source in layer.sources}) == 1
            parts = [outputs[source][0].chunk(layer.groups, 1)[layer.group] for source in layer.sources]
            x, q_x = torch.cat(parts, 1), outputs[layer.sources[0]][1]
        else:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        outputs[number] = x, q_x
    if scheme.adjust_last:
        x = (x.double() / q_x).float()
    (head,) = network(images[8:])
    assert torch.equal(head, x)


def test_a_detector_computed_by_whole_numbers_is_nearly_itself():
    torch.manual_seed(3)
    net = random_norms(Darknet(detector_sections()))
    images = torch.rand(8, 3, 16, 16)
    network = Calibrated(net.graph(), [images]).quantized(Scheme(16))
    before = [value.clone() for value in net(images)]
    boxes, scores = net.computed_by(network)(images)
    assert torch.allclose(boxes, before[0], atol=1e-2)  # pixels; a step of 16 bits is 2^-15 of a range
    assert torch.allclose(scores, before[1], atol=1e-3)
    assert not torch.equal(scores, before[1])
    assert all(torch.equal(one, other) for one, other in zip(net(images), before, strict=True))  # net is as it was


def wide_layer() -> tuple[nn.Sequential, torch.Tensor]:
    """At 16 bits its sums are about 100 * 32767^2, some fifty times what 32 bits hold."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(100, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).eval()
    for layer in (model[1], model[3]):
        nn.init.ones_(layer.weight)
    return model, torch.ones(4, 100)


def test_sums_behind_a_leaky_relu_that_would_pass_64_bits_are_exact():
    """16 bits, many inputs: a sum times the scale times 2048 passes 2^63; times the slope's 205 it does not."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(2000, 3), nn.LeakyReLU(0.1), nn.Linear(3, 2)).eval()
    nn.init.uniform_(model[0].weight, 0.9, 1.0)
    x = torch.rand(8, 2000) * torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    scheme = Scheme(16, "scale_shift")
    network = Calibrated(model, [x]).quantized(scheme)
    layer = next(iter(network.layers.values()))
    assert layer.reach * int(layer.multiplier.max()) * 2048 >= 2**63
    codes = (x.double() * layer.input.q).round().long()
    expected = layer_by_definition(codes, layer.input.q, model[0], 0.1, layer.output.q, scheme)
    got = layer(codes.float())
    assert torch.equal(got.long(), expected)
    assert bool((expected < 0).any()) and bool((expected > 0).any())


def test_accumulators_of_16_bits_pass_32_bits():
    model, x = wide_layer()
    calibrated = Calibrated(model, [x])
    exact = calibrated.quantized(Scheme(16))
    assert torch.allclose(exact(x), torch.full((4, 1), 100.0))
    assert exact.layers["_1"].largest_sum == 100 * 32767**2 > 2**31
    # in 32 bits: 100 * 32767^2 mod 2^32 = 4288413796, which reads as -6553500
    wrapped = 100 * 32767**2 % 2**32
    assert wrapped - 2**32 < 0
    assert calibrated.quantized(Scheme(16, accumulator="wrap"))(x).tolist() == [[0.0]] * 4
    expected = (2**31 - 1) / (100 * 32767**2) * 100  # of 100: what 32 bits hold of the sum
    saturated = calibrated.quantized(Scheme(16, accumulator="saturate"))(x)[0].item()
    assert saturated == pytest.approx(expected, abs=100 / 32767 / 2 * 1.001)  # half a step of the activation's codes
    # at 8 bits they fit, and the three do the same
    eight = [calibrated.quantized(Scheme(8, accumulator=way)) for way in ("exact", "wrap", "saturate")]
    assert len({network(x)[0].item() for network in eight}) == 1
    assert eight[0].layers["_1"].largest_sum == 0


def test_bias_correction_brings_the_mean_sum_back():
    torch.manual_seed(5)
    images = torch.randn(16, 3, 16, 16)
    model = random_norms(Small())
    calibrated = Calibrated(model, images.split(8))
    with torch.no_grad():
        wanted = model(images).mean(0)
        error = {
            way: (calibrated.quantized(Scheme(4, bias_correction=way))(images).mean(0) - wanted).abs()
            for way in (None, "layer", "channel")
        }
    # biases of the last layer are whole numbers in units of its sums: that is all that is left of its mean error
    last = calibrated.quantized(Scheme(4)).layers["fc2"]
    unit = 1 / (last.input.q * last.q_w[0].item())
    assert error["channel"].max() <= unit / 2 * 1.001
    assert error[None].max() > 2 * unit
    assert error["layer"].max() > unit


def test_an_activation_at_the_end_is_not_lost():
    torch.manual_seed(6)
    model, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).eval(), torch.randn(4, 2, 5, 5)
    with torch.no_grad():
        expected = model(x)
    got = Calibrated(model, [x]).quantized(Scheme(12))(x)
    assert got.min() == 0
    assert torch.allclose(got, expected, atol=2e-3)  # 2^-11 of a range of about 2


def test_a_layer_in_whole_numbers_is_refused_where_it_cannot_be():
    x = [torch.rand(2, 3, 8, 8)]
    with pytest.raises(ValueError, match="training mode"):
        Calibrated(SimpleNet(), x)
    with pytest.raises(ValueError, match="output of x is not finite"):
        Calibrated(SimpleNet().eval(), [torch.full((1, 3, 32, 32), torch.nan)])
    with pytest.raises(ValueError, match="at least one batch"):
        Calibrated(SimpleNet().eval(), [])
    with pytest.raises(ValueError, match=r"Sigmoid.* cannot be done in whole numbers"):
        Calibrated(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Sigmoid()).eval(), x)
    with pytest.raises(ValueError, match="does not follow a layer"):
        Calibrated(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)).eval(), x)
    reflecting = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")).eval()
    with pytest.raises(ValueError, match="pads with zeros"):
        Calibrated(reflecting, x).quantized(Scheme())
    steep = nn.Sequential(nn.Conv2d(3, 2, 3), nn.LeakyReLU(2.0)).eval()
    with pytest.raises(ValueError, match="slope of 0 to 1, not 2"):
        Calibrated(steep, x).quantized(Scheme())
    for wrong in (
        {"num_bits": 17},
        {"adjustment": "times"},
        {"bias_correction": "tensor"},
        {"accumulator": "16"},
        {"cut": "x"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
            Scheme(**wrong)


@pytest.mark.parametrize("name", ["classyclassifier-shapes", "simplenet-shapes"])
def test_eight_bits_cost_a_trained_network_little_and_two_cost_it_all(name):
    model = load_trained(name)
    images, labels = shapes(False, 1000)
    images, full = normalize(images), accuracy(model, normalize(images), labels)
    calibrated = Calibrated(model, normalize(shapes(True, 64)[0]).split(8))
    for adjustment in ADJUSTMENTS:
        assert abs(accuracy(calibrated.quantized(Scheme(8, adjustment)), images, labels) - full) < 0.02
        assert accuracy(calibrated.quantized(Scheme(2, adjustment)), images, labels) < 0.4
