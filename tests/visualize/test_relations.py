"""Pictures of relation maps: every part is where it belongs, and says what it means."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acrn_zoo.visualize import RelationExample, draw_relations
from acrn_zoo.visualize.relations import _HEAD, _MARGIN, PICTURE_SIDE, viridis

ORANGE = (230, 159, 0)
TOP = _MARGIN + 50 + 30 + 16 + _HEAD  # of the first row of pictures, under one line of text
LEFT = slice(_MARGIN, _MARGIN + PICTURE_SIDE)
RIGHT = slice(_MARGIN + PICTURE_SIDE + 10, _MARGIN + 2 * PICTURE_SIDE + 10)
ROWS = slice(TOP, TOP + PICTURE_SIDE)


def example(**changes: Any) -> RelationExample:
    """A grey frame; the map is high in its lower right corner, the place that decides is in the upper left one."""
    activation = torch.full((8, 8), -3.0)
    activation[6:, 6:] = 2.0
    made = RelationExample(
        frame=torch.full((96, 96, 3), 128, dtype=torch.uint8),
        box=torch.tensor([40.0, 40, 56, 72]),
        action="greet",
        score=0.934,
        note="a line",
        activation=activation,
        places=torch.tensor([[8.0, 8, 24, 24]]),
    )
    return replace(made, **changes)


def drawn(*examples: RelationExample, columns: int = 2) -> Tensor:
    return draw_relations(examples, title="A title", about=["One line."], columns=columns)


def count(picture: Tensor, colour: tuple[int, int, int]) -> int:
    return int((picture == torch.tensor(colour, dtype=torch.uint8)).all(-1).sum())


def test_frame_and_map_stand_side_by_side() -> None:
    sheet = drawn(example())
    left, right = sheet[ROWS, LEFT], sheet[ROWS, RIGHT]
    assert (left[:110, :110] == 128).all()
    for picture in (left, right):  # the person's box is in both
        assert count(picture, ORANGE) == count(picture[120:230, 120:180], ORANGE) > 500
    assert count(left, (255, 255, 255)) == 0
    assert count(right, (255, 255, 255)) == count(right[:105, :105], (255, 255, 255)) > 300  # the ring


def test_a_map_goes_from_dark_at_zero_and_below_to_bright_at_its_highest_place() -> None:
    right = drawn(example())[ROWS, RIGHT].int()
    low, high = right[150, 20], right[280, 280]
    ends = torch.from_numpy(viridis(np.array([0.0, 1.0]))).int()
    assert (low - (0.38 * 128 + 0.62 * ends[0])).abs().max() <= 2
    assert (high - (0.38 * 128 + 0.62 * ends[1])).abs().max() <= 2
    assert torch.equal(drawn(example())[ROWS, RIGHT], drawn(_scaled(5.0))[ROWS, RIGHT])


def _scaled(factor: float) -> RelationExample:
    activation = example().activation
    assert activation is not None
    return example(activation=factor * activation)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_any_evidence_is_dark_all_over(value: float) -> None:
    right = drawn(example(activation=torch.full((8, 8), value), places=torch.zeros(0, 4)))[ROWS, RIGHT]
    assert len(right[:100].reshape(-1, 3).unique(dim=0)) == 1
    assert count(right, (255, 255, 255)) == 0


def test_without_a_map_the_later_frame_is_shown() -> None:
    later = torch.full((96, 96, 3), 40, dtype=torch.uint8)
    sheet = drawn(example(activation=None, later=later, places=torch.zeros(0, 4)))
    assert (sheet[ROWS, LEFT][:100] == 128).all()
    assert (sheet[ROWS, RIGHT][:100] == 40).all()


def test_rows_and_columns() -> None:
    one, two, three = drawn(example()), drawn(*[example()] * 2), drawn(*[example()] * 3)
    assert one.shape[0] == two.shape[0] < three.shape[0]
    assert one.shape[1] < two.shape[1] == three.shape[1]
    assert drawn(*[example()] * 3, columns=1).shape[1] == one.shape[1]
    step = 2 * PICTURE_SIDE + 10 + _MARGIN
    assert torch.equal(two[ROWS, step + _MARGIN : step + _MARGIN + PICTURE_SIDE], two[ROWS, LEFT])


def test_frames_that_are_not_square() -> None:
    frame, box = torch.full((48, 96, 3), 128, dtype=torch.uint8), torch.tensor([48.0, 10, 60, 40])
    sheet = drawn(example(frame=frame, box=box, places=torch.zeros(0, 4)))
    half = slice(TOP, TOP + PICTURE_SIDE // 2)
    rows, columns = torch.nonzero((sheet[half, LEFT] == torch.tensor(ORANGE)).all(-1), as_tuple=True)
    ratio = PICTURE_SIDE / 96
    found = [int(value) for value in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
    assert found == [round(value * ratio) for value in box.tolist()]
    assert sheet.shape[0] == drawn(example()).shape[0] - PICTURE_SIDE // 2


def test_arguments_stay_as_they_are() -> None:
    given = example()
    drawn(given)
    assert (given.frame == 128).all()
    assert given.box.tolist() == [40, 40, 56, 72]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": torch.full((8, 8), torch.nan)}, "finite numbers"),
        ({"activation": torch.zeros(2, 8, 8)}, r"\[2, 8, 8\], expected finite numbers \[h, w\]"),
        ({"frame": torch.zeros(3, 96, 96)}, "expected uint8"),
    ],
)
def test_what_cannot_be_drawn(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(example(**changes))


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="0 examples in 2 columns"):
        drawn()


def test_the_scale_is_lighter_step_by_step() -> None:
    colours = viridis(np.linspace(0, 1, 64)).astype(float)
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    assert colours[0].tolist() == [68, 1, 84]
    assert colours[-1].tolist() == [253, 231, 37]
