"""Pointing accuracy: does a relation map's highest place lie on what decided the action?

The rule of the pointing game (Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016), with the
map's own resolution as tolerance: one cell.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Pointing:
    """Where maps pointed.

    Args:
        num_maps: how many were looked at.
        num_hits: how many pointed at a place that decided.
        chance: the sum, over the maps, of the share of cells that would have been a hit.
        of_kind: the sum, over the maps, of the share of figures of the right kind that would have been a hit: what a
            map reaches that knows the kind and not the pair.
    """

    num_maps: int = 0
    num_hits: int = 0
    chance: float = 0.0
    of_kind: float = 0.0

    def __add__(self, other: "Pointing") -> "Pointing":
        return Pointing(
            self.num_maps + other.num_maps,
            self.num_hits + other.num_hits,
            self.chance + other.chance,
            self.of_kind + other.of_kind,
        )

    @property
    def accuracy(self) -> float:
        """Share of maps that hit; NaN without any."""
        return self.num_hits / self.num_maps if self.num_maps else float("nan")

    @property
    def chance_accuracy(self) -> float:
        """What a cell drawn at random would have reached on the same maps; NaN without any."""
        return self.chance / self.num_maps if self.num_maps else float("nan")

    @property
    def of_kind_accuracy(self) -> float:
        """What a figure of the right kind, drawn at random, would have reached on the same maps; NaN without any."""
        return self.of_kind / self.num_maps if self.num_maps else float("nan")


def point(
    activation: npt.ArrayLike,
    places: npt.ArrayLike,
    *,
    rivals: npt.ArrayLike = (),
    tolerance: float = 1.0,
) -> Pointing:
    """Look where one map is highest.

    Args:
        activation: ``[h, w]``.
        places: ``[P, 4]``, xyxy in fractions of the frame that the map covers; a hit on any of them counts.
        rivals: ``[Q, 4]``, figures of the same kind as those at ``places`` that did not decide.
        tolerance: cells by which each place is enlarged on all four sides; a cell is hit if its middle is inside.

    Raises:
        ValueError: if the shapes are not these, there is no place, or the map is not finite.
    """
    values, boxes = np.asarray(activation, dtype=np.float64), np.asarray(places, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"activation is {values.shape}, expected finite numbers [h, w]")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise ValueError(f"places is {boxes.shape}, expected at least one box [P, 4]")
    height, width = values.shape
    size = np.array([width, height, width, height])
    x1, y1, x2, y2 = (boxes * size).T

    def is_hit(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        x, y = x[..., None], y[..., None]
        inside = (x >= x1 - tolerance) & (x <= x2 + tolerance) & (y >= y1 - tolerance) & (y <= y2 + tolerance)
        return inside.any(axis=-1)

    hits = is_hit(np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5)
    figures = np.concatenate([boxes, np.asarray(rivals, dtype=np.float64).reshape(-1, 4)]) * size
    middles = (figures[:, :2] + figures[:, 2:]) / 2
    highest = np.unravel_index(values.argmax(), values.shape)
    return Pointing(1, int(hits[highest]), float(hits.mean()), float(is_hit(*middles.T).mean()))
