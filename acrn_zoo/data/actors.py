"""The people that a clip is trained on: those that are annotated, and the proposals that cover them well enough."""

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou


def training_actors(
    boxes: Tensor,
    labels: Tensor,
    proposals: Tensor,
    random: np.random.Generator,
    *,
    min_iou: float = 0.9,
    maximum: int = 32,
    with_unmatched: bool = False,
) -> tuple[Tensor, Tensor]:
    """Gather the actors of a clip for training, by the rule of the published models.

    The annotated boxes come first, then the proposals that match one (:func:`match_proposals`) with its labels, in
    the order given. If they are more than ``maximum``, that many are drawn at random, annotated or not, and keep
    their order.

    The published recipe then fills up to ``maximum`` with proposals that match nobody. They have no label and do
    not count in the loss (:func:`acrn_zoo.models.losses.action_loss`): all that they do is enter the batch
    statistics of the relation head's normalisation, at the price of a relation map each. So they are left out,
    unless the published numbers are to be repeated to the letter.

    Args:
        boxes: ``[G, 4]`` xyxy, the annotated people, in the same frame of reference as the proposals.
        labels: ``[G, K]``, 0 or 1.
        proposals: ``[P, 4]`` xyxy.
        random: draws where there are too many.
        min_iou: from which overlap on a proposal matches.
        maximum: actors of a clip.
        with_unmatched: whether proposals that match nobody fill up the actors, in the order given, drawn at random
            if there are too many.

    Returns:
        Boxes ``[R, 4]`` and labels ``[R, K]``; the rows of proposals that match nobody are 0.

    Raises:
        ValueError: if ``maximum`` is less than 1.
    """
    if maximum < 1:
        raise ValueError(f"maximum is {maximum}, expected at least 1 actor")
    match = match_proposals(boxes, proposals, min_iou)
    is_matched = match >= 0
    positives = torch.cat([boxes, proposals[is_matched]])
    positive_labels = torch.cat([labels, labels[match[is_matched]]])
    chosen = _choose(len(positives), maximum, random)
    positives, positive_labels = positives[chosen], positive_labels[chosen]
    if not with_unmatched:
        return positives, positive_labels
    rest = proposals[~is_matched]
    rest = rest[_choose(len(rest), maximum - len(positives), random)]
    return torch.cat([positives, rest]), torch.cat([positive_labels, labels.new_zeros(len(rest), labels.shape[1])])


def match_proposals(boxes: Tensor, proposals: Tensor, min_iou: float = 0.9) -> Tensor:
    """Which annotated box every proposal covers.

    A proposal belongs to the box that it overlaps most, if their IoU is at least ``min_iou``. On top of that every
    box takes the proposals that overlap it more than all others do, if they reach ``min_iou``, even from a box that
    they overlap still more; of two boxes that want one proposal, the later has it.

    Args:
        boxes: ``[G, 4]`` xyxy.
        proposals: ``[P, 4]`` xyxy.
        min_iou: IoU without ``+ 1``.

    Returns:
        ``[P]`` int64 rows of ``boxes``, -1 where there is none.
    """
    match = torch.full((len(proposals),), -1, dtype=torch.int64)
    if len(boxes) == 0 or len(proposals) == 0:
        return match
    overlaps = box_iou(boxes, proposals)  # 0 / 0 of two boxes without area is NaN, which reaches nothing
    best, best_box = overlaps.max(dim=0)
    match = torch.where(best >= min_iou, best_box, match)
    for number, row in enumerate(overlaps):
        if row.max() >= min_iou:
            match[row == row.max()] = number
    return match


def _choose(number: int, maximum: int, random: np.random.Generator) -> Tensor:
    """At most ``maximum`` of the rows 0 to ``number - 1``, ascending."""
    if number <= maximum:
        return torch.arange(number)
    return torch.from_numpy(np.sort(np.argsort(random.random(number), kind="stable")[:maximum]))
