"""The training loss: several actions at once, each its own yes or no."""

import torch
import torch.nn.functional as F
from torch import Tensor


def action_loss(logits: Tensor, labels: Tensor, *, alpha: float = 1.0, gamma: float = 0.0) -> Tensor:
    """Binary cross-entropy over every action of the actors that have a label, optionally focal.

    Actors without any label (proposals that match nobody) do not count. For each remaining entry::

        p_t  = exp(-bce)
        loss = alpha (1 - p_t)^gamma bce

    and the mean over all of them is returned. ``alpha=1, gamma=0`` is plain cross-entropy, as in the published
    recipe; the focal form is that of Lin et al. (ICCV 2017), with one ``alpha`` for both classes.

    Args:
        logits: ``[R, K]``.
        labels: ``[R, K]``, 0 or 1.
        alpha: weight of the whole loss.
        gamma: how much easy entries are played down; not negative.

    Returns:
        A scalar, at least float32; 0, still connected to ``logits``, when no actor has a label.
    """
    if logits.shape != labels.shape or logits.dim() != 2:
        raise ValueError(f"logits is {list(logits.shape)}, labels {list(labels.shape)}: expected [R, K] and the same")
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}, expected 0 or more")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # a sum in half precision overflows
    has_label = (labels > 0).any(dim=1)
    cross_entropy = F.binary_cross_entropy_with_logits(
        logits[has_label], labels[has_label].to(logits.dtype), reduction="none"
    )
    losses = cross_entropy
    if gamma > 0:
        # -expm1(-x) keeps its digits where 1 - exp(-x) has none; x^gamma has no slope at 0 for gamma < 1
        doubt = (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(logits.dtype).tiny)
        losses = doubt**gamma * cross_entropy
    return alpha * losses.sum() / max(losses.numel(), 1)
