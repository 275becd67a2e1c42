"""People whose boxes stand in a file."""

import csv
import json
import math
import re
import reprlib
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from acrn_zoo.boxes import boxes_outside
from acrn_zoo.people.detector import PeopleError
from acrn_zoo.structures import Keyframe

TIMESTAMP_TOLERANCE = 1e-3
"""Seconds by which a keyframe and a row of a box file may differ and still be the same moment."""

LARGEST_FRACTION = 1.05
"""A box file whose coordinates are all at most this has fractions: boxes may stick out of the frame a little."""


class BoxFile:
    """People whose boxes stand in a file; a :class:`acrn_zoo.people.PeopleDetector`.

    The form is known by what the file holds, not by its name:

    - CSV without a header, as AVA's: ``video_id,timestamp,x1,y1,x2,y2``; further columns (an action, its
      score, a person) are ignored. A row with four empty coordinates is a moment with nobody. Our own CSV is
      such a file.
    - CSV with a header that names ``timestamp,x1,y1,x2,y2`` and, if wanted, ``score`` (of the person) and
      ``video_id``, in any order, among other columns.
    - JSON: a list of ``{"timestamp": s, "boxes": [[x1, y1, x2, y2], ...]}``, the boxes with a score as fifth
      number or without, ``"video_id"`` if wanted; or JSON lines, one such object a line. Our own JSON lines
      are read too (``"people": [{"box": ..., "score": ...}, ...]``).

    Timestamps are seconds; those within a millisecond of each other are one moment, which the earliest of
    them names. Coordinates are fractions of the frame if none in the whole file is above 1.05, else pixels of
    the video's frames. Rows of one moment with the same box are one person, with the best of their
    scores; a person without a score has score 1.

    Args:
        path: the file.
        video_id: take only rows of this video (and rows that name none); needed where a file has several.

    Attributes:
        timestamps: the moments that the file names, ascending; with people or without.
        is_fraction: whether the coordinates are fractions of the frame.

    Raises:
        PeopleError: naming file and line, if the file is missing, is of another form, has a value that cannot
            be a box, or has no row of this video.
    """

    def __init__(self, path: str | Path, video_id: str | None = None) -> None:
        self.path = Path(path)
        rows = _read_rows(self.path)
        self.is_fraction = _has_fractions(rows, self.path)
        rows = _group_moments(_rows_of_video(rows, video_id, self.path))
        self.timestamps: tuple[float, ...] = tuple(sorted({row.timestamp for row in rows}))
        self._people = _merge_equal_boxes(rows)

    def __call__(self, frame: Tensor, keyframe: Keyframe, /) -> Tensor:
        """The rows of this keyframe, as :class:`acrn_zoo.people.PeopleDetector` says; ``[0, 5]`` if there is none.

        Raises:
            PeopleError: naming file and line, if a box shares no pixel with the frame.
        """
        moment = min(self.timestamps, key=lambda timestamp: abs(timestamp - keyframe.timestamp))
        is_named = _is_same_moment(moment, keyframe.timestamp)
        rows = [row for row in self._people if is_named and row.timestamp == moment]
        return self._in_pixels(rows, (int(frame.shape[0]), int(frame.shape[1])))

    def check(self, size: tuple[int, int]) -> None:
        """Check every row at once, so that a run can fail before it starts.

        Args:
            size: height and width of the video's frames.

        Raises:
            PeopleError: naming file and line of the first box of this video that shares no pixel with the frame.
        """
        self._in_pixels(self._people, size)

    def _in_pixels(self, rows: list["_Row"], size: tuple[int, int]) -> Tensor:
        height, width = size
        people = torch.tensor([(*row.box, row.score) for row in rows if row.box]).reshape(-1, 5)
        if self.is_fraction:
            people[:, :4] *= torch.tensor([width, height, width, height])
        if outside := boxes_outside(people[:, :4], size):
            row = rows[outside[0]]
            raise PeopleError(
                f"{self.path}, line {row.line}: the box {list(row.box or ())} lies outside the frames of the "
                f"video ({width}x{height}); give pixels of these frames, or fractions of 0 to 1"
            )
        return people


class _Row(NamedTuple):
    """One person of a box file; ``box`` is None where a moment is named that has nobody."""

    line: int
    video_id: str | None
    timestamp: float
    box: tuple[float, float, float, float] | None
    score: float


_CSV_COLUMNS = ("video_id", "timestamp", "x1", "y1", "x2", "y2")
_FORMS = (
    "expected CSV rows video_id,timestamp,x1,y1,x2,y2, a CSV with a header naming timestamp,x1,y1,x2,y2, "
    'or JSON objects {"timestamp": s, "boxes": [[x1, y1, x2, y2], ...]}'
)


def _is_same_moment(first: float, second: float) -> bool:
    # The sum forgives the rounding of a difference that is a millisecond on paper.
    return abs(first - second) <= TIMESTAMP_TOLERANCE + 1e-9


def _read_rows(path: Path) -> list[_Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PeopleError(f"The box file {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PeopleError(f"The box file {path} is not text; {_FORMS}") from error
    start = text.lstrip()[:1]
    if start == "<":
        raise PeopleError(f"The box file {path} is an HTML or XML page (a failed download?); {_FORMS}")
    try:
        rows = list(_json_rows(text, path) if start in ("[", "{") else _csv_rows(text, path))
    except RecursionError as error:
        raise PeopleError(f"The box file {path} has brackets nested too deeply; {_FORMS}") from error
    if not rows:
        raise PeopleError(f"The box file {path} is empty; {_FORMS}")
    return rows


def _csv_rows(text: str, path: Path) -> Iterator[_Row]:
    lines = list(_csv_lines(text, path))
    if not lines:
        return
    line, cells = lines[0]
    has_header = not any(_is_number(cell) for cell in cells)
    names = [cell.lower() for cell in cells] if has_header else list(_CSV_COLUMNS[: len(cells)])
    if missing := [name for name in _CSV_COLUMNS[1:] if name not in names]:
        _refuse_other_separators(text, path)
        raise PeopleError(f"{path}, line {line}: no column for {', '.join(missing)}; {_FORMS}")
    for line, cells in lines[has_header:]:
        values = dict(zip(names, cells, strict=False))
        box = [values.get(name) for name in ("x1", "y1", "x2", "y2")]
        # Empty cells say that nobody is there; cells that are missing, that the line breaks off.
        is_nobody = all(value == "" for value in box)
        person = None if is_nobody else [*(value or "" for value in box), values.get("score", "1")]
        yield _checked_row(line, values.get("video_id") or None, values.get("timestamp", ""), person, path)


def _refuse_other_separators(text: str, path: Path) -> None:
    line = text.lstrip().partition("\n")[0]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if line.count(separator) >= 4:
            raise PeopleError(f"The cells of the box file {path} are separated by {name}, expected commas; {_FORMS}")


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number, from 1, and stripped cells of every row that is not blank; none is wider than the first."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    line, width = 1, None
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                width = len(cells) if width is None else width
                if len(cells) > width:
                    raise csv.Error(f"expected {width} cells in line {line}, found {len(cells)}")
                yield line, cells
            line = reader.line_num + 1  # a quoted cell may span lines
    except csv.Error as error:
        _refuse_other_separators(text, path)
        raise PeopleError(f"The box file {path} is not a regular CSV ({error}); {_FORMS}") from error


def _json_rows(text: str, path: Path) -> Iterator[_Row]:
    for line, entry in _json_entries(text, path):
        people: list[Any]
        try:
            timestamp, video_id = entry["timestamp"], entry.get("video_id")
            if "people" in entry:
                people = [[*person["box"], person.get("score", 1.0)] for person in entry["people"]]
            else:
                people = [[*box, 1.0] if len(box) == 4 else list(box) for box in entry["boxes"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise PeopleError(
                f'{path}, line {line}: expected {{"timestamp": s, "boxes": [[x1, y1, x2, y2], ...]}}, '
                f"found {json.dumps(entry)[:80]}"
            ) from error
        video_id = None if video_id is None else str(video_id)
        for person in people or [None]:
            yield _checked_row(line, video_id, timestamp, person, path)


def _json_entries(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and value of every entry of a JSON list or of JSON lines."""
    decoder = json.JSONDecoder()
    is_list = text.lstrip().startswith("[")
    between = re.compile(r"[\s,]*" if is_list else r"\s*")
    position, end = 0, len(text.rstrip())
    line, counted = 1, 0
    try:
        if is_list:
            json.loads(text)  # refuses what the loop below would forgive
            position, end = text.index("[") + 1, end - 1
        while (start := between.match(text, position).end()) < end:  # type: ignore[union-attr]
            line, counted = line + text.count("\n", counted, start), start
            entry, position = decoder.raw_decode(text, start)
            yield line, entry
    except json.JSONDecodeError as error:
        raise PeopleError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    except ValueError as error:  # Python converts no integer of more than 4300 digits
        raise PeopleError(f"{path}, line {line} or later: not a usable number ({error})") from error


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _checked_row(
    line: int, video_id: str | None, timestamp: object, person: Sequence[object] | None, path: Path
) -> _Row:
    where = f"{path}, line {line}"
    names = ("timestamp", "x1", "y1", "x2", "y2", "score")
    values = (timestamp,) if person is None else (timestamp, *person)
    if len(values) != len(names) and person is not None:
        raise PeopleError(f"{where}: the box {reprlib.repr(person)} has {len(values) - 1} numbers, expected 4 or 5")
    for name, value in zip(names, values, strict=False):
        if not _is_number(value) or not math.isfinite(float(value)):  # type: ignore[arg-type]
            raise PeopleError(f"{where}: {name} is {reprlib.repr(value)}, expected a finite number")
    seconds, *numbers = (float(value) for value in values)  # type: ignore[arg-type]
    if seconds < 0:
        raise PeopleError(f"{where}: timestamp is {timestamp}, expected seconds from 0 on")
    if person is None:
        return _Row(line, video_id, seconds, None, 1.0)
    x1, y1, x2, y2, score = numbers
    if x1 >= x2 or y1 >= y2:
        raise PeopleError(f"{where}: the box {[x1, y1, x2, y2]} is inverted, expected x1 < x2 and y1 < y2")
    if not 0 <= score <= 1:
        raise PeopleError(f"{where}: score is {score}, expected 0 to 1")
    return _Row(line, video_id, seconds, (x1, y1, x2, y2), score)


def _has_fractions(rows: list[_Row], path: Path) -> bool:
    largest, line = max(((max(row.box), row.line) for row in rows if row.box), default=(math.inf, 0))
    if LARGEST_FRACTION < largest <= 2:
        raise PeopleError(
            f"{path}, line {line}: the largest coordinate of the file is {largest}; expected fractions of "
            "at most 1, or pixels"
        )
    return largest <= LARGEST_FRACTION


def _rows_of_video(rows: list[_Row], video_id: str | None, path: Path) -> list[_Row]:
    found = sorted({row.video_id for row in rows if row.video_id is not None})
    listed = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    if video_id is None:
        if len(found) > 1:
            raise PeopleError(f"The box file {path} has rows of several videos; say which: {listed}")
        return rows
    taken = [row for row in rows if row.video_id in (None, video_id)]
    if not taken:
        raise PeopleError(f"The box file {path} has no row of the video {video_id!r}; it has {listed}")
    return taken


def _group_moments(rows: list[_Row]) -> list[_Row]:
    """The rows with every timestamp replaced by the one that names its moment."""
    names: dict[float, float] = {}
    name = -math.inf
    for timestamp in sorted({row.timestamp for row in rows}):
        name = name if _is_same_moment(name, timestamp) else timestamp
        names[timestamp] = name
    return [row._replace(timestamp=names[row.timestamp]) for row in rows]


def _merge_equal_boxes(rows: list[_Row]) -> list[_Row]:
    """The people in the order of the file; of equal boxes the first row, with the best score."""
    best: dict[tuple[float, object], _Row] = {}
    for row in rows:
        if row.box:
            known = best.setdefault((row.timestamp, row.box), row)
            best[row.timestamp, row.box] = known._replace(score=max(known.score, row.score))
    return list(best.values())
