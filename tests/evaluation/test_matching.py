"""The evaluation against the same rule in plain Python, and the points in which the rules differ."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from acrn_zoo.evaluation import RULES, EvaluationError, evaluate_ava, matching
from acrn_zoo.tables import ANNOTATION_COLUMNS, PREDICTION_COLUMNS
from benchmarks.plain_evaluation import plain_official

CLASSES = (1, 3, 4)


def random_rows(random: np.random.Generator, num_rows: int, *, step: float, is_truth: bool) -> list[tuple[Any, ...]]:
    """Rows whose boxes and scores are so coarse that ties of every kind occur; some boxes have no area."""
    rows = []
    for _ in range(num_rows):
        x1, y1, width, height = np.round(random.random(4) * 0.5 / step) * step
        if is_truth:
            width, height = width + step, height + step
        last = float(random.integers(0, 3)) if is_truth else float(np.round(random.random(), 1))
        action_id = int(random.integers(1, 5))
        video_id = ("b", "a", "c")[random.integers(0, 3)]
        moment = float(random.integers(0, 2 if is_truth else 3))
        rows.append((video_id, moment, x1, y1, x1 + width, y1 + height, action_id, last))
    return rows


@pytest.mark.parametrize("block_size", [3, 1 << 17])
@pytest.mark.parametrize("seed", range(40))
def test_official_rule_on_random_rows_full_of_ties(seed: int, block_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "BLOCK_SIZE", block_size)
    random = np.random.default_rng(seed)
    truth = random_rows(random, 30, step=0.25, is_truth=True)
    found = random_rows(random, int(random.integers(0, 300)), step=0.25, is_truth=False)
    expected = plain_official(truth, found, CLASSES)
    result = evaluate_ava(
        pd.DataFrame(truth, columns=list(ANNOTATION_COLUMNS)),
        pd.DataFrame(found, columns=list(PREDICTION_COLUMNS)),
        CLASSES,
    )
    assert dict(zip(result.class_ids, result.average_precision, strict=True)) == pytest.approx(expected, nan_ok=True)


def tables(truth: list[tuple[Any, ...]], found: list[tuple[Any, ...]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.DataFrame(truth, columns=list(ANNOTATION_COLUMNS)), pd.DataFrame(found, columns=list(PREDICTION_COLUMNS))


BOX = (0.1, 0.1, 0.5, 0.5)
TRUTH = [("a", 1.0, *BOX, 1, 0.0)]
FOUND = [("a", 1.0, *BOX, 1, 0.9), ("a", 2.0, *BOX, 1, 0.95)]


@pytest.mark.parametrize(
    ("rule", "excluded", "expected"),
    [
        ("official", None, 1.0),
        ("mmaction2", None, 1.0),
        ("pyslowfast", None, 0.5),
        ("2019", None, 0.5),
        ("2018", None, 0.5),
        ("pyslowfast", 2.0, 1.0),
        ("2019", 2.0, 1.0),
        ("2018", 2.0, 1.0),
    ],
)
def test_keyframes_that_are_not_annotated(rule: str, excluded: float | None, expected: float) -> None:
    outside = None if excluded is None else pd.DataFrame({"video_id": ["a"], "timestamp": [excluded]})
    assert evaluate_ava(*tables(TRUTH, FOUND), (1,), rule=RULES[rule], excluded=outside).mean == expected


@pytest.mark.parametrize(("rule", "expected"), [("official", 1.0), ("pyslowfast", 1.0), ("mmaction2", 0.5)])
def test_what_is_annotated_at_an_excluded_keyframe(rule: str, expected: float) -> None:
    truth = [*TRUTH, ("a", 5.0, *BOX, 1, 0.0)]
    outside = pd.DataFrame({"video_id": ["a"], "timestamp": [5.0]})
    result = evaluate_ava(*tables(truth, FOUND[:1]), (1,), rule=RULES[rule], excluded=outside)
    assert result.mean == expected


def test_no_more_than_50_rows_by_the_rules_that_say_so() -> None:
    wrong = [("a", 1.0, 0.6, 0.6, 0.9, 0.9, 1, 0.91 + number / 1000) for number in range(50)]
    counted = {name: evaluate_ava(*tables(TRUTH, [*wrong, FOUND[0]]), (1,), rule=rule) for name, rule in RULES.items()}
    assert {name: int(result.num_predicted[0]) for name, result in counted.items()} == {
        "official": 50,
        "2019": 50,
        "2018": 51,
        "pyslowfast": 51,
        "mmaction2": 51,
    }


def test_tables_are_not_written_to_and_may_hold_plain_strings() -> None:
    truth, found = tables(TRUTH, FOUND)
    before = truth.copy(), found.copy()
    evaluate_ava(truth, found, (1,))
    pd.testing.assert_frame_equal(truth, before[0])
    pd.testing.assert_frame_equal(found, before[1])
    as_category = found.astype({"video_id": "category"})
    assert evaluate_ava(truth, as_category, (1,)).mean == 1.0


def test_nothing_annotated_or_nothing_predicted() -> None:
    assert np.isnan(evaluate_ava(*tables([], FOUND), (1,)).mean)
    result = evaluate_ava(*tables(TRUTH, []), (1, 2))
    assert result.mean == 0.0
    assert np.isnan(result.average_precision[1])
    assert result.range_over_ties[0][0] == 0.0


@pytest.mark.parametrize("rule", RULES)
def test_an_inverted_annotation_is_an_error_where_predictions_meet_it(rule: str) -> None:
    truth = [("a", 1.0, 0.5, 0.1, 0.1, 0.5, 1, 0.0)]
    with pytest.raises(EvaluationError, match=r"inverted, for example at a, 1 s"):
        evaluate_ava(*tables(truth, FOUND), (1,), rule=RULES[rule])
    elsewhere = [("a", 1.0, *BOX, 2, 0.9)]
    assert evaluate_ava(*tables(truth, elsewhere), (1, 2), rule=RULES["official"]).mean == 0.0


def test_curve_of_a_class() -> None:
    precision, recall = evaluate_ava(*tables(TRUTH, FOUND), (1,), rule=RULES["2019"]).precision_and_recall(1)
    np.testing.assert_array_equal(precision, [0, 0.5])
    np.testing.assert_array_equal(recall, [0, 1])


def test_means_of_some_classes() -> None:
    result = evaluate_ava(*tables(TRUTH, FOUND), (1, 2), rule=RULES["2019"])
    assert result.mean_of_classes([1]) == result.mean == 0.5
    assert np.isnan(result.mean_of_classes([2]))
    assert np.isnan(result.mean_of_classes([]))


@pytest.mark.parametrize(
    ("class_ids", "change", "message"),
    [
        ((), {}, "class_ids are"),
        ((0, 1), {}, r"class_ids are \[0, 1\]"),
        ((1,), {"score": np.nan}, "has no score"),
    ],
)
def test_what_cannot_be_evaluated(class_ids: tuple[int, ...], change: dict[str, float], message: str) -> None:
    truth, found = tables(TRUTH, FOUND)
    with pytest.raises(EvaluationError, match=message):
        evaluate_ava(truth, found.assign(**change), class_ids)


def test_a_missing_column_is_named() -> None:
    truth, found = tables(TRUTH, FOUND)
    with pytest.raises(EvaluationError, match="lacks the columns score"):
        evaluate_ava(truth, found.drop(columns="score"), (1,))
