"""Frame-mAP and video-mAP, the measures of J-HMDB and UCF101-24, by either of two published rules.

What the rules are, and the measures as pure functions, stands in :mod:`acrn_zoo.evaluation.tubes`.
"""

from collections.abc import Callable, Mapping, Sequence

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
        rule: ``"act"`` or ``"hit"``, see :mod:`acrn_zoo.evaluation.tubes`.

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
