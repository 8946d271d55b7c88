"""Caffe's small classifiers: their layers against plain loops, their published accuracies, files that are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import fx

from course_utils.data import cifar10, places
from course_utils.data.mnist import mnist
from course_utils.networks import WeightsError, accuracy
from course_utils.networks.caffe import CAFFE, Cifar10Full, LeNet5, LeNet300, WithinChannelNorm, caffe_network

# what the README of the data has: images right of 10,000
CLAIMED = {
    "lenet5_caffe": 9914,
    "lenet5_dns_dense": 9909,
    "lenet5_dns_sparse": 9909,
    "lenet300_dns_dense": 9772,
    "lenet300_dns_sparse": 9801,
    "cifar10_full_65000": 8178,
    "cifar10_full_70000": 8211,
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "cifar10_full_70000" else n for n in CAFFE]
)
def test_accuracy_on_all_test_images_is_the_readmes(course_data, name):
    network = caffe_network(name, course_data)
    images, labels = (cifar10 if name.startswith("cifar10") else mnist)(False, course_data)
    assert round(accuracy(network.model, network.prepare(images), labels) * len(labels)) == CLAIMED[name]


@pytest.mark.parametrize(("model", "numbers"), [(LeNet5, 431_080), (LeNet300, 266_610), (Cifar10Full, 89_578)])
def test_networks_have_the_published_sizes_and_can_be_traced(model, numbers):
    network = model().eval()
    assert sum(p.numel() for p in network.parameters()) == numbers
    x = torch.rand(2, *((3, 32, 32) if model is Cifar10Full else (1, 28, 28)))
    with torch.no_grad():
        y = network(x)
        assert y.shape == (2, 10)
        assert torch.equal(fx.symbolic_trace(network)(x), y)


def windows(size: int, kernel: int, stride: int) -> list[range]:
    """Caffe's: as many as it takes to reach the end, cut off there."""
    count = math.ceil((size - kernel) / stride) + 1
    return [range(i * stride, min(i * stride + kernel, size)) for i in range(count)]


@pytest.mark.parametrize("size", [7, 8])
def test_pooling_is_caffes(size):
    x = torch.randn(1, 2, size, size, dtype=torch.float64)
    rows = windows(size, 3, 2)
    blocks = [[x[0, :, r.start : r.stop, c.start : c.stop].flatten(1) for c in rows] for r in rows]
    network = Cifar10Full()
    for pool, reduced in ((network.pool1, lambda b: b.amax(1)), (network.pool2, lambda b: b.mean(1))):
        expected = torch.stack([torch.stack([reduced(b) for b in row], 1) for row in blocks], 1)
        torch.testing.assert_close(pool(x)[0], expected, rtol=0, atol=1e-14)


def test_normalization_is_within_the_channel():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64) * 100
    y = WithinChannelNorm()(x)
    for position in np.ndindex(x.shape):
        n, c, i, j = position
        around = x[n, c, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        expected = float(x[position]) / (1 + 0.00005 * float((around**2).sum()) / 9) ** 0.75
        assert float(y[position]) == pytest.approx(expected, rel=1e-14)


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """A data folder with an untrained CIFAR-10 full in it."""
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(places, "DATA", tmp_path)
    folder = tmp_path / "cifar10_full"
    folder.mkdir()
    np.savez(folder / "cifar10_full_65000.npz", **{k: v.numpy() for k, v in Cifar10Full().state_dict().items()})
    np.save(folder / "mean_image.npy", np.full((3, 32, 32), 100, np.float32))
    return folder


def test_the_mean_image_is_taken_off(stored):
    network = caffe_network("cifar10_full_65000")
    assert not network.model.training
    images = torch.full((2, 3, 32, 32), 107, dtype=torch.uint8)
    assert torch.equal(network.prepare(images), torch.full((2, 3, 32, 32), 7.0))


def test_what_is_damaged_or_not_here_is_named(stored):
    with pytest.raises(WeightsError, match="no network of Caffe's is called 'lenet'; there are lenet5_caffe, "):
        caffe_network("lenet")
    with pytest.raises(WeightsError, match=r"'lenet5_caffe' is not here: set .* lenet/lenet5_caffe.npz \(looked"):
        caffe_network("lenet5_caffe")
    mean = stored / "mean_image.npy"
    np.save(mean, np.zeros((32, 32, 3), np.float32))
    with pytest.raises(WeightsError, match=r"mean_image.npy: should be a finite image \(3, 32, 32\), is \(32, 32, 3\)"):
        caffe_network("cifar10_full_65000")
    mean.write_bytes(b"no array")
    with pytest.raises(WeightsError, match=r"mean_image\.npy: damaged"):
        caffe_network("cifar10_full_65000")
    mean.unlink()
    with pytest.raises(WeightsError, match="The mean image of 'cifar10_full_65000' is not here"):
        caffe_network("cifar10_full_65000")
