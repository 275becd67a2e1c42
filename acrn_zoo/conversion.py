"""Other projects' checkpoints, under this project's names.

The tensors stay as they are; only names change, and a background class, if there is one, is dropped. Known
layouts: MMAction2's detectors and recognizers with a SlowFast backbone (0.x and 1.x name everything alike),
PyTorchVideo's ``slowfast_r50`` and ``slowfast_r50_detection``, and this project's own.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from acrn_zoo.errors import UserError
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.models.relation import Relation

Layout = Literal[
    "acrn_zoo",
    "mmaction2 detection",
    "mmaction2 recognition",
    "pytorchvideo detection",
    "pytorchvideo recognition",
]

FORMAT = "acrn_zoo"
FORMAT_VERSION = 1

WRAPPERS = ("state_dict", "model_state", "model")
"""Under which of these a checkpoint may hold its tensors; the first that is there is taken."""

NAME_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put in front of every name."""

DEPTHS = {1: 18, 6: 50, 23: 101, 36: 152}
"""Depth of a residual network by the number of blocks in its third stage."""

Rename = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


class CheckpointError(UserError, RuntimeError):
    """A checkpoint file is missing, damaged, unsafe, of another model, or does not fit."""


@dataclass(frozen=True, eq=False)
class Converted:
    """A checkpoint under this project's names, and what it tells about the model that it is for.

    Args:
        layout: how the file was laid out.
        state_dict: tensors by this project's names, the very tensors of the file (views where a background
            class was dropped). Names that the layout does not know are kept, so that loading reports them.
        dropped: names of the file that have no place here and are left out on purpose: classifiers of
            recognizers, and PyTorchVideo's detection head, which has another RoIAlign.
        depth: 18, 50, 101 or 152 by the slow pathway's blocks; None if it is none of these.
        width: channels of the slow pathway's stem; None if there is none.
        beta: ratio of the pathways' channels; None if there are none.
        alpha: 4 if the lateral convolutions see 7 frames, as all published 8x8 R50 have it; else None, since
            their stride is not part of the weights.
        lateral_norm: whether the lateral connections have BatchNorm (and ReLU).
        res5_dilation: 2 for PyTorchVideo's detectors, else 1.
        temporal_pool: ``"avg"`` or ``"max"`` if the file tells, else None.
        relation: which relation head there is; "actor_only" without any.
        relation_channels: D; None without a relation head, or if it has as many as the backbone.
        num_classes: rows of the classifier, without background; None without a classifier.
        architecture: what this project's own files say about their model; empty for other layouts. It
            overrules the facts above, which are read from the tensors.
        categories: names of the classes that this project's own files carry; else None.
        preprocessing: what this project's own files say about the clips that it was trained on; empty if nothing.
    """

    layout: Layout
    state_dict: dict[str, Tensor]
    dropped: tuple[str, ...]
    depth: int | None
    width: int | None
    beta: int | None
    alpha: int | None
    lateral_norm: bool
    res5_dilation: int
    temporal_pool: TemporalPool | None
    relation: Relation
    relation_channels: int | None
    num_classes: int | None
    architecture: dict[str, Any] = field(default_factory=dict)
    categories: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] = field(default_factory=dict)


def convert(checkpoint: Mapping[str, Any]) -> Converted:
    """Recognise a checkpoint's layout and bring it under this project's names.

    Args:
        checkpoint: what a checkpoint file holds: a state dict, or one wrapped in a dictionary under
            ``state_dict``, ``model_state`` or ``model``. Not written to.

    Raises:
        CheckpointError: if it is of another model, or of this project but from a later version.
    """
    _check_version(checkpoint)
    entries = _without_prefixes(_unwrapped(checkpoint))
    layout = _recognise(entries)
    state_dict, dropped = _renamed(entries, layout)
    if layout == "mmaction2 detection":
        state_dict = _without_background(state_dict, _config_text(checkpoint))
    is_own = layout == "acrn_zoo" and checkpoint.get("format") == FORMAT
    lateral = state_dict.get("backbone.blocks.0.multipathway_fusion.conv_fast_to_slow.weight")
    slow, fast = (_rows(state_dict, f"backbone.blocks.0.multipathway_blocks.{index}.conv.weight") for index in (0, 1))
    return Converted(
        layout=layout,
        state_dict=state_dict,
        dropped=dropped,
        depth=_depth(state_dict),
        width=slow,
        beta=slow // fast if slow and fast else None,
        alpha=4 if lateral is not None and lateral.dim() == 5 and lateral.shape[2] == 7 else None,
        lateral_norm=any(".multipathway_fusion.norm." in name for name in state_dict),
        res5_dilation=2 if layout == "pytorchvideo detection" else 1,
        temporal_pool=_temporal_pool(checkpoint, layout),
        relation=_relation(state_dict),
        relation_channels=_relation_channels(state_dict),
        num_classes=_rows(state_dict, "head.classifier.weight"),
        architecture=dict(checkpoint["architecture"]) if is_own else {},
        categories=tuple(checkpoint["categories"]) if is_own else None,
        preprocessing=dict(checkpoint.get("preprocessing", {})) if is_own else {},
    )


def _check_version(checkpoint: Mapping[str, Any]) -> None:
    if checkpoint.get("format") != FORMAT:
        return
    version = checkpoint.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format version {version}, but this acrn_zoo reads only {FORMAT_VERSION} and "
            "older: upgrade acrn_zoo."
        )
    for key, kind in (("architecture", dict), ("categories", list), ("state_dict", dict)):
        if not isinstance(checkpoint.get(key), kind):
            raise CheckpointError(f"the checkpoint says that it is of acrn_zoo, but lacks a proper {key}.")
    categories = checkpoint["categories"]
    rows = checkpoint["state_dict"].get("head.classifier.weight", categories)
    if not all(isinstance(name, str) for name in categories) or len(categories) != len(rows):
        raise CheckpointError(f"the checkpoint names {len(categories)} actions for a classifier of {len(rows)}.")


def _unwrapped(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors by name; what is no tensor is no part of a model."""
    wrapped = [checkpoint[name] for name in WRAPPERS if isinstance(checkpoint.get(name), Mapping)]
    entries = wrapped[0] if wrapped else checkpoint
    return {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}


def _without_prefixes(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in NAME_PREFIXES * 2:  # a compiled module in a distributed one, or the other way round
        if entries and all(name.startswith(prefix) for name in entries):
            entries = {name.removeprefix(prefix): value for name, value in entries.items()}
    return entries


def _recognise(entries: dict[str, Tensor]) -> Layout:
    def has(*starts: str) -> bool:
        return all(any(name.startswith(start) for name in entries) for start in starts)

    if has("backbone.slow_path.", "backbone.fast_path."):
        return "mmaction2 detection" if has("roi_head.") else "mmaction2 recognition"
    if has("model.blocks.0.multipathway_blocks.", "detection_head."):
        return "pytorchvideo detection"
    if has("blocks.0.multipathway_blocks."):
        return "pytorchvideo recognition"
    if has("backbone.blocks.0.multipathway_blocks."):
        return "acrn_zoo"
    names = list(entries)
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "no tensors"
    raise CheckpointError(
        f"the checkpoint is not of a SlowFast model: it holds {shown}. Known layouts are acrn_zoo's own, "
        "MMAction2's SlowFast (detection or recognition) and PyTorchVideo's slowfast_r50 and "
        "slowfast_r50_detection."
    )


def _renamed(entries: dict[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """New names for the entries, and the names of those that are left out."""
    state_dict: dict[str, Tensor] = {}
    dropped = []
    for name, value in entries.items():
        if _DROPPED[layout].match(name):
            dropped.append(name)
        else:
            state_dict[_new_name(name, _RENAMES[layout])] = value
    return state_dict, tuple(dropped)


def _new_name(name: str, renames: tuple[Rename, ...]) -> str:
    for pattern, new in renames:
        if match := pattern.match(name):
            return new(match) + name[match.end() :]
    return name


def _without_background(state_dict: dict[str, Tensor], config: str) -> dict[str, Tensor]:
    """MMAction2 trains K + 1 columns for AVA; the first is no action and never used. Its config may say otherwise."""
    if re.search(r"multilabel['\"]?\s*[=:]\s*False", config):
        raise CheckpointError(
            "the checkpoint was trained for one action a person (multilabel=False), which these detectors cannot do: "
            "they score every action by itself."
        )
    if re.search(r"background_class['\"]?\s*[=:]\s*False", config):
        return state_dict
    rows = {name: state_dict[name][1:] for name in _CLASSIFIER if name in state_dict}
    return {**state_dict, **rows}


def _depth(state_dict: dict[str, Tensor]) -> int | None:
    pattern = re.compile(r"backbone\.blocks\.3\.multipathway_blocks\.0\.res_blocks\.(\d+)\.")
    blocks = {match[1] for match in map(pattern.match, state_dict) if match}
    return DEPTHS.get(len(blocks))


def _temporal_pool(checkpoint: Mapping[str, Any], layout: Layout) -> TemporalPool | None:
    if layout == "pytorchvideo detection":
        return "avg"
    if layout == "acrn_zoo" and checkpoint.get("format") == FORMAT:
        return checkpoint["architecture"].get("temporal_pool")
    return _pool_of_config(_config_text(checkpoint)) if layout == "mmaction2 detection" else None


def _config_text(checkpoint: Mapping[str, Any]) -> str:
    """MMAction2 saves the text of its config: 1.x as ``cfg``, 0.x as ``config``. Publishing may have dropped it."""
    meta = checkpoint.get("meta")
    text = (meta.get("cfg") or meta.get("config")) if isinstance(meta, Mapping) else None
    return text if isinstance(text, str) else ""


def _pool_of_config(config: str) -> TemporalPool | None:
    """Averaging is the default of MMAction2's RoI extractor."""
    if "SingleRoIExtractor3D" not in config:
        return None
    has_max = re.search(r"temporal_pool_mode['\"]?\s*[=:]\s*['\"]max['\"]", config)
    return "max" if has_max else "avg"


def _rows(state_dict: dict[str, Tensor], name: str) -> int | None:
    return len(state_dict[name]) if name in state_dict and state_dict[name].dim() else None


def _relation(state_dict: dict[str, Tensor]) -> Relation:
    if not any(name.startswith("head.relation.") for name in state_dict):
        return "actor_only"
    if "head.relation.query.weight" in state_dict:
        return "scene_attention"
    pair = state_dict.get("head.relation.pair.0.weight")
    return "pooled_scene" if pair is not None and pair.dim() == 2 else "acrn"


def _relation_channels(state_dict: dict[str, Tensor]) -> int | None:
    weight = state_dict.get("head.relation.pair.0.weight")  # of [actor; scene]; of D + D channels if D = C
    if weight is None or weight.dim() not in (2, 5) or 2 * len(weight) == weight.shape[1]:
        return None
    return len(weight)


_CLASSIFIER = ("head.classifier.weight", "head.classifier.bias")
_PATHWAYS = {"slow": 0, "fast": 1}
_CONVOLUTIONS = {"1": "a", "2": "b", "3": "c"}
_PARTS = {"conv": "conv", "bn": "norm"}
_RELATION = {
    ("1", "conv"): "pair.0",
    ("1", "bn"): "pair.1",
    ("2", "conv"): "context.0",
    ("2", "bn"): "context.1",
}


def _blocks(stage: str, pathway: str) -> str:
    return f"backbone.blocks.{stage}.multipathway_blocks.{_PATHWAYS[pathway]}"


# The names of MMAction2's backbone, each up to the part that stays (weight, bias, running_mean, ...).
_MMACTION2: tuple[Rename, ...] = (
    (
        re.compile(r"backbone\.slow_path\.(?:conv1|layer([1-3]))_lateral\.conv\."),
        lambda m: f"backbone.blocks.{m[1] or 0}.multipathway_fusion.conv_fast_to_slow.",
    ),
    (
        re.compile(r"backbone\.(slow|fast)_path\.conv1\.(conv|bn)\."),
        lambda m: f"{_blocks('0', m[1])}.{_PARTS[m[2]]}.",
    ),
    (
        re.compile(r"backbone\.(slow|fast)_path\.layer([1-4])\.(\d+)\.downsample\.(conv|bn)\."),
        lambda m: f"{_blocks(m[2], m[1])}.res_blocks.{m[3]}.branch1_{_PARTS[m[4]]}.",
    ),
    (
        re.compile(r"backbone\.(slow|fast)_path\.layer([1-4])\.(\d+)\.conv([1-3])\.(conv|bn)\."),
        lambda m: f"{_blocks(m[2], m[1])}.res_blocks.{m[3]}.branch2.{_PARTS[m[5]]}_{_CONVOLUTIONS[m[4]]}.",
    ),
    (
        re.compile(r"roi_head\.shared_head\.conv([12])\.(conv|bn)\."),
        lambda m: f"head.relation.{_RELATION[m[1], m[2]]}.",
    ),
    (re.compile(r"roi_head\.bbox_head\.fc_cls\."), lambda _: "head.classifier."),
)

_RENAMES: dict[Layout, tuple[Rename, ...]] = {
    "acrn_zoo": (),
    "mmaction2 detection": _MMACTION2,
    "mmaction2 recognition": _MMACTION2,
    "pytorchvideo detection": ((re.compile(r"model\.blocks\."), lambda _: "backbone.blocks."),),
    "pytorchvideo recognition": ((re.compile(r"blocks\."), lambda _: "backbone.blocks."),),
}

_NOTHING = re.compile(r"(?!)")
_DROPPED: dict[Layout, re.Pattern[str]] = {
    "acrn_zoo": _NOTHING,
    "mmaction2 detection": _NOTHING,
    "mmaction2 recognition": re.compile(r"cls_head\.fc_cls\."),
    "pytorchvideo detection": re.compile(r"detection_head\.proj\."),
    "pytorchvideo recognition": re.compile(r"blocks\.6\.proj\."),
}
