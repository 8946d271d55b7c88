"""A run that can be repeated: makes the recreated model, measures it, and writes a folder that says all of it.

The folder holds ``configuration.toml`` as it was used, ``summary.json`` (accuracies, their difference, versions),
``layers.csv`` (the ratio of every node), ``graph.svg`` and ``index.html``, which shows them to a person.
"""

from __future__ import annotations

import csv
import json
import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.profiler.comparison import RECREATED, REFERENCE, Outcome, Profile, difference, profile
from course_utils.profiler.configuration import Configuration
from course_utils.profiler.cost import Cost, costs
from course_utils.profiler.errors import ProfilerError
from course_utils.profiler.guesses import Batch
from course_utils.profiler.recreation import Recreation, recreate
from course_utils.profiler.subjects import Subject, subject
from course_utils.quantization import real_quantization
from course_utils.quantization.observers import Observer

__all__ = ["Experiment", "ExperimentError", "Layer", "read_experiment", "run", "run_on", "write_experiment"]


class ExperimentError(ProfilerError):
    """A folder that is not one of `write_experiment`; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Layer:
    """A node of the recreated model, named as the node of the reference that it stands for.

    Attributes:
        layer: the replaced layer, if it is one: its node in the reference; ``name`` too, where nothing was merged.
        inputs: names of those that it takes.
        sqnr, ratio_of_sums: in dB, of its output.
        change: its sqnr less that of its input, in dB; of several inputs the one with the lowest. None for the first.
    """

    name: str
    layer: str
    inputs: tuple[str, ...]
    sqnr: float
    ratio_of_sums: float
    activations: int
    without_noise: int
    change: float | None


FULLY_QUANTIZED = "fully quantized"
"""What the network is called that torch's fx graph mode makes of the same model: weights and activations of 8 bits."""


@dataclass(frozen=True)
class Experiment:
    """
    Attributes:
        data: one line that says what the images are.
        costs: network -> layer, named as in the reference -> its cost.
        missing: network that was to run beside -> why it could not.
    """

    configuration: Configuration
    data: str
    recreation: Recreation
    profile: Profile
    costs: dict[str, dict[str, Cost]]
    missing: dict[str, str] = field(default_factory=dict)

    def layers(self) -> list[Layer]:
        """All nodes, in the network's order."""
        recreated, ratios = self.recreation.recreated, self.profile.ratios
        stands_for = self.recreation.stands_for
        made = {f"{name}_recreated": name for name in self.recreation.replaced}
        layers = []
        for node in recreated.graph.nodes:
            name = stands_for[node.name]
            if name not in ratios:
                continue
            inputs = tuple(stands_for[n.name] for n in node.all_input_nodes if stands_for[n.name] in ratios)
            before = [ratios[n].mean_of_ratios for n in inputs]
            own = ratios[name]
            change = own.mean_of_ratios - min(before) if before and math.isfinite(min(before)) else None
            numbers = (own.mean_of_ratios, own.ratio_of_sums, own.activations, own.without_noise, change)
            layers.append(Layer(name, made.get(node.name, ""), inputs, *numbers))
        return layers


def run(
    configuration: Configuration,
    *,
    find: Callable[[str, str | None], Subject] = subject,
    progress: Callable[[Iterable], Iterable] = iter,
    each: Callable[[Batch], None] = lambda batch: None,
) -> Experiment:
    """Runs an experiment on a network and data that `subject` knows; ``progress`` and ``each`` as in `profile`.

    Args:
        find: `subject`, or what keeps its results for several runs.

    Raises:
        WeightsError, DataError: if the network or the data are not here.
        ProfilerError: if there is no such network, or there are too few images; and see `recreate`.
    """
    on = find(configuration.network, configuration.data)
    drawn = draw(on, configuration)
    return run_on(
        *(on.model, drawn.images, drawn.labels, drawn.calibration, configuration),
        prepare=on.prepare,
        fully_quantized=on.fully_quantized,
        data=on.note,
        classes=on.classes,
        progress=progress,
        each=each,
    )


@dataclass(frozen=True)
class Drawn:
    """What a configuration takes of a subject's images.

    Attributes:
        images, labels: to test on, from the first on.
        calibration: samples, drawn by the configuration's seed.
        samples, sample_labels: others, drawn like them: a search chooses on them.
    """

    images: Tensor
    labels: Tensor
    calibration: Tensor
    samples: Tensor
    sample_labels: Tensor


def draw(on: Subject, configuration: Configuration, samples: int = 0) -> Drawn:
    """
    Args:
        samples: how many are wanted besides those to calibrate with.

    Raises:
        ProfilerError: if there are too few images.
    """
    count = len(on.images) if configuration.images is None else configuration.images
    behind = configuration.samples
    for key, wanted, there in (("images", count, on.images), ("samples", behind + samples, on.calibration)):
        if wanted > len(there):
            raise ProfilerError(f"{key}: there are {len(there):,}, not {wanted:,} ({on.note})")
    drawn = torch.randperm(len(on.calibration), generator=torch.Generator().manual_seed(configuration.seed))
    calibration, others = drawn[:behind], drawn[behind : behind + samples]
    tested = on.images[:count], on.labels[:count]
    return Drawn(*tested, on.calibration[calibration], on.calibration[others], on.calibration_labels[others])


def run_on(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    calibration: Tensor,
    configuration: Configuration,
    *,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    fully_quantized: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    observers: dict[str, Observer] | None = None,
    data: str = "",
    classes: tuple[str, ...] = (),
    progress: Callable[[Iterable], Iterable] = iter,
    each: Callable[[Batch], None] = lambda batch: None,
) -> Experiment:
    """The same on a network and images of your own. What the configuration says of network, images and samples is not
    looked at.

    Args:
        model: in eval mode, as torch.fx can trace it.
        images, labels, prepare: see `profile`.
        calibration: samples, (n, ...), which go through ``prepare``, too.
        fully_quantized: networks to run beside, in place of the one that torch makes; see ``others`` of `profile`.
        observers: one dict for several runs of the same model with the same samples; see `recreate`.
        data: one line that says what the images are.
        classes: their names; progress, each: see `profile`.
    """
    batches = prepare(calibration).split(configuration.batch_size)
    made = recreate(model, configuration.choices, batches, ranges=configuration.ranges, observers=observers)
    others, missing = {}, {}
    if configuration.fully_quantized and fully_quantized:
        others = dict(fully_quantized)
    elif configuration.fully_quantized:
        try:
            others[FULLY_QUANTIZED] = _fully_quantized(model, batches)
        except Exception as error:  # of a network that torch.fx can trace, its quantization may still say anything
            missing[FULLY_QUANTIZED] = f"{type(error).__name__}: {_first_line(error)}"
    outcome = profile(
        *(made, images, labels),
        others=others,
        prepare=prepare,
        batch_size=configuration.batch_size,
        classes=classes,
        progress=progress,
        each=each,
    )
    floats = Recreation(made.reference, made.reference)
    sample = prepare(images[:1])
    costs_of = {REFERENCE: costs(floats, sample), RECREATED: costs(made, sample)}
    return Experiment(configuration, data, made, outcome, costs_of, missing)


def _fully_quantized(model: nn.Module, batches: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    network = real_quantization.quantize(model, batches[0], batches, how="fx")
    with real_quantization.quiet(), torch.no_grad():
        network(batches[0])  # operators that no integer kernel exists for are found here
    return network


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def summary(experiment: Experiment) -> dict:
    """What came of it, and of what: for ``summary.json``."""
    outcomes = experiment.profile.outcomes
    by, error, chance = difference(outcomes[REFERENCE], outcomes[RECREATED])
    last = experiment.layers()[-1]
    return {
        "network": experiment.configuration.network,
        "data": experiment.data,
        "images": len(outcomes[REFERENCE].first),
        "accuracy": {name: _accuracy(one, outcomes[REFERENCE]) for name, one in outcomes.items()},
        "missing": experiment.missing,
        "bytes": {name: _stored(layers.values()) for name, layers in experiment.costs.items()},
        "difference": {"top1": by, "standard_error": error, "probability_if_equal": chance},
        "output_sqnr_db": _number(last.sqnr),
        "output_ratio_of_sums_db": _number(last.ratio_of_sums),
        "replaced": list(experiment.recreation.replaced),
        "left": experiment.recreation.left,
        "seed": experiment.configuration.seed,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "quantization-course": version("quantization-course"),
        },
    }


def _accuracy(one: Outcome, reference: Outcome) -> dict[str, float]:
    told = {"top1": one.top1, "top5": one.top5}
    if one is not reference:
        told["change"], told["standard_error"], _ = difference(reference, one)
    return told


def _stored(layers: Iterable[Cost]) -> int:
    """Bytes of weights and scales, as they are stored."""
    return math.ceil(sum(cost.weights + cost.scales for cost in layers))


def _number(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    return value if value is None or math.isfinite(value) else str(value)


COLUMNS = (
    *("name", "layer", "replaced", "sqnr_db", "change_db", "ratio_of_sums_db", "activations", "without_noise"),
    *("weight_bytes", "scale_bytes", "output_bytes", "operations"),
)


def write_experiment(experiment: Experiment, folder: Path, *, section: str = "") -> Path:
    """Writes the folder; it is made if it is not there, and what a run before wrote there is replaced.

    Args:
        section: HTML for the page, to stand behind the accuracies.

    Returns:
        The page.
    """
    from course_utils.profiler.graph import graph_picture
    from course_utils.profiler.page import page

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration.toml").write_text(experiment.configuration.text, encoding="utf-8")
    text = json.dumps(summary(experiment), indent=1, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "layers.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for layer in experiment.layers():
            cost = experiment.costs[RECREATED].get(layer.layer or layer.name)
            numbers = (layer.sqnr, layer.change, layer.ratio_of_sums, layer.activations, layer.without_noise)
            sizes = [""] * 4 if cost is None else [cost.weights, cost.scales, cost.output, cost.operations]
            names = (layer.name, layer.layer or layer.name, bool(layer.layer))
            table.writerow((*names, *("" if value is None else value for value in numbers), *sizes))
    graph = graph_picture(experiment.layers())
    (folder / "graph.svg").write_text(graph, encoding="utf-8")
    (folder / "index.html").write_text(page(experiment, summary(experiment), graph, section), encoding="utf-8")
    return folder / "index.html"


def read_experiment(folder: Path) -> tuple[dict, dict[str, float]]:
    """What `write_experiment` wrote: the summary, and node -> SQNR in dB.

    Raises:
        ExperimentError: if a file is missing or is not as it was written.
    """
    path = folder / "summary.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        for name in {REFERENCE, RECREATED, *told["accuracy"]}:
            own = told["accuracy"][name]
            float(own["top1"]), float(own["top5"])
            if name != REFERENCE:
                float(own["change"]), float(own["standard_error"])
        float(told["difference"]["standard_error"]), float(told["output_sqnr_db"])
        if not isinstance(told["network"], str) or not isinstance(told["images"], int):
            raise TypeError("network is a text, and images a number")
        path = folder / "layers.csv"
        with path.open(encoding="utf-8", newline="") as file:
            return told, {row["name"]: float(row["sqnr_db"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        told = f"{type(error).__name__}: {error}"
        raise ExperimentError(f"{path}: is not what `course profile` writes ({told})") from error
