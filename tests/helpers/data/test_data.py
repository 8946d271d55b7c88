"""Data sets: layouts on disk, checksums, generated shapes, and the download from a site on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from course_utils import data
from course_utils.data import DataError, cifar, generated, places

PER_BATCH, PER_STRIP = 20, 10  # images in the small stand-ins for CIFAR-10


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def small_batch(name: str) -> tuple[np.ndarray, list[int]]:
    random = np.random.default_rng(list(name.encode()))
    pixels = random.integers(0, 256, (PER_BATCH, 3, 32, 32), dtype=np.uint8)
    return pixels, random.integers(0, 10, PER_BATCH).tolist()


@pytest.fixture
def nowhere(monkeypatch, tmp_path) -> Path:
    """No data is found but where a test puts it: the repository's data folder is an empty one."""
    monkeypatch.delenv("COURSE_DATA", raising=False)
    folder = tmp_path / "repository-data"
    folder.mkdir()
    monkeypatch.setattr(places, "DATA", folder)
    return folder


@pytest.fixture
def packed(nowhere, monkeypatch, tmp_path) -> Path:
    """A root that holds small batches in the packed layout, with their checksums in place of the real ones."""
    root = tmp_path / "packed-root"
    (root / "cifar10").mkdir(parents=True)
    for table in ("_TRAIN", "_TEST"):
        small = {}
        for name in getattr(cifar, table):
            pixels, labels = small_batch(name)
            small[name] = (md5(pixels.tobytes()), md5(bytes(labels)))
            write_packed(root / "cifar10" / f"{name}.zip", pixels, labels)
        monkeypatch.setattr(cifar, table, small)
    return root


def write_packed(path: Path, pixels: np.ndarray, labels: list[int]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, start in enumerate(range(0, len(pixels), PER_STRIP)):
            strip = pixels[start : start + PER_STRIP].transpose(0, 2, 3, 1).reshape(-1, 32, 3)
            file = io.BytesIO()
            Image.fromarray(strip).save(file, "WEBP", lossless=True, exact=True)
            archive.writestr(f"{number:02d}.webp", file.getvalue())
        archive.writestr("labels.txt", " ".join(map(str, labels)))


@pytest.fixture
def original(nowhere, monkeypatch, tmp_path) -> Path:
    """A root that holds small batches in torchvision's layout, with their checksums in place of the real ones."""
    root = tmp_path / "original-root"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: dict) -> str:
        pickled = pickle.dumps(content)
        (folder / name).write_bytes(pickled)
        return md5(pickled)

    for table in ("train_list", "test_list"):
        small = []
        for name, _ in getattr(CIFAR10, table):
            pixels, labels = small_batch(name)
            small.append([name, write(name, {"data": pixels.reshape(PER_BATCH, -1), "labels": labels})])
        monkeypatch.setattr(CIFAR10, table, small)
    meta = write("batches.meta", {"label_names": list(cifar.CLASSES)})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return root


@pytest.mark.parametrize("layout", ["packed", "original"])
@pytest.mark.parametrize("train", [True, False])
def test_both_layouts_give_all_images_in_order(layout, train, request):
    root = request.getfixturevalue(layout)
    images, labels = data.cifar10(train, root)
    names = [f"data_batch_{k}" for k in range(1, 6)] if train else ["test_batch"]
    batches = [small_batch(name) for name in names]
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(images, torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])))
    assert labels.tolist() == [label for _, labels in batches for label in labels]


def test_the_order_of_places(packed, nowhere, monkeypatch, tmp_path):
    assert cifar.find() is None
    assert cifar.find(packed) == packed / "cifar10"
    monkeypatch.setenv("COURSE_DATA", str(packed))
    assert cifar.find() == packed / "cifar10"
    (nowhere / "cifar-10-batches-py").mkdir()
    assert cifar.find() == packed / "cifar10", "COURSE_DATA comes before the repository"
    (tmp_path / "mine" / "cifar10").mkdir(parents=True)
    assert cifar.find(tmp_path / "mine") == tmp_path / "mine" / "cifar10", "root comes before COURSE_DATA"
    monkeypatch.delenv("COURSE_DATA")
    assert cifar.find() == nowhere / "cifar-10-batches-py"


def test_nowhere_says_where_it_looked_and_what_to_do(nowhere, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "env"))
    with pytest.raises(DataError) as caught:
        data.cifar10(train=True, root=tmp_path / "mine")
    for part in (tmp_path / "mine", tmp_path / "env", nowhere, "course data --fetch cifar10"):
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("change", ["pixel", "label"])
def test_packed_checksum_names_the_file(packed, change):
    pixels, labels = small_batch("data_batch_3")
    if change == "pixel":
        pixels[7, 1, 2, 3] ^= 1
    else:
        labels[7] = (labels[7] + 1) % 10
    path = packed / "cifar10" / "data_batch_3.zip"
    write_packed(path, pixels, labels)
    with pytest.raises(DataError, match=f"{path}: the MD5 of its {change}s"):
        data.cifar10(train=True, root=packed)
    data.cifar10(train=False, root=packed)  # the test batch is sound


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def no_labels(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        kept = {name: old.read(name) for name in old.namelist() if name != "labels.txt"}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in kept.items():
            new.writestr(name, content)


def not_an_image(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("00.webp", b"not a picture")
        new.writestr("labels.txt", "1")


def no_image(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("labels.txt", "1")


@pytest.mark.parametrize("harm", [missing, truncated, no_labels, not_an_image, no_image])
def test_damaged_packed_file_is_named(packed, harm):
    path = packed / "cifar10" / "test_batch.zip"
    harm(path)
    with pytest.raises(DataError, match=f"{path}: missing or damaged"):
        data.cifar10(train=False, root=packed)


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
@pytest.mark.parametrize("harm", [missing, truncated])
def test_damaged_original_file_is_named(original, name, harm):
    path = original / "cifar-10-batches-py" / name
    harm(path)
    with pytest.raises(DataError, match=f"{path}: missing, or its MD5 is wrong"):
        data.cifar10(train=True, root=original)


def test_classification_data_says_which_data_it_is(packed):
    fallback = data.classification_data(train=False)
    assert (fallback.name, fallback.classes, len(fallback.images)) == ("shapes", generated.CLASSES, 10_000)
    assert "generated shapes" in fallback.note
    assert "CIFAR-10 is not here" in fallback.note
    real = data.classification_data(train=False, root=packed)
    assert (real.name, real.classes, len(real.images)) == ("cifar10", cifar.CLASSES, PER_BATCH)
    assert f"CIFAR-10, {PER_BATCH} test images from {packed}" in real.note
    assert "\n" not in fallback.note + real.note


@pytest.mark.parametrize("name", ["shapes", "cifar10"])
def test_some_images_are_the_first_of_all(packed, name):
    some = data.classification_data(train=True, root=packed, name=name, count=7)
    everything = data.classification_data(train=True, root=packed, name=name)
    assert len(some.images) == len(some.labels) == 7 < len(everything.images)
    assert torch.equal(some.images, everything.images[:7])
    assert torch.equal(some.labels, everything.labels[:7])
    assert " 7 training images" in some.note
    with pytest.raises(ValueError, match="not -1"):
        data.classification_data(train=True, root=packed, name=name, count=-1)


def test_damaged_data_is_not_replaced_by_shapes(packed):
    truncated(packed / "cifar10" / "test_batch.zip")
    with pytest.raises(DataError):
        data.classification_data(train=False, root=packed)


def test_describe(packed, nowhere):
    here = {row.name: row for row in data.describe(packed)}
    assert here["cifar10"].found == str(packed / "cifar10")
    assert here["cifar10"].hint == ""
    away = {row.name: row for row in data.describe()}
    assert away["cifar10"].found is None
    assert str(nowhere) in away["cifar10"].hint
    assert away["shapes"].found is not None
    assert {"coco", "coco-train", "retail", "mnist", "imagenet", "imagenet_val"} <= away.keys()
    for name, file in (
        ("retail", "darknet/retail.names"),
        ("mnist", "mnist/"),
        ("imagenet", "imagenet/imagenet_250.zip"),
    ):
        assert away[name].found is None
        assert file in away[name].hint
        assert str(nowhere) in away[name].hint


def test_shapes_are_the_same_on_every_machine():
    test, labels = data.shapes(train=False, count=700)
    train, _ = data.shapes(train=True, count=700)
    assert hashlib.sha256(test.numpy().tobytes()).hexdigest() == SHAPES_TEST
    assert hashlib.sha256(train.numpy().tobytes()).hexdigest() == SHAPES_TRAIN
    assert labels[:12].tolist() == SHAPES_LABELS


SHAPES_TEST = "1ffc3b13842b55211ea033779c4006bd67626cc37059831854f5b44f811cedbf"
SHAPES_TRAIN = "0df5a47bfe5ed08880adc95bb28e701820e9a90db6e5849f86de9c1a50576dbe"
SHAPES_LABELS = [9, 0, 0, 5, 6, 1, 5, 9, 6, 3, 9, 7]


def test_shapes_take_nothing_from_global_generators():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first, _ = data.shapes(train=True, count=20)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    before = torch.get_rng_state()
    second, _ = data.shapes(train=True, count=20)
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_shapes_of_a_smaller_set_begin_the_larger():
    large, large_labels = data.shapes(train=True, count=1203)
    small, small_labels = data.shapes(train=True, count=701)
    assert large.shape == (1203, 3, 32, 32)
    assert (large.dtype, large_labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(large[:701], small)
    assert torch.equal(large_labels[:701], small_labels)
    assert data.shapes(train=True, count=0)[0].shape == (0, 3, 32, 32)


def test_shapes_of_other_seeds_and_sets_share_no_image():
    sets = [data.shapes(train, 300, seed)[0] for train in (True, False) for seed in (0, 1, 2)]
    images = {image.numpy().tobytes() for images in sets for image in images}
    assert len(images) == 6 * 300


def test_shapes_classes_are_balanced():
    _, labels = data.shapes(train=False, count=1000)
    # each count is binomial(1000, 0.1) with deviation 9.5; ten classes stay within 5 deviations but once in 10^5 seeds
    assert (labels.bincount(minlength=10) - 100).abs().max() < 48


@pytest.mark.parametrize("wrong", [{"count": -1}, {"seed": -1}])
def test_shapes_refuse_negative_numbers(wrong):
    with pytest.raises(ValueError, match="0 or more"):
        data.shapes(train=True, **wrong)


@pytest.mark.parametrize(
    ("label", "share"),
    # area of the outline in units of the radius squared, by elementary geometry
    [(0, np.pi), (1, np.pi * (1 - 0.5**2)), (5, 1.7**2), (8, 4 * 0.64 - 0.64**2), (4, 0.6**2 * 3 * 3**0.5)],
)
def test_outlines_have_the_area_of_their_shape(label, share):
    step = 1 / 200
    u, v = np.meshgrid(*[np.arange(-2, 2, step, dtype=np.float32)] * 2)
    area = (generated.OUTLINES[label](u, v) < 0).sum() * step**2
    assert area == pytest.approx(share, abs=8 * 2 * step)  # the edge, at most 8 long, is a cell or two in doubt


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        QuietHandler.asked += 1
        if self.path.startswith("/short/"):  # promises more than it sends
            self.send_response(200)
            self.send_header("Content-Length", "100000000")
            self.end_headers()
            self.wfile.write(b"half of it")
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def site(original, monkeypatch, tmp_path):
    """A web site on this machine with a small CIFAR-10 archive, whose address and MD5 stand for the real ones."""
    (tmp_path / "site").mkdir()
    archive = tmp_path / "site" / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(original / "cifar-10-batches-py", "cifar-10-batches-py")
    handler = functools.partial(QuietHandler, directory=archive.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{CIFAR10.filename}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    monkeypatch.setattr(QuietHandler, "asked", 0)
    yield archive
    server.shutdown()
    server.server_close()


def test_fetch_brings_data_that_reads(site, tmp_path):
    calls = []
    target = data.fetch("cifar10", tmp_path / "new" / "root", lambda done, total: calls.append((done, total)))
    assert target == tmp_path / "new" / "root" / "cifar-10-batches-py"
    assert [path.name for path in target.parent.iterdir()] == ["cifar-10-batches-py"], "the archive is not kept"
    images, _ = data.cifar10(train=False, root=target.parent)
    assert torch.equal(images, torch.from_numpy(small_batch("test_batch")[0]))
    size = site.stat().st_size
    assert calls[-1] == (size, size)
    assert calls == sorted(calls)


def test_fetch_goes_to_course_data_and_draws_a_bar(site, monkeypatch, nowhere, tmp_path, capsys):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "env"))
    assert data.fetch("cifar10") == tmp_path / "env" / "cifar-10-batches-py"
    assert "CIFAR-10" in capsys.readouterr().out
    assert list(nowhere.iterdir()) == []


def test_fetch_of_what_is_here_asks_nobody(site, packed):
    assert data.fetch("cifar10", packed) == packed / "cifar10"
    assert QuietHandler.asked == 0


def wrong_checksum(monkeypatch):
    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    return "what came has the MD5"


def cut_short(monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", CIFAR10.url.replace("/cifar", "/short/cifar"))
    return "what came has the MD5"


def no_such_page(monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", CIFAR10.url + "x")
    return "cannot be downloaded.*404"


def no_network(monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:1/cifar")  # port 1: nobody listens
    return "cannot be downloaded"


@pytest.mark.parametrize("trouble", [wrong_checksum, cut_short, no_such_page, no_network])
def test_fetch_in_trouble_says_so_and_leaves_nothing(site, tmp_path, monkeypatch, trouble):
    message = trouble(monkeypatch)
    root = tmp_path / "root"
    with pytest.raises(DataError, match=message) as caught:
        data.fetch("cifar10", root, lambda done, total: None)
    assert CIFAR10.url in str(caught.value)
    assert list(root.iterdir()) == []


def test_interrupted_fetch_leaves_nothing(site, tmp_path):
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    root = tmp_path / "root"
    with pytest.raises(KeyboardInterrupt):
        data.fetch("cifar10", root, interrupt)
    assert list(root.iterdir()) == []


def test_fetch_where_nothing_can_be_written(site, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        data.fetch("cifar10", tmp_path / "file", lambda done, total: None)


def test_fetch_knows_only_cifar10(nowhere):
    with pytest.raises(DataError, match=r"'shapes'.*cifar10"):
        data.fetch("shapes")


def test_real_cifar10():
    """The real data set, against figures published by others: per-channel mean and images a class."""
    if cifar.find() is None:
        pytest.skip("CIFAR-10 is not here: set COURSE_DATA to the folder that holds it")
    images, labels = data.cifar10(train=True)
    assert images.shape == (50_000, 3, 32, 32)
    assert labels.bincount().tolist() == [5000] * 10
    mean = images.numpy().mean(axis=(0, 2, 3), dtype=np.float64) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)  # four digits are published
    assert data.cifar10(train=False)[1].bincount().tolist() == [1000] * 10
