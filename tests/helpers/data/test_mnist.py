"""MNIST: the real files, and what is refused."""

from __future__ import annotations

import gzip

import pytest
import torch

from course_utils.data import DataError, places
from course_utils.data.mnist import find, mnist


def test_the_real_images(course_data):
    images, labels = mnist(True, course_data)
    assert (images.shape, images.dtype) == ((60_000, 1, 28, 28), torch.uint8)
    assert (labels.shape, labels.dtype) == ((60_000,), torch.int64)
    pixels = images.double() / 255
    assert round(float(pixels.mean()), 4) == 0.1307
    assert round(float(pixels.std()), 4) == 0.3081
    images, labels = mnist(False, course_data)
    assert (len(images), labels[:5].tolist()) == (10_000, [7, 2, 1, 0, 4])
    images[0] = 0  # it can be written to


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(places, "DATA", tmp_path / "empty")
    return tmp_path


def test_what_is_not_here_is_named(nowhere):
    assert find(nowhere) is None
    with pytest.raises(DataError, match=r"looked for mnist/ and MNIST/raw/ in .*Set COURSE_DATA"):
        mnist(True, nowhere)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "missing or damaged"),
        (b"no archive", "missing or damaged"),
        (gzip.compress(bytes(20_000))[:25], "missing or damaged"),
        (gzip.compress(bytes(16)), "the MD5 of its content is 4ae71336e44bf9bf79d2752e234818a5, not 2646ac"),
    ],
    ids=["missing", "no archive", "cut", "of other content"],  # an archive holds the time at which it was made
)
def test_what_is_damaged_is_named(nowhere, content, told):
    folder = nowhere / "MNIST/raw"
    folder.mkdir(parents=True)
    assert find(nowhere) == folder
    if content is not None:
        (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=f"t10k-images-idx3-ubyte.gz: {told}"):
        mnist(False, nowhere)
