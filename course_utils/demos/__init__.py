"""Pictures that answer to sliders: one file a demo, each with a view for paper. Stands on all the others."""

from course_utils.demos.binary_point import PointTools, binary_point_demo, binary_point_still
from course_utils.demos.bit_toggler import bit_toggler_demo, bit_toggler_still
from course_utils.demos.bits_and_accuracy import BitsAndAccuracy, bits_and_accuracy_demo, bits_and_accuracy_still
from course_utils.demos.clipping_slider import Tools, clipping_demo, clipping_still
from course_utils.demos.codebook_clusters import codebook_demo, codebook_still
from course_utils.demos.layer_error import layer_error_demo, layer_error_still, record_layers
from course_utils.demos.layer_options import Measured, layer_options_demo, layer_options_still
from course_utils.demos.number_line import number_line_demo, number_line_still
from course_utils.demos.shadow_weights import shadow_weights_demo, shadow_weights_still
from course_utils.demos.split_slider import split_demo, split_still
from course_utils.demos.staircase import staircase_demo, staircase_still
from course_utils.demos.threshold_slider import threshold_demo, threshold_still

__all__ = [
    "BitsAndAccuracy",
    "Measured",
    "PointTools",
    "Tools",
    "binary_point_demo",
    "binary_point_still",
    "bit_toggler_demo",
    "bit_toggler_still",
    "bits_and_accuracy_demo",
    "bits_and_accuracy_still",
    "clipping_demo",
    "clipping_still",
    "codebook_demo",
    "codebook_still",
    "layer_error_demo",
    "layer_error_still",
    "layer_options_demo",
    "layer_options_still",
    "number_line_demo",
    "number_line_still",
    "record_layers",
    "shadow_weights_demo",
    "shadow_weights_still",
    "split_demo",
    "split_still",
    "staircase_demo",
    "staircase_still",
    "threshold_demo",
    "threshold_still",
]
