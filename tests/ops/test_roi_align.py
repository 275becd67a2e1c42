"""RoIAlign as two matrix products gives what TorchVision's gives, forwards and backwards."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from acrn_zoo.models.roi import RoIPooling
from acrn_zoo.ops import relation_reference, separable_roi_align


def a_scene(height: int = 7, width: int = 9) -> Tensor:
    return torch.randn(3, 5, height, width, dtype=torch.float64, requires_grad=True)


def random_rois(number: int, *, spread: float) -> Tensor:
    """Boxes in and around a clip of 144 x 112 pixels; the first have no length."""
    corners = torch.rand(number, 2, 2, dtype=torch.float64) * torch.tensor([144.0, 112.0])
    corners = (72 + (corners - 72) * spread).sort(dim=1).values
    corners[:10, 1] = corners[:10, 0]
    return torch.cat([torch.randint(3, (number, 1)), corners.flatten(1)], dim=1)


def theirs(scene: Tensor, rois: Tensor, bins: int) -> Tensor:
    return roi_align(scene, rois, bins, 1 / 16, sampling_ratio=0, aligned=True)


@pytest.mark.parametrize("spread", [0.05, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("bins", [1, 3, 8])
def test_values_and_gradients_are_those_of_torchvision(bins: int, spread: float) -> None:
    torch.manual_seed(0)
    scene, rois = a_scene(), random_rois(200, spread=spread)
    expected, found = theirs(scene, rois, bins), separable_roi_align(scene, rois, bins, 1 / 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    upstream = torch.randn_like(expected)
    (expected_gradient,) = torch.autograd.grad(expected, scene, upstream)
    (found_gradient,) = torch.autograd.grad(found, scene, upstream)
    torch.testing.assert_close(found_gradient, expected_gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 0.0, 0.0),
        (-8.0, -8.0, 152.0, 120.0),
        (144.0, 112.0, 160.0, 128.0),
        (-1000.0, 0.0, -900.0, 50.0),
        (20.0, 30.0, 20.0, 60.0),
    ],
    ids=["point", "whole", "touches", "far outside", "line"],
)
def test_boxes_at_and_over_the_border(box: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    scene, rois = a_scene(), torch.tensor([[1.0, *box]], dtype=torch.float64)
    torch.testing.assert_close(separable_roi_align(scene, rois, 8, 1 / 16), theirs(scene, rois, 8), rtol=0, atol=1e-12)


def test_no_rois() -> None:
    found = separable_roi_align(a_scene(), torch.zeros(0, 5, dtype=torch.float64), 8, 1 / 16)
    assert found.shape == (0, 5, 8, 8)
    found.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_sees_what_evaluation_sees(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    scene, rois = a_scene().to(dtype), random_rois(50, spread=1.0)
    pooling = RoIPooling()
    trained = pooling(scene, rois)
    with torch.no_grad():
        evaluated = pooling(scene, rois)
    assert trained.dtype == evaluated.dtype == dtype
    torch.testing.assert_close(trained, evaluated)


def test_mixed_precision_cuts_in_float32() -> None:
    torch.manual_seed(0)
    scene, rois = a_scene().float(), random_rois(50, spread=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = RoIPooling()(scene, rois)
    torch.testing.assert_close(found, theirs(scene, rois.float(), 8))


def test_gradients_are_the_same_each_time_with_several_threads() -> None:
    """Advanced indexing would add up the actors of a clip in whatever order the threads come."""
    torch.manual_seed(0)
    scene = torch.randn(14, 72, 16, 16, requires_grad=True)
    rois = torch.cat([torch.arange(14).repeat_interleave(4)[:, None], torch.rand(56, 4) * 100], dim=1)
    rois[:, 3:] += rois[:, 1:3]
    pair, context = nn.Conv3d(144, 16, 1), nn.Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1))
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        gradients: list[Tensor] = []
        for _ in range(30):
            actors = separable_roi_align(scene, rois, 8, 1 / 16).amax(dim=(-2, -1))
            features, _ = relation_reference(actors, scene, rois[:, 0].long(), pair, context)
            gradients += torch.autograd.grad(features.square().sum(), scene)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
