"""Average precision from plain arrays: overlaps, orders, precision and recall.

All of it is exact float64 arithmetic in the order of operations of the official evaluation, so that results are
equal to it to the last digit, and its cost grows linearly with the number of rows.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.signedinteger]
Booleans = npt.NDArray[np.bool_]

_DIGIT_BITS = 16  # NumPy's stable sort of 16-bit numbers is a radix sort: linear, and many times faster


def intersection_over_union(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray:
    """Overlap of boxes, pair by pair.

    Args:
        first: ``[4, N]``: x1, y1, x2, y2 of N boxes, in any unit.
        second: ``[4, N]``.

    Returns:
        ``[N]``, in the type of the boxes; 0 where boxes do not meet. Two boxes without area give NaN.
    """
    x1, y1, x2, y2 = first
    left, top, right, bottom = second
    height = np.maximum(0, np.minimum(y2, bottom) - np.maximum(y1, top))
    width = np.maximum(0, np.minimum(x2, right) - np.maximum(x1, left))
    intersection = height * width
    with np.errstate(invalid="ignore"):
        return intersection / ((y2 - y1) * (x2 - x1) + (bottom - top) * (right - left) - intersection)


def stable_order(*keys: npt.NDArray) -> Integers:
    """The order that sorts by the last key first; among equals rows stay in their order. As ``np.lexsort``, faster.

    Args:
        keys: ``[N]`` arrays of integers from 0 on, or of finite floats.

    Returns:
        ``[N]`` row numbers.
    """
    order: Integers = np.arange(len(keys[0]), dtype=np.int32 if len(keys[0]) < 2**31 else np.int64)
    for key in keys:
        bits = _sortable_bits(key)
        highest = int(bits.max(initial=0))
        lowest = int(bits.min(initial=highest))
        for shift in range(0, 64, _DIGIT_BITS):
            if lowest >> shift == highest >> shift:
                break
            digit = (bits >> shift if shift else bits).astype(np.uint16)
            order = order[np.argsort(digit[order], kind="stable")]
    return order


def _sortable_bits(key: npt.NDArray) -> npt.NDArray:
    """Whole numbers from 0 on in the order of the key's values."""
    if key.dtype.kind != "f":
        return key
    values = key.astype(np.float64) + 0.0  # -0 and 0 are equal
    # Decimals of few digits, as most files have them, need one pass as whole numbers in place of four.
    scaled = np.rint(values * 1e4)
    if len(values) and scaled.min() >= 0 and scaled.max() < 2**_DIGIT_BITS and (scaled / 1e4 == values).all():
        return scaled.astype(np.uint16)
    bits = values.view(np.uint64)
    sign = np.uint64(1) << np.uint64(63)
    return np.where(bits & sign, ~bits, bits | sign)


def precision_and_recall(is_match: Booleans, num_ground_truth: int) -> tuple[Floats, Floats]:
    """Precision and recall of the best one, two, three, ... predictions of a class.

    Args:
        is_match: ``[N]`` whether a prediction found what is there, best prediction first.
        num_ground_truth: how many there are to be found, at least 1.

    Returns:
        Precision ``[N]`` and recall ``[N]``.
    """
    num_found = np.cumsum(is_match).astype(np.float64)
    return num_found / np.arange(1, len(is_match) + 1), num_found / num_ground_truth


def average_precision(is_match: Booleans, num_ground_truth: int) -> float:
    """Area under the envelope of the precision-recall curve, at all its steps (Pascal VOC from 2010 on).

    Args:
        is_match: ``[N]`` whether a prediction found what is there, best prediction first.
        num_ground_truth: how many there are to be found.

    Returns:
        0 to 1; NaN if there is nothing to be found.
    """
    return average_precision_at(np.flatnonzero(is_match) + 1, num_ground_truth)


def average_precision_at(ranks: Integers, num_ground_truth: int) -> float:
    """As :func:`average_precision`, from the ranks (from 1 on, ascending) of the predictions that match."""
    if num_ground_truth == 0:
        return float("nan")
    if len(ranks) == 0:
        return 0.0
    num_found = np.arange(1, len(ranks) + 1, dtype=np.float64)
    # Precision falls until the next match, so its envelope is told by the matches alone.
    envelope = np.maximum.accumulate((num_found / ranks)[::-1])[::-1]
    recall = np.concatenate([[0.0], num_found / num_ground_truth])
    steps = (recall[1:] - recall[:-1]) * envelope
    if recall[-1] != 1.0:
        steps = np.append(steps, 0.0)  # the official sum has this term; pairwise summation depends on its length
    return float(np.sum(steps))


def average_precision_range(scores: Floats, is_match: Booleans, num_ground_truth: int) -> tuple[float, float]:
    """The lowest and the highest average precision over all orders of predictions with equal scores.

    Args:
        scores: ``[N]``, best first.
        is_match: ``[N]``.
        num_ground_truth: how many there are to be found.
    """
    matches = np.flatnonzero(is_match)
    block = np.cumsum(np.concatenate([[False], scores[1:] != scores[:-1]])) if len(scores) else np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]])) if len(scores) else matches
    ends = np.append(starts[1:], len(scores))
    of_match = block[matches]
    first = np.searchsorted(of_match, of_match, side="left")
    last = np.searchsorted(of_match, of_match, side="right")
    number = np.arange(len(matches))
    best = starts[of_match] + (number - first) + 1
    worst = ends[of_match] - (last - number) + 1
    return average_precision_at(worst, num_ground_truth), average_precision_at(best, num_ground_truth)
