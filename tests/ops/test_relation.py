"""The relation operator against its equation, written out place by place."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acrn_zoo.models import ActorCentricRelation
from acrn_zoo.ops import relation, relation_reference


def random_head(channels: int, features: int) -> Any:
    torch.manual_seed(0)
    head: Any = ActorCentricRelation(channels, features).double()
    for norm in (head.pair[1], head.context[1]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return head.eval()


def by_hand(head: Any, actor: Tensor, scene: Tensor) -> Tensor:
    """The map ``[D, h, w]`` of one actor, with loops and matrix products only."""
    _, height, width = scene.shape
    weight = head.pair[0].weight[:, :, 0, 0, 0]
    paired = torch.zeros(len(weight), height + 2, width + 2, dtype=scene.dtype)  # a border of zeros
    for y in range(height):
        for x in range(width):
            pair = weight @ torch.cat([actor, scene[:, y, x]])
            paired[:, y + 1, x + 1] = normalised(pair, head.pair[1]).relu()
    related = torch.zeros(len(weight), height, width, dtype=scene.dtype)
    for y in range(height):
        for x in range(width):
            window = paired[:, y : y + 3, x : x + 3]
            place = torch.einsum("dcij,cij->d", head.context[0].weight[:, :, 0], window)
            related[:, y, x] = normalised(place, head.context[1]).relu()
    return related


def normalised(values: Tensor, norm: nn.BatchNorm3d) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


def test_is_the_equation() -> None:
    head = random_head(channels=5, features=7)
    actors, scene = torch.randn(3, 5, dtype=torch.float64), torch.randn(2, 5, 4, 3, dtype=torch.float64)
    clip_index = torch.tensor([1, 0, 1])
    features, related = relation(actors, scene, clip_index, head.pair, head.context, with_map=True)
    assert related is not None
    for actor, clip, row, ours in zip(actors, clip_index, features, related, strict=True):
        expected = by_hand(head, actor, scene[clip])
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(row, expected.flatten(1).max(dim=1).values, rtol=1e-12, atol=1e-12)


def test_head_pools_the_actor_with_maximum_and_gives_its_map() -> None:
    head = random_head(channels=4, features=6)
    windows, scene = torch.randn(2, 4, 3, 3, dtype=torch.float64), torch.randn(1, 4, 5, 6, dtype=torch.float64)
    clip_index = torch.zeros(2, dtype=torch.int64)
    expected, related = relation_reference(
        windows.flatten(2).max(dim=2).values, scene, clip_index, head.pair, head.context, with_map=True
    )
    assert related is not None
    assert torch.equal(head(windows, scene, clip_index), expected)
    assert torch.equal(head.forward_with_map(windows, scene, clip_index)[1], related)


def test_no_actors() -> None:
    head = random_head(4, 6)
    empty = torch.zeros(0, 4, dtype=torch.float64)
    features, related = relation(
        empty, torch.zeros(1, 4, 5, 6).double(), torch.zeros(0).long(), head.pair, head.context, with_map=True
    )
    assert features.shape == (0, 6)
    assert related is not None
    assert related.shape == (0, 6, 5, 6)


def test_dropout_is_before_the_maximum() -> None:
    """With dropout 0.5 over 400 places nearly every maximum grows (at most twice); after it, half would be zero."""
    head = random_head(4, 64)
    actors, scene = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 4, 20, 20, dtype=torch.float64)
    index = torch.zeros(1, dtype=torch.int64)
    plain, _ = relation(actors, scene, index, head.pair, head.context)
    dropped, _ = relation(actors, scene, index, head.pair, head.context, dropout=0.5)
    is_active = plain > 0
    ratio = dropped[is_active] / plain[is_active]
    assert (ratio > 1).double().mean() > 0.8
    assert ratio.max() <= 2 + 1e-9


@pytest.mark.parametrize(("actors", "index"), [((2, 3), (2,)), ((2, 4), (3,))])
def test_shapes_that_do_not_fit(actors: tuple[int, ...], index: tuple[int, ...]) -> None:
    head = random_head(4, 6)
    with pytest.raises(ValueError, match="do not fit together"):
        relation(torch.zeros(actors), torch.zeros(1, 4, 5, 6), torch.zeros(index).long(), head.pair, head.context)
