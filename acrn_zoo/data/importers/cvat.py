"""CVAT's own XML (1.1): "CVAT for video" and "CVAT for images", of tasks, jobs and projects.

Tracks have a box on every frame, most of them interpolated by CVAT; ``outside="1"`` says that the person is not
there. Frame numbers count the frames of the video from 0. The file is read as a stream, and without its DTD: a
file that declares entities is refused, since these can be made to fill the memory or to read other files.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias
from xml.parsers import expat

from acrn_zoo.data.importers.marks import (
    LAST_FRAME,
    ImportFileError,
    Marks,
    PictureSources,
    Source,
    State,
    split_picture_name,
)

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_SHAPES = frozenset(("box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton", "tag"))
_CHUNK = 1 << 16
_MOST_FILLED = 2_000_000  # boxes between key boxes in a file: one person for 22 hours at 25 frames a second

_Corners: TypeAlias = tuple[float, float, float, float]


def read_cvat(path: Path, marks: Marks) -> None:
    """Read one file.

    Args:
        path: an XML file, as CVAT exports it.
        marks: takes the boxes.

    Raises:
        ImportFileError: naming the line, if it is not of that form.
    """
    reader = _Reader(path, marks)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                reader.parser.Parse(chunk, False)
            reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise ImportFileError(
            f"{path}, line {error.lineno}: not well-formed XML ({expat.ErrorString(error.code)}). If the file was "
            "cut off on its way, export or download it again"
        ) from error
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read ({error.strerror})") from error


class _Task:
    """What the head of the file says about one task."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def size(self) -> tuple[int, int] | None:
        try:
            height, width = int(self.fields["height"]), int(self.fields["width"])
            return (height, width) if 0 < height <= LAST_FRAME and 0 < width <= LAST_FRAME else None
        except (KeyError, ValueError):
            return None

    def frames(self) -> range | None:
        try:
            first = int(self.fields.get("start_frame", 0))
            last = int(self.fields["stop_frame"]) if "stop_frame" in self.fields else int(self.fields["size"]) - 1
            step = int(self.fields.get("frame_filter", "").partition("=")[2] or 1)
            return range(first, last + 1, step) if 0 <= first <= last <= LAST_FRAME and step > 0 else None
        except (KeyError, ValueError):
            return None


class _Reader:
    """Follows the elements of one file; a track is kept until it ends, nothing else."""

    def __init__(self, path: Path, marks: Marks) -> None:
        self._path = path
        self._marks = marks
        self._tasks: list[_Task] = []
        self._sources: dict[str | None, int] = {}
        self._pictures = PictureSources(path, marks)
        self._num_filled = 0
        self._open: list[str] = []
        self._text: list[str] = []
        self._track: _Track | None = None
        self._image: dict[str, str] | None = None
        self._is_empty = True
        self._shape: _Shape | None = None
        self._attribute: str | None = None
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse

    def _refuse(self, *_: object) -> NoReturn:
        raise self._error("the file declares a DTD or entities, which CVAT never writes; expected plain XML elements")

    def _error(self, message: str) -> ImportFileError:
        return ImportFileError(f"{self._path}, line {self.parser.CurrentLineNumber}: {message}")

    def _start(self, name: str, values: dict[str, str]) -> None:
        if not self._open and name != "annotations":
            raise self._error(f"the outermost element is <{name}>, expected <annotations> as CVAT writes it")
        self._open.append(name)
        self._text.clear()
        if name in ("task", "job"):
            self._tasks.append(_Task())
        elif name == "track":
            self._track = _Track(values, len(self._marks.sources))
        elif name == "image":
            self._image = values
            self._is_empty = True
        elif name == "attribute":
            self._attribute = values.get("name")
        elif name in _SHAPES and self._shape is None and (self._track is not None or self._image is not None):
            self._shape = _Shape(name, values, self.parser.CurrentLineNumber)
            self._is_empty = False

    def _end(self, name: str) -> None:
        self._open.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        if "meta" in self._open:
            self._end_of_meta(name, text)
        elif name == "attribute" and self._attribute is not None:
            if self._shape is not None:
                self._shape.attributes[self._attribute] = text
            elif self._track is not None:
                self._track.attributes[self._attribute] = text
        elif self._shape is not None and name == self._shape.kind:
            self._end_of_shape(self._shape)
            self._shape = None
        elif name == "track" and self._track is not None:
            self._end_of_track(self._track)
            self._track = None
        elif name == "image" and self._image is not None:
            if self._is_empty:
                self._pictures.leave_out(self._image.get("name", ""), f"{self._path}, image {self._image.get('name')}")
            self._image = None

    def _end_of_meta(self, name: str, text: str) -> None:
        """Keep the first field of every name below the task, whose name is not that of a label or a user."""
        if not self._tasks:
            self._tasks.append(_Task())  # some writers have no <task>
        parent = self._open[-1]
        if parent in ("task", "job", "meta", "original_size"):
            self._tasks[-1].fields.setdefault(name, text)

    def _end_of_shape(self, shape: "_Shape") -> None:
        where = f"{self._path}, line {shape.line}"
        if shape.kind != "box":
            self._marks.leave_out(f"shapes that are no boxes ({shape.kind})", where)
            return
        if shape.values.get("rotation", "0").strip("0.") != "":
            self._marks.leave_out("rotated boxes", where)
            return
        left, top, right, bottom = (self._number(shape.values, name) for name in _CORNERS)
        box = (left, top, right, bottom)
        if self._track is not None:
            self._add_to(self._track, shape, box)
        elif self._image is not None:
            source, frame = self._image_source(self._image)
            state = _state(shape.values.get("label"), shape.attributes)
            self._marks.add(source, box, state, line=shape.line, frame=frame)

    def _add_to(self, track: "_Track", shape: "_Shape", box: "_Corners") -> None:
        frame = self._frame(shape.values, "frame")
        if track.boxes and frame <= (before := track.boxes[-1].frame):
            raise self._error(
                f"track {track.name} goes from frame {before} to {frame}, expected them in ascending order, each once"
            )
        state = _state(track.label, {**track.attributes, **shape.attributes})
        track.boxes.append(_Box(frame, box, state, shape.line, shape.values.get("outside", "0") != "1"))
        track.is_interpolated |= shape.values.get("keyframe") == "0"

    def _end_of_track(self, track: "_Track") -> None:
        source = self._task_source(track.task)
        person_id = float(track.name) if track.name.isdecimal() else math.nan
        self._marks.is_dense = True
        self._require_fillable(track, self._marks.sources[source].frames)
        for index, box in enumerate(track.boxes):
            following = track.boxes[index + 1] if index + 1 < len(track.boxes) else None
            for frame, corners in _until(box, None if track.is_interpolated else following):
                self._marks.add(source, corners, box.state, line=box.line, frame=frame, person_id=person_id)

    def _require_fillable(self, track: "_Track", frames: range | None) -> None:
        """Check how many boxes are to be filled in, before a wrong frame number fills the memory."""
        if track.is_interpolated or not track.boxes:
            return
        last = track.boxes[-1].frame
        if frames is not None and last > frames[-1] + frames.step:  # one step on it may say that the person is gone
            raise self._error(
                f"track {track.name} goes to frame {last}, but the head of the file says that frame {frames[-1]} is "
                "the last of its task"
            )
        pairs = zip(track.boxes, track.boxes[1:], strict=False)
        self._num_filled += sum(after.frame - box.frame - 1 for box, after in pairs if box.is_there)
        if self._num_filled > _MOST_FILLED:
            raise self._error(
                f"with track {track.name}, which goes to frame {last}, {self._num_filled} boxes between key boxes "
                f"would have to be filled in, at most {_MOST_FILLED} are. If the frame numbers are right, import fewer "
                "tracks, or export with a box on every frame"
            )

    def _task_source(self, task_id: str | None) -> int:
        """The number of the video that a track belongs to."""
        by_id = {task.fields.get("id"): task for task in self._tasks}
        task = by_id.get(task_id) or (self._tasks[0] if self._tasks else _Task())
        if task_id is not None and task_id not in by_id and len(self._tasks) > 1:
            raise self._error(f"a track belongs to task {task_id}, which the head of the file does not have")
        if task_id not in self._sources:
            names = (task.fields.get("source", ""), task.fields.get("name", ""), self._path.stem)
            source = Source(self._path, tuple(filter(None, names)), task.size(), task.frames())
            self._sources[task_id] = self._marks.add_source(source)
        return self._sources[task_id]

    def _image_source(self, image: dict[str, str]) -> tuple[int, int]:
        """Number of the video and of the frame that an image is."""
        size = (self._frame(image, "height"), self._frame(image, "width"))
        if any("source" in task.fields for task in self._tasks):  # pictures that CVAT took from a video itself
            return self._task_source(image.get("task_id")), self._frame(image, "id")
        found = split_picture_name(image.get("name", ""))
        if found is None:
            raise self._error(
                f"image {image.get('name')!r} has no frame number in its name, expected the like of kitchen/000012.jpg"
            )
        names, frame = found
        return self._pictures.place(names, frame, size), frame

    def _number(self, values: dict[str, str], name: str) -> float:
        try:
            number = float(values[name])
        except KeyError:
            raise self._error(f"a box has no {name}") from None
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self._error(f"{name} is {values[name]!r}, expected a number of pixels")
        return number

    def _frame(self, values: dict[str, str], name: str) -> int:
        text = values.get(name, "")
        if not text.isdecimal() or len(text) > 12 or int(text) > LAST_FRAME:
            raise self._error(f"{name} is {text!r}, expected a whole number of 0 to {LAST_FRAME}")
        return int(text)


class _Shape:
    """An element that is being read."""

    def __init__(self, kind: str, values: dict[str, str], line: int) -> None:
        self.kind = kind
        self.values = values
        self.line = line
        self.attributes: dict[str, str] = {}


class _Box(NamedTuple):
    """A box of a track."""

    frame: int
    corners: _Corners
    state: State
    line: int
    is_there: bool


class _Track:
    """A track that is being read."""

    def __init__(self, values: dict[str, str], number: int) -> None:
        self.name = values.get("id", str(number))
        self.label = values.get("label")
        self.task = values.get("task_id")
        self.attributes: dict[str, str] = {}
        self.boxes: list[_Box] = []
        self.is_interpolated = False


def _until(box: _Box, following: _Box | None) -> Iterator[tuple[int, _Corners]]:
    """The box itself, and those on the way to the following key box.

    As CVAT interpolates: it stays as it is until the person goes outside, else every side moves evenly.
    """
    if not box.is_there:
        return
    yield box.frame, box.corners
    if following is None:
        return
    length = following.frame - box.frame
    goal = following.corners if following.is_there else box.corners
    for step in range(1, length):
        part = step / length
        left, top, right, bottom = (a + (b - a) * part for a, b in zip(box.corners, goal, strict=True))
        yield box.frame + step, (left, top, right, bottom)


def _state(label: str | None, attributes: dict[str, str]) -> State:
    return State(label, tuple(sorted(attributes.items())))
