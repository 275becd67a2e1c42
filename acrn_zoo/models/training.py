"""What a training may change about a detector: which stages learn, what is kept for the backward pass, its actions."""

from collections.abc import Mapping, Sequence

import torch

from acrn_zoo.models.backbone import SlowFast
from acrn_zoo.models.detector import ActionDetector, ActionHead
from acrn_zoo.models.relation import ActorCentricRelation


def freeze_stages(backbone: SlowFast, number: int) -> None:
    """Let the first blocks of a backbone keep their weights and statistics, and all others learn.

    Frozen parameters get no gradients, frozen BatchNorms stay in evaluation mode also after ``model.train()``.
    Lateral connections belong to the block before them. To be called before an optimizer or
    DistributedDataParallel takes the parameters.

    Args:
        backbone: changed in place.
        number: 0 freezes nothing, 1 the stem, 2 the stem and the first stage (res2), ..., 5 everything.

    Raises:
        ValueError: if there are not so many blocks.
    """
    if not 0 <= number <= len(backbone.blocks):
        raise ValueError(f"number is {number}, expected 0 to {len(backbone.blocks)}: the stem and the stages behind it")
    for index, block in enumerate(backbone.blocks):
        block.requires_grad_(index >= number)
    backbone.num_frozen = number
    backbone.train(backbone.training)


def checkpoint_relation(detector: ActionDetector) -> None:
    """Trade time for memory: compute the relation again in the backward pass instead of keeping it.

    Its pairs and map ``[R, 2C, h, w]`` and ``[R, D, h, w]`` are most of what training the head keeps. Gradients and
    BatchNorm's running statistics stay the same.

    Args:
        detector: changed in place.

    Raises:
        TypeError: if its relation head makes no map of the scene.
    """
    relation = detector.head.relation
    if not isinstance(relation, ActorCentricRelation):
        raise TypeError(f"{type(relation).__name__} keeps no map of the scene: expected ActorCentricRelation")
    relation.is_checkpointed = True


def replace_classifier(
    detector: ActionDetector,
    num_classes: int,
    categories: Sequence[str] | None = None,
    *,
    keep: Mapping[int, int] | None = None,
) -> ActionDetector:
    """Give a trained detector other actions, to go on training on other data.

    Args:
        detector: not changed, but the new one shares its backbone and relation head.
        num_classes: K of the new detector.
        categories: the names of its actions.
        keep: columns of actions that stay: the old number to the new one. All other columns start as in a new
            detector.

    Returns:
        A detector in the same mode and on the same device, which can be saved as the old one could.

    Raises:
        ValueError: if there are not as many names as actions, or ``keep`` names a column that does not exist, or
            one new column twice.
    """
    old, kept = detector.head.classifier, dict(keep or {})
    if categories is not None and len(categories) != num_classes:
        raise ValueError(f"categories has {len(categories)} names for {num_classes} actions, expected one an action")
    _check_columns("old", list(kept.keys()), old.out_features)
    _check_columns("new", list(kept.values()), num_classes)

    head = ActionHead(detector.head.roi, detector.head.relation, num_classes)
    head.classifier.to(old.weight)
    with torch.no_grad():
        for column, new_column in kept.items():
            head.classifier.weight[new_column] = old.weight[column]
            head.classifier.bias[new_column] = old.bias[column]
    architecture = {**detector.architecture, "num_classes": num_classes} if detector.architecture else None
    changed = ActionDetector(
        detector.backbone,
        head,
        categories=categories,
        architecture=architecture,
        preprocessing=detector.preprocessing,
    )
    for module in (changed, head, head.classifier):  # not the parts that both share
        module.training = detector.training
    return changed


def _check_columns(which: str, columns: list[int], number: int) -> None:
    if wrong := [column for column in columns if not 0 <= column < number]:
        raise ValueError(f"keep names the {which} column {wrong[0]}, expected 0 to {number - 1}")
    if len(set(columns)) != len(columns):
        raise ValueError(f"keep names a {which} column twice: {sorted(columns)}")
