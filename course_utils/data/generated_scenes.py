"""A generated detection set: scenes of overlapping shapes with their boxes, the data of a lab when no photos are there.

Each scene is 128 x 128 RGB: a shaded, striped ground, one to eight filled shapes of any angle between about 16 and 64
pixels across, some behind others, some cut by the edge, two thin bars in front of all, and noise.

The scenes are the same bit for bit on every machine, by the same means as `generated`.

Stands on NumPy, torch and `generated`.
"""

from __future__ import annotations

import numpy as np
import torch

from course_utils.data import generated

__all__ = ["CLASSES", "SIZE", "scenes"]

CLASSES = ("disc", "ring", "triangle", "square", "star", "cross")

SIZE = 128
"""Height and width of a scene in pixels."""

_OUTLINES = [generated.OUTLINES[generated.CLASSES.index(name)] for name in CLASSES]
_MOST = 8  # shapes in a scene
_BARS = 2
_VISIBLE = 0.6  # a shape of which less would be seen is left out
_PARAMETERS = 160  # random numbers a scene is drawn from, noise apart; drawing uses at most 145 of them
_NOISE_BYTES = 2  # a pixel's noise is the sum of so many random bytes


def scenes(
    train: bool, count: int = 1000, seed: int = 0
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Draw scenes with the boxes of their shapes.

    A box is the smallest that holds all of the shape that lies inside the picture, also what another shape hides.
    At least 60% of every shape is seen.

    Args:
        train: the training set or the test set; they never share a scene.
        count: how many scenes. The first n of a larger set are the set of n.
        seed: 0 or more; another seed is another set. The committed weights belong to seed 0.

    Returns:
        images, uint8 (count, 3, 128, 128), RGB 0..255; for each image its boxes, float32 (n, 4), left, top, right,
        bottom in pixels; and their labels, int64 (n,), indices into `CLASSES`. Every n is 1 or more.

    Raises:
        ValueError: if count or seed is negative.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"scenes: count and seed must be 0 or more, got count={count}, seed={seed}")
    stream = np.random.Philox(key=2 * seed + int(train))
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    boxes, labels = [], []
    for image in images:
        image[...], found, classes = _draw(stream)
        boxes.append(torch.tensor(found, dtype=torch.float32))
        labels.append(torch.tensor(classes, dtype=torch.int64))
    return torch.from_numpy(images), boxes, labels


def _draw(stream: np.random.Philox) -> tuple[np.ndarray, list[tuple[int, int, int, int]], list[int]]:
    # 24 bits make a float32 in [0, 1) exactly
    parameters = iter((stream.random_raw(_PARAMETERS) >> 40).astype(np.float32) / np.float32(2**24))

    def between(low: float, high: float) -> np.float32:
        return np.float32(low) + np.float32(high - low) * next(parameters)

    def contrast() -> np.ndarray:
        """A change of colour, (3, 1, 1): each channel up or down by 40 to 120 of 255."""
        change = [between(40, 120) * (-1 if next(parameters) < 0.5 else 1) for _ in range(3)]
        return np.array(change, np.float32)[:, None, None]

    places = np.arange(SIZE, dtype=np.float32)
    rows, columns = places[:, None], places[None, :]
    base = np.array([between(70, 185) for _ in range(3)], np.float32)[:, None, None]
    waves = columns * between(-0.1, 0.1) + rows * between(-0.1, 0.1)
    stripes = (np.abs(waves - np.floor(waves) - np.float32(0.5)) - np.float32(0.25)) * between(0, 80)
    ground = base + (between(-0.4, 0.4) * (columns - 64) + between(-0.4, 0.4) * (rows - 64) + stripes)

    # painted from front to back: `through` is how much of what comes next is seen at each pixel
    picture, through = np.zeros((3, SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.float32)
    for _ in range(_BARS):
        cosine, sine = generated.direction(between(-1, 1), next(parameters) < 0.5)
        distance = np.abs(cosine * (columns - 64) + sine * (rows - 64) - between(-60, 60)) - between(0.5, 1.5)
        cover = np.clip(np.float32(0.5) - distance, 0, 1) * through
        picture += cover * (base + contrast())
        through -= cover

    boxes, labels = [], []
    for _ in range(1 + int(next(parameters) * _MOST)):
        label = int(next(parameters) * len(CLASSES))
        share = next(parameters)
        radius = np.float32(8) + np.float32(24) * share * share  # squared: small shapes are more frequent
        x, y = (between(0, 1) * (SIZE - radius) + radius / 2 for _ in range(2))
        cosine, sine = generated.direction(between(-1, 1), next(parameters) < 0.5)
        stretch, colour = between(0.75, 1.0), base + contrast()
        # every outline lies within 1.5 radii: only that window is looked at
        left, top = (max(0, int(centre - 1.5 * radius)) for centre in (x, y))
        window = (slice(top, int(y + 1.5 * radius) + 2), slice(left, int(x + 1.5 * radius) + 2))
        across, down = columns[:, window[1]] - x, rows[window[0]] - y
        u = (cosine * across + sine * down) / radius
        v = (cosine * down - sine * across) / (radius * stretch)
        cover = np.clip(np.float32(0.5) - _OUTLINES[label](u, v) * radius * stretch, 0, 1)
        inside = cover > 0.5
        if boxes and np.count_nonzero(inside & (through[window] > 0.5)) < _VISIBLE * np.count_nonzero(inside):
            continue
        cover *= through[window]
        picture[:, *window] += cover * colour
        through[window] -= cover
        inside_rows, inside_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        boxes.append(
            (left + inside_columns[0], top + inside_rows[0], left + inside_columns[-1] + 1, top + inside_rows[-1] + 1)
        )
        labels.append(label)

    picture += through * ground
    noise = stream.random_raw(3 * SIZE * SIZE * _NOISE_BYTES // 8).astype("<u8").view(np.uint8)
    bell = noise.reshape(3, SIZE, SIZE, _NOISE_BYTES).astype(np.int16).sum(axis=-1, dtype=np.int16) - np.int16(255)
    picture += bell.astype(np.float32) * between(0.02, 0.15)  # deviation of the bell: 105
    return np.clip(np.floor(picture), 0, 255).astype(np.uint8), boxes, labels
