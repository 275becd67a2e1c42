"""The action detector: a clip and the boxes of its actors go in, one row of action logits an actor comes out."""

from collections.abc import Sequence

from torch import Tensor, nn

from acrn_zoo.boxes import boxes_to_rois
from acrn_zoo.models.backbone import Backbone
from acrn_zoo.models.relation import RelationHead


class ActionHead(nn.Module):
    """RoI, relation and classifier: what stands on top of a backbone.

    Args:
        roi: ``(scene [N, C, h, w], rois [R, 5]) -> [R, C, p, p]``.
        relation: ``(actors, scene, clip_index) -> [R, D]``.
        num_classes: K.
    """

    def __init__(self, roi: nn.Module, relation: RelationHead, num_classes: int) -> None:
        super().__init__()
        self.roi = roi
        self.relation = relation
        self.classifier = nn.Linear(relation.out_features, num_classes)
        nn.init.xavier_normal_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, scene: Tensor, rois: Tensor) -> Tensor:
        """Return logits ``[R, K]``.

        Args:
            scene: ``[N, C, h, w]``, the backbone's features of N clips.
            rois: ``[R, 5]`` rows ``(clip_index, x1, y1, x2, y2)``, xyxy in clip pixels. This is also the form
                in which PyTorchVideo's ``DetectionBBoxNetwork`` hands boxes to its head.
        """
        actors = self.roi(scene, rois)
        related = self.relation(actors, scene, rois[:, 0].long())
        return self.classifier(related)


class ActionDetector(nn.Module):
    """Backbone and head in one: ``forward(clips, boxes) -> logits``.

    Works in float64, float32 and bfloat16, under autocast, in ``channels_last_3d``, and under ``torch.compile``
    (one graph; a new number of actors or clip size compiles once more, after that sizes are dynamic).

    Args:
        backbone: ``clips [N, 3, T, H, W] -> [N, C, h, w]``.
        head: ``(scene, rois) -> logits``, an :class:`ActionHead`.
        categories: the names of the K actions, if the weights bring them.
    """

    def __init__(self, backbone: Backbone, head: ActionHead, categories: Sequence[str] | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.categories = None if categories is None else tuple(categories)

    @property
    def num_classes(self) -> int:
        """K, the number of actions."""
        return self.head.classifier.out_features

    def forward(self, clips: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Return one row of logits an actor, ``[R, K]``; no sigmoid is applied.

        Args:
            clips: ``[N, 3, T, H, W]`` float, RGB, normalised. Not written to.
            boxes: N tensors ``[R_i, 4]``, xyxy in clip pixels; any of them, or all, may be empty.

        Returns:
            The actors of the first clip in the order given, then those of the second, and so on. Without any
            actor ``[0, K]``.

        Raises:
            ValueError: if the shapes are not these.
        """
        _check_inputs(clips, boxes)
        return self.head(self.backbone(clips), boxes_to_rois(boxes))


def _check_inputs(clips: Tensor, boxes: Sequence[Tensor]) -> None:
    if clips.dim() != 5 or clips.shape[1] != 3:
        raise ValueError(f"clips has shape {list(clips.shape)}, expected [N, 3, T, H, W]")
    is_single = hasattr(boxes, "shape")  # a tensor has a length too
    if is_single or len(boxes) != len(clips):
        given = "a single tensor" if is_single else f"{len(boxes)} tensors"
        raise ValueError(f"boxes is {given}, expected a list of {len(clips)} tensors [R_i, 4], one a clip")
    for index, rows in enumerate(boxes):
        if rows.dim() != 2 or rows.shape[1] != 4:
            raise ValueError(f"boxes[{index}] has shape {list(rows.shape)}, expected [R, 4] (xyxy in clip pixels)")
