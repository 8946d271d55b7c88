"""One small network and one way to train it, the same for every method of the table.

Stands on `methods`, `layers` and `course_utils.networks`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.low_bit.layers import advance, after_step
from course_utils.low_bit.methods import METHODS, Method, low_bit
from course_utils.networks.models import normalize

__all__ = ["fit", "refresh_norms", "small_network", "train_method"]

BATCH = 100


def small_network(classes: int = 10) -> nn.Sequential:
    """Three convolutions and two linear layers, each with a batch normalization behind it; 75,000 weights.

    Small enough that a thousand steps take seconds. Its members 0, 3, 6, 10 and 13 have weights. Float images
    (B, 3, 32, 32) to logits (B, classes), which are normalized, too: sums over weights of +1 and -1 need a scale. No
    biases: the normalizations bring theirs.
    """
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=4, padding=1, bias=False),  # (B, 32, 8, 8)
        *(nn.BatchNorm2d(32), nn.ReLU()),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),  # (B, 64, 4, 4)
        *(nn.BatchNorm2d(64), nn.ReLU()),
        nn.Conv2d(64, 64, 3, bias=False),  # (B, 64, 2, 2)
        *(nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten()),
        nn.Linear(256, 64, bias=False),
        *(nn.BatchNorm1d(64), nn.ReLU()),
        nn.Linear(64, classes, bias=False),
        nn.BatchNorm1d(classes),
    )


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    steps: int,
    learning_rate: float,
    generator: torch.Generator,
    batch: int = BATCH,
    prepare: Callable[[Tensor], Tensor] = normalize,
) -> None:
    """Train for so many steps of Adam, the learning rate up for a fifth of them and down again (torch's OneCycleLR).

    Args:
        network: changed in place, left in training mode.
        images, labels: uint8 (N, C, H, W) and int64 (N,); drawn by ``generator``, each once an epoch.
        steps: of the optimizer.
        learning_rate: at its peak.
        batch: images a step.
        prepare: makes of so many images what the network takes.
    """
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, max(steps, 2), pct_start=0.2)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < batch:
            order = torch.randperm(len(images), generator=generator)
        chosen, order = order[:batch], order[batch:]
        optimizer.zero_grad()
        functional.cross_entropy(network(prepare(images[chosen])), labels[chosen]).backward()
        optimizer.step()
        schedule.step()
        after_step(network)


@torch.no_grad()
def refresh_norms(network: nn.Module, images: Tensor, batch: int = 500) -> None:
    """The batch normalizations' mean and variance anew, over these images, with the weights that a test sees.

    Signs flip until the last step, and a network trained with random weights is tested with others: running averages of
    the training lag behind.

    Args:
        network: changed in place, left in eval mode.
        images: uint8 (N, 3, 32, 32), of the training set.
    """
    network.eval()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of all batches
        norm.train()
    for part in images.split(batch):
        network(normalize(part))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def train_method(
    method: str | Method,
    images: Tensor,
    labels: Tensor,
    steps: int,
    seed: int,
    *,
    ends: bool | None = None,
) -> nn.Sequential:
    """`small_network`, trained by a method, in eval mode, with normalizations refreshed over the first 5,000 images.

    All methods have the same number of steps. Those whose papers start from a trained network spend their
    ``float_share`` of them on that; INQ divides the rest between its shares, after each of which more weights freeze.

    Args:
        method: of `METHODS`, or its name.
        images, labels: of the training set: uint8 (N, 3, 32, 32) and int64 (N,).
        steps: of the optimizer, with 100 images each.
        seed: of the first weights, of the order of the images and of what methods draw.
        ends: whether the first and the last layer are quantized, too; by default as the paper has it.
    """
    method = METHODS[method] if isinstance(method, str) else method
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    model = small_network()
    first = round(method.float_share * steps)
    if first:
        fit(model, images, labels, first, METHODS["float"].learning_rate, order)
    model = low_bit(model, method, ends=ends)
    *stages, end = method.shares or (0.0, 0.0)
    rest, count = steps - first, len(stages)
    for i, share in enumerate(stages):
        advance(model, share)
        fit(model, images, labels, rest * (i + 1) // count - rest * i // count, method.learning_rate, order)
    advance(model, end)
    refresh_norms(model, images[:5000])
    return model
