"""The published ways to evaluate AVA's files, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from acrn_zoo.errors import UserError


class EvaluationError(UserError, ValueError):
    """Annotations and predictions that cannot be evaluated, by this rule or at all; the message says why."""


@dataclass(frozen=True)
class Rule:
    """One published way to evaluate the same files.

    Args:
        max_rows: the best rows of a keyframe that count, over all classes; None for all.
        order: how predictions of a keyframe take annotated boxes: by falling score, equal ones as in the
            official reader's heap (``"heap"``), in the order of the file (``"score"``), or against it
            (``"score, last first"``); or in the order of the file whatever their scores (``"file"``).
        counts_unannotated: whether predictions at keyframes that the annotations do not name are wrong; if not,
            they are ignored.
        needs_listed: whether a keyframe is annotated only if a class of the label map is.
        counts_excluded: whether what is annotated at excluded keyframes still counts among what is to be found.
        needs_predictions: whether the mean leaves out classes that are never predicted.
        is_single: whether boxes are rounded to float32. (MMAction2 rounds scores too and leaves the order of those
            that become equal to chance; here it is that of the numbers in the file.)
        keeps_flat: whether predictions without area are wrong; if not, they are dropped.
        needs_plain_rows: whether the reader knows whole seconds, and rows with boxes, alone.
        has_localisation: whether the evaluation reports CorLoc too.
    """

    max_rows: int | None = None
    order: Literal["heap", "score", "score, last first", "file"] = "heap"
    counts_unannotated: bool = False
    needs_listed: bool = False
    counts_excluded: bool = False
    needs_predictions: bool = False
    is_single: bool = False
    keeps_flat: bool = False
    needs_plain_rows: bool = False
    has_localisation: bool = False


OFFICIAL = Rule(max_rows=50)
"""ActivityNet's script from 2020 on. It knows no excluded keyframes; those given are left out as in 2019."""

RULES: Mapping[str, Rule] = {
    "official": OFFICIAL,
    "2019": Rule(max_rows=50, counts_unannotated=True, needs_plain_rows=True),
    "2018": Rule(order="score, last first", counts_unannotated=True, needs_plain_rows=True, has_localisation=True),
    "pyslowfast": Rule(order="file", counts_unannotated=True, needs_plain_rows=True),
    "mmaction2": Rule(
        order="score",
        needs_listed=True,
        counts_excluded=True,
        needs_predictions=True,
        is_single=True,
        keeps_flat=True,
        needs_plain_rows=True,
    ),
}
"""``official`` and the others in circulation: ActivityNet's of 2019 (ACAR-Net) and 2018, PySlowFast's, MMAction2's."""
