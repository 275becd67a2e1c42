"""Files in AVA's form as tables: annotations, predictions and lists of keyframes.

AVA's CSV files have no header and one row an action of a person::

    video_id,timestamp,x1,y1,x2,y2,action_id,person_id     annotations
    video_id,timestamp,x1,y1,x2,y2,action_id,score         predictions
    video_id,timestamp                                     keyframes (excluded timestamps)

Boxes are fractions of the frame's width and height from its upper left corner, timestamps seconds. A row of
the first two columns alone, among the others, is a keyframe at which nobody is annotated. The last column may
be missing. A table is a pandas DataFrame with these columns, in the order of the file.

Reading checks the form: that there are as many columns as that, and numbers in them. Whether the numbers make
sense (boxes inside the frame, ids of the label map) is for the reader of the table to say.
"""

import csv
import math
import re
import warnings
from collections.abc import Callable, Sequence
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing

BOX_COLUMNS = ("x1", "y1", "x2", "y2")
KEYFRAME_COLUMNS = ("video_id", "timestamp")
ANNOTATION_COLUMNS = (*KEYFRAME_COLUMNS, *BOX_COLUMNS, "action_id", "person_id")
PREDICTION_COLUMNS = (*KEYFRAME_COLUMNS, *BOX_COLUMNS, "action_id", "score")
PROPOSAL_COLUMNS = (*KEYFRAME_COLUMNS, *BOX_COLUMNS, "score")

NO_ACTION = 0
"""The action id of a row that names a keyframe and nobody in it."""

MICROSECONDS = 1_000_000
MAX_SECONDS = 1e12
"""Timestamps are below it: beyond, a float64 no longer tells microseconds apart, and it is no moment of a film."""

_LARGEST_ID = 2**31 - 1
_KINDS = {
    "action_id": f"a whole number up to {_LARGEST_ID}",
    "timestamp": f"a finite number of seconds below {MAX_SECONDS:g}",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# Only from 3.1 on does pandas read every decimal as Python does; before, it has to be asked.
_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


class TableError(UserError, ValueError):
    """A file is missing or not of AVA's form; the message names the line and the value."""


def read_annotations(path: str | Path) -> pd.DataFrame:
    """Read what people do, as annotated.

    Args:
        path: a CSV file in AVA's form, see the module.

    Returns:
        Columns ``video_id`` (categorical), ``timestamp`` (seconds), ``x1, y1, x2, y2`` (fractions), ``person_id``
        (NaN where the file has none), all float64, and ``action_id`` (int64). A keyframe with nobody is a row
        with action 0 and NaN elsewhere.

    Raises:
        TableError: naming file, line, column and value, if the file is not of that form.
    """
    return _read_people(Path(path), ANNOTATION_COLUMNS)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read what people do, as predicted.

    Args:
        path: a CSV file in AVA's form, see the module.

    Returns:
        As :func:`read_annotations`, with ``score`` in place of ``person_id``: any real number, 1 where the file
        has no such column, as the official evaluation takes it.

    Raises:
        TableError: naming file, line, column and value, if the file is not of that form.
    """
    return _with_scores(_read_people(Path(path), PREDICTION_COLUMNS))


def read_proposals(path: str | Path) -> pd.DataFrame:
    """Read where people are, without what they do.

    Args:
        path: a CSV file ``video_id,timestamp,x1,y1,x2,y2,score``; the score may be missing, and a row of the
            first two columns alone is a keyframe with nobody.

    Returns:
        Columns ``video_id`` (categorical), ``timestamp``, ``x1, y1, x2, y2``, ``score`` (1 where the file has
        none), float64. A keyframe with nobody is a row of NaN.

    Raises:
        TableError: naming file, line, column and value, if the file is not of that form.
    """
    return _with_scores(_read(Path(path), PROPOSAL_COLUMNS, num_optional=1))


def read_keyframes(path: str | Path) -> pd.DataFrame:
    """Read a list of moments, such as AVA's excluded timestamps.

    Args:
        path: a CSV file ``video_id,timestamp``.

    Returns:
        Columns ``video_id`` (categorical) and ``timestamp`` (seconds, float64).

    Raises:
        TableError: naming file, line, column and value, if the file is not of that form.
    """
    return _read(Path(path), KEYFRAME_COLUMNS, num_optional=0)


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table so that the function that reads its form gives the same numbers again.

    Rows that hold a keyframe alone have two columns, whole timestamps four digits at least, as AVA has them.
    The file appears whole or not at all; one that exists is replaced.

    Args:
        path: the CSV file.
        table: the columns of one of the forms of this module. NaN in the last column leaves it out of its row.

    Raises:
        TableError: if a number is not finite.
    """
    path = Path(path)
    is_nobody = np.zeros(len(table), dtype=bool)
    has_last = np.ones(len(table), dtype=bool)
    if len(table.columns) > len(KEYFRAME_COLUMNS):
        is_nobody = table[BOX_COLUMNS[0]].isna().to_numpy()
        has_last = table.iloc[:, -1].notna().to_numpy()
    cells = [_texts(table[name], is_nobody, path) for name in table.columns]
    ends = np.where(is_nobody, len(KEYFRAME_COLUMNS), len(cells) - ~has_last).tolist()
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.writelines(",".join(row[:end]) + "\n" for row, end in zip(zip(*cells, strict=True), ends, strict=True))


def _texts(column: pd.Series, is_nobody: npt.NDArray[np.bool_], path: Path) -> list[str]:
    """The cells of a column. Most values stand there many times, and each is made text once."""
    codes, values = pd.factorize(column.to_numpy(dtype=object if column.name == "video_id" else np.float64))
    if column.name == "video_id":
        texts = [_quoted(str(value)) for value in values]
    else:
        is_optional = column.name in ("person_id", "score")
        if not np.isfinite(values).all() or ((codes < 0) & ~is_nobody & (not is_optional)).any():
            raise TableError(f"{path}: the column {column.name} holds a number that is not finite")
        text = _timestamp_cell if column.name == "timestamp" else _cell
        texts = [text(value) for value in values.tolist()]
    return np.array([*texts, ""], dtype=object)[codes].tolist()  # -1, the last, is NaN


def _quoted(text: str) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([text])
    return buffer.getvalue()[:-1]


def timestamp_key(timestamps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Timestamps as whole microseconds: two are the same keyframe if these are equal.

    So the official evaluation compares them: as text with 6 decimals, rounded as printing rounds.

    Args:
        timestamps: ``[N]`` seconds.

    Returns:
        ``[N]`` microseconds.
    """
    seconds = np.asarray(timestamps, dtype=np.float64)
    scaled = seconds * MICROSECONDS
    key = np.rint(scaled).astype(np.int64)
    # The product is rounded itself; where it lies at a half, printing decides by the digits of the number.
    (unsure,) = np.nonzero(np.abs(np.abs(scaled - np.floor(scaled)) - 0.5) < 1e-3)
    for index in unsure:
        key[index] = int(f"{seconds[index]:.6f}".replace(".", ""))
    return key


def _read_people(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    table = _read(path, columns, num_optional=1)
    table["action_id"] = table["action_id"].fillna(NO_ACTION).astype(np.int64)
    return table


def _with_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The table with score 1 where a row has a person and no score."""
    is_open = table["score"].isna() & table["x1"].notna()
    if is_open.any():
        table["score"] = table["score"].mask(is_open, 1.0)
    return table


def parse_rows(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """All rows of a CSV file without header, fast: ``video_id`` as strings, all else as float64, empty cells as NaN.

    Raises:
        TableError: if the file cannot be read.
        ValueError: if a cell is no number, or a row has more columns. The caller says which.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # columns that pandas would drop
            return pd.read_csv(
                path,
                header=None,
                names=list(columns),
                index_col=False,
                # As Python's strings the ids of neighbouring rows are one object: the fastest to tell apart.
                dtype={"video_id": object, **dict.fromkeys(columns[1:], np.float64)},
                keep_default_na=False,  # a video may be called NA
                na_values=[""],
                encoding="utf-8",
                encoding_errors="strict",
                compression=None,
                engine="c",
                **_EXACT,
            )
    except pd.errors.EmptyDataError:
        return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in columns}).astype({"video_id": object})
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror or error})") from error
    except (OverflowError, pd.errors.ParserWarning) as error:
        raise ValueError(error) from error


def _read(path: Path, columns: Sequence[str], num_optional: int) -> pd.DataFrame:
    """All rows by pandas; if anything is odd, once more line by line to say what."""
    try:
        table = parse_rows(path, columns)
    except TableError:
        raise
    except ValueError as error:
        _explain(path, columns, num_optional)
        raise TableError(f"{path} is not a CSV file of the columns {','.join(columns)} ({error})") from error
    videos = _categorical(table["video_id"])
    if (videos.codes < 0).any() or not _is_sound(table, columns, num_optional):
        _explain(path, columns, num_optional)
        raise TableError(f"{path} is not a CSV file of the columns {','.join(columns)}")
    is_open = table[columns[-1]].isna().any() and _has_open_end(path)  # a missing column, or an empty cell?
    # Where a whole column says True and False, pandas reads 1 and 0; the first row tells.
    _explain(path, columns, num_optional, first_only=not is_open)
    data = {"video_id": videos, **{name: table[name] for name in columns[1:]}}
    return pd.DataFrame(data, copy=False)  # millions of rows: no second copy


def _is_sound(table: pd.DataFrame, columns: Sequence[str], num_optional: int) -> bool:
    """Whether every row could be one of the form; false also asks for a closer look where only that can tell."""
    if len(table) == 0:
        return True
    values = {name: table[name].to_numpy() for name in columns[1:]}
    # The extremes of a column tell of NaN and infinity without a look at every number.
    bounds = {name: np.array([column.min(), column.max()]) for name, column in values.items()}
    is_full = np.ones(len(table), dtype=bool)
    for name in columns[2 : len(columns) - num_optional]:
        if np.isnan(bounds[name]).any():
            is_full &= ~np.isnan(values[name])
    has_action = is_full if "action_id" in columns and not is_full.all() else slice(None)
    actions = values["action_id"][has_action] if "action_id" in columns else np.zeros(0)
    return bool(
        (np.abs(bounds["timestamp"]) < MAX_SECONDS).all()  # not true of NaN either
        and not any(np.isinf(column).any() for name, column in values.items() if not np.isfinite(bounds[name]).all())
        and table.loc[~is_full, list(columns[2:])].isna().all(axis=None)  # these name a keyframe with nobody
        and np.abs([actions.min(initial=0), actions.max(initial=0)]).max() <= _LARGEST_ID
        and (actions == actions.astype(np.int64)).all()
    )


def _has_open_end(path: Path) -> bool:
    """Whether a line ends with a comma."""
    content = path.read_bytes()
    return any(end in content for end in (b",\n", b",\r")) or content.endswith(b",")


def _categorical(video_ids: pd.Series) -> pd.Categorical:
    codes, names = pd.factorize(video_ids.to_numpy(dtype=object))
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


def _explain(path: Path, columns: Sequence[str], num_optional: int, *, first_only: bool = False) -> None:
    """Raise the error of the first line that is not of the form, if there is one.

    Args:
        path: the file.
        columns: of the form.
        num_optional: so many of the last may be missing.
        first_only: look no further than the first row that is more than a keyframe.
    """
    is_plain = _plain_row(columns, num_optional)
    try:
        with path.open(encoding="utf-8") as file:
            number = 0
            for line in file:
                number += 1
                if not (is_plain(line) or line == "\n"):
                    reader = csv.reader(chain([line], file))  # a quoted cell may go on in the next line
                    _check_line(next(reader), columns, num_optional, f"{path}, line {number}")
                    number += reader.line_num - 1
                if first_only and line.count(",") >= len(KEYFRAME_COLUMNS):
                    return
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not text (UTF-8); {_expected(columns)}") from error
    except csv.Error as error:
        raise TableError(f"{path} is not a CSV file ({error}); {_expected(columns)}") from error


def _plain_row(columns: Sequence[str], num_optional: int) -> Callable[[str], object]:
    """Tells lines that are certainly of the form, fast: a file of a million rows is looked through in a second."""
    kinds = {"action_id": r"\d{1,9}", "timestamp": r"\d{1,9}(?:\.\d{1,9})?"}
    cells = ["," + kinds.get(name, r"-?\d{1,9}(?:\.\d{1,20})?") for name in columns[1:]]
    least = len(columns) - num_optional - 1
    optional = "".join(f"(?:{cell}" for cell in cells[least:]) + ")?" * num_optional
    return re.compile(rf'[^,"\r\n]+{"".join(cells[:least])}{optional}\n?', re.ASCII).fullmatch


def _expected(columns: Sequence[str]) -> str:
    return f"expected the columns {','.join(columns)}, without a header"


def _check_line(cells: list[str], columns: Sequence[str], num_optional: int, where: str) -> None:
    full = len(columns)
    lengths = sorted({len(KEYFRAME_COLUMNS), *range(full - num_optional, full + 1)})
    if len(cells) not in lengths:
        counts = ", ".join(map(str, lengths[:-1])) + " or " * (len(lengths) > 1) + str(lengths[-1])
        split = [name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if len(cells) == 1 and mark in cells[0]]
        hint = f" (it is separated by {split[0]}, not by commas)" if split else ""
        raise TableError(f"{where}: {len(cells)} columns{hint}, expected {counts}; {_expected(columns)}")
    names = [cell.strip().lower() for cell in cells]
    if names[1:] == [*columns[1 : len(cells)]]:
        raise TableError(f"{where}: this is a header, and files of AVA's form have none; delete the line")
    if not cells[0]:
        raise TableError(f"{where}, column 1 (video_id): empty, expected the name of a video")
    for number, (name, cell) in enumerate(zip(columns[1:], cells[1:], strict=False), start=2):
        if not _is_number(cell, name):
            kind = _KINDS.get(name, "a finite number")
            raise TableError(f"{where}, column {number} ({name}): {cell!r}, expected {kind}")


def _is_number(cell: str, name: str) -> bool:
    if not _NUMBER.fullmatch(cell.strip()):  # float() takes more than pandas: 1_000, nan, other scripts' digits
        return False
    value = float(cell)
    if name == "action_id":
        return abs(value) <= _LARGEST_ID and value == math.floor(value)
    return math.isfinite(value) and (name != "timestamp" or abs(value) < MAX_SECONDS)


def _cell(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _timestamp_cell(seconds: float) -> str:
    return f"{int(seconds):04d}" if seconds == int(seconds) else repr(float(seconds))
