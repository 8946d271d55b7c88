"""Experiments from configuration files: what is refused and how, and the folder that comes out."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest
import torch
from test_recreation import Block, filled, images

from course_utils.numerics import FloatFormat
from course_utils.profiler import (
    Choice,
    Configuration,
    ConfigurationError,
    Experiment,
    ExperimentError,
    Options,
    ProfilerError,
    difference,
    read_configuration,
    read_experiment,
    run,
    run_on,
    write_experiment,
)
from course_utils.profiler.graph import rows
from course_utils.profiler.guesses import first_and_fifth
from course_utils.profiler.page import extremes
from course_utils.quantization import real_quantization
from course_utils.quantization.observers import Observer

GOOD = """\
network = "classyclassifier"
data = "shapes"
images = 20
seed = 3

[calibration]
samples = 10
ranges = "average"

[[layers]]
kind = "conv"
indices = [1]
num_bits = 6
rounding_div = false

[[layers]]
name = "layer8_fc"
float_format = { exponent_bits = 4, mantissa_bits = 3 }
"""


def test_a_configuration_is_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    assert read_configuration(path) == Configuration(
        "classyclassifier",
        (
            Choice("conv", (1,), Options(num_bits=6, rounding_div=False)),
            Choice("layer8_fc", None, Options(float_format=FloatFormat(4, 3))),
        ),
        data="shapes", images=20, seed=3, samples=10, ranges="average", text=GOOD,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('network = "classyclassifier"\n', "", "network: is missing"),
        ('"classyclassifier"', '"resnet"', "network: is one of classyclassifier, "),
        ('"classyclassifier"', '"scenes"', "network: is one of classyclassifier, "),  # finds boxes
        ('"shapes"', '"imagenet"', "data: is one of cifar10, shapes, not 'imagenet'"),
        ("images = 20", "images = 0", "images: is at least 1, not 0"),
        ("images = 20", "images = true", "images: a whole number is expected, not True"),
        ("images = 20", "pictures = 20", "pictures: is no key here; there are network, data, images,"),
        ("seed = 3", "fully_quantized = 1", "fully_quantized: true or false is expected, not 1"),
        ("seed = 3", "seed = 1.5", "seed: a whole number is expected, not 1.5"),
        ("samples = 10", "sample = 10", "calibration.sample: is no key here; there are samples, ranges"),
        ('"average"', '"mean"', "calibration.ranges: is one of min_max, average, mse, entropy, not 'mean'"),
        ('kind = "conv"', 'kind = "convolution"', "layers[0].kind: is one of conv, depthwise, linear, add, pool"),
        (
            'kind = "conv"',
            'kind = "conv"\nname = "layer1_conv"',
            "layers[0].kind: either a kind or the name of one layer",
        ),
        ('kind = "conv"\n', "", "layers[0].kind: either a kind or the name of one layer"),
        ("indices = [1]", "indices = [-1]", "layers[0].indices: are whole numbers from 0 on, not [-1]"),
        ("indices = [1]", "indices = [1, 1]", "layers[0].indices: name a layer twice"),
        ("indices = [1]", "index = [1]", "layers[0].index: is no key here; there are kind, name, indices, quantized,"),
        ('"layer8_fc"', '"layer8_fc"\nindices = [0]', "layers[1].indices: are for a kind"),
        ("num_bits = 6", "num_bits = 17", "layers[0]: num_bits is 2 to 16, not 17"),
        ("num_bits = 6", 'num_bits = "6"', "layers[0]: num_bits is a whole number, not '6'"),
        ("rounding_div = false", "rounding_div = 0", "layers[0]: rounding_div is true or false, not 0"),
        ("exponent_bits = 4", "exponent_bits = 40", "layers[1].float_format: "),
        ("exponent_bits = 4, ", "", "layers[1].float_format.exponent_bits: is missing"),
        ("[[layers]]", "[layers]", "is no TOML"),
        ("seed = 3", "seed = ", "is no TOML"),
        ("seed = 3", f"seed = {'[' * 5000}", "is no TOML"),
        (GOOD[GOOD.index("[[layers]]") :], "", "layers: there is no [[layers]] table"),
        (GOOD[GOOD.index("[[layers]]") :], "[layers]\nkind = 'conv'", "layers: a list is expected"),
    ],
)
def test_every_mistake_is_one_line_with_its_place(tmp_path, old: str, new: str, told: str):
    path = tmp_path / "a.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as error:
        read_configuration(path)
    assert f"{path}: {told}" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"a\.toml: cannot be read: No such file"):
        read_configuration(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is no UTF-8 text"):
        read_configuration(tmp_path / "b.toml")


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    choices = (Choice("conv"), Choice("depthwise"), Choice("add"), Choice("linear", options=Options(num_bits=4)))
    configuration = Configuration('<b>"odd"</b>', choices, text="# <i>as it was</i>\n")
    labels = torch.arange(30) % 4
    return run_on(filled(Block()), images(30), labels, images(20), configuration, data="random numbers")


def test_layers_say_what_they_take_and_what_they_change(experiment):
    layers = {layer.name: layer for layer in experiment.layers()}
    assert [(x.name, x.layer, x.inputs) for x in layers.values()] == [
        ("stem_2", "stem_0", ()),
        ("relu", "deep", ("stem_2",)),
        ("add", "add", ("relu", "stem_2")),
        ("pool", "", ("add",)),
        ("flatten", "", ("pool",)),
        ("head", "head", ("flatten",)),
    ]
    assert layers["stem_2"].change is None
    lowest = min(layers["relu"].sqnr, layers["stem_2"].sqnr)
    assert layers["add"].change == pytest.approx(layers["add"].sqnr - lowest)
    worst, best = extremes(list(layers.values()))
    assert [x.layer for x in worst] + [x.layer for x in best] == [worst[0].layer, best[0].layer]
    assert worst[0].change == min(x.change for x in layers.values() if x.layer and x.change is not None)
    assert rows(list(layers.values())) == {"stem_2": 0, "relu": 1, "add": 2, "pool": 3, "flatten": 4, "head": 5}


def test_the_folder_tells_all_and_is_read_again(experiment, tmp_path):
    page = write_experiment(experiment, tmp_path / "made" / "here")
    folder = page.parent
    names = {path.name for path in folder.iterdir()}
    assert names == {"configuration.toml", "summary.json", "layers.csv", "graph.svg", "index.html"}
    assert (folder / "configuration.toml").read_text() == "# <i>as it was</i>\n"
    summary, ratios = read_experiment(folder)
    outcomes = experiment.profile.outcomes
    assert list(summary["accuracy"]) == ["reference", "recreated", "fully quantized"]
    for name in ("recreated", "fully quantized"):
        by, error, _ = difference(outcomes["reference"], outcomes[name])
        told = {"top1": outcomes[name].top1, "top5": outcomes[name].top5, "change": by, "standard_error": error}
        assert summary["accuracy"][name] == told
    assert summary["images"] == 30
    assert summary["bytes"]["reference"] == 4 * (216 + 72 + 8 + 32 + 4)  # without the batch norms
    # 8 biases from each batch norm; 4-bit weights at the end
    assert summary["bytes"]["recreated"] == math.ceil(216 + 32 + 41 + 72 + 32 + 41 + 1 + 16 + 16 + 5.5)
    assert summary["versions"]["torch"] == torch.__version__
    assert ratios == {layer.name: layer.sqnr for layer in experiment.layers()}
    again = write_experiment(experiment, tmp_path / "again").parent
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name in names - {"index.html"})


def test_the_page_escapes_loads_nothing_and_has_text_alternatives(experiment, tmp_path):
    text = write_experiment(experiment, tmp_path).read_text()
    assert "<b>" not in text
    assert "<i>as it was" not in text
    assert "<script" not in text
    assert "default-src 'none'" in text
    graph = ElementTree.parse(tmp_path / "graph.svg").getroot()
    told = graph.find("{http://www.w3.org/2000/svg}desc").text
    assert "stem_2 (replaced)" in told
    assert "head (replaced)" in told
    shapes = {kind: len(graph.findall(f".//{{http://www.w3.org/2000/svg}}{kind}")) for kind in ("polygon", "rect")}
    assert shapes == {"polygon": 4, "rect": 2}  # replaced layers are told by their shape, too


def test_a_network_of_the_course_runs_twice_alike(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    (tmp_path / "a.toml").write_text(GOOD)
    configuration = read_configuration(tmp_path / "a.toml")
    seen = []
    first = run(configuration, progress=lambda batches: (seen.append(len(b[0])) or b for b in batches))
    assert seen == [20]
    assert first.recreation.replaced.keys() == {"layer3_conv", "layer8_fc"}
    second = run(configuration)
    assert first.profile.ratios == second.profile.ratios
    with pytest.raises(ProfilerError, match="images: there are 10,000, not 10,001"):
        run(Configuration("classyclassifier", configuration.choices, images=10_001))


def test_the_fully_quantized_network_is_torchs_own_or_named_as_missing(monkeypatch, tmp_path):
    model, x, calibration, labels = filled(Block()), images(30), images(20), torch.arange(30) % 4
    choices = (Choice("conv"),)
    made = run_on(model, x, labels, calibration, Configuration("here", choices))
    network = real_quantization.quantize(model, calibration, [calibration], how="fx")
    with torch.no_grad():
        right, _ = first_and_fifth(network(x), labels)
    assert made.profile.outcomes["fully quantized"].first.tolist() == right.tolist()
    assert not made.missing

    def missing(*_: object, **__: object) -> None:
        raise real_quantization.NotAvailable("this torch has none\nany more")

    with monkeypatch.context() as patched:
        patched.setattr(real_quantization, "quantize", missing)
        made = run_on(model, x, labels, calibration, Configuration("none", choices))
    assert list(made.profile.outcomes) == ["reference", "recreated"]
    assert made.missing == {"fully quantized": "NotAvailable: this torch has none"}
    page = write_experiment(made, tmp_path)
    assert "There is no fully quantized network: NotAvailable: this torch has none" in page.read_text()
    assert read_experiment(tmp_path)[0]["missing"] == made.missing
    off = Configuration("off", choices, fully_quantized=False)
    made = run_on(model, x, labels, calibration, off)
    assert list(made.profile.outcomes) == ["reference", "recreated"]
    assert not made.missing


def test_runs_that_share_observers_observe_once_and_give_the_same(monkeypatch):
    model, x, calibration, labels = filled(Block()), images(30), images(20), torch.arange(30) % 4
    seen, observed, observe = {}, [], Observer.observe
    monkeypatch.setattr(Observer, "observe", lambda self, values: observed.append(self) or observe(self, values))

    def ratios_of(*choices: Choice, **shared: dict) -> dict:
        configuration = Configuration("here", choices, fully_quantized=False)
        return run_on(model, x, labels, calibration, configuration, **shared).profile.ratios

    ratios_of(Choice("conv"), observers=seen)
    assert observed
    observed.clear()
    of_depthwise = ratios_of(Choice("depthwise"), observers=seen)
    assert of_depthwise == ratios_of(Choice("depthwise"))
    observed.clear()
    assert ratios_of(Choice("depthwise"), observers=seen) == of_depthwise
    assert not observed


def test_folders_that_are_no_experiments_are_named(experiment, tmp_path):
    with pytest.raises(ExperimentError, match=r"summary\.json: cannot be read"):
        read_experiment(tmp_path)
    folder = write_experiment(experiment, tmp_path).parent
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "layers.csv").write_text("name\nhead\n")
    with pytest.raises(ExperimentError, match=r"layers\.csv: is not what"):
        read_experiment(folder)
    summary["output_sqnr_db"] = "inf"
    (folder / "layers.csv").write_text("name,sqnr_db\nhead,inf\n")
    (folder / "summary.json").write_text(json.dumps(summary))
    assert read_experiment(folder)[1] == {"head": math.inf}
    for wrong in (summary | {"network": [1]}, summary | {"images": "many"}, "[" * 100_000):
        (folder / "summary.json").write_text(wrong if isinstance(wrong, str) else json.dumps(wrong))
        with pytest.raises(ExperimentError, match=r"summary\.json: is not what"):
            read_experiment(folder)
    del summary["accuracy"]["recreated"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ExperimentError, match="recreated"):
        read_experiment(folder)
