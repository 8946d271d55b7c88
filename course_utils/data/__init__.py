"""Images that the labs run on: CIFAR-10 if it is here, else generated shapes. Nothing is downloaded unless asked.

Images are uint8 (N, 3, 32, 32), labels int64 (N,); `course_utils.models.normalize` makes what a network takes.
"""

from course_utils.data.catalogue import DataSet, ImageSet, classification_data, describe
from course_utils.data.cifar import cifar10
from course_utils.data.download import fetch
from course_utils.data.generated import shapes
from course_utils.data.places import DATA, DataError

__all__ = ["DATA", "DataError", "DataSet", "ImageSet", "cifar10", "classification_data", "describe", "fetch", "shapes"]
