"""Train one small network by every method of few bits and write the table to data/weights.

    python data/train/train_low_bit.py --dataset cifar10

Every run of a table has the same network, images and number of steps; there are three seeds, and the test set is looked
at once, at the end.
The budget is short on purpose, so that anybody can repeat the table: what it says is how the methods compare after so
many steps, not how far they come. Runs are kept as they end; started again, the script goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from course_utils.data import cifar10, shapes
from course_utils.low_bit import METHODS, low_bit_layers, refresh_norms, train_method
from course_utils.low_bit.table import read_table
from course_utils.low_bit.training import BATCH
from course_utils.networks.models import WEIGHTS, accuracy, normalize
from course_utils.networks.stored_table import stored_path, write_stored

STEPS = {"cifar10": 500, "shapes": 1500}  # of 100 images; with 500, BNN and QNN guess on shapes
SEEDS = (0, 1, 2)
SHAPES = 50_000  # generated training images, as many as CIFAR-10 has


def load(dataset: str, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,)."""
    if dataset == "cifar10":
        return cifar10(train)
    return shapes(train, count=SHAPES) if train else shapes(train)


def plan() -> list[tuple[str, bool, int]]:
    """(method, ends, seed): each method as in its paper, then those that keep the ends float without that."""
    ways = [(name, not method.keeps_ends) for name, method in METHODS.items()]
    ways += [(name, True) for name, method in METHODS.items() if method.keeps_ends and method.weight_rule]
    return [(name, ends, seed) for seed in SEEDS for name, ends in ways]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=["cifar10", "shapes"], required=True)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = STEPS[options.dataset]
    images, labels = load(options.dataset, train=True)
    test_images, test_labels = load(options.dataset, train=False)
    test_images = normalize(test_images)
    facts = {
        "dataset": options.dataset,
        "steps": steps,
        "batch": BATCH,
        "training_images": len(images),
        "epochs": steps * BATCH / len(images),
        "test_images": len(test_images),
        "network": "course_utils.low_bit.small_network",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "script": "data/train/train_low_bit.py",
    }
    path = stored_path("low_bit", options.dataset, options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    runs = []
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["facts"] != facts:
            parser.error(f"{path} is of another training: {stored['facts']}; remove it to begin anew")
        runs = stored["runs"]
    done = {(run["method"], run["ends"], run["seed"]) for run in runs}
    for name, ends, seed in plan():
        if (name, ends, seed) in done:
            continue
        started = time.process_time()
        network = train_method(name, images, labels, steps, seed, ends=ends)
        run = {"method": name, "ends": ends, "seed": seed, "learning_rate": METHODS[name].learning_rate}
        run["accuracy"] = round(accuracy(network, test_images, test_labels), 4)
        if name == "BinaryConnect, stochastic":
            for layer in low_bit_layers(network):
                layer.weight_rule.as_signs = True
            refresh_norms(network, images[:5000])
            run["accuracy_as_signs"] = round(accuracy(network, test_images, test_labels), 4)
        run["core_seconds"] = round(time.process_time() - started, 1)
        runs = sorted([*runs, run], key=lambda run: plan().index((run["method"], run["ends"], run["seed"])))
        write_stored(path, facts, runs=runs)
        print(run, flush=True)
    for line in read_table(options.dataset, options.output).lines:
        print(f"{line.method:32s} {line.ends!s:5s} {line.mean:.4f} +- {line.spread:.4f}, loss {line.loss:.1f}")


if __name__ == "__main__":
    main()
