"""Crops of ImageNet: the two layouts on disk, what is refused, and the real sets."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.data import DataError, places
from course_utils.data.imagenet import SETS, find, imagenet


def picture(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def write(root: Path, name: str, members: dict[str, np.ndarray | str]) -> Path:
    path = root / SETS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                Image.fromarray(content).save(buffer, "PNG")  # lossless: Pillow looks at the content, not at the name
                content = buffer.getvalue()
            archive.writestr(member, content)
    return path


@pytest.fixture
def nowhere(monkeypatch, tmp_path) -> Path:
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(places, "DATA", tmp_path / "empty")
    return tmp_path


def test_a_crop_is_named_by_its_class(nowhere):
    write(nowhere, "imagenet", {"0996.jpg": picture((224, 224), 1), "0004.jpg": picture((224, 224), 0)})
    images, labels = imagenet("imagenet", nowhere)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [4, 996]
    for image, seed in zip(images, (0, 1), strict=True):
        assert np.array_equal(image.permute(1, 2, 0), picture((224, 224), seed))


def test_of_a_photo_the_centre_is_taken_and_a_list_names_its_class(nowhere):
    photo = picture((227, 227), 2)
    labels = "file,class\nb.JPEG,7\na.JPEG,999\n"
    write(nowhere, "imagenet_val", {"a.JPEG": photo, "b.JPEG": picture((227, 227), 3), "labels.csv": labels})
    images, classes = imagenet("imagenet_val", nowhere)
    assert classes.tolist() == [999, 7]
    assert np.array_equal(images[0].permute(1, 2, 0), photo[1:225, 1:225])


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"1000.jpg": picture((224, 224), 0)}, "the class of 1000.jpg should be 0 to 999, not 1000"),
        ({"cat.jpg": picture((224, 224), 0)}, "invalid literal"),
        ({"0001.jpg": picture((223, 300), 0)}, "0001.jpg is 223 x 300, smaller than 224 x 224"),
        ({"0001.jpg": "no picture"}, "cannot identify image"),
        ({"labels.csv": "file,class\n"}, "there is no image in it"),
        ({"labels.csv": "file,class\nx.JPEG,3\n"}, "x.JPEG"),
        ({}, "labels.csv"),
    ],
)
def test_what_is_damaged_is_named(nowhere, members, told):
    path = write(nowhere, "imagenet", members)
    with pytest.raises(DataError) as caught:
        imagenet("imagenet", nowhere)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_what_is_not_here_says_where_it_was_looked_for(nowhere):
    assert find("imagenet", nowhere) is None
    with pytest.raises(DataError, match=r"set COURSE_DATA to .* imagenet_val/imagenet_val_227\.zip \(looked in "):
        imagenet("imagenet_val", nowhere)
    with pytest.raises(DataError, match="there are imagenet, imagenet_val"):
        imagenet("imagenet_train", nowhere)


def test_the_real_crops(course_data):
    images, labels = imagenet("imagenet", course_data)
    assert images.shape == (250, 3, 224, 224)
    assert labels.tolist() == list(range(0, 1000, 4))


@pytest.mark.slow
def test_the_real_photos(course_data):
    images, labels = imagenet("imagenet_val", course_data)
    assert images.shape == (942, 3, 224, 224)
    assert len(labels.unique()) == 609
