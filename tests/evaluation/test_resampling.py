"""Intervals and comparisons, on data whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from acrn_zoo.evaluation import RULES, AvaResult, EvaluationError, evaluate_ava
from acrn_zoo.evaluation.resampling import (
    _draws,
    _WeightedPrecision,
    compare,
    confidence_interval,
    weighted_average_precision,
)

BOX = (0.1, 0.1, 0.5, 0.5)
ELSEWHERE = (0.6, 0.6, 0.9, 0.9)
ACTIONS = (1, 2)


def make(num_videos: int, skill: float, seed: int, num_keyframes: int = 12) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Annotations of so many videos, and predictions of which a share is right."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for video in range(num_videos):
        for second in range(num_keyframes):
            action = ACTIONS[(video + second) % 2]
            truth.append((f"video{video}", float(second), *BOX, action, 0.0))
            for other in ACTIONS:
                is_right = random.random() < skill
                box = BOX if is_right and other == action else ELSEWHERE
                found.append((f"video{video}", float(second), *box, other, random.random()))
    names = ["video_id", "timestamp", "x1", "y1", "x2", "y2", "action_id"]
    return pd.DataFrame(truth, columns=[*names, "person_id"]), pd.DataFrame(found, columns=[*names, "score"])


def result_of(num_videos: int, skill: float, seed: int = 0) -> AvaResult:
    return evaluate_ava(*make(num_videos, skill, seed), ACTIONS)


def weighted(result: AvaResult) -> _WeightedPrecision:
    return _WeightedPrecision(result, {name: number for number, name in enumerate(result.video_ids)})


def test_weights_of_one_change_nothing() -> None:
    result = result_of(7, 0.6)
    assert weighted(result).mean(np.ones(7)) == pytest.approx(result.mean, abs=1e-14)


def test_a_video_of_weight_zero_is_as_if_it_were_not_there() -> None:
    truth, found = make(6, 0.6, seed=3)
    whole = evaluate_ava(truth, found, ACTIONS)
    rest = evaluate_ava(truth[truth.video_id != "video2"], found[found.video_id != "video2"], ACTIONS)
    weights = np.array([name != "video2" for name in whole.video_ids], dtype=np.float64)
    assert weighted(whole).mean(weights) == pytest.approx(rest.mean, abs=1e-14)


def test_a_video_of_weight_two_is_as_if_it_were_there_twice() -> None:
    """With scores a hair apart, so that the copies stand side by side."""
    is_match, weights = np.array([0, 2, 4]), np.array([2.0, 1.0, 2.0, 1.0, 2.0])
    twice = weighted_average_precision(weights, is_match, 7.0)
    # 0 0 1 2 2 3 4 4 -> found 2 of 2, 4 of 5, 6 of 8
    assert twice == pytest.approx((2 * 1 + 2 * 4 / 5 + 2 * 6 / 8) / 7)
    assert np.isnan(weighted_average_precision(weights, is_match, 0.0))


def test_interval_holds_the_mean_and_narrows_with_more_videos() -> None:
    widths = []
    for num_videos in (5, 80):
        result = result_of(num_videos, 0.5)
        low, high = confidence_interval(result, num_resamples=200)
        assert low < result.mean < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """mAP of very many videos is the truth; 40 samples of 20 videos each estimate it. (Plain quantiles: 28 of 40.)"""
    truth = result_of(2000, 0.5, seed=99).mean
    num_held = 0
    for seed in range(40):
        low, high = confidence_interval(result_of(20, 0.5, seed), num_resamples=150)
        num_held += low <= truth <= high
    assert 34 <= num_held <= 40


def test_a_better_file_is_told_from_an_equal_one() -> None:
    truth, good = make(30, 0.7, seed=1)
    bad, equal = make(30, 0.5, seed=2)[1], make(30, 0.7, seed=3)[1]
    results = [evaluate_ava(truth, found, ACTIONS) for found in (good, bad, equal)]
    better = compare(results[0], results[1], num_resamples=200)
    assert better.difference == pytest.approx(results[0].mean - results[1].mean)
    assert better.p_value < 0.01
    assert better.interval[0] > 0
    same = compare(results[0], results[2], num_resamples=200)
    assert same.p_value > 0.05
    assert same.interval[0] < 0 < same.interval[1]
    nothing = compare(results[0], results[0], num_resamples=50)
    assert (nothing.difference, nothing.interval, nothing.p_value) == (0, (0, 0), 1)


def test_chance_is_called_significant_about_as_often_as_it_says() -> None:
    truth = make(12, 0.5, seed=0)[0]
    num_significant = 0
    for seed in range(40):
        pair = [evaluate_ava(truth, make(12, 0.5, 1000 + 2 * seed + side)[1], ACTIONS) for side in (0, 1)]
        num_significant += compare(*pair, num_resamples=100).p_value < 0.05
    assert num_significant <= 7


def test_comparison_is_symmetric_and_reproducible() -> None:
    truth, first = make(10, 0.7, seed=1)
    pair = [evaluate_ava(truth, found, ACTIONS) for found in (first, make(10, 0.5, seed=2)[1])]
    there, back = compare(*pair, num_resamples=100), compare(*pair[::-1], num_resamples=100)
    assert there == compare(*pair, num_resamples=100)
    assert there.difference == -back.difference
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.p_value == pytest.approx(back.p_value, abs=0.05)


def test_predictions_of_a_video_may_be_missing_on_one_side() -> None:
    truth, found = make(6, 0.7, seed=1)
    whole = evaluate_ava(truth, found, ACTIONS)
    rest = evaluate_ava(truth, found[found.video_id != "video0"], ACTIONS)
    assert compare(whole, rest, num_resamples=50).difference == pytest.approx(whole.mean - rest.mean)


def test_means_over_other_classes_are_not_compared() -> None:
    truth, found = make(6, 0.7, seed=1)
    rule = RULES["mmaction2"]
    whole = evaluate_ava(truth, found, ACTIONS, rule=rule)
    rest = evaluate_ava(truth, found[found.action_id == 1], ACTIONS, rule=rule)
    with pytest.raises(EvaluationError, match="not of the same classes"):
        compare(whole, rest, num_resamples=50)
    assert compare(whole, whole, num_resamples=5).p_value == 1


def test_videos_without_anything_do_not_count() -> None:
    """Those predicted and not annotated, those of a table's unused categories."""
    truth, found = make(8, 0.5, seed=5)
    plain = evaluate_ava(truth, found, ACTIONS)
    unknown = pd.concat([found, *(found.head(1).assign(video_id=f"unknown{number}") for number in range(40))])
    categories = [*truth["video_id"].unique(), *(f"unused{number}" for number in range(40))]
    padded = truth.assign(video_id=pd.Categorical(truth["video_id"], categories=categories))
    for other in (evaluate_ava(truth, unknown, ACTIONS), evaluate_ava(padded, found, ACTIONS)):
        assert confidence_interval(other, num_resamples=50) == confidence_interval(plain, num_resamples=50)
        assert compare(other, other, num_resamples=2).num_videos == 8
    one = evaluate_ava(truth[truth.video_id == "video0"], unknown, ACTIONS)
    with pytest.raises(EvaluationError, match="only one video"):
        confidence_interval(one)


def test_steps_are_told() -> None:
    result = result_of(3, 0.5)
    steps: list[int] = []
    confidence_interval(result, num_resamples=5, step=lambda: steps.append(1))
    compare(result, result, num_resamples=5, step=lambda: steps.append(1))
    assert len(steps) == 15


def test_every_draw_has_as_many_videos() -> None:
    assert all(weights.sum() == 9 for weights in _draws(9, 20, seed=0))


def test_errors() -> None:
    with pytest.raises(EvaluationError, match="only one video"):
        confidence_interval(result_of(1, 0.5))
    with pytest.raises(EvaluationError, match="same annotations"):
        compare(result_of(3, 0.5), result_of(4, 0.5))
