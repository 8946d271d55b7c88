"""The search for bits: its path against all combinations, its measurements against a direct calculation."""

from __future__ import annotations

import itertools
import random
from dataclasses import fields, replace
from xml.etree import ElementTree

import pytest
import torch
from test_recreation import Block, filled, images
from torch.nn import functional

from course_utils.numerics import FloatFormat
from course_utils.profiler import (
    Choice,
    Configuration,
    ConfigurationError,
    Options,
    ProfilerError,
    Search,
    configuration_text,
    difference,
    read_configuration,
    read_experiment,
    recreate,
    run_on,
    search_on,
)
from course_utils.profiler.frontier import write_search
from course_utils.profiler.search import Frontier, Point, _last_within

CHOICES = (
    Choice("conv"),
    Choice("depthwise", options=Options(per_channel_quant=False, weight_bits=4)),
    Choice("add"),
    Choice("linear", options=Options(num_bits=9)),
)
TWO = Options(num_bits=2)
FLOATS = Options(float_format=FloatFormat(4, 3))
ASKED = Configuration("classyclassifier", CHOICES, text="# as it was\n")


@pytest.fixture(scope="module")
def given() -> dict:
    """What `search_on` takes: a network, and as labels its own guesses, so that it loses what quantizing changes."""
    torch.manual_seed(1)
    model = filled(Block())
    x, samples = images(40, seed=5), images(60, seed=6)
    with torch.no_grad():
        model.head.bias -= model(samples).mean(0)  # so that it guesses all of its classes
        labels, sample_labels = (model(part).argmax(1) for part in (x, samples))
    own = {"images": x, "labels": labels, "samples": samples, "sample_labels": sample_labels}
    return {"model": model, "calibration": images(20), **own}


@pytest.fixture(scope="module")
def found(given) -> Search:
    return search_on(**given, configuration=ASKED, budget=300)


def points_of_three_layers(draw: random.Random) -> dict[str, list[Point]]:
    def point(bits: int) -> Point:
        return Point(Options(weight_bits=bits), draw.randint(1, 60), draw.choice([draw.random(), 0.5]))

    return {name: [point(bits) for bits in range(2, 7)] for name in "abc"}


@pytest.mark.parametrize("seed", range(20))
def test_no_combination_that_fits_has_less_harm(seed: int):
    points = points_of_three_layers(random.Random(seed))
    everything = list(itertools.product(*points.values()))
    sizes, harms = ([sum(getattr(p, part) for p in one) for one in everything] for part in ("size", "harm"))
    frontier = Frontier(points)
    assert frontier.sizes[0] == min(sizes)
    for room in range(min(sizes), 190):
        found = frontier.within(room)
        assert list(found) == list(points)
        assert all(point in points[name] for name, point in found.items())
        assert sum(point.size for point in found.values()) <= room
        least = min(harm for size, harm in zip(sizes, harms, strict=True) if size <= room)
        assert sum(point.harm for point in found.values()) == pytest.approx(least)


def test_of_too_many_combinations_those_of_nearly_the_same_size_are_dropped(monkeypatch):
    draw = random.Random(0)
    points = {f"{n}{name}": own for n in range(4) for name, own in points_of_three_layers(draw).items()}
    exact = Frontier(points)
    monkeypatch.setitem(Frontier.__init__.__globals__, "MOST", 50)
    coarse = Frontier(points)
    assert len(coarse.sizes) <= 51 < len(exact.sizes)
    assert coarse.sizes[0] == exact.sizes[0]
    part = (exact.sizes[-1] - exact.sizes[0]) / 50
    for room in range(int(exact.sizes[0]), int(exact.sizes[-1]), 20):
        found, best = coarse.within(room), exact.within(max(room - 12 * part, exact.sizes[0]))
        assert sum(point.size for point in found.values()) <= room
        assert sum(point.harm for point in found.values()) <= sum(point.harm for point in best.values()) + 1e-9


def test_layers_are_measured_alone(given, found):
    x = given["samples"]
    assert {name: len(own) for name, own in found.points.items()} == {"stem_0": 14, "deep": 6, "head": 8}
    for name, own in found.points.items():
        for point in own[::3]:
            floats = [replace(choice, options=Options(quantized=False)) for choice in CHOICES]
            alone = [*floats, Choice(name, None, point.options)]
            made = recreate(given["model"], alone, [given["calibration"]])
            with torch.no_grad():
                parts = [(made.reference(b), made.recreated(b)) for b in x.split(ASKED.batch_size)]
            reference, recreated = (torch.cat(part).double().log_softmax(1) for part in zip(*parts, strict=True))
            direct = functional.kl_div(recreated, reference, log_target=True, reduction="batchmean")
            assert point.harm == pytest.approx(float(direct), rel=1e-3, abs=1e-9)  # float32 with norms merged
    assert found.points["stem_0"][-2].harm > found.points["stem_0"][0].harm > 0


def test_a_budget_is_kept_and_not_left_unused(given, found):
    assert found.chosen.size <= 300
    # what is said of bytes is what an experiment says
    made = run_on(*(given[k] for k in ("model", "images", "labels", "calibration")), found.configuration)
    own = made.costs["recreated"].values()
    assert found.chosen.size == pytest.approx(sum(cost.weights + cost.scales for cost in own), abs=1)
    assert made.profile.outcomes["recreated"].first.tolist() == found.chosen.outcome.first.tolist()
    assert found.measured_drop is None
    kept = {name: o for name, o in found.chosen.options.items() if name == "add"}
    assert kept == {"add": Options()}  # what has no weights stays as it was
    assert found.chosen.options["head"].num_bits == 9  # activations, too
    for pair in found.pairs:
        assert pair.mixed.size <= pair.uniform.size
        for name, options in pair.uniform.options.items():
            if name != "add":
                assert options.bits_of_weights == min(pair.bits, {"stem_0": 8, "deep": 4, "head": 9}[name])
    assert [pair.bits for pair in found.pairs] == [9, 8, 7, 6, 5, 4, 3, 2]


def test_nothing_is_chosen_by_test_images(given, found):
    others = {"images": images(30, seed=9), "labels": torch.arange(30) % 4}
    again = search_on(**(given | others), configuration=ASKED, budget=300)
    assert again.configuration == found.configuration
    assert again.points == found.points


def test_a_drop_is_measured_on_what_is_chosen_on(given):
    found = search_on(**given, configuration=ASKED, drop=20)
    lost, error = found.measured_drop
    assert 0 <= lost <= 20
    made = recreate(given["model"], found.configuration.choices, [given["calibration"]])
    with torch.no_grad():
        right = made.recreated(given["samples"]).argmax(1) == given["sample_labels"]
    assert lost == pytest.approx(100 * float((~right).double().mean()), abs=2)  # few bits give ties
    assert error == pytest.approx(100 * float(right.double().std(correction=0)) / 60**0.5, rel=0.2, abs=0.5)
    anything = search_on(**given, configuration=ASKED, drop=100)
    assert anything.chosen.size == 180 < found.chosen.size


@pytest.mark.parametrize(
    ("choices", "asked", "told"),
    [
        (
            CHOICES,
            {"budget": 10},
            "a budget of 10 bytes cannot be met: the smallest network that these layers allow has 180",
        ),
        (
            (Choice("conv", options=Options(num_bits=2)),),
            {"drop": 0},
            "a drop of at most 0 points cannot be met: at its best (",
        ),
        ((Choice("add"),), {"budget": 10}, "no chosen layer has weights in whole numbers"),
        ((Choice("linear", options=FLOATS),), {"drop": 1}, "no chosen layer has weights"),
        (CHOICES, {}, "either a budget or a drop"),
        (CHOICES, {"budget": 10, "drop": 1}, "either a budget or a drop"),
        (CHOICES, {"drop": float("nan")}, "a drop is a number of points from 0 on, not nan"),
    ],
)
def test_what_cannot_be_met_is_one_line(given, choices, asked, told):
    with pytest.raises(ProfilerError) as error:
        search_on(**given, configuration=replace(ASKED, choices=choices), **asked)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_halving_finds_where_a_drop_ends():
    for end in range(1, 12):
        asked = []

        def lost(number: int, end: int = end, asked: list = asked) -> tuple[float, float]:
            asked.append(number)
            return (0.5 if number < end else 2.0), 0.1

        assert _last_within(12, lost, 1.0) == (end - 1, (0.5, 0.1))
        assert len(asked) <= 6
    assert _last_within(12, lambda _: (3.0, 0.1), 1.0) == (None, (3.0, 0.1))


def test_the_folder_shows_what_was_tried_and_runs_again(given, found, tmp_path):
    tested = [given[key] for key in ("model", "images", "labels", "calibration")]
    page = write_search(found, run_on(*tested, found.configuration), tmp_path / "first").read_text()
    folder = tmp_path / "first"
    assert (folder / "search.toml").read_text() == "# as it was\n"
    chosen = read_configuration(folder / "configuration.toml")
    assert chosen == found.configuration
    again = run_on(*tested, chosen)
    write_search(found, again, tmp_path / "again")
    for name in ("layers.csv", "summary.json", "frontier.csv", "frontier.svg", "sensitivities.csv", "index.html"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert read_experiment(folder)[0]["bytes"]["recreated"] == found.chosen.size
    rows = (folder / "frontier.csv").read_text().splitlines()
    assert len(rows) == 1 + len(found.pairs)
    pair = found.pairs[1]
    by, error, _ = difference(pair.uniform.outcome, pair.mixed.outcome)
    assert rows[2].startswith(f"8,{pair.uniform.size},{pair.uniform.outcome.top1},")
    assert rows[2].endswith(f",{by},{error}")
    graph = ElementTree.parse(folder / "frontier.svg").getroot()
    assert f"chosen: {found.chosen.size:,} bytes" in graph.get("aria-label")
    assert "a budget of 300 bytes" in page
    assert "40 test images, by which nothing was chosen" in " ".join(page.split())
    assert sum(line.endswith(",1") for line in (folder / "sensitivities.csv").read_text().splitlines()) == 3


def test_a_configuration_is_written_as_it_is_read(tmp_path):
    choices = (
        Choice("conv", (1, 2), Options(num_bits=6, rounding_div=False)),
        Choice("layer8_fc", None, Options(float_format=FloatFormat(4, 3))),
        Choice('a "layer"\\ \x7f', None, Options(quantized=False)),
    )
    whole = Configuration(
        "classyclassifier", choices, data="shapes", images=20, batch_size=7, seed=3, samples=10, ranges="mse",
        fully_quantized=False, search_samples=11,
    )  # fmt: skip
    usual = Configuration("", ())
    assert all(getattr(whole, f.name) != getattr(usual, f.name) for f in fields(whole) if f.name != "text")
    text = configuration_text(whole, "two\nlines")
    (tmp_path / "a.toml").write_text(text)
    assert read_configuration(tmp_path / "a.toml") == replace(whole, text=text)
    assert text.startswith("# two\n# lines\nnetwork = ")
    odd = Choice("conv", None, Options(float_format=FloatFormat(4, 3, specials="fn")))
    with pytest.raises(ConfigurationError, match="a file has no place for"):
        configuration_text(replace(whole, choices=(odd,)))
