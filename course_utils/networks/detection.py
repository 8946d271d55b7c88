"""Finding objects: what stands before and behind a network's numbers, and how good the boxes are.

Before: `letterbox` or `stretch` bring a photo to the input size and remember where it went. Behind: `decode` makes
boxes of a head's numbers, `non_maximum_suppression` keeps one of many that say the same, `Placement.to_image` brings
boxes back; `detect` does all this. `mean_average_precision` measures boxes, `draw_boxes` shows them.

Boxes are left, top, right, bottom in pixels; the picture's left top corner is (0, 0).
Stands on torch, torchvision, faster-coco-eval, matplotlib, `darknet_network` and `plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch.nn import functional

from course_utils.networks.darknet_network import Darknet, decode
from course_utils.pictures.plots import COLOURS

__all__ = [
    "Detections",
    "Placement",
    "average_precision",
    "decode",
    "detect",
    "draw_boxes",
    "letterbox",
    "mean_average_precision",
    "non_maximum_suppression",
    "stretch",
]


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a network's input: ``x_input = x_image * scale_x + left``, and so for y.

    Attributes:
        scale_x, scale_y: pixels of the input for one pixel of the image.
        left, top: the image's corner, pixels of the input.
        height, width: of the image, pixels.
    """

    scale_x: float
    scale_y: float
    left: float
    top: float
    height: int
    width: int

    def to_image(self, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes (n, 4) in pixels of the input to pixels of the image, cut at its edges."""
        corner, scale = (boxes.new_tensor(pair * 2) for pair in ([self.left, self.top], [self.scale_x, self.scale_y]))
        return ((boxes - corner) / scale).clamp(min=0).minimum(boxes.new_tensor([self.width, self.height] * 2))


def letterbox(image: torch.Tensor, size: int, fill: float = 0.0) -> tuple[torch.Tensor, Placement]:
    """An image padded to a square, in the middle, and resized; its proportions stay.

    Args:
        image: uint8 (3, height, width), RGB.
        size: height and width of the result, pixels.
        fill: of the padding, in [0, 1]. The ece209 report pads with 0, darknet with 0.5.

    Returns:
        float32 (1, 3, size, size) in [0, 1], and where the image lies in it.

    Raises:
        TypeError, ValueError: if it is no such image.
    """
    pixels, (height, width) = _pixels(image), image.shape[1:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = functional.pad(pixels, (left, side - width - left, top, side - height - top), value=fill)
    scale = size / side
    return _resize(square, (size, size)), Placement(scale, scale, left * scale, top * scale, height, width)


def stretch(image: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, Placement]:
    """An image resized to a height and a width, whatever its proportions.

    Args:
        image: uint8 (3, height, width), RGB.
        size: height and width of the result, pixels.

    Returns:
        float32 ``(1, 3, *size)`` in [0, 1], and where the image lies in it.

    Raises:
        TypeError, ValueError: if it is no such image.
    """
    pixels, (height, width) = _pixels(image), image.shape[1:]
    return _resize(pixels, size), Placement(size[1] / width, size[0] / height, 0.0, 0.0, height, width)


def _pixels(image: torch.Tensor) -> torch.Tensor:
    if image.dtype != torch.uint8:
        raise TypeError(f"an image is uint8 pixels, got {image.dtype}")
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ValueError(f"an image is (3, height, width), got {tuple(image.shape)}")
    return image[None].float() / 255


def _resize(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if pixels.shape[2:] == tuple(size):
        return pixels
    return functional.interpolate(pixels, size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Detections:
    """What was found in one image, the surest first.

    Attributes:
        boxes: float (n, 4).
        scores: float (n,), in [0, 1].
        labels: int64 (n,).
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.boxes)


def non_maximum_suppression(
    boxes: torch.Tensor, scores: torch.Tensor, score_threshold: float = 0.25, iou_threshold: float = 0.45
) -> Detections:
    """Of boxes of one class that overlap, only the one with the highest score.

    Args:
        boxes: float (n, 4), of one image.
        scores: float (n, classes). A box counts once for every class in which it passes the threshold.
        score_threshold: lower scores are dropped. 0.25 to look at boxes, 0.005 to measure average precision.
        iou_threshold: a box that overlaps a better one of its class by more is dropped.
    """
    from torchvision.ops import nms  # here, as it takes as long to import as torch

    index, labels = (scores > score_threshold).nonzero(as_tuple=True)
    boxes, scores = boxes[index], scores[index, labels]
    stays = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for label in labels.unique():  # torchvision's batched_nms moves classes apart instead, which float32 does not bear
        own = (labels == label).nonzero(as_tuple=True)[0]
        stays[own[nms(boxes[own], scores[own], iou_threshold)]] = True
    kept = stays.nonzero(as_tuple=True)[0]
    kept = kept[scores[kept].argsort(descending=True, stable=True)]
    return Detections(boxes[kept], scores[kept], labels[kept])


def detect(
    net: Darknet,
    images: Sequence[torch.Tensor],
    score_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    batch_size: int = 16,
) -> list[Detections]:
    """What a network finds in images of any size, each stretched to the network's input.

    Args:
        images: uint8 (3, height, width) each.
        score_threshold, iou_threshold: as for `non_maximum_suppression`.
        batch_size: images a call; results do not depend on it but for rounding.

    Returns:
        for each image its detections, boxes in pixels of the image.
    """
    found = []
    for start in range(0, len(images), batch_size):
        inputs, placements = zip(
            *(stretch(image, net.size) for image in images[start : start + batch_size]), strict=True
        )
        with torch.no_grad():
            candidates = net(torch.cat(inputs))
        for boxes, scores, placement in zip(*candidates, placements, strict=True):
            kept = non_maximum_suppression(boxes, scores, score_threshold, iou_threshold)
            found.append(Detections(placement.to_image(kept.boxes), kept.scores, kept.labels))
    return found


def average_precision(
    detections: Sequence[Detections],
    boxes: Sequence[torch.Tensor],
    labels: Sequence[torch.Tensor],
    classes: int,
    iou_threshold: float = 0.5,
    recall_points: int = 101,
) -> torch.Tensor:
    """Average precision of each class over a set of images, by faster-coco-eval.

    A class's detections in all images, the surest first, are true or false; precision at a recall is the best that is
    reached at this recall or a higher one; the average is over recalls 0, 0.01, .., 1 as COCO defines it. With more
    points (10,001, say) it comes near to the area under that curve, which others take ("all-point interpolation").

    Args:
        detections: of each image; all count, whatever their score.
        boxes, labels: what is there: of each image float (n, 4) and int64 (n,).
        classes: how many; labels are below it.
        iou_threshold: a detection is true if it overlaps a box of its class that no better one took by at least this.
        recall_points: how many recalls, evenly from 0 to 1.

    Returns:
        float64 (classes,), in [0, 1]; NaN for a class of which there is no box.

    Raises:
        ValueError: if the numbers of images differ, a corner is not finite or right of or below its opposite one, or a
            label is not below ``classes``.
    """
    if not len(detections) == len(boxes) == len(labels):
        raise ValueError(
            f"one entry an image, got {len(detections)} detections, {len(boxes)} boxes, {len(labels)} labels"
        )
    for what, some_boxes, some_labels in (
        *(("detections", found.boxes, found.labels) for found in detections),
        *(("boxes", *true) for true in zip(boxes, labels, strict=True)),
    ):
        _check_boxes(what, some_boxes, some_labels, classes)
    result = torch.full((classes,), torch.nan, dtype=torch.float64)
    for label in torch.cat([*labels, torch.empty(0, dtype=torch.int64)]).unique().tolist():
        # one class at a time: COCO's tools want a dict a box, and a network of 2 bits may find millions of boxes
        found = [(some.boxes[own], some.scores[own]) for some in detections for own in [some.labels == label]]
        there = [some_boxes[some_labels == label] for some_boxes, some_labels in zip(boxes, labels, strict=True)]
        result[label] = _average_precision(found, there, iou_threshold, recall_points)
    return result


def _average_precision(
    found: list[tuple[torch.Tensor, torch.Tensor]], there: list[torch.Tensor], iou_threshold: float, recall_points: int
) -> float:
    """Of one class: boxes (n, 4) and scores (n,) that were found in each image, and the boxes there."""
    results = [
        {**row, "score": score}
        for row, score in zip(
            _rows([boxes for boxes, _ in found]),
            [score for _, scores in found for score in scores.tolist()],
            strict=True,
        )
    ]
    if not results:
        return 0.0
    truth = COCO(
        {
            "images": [{"id": image} for image in range(1, len(there) + 1)],
            "categories": [{"id": 0}],
            "annotations": [
                {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row, "id": number}
                for number, row in enumerate(_rows(there), start=1)
            ],
        }
    )
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=lambda *_: None)
    evaluation.params.iouThrs = np.array([iou_threshold])
    evaluation.params.recThrs = np.linspace(0, 1, recall_points)
    evaluation.params.maxDets = [max(len(boxes) for boxes, _ in found)]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]  # COCO stops at a side of 100,000
    evaluation.evaluate()
    evaluation.accumulate()
    # (thresholds, recalls, classes, areas, numbers of detections)
    return np.asarray(evaluation.eval["precision"])[0, :, 0, 0, 0].mean()


def _check_boxes(what: str, boxes: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
    if len(boxes):
        wrong = ~(boxes.isfinite().all(dim=1) & (boxes[:, :2] <= boxes[:, 2:]).all(dim=1))
        if wrong.any():
            raise ValueError(f"{what} are left, top, right, bottom with left <= right, got {boxes[wrong][0].tolist()}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels of {what} are 0 to {classes - 1}, got {sorted(set(labels.tolist()))}")


def _rows(boxes: Sequence[torch.Tensor]) -> list[dict]:
    """COCO's description of each box of one class, with the number of its image from 1."""
    return [
        {"image_id": image, "category_id": 0, "bbox": [left, top, right - left, bottom - top]}
        for image, some_boxes in enumerate(boxes, start=1)
        for left, top, right, bottom in some_boxes.tolist()
    ]


def mean_average_precision(
    detections: Sequence[Detections],
    boxes: Sequence[torch.Tensor],
    labels: Sequence[torch.Tensor],
    classes: int,
    iou_threshold: float = 0.5,
    recall_points: int = 101,
) -> float:
    """The mean of `average_precision` over the classes of which there is a box; ``mAP@0.5`` unless told otherwise."""
    return average_precision(detections, boxes, labels, classes, iou_threshold, recall_points).nanmean().item()


def draw_boxes(
    axes: Axes,
    image: torch.Tensor,
    boxes: torch.Tensor,
    labels: torch.Tensor,
    classes: Sequence[str],
    scores: torch.Tensor | None = None,
) -> None:
    """An image with numbered boxes, and below it the names of what is in them, in colours that colour-blind people can
    tell apart. (Names of any length beside the boxes would cover a crowded image, or make it small.)

    Args:
        image: uint8 (3, height, width).
        boxes: (n, 4), pixels of the image; labels: int64 (n,); scores: (n,) in [0, 1], written as per cent.
        classes: names.
    """
    _, height, width = image.shape
    axes.imshow(image.permute(1, 2, 0).numpy(), extent=(0, width, height, 0))  # (0, 0) is a corner, not a centre
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axes.grid(False)
    for edge in axes.spines.values():
        edge.set_visible(False)
    colours = list(COLOURS.values())
    rim = [patheffects.withStroke(linewidth=3.5, foreground="white")]  # seen on any ground
    captions = [f"{n} {caption}" for n, caption in enumerate(_captions(labels, classes, scores), start=1)]
    axes.set_xlabel("\n".join(captions), loc="left", fontsize=8)
    numbered = list(enumerate(zip(boxes.tolist(), labels.tolist(), strict=True), start=1))
    for number, ((left, top, right, bottom), label) in reversed(numbered):  # the surest, which come first, on top
        colour = colours[label % len(colours)]
        style = {"fill": False, "edgecolor": colour, "linewidth": 1.8, "path_effects": rim}
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, **style))
        axes.annotate(
            str(number),
            (min(max(left, 0), width), min(max(top, 0), height)),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color="black",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85},
        )


def _captions(labels: torch.Tensor, classes: Sequence[str], scores: torch.Tensor | None) -> list[str]:
    names = [classes[label] for label in labels.tolist()]
    if scores is None:
        return names
    return [f"{name} {score:.0%}" for name, score in zip(names, scores.tolist(), strict=True)]
