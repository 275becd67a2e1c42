"""The arithmetic against slow, plain ways of doing the same."""

import itertools

import numpy as np
import pytest

from acrn_zoo.evaluation.average_precision import (
    average_precision,
    average_precision_range,
    intersection_over_union,
    precision_and_recall,
    stable_order,
)


def area_by_definition(is_match: list[bool], num_annotated: int) -> float:
    """The integral over recall of the best precision at this recall or more."""
    points = []
    for number in range(1, len(is_match) + 1):
        found = sum(is_match[:number])
        points.append((found / num_annotated, found / number))
    area, before = 0.0, 0.0
    for recall, _ in points:
        area += (recall - before) * max(precision for other, precision in points if other >= recall)
        before = recall
    return area


def test_average_precision_is_the_area_under_the_envelope() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        is_match = random.random(random.integers(1, 30)) < random.random()
        num_annotated = int(is_match.sum() + random.integers(0, 4)) or 1
        expected = area_by_definition(is_match.tolist(), num_annotated)
        assert average_precision(is_match, num_annotated) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("is_match", "num_annotated", "expected"),
    [
        ([True, True], 2, 1.0),
        ([False], 3, 0.0),
        ([], 3, 0.0),
        ([False, True], 1, 0.5),
        ([True, False, True], 4, 5 / 12),
    ],
)
def test_by_hand(is_match: list[bool], num_annotated: int, expected: float) -> None:
    assert average_precision(np.array(is_match, dtype=bool), num_annotated) == pytest.approx(expected, abs=1e-15)


def test_nothing_to_find_has_no_average_precision() -> None:
    assert np.isnan(average_precision(np.array([False]), 0))


def test_precision_and_recall() -> None:
    precision, recall = precision_and_recall(np.array([True, False, True]), 4)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 1 / 2])


def test_range_is_that_of_all_orders_of_equal_scores() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2])
    is_match = np.array([False, True, False, True, False, True, False])
    values = []
    for middle in itertools.permutations(range(1, 5)):
        for last in itertools.permutations(range(5, 7)):
            values.append(average_precision(is_match[[0, *middle, *last]], 4))
    assert average_precision_range(scores, is_match, 4) == (min(values), max(values))
    assert min(values) < max(values)


def test_range_of_nothing() -> None:
    nothing = np.zeros(0)
    assert average_precision_range(nothing, nothing.astype(bool), 2) == (0.0, 0.0)
    assert average_precision_range(np.array([1.0]), np.array([False]), 2) == (0.0, 0.0)


@pytest.mark.parametrize(
    "keys",
    [
        [np.array([3, 1, 2, 1, 70000, 3])],
        [np.array([0.5, -0.0, 0.0, -1.5, 1e300, -1e-300])],
        [np.array([0.25, 0.1234, 0.25, 6.5535, 0.0])],
        [np.array([0.25, 0.12345, 0.25, 7.5, 0.0])],
        [np.array([2, 1, 2, 1]), np.array([1.0, 1.0, -3.0, -3.0])],
        [np.array([5, 5, 5])],
        [np.zeros(0)],
        [np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int16)],
        [np.arange(200_000) % 70_001, np.arange(200_000)[::-1] % 13],
    ],
    ids=str,
)
def test_stable_order_is_lexsort(keys: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(stable_order(*keys), np.lexsort(keys))


def test_stable_order_of_random_floats() -> None:
    random = np.random.default_rng(1)
    for values in (random.normal(size=5000), random.random(5000).round(4), random.random(5000).round(1) * 1e9):
        np.testing.assert_array_equal(stable_order(values), np.argsort(values, kind="stable"))


def test_intersection_over_union() -> None:
    first = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 4, 1]], dtype=np.float64).T
    second = np.array([[1, 1, 3, 3], [2, 2, 3, 3], [1, 0, 3, 1]], dtype=np.float64).T
    np.testing.assert_allclose(intersection_over_union(first, second), [1 / 7, 0, 1 / 2])
    assert intersection_over_union(first.astype(np.float32), second.astype(np.float32)).dtype == np.float32
