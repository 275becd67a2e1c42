"""A dataset folder: annotations, label map and videos of AVA or of people's own, held together by one file.

``DIR/dataset.json``::

    {"version": 1, "name": "kitchen", "frame_rate": 25.0,
     "classes": {"1": "cut", "2": "stir"}, "evaluated": [1, 2],
     "splits": {"train": {"annotations": "train.csv", "excluded": null, "proposals": null}, "val": {...}},
     "videos": {"film": {"path": "videos/film.mp4", "offset": 0.0}}}

Annotations are CSV files in AVA's form (:mod:`acrn_zoo.tables`). Paths are relative to the folder, or absolute.
``offset`` is the second of the annotations that the first frame shows: 0 if it is missing; ``null`` says that it is to
be found from the video's length (:func:`acrn_zoo.data.manifest.resolve_offset`).
``label_map.pbtxt`` beside it says the classes once more, for other programs.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acrn_zoo.errors import UserError
from acrn_zoo.files import write_json
from acrn_zoo.labels import LabelMap, LabelMapError, write_label_map

DATASET_FILE = "dataset.json"
LABEL_MAP_FILE = "label_map.pbtxt"
VERSION = 1
_SEE = "see acrn_zoo/data/folder.py for the form"


class DatasetError(UserError, ValueError):
    """A dataset is missing something or holds something wrong."""


@dataclass(frozen=True)
class Split:
    """The files of one part of a dataset.

    Args:
        annotations: what people do, :func:`acrn_zoo.tables.read_annotations`.
        excluded: keyframes to leave out, :func:`acrn_zoo.tables.read_keyframes`, if any.
        proposals: where people are, as found by a detector, if there is such a file.
    """

    annotations: Path
    excluded: Path | None = None
    proposals: Path | None = None


@dataclass(frozen=True)
class VideoEntry:
    """One video of a dataset.

    Args:
        path: a video file, or a folder of frames.
        offset: the second, in the time of the annotations, that the first frame of the file shows: a timestamp
            t is at ``t - offset`` seconds of the file. 0 where the annotations count from the file's start; 900
            for cuts of AVA's films that begin in their 15th minute; None where it is to be found from the
            video's length.
    """

    path: Path
    offset: float | None = 0.0


@dataclass(frozen=True)
class DatasetFolder:
    """What ``dataset.json`` says.

    Args:
        root: the folder; must exist to be written to.
        name: of the dataset.
        label_map: the classes. The action with id i is column i - 1 of labels and logits.
        splits: such as ``train`` and ``val``.
        videos: video id to file.
        evaluated: ids of the classes that count in evaluation; all of them if empty.
        frame_rate: frames a second of videos that are folders of frames; None where all are files.
    """

    root: Path
    name: str
    label_map: LabelMap
    splits: Mapping[str, Split]
    videos: Mapping[str, VideoEntry]
    evaluated: tuple[int, ...] = field(default=())
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.evaluated) - set(self.label_map.ids)):
            raise DatasetError(f"Dataset {self.name!r}: evaluated names the ids {unknown}, which are no classes")
        if not self.evaluated:
            object.__setattr__(self, "evaluated", self.label_map.ids)

    @property
    def evaluated_label_map(self) -> LabelMap:
        """The classes that count in evaluation."""
        return LabelMap({number: self.label_map.names[number] for number in self.evaluated})

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
            DatasetError: naming those that there are, if there is none.
        """
        if name not in self.splits:
            raise DatasetError(f"{self.root}: there is no split {name!r}; there is {', '.join(self.splits) or 'none'}")
        return self.splits[name]


def read_dataset_folder(root: str | Path) -> DatasetFolder:
    """Read ``dataset.json``; the files that it names are not opened.

    Args:
        root: the folder.

    Returns:
        The dataset, with absolute paths where ``root`` is absolute.

    Raises:
        DatasetError: naming the file and the entry, if it is missing or not of the form above.
    """
    root = Path(root)
    path = root / DATASET_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{root} is no dataset folder: it has no {DATASET_FILE}. `acrn-zoo data import` makes one"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error})") from error
    try:
        return _dataset(root, content)
    except (DatasetError, LabelMapError) as error:
        raise DatasetError(f"{path}: {error}") from error


def _dataset(root: Path, content: object) -> DatasetFolder:
    top = _Entries(content, "the file")
    if (version := top.required("version")) != VERSION:
        raise DatasetError(f"version {version!r}, expected {VERSION}")
    classes = _Entries(top.required("classes"), '"classes"').content
    names = {
        _class_id(number, '"classes"'): _text(name, f"the name of class {number}") for number, name in classes.items()
    }
    splits = _Entries(top.required("splits"), '"splits"')
    videos = _Entries(top.required("videos"), '"videos"')
    evaluated = top.content.get("evaluated", [])
    if not isinstance(evaluated, list):
        raise DatasetError(f'"evaluated" is {evaluated!r}, expected a list of class ids')
    return DatasetFolder(
        root=root,
        name=str(top.required("name")),
        label_map=LabelMap(names),
        splits={name: _split(root, splits.entries(name, f"the split {name!r}")) for name in splits.content},
        videos={name: _video(root, name, videos.entries(name, f"the video {name!r}")) for name in videos.content},
        evaluated=tuple(_class_id(number, '"evaluated"') for number in evaluated),
        frame_rate=_finite_or_none(top.content.get("frame_rate"), "frame_rate"),
    )


class _Entries:
    """An object of the file, and what it is called in errors."""

    def __init__(self, content: object, name: str) -> None:
        if not isinstance(content, dict):
            raise DatasetError(f"{name} is {_shown(content)}, expected entries in braces; {_SEE}")
        self.content, self.name = content, name

    def required(self, key: str) -> Any:  # noqa: ANN401 - any JSON
        if key not in self.content:
            raise DatasetError(f"there is no {key!r} in {self.name}; {_SEE}")
        return self.content[key]

    def entries(self, key: str, name: str) -> "_Entries":
        return _Entries(self.content[key], name)

    def path(self, root: Path, key: str) -> Path | None:
        """The file of an entry that may be missing or null."""
        value = self.content.get(key)
        return None if value is None else root / _text(value, f'"{key}" of {self.name}')

    def required_path(self, root: Path, key: str) -> Path:
        return root / _text(self.required(key), f'"{key}" of {self.name}')


def _split(root: Path, entries: _Entries) -> Split:
    annotations = entries.required_path(root, "annotations")
    return Split(annotations, entries.path(root, "excluded"), entries.path(root, "proposals"))


def _video(root: Path, video_id: str, entries: _Entries) -> VideoEntry:
    offset = _finite_or_none(entries.content.get("offset", 0.0), f"offset of {video_id}")
    return VideoEntry(entries.required_path(root, "path"), offset)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise DatasetError(f"{name} is {_shown(value)}, expected text in quotes")
    return value


def _class_id(value: object, name: str) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise DatasetError(f"{name} holds {_shown(value)}, expected ids of classes: whole numbers") from error


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


def _finite_or_none(value: Any, name: str) -> float | None:  # noqa: ANN401 - any JSON
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DatasetError(f"{name} is {value!r}, expected a finite number or null")
    return float(value)


def write_dataset_folder(folder: DatasetFolder) -> None:
    """Write ``dataset.json`` and ``label_map.pbtxt``; files that exist are replaced, each whole or not at all.

    Args:
        folder: the dataset. Its annotations and videos are somebody else's to write.
    """

    def relative(path: Path | None) -> str | None:
        if path is None:
            return None
        return path.relative_to(folder.root).as_posix() if path.is_relative_to(folder.root) else str(path.absolute())

    content = {
        "version": VERSION,
        "name": folder.name,
        "frame_rate": folder.frame_rate,
        "classes": {str(number): name for number, name in folder.label_map.names.items()},
        "evaluated": list(folder.evaluated),
        "splits": {
            name: {
                "annotations": relative(split.annotations),
                "excluded": relative(split.excluded),
                "proposals": relative(split.proposals),
            }
            for name, split in folder.splits.items()
        },
        "videos": {
            video_id: {"path": relative(video.path), "offset": video.offset}
            for video_id, video in folder.videos.items()
        },
    }
    write_label_map(folder.root / LABEL_MAP_FILE, folder.label_map)
    write_json(folder.root / DATASET_FILE, content, ensure_ascii=False)
