"""What person detectors may answer."""

from unittest import mock

import numpy as np
import pytest
import torch

from acrn_zoo.errors import UserError
from acrn_zoo.people.detector import PeopleDetector, PeopleError, find_people
from acrn_zoo.structures import Keyframe

FRAME = torch.zeros(100, 200, 3, dtype=torch.uint8)
KEYFRAME = Keyframe("film", 2.0)


def answering(answer: object) -> PeopleDetector:
    return lambda _frame, _keyframe: answer  # type: ignore[return-value]


def test_find_people_cuts_boxes_at_the_border() -> None:
    answer = torch.tensor([[-5.0, -5, 50, 50, 0.5], [150, 50, 300, 300, 1.0]], dtype=torch.float64)
    kept = answer.clone()
    boxes, scores = find_people(answering(answer), FRAME, KEYFRAME)
    assert boxes.tolist() == [[0, 0, 50, 50], [150, 50, 200, 100]]
    assert scores.tolist() == [0.5, 1.0]
    assert boxes.dtype == scores.dtype == torch.float32
    assert torch.equal(answer, kept)


def test_find_people_asks_with_frame_and_keyframe() -> None:
    detector = mock.Mock(return_value=torch.zeros(0, 5))
    find_people(detector, FRAME, KEYFRAME)
    detector.assert_called_once_with(FRAME, KEYFRAME)


@pytest.mark.parametrize("answer", [torch.zeros(0, 4), torch.zeros(0, 5), [], np.zeros((0, 5))])
def test_find_people_of_an_empty_frame(answer: object) -> None:
    boxes, scores = find_people(answering(answer), FRAME, KEYFRAME)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_find_people_without_scores() -> None:
    boxes, scores = find_people(answering(torch.tensor([[1, 2, 3, 4]])), FRAME, KEYFRAME)
    assert boxes.tolist() == [[1, 2, 3, 4]]
    assert scores.tolist() == [1]


@pytest.mark.parametrize(
    "answer",
    [
        [[1, 2, 30, 40, 0.5], [5, 6, 70, 80, 1]],
        ((1, 2, 30, 40, 0.5), (5, 6, 70, 80, 1)),
        [np.array([1, 2, 30, 40, 0.5]), np.array([5, 6, 70, 80, 1])],
        np.array([[1, 2, 30, 40, 0.5], [5, 6, 70, 80, 1]]),
        np.array([[5, 6, 70, 80, 1], [1, 2, 30, 40, 0.5]])[::-1],
        np.frombuffer(np.array([1, 2, 30, 40, 0.5, 5, 6, 70, 80, 1]).tobytes()).reshape(2, 5),  # read-only
    ],
)
def test_find_people_takes_arrays_and_lists(answer: object) -> None:
    boxes, scores = find_people(answering(answer), FRAME, KEYFRAME)
    assert boxes.tolist() == [[1, 2, 30, 40], [5, 6, 70, 80]]
    assert scores.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "returned a NoneType .* cannot be used"),
        ("boxes", "returned a str .* cannot be used"),
        ([[1, 2, 3, 4], [5]], "returned a list .* cannot be used"),
        ([[1, 2, 3, 10**400]], "returned a list .* cannot be used"),
        (np.array([[1, 2, 3, 4j]]), "returned a ndarray .* cannot be used .*complex128"),
        (torch.ones(1, 4, dtype=torch.complex64), "returned a Tensor .* cannot be used .*complex64"),
        (torch.ones(1, 4, device="meta"), "returned a Tensor .* cannot be used .*meta"),
        (torch.ones(1, 4).to_sparse(), "returned a Tensor .* cannot be used .*sparse"),
        ([1, 2, 3, 4], r"returned a list of shape \(4,\)"),
        (torch.zeros(0), r"shape \(0,\)"),
        (torch.ones(1, 6), r"shape \(1, 6\)"),
        (torch.ones(1, 1, 4), r"shape \(1, 1, 4\)"),
        (torch.tensor([[0.0, 0, 9, 9], [0, 0, float("nan"), 9]]), r"Row 1 .*nan.*finite"),
        (torch.tensor([[0.0, 0, float("inf"), 9]]), "Row 0 .*inf.*finite"),
        (torch.tensor([[9.0, 0, 5, 9]]), r"Row 0 .*\[9.0, 0.0, 5.0, 9.0\].*x1 < x2"),
        (torch.tensor([[5.0, 3, 9, 3]]), "y1 < y2"),
        (torch.tensor([[200.0, 0, 210, 9]]), r"in the frame \(200x100\)"),
        (torch.tensor([[0.0, -9, 9, 0]]), r"in the frame \(200x100\)"),
        (torch.tensor([[0.0, 0, 9, 9, 1.5]]), "1.5.*score of 0 to 1"),
        (torch.tensor([[0.0, 0, 9, 9, float("nan")]]), "score of 0 to 1"),
    ],
)
def test_find_people_refuses(answer: object, message: str) -> None:
    with pytest.raises(PeopleError, match=message) as caught:
        find_people(answering(answer), FRAME, KEYFRAME)
    assert "keyframe 2.000 s of 'film'" in str(caught.value)
    assert isinstance(caught.value, (UserError, ValueError))
