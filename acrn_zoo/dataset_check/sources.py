"""The tables of a dataset, read as far as they can be read."""

import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import pandas as pd

from acrn_zoo.data.proposals import read_proposals as read_sound_proposals
from acrn_zoo.dataset_check.findings import Finding, Severity, counted
from acrn_zoo.errors import UserError
from acrn_zoo.pickles import read_plain_pickle
from acrn_zoo.tables import (
    BOX_COLUMNS,
    KEYFRAME_COLUMNS,
    PREDICTION_COLUMNS,
    PROPOSAL_COLUMNS,
    TableError,
    read_predictions,
    read_proposals,
)

NUM_EXAMPLES = 3
PICKLE = ".pkl"
_ALLOW = "Allow yourself to read it (chmod, or ask who owns it)."


@dataclass(frozen=True)
class Source:
    """A table and where its rows stand.

    Args:
        path: its file.
        table: columns as :mod:`acrn_zoo.tables` names them; the index counts the rows of the file.
        lines: ``[N]`` the line of every row of the file, counted from 1; None if it has no lines (a pickle).
    """

    path: Path
    table: pd.DataFrame
    lines: np.ndarray | None

    def only(self, mask: pd.Series | np.ndarray) -> "Source":
        """The rows where ``mask`` is true."""
        return Source(self.path, self.table[mask], self.lines)

    def people(self) -> "Source":
        """The rows that have a box."""
        return self.only(self.table["x1"].notna())

    def where(self, index: int) -> str:
        """File and line of the row with that index."""
        return self.path.name if self.lines is None else f"{self.path.name}, line {self.lines[index]}"

    def finding(
        self,
        mask: pd.Series | np.ndarray,
        kind: str,
        severity: Severity,
        noun: str,
        message: str,
        advice: str,
        show: Callable[[pd.Series], str] | None = None,
    ) -> list[Finding]:
        """One finding about the rows where ``mask`` is true; none if it is true nowhere.

        Args:
            mask: ``[N]``.
            kind: of the finding.
            severity: likewise.
            noun: what the rows are; their number and it stand before the message.
            message: what is wrong with them.
            advice: what to do.
            show: the value of a row that is wrong.
        """
        rows = self.table[mask]
        if rows.empty:
            return []
        examples = []
        for index, row in rows.iloc[:NUM_EXAMPLES].iterrows():
            value = "" if show is None else f": {show(row)}"
            examples.append(f"{self.where(index)}: {row['video_id']} at {row['timestamp']:.10g} s{value}")  # type: ignore[arg-type]
        text = f"{counted(len(rows), noun)} {message}"
        return [Finding(kind, severity, text, len(rows), advice, tuple(examples))]


def box_text(row: pd.Series) -> str:
    """A box as a person would write it."""
    return "box " + ", ".join(f"{row[name]:.6g}" for name in BOX_COLUMNS)


def read_source(
    path: Path,
    read: Callable[[Path], pd.DataFrame],
    columns: Sequence[str],
    what: str,
    named_by: str = "dataset.json",
) -> tuple[Source | None, list[Finding]]:
    """Read a table; lines that are not of its form are left out and become a finding.

    Args:
        path: the file.
        read: what reads it.
        columns: of its form, if it is a CSV file.
        what: the file holds, such as "annotations of train".
        named_by: what says that the file is there.
    """
    try:
        return _read_whole(path, read, what, named_by)
    except TableError as error:
        if path.suffix != PICKLE:
            return _read_sound_lines(path, read, columns, error)
        return None, [_unreadable(error, "Fetch or make it again.")]
    except UserError as error:
        return None, [_unreadable(error, "Mend the file, or fetch it again.")]
    except OSError as error:
        return None, [_unreadable(f"{path} cannot be read ({error.strerror or error})", _ALLOW)]


def _read_whole(
    path: Path, read: Callable[[Path], pd.DataFrame], what: str, named_by: str
) -> tuple[Source | None, list[Finding]]:
    """A table without a fault of form, or none where there is no file."""
    if not path.is_file():
        message = f"There is no file {path}, where {named_by} expects the {what}."
        advice = f"Put the file there, or mend the path in {named_by}."
        return None, [Finding("missing-file", "error", message, 1, advice)]
    table = read(path)
    is_text = path.suffix != PICKLE
    source = Source(path, table, _line_numbers(path, len(table)) if is_text else None)
    if table.empty:
        message = f"{path.name} holds nothing: expected the {what}."
        advice = "Write the file again; nothing can be learned of it."
        return source, [Finding("empty-file", "error", message, 1, advice)]
    return source, []


def read_proposal_table(path: Path) -> pd.DataFrame:
    """Proposals of any form that :func:`acrn_zoo.data.proposals.read_proposals` reads, whatever their values."""
    if path.suffix == PICKLE:
        return _pickled_proposals(path)
    with path.open("rb") as file:
        num_columns = next((line.count(b",") + 1 for line in file if line.count(b",") > 1), 0)
    if num_columns != len(PREDICTION_COLUMNS):
        return read_proposals(path)
    try:
        return read_predictions(path).drop(columns="action_id")
    except TableError:  # its actions may be empty
        proposals = read_sound_proposals(path)
        keyframes = np.repeat(np.arange(len(proposals.keyframes)), np.diff(proposals.starts))
        videos = np.repeat(np.array(proposals.keyframes.video_ids, dtype=object), np.diff(proposals.keyframes.starts))
        moments = {"video_id": videos[keyframes], "timestamp": proposals.keyframes.timestamps[keyframes]}
        return _proposal_table(moments, np.column_stack([proposals.boxes, proposals.scores]))


def _pickled_proposals(path: Path) -> pd.DataFrame:
    content = read_plain_pickle(path)
    try:
        keys = [key.rpartition(",") for key in content]
        arrays = [np.asarray(value, dtype=np.float64) for value in content.values()]
        # boxes without scores get the score 1; a keyframe with nobody is a row of NaN
        rows = [np.pad(array, ((0, 0), (0, 5 - array.shape[1])), constant_values=1.0) for array in arrays]
        rows = [array if len(array) else np.full((1, 5), np.nan) for array in rows]
        lengths = [len(array) for array in rows]
        videos = np.repeat(np.array([key[0] for key in keys], dtype=object), lengths)
        timestamps = np.repeat([float(key[2]) for key in keys], lengths)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise TableError(f"{path} is no dictionary from 'VIDEO_ID,0902' to arrays [R, 5] ({error})") from error
    return _proposal_table({"video_id": videos, "timestamp": timestamps}, np.concatenate([np.empty((0, 5)), *rows]))


def _proposal_table(moments: dict[str, np.ndarray], values: np.ndarray) -> pd.DataFrame:
    columns = {name: values[:, column] for column, name in enumerate(PROPOSAL_COLUMNS[2:])}
    return pd.DataFrame({**moments, **columns}).astype({"video_id": "category"})


def _unreadable(error: Exception | str, advice: str) -> Finding:
    return Finding("unreadable-file", "error", f"{error}.", 1, advice)


def _line_numbers(path: Path, num_rows: int) -> np.ndarray:
    """The line of every row: lines that are blank are no rows."""
    content = path.read_bytes()
    if content.count(b"\n") + (not content.endswith(b"\n")) == num_rows:
        return np.arange(1, num_rows + 1)
    return np.array([number for number, line in enumerate(content.splitlines(), 1) if line.strip()], dtype=np.int64)


def _read_sound_lines(
    path: Path, read: Callable[[Path], pd.DataFrame], columns: Sequence[str], error: TableError
) -> tuple[Source | None, list[Finding]]:
    """The rows that are of the form, through a temporary copy without the others."""
    advice = f"Mend these lines; each is {','.join(columns)} without a header. The rest of the file was checked."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return None, [_unreadable(error, "Save the file as plain text (UTF-8).")]
    except OSError:
        return None, [_unreadable(error, _ALLOW)]
    filled = [number for number, line in enumerate(lines, 1) if line.strip()]
    sound = [number for number in filled if _is_sound(lines[number - 1], columns)]
    bad = sorted(set(filled) - set(sound))
    if not sound:
        return None, [_unreadable(error, "Write the file again in AVA's form; not one line of it can be read.")]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text("".join(f"{lines[number - 1]}\n" for number in sound), encoding="utf-8")
        try:
            table = read(copy)
        except TableError:
            return None, [_unreadable(error, "Mend the line, and check again: the rest could not be read either.")]
    message = f"{counted(len(bad), 'line')} of {path.name} not of AVA's form. The first: {error}."
    examples = tuple(f"{path.name}, line {number}: {lines[number - 1][:80]}" for number in bad[:NUM_EXAMPLES])
    finding = Finding("malformed-rows", "error", message, len(bad), advice, examples)
    return Source(path, table, np.array(sound, dtype=np.int64)), [finding]


def _is_sound(line: str, columns: Sequence[str]) -> bool:
    try:
        ((video_id, *cells),) = csv.reader([line])
        values = [float(cell) for cell in cells]
    except ValueError:
        return False
    shortest = len(KEYFRAME_COLUMNS)
    lengths = (shortest, max(shortest, len(columns) - 1), len(columns))
    if not video_id or len(values) + 1 not in lengths or not all(map(isfinite, values)):
        return False
    position = columns.index("action_id") - 1 if "action_id" in columns else len(values)
    return position >= len(values) or values[position] == int(values[position])
