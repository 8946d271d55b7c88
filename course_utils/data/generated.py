"""A generated image set of ten shapes, 32 x 32 RGB: the data of every lab when CIFAR-10 is not there.

Each picture shows one filled shape, turned, stretched and shifted at will, on a shaded and striped ground, between
blobs of other colours, behind a bar, under noise; hard enough that coarse quantization costs accuracy.

The images are the same bit for bit on every machine. Randomness is the raw stream of NumPy's Philox, which NumPy
promises to keep (its distributions are not promised), and the arithmetic is element by element with + - * / sqrt
floor only, which IEEE 754 fixes to the last bit (sin, exp and sums in unspecified order it does not).

Stands on NumPy and torch only.
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["CLASSES", "shapes"]

CLASSES = ("disc", "ring", "half-disc", "crescent", "triangle", "square", "pentagon", "star", "cross", "tee")

_SIZE = 32
_BLOBS = 4  # distracting blobs behind the shape
_PARAMETERS = 64  # random numbers an image is drawn from, noise apart
_NOISE_BYTES = 4  # a pixel's noise is the sum of so many random bytes: close to normal, and exact
_CHUNK = 50  # images drawn at once: few enough that a core's cache holds them


def shapes(train: bool, count: int = 10_000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw labelled images of shapes.

    Args:
        train: the training set or the test set; they never share an image.
        count: how many images. The first n of a larger set are the set of n.
        seed: 0 or more; another seed is another set. The committed weights belong to seed 0.

    Returns:
        images, uint8 (count, 3, 32, 32), RGB 0..255; labels, int64 (count,), indices into `CLASSES`.

    Raises:
        ValueError: if count or seed is negative.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"shapes: count and seed must be 0 or more, got count={count}, seed={seed}")
    stream = np.random.Philox(key=2 * seed + int(train))
    images = np.empty((count, 3, _SIZE, _SIZE), np.uint8)
    labels = np.empty(count, np.int64)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        images[start:stop], labels[start:stop] = _draw(stream, stop - start)
    return torch.from_numpy(images), torch.from_numpy(labels)


def _draw(stream: np.random.Philox, count: int) -> tuple[np.ndarray, np.ndarray]:
    noise_words = 3 * _SIZE * _SIZE * _NOISE_BYTES // 8
    raw = stream.random_raw(count * (_PARAMETERS + noise_words)).reshape(count, _PARAMETERS + noise_words)
    labels = (raw[:, 0] % len(CLASSES)).astype(np.int64)
    # 24 bits make a float32 in [0, 1) exactly; column j of every image is one parameter, (count, 1, 1)
    uniform = ((raw[:, 1:_PARAMETERS] >> 40).astype(np.float32) / np.float32(2**24)).T[:, :, None, None]
    parameters = iter(uniform)

    def between(low: float, high: float) -> np.ndarray:
        return np.float32(low) + np.float32(high - low) * next(parameters)

    def colour(low: float, high: float) -> np.ndarray:
        return np.stack([between(low, high) for _ in range(3)], axis=1)  # (count, 3, 1, 1)

    rows, columns = np.meshgrid(*[np.arange(_SIZE, dtype=np.float32) - np.float32((_SIZE - 1) / 2)] * 2, indexing="ij")

    # the ground: one colour, shaded along one direction, striped along another
    base = colour(60, 195)
    shade = (between(-2, 2) * columns + between(-2, 2) * rows)[:, None]
    waves = columns * between(-0.2, 0.2) + rows * between(-0.2, 0.2)
    stripes = ((np.abs(waves - np.floor(waves) - np.float32(0.5)) - np.float32(0.25)) * between(0, 120))[:, None]
    picture = base + shade + stripes
    for _ in range(_BLOBS):
        u, v = columns - between(-16, 16), rows - between(-16, 16)
        distance = np.sqrt(u * u + v * v) - between(1, 5)
        picture = _paint(picture, distance, base + colour(-90, 90))

    # the shape: in its own coordinates it has a radius of about 1
    cosine, sine = direction(between(-1, 1), next(parameters) < 0.5)
    across, down = columns - between(-5, 5), rows - between(-5, 5)
    radius, stretch = between(6, 12), between(0.75, 1.0)
    u = (cosine * across + sine * down) / radius
    v = (cosine * down - sine * across) / (radius * stretch)
    distance = np.empty_like(u)
    for label, outline in enumerate(OUTLINES):
        mine = labels == label
        distance[mine] = outline(u[mine], v[mine])
    contrast = np.where(next(parameters) < 0.5, np.float32(-1), np.float32(1))[:, None] * colour(25, 110)
    picture = _paint(picture, distance * radius * stretch, base + contrast)

    # a bar in front, anywhere
    cosine, sine = direction(between(-1, 1), next(parameters) < 0.5)
    distance = np.abs(cosine * columns + sine * rows - between(-14, 14)) - between(0.5, 2.0)
    picture = _paint(picture, distance, base + colour(-90, 90))

    noise = raw[:, _PARAMETERS:].astype("<u8").view("<u4").reshape(count, 3, _SIZE, _SIZE)
    bell = _sum_of_bytes(noise).astype(np.int32) - _NOISE_BYTES * 255 // 2  # deviation 148: sqrt(4 * (256^2 - 1) / 12)
    picture += bell.astype(np.float32) * between(0.05, 0.20)[:, None]
    return np.clip(np.floor(picture, out=picture), 0, 255, out=picture).astype(np.uint8), labels


def _sum_of_bytes(words: np.ndarray) -> np.ndarray:
    """The sum of the four bytes of each word, uint32: two and two side by side, then both."""
    pairs = (words & 0x00FF00FF) + ((words >> 8) & 0x00FF00FF)
    return (pairs + (pairs >> 16)) & 0xFFFF


def _paint(picture: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """``colour`` (N, 3, 1, 1) over ``picture`` (N, 3, 32, 32) where ``distance`` (N, 32, 32; pixels) is negative."""
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[:, None]
    change = colour - picture
    change *= cover
    change += picture
    return change


def direction(t: np.ndarray, flip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the angle whose half has tangent t; turned by half a circle where ``flip``."""
    sign = np.where(flip, np.float32(-1), np.float32(1))
    return sign * (1 - t * t) / (1 + t * t), sign * 2 * t / (1 + t * t)


# Outlines: approximate signed distance from the edge, negative inside, for coordinates u to the right and v downwards.


def _circle(u: np.ndarray, v: np.ndarray, radius: float = 1.0) -> np.ndarray:
    return np.sqrt(u * u + v * v) - np.float32(radius)


def _box(u: np.ndarray, v: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    return np.maximum(np.abs(u) - np.float32(half_width), np.abs(v) - np.float32(half_height))


def _sides(u: np.ndarray, v: np.ndarray, normals: tuple[tuple[float, float], ...], inner: float) -> np.ndarray:
    """Distance from the two sides that are furthest off, of a regular polygon around a circle of radius ``inner``:
    (2, ...), the furthest last."""
    first = second = np.full_like(u, -np.inf)
    for a, b in normals:
        side = np.float32(a) * u + np.float32(b) * v
        second = np.maximum(second, np.minimum(first, side))
        first = np.maximum(first, side)
    return np.stack([second, first]) - np.float32(inner)


_THREE = ((0.0, 1.0), (0.8660254, -0.5), (-0.8660254, -0.5))
_FIVE = ((0.0, 1.0), (0.9510565, 0.309017), (0.5877853, -0.809017), (-0.5877853, -0.809017), (-0.9510565, 0.309017))

OUTLINES = (
    _circle,
    lambda u, v: np.abs(_circle(u, v, 0.75)) - np.float32(0.25),
    lambda u, v: np.maximum(_circle(u, v + np.float32(0.4), 1.1), -v - np.float32(0.4)),
    lambda u, v: np.maximum(_circle(u, v), -_circle(u - np.float32(0.5), v, 0.85)),
    lambda u, v: _sides(u, v, _THREE, 0.6)[-1],
    lambda u, v: _box(u, v, 0.85, 0.85),
    lambda u, v: _sides(u, v, _FIVE, 0.85)[-1],
    lambda u, v: _sides(u, v, _FIVE, 0.42)[-2],  # a star is where at most one of the five sides is passed
    lambda u, v: np.minimum(_box(u, v, 1.0, 0.32), _box(u, v, 0.32, 1.0)),
    lambda u, v: np.minimum(_box(u, v + np.float32(0.7), 0.95, 0.3), _box(u, v, 0.3, 1.0)),
)
