"""Images that the labs run on: real ones if they are here, else generated ones. Nothing is downloaded unless asked.

For classification, CIFAR-10 or generated shapes: images are uint8 (N, 3, 32, 32), labels int64 (N,);
`course_utils.networks.normalize` makes what a network takes. For detection, photos or generated scenes, with boxes.
"""

from course_utils.data.catalogue import DataSet, DetectionSet, ImageSet, classification_data, describe, detection_data
from course_utils.data.cifar import cifar10
from course_utils.data.download import fetch
from course_utils.data.generated import shapes
from course_utils.data.generated_scenes import scenes
from course_utils.data.photos import photos
from course_utils.data.places import DATA, DataError

__all__ = [
    "DATA",
    "DataError",
    "DataSet",
    "DetectionSet",
    "ImageSet",
    "cifar10",
    "classification_data",
    "describe",
    "detection_data",
    "fetch",
    "photos",
    "scenes",
    "shapes",
]
