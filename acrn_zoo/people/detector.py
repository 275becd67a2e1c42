"""What a person detector is asked and may answer."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from acrn_zoo.boxes import boxes_outside, clip_boxes
from acrn_zoo.errors import UserError
from acrn_zoo.structures import Keyframe, invalid_boxes


class PeopleError(UserError, ValueError):
    """The boxes of people are not usable: a wrong file, a wrong value, a wrong answer of a detector."""


class PeopleDetector(Protocol):
    """Anything that finds the people of a frame: a function, a network, a file."""

    def __call__(self, frame: Tensor, keyframe: Keyframe, /) -> Tensor | np.ndarray | Sequence[Sequence[float]]:
        """Find the people.

        Args:
            frame: ``[H, W, 3]`` uint8 RGB, at the video's own size. Must not be written to.
            keyframe: the moment that the frame shows.

        Returns:
            ``[R, 5]``, xyxy in pixels of the frame and a score of 0 to 1, or ``[R, 4]`` without the score
            (taken as 1). R may be 0. A dense tensor of real numbers on any device, a NumPy array, or a list
            of rows (``[]`` for nobody).
        """


def find_people(detector: PeopleDetector, frame: Tensor, keyframe: Keyframe) -> tuple[Tensor, Tensor]:
    """Ask a detector for the people of one frame and check what it answers.

    Args:
        detector: the detector to ask.
        frame: ``[H, W, 3]`` uint8 RGB.
        keyframe: the moment that the frame shows.

    Returns:
        Boxes ``[R, 4]`` float32, xyxy in pixels, cut off at the border of the frame; scores ``[R]`` float32.
        Both on the CPU, in the detector's order.

    Raises:
        PeopleError: if the answer is not of the form that :class:`PeopleDetector` says, or a row of it is not
            finite, inverted, outside the frame, or has a score outside 0 to 1.
    """
    height, width = frame.shape[:2]
    moment = f"keyframe {keyframe.timestamp:.3f} s of {keyframe.video_id!r}"
    answer = detector(frame, keyframe)
    try:
        rows = _as_rows(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise PeopleError(
            f"The person detector returned a {type(answer).__name__} for {moment} that cannot be used ({error}); "
            "expected real numbers [R, 5] (x1, y1, x2, y2, score) or [R, 4]: a dense tensor, a NumPy array or a list"
        ) from error
    if rows.ndim != 2 or rows.shape[1] not in (4, 5):
        raise PeopleError(
            f"The person detector returned a {type(answer).__name__} of shape {tuple(rows.shape)} for {moment}; "
            "expected [R, 5] (x1, y1, x2, y2, score) or [R, 4], with R = 0 where there is nobody"
        )
    boxes, scores = rows[:, :4], rows[:, 4] if rows.shape[1] == 5 else torch.ones(len(rows))
    is_score = (scores >= 0) & (scores <= 1)
    for bad, expected in (
        (invalid_boxes(boxes), "finite numbers with x1 < x2 and y1 < y2"),
        (boxes_outside(boxes, (height, width)), f"a box at least partly in the frame ({width}x{height})"),
        (torch.nonzero(~is_score).flatten().tolist(), "a score of 0 to 1"),
    ):
        if bad:
            row = [round(value, 4) for value in rows[bad[0]].tolist()]
            raise PeopleError(f"Row {bad[0]} of the person detector for {moment} is {row}; expected {expected}")
    return clip_boxes(boxes, (height, width)), scores.clone()


def _as_rows(answer: object) -> Tensor:
    """A detector's answer as a float32 tensor on the CPU."""
    if isinstance(answer, list | tuple) and not answer:
        return torch.zeros(0, 4)
    # A copy, since torch takes neither negative strides nor, without a warning, memory that is read-only.
    rows = answer if isinstance(answer, Tensor) else torch.as_tensor(np.array(answer, order="C"))
    if rows.is_complex() or rows.is_meta or rows.is_nested or rows.layout != torch.strided:
        raise TypeError(f"it is {rows.dtype}, {rows.layout}, on {rows.device}")
    return rows.detach().to("cpu", torch.float32)
