"""Ratios of signal to noise and accuracies against a direct calculation over all samples at once."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from test_recreation import EVERYTHING, Block, filled, images

from course_utils.profiler import Outcome, ProfilerError, RatioRecorder, difference, profile, recreate


def test_ratios_are_those_of_the_equations():
    made = recreate(filled(Block()), EVERYTHING, [images(20)])
    x = images(23)
    outcome = profile(made, x, torch.zeros(23, dtype=torch.long), batch_size=5)
    assert list(outcome.ratios) == ["stem_2", "relu", "add", "pool", "flatten", "head"]
    with torch.no_grad():
        reference, recreated = (g(x).double().numpy() for g in (made.reference, made.recreated))
    signal, noise = (reference**2).sum(0), ((reference - recreated) ** 2).sum(0)
    ratio = outcome.ratios["head"]
    assert ratio.activations == 4
    # batches of another size may round the reference's float sums otherwise, by some units in the last place
    assert ratio.mean_of_ratios == pytest.approx(10 * np.log10((signal / noise).mean()), abs=1e-3)
    assert ratio.ratio_of_sums == pytest.approx(10 * np.log10(signal.sum() / noise.sum()), abs=1e-3)


def test_memory_does_not_grow_with_the_number_of_images():
    made = recreate(filled(Block()), EVERYTHING, [images(20)])
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8).expand(160, -1, -1, -1)
    held = {}

    def watched(batches):
        for number, batch in enumerate(batches):
            if number in (0, 2, 39):
                held[number] = tensor_bytes()
            yield batch

    profile(
        made, pixels, torch.zeros(160, dtype=torch.long), prepare=torch.Tensor.float, batch_size=4, progress=watched
    )
    # after the first batch there are sums; from then on, for an image and network, a truth value for each of at most
    # five guesses, of which there are four here, and one for all of them
    assert held[2] > held[0]
    assert held[39] - held[2] == 37 * 4 * 2 * (4 + 1)


def tensor_bytes() -> int:
    """Of all tensors that are alive, but for sparse ones, which other tests leave and which have no storage."""
    gc.collect()
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in gc.get_objects()
        if type(t) is torch.Tensor and t.layout == torch.strided
    }
    return sum(storages.values())


def test_activations_without_noise_are_left_out_and_counted():
    recorder = RatioRecorder()
    reference = torch.tensor([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]])
    recorder.add("a", reference, torch.tensor([[1.0, 1.0, 0.0], [3.0, 4.0, 0.0]]))
    ratio = recorder.ratios()["a"]
    assert (ratio.activations, ratio.without_noise) == (3, 2)
    assert ratio.mean_of_ratios == pytest.approx(10 * math.log10(20))
    assert ratio.ratio_of_sums == pytest.approx(10 * math.log10(30))
    recorder.add("same", reference, reference)
    recorder.add("silent", torch.zeros(2, 3), torch.ones(2, 3))
    recorder.add("none", torch.zeros(2, 0), torch.zeros(2, 0))
    ratios = recorder.ratios()
    assert ratios["same"].mean_of_ratios == ratios["same"].ratio_of_sums == math.inf
    assert ratios["silent"].mean_of_ratios == ratios["silent"].ratio_of_sums == -math.inf
    assert math.isnan(ratios["none"].mean_of_ratios)
    recorder.add("endless", torch.tensor([[math.inf, 1.0]]), torch.tensor([[math.inf, 2.0]]))
    endless = recorder.ratios()["endless"]
    assert endless.without_noise == 0
    assert math.isnan(endless.mean_of_ratios)
    assert math.isnan(endless.ratio_of_sums)


def test_shapes_that_do_not_fit_are_named():
    recorder = RatioRecorder()
    recorder.add("a", torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="a: shapes"):
        recorder.add("a", torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"a: shape \(4,\) after \(3,\)"):
        recorder.add("a", torch.ones(2, 4), torch.ones(2, 4))


def test_accuracies_count_the_first_and_the_first_five():
    made = recreate(filled(Block()), EVERYTHING, [images(20)])
    x, rolled = images(12), []

    def other(batch: torch.Tensor) -> torch.Tensor:
        rolled.append(len(batch))
        return torch.eye(7)[torch.full((len(batch),), 2)] * 9 - torch.arange(7.0)

    labels = torch.tensor([2, 0, 1, 3, 4, 5, 6, 2, 2, 2, 2, 2])
    outcome = profile(made, x, labels % 4, others={"other": other}, batch_size=5).outcomes["other"]
    best = [2, 0, 1, 3, 4]
    assert rolled == [5, 5, 2]
    assert outcome.first.tolist() == [label % 4 == 2 for label in labels.tolist()]
    assert outcome.fifth.tolist() == [label % 4 in best for label in labels.tolist()]
    assert outcome.top1 == sum(outcome.first.tolist()) / 12


def test_a_difference_comes_with_its_error_and_its_chance():
    first = torch.tensor([True] * 10 + [False] * 5 + [True] * 85)
    second = torch.tensor([False] * 10 + [True] * 5 + [True] * 85)
    by, error, chance = difference(Outcome(first, first), Outcome(second, second))
    paired = second.double() - first.double()
    assert by == pytest.approx(float(paired.mean()))
    assert error == pytest.approx(float(paired.std(correction=0)) / 10)
    assert chance == pytest.approx(2 * sum(math.comb(15, k) for k in range(6)) / 2**15)
    assert difference(Outcome(first, first), Outcome(first, first)) == (0, 0, 1)
    with pytest.raises(ProfilerError, match="100 and 3 images"):
        difference(Outcome(first, first), Outcome(first[:3], first[:3]))


def test_mistakes_are_named():
    made = recreate(filled(Block()), EVERYTHING, [images(4)])
    with pytest.raises(ProfilerError, match="2 images and 3 labels"):
        profile(made, images(2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ProfilerError, match="cannot be called 'recreated'"):
        profile(made, images(2), torch.zeros(2, dtype=torch.long), others={"recreated": torch.nn.Identity()})
    with pytest.raises(ProfilerError, match=r"other gives a tensor \(2, 3, 8, 8\); a classifier gives"):
        profile(made, images(2), torch.zeros(2, dtype=torch.long), others={"other": torch.nn.Identity()})
    spoilt, labels = images(9).index_put_((torch.tensor(6),), torch.tensor(math.nan)), torch.zeros(9, dtype=torch.long)
    with pytest.raises(ProfilerError, match="stem_0_recreated: x has NaN"):
        profile(made, spoilt, labels)
    nothing = recreate(filled(Block()), [], [images(4)])
    with pytest.raises(ProfilerError, match="image 6: the outputs of reference are NaN"):
        profile(nothing, spoilt, labels, batch_size=4)
