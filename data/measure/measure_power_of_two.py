"""Measure what whole numbers and powers of two cost a network, and write the table to data/weights.

    python data/measure/measure_power_of_two.py simplenet-shapes
    python data/measure/measure_power_of_two.py retail --columns float power_of_two --bits 4 8 16

Every variant of `course_utils.networks.power_of_two_table`, or those that are named, at each of its numbers of bits, on
all test images of the network's data. Figures are kept as they come; started again, the script goes on. The photos are
found in COURSE_DATA. A cell takes seconds of one core: of SimpleNet 3 to 6, of a detector 5 to 15.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from course_utils.data import cifar10, detection_data, shapes
from course_utils.networks.detection import detect, mean_average_precision, stretch
from course_utils.networks.models import WEIGHTS, accuracy, detector, load_trained, normalize
from course_utils.networks.power_of_two_table import BITS, VARIANTS, cells, table_path
from course_utils.networks.stored_table import write_stored
from course_utils.quantization.integer_network import Calibrated
from course_utils.quantization.power_of_two import document_fold

NETWORKS = ("simplenet-shapes", "simplenet-cifar10", "scenes", "retail", "coco")
BATCHES, BATCH = 24, 8  # the report's program stops one short of its 25 batches
SEED = 0
SCORE_THRESHOLD, IOU_THRESHOLD = 0.005, 0.45  # as for the float detectors, see data/README.md
CALIBRATED_ON = {"scenes": "scenes-train", "coco": "coco-train", "retail": "retail"}  # retail has no training photos


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        model: the float network, or a detector's graph.
        batches: calibration images, by the name of a variant's ``calibration``.
        measure: of what the network, or one in its place, gets right: 0 to 1.
        facts: of the data, for the table.
    """

    model: nn.Module
    batches: dict[str, list[Tensor]]
    measure: Callable[[Callable], float]
    facts: dict[str, object]


def drawn(images: Sequence[Tensor] | Tensor) -> list[int]:
    """Which images calibrate: 192 of them, or all if there are fewer."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    return order[: BATCHES * BATCH].tolist()


def sample(images: Tensor) -> list[Tensor]:
    """Batches to calibrate with, of images uint8 (N, 3, 32, 32)."""
    return list(normalize(images[drawn(images)]).split(BATCH))


def classifier(name: str) -> Subject:
    load = {"shapes": shapes, "cifar10": cifar10}[name.removeprefix("simplenet-")]
    (images, labels), (training, _) = load(False), load(True)
    pixels = normalize(images)
    facts = {"data": name.removeprefix("simplenet-"), "measure": "accuracy", "images": len(images)}
    batches = {"training": sample(training), "test": sample(images)}
    return Subject(load_trained(name), batches, lambda network: accuracy(network, pixels, labels), facts)


def detector_of(name: str) -> Subject:
    test, training, net = detection_data(name), detection_data(CALIBRATED_ON[name]), detector(name)

    def batches(images: Sequence[Tensor]) -> list[Tensor]:
        inputs = torch.cat([stretch(images[i], net.size)[0] for i in drawn(images)])
        return [part for part in inputs.split(BATCH) if len(part) == BATCH]  # each counts alike in a mean

    def measure(network: Callable) -> float:
        found = detect(net.computed_by(network), test.images, SCORE_THRESHOLD, IOU_THRESHOLD)
        return mean_average_precision(found, test.boxes, test.labels, len(test.classes))

    facts = {"data": name, "measure": "mAP@0.5", "images": len(test), "calibrated on": CALIBRATED_ON[name]}
    return Subject(net.graph(), {"training": batches(training.images), "test": batches(test.images)}, measure, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--columns", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--bits", nargs="+", type=int, choices=BITS, default=BITS, metavar="BITS")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    gc.disable()  # at two bits there are ten million boxes: half of the time went into looking through COCO's dicts
    subject = (classifier if options.network.startswith("simplenet") else detector_of)(options.network)
    path = table_path(options.network, options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"network": options.network} | subject.facts
    facts["calibration images"] = sum(map(len, subject.batches["training"]))
    facts |= {"seed": SEED, "torch": torch.__version__, "python": platform.python_version()}
    facts["script"] = "data/measure/measure_power_of_two.py"
    figures: dict[str, dict[str, float]] = {}
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        facts["float"] = stored["facts"]["float"]
        if stored["facts"] != facts:
            parser.error(f"{path} is of another measurement: {stored['facts']}; remove it to begin anew")
        figures = stored["figures"]
    else:
        facts["float"] = round(subject.measure(subject.model), 4)
    calibrated: dict[tuple[str, bool], Calibrated] = {}
    for name, bits in cells():
        if name not in options.columns or bits not in options.bits or str(bits) in figures.get(name, {}):
            continue
        started, variant = time.process_time(), VARIANTS[name]
        kind = variant.calibration, variant.printed_fold
        if kind not in calibrated:
            fuse = document_fold if variant.printed_fold else fuse_conv_bn_eval
            calibrated[kind] = Calibrated(subject.model, subject.batches[variant.calibration], fuse)
        figure = round(subject.measure(calibrated[kind].quantized(variant.scheme(bits))), 4)
        figures.setdefault(name, {})[str(bits)] = figure
        write_stored(path, facts, figures={name: figures[name] for name in VARIANTS if name in figures})
        print(f"{name:36s}{bits:3d} bits {figure:.4f}   {time.process_time() - started:5.1f} s", flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
