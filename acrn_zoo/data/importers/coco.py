"""COCO-style JSON of videos: pictures with a video and a frame, or pictures named ``video/000012.jpg``.

What the variants agree upon: ``images`` with ``id`` and ``file_name``; ``annotations`` with ``image_id``,
``category_id`` and ``bbox`` (x, y, width, height in pixels); ``categories``. Videos are said by ``videos`` and
``video_id``, the frame by ``frame_id``, ``frame_index`` or ``frame``, counted from 0; where these are missing,
both are read from the picture's name. A track is ``track_id`` or ``instance_id``, also as an attribute.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acrn_zoo.data.importers.marks import LAST_FRAME, ImportFileError, Marks, Source, State, split_picture_name

_FRAME_FIELDS = ("frame_id", "frame_index", "frame")
_LARGEST = 1e15  # of pixels and seconds; JSON has numbers of any size
_TRACK_FIELDS = ("track_id", "instance_id", "person_id")


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    """The content of a JSON file.

    Raises:
        ImportFileError: if it cannot be read, or is no JSON; names the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise ImportFileError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, numbers of thousands of digits, too deep
        raise ImportFileError(f"{path} is not JSON ({error})") from error


def read_coco(path: Path, marks: Marks) -> None:
    """Read one file.

    Args:
        path: a JSON file, see the module.
        marks: takes the boxes.

    Raises:
        ImportFileError: naming the entry, if it is not of that form.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ImportFileError(f"{path} holds a JSON {type(content).__name__}, expected an object with images")
    lists = {}
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list):
            raise ImportFileError(f"{path} has no list {name!r}, expected images, annotations and categories")
        lists[name] = content[name]
    categories = {
        _field(path, "categories", i, row, "id"): str(row.get("name")) for i, row in enumerate(lists["categories"])
    }
    pictures = _Pictures(path, marks, _videos(path, content.get("videos")))
    places = {}
    for index, row in enumerate(lists["images"]):
        key = _field(path, "images", index, row, "id")
        if key in places:
            raise ImportFileError(f"{path}: images[{index}] has the id {key}, which another image has")
        places[key] = pictures.place(index, row)
    for index, row in enumerate(lists["annotations"]):
        _add(path, marks, index, row, places, categories)
    seen = set(zip(marks.table()["source"], marks.table()["frame"], strict=True)) if places else set()
    if empty := [key for key, place in places.items() if place not in seen]:
        marks.left_out["pictures without a box"] += len(empty)
        marks.examples.setdefault("pictures without a box", f"{path}, image {empty[0]}")


def _videos(path: Path, rows: Any) -> dict[Any, Mapping[str, Any]]:  # noqa: ANN401 - any JSON
    if not isinstance(rows, list | None):
        raise ImportFileError(f"{path}: videos is {rows!r:.80}, expected a list")
    return {_field(path, "videos", i, row, "id"): row for i, row in enumerate(rows or ()) if isinstance(row, dict)}


class _Pictures:
    """Finds out which frame of which video a picture is."""

    def __init__(self, path: Path, marks: Marks, videos: Mapping[Any, Mapping[str, Any]]) -> None:
        self._path = path
        self._marks = marks
        self._videos = videos
        self._sources: dict[Any, int] = {}

    def place(self, index: int, row: Mapping[str, Any]) -> tuple[int, int]:
        """Number of the source and of the frame."""
        where = f"{self._path}: images[{index}]"
        name = str(row.get("file_name", ""))
        named = split_picture_name(name)
        frame = next((row[field] for field in _FRAME_FIELDS if row.get(field) is not None), None)
        if frame is None and named is None:
            raise ImportFileError(f"{where} has no frame_id, and its file_name {name!r} no number: which frame is it?")
        is_whole = isinstance(frame, int) and not isinstance(frame, bool) and 0 <= frame <= LAST_FRAME
        if frame is not None and not is_whole:
            raise ImportFileError(f"{where}: the frame is {frame!r}, expected a whole number of 0 to {LAST_FRAME}")
        key, names, said = self._video(row, named[0] if named else (), where)
        if key not in self._sources:
            counts_from = None if frame is None else 0
            names = (*names, self._path.stem)
            source = Source(self._path, names, _size({**row, **said}), counts_from=counts_from, of_pictures=True)
            source.entry = "annotation"
            self._sources[key] = self._marks.add_source(source)
        number = self._sources[key]
        size = self._marks.sources[number].size
        if size is not None and _size(row) not in (None, size):
            raise ImportFileError(
                f"{where} ({name}) has the size {row['width']}x{row['height']}, other pictures of its video "
                f"{size[1]}x{size[0]}; expected one size"
            )
        if frame is None:
            assert named is not None
            frame = named[1]
        self._marks.count_from(number, frame)
        return number, frame

    def _video(
        self, row: Mapping[str, Any], named: tuple[str, ...], where: str
    ) -> tuple[object, tuple[str, ...], Mapping[str, Any]]:
        """What tells a picture's video from others, its names, and what the file says about it."""
        video = row.get("video_id", row.get("video"))
        if video is None:
            return named, named, {}
        if not isinstance(video, int | str):
            raise ImportFileError(f"{where} is of video {video!r:.80}, expected a number or a name")
        said = self._videos.get(video)
        if said is None and not isinstance(video, str):
            raise ImportFileError(f"{where} is of video {video!r}, which is not among the videos")
        said = said or {}
        names = tuple(str(said[field]) for field in ("file_name", "name") if said.get(field))
        return ("video", video), names or (str(video),), said


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = row.get("height"), row.get("width")
    is_stated = all(isinstance(side, int) and 0 < side <= LAST_FRAME for side in (height, width))
    return (height, width) if is_stated else None  # type: ignore[return-value]


def _add(
    path: Path,
    marks: Marks,
    index: int,
    row: Mapping[str, Any],
    places: Mapping[Any, tuple[int, int]],
    categories: Mapping[Any, str],
) -> None:
    where = f"{path}: annotations[{index}]"
    if isinstance(row, dict) and "bboxes" in row:
        raise ImportFileError(f"{where} has bboxes, a list for a whole video; expected one annotation a picture")
    image = _field(path, "annotations", index, row, "image_id")
    category = _field(path, "annotations", index, row, "category_id")
    if image not in places:
        raise ImportFileError(f"{where} is of image {image!r}, which is not among the images")
    if category not in categories:
        raise ImportFileError(f"{where} has category {category!r}, which is not among the categories")
    box = row.get("bbox")
    if box is None or box == []:
        marks.leave_out("annotations without a box", where)
        return
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise ImportFileError(f"{where}: bbox is {box!r}, expected the 4 numbers [x, y, width, height]")
    source, frame = places[image]
    said = row.get("attributes")
    attributes = said if isinstance(said, dict) else {}
    track = next((part[field] for part in (row, attributes) for field in _TRACK_FIELDS if field in part), math.nan)
    x, y, width, height = box
    marks.add(
        source,
        (x, y, x + width, y + height),
        State(categories[category], as_attributes(attributes)),
        line=index,
        frame=frame,
        person_id=as_person_id(track),
    )


def as_attributes(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """JSON values of attributes as text; of an object or a list of choices one entry a choice."""
    entries: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            entries += [(name, str(choice)) for choice, is_chosen in value.items() if is_chosen] or [(name, "")]
        elif isinstance(value, list):
            entries += [(name, str(choice)) for choice in value] or [(name, "")]
        elif isinstance(value, bool):
            entries.append((name, "true" if value else "false"))
        else:
            entries.append((name, "" if value is None else str(value)))
    return tuple(sorted(entries))


def as_person_id(value: Any) -> float:  # noqa: ANN401 - any JSON
    """A person's number, NaN where it is none."""
    text = str(value)
    return float(text) if text.isdecimal() and len(text) < 16 else math.nan


def is_number(value: Any) -> bool:  # noqa: ANN401 - any JSON
    """Whether a JSON value is a finite number, and no larger than floats go."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _field(path: Path, kind: str, index: int, row: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(row, dict) or row.get(name) is None:
        raise ImportFileError(f"{path}: {kind}[{index}] has no {name}, expected a number")
    if not isinstance(row[name], int | str):
        raise ImportFileError(f"{path}: {kind}[{index}]: {name} is {row[name]!r:.80}, expected a number or a name")
    return row[name]
