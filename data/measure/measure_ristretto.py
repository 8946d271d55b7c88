"""Measure Ristretto's number systems on a whole network, with and without fine-tuning, and write the table to
data/weights.

    python data/measure/measure_ristretto.py lenet5_caffe
    python data/measure/measure_ristretto.py classyclassifier-shapes --without-tuning

Every setting of `course_utils.ristretto.table` on all test images. Ranges come from 1,000 training images, fine-tuning
has a few steps whose number and learning rate were fixed beforehand. Caffe's networks, MNIST and CIFAR-10 are found in
COURSE_DATA. Figures are kept as they come; started again, the script goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.data import cifar10, shapes
from course_utils.data.mnist import mnist
from course_utils.networks.caffe import caffe_network
from course_utils.networks.models import WEIGHTS, accuracy, load_trained, normalize
from course_utils.networks.stored_table import write_stored
from course_utils.ristretto import fine_tune, measure, quantized
from course_utils.ristretto.table import SETTINGS, table_path

CALIBRATION, BATCH, SEED = 1000, 100, 0
TRAINING = {  # steps, learning rate of the first one: of Caffe's networks what they were trained with at last
    "lenet5_caffe": (300, 0.01),
    "cifar10_full_65000": (100, 0.0001),
    "classyclassifier-shapes": (300, 0.001),
}
DATA = {"lenet5_caffe": mnist, "cifar10_full_65000": cifar10, "classyclassifier-shapes": shapes}


@dataclass(frozen=True)
class Subject:
    """A float network, what images go through before it, and uint8 images with labels to test and to train on."""

    model: nn.Module
    prepare: Callable[[Tensor], Tensor]
    test: tuple[Tensor, Tensor]
    training: tuple[Tensor, Tensor]


def subject(name: str) -> Subject:
    data = DATA[name]
    if name.startswith("classyclassifier"):
        return Subject(load_trained(name), normalize, data(False), data(True))
    network = caffe_network(name)
    return Subject(network.model, network.prepare, data(False), data(True))


def digest(network: nn.Module) -> str:
    """Of all weights, so that a table is not continued with others."""
    whole = hashlib.sha256()
    for name, value in network.state_dict().items():
        whole.update(name.encode() + value.contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("network", choices=SETTINGS)
    parser.add_argument("--without-tuning", action="store_true", help="leave fine-tuning for another time")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, (steps, learning_rate) = options.network, TRAINING[options.network]
    own, path = subject(name), table_path(name, options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    images, labels = own.prepare(own.test[0]), own.test[1]
    facts: dict[str, object] = {"network": name, "data": DATA[name].__name__, "images": len(images)}
    facts |= {"calibration images": CALIBRATION, "steps": steps, "batch": BATCH, "learning rate": learning_rate}
    facts |= {"training images": len(own.training[0]), "seed": SEED, "weights": digest(own.model)}
    facts |= {"torch": torch.__version__, "python": platform.python_version()}
    facts["script"] = "data/measure/measure_ristretto.py"

    def score(network: nn.Module) -> float:
        return round(accuracy(network, images, labels, BATCH), 4)

    rows: dict[str, dict] = {}
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        facts["float"] = stored["facts"]["float"]
        if stored["facts"] != facts:
            parser.error(f"{path} is of another measurement: {stored['facts']}; remove it to begin anew")
        rows = stored["rows"]
    else:
        facts["float"] = score(own.model)
    ranges = measure(own.model, own.prepare(own.training[0][:CALIBRATION]))

    def keep(row: str, started: float, what: str, figure: float) -> None:
        write_stored(path, facts, rows={name: rows[name] for name in SETTINGS[options.network] if name in rows})
        print(f"{row:50s} {what:12s} {figure:.4f}   {time.process_time() - started:5.1f} s", flush=True)

    # what is trained comes first: the lecture's rows are among it
    for row, setting in sorted(SETTINGS[name].items(), key=lambda item: not item[1].tuned):
        formats = setting.formats(own.model, ranges)
        if row not in rows:
            started = time.process_time()
            rows[row] = {"accuracy": score(quantized(own.model, formats)), "tuned": {}}
            keep(row, started, "", rows[row]["accuracy"])
        for rounding in () if options.without_tuning else setting.tuned:
            if rounding in rows[row]["tuned"]:
                continue
            started = time.process_time()
            network = fine_tune(
                own.model,
                formats,
                *own.training,
                steps=steps,
                learning_rate=learning_rate,
                rounding=rounding,
                batch=BATCH,
                seed=SEED,
                prepare=own.prepare,
                progress=False,
            )
            rows[row]["tuned"][rounding] = score(network)
            keep(row, started, rounding, rows[row]["tuned"][rounding])


if __name__ == "__main__":
    main()
