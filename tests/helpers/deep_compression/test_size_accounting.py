"""Every bit by hand for a small tensor; the networks of Dynamic Network Surgery by the same count."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.data.mnist import mnist
from course_utils.deep_compression import STAGES, compress, load, settle, share, size
from course_utils.deep_compression.accounting import PARTS
from course_utils.networks import accuracy
from course_utils.networks.caffe import caffe_network


def linear(weight: list[float], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def test_every_bit_by_hand():
    weight = [0.0] * 400
    for at in range(4, 400, 5):
        weight[at] = 1.0 if at % 2 else 2.0
    counted = size(linear(weight, [3.0]))
    assert (counted.numbers, counted.kept) == (401, 81)
    assert counted.bits("float") == 401 * 32
    # 80 weights, each with four zeros before it: the narrowest gap that holds 4 has 3 bits
    assert counted.bits("pruned") == 80 * (32 + 3) + 32
    # two values and the zero: codes of 2 bits
    assert counted.bits("shared") == 2 * 32 + 80 * (2 + 3) + 32
    # one bit tells the values apart, one bit says the only gap; lengths of 3 codes and 8 gaps
    assert counted.parts() == {
        "codebook": 64,
        "codes": 80,
        "gaps": 80,
        "tables": 6 * (3 + 8),
        "floats": 32,
        "frame": 8 * (15 + 2 * 9 + 5) + -(64 + 80 + 80 + 66) % 8,
    }
    assert counted.bits("huffman") == 64 + 80 + 80 + 66 + 32
    shared = counted.tensors[0]
    assert (shared.name, shared.gap_bits, shared.fillers) == ("weight", 3, 0)
    assert counted.ratio("huffman") == 401 * 32 / 322


def test_stages_of_what_is_not_shared_are_refused_by_name():
    network = nn.Sequential(nn.Linear(30, 30))
    counted = size(network)
    assert counted.bits("float") == counted.bits("pruned") == 32 * 930
    for stage in STAGES[2:]:
        with pytest.raises(ValueError, match=r"0\.weight has more than 255 different values"):
            counted.bits(stage)
    with pytest.raises(ValueError, match=r"share\(\) it first"):
        counted.parts()


@pytest.mark.parametrize(
    ("name", "kept", "numbers", "times"),
    [("lenet5_dns_sparse", 3_993, 431_080, 108), ("lenet300_dns_sparse", 4_988, 266_610, 53)],
)
def test_dynamic_network_surgery_by_the_same_count(course_data, tmp_path, name, kept, numbers, times):
    found = caffe_network(name, course_data)
    counted = size(found.model)
    assert (counted.kept, counted.numbers) == (kept, numbers)
    assert round(numbers / kept) == times
    # positions cost: in float32 with gaps the network is by far not so many times smaller
    assert counted.ratio("pruned") < numbers / kept
    arrays = np.load(course_data / f"lenet/{name}.npz")
    assert sum(np.count_nonzero(arrays[key]) for key in arrays.files) == kept
    before = copy.deepcopy(found.model)
    share(found.model, 5)
    written = compress(found.model, tmp_path / "dns")
    assert 8 * (tmp_path / "dns").stat().st_size == sum(written.parts().values())
    assert set(written.parts()) == set(PARTS)
    loaded = load(tmp_path / "dns", before)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), settle(found.model).parameters(), strict=True))
    images, labels = mnist(train=False, root=course_data)
    assert accuracy(loaded, found.prepare(images[:1000]), labels[:1000]) > 0.9


def test_what_56_times_would_need(course_data):
    counted = size(caffe_network("lenet300_dns_sparse", course_data).model)
    most = counted.numbers // 56
    assert (most, counted.kept - most) == (4_760, 228)
