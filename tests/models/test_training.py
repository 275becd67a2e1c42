"""Frozen stages, recomputed relations, other actions."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.models import ActionDetector, SlowFast, checkpoint_relation, freeze_stages, replace_classifier
from acrn_zoo.models.relation import Relation
from acrn_zoo.zoo import create_slowfast_detector

BOXES = [torch.tensor([[1.0, 2.0, 20.0, 30.0], [5.0, 5.0, 30.0, 28.0]])]


def new_detector(relation: Relation = "acrn") -> Any:
    torch.manual_seed(0)
    return create_slowfast_detector(SlowFastArchitecture(relation=relation, depth=18, width=8, num_classes=3))


def some_clips() -> Tensor:
    return torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("number", range(6))
def test_frozen_stages_stay_as_they_are(number: int) -> None:
    detector = new_detector()
    freeze_stages(detector.backbone, number)
    detector.eval()
    detector.train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.1, weight_decay=0.1)

    detector(some_clips(), BOXES).square().sum().backward()
    optimizer.step()

    for name, value in detector.state_dict().items():
        is_frozen = name.startswith(tuple(f"backbone.blocks.{index}." for index in range(number)))
        if value.is_floating_point() and value.any():  # a gradient of zero and a weight of zero stay
            assert torch.equal(value, before[name]) == is_frozen, name
        elif not value.is_floating_point():
            assert int(value) == (0 if is_frozen else 1), name


def test_freezing_fewer_lets_the_others_learn_again() -> None:
    backbone = new_detector().backbone
    freeze_stages(backbone, 3)
    freeze_stages(backbone, 1)
    assert [next(block.parameters()).requires_grad for block in backbone.blocks] == [False, True, True, True, True]
    assert [block.training for block in backbone.blocks] == [False, True, True, True, True]
    assert all(module.training for module in backbone.blocks[1].modules())
    assert not any(module.training for module in backbone.eval().modules())


@pytest.mark.parametrize("number", [-1, 6])
def test_there_are_five_blocks_to_freeze(number: int) -> None:
    with pytest.raises(ValueError, match=f"number is {number}, expected 0 to 5"):
        freeze_stages(new_detector().backbone, number)


def test_relation_is_checkpointed_where_there_is_a_map() -> None:
    detector = new_detector()
    assert not detector.head.relation.is_checkpointed
    checkpoint_relation(detector)
    assert detector.head.relation.is_checkpointed
    with pytest.raises(TypeError, match="PooledScene keeps no map of the scene"):
        checkpoint_relation(new_detector("pooled_scene"))


def test_other_actions() -> None:
    old = new_detector()
    nn.init.normal_(old.head.classifier.bias)
    old.categories = ("run", "sit", "talk")
    before = {name: value.clone() for name, value in old.state_dict().items()}
    old.eval()
    old.backbone.train()  # modes of the shared parts are their owner's

    new = replace_classifier(old, 5, ("a", "talk", "c", "run", "e"), keep={2: 1, 0: 3})

    assert new.num_classes == 5
    assert new.categories == ("a", "talk", "c", "run", "e")
    assert new.architecture == {**old.architecture, "num_classes": 5}
    assert (new.training, new.head.training, new.backbone.training) == (False, False, True)
    new.eval()
    logits, old_logits = new(some_clips(), BOXES), old.eval()(some_clips(), BOXES)
    torch.testing.assert_close(logits[:, [1, 3]], old_logits[:, [2, 0]])
    assert new.head.classifier.weight.std(dim=1).min() > 0
    assert not new.head.classifier.bias[[0, 2, 4]].any()
    assert (old.num_classes, old.categories) == (3, ("run", "sit", "talk"))
    assert all(torch.equal(value, before[name]) for name, value in old.state_dict().items())


def test_new_rows_start_as_published() -> None:
    """Xavier normal: a standard deviation of sqrt(2 / (D + K))."""
    new = replace_classifier(new_detector(), 200, keep={1: 7})
    rows = torch.cat([new.head.classifier.weight[:7], new.head.classifier.weight[8:]])
    assert rows.std().item() == pytest.approx((2 / (rows.shape[1] + 200)) ** 0.5, rel=0.02)
    assert new.categories is None


def test_other_actions_in_another_dtype_and_by_hand() -> None:
    detector = new_detector().bfloat16()
    by_hand = ActionDetector(detector.backbone, detector.head)
    new = replace_classifier(by_hand, 2)
    assert new.head.classifier.weight.dtype == torch.bfloat16
    assert new.architecture == {}
    assert isinstance(new.backbone, SlowFast)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 2, "categories": ("a",)}, "categories has 1 names for 2 actions"),
        ({"num_classes": 2, "keep": {3: 0}}, "the old column 3, expected 0 to 2"),
        ({"num_classes": 2, "keep": {-1: 0}}, "the old column -1"),
        ({"num_classes": 2, "keep": {0: 2}}, "the new column 2, expected 0 to 1"),
        ({"num_classes": 2, "keep": {0: 1, 1: 1}}, r"a new column twice: \[1, 1\]"),
    ],
)
def test_actions_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace_classifier(new_detector(), **arguments)
