"""What an evaluation says, as ``score`` and ``evaluate`` print and write it."""

import math
from typing import Any

import numpy as np

from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.evaluation.ava import AvaResult, mean_of
from acrn_zoo.evaluation.resampling import Comparison
from acrn_zoo.labels import LabelMap

GROUPS = {
    "person movement": range(1, 15),
    "object manipulation": range(15, 64),
    "person interaction": range(64, 81),
}
"""AVA's three kinds of actions, by their ids."""

NUM_SHOWN = 5


def means_of_groups(result: AvaResult, labels: LabelMap) -> dict[str, float]:
    """The mAP of each of AVA's three kinds of actions; nothing where the classes are not AVA's."""
    if not all(1 <= number <= 80 and CATEGORIES[number - 1] == name for number, name in labels.names.items()):
        return {}
    return {name: result.mean_of_classes(ids) for name, ids in GROUPS.items()}


def print_classes(result: AvaResult, labels: LabelMap) -> None:
    """A row for every class that counts, best first."""
    order = np.argsort(-np.nan_to_num(result.average_precision, nan=-1.0), kind="stable")
    counted = [int(column) for column in order if not math.isnan(result.average_precision[column])]
    width = max(len(name) for name in labels.names.values())
    print(f"{'class':<{width + 5}} {'AP':>7} {'annotated':>10} {'predicted':>10} {'found':>8}")
    for column in counted:
        class_id = result.class_ids[column]
        print(
            f"{class_id:>3}  {labels.names[class_id]:<{width}} {result.average_precision[column]:>7.4f} "
            f"{result.num_annotated[column]:>10} {result.num_predicted[column]:>10} {result.num_found[column]:>8}"
        )
    if len(counted) > 2 * NUM_SHOWN:
        for title, columns in (("best", counted[:NUM_SHOWN]), ("worst", counted[-NUM_SHOWN:])):
            names = (
                f"{labels.names[result.class_ids[column]]} {result.average_precision[column]:.3f}" for column in columns
            )
            print(f"{title:>5}: {', '.join(names)}")
    if left_out := len(result.class_ids) - len(counted):
        print(f"{left_out} more classes are not annotated (or left out by the rule) and do not count")


def print_groups(groups: dict[str, float]) -> None:
    """The means of :func:`means_of_groups`, if there are any."""
    shown = [f"{name} {value:.4f}" for name, value in groups.items() if not math.isnan(value)]
    if shown:
        print(f"means: {', '.join(shown)}")


def print_answer(result: AvaResult, interval: tuple[float, float] | None, rule: str) -> None:
    """The mAP, the last line."""
    if math.isnan(result.mean):
        print(f"\nmAP is not defined: no class counts by the {rule}")
        return
    about = "" if interval is None else f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"
    num_classes = int(np.count_nonzero(~np.isnan(result.average_precision)))
    print(f"\nmAP {result.mean:.6f} ({100 * result.mean:.2f} %){about}, {rule}, {num_classes} classes")


def score_as_dict(
    result: AvaResult,
    groups: dict[str, float],
    rule: str,
    interval: tuple[float, float] | None = None,
    other: AvaResult | None = None,
    comparison: Comparison | None = None,
) -> dict[str, Any]:
    """All numbers at full precision, as JSON has them; None where one is not defined."""

    def by_class(values: Any) -> dict[str, Any]:  # noqa: ANN401 - an array of any number type
        return {str(key): _finite(value) for key, value in zip(result.class_ids, values.tolist(), strict=True)}

    lowest, highest = result.range_over_ties
    content: dict[str, Any] = {
        "mAP": _finite(result.mean),
        "AP": by_class(result.average_precision),
        "rule": rule,
        "mAP_range_over_ties": [_finite(mean_of(lowest)), _finite(mean_of(highest))],
        "num_annotated": by_class(result.num_annotated),
        "num_predicted": by_class(result.num_predicted),
        "num_found": by_class(result.num_found),
        "means": {name: _finite(value) for name, value in groups.items()},
    }
    if result.localisation is not None:
        content["CorLoc"] = by_class(result.localisation)
    if interval is not None:
        content["mAP_interval"] = [_finite(bound) for bound in interval]
    if other is not None and comparison is not None:
        content["comparison"] = {
            "mAP": _finite(other.mean),
            "difference": _finite(comparison.difference),
            "difference_interval": [_finite(bound) for bound in comparison.interval],
            "p_value": comparison.p_value,
            "num_videos": comparison.num_videos,
        }
    return content


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
