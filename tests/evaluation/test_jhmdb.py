"""Frame-mAP and video-mAP: hand-worked cases, plain loops, and what the published evaluators give."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.average_precision import average_precision
from acrn_zoo.evaluation.jhmdb import (
    AVERAGED_THRESHOLDS,
    RULES,
    EvaluationError,
    JhmdbEvaluator,
    RuleName,
    frame_average_precision,
    mean_of_splits,
    remove_overlapping,
    trapezoid_area,
    tube_iou,
    video_average_precision,
)
from acrn_zoo.tracking import join_tubes

BOX: list[float] = [0, 0, 9, 9]  # 10 x 10 pixels where the last one counts, else 9 x 9
RULE_NAMES: tuple[RuleName, ...] = ("act", "hit")


def still(box: list[float], first: int, last: int) -> np.ndarray:
    """A tube that does not move."""
    return np.array([[frame, *box] for frame in range(first, last + 1)], dtype=np.float64)


def evaluator(
    tubes: dict[str, dict[int, list[np.ndarray]]], rule: RuleName = "act", categories: str = "ab"
) -> JhmdbEvaluator:
    return JhmdbEvaluator(list(categories), tubes, rule=rule)


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


@pytest.mark.parametrize(("rule", "mean", "absent"), [("act", 0.5, 0.0), ("hit", 1.0, math.nan)])
def test_a_class_without_truth(rule: RuleName, mean: float, absent: float) -> None:
    score = evaluator({"v": {0: [still(BOX, 1, 3)]}}, rule)
    score.update(["v"] * 4, [1, 2, 3, 1], [0, 0, 0, 1], [0.9, 0.9, 0.9, 0.9], [BOX] * 4)
    result = score.compute()
    assert set(result) == {
        prefix + measure + suffix
        for measure in ("frame_mAP@0.5", "video_mAP@0.2", "video_mAP@0.5", "video_mAP@0.75", "video_mAP@0.5:0.95")
        for prefix, suffix in (("", ""), ("AP/", "/a"), ("AP/", "/b"))
    }
    for measure in ("frame_mAP@0.5", "video_mAP@0.5:0.95"):
        assert result[measure] == mean
        assert result[f"AP/{measure}/a"] == 1
        assert result[f"AP/{measure}/b"] == pytest.approx(absent, nan_ok=True)


def test_no_class_has_truth() -> None:
    score = evaluator({"v": {}}, "hit", "a")
    score.update([], [], [], [], [])
    assert math.isnan(score.compute()["frame_mAP@0.5"])


def test_averaged_thresholds() -> None:
    """An overlap of 0.72 is enough for five of the ten thresholds."""
    assert pytest.approx(np.arange(0.5, 0.96, 0.05)) == AVERAGED_THRESHOLDS
    score = evaluator({"v": {0: [still(BOX, 1, 18)]}}, "act", "a")
    score.update_tubes(["v"], [0], [0.5], [still(BOX, 1, 25)])
    result = score.compute()
    assert [result[f"video_mAP@{name}"] for name in ("0.2", "0.5", "0.75", "0.5:0.95")] == [1, 1, 0, 0.5]


def test_equal_scores_go_by_video_then_as_given() -> None:
    truth = {"first": {0: [still(BOX, 1, 1)]}, "second": {}}
    for videos, frames, expected in (
        (["second", "first"], [1, 1], 1.0),
        (["first", "first"], [2, 1], 0.25),
        (["first", "first"], [1, 2], 1.0),
    ):
        score = evaluator(truth, "act", "a")
        score.update(videos, frames, [0, 0], [0.5, 0.5], [BOX, BOX])
        assert score.compute()["frame_mAP@0.5"] == expected


def test_equal_tubes_go_by_video_then_as_given() -> None:
    truth = {"first": {0: [still(BOX, 1, 5)]}, "second": {}}
    wrong, right = still(BOX, 40, 50), still(BOX, 1, 5)
    for videos, tubes, expected in (
        (["second", "first"], [right, right], 1.0),
        (["first", "first"], [wrong, right], 0.5),
        (["first", "first"], [right, wrong], 1.0),
    ):
        score = evaluator(truth, "hit", "a")
        score.update_tubes(videos, [0, 0], [0.5, 0.5], tubes)
        assert score.compute()["video_mAP@0.5"] == expected


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


def random_tube(generator: np.random.Generator) -> np.ndarray:
    first, length = generator.integers(1, 12), generator.integers(1, 15)
    corner, size = generator.integers(0, 12, 2), generator.integers(10, 25, 2)
    moved = np.concatenate([corner, corner + size]) + generator.integers(-2, 3, (length, 4))
    return np.concatenate([np.arange(first, first + length)[:, None], moved], axis=1).astype(float)


def random_case(seed: int) -> tuple[dict[str, dict[int, list[np.ndarray]]], list[tuple[str, int, float, np.ndarray]]]:
    """Ground truth of four videos and three classes, and tubes with equal scores among them."""
    generator = np.random.default_rng(seed)
    truth: dict[str, dict[int, list[np.ndarray]]] = {f"v{number}": {} for number in range(4)}
    for _ in range(14):
        video, column = f"v{generator.integers(4)}", int(generator.integers(3))
        truth[video].setdefault(column, []).append(random_tube(generator))
    found = []
    for number in range(4):
        for _ in range(12):
            column = int(generator.integers(3))
            found.append((f"v{number}", column, float(generator.random().__round__(1)), random_tube(generator)))
    return truth, found


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


def frame_rows(
    seed: int = 0,
) -> tuple[dict[str, dict[int, list[np.ndarray]]], list[tuple[str, int, int, float, np.ndarray]]]:
    truth, tubes = random_case(seed)
    rows = [(video, int(row[0]), column, value, row[1:]) for video, column, value, tube in tubes for row in tube]
    return truth, rows


def updated(score: JhmdbEvaluator, rows: list[tuple[str, int, int, float, np.ndarray]]) -> JhmdbEvaluator:
    score.update(*zip(*rows, strict=True))
    return score


@pytest.mark.parametrize("seed", range(3))
def test_shards_and_padding_change_nothing(seed: int) -> None:
    """Frames dealt out unevenly, one of them to every process, gathered through pickles; many equal scores."""
    truth, rows = frame_rows(seed)
    rows = sorted(rows, key=lambda row: row[:2])
    expected = updated(evaluator(truth, "act", "abc"), rows).compute()
    frames = sorted({row[:2] for row in rows})
    generator = np.random.default_rng(seed)
    results = []
    for num_shards in (2, 5):
        owner = dict(zip(frames, generator.integers(0, num_shards, len(frames)).tolist(), strict=True))
        shards = []
        for shard in range(num_shards):
            own = [row for row in rows if owner[row[:2]] == shard or row[:2] == frames[7]]
            score = evaluator(truth, "act", "abc")
            for frame in sorted({row[:2] for row in own}):
                updated(score, [row for row in own if row[:2] == frame])
            shards.append(pickle.loads(pickle.dumps(score)))
        first, *others = shards
        for other in others:
            first.merge(other)
        results.append(first.compute())
    assert results == [expected, expected]


def test_a_video_of_tubes_counts_once() -> None:
    truth, tubes = random_case(1)
    one, two = evaluator(truth, "act", "abc"), evaluator(truth, "act", "abc")
    one.update_tubes(*zip(*tubes, strict=True))
    expected = one.compute()
    two.update_tubes(*zip(*[tube for tube in tubes if tube[0] in ("v0", "v3")], strict=True))
    one.merge(two)
    assert one.compute() == expected


def test_a_frame_given_again_counts_once() -> None:
    truth, rows = frame_rows()
    score = updated(evaluator(truth, "act", "abc"), rows)
    expected = score.compute()
    updated(score, rows[:40])
    assert score.compute() == expected


def test_compute_twice_and_no_input_is_written_to() -> None:
    truth, rows = frame_rows()
    boxes = np.array([row[4] for row in rows])
    before = boxes.copy()
    score = evaluator(truth, "act", "abc")
    videos, frames, columns, scores, _ = zip(*rows, strict=True)
    score.update(videos, frames, columns, scores, boxes)
    first = score.compute()
    boxes[:] = 0
    assert score.compute() == first
    np.testing.assert_array_equal(np.array([row[4] for row in rows]), before)


def test_tubes_are_linked_if_none_are_given() -> None:
    truth = {"v": {1: [still(BOX, 1, 10)]}}
    score = evaluator(truth)
    rows = [("v", frame, 1, 0.5, np.array(BOX)) for frame in range(1, 11)]
    result = updated(score, rows).compute()
    assert result["AP/video_mAP@0.5:0.95/b"] == 1
    apart = score.compute(lambda found: join_tubes(found.group[:1], [1.0], [still(BOX, 1, 5)]))
    assert apart["AP/video_mAP@0.5:0.95/b"] == pytest.approx(0.1)
    score.update_tubes(["v"], [1], [1], [still(BOX, 1, 6)])
    assert score.compute()["AP/video_mAP@0.5:0.95/b"] == pytest.approx(0.3)


def test_only_tubes() -> None:
    score = evaluator({"v": {1: [still(BOX, 1, 10)]}})
    score.update_tubes(["v"], [1], [1], [still(BOX, 1, 10)])
    assert not [name for name in score.compute() if "frame" in name]


def test_videos_of_a_split_in_their_order() -> None:
    truth = {"a": {0: [still(BOX, 1, 2)]}, "b": {0: [still(BOX, 1, 2)]}, "c": {}}
    score = JhmdbEvaluator(["x"], truth, ["c", "a"])
    score.update(["a", "a"], [1, 2], [0, 0], [0.5, 0.5], [BOX, BOX])
    assert score.compute()["frame_mAP@0.5"] == 1
    with pytest.raises(EvaluationError, match=r"'b' is not among the 2"):
        score.update(["b"], [1], [0], [0.5], [BOX])
    with pytest.raises(EvaluationError, match=r"no video 'd'"):
        JhmdbEvaluator(["x"], truth, ["d"])
    with pytest.raises(EvaluationError, match="twice"):
        JhmdbEvaluator(["x"], truth, ["a", "a"])


def test_mean_of_splits() -> None:
    assert mean_of_splits([{"m": 0.0, "n": 1.0}, {"m": 0.5, "n": 1.0}]) == {"m": 0.25, "n": 1.0}


@pytest.mark.parametrize(
    ("column", "score", "box", "reason"),
    [
        (2, 0.5, BOX, "Row 1 has the class 2, expected 0 to 1"),
        (-1, 0.5, BOX, "Row 1 has the class -1"),
        (0.5, 0.5, BOX, r"Row 1 has the class 0\.5"),
        (0, math.nan, BOX, r"v, frame 6: .* the score nan"),
        (0, 0.5, [0, 0, math.inf, 9], r"v, frame 6: the box is \[0\.0, 0\.0, inf"),
        (0, 0.5, [9, 0, 0, 9], r"v, frame 6: .* x1 <= x2"),
    ],
)
def test_wrong_detections_are_named(column: float, score: float, box: list[float], reason: str) -> None:
    evaluate = evaluator({"v": {0: [still(BOX, 1, 9)]}})
    with pytest.raises(EvaluationError, match=reason) as caught:
        evaluate.update(["v", "v"], [5, 6], [0, column], [0.5, score], [BOX, box])
    assert isinstance(caught.value, UserError)
    with pytest.raises(EvaluationError, match="nothing to evaluate"):  # what was refused left nothing behind
        evaluate.compute()


def test_wrong_lengths_and_gaps() -> None:
    score = evaluator({"v": {}})
    with pytest.raises(EvaluationError, match="v, frame -1: .* frames from 0 on"):
        score.update(["v"], [-1], [0], [1], [BOX])
    with pytest.raises(EvaluationError, match="different lengths"):
        score.update(["v"], [1, 2], [0], [1], [BOX])
    with pytest.raises(EvaluationError, match="1 videos were given for 2"):
        score.update(["v"], [1, 2], [0, 0], [1, 1], [BOX, BOX])
    with pytest.raises(EvaluationError, match="every frame"):
        score.update_tubes(["v"], [0], [1], [still(BOX, 1, 3)[[0, 2]]])


def test_only_equals_merge() -> None:
    score = evaluator({"v": {}})
    for other, name in (
        (evaluator({"v": {}}, "hit"), "rule"),
        (evaluator({"v": {}}, categories="ac"), "categories"),
        (evaluator({"w": {}}), "videos"),
    ):
        with pytest.raises(EvaluationError, match=f"same {name}"):
            score.merge(other)


GOLDENS = ("jhmdb_real_small", "jhmdb_synth_multi", "jhmdb_synth_tied")


@pytest.fixture(params=GOLDENS)
def golden(shared: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    path = shared / "reference/ava_evaluation/goldens" / f"{request.param}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def of_golden(golden: dict[str, Any], rule: RuleName) -> JhmdbEvaluator:
    truth = {
        video["name"]: {int(column): [np.array(tube) for tube in tubes] for column, tubes in video["gt_tubes"].items()}
        for video in golden["videos"]
    }
    score = JhmdbEvaluator(golden["labels"], truth, rule=rule)
    rows = np.array(golden["frame_detections"])
    names = [golden["videos"][int(number)]["name"] for number in rows[:, 0]]
    score.update(names, rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4:])
    tubes = [
        (video, int(column), tube["score"], tube["boxes_frame_x1_y1_x2_y2"])
        for video, columns in golden["tubes"].items()
        for column, tubes in columns.items()
        for tube in tubes
    ]
    score.update_tubes(*zip(*tubes, strict=True))
    return score


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_published_values(golden: dict[str, Any], rule: RuleName) -> None:
    """Every AP bit for bit, in both rules; means to the last digits."""
    result = of_golden(golden, rule).compute()
    expected = golden["expected_percent"][rule.upper()]
    assert len(expected) == 4
    for name, values in expected.items():
        assert 100 * result[name] == pytest.approx(values["mean"], abs=1e-12)
        for category, value in values.get("AP", {}).items():
            assert 100 * result[f"AP/{name}/{category}"] == value


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_published_values_at_every_threshold(golden: dict[str, Any], rule: RuleName) -> None:
    score = of_golden(golden, rule)
    averages = video_average_precision(
        score._truth, score._distinct_tubes(), len(golden["labels"]), thresholds=AVERAGED_THRESHOLDS, rule=RULES[rule]
    )
    expected = golden["expected_percent"][rule.upper()]["video_mAP@0.5:0.95"]["per_threshold"]
    assert 100 * np.nanmean(averages, axis=1) == pytest.approx(expected, abs=1e-12)


def test_frames_outside_the_truth_and_no_detections() -> None:
    score = evaluator({"v": {0: [still(BOX, 5, 6)]}}, "act", "a")
    score.update([], [], [], [], np.zeros((0, 4)))
    assert set(score.compute().values()) == {0.0}
    score.update(["v"] * 3, [99, 5, 6], [0, 0, 0], [0.9, 0.8, 0.7], [BOX] * 3)
    assert 0 < score.compute()["frame_mAP@0.5"] < 1


def test_another_frame_threshold() -> None:
    score = evaluator({"v": {0: [still(BOX, 1, 1)]}}, "act", "a")
    score.update(["v"], [1], [0], [0.5], [[0, 0, 4, 9]])
    frames = score._distinct_frames()
    for threshold, expected in ((0.5, 1.0), (0.51, 0.0)):
        assert frame_average_precision(score._truth, frames, 1, threshold=threshold, rule=RULES["act"]).tolist() == [
            expected
        ]


def test_many_tubes_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    tubes = join_tubes(generator.integers(0, 4, 60), generator.random(60), [random_tube(generator) for _ in range(60)])
    index, other = np.divmod(np.arange(3600), 60)
    whole, kept = tube_iou(tubes, index, tubes, other, 1.0), remove_overlapping(tubes, 0.2, 1.0)
    assert 4 < len(kept) < 50
    monkeypatch.setattr("acrn_zoo.evaluation.jhmdb._MAX_ROWS", 200)
    np.testing.assert_array_equal(tube_iou(tubes, index, tubes, other, 1.0), whole)
    assert remove_overlapping(tubes, 0.2, 1.0).score.tolist() == kept.score.tolist()
