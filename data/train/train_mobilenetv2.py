"""Train the small MobileNetV2 and write its weights to data/weights.

    python data/train/train_mobilenetv2.py --dataset cifar10 --seed 0

The schedule is fixed beforehand and the last epoch is kept: the test set is looked at once, at the end. It is trained
as SimpleNet is. After every epoch the state is saved in build/, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from train_classyclassifier import load, save
from train_simplenet import train

from course_utils.networks.models import WEIGHTS, mobilenet_v2

EPOCHS = {"cifar10": 24, "shapes": 6}
PEAK_LEARNING_RATE = 0.2
LABEL_SMOOTHING = 0.1
ROOT = Path(__file__).resolve().parents[2]


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
    images, labels = load(options.dataset, train=True)
    settings = {"epochs": epochs, "learning_rate": PEAK_LEARNING_RATE, "label_smoothing": LABEL_SMOOTHING}
    model = train(mobilenet_v2, images, labels, options.seed, checkpoint=checkpoint, **settings)
    save(model, name, "data/train/train_mobilenetv2.py", options.seed, epochs, options.output)


if __name__ == "__main__":
    main()
