"""The evaluator that collects predictions, alone and over ranks."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from acrn_zoo.evaluation import RULES, AvaEvaluator, EvaluationError, evaluate_ava
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import ANNOTATION_COLUMNS

LABELS = LabelMap({1: "sit", 3: "stand", 4: "sit"})
NUM_COLUMNS = 5


def annotations() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = []
    for video_id in ("b", "a"):
        for second in range(902, 922):
            for person in range(2):
                box = (0.1 + 0.4 * person, 0.1, 0.4 + 0.4 * person, 0.9)
                rows.append((video_id, float(second), *box, int(random.choice([1, 3, 4])), float(person)))
    return pd.DataFrame(rows, columns=list(ANNOTATION_COLUMNS))


def predicted(video_id: str, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of a keyframe; coarse scores, so that ties occur."""
    random = np.random.default_rng([second, ord(video_id)])
    boxes = np.array([[0.1, 0.1, 0.4, 0.9], [0.5, 0.1, 0.8, 0.9], [0.2, 0.2, 0.3, 0.3]])[: second % 4]
    return boxes, random.random((len(boxes), NUM_COLUMNS)).round(1)


KEYFRAMES = [(video_id, second) for video_id in ("a", "b") for second in range(902, 922)]


def evaluator_of(keyframes: list[tuple[str, int]]) -> AvaEvaluator:
    evaluator = AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS)
    for video_id, second in keyframes:
        evaluator.update(video_id, second, *predicted(video_id, second))
    return evaluator


def test_is_the_evaluation_of_the_table() -> None:
    evaluator = evaluator_of(KEYFRAMES)
    result = evaluate_ava(annotations(), evaluator.predictions(), LABELS.ids)
    values = evaluator.compute()
    assert 0 < values["mAP"] == result.mean < 1
    assert list(values) == ["mAP", "AP/sit", "AP/stand", "AP/sit (4)"]
    assert [values["AP/sit"], values["AP/stand"], values["AP/sit (4)"]] == result.average_precision.tolist()
    assert len(evaluator) == len(KEYFRAMES)
    assert len(evaluator.predictions()) == sum(3 * (second % 4) for _, second in KEYFRAMES)


def test_does_not_depend_on_order_or_ranks() -> None:
    whole = evaluator_of(KEYFRAMES)
    order = np.random.default_rng(0).permutation(len(KEYFRAMES))
    shuffled = [KEYFRAMES[index] for index in order]
    assert evaluator_of(shuffled).compute() == whole.compute()
    # Uneven shards, one of them empty, and padding: what two ranks both have counts once.
    shards = [shuffled[:17], [], [*shuffled[17:], *shuffled[:3]]]
    ranks = [pickle.loads(pickle.dumps(evaluator_of(shard))) for shard in shards]
    for rank in ranks[1:]:
        ranks[0].merge(rank)
    assert ranks[0].compute() == whole.compute()
    pd.testing.assert_frame_equal(ranks[0].predictions(), whole.predictions())


def test_a_keyframe_counts_once() -> None:
    evaluator = evaluator_of(KEYFRAMES)
    before = evaluator.compute()
    evaluator.update("a", 902.0000001, [[0, 0, 1, 1]], np.ones((1, NUM_COLUMNS)))
    assert evaluator.compute() == before


def test_takes_tensors_and_lists_and_writes_to_none() -> None:
    boxes, scores = predicted("a", 903)
    results = []
    for make in (np.asarray, lambda values: values.tolist(), torch.from_numpy):
        evaluator = AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS)
        given = make(boxes.copy()), make(scores.copy())
        evaluator.update("a", 903, *given)
        results.append(evaluator.compute())
        np.testing.assert_array_equal(np.asarray(given[0]), boxes)
    assert results[0] == results[1] == results[2]


def test_what_is_given_may_be_changed_later() -> None:
    boxes, scores = predicted("a", 903)
    evaluator = AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS)
    evaluator.update("a", 903, boxes, scores)
    before = evaluator.compute()
    boxes[:], scores[:] = 0, 0
    assert evaluator.compute() == before


def test_nobody_and_nothing() -> None:
    evaluator = AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS)
    assert evaluator.compute()["mAP"] == 0
    nobodies: list[tuple[Any, Any]] = [
        ([], []),
        (np.zeros((0, 4)), np.zeros((0, 5))),
        (torch.zeros(0, 4), torch.zeros(0, 9)),
    ]
    for nobody in nobodies:
        evaluator.update("a", 904, *nobody)
    assert evaluator.compute()["mAP"] == 0
    evaluator.reset()
    assert len(evaluator) == 0


@pytest.mark.parametrize(
    ("boxes", "scores", "message"),
    [
        ([[0, 0, 1]], [[0.5] * NUM_COLUMNS], r"boxes of keyframe 902 s of 'a' have the shape \(1, 3\)"),
        ([[0, 0, 1, 1]], [[0.5] * 3], r"scores .* have the shape \(1, 3\), expected \[1, 5\]"),
        ([[0, 0, 1, 1]], [0.5] * NUM_COLUMNS, "scores"),
        ([[0, 0, 1, 1]], [[0.5] * NUM_COLUMNS] * 2, "scores"),
        ([[0, 0, 1, float("nan")]], [[0.5] * NUM_COLUMNS], "not finite"),
        ([[0, 0, 1, 1]], [[float("inf")] * NUM_COLUMNS], "not finite"),
    ],
)
def test_errors(boxes: list, scores: list, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS).update("a", 902, boxes, scores)


def test_others_cannot_be_merged() -> None:
    mine = AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS)
    for what, other in {
        "label_map": AvaEvaluator(annotations(), LabelMap({1: "sit"}), num_classes=NUM_COLUMNS),
        "num_classes": AvaEvaluator(annotations(), LABELS),
        "rule": AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS, rule=RULES["2019"]),
        "annotations": AvaEvaluator(annotations().head(3), LABELS, num_classes=NUM_COLUMNS),
        "excluded": AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS, excluded=annotations().head(1)),
    }.items():
        with pytest.raises(EvaluationError, match=f"different {what} cannot be merged"):
            mine.merge(other)


def test_takes_what_a_model_gives() -> None:
    """Half precision, and tensors that gradients are kept for."""
    boxes, scores = predicted("a", 903)
    results = []
    for tensor in (torch.from_numpy(scores).bfloat16(), torch.from_numpy(scores).bfloat16().requires_grad_()):
        evaluator = AvaEvaluator(annotations(), LABELS, num_classes=NUM_COLUMNS)
        evaluator.update("a", 903, torch.from_numpy(boxes).bfloat16(), tensor)
        results.append(evaluator.compute())
    assert results[0] == results[1]


def test_a_background_column_is_no_class() -> None:
    with pytest.raises(EvaluationError, match="is the first column a background class"):
        AvaEvaluator(annotations(), LABELS).update("a", 902, [[0, 0, 1, 1]], [[0.5] * 5])
    with pytest.raises(EvaluationError, match="num_classes is 3, but the label map has the id 4"):
        AvaEvaluator(annotations(), LABELS, num_classes=3)


@pytest.mark.parametrize(("video_id", "timestamp"), [("a", "now"), ("a", float("nan")), ("a", 1e18), (7, 902)])
def test_what_is_no_keyframe(video_id: Any, timestamp: Any) -> None:
    with pytest.raises(EvaluationError, match="expected seconds, and the name of a video"):
        AvaEvaluator(annotations(), LABELS).update(video_id, timestamp, [], [])
