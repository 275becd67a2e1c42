"""Which rows of two tables are the same keyframe, and how well their boxes meet: whole arrays at once."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from acrn_zoo.data.keyframes import merge_boxes
from acrn_zoo.tables import BOX_COLUMNS, timestamp_key

LIKELY_PIXELS = 2.0
"""A coordinate above it is no fraction of a frame, not even of a box that leaves the frame."""

TOLERANCE = 1e-6
"""Of fractions of the frame."""

_PARTNERS = 0.5  # IoU
_MANY = 0.05
_RARE = 0.1  # of the rows of an average id


def keyframe_codes(*tables: pd.DataFrame) -> list[np.ndarray]:
    """For each table ``[N]`` whole numbers; rows with equal ones, also of two tables, are the same keyframe."""
    names: dict[str, int] = {}
    videos, times = [], []
    for table in tables:
        column = table["video_id"].cat
        known = np.array([names.setdefault(name, len(names)) for name in column.categories], dtype=np.int64)
        videos.append(known[column.codes.to_numpy()] if len(table) else np.empty(0, np.int64))
        times.append(timestamp_key(table["timestamp"].to_numpy()))
    moments, distinct = pd.factorize(np.concatenate(times))
    codes = np.concatenate(videos) * max(1, len(distinct)) + moments
    return np.split(codes, np.cumsum([len(table) for table in tables])[:-1])


def count_ids(table: pd.DataFrame) -> dict[int, int]:
    """Action id, ascending, to number of rows."""
    numbers, counts = np.unique(table["action_id"], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def is_first(codes: np.ndarray) -> np.ndarray:
    """``[N]`` whether a code stands there for the first time."""
    return ~pd.Series(codes).duplicated().to_numpy()


def boxes_of(table: pd.DataFrame) -> np.ndarray:
    """``[N, 4]`` float64, as in the file."""
    return table[list(BOX_COLUMNS)].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class BoxSet:
    """The different boxes of a table.

    Args:
        codes: ``[B]`` the keyframe of each, ascending.
        boxes: ``[B, 4]``.
        of_row: ``[N]`` which of them each row of the table has.
    """

    codes: np.ndarray
    boxes: np.ndarray
    of_row: np.ndarray


def distinct_boxes(codes: np.ndarray, boxes: np.ndarray) -> BoxSet:
    """The different boxes of rows ``codes [N]``, ``boxes [N, 4]``: those of a person who does several things once."""
    of_row, first = merge_boxes(pd.DataFrame(boxes, columns=list(BOX_COLUMNS)), codes)
    return BoxSet(codes[first], boxes[first], of_row)


def best_meetings(reference: BoxSet, other: BoxSet) -> tuple[np.ndarray, np.ndarray]:
    """For every reference box the box of the same keyframe in ``other`` that meets it best.

    Returns:
        ``[B]`` the intersection over union, 0 where there is none; ``[B]`` the index in ``other``, -1 where none
        touches it.
    """
    start = np.searchsorted(other.codes, reference.codes, side="left")
    count = np.searchsorted(other.codes, reference.codes, side="right") - start
    left = np.repeat(np.arange(len(reference.codes)), count)
    right = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    overlap = _iou(reference.boxes[left], other.boxes[right])
    order = np.lexsort((-overlap, left))
    first = order[np.flatnonzero(np.diff(left, prepend=-1))]  # of every reference box its best pair
    best = np.zeros(len(reference.codes))
    index = np.full(len(reference.codes), -1)
    best[left[first]] = overlap[first]
    index[left[first]] = np.where(overlap[first] > 0, right[first], -1)
    return best, index


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    size = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    common = size.clip(0).prod(1)
    total = (first[:, 2:] - first[:, :2]).clip(0).prod(1) + (second[:, 2:] - second[:, :2]).clip(0).prod(1) - common
    return np.divide(common, total, out=np.zeros_like(common), where=total > 0)


def swap_axes(boxes: np.ndarray) -> np.ndarray:
    """Boxes that were written y1, x1, y2, x2."""
    return boxes[:, [1, 0, 3, 2]]


def fitted_scale(reference: BoxSet, other: BoxSet) -> tuple[float, float] | None:
    """By how much ``other`` is larger in x and y; None if the two share no keyframe.

    A first guess is the median ratio of where the boxes of a keyframe reach to. Scaled by it, boxes find their
    partners, whose right and lower borders tell more exactly.
    """
    ratios = _sound_ratios(_reach(other) / _reach(reference))  # of keyframes of both
    if not len(ratios):
        return None
    guess = np.median(ratios, axis=0)
    scaled = BoxSet(other.codes, other.boxes / np.tile(guess, 2), other.of_row)
    overlap, index = best_meetings(reference, scaled)
    paired = overlap >= _PARTNERS
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = pd.DataFrame(other.boxes[index[paired], 2:] / reference.boxes[paired, 2:])
    exact_ratios = _sound_ratios(exact)
    x, y = np.median(exact_ratios, axis=0) if len(exact_ratios) else guess
    return float(x), float(y)


def _sound_ratios(ratios: pd.DataFrame) -> np.ndarray:
    values = ratios.to_numpy(dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return values[(np.isfinite(values) & (values > 0)).all(axis=1)]


def _reach(boxes: BoxSet) -> pd.DataFrame:
    far = pd.DataFrame({"code": boxes.codes, "x": boxes.boxes[:, 2], "y": boxes.boxes[:, 3]})
    return far.groupby("code").max()


def are_width_height(boxes: np.ndarray) -> bool:
    """Whether boxes ``[N, 4]`` are x, y, width, height: many end before they begin, and all would fit the frame."""
    inverted = np.any(boxes[:, 2:] < boxes[:, :2], axis=1)
    would_fit = (boxes[:, :2] + boxes[:, 2:] <= 1 + TOLERANCE).all()
    return bool(would_fit and inverted.sum() > _MANY * len(boxes))


def off_by_one(counts: Mapping[int, int], known: Collection[int], elsewhere: Iterable[int] = ()) -> int | None:
    """Whether every id is one too small or too large.

    A few rows with an id that is no class are a slip of the pen, and a file that ends one beyond the classes may
    lack one of them. So it takes three things: the strangers are no rare exception; all ids fit once shifted, up to
    the other end of the classes (or one is 0, with which others count from); and nothing elsewhere speaks against it.

    Args:
        counts: action id to number of rows.
        known: ids of the classes.
        elsewhere: ids of other files of the same dataset, which would have to be shifted too.

    Returns:
        1 if they are one too small throughout, -1 if one too large, None if neither explains them.
    """
    classes = set(known)
    strange = sum(count for number, count in counts.items() if number not in classes)
    if len(counts) < 2 or strange <= _RARE * sum(counts.values()) / len(counts):
        return None
    for shift in (1, -1):
        reaches = max(counts) + 1 == max(classes) if shift > 0 else min(counts) - 1 == min(classes)
        if (reaches or 0 in counts) and all(number + shift in classes for number in (*counts, *elsewhere)):
            return shift
    return None
