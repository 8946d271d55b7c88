"""The networks that the labs quantize, with trained weights, and what stands around a detector. Stands on `data`."""

from course_utils.networks.darknet import Darknet, DarknetError, load_darknet
from course_utils.networks.detection import (
    Detections,
    average_precision,
    detect,
    draw_boxes,
    letterbox,
    mean_average_precision,
    non_maximum_suppression,
)
from course_utils.networks.models import (
    ClassyClassifier,
    SimpleNet,
    TinyYOLOv3,
    WeightsError,
    accuracy,
    detector,
    load_trained,
    normalize,
)
from course_utils.networks.tflite import TfliteError, TfliteNetwork, load_tflite
from course_utils.networks.wired import Wired, draw_paths, lived_in, traced

__all__ = [
    "ClassyClassifier",
    "Darknet",
    "DarknetError",
    "Detections",
    "SimpleNet",
    "TfliteError",
    "TfliteNetwork",
    "TinyYOLOv3",
    "WeightsError",
    "Wired",
    "accuracy",
    "average_precision",
    "detect",
    "detector",
    "draw_boxes",
    "draw_paths",
    "letterbox",
    "lived_in",
    "load_darknet",
    "load_tflite",
    "load_trained",
    "mean_average_precision",
    "non_maximum_suppression",
    "normalize",
    "traced",
]
