"""Tables as plain arrays, with videos, keyframes and classes numbered alike in annotations and predictions."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo.evaluation.average_precision import Booleans, Floats, Integers
from acrn_zoo.evaluation.rules import EvaluationError
from acrn_zoo.tables import BOX_COLUMNS, NO_ACTION, timestamp_key


class Rows:
    """A table as plain arrays; what is not needed of it is not made."""

    def __init__(self, table: pd.DataFrame, class_ids: tuple[int, ...]) -> None:
        self.table = table
        self.video: Integers
        self.video, self.video_ids = video_codes(table)
        self.timestamp = table["timestamp"].to_numpy(dtype=np.float64)
        self.action_id = table["action_id"].to_numpy(dtype=np.int64)
        column_of = np.full(max(class_ids) + 2, -1, dtype=np.int16 if len(class_ids) < 2**15 else np.int32)
        column_of[list(class_ids)] = np.arange(len(class_ids))
        self.column = column_of[np.clip(self.action_id, 0, len(column_of) - 1)]
        self.keyframe: Integers = np.zeros(0, dtype=np.int32)

    def scores(self, rows: Integers) -> Floats:
        """Scores ``[N]`` of some rows."""
        return self.table["score"].to_numpy(dtype=np.float64)[rows]

    def boxes(self, rows: Integers, is_single: bool) -> npt.NDArray[np.floating]:
        """Boxes ``[4, N]`` of some rows."""
        dtype = np.float32 if is_single else np.float64
        return np.stack([self.table[name].to_numpy()[rows].astype(dtype) for name in BOX_COLUMNS])


def video_codes(table: pd.DataFrame) -> tuple[npt.NDArray, list[str]]:
    """The number of the video of every row ``[N]``, and the names that the numbers stand for."""
    column = table["video_id"]
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    return column.cat.codes.to_numpy(), [str(name) for name in column.cat.categories]


def require_plain_rows(*tables: Rows) -> None:
    """Refuse what the readers of older evaluations refuse.

    Raises:
        EvaluationError: for a row that names a keyframe alone, or a timestamp that is no whole second.
    """
    for rows in tables:
        if (rows.action_id == NO_ACTION).any():
            raise EvaluationError(
                "There are rows of a keyframe alone, which this rule's own reader refuses; the official rule takes them"
            )
        if (is_broken := rows.timestamp != np.rint(rows.timestamp)).any():
            raise EvaluationError(
                f"There is the timestamp {rows.timestamp[is_broken][0]}, and this rule's own reader knows whole "
                "seconds alone; the official rule takes others too"
            )


def number_keyframes(truth: Rows, found: Rows, excluded: pd.DataFrame | None) -> tuple[tuple[str, ...], Integers]:
    """Number videos and keyframes of both tables alike, and return the videos and the excluded keyframes."""
    outside = (
        pd.DataFrame({"video_id": [], "timestamp": []}).astype({"video_id": object}) if excluded is None else excluded
    )
    codes, names = video_codes(outside)
    video_ids = tuple(dict.fromkeys([*truth.video_ids, *found.video_ids, *names]))
    number = {name: index for index, name in enumerate(video_ids)}

    def common(code: npt.NDArray, own: list[str]) -> Integers:
        return np.array([number[name] for name in own], dtype=np.int32)[code] if own else code.astype(np.int32)

    truth.video, found.video = common(truth.video, truth.video_ids), common(found.video, found.video_ids)
    moments = outside["timestamp"].to_numpy(dtype=np.float64)
    tables = ((truth.video, truth.timestamp), (found.video, found.timestamp), (common(codes, names), moments))
    # Rows of a keyframe mostly stand together: runs of equal ones are numbered, not rows.
    starts = [_run_starts(video, timestamp) for video, timestamp in tables]
    video = np.concatenate([video[start] for (video, _), start in zip(tables, starts, strict=True)])
    moment = np.concatenate([timestamp_key(time[start]) for (_, time), start in zip(tables, starts, strict=True)])
    order = np.lexsort((moment, video))
    is_new = differs_from_previous(video[order]) | differs_from_previous(moment[order])
    of_run = np.empty(len(order), dtype=np.int32)
    of_run[order] = np.cumsum(is_new) - 1
    truth.keyframe, found.keyframe, of_excluded = (
        np.repeat(of_start, np.diff(np.append(start, len(codes))))
        for of_start, start, (codes, _) in zip(
            np.split(of_run, np.cumsum([len(start) for start in starts])[:-1]), starts, tables, strict=True
        )
    )
    return video_ids, of_excluded


def differs_from_previous(values: npt.NDArray) -> Booleans:
    """Whether each value is another than the one before; true of the first."""
    differs = np.ones(len(values), dtype=bool)
    differs[1:] = values[1:] != values[:-1]
    return differs


def _run_starts(video: Integers, timestamp: Floats) -> Integers:
    return np.flatnonzero(differs_from_previous(video) | differs_from_previous(timestamp))
