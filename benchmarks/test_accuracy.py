"""The mini checkpoint is as good as recorded, however it is computed, and the recipe still learns.

    python -m pytest benchmarks/

A few minutes on two cores; no part of the tests that run by default. ``python -m benchmarks.accuracy`` records anew.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from acrn_zoo.models import ActionDetector
from acrn_zoo.ops.relation_reference import relation_reference
from acrn_zoo.zoo import slowfast_acrn_mini
from benchmarks.accuracy import (
    ARITHMETICS,
    IMPLEMENTATIONS,
    Outcome,
    Relation,
    Validation,
    create_validation,
    error_of,
    measure,
    points_between,
    read_record,
    train_shortly,
)

ELSEWHERE = (
    0.5  # points by which the mAP may be below the recorded one: other versions decode videos a little otherwise
)

DEVICES = (
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
)


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Validation:
    return create_validation(tmp_path_factory.mktemp("small_world") / "validation")


@pytest.fixture(scope="module")
def model() -> ActionDetector:
    return slowfast_acrn_mini()


@pytest.fixture(scope="module")
def reference(model: ActionDetector, validation: Validation) -> Outcome:
    return measure(model, validation, ARITHMETICS["float32"])


def test_mini_checkpoint_is_as_good_as_recorded(reference: Outcome) -> None:
    recorded = read_record()["mini"]
    assert reference.precisions["mAP"] > recorded["mAP"] - ELSEWHERE


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_same_numbers(
    implementation: str,
    arithmetic: str,
    device: str,
    model: ActionDetector,
    validation: Validation,
    reference: Outcome,
) -> None:
    way = ARITHMETICS[arithmetic]
    found = measure(model, validation, way, IMPLEMENTATIONS[implementation], device)
    assert error_of(found, reference) <= way.max_error
    assert points_between(found, reference) <= way.max_points


def without_border(
    actors: Tensor, scene: Tensor, clip_index: Tensor, *modules: nn.Module, dropout: float
) -> tuple[Tensor, None]:
    """A wrong implementation: the border of the map is lost, one cell on each side."""
    _, related = relation_reference(actors, scene, clip_index, *modules, dropout=dropout, with_map=True)
    assert related is not None
    return related[..., 1:-1, 1:-1].amax(dim=(-2, -1)), None


def of_the_first_clip(
    actors: Tensor, scene: Tensor, clip_index: Tensor, *modules: nn.Module, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """A wrong implementation: all actors see the scene of the first clip."""
    return relation_reference(actors, scene, clip_index * 0, *modules, dropout=dropout)


@pytest.mark.parametrize("wrong", [without_border, of_the_first_clip])
def test_wrong_relation_is_noticed(
    wrong: Relation, model: ActionDetector, validation: Validation, reference: Outcome
) -> None:
    found = measure(model, validation, ARITHMETICS["float32"], wrong)
    loosest = max(ARITHMETICS.values(), key=lambda way: way.max_error)
    assert error_of(found, reference) > loosest.max_error
    assert points_between(found, reference) > loosest.max_points


def test_the_floor_is_out_of_reach_without_a_relation() -> None:
    record = read_record()
    for family in ("object", "partner"):
        assert record["floor"][family] > record["without_relation"][family] + 5


def test_training_stays_above_its_floor(tmp_path: Path) -> None:
    floor = read_record()["floor"]
    reached = train_shortly(tmp_path)
    assert {family: reached[family] for family in floor if not reached[family] > floor[family]} == {}, (
        f"{floor} expected"
    )
