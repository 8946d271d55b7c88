"""A layer's error: the records, the numbers, the still picture, and the controls without a browser."""

from __future__ import annotations

import math
import re

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.demos import layer_error
from course_utils.networks.models import load_trained
from course_utils.quantization.integer_layers import QuantizedLayer


@pytest.fixture(scope="module")
def network():
    return load_trained("classyclassifier-shapes")


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def records(network, images):
    return layer_error.record_layers(network, images)


class Perfect:
    """A "quantized" layer whose result is the float output, rounded to the output's grid and nothing else."""

    def __init__(self, layer, num_bits):
        self.layer, self.num_bits = layer, num_bits
        Perfect.made.append(self)

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        out = Perfect.outputs
        self.codes = x
        return (torch.round(out / out_scalefactor) + out_zeropoint).clamp(0, 2**self.num_bits - 1)


def perfect(record):
    Perfect.made, Perfect.outputs = [], record.outputs
    return Perfect


def test_records_are_what_went_in_and_what_came_out(network, images, records):
    assert list(records) == ["layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc", "layer8_fc"]
    assert torch.equal(records["layer1_conv"].inputs, images)
    for name, record in records.items():
        assert record.layer is getattr(network, name)
        with torch.no_grad():
            assert torch.equal(record.layer(record.inputs), record.outputs)
    with torch.no_grad():
        assert torch.equal(records["layer8_fc"].outputs, network(images))


def test_recording_leaves_no_hook_behind_even_if_the_network_fails(network):
    with pytest.raises(RuntimeError):
        layer_error.record_layers(network, torch.zeros(1, 4, 32, 32))
    assert not any(m._forward_hooks for m in network.modules())


def test_input_codes_cover_the_range_and_stand_for_the_input(records):
    for num_bits in (3, 8):
        for record in records.values():
            codes, scale, zero, out_scale, out_zero = layer_error.quantized_input(record, num_bits)
            assert codes.dtype == torch.float32
            assert (codes.min(), codes.max()) == (0, 2**num_bits - 1)
            assert float((scale * (codes - zero) - record.inputs).abs().max()) <= scale * (0.5 + 1e-4)
            assert out_scale * (0 - out_zero) <= float(record.outputs.min()) + 0.51 * out_scale


def test_error_of_rounding_the_output_alone_is_half_a_step(records):
    record = records["layer3_conv"]
    error = layer_error.compute_layer_error(perfect(record), record, 6)
    assert (error.name, error.num_bits, Perfect.made[0].num_bits) == ("layer3_conv", 6, 6)
    assert np.abs(error.error_in_steps).max() <= 0.5 + 1e-3
    assert error.error_in_steps.std() == pytest.approx(1 / math.sqrt(12), rel=0.02)
    noise = np.mean((error.got - error.expected) ** 2)
    assert error.sqnr_db == pytest.approx(10 * math.log10(np.mean(error.expected**2) / noise))


def test_every_bit_counts(records):
    for record in records.values():
        ratios = [layer_error.compute_layer_error(QuantizedLayer, record, n).sqnr_db for n in (4, 6, 8)]
        assert ratios[0] + 6 < ratios[1] < ratios[2] - 6  # theory: 12 dB each


def test_summary_tells_the_numbers(records):
    summary = layer_error.compute_layer_error(QuantizedLayer, records["layer8_fc"], 8).summary
    assert re.fullmatch(
        r"layer8_fc, 8 bits · output step [\d.]+ · SQNR [\d.]+ dB · mean error [+-][\d.]+ steps · largest [\d.]+ steps",
        summary,
    )


def test_drawing_shows_both_outputs_in_one_colour_scale_and_the_histogram(records):
    for name in ("layer3_conv", "layer7_fc"):
        error = layer_error.compute_layer_error(QuantizedLayer, records[name], 4)
        figure = Figure()
        axes = figure.subplots(1, 3)
        layer_error.draw_layer_error(error, axes)
        (first,), (second,) = axes[0].images, axes[1].images
        assert first.get_clim() == second.get_clim() == (error.expected.min(), error.expected.max())
        assert all(ax.get_xlabel() for ax in axes)
        assert axes[2].get_ylabel().endswith("(%)")
        values, _, _ = axes[2].patches[-1].get_data()
        assert values.sum() == pytest.approx(100)
    assert first.get_array().shape == (4, 84)


def test_mosaic_shows_every_channel_of_the_first_image():
    maps = np.arange(2 * 5 * 3 * 2, dtype=float).reshape(2, 5, 3, 2)
    picture, what = layer_error._mosaic(maps)
    assert picture.shape == (2 * 4 - 1, 3 * 3 - 1)
    assert np.array_equal(picture[4:7, 3:5], maps[0, 4])  # second row, second place
    assert np.isnan(picture[3]).all() and "5 channels" in what
    assert set(picture[~np.isnan(picture)]) == set(maps[0].ravel())


def test_still_has_a_row_for_each_setting(records):
    figure = layer_error.layer_error_still(QuantizedLayer, records, [("layer1_conv", 8), ("layer8_fc", 3)])
    assert [ax.get_title() for ax in figure.axes][:5:3] == ["layer1_conv, float", "layer8_fc, float"]
    assert len(figure.axes) == 6


def test_controls_change_the_picture(records):
    box = layer_error.layer_error_demo(QuantizedLayer, records)
    choice, bits, picture = box.children
    assert isinstance(choice, ipywidgets.Dropdown) and isinstance(bits, ipywidgets.IntSlider)
    seen = [picture.value]
    for control, value in ((bits, 4), (choice, "layer8_fc"), (bits, 8)):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 4
    assert all("<img" in s and 'alt="' in s for s in seen)
    assert "layer8_fc, 8 bits" in seen[-1]


def test_what_the_students_layer_raises_is_shown(records):
    def broken(layer, num_bits):
        raise ValueError("not <yet>")

    _, _, picture = layer_error.layer_error_demo(broken, records).children
    assert "ValueError" in picture.value and "not &lt;yet&gt;" in picture.value
