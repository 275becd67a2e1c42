"""Pointing accuracy: does a relation map's highest place lie on what decided the action?

The rule of the pointing game (Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016), with the
map's own resolution as tolerance: one cell.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Pointing:
    """Where maps pointed.

    Args:
        num_maps: how many were looked at.
        num_hits: how many pointed at a place that decided.
        chance: the sum, over the maps, of the share of cells that would have been a hit.
    """

    num_maps: int = 0
    num_hits: int = 0
    chance: float = 0.0

    def __add__(self, other: "Pointing") -> "Pointing":
        return Pointing(self.num_maps + other.num_maps, self.num_hits + other.num_hits, self.chance + other.chance)

    @property
    def accuracy(self) -> float:
        """Share of maps that hit; NaN without any."""
        return self.num_hits / self.num_maps if self.num_maps else float("nan")

    @property
    def chance_accuracy(self) -> float:
        """What a cell drawn at random would have reached on the same maps; NaN without any."""
        return self.chance / self.num_maps if self.num_maps else float("nan")


def point(activation: npt.ArrayLike, places: npt.ArrayLike, *, tolerance: float = 1.0) -> Pointing:
    """Look where one map is highest.

    Args:
        activation: ``[h, w]``.
        places: ``[P, 4]``, xyxy in fractions of the frame that the map covers; a hit on any of them counts.
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
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
    x1, y1, x2, y2 = (boxes * [width, height, width, height]).T[:, :, None, None]
    is_hit = ((x >= x1 - tolerance) & (x <= x2 + tolerance) & (y >= y1 - tolerance) & (y <= y2 + tolerance)).any(axis=0)
    highest = np.unravel_index(values.argmax(), values.shape)
    return Pointing(1, int(is_hit[highest]), float(is_hit.mean()))
