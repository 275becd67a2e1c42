"""How sure a mean average precision is, and whether one is really higher than another.

Both questions are about the videos: keyframes of one film resemble each other far too much to be drawn one by
one. The interval draws as many videos as there are, with replacement (Efron's bootstrap), and reflects the spread
of the draws about the measured value (the basic interval): the envelope makes mAP too high on few examples, most
of all on drawn ones with their repetitions, and the plain quantiles of the draws would hold the truth too rarely.

The comparison exchanges, video by video, the predictions of the two files at random (a paired randomisation test): if
the files are equally good, the difference that was measured is one of many such.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acrn_zoo.evaluation.ava import AvaResult, mean_of
from acrn_zoo.evaluation.average_precision import Floats
from acrn_zoo.evaluation.rules import EvaluationError

LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """Two sets of predictions for the same annotations.

    Args:
        difference: mAP of the first less that of the second.
        interval: what the difference may be, at 95 %, by the bootstrap over videos.
        p_value: how often chance alone makes a difference as large as this one, of either sign.
        num_videos: what it rests on.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    num_videos: int


def confidence_interval(
    result: AvaResult, *, num_resamples: int = 1000, seed: int = 0, step: Callable[[], object] = lambda: None
) -> tuple[float, float]:
    """What mAP may be, at 95 %, if other videos of the same kind had been annotated.

    Args:
        result: the evaluation.
        num_resamples: how often videos are drawn.
        seed: of the random numbers.
        step: is called after every draw, for a progress bar.

    Raises:
        EvaluationError: if there is only one video, or no mAP.
    """
    _require_mean(result)
    video_ids = _evaluated_videos(result)
    weighted = _WeightedPrecision(result, video_ids)
    values = np.empty(num_resamples)
    for index, weights in enumerate(_draws(len(video_ids), num_resamples, seed)):
        values[index] = weighted.mean(weights)
        step()
    low, high = _interval(values, result.mean)
    return max(low, 0.0), min(high, 1.0)


def compare(
    first: AvaResult,
    second: AvaResult,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    step: Callable[[], object] = lambda: None,
) -> Comparison:
    """Is the difference between two evaluations more than chance?

    Args:
        first: the evaluation of one set of predictions.
        second: that of another, by the same rule, for the same annotations and classes.
        num_resamples: how often videos are drawn, and how often predictions are exchanged.
        seed: of the random numbers.
        step: is called after every draw and every exchange.

    Raises:
        EvaluationError: if there is only one video, or the two are not means over the same classes of the same
            annotations.
    """
    if first.class_ids != second.class_ids or not _have_same_annotations(first, second):
        raise EvaluationError("Only evaluations of the same annotations and classes can be compared")
    _require_mean(first)
    _require_mean(second)
    if (np.isnan(first.average_precision) != np.isnan(second.average_precision)).any():
        raise EvaluationError(
            "This rule leaves out classes that are never predicted, and the two files predict different ones: their "
            "means are not of the same classes. Compare them by the official rule"
        )
    video_ids = _evaluated_videos(first, second)
    num_videos = len(video_ids)
    one, two = _WeightedPrecision(first, video_ids), _WeightedPrecision(second, video_ids)
    differences = np.empty(num_resamples)
    for index, weights in enumerate(_draws(num_videos, num_resamples, seed)):
        differences[index] = one.mean(weights) - two.mean(weights)
        step()
    difference = first.mean - second.mean
    either = _Exchange(one, two)
    measured = abs(either.difference(np.zeros(num_videos)))
    num_as_large = 0
    random = np.random.default_rng((seed, 1))
    for _ in range(num_resamples):
        is_exchanged = random.integers(0, 2, size=num_videos).astype(np.float64)
        # Rounding must not make an exchange of nothing look smaller than the difference itself.
        num_as_large += abs(either.difference(is_exchanged)) >= measured - 1e-12
        step()
    p_value = (1 + num_as_large) / (1 + num_resamples)
    return Comparison(difference, _interval(differences, difference), p_value, num_videos)


def _evaluated_videos(*results: AvaResult) -> dict[str, int]:
    """Numbers for the videos that have annotations or predictions that count, by their ids.

    Raises:
        EvaluationError: if there is only one.
    """
    found: dict[str, int] = {}
    for result in results:
        num_predicted = np.bincount(result.ranking.videos, minlength=len(result.video_ids))
        for number in np.flatnonzero(result.annotated_by_video.any(axis=1) | (num_predicted > 0)).tolist():
            found.setdefault(result.video_ids[number], len(found))
    if len(found) < 2:
        raise EvaluationError("There is only one video, and how much films differ cannot be told from one")
    return found


def _require_mean(result: AvaResult) -> None:
    if np.isnan(result.mean):
        raise EvaluationError("No class counts, so that there is no mAP to be sure or unsure of")


def _have_same_annotations(first: AvaResult, second: AvaResult) -> bool:
    def counted(result: AvaResult) -> dict[str, list[int]]:
        rows = zip(result.video_ids, result.annotated_by_video, strict=True)
        return {video_id: row.tolist() for video_id, row in rows if row.any()}

    return counted(first) == counted(second)


def _draws(num_videos: int, number: int, seed: int) -> Iterator[Floats]:
    """How often each video is drawn."""
    random = np.random.default_rng((seed, 0))
    for _ in range(number):
        yield random.multinomial(num_videos, np.full(num_videos, 1 / num_videos)).astype(np.float64)


def _interval(values: Floats, measured: float) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(2 * measured - high), float(2 * measured - low)


class _WeightedPrecision:
    """Mean average precision where a video counts more than once, or not at all."""

    def __init__(self, result: AvaResult, video_ids: dict[str, int]) -> None:
        number = np.array([video_ids.get(name, -1) for name in result.video_ids], dtype=np.int32)
        self.annotated = np.zeros((len(video_ids), len(result.class_ids)), dtype=np.int64)
        self.annotated[number[number >= 0]] = result.annotated_by_video[number >= 0]
        self.counts = ~np.isnan(result.average_precision)
        self.classes = []
        for column in range(len(result.class_ids)):
            rows = result.ranking.of_class(column)
            videos = number[result.ranking.videos[rows]]
            self.classes.append((videos, np.flatnonzero(result.ranking.is_match[rows]), result.ranking.scores[rows]))

    def mean(self, weights: Floats) -> float:
        """MAP with these weights of the videos."""
        num_annotated = weights @ self.annotated
        values = np.full(len(self.classes), np.nan)
        for column in np.flatnonzero(self.counts):
            videos, matches, _ = self.classes[column]
            end = matches[-1] + 1 if len(matches) else 0  # what comes after the last match changes nothing
            values[column] = weighted_average_precision(weights[videos[:end]], matches, num_annotated[column])
        return mean_of(values)


class _Exchange:
    """Two sets of predictions in one order, so that each video's can go to either side."""

    def __init__(self, one: _WeightedPrecision, two: _WeightedPrecision) -> None:
        self.num_annotated = one.annotated.sum(axis=0).astype(np.float64)
        self.columns = np.flatnonzero(one.counts)
        self.classes = []
        for column in self.columns:
            (videos, matches, scores), (others, other_matches, other_scores) = one.classes[column], two.classes[column]
            order = np.argsort(-np.concatenate([scores, other_scores]), kind="stable")
            is_match = np.zeros(len(order), dtype=bool)
            is_match[np.concatenate([matches, len(videos) + other_matches])] = True
            is_second = np.arange(len(order)) >= len(videos)
            both = np.concatenate([videos, others])
            matches = np.flatnonzero(is_match[order])
            order = order[: matches[-1] + 1 if len(matches) else 0]
            self.classes.append((both[order], is_second[order], matches))

    def difference(self, is_exchanged: Floats) -> float:
        """MAP of the first less that of the second, after the predictions of some videos changed sides."""
        values = np.zeros((2, len(self.classes)))
        for index, (videos, is_second, matches) in enumerate(self.classes):
            number = self.num_annotated[self.columns[index]]
            of_first = np.where(is_second, is_exchanged[videos], 1 - is_exchanged[videos])
            values[0, index] = weighted_average_precision(of_first, matches, number)
            values[1, index] = weighted_average_precision(1 - of_first, matches, number)
        return mean_of(values[0]) - mean_of(values[1])


def weighted_average_precision(weights: Floats, matches: npt.NDArray[np.intp], num_annotated: float) -> float:
    """Average precision where a prediction counts more than once, or not at all.

    Args:
        weights: ``[N]`` how often each counts, best first.
        matches: which of them found something, ascending.
        num_annotated: how much there is to be found, counted as often.

    Returns:
        0 to 1; NaN if there is nothing to be found. With weights 1 the same as
        :func:`acrn_zoo.evaluation.average_precision.average_precision`.
    """
    if num_annotated == 0:
        return float("nan")
    of_match = weights[matches]
    ranks = np.cumsum(weights)[matches]
    # A match that counts for nothing takes no step and must not raise the envelope before it.
    is_drawn = of_match > 0
    found = np.cumsum(of_match)[is_drawn]
    envelope = np.maximum.accumulate((found / ranks[is_drawn])[::-1])[::-1]
    return float(np.sum(of_match[is_drawn] * envelope) / num_annotated)
