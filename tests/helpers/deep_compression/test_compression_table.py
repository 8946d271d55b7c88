"""The stored tables: what they say holds together, and damaged ones are refused by name."""

from __future__ import annotations

import json

import pytest
import torch

from course_utils.deep_compression import load, size
from course_utils.deep_compression.accounting import PARTS
from course_utils.deep_compression.table import TableError, read_table
from course_utils.networks.caffe import LeNet5
from course_utils.networks.models import WEIGHTS, architecture

STORED = sorted(p.stem.removeprefix("deep_compression-") for p in WEIGHTS.glob("deep_compression-*.json"))


@pytest.mark.parametrize("name", STORED)
def test_a_network_is_fifteen_times_smaller_at_a_point_of_accuracy_and_its_file_is_what_was_counted(name):
    table = read_table(name)
    by_name = {stage.name: stage for stage in table.stages}
    assert list(by_name) == ["float", "pruned", "retrained", "shared", "codebook trained", "huffman"]
    assert by_name["huffman"].ratio >= 15
    assert by_name["float"].accuracy - by_name["huffman"].accuracy <= 0.01
    path = WEIGHTS / f"deep_compression-{name}.deepc"
    assert path.stat().st_size == table.file_bytes == sum(table.parts.values()) / 8
    assert by_name["huffman"].size <= table.file_bytes <= 1.02 * by_name["huffman"].size
    network = load(path, LeNet5() if name.startswith("lenet5") else architecture(name))
    counted = size(network)
    assert counted.parts() == table.parts and set(table.parts) == set(PARTS)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert {run.init for run in table.clusters} <= {"linear", "density", "random"}


def test_a_missing_or_damaged_table_is_refused_by_name(tmp_path):
    with pytest.raises(TableError, match=r"deep_compression-x\.json: no such table; there are: none"):
        read_table("x", tmp_path)
    good = {"facts": {}, "stages": [{"stage": "float", "accuracy": 1, "bytes": 2, "ratio": 1, "file_bytes": 2,
                                     "parts": {}}], "clusters": [], "curve": []}  # fmt: skip
    path = tmp_path / "deep_compression-x.json"
    path.write_text(json.dumps(good))
    assert read_table("x", tmp_path).stages[0].size == 2
    for damage in ("{", json.dumps(good | {"stages": []}), json.dumps(good | {"curve": [{"share": 1}]}), "[1]"):
        path.write_text(damage)
        with pytest.raises(TableError, match=r"deep_compression-x\.json: damaged: .*train_deep_compression"):
            read_table("x", tmp_path)
