"""Tables in AVA's form, keyframe by keyframe: what annotations and proposals have in common.

Such a table has a row for every person (and action), and one for every keyframe with nobody; see
:mod:`acrn_zoo.tables`. None of the functions writes to it.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo.tables import BOX_COLUMNS, timestamp_key

Array = npt.NDArray[np.float64]

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


def keyframes_of(table: pd.DataFrame) -> tuple[KeyframeIndex, npt.NDArray[np.int64]]:
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


def has_person(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows have a person; the others are keyframes with nobody."""
    return table["x1"].notna().to_numpy()


def merge_boxes(
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


def first_fault(
    table: pd.DataFrame, num_classes: int | None, is_person: npt.NDArray[np.bool_]
) -> tuple[int, str] | None:
    """The first row of a person whose numbers make no sense.

    Args:
        table: with boxes, with action ids if ``num_classes`` is given, and with scores or without.
        num_classes: K, the largest id that may occur; None looks at no ids.
        is_person: ``[N]`` which rows to look at.

    Returns:
        Its number, counted from 0, and what is wrong with it; None if there is no such row.
    """
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


def line_of_row(path: Path, row: int) -> int:
    """The line of a file where a row of its table, counted from 0, stands: empty lines make no rows."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        lines = (reader.line_num for cells in reader if cells)
        return next(line for number, line in enumerate(lines) if number == row)


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
