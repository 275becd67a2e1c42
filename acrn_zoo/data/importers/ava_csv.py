"""CSV in AVA's form, with or without a line of names above it."""

import csv
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from acrn_zoo.data.importers.marks import ImportFileError, Marks, Source, State
from acrn_zoo.tables import BOX_COLUMNS, TableError, read_annotations

_HEADER = (
    ("video_id", "video", "video_name"),
    ("timestamp", "time", "seconds", "middle_frame_timestamp"),
    ("x1", "xmin", "left"),
    ("y1", "ymin", "top"),
    ("x2", "xmax", "right"),
    ("y2", "ymax", "bottom"),
    ("action_id", "action", "label", "class_id"),
    ("person_id", "entity_id", "person"),
)
_SURELY_PIXELS = 2.0  # fractions reach 1, and a little more where somebody drew past the border


def read_ava_csv(path: Path, marks: Marks) -> None:
    """Read one file.

    Args:
        path: rows of video_id, timestamp, x1, y1, x2, y2, action_id and, if there is one, person_id.
        marks: takes the boxes; their labels are the action ids.

    Raises:
        ImportFileError: naming line and column, if it is not of that form, or boxes are in pixels.
        acrn_zoo.tables.TableError: likewise.
    """
    table = _read_with_header(path) if _has_header(path) else read_annotations(path)
    boxes = table[list(BOX_COLUMNS)].to_numpy()
    (large,) = np.nonzero((np.abs(boxes) > _SURELY_PIXELS).any(axis=1))
    if len(large):
        row = large[0]
        raise ImportFileError(
            f"{path}, row {row + 1}: the box is {boxes[row].tolist()}, expected fractions of the frame from 0 to 1. "
            "If these are pixels, divide x by the width and y by the height of the video"
        )
    marks.labels_are_ids = True
    sources = [
        marks.add_source(Source(path, (str(name),), has_fractions=True, entry="row"))
        for name in table["video_id"].cat.categories
    ]
    states = {action: State(str(action)) if action else None for action in table["action_id"].unique().tolist()}
    columns = (table["video_id"].cat.codes, table["timestamp"], table["action_id"], table["person_id"])
    rows = zip(*(column.tolist() for column in columns), boxes.tolist(), strict=True)
    for line, (video, seconds, action, person_id, box) in enumerate(rows, start=1):
        marks.add(sources[video], box, states[action], line=line, seconds=seconds, person_id=person_id)


def _has_header(path: Path) -> bool:
    """Whether the first line holds names.

    Raises:
        ImportFileError: if it holds other names than AVA's columns, or these in another order.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = next(csv.reader(file), [])
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImportFileError(f"{path} is not a CSV file ({error})") from error
    if len(cells) < 2 or any(_is_number(cell) for cell in cells[1:]):
        return False
    for number, (cell, names) in enumerate(zip(cells, _HEADER, strict=False), start=1):
        if cell.strip().lower() not in names:
            expected = ",".join(names[0] for names in _HEADER)
            raise ImportFileError(f"{path}, line 1: column {number} is called {cell!r}, expected the order {expected}")
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_with_header(path: Path) -> pd.DataFrame:
    """Read a copy whose first line is empty, so that the numbers of the others stay."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with path.open("rb") as file, copy.open("wb") as target:
            file.readline()
            target.write(b"\n")
            shutil.copyfileobj(file, target)
        try:
            return read_annotations(copy)
        except TableError as error:
            raise ImportFileError(str(error).replace(str(copy), str(path))) from error
