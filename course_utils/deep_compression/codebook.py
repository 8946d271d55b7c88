"""Weight sharing: k-means over a layer's weights, and codebooks that train in their place.

S. Han and others, arXiv:1510.00149, section 3. K-means is ours: weights are numbers on a line, where sorting them once
makes a step of Lloyd's a single pass, and no library of the course brings the three ways to begin. Stands on NumPy,
torch and `pruning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from course_utils.deep_compression.pruning import by_layer, settle_layer, weight_layers

__all__ = ["INITIALISATIONS", "Clusters", "codebook_gradient", "initial_centroids", "kmeans", "share"]

INITIALISATIONS = ("linear", "density", "random")
"""Equal steps from the smallest to the largest value; equal numbers of values between centroids; values by chance."""


@dataclass(frozen=True)
class Clusters:
    """
    Attributes:
        centroids: ascending, of the values' dtype, (count,).
        codes: int64, of the values' shape: for each value the number of its centroid.
        errors: sum of the squared distances of all values from their centroids, first with the initial centroids, then
            after every step; it never rises.
    """

    centroids: Tensor
    codes: Tensor
    errors: tuple[float, ...]


def initial_centroids(values: Tensor, count: int, init: str, generator: torch.Generator | None = None) -> Tensor:
    """Where k-means begins (section 3.2 of the paper).

    Args:
        values: of any shape, at least one.
        count: of centroids, at least one.
        init: ``"linear"``: evenly from the smallest to the largest value; ``"density"``: where the values' distribution
            function passes (i + 1/2) / count, that is the value of rank ceil((i + 1/2) n / count) of n, without
            interpolation between neighbours (`torch.quantile` has it, and takes no more than 16 million values);
            ``"random"``: values drawn without putting back (with, if they are fewer than ``count``).
        generator: for ``"random"``.

    Returns:
        ascending, float64 (count,).

    Raises:
        ValueError: if there are no values, or a value is not finite, or count or init are none.
    """
    if count < 1 or init not in INITIALISATIONS:
        raise ValueError(f"count is at least 1 and init one of {', '.join(INITIALISATIONS)}; got {count}, {init!r}")
    if values.numel() == 0 or not values.isfinite().all():
        raise ValueError("k-means needs values, and finite ones")
    ordered = values.detach().flatten().double().sort().values
    n = len(ordered)
    if init == "linear":
        return torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)
    if init == "density":
        return ordered[((2 * torch.arange(count) + 1) * n - 1) // (2 * count)]
    if count <= n:
        return ordered[torch.randperm(n, generator=generator)[:count]].sort().values
    return ordered[torch.randint(n, (count,), generator=generator)].sort().values


def kmeans(values: Tensor, count: int, init: str = "linear", generator: torch.Generator | None = None) -> Clusters:
    """Lloyd's algorithm on numbers, until no value changes its cluster.

    A value half way between two centroids goes to the lower one. The centroid of an empty cluster stays where it is.

    Args:
        values: float, any shape.
        count, init, generator: as `initial_centroids` takes them.

    Raises:
        ValueError: as `initial_centroids`.
    """
    centroids = initial_centroids(values, count, init, generator).numpy()
    flat = values.detach().flatten().double().numpy()
    order = flat.argsort(kind="stable")
    ordered = flat[order]

    def assign() -> tuple[np.ndarray, float]:
        """How many of the ordered values each cluster has, and the error."""
        inner = ordered.searchsorted((centroids[:-1] + centroids[1:]) / 2, side="right")
        sizes = np.diff(inner, prepend=0, append=len(ordered))
        return sizes, float(((ordered - np.repeat(centroids, sizes)) ** 2).sum())

    sizes, error = assign()
    errors = [error]
    while True:
        begins = (np.cumsum(sizes) - sizes)[sizes > 0]  # where the clusters begin that are not empty
        centroids[sizes > 0] = np.add.reduceat(ordered, begins) / sizes[sizes > 0]
        before, (sizes, error) = sizes, assign()
        errors.append(error)
        if (before == sizes).all():
            break
    codes = np.empty(len(flat), np.int64)
    codes[order] = np.repeat(np.arange(count), sizes)
    found = torch.from_numpy(centroids).to(values.dtype), torch.from_numpy(codes).view_as(values)
    return Clusters(*found, tuple(errors))


def codebook_gradient(gradient: Tensor, codes: Tensor, count: int) -> Tensor:
    """The gradient of each entry of a codebook: the sum over all weights that have it (equation 3 of the paper).

    Args:
        gradient: of the weights.
        codes: int64, of the same shape.
        count: of entries.

    Returns:
        (count,), of the gradient's dtype; summed in float64.
    """
    sums = torch.bincount(codes.flatten(), gradient.flatten().double(), minlength=count)
    return sums.to(gradient.dtype)


class _Lookup(torch.autograd.Function):
    """codebook[codes]; torch's own way back takes the weights one after another, this one counts."""

    @staticmethod
    def forward(ctx: Any, codebook: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.count = len(codebook)
        return codebook[codes]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return codebook_gradient(gradient, *ctx.saved_tensors, ctx.count), None


class Codebook(nn.Module):
    """A weight from its centroids, which are what trains: code 0 is the zero of what is pruned, i centroid i - 1."""

    def __init__(self, centroids: Tensor, codes: Tensor) -> None:
        super().__init__()
        self.begin = centroids
        self.register_buffer("codes", codes)

    def forward(self, centroids: Tensor) -> Tensor:
        return _Lookup.apply(torch.cat([centroids.new_zeros(1), centroids]), self.codes)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return self.begin


def share(
    network: nn.Module, bits: int | Mapping[str, int], init: str = "linear", generator: torch.Generator | None = None
) -> None:
    """Gives each layer a codebook of ``2**bits - 1`` centroids and the zero; weights that are zero are not clustered.

    Any training afterwards trains the centroids, by the sums of their weights' gradients.

    Args:
        network: changed in place.
        bits: of a code, 1 to 8: for all layers alike, or by the names of `weight_layers`.
        init, generator: as `initial_centroids` takes them.

    Raises:
        ValueError: if bits are out of range, or a layer has only zeros.
        KeyError: as `by_layer`.
    """
    layers, codebooks = weight_layers(network), {}
    for name, width in by_layer(bits, network).items():
        if not 1 <= width <= 8:
            raise ValueError(f"layer {name}: bits of a code are 1 to 8, not {width}")
        weight = layers[name].weight.detach()
        kept = weight != 0
        if not kept.any():
            raise ValueError(f"layer {name} has only zeros, there is nothing to share")
        clusters = kmeans(weight[kept], 2**width - 1, init, generator)
        codes = torch.zeros(weight.shape, dtype=torch.int64)
        codes[kept] = clusters.codes + 1
        codebooks[name] = Codebook(clusters.centroids, codes)
    for name, codebook in codebooks.items():
        settle_layer(layers[name])
        parametrize.register_parametrization(layers[name], "weight", codebook)
