"""Networks of the YOLOv3 family from darknet's own files: a ``.cfg`` of sections and a ``.weights`` of float32.

Source: J. Redmon, darknet (parser.c). Stands on torch, NumPy and `darknet_network`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from course_utils.networks.darknet_network import Darknet, DarknetError, Section, decode

__all__ = ["Darknet", "DarknetError", "Section", "decode", "load_darknet", "read_cfg"]


def read_cfg(path: str | Path) -> list[Section]:
    """The sections of a cfg file, [net] first.

    Raises:
        DarknetError: if the file cannot be read, or a line is neither a section, an option nor a comment.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DarknetError(f"{path}: cannot be read: {error}") from error
    # Windows' editors begin with a byte order mark; what is not ASCII can only stand in comments, in any encoding
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    lines = content.decode(encoding, errors="replace").splitlines()
    sections: list[Section] = []
    for number, line in enumerate(lines, start=1):
        line = line.split("#")[0].split(";")[0].strip()
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1].strip(), {}, len(sections) - 1))
        elif "=" in line and sections:
            name, value = line.split("=", 1)
            sections[-1].options.setdefault(name.strip(), value.strip())  # darknet too takes the first of two
        elif line:
            raise DarknetError(f"{path}: line {number} is neither [section] nor option=value: {line!r}")
    return sections


def load_darknet(cfg_path: str | Path, weights_path: str | Path) -> Darknet:
    """A network in darknet's form, in eval mode.

    Args:
        cfg_path: the sections.
        weights_path: a header of 16 or 20 bytes, then little-endian float32 for each convolution: with batch
            normalisation beta, gamma, mean, variance, weights, else bias, weights.

    Returns:
        the network; see `Darknet` for what its calls give.

    Raises:
        DarknetError: if a section is unknown or does not fit, or the weights are too short, too long, or not numbers.
    """
    cfg_path, weights_path = Path(cfg_path), Path(weights_path)
    try:
        net = Darknet(read_cfg(cfg_path))
    except DarknetError as error:
        raise error if str(error).startswith(str(cfg_path)) else DarknetError(f"{cfg_path}: {error}") from error
    try:
        content = weights_path.read_bytes()
    except OSError as error:
        raise DarknetError(f"{weights_path}: cannot be read: {error}") from error
    try:
        _load_weights(net, content)
    except DarknetError as error:
        raise DarknetError(f"{weights_path}: {error}") from error
    return net.eval()


def _load_weights(net: Darknet, content: bytes) -> None:
    # major, minor, revision, then the images seen: 32 bits before version 0.2, 64 since
    if len(content) < 12:
        raise DarknetError(f"the header is 16 or 20 bytes, found {len(content)}")
    major, minor, _ = np.frombuffer(content, "<i4", count=3).tolist()
    position = 20 if major * 10 + minor >= 2 else 16
    if len(content) < position:
        raise DarknetError(f"the header of version {major}.{minor} is {position} bytes, found {len(content)}")
    for section, layer in zip(net.sections, net.layers, strict=True):
        if section.kind != "convolutional":
            continue
        if hasattr(layer, "norm"):
            norm = layer.norm
            targets = [norm.bias, norm.weight, norm.running_mean, norm.running_var, layer.conv.weight]
        else:
            targets = [layer.conv.bias, layer.conv.weight]
        needed, found = 4 * sum(target.numel() for target in targets), len(content) - position
        if found < needed:
            raise section.error(f"its weights are {needed} bytes from byte {position}, found {found}: truncated")
        for target in targets:
            values = np.frombuffer(content, "<f4", count=target.numel(), offset=position).astype(np.float32)
            if not np.isfinite(values).all():
                raise section.error(f"the weights from byte {position} hold NaN or infinity")
            target.data.copy_(torch.from_numpy(values).view_as(target))
            position += 4 * target.numel()
        if hasattr(layer, "norm") and (layer.norm.running_var < 0).any():
            raise section.error("a variance is negative")
    if position != len(content):
        last = net.sections[-1].error(f"all sections together are {position} bytes, found {len(content)}")
        raise DarknetError(f"{last}: the weights belong to another cfg")
