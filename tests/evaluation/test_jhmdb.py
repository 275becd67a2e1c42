"""Frame-mAP and video-mAP gathered over calls and processes, and what the published evaluators give."""

import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tube_cases import BOX, RULE_NAMES, evaluator, random_case, still

from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.jhmdb import AVERAGED_THRESHOLDS, JhmdbEvaluator, mean_of_splits
from acrn_zoo.evaluation.rules import EvaluationError
from acrn_zoo.evaluation.tubes import (
    RULES,
    RuleName,
    video_average_precision,
)
from acrn_zoo.tracking import join_tubes


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


@pytest.mark.parametrize(("rule", "absent"), [("act", 0.0), ("hit", math.nan)])
def test_nothing_collected_is_zero(rule: RuleName, absent: float) -> None:
    result = evaluator({"v": {0: [still(BOX, 1, 3)]}}, rule).compute()
    assert len(result) == 15
    for key, value in result.items():
        assert value == pytest.approx(absent if key.endswith("/b") else 0.0, nan_ok=True), key


def test_length_and_reset() -> None:
    truth = {"v": {0: [still(BOX, 1, 3)]}, "w": {}}
    score = evaluator(truth)
    assert len(score) == 0
    score.update(["v", "v", "v", "w"], [1, 1, 2, 1], [0, 1, 0, 0], [0.5] * 4, [BOX] * 4)
    assert len(score) == 3
    score.update_tubes(["v"], [0], [0.5], [still(BOX, 1, 3)])
    assert len(score) == 3
    assert score.compute()["AP/video_mAP@0.5/a"] == 1
    score.reset()
    assert len(score) == 0
    assert score.compute() == evaluator(truth).compute()
    score.update(["v"], [3], [0], [0.5], [BOX])  # other detections than those forgotten
    assert score.compute()["AP/frame_mAP@0.5/a"] == pytest.approx(1 / 3)


def test_no_tubes_are_tubes() -> None:
    """A file without tubes finds nothing; nothing is linked in their place."""
    score = evaluator({"v": {0: [still(BOX, 1, 3)]}})
    score.update(["v"], [1], [0], [0.5], [BOX])
    score.update_tubes([], [], [], [])
    assert score.compute()["video_mAP@0.2"] == 0
    other = evaluator({"v": {0: [still(BOX, 1, 3)]}})
    other.update([], [], [], [], [])
    other.update_tubes(["v"], [0], [0.5], [still(BOX, 1, 3)])
    assert other.compute()["frame_mAP@0.5"] == 0


def test_classes_of_the_same_name() -> None:
    score = JhmdbEvaluator(["x", "x", "x (4)", "x"], {"v": {1: [still(BOX, 1, 1)]}})
    score.update(["v"], [1], [1], [0.5], [BOX])
    values = {key: value for key, value in score.compute().items() if key.startswith("AP/frame")}
    assert values == {
        "AP/frame_mAP@0.5/x": 0,
        "AP/frame_mAP@0.5/x (2)": 1,
        "AP/frame_mAP@0.5/x (4)": 0,
        "AP/frame_mAP@0.5/x (4) (4)": 0,
    }


def test_averaged_thresholds() -> None:
    """An overlap of 0.72 is enough for five of the ten thresholds."""
    assert pytest.approx(np.arange(0.5, 0.96, 0.05)) == AVERAGED_THRESHOLDS
    score = evaluator({"v": {0: [still(BOX, 1, 18)]}}, "act", "a")
    score.update_tubes(["v"], [0], [0.5], [still(BOX, 1, 25)])
    result = score.compute()
    assert [result[f"video_mAP@{name}"] for name in ("0.2", "0.5", "0.75", "0.5:0.95")] == [1, 1, 0, 0.5]


def test_equal_scores_go_by_video_then_as_given_and_after_a_merge_by_frame() -> None:
    truth = {"first": {0: [still(BOX, 2, 2)]}, "second": {}}
    apart = [20.0, 0.0, 29.0, 9.0]
    for videos, frames, boxes, expected, expected_merged in (
        (["second", "first"], [1, 2], [BOX, BOX], 1.0, 1.0),
        (["first", "first"], [3, 2], [BOX, BOX], 0.25, 1.0),
        (["first", "first"], [2, 1], [BOX, BOX], 1.0, 0.25),
        (["first", "first"], [2, 2], [BOX, apart], 1.0, 1.0),
        (["first", "first"], [2, 2], [apart, BOX], 0.25, 0.25),
    ):
        score = evaluator(truth, "act", "a")
        score.update(videos, frames, [0, 0], [0.5, 0.5], boxes)
        assert score.compute()["frame_mAP@0.5"] == expected
        score.merge(evaluator(truth, "act", "a"))
        assert score.compute()["frame_mAP@0.5"] == expected_merged


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


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_how_frames_are_spread_over_processes_changes_nothing(rule: RuleName) -> None:
    """Many equal scores: where evaluators are merged, the frames stand in their own order."""
    for seed in range(20):
        truth, rows = frame_rows(seed)
        rows = [(*row[:3], 0.5, row[4]) for row in rows]
        frames = {key: [row for row in rows if row[:2] == key] for key in dict.fromkeys(row[:2] for row in rows)}
        random = np.random.default_rng(seed)
        results = []
        for num_processes in (2, 3):
            scores = [evaluator(truth, rule, "abc") for _ in range(num_processes)]
            for number in random.permutation(len(frames)):
                updated(scores[random.integers(num_processes)], frames[list(frames)[number]])
            for other in scores[1:]:
                scores[0].merge(other)
            results.append(scores[0].compute())
        assert results[0] == pytest.approx(results[1], abs=0, nan_ok=True)


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_order_of_tubes_of_videos_changes_nothing(rule: RuleName) -> None:
    truth, tubes = random_case(2)
    tubes = [(video, column, 0.5, tube) for video, column, _, tube in tubes]
    results = []
    for order in (["v0", "v1", "v2", "v3"], ["v3", "v1", "v0", "v2"]):
        score = evaluator(truth, rule, "abc")
        for name in order:
            score.update_tubes(*zip(*[tube for tube in tubes if tube[0] == name], strict=True))
        results.append(score.compute())
    assert results[0] == pytest.approx(results[1], abs=0, nan_ok=True)


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
    again = {row[:2] for row in rows[:20]}
    updated(score, [row for row in rows if row[:2] in again])
    assert score.compute() == expected


@pytest.mark.parametrize(
    ("column", "value", "box"), [(1, 0.5, BOX), (0, 0.6, BOX), (0, 0.5, [0.0, 0.0, 9.0, 10.0])], ids=str
)
def test_other_detections_of_a_frame_are_refused(column: int, value: float, box: list[float]) -> None:
    score = evaluator({"v": {0: [still(BOX, 1, 9)]}})
    score.update(["v", "v"], [5, 6], [0, 0], [0.5, 0.5], [BOX, BOX])
    expected = score.compute()
    with pytest.raises(EvaluationError, match="v, frame 6: an earlier call gave other detections .* in one call"):
        score.update(["v", "v"], [7, 6], [0, column], [0.5, value], [BOX, box])
    with pytest.raises(EvaluationError, match="v, frame 6"):
        score.update(["v", "v"], [6, 6], [0, 1], [0.5, 0.5], [BOX, BOX])
    assert len(score) == 2
    assert score.compute() == expected


def test_other_tubes_of_a_video_are_refused() -> None:
    score = evaluator({"v": {0: [still(BOX, 1, 9)]}, "w": {}})
    score.update_tubes(["v"], [0], [0.5], [still(BOX, 1, 9)])
    expected = score.compute()
    for column, value, tube in ((1, 0.5, still(BOX, 1, 9)), (0, 0.6, still(BOX, 1, 9)), (0, 0.5, still(BOX, 2, 10))):
        with pytest.raises(EvaluationError, match="v: an earlier call gave other tubes of this video"):
            score.update_tubes(["w", "v"], [0, column], [0.9, value], [still(BOX, 1, 9), tube])
    score.update_tubes(["v"], [0], [0.5], [still(BOX, 1, 9)])
    assert score.compute() == expected


def test_merge_keeps_what_it_has() -> None:
    truth = {"v": {0: [still(BOX, 1, 1)]}}
    apart = [20.0, 0.0, 29.0, 9.0]
    for boxes, expected in (([BOX, apart], 1.0), ([apart, BOX], 0.0)):
        score, other = (evaluator(truth, "act", "a") for _ in range(2))
        for one, box in zip((score, other), boxes, strict=True):
            one.update(["v"], [1], [0], [0.5], [box])
            one.update_tubes(["v"], [0], [0.5], [[[1, *box]]])
        score.merge(other)
        assert len(score) == 1
        result = score.compute()
        assert (result["frame_mAP@0.5"], result["video_mAP@0.5"]) == (expected, expected)


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
        (math.nan, 0.5, BOX, "Row 1 has the class nan"),
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
    assert len(evaluate) == 0  # what was refused left nothing behind


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


@pytest.mark.parametrize("frame", [1.5, math.nan, math.inf, 1e300])
def test_frames_are_whole(frame: float) -> None:
    score = evaluator({"v": {}})
    with pytest.raises(EvaluationError, match=rf"Row 1 has the frame {re.escape(str(frame))}, expected a whole number"):
        score.update(["v", "v"], [1.0, frame], [0, 0], [1, 1], [BOX, BOX])


def test_a_text_is_no_list_of_names() -> None:
    score = evaluator({"v": {}})
    with pytest.raises(EvaluationError, match="video_ids is the text 'v', expected a list of names"):
        score.update("v", [1], [0], [1], [BOX])
    with pytest.raises(EvaluationError, match="video_ids is the text 'v', expected a list of names"):
        score.update_tubes("v", [0], [1], [still(BOX, 1, 3)])
    with pytest.raises(EvaluationError, match="categories is the text 'ab'"):
        JhmdbEvaluator("ab", {"v": {}})
    with pytest.raises(EvaluationError, match="videos is the text 'v'"):
        JhmdbEvaluator(["a"], {"v": {}}, "v")


def test_unknown_rule() -> None:
    with pytest.raises(EvaluationError, match="no rule 'foo', expected one of act, hit"):
        JhmdbEvaluator(["a"], {"v": {}}, rule="foo")  # type: ignore[arg-type]


def test_only_equals_merge() -> None:
    score = evaluator({"v": {}})
    for other, name in (
        (evaluator({"v": {}}, "hit"), "rule"),
        (evaluator({"v": {}}, categories="ac"), "categories"),
        (evaluator({"w": {}}), "videos"),
    ):
        with pytest.raises(EvaluationError, match=f"same {name}"):
            score.merge(other)


@pytest.mark.parametrize(
    "tubes",
    [
        {},
        {0: [still(BOX, 1, 3)], 1: [still(BOX, 1, 4)]},
        {0: [still(BOX, 1, 3)], 1: [still([0, 0, 9, 8], 1, 3)]},
        {0: [still(BOX, 1, 3)] * 2, 1: [still(BOX, 1, 3)]},
    ],
)
def test_only_the_same_ground_truth_merges(tubes: dict[int, list[np.ndarray]]) -> None:
    score = evaluator({"v": {0: [still(BOX, 1, 3)], 1: [still(BOX, 1, 3)]}})
    with pytest.raises(EvaluationError, match="same ground truth can be merged; these have other tubes"):
        score.merge(evaluator({"v": tubes}))
    score.merge(evaluator({"v": {1: [still(BOX, 1, 3)], 0: [still(BOX, 1, 3)]}}))  # in another order


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
