"""AP of boxes in single frames and of tubes, as J-HMDB and UCF101-24 are measured: pure functions of arrays.

Two published rules are in use, and their numbers differ by up to some points on the same file:

``act``
    That of ACT (Kalogeiton et al., ICCV 2017), also in MOC and most tables for J-HMDB. A box's x2 and y2 name the
    last pixel inside, so widths, heights and durations are one more than the difference. A detection takes the
    ground truth that it overlaps most among those **not yet taken**. Before video-mAP, tubes of one video and
    class that overlap a better one by more than 0.3 are removed. AP is the area under straight lines through the
    points (recall, precision), from (0, 1) on, in float32. A class without ground truth has AP 0, which counts.
``hit``
    That of MultiSports and HIT (Faure et al., WACV 2023). Sizes are plain differences. A detection may take only
    the ground truth that it overlaps most of **all**; if that is taken, it is a false positive. No tubes are
    removed. AP is the area under the envelope of precision (VOC 2010). A class without ground truth is left out.

Both: detections are ranked by score; of equal scores the one in the earlier video (in the order of the split) comes
first, then the one given first, except that ACT's removal of tubes prefers the one given last. The overlap of two
tubes is the mean IoU of their boxes in the frames that both have, times the share of those frames in all that
either has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from acrn_zoo.evaluation.average_precision import average_precision, precision_and_recall
from acrn_zoo.tracking import Floats, Integers, Tubes, paired_iou, pairs, take_turns

FRAME_THRESHOLD = 0.5

RuleName = Literal["act", "hit"]
_MAX_ROWS = 2**18  # boxes compared at once


@dataclass(frozen=True, eq=False)
class FrameDetections:
    """Boxes found in single frames.

    Args:
        group: ``[N]`` video and class in one number, ``video * num_classes + column``.
        frame: ``[N]``, 0 or more.
        score: ``[N]``.
        boxes: ``[N, 4]`` xyxy in pixels.
    """

    group: Integers
    frame: Integers
    score: Floats
    boxes: Floats


@dataclass(frozen=True)
class Rule:
    """What the published evaluators do differently.

    Args:
        border: added to widths, heights and durations.
        match: of candidate pairs, sorted by detection and falling overlap, the detections that are right.
        max_overlap: tubes that overlap a better one by more are removed; None removes none.
        average_precision: from ``[N]`` whether each detection is right, best first, and the number of truths.
        absent: the AP of a class without ground truth; NaN leaves it out of the mean.
    """

    border: float
    match: Callable[[Integers, Integers, Integers], Integers]
    max_overlap: float | None
    average_precision: Callable[[npt.NDArray[np.bool_], int], float]
    absent: float


def match_free(groups: Integers, found: Integers, truths: Integers) -> Integers:
    """Right detections if each takes the largest overlap among the ground truth that is not yet taken.

    Args:
        groups: ``[P]`` the frame or video (and class) of each pair.
        found: ``[P]`` the rank of its detection, ascending.
        truths: ``[P]`` its ground truth; for one detection by falling overlap.

    Returns:
        Ranks of the detections that are right.
    """
    return take_turns(groups, found, truths)[0]


def match_best(_groups: Integers, found: Integers, truths: Integers) -> Integers:
    """Right detections if each may only take the largest overlap of all; arguments as for :func:`match_free`."""
    _, first = np.unique(found, return_index=True)
    _, earliest = np.unique(truths[first], return_index=True)
    return found[first][earliest]


def trapezoid_area(is_right: npt.NDArray[np.bool_], num_truths: int) -> float:
    """Area under the straight lines through (recall, precision) from (0, 1) on, in float32 as ACT computes it."""
    points = precision_and_recall(is_right, num_truths)
    precision, recall = (
        np.append(start, values).astype(np.float32) for start, values in zip((1, 0), points, strict=True)
    )
    return float(np.sum((recall[1:] - recall[:-1]) * (precision[1:] + precision[:-1]) * np.float32(0.5)))


RULES: Mapping[RuleName, Rule] = {
    "act": Rule(1.0, match_free, 0.3, trapezoid_area, absent=0.0),
    "hit": Rule(0.0, match_best, None, average_precision, absent=float("nan")),
}


def frame_average_precision(
    truth: Tubes, found: FrameDetections, num_classes: int, *, threshold: float = FRAME_THRESHOLD, rule: Rule
) -> Floats:
    """AP of boxes in single frames.

    Args:
        truth: the ground truth; groups as in ``found``, scores are not used.
        found: detections.
        num_classes: how many classes a group number counts.
        threshold: the smallest IoU of a right box.
        rule: one of :data:`RULES`.

    Returns:
        ``[num_classes]`` float64, 0 to 1, or ``rule.absent``.
    """
    order = np.lexsort((found.group, -found.score))
    frames = truth.frames
    span = max(found.frame.max(initial=0), frames.max(initial=0)) + 1
    found_key = (found.group * span + found.frame)[order]
    truth_key = np.repeat(truth.group, truth.num_frames) * span + frames
    rank, row = pairs(found_key, truth_key)
    overlap = paired_iou(truth.boxes[row], found.boxes[order][rank], rule.border)
    is_right = _right(found_key, rank, row, overlap, threshold, rule)
    num_truths = np.bincount(np.repeat(truth.group, truth.num_frames) % num_classes, minlength=num_classes)
    return _average_precisions(found.group[order] % num_classes, is_right, num_truths, rule)


def video_average_precision(
    truth: Tubes, found: Tubes, num_classes: int, *, thresholds: Sequence[float], rule: Rule
) -> Floats:
    """AP of tubes.

    Args:
        truth: the ground truth; groups are ``video * num_classes + column``, scores are not used.
        found: the tubes found, grouped likewise.
        num_classes: how many classes a group number counts.
        thresholds: smallest overlaps of a right tube, one result each.
        rule: one of :data:`RULES`.

    Returns:
        ``[len(thresholds), num_classes]`` float64, 0 to 1, or ``rule.absent``.
    """
    if rule.max_overlap is not None:
        found = remove_overlapping(found, rule.max_overlap, rule.border)
    found = found.take(np.lexsort((found.group, -found.score)))
    rank, row = pairs(found.group, truth.group)
    overlap = tube_iou(truth, row, found, rank, rule.border)
    num_truths = np.bincount(truth.group % num_classes, minlength=num_classes)
    results = []
    for threshold in thresholds:
        is_right = _right(found.group, rank, row, overlap, threshold, rule)
        results.append(_average_precisions(found.group % num_classes, is_right, num_truths, rule))
    return np.stack(results)


def remove_overlapping(tubes: Tubes, max_overlap: float, border: float = 0.0) -> Tubes:
    """Remove tubes that overlap a better one of their group (non-maximum suppression).

    Args:
        tubes: any.
        max_overlap: a tube is removed if its overlap with one that stays is larger; see :func:`tube_iou`.
        border: see :func:`tube_iou`.

    Returns:
        What stays, by group and falling score; of equal scores the one given last first.
    """
    position = np.arange(len(tubes))
    tubes = tubes.take(np.lexsort((-position, -tubes.score, tubes.group)))
    stays = np.ones(len(tubes), dtype=bool)
    for rows in _blocks(tubes.group):
        better, worse = pairs(tubes.group[rows], tubes.group[rows])
        better, worse = rows[better[better < worse]], rows[worse[better < worse]]
        is_long = _temporal_iou(tubes, worse, tubes, better, border) > max_overlap  # boxes can only lessen it
        better, worse = better[is_long], worse[is_long]
        is_close = tube_iou(tubes, worse, tubes, better, border) > max_overlap
        for one, other in zip(better[is_close].tolist(), worse[is_close].tolist(), strict=True):
            if stays[one]:
                stays[other] = False
    return tubes.take(np.flatnonzero(stays))


def tube_iou(tubes: Tubes, index: Integers, others: Tubes, other_index: Integers, border: float = 0.0) -> Floats:
    """Overlap of pairs of tubes in space and time.

    Args:
        tubes: where the first of each pair is.
        index: ``[P]`` its number.
        others: where the second of each pair is.
        other_index: ``[P]`` its number.
        border: added to widths, heights and durations.

    Returns:
        ``[P]`` float64: mean IoU of the boxes in common frames, times common frames by all frames; 0 without
        common frames.
    """
    begin, other_begin = tubes.first_frame[index], others.first_frame[other_index]
    common_begin = np.maximum(begin, other_begin)
    ends = begin + tubes.num_frames[index], other_begin + others.num_frames[other_index]
    num_common = np.minimum(*ends) - common_begin
    row = tubes.start[index] + common_begin - begin
    other_row = others.start[other_index] + common_begin - other_begin
    spatial = np.zeros(len(index))
    for length in np.unique(num_common[num_common > 0]).tolist():  # equal lengths make a matrix, and means of rows
        (chosen,) = np.nonzero(num_common == length)
        for part in np.split(chosen, range(max(_MAX_ROWS // length, 1), len(chosen), max(_MAX_ROWS // length, 1))):
            steps = np.arange(length)
            boxes, other_boxes = tubes.boxes[row[part, None] + steps], others.boxes[other_row[part, None] + steps]
            spatial[part] = paired_iou(boxes, other_boxes, border).mean(axis=1)
    return spatial * _temporal_iou(tubes, index, others, other_index, border)


def _temporal_iou(tubes: Tubes, index: Integers, others: Tubes, other_index: Integers, border: float) -> Floats:
    """Common frames by all frames; 0 or less where none are common."""
    begin, other_begin = tubes.first_frame[index], others.first_frame[other_index]
    last, other_last = begin + tubes.num_frames[index] - 1, other_begin + others.num_frames[other_index] - 1
    common = np.minimum(last, other_last) - np.maximum(begin, other_begin) + border
    union = np.maximum(last, other_last) - np.minimum(begin, other_begin) + border
    return np.divide(common, union, out=np.zeros(len(index)), where=union > 0)


def _blocks(groups: Integers) -> list[Integers]:
    """Rows of successive groups (which are sorted), so many that their pairs fit into memory."""
    _, starts, counts = np.unique(groups, return_index=True, return_counts=True)
    block = np.cumsum(counts**2) // _MAX_ROWS
    return np.split(np.arange(len(groups)), starts[1:][np.diff(block) > 0])


def _right(
    groups: Integers, rank: Integers, row: Integers, overlap: Floats, threshold: float, rule: Rule
) -> npt.NDArray[np.bool_]:
    """Whether each detection is right; ``groups`` has one entry a detection, the others one a candidate pair."""
    (near,) = np.nonzero(overlap >= threshold)
    order = near[np.lexsort((-overlap[near], rank[near]))]
    is_right = np.zeros(len(groups), dtype=bool)
    is_right[rule.match(groups[rank[order]], rank[order], row[order])] = True
    return is_right


def _average_precisions(
    columns: Integers, is_right: npt.NDArray[np.bool_], num_truths: npt.NDArray[np.intp], rule: Rule
) -> Floats:
    return np.array(
        [
            rule.average_precision(is_right[columns == column], number) if number else rule.absent
            for column, number in enumerate(num_truths.tolist())
        ]
    )
