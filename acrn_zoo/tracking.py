"""Boxes linked over time: tubes (tubelets), and ids for the people of a video.

The rule of :func:`link_boxes` is the usual one of online action detection (ROAD, Singh et al. 2017; ACT, Kalogeiton
et al. 2017), stated exactly there. Boxes are xyxy in any unit; an IoU adds nothing to widths and heights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tubes:
    """Tubes of many videos and classes, each a box in every frame from its first to its last.

    Args:
        group: ``[T]`` what each tube belongs to: a number for its video, or its video and class.
        score: ``[T]`` float64.
        first_frame: ``[T]`` the number of its first frame.
        num_frames: ``[T]`` its length, 1 or more.
        boxes: ``[sum of num_frames, 4]`` float64 xyxy, tube after tube, frame after frame.

    Raises:
        ValueError: if the lengths disagree, or a tube is empty.
    """

    group: Integers
    score: Floats
    first_frame: Integers
    num_frames: Integers
    boxes: Floats

    def __post_init__(self) -> None:
        lengths = {len(self.group), len(self.score), len(self.first_frame), len(self.num_frames)}
        if len(lengths) != 1:
            raise ValueError(f"the columns of Tubes have different lengths: {sorted(lengths)}")
        if (self.num_frames < 1).any() or self.boxes.shape != (self.num_frames.sum(), 4):
            raise ValueError(f"Tubes.boxes has shape {self.boxes.shape}, expected ({self.num_frames.sum()}, 4)")

    def __len__(self) -> int:
        return len(self.group)

    @property
    def start(self) -> Integers:
        """``[T]`` the row of ``boxes`` at which each tube begins."""
        return np.cumsum(self.num_frames) - self.num_frames

    @property
    def frames(self) -> Integers:
        """The number of the frame of every row of ``boxes``."""
        return ranges(self.first_frame, self.num_frames)

    def take(self, index: Integers) -> "Tubes":
        """The tubes of these numbers, in this order."""
        return Tubes(
            group=self.group[index],
            score=self.score[index],
            first_frame=self.first_frame[index],
            num_frames=self.num_frames[index],
            boxes=self.boxes[ranges(self.start[index], self.num_frames[index])],
        )


def link_boxes(
    frames: npt.ArrayLike,
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike | None = None,
    *,
    groups: npt.ArrayLike | None = None,
    min_iou: float = 0.5,
    max_gap: int = 0,
) -> Integers:
    """Give boxes of one person in successive frames the same id.

    Frame by frame: the open tubes of a group take turns, the one with the highest mean score first (of equal ones
    the oldest). Each takes, of the boxes that are left and overlap its last box by ``min_iou`` or more, the one
    with the highest score; of equal scores the one with the largest overlap; of equal overlaps the first given.
    A box that no tube takes opens a new one. A tube that found no box for more than ``max_gap`` frames is closed.

    The time grows with the number of boxes and of frames; groups are worked on side by side.

    Args:
        frames: ``[N]`` the number of the frame of each box, in any order.
        boxes: ``[N, 4]`` xyxy.
        scores: ``[N]``; without them the overlap decides, which suits people whose ids are wanted.
        groups: ``[N]`` whole numbers: boxes are linked only within a group (a video, or a video and a class). One
            group if None.
        min_iou: the smallest overlap of a box and its successor.
        max_gap: how many frames in a row may be without a box.

    Returns:
        ``[N]`` the id of each box, from 0 on in the order in which tubes open: by frame, then as given.

    Raises:
        ValueError: if shapes disagree or ``max_gap`` is negative.
    """
    frame, box, score, group = _columns(frames, boxes, scores, groups)
    if max_gap < 0:
        raise ValueError(f"max_gap is {max_gap}, expected 0 or more")
    order = np.argsort(frame, kind="stable")
    starts = np.flatnonzero(np.diff(frame[order], prepend=np.nan))
    ids = np.full(len(frame), -1, dtype=np.int64)
    total, count = np.zeros(len(frame)), np.zeros(len(frame), dtype=np.int64)  # of each tube, by id
    last = np.zeros(len(frame), dtype=np.int64)  # row of its last box
    is_open = np.zeros(0, dtype=np.int64)  # ids
    num_tubes = 0
    for rows in np.split(order, starts[1:]):
        is_open = is_open[frame[last[is_open]] >= frame[rows[:1]] - 1 - max_gap]
        ranked = is_open[np.argsort(-total[is_open] / count[is_open], kind="stable")]
        tube, taken = _assign(group, box, score, last[ranked], rows, min_iou)
        ids[taken] = ranked[tube]
        new = rows[ids[rows] < 0]
        ids[new] = np.arange(num_tubes, num_tubes + len(new))
        num_tubes += len(new)
        last[ids[rows]] = rows
        total[ids[rows]] += score[rows]
        count[ids[rows]] += 1
        is_open = np.concatenate([is_open, ids[new]])
    return ids


def build_tubes(
    ids: npt.ArrayLike,
    frames: npt.ArrayLike,
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    min_length: int = 1,
) -> Tubes:
    """Tubes of the boxes that have the same id.

    In frames between its first and last where a tube has no box, the box moves in a straight line from the one
    before to the one after. The score of a tube is the mean of the scores of the boxes it was given.

    Args:
        ids: ``[N]``, as :func:`link_boxes` gives them.
        frames: ``[N]`` the number of the frame of each box.
        boxes: ``[N, 4]`` xyxy.
        scores: ``[N]``.
        groups: ``[N]``; all 0 if None.
        min_length: tubes of fewer frames from first to last are left out.

    Returns:
        The tubes in ascending order of their ids.

    Raises:
        ValueError: if shapes disagree, or an id stands for two boxes of a frame or for two groups.
    """
    frame, box, score, group = _columns(frames, boxes, scores, groups)
    identity = np.asarray(ids, dtype=np.int64)
    if identity.shape != frame.shape:
        raise ValueError(f"ids has shape {identity.shape}, expected {frame.shape}")
    order = np.lexsort((frame, identity))
    identity, frame, box, score, group = identity[order], frame[order], box[order], score[order], group[order]
    starts = np.flatnonzero(np.diff(identity, prepend=np.nan))
    is_same = identity[1:] == identity[:-1]
    if (is_same & ((frame[1:] == frame[:-1]) | (group[1:] != group[:-1]))).any():
        raise ValueError("an id stands for two boxes of one frame, or for boxes of two groups")
    steps = np.ones(len(frame), dtype=np.int64)  # frames up to the next box of the tube
    steps[:-1][is_same] = np.diff(frame)[is_same]
    counts = np.diff(np.append(starts, len(frame)))
    ends = starts + counts - 1
    tubes = Tubes(
        group=group[starts],
        score=np.add.reduceat(score, starts) / counts if len(starts) else score,
        first_frame=frame[starts],
        num_frames=frame[ends] - frame[starts] + 1,
        boxes=_interpolate(box, steps),
    )
    return tubes.take(np.flatnonzero(tubes.num_frames >= min_length))


def join_tubes(groups: npt.ArrayLike, scores: npt.ArrayLike, arrays: Sequence[npt.ArrayLike]) -> Tubes:
    """Tubes in the form in which most programs of this field keep them.

    Args:
        groups: ``[T]``.
        scores: ``[T]``.
        arrays: for each tube ``[n, 5]``: frame, x1, y1, x2, y2.

    Raises:
        ValueError: naming the tube and the frame, if it is empty or its frames do not follow one another.
    """
    tables = [np.asarray(array, dtype=np.float64) for array in arrays]
    for number, table in enumerate(tables):
        if table.ndim != 2 or table.shape[1] != 5 or not len(table):
            raise ValueError(f"tube {number} has shape {table.shape}, expected (frames, 5)")
        frames, first = table[:, 0], table[0, 0]
        if not np.isfinite(first) or first != np.floor(first):
            raise ValueError(f"tube {number} begins with frame {first}, expected a whole number")
        (wrong,) = np.nonzero(frames != first + np.arange(len(frames)))
        if len(wrong):
            raise ValueError(
                f"tube {number}: frame {frames[wrong[0]]:g} follows {frames[wrong[0] - 1]:g}, expected a box in every "
                "frame from its first to its last"
            )
    joined = np.concatenate(tables) if tables else np.zeros((0, 5))
    return Tubes(
        group=np.asarray(groups, dtype=np.int64).reshape(-1),
        score=np.asarray(scores, dtype=np.float64).reshape(-1),
        first_frame=np.array([table[0, 0] for table in tables], dtype=np.int64),
        num_frames=np.array([len(table) for table in tables], dtype=np.int64),
        boxes=joined[:, 1:],
    )


def ranges(starts: Integers, lengths: Integers) -> Integers:
    """``starts[0], starts[0] + 1, ...`` up to ``lengths[0]`` numbers, then the same for the next, in one array."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())


def pairs(groups: Integers, other_groups: Integers) -> tuple[Integers, Integers]:
    """All pairs of rows of the same group.

    Args:
        groups: ``[N]``.
        other_groups: ``[M]``.

    Returns:
        ``[P]`` rows of the first and ``[P]`` rows of the second, ordered by the first, then by the second.
    """
    order = np.argsort(other_groups, kind="stable")
    sorted_groups = other_groups[order]
    begins = np.searchsorted(sorted_groups, groups, side="left")
    counts = np.searchsorted(sorted_groups, groups, side="right") - begins
    return np.repeat(np.arange(len(groups)), counts), order[ranges(begins, counts)]


def take_turns(groups: Integers, first: Integers, second: Integers) -> tuple[Integers, Integers]:
    """Pair off: within each group the earliest pair wins, and what is in it leaves all later pairs.

    Args:
        groups: ``[P]`` the group of each pair.
        first: ``[P]`` what wants: in the order in which they may choose.
        second: ``[P]`` what it wants: in the order in which it would choose.

    Returns:
        ``first`` and ``second`` of the pairs that won.
    """
    won_first, won_second = [first[:0]], [second[:0]]
    while len(first):
        _, winners = np.unique(groups, return_index=True)
        won_first.append(first[winners])
        won_second.append(second[winners])
        is_left = ~(np.isin(first, first[winners]) | np.isin(second, second[winners]))
        groups, first, second = groups[is_left], first[is_left], second[is_left]
    return np.concatenate(won_first), np.concatenate(won_second)


def paired_iou(boxes: Floats, other: Floats, border: float = 0.0) -> Floats:
    """Intersection over union of ``boxes [..., 4]`` with ``other [..., 4]``, box by box.

    Args:
        boxes: xyxy.
        other: xyxy.
        border: added to widths and heights: 1 where x2 and y2 name the last pixel inside.

    Returns:
        ``[...]``; 0 where both boxes are empty.
    """
    sides = np.minimum(boxes[..., 2:] + border, other[..., 2:] + border) - np.maximum(boxes[..., :2], other[..., :2])
    sides = np.maximum(0, sides)
    intersection = sides[..., 0] * sides[..., 1]
    union = _area(boxes, border) + _area(other, border) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union != 0)


def _area(boxes: Floats, border: float) -> Floats:
    return (boxes[..., 2] - boxes[..., 0] + border) * (boxes[..., 3] - boxes[..., 1] + border)


def _columns(
    frames: npt.ArrayLike, boxes: npt.ArrayLike, scores: npt.ArrayLike | None, groups: npt.ArrayLike | None
) -> tuple[Integers, Floats, Floats, Integers]:
    frame = np.asarray(frames, dtype=np.int64)
    box = np.asarray(boxes, dtype=np.float64)
    score = np.zeros(len(frame)) if scores is None else np.asarray(scores, dtype=np.float64)
    group = np.zeros(len(frame), dtype=np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    for name, array, shape in (
        ("boxes", box, (len(frame), 4)),
        ("scores", score, frame.shape),
        ("groups", group, frame.shape),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return frame, box, score, group


def _assign(
    group: Integers, box: Floats, score: Floats, last: Integers, rows: Integers, min_iou: float
) -> tuple[Integers, Integers]:
    """Which tube (a number in ``last``, the rows of their last boxes by turn) takes which of the new rows."""
    tube, position = pairs(group[last], group[rows])
    row = rows[position]
    overlap = paired_iou(box[last[tube]], box[row])
    (near,) = np.nonzero(overlap >= min_iou)
    order = near[np.lexsort((-overlap[near], -score[row[near]], tube[near]))]
    tube, row = tube[order], row[order]
    return take_turns(group[row], tube, row)


def _interpolate(boxes: Floats, steps: Integers) -> Floats:
    """Each box and, on the way to the next one, ``steps - 1`` boxes between."""
    origin = np.repeat(np.arange(len(boxes)), steps)
    share = (ranges(np.zeros_like(steps), steps) / np.repeat(steps, steps))[:, None]
    following = np.minimum(origin + 1, len(boxes) - 1)
    # A share of 0 gives the box itself, bit for bit; the last box of a tube has no other.
    return boxes[origin] * (1 - share) + boxes[following] * share
