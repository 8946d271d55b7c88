"""Weights and activations of one to five bits, as the methods of the lecture's table have them, trained.

`weights` and `activations` are the papers' formulas, `layers` puts them into a network, `methods` lists them,
`training` trains one small network with any of them; `levels` finds the best levels, `xnor` multiplies packed signs.
Stands on `numerics` and `networks`.
"""

from course_utils.low_bit.activations import (
    dorefa_activation,
    dorefa_gradient,
    half_wave,
    input_scale,
    qnn_activation,
    sign_activation,
)
from course_utils.low_bit.layers import LowBitConv2d, LowBitLinear, advance, after_step, low_bit_layers, replace_layers
from course_utils.low_bit.levels import half_wave_error, half_wave_levels, optimal_ternary
from course_utils.low_bit.methods import METHODS, Method, low_bit
from course_utils.low_bit.straight_through import sign, straight_through
from course_utils.low_bit.training import fit, refresh_norms, small_network, train_method
from course_utils.low_bit.weights import (
    binarize,
    binarize_stochastic,
    binary_scale,
    binary_weight,
    dorefa_weight,
    incremental_levels,
    incremental_round,
    log_quantize,
    ternary_threshold,
    ternary_weight,
    trained_ternary,
)
from course_utils.low_bit.xnor import pack_signs, xnor_dot, xnor_matvec

__all__ = [
    "METHODS",
    "LowBitConv2d",
    "LowBitLinear",
    "Method",
    "advance",
    "after_step",
    "binarize",
    "binarize_stochastic",
    "binary_scale",
    "binary_weight",
    "dorefa_activation",
    "dorefa_gradient",
    "dorefa_weight",
    "fit",
    "half_wave",
    "half_wave_error",
    "half_wave_levels",
    "incremental_levels",
    "incremental_round",
    "input_scale",
    "log_quantize",
    "low_bit",
    "low_bit_layers",
    "optimal_ternary",
    "pack_signs",
    "qnn_activation",
    "refresh_norms",
    "replace_layers",
    "sign",
    "sign_activation",
    "small_network",
    "straight_through",
    "ternary_threshold",
    "ternary_weight",
    "train_method",
    "trained_ternary",
    "xnor_dot",
    "xnor_matvec",
]
