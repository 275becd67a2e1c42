"""What is said of a step that is not finite."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.amp import GradScaler

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.batch import Batch
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.finite import NonFiniteError, Outcome, require_finite
from acrn_zoo.engine.learner import Learner
from acrn_zoo.structures import Keyframe
from acrn_zoo.zoo import create_slowfast_detector

NAN, INF = float("nan"), float("inf")


def outcome(first: int, loss: float = 1.0) -> Outcome:
    """Three actors in two clips, the first of which has one."""
    batch = Batch(
        frames=torch.zeros(2, 1, 2, 2, 3, dtype=torch.uint8),
        boxes=[torch.ones(1, 4), torch.ones(2, 4)],
        labels=torch.ones(3, 2),
        person_scores=torch.ones(3),
        keyframes=(Keyframe("film", first), Keyframe("film", first + 0.5)),
        indices=(0, 1),
        frame_sizes=((2, 2), (2, 2)),
    )
    return Outcome(batch, torch.zeros(3, 2), torch.tensor(loss))


@pytest.fixture
def learner() -> Learner:
    model = create_slowfast_detector(SlowFastArchitecture(depth=18, width=8, num_classes=2))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    return Learner(model, optimizer, GradScaler("cpu", enabled=False), None)


def check(outcomes: list[Outcome], learner: Learner, norm: float = 1.0) -> tuple[float, float | None]:
    return require_finite(outcomes, torch.tensor(norm), learner, Processes())


def test_finite(learner: Learner) -> None:
    assert check([outcome(0, 0.5), outcome(1, 0.25)], learner, norm=3.0) == (0.75, 3.0)


def set_nan(tensor: Tensor, row: int) -> None:
    with torch.no_grad():
        tensor[row] = NAN


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda one, _: set_nan(one.batch.boxes[0], 0), "the input boxes of video film at 4 s. The"),
        (lambda one, _: set_nan(one.batch.labels, 1), "the labels of video film at 4.5 s. The"),
        (lambda one, _: set_nan(one.logits, 2), "the logits of video film at 4.5 s. The"),
        (lambda one, _: one.logits.fill_(INF), "the logits of video film at 4 s, video film at 4.5 s. The"),
        (lambda *_: None, "the loss of video film at 4 s, video film at 4.5 s. The"),
        (
            lambda _, model: set_nan(model.head.classifier.weight, 0),
            "weights that were so before: head.classifier.weight. The",
        ),
    ],
)
def test_loss(spoil: Callable[[Outcome, Any], None], message: str, learner: Learner) -> None:
    wrong = outcome(4, NAN)
    spoil(wrong, learner.model)
    with pytest.raises(NonFiniteError) as caught:
        check([outcome(0), wrong], learner)
    assert f"Training has stopped: the loss is not finite, on account of {message}" in str(caught.value)
    assert "weights are as they were before this step" in str(caught.value)


def test_clips(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = torch.zeros(2, 3, 1, 2, 2)
    clips[1, 2, 0, 1, 1] = INF
    monkeypatch.setattr(Batch, "clips", clips)
    with pytest.raises(NonFiniteError, match=r"the input clips of video film at 4\.5 s\. The"):
        check([outcome(4, NAN)], learner)


def test_gradient(learner: Learner) -> None:
    assert learner.model.head.classifier.bias.grad is not None
    learner.model.head.classifier.bias.grad[1] = INF
    with pytest.raises(
        NonFiniteError,
        match="the gradient is not finite, on account of the gradient of head.classifier.bias, from video film at 0 s, "
        "video film at 0.5 s, video film at 4 s, video film at 4.5 s. The",
    ):
        check([outcome(0), outcome(4)], learner, norm=INF)


def test_many_are_counted(learner: Learner) -> None:
    for parameter in learner.model.parameters():
        parameter.grad = torch.full_like(parameter, NAN)
    with pytest.raises(NonFiniteError, match=r"norm.weight and \d+ more, from .* video film at 2 s and 3 more\. The"):
        check([outcome(number) for number in range(4)], learner, norm=NAN)


def test_only_the_norm(learner: Learner) -> None:
    with pytest.raises(NonFiniteError, match="the gradient is not finite, on account of its size alone"):
        check([outcome(0)], learner, norm=INF)


@pytest.mark.parametrize(("scale", "is_skipped"), [(65536.0, True), (2.0, True), (1.0, False)])
def test_float16_lowers_its_scale(learner: Learner, scale: float, is_skipped: bool) -> None:
    """At a scale of 1 it is not the scale that makes it infinite."""
    half = Learner(learner.model, learner.optimizer, GradScaler("cpu", init_scale=scale), None)
    with pytest.raises(NonFiniteError, match="the loss of"):
        check([outcome(0, INF)], half, norm=INF)
    if is_skipped:
        assert check([outcome(0)], half, norm=INF) == (1.0, None)
    else:
        with pytest.raises(NonFiniteError, match="gradient"):
            check([outcome(0)], half, norm=INF)
