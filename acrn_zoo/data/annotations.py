"""Who does what at every keyframe of a dataset, AVA's or one in its form.

The records here hold a whole dataset (0.84 million rows of AVA's training set) in a few arrays.
"""

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
from acrn_zoo.tables import BOX_COLUMNS


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
    if (fault := first_fault(table, num_classes, has_person(table))) is not None:
        raise DatasetError(f"{path}, line {line_of_row(Path(path), fault[0])}: {fault[1]}")
    return _gather(table, None if excluded is None else tables.read_keyframes(excluded), num_classes)


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
    if (fault := first_fault(table, num_classes, has_person(table))) is not None:
        raise DatasetError(f"row {fault[0] + 1} of the annotations: {fault[1]}")
    return _gather(table, excluded, num_classes)


def _gather(table: pd.DataFrame, excluded: pd.DataFrame | None, num_classes: int) -> Annotations:
    """The records of a table without faults."""
    keyframes, keyframe_of_row = keyframes_of(table)
    if excluded is not None:
        found = [keyframes.find(*row) for row in zip(excluded["video_id"], excluded["timestamp"], strict=True)]
        table = table[~np.isin(keyframe_of_row, [index for index in found if index is not None])]
        keyframes, keyframe_of_row = keyframes_of(table)

    is_person = has_person(table)
    people, keyframe_of_person = table[is_person], keyframe_of_row[is_person]
    actor_of_person, first_rows = merge_boxes(people, keyframe_of_person)
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
