"""The records refuse what cannot be."""

from typing import Any

import pytest
import torch
from torch import Tensor

from acrn_zoo.structures import Detections, Keyframe, Preprocessing

BOXES = torch.tensor([[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 9.0, 9.0]])
SCORES = torch.tensor([[0.2, 0.9, 0.9], [0.1, 0.0, 0.3]])


def detections(boxes: Tensor = BOXES, person_scores: Tensor | None = None, scores: Tensor = SCORES) -> Detections:
    persons = torch.ones(len(boxes)) if person_scores is None else person_scores
    return Detections(Keyframe("video", 1.0), (50, 60), boxes, persons, scores, ("run", "sit", "wave"))


def test_top_is_best_first_and_ties_by_column() -> None:
    best = detections().top(2, threshold=0.15)
    assert [[column for column, _ in row] for row in best] == [[1, 2], [2]]
    assert best[0][0][1] == pytest.approx(0.9)
    assert detections().top(0) == [[], []]
    with pytest.raises(ValueError, match="number is -1"):
        detections().top(-1)


def test_nobody() -> None:
    empty = detections(torch.zeros(0, 4), scores=torch.zeros(0, 3))
    assert len(empty) == 0
    assert empty.top() == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"scores": torch.zeros(2, 4)}, r"scores has shape \(2, 4\), expected \(2, 3\)"),
        ({"person_scores": torch.ones(3)}, "person_scores has shape"),
        ({"boxes": torch.zeros(2, 5)}, r"boxes has shape \(2, 5\)"),
        ({"boxes": torch.tensor([[1.0, 2, 30, 40], [9, 5, 5, 9]])}, r"boxes\[1\] is \[9.0, 5.0, 5.0, 9.0\]"),
        ({"scores": SCORES + 0.2}, "scores must lie in 0 to 1"),
        ({"person_scores": torch.tensor([0.5, float("nan")])}, "person_scores must lie"),
    ],
)
def test_bad_detections(parts: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detections(**parts)


@pytest.mark.parametrize("timestamp", [float("nan"), float("inf")])
def test_keyframe_is_a_moment(timestamp: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        Keyframe("video", timestamp)


@pytest.mark.parametrize(
    "clips",
    [
        {"clip_length": 0},
        {"clip_length": 8.0},
        {"clip_length": True},
        {"frame_interval": 0.0},
        {"frame_interval": float("inf")},
        {"frame_interval": "0.1"},
        {"short_side": -1},
        {"short_side": None},
    ],
    ids=str,
)
def test_clips_that_nobody_can_make(clips: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected positive numbers"):
        Preprocessing(**clips)
