"""Quantized networks: ranges from data, whole-number layers, torch's own tools. Stands on `numerics`."""

from course_utils.quantization import integer_network, power_of_two, real_quantization, tflite_kernels
from course_utils.quantization.integer_layers import (
    QuantizedLayer,
    fixed_point_multiplier,
    integer_conv2d,
    integer_linear,
    quantize_bias,
    requantize,
    requantize_twice,
)
from course_utils.quantization.observers import (
    Histogram,
    Observer,
    entropy_curve,
    entropy_threshold,
    min_max_range,
    mse_curve,
    mse_range,
    observe_inputs,
    onnxruntime_entropy_range,
    percentile_range,
)

__all__ = [
    "Histogram",
    "Observer",
    "QuantizedLayer",
    "entropy_curve",
    "entropy_threshold",
    "fixed_point_multiplier",
    "integer_conv2d",
    "integer_linear",
    "integer_network",
    "min_max_range",
    "mse_curve",
    "mse_range",
    "observe_inputs",
    "onnxruntime_entropy_range",
    "percentile_range",
    "power_of_two",
    "quantize_bias",
    "real_quantization",
    "requantize",
    "requantize_twice",
    "tflite_kernels",
]
