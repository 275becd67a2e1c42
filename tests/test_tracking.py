"""Boxes linked over time."""

import numpy as np
import pytest

from acrn_zoo.tracking import Tubes, build_tubes, join_tubes, link_boxes, paired_iou, pairs, ranges, take_turns

LEFT: list[float] = [0, 0, 10, 10]
RIGHT: list[float] = [100, 0, 110, 10]


def shifted(box: list[float], by: float) -> list[float]:
    return [box[0] + by, box[1], box[2] + by, box[3]]


# frames, boxes, scores, options, ids
LINKS = {
    "nothing": ([], np.zeros((0, 4)), [], {}, []),
    "two people apart": ([1, 1, 2, 2], [LEFT, RIGHT, RIGHT, LEFT], [1, 1, 1, 1], {}, [0, 1, 1, 0]),
    "any order of rows": ([2, 1, 1, 2], [RIGHT, LEFT, RIGHT, LEFT], [1, 1, 1, 1], {}, [1, 0, 1, 0]),
    "too far": ([1, 2], [LEFT, shifted(LEFT, 4)], [1, 1], {}, [0, 1]),
    "exactly as near as asked": ([1, 2], [LEFT, [0, 0, 10, 5]], [1, 1], {}, [0, 0]),
    "a lower bound": ([1, 2], [LEFT, shifted(LEFT, 4)], [1, 1], {"min_iou": 0.4}, [0, 0]),
    "the last box counts": ([1, 2, 3], [LEFT, shifted(LEFT, 3), shifted(LEFT, 6)], [1, 1, 1], {}, [0, 0, 0]),
    "score before overlap": ([1, 2, 2], [LEFT, LEFT, shifted(LEFT, 2)], [1, 0.5, 0.6], {}, [0, 1, 0]),
    "overlap of equal scores": ([1, 2, 2], [LEFT, shifted(LEFT, 2), LEFT], [1, 0.5, 0.5], {}, [0, 1, 0]),
    "first of equal boxes": ([1, 2, 2], [LEFT, LEFT, LEFT], [1, 0.5, 0.5], {}, [0, 0, 1]),
    "without scores the overlap": ([1, 2, 2], [LEFT, shifted(LEFT, 2), LEFT], None, {}, [0, 1, 0]),
    "the better tube chooses": (
        [1, 1, 2, 2],
        [LEFT, shifted(LEFT, 1), LEFT, shifted(LEFT, 1)],
        [0.2, 0.3, 0.5, 0.4],
        {},
        [0, 1, 1, 0],
    ),
    "by its mean, not its last": (
        [1, 1, 2, 2, 3],
        [LEFT, RIGHT, LEFT, RIGHT, LEFT],
        [0.9, 0.1, 0.1, 0.8, 1],
        {},
        [0, 1, 0, 1, 0],
    ),
    "the older of equal tubes": (
        [1, 1, 2, 2],
        [LEFT, shifted(LEFT, 1), shifted(LEFT, 1), LEFT],
        [0.2, 0.2, 0.5, 0.4],
        {},
        [0, 1, 0, 1],
    ),
    "a gap ends a tube": ([1, 3], [LEFT, LEFT], [1, 1], {}, [0, 1]),
    "a gap that is bridged": ([1, 3], [LEFT, LEFT], [1, 1], {"max_gap": 1}, [0, 0]),
    "a gap that is too long": ([1, 4], [LEFT, LEFT], [1, 1], {"max_gap": 1}, [0, 1]),
    "frames without boxes of others": ([1, 2, 3], [LEFT, RIGHT, LEFT], [1, 1, 1], {}, [0, 1, 2]),
    "groups do not meet": ([1, 2, 2], [LEFT, LEFT, LEFT], [1, 1, 1], {"groups": [7, 8, 7]}, [0, 1, 0]),
    "frames below 0": ([-2, -1], [LEFT, LEFT], [1, 1], {}, [0, 0]),
}


@pytest.mark.parametrize("name", LINKS)
def test_links(name: str) -> None:
    frames, boxes, scores, options, expected = LINKS[name]
    assert link_boxes(frames, boxes, scores, **options).tolist() == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        ([0.6, 0.2, 0.5], 1),  # means 0.4 and 0.5, though the sum is larger
        ([0.6, 0.5, 0.52], 0),  # means 0.55 and 0.52, though the last one is smaller
    ],
)
def test_mean_score_decides_who_chooses(scores: list[float], winner: int) -> None:
    """A tube of two frames and one of one frame, too far apart to link, both near the box of frame 3."""
    boxes = [LEFT, LEFT, shifted(LEFT, 4), shifted(LEFT, 2)]
    assert link_boxes([1, 2, 2, 3], boxes, [*scores, 1]).tolist() == [0, 0, 1, winner]


def test_groups_side_by_side_are_groups_one_by_one() -> None:
    generator = np.random.default_rng(0)
    number = 600
    frames, groups = generator.integers(0, 20, number), generator.integers(0, 5, number)
    corner = generator.random((number, 2)) * 30
    boxes, scores = np.concatenate([corner, corner + 20], axis=1), generator.random(number).round(1)
    together = link_boxes(frames, boxes, scores, groups=groups, min_iou=0.3, max_gap=1)
    for group in range(5):
        own = groups == group
        alone = link_boxes(frames[own], boxes[own], scores[own], min_iou=0.3, max_gap=1)
        _, renumbered = np.unique(together[own], return_inverse=True)
        assert renumbered.tolist() == alone.tolist()
    assert len(np.unique(together)) < number / 2
    assert len(np.unique(np.stack([together, frames]), axis=1).T) == number


def test_negative_gap_and_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="max_gap is -1"):
        link_boxes([1], [LEFT], [1], max_gap=-1)
    with pytest.raises(ValueError, match=r"boxes has shape \(1, 4\), expected \(2, 4\)"):
        link_boxes([1, 2], [LEFT])
    with pytest.raises(ValueError, match="scores"):
        link_boxes([1], [LEFT], [1, 2])
    with pytest.raises(ValueError, match="ids"):
        build_tubes([1, 2], [1], [LEFT], [1])


def test_build_interpolates_and_averages() -> None:
    boxes = [[30.0, 0, 50, 10], RIGHT, LEFT, [10.0, 0, 30, 10]]
    tubes = build_tubes([5, 3, 5, 5], [4, 9, 1, 2], boxes, [0.3, 0.5, 0.1, 0.5], groups=[7, 8, 7, 7])
    assert tubes.group.tolist() == [8, 7]
    assert tubes.first_frame.tolist() == [9, 1]
    assert tubes.num_frames.tolist() == [1, 4]
    assert tubes.score.tolist() == [0.5, pytest.approx(0.3)]
    assert tubes.boxes.tolist() == [RIGHT, LEFT, [10, 0, 30, 10], [20, 0, 40, 10], [30, 0, 50, 10]]


def test_build_drops_short_tubes() -> None:
    ids, frames, boxes = [0, 0, 1], [1, 3, 1], [LEFT, LEFT, RIGHT]
    assert build_tubes(ids, frames, boxes, [1, 1, 1], min_length=3).num_frames.tolist() == [3]
    assert len(build_tubes(ids, frames, boxes, [1, 1, 1], min_length=4)) == 0
    assert len(build_tubes([], [], np.zeros((0, 4)), [])) == 0


@pytest.mark.parametrize(("frames", "groups"), [([1, 1], [0, 0]), ([1, 2], [0, 1])])
def test_an_id_is_one_box_a_frame_of_one_group(frames: list[int], groups: list[int]) -> None:
    with pytest.raises(ValueError, match="two boxes of one frame"):
        build_tubes([3, 3], frames, [LEFT, LEFT], [1, 1], groups=groups)


def test_linked_boxes_become_the_same_tubes() -> None:
    """Tubes taken apart, shuffled, linked and built are the tubes there were."""
    steps = np.arange(5)
    one = np.stack([steps + 1, steps, 0 * steps, steps + 20, 0 * steps + 9], axis=1).astype(float)
    two = one[:3] + np.array([2, 100, 0, 100, 0])
    expected = join_tubes([0, 0], [0.5, 0.25], [one, two])
    frames, scores = expected.frames, np.repeat(expected.score, expected.num_frames)
    order = np.random.default_rng(0).permutation(len(frames))
    ids = link_boxes(frames[order], expected.boxes[order], scores[order])
    built = build_tubes(ids, frames[order], expected.boxes[order], scores[order])
    for name in ("score", "first_frame", "num_frames", "boxes"):
        np.testing.assert_array_equal(getattr(built, name), getattr(expected, name))


def test_join_and_take() -> None:
    tubes = join_tubes([4, 5], [0.1, 0.2], [[[3, *LEFT], [4, *RIGHT]], [[9, *RIGHT]]])
    assert tubes.frames.tolist() == [3, 4, 9]
    assert tubes.start.tolist() == [0, 2]
    assert tubes.boxes.tolist() == [LEFT, RIGHT, RIGHT]
    taken = tubes.take(np.array([1, 0]))
    assert (taken.group.tolist(), taken.boxes.tolist()) == ([5, 4], [RIGHT, LEFT, RIGHT])
    assert len(join_tubes([], [], [])) == 0


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([[1, *LEFT], [3, *LEFT]], "tube 1: frame 3 follows 1, expected a box in every frame"),
        ([[2, *LEFT], [1, *LEFT]], "tube 1: frame 1 follows 2, expected a box in every frame"),
        ([[1, *LEFT], [2, *LEFT], [np.nan, *LEFT]], "tube 1: frame nan follows 2"),
        ([[1.5, *LEFT]], r"tube 1 begins with frame 1\.5, expected a whole number"),
        ([[np.inf, *LEFT]], "tube 1 begins with frame inf, expected a whole number"),
        (np.zeros((0, 5)), r"tube 1 has shape \(0, 5\)"),
        ([[1, 2, 3, 4]], r"tube 1 has shape \(1, 4\)"),
    ],
)
def test_tubes_have_no_gaps(table: list[list[float]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        join_tubes([0, 0], [1, 1], [[[1, *LEFT]], table])


def test_tubes_check_their_columns() -> None:
    one = np.ones(1, dtype=np.int64)
    with pytest.raises(ValueError, match="different lengths"):
        Tubes(one, np.ones(2), one, one, np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"expected \(1, 4\)"):
        Tubes(one, np.ones(1), one, one, np.ones((2, 4)))


def test_pairs_and_ranges() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    first, second = pairs(np.array([2, 7, 2]), np.array([2, 3, 2]))
    assert (first.tolist(), second.tolist()) == ([0, 0, 2, 2], [0, 2, 0, 2])


def test_turns() -> None:
    """Row 0 takes b; row 1, who wanted b too, takes c; row 2 of another group takes what it wants."""
    groups, rows, wanted = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 2]), np.array([11, 11, 12, 13])
    first, second = take_turns(groups, rows, wanted)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 11), (1, 12), (2, 13)]


@pytest.mark.parametrize(
    ("other", "border", "expected"),
    [
        ([5, 0, 15, 10], 0, 1 / 3),
        ([5, 0, 15, 10], 1, 66 / 176),
        ([10, 0, 20, 10], 0, 0.0),
        ([10, 0, 20, 10], 1, 11 / 231),
        ([40, 40, 50, 50], 0, 0.0),
    ],
)
def test_iou(other: list[float], border: float, expected: float) -> None:
    assert paired_iou(np.array([LEFT], float), np.array([other], float), border).tolist() == [pytest.approx(expected)]


def test_iou_of_empty_boxes() -> None:
    point = np.array([[3.0, 3, 3, 3]])
    assert paired_iou(point, point).tolist() == [0]
    assert paired_iou(point, point, 1).tolist() == [1]
