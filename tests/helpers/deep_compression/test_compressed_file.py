"""A compressed network on disk: as many bits as counted, exactly the shared weights, and damage refused by place."""

from __future__ import annotations

import copy
import struct
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.deep_compression import FileError, compress, load, prune, settle, share, size
from course_utils.networks.models import load_trained


class Small(nn.Module):
    """A convolution, a batch norm and a linear layer without bias."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
        self.linear = nn.Linear(48, 4, bias=False)

    def forward(self, x):
        return self.linear(self.norm(self.convolution(x)).relu().flatten(1))


def shared(shares: float = 0.7, bits: int = 3, network: nn.Module | None = None) -> nn.Module:
    network = network or Small()
    prune(network, shares)
    share(network, bits)
    return network


def equal(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
@pytest.mark.parametrize("shares", [0.0, 0.5, 0.95])
def test_a_file_has_the_bits_counted_and_brings_the_weights_back(tmp_path, shares, bits):
    network = shared(shares, bits)
    counted = compress(network, tmp_path / "small")
    assert 8 * (tmp_path / "small").stat().st_size == sum(counted.parts().values())
    assert counted.bits("huffman") == sum(v for k, v in counted.parts().items() if k != "frame")
    loaded = load(tmp_path / "small", Small(seed=9))
    assert equal(loaded, settle(network)) and not loaded.training


def test_a_network_of_real_size_is_within_two_of_a_hundred_of_what_counts(tmp_path):
    network = shared(0.85, 5, load_trained("classyclassifier-shapes"))
    counted = compress(network, tmp_path / "classy")
    on_disk = 8 * (tmp_path / "classy").stat().st_size
    assert counted.bits("huffman") < on_disk <= 1.02 * counted.bits("huffman")
    assert counted.ratio("huffman") > counted.ratio("shared") > counted.ratio("pruned") > counted.ratio("float") == 1
    assert equal(load(tmp_path / "classy", load_trained("classyclassifier-shapes")), settle(network))


def test_special_layers_come_back(tmp_path):
    network = Small()
    with torch.no_grad():
        network.convolution.weight.zero_()  # nothing kept
        network.linear.weight.fill_(0.25)  # one value, no gap
    compress(network, tmp_path / "f")
    assert equal(load(tmp_path / "f", Small(seed=1)), network)
    with torch.no_grad():
        network.linear.weight.zero_()
        network.linear.weight[-1, -1] = -3  # behind all fillers
        network.convolution.bias[:2] = 0  # so that sharing gains by it, too
    compress(network, tmp_path / "f")
    assert equal(load(tmp_path / "f", Small(seed=1)), network)


def test_what_is_not_shared_is_refused_and_writes_no_file(tmp_path):
    network = nn.Sequential(nn.Linear(30, 30))
    with pytest.raises(ValueError, match=r"0\.weight has more than 255 different values"):
        compress(network, tmp_path / "f")
    assert not (tmp_path / "f").exists()
    share(network, 8)
    compress(network, tmp_path / "f")
    with torch.no_grad():
        network[0].bias[3] = torch.nan
    with pytest.raises(ValueError, match=r"0\.bias should be float32 and finite"):
        size(network)
    with pytest.raises(ValueError, match="float64"):
        size(nn.Linear(2, 2).double())


def test_another_network_is_refused_by_name(tmp_path):
    compress(shared(), tmp_path / "f")
    with pytest.raises(FileError, match="header, byte 9: 7 tensors, the network has 2"):
        load(tmp_path / "f", nn.Linear(2, 2))
    other = Small()
    other.linear = nn.Linear(48, 5, bias=False)
    with pytest.raises(FileError, match=r"byte 11: .*other names or shapes"):
        load(tmp_path / "f", other)
    with pytest.raises(FileError, match="cannot be read"):
        load(tmp_path / "missing", other)


def test_cut_at_every_byte_and_every_byte_changed_it_is_refused_with_the_place(tmp_path):
    compress(shared(), tmp_path / "f")
    good = (tmp_path / "f").read_bytes()
    network = Small(seed=1)
    before = copy.deepcopy(network)
    bad = tmp_path / "bad"
    for at in range(len(good)):
        flipped = bytearray(good)
        flipped[at] ^= 1 << at % 8
        for content in (good[:at], bytes(flipped)):
            bad.write_bytes(content)
            with pytest.raises(FileError, match=r"bad: (header|tensor [a-z_.]+), byte \d+: "):
                load(bad, network)
    bad.write_bytes(good + b"\0")
    with pytest.raises(FileError, match=f"byte {len(good)}: 1 bytes follow"):
        load(bad, network)
    assert equal(network, before), "a refused file leaves the network as it is"


def with_content(good: bytes, name: str, change) -> bytes:
    """The file with another content of a tensor, and a checksum that is right."""
    names = [*(f"convolution.{k}" for k in ("weight", "bias")),
             *(f"norm.{k}" for k in ("weight", "bias", "running_mean", "running_var")), "linear.weight"]  # fmt: skip
    at, out = 15, good[:15]
    for tensor in names:
        (length,) = struct.unpack_from("<I", good, at)
        content = good[at + 4 : at + 4 + length]
        content = change(content) if tensor == name else content
        part = struct.pack("<I", len(content)) + content
        out += part + struct.pack("<I", zlib.crc32(part))
        at += 8 + length
    assert at == len(good)
    return out


def longest_lengths(content: bytes) -> bytes:
    """All code words of 63 bits."""
    begin = 6 + 4 * content[1]
    return content[:begin] + b"\xff" * (len(content) - begin)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("convolution.bias", lambda c: c + b"\0", "12 bytes of float32 are due, found 13"),
        ("convolution.bias", lambda c: c[:1] + struct.pack("<f", np.inf) + c[5:], "NaN or infinity"),
        ("linear.weight", lambda c: c[:5], "6 bytes are due, found 5"),
        ("linear.weight", lambda c: b"\x09" + c[1:], "gaps of 9 bits"),
        ("linear.weight", lambda c: c[:2] + struct.pack("<I", 193) + c[6:], "193 entries, the tensor has 192"),
        ("linear.weight", lambda c: c[:2] + b"\xff" * 4 + c[6:], "4294967295 entries"),
        ("linear.weight", lambda c: c[:1] + b"\xff" + c[2:], "255 values are due"),
        ("linear.weight", lambda c: c[:6] + struct.pack("<f", np.nan) + c[10:], "NaN or infinity"),
        ("linear.weight", lambda c: c[: 6 + 4 * c[1] + 1], "lengths of [0-9]+ code words are due, found 8 bits"),
        ("linear.weight", longest_lengths, "lengths are 0 to 62|no prefix-free code"),
        ("linear.weight", lambda c: c[:-1], "the bits end after"),
        ("linear.weight", lambda c: c + b"\0", "bits follow the last code word"),
        ("linear.weight", lambda c: c[:2] + struct.pack("<I", 1) + c[6:], "bits follow"),
    ],
)
def test_content_that_contradicts_itself_is_refused_though_its_checksum_is_right(tmp_path, name, change, message):
    compress(shared(), tmp_path / "f")
    (tmp_path / "f").write_bytes(with_content((tmp_path / "f").read_bytes(), name, change))
    with pytest.raises(FileError, match=rf"f: tensor {name}, byte \d+: .*({message})"):
        load(tmp_path / "f", Small())


def test_damaged_content_with_a_right_checksum_is_read_or_refused_by_name(tmp_path):
    compress(shared(), tmp_path / "f")
    good = (tmp_path / "f").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):

        def change(content: bytes) -> bytes:
            changed = bytearray(content)
            for at in rng.integers(len(changed), size=3):
                changed[at] = rng.integers(256)
            return bytes(changed[: rng.integers(1, len(changed) + 1)] if rng.integers(4) == 0 else changed)

        (tmp_path / "f").write_bytes(with_content(good, "linear.weight", change))
        try:
            loaded = load(tmp_path / "f", Small())
            assert all(v.isfinite().all() for v in loaded.state_dict().values())
        except FileError as error:
            refused += 1
            assert "tensor linear.weight, byte" in str(error)
    assert refused > 100
