"""The official AVA rule in plain Python: lists, dictionaries and a loop over keyframes and classes.

What :mod:`acrn_zoo.evaluation.ava` is compared with, in its results (by the tests) and in its speed (by
``benchmarks.evaluation``).
"""

import csv
import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from acrn_zoo.evaluation.average_precision import average_precision

Row = tuple[str, float, float, float, float, float, int, float]
Entry = tuple[float, int, float, float, float, float]
Keyframe = tuple[str, str]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file in AVA's form with eight columns."""
    with path.open(newline="") as file:
        return [(row[0], *map(float, row[1:6]), int(row[6]), float(row[7])) for row in csv.reader(file)]  # type: ignore[misc]


def plain_official(
    truth: Iterable[Row], found: Iterable[Row], class_ids: Collection[int], max_rows: int = 50
) -> dict[int, float]:
    """Average precision of each class; NaN where nothing is annotated."""
    truth = list(truth)
    annotated = {_key(row) for row in truth}
    truth_read, found_read = _as_read(truth, class_ids, None), _as_read(found, class_ids, max_rows)
    num_annotated = dict.fromkeys(class_ids, 0)
    for entries in truth_read.values():
        for entry in entries:
            num_annotated[entry[1]] += 1
    ranked: dict[int, list[tuple[float, bool]]] = {class_id: [] for class_id in class_ids}
    for key, entries in found_read.items():
        if key in annotated:
            for class_id in {entry[1] for entry in entries}:
                own = [entry for entry in entries if entry[1] == class_id]
                targets = [entry for entry in truth_read.get(key, []) if entry[1] == class_id]
                ranked[class_id].extend(_match(own, targets))
    precision = {}
    for class_id, pairs in ranked.items():
        order = np.argsort(np.array([score for score, _ in pairs]), kind="stable")[::-1]
        is_match = np.array([match for _, match in pairs], dtype=bool)[order]
        precision[class_id] = average_precision(is_match, num_annotated[class_id])
    return precision


def _key(row: Row) -> Keyframe:
    return row[0], f"{row[1]:.6f}"


def _as_read(rows: Iterable[Row], class_ids: Collection[int], max_rows: int | None) -> dict[Keyframe, list[Entry]]:
    """By keyframe, (score, class, y1, x1, y2, x2) by falling score, as the official reader's heap gives them."""
    heaps: dict[Keyframe, list[Entry]] = defaultdict(list)
    for row in rows:
        _, _, x1, y1, x2, y2, action_id, score = row
        if action_id not in class_ids:
            continue
        heap, entry = heaps[_key(row)], (score, action_id, y1, x1, y2, x2)
        if max_rows is None or len(heap) < max_rows:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    return {key: sorted(heap, key=lambda entry: -entry[0]) for key, heap in heaps.items()}


def _match(found: list[Entry], targets: list[Entry]) -> list[tuple[float, bool]]:
    """Score, and whether it found something, of the predictions of one keyframe and class."""
    boxes = np.array([entry[2:] for entry in found])
    has_area = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    boxes, scores = boxes[has_area], [entry[0] for entry, keep in zip(found, has_area, strict=True) if keep]
    if not targets or not scores:
        return [(score, False) for score in scores]
    overlaps = _overlaps(boxes, np.array([entry[2:] for entry in targets]))
    taken: set[int] = set()
    pairs = []
    for score, row in zip(scores, overlaps, strict=True):
        best = int(np.argmax(row))
        is_match = bool(row[best] >= 0.5) and best not in taken
        if is_match:
            taken.add(best)
        pairs.append((score, is_match))
    return pairs


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    top, left, bottom, right = (column[:, None] for column in first.T)
    y1, x1, y2, x2 = second.T
    height = np.maximum(0, np.minimum(bottom, y2) - np.maximum(top, y1))
    width = np.maximum(0, np.minimum(right, x2) - np.maximum(left, x1))
    shared = height * width
    return shared / ((bottom - top) * (right - left) + (y2 - y1) * (x2 - x1) - shared)
