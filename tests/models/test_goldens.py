"""The model is numerically the published one: its outputs, features and gradients on the golden weights and clips."""

import copy
import hashlib
from collections.abc import Iterator

import numpy as np
import published_model
import pytest
import torch
from torch import Tensor, nn

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.checkpoints import load_into
from acrn_zoo.conversion import convert
from acrn_zoo.models import ActionDetector, SlowFast, action_loss
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.zoo import create_slowfast_detector

FEATURES = {
    "slow_path.stem": "backbone.blocks.0.multipathway_blocks.0",
    "fast_path.stem": "backbone.blocks.0.multipathway_blocks.1",
    "slow_path.conv1_lateral": "backbone.blocks.0.multipathway_fusion.conv_fast_to_slow",
    "slow_path.layer1_lateral": "backbone.blocks.1.multipathway_fusion.conv_fast_to_slow",
    "slow_path.layer2_lateral": "backbone.blocks.2.multipathway_fusion.conv_fast_to_slow",
    "slow_path.layer3_lateral": "backbone.blocks.3.multipathway_fusion.conv_fast_to_slow",
    "slow_path.layer1": "backbone.blocks.1.multipathway_blocks.0",
    "slow_path.layer2": "backbone.blocks.2.multipathway_blocks.0",
    "slow_path.layer3": "backbone.blocks.3.multipathway_blocks.0",
    "slow": "backbone.blocks.4.multipathway_blocks.0",
    "fast_path.layer1": "backbone.blocks.1.multipathway_blocks.1",
    "fast_path.layer2": "backbone.blocks.2.multipathway_blocks.1",
    "fast_path.layer3": "backbone.blocks.3.multipathway_blocks.1",
    "fast": "backbone.blocks.4.multipathway_blocks.1",
    "global_feat": "backbone",
    "roi_feat": "head.roi",
    "acrn.conv1": "head.relation.pair",
    "acrn_out": "head.relation.context",
}
CASES = ["A", "B", pytest.param("C", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def detector(published_state_dict: dict[str, Tensor]) -> ActionDetector:
    model = create_slowfast_detector(SlowFastArchitecture())
    load_into(model, convert(published_state_dict).state_dict, source="golden weights")
    return model.eval()


@pytest.fixture(scope="module")
def precise_detector(detector: ActionDetector) -> ActionDetector:
    return copy.deepcopy(detector).double()


def golden_case(case: str, dtype: torch.dtype) -> tuple[dict[str, np.ndarray], Tensor, list[Tensor]]:
    golden = dict(np.load(published_model.GOLDENS / f"case_{case}.npz"))
    length, height, width, num_clips = (int(golden[name]) for name in ("T", "H", "W", "n_clips"))
    clips = [published_model.golden_clip(case, index, length, height, width) for index in range(num_clips)]
    rois = torch.from_numpy(golden["rois"]).to(dtype)
    boxes = [rois[rois[:, 0] == index, 1:] for index in range(num_clips)]
    return golden, torch.stack(clips).to(dtype), boxes


def record_features(model: nn.Module) -> tuple[dict[str, Tensor], list[torch.utils.hooks.RemovableHandle]]:
    recorded: dict[str, Tensor] = {}
    modules = dict(model.named_modules())

    def recorder(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            recorded[name] = output.detach().clone()

        return hook

    handles = [modules[path].register_forward_hook(recorder(name)) for name, path in FEATURES.items()]
    return recorded, handles


@pytest.fixture(params=["avg", "max"])
def temporal_pool(
    request: pytest.FixtureRequest, detector: ActionDetector, precise_detector: ActionDetector
) -> Iterator[str]:
    for model in (detector, precise_detector):
        set_pool(model, request.param)
    yield request.param
    for model in (detector, precise_detector):
        set_pool(model, "avg")


def set_pool(model: ActionDetector, how: TemporalPool) -> None:
    assert isinstance(model.backbone, SlowFast)
    model.backbone.temporal_pool = how


def test_rule_is_the_golden_rule(published_state_dict: dict[str, Tensor]) -> None:
    digest = hashlib.sha256()
    for key in sorted(published_state_dict):
        digest.update(published_state_dict[key].numpy().tobytes())
    clip = published_model.golden_clip("A", 0, 32, 64, 64)
    assert digest.hexdigest() == published_model.WEIGHTS_CHECKSUM
    assert hashlib.sha256(clip.numpy().tobytes()).hexdigest() == published_model.CLIP_CHECKSUM


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_logits(
    case: str,
    dtype: torch.dtype,
    temporal_pool: str,
    detector: ActionDetector,
    precise_detector: ActionDetector,
) -> None:
    golden, clips, boxes = golden_case(case, dtype)
    model = precise_detector if dtype == torch.float64 else detector
    with torch.inference_mode():
        logits = model(clips, boxes).double().numpy()
    expected = golden["logits" if temporal_pool == "avg" else "logits_tmax"][:, 1:]
    assert np.abs(logits - expected).max() < (1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_features(case: str, dtype: torch.dtype, detector: ActionDetector, precise_detector: ActionDetector) -> None:
    golden, clips, boxes = golden_case(case, dtype)
    model = precise_detector if dtype == torch.float64 else detector
    recorded, handles = record_features(model)
    with torch.inference_mode():
        model(clips, boxes)
    for handle in handles:
        handle.remove()
    errors = {}
    for name, features in recorded.items():
        assert features.numel() == np.prod(golden[f"{name}/shape"]), name
        values = features.flatten()[torch.from_numpy(golden[f"{name}/idx"])].double().numpy()
        errors[name] = np.abs(values - golden[f"{name}/val"]).max()
    assert set(errors) == set(FEATURES)
    assert max(errors.values()) < (1e-9 if dtype == torch.float64 else 2e-4), errors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_loss_and_gradients(
    dtype: torch.dtype,
    published_state_dict: dict[str, Tensor],
    detector: ActionDetector,
    precise_detector: ActionDetector,
) -> None:
    golden = dict(np.load(published_model.GOLDENS / "grad_A.npz"))
    model = copy.deepcopy(precise_detector if dtype == torch.float64 else detector)
    _, clips, _ = golden_case("A", dtype)
    boxes = [torch.from_numpy(golden["rois"][:, 1:]).to(dtype)]
    labels = torch.from_numpy(golden["labels"][:, 1:])
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4

    logits = model(clips, boxes)
    loss = action_loss(logits, labels)
    loss.backward()

    assert loss.item() == pytest.approx(float(golden["loss"]), rel=tolerance)
    focal = action_loss(logits.detach(), labels, alpha=3, gamma=1)
    assert focal.item() == pytest.approx(float(golden["loss_focal_alpha3_gamma1"]), rel=tolerance)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    norms = [gradient.double().norm() for gradient in gradients.values() if gradient is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(float(golden["grad_total_norm"]), rel=1e-4)
    ours = our_names(published_state_dict)
    for key, norm in zip(golden["grad_names"].tolist(), golden["grad_norms"].tolist(), strict=True):
        gradient = gradients[ours[key]]
        assert gradient is not None
        gradient = gradient.detach().double()
        if key.startswith("roi_head.bbox_head"):  # the golden one has the background row, whose gradient is 0
            gradient = torch.cat([torch.zeros_like(gradient[:1]), gradient])
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-4), key
        values = gradient.flatten()[torch.from_numpy(golden[f"grad/{key}/idx"])].numpy()
        assert np.abs(values - golden[f"grad/{key}/val"]).max() <= 1e-4 * norm, key


def our_names(weights: dict[str, Tensor]) -> dict[str, str]:
    """Our name of each entry of MMAction2: conversion renames tensors and does not copy them."""
    ours = {tensor.untyped_storage().data_ptr(): name for name, tensor in convert(weights).state_dict.items()}
    return {name: ours[tensor.untyped_storage().data_ptr()] for name, tensor in weights.items()}
