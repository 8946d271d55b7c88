"""Compress a trained network stage by stage and write what each stage costs and saves to data/weights.

    python data/train/train_deep_compression.py classyclassifier-cifar10

Two files: ``deep_compression-<network>.deepc`` is the compressed network, ``deep_compression-<network>.json`` has its
sizes and accuracies, pruned networks before and after retraining, and codebooks of each initialisation, of pruned and
of dense networks, before and after training. Runs are kept as they end; started again, the script goes on.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from train_classyclassifier import augment, load

from course_utils.data.mnist import mnist
from course_utils.deep_compression import INITIALISATIONS, compress, prune, settle, share, size
from course_utils.deep_compression import load as load_compressed
from course_utils.deep_compression.accounting import TensorSize
from course_utils.low_bit import fit
from course_utils.networks.caffe import CAFFE, caffe_network
from course_utils.networks.models import WEIGHTS, accuracy, load_trained, normalize
from course_utils.networks.stored_table import stored_path, write_stored

BATCH = 64
SEED = 0
RANDOM_SEEDS = (0, 1)
"""Of the random initialisation in the comparison."""
CLUSTER_BITS = (2, 3, 4)
CLUSTER_STEPS = 60
COMPARED = 2_500
"""Test images, the first ones, that codebooks and shares are compared on; the stages are measured on all."""
CURVE = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
CURVE_STEPS = 150
SCRIPT = "data/train/train_deep_compression.py"
CHECKPOINTS = Path(__file__).resolve().parents[2] / "build" / "deep_compression"


@dataclass(frozen=True)
class Plan:
    """How a network is compressed; fixed before the run.

    Attributes:
        shares: pruned of each layer.
        bits: of a code.
        steps: of the retraining, and of the codebooks' training.
        learning_rates: of Adam at its peak, for both.
    """

    shares: Mapping[str, float]
    bits: int
    steps: tuple[int, int]
    learning_rates: tuple[float, float]


_CLASSY = Plan(
    {"layer1_conv": 0.1, "layer3_conv": 0.5, "layer6_fc": 0.77, "layer7_fc": 0.6, "layer8_fc": 0.3},
    bits=5,
    steps=(4000, 800),
    learning_rates=(1e-3, 5e-4),
)
PLANS = {
    "classyclassifier-cifar10": _CLASSY,
    # 4,000 steps with the plan above cost 1.4 points of these images; 16,000 cost 0.3, for 14.8 times
    "classyclassifier-shapes": replace(_CLASSY, shares=_CLASSY.shares | {"layer6_fc": 0.79}, steps=(10_000, 1000)),
    # what the paper keeps of LeNet-5: 66, 12, 8 and 19 of a hundred
    "lenet5_caffe": Plan(
        {"conv1": 0.34, "conv2": 0.88, "ip1": 0.92, "ip2": 0.81},
        bits=5,
        steps=(300, 200),
        learning_rates=(1e-3, 3e-4),
    ),
}


class Course:
    """A network, its data, and how it trains and is measured."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name in CAFFE:
            found = caffe_network(name)
            self.model, self.prepare, self.dataset = found.model, found.prepare, "mnist"
            self.training, self.test = mnist(train=True), mnist(train=False)
            self.augmented: Callable[[Tensor], Tensor] = self.prepare
        else:
            self.dataset = name.rpartition("-")[2]
            self.model, self.prepare = load_trained(name), normalize
            self.training, self.test = load(self.dataset, train=True), load(self.dataset, train=False)
            # channels last: a fifth less time on this kind of processor
            self.augmented = lambda images: augment(normalize(images)).contiguous(memory_format=torch.channels_last)

    def accuracy(self, network: nn.Module, first: int | None = None) -> float:
        images, labels = (part[:first] for part in self.test)
        return round(accuracy(network.eval(), self.prepare(images), labels), 4)

    def train(self, network: nn.Module, steps: int, learning_rate: float) -> nn.Module:
        torch.manual_seed(SEED)
        order = torch.Generator().manual_seed(SEED)
        fit(network, *self.training, steps, learning_rate, order, BATCH, self.augmented)
        return network.eval()

    def kept(self, stage: str, make: Callable[[], nn.Module]) -> nn.Module:
        """A trained network with plain weights; trained once, then read again."""
        path = CHECKPOINTS / f"{self.name}-{stage}.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(settle(make()).state_dict(), path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
        network = copy.deepcopy(self.model)
        network.load_state_dict(load_file(path))
        return network.eval()

    def pruned(self, plan: Plan) -> nn.Module:
        network = copy.deepcopy(self.model)
        prune(network, plan.shares)
        return network

    def retrained(self, plan: Plan) -> nn.Module:
        return self.kept("retrained", lambda: self.train(self.pruned(plan), plan.steps[0], plan.learning_rates[0]))

    def shared(self, plan: Plan) -> nn.Module:
        network = self.retrained(plan)
        share(network, plan.bits)
        return network

    def trained(self, plan: Plan) -> nn.Module:
        return self.kept("trained", lambda: self.train(self.shared(plan), plan.steps[1], plan.learning_rates[1]))


def stages(course: Course, plan: Plan, file: Path, done: list[dict]) -> Iterator[dict]:
    """The pipeline, one line a stage; the last one writes the file."""
    makers: dict[str, tuple[str, Callable[[], nn.Module]]] = {
        "float": ("float", lambda: course.model),
        "pruned": ("pruned", lambda: course.pruned(plan)),
        "retrained": ("pruned", lambda: course.retrained(plan)),
        "shared": ("shared", lambda: course.shared(plan)),
        "codebook trained": ("shared", lambda: course.trained(plan)),
    }
    lines = {run["stage"]: run for run in done}
    for stage, (counted, make) in makers.items():
        if stage not in lines:
            network = make()
            lines[stage] = _line(stage, network, counted, course.accuracy(network))
            yield lines[stage]
    if "huffman" in lines:
        return
    network = course.trained(plan)
    sizes = compress(network, file)
    file.chmod(0o644)
    loaded = load_compressed(file, copy.deepcopy(course.model)).state_dict()
    if not all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items()):
        raise RuntimeError(f"{file} does not load as it was written")
    on_disk = file.stat().st_size
    yield {
        **_line("huffman", network, "huffman", lines["codebook trained"]["accuracy"]),  # it is the same network
        "file_bytes": on_disk,
        "file_ratio": round(sizes.bits("float") / (8 * on_disk), 2),
        "parts": sizes.parts(),
        "tensors": [_tensor(tensor) for tensor in sizes.tensors],
    }


def _line(stage: str, network: nn.Module, counted: str, accuracy: float) -> dict:
    sizes = size(network)
    ratio = round(sizes.ratio(counted), 2)
    return {"stage": stage, "accuracy": accuracy, "bytes": -(-sizes.bits(counted) // 8), "ratio": ratio}


def _tensor(tensor: TensorSize) -> dict:
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in asdict(tensor).items()}


def clusters(course: Course, plan: Plan, done: list[dict]) -> Iterator[dict]:
    """Codebooks of pruned and dense networks, before and after a short training."""
    made = {(r["pruned"], r["bits"], r["init"], r["seed"]) for r in done}
    for bits in CLUSTER_BITS:
        for pruned in (True, False):
            for init in INITIALISATIONS:
                for seed in RANDOM_SEEDS if init == "random" else (0,):
                    if (pruned, bits, init, seed) in made:
                        continue
                    network = course.retrained(plan) if pruned else copy.deepcopy(course.model)
                    share(network, bits, init, torch.Generator().manual_seed(seed))
                    run = {"pruned": pruned, "bits": bits, "init": init, "seed": seed}
                    run["before"] = course.accuracy(network, COMPARED)
                    course.train(network, CLUSTER_STEPS, plan.learning_rates[1])
                    run["after"] = course.accuracy(network, COMPARED)
                    yield run


def curve(course: Course, plan: Plan, done: list[dict]) -> Iterator[dict]:
    """All layers pruned by the same share, before and after a short retraining."""
    for part in CURVE:
        if part in {run["share"] for run in done}:
            continue
        network = copy.deepcopy(course.model)
        prune(network, part)
        run = {"share": part, "before": course.accuracy(network, COMPARED)}
        course.train(network, CURVE_STEPS, plan.learning_rates[0])
        run["after"] = course.accuracy(network, COMPARED)
        yield run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=PLANS)
    parser.add_argument("--only", choices=["stages", "clusters", "curve"], help="one part of the table")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for both files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan, course = PLANS[options.network], Course(options.network)
    facts = {
        "network": course.name,
        "dataset": course.dataset,
        "training_images": len(course.training[1]),
        "test_images": len(course.test[1]),
        "seed": SEED,
        "batch": BATCH,
        "plan": {**asdict(plan), "steps": list(plan.steps), "learning_rates": list(plan.learning_rates)},
        "compared_on": COMPARED,
        "cluster_steps": CLUSTER_STEPS,
        "curve_steps": CURVE_STEPS,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "script": SCRIPT,
    }
    path = stored_path("deep_compression", options.network, options.output)
    table = {"facts": facts, "stages": [], "clusters": [], "curve": []}
    if path.is_file():
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["facts"] != facts:
            parser.error(f"{path} is of another run: {table['facts']}; remove it and {CHECKPOINTS} to begin anew")
    makers = {
        "stages": lambda: stages(course, plan, path.with_suffix(".deepc"), table["stages"]),
        "clusters": lambda: clusters(course, plan, table["clusters"]),
        "curve": lambda: curve(course, plan, table["curve"]),
    }
    for kind, runs in makers.items():
        if options.only not in (None, kind):
            continue
        started = time.process_time()
        for run in runs():
            run["core_seconds"] = round(time.process_time() - started, 1)
            print({k: v for k, v in run.items() if k not in ("parts", "tensors")}, flush=True)
            table[kind].append(run)
            write_stored(path, **table)
            started = time.process_time()


if __name__ == "__main__":
    main()
