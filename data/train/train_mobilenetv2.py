"""Train the small MobileNetV2 and write its weights to data/weights.

    python data/train/train_mobilenetv2.py --dataset cifar10 --seed 0

The schedule is fixed beforehand and the last epoch is kept: the test set is looked at once, at the end. After every
epoch the state is saved in build/, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from train_classyclassifier import augment, load, save

from course_utils.networks.models import WEIGHTS, mobilenet_v2, normalize

EPOCHS = {"cifar10": 24, "shapes": 6}
BATCH = 128
PEAK_LEARNING_RATE = 0.2
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1
ROOT = Path(__file__).resolve().parents[2]


def train(images: torch.Tensor, labels: torch.Tensor, seed: int, epochs: int, checkpoint: Path) -> nn.Module:
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    model = mobilenet_v2().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), PEAK_LEARNING_RATE, 0.9, weight_decay=WEIGHT_DECAY, nesterov=True)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, epochs * steps, pct_start=0.2)
    parts, first = {"model": model, "optimizer": optimizer, "schedule": schedule}, 0
    if checkpoint.is_file():
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
            loss = functional.cross_entropy(model(x), labels[batch], label_smoothing=LABEL_SMOOTHING)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        state = {name: part.state_dict() for name, part in parts.items()}
        partial = checkpoint.with_suffix(".partial")
        torch.save({**state, "random": torch.get_rng_state(), "epochs": epoch + 1}, partial)
        partial.replace(checkpoint)
        print(f"epoch {epoch + 1} of {epochs}: training loss {torch.stack(losses).mean():.4f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=list(EPOCHS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = f"mobilenetv2-{options.dataset}"
    epochs = EPOCHS[options.dataset]
    checkpoint = ROOT / "build" / f"{name}-seed{options.seed}.checkpoint"
    checkpoint.parent.mkdir(exist_ok=True)
    model = train(*load(options.dataset, train=True), options.seed, epochs, checkpoint)
    save(model, name, "data/train/train_mobilenetv2.py", options.seed, epochs, options.output)


if __name__ == "__main__":
    main()
