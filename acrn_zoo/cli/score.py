"""``acrn-zoo score``: mAP of predictions in AVA's form."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.cli.score_table import means_of_groups, print_answer, print_classes, print_groups, score_as_dict
from acrn_zoo.data.ava import AVA_EVALUATED_LABEL_MAP
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.ava import AvaResult, mean_of
from acrn_zoo.evaluation.ground_truth import GroundTruth, read_ground_truth
from acrn_zoo.evaluation.resampling import Comparison, compare, confidence_interval
from acrn_zoo.evaluation.rules import RULES
from acrn_zoo.files import require_writable, write_json
from acrn_zoo.labels import LabelMap, read_label_map
from acrn_zoo.tables import NO_ACTION, read_predictions

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
    truth = _ground_truth(options)
    labels, rule = truth.label_map, RULES[options.rule]
    predictions = read_predictions(options.predictions)
    result = truth.evaluate(predictions, rule)
    groups = means_of_groups(result, labels)
    print_classes(result, labels)
    print_groups(groups)
    _print_doubts(result, truth.annotations, predictions, labels, options)
    interval = None
    if options.interval:
        with tqdm(total=options.resamples, desc="resampling videos") as bar:
            interval = confidence_interval(result, num_resamples=options.resamples, step=bar.update)
    comparison, other = None, None
    if options.compare is not None:
        other = truth.evaluate(read_predictions(options.compare), rule)
        with tqdm(total=2 * options.resamples, desc="comparing") as bar:
            comparison = compare(result, other, num_resamples=options.resamples, step=bar.update)
        _print_comparison(result, other, comparison, options)
    if options.json is not None:
        write_json(options.json, score_as_dict(result, groups, options.rule, interval, other, comparison))
    print_answer(
        result, interval, f"{options.rule} rule" + ", excluded keyframes left out" * (truth.excluded is not None)
    )


def _ground_truth(options: argparse.Namespace) -> GroundTruth:
    labels = None if options.labels is None else read_label_map(options.labels)
    if not options.ground_truth.is_dir():
        if options.split is not None:
            raise ScoreError(f"--split {options.split} is for a dataset folder, and {options.ground_truth} is a file")
        return read_ground_truth(options.ground_truth, labels or AVA_EVALUATED_LABEL_MAP, options.excluded)
    folder = read_dataset_folder(options.ground_truth)
    split = folder.split(options.split or DEFAULT_SPLIT)
    labels = labels or folder.evaluated_label_map
    return read_ground_truth(split.annotations, labels, options.excluded or split.excluded)


def _require_output(options: argparse.Namespace) -> None:
    require_writable(options.json, overwrite=options.overwrite)
    for path in (options.predictions, options.ground_truth, options.labels, options.excluded, options.compare):
        if path is not None and path.exists() and options.json.exists() and path.samefile(options.json):
            raise ScoreError(f"--json {options.json} is one of the files to read; name another")


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
