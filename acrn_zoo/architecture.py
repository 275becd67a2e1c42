"""Every number that decides how a SlowFast detector is built."""

from dataclasses import dataclass
from typing import get_args

from acrn_zoo.errors import UserError
from acrn_zoo.models.backbone import DEPTHS, STAGE_STRIDES, TemporalPool
from acrn_zoo.models.relation import Relation


class ArchitectureError(UserError, ValueError):
    """A number contradicts the weights, or is none that a model can be built with."""


@dataclass(frozen=True)
class SlowFastArchitecture:
    """How to build a SlowFast detector; saved beside its weights.

    Args:
        relation: how an actor sees its scene: "acrn"; or the baselines "actor_only" (not at all), "pooled_scene"
            (summarised before they meet) and "scene_attention" (by non-local attention).
        depth: layers of the residual networks, 50 or 101 (18 and 152 build too).
        alpha: ratio of the pathways' frame rates: 4 is 8x8, 8 is 4x16 (of 32 frames).
        beta: ratio of the pathways' channels: the fast one has 1/8 of the slow one's, as published.
        width: channels of the slow pathway's stem, a multiple of ``beta``.
        spatial_stride: pixels of the clip per cell of the feature map, 8 or 16 (as published).
        temporal_pool: "avg" or "max" over time.
        lateral_norm: BatchNorm and ReLU behind the lateral convolutions.
        res5_dilation: dilation of the last stage, 1 or 2.
        relation_channels: D, channels of the relation; those of the backbone if None, and for "actor_only".
        num_classes: K.
        dropout: probability of dropping an entry before the classifier (where there is a last maximum: before that),
            in training.

    Raises:
        ArchitectureError: if a value is none of these.
    """

    relation: Relation = "acrn"
    depth: int = 50
    alpha: int = 4
    beta: int = 8
    width: int = 64
    spatial_stride: int = 16
    temporal_pool: TemporalPool = "avg"
    lateral_norm: bool = False
    res5_dilation: int = 1
    relation_channels: int | None = None
    num_classes: int = 80
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _require_one_of(self, "relation", get_args(Relation))
        _require_one_of(self, "depth", DEPTHS)
        _require_one_of(self, "temporal_pool", get_args(TemporalPool))
        _require_one_of(self, "lateral_norm", (False, True))
        _require_one_of(self, "res5_dilation", (1, 2))
        _require_one_of(self, "spatial_stride", tuple(STAGE_STRIDES))
        for name in ("alpha", "beta", "width", "num_classes"):
            _require_positive(name, getattr(self, name))
        if self.width % self.beta:
            raise ArchitectureError(
                f"width is {self.width}, expected a multiple of beta, {self.beta}: the fast pathway has that part of it"
            )
        if self.relation_channels is not None:
            _require_positive("relation_channels", self.relation_channels)
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ArchitectureError(f"dropout is {self.dropout!r}, expected 0 or more and less than 1")


def _require_one_of(architecture: SlowFastArchitecture, name: str, known: tuple[object, ...]) -> None:
    value = getattr(architecture, name)
    if not any(value is one or (type(value) is type(one) and value == one) for one in known):
        raise ArchitectureError(f"{name} is {value!r}, expected one of {', '.join(map(repr, known))}")


def _require_positive(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise ArchitectureError(f"{name} is {value!r}, expected a whole number of at least 1")
