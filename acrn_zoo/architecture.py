"""Every number that decides how a SlowFast detector is built."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from acrn_zoo.errors import UserError
from acrn_zoo.models.backbone import DEPTHS, TemporalPool

Relation: TypeAlias = Literal["acrn", "actor_only"]


class ArchitectureError(UserError, ValueError):
    """A number contradicts the weights, or is none that a model can be built with."""


@dataclass(frozen=True)
class SlowFastArchitecture:
    """How to build a SlowFast detector; saved beside its weights.

    Args:
        relation: "acrn", or "actor_only" for the baseline without relations.
        depth: layers of the residual networks, 50 or 101 (18 and 152 build too).
        alpha: ratio of the pathways' frame rates: 4 is 8x8, 8 is 4x16 (of 32 frames).
        width: channels of the slow pathway's stem, a multiple of 8.
        temporal_pool: "avg" or "max" over time.
        lateral_norm: BatchNorm and ReLU behind the lateral convolutions.
        res5_dilation: dilation of the last stage, 1 or 2.
        relation_channels: D, channels of the relation; those of the backbone if None.
        num_classes: K.
        dropout: probability of dropping an entry before the last maximum, in training.

    Raises:
        ArchitectureError: if a value is none of these.
    """

    relation: Relation = "acrn"
    depth: int = 50
    alpha: int = 4
    width: int = 64
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
        for name in ("alpha", "width", "num_classes"):
            _require_positive(name, getattr(self, name))
        if self.width % 8:
            raise ArchitectureError(f"width is {self.width}, expected a multiple of 8: the fast pathway has an eighth")
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
