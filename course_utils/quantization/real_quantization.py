"""Real 8-bit integer networks by torch's own tools, two of them behind one call.

`quantize` takes a float network and returns one whose weights are integers. ``how="fx"`` is the fx graph mode of
torch.ao.quantization, which torch says it will remove; ``how="pt2e"`` is its successor, PT2E in the package torchao.
The day the first is gone, a lab changes one word. `available` says which of the two work here, and else why not.

Both tools are imported when they are first used: torchao alone takes seconds. Stands on torch; torchao is optional.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["HOW", "NotAvailable", "available", "default_engine", "quantize", "quiet"]

HOW = ("fx", "pt2e")
"""The values that ``how`` takes."""

_FX = "torch.ao.quantization.quantize_fx"
_PT2E = "torchao.quantization.pt2e.quantize_pt2e"
_X86 = "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer"

_EXPECTED = (
    # torch announces the end of torch.ao.quantization; this module is the answer to that
    ("torch.ao.quantization is deprecated", DeprecationWarning),
    # torch's own observers pass reduce_range, and their constructor warns of it, once for every observer
    (r"Please use quant_min and quant_max to specify the range for observers", UserWarning),
    # the quantized dtypes go with it; convert_fx still makes them
    (r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other quantized tensor creation", UserWarning),
    # pooling runs in float where it does not stand between two integer layers: a statement, no trouble
    ("The input of maxpool2d is not quantized", UserWarning),
)


class NotAvailable(RuntimeError):
    """A tool that this installation lacks; the message says which and what to do."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the messages that these tools always give, by their text; every other one passes."""
    log = logging.getLogger("torch.utils._pytree")
    log.addFilter(_passes)
    try:
        with warnings.catch_warnings():
            for message, category in _EXPECTED:
                warnings.filterwarnings("ignore", message, category)
            yield
    finally:
        log.removeFilter(_passes)


def _passes(record: logging.LogRecord) -> bool:
    """Not for what torchao 0.18 makes torch 2.15 log when it is imported: that it registers an Enum."""
    return "register_constant() on Enum" not in record.getMessage()


def available() -> dict[str, str]:
    """For each way, the empty string if it works here, else why it does not. The first call takes seconds."""
    reasons = {}
    for how, load in (("fx", _load_fx), ("pt2e", _load_pt2e)):
        try:
            load()
            reasons[how] = ""
        except NotAvailable as error:
            reasons[how] = str(error)
    return reasons


def default_engine() -> str:
    """The library that runs fx's integer layers here: ``"x86"`` on Intel and AMD, ``"qnnpack"`` on ARM.

    Raises:
        NotAvailable: if this torch has none.
    """
    supported = torch.backends.quantized.supported_engines
    for engine in (torch.backends.quantized.engine, "x86", "fbgemm", "qnnpack"):
        if engine != "none" and engine in supported:
            return engine
    raise NotAvailable("this build of torch has no engine for quantized layers")


def quantize(
    model: nn.Module, example: Tensor, batches: Iterable[Tensor], how: str = "fx", *, engine: str | None = None
) -> Callable[[Tensor], Tensor]:
    """Post-training static quantization to 8 bits: weights per output channel, activations per tensor.

    Args:
        model: a float network in eval mode that torch can trace. It is not changed.
        example: one batch of inputs; only its shape and dtype matter. Any batch size works afterwards.
        batches: what the network is calibrated with; at least one batch.
        how: ``"fx"`` or ``"pt2e"``.
        engine: of fx; `default_engine` if None. It is made torch's current engine, and must be so when the result runs.

    Returns:
        The quantized network, a GraphModule. Fx's runs on integers at once. PT2E's computes in float between integer
        grids until torch.compile turns it into integer kernels, and keeps the float weights beside the integer ones.

    Raises:
        ValueError: if ``how`` is unknown, the model is in training mode, there is no batch, or the engine is not here.
        NotAvailable: if the tool is not installed.
    """
    if how not in HOW:
        raise ValueError(f"how is one of {', '.join(HOW)}, not {how!r}")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    batches = list(batches)
    if not batches:
        raise ValueError("calibration needs at least one batch")
    with quiet(), torch.no_grad():
        return _by_fx(model, example, batches, engine) if how == "fx" else _by_pt2e(model, example, batches)


def _by_fx(model: nn.Module, example: Tensor, batches: list[Tensor], engine: str | None) -> nn.Module:
    tools, config = _load_fx()
    engine = engine or default_engine()
    if engine not in torch.backends.quantized.supported_engines:
        raise ValueError(f"engine is one of {torch.backends.quantized.supported_engines}, not {engine!r}")
    torch.backends.quantized.engine = engine
    prepared = tools.prepare_fx(copy.deepcopy(model), config.get_default_qconfig_mapping(engine), (example,))
    for batch in batches:
        prepared(batch)
    return tools.convert_fx(prepared)


def _by_pt2e(model: nn.Module, example: Tensor, batches: list[Tensor]) -> nn.Module:
    tools, x86 = _load_pt2e()
    if len(example) < 2:  # torch.export takes a size of 1 for a constant
        example = torch.cat([example, example])
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(copy.deepcopy(model), (example,), dynamic_shapes=shapes).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = tools.prepare_pt2e(exported, quantizer)
    for batch in batches:
        prepared(batch)
    return tools.convert_pt2e(prepared)


def _load_fx():
    try:
        with quiet():
            return importlib.import_module(_FX), importlib.import_module("torch.ao.quantization")
    except ImportError as error:
        raise NotAvailable(f"this torch ({torch.__version__}) has no {_FX} any more: take how='pt2e'") from error


def _load_pt2e():
    try:
        with quiet():
            return importlib.import_module(_PT2E), importlib.import_module(_X86)
    except ImportError as error:
        raise NotAvailable("torchao is not installed here (python -m pip install torchao==0.18.0)") from error
