"""AP of boxes and tubes: hand-worked cases and plain loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tube_cases import BOX, RULE_NAMES, evaluator, random_case, random_tube, still

from acrn_zoo.evaluation.average_precision import average_precision
from acrn_zoo.evaluation.tubes import (
    RULES,
    RuleName,
    frame_average_precision,
    remove_overlapping,
    trapezoid_area,
    tube_iou,
)
from acrn_zoo.tracking import join_tubes


@pytest.mark.parametrize(
    ("right", "number", "trapezoid", "envelope"),
    [
        ([], 2, 0.0, 0.0),
        ([1], 1, 1.0, 1.0),
        ([0], 1, 0.0, 0.0),
        ([0, 1], 1, 0.25, 0.5),  # from (0, 0) to (1, 1/2)
        ([1, 0, 1], 2, 0.5 + 0.5 * (1 / 2 + 2 / 3) / 2, 0.5 + 0.5 * 2 / 3),
        ([1, 0], 4, 0.25, 0.25),
    ],
)
def test_areas(right: list[int], number: int, trapezoid: float, envelope: float) -> None:
    is_right = np.array(right, dtype=bool)
    assert trapezoid_area(is_right, number) == pytest.approx(trapezoid, rel=1e-6)
    assert average_precision(is_right, number) == pytest.approx(envelope, rel=1e-12)


def test_trapezoid_is_rounded_as_the_published_one() -> None:
    """Precision and recall in float32, summed there: the exact value is 0.5833..."""
    area = trapezoid_area(np.array([True, False, True]), 3)
    assert area == float(np.float32(area))
    assert area != 1 / 3 + (1 / 2 + 2 / 3) / 6


@pytest.mark.parametrize(
    ("first", "second", "border", "expected"),
    [
        ((1, 10), (1, 10), 0, 1.0),
        ((1, 10), (6, 15), 1, 5 / 15),
        ((1, 10), (6, 15), 0, 4 / 14),
        ((1, 10), (10, 19), 1, 1 / 19),
        ((1, 10), (10, 19), 0, 0.0),
        ((1, 10), (11, 19), 1, 0.0),
        ((1, 10), (13, 19), 1, 0.0),
        ((4, 4), (4, 4), 1, 1.0),
        ((4, 4), (4, 4), 0, 0.0),
    ],
)
def test_tubes_overlap_in_time(first: tuple[int, int], second: tuple[int, int], border: float, expected: float) -> None:
    tubes = join_tubes([0, 0, 0], [0, 0, 0], [still([50, 50, 60, 60], 1, 3), still(BOX, *first), still(BOX, *second)])
    there, back = tube_iou(tubes, np.array([1, 2]), tubes, np.array([2, 1]), border)
    assert there == back == pytest.approx(expected)


def test_tubes_overlap_in_space() -> None:
    """Half of the box in two frames, all of it in the third, nothing in the fourth."""
    one = still(BOX, 1, 4)
    other = one.copy()
    other[:2, 3] = 4
    other[3, 1:] += 100
    tubes = join_tubes([0, 0], [0, 0], [one, other])
    assert tube_iou(tubes, np.array([0]), tubes, np.array([1]), 1.0).tolist() == [0.5]


def test_a_better_tube_removes_only_while_it_stays_itself() -> None:
    """B overlaps A and falls; C overlaps B alone and stays. Of the equal pair the one given last stays."""
    tables = [still(BOX, 1, 20), still(BOX, 8, 27), still(BOX, 15, 34), still([50, 0, 60, 9], 1, 5)]
    tubes = join_tubes([0, 0, 0, 0], [0.9, 0.8, 0.7, 0.5], tables)
    assert remove_overlapping(tubes, 0.3, 1.0).score.tolist() == [0.9, 0.7, 0.5]
    assert remove_overlapping(tubes, 0.5, 1.0).score.tolist() == [0.9, 0.8, 0.7, 0.5]
    equal = join_tubes([1, 1, 2], [0.5, 0.5, 0.5], [still(BOX, 1, 5), still(BOX, 1, 6), still(BOX, 1, 7)])
    assert remove_overlapping(equal, 0.3).num_frames.tolist() == [6, 7]


def test_an_overlap_of_exactly_the_limit_stays() -> None:
    tubes = join_tubes([0, 0], [0.9, 0.8], [still(BOX, 1, 13), still(BOX, 8, 20)])
    assert tube_iou(tubes, np.array([0]), tubes, np.array([1]), 1.0).tolist() == [0.3]
    assert len(remove_overlapping(tubes, 0.3, 1.0)) == 2
    assert len(remove_overlapping(tubes, 0.29, 1.0)) == 1


def test_many_tubes_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    tubes = join_tubes(generator.integers(0, 4, 60), generator.random(60), [random_tube(generator) for _ in range(60)])
    index, other = np.divmod(np.arange(3600), 60)
    whole, kept = tube_iou(tubes, index, tubes, other, 1.0), remove_overlapping(tubes, 0.2, 1.0)
    assert 4 < len(kept) < 50
    monkeypatch.setattr("acrn_zoo.evaluation.tubes._MAX_ROWS", 200)
    np.testing.assert_array_equal(tube_iou(tubes, index, tubes, other, 1.0), whole)
    assert remove_overlapping(tubes, 0.2, 1.0).score.tolist() == kept.score.tolist()


@pytest.mark.parametrize(("rule", "expected"), [("act", 1.0), ("hit", 0.5)])
def test_a_taken_truth(rule: RuleName, expected: float) -> None:
    """The second box overlaps the truth that is taken most, and another one enough."""
    other: list[float] = [0, 0, 9, 13]
    score = evaluator({"v": {0: [still(BOX, 1, 1), still(other, 1, 1)]}}, rule, "a")
    score.update(["v"] * 2, [1, 1], [0, 0], [0.9, 0.8], [BOX, BOX])
    assert score.compute()["frame_mAP@0.5"] == expected


@pytest.mark.parametrize(("rule", "expected"), [("act", 1.0), ("hit", 0.0)])
def test_the_border_decides(rule: RuleName, expected: float) -> None:
    """5 of 10 columns are half with the last pixel, 4 of 9 less than half without."""
    score = evaluator({"v": {0: [still(BOX, 1, 1)]}}, rule, "a")
    score.update(["v"], [1], [0], [0.9], [[0, 0, 4, 9]])
    assert score.compute()["frame_mAP@0.5"] == expected


def test_another_frame_threshold() -> None:
    score = evaluator({"v": {0: [still(BOX, 1, 1)]}}, "act", "a")
    score.update(["v"], [1], [0], [0.5], [[0, 0, 4, 9]])
    frames = score._distinct_frames()
    for threshold, expected in ((0.5, 1.0), (0.51, 0.0)):
        assert frame_average_precision(score._truth, frames, 1, threshold=threshold, rule=RULES["act"]).tolist() == [
            expected
        ]


# Plain loops, written from the rules in the module's docstring.
def loop_average_precisions(
    truths: list[tuple[Any, int, Any]],
    found: list[tuple[Any, int, float, Any]],
    overlap: Callable[[Any, Any], float],
    num_classes: int,
    threshold: float,
    rule: RuleName,
) -> list[float]:
    """``truths`` are (place, class, shape), ``found`` (place, class, score, shape) in the order of equal scores."""
    results = []
    for column in range(num_classes):
        own = [(place, shape) for place, other, shape in truths if other == column]
        if not own:
            results.append(RULES[rule].absent)
            continue
        taken, right = set(), []
        for place, _, _, shape in sorted((row for row in found if row[1] == column), key=lambda row: -row[2]):
            candidates = [number for number, (there, _) in enumerate(own) if there == place]
            if rule == "act":
                candidates = [number for number in candidates if number not in taken]
            best = max(candidates, key=lambda number: overlap(own[number][1], shape), default=None)
            is_right = best is not None and overlap(own[best][1], shape) >= threshold and best not in taken
            if is_right:
                taken.add(best)
            right.append(is_right)
        results.append(RULES[rule].average_precision(np.array(right, dtype=bool), len(own)))
    return results


def loop_iou(one: np.ndarray, other: np.ndarray, border: float) -> float:
    width = max(0.0, min(one[2], other[2]) + border - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) + border - max(one[1], other[1]))
    both = width * height
    areas = [(box[2] - box[0] + border) * (box[3] - box[1] + border) for box in (one, other)]
    return both / (areas[0] + areas[1] - both)


@pytest.mark.parametrize("rule", RULE_NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_frames_against_loops(rule: RuleName, seed: int) -> None:
    truth, tubes = random_case(seed)
    score = evaluator(truth, rule, "abc")
    rows = [
        (video, row[0], column, row[1:], number / 7 % 1)
        for number, (video, column, _, tube) in enumerate(tubes)
        for row in tube
    ]
    videos, frames, columns, boxes, scores = zip(*rows, strict=True)
    score.update(videos, frames, columns, scores, boxes)
    expected = loop_average_precisions(
        [
            ((video, row[0]), column, row[1:])
            for video, own in truth.items()
            for column, rows in own.items()
            for tube in rows
            for row in tube
        ],
        [((video, frame), column, value, box) for video, frame, column, box, value in rows],
        lambda one, other: loop_iou(one, other, RULES[rule].border),
        3,
        0.5,
        rule,
    )
    result = score.compute()
    assert [result[f"AP/frame_mAP@0.5/{name}"] for name in "abc"] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert 0 < result["frame_mAP@0.5"] < 1


@pytest.mark.parametrize("rule", RULE_NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_tubes_against_loops(rule: RuleName, seed: int) -> None:
    truth, tubes = random_case(seed)
    border = RULES[rule].border

    def overlap(one: np.ndarray, other: np.ndarray) -> float:
        first, second = ({int(row[0]): row[1:] for row in tube} for tube in (one, other))
        common = sorted(first.keys() & second.keys())
        if not common:
            return 0.0
        spatial = sum(loop_iou(first[frame], second[frame], border) for frame in common) / len(common)
        union = max(*first, *second) - min(*first, *second) + border
        return spatial * (common[-1] - common[0] + border) / union if union else 0.0

    found = tubes
    if rule == "act":
        found = []
        for video in truth:
            own = [tube for tube in tubes if tube[0] == video]
            for tube in sorted(own, key=lambda tube: tube[2])[::-1]:  # of equal ones the last first
                rivals = [other for other in found if other[:2] == tube[:2]]
                if all(overlap(other[3], tube[3]) <= 0.3 for other in rivals):
                    found.append(tube)
        assert len(found) < len(tubes)
    truths = [(video, column, tube) for video, own in truth.items() for column, rows in own.items() for tube in rows]
    score = evaluator(truth, rule, "abc")
    score.update_tubes(*zip(*tubes, strict=True))
    result = score.compute()
    for threshold in (0.2, 0.5):
        expected = loop_average_precisions(truths, found, overlap, 3, threshold, rule)
        averages = [result[f"AP/video_mAP@{threshold}/{name}"] for name in "abc"]
        assert averages == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert 0 < result["video_mAP@0.2"] < 1
