"""How fast numbers are rounded, here and by others: ``python benchmarks/formats.py`` prints four tables.

Every implementation runs in a process of its own, one after another, with one thread, on the same N(0, 1) numbers. Its
cases take turns, and every call is preceded by a copy of the tensor in the same process. A figure is the median over
the rounds of the call's processor time, divided by the median of the copies': 1.0 is the speed of copying memory, which
nothing that returns a new tensor can beat by much. Processor time, unlike time on the wall, does not grow when others
use the machine; what noise is left hits the copy alike. The tensor is larger than any cache. ``--elements 4194304``
takes one that fits a large third-level cache: there a copy is faster, and whatever else is done shows more.

The first table is speed. Of the integers, "zeros" means a zero point of its own for each channel or block; without the
word all are 0, and per tensor it is 3. "encode" and "decode" are from float32 to codes and back; "mxfp8", "mxfp4" and
"nvfp4" are numbers in blocks to numbers, "mxfp8 codes" to the codes of elements and scales. The second table is what
each returns for NaN, infinities, -0 and a number too large, and how many of a million numbers it rounds otherwise than
the first line does. The others are this kit's alone: every method, of several formats the slowest (float16, bfloat16
and float64 compared with a copy in that dtype), and what two threads gain by the clock on the wall, at three sizes: the
median of many calls on one thread, divided by that of as many on two, five at a time in turns, as a call pays for what
the one before it has left. For that both cores have to be free. ``--gpu`` prints every method as a CUDA GPU has it, and
no other table.

Peers come by ``pip install '.[dev,bench]'``; what is not installed is left out, by name. ``--only`` names some.
``--write`` puts the tables into docs/numerics.md and the chart beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import math
import multiprocessing
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
FLOATS = {"e4m3": (4, 3), "e5m2": (5, 2), "e3m4": (3, 4), "e6m9": (6, 9), "bfloat16": (8, 7)}
CODES = ["encode e4m3", "decode e4m3", "encode bfloat16", "decode bfloat16", "encode e2m1"]
BLOCKED = ["mxfp8", "mxfp8 codes", "mxfp4", "nvfp4"]
INTEGERS = ["int8", "int8 per channel", "int8 per block", "channel, zeros", "block, zeros"]
CASES = [*FLOATS, "e4m3 stochastic", *CODES, *BLOCKED, *INTEGERS]
CHANNELS, BLOCK, SCALE, ZERO_POINT = 1024, 32, 0.03, 3
ENOUGH = 2.0  # seconds: what is so slow has fewer rounds
IN_A_ROW = 5  # calls on as many threads
CLONE = "torch.clone"
PROBES = [math.nan, math.inf, -math.inf, -0.0, 1e9]

Calls = dict[str, Callable]  # case -> function of a float32 tensor (CHANNELS, n), returning float32


# The implementations. Each imports what it needs, in its own process.


def ours_compiled() -> Calls:
    import torch

    from course_utils.numerics import affine
    from course_utils.numerics.block_formats import BLOCK_FORMATS, NVFP4
    from course_utils.numerics.formats import FORMATS, FloatFormat

    calls = {name: (FORMATS.get(name) or FloatFormat(*bits)).quantize for name, bits in FLOATS.items()}
    calls["e4m3 stochastic"] = lambda x: FORMATS["e4m3"].quantize(x, "stochastic")
    for name in ("e4m3", "bfloat16", "e2m1"):
        f = FORMATS[name]
        calls[f"encode {name}"] = f.encode
        calls[f"decode {name}"] = lambda x, f=f, n=name: f.decode(_once(n, x.shape, lambda: f.encode(x)))
    calls["mxfp8"], calls["mxfp8 codes"] = BLOCK_FORMATS["mxfp8_e4m3"].quantize, BLOCK_FORMATS["mxfp8_e4m3"].encode
    calls["mxfp4"], calls["nvfp4"] = BLOCK_FORMATS["mxfp4"].quantize, NVFP4.quantize
    calls["int8"] = lambda x: affine.fake_quantize(x, SCALE, ZERO_POINT, signed=True)
    rows = torch.linspace(SCALE / 2, SCALE, CHANNELS)
    calls["int8 per channel"] = lambda x: affine.fake_quantize(x, rows, signed=True, axis=0)
    calls["int8 per block"] = lambda x: affine.fake_quantize(x, _scales(x), signed=True, block_size=BLOCK)
    zeros = _zeros(rows)
    calls["channel, zeros"] = lambda x: affine.fake_quantize(x, rows, zeros, signed=True, axis=0)
    calls["block, zeros"] = lambda x: affine.fake_quantize(
        x, _scales(x), _zeros(_scales(x)), signed=True, block_size=BLOCK
    )
    return calls


def ours_eager() -> Calls:
    from course_utils.numerics import chunks

    chunks.COMPILED_FROM = math.inf
    return ours_compiled()


def torch_own() -> Calls:
    import torch

    calls = {
        "e4m3": lambda x: x.to(torch.float8_e4m3fn).float(),
        "e5m2": lambda x: x.to(torch.float8_e5m2).float(),
        "bfloat16": lambda x: x.bfloat16().float(),
        "encode e4m3": lambda x: x.to(torch.float8_e4m3fn),
        "decode e4m3": lambda x: _once("e4m3", x.shape, lambda: x.to(torch.float8_e4m3fn)).float(),
        "encode bfloat16": lambda x: x.bfloat16(),
        "decode bfloat16": lambda x: _once("bfloat16", x.shape, lambda: x.bfloat16()).float(),
        "int8": lambda x: torch.fake_quantize_per_tensor_affine(x, SCALE, ZERO_POINT, -128, 127),
    }
    rows, zeros = torch.linspace(SCALE / 2, SCALE, CHANNELS), torch.zeros(CHANNELS, dtype=torch.int32)
    calls["int8 per channel"] = lambda x: torch.fake_quantize_per_channel_affine(x, rows, zeros, 0, -128, 127)
    calls["channel, zeros"] = lambda x: torch.fake_quantize_per_channel_affine(x, rows, _zeros(rows), 0, -128, 127)
    return calls


def plain_torch() -> Calls:
    """What one writes by hand: log2 and floor for floats, the formula for integers."""
    import torch

    def minifloat(e: int, m: int) -> Callable:
        bias = 2 ** (e - 1) - 1

        def call(x):
            step = torch.exp2(x.abs().log2().floor().clamp(min=1 - bias) - m)
            return (x / step).round() * step

        return call

    rows = torch.linspace(SCALE / 2, SCALE, CHANNELS)[:, None]
    calls = {name: minifloat(*bits) for name, bits in FLOATS.items()}
    calls["int8"] = lambda x: (((x / SCALE).round() + ZERO_POINT).clamp(-128, 127) - ZERO_POINT) * SCALE
    calls["int8 per channel"] = lambda x: (x / rows).round().clamp(-128, 127) * rows
    zeros = _zeros(rows)
    calls["channel, zeros"] = lambda x: (((x / rows).round() + zeros).clamp(-128, 127) - zeros) * rows
    return calls


def torchao_compiled() -> Calls:
    import torch

    return {name: torch.compile(call) for name, call in torchao().items()}


def torchao() -> Calls:
    import torch
    from torchao.prototype.custom_fp_utils import _f32_to_floatx_unpacked, _floatx_unpacked_to_f32
    from torchao.prototype.mx_formats import mx_tensor, nvfp4_tensor
    from torchao.quantization.quant_primitives import dequantize_affine, quantize_affine

    def minifloat(e: int, m: int) -> Callable:
        return lambda x: _floatx_unpacked_to_f32(_f32_to_floatx_unpacked(x, e, m), e, m)

    def integers(block: Callable, scale: Callable, zero_point: int | None) -> Callable:
        def call(x):
            s = scale(x)
            z = _zeros(s) if zero_point is None else torch.full_like(s, zero_point, dtype=torch.int32)
            q = quantize_affine(x, block(x), s, z, torch.int8, -128, 127)
            return dequantize_affine(q, block(x), s, z, torch.int8, -128, 127)

        return call

    def mx(element: torch.dtype) -> Callable:
        def call(x):
            scales, codes = mx_tensor.to_mx(x, element, BLOCK)
            return mx_tensor.to_dtype(codes, scales, element, BLOCK, torch.float32)

        return call

    def nvfp4(x):
        scale = nvfp4_tensor.per_tensor_amax_to_scale(x.abs().amax())
        return nvfp4_tensor.NVFP4Tensor.to_nvfp4(x, per_tensor_scale=scale).dequantize(torch.float32)

    rows = torch.linspace(SCALE / 2, SCALE, CHANNELS)
    calls = {name: minifloat(*bits) for name, bits in FLOATS.items() if sum(bits) < 8}
    calls["encode e2m1"] = lambda x: _f32_to_floatx_unpacked(x, 2, 1)
    calls["mxfp8"], calls["mxfp4"] = mx(torch.float8_e4m3fn), mx(torch.float4_e2m1fn_x2)
    calls["mxfp8 codes"] = lambda x: mx_tensor.to_mx(x, torch.float8_e4m3fn, BLOCK)
    calls["nvfp4"] = nvfp4
    calls["int8"] = integers(lambda x: tuple(x.shape), lambda x: torch.tensor(SCALE), ZERO_POINT)
    calls["int8 per channel"] = integers(lambda x: (1, x.shape[1]), lambda x: rows, 0)
    calls["int8 per block"] = integers(lambda x: (1, BLOCK), _scales, 0)
    calls["channel, zeros"] = integers(lambda x: (1, x.shape[1]), lambda x: rows, None)
    calls["block, zeros"] = integers(lambda x: (1, BLOCK), _scales, None)
    return calls


def brevitas() -> Calls:
    import torch
    from brevitas.core.bit_width import BitWidthConst
    from brevitas.core.bit_width.float import ComputeMaxMantissa
    from brevitas.core.function_wrapper import Identity, RoundSte, StochasticRoundSte, TensorClamp
    from brevitas.core.function_wrapper.clamp import FloatClamp
    from brevitas.core.quant import IntQuant
    from brevitas.core.quant.float import FloatQuant
    from brevitas.core.utils import StatelessBuffer

    def minifloat(e: int, m: int, rounding=RoundSte) -> Callable:
        quant = FloatQuant(
            signed=True,
            exponent_bit_width_impl=BitWidthConst(e),
            mantissa_bit_width_impl=BitWidthConst(m),
            exponent_bias_impl=StatelessBuffer(torch.tensor(float(2 ** (e - 1) - 1))),
            float_clamp_impl=FloatClamp(tensor_clamp_impl=TensorClamp(), signed=True, saturating=True),
            input_view_impl=Identity(),
            compute_max_mantissa=ComputeMaxMantissa(),
            float_to_int_impl=rounding(),
        )
        return lambda x: quant(x)[0]

    integer = IntQuant(narrow_range=False, signed=True, input_view_impl=Identity(), float_to_int_impl=RoundSte())
    scale, rows = torch.tensor(SCALE), torch.linspace(SCALE / 2, SCALE, CHANNELS)[:, None]
    bits, zero_point = torch.tensor(8.0), torch.tensor(float(ZERO_POINT))
    calls = {name: minifloat(*bits_) for name, bits_ in FLOATS.items()}
    calls["e4m3 stochastic"] = minifloat(4, 3, StochasticRoundSte)
    calls["int8"] = lambda x: integer(scale, zero_point, bits, x)
    calls["int8 per channel"] = lambda x: integer(rows, torch.tensor(0.0), bits, x)
    zeros = _zeros(rows).float()
    calls["channel, zeros"] = lambda x: integer(rows, zeros, bits, x)
    return calls


def qtorch() -> Calls:
    from qtorch.quant import float_quantize  # compiles itself on first import

    def minifloat(e: int, m: int) -> Callable:
        return lambda x: float_quantize(x, exp=e, man=m, rounding="nearest")

    calls = {name: minifloat(*bits) for name, bits in FLOATS.items()}
    calls["e4m3 stochastic"] = lambda x: float_quantize(x, exp=4, man=3, rounding="stochastic")
    return calls


def ml_dtypes() -> Calls:
    import ml_dtypes
    import numpy as np
    import torch

    def cast(dtype: type) -> Callable:
        return lambda x: torch.from_numpy(x.numpy().astype(dtype).astype(np.float32))

    def codes(dtype: type) -> Callable:
        return lambda x: x.numpy().astype(dtype)

    def numbers(dtype: type) -> Callable:
        return lambda x: _once(dtype.__name__, x.shape, lambda: x.numpy().astype(dtype)).astype(np.float32)

    return {
        "e4m3": cast(ml_dtypes.float8_e4m3fn),
        "e5m2": cast(ml_dtypes.float8_e5m2),
        "e3m4": cast(ml_dtypes.float8_e3m4),
        "bfloat16": cast(ml_dtypes.bfloat16),
        "encode e4m3": codes(ml_dtypes.float8_e4m3fn),
        "decode e4m3": numbers(ml_dtypes.float8_e4m3fn),
        "encode bfloat16": codes(ml_dtypes.bfloat16),
        "decode bfloat16": numbers(ml_dtypes.bfloat16),
        "encode e2m1": codes(ml_dtypes.float4_e2m1fn),
    }


def pychop() -> Calls:
    from pychop.tch.lightchop import LightChop_

    calls = {name: LightChop_(*bits) for name, bits in FLOATS.items()}
    calls["e4m3 stochastic"] = LightChop_(4, 3, rmode=5)
    return calls


def gfloat() -> Calls:
    import gfloat as g
    import numpy as np
    import torch

    def info(e: int, m: int) -> g.FormatInfo:
        more = {"is_signed": True, "has_nz": True, "has_subnormals": True, "is_twos_complement": False}
        special = {"domain": g.Domain.Extended, "num_high_nans": 2**m - 1}
        if (e, m) == (4, 3):
            special = {"domain": g.Domain.Finite, "num_high_nans": 1}
        return g.FormatInfo("", 1 + e + m, m + 1, bias=2 ** (e - 1) - 1, **special, **more)

    def minifloat(e: int, m: int) -> Callable:
        return lambda x: torch.from_numpy(g.round_ndarray(info(e, m), x.numpy(), sat=True))

    def stochastic(x):
        bits = np.random.default_rng().integers(0, 2**8, x.shape)
        y = g.round_ndarray(info(4, 3), x.numpy(), g.RoundMode.StochasticFast, True, bits, 8)
        return torch.from_numpy(y)

    def decode(x):
        codes = _once("e4m3", x.shape, lambda: g.encode_ndarray(info(4, 3), minifloat(4, 3)(x).numpy()))
        return g.decode_ndarray(info(4, 3), codes)

    calls = {name: minifloat(*bits) for name, bits in FLOATS.items()}
    calls["e4m3 stochastic"] = stochastic
    calls["encode e4m3"] = lambda x: g.encode_ndarray(info(4, 3), minifloat(4, 3)(x).numpy())
    calls["decode e4m3"] = decode
    return calls


def onnxruntime() -> Calls:
    import numpy as np
    import onnxruntime
    import torch
    from onnx import TensorProto, checker, helper, numpy_helper

    def session(scale: np.ndarray, zero_point: np.ndarray, **attributes) -> Callable:
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [CHANNELS, None]) for n in "xy"]
        constants = [numpy_helper.from_array(v, n) for n, v in (("s", scale), ("z", zero_point))]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
        ]
        model = helper.make_model(
            helper.make_graph(nodes, "g", ends[:1], ends[1:], constants),
            opset_imports=[helper.make_opsetid("", 19)],
            ir_version=9,
        )
        checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        run = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run
        return lambda x: torch.from_numpy(run(None, {"x": x.numpy()})[0])

    rows = torch.linspace(SCALE / 2, SCALE, CHANNELS)
    return {
        "int8": session(np.float32(SCALE), np.int8(ZERO_POINT)),
        "int8 per channel": session(rows.numpy(), np.zeros(CHANNELS, np.int8), axis=0),
        "channel, zeros": session(rows.numpy(), _zeros(rows).numpy().astype(np.int8), axis=0),
    }


def _scales(x):
    """A scale for each block, not drawn again for each call."""
    import torch

    shape = (x.shape[0], x.shape[1] // BLOCK)
    return _once("scales", shape, lambda: torch.linspace(SCALE / 2, SCALE, math.prod(shape)).view(shape))


def _zeros(scales):
    """A zero point beside each scale, from -100 to 100."""
    import torch

    count = scales.numel()
    return _once("zeros", scales.shape, lambda: (torch.arange(count) % 201 - 100).int().view(scales.shape))


def _once(name: str, shape, make: Callable):
    if (name, shape) not in _drawn:
        _drawn[name, shape] = make()
    return _drawn[name, shape]


_drawn: dict = {}

# name -> (function, distribution whose version is shown)
IMPLEMENTATIONS = {
    "here, compiled": (ours_compiled, "numba"),
    "here, torch only": (ours_eager, "torch"),
    "torch cast, fake_quantize": (torch_own, "torch"),
    "plain torch": (plain_torch, "torch"),
    "torchao, torch.compile": (torchao_compiled, "torchao"),
    "torchao": (torchao, "torchao"),
    "brevitas": (brevitas, "brevitas"),
    "qtorch": (qtorch, "qtorch"),
    "ml_dtypes": (ml_dtypes, "ml_dtypes"),
    "pychop": (pychop, "pychop"),
    "gfloat, numpy": (gfloat, "gfloat"),
    "onnxruntime": (onnxruntime, "onnxruntime"),
}


# Every method of this kit's formats.


def methods(x) -> dict[str, list[tuple]]:
    """row -> [(call, tensor, the tensor whose copy it is compared with)]: a row shows the slowest of them."""
    import torch

    from course_utils.numerics.block_formats import BLOCK_FORMATS, NVFP4
    from course_utils.numerics.formats import FORMATS, DynamicFixedPoint, FixedPoint, FloatFormat

    floats = [f for name, f in FORMATS.items() if f.bits <= 16 and name != "e8m0"] + [FloatFormat(6, 9)]
    powers, fixed = [FORMATS["e8m0"], FloatFormat(5, 0)], [FixedPoint(4, 4), FixedPoint(8, 8)]
    half, brain, double = x.half(), x.bfloat16(), x.double()
    rows: dict[str, list[tuple]] = {}
    for rounding in ("nearest-even", "nearest-away", "toward-zero", "stochastic"):
        rows[f"quantize, {rounding}"] = [(lambda t, f=f, r=rounding: f.quantize(t, r), x, x) for f in floats]
    rows["quantize, overflowing"] = [(lambda t, f=f: f.quantize(t, overflow="infinity"), x, x) for f in floats[:2]]
    rows["quantize, no mantissa"] = [(f.quantize, x.abs(), x) for f in powers]
    rows["encode, no mantissa"] = [(f.encode, x.abs(), x) for f in powers]
    rows["encode"] = [(f.encode, x, x) for f in floats]
    rows["encode, stochastic"] = [(lambda t, f=f: f.encode(t, "stochastic"), x, x) for f in floats[:3]]
    rows["decode"] = [(f.decode, f.encode(x), x) for f in (*floats, FORMATS["e8m0"])]
    for name, t in (("float16", half), ("bfloat16", brain), ("float64", double)):
        some = [f for f in floats if f.quantize(t[:1, :1]).dtype == t.dtype]
        rows[f"quantize {name}"] = [(f.quantize, t, t) for f in some]
    rows["fixed point, quantize"] = [(f.quantize, x, x) for f in fixed]
    rows["fixed point, encode"] = [(f.encode, x, x) for f in fixed]
    rows["fixed point, decode"] = [(f.decode, f.encode(x), x) for f in fixed]
    rows["dynamic fixed point"] = [(DynamicFixedPoint(8).quantize, x, x)]
    for name, f in {**BLOCK_FORMATS, "nvfp4": NVFP4}.items():
        rows[f"{name}, quantize"], rows[f"{name}, encode"] = [(f.quantize, x, x)], [(f.encode, x, x)]
    return {name: calls for name, calls in rows.items() if calls} | {CLONE: [(torch.clone, x, x)]}


def serve_methods(compiled: bool, elements: int, rounds: int, pipe) -> None:
    """In a process of its own: sends row -> ratio to a copy. (A clone has a row, too: it may pay for fresh pages.)"""
    import torch

    from course_utils.numerics import chunks

    torch.set_num_threads(1)
    chunks.COMPILED_FROM = chunks.COMPILED_FROM if compiled else math.inf
    x = torch.randn(CHANNELS, elements // CHANNELS, generator=torch.Generator().manual_seed(0))
    found = {}
    with torch.no_grad():
        for name, calls in methods(x).items():
            found[name] = 0.0
            for call, t, compared in calls:
                call(t)
                pairs = [timed(call, t, compared) for _ in range(rounds)]
                ratio = statistics.median(p[1] for p in pairs) / statistics.median(p[0] for p in pairs)
                found[name] = max(found[name], ratio)
    pipe.send(found)


def serve_threads(elements: int, tries: int, pipe) -> None:
    """In a process of its own: sends row -> a call on one thread, in times of one on two."""
    import torch

    x = torch.randn(CHANNELS, elements // CHANNELS, generator=torch.Generator().manual_seed(0))
    found = {}
    with torch.no_grad():
        for name, calls in methods(x).items():
            found[name] = math.inf
            for call, t, _ in calls:
                seconds = {1: [], 2: []}
                for number in range(2 * tries):
                    threads = 1 + number // IN_A_ROW % 2
                    torch.set_num_threads(threads)
                    start = time.perf_counter()
                    result = call(t)
                    seconds[threads].append(time.perf_counter() - start)
                    del result
                found[name] = min(found[name], statistics.median(seconds[1]) / statistics.median(seconds[2]))
    pipe.send(found)


def elsewhere(work: Callable, *arguments):
    """What a function sends that runs in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(*arguments, theirs), daemon=True)
    process.start()
    found = ours.recv()
    process.join()
    return found


def methods_table(elements: int, rounds: int) -> str:
    sizes = ((True, elements), (True, elements // 4), (False, elements))
    columns = [elsewhere(serve_methods, compiled, size, rounds) for compiled, size in sizes]
    rows = [[name, *(f"{c[name]:.1f}" for c in columns)] for name in columns[0]]
    head = ["times a copy", f"compiled, {elements:,}", f"compiled, {elements // 4:,}", f"torch only, {elements:,}"]
    return table(head, rows)


def threads_table(elements: int, rounds: int) -> str:
    sizes = [elements // 16, elements // 4, elements]
    columns = [elsewhere(serve_threads, size, 5 * rounds * elements // size) for size in sizes]
    rows = [[name, *(f"{c[name]:.2f}" for c in columns)] for name in columns[0]]
    return table(["two threads: times as fast", *(f"{size:,}" for size in sizes)], rows)


def gpu_table(elements: int, rounds: int) -> str:
    """The same on a GPU, by its own clock."""
    import torch

    def milliseconds(call: Callable, t) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call(t)
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    x = torch.randn(CHANNELS, elements // CHANNELS, device="cuda")
    rows = []
    with torch.no_grad():
        for name, calls in methods(x).items():
            ratios = []
            for call, t, compared in calls:
                pairs = [(milliseconds(torch.clone, compared), milliseconds(call, t)) for _ in range(rounds + 2)][2:]
                ratios.append(statistics.median(p[1] for p in pairs) / statistics.median(p[0] for p in pairs))
            rows.append([name, f"{max(ratios):.1f}"])
    head = f"{elements:,} numbers; {torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{head}\n\n{table(['times a clone', 'GPU'], [r for r in rows if r[0] != CLONE])}"


# The processes.


def serve(name: str, elements: int, pipe) -> None:
    """In a process of its own: answers ("time", case) and ("probe", case) until None comes."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            calls = IMPLEMENTATIONS[name][0]()
    except ImportError as error:
        pipe.send(f"{error}")
        return
    x = torch.randn(CHANNELS, elements // CHANNELS, generator=torch.Generator().manual_seed(0))
    pipe.send(list(calls))
    while (request := pipe.recv()) is not None:
        what, case = request
        with torch.no_grad():
            pipe.send(timed(calls[case], x) if what == "time" else probed(calls[case], x[:, :1024]))


def timed(call: Callable, x, compared=None) -> tuple[float, float]:
    """Processor seconds of a copy (of ``compared``, or of ``x``) and of the call, each after a warm-up of its own.

    The copy goes to memory that is kept. A clone asks for aligned memory, for which glibc before 2.38 does not always
    take what was just freed: 16 million numbers then pay for 16,384 fresh pages, or not, by an accident of the heap.
    """
    import torch

    given = x if compared is None else compared
    kept = _once("kept", (given.shape, given.dtype), lambda: torch.empty_like(given))
    seconds = []
    for function in (lambda: kept.copy_(given), lambda: call(x)):
        function()
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return tuple(seconds)


def probed(call: Callable, x) -> tuple[list[float], list[float]]:
    """What becomes of the special numbers, and of a million ordinary ones."""
    import torch

    odd = torch.zeros(CHANNELS, BLOCK)
    odd[0, : len(PROBES)] = torch.tensor(PROBES)
    return call(odd)[0, : len(PROBES)].numpy(), call(x).numpy()


class Process:
    """One implementation, running; ``calls`` are the cases it has, or it says why it has none."""

    def __init__(self, name: str, elements: int):
        self.name, spawn = name, multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(name, elements, theirs), daemon=True)
        self.process.start()
        theirs.close()
        answer = self.pipe.recv()
        self.calls, self.reason = ([], answer) if isinstance(answer, str) else (answer, "")

    def ask(self, *request):
        """The answer, or None (and no more questions) if the implementation breaks on it."""
        try:
            self.pipe.send(request)
            return self.pipe.recv()
        except (EOFError, BrokenPipeError):
            print(f"broke, and is left out from here on: {self.name}, at {request}")
            self.calls = []
            return None

    def end(self) -> None:
        if self.calls:
            self.pipe.send(None)
        self.process.join()


# The tables.


def measure(process: Process, rounds: int) -> dict[tuple[str, str], float]:
    """(implementation, case) -> ratio to a copy."""
    seconds: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for case in CASES:
            enough = sum(sum(pair) for pair in seconds.get(case, ())) > ENOUGH
            if case in process.calls and not enough and (pair := process.ask("time", case)):
                seconds.setdefault(case, []).append(pair)
    return {
        (process.name, case): statistics.median(call for _, call in pairs) / statistics.median(c for c, _ in pairs)
        for case, pairs in seconds.items()
    }


def peers(only: list[str], elements: int, rounds: int) -> tuple[list[str], dict[tuple[str, str], float], str]:
    """Who was measured, their ratios, and what each returns for special numbers."""
    names, ratios = [], {}
    answers: dict[str, dict[str, tuple]] = {case: {} for case in ("e4m3", "e5m2", "int8")}
    for name in (n for n in IMPLEMENTATIONS if n in only):
        process = Process(name, elements)
        if process.reason:
            print(f"not measured: {name} ({process.reason})")
            continue
        names.append(name)
        ratios |= measure(process, rounds)
        for case, found in answers.items():
            if case in process.calls and (answer := process.ask("probe", case)) is not None:
                found[name] = answer
        process.end()
    return names, ratios, "\n\n".join(behaviour_table(case, found) for case, found in answers.items() if found)


def load() -> str:
    return f"Load of the machine's {os.cpu_count()} cores: {os.getloadavg()[1]:.1f}."


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(names: list[str], ratios: dict[tuple[str, str], float]) -> str:
    def cell(name: str, case: str) -> str:
        return f"{ratios[name, case]:.1f}" if (name, case) in ratios else ""

    versions = {name: metadata.version(IMPLEMENTATIONS[name][1]) for name in names}
    rows = [
        [f"{name} ({IMPLEMENTATIONS[name][1]} {versions[name]})", *(cell(name, c) for c in CASES)] for name in names
    ]
    return table(["times a copy", *CASES], rows)


def behaviour_table(case: str, answers: dict[str, tuple]) -> str:
    """What special numbers become in one format, and how many of a million differ from what the first one returns."""
    import numpy as np

    exact = next(iter(answers.values()))[1]
    rows = [
        [name, *(f"{v:g}" for v in special), f"{int(np.sum(ordinary != exact)):,}"]
        for name, (special, ordinary) in answers.items()
    ]
    return table([case, *(f"{v:g}" for v in PROBES), "differ of a million"], rows)


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def chart(names: list[str], ratios: dict[tuple[str, str], float], path: Path) -> None:
    """Bars on a logarithmic scale, a panel for each of four cases."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "formats"  # the same picture is the same file
    from matplotlib import pyplot as plt

    shown = {
        "e4m3": "float32 to e4m3",
        "e6m9": "float32 to e6m9",
        "e4m3 stochastic": "to e4m3, stochastic",
        "int8 per channel": "int8 per channel",
    }
    figure, panels = plt.subplots(1, len(shown), figsize=(14, 4), layout="constrained")
    for panel, (case, title) in zip(panels, shown.items(), strict=True):
        rows = sorted(((ratios[n, case], n) for n in names if (n, case) in ratios), reverse=True)
        colours = ["#c2410c" if n.startswith("here") else "#94a3b8" for _, n in rows]
        bars = panel.barh([n for _, n in rows], [r for r, _ in rows], color=colours)
        panel.bar_label(bars, [f"{r:.1f}" for r, _ in rows], padding=3, fontsize=8)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set(xscale="log", title=title, xlim=(0.5, 3 * max([2, *(r for r, _ in rows)])))
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("processor time, in copies of the tensor (the line: one copy)", fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def write(name: str, text: str) -> None:
    """Replaces what stands in docs/numerics.md between two markers."""
    path = DOCS / "numerics.md"
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, rest = path.read_text().split(begin)
    path.write_text(before + begin + text + "\n" + end + rest.split(end)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=2**24, help="of the tensor (default: 16 million)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--only", nargs="*", default=list(IMPLEMENTATIONS), help="names as in the table; none: this kit's own tables"
    )
    parser.add_argument("--gpu", action="store_true", help="every method of this kit on a CUDA GPU")
    parser.add_argument("--write", action="store_true", help="into docs/numerics.md and docs/numerics.svg")
    arguments = parser.parse_args()
    if arguments.gpu:
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("not measured: torch finds no CUDA GPU")
        print(gpu := gpu_table(arguments.elements, arguments.rounds))
        if arguments.write:
            write("gpu", gpu)
        return

    # Makes glibc keep memory once fetched. Else a call may or may not pay for fresh pages, up to ten times a clone, by
    # the accident of what was freed before.
    os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(2**40))
    if arguments.only:
        names, ratios, behaviour = peers(arguments.only, arguments.elements, arguments.rounds)
        speed = f"{arguments.elements:,} numbers; {machine()}\n\n{speed_table(names, ratios)}\n\n{load()}"
        print(f"\n{speed}\n\n{behaviour}", flush=True)
        if arguments.write:
            chart(names, ratios, DOCS / "numerics.svg")
            write("speed", speed)
            write("behaviour", behaviour)
    for name, measured in (("methods", methods_table), ("threads", threads_table)):
        text = f"{machine()}\n\n{measured(arguments.elements, arguments.rounds)}\n\n{load()}"
        print(f"\n{text}", flush=True)
        if arguments.write:
            write(name, text)


if __name__ == "__main__":
    main()
