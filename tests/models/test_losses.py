"""The loss against its definition, one entry at a time."""

import math

import pytest
import torch

from acrn_zoo.models import action_loss


@pytest.mark.parametrize(("alpha", "gamma"), [(1.0, 0.0), (3.0, 1.0), (0.25, 2.0)])
def test_is_its_definition(alpha: float, gamma: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64)
    labels = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]])
    terms = []
    for row in (0, 2, 3):  # the second actor has no label
        for logit, label in zip(logits[row].tolist(), labels[row].tolist(), strict=True):
            probability = 1 / (1 + math.exp(-logit))
            p_t = probability if label else 1 - probability
            terms.append(alpha * (1 - p_t) ** gamma * -math.log(p_t))
    assert action_loss(logits, labels, alpha=alpha, gamma=gamma).item() == pytest.approx(sum(terms) / 9, rel=1e-12)


@pytest.mark.parametrize("num_actors", [0, 2])
def test_without_labels_is_zero_and_differentiable(num_actors: int) -> None:
    logits = torch.randn(num_actors, 3, requires_grad=True)
    loss = action_loss(logits, torch.zeros(num_actors, 3))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_focal_gradient_is_finite_for_certain_logits() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    action_loss(logits, torch.tensor([[1, 0]]), gamma=0.5).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_half_precision_does_not_overflow() -> None:
    logits, labels = torch.full((640, 80), -3.0), torch.ones(640, 80)
    expected = action_loss(logits, labels)
    assert action_loss(logits.half(), labels).item() == pytest.approx(expected.item(), rel=1e-3)


def test_gamma_is_not_negative() -> None:
    with pytest.raises(ValueError, match="gamma is -1"):
        action_loss(torch.zeros(1, 1), torch.ones(1, 1), gamma=-1)


def test_shapes_differ() -> None:
    with pytest.raises(ValueError, match="expected \\[R, K\\] and the same"):
        action_loss(torch.zeros(2, 3), torch.zeros(2, 4))
