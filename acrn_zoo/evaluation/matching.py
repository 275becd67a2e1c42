"""Which predictions find what is annotated, and in which order they rank: on plain arrays, a class beside another.

Nothing here loops over rows. What only a loop can tell, the order in which the official reader's heap hands on
equal scores, is asked for the few keyframes where it matters.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from acrn_zoo.evaluation.average_precision import Booleans, Floats, Integers, intersection_over_union, stable_order
from acrn_zoo.evaluation.rows import Rows, differs_from_previous
from acrn_zoo.evaluation.rules import EvaluationError, Rule
from acrn_zoo.tables import BOX_COLUMNS

MIN_IOU = 0.5


@dataclass(frozen=True)
class Ranking:
    """Predictions of every class, best first, and what each of them found.

    Args:
        starts: ``[C + 1]``; the rows of class c are ``starts[c]`` to ``starts[c + 1]``.
        scores: ``[N]``.
        is_match: ``[N]`` whether the prediction found an annotated box.
        videos: ``[N]`` number of the video.
        num_annotated: ``[V, C]`` annotated boxes of each video and class.
    """

    starts: Integers
    scores: Floats
    is_match: Booleans
    videos: Integers
    num_annotated: Integers

    def of_class(self, column: int) -> slice:
        """The rows of one class."""
        return slice(int(self.starts[column]), int(self.starts[column + 1]))


@dataclass
class _Predictions:
    """Predictions that count, in the order of the file.

    ``place`` is where a row stands among equal scores: keyframes as the file names them first, rows within.
    """

    row: Integers
    keyframe: Integers
    column: npt.NDArray[np.int16]
    score: Floats
    place: Integers

    def take(self, is_kept: Booleans) -> "_Predictions":
        return _Predictions(*(values[is_kept] for values in vars(self).values()))


def rank_predictions(
    truth: Rows,
    truth_rows: Integers,
    found: Rows,
    rows: Integers,
    grid: tuple[int, int],
    rule: Rule,
    num_annotated: Integers,
) -> tuple[Ranking, Floats | None]:
    """Match predictions (``rows`` of ``found``) with annotations and put them in order."""
    score = found.table["score"].to_numpy(dtype=np.float64)[rows]
    keyframe = found.keyframe[rows]
    place = np.arange(len(rows))
    ascending = stable_order(score)
    by_place = _by_place(keyframe, grid[0], backwards=rule.order == "score, last first")
    if by_place is not None:
        place[by_place] = np.arange(len(rows))
        ascending = by_place[stable_order(score[by_place])]
    everything = _Predictions(rows, keyframe, found.column[rows], score, place)

    is_kept, is_tied = np.ones(len(rows), dtype=bool), np.zeros(grid[0], dtype=bool)
    if rule.max_rows is not None:
        is_kept, is_tied = _keep_best(everything, ascending, grid[0], rule.max_rows)
        _settle(everything, found, np.flatnonzero(is_tied), rule, is_kept)
    is_kept &= _has_area(found, rule)[rows]
    predictions = everything.take(is_kept)
    ascending = (np.cumsum(is_kept) - 1)[ascending[is_kept[ascending]]]

    targets = _Targets(truth, truth_rows, grid, rule)
    candidates, targets_of, unsure = _candidates(predictions, found, targets, rule)
    if rule.order == "heap" and len(unsure):
        targets = _Targets(truth, truth_rows, grid, rule, heap_keyframes=unsure)
        candidates, targets_of, _ = _candidates(predictions, found, targets, rule)

    # Class by class; from here on backwards, so that the best comes first, and of equal scores the last.
    ranked = ascending[stable_order((grid[1] - 1 - predictions.column)[ascending])]
    if rule.order == "heap":
        ties = _tied_keyframes(predictions, ranked, candidates, grid[0]) & ~is_tied
        _settle(everything, found, np.flatnonzero(ties), rule, None)
        predictions.place = everything.place[is_kept]
        ranked = _reordered(predictions, ranked, is_tied | ties)
    ranked = ranked[::-1]

    is_match = np.zeros(len(predictions.row), dtype=bool)
    is_match[candidates[_first_of_each(targets_of, _taking_order(predictions, candidates, rule))]] = True
    localisation = _localisation(predictions, targets, candidates, grid) if rule.has_localisation else None
    num_of_class = np.bincount(predictions.column, minlength=grid[1])
    return Ranking(
        starts=np.concatenate([[0], np.cumsum(num_of_class)]),
        scores=predictions.score[ranked],
        is_match=is_match[ranked],
        videos=found.video[predictions.row[ranked]],
        num_annotated=num_annotated,
    ), localisation


def _by_place(keyframe: Integers, num_keyframes: int, *, backwards: bool) -> Integers | None:
    """Rows in the order of keyframes as they are first named, within each as in the file, or against it.

    None if that is the order in which they stand.
    """
    starts = np.flatnonzero(differs_from_previous(keyframe))
    if len(np.unique(keyframe[starts])) == len(starts) and not backwards:
        return None
    first = np.zeros(num_keyframes, dtype=np.int64)
    first[keyframe[starts[::-1]]] = starts[::-1]  # the last assignment holds: that of the first row
    rows = np.arange(len(keyframe))[:: -1 if backwards else 1]
    return rows[stable_order(first[keyframe[rows]])]


def _keep_best(
    predictions: _Predictions, ascending: Integers, num_keyframes: int, max_rows: int
) -> tuple[Booleans, Booleans]:
    """Which rows are among the best of their keyframe, and at which keyframes equal scores leave that open."""
    is_kept = np.ones(len(predictions.row), dtype=bool)
    is_open = np.zeros(num_keyframes, dtype=bool)
    is_full = np.bincount(predictions.keyframe, minlength=num_keyframes) > max_rows
    best_first = ascending[is_full[predictions.keyframe[ascending]]][::-1]
    best_first = best_first[stable_order(predictions.keyframe[best_first])]
    keyframe = predictions.keyframe[best_first]
    starts = np.flatnonzero(differs_from_previous(keyframe))
    number = np.arange(len(keyframe)) - np.repeat(starts, np.diff(np.append(starts, len(keyframe))))
    is_kept[best_first[number >= max_rows]] = False
    cut = predictions.score[best_first]
    is_open[keyframe[starts[cut[starts + max_rows - 1] == cut[starts + max_rows]]]] = True
    return is_kept, is_open


def _has_area(found: Rows, rule: Rule) -> Booleans:
    x1, y1, x2, y2 = (found.table[name].to_numpy() for name in BOX_COLUMNS)
    if not rule.keeps_flat:
        return (x1 < x2) & (y1 < y2)
    if (is_inverted := (x1 > x2) | (y1 > y2)).any():
        row = found.table[is_inverted].iloc[0]
        raise EvaluationError(
            f"Row {int(np.flatnonzero(is_inverted)[0]) + 1} of the predictions ({row['video_id']}, "
            f"{row['timestamp']:g} s) has an inverted box, which this rule refuses; the official rule drops it"
        )
    return np.ones(len(x1), dtype=bool)


def _settle(predictions: _Predictions, found: Rows, keyframes: Integers, rule: Rule, is_kept: Booleans | None) -> None:
    """Give the rows of some keyframes the places, and if asked for the cut, that the official reader's heap gives."""
    for rows, entries in _entries_of(found, predictions.row, predictions.score, predictions.keyframe, keyframes):
        kept = rows[_heap_order(entries, rule.max_rows)]
        if is_kept is not None:
            is_kept[rows] = False
            is_kept[kept] = True
        predictions.place[kept] = np.sort(predictions.place[kept])


def _entries_of(
    table: Rows, row: Integers, score: Floats, of_row: Integers, keyframes: Integers
) -> Iterator[tuple[Integers, list[tuple[float, ...]]]]:
    """The rows of each of some keyframes, in the order of the file, and what the official reader makes of them."""
    is_wanted = np.zeros(int(of_row.max(initial=0)) + 1, dtype=bool)
    is_wanted[keyframes] = True
    rows = np.flatnonzero(is_wanted[of_row])
    rows = rows[stable_order(of_row[rows])]
    x1, y1, x2, y2 = table.boxes(row[rows], is_single=False).tolist()
    entries = list(zip(score[rows].tolist(), table.action_id[row[rows]].tolist(), y1, x1, y2, x2, strict=True))
    starts = [*np.flatnonzero(differs_from_previous(of_row[rows])).tolist(), len(rows)]
    for start, end in pairwise(starts if len(rows) else []):
        yield rows[start:end], entries[start:end]


def _heap_order(entries: list[tuple[float, ...]], max_rows: int | None) -> list[int]:
    """The rows of one keyframe as the official reader hands them on.

    It keeps them in a heap of (score, class, y1, x1, y2, x2), never more than ``max_rows``, where a new row takes
    the place of the least one only with a higher score, and sorts what the heap's array holds by falling score.
    """
    heap: list[tuple[float, ...]] = []
    for entry in entries:
        if max_rows is None or len(heap) < max_rows:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    numbers: dict[tuple[float, ...], list[int]] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry, []).append(number)  # equal rows are one as good as the other
    return [numbers[entry].pop() for entry in sorted(heap, key=lambda entry: -entry[0])]


class _Targets:
    """Annotated boxes, those of a keyframe and class side by side, in the order in which equal overlaps are taken."""

    def __init__(
        self,
        truth: Rows,
        rows: Integers,
        grid: tuple[int, int],
        rule: Rule,
        heap_keyframes: Integers | None = None,
    ) -> None:
        group = truth.keyframe[rows] * grid[1] + truth.column[rows]
        person = np.zeros(len(rows))
        if rule.order in ("heap", "score"):  # their reader takes the last column for a score
            person = truth.table["person_id"].to_numpy(dtype=np.float64)[rows]
            person = np.where(np.isnan(person), 1.0, person)
        place = np.arange(len(rows))
        if heap_keyframes is not None:
            for own, entries in _entries_of(truth, rows, person, truth.keyframe[rows], heap_keyframes):
                place[own[_heap_order(entries, None)]] = np.sort(place[own])
        order = np.lexsort((place, -person, group))
        self.group, self.person = group[order], person[order]
        self.boxes = truth.boxes(rows[order], rule.is_single)
        self.num_of_group = np.bincount(group, minlength=grid[0] * grid[1])
        self.start_of_group = np.cumsum(self.num_of_group) - self.num_of_group
        self.num_columns = grid[1]
        x1, y1, x2, y2 = self.boxes
        self.is_inverted = (x1 > x2) | (y1 > y2)
        self.moment = [
            (str(truth.table["video_id"].iloc[row]), truth.timestamp[row]) for row in rows[order][self.is_inverted]
        ]


def _candidates(
    predictions: _Predictions, found: Rows, targets: _Targets, rule: Rule
) -> tuple[Integers, Integers, Integers]:
    """Predictions that overlap an annotated box enough, the box that each overlaps most, and unsure keyframes.

    Unsure is where boxes that differ are overlapped alike, and their person ids do not say which comes first.
    """
    group = predictions.keyframe * targets.num_columns + predictions.column
    number = targets.num_of_group[group]
    rows = np.flatnonzero(number)
    number = number[rows]
    ends = np.cumsum(number)
    of_pair = np.repeat(rows, number)
    target = np.arange(len(of_pair)) + np.repeat(targets.start_of_group[group[rows]] - (ends - number), number)
    if targets.moment and targets.is_inverted[target].any():
        video_id, moment = targets.moment[0]
        raise EvaluationError(
            f"An annotated box is inverted, for example at {video_id}, {moment:g} s: expected x1 <= x2 and y1 <= y2"
        )
    boxes = found.boxes(predictions.row[rows], rule.is_single)
    overlap = intersection_over_union(np.repeat(boxes, number, axis=1), targets.boxes[:, target])
    hits = np.flatnonzero(overlap >= MIN_IOU)
    of_pair, target, overlap = of_pair[hits], target[hits], overlap[hits]
    starts = np.flatnonzero(differs_from_previous(of_pair))
    if not len(starts):
        return starts, starts, starts
    most = np.repeat(np.maximum.reduceat(overlap, starts), np.diff(np.append(starts, len(overlap))))
    best = np.flatnonzero(overlap == most)
    is_first = differs_from_previous(of_pair[best])
    chosen = best[is_first]
    later, first = best[~is_first], chosen[np.cumsum(is_first)[~is_first] - 1]
    differs = (targets.boxes[:, target[later]] != targets.boxes[:, target[first]]).any(axis=0)
    differs &= targets.person[target[later]] == targets.person[target[first]]
    return of_pair[chosen], target[chosen], np.unique(predictions.keyframe[of_pair[later[differs]]])


def _tied_keyframes(predictions: _Predictions, ranked: Integers, candidates: Integers, num_keyframes: int) -> Booleans:
    """Keyframes where a candidate has the score of another prediction of its class, so that their order counts."""
    is_candidate = np.zeros(len(predictions.row), dtype=bool)
    is_candidate[candidates] = True
    score = predictions.score[ranked]
    pairs = np.flatnonzero(score[1:] == score[:-1])
    keyframe = predictions.keyframe[ranked]
    pairs = pairs[keyframe[pairs] == keyframe[pairs + 1]]
    pairs = pairs[predictions.column[ranked[pairs]] == predictions.column[ranked[pairs + 1]]]
    pairs = pairs[is_candidate[ranked[pairs]] | is_candidate[ranked[pairs + 1]]]
    of_keyframe = np.zeros(num_keyframes, dtype=bool)
    of_keyframe[keyframe[pairs]] = True
    return of_keyframe


def _reordered(predictions: _Predictions, ranked: Integers, has_new_places: Booleans) -> Integers:
    """The order after rows of some keyframes have changed places among themselves."""
    slots = np.flatnonzero(has_new_places[predictions.keyframe[ranked]])
    rows = ranked[slots]
    column = predictions.column[rows]
    ranked = ranked.copy()
    ranked[slots] = rows[np.lexsort((predictions.place[rows], predictions.score[rows], -column))]
    return ranked


def _taking_order(predictions: _Predictions, candidates: Integers, rule: Rule) -> Integers:
    """The order in which candidates take boxes."""
    place = predictions.place[candidates]
    if rule.order == "file":
        return np.argsort(place, kind="stable")
    return np.lexsort((place, -predictions.score[candidates]))


def _first_of_each(values: Integers, order: Integers) -> Integers:
    """Of each value, the index that comes first in an order."""
    _, first = np.unique(values[order], return_index=True)
    return order[first]


def _localisation(predictions: _Predictions, targets: _Targets, candidates: Integers, grid: tuple[int, int]) -> Floats:
    """CorLoc of each class, ``[C]``; NaN where it is not annotated."""
    group = predictions.keyframe * grid[1] + predictions.column
    rows = np.flatnonzero(targets.num_of_group[group])
    best = rows[_first_of_each(group[rows], np.lexsort((predictions.place[rows], -predictions.score[rows])))]
    is_candidate = np.zeros(len(group), dtype=bool)
    is_candidate[candidates] = True
    num_correct = np.bincount(predictions.column[best[is_candidate[best]]], minlength=grid[1])
    num_keyframes = np.count_nonzero(targets.num_of_group.reshape(grid), axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(num_keyframes > 0, num_correct / num_keyframes, np.nan)
