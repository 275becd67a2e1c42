"""The pointing game on maps whose answer is plain."""

import numpy as np
import pytest

from acrn_zoo.evaluation.pointing import Pointing, point


def peak(y: int, x: int) -> np.ndarray:
    values = np.zeros((4, 8))
    values[y, x] = 1.0
    return values


@pytest.mark.parametrize(
    ("y", "x", "tolerance", "is_hit"),
    [
        (1, 2, 0.0, True),  # the place is exactly this cell
        (1, 3, 0.0, False),
        (1, 3, 0.5, True),  # a neighbour whose middle is half a cell off its border
        (2, 3, 0.5, True),
        (1, 4, 1.0, False),
        (0, 1, 1.0, True),
        (3, 2, 1.0, False),
        (3, 2, 1.5, True),
    ],
)
def test_hits(y: int, x: int, tolerance: float, is_hit: bool) -> None:
    place = [[2 / 8, 1 / 4, 3 / 8, 2 / 4]]
    assert point(peak(y, x), place, tolerance=tolerance).num_hits == int(is_hit)


def test_any_place_counts_and_chance_is_their_share() -> None:
    places = [[0, 0, 1 / 8, 1 / 4], [7 / 8, 3 / 4, 1, 1]]
    assert [point(peak(*cell), places, tolerance=0.0).num_hits for cell in ((0, 0), (3, 7), (3, 0))] == [1, 1, 0]
    assert point(peak(0, 0), places, tolerance=0.0).chance == pytest.approx(2 / 32)
    assert point(peak(0, 0), places, tolerance=1.0).chance == pytest.approx(8 / 32)


def test_a_map_that_knows_the_kind_alone() -> None:
    """Of three figures that it may be, two would count: one is a place, the other's middle lies beside it."""
    places, rivals = [[0, 0, 1 / 8, 1 / 4]], [[1 / 8, 0, 2 / 8, 1 / 4], [7 / 8, 3 / 4, 1, 1]]
    assert point(peak(0, 0), places, rivals=rivals, tolerance=0.5).of_kind == pytest.approx(2 / 3)
    assert point(peak(0, 0), places, rivals=rivals, tolerance=0.0).of_kind == pytest.approx(1 / 3)
    assert point(peak(0, 0), places).of_kind == 1


def test_sums() -> None:
    total = Pointing(1, 1, 0.1, 0.5) + Pointing(1, 0, 0.3, 1.0)
    assert (total.accuracy, total.chance_accuracy) == (0.5, pytest.approx(0.2))
    assert total.of_kind_accuracy == 0.75
    assert np.isnan(Pointing().accuracy)
    assert np.isnan(Pointing().chance_accuracy)
    assert np.isnan(Pointing().of_kind_accuracy)


@pytest.mark.parametrize(
    ("activation", "places", "named"),
    [
        (np.zeros(3), [[0, 0, 1, 1]], "activation"),
        (np.full((2, 2), np.nan), [[0, 0, 1, 1]], "activation"),
        (np.zeros((2, 2)), np.zeros((0, 4)), "places"),
        (np.zeros((2, 2)), [0, 0, 1, 1], "places"),
    ],
)
def test_wrong_shapes(activation: np.ndarray, places: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        point(activation, places)  # type: ignore[arg-type]
