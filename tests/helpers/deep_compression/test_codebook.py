"""k-means on a line against plain Lloyd and the best of all clusterings; codebooks against autograd."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from course_utils.deep_compression import (
    INITIALISATIONS,
    codebook_gradient,
    initial_centroids,
    kmeans,
    prune,
    settle,
    share,
    weight_layers,
)
from course_utils.low_bit import fit

NUMBERS = hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-8, 8, width=16)).map(torch.from_numpy)


def lloyd(values: torch.Tensor, centroids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All distances, every step; ties to the lower centroid, empty clusters stay."""
    v, c = values.double().flatten(), centroids.clone()
    codes = None
    while True:
        fresh = (v[:, None] - c).abs().argmin(1)
        if codes is not None and torch.equal(fresh, codes):
            return c, codes
        codes = fresh
        for i in range(len(c)):
            if (codes == i).any():
                c[i] = v[codes == i].mean()


@pytest.mark.parametrize("init", INITIALISATIONS)
@pytest.mark.parametrize("count", [1, 2, 7, 31])
def test_it_ends_where_plain_lloyd_ends(init, count):
    values = torch.randn(40, 25, generator=torch.Generator().manual_seed(count))
    found = kmeans(values, count, init, torch.Generator().manual_seed(5))
    begin = initial_centroids(values, count, init, torch.Generator().manual_seed(5))
    centroids, codes = lloyd(values, begin)
    assert torch.equal(found.codes.flatten(), codes) and found.codes.shape == values.shape
    # both means are float64 sums of 1000 numbers, then one rounding to float32
    torch.testing.assert_close(found.centroids.double(), centroids, rtol=2**-23, atol=1e-12)
    assert found.centroids.dtype == torch.float32


@given(NUMBERS, st.integers(1, 6), st.sampled_from(INITIALISATIONS))
def test_the_error_never_rises_and_is_the_clusters(values, count, init):
    found = kmeans(values, count, init, torch.Generator().manual_seed(0))
    scale = float((values.double() ** 2).sum()) * len(values) * 2**-50 + 1e-300  # rounding of float64 sums
    for before, after in itertools.pairwise(found.errors):
        assert after <= before + scale
    exact = ((values.double() - found.centroids.double()[found.codes]) ** 2).sum()
    rounded = len(values) * (8 * 2**-22) ** 2 + 2 * 16 * 2**-22 * len(values)  # centroids are float32
    assert abs(float(exact) - found.errors[-1]) <= scale + rounded
    assert (found.centroids.diff() >= 0).all()


@given(hnp.arrays(np.float32, st.integers(1, 9), elements=st.floats(-8, 8, width=16)).map(torch.from_numpy),
       st.integers(1, 3))  # fmt: skip
def test_no_clustering_is_better_than_the_best_of_all_cuts(values, count):
    ordered = values.double().sort().values
    best = min(
        sum(float(((p - p.mean()) ** 2).sum()) for p in ordered.tensor_split(list(cuts)) if len(p))
        for cuts in itertools.combinations_with_replacement(range(len(ordered) + 1), count - 1)
    )
    for init in INITIALISATIONS:
        error = kmeans(values, count, init, torch.Generator().manual_seed(0)).errors[-1]
        assert error >= best - float((values.double() ** 2).sum()) * len(values) * 2**-50


def test_where_it_begins():
    values = torch.tensor([0.0, 1, 2, 3, 10])
    assert initial_centroids(values, 3, "linear").tolist() == [0, 5, 10]
    assert initial_centroids(values, 3, "density").tolist() == [0, 2, 10]
    n, count = 2**24 + 3, 255  # ranks that float32 does not tell apart
    ranks = [-(-(2 * i + 1) * n // (2 * count)) for i in range(count)]
    assert initial_centroids(torch.arange(1, n + 1), count, "density").tolist() == ranks
    drawn = initial_centroids(values, 3, "random", torch.Generator().manual_seed(0))
    assert len(set(drawn.tolist())) == 3 and set(drawn.tolist()) <= set(values.tolist())
    many = initial_centroids(values, 9, "random", torch.Generator().manual_seed(0))
    assert len(many) == 9 and set(many.tolist()) <= set(values.tolist())


def test_an_empty_cluster_stays_where_it_is():
    found = kmeans(torch.tensor([0.0, 0.1, 10.0, 10.1]), 3, "linear")
    assert found.codes.tolist() == [0, 0, 2, 2]
    assert found.centroids.tolist() == pytest.approx([0.05, 5.05, 10.05])


def test_half_way_goes_to_the_lower_centroid():
    assert kmeans(torch.tensor([0.0, 1.0, 2.0]), 2, "linear").codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("values", "count", "init"), [([1.0], 0, "linear"), ([1.0], 2, "k-means++"), ([], 2, "linear"),
                                                       ([1.0, float("nan")], 2, "linear")])  # fmt: skip
def test_what_makes_no_sense_is_refused(values, count, init):
    with pytest.raises(ValueError, match=r"count is at least 1 and init|k-means needs values"):
        kmeans(torch.tensor(values), count, init)


def test_the_codebooks_gradient_is_autograds():
    generator = torch.Generator().manual_seed(2)
    codes = torch.randint(5, (40, 30), generator=generator)
    gradient = torch.randn(40, 30, generator=generator, dtype=torch.float64)
    codebook = torch.randn(6, dtype=torch.float64, requires_grad=True)  # entry 5 has no weight
    (codebook[codes] * gradient).sum().backward()
    assert torch.allclose(codebook_gradient(gradient, codes, 6), codebook.grad, rtol=0, atol=1e-12)


def network() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4))


def test_a_shared_network_gets_autograds_gradients_through_its_lookup():
    shared = network()
    prune(shared, 0.5)
    share(shared, 3)
    x = torch.rand(3, 1, 6, 6)
    shared(x).square().sum().backward()
    plain = network()
    settled = settle(share_of(plain))
    settled(x).square().sum().backward()
    for name, layer in weight_layers(shared).items():
        lookup = layer.parametrizations.weight
        gradient = weight_layers(settled)[name].weight.grad
        expected = [float(gradient[lookup[0].codes == i + 1].double().sum()) for i in range(7)]
        assert lookup.original.grad.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def share_of(plain: nn.Module) -> nn.Module:
    prune(plain, 0.5)
    share(plain, 3)
    return plain


def test_training_moves_centroids_together_and_leaves_the_pruned_at_zero():
    shared = share_of(network())
    before = {name: layer.weight.detach().clone() for name, layer in weight_layers(shared).items()}
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (40, 1, 6, 6), generator=generator, dtype=torch.uint8)
    fit(shared, pixels, torch.randint(4, (40,), generator=generator), 10, 0.01, generator, batch=20)
    for name, layer in weight_layers(shared).items():
        after = layer.weight.detach()
        assert torch.equal(after == 0, before[name] == 0) and not torch.equal(after, before[name])
        assert len(after.unique()) <= 8
        for value in before[name].unique():
            assert len(after[before[name] == value].unique()) == 1


def test_bits_and_layers_are_named_where_they_do_not_fit():
    with pytest.raises(ValueError, match="layer 0: bits of a code are 1 to 8, not 9"):
        share(network(), 9)
    with pytest.raises(KeyError, match="settings are for 0; the layers are 0, 3"):
        share(network(), {"0": 4})
    empty = network()
    prune(empty, {"0": 0.5, "3": 1.0})
    before = [type(layer.parametrizations.weight[0]) for layer in weight_layers(empty).values()]
    with pytest.raises(ValueError, match="layer 3 has only zeros"):
        share(empty, 4)
    assert before == [type(layer.parametrizations.weight[0]) for layer in weight_layers(empty).values()]
