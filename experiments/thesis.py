"""Experiments A to G and the two halves of the Lund thesis (5.2), on the course's MobileNetV2; tables of those and of a
search for bits.

    python experiments/thesis.py choose shapes     # A on 1,000 images; writes the configurations beside this script
    python experiments/thesis.py run shapes        # all of them on all test images; writes results.json beside them
    python experiments/thesis.py table             # writes what was found into docs/profiler.md

`course profile experiments/mobilenetv2-shapes/a.toml` runs a single one and writes all about it. Here all go through
the images in one pass, so that the reference is computed once.

The thesis reads five layers each off its figure 5.1: the convolutions that lower the signal-to-noise ratio most, and
those that raise it most. Here they are those with the lowest and the highest change in experiment A.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path

import torch
from rich.progress import track

from course_utils.profiler import (
    Batch,
    Choice,
    Configuration,
    Outcome,
    RatioRecorder,
    difference,
    layers_of,
    profile,
    read_configuration,
    recreate,
    run,
)
from course_utils.profiler.subjects import subject
from course_utils.quantization import real_quantization

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "profiler.md"
NETWORK, CHOOSING_IMAGES, COUNT, FIRST_HALF, CONVOLUTIONS = "mobilenetv2", 1000, 5, 18, 35
DATA = {"cifar10": "CIFAR-10", "shapes": "generated shapes"}

TEXTS = {
    "a": "all convolutions in whole numbers",
    "b": "five high ones in float",
    "c": "five low ones in float",
    "d": "five high ones per tensor",
    "e": "five low ones per tensor",
    "f": "five high ones drop the remainder",
    "g": "five low ones drop the remainder",
    "first_half": "the first 18 only",
    "second_half": "the last 17 only",
}
FULLY, TOLD = "fully quantized", "fully quantized (by TensorFlow Lite; here by torch)"
OPTIONS = {"bc": "quantized = false", "de": "per_channel_quant = false", "fg": "rounding_div = false"}

# SQNR (dB), top-1 and top-5 (%) of tables 5.1 to 5.3
THESIS = {
    "reference": (None, 68.05, 88.40),
    FULLY: (None, 67.39, 87.82),
    "a": (11.14, 63.81, 85.65),
    "b": (10.80, 63.82, 85.69),
    "c": (10.82, 64.00, 85.69),
    "d": (10.70, 63.68, 85.58),
    "e": (10.12, 63.50, 85.18),
    "f": (10.76, 63.95, 85.65),
    "g": (10.31, 63.73, 85.28),
    "first_half": (23.60, 67.89, 88.18),
    "second_half": (11.10, 64.23, 85.89),
}
ORDERS = (("a", "reference"), ("b", "c"), ("e", "d"), ("g", "f"), ("second_half", "first_half"))
"""The thesis expects the first one to be worse."""


def configuration(name: str, data: str, low: list[int], high: list[int]) -> str:
    """The TOML file of an experiment."""
    lines = [f"# Lund thesis, 5.2: {TEXTS[name]}", f'network = "{NETWORK}"', f'data = "{data}"', ""]
    halves = {"first_half": range(FIRST_HALF), "second_half": range(FIRST_HALF, CONVOLUTIONS)}
    lines += ["[[layers]]", 'kind = "conv"']
    if name in halves:
        lines += [f"indices = {list(halves[name])}"]
    for letters, option in OPTIONS.items():
        if name in letters:
            lines += ["", "[[layers]]", 'kind = "conv"', f"indices = {high if name == letters[0] else low}", option]
    return "\n".join(lines) + "\n"


def choose(data: str) -> None:
    """Writes the configurations, with the layers that experiment A calls low and high."""
    made = run(Configuration(NETWORK, (Choice("conv"),), data=data, images=CHOOSING_IMAGES, fully_quantized=False))
    convolutions = layers_of(made.recreation.reference)["conv"]
    changes = {layer.layer: layer.change for layer in made.layers() if layer.layer and layer.change is not None}
    ranked = sorted(changes, key=changes.get)
    low, high = (sorted(convolutions.index(name) for name in part) for part in (ranked[:COUNT], ranked[-COUNT:]))
    folder = HERE / f"{NETWORK}-{data}"
    folder.mkdir(exist_ok=True)
    for name in TEXTS:
        (folder / f"{name}.toml").write_text(configuration(name, data, low, high), encoding="utf-8")
    print(f"{folder}: low {low}, high {high}")


def run_all(data: str, images: int | None) -> None:
    """Writes results.json."""
    folder = HERE / f"{NETWORK}-{data}"
    read = {name: read_configuration(folder / f"{name}.toml") for name in TEXTS}
    a, on = read["a"], subject(NETWORK, data)
    drawn = torch.randperm(len(on.calibration), generator=torch.Generator().manual_seed(a.seed))[: a.samples]
    batches = on.prepare(on.calibration[drawn]).split(a.batch_size)
    made = {name: recreate(on.model, one.choices, batches, ranges=one.ranges) for name, one in read.items()}
    others = {name: one.recreated for name, one in made.items() if name != "a"}
    others[FULLY] = real_quantization.quantize(on.model, batches[0], batches, how="fx")
    recorder = RatioRecorder()

    def each(batch: Batch) -> None:
        for name, logits in batch.logits.items():
            if name != "reference":
                recorder.add({"recreated": "a"}.get(name, name), batch.logits["reference"], logits)

    with real_quantization.quiet():
        seen = profile(
            *(made["a"], on.images[:images], on.labels[:images]),
            others=others,
            prepare=on.prepare,
            batch_size=a.batch_size,
            progress=lambda all_batches: track(all_batches, data),
            each=each,
        )
    outcomes = {{"recreated": "a"}.get(name, name): one for name, one in seen.outcomes.items()}
    ratios = recorder.ratios()
    result = {
        "data": data,
        "images": len(outcomes["a"].first),
        "networks": {
            name: {
                "top1": one.top1,
                "top5": one.top5,
                **({} if name == "reference" else compared(outcomes["reference"], one)),
                **({} if name not in ratios else rounded(ratios[name])),
            }
            for name, one in outcomes.items()
        },
        "orders": {f"{worse} < {better}": compared(outcomes[worse], outcomes[better]) for worse, better in ORDERS},
    }
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{folder / 'results.json'}: {len(outcomes)} networks, {result['images']:,} images")


def rounded(ratio) -> dict[str, float]:
    return {"sqnr_db": round(ratio.mean_of_ratios, 2), "ratio_of_sums_db": round(ratio.ratio_of_sums, 2)}


def compared(first: Outcome, second: Outcome) -> dict[str, float]:
    by, error, chance = difference(first, second)
    return {"change": by, "standard_error": error, "probability_if_equal": chance}


def tables(data: str) -> list[str]:
    """What was found on one set of images, in Markdown; beside the thesis."""
    found = json.loads((HERE / f"{NETWORK}-{data}" / "results.json").read_text(encoding="utf-8"))
    networks, lines = found["networks"], [f"### {DATA[data]}, {found['images']:,} test images", ""]
    lines += ["| | thesis: SQNR | top-1 (change) | here: SQNR | ratio of sums | top-1 | change | p |"]
    lines += ["|---" * 8 + "|"]
    for name, (sqnr, top1, _) in THESIS.items():
        here = networks[name]
        text = f"{name.upper()}: {TEXTS[name]}" if len(name) == 1 else (TEXTS | {FULLY: TOLD}).get(name, name)
        cells = ["" if sqnr is None else f"{sqnr:.1f} dB", f"{top1:.2f} ({top1 - THESIS['reference'][1]:+.2f})"]
        if name == "reference":
            cells = ["", f"{top1:.2f}", "", "", f"{100 * here['top1']:.2f}", "", ""]
        else:
            cells += [f"{here['sqnr_db']:.1f} dB", f"{here['ratio_of_sums_db']:.1f} dB", f"{100 * here['top1']:.2f}"]
            cells += [points(here), f"{here['probability_if_equal']:.2g}"]
        lines.append(" | ".join(["", text, *cells, ""]).strip())
    lines += ["", "| expected | thesis: top-1 | SQNR | here: top-1 | p | SQNR | came out |", "|---" * 7 + "|"]
    for worse, better in ORDERS:
        order = found["orders"][f"{worse} < {better}"]
        accuracy = THESIS[better][1] - THESIS[worse][1]
        noise, here = (math.nan, math.nan) if better == "reference" else (
            THESIS[better][0] - THESIS[worse][0], networks[better]["sqnr_db"] - networks[worse]["sqnr_db"],
        )  # fmt: skip
        named = [n.upper() if len(n) == 1 else n.replace("_", " ") for n in (worse, better)]
        lines.append(
            f"| {named[0]} worse than {named[1]} | {accuracy:+.2f} | {decibels(noise)} | {points(order)} "
            f"| {order['probability_if_equal']:.2g} | {decibels(here)} | {verdict(order, here)} |"
        )
    return [*lines, ""]


def points(compared: dict[str, float]) -> str:
    return f"{100 * compared['change']:+.2f} ± {100 * compared['standard_error']:.2f}"


def decibels(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.1f} dB"


def verdict(order: dict[str, float], noise: float) -> str:
    """Of accuracy and of SQNR; the accuracy's is given where chance alone would do it in less than one case of 20."""
    by_chance = order["probability_if_equal"] >= 0.05
    accuracy = "not to be told" if by_chance else "yes" if order["change"] > 0 else "no"
    return f"top-1 {accuracy}" + ("" if math.isnan(noise) else f", SQNR {'yes' if noise > 0 else 'no'}")


def search_table() -> list[str]:
    """What `course profile experiments/mobilenetv2-cifar10/search.toml --budget 400000` found, in Markdown, from the
    file frontier.csv that it wrote."""
    with (HERE / f"{NETWORK}-cifar10" / "search" / "frontier.csv").open(encoding="utf-8", newline="") as file:
        found = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    lines = ["| bits everywhere | bytes | top-1 | layer by layer: bytes | top-1 | gained (points) |", "|---" * 6 + "|"]
    for row in found:
        cells = [f"{row['bits']:.0f}"]
        for way in ("uniform", "mixed"):
            cells += [f"{row[f'{way}_bytes']:,.0f}", f"{100 * row[f'{way}_top1']:.2f}%"]
        cells.append(f"{100 * row['gained']:+.2f} ± {100 * row['gained_standard_error']:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def write_tables() -> None:
    results = [
        line for data in DATA if (HERE / f"{NETWORK}-{data}" / "results.json").is_file() for line in tables(data)
    ]
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, lines in (("table", ["", *results]), ("search", ["", *search_table(), ""])):
        begin, end = f"<!-- experiments/thesis.py {name}: begin -->", "<!-- end -->"
        before, _, rest = text.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise SystemExit(f"{DOCUMENT}: the line {begin!r} or, after it, {end!r} is missing")
        text = "\n".join([before + begin, *lines, end]) + after
    DOCUMENT.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["choose", "run", "table"])
    parser.add_argument("data", choices=list(DATA), nargs="?")
    parser.add_argument("--images", type=int, help="for run: so many of the test images, from the first on")
    arguments = parser.parse_args()
    if (arguments.data is None) != (arguments.step == "table"):
        parser.error("choose and run need data, table takes none")
    torch.set_num_threads(1)
    if arguments.step == "choose":
        choose(arguments.data)
    elif arguments.step == "run":
        run_all(arguments.data, arguments.images)
    else:
        write_tables()


if __name__ == "__main__":
    main()
