"""What is told of each image, and the running totals."""

from __future__ import annotations

import pytest
import torch

from course_utils.profiler import Batch, Guess, Totals

LOGITS = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.14, 0.06, 0.05], [0.9, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01]]))
CLASSES = ("laptop", "gong", "notebook", "ridgeback", "boxer", "beagle")


def test_guesses_lines_and_rows_of_images():
    batch = Batch(6898, torch.tensor([2, 6]), {"reference": LOGITS, "other": LOGITS.flip(1)}, CLASSES)
    (number, label, (first, other)), (_, last, _) = batch.images()
    assert (number, label, last) == (6898, "notebook", "6")  # a class without a name
    assert first == Guess("reference", "notebook", pytest.approx(0.3), True, True)
    assert other == Guess("other", "boxer", pytest.approx(0.3), False, True)
    assert list(batch.lines()) == [
        "image 6898: label notebook; reference notebook 30.0%; other boxer 30.0% !",
        "image 6899: label 6; reference laptop 90.0% !!; other 6 90.0%",
    ]
    assert list(batch.rows())[1:3] == [
        (6898, "notebook", "other", "boxer", 0.3, 0, 1),
        (6899, "6", "reference", "laptop", 0.9, 0, 0),
    ]


def test_totals_run():
    totals = Totals()
    assert str(totals) == ""
    totals.add(Batch(0, torch.tensor([2, 6]), {"a": LOGITS, "b": LOGITS.flip(1)}))
    totals.add(Batch(2, torch.tensor([5]), {"a": LOGITS[:1], "b": LOGITS[:1]}))
    assert totals.right == {"a": (1, 1), "b": (1, 2)}
    assert str(totals) == "a: 33.3%, top-5 33.3%\nb: 33.3%, top-5 66.7%"
