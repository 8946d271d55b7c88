"""Fine-tuning of a trimmed network: rounded weights on the way forward, steps of the float weights behind them.

A step is smaller than the distance between neighbours, so the rounded weights alone could not take it. The float
"shadow" weights collect steps until one of them crosses a border. Stochastic rounding lets every step count on average.

Source: P. Gysel, arXiv:1605.06402, section 4.2. Stands on torch and `layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.ristretto.formats import LayerFormats
from course_utils.ristretto.layers import quantized, rounding_layers
from course_utils.ristretto.trimming import progress_bar

__all__ = ["fine_tune"]

MOMENTUM = 0.9  # Caffe's
ROUNDINGS = ("nearest", "stochastic")


def fine_tune(
    network: nn.Module,
    formats: Mapping[str, LayerFormats],
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    learning_rate: float,
    rounding: str = "nearest",
    batch: int = 100,
    seed: int = 0,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    progress: bool = True,
) -> nn.Module:
    """Trains the float weights through the rounding, which stays as it was chosen.

    Gradient descent with momentum on the cross entropy; the learning rate falls in a line to zero. The network stays in
    eval mode: batch norms keep their statistics.

    Args:
        network: in eval mode, float; not changed.
        formats: path of a layer -> its formats, of `trim` for example.
        images, labels: of the training set; drawn in random order, each once an epoch.
        steps: how many.
        learning_rate: of the first step.
        rounding: of the weights while it trains, ``"nearest"`` or ``"stochastic"``. Afterwards they are rounded to
            nearest; inputs and outputs are always.
        batch: images a step.
        seed: of the order of the images and of stochastic rounding.
        prepare: what a batch of ``images`` goes through before the network takes it.
        progress: whether a bar is drawn.

    Returns:
        The rounding network, as `quantized` makes it. The float weights are its layers' ``layer.weight``.

    Raises:
        ValueError: if ``rounding`` is none of these, ``steps`` is below 1, ``batch`` is more than there are images,
            there is not one label an image, or the loss is not finite any more.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding is one of {', '.join(ROUNDINGS)}, not {rounding!r}")
    if steps < 1 or not 1 <= batch <= len(images) or len(images) != len(labels):
        counts = f"{steps} steps of {batch} of {len(images)} images with {len(labels)} labels"
        raise ValueError(f"a training takes steps of at most all images, and one label an image, not {counts}")
    network = quantized(network, formats)
    generator = torch.Generator().manual_seed(seed)
    layers = rounding_layers(network).values()
    for layer in layers:
        layer.rounding, layer.generator = rounding, generator
    parameters = [p.requires_grad_() for p in network.parameters()]
    optimizer = torch.optim.SGD(parameters, learning_rate, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    order = torch.empty(0, dtype=torch.int64)
    with progress_bar(progress) as bar, torch.enable_grad():
        for _ in bar.track(range(steps), description="fine-tuning"):
            if len(order) < batch:
                order = torch.randperm(len(images), generator=generator)
            chosen, order = order[:batch], order[batch:]
            loss = functional.cross_entropy(network(prepare(images[chosen])), labels[chosen])
            if not loss.isfinite():
                raise ValueError(
                    f"the loss is {float(loss.detach())}: take a smaller learning rate than {learning_rate}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    for layer in layers:
        layer.rounding, layer.generator = "nearest", None
    return network
