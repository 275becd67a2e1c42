"""Box arithmetic."""

import pytest
import torch

from acrn_zoo import boxes as b
from acrn_zoo.structures import invalid_boxes

BOXES = torch.tensor([[10.0, 20.0, 30.0, 60.0], [-5.0, 0.0, 400.0, 50.0]])


def test_scale_uses_the_ratio_of_each_axis() -> None:
    scaled = b.scale_boxes(BOXES, (100, 200), (50, 400))
    assert scaled.tolist() == [[20, 10, 60, 30], [-10, 0, 800, 25]]


def test_flip_twice_is_the_same() -> None:
    assert b.flip_boxes(BOXES, 200).tolist()[0] == [170, 20, 190, 60]
    assert torch.equal(b.flip_boxes(b.flip_boxes(BOXES, 200), 200), BOXES)


def test_clip_cuts_at_the_border_and_copies() -> None:
    before = BOXES.clone()
    assert b.clip_boxes(BOXES, (40, 200)).tolist() == [[10, 20, 30, 40], [0, 0, 200, 40]]
    assert torch.equal(BOXES, before)


@pytest.mark.parametrize(
    ("box", "is_bad"),
    [
        ((0, 0, 1, 1), False),
        ((1, 0, 1, 1), True),
        ((2, 0, 1, 1), True),
        ((0, 3, 1, 2), True),
        ((float("nan"), 0, 1, 1), True),
        ((0, 0, float("inf"), 1), True),
    ],
)
def test_invalid_boxes(box: tuple[float, ...], is_bad: bool) -> None:
    assert invalid_boxes(torch.tensor([(0.0, 0.0, 5.0, 5.0), box])) == ([1] if is_bad else [])


@pytest.mark.parametrize(
    ("box", "is_outside"),
    [((-5, 5, 1, 9), False), ((-5, 5, 0, 9), True), ((20, 0, 30, 5), True), ((0, 10, 5, 12), True)],
)
def test_boxes_outside(box: tuple[float, ...], is_outside: bool) -> None:
    assert b.boxes_outside(torch.tensor([box], dtype=torch.float32), (10, 20)) == ([0] if is_outside else [])


def test_rois_carry_the_clip_and_stay_precise() -> None:
    rois = b.boxes_to_rois([BOXES[:1].bfloat16(), torch.zeros(0, 4).bfloat16(), BOXES.bfloat16()])
    assert rois.dtype == torch.float32
    assert rois[:, 0].tolist() == [0, 2, 2]
    assert b.boxes_to_rois([BOXES.double()]).dtype == torch.float64
