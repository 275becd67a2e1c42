"""What every reader hands on: boxes as they were annotated, before anything is decided about them.

Boxes are xyxy in pixels of the video's frames (in fractions where the source says so), moments are frame numbers
of the video or seconds, and nobody has yet said which words are actions.
"""

import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from acrn_zoo.errors import UserError

LAST_FRAME = 5_000_000
"""The largest frame number that is believed: 46 hours at 30 frames a second."""

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)

_PICTURE = re.compile(r"(?:(.*)/)?([^/]*?)([0-9]{1,18})(?:\.(?:jpe?g|png|bmp|webp|tiff?))?", re.IGNORECASE)
_ANYBODYS_PREFIX = frozenset(("", "img", "image", "frame", "frames", "picture", "im"))


class ImportFileError(UserError, ValueError):
    """An annotation file cannot be read or says something impossible; the message names the place."""


@dataclass
class Source:
    """One video as one annotation file speaks of it.

    Args:
        file: the annotation file.
        names: what it may be called, the likeliest first: file names with or without ending and folders.
        size: height and width in pixels that the file states, if it does.
        frames: the frames that were looked at, where the file says so (a CVAT task on a video).
        counts_from: the number of the first frame: 0, 1, or None if the file does not tell.
        lowest: the lowest number that the file names, with or without a box.
        of_pictures: whether the frames are pictures that somebody extracted, at a rate that nobody has said.
        has_fractions: whether boxes are fractions of the frame instead of pixels.
        entry: what the file is counted in, for messages: lines, annotations, ...
    """

    file: Path
    names: tuple[str, ...]
    size: tuple[int, int] | None = None
    frames: range | None = None
    counts_from: int | None = 0
    lowest: int = LAST_FRAME
    of_pictures: bool = False
    has_fractions: bool = False
    entry: str = "line"


@dataclass(frozen=True)
class State:
    """What is written at a box: its label and its attributes.

    Args:
        label: such as a CVAT label or a COCO category; None where the format has none.
        attributes: name and value, as text; a choice of several is one entry each, a checkbox ``true`` or ``false``.
    """

    label: str | None
    attributes: tuple[tuple[str, str], ...] = ()


class Marks:
    """Boxes, column by column: a million of them takes some 70 MB.

    Attributes:
        sources: the videos.
        states: what is written at boxes, each once.
        left_out: what the reader did not take, such as polygons, with an example of where.
        is_dense: whether there is a box on (nearly) every frame, as annotation tools interpolate them.
        labels_are_ids: whether labels are action ids, as in AVA's files.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.states: list[State] = []
        self.left_out: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.is_dense = False
        self.labels_are_ids = False
        self._state_numbers: dict[State, int] = {}
        numbers = ("frame", "seconds", "x1", "y1", "x2", "y2", "person_id")
        self._numbers = {name: array("d") for name in numbers}
        self._counts = {name: array("q") for name in ("source", "state", "line")}

    def __len__(self) -> int:
        return len(self._counts["line"])

    def add_source(self, source: Source) -> int:
        """Take a video in; the number is what :meth:`add` wants."""
        self.sources.append(source)
        return len(self.sources) - 1

    def add(
        self,
        source: int,
        box: Sequence[float],
        state: State | None,
        *,
        line: int,
        frame: float = math.nan,
        seconds: float = math.nan,
        person_id: float = math.nan,
    ) -> None:
        """Take a box in.

        Args:
            source: number of the video.
            box: xyxy; NaN for a moment at which nobody is.
            state: what is written at it; None if nobody is there.
            line: in the file, or the number of the element, for messages.
            frame: its number, as the file counts, or
            seconds: the moment itself.
            person_id: number of the track, if there is one.
        """
        for name, count in (("source", source), ("state", self._number(state)), ("line", line)):
            self._counts[name].append(count)
        values = (frame, seconds, *box, person_id)
        for column, value in zip(self._numbers.values(), values, strict=True):
            column.append(value)

    def count_from(self, source: int, frame: int) -> None:
        """Note the number of a picture: the lowest tells whether they count from 0 or from 1.

        Raises:
            ImportFileError: if it cannot be the number of a frame.
        """
        if frame > LAST_FRAME:
            raise ImportFileError(
                f"{self.sources[source].file}: a picture has the number {frame}, expected a frame number of 0 to "
                f"{LAST_FRAME}. Rename pictures whose names end in a date or a time"
            )
        self.sources[source].lowest = min(self.sources[source].lowest, frame)

    def extend_state(self, row: int, attributes: tuple[tuple[str, str], ...]) -> None:
        """Write further attributes at a box."""
        state = self.states[self._counts["state"][row]]
        merged = State(state.label, tuple(sorted({*state.attributes, *attributes})))
        self._counts["state"][row] = self._number(merged)

    def leave_out(self, what: str, where: str) -> None:
        """Count something that is not taken, keeping the first place of its kind."""
        self.left_out[what] += 1
        self.examples.setdefault(what, where)

    def table(self) -> pd.DataFrame:
        """All boxes so far, one a row."""
        return pd.DataFrame(
            {name: np.array(values) for name, values in [*self._counts.items(), *self._numbers.items()]}
        )

    def _number(self, state: State | None) -> int:
        if state is None:
            return -1
        number = self._state_numbers.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
        return number


class PictureSources:
    """The videos of pictures that say by their names which frame of which video they are.

    Args:
        file: the annotation file.
        marks: takes the videos that a picture with a box is of, and no others.
    """

    def __init__(self, file: Path, marks: Marks) -> None:
        self._file = file
        self._marks = marks
        self._numbers: dict[tuple[str, ...], int] = {}
        self._lowest: dict[tuple[str, ...], int] = {}

    def place(self, names: tuple[str, ...], frame: int, size: tuple[int, int] | None = None) -> int:
        """The number of the video, which a picture with a box is of.

        Raises:
            ImportFileError: if ``frame`` cannot be the number of a frame.
        """
        if names not in self._numbers:
            source = Source(self._file, (*names, self._file.stem), size, counts_from=None, of_pictures=True)
            source.lowest = self._lowest.get(names, LAST_FRAME)
            self._numbers[names] = self._marks.add_source(source)
        self._marks.count_from(self._numbers[names], frame)
        return self._numbers[names]

    def leave_out(self, name: str, where: str) -> None:
        """Count a picture without a box. Its number may still be the lowest."""
        self._marks.leave_out("pictures without a box", where)
        if (found := split_picture_name(name)) is None:
            return
        names, frame = found
        self._lowest[names] = min(self._lowest.get(names, LAST_FRAME), frame)
        if names in self._numbers:
            source = self._marks.sources[self._numbers[names]]
            source.lowest = min(source.lowest, frame)


def split_picture_name(name: str) -> tuple[tuple[str, ...], int] | None:
    """The video and the frame number in the name of an extracted picture.

    Args:
        name: such as ``kitchen/000012.jpg``, ``kitchen_000012.jpg`` or ``kitchen/img_00012.jpg``.

    Returns:
        What the video may be called, the likeliest first (none if the name does not tell), and the number; None
        if there is no number.
    """
    match = _PICTURE.fullmatch(name.replace("\\", "/"))
    if match is None:
        return None
    folder, prefix, number = match.groups()
    prefix = prefix.rstrip("_-. ")
    names = () if prefix.lower() in _ANYBODYS_PREFIX else (prefix,)
    if folder:
        names = (*names, folder.rstrip("/").rpartition("/")[2])
    return names, int(number)


def stem(name: str) -> str:
    """The name without folders and without a video's ending."""
    path = Path(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
