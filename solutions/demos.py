# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # Demos
#
# The pictures of the labs that answer to sliders, one after another, for a lecture or to play with. In the labs they
# show the functions that students write; here they show the course's own. Everything runs on what comes with the
# course: generated images, and networks trained on them.
#
# All controls take the mouse and the keyboard: Tab goes from one to the next, arrow keys move a slider, the space bar
# presses a button. Under each demo are the same pictures for a few settings, for paper and for viewers without
# controls.
#
# [Back to the start page](start.ipynb)

# %%
import torch

from course_utils import data
from course_utils.networks import load_trained, normalize
from course_utils.numerics import affine
from course_utils.pictures import use_course_style

use_course_style()

# %% [markdown]
# ## Bits of a floating-point number
#
# Press a bit and see what becomes of the value. *Show:* the lowest bit of the exponent doubles or halves a number, the
# highest makes it huge or tiny, the lowest bit of the fraction hardly moves it. *Look for* the places where the
# distance to the next number changes: press `code + 1` at a power of two, and at 0, where the subnormal numbers are.
# Then type 0.1 and go through the formats: how far off is each?

# %%
from course_utils.demos import bit_toggler_demo, bit_toggler_still

bit_toggler_demo()

# %%
bit_toggler_still([(0.1, "float32"), (0.1, "float16"), (0.1, "e4m3")])

# %% [markdown]
# ## The numbers that a format has
#
# All values of a small floating-point format, and of fixed point of the same width. *Show:* on the linear scale fixed
# point is even and floats crowd around 0, on the logarithmic scale it is the other way round. *Look at* the stairs
# while you move a bit from the mantissa to the exponent: the range grows, and every step of the stairs gets higher.

# %%
from course_utils.demos import number_line_demo, number_line_still

number_line_demo()

# %%
number_line_still(((3, 4), (5, 2)))

# %% [markdown]
# ## The staircase of a quantizer
#
# Integers that stand for evenly spaced numbers: the map, its error, and where the data land. *Show:* inside the range
# the error stays in the band of half a step, outside it grows without bound. *Look at* the signal-to-noise ratio (SQNR)
# while you pull `max_val` in at 3 bits: it rises, has a best place, and falls. Cutting rare values pays for finer
# steps.

# %%
from course_utils.demos import staircase_demo, staircase_still


def quantize(x, min_val, max_val, num_bits):
    scale, zero_point = affine.scale_and_zero_point(min_val, max_val, num_bits)
    return affine.quantize(x, scale, zero_point, num_bits=num_bits), float(scale), int(zero_point)


values = torch.randn(4000, generator=torch.Generator().manual_seed(0)).mul(1.4).add(1.0).clamp(-3, 6)
staircase_demo(quantize, affine.dequantize, values)

# %%
staircase_still(quantize, affine.dequantize, values, [(-3, 6, 3), (-3, 6, 5), (-1, 3, 3)])

# %% [markdown]
# ## A layer in whole numbers
#
# The layers of a small network for images, run with integers only, on the input that they have in the float network.
# *Show:* at 8 bits the two pictures cannot be told apart, and most of the error is the rounding of the output alone,
# the band of half a step. *Look for* the number of bits at which you see a difference, and whether the mean error stays
# at 0.

# %%
from course_utils.demos import layer_error_demo, layer_error_still, record_layers
from course_utils.quantization import QuantizedLayer

model = load_trained("classyclassifier-shapes")
images, labels = data.shapes(train=False, count=200)
images = normalize(images)
records = record_layers(model, images[:16])
layer_error_demo(QuantizedLayer, records)

# %%
layer_error_still(QuantizedLayer, records, [("layer1_conv", 8), ("layer1_conv", 3), ("layer8_fc", 8)])

# %% [markdown]
# ## Cut the weights, or round them?
#
# The weights of a layer, cut at m deviations and rounded to a few bits. A narrow range cuts much and rounds finely, a
# wide one the other way round. *Show:* with each bit more the least sum moves to a larger m. *Look for* the number of
# bits at which m = 4 is right.

# %%
from course_utils.demos import Tools, clipping_demo, clipping_still
from course_utils.quantization.power_of_two import integer_scale, remove_outliers, to_integers

tools = Tools(remove_outliers, integer_scale, to_integers)
weights = {name: record.layer.weight.detach() for name, record in records.items() if name != "layer6_fc"}
clipping_demo(tools, weights)

# %%
clipping_still(tools, weights, [("layer3_conv", 4.0, 3), ("layer3_conv", 4.0, 8)])

# %% [markdown]
# ## Where to put the binary point
#
# The values of a tensor over the powers of two, and above them the bits of a fixed-point word. The slider moves the
# point. *Show:* what lies beyond the highest bit is cut, what lies below the lowest becomes 0. *Look for* the place
# with the least error: with 4 bits it cuts the largest values, with 8 it does not any more.

# %%
from course_utils.demos import PointTools, binary_point_demo, binary_point_still
from course_utils.numerics import DynamicFixedPoint, FixedPoint


def fixed_point(x, word_length, fraction_length):
    return FixedPoint(word_length - fraction_length, fraction_length).quantize(x)


def integer_length(x, word_length):
    return DynamicFixedPoint(word_length).format_for(x).integer_bits


def best_fraction_length(x, word_length, lengths):
    return min(lengths, key=lambda f: float((fixed_point(x, word_length, f) - x).double().square().sum()))


point_tools = PointTools(fixed_point, integer_length, best_fraction_length)
spread = {f"weight of {name}": record.layer.weight.detach() for name, record in records.items()}
spread |= {f"output of {name}": record.outputs for name, record in records.items()}
spread = {name: values.flatten()[:: max(1, values.numel() // 20_000)] for name, values in spread.items()}
binary_point_demo(point_tools, spread)

# %%
binary_point_still(point_tools, spread, [("weight of layer6_fc", 4, 4), ("output of layer3_conv", 4, 0)])

# %% [markdown]
# ## Where to cut the activations
#
# A histogram of the magnitudes that enter a layer, and two measures that choose a threshold: the divergence of entropy
# calibration, and the mean squared error. What lies beyond the threshold is cut. *Show:* the two measures have their
# minima at different places. *Look at* what fewer bits do to the place of the least squared error.

# %%
from course_utils.demos import threshold_demo, threshold_still
from course_utils.quantization import entropy_threshold, mse_range, observe_inputs

inner = [name for name in records if name != "layer1_conv"]  # what enters the first one is the image
histograms = {name: seen.histogram for name, seen in observe_inputs(model, [images[:50]], inner).items()}
chosen = {
    name: {
        "entropy": entropy_threshold(histogram.magnitudes()),
        "least squares": max(-mse_range(histogram)[0], mse_range(histogram)[1]),
    }
    for name, histogram in histograms.items()
}
threshold_demo(histograms, chosen)

# %%
threshold_still({name: histograms[name] for name in ("layer3_conv", "layer8_fc")}, chosen)

# %% [markdown]
# ## How many bits where
#
# The whole network, with its weights on a grid of so many bits and its activations on another. Each setting that you
# visit stays in the right picture; the bar in the ring says how far the percentage may be off, as only 200 images are
# looked at. *Show:* down to some number of bits nothing happens, and then the accuracy falls off a cliff. *Look for*
# the cliff's place: is it the same for weights and for activations?

# %%
from course_utils.demos import BitsAndAccuracy, bits_and_accuracy_demo, bits_and_accuracy_still


def fake_quantize(x, scale, zero_point, low, high):
    return scale * ((x / scale).round().add(zero_point).clamp(low, high) - zero_point)


network = BitsAndAccuracy(model, images, labels, fake_quantize)
bits_and_accuracy_demo(network)

# %%
bits_and_accuracy_still(network)

# %% [markdown]
# ## Exponent or mantissa?
#
# A word of 8 bits as a small floating-point number, for one tensor of the network at a time. *Show:* each further
# exponent bit widens the stretch of numbers that are held (green: normal, orange: subnormal) and doubles the error
# within it. *Look for* the best split: is it the same for the weights of a layer and for what enters it?

# %%
from course_utils.demos import split_demo, split_still
from course_utils.numerics import FloatFormat


def convert(value, word_length, exponent_bits):
    return FloatFormat(exponent_bits, word_length - 1 - exponent_bits).quantize(value)


tensors = {f"weight of {name}": record.layer.weight for name, record in records.items()}
tensors |= {f"input of {name}": record.inputs for name, record in records.items()}
split_demo(tensors, convert)

# %%
split_still(
    tensors, [("weight of layer3_conv", 8, 2), ("weight of layer3_conv", 8, 3), ("input of layer3_conv", 8, 3)], convert
)

# %% [markdown]
# ## Layer by layer
#
# Every layer of the network has settings of its own: its bits, one grid for each channel's weights or one for all,
# a division that rounds or one that does not, or none of it (float32). *Show:* what one layer with 3 bits does to the
# noise behind all that follow. *Look for* a setting with a low ratio at the end that changes hardly an answer: noise is
# not accuracy.

# %%
import copy

from course_utils.demos import Measured, layer_options_demo, layer_options_still
from course_utils.profiler import RatioRecorder

few = images[:100]
before = record_layers(model, few)
ends = {name: [(float(t.min()), float(t.max())) for t in (r.inputs, r.outputs)] for name, r in before.items()}
guessed = before["layer8_fc"].outputs.argmax(1)


def measure(settings):
    changed, recorder = copy.deepcopy(model), RatioRecorder()
    for name, setting in settings.items():
        setattr(changed, name, setting.layer(getattr(changed, name), *ends[name]))

        def hook(layer, inputs, output, name=name):
            recorder.add(name, before[name].outputs, output)

        getattr(changed, name).register_forward_hook(hook)
    with torch.no_grad():
        guess = changed(few).argmax(1)
    right, of_reference = (int((g == labels[:100]).sum()) for g in (guess, guessed))
    ratios = {name: ratio.mean_of_ratios for name, ratio in recorder.ratios().items()}
    return Measured(ratios, right, of_reference, int((guess != guessed).sum()), len(few))


layer_options_demo(measure, list(before))

# %%
layer_options_still(measure, list(before), [{}, {"layer3_conv": (3, "per channel")}])

# %% [markdown]
# ## Weights of one bit, as they are trained
#
# Two methods that train signs. Above are the shadow weights, which the optimizer moves in small steps; below what the
# network sees of them. *Show:* below, hardly anything happens, while the weights above spread. *Look for* how many
# signs have changed, and at the heap that grows at the ends where shadow weights are cut.

# %%
from torch import nn

from course_utils.demos import shadow_weights_demo, shadow_weights_still
from course_utils.low_bit import binarize, binary_weight, fit, replace_layers, small_network


class Recorded(nn.Module):
    """What becomes of weights, noted every fifth step."""

    def __init__(self, rule, cut):
        super().__init__()
        self.rule, self.cut, self.calls, self.history = rule, cut, 0, []

    def forward(self, w):
        seen = self.rule(w)
        if self.calls % 5 == 0:
            self.history.append((self.calls, w.detach().clone(), seen.detach().clone()))
        self.calls += 1
        return seen

    def after_step(self, w):
        if self.cut:
            w.clamp_(-0.1, 0.1)


histories = {}
training = data.shapes(train=True, count=2000)
for name, rule, cut in (("signs, cut at 0.1", binarize, True), ("signs with a scale", binary_weight, False)):
    torch.manual_seed(0)
    trained = replace_layers(small_network(), lambda layer, rule=rule, cut=cut: Recorded(rule, cut))
    fit(trained, *training, 60, 0.02, torch.Generator().manual_seed(0))
    histories[name] = trained[3].weight_rule.history
shadow_weights_demo(histories)

# %%
shadow_weights_still(histories)

# %% [markdown]
# ## Clusters of weights
#
# The weights of a layer that are left after pruning, and the few values that they will share. *Show:* round by round
# the centroids move to the means of their weights, and the sum of squares falls. *Look for* centroids that never get a
# weight, and at whether all three beginnings end with the same sum.

# %%
from course_utils.deep_compression import initial_centroids
from course_utils.demos import codebook_demo, codebook_still


def one_round(weights, centroids):
    nearest, means = (weights[:, None] - centroids).abs().argmin(1), centroids.clone()
    for place in nearest.unique():
        means[place] = weights[nearest == place].mean()
    return nearest, means


left = {}
for name in ("layer3_conv", "layer6_fc", "layer8_fc"):
    weights = getattr(model, name).weight.detach().flatten()
    left[name] = weights[weights.abs() > weights.abs().median()]
codebook_demo(left, initial_centroids, one_round)

# %%
codebook_still(left, [("layer3_conv", 3, init, 10) for init in ("linear", "density")], initial_centroids, one_round)
