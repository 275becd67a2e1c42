"""Which predictions find what is annotated, and in which order they rank: on plain arrays, a class beside another.

Nothing here loops over rows, but over blocks of them, so that what is in work stays small. What only a loop can tell,
the order in which the official reader's heap hands on equal scores, is asked for the few keyframes where it matters.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from acrn_zoo.evaluation.average_precision import Booleans, Floats, Integers, intersection_over_union, stable_order
from acrn_zoo.evaluation.rows import Rows, differs_from_previous
from acrn_zoo.evaluation.rules import EvaluationError, Rule

MIN_IOU = 0.5
BLOCK_SIZE = 1 << 17  # rows; a megabyte a column

Entry = tuple[float, ...]
"""What the official reader makes of a row: score, class, y1, x1, y2, x2."""


@dataclass(frozen=True)
class Ranking:
    """Predictions of every class, best first, and what each of them found.

    Args:
        starts: ``[C + 1]``; the rows of class c are ``starts[c]`` to ``starts[c + 1]``.
        scores: ``[N]``.
        is_match: ``[N]`` whether the prediction found an annotated box.
        videos: ``[N]`` number of the video.
    """

    starts: Integers
    scores: Floats
    is_match: Booleans
    videos: Integers

    def of_class(self, column: int) -> slice:
        """The rows of one class."""
        return slice(int(self.starts[column]), int(self.starts[column + 1]))


def rank_predictions(
    truth: Rows, truth_rows: Integers, found: Rows, rows: Integers, grid: tuple[int, int], rule: Rule
) -> tuple[Ranking, Floats | None]:
    """Match predictions with annotations and put them in order.

    Args:
        truth: the annotations.
        truth_rows: those of them that can be found.
        found: the predictions.
        rows: those of them that count, in the order of the file.
        grid: the number of keyframes and of classes.
        rule: the rule.

    Returns:
        The ranking, and CorLoc of each class if the rule reports it.
    """
    targets = _Targets(truth, truth_rows, grid, rule)
    rows = _by_keyframe(rows, found.keyframe, grid[0], backwards=rule.order == "score, last first")
    matched = [_match_block(block, found, targets, rule) for block in _blocks(rows, found.keyframe)]
    row, is_match, is_hit = (np.concatenate(parts) for parts in zip(*matched, strict=True))
    column, score = found.column[row], found.scores(row)
    # Best first, and of equal scores the last: an ascending stable order, read backwards.
    ranked = stable_order(score, grid[1] - 1 - column)[::-1]
    ranking = Ranking(
        starts=np.concatenate([[0], np.cumsum(np.bincount(column, minlength=grid[1]))]),
        scores=score[ranked],
        is_match=is_match[ranked],
        videos=found.video[row[ranked]],
    )
    return ranking, _localisation(row, is_hit, found, targets) if rule.has_localisation else None


def _by_keyframe(rows: Integers, of_row: Integers, num_keyframes: int, *, backwards: bool) -> Integers:
    """The rows by keyframes, as the file names these first; within each as in the file, or against it."""
    keyframe = of_row[rows]
    starts = np.flatnonzero(differs_from_previous(keyframe))
    if len(np.unique(keyframe[starts])) == len(starts) and not backwards:
        return rows
    first = np.zeros(num_keyframes, dtype=np.int64)
    first[keyframe[starts[::-1]]] = starts[::-1]  # the last assignment holds: that of the first row
    if backwards:
        rows, keyframe = rows[::-1], keyframe[::-1]
    return rows[stable_order(first[keyframe])]


def _blocks(rows: Integers, of_row: Integers) -> Iterator[Integers]:
    """The rows in blocks of whole keyframes; at least one block."""
    starts = np.flatnonzero(differs_from_previous(of_row[rows]))
    number = starts // BLOCK_SIZE
    yield from np.split(rows, starts[np.flatnonzero(differs_from_previous(number))][1:])


class _Block:
    """Predictions of some keyframes, those of each side by side.

    ``place`` is where a row stands among rows of its keyframe with the same score; at first, as it stands here.
    """

    def __init__(self, row: Integers, found: Rows) -> None:
        self.found, self.row = found, row
        keyframe = found.keyframe[row]
        self.starts = np.flatnonzero(differs_from_previous(keyframe))
        self.lengths = np.diff(np.append(self.starts, len(row)))
        self.keyframes = keyframe[self.starts].astype(np.int64)
        self.run = np.repeat(np.arange(len(self.starts)), self.lengths)
        self.column = found.column[row]
        self.score = found.scores(row)
        if np.isnan(self.score.min(initial=0.0)):
            raise EvaluationError("A prediction has no score (NaN): they cannot be put in order")
        self.place = np.arange(len(row))

    def settle(self, runs: Integers, max_rows: int | None, is_kept: Booleans | None = None) -> None:
        """Give the rows of some keyframes the places that the official reader's heap gives them, and its cut."""
        index = _indices_of(self.starts[runs], self.lengths[runs])
        row = self.row[index]
        boxes = self.found.boxes(row, is_single=False)
        entries = _entries(self.score[index], self.found.action_id[row], boxes)
        for start, length, end in zip(
            self.starts[runs].tolist(), self.lengths[runs].tolist(), np.cumsum(self.lengths[runs]).tolist(), strict=True
        ):
            kept = start + np.array(_heap_order(entries[end - length : end], max_rows))
            self.place[kept] = np.sort(kept)
            if is_kept is not None:
                is_kept[start : start + length] = False
                is_kept[kept] = True


def _match_block(row: Integers, found: Rows, targets: "_Targets", rule: Rule) -> tuple[Integers, Booleans, Booleans]:
    """The rows that are ranked, in the order of equal scores; which of them match, and which overlap enough."""
    block = _Block(row, found)
    is_kept, settled = np.ones(len(row), dtype=bool), np.zeros(0, dtype=np.int64)
    if rule.max_rows is not None:
        settled = _keep_best(block, rule.max_rows, is_kept)
    kept = np.flatnonzero(is_kept)
    boxes = found.boxes(row[kept], rule.is_single)
    has_area = _has_area(boxes, found, row[kept], rule)
    kept, boxes = kept[has_area], boxes[:, has_area]

    hits, target, unsure = _candidates(block, kept, boxes, targets)
    if rule.order == "heap" and len(unsure):
        targets.settle(unsure)
        hits, target, _ = _candidates(block, kept, boxes, targets)
    if rule.order == "heap":
        tied = np.setdiff1d(_tied_runs(block, kept, hits, targets.num_columns), settled)
        block.settle(tied, rule.max_rows)
        settled = np.append(settled, tied)

    place = block.place[kept]
    by_place = place[hits]
    taking = np.argsort(by_place) if rule.order == "file" else np.lexsort((by_place, -block.score[kept[hits]]))
    is_match, is_hit = np.zeros((2, len(kept)), dtype=bool)
    is_match[hits[_first_of_each(target, taking)]] = True
    is_hit[hits] = True
    if len(settled):
        order = np.argsort(place, kind="stable")
        kept, is_match, is_hit = kept[order], is_match[order], is_hit[order]
    return row[kept], is_match, is_hit


def _keep_best(block: _Block, max_rows: int, is_kept: Booleans) -> Integers:
    """Unmark rows beyond the best of their keyframe; the runs where equal scores left that to the heap."""
    full = np.flatnonzero(block.lengths > max_rows)
    lengths = block.lengths[full]
    index = _indices_of(block.starts[full], lengths)
    best_first = index[stable_order(block.score[index])][::-1]
    best_first = best_first[stable_order(block.run[best_first])]
    first = np.cumsum(lengths) - lengths
    number = np.arange(len(index)) - np.repeat(first, lengths)
    is_kept[best_first[number >= max_rows]] = False
    score = block.score[best_first]
    is_open = full[score[first + max_rows - 1] == score[first + max_rows]]
    block.settle(is_open, max_rows, is_kept)
    return is_open


def _indices_of(starts: Integers, lengths: Integers) -> Integers:
    """``starts[0]``, ``starts[0] + 1``, ... for ``lengths[0]`` numbers, then those from ``starts[1]``, and so on."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)


def _has_area(boxes: npt.NDArray, found: Rows, row: Integers, rule: Rule) -> Booleans:
    x1, y1, x2, y2 = boxes
    if not rule.keeps_flat:
        return (x1 < x2) & (y1 < y2)
    inverted = np.flatnonzero((x1 > x2) | (y1 > y2))
    if len(inverted):
        number = int(row[inverted[0]])
        first = found.table.iloc[number]
        raise EvaluationError(
            f"Row {number + 1} of the predictions ({first['video_id']}, {first['timestamp']:g} s) has an inverted box, "
            "which this rule refuses; the official rule drops it"
        )
    return np.ones(len(row), dtype=bool)


def _candidates(
    block: _Block, kept: Integers, boxes: npt.NDArray, targets: "_Targets"
) -> tuple[Integers, Integers, Integers]:
    """Predictions that overlap an annotated box enough, the box that each overlaps most, and unsure keyframes.

    Unsure is where boxes that differ are overlapped alike, and their person ids do not say which comes first.
    """
    group = block.keyframes[block.run[kept]] * targets.num_columns + block.column[kept]
    number = targets.num_of_group[group]
    rows = np.flatnonzero(number)
    number = number[rows]
    of_pair = np.repeat(rows, number)
    target = _indices_of(targets.start_of_group[group[rows]], number)
    targets.require_upright(target)
    overlap = intersection_over_union(boxes[:, of_pair], targets.boxes[:, target])
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
    is_unsure = targets.are_alike(target[later], target[first])
    return of_pair[chosen], target[chosen], block.keyframes[np.unique(block.run[kept[of_pair[later[is_unsure]]]])]


def _tied_runs(block: _Block, kept: Integers, hits: Integers, num_columns: int) -> Integers:
    """Keyframes where a candidate has the score of another prediction of its class, so that their order counts."""
    group = block.run[kept] * num_columns + block.column[kept]
    has_candidate = np.zeros(len(block.starts) * num_columns, dtype=bool)
    has_candidate[group[hits]] = True
    is_candidate = np.zeros(len(kept), dtype=bool)
    is_candidate[hits] = True
    rows = np.flatnonzero(has_candidate[group])
    score = block.score[kept[rows]]
    order = np.lexsort((score, group[rows]))
    rows, score = rows[order], score[order]
    is_tied = (score[1:] == score[:-1]) & (group[rows[1:]] == group[rows[:-1]])
    is_tied &= is_candidate[rows[1:]] | is_candidate[rows[:-1]]
    return np.unique(block.run[kept[rows[1:][is_tied]]])


def _first_of_each(values: Integers, order: Integers) -> Integers:
    """Of each value, the index that comes first in an order."""
    _, first = np.unique(values[order], return_index=True)
    return order[first]


def _localisation(row: Integers, is_hit: Booleans, found: Rows, targets: "_Targets") -> Floats:
    """CorLoc of each class, ``[C]``; NaN where it is not annotated."""
    group = found.keyframe[row].astype(np.int64) * targets.num_columns + found.column[row]
    rows = np.flatnonzero(targets.num_of_group[group])
    best = rows[_first_of_each(group[rows], np.lexsort((rows, -found.scores(row[rows]))))]
    num_correct = np.bincount(found.column[row[best[is_hit[best]]]], minlength=targets.num_columns)
    num_keyframes = np.count_nonzero(targets.num_of_group.reshape(-1, targets.num_columns), axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(num_keyframes > 0, num_correct / num_keyframes, np.nan)


class _Targets:
    """Annotated boxes, those of a keyframe and class side by side, in the order in which equal overlaps are taken."""

    def __init__(self, truth: Rows, rows: Integers, grid: tuple[int, int], rule: Rule) -> None:
        self.truth, self.num_columns = truth, grid[1]
        group = truth.keyframe[rows].astype(np.int64) * grid[1] + truth.column[rows]
        person = np.zeros(len(rows))
        if rule.order in ("heap", "score"):  # their reader takes the last column for a score
            person = truth.table["person_id"].to_numpy(dtype=np.float64)[rows]
            person = np.where(np.isnan(person), 1.0, person)
        order = stable_order(-person, group)
        self.row, self.person = rows[order], person[order]
        self.boxes = truth.boxes(self.row, rule.is_single)
        self.num_of_group = np.bincount(group, minlength=grid[0] * grid[1])
        self.start_of_group = np.cumsum(self.num_of_group) - self.num_of_group
        x1, y1, x2, y2 = self.boxes
        self.is_inverted = (x1 > x2) | (y1 > y2)

    def require_upright(self, targets: Integers) -> None:
        """Refuse inverted boxes that predictions meet."""
        if self.is_inverted.any() and self.is_inverted[targets].any():
            row = self.truth.table.iloc[int(self.row[targets][self.is_inverted[targets]][0])]
            raise EvaluationError(
                f"An annotated box is inverted, for example at {row['video_id']}, {row['timestamp']:g} s: expected "
                "x1 <= x2 and y1 <= y2"
            )

    def are_alike(self, targets: Integers, others: Integers) -> Booleans:
        """Whether nothing but the official reader's heap says which of two boxes that differ comes first."""
        differ = (self.boxes[:, targets] != self.boxes[:, others]).any(axis=0)
        return differ & (self.person[targets] == self.person[others])

    def settle(self, keyframes: Integers) -> None:
        """Put the boxes of some keyframes in the order that the official reader's heap gives them."""
        for keyframe in keyframes.tolist():
            groups = slice(keyframe * self.num_columns, (keyframe + 1) * self.num_columns)
            start = int(self.start_of_group[groups][0])
            own = np.arange(start, start + int(self.num_of_group[groups].sum()))
            own = own[np.argsort(self.row[own])]  # the heap is filled in the order of the file
            row = self.row[own]
            boxes = self.truth.boxes(row, is_single=False)
            heap = own[_heap_order(_entries(self.person[own], self.truth.action_id[row], boxes), None)]
            heap = heap[np.argsort(self.truth.column[self.row[heap]], kind="stable")]
            new = slice(start, start + len(own))
            for values in (self.row, self.person, self.is_inverted):
                values[new] = values[heap]
            self.boxes[:, new] = self.boxes[:, heap]


def _entries(scores: Floats, action_ids: Integers, boxes: npt.NDArray[np.floating]) -> list[Entry]:
    x1, y1, x2, y2 = boxes.tolist()
    return list(zip(scores.tolist(), action_ids.tolist(), y1, x1, y2, x2, strict=True))


def _heap_order(entries: list[Entry], max_rows: int | None) -> list[int]:
    """The rows of one keyframe as the official reader hands them on.

    It keeps them in a heap of (score, class, y1, x1, y2, x2), never more than ``max_rows``, where a new row takes
    the place of the least one only with a higher score, and sorts what the heap's array holds by falling score.
    """
    heap: list[Entry] = []
    for entry in entries:
        if max_rows is None or len(heap) < max_rows:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    ranked = sorted(heap, key=itemgetter(0), reverse=True)  # which leaves equal scores in their order
    number_of = dict(zip(entries, range(len(entries)), strict=True))
    if len(number_of) == len(entries):
        return [number_of[entry] for entry in ranked]
    numbers: dict[Entry, list[int]] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry, []).append(number)  # equal rows are one as good as the other
    return [numbers[entry].pop() for entry in ranked]
