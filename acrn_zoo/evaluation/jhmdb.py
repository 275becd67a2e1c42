"""Frame-mAP and video-mAP, the measures of J-HMDB and UCF101-24.

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

from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.average_precision import average_precision, precision_and_recall
from acrn_zoo.tracking import (
    Floats,
    Integers,
    Tubes,
    build_tubes,
    join_tubes,
    link_boxes,
    paired_iou,
    pairs,
    take_turns,
)

FRAME_THRESHOLD = 0.5
VIDEO_THRESHOLDS = (0.2, 0.5, 0.75)
AVERAGED_THRESHOLDS = tuple(0.5 + 0.05 * step for step in range(10))
"""The ten thresholds of 0.5:0.95, rounded as in the published evaluators."""

RuleName = Literal["act", "hit"]
_MAX_ROWS = 2**18  # boxes compared at once


class EvaluationError(UserError, ValueError):
    """Detections that cannot be evaluated; the message names the first one."""


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


def link_detections(found: FrameDetections, *, min_iou: float = 0.5, max_gap: int = 0, min_length: int = 1) -> Tubes:
    """Tubes of each video and class, linked by :func:`acrn_zoo.tracking.link_boxes`; see there."""
    ids = link_boxes(found.frame, found.boxes, found.score, groups=found.group, min_iou=min_iou, max_gap=max_gap)
    return build_tubes(ids, found.frame, found.boxes, found.score, groups=found.group, min_length=min_length)


class JhmdbEvaluator:
    """Gathers detections and turns them into frame-mAP and video-mAP.

    A frame (or, for tubes, a video) that comes twice counts once, as the padded samples of distributed loaders
    need; so all detections of a frame, and all tubes of a video, belong into one call. Evaluators of several
    processes are joined by :meth:`merge` (they can be pickled). Then, of equal scores in one video, the one in the
    earlier frame comes first: the result does not depend on how the frames were divided.

    Args:
        categories: the names of the classes, in the order of their columns.
        tubes: ground truth: video to column to tubes ``[n, 5]`` of frame, x1, y1, x2, y2 in pixels, as
            ``data.jhmdb`` reads them.
        videos: those to evaluate, for instance the test videos of a split; all if None.
        rule: ``"act"`` or ``"hit"``, see the module.

    Raises:
        EvaluationError: if a video has no ground truth, or stands twice in ``videos``.
    """

    def __init__(
        self,
        categories: Sequence[str],
        tubes: Mapping[str, Mapping[int, Sequence[npt.ArrayLike]]],
        videos: Sequence[str] | None = None,
        *,
        rule: RuleName = "act",
    ) -> None:
        self.categories = tuple(categories)
        self.videos = tuple(tubes if videos is None else videos)
        self.rule: RuleName = rule
        for video in self.videos:
            if video not in tubes:
                raise EvaluationError(f"The ground truth has no video {video!r}")
        self._number = {video: number for number, video in enumerate(self.videos)}
        if len(self._number) < len(self.videos):
            raise EvaluationError("A video is to be evaluated twice; name each once")
        self._truth = self._join(
            [(video, column, table) for video in self.videos for column, row in tubes[video].items() for table in row]
        )
        self._frames: list[FrameDetections] = []
        self._tubes: list[Tubes] = []
        self._is_merged = False

    def update(
        self,
        video_ids: Sequence[str],
        frames: npt.ArrayLike,
        columns: npt.ArrayLike,
        scores: npt.ArrayLike,
        boxes: npt.ArrayLike,
    ) -> None:
        """Take detections of any number of frames.

        Args:
            video_ids: N names.
            frames: ``[N]`` numbers of the frames, as in the ground truth (from 1).
            columns: ``[N]`` classes, from 0.
            scores: ``[N]`` any finite numbers; only their order counts, and the mean of a tube's.
            boxes: ``[N, 4]`` xyxy in pixels.

        Raises:
            EvaluationError: naming the first detection that has an unknown video or class or a wrong box.
        """
        found = FrameDetections(
            self._groups(video_ids, np.asarray(columns).reshape(-1)),
            np.array(frames, dtype=np.int64).reshape(-1),
            np.array(scores, dtype=np.float64).reshape(-1),
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
        )
        self._require_sound(found)
        self._frames.append(found)

    def update_tubes(
        self, video_ids: Sequence[str], columns: npt.ArrayLike, scores: npt.ArrayLike, tubes: Sequence[npt.ArrayLike]
    ) -> None:
        """Take tubes of any number of videos; without any, tubes are linked from the detections of frames.

        Args:
            video_ids: T names.
            columns: ``[T]`` classes, from 0.
            scores: ``[T]``.
            tubes: T arrays ``[n, 5]``: frame, x1, y1, x2, y2 in pixels, a box in every frame from first to last.

        Raises:
            EvaluationError: naming the first tube that has an unknown video or class, gaps or a wrong box.
        """
        self._tubes.append(self._join(list(zip(video_ids, np.asarray(columns).tolist(), tubes, strict=True)), scores))

    def merge(self, other: "JhmdbEvaluator") -> None:
        """Take what another evaluator of the same ground truth has gathered.

        Raises:
            EvaluationError: if its classes, videos or rule are others.
        """
        for name in ("categories", "videos", "rule"):
            if getattr(self, name) != getattr(other, name):
                raise EvaluationError(f"Only evaluators of the same {name} can be merged")
        self._frames += other._frames
        self._tubes += other._tubes
        self._is_merged = True

    def compute(self, link: Callable[[FrameDetections], Tubes] = link_detections) -> dict[str, float]:
        """All measures, 0 to 1.

        Args:
            link: makes tubes of the detections of frames where no tubes were given.

        Returns:
            ``frame_mAP@0.5``, ``video_mAP@0.2``, ``@0.5``, ``@0.75`` and ``@0.5:0.95``, and for each of them
            ``AP/<measure>/<class>``. Without detections of frames the first is missing. A class left out of the
            mean (rule ``hit``) is NaN.

        Raises:
            EvaluationError: if nothing was ever given.
        """
        if not self._frames and not self._tubes:
            raise EvaluationError("There is nothing to evaluate: no detections were given")
        results: dict[str, float] = {}
        rule, number = RULES[self.rule], len(self.categories)
        frames = self._distinct_frames()
        if self._frames:
            average = frame_average_precision(self._truth, frames, number, rule=rule)
            self._enter(results, f"frame_mAP@{FRAME_THRESHOLD}", average)
        tubes = self._distinct_tubes() if self._tubes else link(frames)
        thresholds = (*VIDEO_THRESHOLDS, *AVERAGED_THRESHOLDS)
        averages = video_average_precision(self._truth, tubes, number, thresholds=thresholds, rule=rule)
        for threshold, average in zip(VIDEO_THRESHOLDS, averages, strict=False):
            self._enter(results, f"video_mAP@{threshold}", average)
        self._enter(results, "video_mAP@0.5:0.95", averages[len(VIDEO_THRESHOLDS) :].mean(axis=0))
        return results

    def _enter(self, results: dict[str, float], name: str, average: Floats) -> None:
        is_known = ~np.isnan(average)
        results[name] = float(average[is_known].mean()) if is_known.any() else float("nan")
        results |= {
            f"AP/{name}/{category}": float(value) for category, value in zip(self.categories, average, strict=True)
        }

    def _distinct_frames(self) -> FrameDetections:
        columns = [
            np.concatenate([getattr(part, name) for part in self._frames] or [empty])
            for name, empty in (
                ("group", np.zeros(0, dtype=np.int64)),
                ("frame", np.zeros(0, dtype=np.int64)),
                ("score", np.zeros(0)),
                ("boxes", np.zeros((0, 4))),
            )
        ]
        call = np.repeat(np.arange(len(self._frames)), [len(part.frame) for part in self._frames])
        kept = _of_first_call((columns[0] // len(self.categories), columns[1]), call)
        if self._is_merged:
            kept = kept[np.lexsort((columns[1][kept], columns[0][kept]))]
        return FrameDetections(*(column[kept] for column in columns))

    def _distinct_tubes(self) -> Tubes:
        joined = Tubes(
            *(np.concatenate([getattr(part, name) for part in self._tubes]) for name in Tubes.__dataclass_fields__)
        )
        call = np.repeat(np.arange(len(self._tubes)), [len(part) for part in self._tubes])
        return joined.take(_of_first_call((joined.group // len(self.categories),), call))

    def _join(self, rows: Sequence[tuple[str, int, npt.ArrayLike]], scores: npt.ArrayLike | None = None) -> Tubes:
        groups = self._groups([row[0] for row in rows], np.array([row[1] for row in rows]))
        try:
            tubes = join_tubes(groups, np.zeros(len(rows)) if scores is None else scores, [row[2] for row in rows])
        except ValueError as error:
            raise EvaluationError(str(error)) from error
        groups, row_scores = np.repeat(tubes.group, tubes.num_frames), np.repeat(tubes.score, tubes.num_frames)
        self._require_sound(FrameDetections(groups, tubes.frames, row_scores, tubes.boxes))
        return tubes

    def _groups(self, video_ids: Sequence[str], columns: npt.NDArray[np.generic]) -> Integers:
        unknown = set(video_ids) - self._number.keys()
        if unknown:
            raise EvaluationError(f"The video {min(unknown)!r} is not among the {len(self.videos)} to be evaluated")
        column = columns.astype(np.int64)
        (wrong,) = np.nonzero((column != columns) | (column < 0) | (column >= len(self.categories)))
        if len(wrong):
            raise EvaluationError(
                f"Row {wrong[0]} has the class {columns[wrong[0]]}, expected 0 to {len(self.categories) - 1}"
            )
        videos = np.array([self._number[video] for video in video_ids], dtype=np.int64)
        if videos.shape != column.shape:
            raise EvaluationError(f"{len(videos)} videos were given for {len(column)} classes")
        return videos * len(self.categories) + column

    def _require_sound(self, rows: FrameDetections) -> None:
        """Columns of equal length, frames from 0 on, finite scores, and boxes with their sides in order."""
        lengths = {len(rows.group), len(rows.frame), len(rows.score), len(rows.boxes)}
        if len(lengths) != 1:
            raise EvaluationError(f"Columns of different lengths were given: {sorted(lengths)}")
        is_sound = np.isfinite(rows.boxes).all(axis=1) & (rows.boxes[:, 2:] >= rows.boxes[:, :2]).all(axis=1)
        (wrong,) = np.nonzero(~(is_sound & np.isfinite(rows.score) & (rows.frame >= 0)))
        if len(wrong):
            row = wrong[0]
            raise EvaluationError(
                f"{self.videos[rows.group[row] // len(self.categories)]}, frame {rows.frame[row]}: the box is "
                f"{rows.boxes[row].tolist()} and the score {rows.score[row]}, expected finite numbers with "
                "x1 <= x2 and y1 <= y2, and frames from 0 on"
            )


def mean_of_splits(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every measure over splits, as J-HMDB is usually reported.

    Args:
        results: what :meth:`JhmdbEvaluator.compute` gave for each split.

    Returns:
        The same keys.
    """
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def _of_first_call(key: tuple[Integers, ...], call: Integers) -> Integers:
    """Rows whose key did not occur in an earlier call; ``key`` is one or more columns."""
    order = np.lexsort((call, *key[::-1]))
    is_new = np.ones(len(call), dtype=bool)
    is_new[1:] = np.any([np.diff(column[order]) != 0 for column in key], axis=0)
    first_call = call[order][np.flatnonzero(is_new)][np.cumsum(is_new) - 1]
    return np.sort(order[call[order] == first_call])
