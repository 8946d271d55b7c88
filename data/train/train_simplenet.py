"""Train SimpleNet and write its weights to data/weights.

    python data/train/train_simplenet.py --dataset cifar10 --seed 0

The schedule is fixed beforehand and the last epoch is kept: the test set is looked at once, at the end. Images and
their augmentation are those of train_classyclassifier.py. With --checkpoint a killed run goes on where it stopped, and
ends with the weights that it would have had.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from train_classyclassifier import augment, load, save

from course_utils.networks.models import WEIGHTS, SimpleNet, normalize

EPOCHS = 10
BATCH = 128
PEAK_LEARNING_RATE = 0.05
WEIGHT_DECAY = 5e-4


def train(
    make: Callable[[], nn.Module],
    images: torch.Tensor,
    labels: torch.Tensor,
    seed: int,
    *,
    epochs: int,
    learning_rate: float,
    checkpoint: Path | None,
    label_smoothing: float = 0.0,
) -> nn.Module:
    """One epoch a line of output; ``checkpoint`` is written after each, and what it holds goes on.

    Args:
        make: the network; called behind the seed.
        images, labels: see `load`.
        learning_rate: at its peak.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    model = make().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, 0.9, weight_decay=WEIGHT_DECAY, nesterov=True)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, epochs * steps, pct_start=0.2)
    parts, first = {"model": model, "optimizer": optimizer, "schedule": schedule}, 0
    if checkpoint is not None and checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        torch.set_rng_state(saved["random"])
        first = saved["epochs"]
    for epoch in range(first, epochs):
        losses = []
        for batch in torch.randperm(len(images))[: steps * BATCH].split(BATCH):
            optimizer.zero_grad()
            x = augment(normalize(images[batch])).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(x), labels[batch], label_smoothing=label_smoothing)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        if checkpoint is not None:
            state = {name: part.state_dict() for name, part in parts.items()}
            partial = checkpoint.with_suffix(".partial")
            torch.save({**state, "random": torch.get_rng_state(), "epochs": epoch + 1}, partial)
            partial.replace(checkpoint)
        print(f"epoch {epoch + 1} of {epochs}: mean training loss {torch.stack(losses).mean():.4f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=["cifar10", "shapes"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the weights")
    parser.add_argument("--checkpoint", type=Path, help="file to write after each epoch, and to go on from")
    options = parser.parse_args()
    images, labels = load(options.dataset, train=True)
    settings = {"epochs": EPOCHS, "learning_rate": PEAK_LEARNING_RATE, "checkpoint": options.checkpoint}
    model = train(SimpleNet, images, labels, options.seed, **settings)
    name, script = f"simplenet-{options.dataset}", "data/train/train_simplenet.py"
    save(model, name, script, options.seed, EPOCHS, options.output)
    if options.checkpoint is not None:
        options.checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
