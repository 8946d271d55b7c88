"""Images with boxes: generated scenes, photos from a data folder, and which of them a lab gets."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import data
from course_utils.data import DataError, generated_scenes, places
from course_utils.data.photos import SETS
from course_utils.networks.models import WeightsError, detector


@pytest.fixture
def nowhere(monkeypatch, tmp_path) -> Path:
    """No data is found but where a test puts it."""
    monkeypatch.delenv("COURSE_DATA", raising=False)
    folder = tmp_path / "repository-data"
    folder.mkdir()
    monkeypatch.setattr(places, "DATA", folder)
    return folder


def digest(images, boxes, labels) -> str:
    content = [images.numpy().tobytes(), torch.cat(boxes).numpy().tobytes(), torch.cat(labels).numpy().tobytes()]
    return hashlib.sha256(b"".join(content)).hexdigest()


def test_scenes_are_the_same_on_every_machine():
    assert digest(*data.scenes(train=False, count=100)) == SCENES_TEST
    assert digest(*data.scenes(train=True, count=100)) == SCENES_TRAIN


SCENES_TEST = "5b14902f1eca9d3e0f4fc621a8bd05eda4833e74018afd9de4bcfbafb91d1c95"
SCENES_TRAIN = "48c2fca78d31b099c9a4ef1cbac86562a4f568a5a9ae7ce4a844c7ab56851004"


def test_scenes_of_a_smaller_set_begin_the_larger():
    images, boxes, labels = data.scenes(train=True, count=30)
    few = data.scenes(train=True, count=11)
    assert images.shape == (30, 3, 128, 128) and images.dtype == torch.uint8
    assert digest(*few) == digest(images[:11], boxes[:11], labels[:11])
    assert data.scenes(train=True, count=0)[0].shape == (0, 3, 128, 128)


def test_scenes_of_other_seeds_and_sets_share_no_image():
    sets = [data.scenes(train, 50, seed)[0] for train in (True, False) for seed in (0, 1, 2)]
    assert len({image.numpy().tobytes() for images in sets for image in images}) == 6 * 50


@pytest.mark.parametrize("wrong", [{"count": -1}, {"seed": -1}])
def test_scenes_refuse_negative_numbers(wrong):
    with pytest.raises(ValueError, match="0 or more"):
        data.scenes(train=True, **wrong)


def test_scenes_hold_what_they_promise():
    _, boxes, labels = data.scenes(train=True, count=500)
    for some, classes in zip(boxes, labels, strict=True):
        assert len(some) == len(classes) >= 1
        assert (some[:, :2] < some[:, 2:]).all() and (some >= 0).all() and (some <= 128).all()
        assert (some.dtype, classes.dtype) == (torch.float32, torch.int64)
    sides = (torch.cat(boxes)[:, 2:] - torch.cat(boxes)[:, :2]).amax(dim=1)
    assert sides.quantile(0.05) < 20 and sides.quantile(0.95) > 50  # a range of sizes
    counts = torch.cat(labels).bincount(minlength=6)
    # each count is binomial with deviation sqrt(n / 6 * 5 / 6); six stay within 5 deviations but once in 10^5 seeds
    share = len(sides) / 6
    assert (counts - share).abs().max() < 5 * (share * 5 / 6) ** 0.5
    overlapping = sum(bool((np.triu(overlaps(some), 1) > 0.1).any()) for some in boxes)
    assert overlapping > 100  # of 500 scenes: shapes hide one another


def overlaps(boxes: torch.Tensor) -> np.ndarray:
    corner = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    extent = (torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner).clamp(min=0)
    return (extent.prod(dim=2) / (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)).numpy()


def test_boxes_hold_the_shapes():
    """Where a scene has one shape that is solid in the middle, what has its colour lies inside the box and fills it."""
    solid = [generated_scenes.CLASSES.index(name) for name in ("disc", "square", "cross", "star", "triangle")]
    errors = []
    for image, boxes, labels in zip(*data.scenes(train=True, count=400), strict=True):
        if len(boxes) > 1 or int(labels[0]) not in solid:
            continue
        left, top, right, bottom = boxes[0].int().tolist()
        pixels = image.float()
        row, column = (top + bottom) // 2, (left + right) // 2
        colour = pixels[:, row - 1 : row + 2, column - 1 : column + 2].flatten(1).median(dim=1).values
        ground = pixels.flatten(1).median(dim=1).values
        distance = [((pixels - c[:, None, None]) ** 2).sum(dim=0) for c in (colour, ground)]
        like = distance[0] * 4 < distance[1]
        columns, rows = like.sum(dim=0), like.sum(dim=1)  # three pixels of the colour make a row count: noise does not
        found = [(line >= 3).nonzero()[:, 0] for line in (columns, rows)]
        if all(len(line) for line in found):
            edges = [found[0][0], found[1][0], found[0][-1] + 1, found[1][-1] + 1]
            errors.append(max(abs(int(a) - b) for a, b in zip(edges, (left, top, right, bottom), strict=True)))
    assert len(errors) > 20
    # tips of stars and triangles are thinner than three pixels, and a bar may have the shape's colour
    assert np.median(errors) <= 3, errors


# Photos


def jpeg(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), (250, 120, 10), np.uint8)).save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def write_photos(root: Path, name: str, labels: str = "1 0.5 0.5 0.5 0.25\n") -> Path:
    archive, names = (root / part for part in SETS[name])
    for path in (archive, names):
        path.parent.mkdir(parents=True, exist_ok=True)
    names.write_text("cup\ntin\n\n")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("images/b.jpg", jpeg(40, 80))
        file.writestr("images/a.jpg", jpeg(30, 20))
        file.writestr("labels/b.txt", labels)
        file.writestr("labels/a.txt", "")
        file.writestr("instances.json", "{}")
    return archive


def test_photos_are_read(nowhere, tmp_path):
    write_photos(tmp_path, "coco")
    images, boxes, labels, classes = data.photos("coco", tmp_path)
    assert [tuple(image.shape) for image in images] == [(3, 30, 20), (3, 40, 80)]
    assert images[0].dtype == torch.uint8
    # JPEG at quality 95 keeps an even colour within a few steps
    assert (images[0].float() - torch.tensor([250.0, 120, 10])[:, None, None]).abs().max() < 6
    assert boxes[0].shape == (0, 4) and boxes[1].tolist() == [[20, 15, 60, 25]]
    assert [some.tolist() for some in labels] == [[], [1]]
    assert classes == ("cup", "tin")
    assert len(data.photos("coco", tmp_path, count=1)[0]) == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("2 0.5 0.5 0.5 0.5", "class from 0 to 1"),
        ("0.5 0.5 0.5 0.5 0.5", "class from 0 to 1"),
        ("1 0.5 0.5 0.5", "reshape"),
        ("1 0.5 0.5 0.5 50", "fractions"),
        ("1 0.5 0.5 0.5 nan", "fractions"),
        ("one 0.5 0.5 0.5 0.5", "one"),
    ],
)
def test_photos_with_damaged_labels_are_refused(nowhere, tmp_path, labels, message):
    path = write_photos(tmp_path, "coco", labels)
    with pytest.raises(DataError, match=message) as caught:
        data.photos("coco", tmp_path)
    assert str(path) in str(caught.value)


def test_damaged_zip_is_refused(nowhere, tmp_path):
    path = write_photos(tmp_path, "retail")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="missing or damaged"):
        data.photos("retail", tmp_path)
    with pytest.raises(DataError, match="missing or damaged"):  # not replaced by scenes behind your back
        data.detection_data(root=tmp_path)


def test_photos_that_are_not_here_are_refused(nowhere):
    with pytest.raises(DataError, match="COURSE_DATA") as caught:
        data.photos("coco")
    assert str(nowhere) in str(caught.value)
    with pytest.raises(DataError, match="there are coco, coco-train, retail"):
        data.photos("dogs")


def test_detection_data_is_photos_if_they_are_here(nowhere, tmp_path):
    write_photos(tmp_path, "retail")
    real, made = data.detection_data(root=tmp_path), data.detection_data(count=5)
    assert (real.name, real.classes, len(real)) == ("retail", ("cup", "tin"), 2)
    assert (made.name, made.classes, len(made)) == ("scenes", generated_scenes.CLASSES, 5)
    assert made.images[0].shape == (3, 128, 128)
    assert str(tmp_path) in real.note and "generated" in made.note
    training = data.detection_data("scenes-train", count=5)
    assert not torch.equal(training.images[0], made.images[0])
    assert torch.equal(training.images[0], data.scenes(train=True, count=1)[0][0])


def test_describe_says_which_photos_are_here(nowhere, tmp_path):
    write_photos(tmp_path, "retail")
    rows = {row.name: row for row in data.describe(tmp_path)}
    assert rows["retail"].found == str(tmp_path) and rows["retail"].hint == ""
    assert rows["coco"].found is None and "COURSE_DATA" in rows["coco"].hint
    assert rows["scenes"].found is not None


def test_a_detector_that_is_not_here(nowhere):
    with pytest.raises(WeightsError, match=r"darknet/yolo-fastest-1\.1\.cfg"):
        detector("coco")
    with pytest.raises(WeightsError, match="no such weights"):
        detector("dogs")


@pytest.mark.parametrize(("name", "images", "boxes", "classes"), [("retail", 229, 2959, 60), ("coco", 168, None, 80)])
def test_real_photos(course_data, name, images, boxes, classes):
    found = data.detection_data(name, root=course_data)
    assert (len(found), len(found.classes)) == (images, classes)
    if boxes:
        assert sum(map(len, found.boxes)) == boxes
    for image, some in zip(found.images, found.boxes, strict=True):
        limits = torch.tensor([image.shape[2], image.shape[1]] * 2)
        assert (some > -1).all() and (some < limits + 1).all()  # labels are rounded to six places or so
