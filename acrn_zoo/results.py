"""Detections to files and back, a keyframe at a time.

Two forms, written so that an interrupted run leaves a valid file: every keyframe is appended in one piece.

**CSV in AVA's form** (:class:`AvaCsvWriter`), without a header, one row an action of a person::

    video_id,timestamp,x1,y1,x2,y2,action_id,score

The box is in fractions of the frame, with 6 digits. Timestamps are seconds as AVA writes them: whole ones
with 4 digits (``0902``), others with at most 3 decimals (``902.5``). The action id is the column of the score
plus 1; its score has 6 digits. People without a written action, and keyframes without people, have no row.

**JSON lines** (:class:`JsonLinesWriter`), one object a keyframe, those without people too::

    {"version": 1, "video_id": "film", "timestamp": 902.0, "frame_size": [height, width], "people": [
        {"box": [x1, y1, x2, y2], "score": 0.98, "actions": [{"id": 12, "name": "stand", "score": 0.87}]}]}

The box is in pixels of the frame; ``score`` beside it is the person's; the actions stand best first. Numbers
have the digits that float32 needs to come back unchanged.
"""

import csv
import json
from collections.abc import Iterator
from io import FileIO, StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor

from acrn_zoo.files import OutputError, require_writable
from acrn_zoo.structures import Detections, Keyframe

JSON_VERSION = 1
"""The version of the JSON form that is written and read."""


class ResultsError(OutputError):
    """A file of results cannot be created, written or read."""


class ResultsFormatError(ResultsError, ValueError):
    """A file holds something else than the results expected."""


_WriterType = TypeVar("_WriterType", bound="_LineWriter")


class _LineWriter:
    """A file that grows by whole keyframes; open from the start, and a context manager.

    Args:
        path: the file to create.
        top: write at most so many actions of a person, the best ones.
        threshold: write only actions whose score is above it.
        overwrite: replace a file that exists (at once, when this is created).

    Raises:
        OutputExistsError: if the file exists and ``overwrite`` is false.
        ResultsError: if it cannot be created.
    """

    def __init__(self, path: str | Path, *, top: int, threshold: float, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.top = top
        self.threshold = threshold
        require_writable(self.path, overwrite=overwrite)
        try:
            self._file = FileIO(self.path, "w" if overwrite else "x")
        except OSError as error:
            raise ResultsError(f"Cannot write {self.path}: {error.strerror}") from error

    def write(self, detections: Detections) -> None:
        """Append one keyframe: all of its lines or, if that fails, none.

        Raises:
            ResultsError: if they cannot be written (a full disk).
        """
        # A file name that is not UTF-8 gives a video id with surrogates, which no text file can hold.
        lines = self._lines(detections).encode(errors="replace")
        start = self._file.tell()
        try:
            num_written = self._file.write(lines)
        except OSError as error:
            raise ResultsError(f"Cannot write {self.path}: {error.strerror}") from error
        if num_written != len(lines):
            self._file.truncate(start)
            self._file.seek(start)
            raise ResultsError(f"Cannot write {self.path}: the disk took only a part (is it full?)")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lines(self, detections: Detections) -> str:
        raise NotImplementedError

    def __enter__(self: _WriterType) -> _WriterType:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AvaCsvWriter(_LineWriter):
    """Writes the CSV form that this module describes.

    ``AvaCsvWriter(path, *, top, threshold, overwrite=False)`` creates the file; a context manager. Of each
    person at most ``top`` actions are written, those whose score is above ``threshold``.

    Raises:
        OutputExistsError: if the file exists and ``overwrite`` is false.
        ResultsError: if the file cannot be created, or written to.
    """

    def _lines(self, detections: Detections) -> str:
        height, width = detections.frame_size
        fractions = detections.boxes.double() / torch.tensor([width, height, width, height])
        moment = [detections.keyframe.video_id, _ava_timestamp(detections.keyframe.timestamp)]
        lines = StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        for box, actions in zip(fractions.tolist(), detections.top(self.top, self.threshold), strict=True):
            digits = [f"{coordinate:.6f}" for coordinate in box]
            writer.writerows([*moment, *digits, column + 1, f"{score:.6f}"] for column, score in actions)
        return lines.getvalue()


class JsonLinesWriter(_LineWriter):
    """Writes the JSON form that this module describes.

    ``JsonLinesWriter(path, *, top, threshold, overwrite=False)`` creates the file; a context manager. Of each
    person at most ``top`` actions are written, those whose score is above ``threshold``.

    Raises:
        OutputExistsError: if the file exists and ``overwrite`` is false.
        ResultsError: if the file cannot be created, or written to.
    """

    def _lines(self, detections: Detections) -> str:
        people = [
            {
                "box": _shortest(box),
                "score": _shortest(score),
                "actions": [
                    {"id": column + 1, "name": detections.categories[column], "score": _shortest(row[column])}
                    for column, _ in actions
                ],
            }
            for box, score, row, actions in zip(
                detections.boxes,
                detections.person_scores,
                detections.scores,
                detections.top(self.top, self.threshold),
                strict=True,
            )
        ]
        entry = {
            "version": JSON_VERSION,
            "video_id": detections.keyframe.video_id,
            "timestamp": detections.keyframe.timestamp,
            "frame_size": list(detections.frame_size),
            "people": people,
        }
        return json.dumps(entry, allow_nan=False) + "\n"


def read_json_lines(path: str | Path, categories: tuple[str, ...]) -> Iterator[Detections]:
    """Read what :class:`JsonLinesWriter` wrote.

    Args:
        path: the file.
        categories: the names of the K actions, as they were when the file was written.

    Yields:
        The keyframes in the order of the file. Actions that were not written have score 0.

    Raises:
        ResultsError: if the file cannot be read.
        ResultsFormatError: naming the line, if one is not such an object, or names other actions.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ResultsError(f"Cannot read {path}: {error.strerror}") from error
    with file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                entry = json.loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    raise ResultsFormatError(
                        f"{where}: the line breaks off; the run that wrote it was cut here. "
                        "Delete this line, or run again"
                    ) from error
                raise ResultsFormatError(f"{where}: not a JSON object ({error})") from error
            yield _detections_of(entry, categories, where)


def _detections_of(entry: Any, categories: tuple[str, ...], where: str) -> Detections:  # noqa: ANN401 - any JSON
    try:
        if entry["version"] != JSON_VERSION:
            raise ValueError(f"version {entry['version']!r}, expected {JSON_VERSION}")
        height, width = entry["frame_size"]
        people = entry["people"]
        scores = torch.zeros(len(people), len(categories))
        for row, person in zip(scores, people, strict=True):
            for action in person["actions"]:
                row[_column_of(action, categories)] = action["score"]
        return Detections(
            keyframe=Keyframe(entry["video_id"], entry["timestamp"]),
            frame_size=(height, width),
            boxes=torch.tensor([person["box"] for person in people]).reshape(-1, 4),
            person_scores=torch.tensor([person["score"] for person in people]).reshape(-1),
            scores=scores,
            categories=categories,
        )
    except KeyError as error:
        raise ResultsFormatError(f"{where}: there is no {error}") from error
    except ValueError as error:
        raise ResultsFormatError(f"{where}: {error}") from error
    except (TypeError, RuntimeError) as error:  # a value of another type, a box of three numbers
        raise ResultsFormatError(f"{where}: not of the form that JsonLinesWriter writes ({error})") from error


def _column_of(action: dict[str, Any], categories: tuple[str, ...]) -> int:
    column = action["id"] - 1
    if not 0 <= column < len(categories):
        raise ValueError(f"action id {action['id']}, expected 1 to {len(categories)}")
    if categories[column] != action["name"]:
        raise ValueError(
            f"action {action['id']} is called {action['name']!r}, expected {categories[column]!r}; "
            "was the file written with other categories?"
        )
    return column


def _ava_timestamp(seconds: float) -> str:
    text = f"{seconds:.3f}".rstrip("0").rstrip(".")
    return text if "." in text else text.zfill(4)


def _shortest(values: Tensor) -> Any:  # noqa: ANN401 - a float or a list of them, as the tensor's shape
    """The numbers with the fewest digits that are still the same in float32."""
    if values.ndim == 0:
        return float(str(values.numpy()))
    return [_shortest(value) for value in values]
