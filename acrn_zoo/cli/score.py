"""``acrn-zoo score``: mAP of predictions in AVA's form."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.data.ava import AVA_EVALUATED_LABEL_MAP, CATEGORIES
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.ava import AvaResult, evaluate_ava, mean_of
from acrn_zoo.evaluation.resampling import Comparison, compare, confidence_interval
from acrn_zoo.evaluation.rules import RULES
from acrn_zoo.files import replacing, require_writable
from acrn_zoo.labels import LabelMap, read_label_map
from acrn_zoo.tables import NO_ACTION, read_annotations, read_keyframes, read_predictions

GROUPS = {
    "person movement": range(1, 15),
    "object manipulation": range(15, 64),
    "person interaction": range(64, 81),
}
"""AVA's three kinds of actions, by their ids."""

NUM_SHOWN = 5
DEFAULT_SPLIT = "val"
FEW_VIDEOS = 5  # with so many, not even the largest difference can be told from chance at 5 %


class ScoreError(UserError, ValueError):
    """Files that leave nothing to score."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "mAP at IoU 0.5, equal to the official evaluation of AVA to the last digit. Both files are CSV in AVA's form, "
        "without a header: video_id,timestamp,x1,y1,x2,y2,action_id and then the score, or in the ground truth the "
        "person. With --labels the same rule scores your own classes."
    )
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="what was predicted")
    parser.add_argument(
        "--ground-truth",
        type=Path,
        required=True,
        metavar="GT",
        help="what is annotated; or a dataset folder, which tells its classes and excluded keyframes too",
    )
    parser.add_argument("--split", help="of the dataset folder; val if not given")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="PBTXT",
        help="the classes that count; AVA's 60 of 80, or the folder's, if not given",
    )
    parser.add_argument(
        "--excluded",
        type=Path,
        metavar="CSV",
        help="keyframes to leave out: video_id,timestamp (the official script of today knows none)",
    )
    parser.add_argument(
        "--rule", choices=tuple(RULES), default="official", help="a published evaluation to compare old numbers with"
    )
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="other predictions: is the difference real?")
    parser.add_argument(
        "--interval", action="store_true", help="give the 95 %% interval of mAP too, by resampling the videos"
    )
    parser.add_argument(
        "--resamples",
        type=positive,
        default=1000,
        help="how often --interval and --compare resample; 1000 take a minute or two at AVA's size",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all numbers at full precision")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(options: argparse.Namespace, _interruption: Interruption) -> None:
    """Read, evaluate, print, write."""
    if options.json is not None:
        _require_output(options)
    truth_path, labels, excluded_path = _truth(options)
    annotations = read_annotations(truth_path)
    if not annotations["action_id"].isin(labels.ids).any():
        raise ScoreError(
            f"{truth_path} has no row of the {len(labels.ids)} classes that count ({', '.join(_some(labels))}), so "
            "there is nothing to find. Is it the right label map (--labels)?"
        )
    excluded = None if excluded_path is None else read_keyframes(excluded_path)

    def evaluate(path: Path) -> tuple[AvaResult, pd.DataFrame]:
        predictions = read_predictions(path)
        return evaluate_ava(
            annotations, predictions, labels.ids, rule=RULES[options.rule], excluded=excluded
        ), predictions

    result, predictions = evaluate(options.predictions)
    is_ava = all(1 <= number <= 80 and CATEGORIES[number - 1] == name for number, name in labels.names.items())
    groups = {name: result.mean_of_classes(ids) for name, ids in GROUPS.items()} if is_ava else {}
    _print_classes(result, labels)
    _print_groups(groups)
    _print_doubts(result, annotations, predictions, labels, options)
    interval = None
    if options.interval:
        with tqdm(total=options.resamples, desc="resampling videos") as bar:
            interval = confidence_interval(result, num_resamples=options.resamples, step=bar.update)
    comparison, other = None, None
    if options.compare is not None:
        other = evaluate(options.compare)[0]
        with tqdm(total=2 * options.resamples, desc="comparing") as bar:
            comparison = compare(result, other, num_resamples=options.resamples, step=bar.update)
        _print_comparison(result, other, comparison, options)
    if options.json is not None:
        content = _json(result, groups, options.rule, interval, other, comparison)
        with replacing(options.json) as partial:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _print_answer(result, interval, f"{options.rule} rule" + ", excluded keyframes left out" * (excluded is not None))


def _truth(options: argparse.Namespace) -> tuple[Path, LabelMap, Path | None]:
    """Annotations, the classes that count, and the list of excluded keyframes if there is one."""
    labels = None if options.labels is None else read_label_map(options.labels)
    if not options.ground_truth.is_dir():
        if options.split is not None:
            raise ScoreError(f"--split {options.split} is for a dataset folder, and {options.ground_truth} is a file")
        return options.ground_truth, labels or AVA_EVALUATED_LABEL_MAP, options.excluded
    folder = read_dataset_folder(options.ground_truth)
    split = folder.split(options.split or DEFAULT_SPLIT)
    evaluated = LabelMap({number: folder.label_map.names[number] for number in folder.evaluated})
    return split.annotations, labels or evaluated, options.excluded or split.excluded


def _some(labels: LabelMap) -> list[str]:
    names = list(labels.names.values())
    return names if len(names) <= 4 else [*names[:3], "..."]


def _require_output(options: argparse.Namespace) -> None:
    require_writable(options.json, overwrite=options.overwrite)
    for path in (options.predictions, options.ground_truth, options.labels, options.excluded, options.compare):
        if path is not None and path.exists() and options.json.exists() and path.samefile(options.json):
            raise ScoreError(f"--json {options.json} is one of the files to read; name another")


def _print_classes(result: AvaResult, labels: LabelMap) -> None:
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


def _print_groups(groups: dict[str, float]) -> None:
    shown = [f"{name} {value:.4f}" for name, value in groups.items() if not math.isnan(value)]
    if shown:
        print(f"means: {', '.join(shown)}")


def _print_doubts(
    result: AvaResult,
    annotations: pd.DataFrame,
    predictions: pd.DataFrame,
    labels: LabelMap,
    options: argparse.Namespace,
) -> None:
    """What a user should know before believing the number."""
    unlisted = [int(np.count_nonzero(~_is_listed(table, labels))) for table in (annotations, predictions)]
    if any(unlisted):
        print(f"rows of classes that do not count: {unlisted[0]} annotations, {unlisted[1]} predictions")
    if result.num_ignored:
        print(f"predictions at keyframes that are not annotated, which this rule ignores: {result.num_ignored}")
    low, high = (mean_of(bound) for bound in result.range_over_ties)
    if high - low > 1e-12:
        print(f"equal scores: any order of them gives an mAP of {low:.6f} to {high:.6f}")
    if result.num_found.sum() == 0:
        folder = options.ground_truth if options.ground_truth.is_dir() else "DIR"
        command = f"acrn-zoo data check {folder} --predictions {options.predictions}"
        print(f"No prediction found anything. To see why: {command}")


def _is_listed(table: pd.DataFrame, labels: LabelMap) -> np.ndarray:
    """Whether each row is of a class that counts, or names a keyframe alone."""
    counts = np.zeros(labels.num_columns + 2, dtype=bool)
    counts[[NO_ACTION, *labels.ids]] = True
    return counts[np.clip(table["action_id"].to_numpy(), -1, labels.num_columns + 1)]


def _print_comparison(result: AvaResult, other: AvaResult, comparison: Comparison, options: argparse.Namespace) -> None:
    low, high = comparison.interval
    verdict = "more than chance" if comparison.p_value < 0.05 else "not more than chance would give"
    print(
        f"\n{options.predictions} {result.mean:.4f}, {options.compare} {other.mean:.4f}: difference "
        f"{comparison.difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f}), p = {comparison.p_value:.3g}: "
        f"{verdict} ({comparison.num_videos} videos, {options.resamples} resamples)"
    )
    if comparison.num_videos <= FEW_VIDEOS:
        print(f"With {comparison.num_videos} videos no difference, however large, can be told from chance at p < 0.05.")


def _print_answer(result: AvaResult, interval: tuple[float, float] | None, rule: str) -> None:
    if math.isnan(result.mean):
        print(f"\nmAP is not defined: no class counts by the {rule}")
        return
    about = "" if interval is None else f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"
    num_classes = int(np.count_nonzero(~np.isnan(result.average_precision)))
    print(f"\nmAP {result.mean:.6f} ({100 * result.mean:.2f} %){about}, {rule}, {num_classes} classes")


def _json(
    result: AvaResult,
    groups: dict[str, float],
    rule: str,
    interval: tuple[float, float] | None,
    other: AvaResult | None,
    comparison: Comparison | None,
) -> dict[str, Any]:
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
