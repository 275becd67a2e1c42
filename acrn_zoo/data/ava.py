"""The AVA dataset (Gu et al., CVPR 2018): its classes, who does what, and where people were found.

AVA numbers its 80 actions from 1. Inside the program the action with id ``i`` is **column ``i - 1``** of
logits, scores and labels, so ``CATEGORIES[column]`` is its name and K is 80: there is no background column.

The records here hold a whole dataset (0.84 million rows of AVA's training set) in a few arrays. People's own data
in AVA's form, with any number of classes, are read by the same functions.
"""

import csv
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo import tables
from acrn_zoo.data.folder import DatasetError
from acrn_zoo.labels import LabelMap
from acrn_zoo.pickles import read_plain_pickle
from acrn_zoo.tables import BOX_COLUMNS, TableError, timestamp_key

Array = npt.NDArray[np.float64]

CATEGORIES: tuple[str, ...] = (
    "bend/bow (at the waist)",
    "crawl",
    "crouch/kneel",
    "dance",
    "fall down",
    "get up",
    "jump/leap",
    "lie/sleep",
    "martial art",
    "run/jog",
    "sit",
    "stand",
    "swim",
    "walk",
    "answer phone",
    "brush teeth",
    "carry/hold (an object)",
    "catch (an object)",
    "chop",
    "climb (e.g., a mountain)",
    "clink glass",
    "close (e.g., a door, a box)",
    "cook",
    "cut",
    "dig",
    "dress/put on clothing",
    "drink",
    "drive (e.g., a car, a truck)",
    "eat",
    "enter",
    "exit",
    "extract",
    "fishing",
    "hit (an object)",
    "kick (an object)",
    "lift/pick up",
    "listen (e.g., to music)",
    "open (e.g., a window, a car door)",
    "paint",
    "play board game",
    "play musical instrument",
    "play with pets",
    "point to (an object)",
    "press",
    "pull (an object)",
    "push (an object)",
    "put down",
    "read",
    "ride (e.g., a bike, a car, a horse)",
    "row boat",
    "sail boat",
    "shoot",
    "shovel",
    "smoke",
    "stir",
    "take a photo",
    "text on/look at a cellphone",
    "throw",
    "touch (an object)",
    "turn (e.g., a screwdriver)",
    "watch (e.g., TV)",
    "work on a computer",
    "write",
    "fight/hit (a person)",
    "give/serve (an object) to (a person)",
    "grab (a person)",
    "hand clap",
    "hand shake",
    "hand wave",
    "hug (a person)",
    "kick (a person)",
    "kiss (a person)",
    "lift (a person)",
    "listen to (a person)",
    "play with kids",
    "push (another person)",
    "sing to (e.g., self, a person, a group)",
    "take (an object) from (a person)",
    "talk to (e.g., self, a person, a group)",
    "watch (a person)",
)
"""The names of AVA's 80 actions (v2.2; v2.1 has the same), in the order of their columns."""

EVALUATED_IDS: tuple[int, ...] = tuple(
    number
    for number in range(1, 81)
    if number not in (2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75)
)
"""The ids of the 60 actions that AVA's official evaluation counts (the challenges of 2018 and 2019 alike)."""

AVA_LABEL_MAP = LabelMap(dict(enumerate(CATEGORIES, start=1)))
"""All 80 actions, those that models are trained on."""

AVA_EVALUATED_LABEL_MAP = LabelMap({number: AVA_LABEL_MAP.names[number] for number in EVALUATED_IDS})
"""The 60 actions that are evaluated."""

MAX_PROPOSALS = 1000
_FULL_FRAME = ((0.0, 0.0, 1.0, 1.0),)
_FAR_OUTSIDE = 1.0  # frame widths by which a box may stick out; further ones are in pixels, or nonsense


@dataclass(frozen=True, eq=False)
class KeyframeIndex:
    """Keyframes in the order of their videos, and of their times within a video.

    Args:
        video_ids: V names.
        starts: ``[V + 1]`` int64: the keyframes of video ``v`` are ``starts[v]`` to ``starts[v + 1] - 1``.
        timestamps: ``[F]`` seconds, as the annotations count them.
    """

    video_ids: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    timestamps: Array
    _numbers: dict[str, int] = field(init=False, repr=False)
    _keys: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {name: number for number, name in enumerate(self.video_ids)})
        object.__setattr__(self, "_keys", timestamp_key(self.timestamps))

    def __len__(self) -> int:
        return len(self.timestamps)

    def __getitem__(self, index: int) -> tuple[str, float]:
        """Video id and timestamp of a keyframe, counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no keyframe {index}, only 0 to {len(self) - 1}")
        video = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.video_ids[video], float(self.timestamps[index])

    def find(self, video_id: str, timestamp: float) -> int | None:
        """The number of a keyframe, None if it is not there; timestamps are equal if their microseconds are."""
        number = self._numbers.get(video_id)
        if number is None:
            return None
        first, end = self.starts[number : number + 2]
        key = timestamp_key([timestamp])[0]
        index = int(first + np.searchsorted(self._keys[first:end], key))
        return index if index < end and self._keys[index] == key else None


@dataclass(frozen=True, eq=False)
class Annotations:
    """Who does what at every keyframe of a dataset.

    Rows of a keyframe that have the same box are one actor with several actions. Actors stand in the order in
    which the file names them first.

    Args:
        keyframes: F annotated moments, those with nobody among them.
        num_classes: K.
        actor_starts: ``[F + 1]`` int64: the actors of keyframe ``f`` are ``actor_starts[f]`` to
            ``actor_starts[f + 1] - 1``.
        actor_boxes: ``[A, 4]`` xyxy, fractions of the frame.
        action_starts: ``[A + 1]`` int64, likewise: the actions of every actor.
        action_ids: ids from 1 to K, ascending and each once for an actor.
    """

    keyframes: KeyframeIndex
    num_classes: int
    actor_starts: npt.NDArray[np.int64]
    actor_boxes: Array
    action_starts: npt.NDArray[np.int64]
    action_ids: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.keyframes)

    def boxes(self, index: int) -> Array:
        """The actors ``[R, 4]`` of a keyframe: xyxy, fractions of the frame."""
        first, end = self.actor_starts[index : index + 2]
        return self.actor_boxes[first:end]

    def labels(self, index: int) -> npt.NDArray[np.float32]:
        """What the actors of a keyframe do: ``[R, K]``, 1 in column ``id - 1`` of every action, else 0."""
        first, end = self.actor_starts[index : index + 2]
        starts = self.action_starts[first : end + 1]
        labels = np.zeros((end - first, self.num_classes), dtype=np.float32)
        labels[np.repeat(np.arange(end - first), np.diff(starts)), self.action_ids[starts[0] : starts[-1]] - 1] = 1
        return labels


def read_annotations(path: str | Path, excluded: str | Path | None = None, *, num_classes: int = 80) -> Annotations:
    """Read what people do at the keyframes of a dataset.

    Args:
        path: a CSV file in AVA's form, see :mod:`acrn_zoo.tables`.
        excluded: a list of keyframes to leave out, if any; those that are not annotated are no error.
        num_classes: K, the largest id that may occur.

    Raises:
        TableError: naming file, line and value, if a file is not of AVA's form.
        DatasetError: likewise, if an id is not one of 1 to K, or a box cannot be a part of a frame.
    """
    table = tables.read_annotations(path)
    if (fault := _first_fault(table, num_classes, _is_person(table))) is not None:
        raise DatasetError(f"{path}, line {_line_of_row(Path(path), fault[0])}: {fault[1]}")
    return annotations_from_table(
        table, None if excluded is None else tables.read_keyframes(excluded), num_classes=num_classes
    )


def annotations_from_table(
    table: pd.DataFrame, excluded: pd.DataFrame | None = None, *, num_classes: int
) -> Annotations:
    """Gather the rows of a table of annotations into keyframes and actors.

    Args:
        table: as :func:`acrn_zoo.tables.read_annotations` gives it. Not written to.
        excluded: keyframes to leave out, as :func:`acrn_zoo.tables.read_keyframes` gives them.
        num_classes: K, the largest id that may occur.

    Raises:
        DatasetError: naming the row, if an id is not one of 1 to K, or a box cannot be a part of a frame.
    """
    if (fault := _first_fault(table, num_classes, _is_person(table))) is not None:
        raise DatasetError(f"row {fault[0] + 1} of the annotations: {fault[1]}")
    keyframes, keyframe_of_row = _keyframes_of(table)
    if excluded is not None:
        found = [keyframes.find(*row) for row in zip(excluded["video_id"], excluded["timestamp"], strict=True)]
        table = table[~np.isin(keyframe_of_row, [index for index in found if index is not None])]
        keyframes, keyframe_of_row = _keyframes_of(table)

    is_person = _is_person(table)
    people, keyframe_of_person = table[is_person], keyframe_of_row[is_person]
    actor_of_person, first_rows = _merge_boxes(people, keyframe_of_person)
    num_actors = len(first_rows)
    # Actor and action in one number, so that sorting puts them in order and drops what is there twice.
    pairs = np.unique(actor_of_person * (num_classes + 1) + people["action_id"].to_numpy())
    return Annotations(
        keyframes=keyframes,
        num_classes=num_classes,
        actor_starts=np.searchsorted(keyframe_of_person[first_rows], np.arange(len(keyframes) + 1)),
        actor_boxes=people[list(BOX_COLUMNS)].to_numpy()[first_rows],
        action_starts=np.searchsorted(pairs // (num_classes + 1), np.arange(num_actors + 1)),
        action_ids=(pairs % (num_classes + 1)).astype(np.int32),
    )


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
    if (fault := _first_fault(table, None, _is_person(table))) is not None:
        raise DatasetError(f"{path}, line {_line_of_row(path, fault[0])}: {fault[1]}")
    keyframes, keyframe_of_row = _keyframes_of(table)
    is_person = _is_person(table)
    people, keyframe_of_person = table[is_person], keyframe_of_row[is_person]
    if has_actions:
        order = _merge_boxes(people, keyframe_of_person)[1]
    else:
        order = np.argsort(keyframe_of_person, kind="stable")
    return Proposals(
        keyframes=keyframes,
        starts=np.searchsorted(keyframe_of_person[order], np.arange(len(keyframes) + 1)),
        boxes=people[list(BOX_COLUMNS)].to_numpy()[order],
        scores=people["score"].to_numpy()[order],
    )


def _keyframes_of(table: pd.DataFrame) -> tuple[KeyframeIndex, npt.NDArray[np.int64]]:
    """The keyframes of the rows, and for every row the number of its keyframe."""
    videos, names = pd.factorize(table["video_id"])
    timestamps = table["timestamp"].to_numpy()
    keys = timestamp_key(timestamps)
    order = np.lexsort((keys, videos))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(videos[order]) != 0) | (np.diff(keys[order]) != 0)
    keyframe_of_row = np.empty(len(order), dtype=np.int64)
    keyframe_of_row[order] = np.cumsum(is_first) - 1
    first_rows = order[is_first]
    starts = np.searchsorted(videos[first_rows], np.arange(len(names) + 1))
    return KeyframeIndex(tuple(map(str, names)), starts, timestamps[first_rows]), keyframe_of_row


def _is_person(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows have a person; the others are keyframes with nobody."""
    return table["x1"].notna().to_numpy()


def _merge_boxes(
    people: pd.DataFrame, keyframe_of_person: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which rows are one box of one keyframe.

    Returns:
        For every row the number of its box; for every box its first row. Boxes are numbered by keyframe, within
        one by their first rows.
    """
    same = people[list(BOX_COLUMNS)].assign(keyframe=keyframe_of_person)
    group_of_person = same.groupby(list(same.columns), sort=False).ngroup().to_numpy()
    first_rows = np.unique(group_of_person, return_index=True)[1]
    order = np.argsort(keyframe_of_person[first_rows], kind="stable")
    number_of_group = np.empty(len(order), dtype=np.int64)
    number_of_group[order] = np.arange(len(order))
    return number_of_group[group_of_person], first_rows[order]


def _first_fault(
    table: pd.DataFrame, num_classes: int | None, is_person: npt.NDArray[np.bool_]
) -> tuple[int, str] | None:
    """The first row of a person, counted from 0, whose numbers make no sense, and what is wrong with it."""
    faults: list[tuple[npt.NDArray[np.bool_], Callable[[pd.Series], str]]] = [
        (_is_bad_box(table[list(BOX_COLUMNS)].to_numpy()), _box_fault)
    ]
    if num_classes is not None:
        is_known = table["action_id"].between(1, num_classes).to_numpy()
        faults.append((~is_known, partial(_action_fault, num_classes)))
    if "score" in table:
        faults.append((~table["score"].between(0, 1).to_numpy(), _score_fault))
    found = [(int(np.argmax(is_bad & is_person)), explain) for is_bad, explain in faults if (is_bad & is_person).any()]
    if not found:
        return None
    row, explain = min(found, key=lambda pair: pair[0])
    return row, explain(table.iloc[row])


def _is_bad_box(boxes: Array) -> npt.NDArray[np.bool_]:
    """Rows of ``boxes [N, 4]`` that are inverted, wholly outside the frame, or far larger than it."""
    low, high = boxes[:, :2], boxes[:, 2:]
    is_good = (low <= high) & (low < 1) & (high > 0) & (low >= -_FAR_OUTSIDE) & (high <= 1 + _FAR_OUTSIDE)
    return np.logical_not(is_good.all(axis=1))


def _box_fault(row: pd.Series) -> str:
    box = ",".join(f"{float(row[name]):g}" for name in BOX_COLUMNS)
    return f"the box {box} is no part of a frame: expected x1,y1,x2,y2 as fractions of its width and height, x1 < x2"


def _action_fault(num_classes: int, row: pd.Series) -> str:
    return f"column 7 (action_id): {row['action_id']}, expected one of the {num_classes} classes, from 1 on"


def _score_fault(row: pd.Series) -> str:
    return f"the score of this person is {float(row['score']):g}, expected 0 to 1"


def _line_of_row(path: Path, row: int) -> int:
    """The line of a file where a row of its table, counted from 0, stands: empty lines make no rows."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        lines = (reader.line_num for cells in reader if cells)
        return next(line for number, line in enumerate(lines) if number == row)


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
    types = {"video_id": object, **dict.fromkeys(names[1:], np.float64)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # columns that pandas would drop
            table = pd.read_csv(
                path,
                header=None,
                names=list(names),
                index_col=False,
                dtype=types,
                keep_default_na=False,
                na_values=[""],
            ).drop(columns="action_id")
    except (ValueError, pd.errors.ParserWarning) as error:
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
    keyframes, keyframe_of_entry = _keyframes_of(moments)
    if len(keyframes) < len(keys):
        twice = int(np.flatnonzero(pd.Series(keyframe_of_entry).duplicated())[0])
        raise DatasetError(f"{path}: the keyframe of the key {list(content)[twice]!r} stands there twice")
    order = np.argsort(keyframe_of_entry)
    lengths = np.array([len(arrays[entry]) for entry in order], dtype=np.int64)
    rows = np.concatenate([np.zeros((0, 5)), *(arrays[entry] for entry in order)])
    table = pd.DataFrame(rows, columns=[*BOX_COLUMNS, "score"])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    if (fault := _first_fault(table, None, np.ones(len(rows), dtype=bool))) is not None:
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
