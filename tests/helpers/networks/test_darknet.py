"""Darknet's files: every kind of section against plain loops, every refusal, and reference outputs of others."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from course_utils.networks import models
from course_utils.networks.darknet import Darknet, DarknetError, Section, load_darknet, read_cfg
from course_utils.networks.models import TinyYOLOv3

HEADER_16 = np.array([0, 1, 0, 0], "<i4").tobytes()  # version 0.1.0, a counter of 32 bits
HEADER_20 = np.array([0, 2, 0, 0, 0], "<i4").tobytes()  # version 0.2.0, a counter of 64 bits

# the sums of a convolution here have at most 4 * 3 * 3 terms of size about 1 in float32: 36 * 2^-24, twenty times over
CLOSE = {"rtol": 1e-4, "atol": 5e-5}


def load(cfg: str, values: list[np.ndarray] | bytes = (), header: bytes = HEADER_20) -> Darknet:
    content = values if isinstance(values, bytes) else header + b"".join(v.astype("<f4").tobytes() for v in values)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.cfg").write_text(cfg)
        (Path(folder) / "net.weights").write_bytes(content)
        return load_darknet(Path(folder) / "net.cfg", Path(folder) / "net.weights")


def net(channels: int, height: int, width: int) -> str:
    return f"[net]\nchannels={channels}\nheight={height}\nwidth={width}\n"


# The reference: loops as darknet has them, float64. x is (channels, height, width).


def convolve(x, weight, bias, stride, padding, groups):
    filters, channels, size, _ = weight.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((side - size) // stride + 1 for side in padded.shape[1:])
    out = np.empty((filters, rows, columns))
    for f in range(filters):
        first = f // (filters // groups) * channels
        for i in range(rows):
            for j in range(columns):
                window = padded[
                    first : first + channels, i * stride : i * stride + size, j * stride : j * stride + size
                ]
                out[f, i, j] = (window * weight[f]).sum() + bias[f]
    return out


def pool(x, size, stride, padding):
    channels, height, width = x.shape
    rows, columns = ((side + padding - size) // stride + 1 for side in (height, width))
    out = np.full((channels, rows, columns), -np.inf)
    for i in range(rows):
        for j in range(columns):
            for a in range(size):
                for b in range(size):
                    row, column = i * stride + a - padding // 2, j * stride + b - padding // 2
                    if 0 <= row < height and 0 <= column < width:
                        out[:, i, j] = np.maximum(out[:, i, j], x[:, row, column])
    return out


def activate(x, name):
    return {"linear": x, "relu": np.maximum(x, 0), "leaky": np.where(x > 0, x, 0.1 * x)}[name]


def compute(network: Darknet, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network.raw_heads(torch.from_numpy(x).float()[None])[0][0].double().numpy()


@settings(deadline=None, max_examples=60)
@given(
    groups=st.integers(1, 3),
    in_each=st.integers(1, 2),
    out_each=st.integers(1, 3),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    size=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.one_of(st.just("pad=1"), st.just("pad=0"), st.just("padding=2")),
    normalized=st.booleans(),
    activation=st.sampled_from(["linear", "relu", "leaky"]),
    header=st.sampled_from([HEADER_16, HEADER_20]),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolution(
    groups, in_each, out_each, height, width, size, stride, padding, normalized, activation, header, seed
):
    pixels = {"pad=1": size // 2, "pad=0": 0, "padding=2": 2}[padding]
    assume(min(height, width) + 2 * pixels >= size)
    random = np.random.default_rng(seed)
    channels, filters = groups * in_each, groups * out_each
    weight = random.normal(size=(filters, in_each, size, size)).astype(np.float32)
    beta, gamma, mean = random.normal(size=(3, filters)).astype(np.float32)
    variance = random.uniform(0.1, 2, filters).astype(np.float32)
    cfg = net(channels, height, width) + (
        f"[convolutional]\nfilters={filters}\nsize={size}\nstride={stride}\n{padding}\ngroups={groups}\n"
        f"activation={activation}\nbatch_normalize={int(normalized)}\n"
    )
    network = load(cfg, [beta, gamma, mean, variance, weight] if normalized else [beta, weight], header)
    x = random.normal(size=(channels, height, width)).astype(np.float32)
    expected = convolve(x, weight, np.zeros(filters) if normalized else beta, stride, pixels, groups)
    if normalized:
        scale = (gamma / np.sqrt(variance + 1e-6))[:, None, None]
        expected = (expected - mean[:, None, None]) * scale + beta[:, None, None]
    expected = activate(expected, activation)
    np.testing.assert_allclose(compute(network, x), expected, **CLOSE)
    np.testing.assert_allclose(compute(network.folded(), x), expected, **CLOSE)


@settings(deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.one_of(st.none(), st.integers(0, 3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_maxpool_pads_as_darknet(height, width, size, stride, padding, seed):
    total = size - 1 if padding is None else padding
    # a window that holds padding only has no largest value: darknet itself gives -FLT_MAX there
    assume(total // 2 < size and min(height, width) + total >= size)
    assume((min(height, width) + total - size) // stride * stride - total // 2 < min(height, width))
    assume((max(height, width) + total - size) // stride * stride - total // 2 < max(height, width))
    option = "" if padding is None else f"padding={padding}\n"
    network = load(net(2, height, width) + f"[maxpool]\nsize={size}\nstride={stride}\n{option}")
    x = np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)
    np.testing.assert_array_equal(compute(network, x), pool(x, size, stride, total))


def test_maxpool_of_stride_1_keeps_the_size_by_padding_right_and_below():
    x = np.array([[[1, 2], [3, 0]]], np.float32) - 10  # negative: a padding of 0 would win
    assert (compute(load(net(1, 2, 2) + "[maxpool]\nsize=2\nstride=1"), x) == [[[-7, -8], [-7, -10]]]).all()


@settings(deadline=None)
@given(groups=st.integers(1, 3), each=st.integers(1, 2), data=st.data())
def test_route_upsample_and_shortcut(groups, each, data):
    """Pools and upsamplings give sections to route from; the routes take a group of each, one behind the other."""
    channels = groups * each
    group = data.draw(st.integers(0, groups - 1))
    sources = data.draw(st.lists(st.sampled_from([0, 2]), min_size=1, max_size=3))
    written = [data.draw(st.sampled_from([source, source - 3])) for source in sources]  # from 0, or back from section 3
    cfg = net(channels, 4, 6) + (
        "[maxpool]\nsize=2\nstride=1\n"
        "[maxpool]\nsize=2\nstride=2\n"
        "[upsample]\nstride=2\n"
        f"[route]\nlayers={','.join(map(str, written))}\ngroups={groups}\ngroup_id={group}\n"
        "[dropout]\nprobability=.5\n"
        "[shortcut]\nfrom=-2\nactivation=leaky\n"
    )
    x = np.random.default_rng(0).normal(size=(channels, 4, 6)).astype(np.float32)
    first = pool(x, 2, 1, 1)
    third = pool(first, 2, 2, 1).repeat(2, axis=1).repeat(2, axis=2)
    outputs = {0: first, 2: third}
    routed = np.concatenate([outputs[source][group * each : (group + 1) * each] for source in sources])
    np.testing.assert_allclose(compute(load(cfg), x), activate(2 * routed, "leaky"), rtol=1e-6)


def test_classifier_averages_and_gives_probabilities():
    network = load(net(3, 5, 4) + "[avgpool]\n[softmax]\ngroups=1\n[cost]\ntype=sse\n")
    x = torch.rand(2, 3, 5, 4)
    assert torch.allclose(network.raw_heads(x)[0], x.mean(dim=(2, 3)))
    assert torch.allclose(network(x), x.mean(dim=(2, 3)).softmax(dim=1))


@pytest.mark.parametrize("ends", ["", "[softmax]\ngroups=1\n", "[softmax]\n[cost]\n"])
def test_a_convolution_may_follow_the_average_as_in_darknet53(ends):
    """Its last convolution is the classifier: 1 x 1, behind [avgpool]."""
    weight, bias = np.random.default_rng(0).normal(size=(2, 3, 1, 1)), np.array([0.5, -0.25])
    cfg = net(3, 5, 4) + "[avgpool]\n[convolutional]\nfilters=2\nsize=1\nactivation=linear\n" + ends
    network = load(cfg, [bias, weight])
    x = torch.rand(2, 3, 5, 4)
    numbers = x.mean(dim=(2, 3)) @ torch.from_numpy(weight[:, :, 0, 0]).float().T + torch.from_numpy(bias).float()
    torch.testing.assert_close(network.raw_heads(x)[0], numbers, **CLOSE)
    torch.testing.assert_close(network(x), numbers.softmax(dim=1) if ends else numbers, **CLOSE)
    torch.testing.assert_close(network.folded()(x), network(x), **CLOSE)


def test_what_an_average_gives_can_be_routed():
    network = load(net(3, 5, 4) + "[avgpool]\n[route]\nlayers=-1,-1\n[softmax]\n")
    x = torch.rand(2, 3, 5, 4)
    torch.testing.assert_close(network.raw_heads(x)[0], x.mean(dim=(2, 3)).repeat(1, 2), **CLOSE)


@pytest.mark.parametrize(
    "written",
    [
        lambda cfg: b"\xef\xbb\xbf" + cfg.encode(),
        lambda cfg: cfg.encode("utf-16"),
        lambda cfg: cfg.replace("\n", "\r\n").encode(),
        lambda cfg: b"# f\xfcr Anf\xe4nger\n" + cfg.encode(),
        lambda cfg: "# 検出器\n".encode("shift_jis") + cfg.encode(),
    ],
)
def test_a_cfg_is_read_whatever_editor_saved_it(written, tmp_path):
    (tmp_path / "net.cfg").write_bytes(written(net(3, 5, 4) + "[avgpool]\n"))
    assert [section.kind for section in read_cfg(tmp_path / "net.cfg")] == ["net", "avgpool"]


def test_yolo_decodes_as_the_paper_says():
    network = load(net(7, 2, 3) + "[yolo]\nmask=1\nanchors=1,1, 2,3\nnum=2\nclasses=2\nscale_x_y=1.1\n")
    head = torch.randn(1, 7, 2, 3, generator=torch.Generator().manual_seed(0)) * 0.5
    boxes, scores = network(head)
    assert boxes.shape == (1, 6, 4) and scores.shape == (1, 6, 2)
    t = head[0].double()
    for i in range(2):
        for j in range(3):
            x, y = (
                float(t[k, i, j].sigmoid() * 1.1 - 0.05 + place) for k, place in ((0, j), (1, i))
            )  # one pixel a cell
            w, h = 2 * float(t[2, i, j].exp()), 3 * float(t[3, i, j].exp())
            corners = [max(0, x - w / 2), max(0, y - h / 2), min(3, x + w / 2), min(2, y + h / 2)]
            assert boxes[0, 3 * i + j].tolist() == pytest.approx(corners, abs=1e-5)
            expected = (t[4, i, j].sigmoid() * t[5:, i, j].sigmoid()).tolist()
            assert scores[0, 3 * i + j].tolist() == pytest.approx(expected, abs=1e-6)


def test_heads_come_in_the_order_of_the_cfg():
    yolo = "[yolo]\nmask=0\nanchors=4,4\nnum=1\nclasses=1\n"
    cfg = net(6, 4, 4) + "[maxpool]\nsize=2\nstride=2\n" + yolo + "[route]\nlayers=-2\n[upsample]\nstride=2\n" + yolo
    coarse, fine = load(cfg).raw_heads(torch.rand(3, 6, 4, 4))
    assert coarse.shape == (3, 6, 2, 2) and fine.shape == (3, 6, 4, 4)
    boxes, _ = load(cfg)(torch.rand(3, 6, 4, 4))
    assert boxes.shape == (3, 4 + 16, 4)


def test_cfg_with_comments_spaces_and_options_twice():
    cfg = (
        "# a comment\n[net]\n channels = 2 # two\nheight=4\nwidth=4\n\n; more\n[maxpool]\nsize=2\nsize=3\nstride = 2\n"
    )
    assert load(cfg).raw_heads(torch.rand(1, 2, 4, 4))[0].shape == (1, 2, 2, 2)


def test_layers_are_torchs_own():
    network = TinyYOLOv3(classes=2, width=0.1, size=32)
    kinds = {type(module) for module in network.modules()}
    assert {nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU, nn.Upsample} <= kinds
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert convolutions == [f"layers.{i}.conv" for i in (0, 2, 4, 6, 8, 10, 12, 13, 14, 15, 18, 21, 22)]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.folded().modules())
    assert all(m.bias is not None for m in network.folded().modules() if isinstance(m, nn.Conv2d))


# Refusals


ONE = "[convolutional]\nfilters=2\nsize=1\nactivation=linear\n"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("[connected]\noutput=3\n", r"section 0 \[connected\]: unknown"),
        (ONE + "[region]\n", r"section 1 \[region\]: unknown"),
        ("[convolutional]\nfilters=2\nactivation=mish\n", r"section 0 \[convolutional\]: activation=mish"),
        ("[convolutional]\nfilters=2\n", "activation=logistic"),
        ("[convolutional]\nfilters=two\nactivation=linear\n", "filters=two"),
        ("[convolutional]\nfilters=0\nactivation=linear\n", "filters=0 should be one integer of at least 1"),
        ("[convolutional]\nfilters=4\ngroups=2\nactivation=linear\n", "3 channels and 4 filters .* 2 groups"),
        ("[convolutional]\nsize=9\nactivation=linear\n", "0 x 0 pixels"),
        ("[convolutional]\ndilation=2\nactivation=linear\n", "dilation=2 is not implemented"),
        ("[convolutional]\nstride_x=2\nactivation=linear\n", "stride_x=2 is not implemented"),
        ("[maxpool]\nsize=2\nstride=0\n", "stride=0"),
        ("[maxpool]\nsize=1\nstride=1\npadding=2\n", "padding=2 is wider than size=1"),
        ("[maxpool]\nsize=12\nstride=1\npadding=0\n", "pixels"),
        ("[route]\nlayers=-1\n", "-1 means section -1"),
        (ONE + "[route]\nlayers=1\n", r"section 1 \[route\]: 1 means section 1, but only 0 to 0"),
        (ONE + "[route]\n", "layers is missing"),
        (
            ONE + "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=0,1\n",
            r"section 1 gives 4 x 4 pixels and section 0 8 x 8",
        ),
        (ONE + "[route]\nlayers=0\ngroups=3\n", "2 channels of section 0 do not fall into 3 groups"),
        (ONE + "[route]\nlayers=0\ngroups=2\ngroup_id=2\n", "group_id=2 should be below groups=2"),
        (ONE + "[maxpool]\nsize=2\nstride=2\n[shortcut]\nfrom=-2\n", r"\(2, 8, 8\).*\(2, 4, 4\)"),
        (ONE + ONE + "[shortcut]\nfrom=-1,-2\n", "one section, not several"),
        (ONE + ONE + "[shortcut]\nfrom=-2\nweights_type=per_channel\n", "weights_type=per_channel"),
        ("[upsample]\nstride=0\n", "stride=0"),
        ("[softmax]\n", "not 8 x 8"),
        ("[avgpool]\n[softmax]\ngroups=3\n", "groups=3 is not implemented"),
        (ONE + "[yolo]\nmask=0\nnum=1\nanchors=1,2\nclasses=3\n", "are 8 channels, but 2 come in"),
        (ONE + "[yolo]\nmask=1\nnum=1\nanchors=1,2\nclasses=3\n", "mask=1 should hold anchors 0 to 0"),
        (ONE + "[yolo]\nmask=0\nnum=2\nanchors=1,2\nclasses=3\n", "num=2 anchors are 4 numbers, found 2"),
        (ONE + "[yolo]\nmask=0\nnum=1\nanchors=0,2\nclasses=3\n", "larger than 0"),
        (ONE + "[yolo]\nmask=0\nnum=1\nanchors=nan,2\nclasses=3\n", "is not a number"),
        (
            ONE + f"[yolo]\nmask=0\nnum=1\nanchors=1,2\nclasses={'9' * 400}\n",
            "classes=9{60} is not a number, .* could hold",
        ),
        (ONE + f"[yolo]\nmask=0\nnum={2**31}\nanchors=1,2\n", "num=2147483648 is not a number"),
        (ONE + "[yolo]\nnew_coords=1\n", "new_coords=1 is not implemented"),
        ("nonsense\n", "line 5 is neither"),
    ],
)
def test_cfg_that_cannot_be_read_is_refused(sections, message):
    with pytest.raises(DarknetError, match=message) as caught:
        load(net(3, 8, 8) + sections)
    assert "net.cfg" in str(caught.value)


YOLO = "[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nmask=0\nnum=1\nanchors=1,2\nclasses=1\n"


@pytest.mark.parametrize("after", [ONE, "[maxpool]\n", "[yolo]\n", "[dropout]\n", "[route]\nlayers=-1\n"])
def test_nothing_goes_on_from_a_yolo(after):
    with pytest.raises(DarknetError, match=r"section 2 .*\[yolo\].* has no output to go on with"):
        load(net(3, 8, 8) + YOLO + after)


def test_cfg_starts_with_net():
    with pytest.raises(DarknetError, match=r"starts with \[net\]"):
        load(ONE)
    with pytest.raises(DarknetError, match=r"starts with \[net\]"):
        load("# nothing\n")
    with pytest.raises(DarknetError, match="height is missing"):
        load("[net]\nwidth=3\n")


def test_weights_that_are_too_short_or_too_long_are_refused():
    cfg = net(3, 8, 8) + "[maxpool]\nsize=2\nstride=2\n" + ONE + ONE  # 4 * (2 + 6) = 32 and 4 * (2 + 4) = 24 bytes
    whole = HEADER_20 + bytes(32 + 24)
    load(cfg, whole)
    load(cfg, HEADER_16 + bytes(32 + 24))
    for length, message in [
        (0, "header is 16 or 20 bytes, found 0"),
        (13, "header of version 0.2 is 20 bytes, found 13"),
        (20, r"section 1 \[convolutional\]: its weights are 32 bytes from byte 20, found 0: truncated"),
        (51, "section 1 .* 32 bytes from byte 20, found 31"),
        (75, "section 2 .* 24 bytes from byte 52, found 23"),
    ]:
        with pytest.raises(DarknetError, match=message) as caught:
            load(cfg, whole[:length])
        assert "net.weights" in str(caught.value)
    with pytest.raises(DarknetError, match=r"section 2 .*: all sections together are 76 bytes, found 80"):
        load(cfg, whole + bytes(4))


@settings(deadline=None)
@given(length=st.integers(0, 200))
def test_every_wrong_length_is_refused(length):
    cfg = net(3, 8, 8) + "[convolutional]\nfilters=2\nsize=1\nbatch_normalize=1\nactivation=relu\n"  # 4 * (4 * 2 + 6)
    content = (HEADER_20 + bytes(200))[:length]
    if length == 20 + 56:
        load(cfg, content)
    else:
        with pytest.raises(DarknetError):
            load(cfg, content)


def test_weights_that_are_no_numbers_are_refused():
    cfg = net(1, 2, 2) + "[convolutional]\nfilters=1\nsize=1\nbatch_normalize=1\nactivation=linear\n"
    with pytest.raises(DarknetError, match=r"section 0 .* NaN or infinity"):
        load(cfg, [np.array([0, np.nan, 0, 1, 1])])
    with pytest.raises(DarknetError, match=r"section 0 .* a variance is negative"):
        load(cfg, [np.array([0, 1, 0, -1, 1])])


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DarknetError, match=r"none\.cfg: cannot be read"):
        load_darknet(tmp_path / "none.cfg", tmp_path / "none.weights")
    (tmp_path / "a.cfg").write_text(net(3, 8, 8))
    with pytest.raises(DarknetError, match=r"none\.weights: cannot be read"):
        load_darknet(tmp_path / "a.cfg", tmp_path / "none.weights")


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 3, 8, 9), (1, 4, 8, 8)])
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(batch, 3, 8, 8\)"):
        load(net(3, 8, 8) + "[maxpool]\nsize=2\nstride=2\n").raw_heads(torch.rand(shape))


# TinyYOLOv3


# table 3.2 of the tuwien report: kind, filters, and side of the output; 21 and 22 as the route of 20 makes them
TABLE = [
    *(("convolutional", 16, 416), ("maxpool", 16, 208), ("convolutional", 32, 208), ("maxpool", 32, 104)),
    *(("convolutional", 64, 104), ("maxpool", 64, 52), ("convolutional", 128, 52), ("maxpool", 128, 26)),
    *(("convolutional", 256, 26), ("maxpool", 256, 13), ("convolutional", 512, 13), ("maxpool", 512, 13)),
    *(("convolutional", 1024, 13), ("convolutional", 256, 13), ("convolutional", 512, 13), ("convolutional", 255, 13)),
    *(("yolo", 0, 0), ("route", 0, 0), ("convolutional", 128, 13), ("upsample", 128, 26), ("route", 0, 0)),
    *(("convolutional", 256, 26), ("convolutional", 255, 26), ("yolo", 0, 0)),
]


def test_tiny_yolov3_is_the_documents():
    network = TinyYOLOv3(classes=80)
    assert [section.kind for section in network.sections] == [kind for kind, _, _ in TABLE]
    shapes = {}
    for number, layer in enumerate(network.layers):
        layer.register_forward_hook(lambda _, __, output, number=number: shapes.update({number: output.shape}))
    with torch.no_grad():
        network.eval().raw_heads(torch.zeros(1, 3, 416, 416))
    for number, (kind, filters, side) in enumerate(TABLE):
        if filters:
            assert shapes[number] == (1, filters, side, side), (number, kind)
    assert shapes[20] == (1, 384, 26, 26)
    # yolov3-tiny.weights as published is 35,434,956 bytes: a header of 20 and so many float32
    numbers = sum(t.numel() for t in network.state_dict().values() if t.is_floating_point())
    assert 20 + 4 * numbers == 35_434_956


@pytest.mark.parametrize(("width", "size"), [(0.01, 32), (0.25, 128), (1.5, 64)])
def test_tiny_yolov3_at_any_width(width, size):
    network = TinyYOLOv3(classes=3, width=width, size=size)
    assert network.layers[12].conv.out_channels == round(1024 * width)
    x = torch.rand(2, 3, size, size)
    coarse, fine = network.raw_heads(x)
    assert coarse.shape == (2, 24, size // 32, size // 32) and fine.shape == (2, 24, size // 16, size // 16)
    boxes, scores = network(x)
    candidates = 3 * (size // 32) ** 2 + 3 * (size // 16) ** 2
    assert boxes.shape == (2, candidates, 4) and scores.shape == (2, candidates, 3)
    sum(head.sum() for head in network.raw_heads(x)).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_tiny_yolov3_uses_its_anchors():
    anchors = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12))
    network = TinyYOLOv3(classes=3, width=0.1, size=32, anchors=anchors)
    assert [yolo.anchors for yolo in network.yolos] == [list(anchors[3:]), list(anchors[:3])]


def test_tiny_yolov3_refuses():
    with pytest.raises(DarknetError, match="size=100 should be a multiple of 32"):
        TinyYOLOv3(classes=3, size=100)
    with pytest.raises(DarknetError, match="classes=0"):
        TinyYOLOv3(classes=0)


def test_tiny_yolov3_and_a_cfg_of_its_sections_are_one_network():
    torch.manual_seed(0)
    network = TinyYOLOv3(classes=2, width=0.1, size=32).eval()
    cfg = net(3, 32, 32) + "".join(
        f"[{section.kind}]\n" + "".join(f"{name}={value}\n" for name, value in section.options.items())
        for section in network.sections
    )
    values = []
    for layer in network.layers:
        if isinstance(layer, nn.Sequential):
            norm = getattr(layer, "norm", None)
            tensors = [norm.bias, norm.weight, norm.running_mean, norm.running_var] if norm else [layer.conv.bias]
            values += [tensor.detach().numpy() for tensor in [*tensors, layer.conv.weight]]
    loaded = load(cfg, values)
    x = torch.rand(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(loaded.raw_heads(x), network.raw_heads(x), strict=True))


# Networks and outputs of others


NETWORKS = {
    "yolov3-tiny-aix2022": ("retail_input", 904_694, [13, 20]),
    "yolo-fastest-1.1": ("coco_input", 346_062, [120, 129]),
}


@pytest.fixture(scope="module")
def golden(course_data):
    with np.load(course_data / "darknet" / "darknet_golden.npz") as file:
        return dict(file)


def published(course_data: Path, name: str) -> Darknet:
    return models.load_darknet(*(course_data / "darknet" / f"{name}.{ending}" for ending in ("cfg", "weights")))


@pytest.mark.parametrize("name", NETWORKS)
def test_published_detectors_give_the_reference_outputs(course_data, golden, name):
    image, parameters, sections = NETWORKS[name]
    network = published(course_data, name)
    assert sum(t.numel() for t in network.state_dict().values() if t.is_floating_point()) == parameters
    x = torch.from_numpy(golden[image]).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        heads = network.raw_heads(x)
    for head, section in zip(heads, sections, strict=True):
        expected = golden[f"{name.replace('-', '_').replace('.', '_')}_layer{section}"]
        # what remains is the order of float32 sums over 20 to 90 layers of values up to 20 (found: 1e-4 at most);
        # 1e-5 instead of 1e-6 added to the variances would show as 0.01
        assert np.abs(head[0].numpy() - expected).max() < 1e-3


def test_published_classifier_gives_the_reference_outputs(course_data, golden):
    network = published(course_data, "tiny")
    with zipfile.ZipFile(course_data / "imagenet" / "imagenet_250.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        images = [np.array(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    logits = []
    with torch.no_grad():
        for batch in torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).split(25):
            logits.append(network.raw_heads(batch.float() / 255)[0])
    logits = torch.cat(logits)
    assert np.abs(logits[:20].numpy() - golden["tiny_logits_first20"]).max() < 1e-3
    # where two logits are closer than the two implementations, their order may differ
    best, expected = logits.topk(5).indices, torch.from_numpy(golden["tiny_top5_250"]).long()
    assert (logits.gather(1, best) - logits.gather(1, expected)).abs().max() < 1e-3
    assert (best == expected).float().mean() > 0.99


def test_published_cfgs_hold_every_kind_of_section(course_data):
    kinds = {section.kind for path in (course_data / "darknet").glob("*.cfg") for section in read_cfg(path)}
    expected = "net convolutional maxpool route shortcut upsample dropout cost avgpool softmax yolo"
    assert kinds == set(expected.split())


def test_a_section_says_what_it_is():
    assert str(Section("maxpool", {}, 3).error("wrong")) == "section 3 [maxpool]: wrong"
