"""The action detector: a clip and the boxes of its actors go in, one row of action logits an actor comes out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from acrn_zoo.boxes import boxes_to_rois
from acrn_zoo.models.backbone import Backbone
from acrn_zoo.models.relation import ActorCentricRelation, RelationHead
from acrn_zoo.structures import Preprocessing


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

    def forward_with_maps(self, scene: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[R, K]`` and activation maps ``[R, K, h, w]``; :meth:`ActionDetector.forward_with_maps`."""
        if not isinstance(self.relation, ActorCentricRelation):
            raise TypeError(
                f"{type(self.relation).__name__} makes no map of the scene, so there is none to show: expected a "
                "detector with ActorCentricRelation"
            )
        if self.training:
            raise RuntimeError("the detector is in training mode, where its maps are not those it decides by: eval()")
        features, related = self.relation.forward_with_map(self.roi(scene, rois), scene, rois[:, 0].long())
        maps = F.conv2d(related, self.classifier.weight[:, :, None, None])
        return self.classifier(features), maps


class ActionDetector(nn.Module):
    """Backbone and head in one: ``forward(clips, boxes) -> logits``.

    Works in float64, float32 and bfloat16, under autocast, in ``channels_last_3d``, and under ``torch.compile``: one
    graph, but another one for every pattern of 0, 1 and more actors in the list of boxes, until the compiler gives up.
    For batches, compile ``backbone`` and ``head`` instead: the head then makes a few graphs, and takes any number.

    Args:
        backbone: ``clips [N, 3, T, H, W] -> [N, C, h, w]``.
        head: ``(scene, rois) -> logits``, an :class:`ActionHead`.
        categories: the names of the K actions, if the weights bring them.
        architecture: plain values that say how to build the detector again, if it can be built from such; they are
            saved with it.
        preprocessing: which clips it was trained on, if the weights tell; saved with it, too.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: ActionHead,
        *,
        categories: Sequence[str] | None = None,
        architecture: Mapping[str, Any] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.categories = None if categories is None else tuple(categories)
        self.architecture = dict(architecture or {})
        self.preprocessing = preprocessing

    @property
    def num_classes(self) -> int:
        """K, the number of actions."""
        return self.head.classifier.out_features

    def forward(self, clips: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Return one row of logits an actor, ``[R, K]``; no sigmoid is applied.

        Args:
            clips: ``[N, 3, T, H, W]`` float, RGB, normalised. Not written to.
            boxes: N tensors ``[R_i, 4]``, xyxy in clip pixels; any of them, or all, may be empty. Finite and not
                inverted, near the clip: that is checked where boxes come in (:mod:`acrn_zoo.people`), since looking
                at values here would stall a GPU.

        Returns:
            The actors of the first clip in the order given, then those of the second, and so on. Without any
            actor ``[0, K]``.

        Raises:
            ValueError: if the shapes are not these.
        """
        _check_inputs(clips, boxes)
        return self.head(self.backbone(clips), boxes_to_rois(boxes))

    def forward_with_maps(self, clips: Tensor, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what :meth:`forward` does, and where in the scene each action of each actor was seen.

        The class activation (Zhou et al., CVPR 2016) of the relation map: for actor r, action k and place (y, x)::

            map[r, k, y, x] = sum over D of classifier weight[k, d] related[r, d, y, x]

        before the maximum over places and without the bias. A logit is no value of its map: each of the D channels
        takes its maximum at a place of its own.

        Args:
            clips: as for :meth:`forward`.
            boxes: as for :meth:`forward`.

        Returns:
            Logits ``[R, K]`` and maps ``[R, K, h, w]``. Cell (y, x) covers the clip's pixels ``stride x`` to
            ``stride (x + 1)`` across and ``stride y`` to ``stride (y + 1)`` down, ``stride`` being the backbone's
            ``spatial_stride``; the last ones may reach over the border.

        Raises:
            TypeError: if the relation head makes no map (any but :class:`ActorCentricRelation`).
            RuntimeError: if the detector is in training mode.
            ValueError: if the shapes are not these.
        """
        _check_inputs(clips, boxes)
        return self.head.forward_with_maps(self.backbone(clips), boxes_to_rois(boxes))

    def activation_maps(self, clips: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Return the maps ``[R, K, h, w]`` of :meth:`forward_with_maps` alone."""
        return self.forward_with_maps(clips, boxes)[1]


def _check_inputs(clips: Tensor, boxes: Sequence[Tensor]) -> None:
    if clips.dim() != 5 or clips.shape[1] != 3 or not clips.is_floating_point():
        raise ValueError(f"clips is {clips.dtype} {list(clips.shape)}, expected normalised floats [N, 3, T, H, W]")
    if len(clips) == 0:
        raise ValueError("clips has no clip: expected at least one")
    if not isinstance(boxes, list | tuple) or len(boxes) != len(clips):
        given = f"{len(boxes)} tensors" if isinstance(boxes, list | tuple) else f"a {type(boxes).__name__}"
        raise ValueError(f"boxes is {given}, expected a list of {len(clips)} tensors [R_i, 4], one a clip")
    for index, rows in enumerate(boxes):
        if not isinstance(rows, Tensor) or rows.dim() != 2 or rows.shape[1] != 4:
            shape = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise ValueError(f"boxes[{index}] is {shape}, expected a tensor [R, 4] (xyxy in clip pixels)")
