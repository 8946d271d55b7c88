"""The small classifiers that Caffe came with, as others trained them, from a local folder; nothing is downloaded here.

They are what papers on few bits begin with. The modules are called as the arrays of the files are. Caffe's pooling
rounds the size of its output up and cuts windows off at the border (torch: ``ceil_mode``); an average there divides by
the number of positions inside.

- ``lenet5_caffe``: LeNet-5 after 10,000 steps of Caffe's recipe for MNIST.
- ``lenet5_dns_*``, ``lenet300_dns_*``: LeNet-5 and LeNet-300-100 before and after Dynamic Network Surgery; the sparse
  ones hold zeros where they were pruned. Y. Guo, A. Yao, Y. Chen, arXiv:1608.04493.
- ``cifar10_full_*``: Caffe's "CIFAR-10 full" at two checkpoints.

Stands on torch, NumPy and `published`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.networks.models import WeightsError
from course_utils.networks.published import Published, fill, find_file

__all__ = ["CAFFE", "Cifar10Full", "LeNet5", "LeNet300", "WithinChannelNorm", "caffe_network"]


def caffe_network(name: str, root: str | Path | None = None) -> Published:
    """A trained network and what its images go through.

    Args:
        name: one of `CAFFE`.
        root: folder to look in first, before those of `course_utils.data.places`.

    Returns:
        ``model`` is in eval mode. ``prepare`` takes uint8 images: MNIST's (n, 1, 28, 28) for the LeNets, CIFAR-10's
        (n, 3, 32, 32) for the others.

    Raises:
        WeightsError: if there is no such network, a file of it is not here, or is damaged.
    """
    if name not in CAFFE:
        raise WeightsError(f"no network of Caffe's is called {name!r}; there are {', '.join(CAFFE)}")
    file, make = CAFFE[name]
    model = make()
    fill(model, find_file(file, f"The network {name!r}", root))
    if not isinstance(model, Cifar10Full):
        return Published(model, _in_256ths)
    mean = _mean_image(find_file("cifar10_full/mean_image.npy", f"The mean image of {name!r}", root))
    return Published(model, lambda images: images.float() - mean)


class LeNet5(nn.Module):
    """Caffe's LeNet-5; 431,080 parameters. No ReLU follows the convolutions.

    Float images (n, 1, 28, 28), pixels / 256, to logits (n, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)  # (n, 20, 24, 24)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, 5)  # (n, 50, 8, 8)
        self.pool2 = nn.MaxPool2d(2)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.conv1(x))
        x = self.pool2(self.conv2(x)).flatten(1)
        return self.ip2(functional.relu(self.ip1(x)))


class LeNet300(nn.Module):
    """LeNet-300-100; 266,610 parameters: float images (n, 1, 28, 28), pixels / 256, to logits (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.ip1 = nn.Linear(784, 300)
        self.ip2 = nn.Linear(300, 100)
        self.ip3 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.ip1(x.flatten(1)))
        return self.ip3(functional.relu(self.ip2(x)))


class WithinChannelNorm(nn.Module):
    """Caffe's local response normalization within a channel: x / (1 + alpha m)^beta.

    m is the mean of x^2 over a window of size x size around each position, zeros outside. (`torch.nn.LocalResponseNorm`
    looks across channels.) Float (n, channels, h, w) to the same shape.
    """

    def __init__(self, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        mean = functional.avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)
        return x / (1 + self.alpha * mean) ** self.beta


class Cifar10Full(nn.Module):
    """Caffe's "CIFAR-10 full"; 89,440 weights and 138 biases.

    Float images (n, 3, 32, 32), RGB 0..255 less the mean image, to logits (n, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)  # (n, 32, 32, 32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm1 = WithinChannelNorm()
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)  # (n, 32, 16, 16)
        self.pool2 = nn.AvgPool2d(3, 2, ceil_mode=True)
        self.norm2 = WithinChannelNorm()
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)  # (n, 64, 8, 8)
        self.pool3 = nn.AvgPool2d(3, 2, ceil_mode=True)
        self.ip1 = nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(functional.relu(self.pool1(self.conv1(x))))
        x = self.norm2(self.pool2(functional.relu(self.conv2(x))))
        x = self.pool3(functional.relu(self.conv3(x)))
        return self.ip1(x.flatten(1))


CAFFE: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "lenet5_caffe": ("lenet/lenet5_caffe.npz", LeNet5),
    "lenet5_dns_dense": ("lenet/lenet5_dns_dense.npz", LeNet5),
    "lenet5_dns_sparse": ("lenet/lenet5_dns_sparse.npz", LeNet5),
    "lenet300_dns_dense": ("lenet/lenet300_dns_dense.npz", LeNet300),
    "lenet300_dns_sparse": ("lenet/lenet300_dns_sparse.npz", LeNet300),
    "cifar10_full_65000": ("cifar10_full/cifar10_full_65000.npz", Cifar10Full),
    "cifar10_full_70000": ("cifar10_full/cifar10_full_70000.npz", Cifar10Full),
}
"""Name -> its file, relative to a data folder, and how it is made."""


def _in_256ths(images: Tensor) -> Tensor:
    return images.float() / 256


def _mean_image(path: Path) -> Tensor:
    try:
        mean = torch.from_numpy(np.load(path, allow_pickle=False)).float()
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise WeightsError(f"{path}: damaged, not readable as npy: {error}") from error
    if tuple(mean.shape) != (3, 32, 32) or not mean.isfinite().all():
        raise WeightsError(f"{path}: should be a finite image (3, 32, 32), is {tuple(mean.shape)}")
    return mean
