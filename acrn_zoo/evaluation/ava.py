"""Average precision on AVA and on data of its form: frame-mAP at IoU 0.5.

The official rule is that of ActivityNet's ``get_ava_performance.py`` (from May 2020 on):

1. Rows of classes outside the label map are dropped, from annotations and predictions.
2. A keyframe keeps its 50 best rows, over all classes. Predictions at keyframes that the annotations do not name
   are ignored; at a keyframe that they name with other classes, or with nobody, predictions are wrong.
3. Within a keyframe and class, predictions are taken by falling score. Each looks at the annotated box that it
   overlaps most; if the IoU is at least 0.5 and no better prediction has taken that box, it is a match. It never
   tries its second best. Predictions without area are dropped.
4. Per class, the area under the envelope of the precision-recall curve; mAP is the mean over classes that are
   annotated. A class that is annotated and never predicted has AP 0.

**Equal scores.** The official script leaves their order to an unstable sort, so its last digits differ between
machines. Here it is fixed: of equal scores the row that comes last is ranked first (keyframes in the order in
which the predictions name them); within a keyframe they stand as they stand in the official reader's heap.
:meth:`AvaResult.range_over_ties` gives the lowest and highest value that any order between keyframes can give.

Other published evaluations of the same files differ; :data:`acrn_zoo.evaluation.rules.RULES` has them by name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo.evaluation.average_precision import (
    Floats,
    Integers,
    average_precision,
    average_precision_range,
    precision_and_recall,
)
from acrn_zoo.evaluation.matching import Ranking, rank_predictions
from acrn_zoo.evaluation.rows import Rows, number_keyframes, require_plain_rows
from acrn_zoo.evaluation.rules import OFFICIAL, EvaluationError, Rule
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import ANNOTATION_COLUMNS, MAX_SECONDS, PREDICTION_COLUMNS, timestamp_key


@dataclass(frozen=True)
class AvaResult:
    """What an evaluation gives.

    Args:
        class_ids: ``[C]`` the classes of the label map, ascending.
        average_precision: ``[C]``; NaN for a class that is not annotated (or, by a rule that says so, that is
            not predicted) and does not count in the mean.
        num_annotated: ``[C]`` annotated boxes.
        annotated_by_video: ``[V, C]`` the same, of each video.
        num_predicted: ``[C]`` predictions that were ranked.
        num_found: ``[C]`` predictions that found an annotated box.
        num_ignored: rows of listed classes at keyframes that are not annotated, which the rule ignores.
        video_ids: ``[V]`` the videos.
        ranking: the predictions themselves.
        localisation: ``[C]`` CorLoc where the rule reports it: of the keyframes with the class, the share whose
            best prediction of it overlaps an annotated box of it.
    """

    class_ids: tuple[int, ...]
    average_precision: Floats
    num_annotated: Integers
    annotated_by_video: Integers
    num_predicted: Integers
    num_found: Integers
    num_ignored: int
    video_ids: tuple[str, ...]
    ranking: Ranking
    localisation: Floats | None = None

    @property
    def mean(self) -> float:
        """mAP; NaN if no class counts."""
        # The official sum runs over all ids up to the last, and floating point knows the difference.
        by_id = np.full(self.class_ids[-1], np.nan)
        by_id[np.array(self.class_ids) - 1] = self.average_precision
        counted = ~np.isnan(by_id)
        return float(np.where(counted, by_id, 0.0).sum() / counted.sum()) if counted.any() else float("nan")

    def mean_of_classes(self, class_ids: Iterable[int]) -> float:
        """The mean over some of the classes; NaN if none of them counts."""
        wanted = set(class_ids)
        return mean_of(self.average_precision[[class_id in wanted for class_id in self.class_ids]])

    @cached_property
    def range_over_ties(self) -> tuple[Floats, Floats]:
        """Lowest and highest average precision ``[C]`` over all orders of predictions with equal scores."""
        bounds = np.full((len(self.class_ids), 2), np.nan)
        for column in np.flatnonzero(~np.isnan(self.average_precision)):
            rows = self.ranking.of_class(int(column))
            number = int(self.num_annotated[column])
            bounds[column] = average_precision_range(self.ranking.scores[rows], self.ranking.is_match[rows], number)
        return bounds[:, 0], bounds[:, 1]

    def precision_and_recall(self, class_id: int) -> tuple[Floats, Floats]:
        """The curve of one annotated class: precision and recall after each prediction, best first."""
        column = self.class_ids.index(class_id)
        return precision_and_recall(
            self.ranking.is_match[self.ranking.of_class(column)], int(self.num_annotated[column])
        )


def mean_of(values: Floats) -> float:
    """The mean of the values that are not NaN; NaN if there is none."""
    counted = values[~np.isnan(values)]
    return float(np.mean(counted)) if len(counted) else float("nan")


def evaluate_ava(
    annotations: pd.DataFrame,
    predictions: pd.DataFrame,
    class_ids: Sequence[int],
    *,
    rule: Rule = OFFICIAL,
    excluded: pd.DataFrame | None = None,
) -> AvaResult:
    """Evaluate predictions by the official rule, or by another published one; see the module.

    Args:
        annotations: as :func:`acrn_zoo.tables.read_annotations` gives them. Where boxes of a class have the same
            IoU with a prediction, the one with the higher ``person_id`` is taken, as the official reader has it.
        predictions: as :func:`acrn_zoo.tables.read_predictions` gives them. Neither table is written to.
        class_ids: the classes that count; those of the label map.
        rule: one of :data:`acrn_zoo.evaluation.rules.RULES`.
        excluded: keyframes to leave out, as :func:`acrn_zoo.tables.read_keyframes` gives them.

    Returns:
        The average precision of every class, and what it is made of.

    Raises:
        EvaluationError: if an annotated box is inverted where predictions of its class meet it (a prediction, by
            MMAction2's rule), a score is NaN, a column is missing, or a rule is to read rows that its own reader
            refuses.
    """
    columns = tuple(sorted(set(class_ids)))
    if not columns or columns[0] < 1:
        raise EvaluationError(f"class_ids are {list(columns)[:5]}, expected ids from 1 on, at least one")
    for table, names in ((annotations, ANNOTATION_COLUMNS), (predictions, PREDICTION_COLUMNS)):
        if missing := [name for name in names if name not in table]:
            raise EvaluationError(f"A table lacks the columns {', '.join(missing)}; expected {', '.join(names)}")
    truth = Rows(annotations, columns)
    found = Rows(predictions, columns)
    if rule.needs_plain_rows:
        require_plain_rows(truth, found)
    video_ids, of_excluded = number_keyframes(truth, found, excluded)
    num_keyframes = 1 + max(int(rows.max(initial=-1)) for rows in (truth.keyframe, found.keyframe, of_excluded))

    is_annotated = np.zeros(num_keyframes, dtype=bool)
    is_annotated[truth.keyframe[truth.column >= 0] if rule.needs_listed else truth.keyframe] = True
    is_excluded = np.zeros(num_keyframes, dtype=bool)
    is_excluded[of_excluded] = True
    counts = ~is_excluded if rule.counts_unannotated else is_annotated & ~is_excluded

    truth_rows = np.flatnonzero((truth.column >= 0) & ~is_excluded[truth.keyframe])
    to_be_found = np.flatnonzero(truth.column >= 0) if rule.counts_excluded else truth_rows
    flat = truth.video[to_be_found].astype(np.int64) * len(columns) + truth.column[to_be_found]
    num_annotated = np.bincount(flat, minlength=len(video_ids) * len(columns)).reshape(-1, len(columns))
    is_listed = found.column >= 0
    rows = np.flatnonzero(is_listed & counts[found.keyframe])

    grid = (num_keyframes, len(columns))
    ranking, localisation = rank_predictions(truth, truth_rows, found, rows, grid, rule)
    num_ignored = int(np.count_nonzero(is_listed)) - len(rows)
    return _result(columns, video_ids, ranking, num_annotated, num_ignored, localisation, rule)


def _result(
    columns: tuple[int, ...],
    video_ids: tuple[str, ...],
    ranking: Ranking,
    annotated_by_video: Integers,
    num_ignored: int,
    localisation: Floats | None,
    rule: Rule,
) -> AvaResult:
    num_annotated = annotated_by_video.sum(axis=0)
    num_predicted = np.diff(ranking.starts)
    matches = [ranking.is_match[ranking.of_class(column)] for column in range(len(columns))]
    precision = [average_precision(match, int(num)) for match, num in zip(matches, num_annotated, strict=True)]
    if rule.needs_predictions:
        precision = [value if num else np.nan for value, num in zip(precision, num_predicted, strict=True)]
    return AvaResult(
        class_ids=columns,
        average_precision=np.array(precision, dtype=np.float64),
        num_annotated=num_annotated,
        annotated_by_video=annotated_by_video,
        num_predicted=num_predicted,
        num_found=np.array([np.count_nonzero(match) for match in matches], dtype=np.int64),
        num_ignored=num_ignored,
        video_ids=video_ids,
        ranking=ranking,
        localisation=localisation,
    )


class AvaEvaluator:
    """Collects predictions keyframe by keyframe, in one process or many, and evaluates them.

    A keyframe counts once: predicted again (padding of the last batch, or on another rank) it changes nothing.
    The result does not depend on the order of updates, nor on how keyframes are spread over ranks: keyframes are
    evaluated in the order of their video ids and times. (Only if the same keyframe was predicted differently does it
    matter which came first.)

    Args:
        annotations: what people do, as :func:`acrn_zoo.tables.read_annotations` gives it.
        label_map: the classes that count, and their names; the action with id i is column i - 1 of the scores.
        num_classes: columns of the scores, K; the largest id of the label map if not given.
        rule: one of :data:`acrn_zoo.evaluation.rules.RULES`.
        excluded: keyframes to leave out, as :func:`acrn_zoo.tables.read_keyframes` gives them.
    """

    def __init__(
        self,
        annotations: pd.DataFrame,
        label_map: LabelMap,
        *,
        num_classes: int | None = None,
        rule: Rule = OFFICIAL,
        excluded: pd.DataFrame | None = None,
    ) -> None:
        self.annotations = annotations
        self.label_map = label_map
        self.num_classes = label_map.num_columns if num_classes is None else num_classes
        if self.num_classes < label_map.num_columns:
            raise EvaluationError(f"num_classes is {num_classes}, but the label map has the id {label_map.num_columns}")
        self.rule = rule
        self.excluded = excluded
        self._found: dict[tuple[str, int], tuple[float, Floats, npt.NDArray[np.floating]]] = {}

    def __len__(self) -> int:
        """The number of keyframes that were predicted."""
        return len(self._found)

    def update(self, video_id: str, timestamp: float, boxes: npt.ArrayLike, scores: npt.ArrayLike) -> None:
        """Add what was predicted at one keyframe.

        Args:
            video_id: the video, as the annotations call it.
            timestamp: seconds, as the annotations count them.
            boxes: ``[R, 4]`` xyxy, fractions of the frame. R may be 0. Tensors of any device and type, arrays or lists.
            scores: ``[R, K]``, of which the columns of the label map count.

        Raises:
            EvaluationError: if the shapes do not fit, or a number is not finite.
        """
        try:
            is_keyframe = isinstance(video_id, str) and abs(float(timestamp)) < MAX_SECONDS
        except (TypeError, ValueError):
            is_keyframe = False
        if not is_keyframe:
            raise EvaluationError(f"keyframe {timestamp!r} of {video_id!r}: expected seconds, and the name of a video")
        where = f"keyframe {float(timestamp):g} s of {video_id!r}"
        box_rows, score_rows = _as_rows(boxes, scores, self.num_classes, where)
        chosen = score_rows[:, np.array(self.label_map.ids) - 1]  # a copy, as the boxes: callers go on writing
        if not (np.isfinite(box_rows).all() and np.isfinite(chosen).all()):
            raise EvaluationError(f"boxes or scores of {where} are not finite")
        key = (video_id, int(timestamp_key([timestamp])[0]))
        self._found.setdefault(key, (float(timestamp), box_rows, chosen))

    def merge(self, other: "AvaEvaluator") -> None:
        """Take over the keyframes of another evaluator, those excepted that this one has already.

        Raises:
            EvaluationError: if the other one evaluates something else: other classes, annotations or excluded
                keyframes, or by another rule.
        """
        for name in ("label_map", "num_classes", "rule"):
            if getattr(self, name) != getattr(other, name):
                raise EvaluationError(f"Evaluators of different {name} cannot be merged")
        for name in ("annotations", "excluded"):
            if not _are_equal(getattr(self, name), getattr(other, name)):
                raise EvaluationError(f"Evaluators of different {name} cannot be merged")
        for key, found in other._found.items():
            self._found.setdefault(key, found)

    def reset(self) -> None:
        """Forget all predictions."""
        self._found.clear()

    def predictions(self) -> pd.DataFrame:
        """What was predicted, as :func:`acrn_zoo.tables.read_predictions` would read it."""
        keys = sorted(self._found)
        ids = np.array(self.label_map.ids)
        found = [self._found[key] for key in keys]
        num_rows = [scores.size for _, _, scores in found]
        boxes = [np.repeat(boxes, len(ids), axis=0) for _, boxes, _ in found]
        codes, names = pd.factorize(np.array([video_id for video_id, _ in keys], dtype=object))
        columns = {
            "video_id": pd.Categorical.from_codes(np.repeat(codes, num_rows), categories=pd.Index(names, dtype=object)),
            "timestamp": np.repeat([timestamp for timestamp, _, _ in found], num_rows).astype(np.float64),
            **dict(zip(PREDICTION_COLUMNS[2:6], np.concatenate([np.zeros((0, 4)), *boxes]).T, strict=True)),
            "action_id": np.tile(ids, sum(num_rows) // len(ids)),
            "score": np.concatenate([np.zeros(0), *(scores.ravel() for _, _, scores in found)]).astype(np.float64),
        }
        return pd.DataFrame(columns)

    def result(self) -> AvaResult:
        """Evaluate what was collected."""
        return evaluate_ava(
            self.annotations, self.predictions(), self.label_map.ids, rule=self.rule, excluded=self.excluded
        )

    def compute(self) -> dict[str, float]:
        """``mAP``, and ``AP/<category>`` of every class (NaN for one that does not count)."""
        return named_metrics(self.result(), self.label_map)


def named_metrics(result: AvaResult, label_map: LabelMap) -> dict[str, float]:
    """``mAP``, and ``AP/<category>`` of every class (NaN for one that does not count)."""
    values = {"mAP": result.mean}
    for class_id, precision in zip(result.class_ids, result.average_precision, strict=True):
        name = f"AP/{label_map.names[class_id]}"
        values[name if name not in values else f"{name} ({class_id})"] = float(precision)
    return values


def _as_rows(boxes: Any, scores: Any, num_classes: int, where: str) -> tuple[Floats, npt.NDArray[Any]]:  # noqa: ANN401 - as for _as_array
    """Boxes ``[R, 4]`` and scores ``[R, K]`` as arrays, whatever they are given as."""
    box_rows, score_rows = _as_array(boxes).astype(np.float64), _as_array(scores)
    if not box_rows.size:
        return np.zeros((0, 4)), np.zeros((0, num_classes))
    if box_rows.ndim != 2 or box_rows.shape[1] != 4:
        raise EvaluationError(f"boxes of {where} have the shape {box_rows.shape}, expected [R, 4]")
    if score_rows.shape != (len(box_rows), num_classes):
        has_background = score_rows.shape[-1:] == (num_classes + 1,)
        hint = "; is the first column a background class? Leave it out" if has_background else ""
        raise EvaluationError(
            f"scores of {where} have the shape {score_rows.shape}, expected [{len(box_rows)}, {num_classes}] "
            f"(num_classes){hint}"
        )
    return box_rows, score_rows


def _as_array(values: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - PyTorch is not imported here, but its tensors come
    if hasattr(values, "detach"):
        values = values.detach().double().cpu().numpy()
    return np.asarray(values)


def _are_equal(first: pd.DataFrame | None, second: pd.DataFrame | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.equals(second)
