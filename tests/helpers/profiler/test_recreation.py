"""Recreated models: what is replaced, what is merged, what stands for what, and that the reference stays as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from course_utils.networks import load_trained
from course_utils.numerics import FloatFormat
from course_utils.profiler import (
    KINDS,
    Choice,
    IntegerAdd,
    IntegerAveragePool,
    IntegerLayer,
    Options,
    ProfilerError,
    layers_of,
    profile,
    recreate,
)

EVERYTHING = [Choice(kind) for kind in KINDS]


class Block(nn.Module):
    """Every kind of layer once, and what may be merged."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = functional.relu(self.norm(self.deep(x)), inplace=True)
        y += x
        return self.head(self.pool(y).flatten(1))


def filled(model: nn.Module, seed: int = 0) -> nn.Module:
    """In eval mode, with statistics that a trained network might have."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()


@pytest.fixture
def block() -> nn.Module:
    return filled(Block())


def images(count: int, size: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_layers_are_found_by_kind_in_the_order_of_calls(block):
    assert layers_of(block) == {
        "conv": ["stem_0"], "depthwise": ["deep"], "linear": ["head"], "add": ["add"], "pool": ["pool"],
    }  # fmt: skip
    mobile = layers_of(torchvision.models.mobilenet_v2())
    # as the thesis counts them (5.1), with torchvision's fully connected layer at the end
    assert {kind: len(names) for kind, names in mobile.items()} == {
        "conv": 35, "depthwise": 17, "linear": 1, "add": 10, "pool": 1,
    }  # fmt: skip
    assert {kind: len(names) for kind, names in layers_of(torchvision.models.resnet18()).items()} == {
        "conv": 20, "depthwise": 0, "linear": 1, "add": 8, "pool": 1,
    }  # fmt: skip


def test_all_kinds_are_replaced_and_merged(block):
    made = recreate(block, EVERYTHING, [images(20)])
    layers = [type(m) for m in made.recreated.children() if type(m).__module__ == IntegerLayer.__module__]
    assert sorted(t.__name__ for t in layers) == ["IntegerAdd", "IntegerAveragePool", *["IntegerLayer"] * 3]
    left = {node.name for node in made.recreated.graph.nodes}
    assert not left & {"stem_1", "stem_2", "norm", "relu"}
    assert made.left == {}
    assert made.replaced.keys() == {"stem_0", "deep", "add", "pool", "head"}
    assert {made.stands_for[f"{name}_recreated"] for name in made.replaced} == {
        "stem_2",
        "relu",
        "add",
        "pool",
        "head",
    }


def test_what_only_hands_on_values_keeps_their_grid():
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2)
            self.pad, self.flat, self.drop = nn.ZeroPad2d((0, 1, 0, 1)), nn.Flatten(), nn.Dropout()
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.pad(functional.relu6(self.first(self.pad(x))), (1, 0, 1, 0))
            return self.head(self.drop(self.flat(self.pool(self.second(x)))))

    made = recreate(filled(Padded()), EVERYTHING, [images(20, 9)]).recreated
    # scales are float32
    assert made.first_recreated.output.scale == pytest.approx(6 / 255, rel=2**-24)
    assert made.second_recreated.input.scale == made.first_recreated.output.scale
    for one, other in ((made.second_recreated.output, made.pool_recreated.input),
                       (made.pool_recreated.input, made.head_recreated.input)):  # fmt: skip
        assert (one.scale, one.zero_point) == (other.scale, other.zero_point)
    # a mean that stays in float has values of its own
    made = recreate(filled(Padded()), EVERYTHING[:3], [images(20, 9)]).recreated
    assert made.head_recreated.input.scale < made.second_recreated.output.scale


def test_nothing_is_merged_that_should_not_be(block):
    options = Options(merge_batch_norm=False, merge_relu=False)
    made = recreate(block, [Choice(kind, options=options) for kind in KINDS], [images(20)])
    assert {"stem_1", "stem_2", "norm", "relu"} <= {node.name for node in made.recreated.graph.nodes}
    # a ReLU behind a batch norm that stays is not the layer's
    made = recreate(block, [Choice("conv", options=Options(merge_batch_norm=False))], [images(20)])
    assert {"stem_1", "stem_2"} <= {node.name for node in made.recreated.graph.nodes}


def test_floats_with_merged_norms_compute_what_the_reference_computes(block):
    made = recreate(block, [Choice(kind, options=Options(quantized=False)) for kind in KINDS], [images(4)])
    x = images(6)
    with torch.no_grad():
        torch.testing.assert_close(made.recreated(x), block(x))
        assert torch.equal(made.reference(x), block(x))


def test_sixteen_bits_compute_nearly_what_the_reference_computes():
    for model, size in ((Block(), 8), (torchvision.models.resnet18(num_classes=10), 32)):
        filled(model)
        x = images(16, size)
        outcome = profile(
            recreate(model, [Choice(kind, options=Options(num_bits=16)) for kind in KINDS], [x]),
            x, torch.zeros(16, dtype=torch.long),
        )  # fmt: skip
        assert min(ratio.ratio_of_sums for ratio in outcome.ratios.values()) > 60


def test_the_model_stays_as_it_was(block):
    handle = block.deep.register_forward_hook(lambda *_: None)
    before = copy.deepcopy(block.state_dict())
    recreate(block, EVERYTHING, [images(4)])
    assert all(torch.equal(block.state_dict()[name], value) for name, value in before.items())
    assert block.stem[2].inplace
    assert not block.training
    assert list(block.deep._forward_hooks.values()) == [handle.hooks_dict_ref()[handle.id]]
    assert {name for name, _ in block.named_modules()} == {name for name, _ in filled(Block()).named_modules()}


def test_a_tensor_has_one_grid(block):
    made = recreate(block, EVERYTHING, [images(20)])
    modules = dict(made.recreated.named_children())
    first, deep, add = (modules[f"{name}_recreated"] for name in ("stem_0", "deep", "add"))
    assert isinstance(first, IntegerLayer)
    assert isinstance(add, IntegerAdd)
    assert isinstance(modules["pool_recreated"], IntegerAveragePool)
    grids = [first.output, deep.input, add.inputs[1]]
    assert {(grid.scale, grid.zero_point) for grid in grids} == {(first.output.scale, -128)}
    assert first.output.scale == pytest.approx(6 / 255)
    assert (deep.output.scale, deep.output.zero_point) == (add.inputs[0].scale, add.inputs[0].zero_point)


def test_the_last_choice_counts_and_indices_choose():
    model = load_trained("classyclassifier-shapes")
    low, first = Options(num_bits=4), Options(num_bits=6)
    choices = [Choice("linear", options=low), Choice("linear", [0, 2]), Choice("layer7_fc", options=first)]
    made = recreate(model, choices, [torch.randn(4, 3, 32, 32)])
    assert made.replaced == {"layer6_fc": Options(), "layer7_fc": first, "layer8_fc": Options()}


def test_a_float_format_instead_of_whole_numbers(block):
    made = recreate(block, [Choice("conv", options=Options(float_format=FloatFormat(4, 3)))], [images(4)])
    x, seen = images(2), []
    made.recreated.stem_0_recreated.register_forward_hook(lambda _, __, output: seen.append(output))
    made.recreated(x)
    assert torch.equal(FloatFormat(4, 3).quantize(seen[0].detach()).clamp(0, 6), seen[0].detach())


class Network(nn.Module):
    """``compute(self, x)`` on a convolution and a fully connected layer, and what else there is."""

    def __init__(self, compute: Callable[[nn.Module, torch.Tensor], object], **others: nn.Module) -> None:
        super().__init__()
        self.compute, self.conv, self.head = compute, nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        for name, module in others.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> object:
        return self.compute(self, x)


def changed_then_added(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = net.conv(x)
    functional.relu(y, inplace=True)
    z = y + 1
    z.mul_(2)
    net.relu(z.sub_(1))
    return net.head((z + y).mean((2, 3)))


def test_what_works_in_place_is_compared_as_it_was():
    model = filled(Network(changed_then_added, relu=nn.ReLU(inplace=True)))
    made, x = recreate(model, [Choice("linear")], [images(9)]), images(6)
    with torch.no_grad():
        assert torch.equal(made.reference(x), model(x))
    ratios = profile(made, x, torch.zeros(6, dtype=torch.long)).ratios
    assert {name for name, ratio in ratios.items() if ratio.ratio_of_sums < math.inf} == {"head"}


def test_layers_keep_the_type_of_a_network_in_float64():
    model = filled(Network(lambda net, x: net.head(net.conv(x).mean((2, 3))))).double()
    for kind in KINDS:
        made = recreate(model, [Choice(kind)], [images(9).double()])
        assert made.recreated(images(2).double()).dtype == torch.float64


def test_a_batch_norm_over_another_axis_is_not_merged():
    model = Network(lambda net, x: net.norm(net.head(x.flatten(2)[:, :, :4])).sum(1), norm=nn.BatchNorm1d(5))
    model.conv, model.head = nn.Identity(), nn.Linear(4, 5)
    model = filled(model)
    x = torch.randn(9, 5, 2, 2)
    made = recreate(model, [Choice("linear", options=Options(quantized=False))], [x])
    assert made.left == {"head": "the batch norm norm is not merged: it is not over the last axis"}
    with torch.no_grad():
        torch.testing.assert_close(made.recreated(x), model(x))


class Odd(nn.Module):
    """Layers into which nothing can be merged, or that cannot be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.bare, self.fresh = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)
        self.mirror = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.head = nn.Parameter(torch.ones(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.twice(x)
        y = self.norm(y) + y
        y = functional.conv2d(self.mirror(self.fresh(self.bare(y)) + 1), self.bare.weight)
        return functional.relu(functional.avg_pool2d(y.mean(1, keepdim=True) + y, 2).mean((2, 3))) @ self.head


def test_what_cannot_be_replaced_or_merged_is_named_with_the_reason():
    made = recreate(filled(Odd()), EVERYTHING, [images(4)])
    assert made.left == {
        "twice": "the batch norm norm is not merged: the layer's output is used elsewhere, too",
        "bare": "the batch norm fresh is not merged: it has no running statistics",
        "mirror": "it pads by 'reflect'; a whole-number convolution pads with zeros",
        "mean_1": "the ReLU relu is not merged: a mean stays on its input's grid",
        # nobody chose these by name
        "depthwise": "the network has no layer of this kind",
        "linear": "the network has no layer of this kind",
        "conv2d": "a convolution can be replaced if it is a torch.nn.Conv2d",
        "matmul": "a product can be replaced if it is a torch.nn.Linear",
        "add_1": "it adds something else than two tensors",
        "mean": "it is no mean over height and width, as torch.nn.AdaptiveAvgPool2d(1) is",
    }
    assert made.replaced.keys() == {"twice", "bare", "add", "add_2", "mean_1"}
    assert recreate(filled(Odd()), [Choice("conv", [0])], [images(4)]).left.keys() == {"twice"}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (Choice("cnov"), "'cnov' is neither a kind (conv, depthwise, linear, add, pool) nor a layer that can be"),
        (Choice("stem_2"), "'stem_2' is neither"),
        (Choice("stem_2"), "can be replaced (stem_0, deep, head, add, pool)"),
        (Choice("conv", [1]), "layers[0].indices: no layer 1 of kind 'conv': indices are 0 to 0"),
        (Choice("conv", [-1]), "no layer -1 of"),
    ],
)
def test_choices_of_nothing_are_named(block, choice: Choice, told: str):
    with pytest.raises(ProfilerError, match=r".*") as error:
        recreate(block, [choice], [images(4)])
    assert told in str(error.value)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_other_mistakes_are_named(block):
    partly = copy.deepcopy(block)
    partly.stem[1].train()
    with pytest.raises(ProfilerError, match=r"stem\.1 is in training mode"):
        recreate(partly, EVERYTHING, [images(4)])
    with pytest.raises(ProfilerError, match=r"computes in bfloat16; call model\.float"):
        recreate(copy.deepcopy(block).bfloat16(), EVERYTHING, [images(4)])
    with pytest.raises(ProfilerError, match=r"head: .*shapes cannot be multiplied"):
        recreate(Network(lambda net, x: net.head(net.conv(x).flatten(1))).eval(), EVERYTHING, [images(4)])
    with pytest.raises(ProfilerError, match="calibration needs at least one batch"):
        recreate(block, EVERYTHING, [])
    with pytest.raises(ProfilerError, match=r"the output of x: .*NaN") as error:
        recreate(block, EVERYTHING, [torch.full((1, 3, 8, 8), torch.nan)])
    assert "\n" not in str(error.value)  # torch.fx would add where it was
    with pytest.raises(ProfilerError, match="ranges is one of min_max, average, mse, entropy, not 'maximum'"):
        recreate(block, EVERYTHING, [images(4)], ranges="maximum")
    with pytest.raises(ProfilerError, match="training mode"):
        recreate(block.train(), EVERYTHING, [images(4)])
    with pytest.raises(ProfilerError, match=r"torch\.fx cannot trace Branching"):
        layers_of(Branching())


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        (lambda net, x: net.conv(x), "gives a tensor (1, 4, 8, 8); a classifier gives a tensor (1, classes)"),
        (lambda net, x: (net.head(net.conv(x).mean((2, 3))), x), "the model gives tuple; a classifier gives"),
        (lambda net, x: net.head(functional.dropout(net.conv(x).mean((2, 3)))), "does it draw random numbers"),
        (lambda net, x: net.head([y := net.conv(x), y[:, 0].relu_(), y][2].mean((2, 3))), "part of a tensor in place"),
    ],
)
def test_what_is_no_classifier_or_traced_wrong_is_refused(compute, told: str):
    torch.manual_seed(0)
    with pytest.raises(ProfilerError) as error:
        recreate(Network(compute).eval(), EVERYTHING, [images(4)])
    assert told in str(error.value)


def test_what_is_overwritten_is_not_compared():
    model = filled(Network(lambda net, x: net.head([y := net.conv(x), y[:, 0].zero_(), y][2].mean((2, 3)))))
    with pytest.raises(ProfilerError, match="conv: its output is changed in place later"):
        profile(recreate(model, EVERYTHING, [images(4)]), images(2), torch.zeros(2, dtype=torch.long))


class TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def test_a_classifier_takes_one_tensor():
    with pytest.raises(ProfilerError, match="TwoInputs takes x, y: one tensor is expected"):
        layers_of(TwoInputs())


@pytest.mark.parametrize("ranges", ["min_max", "average", "mse", "entropy"])
def test_every_way_to_choose_ranges_serves(block, ranges: str):
    x = images(20)
    made = recreate(block, EVERYTHING, x.split(5), ranges=ranges)
    grid = made.recreated.stem_0_recreated.input
    low, high = (grid.values(torch.tensor([code - grid.zero_point])).item() for code in (-128, 127))
    step = grid.scale
    assert (abs(low - x.min()) <= step and abs(high - x.max()) <= step) == (ranges == "min_max")
    assert x.min() - step <= low < 0 < high <= x.max() + step  # the others cut on purpose
    assert math.isfinite(profile(made, x, torch.zeros(20, dtype=torch.long)).ratios["head"].ratio_of_sums)
