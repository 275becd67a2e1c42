"""``acrn-zoo score-tubes``: frame-mAP and video-mAP of J-HMDB."""

import argparse
import csv
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import fraction, positive
from acrn_zoo.cli.options import number as bounded
from acrn_zoo.data.jhmdb import JhmdbTruth, read_jhmdb
from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.jhmdb import JhmdbEvaluator, link_detections, mean_of_splits
from acrn_zoo.evaluation.tubes import RuleName
from acrn_zoo.files import require_writable, write_json

ALL_SPLITS = "all"
BOX = ["x1", "y1", "x2", "y2"]
COLUMNS = ["video", "frame", *BOX, "class", "score"]
TUBE = "tube"
_FORM = "video,frame,x1,y1,x2,y2,class,score"


class DetectionsError(UserError, ValueError):
    """A file of detections is missing or wrong; the message names line, column and value."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Frame-mAP at IoU 0.5 and video-mAP at 0.2, 0.5, 0.75 and 0.5:0.95 of detections on the test videos of J-HMDB "
        f"or a dataset of its form. DETECTIONS is a CSV file without header: {_FORM}. The video is called as in the "
        "ground truth, frames count from 1, boxes are in pixels, the class is a name or a number from 1."
    )
    parser.add_argument(
        "detections", type=Path, nargs="+", metavar="DETECTIONS", help="one file, or with --split all one a split"
    )
    parser.add_argument(
        "--ground-truth", type=Path, required=True, metavar="FILE", help="JHMDB-GT.pkl as ACT published it, or JSON"
    )
    parser.add_argument("--split", default="1", help="number of the split, or all for the mean of all splits")
    parser.add_argument(
        "--rule", choices=get_args(RuleName), default="act", help="the usual one of ACT, or that of HIT and MultiSports"
    )
    parser.add_argument(
        "--tubes",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"the tubes, as many files as DETECTIONS: {_FORM},tube with a number of the tube within its video and "
        "class and its score in every row; linked from the detections if not given",
    )
    parser.add_argument("--min-iou", type=fraction, default=0.5, help="linking: least overlap of successive boxes")
    parser.add_argument("--max-gap", type=_count, default=0, help="linking: so many frames without a box are bridged")
    parser.add_argument("--min-length", type=positive, default=1, help="linking: shorter tubes, in frames, are dropped")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all numbers at full precision")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(options: argparse.Namespace, _interruption: Interruption) -> None:
    """Read, evaluate, print, write."""
    if options.json is not None:
        require_writable(options.json, overwrite=options.overwrite)
        _require_no_input(options.json, [*options.detections, *(options.tubes or []), options.ground_truth])
    truth = read_jhmdb(options.ground_truth)
    numbers = _splits(options.split, truth)
    detections = _of_each_split(options.detections, numbers, "DETECTIONS")
    tubes = None if options.tubes is None else _of_each_split(options.tubes, numbers, "--tubes")
    files = {path: read_detections(path, truth) for path in dict.fromkeys(detections)}
    tube_files = {path: read_detections(path, truth, with_tubes=True) for path in dict.fromkeys(tubes or [])}
    link = partial(link_detections, min_iou=options.min_iou, max_gap=options.max_gap, min_length=options.min_length)
    results = {}
    for position, number in enumerate(numbers):
        videos = truth.split(number)[1]
        evaluator = JhmdbEvaluator(truth.categories, truth.tubes, videos, rule=options.rule)
        _update(evaluator, files[detections[position]], f"{detections[position]}, split {number}")
        if tubes is not None:
            _update_tubes(evaluator, tube_files[tubes[position]])
        results[number] = evaluator.compute(link)
    mean = mean_of_splits(list(results.values()))
    _print_table(mean, truth, numbers)
    if options.json is not None:
        _write(options, mean, results, truth.categories)
    where = f"the mean of {len(numbers)} splits" if options.split == ALL_SPLITS else f"split {numbers[0]}"
    made = "given" if tubes is not None else "linked"
    print(
        f"\nframe-mAP@0.5 {100 * mean['frame_mAP@0.5']:.2f}  video-mAP@0.5 {100 * mean['video_mAP@0.5']:.2f}  "
        f"({where}, rule {options.rule}, tubes {made})"
    )


def read_detections(path: Path, truth: JhmdbTruth, *, with_tubes: bool = False) -> pd.DataFrame:
    """Read a CSV file of detections or tubes and check every cell against the ground truth.

    Args:
        path: the file; see the module's ``--help`` for its form.
        truth: tells the names of videos and classes, and the length of videos.
        with_tubes: whether there is a last column with the number of the tube.

    Returns:
        Columns ``video`` (str), ``frame``, ``column`` (class from 0), ``x1, y1, x2, y2``, ``score`` and ``tube``.

    Raises:
        DetectionsError: naming file, line, column and value, if the file is not of that form.
    """
    columns = [*COLUMNS, TUBE] if with_tubes else COLUMNS
    text = _read_text(path, columns)
    found = pd.DataFrame({"video": text["video"]}, index=text.index)
    _require_no_header(path, text, truth)
    _require(path, text, "video", text["video"].isin(truth.videos.keys()), "a video of the ground truth")
    for name in columns[1:]:
        if name != "class":
            found[name] = _numbers(path, text, name, is_whole=name in ("frame", TUBE))
    lengths = found["video"].map({video_id: video.num_frames for video_id, video in truth.videos.items()})
    is_within = (found["frame"] >= 1) & (found["frame"] <= lengths.astype(float))
    _require(path, text, "frame", is_within, "a frame of the video, counted from 1")
    for low, high in (("x1", "x2"), ("y1", "y2")):
        _require(path, text, high, found[high] >= found[low], f"at least {low}")
    names = {name: number for number, name in enumerate(truth.categories)}
    names |= {str(number + 1): number for number in range(len(truth.categories)) if str(number + 1) not in names}
    column = text["class"].map(names)
    _require(path, text, "class", column.notna(), f"a name of a class or its number, 1 to {len(truth.categories)}")
    found["column"] = column.astype(np.int64)
    if len(found) and found[BOX].to_numpy().max() <= 1:
        raise DetectionsError(f"{path}: no coordinate is above 1, so boxes seem to be fractions; expected pixels")
    if with_tubes:
        _require_successive(path, found, truth.categories)
    return found


def _read_text(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """All cells as text; the index is the number of the line."""
    expected = f"expected the columns {','.join(columns)}, without a header"
    try:
        text = pd.read_csv(
            path,
            header=None,
            names=[*columns, "_further"],
            index_col=False,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8-sig",
            compression=None,
            engine="c",
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame({name: pd.Series(dtype=str) for name in columns})
    except OSError as error:
        raise DetectionsError(f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DetectionsError(f"{path} is not text (UTF-8); {expected}") from error
    except ValueError as error:  # a line with too many cells, which pandas counts from the first of them
        line = next(number for number, cells in enumerate(_cells(path), start=1) if len(cells) > len(columns))
        raise DetectionsError(f"{path}, line {line}: more than {len(columns)} columns; {expected}") from error
    text.index += 1
    text = text.fillna("")
    for name in ("video", "class"):
        text[name] = text[name].str.strip()
    counts = (text != "").sum(axis=1)
    text, counts = text[counts > 0], counts[counts > 0]
    wrong = counts.index[(counts != len(columns)) | (text["_further"] != "")]
    if len(wrong):
        raise DetectionsError(f"{path}, line {wrong[0]}: {counts[wrong[0]]} columns with something in them; {expected}")
    return text[list(columns)]


def _cells(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            yield line.split(",")


def _numbers(path: Path, text: pd.DataFrame, name: str, *, is_whole: bool) -> np.ndarray:
    cells = text[name].to_numpy(dtype=object)
    try:
        values = cells.astype(np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    is_good = np.isfinite(values) & (values == np.floor(values) if is_whole else True)
    _require(path, text, name, pd.Series(is_good, text.index), "a whole number" if is_whole else "a finite number")
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _require(path: Path, text: pd.DataFrame, name: str, is_good: pd.Series, expected: str) -> None:
    if not is_good.all():
        line = is_good.index[~is_good][0]
        number = list(text.columns).index(name) + 1
        raise DetectionsError(
            f"{path}, line {line}, column {number} ({name}): {text.at[line, name]!r}, expected {expected}"
        )


def _require_no_header(path: Path, text: pd.DataFrame, truth: JhmdbTruth) -> None:
    """A header may stand anywhere in files that were joined: an unknown video, and words instead of numbers."""
    unknown = text[~text["video"].isin(truth.videos.keys())]
    if len(unknown) and all(math.isnan(_number(cell)) for cell in unknown[["frame", *BOX, "score"]].iloc[0]):
        raise DetectionsError(
            f"{path}, line {unknown.index[0]}: this is a header; delete it, the columns have to be "
            f"{','.join(text.columns)}"
        )


def _require_successive(path: Path, found: pd.DataFrame, categories: Sequence[str]) -> None:
    """Every tube has one row a frame, from its first to its last."""
    ordered = found.sort_values(["video", "column", TUBE, "frame"], kind="stable")
    is_same = ordered.duplicated(["video", "column", TUBE]).to_numpy()
    steps = ordered["frame"].diff().to_numpy()
    (wrong,) = np.nonzero(is_same & (steps != 1))
    if not len(wrong):
        return
    row, before = ordered.iloc[wrong[0]], ordered.iloc[wrong[0] - 1]
    fault = (
        f"frame {row['frame']:.0f} stands in line {before.name}, too"
        if row["frame"] == before["frame"]
        else f"frame {row['frame']:.0f} follows {before['frame']:.0f}"
    )
    raise DetectionsError(
        f"{path}, line {row.name}: tube {row[TUBE]:.0f} of {row['video']!r}, class {categories[row['column']]!r}: "
        f"{fault}; expected one box in every frame from its first to its last"
    )


def _splits(text: str, truth: JhmdbTruth) -> list[int]:
    numbers = range(1, len(truth.test_videos) + 1)
    if text == ALL_SPLITS:
        return list(numbers)
    if text not in map(str, numbers):
        raise DetectionsError(f"--split {text}: expected a number of 1 to {len(numbers)}, or {ALL_SPLITS}")
    return [int(text)]


def _of_each_split(paths: list[Path], numbers: list[int], name: str) -> list[Path]:
    if len(paths) not in (1, len(numbers)):
        raise DetectionsError(f"{name}: {len(paths)} files for {len(numbers)} split(s); give one, or one a split")
    return paths * len(numbers) if len(paths) == 1 else paths


def _require_no_input(output: Path, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if path.resolve() == output.resolve():
            raise DetectionsError(f"--json {output} is a file that is read; choose another name")


def _update(evaluator: JhmdbEvaluator, found: pd.DataFrame, where: str) -> None:
    known = found[found["video"].isin(evaluator.videos)]
    num_missing = len(evaluator.videos) - known["video"].nunique()
    if num_missing:
        warnings.warn(f"{where}: {num_missing} of {len(evaluator.videos)} videos have no detections", stacklevel=2)
    if len(known) < len(found):
        warnings.warn(
            f"{where}: {len(found) - len(known)} rows of videos that are not tested are ignored", stacklevel=2
        )
    evaluator.update(known["video"].tolist(), known["frame"], known["column"], known["score"], known[BOX])


def _update_tubes(evaluator: JhmdbEvaluator, rows: pd.DataFrame) -> None:
    """Tubes in the order in which they begin in the file; the score is the mean of the rows'."""
    rows = rows[rows["video"].isin(evaluator.videos)]
    videos, columns, scores, tables = [], [], [], []
    for _, tube in rows.groupby(["video", "column", TUBE], sort=False):
        table = tube.sort_values("frame", kind="stable")
        first = tube["score"].iloc[0]
        videos.append(tube["video"].iloc[0])
        columns.append(tube["column"].iloc[0])
        scores.append(first if (tube["score"] == first).all() else tube["score"].mean())
        tables.append(table[["frame", *BOX]].to_numpy())
    evaluator.update_tubes(videos, columns, scores, tables)


def _print_table(mean: Mapping[str, float], truth: JhmdbTruth, numbers: Sequence[int]) -> None:
    measures = [name for name in mean if not name.startswith("AP/")]
    tested = [truth.videos[video] for number in numbers for video in truth.split(number)[1]]
    width = max(map(len, ("class", *truth.categories)))
    heads = [name.replace("_mAP", " ") for name in measures]
    print(f"{'class':<{width}}  tubes  " + "  ".join(heads))
    for column, category in enumerate(truth.categories):
        number = sum(len(video.tubes.get(column, ())) for video in tested)
        cells = [_percent(mean[f"AP/{name}/{category}"], len(head)) for name, head in zip(measures, heads, strict=True)]
        print(f"{category:<{width}}  {number:>5}  " + "  ".join(cells))
    total = sum(len(tubes) for video in tested for tubes in video.tubes.values())
    cells = [_percent(mean[name], len(head)) for name, head in zip(measures, heads, strict=True)]
    print(f"{'mean':<{width}}  {total:>5}  " + "  ".join(cells))


def _percent(value: float, width: int) -> str:
    return f"{'-' if math.isnan(value) else f'{100 * value:.2f}':>{width}}"


def _write(
    options: argparse.Namespace,
    mean: Mapping[str, float],
    results: Mapping[int, Mapping[str, float]],
    categories: Sequence[str],
) -> None:
    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    measures = [name for name in mean if not name.startswith("AP/")]
    content: dict[str, Any] = {name: plain(mean[name]) for name in measures}
    content["AP"] = {
        name: {category: plain(mean[f"AP/{name}/{category}"]) for category in categories} for name in measures
    }
    content["splits"] = {
        str(number): {name: plain(result[name]) for name in measures} for number, result in results.items()
    }
    content |= {"rule": options.rule, "split": options.split, "tubes": "linked" if options.tubes is None else "given"}
    write_json(options.json, content)


def _count(text: str) -> int:
    value = bounded(text, 0, sys.float_info.max, "a whole number of at least 0")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(value)
