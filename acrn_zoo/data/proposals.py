"""Where a person detector found people at the keyframes of a dataset: files of every form, and which of them count."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo import tables
from acrn_zoo.data.folder import DatasetError
from acrn_zoo.data.keyframes import (
    Array,
    KeyframeIndex,
    first_fault,
    has_person,
    keyframes_of,
    line_of_row,
    merge_boxes,
)
from acrn_zoo.pickles import read_plain_pickle
from acrn_zoo.tables import BOX_COLUMNS, TableError

MAX_PROPOSALS = 1000
_FULL_FRAME = ((0.0, 0.0, 1.0, 1.0),)


@dataclass(frozen=True, eq=False)
class Proposals:
    """Where a person detector found people.

    Args:
        keyframes: F moments at which it was asked.
        starts: ``[F + 1]`` int64: the proposals of keyframe ``f`` are ``starts[f]`` to ``starts[f + 1] - 1``.
        boxes: ``[P, 4]`` xyxy, fractions of the frame; those of a keyframe in the order of the file.
        scores: ``[P]``, 0 to 1.
    """

    keyframes: KeyframeIndex
    starts: npt.NDArray[np.int64]
    boxes: Array
    scores: Array

    def at(self, video_id: str, timestamp: float) -> tuple[Array, Array] | None:
        """Boxes ``[R, 4]`` and scores ``[R]`` of a keyframe; None if the detector was not asked there."""
        index = self.keyframes.find(video_id, timestamp)
        if index is None:
            return None
        first, end = self.starts[index : index + 2]
        return self.boxes[first:end], self.scores[first:end]


def select_proposals(
    proposals: Proposals, video_id: str, timestamp: float, *, min_score: float = 0.9, maximum: int = MAX_PROPOSALS
) -> tuple[Array, Array]:
    """The proposals of a keyframe that count, by the rule that the published models were trained and tested with.

    Args:
        proposals: of the whole dataset.
        video_id: which video.
        timestamp: which moment of it.
        min_score: those with a score of at least this much, or of at least the best one's if that is lower.
        maximum: so many of them at most, the first of the file.

    Returns:
        Boxes ``[R, 4]``, fractions, and scores ``[R]``. If the file does not know the keyframe, one box that is
        the whole frame, with score 1; if it knows it and has nobody there, nothing.
    """
    found = proposals.at(video_id, timestamp)
    if found is None:
        return np.array(_FULL_FRAME), np.ones(1)
    boxes, scores = found
    is_kept = scores >= min(min_score, scores.max(initial=-math.inf))
    return boxes[is_kept][:maximum], scores[is_kept][:maximum]


def read_proposals(path: str | Path) -> Proposals:
    """Read where a detector found people.

    Args:
        path: a file of one of these forms:

            - ``.pkl``, as MMAction2's ``ava_dense_proposals_train.FAIR.recall_93.9.pkl``: a dictionary from
              ``"VIDEO_ID,0902"`` to an array ``[R, 5]`` of ``x1, y1, x2, y2, score`` or ``[R, 4]`` without score.
              Nothing that stands in the file is executed, see :mod:`acrn_zoo.pickles`.
            - CSV ``video_id,timestamp,x1,y1,x2,y2,score`` (:func:`acrn_zoo.tables.read_proposals`).
            - CSV ``video_id,timestamp,x1,y1,x2,y2,action_id,score``, as PySlowFast's
              ``ava_detection_val_boxes_and_labels.csv``: the actions, which may be empty, are left aside, and
              rows of a keyframe with the same box are one proposal with the score of the first.

            Boxes without width or height, as detectors give them at the border of a frame, are dropped.

    Raises:
        TableError: naming file, line and value, if a CSV file is not of these forms.
        PickleError: if a pickle is damaged, or holds more than plain data.
        DatasetError: naming file and line or key, if a value makes no sense.
    """
    path = Path(path)
    if path.suffix.lower() in (".pkl", ".pickle"):
        return _read_pickled_proposals(path)
    if _num_columns(path) == len(tables.PREDICTION_COLUMNS):
        table = _read_labelled_boxes(path)
        has_actions = True
    else:
        table = tables.read_proposals(path)
        has_actions = False
    is_person = has_person(table) & ~_is_flat(table[list(BOX_COLUMNS)].to_numpy())
    if (fault := first_fault(table, None, is_person)) is not None:
        raise DatasetError(f"{path}, line {line_of_row(path, fault[0])}: {fault[1]}")
    keyframes, keyframe_of_row = keyframes_of(table)
    people, keyframe_of_person = table[is_person], keyframe_of_row[is_person]
    order = merge_boxes(people, keyframe_of_person)[1] if has_actions else np.argsort(keyframe_of_person, kind="stable")
    return Proposals(
        keyframes=keyframes,
        starts=np.searchsorted(keyframe_of_person[order], np.arange(len(keyframes) + 1)),
        boxes=people[list(BOX_COLUMNS)].to_numpy()[order],
        scores=people["score"].to_numpy()[order],
    )


def _is_flat(boxes: Array) -> npt.NDArray[np.bool_]:
    """Rows of ``boxes [N, 4]`` without width or height; inverted ones are not meant."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return (low <= high).all(axis=1) & (low == high).any(axis=1)


def _num_columns(path: Path) -> int:
    """The number of columns of the first row with a box."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next((len(cells) for cells in csv.reader(file) if len(cells) > 2), 0)
    except (OSError, UnicodeDecodeError, csv.Error):
        return 0  # the reader of the table says what is wrong


def _read_labelled_boxes(path: Path) -> pd.DataFrame:
    """PySlowFast's form, in which the action may be empty, as a table of proposals."""
    names = tables.PREDICTION_COLUMNS
    try:
        table = tables.parse_rows(path, names).drop(columns="action_id")
    except TableError:
        raise
    except ValueError as error:
        _explain_labelled_boxes(path)
        raise TableError(f"{path} is not a CSV file of the columns {','.join(names)} ({error})") from error
    if table["video_id"].isna().any() or not np.isfinite(table[list(table.columns[1:])].to_numpy()).all():
        _explain_labelled_boxes(path)
    return table


def _explain_labelled_boxes(path: Path) -> None:
    """Raise the error of the first line that is not of PySlowFast's form."""
    names = tables.PREDICTION_COLUMNS
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        for cells in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(names):
                raise TableError(f"{where}: {len(cells)} columns, expected {len(names)}: {','.join(names)}")
            for number, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
                if not (bool(cell) if name == "video_id" else _is_number(cell) or (name == "action_id" and not cell)):
                    raise TableError(f"{where}, column {number} ({name}): {cell!r}, expected a finite number")


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _read_pickled_proposals(path: Path) -> Proposals:
    content = read_plain_pickle(path)
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a {type(content).__name__}, expected a dictionary from 'VIDEO_ID,0902' on")
    keys = [_parse_key(path, key) for key in content]
    arrays = [_scored_boxes(path, key, value) for key, value in content.items()]
    moments = pd.DataFrame(keys, columns=list(tables.KEYFRAME_COLUMNS)).astype({"timestamp": np.float64})
    keyframes, keyframe_of_entry = keyframes_of(moments)
    if len(keyframes) < len(keys):
        twice = int(np.flatnonzero(pd.Series(keyframe_of_entry).duplicated())[0])
        raise DatasetError(f"{path}: the keyframe of the key {list(content)[twice]!r} stands there twice")
    order = np.argsort(keyframe_of_entry)
    rows = np.concatenate([np.zeros((0, 5)), *(arrays[entry] for entry in order)])
    is_kept = ~_is_flat(rows[:, :4])
    ends = np.cumsum([len(arrays[entry]) for entry in order], dtype=np.int64)
    starts = np.concatenate([[0], np.concatenate([[0], np.cumsum(is_kept)])[ends]]).astype(np.int64)
    rows = rows[is_kept]
    table = pd.DataFrame(rows, columns=[*BOX_COLUMNS, "score"])
    if (fault := first_fault(table, None, np.ones(len(rows), dtype=bool))) is not None:
        entry = order[np.searchsorted(starts, fault[0], side="right") - 1]
        raise DatasetError(f"{path}, key {list(content)[entry]!r}: {fault[1]}")
    return Proposals(keyframes, starts, rows[:, :4].copy(), rows[:, 4].copy())


def _parse_key(path: Path, key: object) -> tuple[str, float]:
    """Video id and timestamp of a key such as ``"1j20qq1JyX4,0902"``."""
    video_id, _, timestamp = key.rpartition(",") if isinstance(key, str) else ("", "", "")
    if not video_id or not _is_number(timestamp):
        raise DatasetError(f"{path}: the key {key!r} is none of the form 'VIDEO_ID,0902'")
    return video_id, float(timestamp)


def _scored_boxes(path: Path, key: object, value: object) -> Array:
    """``[R, 5]``: boxes with their scores; those without get the score 1."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] not in (4, 5):
        shape = list(value.shape) if isinstance(value, np.ndarray) else type(value).__name__
        raise DatasetError(f"{path}, key {key!r}: {shape}, expected an array [R, 4] or [R, 5]")
    boxes = value.astype(np.float64)
    return boxes if boxes.shape[1] == 5 else np.column_stack([boxes, np.ones(len(boxes))])
