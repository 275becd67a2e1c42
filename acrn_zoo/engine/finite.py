"""Numbers that are not finite end a training at once, with what is known about where they come from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acrn_zoo.data.batch import Batch
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.learner import Learner
from acrn_zoo.errors import UserError
from acrn_zoo.structures import Keyframe

_MOST_SHOWN = 5


class NonFiniteError(UserError, FloatingPointError):
    """A loss or a gradient is infinite or not a number; the message says which part, and of which samples."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model said of a batch.

    Args:
        batch: on the device.
        logits: ``[R, K]``, detached.
        loss: scalar, detached.
    """

    batch: Batch
    logits: Tensor
    loss: Tensor


def require_finite(
    outcomes: Sequence[Outcome], gradient_norm: Tensor, learner: Learner, processes: Processes
) -> tuple[float, float | None]:
    """Check a step before it changes the weights.

    Every process has to call this; all of them go on, or none.

    Args:
        outcomes: what this process contributed. The gradients are still in the parameters.
        gradient_norm: of all processes together.
        learner: whose gradients they are.
        processes: which share the step.

    Returns:
        The loss of the step over all processes, and the norm; None for it if the gradient is more than float16
        holds at the present scale, which leaves the step out and lowers the scale.

    Raises:
        NonFiniteError: in every process, if one of the two is not finite.
    """
    total = processes.mean(torch.stack([outcome.loss for outcome in outcomes]).sum())
    loss, norm = torch.stack([total, gradient_norm.to(total)]).tolist()  # the GPU is waited for once
    if math.isfinite(loss) and math.isfinite(norm):
        return loss, norm
    if math.isfinite(loss) and learner.scaler.is_enabled() and learner.scaler.get_scale() > 1:
        return loss, None
    found = [reason for reason in processes.gather(_explain(outcomes, learner.model)) if reason]
    raise NonFiniteError(
        f"Training has stopped: the {'gradient' if math.isfinite(loss) else 'loss'} is not finite, on account of "
        f"{'; '.join(dict.fromkeys(found)) or 'its size alone'}. The weights are as they were before this step. If the "
        "samples are sound, a lower learning rate or --precision float32 may help"
    )


def _explain(outcomes: Sequence[Outcome], model: nn.Module) -> str | None:
    """The first part, in the order in which they are computed, that is not finite; None if all of them are."""
    if weights := [name for name, value in model.named_parameters() if not _is_finite(value)]:
        return f"weights that were so before: {_listed(weights)}"
    for outcome in outcomes:
        if reason := next(_faults(outcome), None):
            return reason
    wrong = [name for name, value in model.named_parameters() if value.grad is not None and not _is_finite(value.grad)]
    if wrong:
        keyframes = [keyframe for outcome in outcomes for keyframe in outcome.batch.keyframes]
        return f"the gradient of {_listed(wrong)}, from {_samples(keyframes)}"
    return None


def _faults(outcome: Outcome) -> Iterator[str]:
    batch = outcome.batch
    clips, counts = batch.clips, [len(boxes) for boxes in batch.boxes]
    of_actor = [keyframe for keyframe, count in zip(batch.keyframes, counts, strict=True) for _ in range(count)]
    parts = (
        ("the input clips", clips, batch.keyframes),
        ("the input boxes", torch.cat(batch.boxes), of_actor),
        ("the labels", batch.labels, of_actor),
        ("the logits", outcome.logits, of_actor),
    )
    for name, values, owners in parts:
        is_wrong = ~torch.isfinite(values).flatten(1).all(dim=1)
        if bool(is_wrong.any()):
            yield f"{name} of {_samples([owners[row] for row in torch.nonzero(is_wrong).flatten().tolist()])}"
    if not _is_finite(outcome.loss):
        yield f"the loss of {_samples(batch.keyframes)}"


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _samples(keyframes: Sequence[Keyframe]) -> str:
    """Keyframes in words, each once."""
    return _listed([f"video {one.video_id} at {one.timestamp:g} s" for one in dict.fromkeys(keyframes)])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
