"""The records that travel between rooms: the annotated moment, what a model sees of it, and what was found there."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Keyframe:
    """One moment of one video.

    Args:
        video_id: name of the video, as annotation files call it (the file name without its ending).
        timestamp: seconds from the first frame of the video.
    """

    video_id: str
    timestamp: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.timestamp):
            raise ValueError(f"timestamp of keyframe in {self.video_id!r} is {self.timestamp}, not a finite number")


@dataclass(frozen=True)
class Preprocessing:
    """What a model was trained to see of a video: which frames round a keyframe, and how large.

    The defaults are those of the models published for AVA.

    Args:
        clip_length: number of frames.
        frame_interval: seconds from one to the next.
        short_side: of the frames after resizing, in pixels.

    Raises:
        ValueError: if a value is not of its type, or not positive.
    """

    clip_length: int = 32
    frame_interval: float = 2 / 30
    short_side: int = 256

    def __post_init__(self) -> None:
        is_whole = type(self.clip_length) is int and type(self.short_side) is int
        is_number = type(self.frame_interval) in (int, float) and math.isfinite(self.frame_interval)
        if not (is_whole and is_number and min(self.clip_length, self.frame_interval, self.short_side) > 0):
            raise ValueError(f"{self}: expected positive numbers, whole ones of frames and pixels")


@dataclass(frozen=True, eq=False)
class Detections:
    """The people of one keyframe and what each of them does. All tensors are on the CPU.

    Args:
        keyframe: the moment.
        frame_size: height and width of the video's frames in pixels.
        boxes: ``[R, 4]`` float32, xyxy in pixels of the video's frames (not of the resized clip).
        person_scores: ``[R]`` float32, how sure the person detector was, 0 to 1.
        scores: ``[R, K]`` float32, the score of every action, 0 to 1 (sigmoid of the logits).
        categories: the names of the K actions; column ``k`` is the action with id ``k + 1``.

    Raises:
        ValueError: if shapes disagree, a box is not finite or inverted, or a score lies outside 0 to 1.
    """

    keyframe: Keyframe
    frame_size: tuple[int, int]
    boxes: Tensor
    person_scores: Tensor
    scores: Tensor
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        num_actors = len(self.boxes)
        expected = {
            "boxes": (num_actors, 4),
            "person_scores": (num_actors,),
            "scores": (num_actors, len(self.categories)),
        }
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"Detections.{name} has shape {tuple(getattr(self, name).shape)}, expected {shape}")
        if bad := invalid_boxes(self.boxes):
            raise ValueError(f"Detections.boxes[{bad[0]}] is {self.boxes[bad[0]].tolist()}, expected x1 < x2, y1 < y2")
        for name in ("person_scores", "scores"):
            values = getattr(self, name)
            if not bool(((values >= 0) & (values <= 1)).all()):
                raise ValueError(f"Detections.{name} must lie in 0 to 1")

    def __len__(self) -> int:
        return len(self.boxes)

    def top(self, number: int = 5, threshold: float = 0.0) -> list[list[tuple[int, float]]]:
        """The best actions of each actor, best first.

        Args:
            number: at most so many an actor.
            threshold: only actions whose score is above it.

        Returns:
            One list an actor, of ``(column, score)``; equal scores in the order of their columns.

        Raises:
            ValueError: if ``number`` is negative.
        """
        if number < 0:
            raise ValueError(f"number is {number}, expected 0 or more")
        best = []
        for row in self.scores:
            values, columns = torch.sort(row, descending=True, stable=True)
            pairs = zip(columns[:number].tolist(), values[:number].tolist(), strict=True)
            best.append([(column, score) for column, score in pairs if score > threshold])
        return best


def invalid_boxes(boxes: Tensor) -> list[int]:
    """Rows of ``boxes [R, 4]`` that are not finite, empty or inverted (``x2 <= x1`` or ``y2 <= y1``)."""
    is_valid = torch.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    return torch.nonzero(~is_valid).flatten().tolist()
