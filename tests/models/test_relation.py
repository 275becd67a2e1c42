"""The relation heads: each baseline against its equation, and the relation that is computed again."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from acrn_zoo.models import ActorCentricRelation, ActorOnly, PooledScene, RelationHead, SceneAttention

HEADS = {
    "acrn": lambda: ActorCentricRelation(4, 6),
    "actor_only": lambda: ActorOnly(4),
    "pooled_scene": lambda: PooledScene(4, 6),
    "scene_attention": lambda: SceneAttention(4, 6),
}
CLIP_INDEX = torch.tensor([1, 0, 1])


def random_head(name: str) -> Any:
    torch.manual_seed(0)
    return HEADS[name]().double()


def random_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    actors = torch.randn(3, 4, 2, 2, dtype=torch.float64, generator=generator)
    return actors, torch.randn(2, 4, 5, 3, dtype=torch.float64, generator=generator), CLIP_INDEX


def test_heads_differ_in_parameters_only_where_they_see_the_scene() -> None:
    """On one place the context of ACRN has no neighbours: it is the pooled scene's."""
    acrn, pooled = random_head("acrn").eval(), random_head("pooled_scene").eval()
    with torch.no_grad():
        pooled.pair[0].weight.copy_(acrn.pair[0].weight[:, :, 0, 0, 0])
        pooled.context[0].weight.copy_(acrn.context[0].weight[:, :, 0, 1, 1])
    actors, scene, index = random_inputs()
    summary = scene.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(pooled(actors, scene, index), acrn(actors, summary, index))


def test_attention_is_the_equation() -> None:
    head = random_head("scene_attention").eval()
    actors, scene, index = random_inputs()
    rows = []
    for window, clip in zip(actors, scene[index], strict=True):
        actor = window.flatten(1).max(dim=1).values
        places = [clip[:, y, x] for y in range(5) for x in range(3)]
        weights = torch.stack([head.query(actor) @ head.key(place) / 6**0.5 for place in places]).exp()
        attended = sum(
            weight * head.value(place) for weight, place in zip(weights / weights.sum(), places, strict=True)
        )
        rows.append(torch.cat([actor, attended]))
    torch.testing.assert_close(head(actors, scene, index), head.context(head.pair(torch.stack(rows))))


@pytest.mark.parametrize("name", ["acrn", "pooled_scene", "scene_attention"])
def test_other_clips_are_never_seen(name: str) -> None:
    """Not in training either: no gradient reaches a scene without actors."""
    head = random_head(name)
    actors, scene, _ = random_inputs()
    scene.requires_grad_()
    head(actors, scene, torch.zeros(3, dtype=torch.int64)).sum().backward()
    assert scene.grad is not None
    assert scene.grad[0].abs().sum() > 0
    assert scene.grad[1].abs().sum() == 0


@pytest.mark.parametrize("name", ["pooled_scene", "scene_attention"])
def test_one_actor_alone_in_training_has_no_batch_to_be_normalised_by(name: str) -> None:
    head = random_head(name)
    head.dropout = 0.0
    actors, scene, index = random_inputs()
    head(actors, scene, index)  # statistics that are not those of the beginning
    before = copy.deepcopy(head.state_dict())
    features = head(actors[:1], scene, index[:1])
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert torch.equal(features, head.eval()(actors[:1], scene, index[:1]))


@pytest.mark.parametrize("name", HEADS)
def test_dropout_drops_a_share_of_the_features_or_of_what_they_are_the_maximum_of(name: str) -> None:
    head = random_head(name).train()
    actors, scene, index = random_inputs()
    for module in head.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    head.dropout = 0.0
    assert torch.equal(head(actors, scene, index), head.eval()(actors, scene, index))
    head.train().dropout = 1.0
    assert not head(actors, scene, index).any()


def run_step(head: RelationHead, forward: Any) -> tuple[Tensor, list[Tensor], int]:
    """Loss, gradients of inputs and parameters, and how many values were kept for the backward pass."""
    actors, scene, index = random_inputs()
    inputs = actors.requires_grad_(), scene.requires_grad_()
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(2)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward(actors, scene, index).square().sum()
    torch.rand(5)  # the backward pass may not depend on where the random numbers have got to
    loss.backward()
    gradients = [tensor.grad for tensor in (*inputs, *head.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return loss.detach(), gradients, sum(kept.values())  # type: ignore[return-value]


@pytest.mark.parametrize("is_training", [True, False])
def test_computed_again_it_is_the_same_and_keeps_less(is_training: bool) -> None:
    plain = random_head("acrn").train(is_training)
    again = copy.deepcopy(plain)
    again.is_checkpointed = True
    buffers = dict(again.named_buffers())

    loss, gradients, kept = run_step(plain, plain)
    loss_again, gradients_again, kept_again = run_step(again, again)

    assert torch.equal(loss, loss_again)
    assert all(torch.equal(*pair) for pair in zip(gradients, gradients_again, strict=True))
    assert kept_again < 0.5 * kept
    for name, value in plain.named_buffers():
        assert torch.equal(value, buffers[name]), name
        assert again.get_buffer(name) is buffers[name], name  # the tensors that others may hold
    assert int(again.pair[1].num_batches_tracked) == is_training


def test_compiled_it_is_computed_again_too() -> None:
    plain = random_head("acrn")
    again = copy.deepcopy(plain)
    again.is_checkpointed = True
    torch.compiler.reset()
    loss, gradients, _ = run_step(plain, plain)
    loss_again, gradients_again, _ = run_step(again, torch.compile(again, backend="aot_eager", fullgraph=True))
    assert torch.equal(loss, loss_again)
    assert all(torch.equal(*pair) for pair in zip(gradients, gradients_again, strict=True))
    assert all(torch.equal(value, again.get_buffer(name)) for name, value in plain.named_buffers())


def test_no_actors_and_no_gradients_are_fine_when_checkpointed() -> None:
    head = random_head("acrn")
    head.is_checkpointed = True
    actors, scene, index = random_inputs()
    head(actors[:0], scene, index[:0]).sum().backward()
    assert head.pair[0].weight.grad is not None
    with torch.no_grad():
        assert head(actors, scene, index).shape == (3, 6)
