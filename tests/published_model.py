"""The published checkpoints, rebuilt without a download: their entries (names and shapes), and the golden rule.

Nothing of the package is used here, so that conversion is tested against an independent description: the names
and shapes follow from the architecture, the values from a rule that is the same on every machine (raw PCG64 output,
correctly rounded double arithmetic). ``tests/goldens`` holds what the original code computes from these values.
"""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SALT = "public"
GOLDENS = Path(__file__).parent / "goldens"
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # residual blocks and inner channels of the slow pathway

# SHA-256 of all golden entries in alphabetical order, and of clip 0 of case A (3, 32, 64, 64)
WEIGHTS_CHECKSUM = "5760d1c942409b341e7dd0967dd0e27d397c7918ed8da31e5993dd18bf858333"
CLIP_CHECKSUM = "e8a5f94112a8b03e2db1919ec077a0bb43dfc3e019ee7e072706351a5aaa15bb"


def published_shapes(num_classes: int = 81) -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of MMAction2's SlowFast-R50-ACRN state dict."""
    shapes: dict[str, tuple[int, ...]] = {}
    _add_pathway(shapes, "slow", width=64, stem=(1, 7, 7), temporal=(1, 1, 3, 3))
    _add_pathway(shapes, "fast", width=8, stem=(5, 7, 7), temporal=(3, 3, 3, 3))
    _add_conv(shapes, "roi_head.shared_head.conv1", (2304, 4608, 1, 1, 1))
    _add_conv(shapes, "roi_head.shared_head.conv2", (2304, 2304, 1, 3, 3))
    shapes["roi_head.bbox_head.fc_cls.weight"] = (num_classes, 2304)
    shapes["roi_head.bbox_head.fc_cls.bias"] = (num_classes,)
    return shapes


def golden_state_dict() -> dict[str, Tensor]:
    """The golden weights under MMAction2's names, float32."""
    return {key: torch.from_numpy(_weight(key, shape)) for key, shape in published_shapes().items()}


def golden_clip(case: str, index: int, length: int, height: int, width: int) -> Tensor:
    """Clip ``index`` of a golden case, ``[3, T, H, W]`` float32: noise per pixel plus noise per 4 x 16 x 16 block."""
    fine = _noise(f"input|{case}|{index}|fine", (3, length, height, width))
    blocks = tuple(math.ceil(size / step) for size, step in ((length, 4), (height, 16), (width, 16)))
    coarse = _noise(f"input|{case}|{index}|coarse", (3, *blocks))
    spread = coarse[:, np.arange(length) // 4][:, :, np.arange(height) // 16][:, :, :, np.arange(width) // 16]
    return torch.from_numpy((0.5 * fine + spread).astype(np.float32))


def _add_pathway(
    shapes: dict[str, tuple[int, ...]],
    pathway: str,
    *,
    width: int,
    stem: tuple[int, ...],
    temporal: tuple[int, ...],
) -> None:
    prefix = f"backbone.{pathway}_path"
    is_slow = pathway == "slow"
    _add_conv(shapes, f"{prefix}.conv1", (width, 3, *stem))
    if is_slow:
        shapes[f"{prefix}.conv1_lateral.conv.weight"] = (16, 8, 7, 1, 1)
    channels = width
    for stage, (num_blocks, slow_inner) in enumerate(STAGES):
        inner = slow_inner * width // 64
        channels += channels // 4 if is_slow else 0  # the lateral connection brings a quarter more
        for block in range(num_blocks):
            name = f"{prefix}.layer{stage + 1}.{block}"
            _add_conv(shapes, f"{name}.conv1", (inner, channels, temporal[stage], 1, 1))
            _add_conv(shapes, f"{name}.conv2", (inner, inner, 1, 3, 3))
            _add_conv(shapes, f"{name}.conv3", (4 * inner, inner, 1, 1, 1))
            if block == 0:
                _add_conv(shapes, f"{name}.downsample", (4 * inner, channels, 1, 1, 1))
            channels = 4 * inner
        if is_slow and stage < 3:
            fast = channels // 8
            shapes[f"{prefix}.layer{stage + 1}_lateral.conv.weight"] = (2 * fast, fast, 7, 1, 1)


def _add_conv(shapes: dict[str, tuple[int, ...]], name: str, shape: tuple[int, ...]) -> None:
    shapes[f"{name}.conv.weight"] = shape
    for entry in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.bn.{entry}"] = shape[:1]
    shapes[f"{name}.bn.num_batches_tracked"] = ()


def _noise(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float64, uniform with mean 0 and variance 1, seeded by the key."""
    seed = int.from_bytes(hashlib.sha256(f"{SALT}|{key}".encode()).digest()[:8], "little")
    raw = np.random.PCG64(seed).random_raw(math.prod(shape))
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ((2 * uniform - 1) * np.sqrt(np.float64(3))).reshape(shape)


def _weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    kind = key.rsplit(".", 1)[1]
    if kind == "num_batches_tracked":
        return np.zeros((), np.int64)
    noise = _noise(key, shape)
    if kind == "running_var":
        value = 1 + 0.1 * np.abs(noise)
    elif kind == "running_mean":
        value = 0.1 * noise
    elif kind == "bias":
        value = (0.01 if "fc_cls" in key else 0.1) * noise
    elif len(shape) == 1:
        value = 1 + 0.1 * noise
    else:
        value = noise * (_gain(key) / float(np.sqrt(np.float64(math.prod(shape[1:])))))
    return value.astype(np.float32)


def _gain(key: str) -> float:
    if key.endswith(".conv3.conv.weight"):
        return 0.5
    is_plain = ".downsample." in key or "_lateral." in key or "fc_cls" in key
    return 1.0 if is_plain else 1.4
