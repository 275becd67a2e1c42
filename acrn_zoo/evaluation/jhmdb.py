"""Frame-mAP and video-mAP, the measures of J-HMDB and UCF101-24, by either of two published rules.

What the rules are, and the measures as pure functions, stands in :mod:`acrn_zoo.evaluation.tubes`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt

from acrn_zoo.evaluation.rules import EvaluationError
from acrn_zoo.evaluation.tubes import (
    FRAME_THRESHOLD,
    RULES,
    FrameDetections,
    RuleName,
    frame_average_precision,
    video_average_precision,
)
from acrn_zoo.tracking import Floats, Integers, Tubes, build_tubes, join_tubes, link_boxes

VIDEO_THRESHOLDS = (0.2, 0.5, 0.75)
AVERAGED_THRESHOLDS = tuple(0.5 + 0.05 * step for step in range(10))
"""The ten thresholds of 0.5:0.95, rounded as in the published evaluators."""

_MAX_FRAME = 2**31  # so that video, class and frame fit into one number
_PLACE = 7
"""Rows of detections are group, frame, score, x1, y1, x2, y2, and as this column their place among all given."""

_TUBE_FIELDS = tuple(field.name for field in fields(Tubes))


def link_detections(found: FrameDetections, *, min_iou: float = 0.5, max_gap: int = 0, min_length: int = 1) -> Tubes:
    """Tubes of each video and class, linked by :func:`acrn_zoo.tracking.link_boxes`; see there."""
    ids = link_boxes(found.frame, found.boxes, found.score, groups=found.group, min_iou=min_iou, max_gap=max_gap)
    return build_tubes(ids, found.frame, found.boxes, found.score, groups=found.group, min_length=min_length)


class JhmdbEvaluator:
    """Gathers detections and turns them into frame-mAP and video-mAP.

    All detections of a frame, of all classes, belong into one call, and so do all tubes of a video. A frame or video
    that comes again with the same counts once, as the padded samples of distributed loaders need; with others it is
    an error. Evaluators of several processes are joined by :meth:`merge` (they can be pickled).

    Of equal scores the one in the earlier video comes first, then the one given first, as the published evaluators
    have it. Where evaluators are merged it is the one in the earlier frame, then the one given first within its frame
    (of tubes: within its video), so that the result does not depend on how frames are spread over processes.

    Args:
        categories: the names of the classes, in the order of their columns. Should a name stand twice, its later
            classes are called ``name (number)``, with their number from 1.
        tubes: ground truth: video to column to tubes ``[n, 5]`` of frame, x1, y1, x2, y2 in pixels, as
            ``data.jhmdb`` reads them.
        videos: those to evaluate, for instance the test videos of a split; all if None.
        rule: ``"act"`` or ``"hit"``, see :mod:`acrn_zoo.evaluation.tubes`.

    Raises:
        EvaluationError: if a video has no ground truth, or stands twice in ``videos``, or the rule is unknown.
    """

    def __init__(
        self,
        categories: Sequence[str],
        tubes: Mapping[str, Mapping[int, Sequence[npt.ArrayLike]]],
        videos: Sequence[str] | None = None,
        *,
        rule: RuleName = "act",
    ) -> None:
        if rule not in RULES:
            raise EvaluationError(f"There is no rule {rule!r}, expected one of {', '.join(RULES)}")
        self.categories = _names(categories, "categories")
        self.videos = tuple(tubes) if videos is None else _names(videos, "videos")
        self.rule: RuleName = rule
        for video in self.videos:
            if video not in tubes:
                raise EvaluationError(f"The ground truth has no video {video!r}")
        self._number = {video: number for number, video in enumerate(self.videos)}
        if len(self._number) < len(self.videos):
            raise EvaluationError("A video is to be evaluated twice; name each once")
        truth = self._join(
            [(video, column, table) for video in self.videos for column, row in tubes[video].items() for table in row]
        )
        self._truth = truth.take(np.argsort(truth.group, kind="stable"))
        self.reset()

    def __len__(self) -> int:
        """The number of frames that were predicted."""
        return len(self._frames)

    def reset(self) -> None:
        """Forget all detections and tubes."""
        self._frames: dict[tuple[int, int], Floats] = {}  # by video and frame, see _PLACE
        self._num_rows = 0  # ever given
        self._is_merged = False
        self._tubes: dict[int, Tubes] = {}  # by video
        self._has_frames = self._has_tubes = False  # whether any were given, be it none

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
            EvaluationError: naming the first detection that has an unknown video or class, a frame that is no whole
                number or a wrong box; or a frame of which an earlier call gave other detections. Then nothing of
                the call is taken.
        """
        found = FrameDetections(
            self._groups(video_ids, np.asarray(columns).reshape(-1)),
            _whole_frames(frames),
            np.asarray(scores, dtype=np.float64).reshape(-1),
            np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        )
        self._require_sound(found)
        parts = _by_frame(found, len(self.categories), self._num_rows)
        for (video, frame), rows in parts.items():
            if not np.array_equal(rows[:, :_PLACE], self._frames.get((video, frame), rows)[:, :_PLACE]):
                raise EvaluationError(
                    f"{self.videos[video]}, frame {frame}: an earlier call gave other detections of this frame; give "
                    "those of all its classes in one call"
                )
        self._frames = parts | self._frames
        self._num_rows += len(found.group)
        self._has_frames = True

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
            EvaluationError: naming the first tube that has an unknown video or class, gaps or a wrong box; or a
                video of which an earlier call gave other tubes. Then nothing of the call is taken.
        """
        names = _names(video_ids, "video_ids")
        found = self._join(list(zip(names, np.asarray(columns).tolist(), tubes, strict=True)), scores)
        number = found.group // len(self.categories)
        parts = {video: found.take(np.flatnonzero(number == video)) for video in np.unique(number).tolist()}
        for video, part in parts.items():
            if not _is_same(part, self._tubes.get(video, part)):
                raise EvaluationError(
                    f"{self.videos[video]}: an earlier call gave other tubes of this video; give those of all its "
                    "classes in one call"
                )
        self._tubes |= parts
        self._has_tubes = True

    def merge(self, other: "JhmdbEvaluator") -> None:
        """Take what another evaluator of the same ground truth has gathered.

        Frames (of tubes: videos) that both have count once, and those of this one are kept, even where the other's
        detections differ, as two processes may compute them to different last digits.

        Raises:
            EvaluationError: if its classes, videos, rule or ground truth are others.
        """
        for name in ("categories", "videos", "rule"):
            if getattr(self, name) != getattr(other, name):
                raise EvaluationError(f"Only evaluators of the same {name} can be merged")
        if not _is_same(self._truth, other._truth):
            raise EvaluationError("Only evaluators of the same ground truth can be merged; these have other tubes")
        self._frames = other._frames | self._frames
        self._tubes = other._tubes | self._tubes
        self._is_merged = True
        self._has_frames |= other._has_frames
        self._has_tubes |= other._has_tubes

    def compute(self, link: Callable[[FrameDetections], Tubes] = link_detections) -> dict[str, float]:
        """All measures, 0 to 1.

        Args:
            link: makes tubes of the detections of frames where no tubes were given.

        Returns:
            ``frame_mAP@0.5``, ``video_mAP@0.2``, ``@0.5``, ``@0.75`` and ``@0.5:0.95``, and for each of them
            ``AP/<measure>/<class>``. Where only tubes were given, the first is missing. A class left out of the mean
            (rule ``hit``) is NaN. With nothing collected, everything that counts is 0.
        """
        results: dict[str, float] = {}
        rule, number = RULES[self.rule], len(self.categories)
        frames = self._distinct_frames()
        if self._has_frames or not self._has_tubes:
            average = frame_average_precision(self._truth, frames, number, rule=rule)
            self._enter(results, f"frame_mAP@{FRAME_THRESHOLD}", average)
        tubes = self._distinct_tubes() if self._has_tubes else link(frames)
        thresholds = (*VIDEO_THRESHOLDS, *AVERAGED_THRESHOLDS)
        averages = video_average_precision(self._truth, tubes, number, thresholds=thresholds, rule=rule)
        for threshold, average in zip(VIDEO_THRESHOLDS, averages, strict=False):
            self._enter(results, f"video_mAP@{threshold}", average)
        self._enter(results, "video_mAP@0.5:0.95", averages[len(VIDEO_THRESHOLDS) :].mean(axis=0))
        return results

    def _enter(self, results: dict[str, float], name: str, average: Floats) -> None:
        is_known = ~np.isnan(average)
        results[name] = float(average[is_known].mean()) if is_known.any() else float("nan")
        for column, value in enumerate(average.tolist()):
            key = f"AP/{name}/{self.categories[column]}"
            while key in results:
                key += f" ({column + 1})"
            results[key] = value

    def _distinct_frames(self) -> FrameDetections:
        """By video; within it as given or, where evaluators were merged, by frame."""
        table = np.concatenate([np.zeros((0, _PLACE + 1)), *(self._frames[key] for key in sorted(self._frames))])
        if not self._is_merged:
            table = table[np.lexsort((table[:, _PLACE], table[:, 0] // len(self.categories)))]
        group, frame = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
        return FrameDetections(group, frame, table[:, 2], table[:, 3:_PLACE])

    def _distinct_tubes(self) -> Tubes:
        """By video, within a video as given."""
        parts = [join_tubes([], [], []), *(self._tubes[video] for video in sorted(self._tubes))]
        return Tubes(*(np.concatenate([getattr(part, name) for part in parts]) for name in _TUBE_FIELDS))

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
        names = _names(video_ids, "video_ids")
        unknown = [name for name in names if name not in self._number]
        if unknown:
            raise EvaluationError(f"The video {unknown[0]!r} is not among the {len(self.videos)} to be evaluated")
        column = columns.astype(np.float64)
        (wrong,) = np.nonzero(~np.isin(column, np.arange(len(self.categories))))
        if len(wrong):
            raise EvaluationError(
                f"Row {wrong[0]} has the class {columns[wrong[0]]}, expected 0 to {len(self.categories) - 1}"
            )
        videos = np.array([self._number[name] for name in names], dtype=np.int64)
        if videos.shape != column.shape:
            raise EvaluationError(f"{len(videos)} videos were given for {len(column)} classes")
        return videos * len(self.categories) + column.astype(np.int64)

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


def _names(names: Sequence[str], argument: str) -> tuple[str, ...]:
    """The names as a tuple; a single text, which would pass for a list of letters, is refused."""
    if isinstance(names, str):
        raise EvaluationError(f"{argument} is the text {names!r}, expected a list of names")
    return tuple(names)


def _whole_frames(frames: npt.ArrayLike) -> Integers:
    numbers = np.asarray(frames, dtype=np.float64).reshape(-1)
    (wrong,) = np.nonzero(~((np.abs(numbers) < _MAX_FRAME) & (numbers == np.floor(numbers))))
    if len(wrong):
        raise EvaluationError(f"Row {wrong[0]} has the frame {numbers[wrong[0]]}, expected a whole number")
    return numbers.astype(np.int64)


def _by_frame(found: FrameDetections, num_classes: int, first: int) -> dict[tuple[int, int], Floats]:
    """The rows of each video and frame, in the order given; places count on from ``first``."""
    place = first + np.arange(len(found.group))
    table = np.column_stack([found.group, found.frame, found.score, found.boxes, place])
    video = found.group // num_classes
    order = np.lexsort((found.frame, video))
    is_new = np.diff(video[order], prepend=-1).astype(bool) | np.diff(found.frame[order], prepend=-1).astype(bool)
    (starts,) = np.nonzero(is_new)
    keys = zip(video[order][starts].tolist(), found.frame[order][starts].tolist(), strict=True)
    # Copies, so that no frame keeps the table of its call in memory, or depends on what the caller does to it.
    return {key: table[rows] for key, rows in zip(keys, np.split(order, starts)[1:], strict=True)}


def _is_same(one: Tubes, other: Tubes) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in _TUBE_FIELDS)
