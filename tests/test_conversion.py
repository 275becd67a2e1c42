"""Other projects' layouts. Tensors are on the meta device where only names and shapes matter."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published_model import published_shapes
from pytorchvideo.models.slowfast import create_slowfast, create_slowfast_with_roi_head
from torch import Tensor

from acrn_zoo.architecture import Relation, SlowFastArchitecture
from acrn_zoo.conversion import CheckpointError, convert
from acrn_zoo.models import create_slowfast_backbone
from acrn_zoo.zoo import create_slowfast_detector

Shapes = dict[str, tuple[int, ...]]


def shapes_of(state_dict: dict[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state_dict.items()}


def empty(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def detector_shapes(relation: Relation = "acrn", num_classes: int = 80) -> Shapes:
    with torch.device("meta"):
        detector = create_slowfast_detector(SlowFastArchitecture(relation, num_classes=num_classes))
    return shapes_of(detector.state_dict())


def backbone_shapes(*, lateral_norm: bool, depth: int = 50) -> Shapes:
    with torch.device("meta"):
        backbone = create_slowfast_backbone(lateral_norm=lateral_norm, depth=depth)
    return {f"backbone.{name}": shape for name, shape in shapes_of(backbone.state_dict()).items()}


def mmaction2_backbone() -> Shapes:
    return {name: shape for name, shape in published_shapes().items() if name.startswith("backbone.")}


def test_mmaction2_detector_maps_one_to_one_onto_the_model() -> None:
    converted = convert({"meta": {}, "state_dict": empty(published_shapes())})
    assert shapes_of(converted.state_dict) == detector_shapes()
    assert len(converted.state_dict) == len(published_shapes()) == 654
    assert converted.dropped == ()


def test_every_entry_of_the_reference_manifest_is_mapped(shared: Path) -> None:
    manifest = json.loads((shared / "reference" / "acrn" / "manifest.json").read_text())["state_dict"]
    converted = convert({"state_dict": empty({name: tuple(entry["shape"]) for name, entry in manifest.items()})})
    assert len(manifest) == 654
    assert shapes_of(converted.state_dict) == detector_shapes()


def test_each_part_of_mmaction2_goes_to_its_place() -> None:
    pairs = {
        "backbone.slow_path.conv1.conv.weight": "backbone.blocks.0.multipathway_blocks.0.conv.weight",
        "backbone.fast_path.conv1.bn.bias": "backbone.blocks.0.multipathway_blocks.1.norm.bias",
        "backbone.slow_path.conv1_lateral.conv.weight": "backbone.blocks.0.multipathway_fusion."
        "conv_fast_to_slow.weight",
        "backbone.slow_path.layer3_lateral.conv.weight": "backbone.blocks.3.multipathway_fusion."
        "conv_fast_to_slow.weight",
        "backbone.fast_path.layer4.0.downsample.conv.weight": "backbone.blocks.4.multipathway_blocks.1."
        "res_blocks.0.branch1_conv.weight",
        "backbone.slow_path.layer2.0.downsample.bn.running_var": "backbone.blocks.2.multipathway_blocks.0."
        "res_blocks.0.branch1_norm.running_var",
        "backbone.slow_path.layer3.5.conv1.conv.weight": "backbone.blocks.3.multipathway_blocks.0."
        "res_blocks.5.branch2.conv_a.weight",
        "backbone.slow_path.layer3.5.conv3.bn.weight": "backbone.blocks.3.multipathway_blocks.0."
        "res_blocks.5.branch2.norm_c.weight",
        "roi_head.shared_head.conv1.conv.weight": "head.relation.pair.0.weight",
        "roi_head.shared_head.conv1.bn.num_batches_tracked": "head.relation.pair.1.num_batches_tracked",
        "roi_head.shared_head.conv2.conv.weight": "head.relation.context.0.weight",
        "roi_head.shared_head.conv2.bn.running_mean": "head.relation.context.1.running_mean",
    }
    given = {name: torch.tensor(float(index)) for index, name in enumerate(pairs)}
    converted = convert(given)
    assert converted.state_dict == {new: given[old] for old, new in pairs.items()}


def small_detector(num_rows: int = 81) -> dict[str, Tensor]:
    """Enough of MMAction2's layout to be recognised."""
    return {
        "backbone.slow_path.conv1.conv.weight": torch.rand(2, 3),
        "backbone.fast_path.conv1.conv.weight": torch.rand(2, 3),
        "roi_head.bbox_head.fc_cls.weight": torch.rand(num_rows, 4),
        "roi_head.bbox_head.fc_cls.bias": torch.rand(num_rows),
    }


@pytest.mark.parametrize("num_rows", [81, 22])
def test_the_background_row_is_dropped_and_nothing_else_changes(num_rows: int) -> None:
    given = small_detector(num_rows)
    before = {name: value.clone() for name, value in given.items()}
    converted = convert(given)
    assert converted.num_classes == num_rows - 1
    for part in ("weight", "bias"):
        original = before[f"roi_head.bbox_head.fc_cls.{part}"]
        assert torch.equal(converted.state_dict[f"head.classifier.{part}"], original[1:])
    stem = converted.state_dict["backbone.blocks.0.multipathway_blocks.0.conv.weight"]
    assert stem is given["backbone.slow_path.conv1.conv.weight"]
    assert all(torch.equal(given[name], before[name]) for name in before)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes_do_not_matter(wrapper: str | None, prefix: str) -> None:
    state_dict = {f"{prefix}{name}": value for name, value in small_detector().items()}
    converted = convert({wrapper: state_dict, "epoch": 3} if wrapper else state_dict)
    assert converted.layout == "mmaction2 detection"
    assert set(converted.state_dict) == set(convert(small_detector()).state_dict)


def test_a_detector_without_relations_maps_onto_the_baseline() -> None:
    shapes = {name: shape for name, shape in published_shapes(61).items() if "shared_head" not in name}
    converted = convert({"state_dict": empty(shapes)})
    assert shapes_of(converted.state_dict) == detector_shapes("actor_only", num_classes=60)
    assert converted.relation == "actor_only"
    assert converted.num_classes == 60


def test_mmaction2_recognizer_gives_a_backbone() -> None:
    head: Shapes = {"cls_head.fc_cls.weight": (400, 2304), "cls_head.fc_cls.bias": (400,)}
    converted = convert({"state_dict": empty({**mmaction2_backbone(), **head})})
    assert converted.layout == "mmaction2 recognition"
    assert shapes_of(converted.state_dict) == backbone_shapes(lateral_norm=False)
    assert converted.dropped == tuple(head)
    assert converted.num_classes is None


def pytorchvideo_shapes(kind: str, depth: int) -> Shapes:
    create = create_slowfast if kind == "recognition" else create_slowfast_with_roi_head
    with torch.device("meta"):
        return shapes_of(create(model_depth=depth).state_dict())


@pytest.mark.parametrize(
    ("kind", "depth", "head", "dilation", "pool"),
    [
        ("recognition", 50, "blocks.6.proj", 1, None),
        ("recognition", 101, "blocks.6.proj", 1, None),
        ("detection", 50, "detection_head.proj", 2, "avg"),
    ],
)
def test_pytorchvideo_gives_a_backbone(kind: str, depth: int, head: str, dilation: int, pool: str | None) -> None:
    converted = convert({"model_state": empty(pytorchvideo_shapes(kind, depth)), "epoch": 1})
    assert converted.layout == f"pytorchvideo {kind}"
    assert shapes_of(converted.state_dict) == backbone_shapes(lateral_norm=True, depth=depth)
    assert converted.dropped == (f"{head}.weight", f"{head}.bias")
    facts = (converted.depth, converted.alpha, converted.lateral_norm, converted.res5_dilation)
    assert facts == (depth, 4, True, dilation)
    assert converted.temporal_pool == pool


def test_what_the_tensors_tell() -> None:
    converted = convert({"state_dict": empty(published_shapes())})
    facts = (converted.depth, converted.alpha, converted.lateral_norm, converted.res5_dilation)
    assert facts == (50, 4, False, 1)
    assert converted.relation == "acrn"
    assert converted.temporal_pool is None
    assert converted.architecture == {}
    assert converted.categories is None


def test_another_lateral_kernel_does_not_tell_alpha() -> None:
    shapes = {**published_shapes(), "backbone.slow_path.conv1_lateral.conv.weight": (16, 8, 5, 1, 1)}
    assert convert(empty(shapes)).alpha is None


CONFIG = "roi_head=dict(bbox_roi_extractor=dict(type='SingleRoIExtractor3D', with_temporal_pool=True{}))"


@pytest.mark.parametrize(
    ("meta", "pool"),
    [
        ({"cfg": CONFIG.format("")}, "avg"),
        ({"cfg": CONFIG.format(", temporal_pool_mode='max'")}, "max"),
        ({"config": CONFIG.format(",\n    temporal_pool_mode='max'")}, "max"),
        ({"config": CONFIG.format(', "temporal_pool_mode": "avg"')}, "avg"),
        ({"cfg": "model = dict(type='Recognizer3D')"}, None),
        ({"cfg": 3}, None),
        ("text", None),
        (None, None),
    ],
)
def test_a_saved_config_tells_the_pooling(meta: object, pool: str | None) -> None:
    assert convert({"meta": meta, "state_dict": small_detector()}).temporal_pool == pool


def test_names_that_no_layout_knows_are_kept_for_the_strict_loading() -> None:
    extra = {"roi_head.bbox_head.fc_reg.weight": torch.rand(3)}
    assert set(extra) < set(convert({**small_detector(), **extra}).state_dict)


@pytest.mark.parametrize(
    "checkpoint",
    [
        {},
        {"state_dict": {}},
        {"epoch": 3, 4: "four"},
        {"state_dict": {"backbone.conv1.conv.weight": torch.rand(1), "cls_head.fc_cls.bias": torch.rand(1)}},
        {"fc.weight": torch.rand(1), "fc.bias": torch.rand(1)},
        {"model_state": {"s1.pathway0_stem.conv.weight": torch.rand(1)}},
    ],
)
def test_another_model_is_an_error_that_says_what_it_looks_like(checkpoint: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="not of a SlowFast model") as failure:
        convert(checkpoint)
    message = str(failure.value)
    inner = checkpoint.get("state_dict", checkpoint.get("model_state", checkpoint))
    tensors = [name for name, value in inner.items() if isinstance(value, Tensor)]
    assert (", ".join(tensors) or "no tensors") in message
    assert "Known layouts are" in message


def own_checkpoint(**changes: object) -> dict[str, Any]:
    name = "backbone.blocks.0.multipathway_blocks.0.conv.weight"
    return {
        "format": "acrn_zoo",
        "version": 1,
        "architecture": {"temporal_pool": "max", "depth": 50},
        "categories": ["a", "b"],
        "state_dict": {name: torch.rand(2)},
        **changes,
    }


def test_own_files_bring_their_architecture() -> None:
    converted = convert(own_checkpoint())
    assert converted.layout == "acrn_zoo"
    assert converted.architecture == {"temporal_pool": "max", "depth": 50}
    assert converted.categories == ("a", "b")
    assert converted.temporal_pool == "max"


def test_a_bare_state_dict_of_this_project_is_recognised() -> None:
    converted = convert(empty(detector_shapes()))
    assert converted.layout == "acrn_zoo"
    assert shapes_of(converted.state_dict) == detector_shapes()
    assert (converted.num_classes, converted.architecture, converted.categories) == (80, {}, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "format version 2, but this acrn_zoo reads only 1"),
        ({"version": None}, "format version None"),
        ({"architecture": None}, "lacks a proper architecture"),
        ({"categories": "abc"}, "lacks a proper categories"),
        ({"state_dict": None}, "lacks a proper state_dict"),
    ],
)
def test_an_own_file_that_is_newer_or_incomplete_is_an_error(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        convert(own_checkpoint(**changes))


def test_config_that_says_it_has_no_background_class() -> None:
    entries = {name: torch.zeros(shape) for name, shape in published_shapes(num_classes=5).items() if "fc_cls" in name}
    entries |= {
        "backbone.slow_path.conv1.conv.weight": torch.zeros(1),
        "backbone.fast_path.conv1.conv.weight": torch.zeros(1),
    }

    def classes(config: str) -> int | None:
        return convert({"meta": {"cfg": config}, "state_dict": entries}).num_classes

    assert classes("background_class=True, multilabel=True") == 4
    assert classes("background_class=False, multilabel=True") == 5
    with pytest.raises(CheckpointError, match="one action a person"):
        classes("background_class=False, multilabel=False")
