"""A dataset folder: annotations, label map and videos of AVA or of people's own, held together by one file.

``DIR/dataset.json``::

    {"version": 1, "name": "kitchen", "frame_rate": 25.0,
     "classes": {"1": "cut", "2": "stir"}, "evaluated": [1, 2],
     "splits": {"train": {"annotations": "train.csv", "excluded": null, "proposals": null}, "val": {...}},
     "videos": {"film": {"path": "videos/film.mp4", "offset": 0.0}}}

Annotations are CSV files in AVA's form (:mod:`acrn_zoo.tables`). Paths are relative to the folder, or absolute.
``label_map.pbtxt`` beside it says the classes once more, for other programs.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing
from acrn_zoo.labels import LabelMap, LabelMapError, write_label_map

DATASET_FILE = "dataset.json"
LABEL_MAP_FILE = "label_map.pbtxt"
VERSION = 1


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
    except KeyError as error:
        raise DatasetError(f"{path}: there is no {error}; see acrn_zoo/data/folder.py for the form") from error
    except (DatasetError, LabelMapError) as error:
        raise DatasetError(f"{path}: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not of the form of a dataset ({error})") from error


def _dataset(root: Path, content: dict[str, Any]) -> DatasetFolder:
    if content["version"] != VERSION:
        raise DatasetError(f"version {content['version']!r}, expected {VERSION}")

    def located(entry: str | None) -> Path | None:
        return None if entry is None else root / entry

    return DatasetFolder(
        root=root,
        name=str(content["name"]),
        label_map=LabelMap({int(number): str(name) for number, name in content["classes"].items()}),
        splits={
            name: Split(root / entry["annotations"], located(entry.get("excluded")), located(entry.get("proposals")))
            for name, entry in content["splits"].items()
        },
        videos={
            video_id: VideoEntry(root / entry["path"], _finite_or_none(entry.get("offset"), f"offset of {video_id}"))
            for video_id, entry in content["videos"].items()
        },
        evaluated=tuple(int(number) for number in content.get("evaluated", ())),
        frame_rate=_finite_or_none(content.get("frame_rate"), "frame_rate"),
    )


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
    with replacing(folder.root / DATASET_FILE) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
