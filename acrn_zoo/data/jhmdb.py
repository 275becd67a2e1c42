"""The J-HMDB dataset (Jhuang et al., ICCV 2013) in the form of ACT, which UCF101-24 is published in, too.

The file ``JHMDB-GT.pkl`` holds the 21 classes, the tubes of 928 videos in pixels, frame by frame, and three splits.
Frames count from 1. Inside the program the class number ``i`` of the file is column ``i``, its action id ``i + 1``.
J-HMDB says nothing of time; its clips are shown at :data:`FRAME_RATE`.
"""

import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing
from acrn_zoo.labels import LabelMap
from acrn_zoo.pickles import read_plain_pickle
from acrn_zoo.tables import ANNOTATION_COLUMNS, write_table

FRAME_RATE = 25.0
"""Frames a second."""

PIXEL_FOLDERS = ("Frames", "Rename_Images", "rawframes", "ReCompress_Videos", "videos", ".")
"""Where videos may lie in a copy: ``Frames`` in ACT's, ``Rename_Images`` or ``ReCompress_Videos`` as published."""

VERSION = 1
Boxes = npt.NDArray[np.float64]


class JhmdbError(UserError, ValueError):
    """Ground truth or a copy of J-HMDB that is missing something or holds something wrong."""


@dataclass(frozen=True)
class VideoTruth:
    """What is known of one video.

    Args:
        num_frames: its length.
        height: of the frames in pixels.
        width: of the frames in pixels.
        tubes: column of the class to tubes ``[n, 5]`` float64: frame (from 1, one after the other), x1, y1, x2, y2
            in pixels, where x2 and y2 name the last pixel inside.
    """

    num_frames: int
    height: int
    width: int
    tubes: Mapping[int, tuple[Boxes, ...]]


@dataclass(frozen=True)
class JhmdbTruth:
    """The ground truth of J-HMDB or a dataset of the same form.

    Args:
        categories: the names of the classes.
        videos: video id, such as ``golf/Golf_swing_golf_f_cm_np1_ri_goo_2``, to what is known of it.
        train_videos: for each split, ids of its training videos.
        test_videos: for each split, ids of its test videos, in the order in which they are evaluated.

    Raises:
        JhmdbError: naming video, tube, frame and value, if something is missing or cannot be.
    """

    categories: tuple[str, ...]
    videos: Mapping[str, VideoTruth]
    train_videos: tuple[tuple[str, ...], ...]
    test_videos: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(set(self.categories)) < len(self.categories):
            raise JhmdbError("a class stands twice among the labels; give each its own name")
        for video_id, video in self.videos.items():
            _check_video(video_id, video, len(self.categories))
        if len(self.train_videos) != len(self.test_videos):
            raise JhmdbError(f"{len(self.train_videos)} lists of training videos, but {len(self.test_videos)} of test")
        for number, (train, test) in enumerate(zip(self.train_videos, self.test_videos, strict=True), start=1):
            for video_id in (*train, *test):
                if video_id not in self.videos:
                    raise JhmdbError(f"split {number} names the video {video_id!r}, which has no tubes")
            if len({*train, *test}) < len(train) + len(test):
                raise JhmdbError(f"split {number} names a video twice, or for training and test")

    @cached_property
    def tubes(self) -> dict[str, Mapping[int, tuple[Boxes, ...]]]:
        """Video to column to tubes, as the evaluator takes them."""
        return {video_id: video.tubes for video_id, video in self.videos.items()}

    @property
    def label_map(self) -> LabelMap:
        """Names by action id, from 1."""
        return LabelMap(dict(enumerate(self.categories, start=1)))

    def split(self, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Training and test videos of a split.

        Args:
            number: from 1.

        Raises:
            JhmdbError: if there is no such split.
        """
        if not 1 <= number <= len(self.test_videos):
            raise JhmdbError(f"There is no split {number}, only 1 to {len(self.test_videos)}")
        return self.train_videos[number - 1], self.test_videos[number - 1]

    def table(self, video_ids: Iterable[str]) -> pd.DataFrame:
        """The boxes of some videos as annotations.

        Args:
            video_ids: which, and in which order.

        Returns:
            The columns of :func:`acrn_zoo.tables.read_annotations`: ``timestamp`` is ``(frame - 1) / FRAME_RATE``,
            boxes are pixels divided by the width and height of the frame, ``person_id`` counts the tubes of a
            video from 0.

        Raises:
            JhmdbError: if there is no such video.
        """
        names: list[str] = []
        parts = [np.zeros((0, len(ANNOTATION_COLUMNS)))]
        for code, video_id in enumerate(video_ids):
            if video_id not in self.videos:
                raise JhmdbError(f"There is no video {video_id!r} in the ground truth")
            names.append(video_id)
            parts += _rows(code, self.videos[video_id])
        rows = np.concatenate(parts)
        columns = dict(zip(ANNOTATION_COLUMNS, rows.T, strict=True))
        table = pd.DataFrame(columns).astype({"action_id": np.int64})
        table["video_id"] = pd.Categorical.from_codes(rows[:, 0].astype(int), pd.Index(names, dtype=object))
        return table


def read_jhmdb(path: str | Path) -> JhmdbTruth:
    """Read ground truth.

    Args:
        path: ``JHMDB-GT.pkl`` as ACT published it (or ``UCF101v2-GT.pkl``), which is read without executing
            anything of it; or the JSON file of :func:`write_jhmdb`.

    Raises:
        JhmdbError: naming the file and what is wrong in it.
        PickleError: if a pickle holds more than plain data.
    """
    path = Path(path)
    try:
        if path.suffix == ".json":
            return _of_json(json.loads(path.read_text(encoding="utf-8")))
        return _of_pickle(read_plain_pickle(path, encoding="latin1"))
    except JhmdbError as error:
        raise JhmdbError(f"{path}: {error}") from error
    except KeyError as error:
        raise JhmdbError(f"{path}: there is no {error}; expected J-HMDB's ground truth as ACT published it") from error
    except OSError as error:
        raise JhmdbError(f"{path} cannot be read ({error.strerror or error})") from error
    except UserError:
        raise
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise JhmdbError(f"{path} is not ground truth in the form of J-HMDB ({error})") from error


def write_jhmdb(path: str | Path, truth: JhmdbTruth) -> None:
    """Write ground truth as JSON, for programs and people that should not read pickles.

    Reading it again gives the same, bit for bit. A file that exists is replaced.

    Args:
        path: a file whose name ends in ``.json``.
        truth: the ground truth.

    Raises:
        JhmdbError: if the name ends otherwise.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise JhmdbError(f"{path}: expected a name that ends in .json")
    videos = {
        video_id: {
            "num_frames": video.num_frames,
            "height": video.height,
            "width": video.width,
            "tubes": {str(column): [tube.tolist() for tube in tubes] for column, tubes in video.tubes.items()},
        }
        for video_id, video in truth.videos.items()
    }
    content = {
        "version": VERSION,
        "categories": truth.categories,
        "train_videos": truth.train_videos,
        "test_videos": truth.test_videos,
        "videos": videos,
    }
    with replacing(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def find_videos(root: str | Path, video_ids: Iterable[str]) -> dict[str, Path]:
    """Where the pixels of videos are.

    Args:
        root: a copy of J-HMDB. In it, or in one of its folders :data:`PIXEL_FOLDERS`, each video is a folder of
            frames ``golf/NAME/00001.png`` or a file ``golf/NAME.avi``. Frames are preferred: files of J-HMDB have
            been compressed once more.
        video_ids: which.

    Returns:
        Video id to the path of its folder or file.

    Raises:
        JhmdbError: saying how many are missing, and the first.
    """
    root = Path(root)
    found: dict[str, Path] = {}
    missing = []
    for video_id in video_ids:
        path = _find_video(root, video_id)
        if path is None:
            missing.append(video_id)
        else:
            found[video_id] = path
    if missing:
        raise JhmdbError(
            f"{root} lacks {len(missing)} of {len(missing) + len(found)} videos, such as {missing[0]!r}; expected "
            f"{root / 'Frames' / missing[0]}/00001.png, ... or {root / 'ReCompress_Videos' / missing[0]}.avi"
        )
    return found


def create_folder(root: str | Path, truth: JhmdbTruth, number: int, paths: Mapping[str, Path]) -> DatasetFolder:
    """Write a split as a dataset folder, from which training and evaluation read.

    Args:
        root: an empty folder; ``dataset.json``, ``label_map.pbtxt``, ``train.csv`` and ``val.csv`` are written.
        truth: the ground truth.
        number: of the split, from 1.
        paths: video id to its frames or file, from :func:`find_videos`.

    Returns:
        The dataset, with the test videos as split ``val``.

    Raises:
        JhmdbError: if there is no such split, a video has no path, or the folder is missing or not empty.
    """
    root = Path(root)
    if not root.is_dir() or any(root.iterdir()):
        raise JhmdbError(f"{root}: expected an empty folder to write the dataset to")
    videos: dict[str, VideoEntry] = {}
    splits: dict[str, Split] = {}
    for name, video_ids in zip(("train", "val"), truth.split(number), strict=True):
        if missing := [video_id for video_id in video_ids if video_id not in paths]:
            raise JhmdbError(f"There is no path for the video {missing[0]!r}")
        videos |= {video_id: VideoEntry(Path(paths[video_id]).resolve()) for video_id in video_ids}
        splits[name] = Split(root / f"{name}.csv")
        write_table(root / f"{name}.csv", truth.table(video_ids))
    folder = DatasetFolder(root, f"J-HMDB split {number}", truth.label_map, splits, videos, frame_rate=FRAME_RATE)
    write_dataset_folder(folder)
    return folder


def _find_video(root: Path, video_id: str) -> Path | None:
    for folder in PIXEL_FOLDERS:
        path = root / folder / video_id
        for candidate in (path, path.with_name(f"{path.name}.avi")):
            if candidate.exists():
                return candidate
    return None


def _of_pickle(content: dict[str, Any]) -> JhmdbTruth:
    videos = {}
    for video_id, tubes in content["gttubes"].items():
        height, width = content["resolution"][video_id]
        videos[video_id] = _video(video_id, content["nframes"][video_id], height, width, tubes)
    return _truth(content, "labels", videos)


def _of_json(content: dict[str, Any]) -> JhmdbTruth:
    if content["version"] != VERSION:
        raise JhmdbError(f"version {reprlib.repr(content['version'])}, expected {VERSION}")
    videos = {
        video_id: _video(video_id, entry["num_frames"], entry["height"], entry["width"], entry["tubes"])
        for video_id, entry in content["videos"].items()
    }
    return _truth(content, "categories", videos)


def _truth(content: dict[str, Any], labels: str, videos: dict[str, VideoTruth]) -> JhmdbTruth:
    train, test = (
        tuple(_names(names, f"{key!r}, split {number}") for number, names in enumerate(content[key], start=1))
        for key in ("train_videos", "test_videos")
    )
    return JhmdbTruth(_names(content[labels], repr(labels)), videos, train, test)


def _video(video_id: object, num_frames: object, height: object, width: object, tubes: Any) -> VideoTruth:  # noqa: ANN401
    _names([video_id], "the list of videos")
    return VideoTruth(
        _whole(num_frames, f"the number of frames of video {video_id!r}"),
        _whole(height, f"the height of video {video_id!r}"),
        _whole(width, f"the width of video {video_id!r}"),
        _tubes(tubes),
    )


def _names(names: object, what: str) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise JhmdbError(f"{what} is {reprlib.repr(names)}, expected a list of names")
    return tuple(names)


def _whole(value: object, what: str) -> int:
    if isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value) and value == int(value):
        return int(value)
    raise JhmdbError(f"{what} is {reprlib.repr(value)}, expected a whole number")


def _tubes(tubes: Mapping[Any, Sequence[npt.ArrayLike]]) -> dict[int, tuple[Boxes, ...]]:
    return {
        int(column): tuple(np.array(table, dtype=np.float64) for table in tables) for column, tables in tubes.items()
    }


def _rows(code: int, video: VideoTruth) -> list[Boxes]:
    """Each tube of a video as rows of the annotations' columns, with a number for the video's name."""
    size = np.array([video.width, video.height, video.width, video.height], dtype=np.float64)
    tubes = [(column, table) for column, tables in video.tubes.items() for table in tables]
    rows = []
    for person, (column, table) in enumerate(tubes):
        part = np.empty((len(table), len(ANNOTATION_COLUMNS)))
        part[:, 0] = code
        part[:, 1] = (table[:, 0] - 1) / FRAME_RATE
        part[:, 2:6] = table[:, 1:] / size
        part[:, 6:] = column + 1, person
        rows.append(part)
    return rows


def _check_video(video_id: str, video: VideoTruth, num_classes: int) -> None:
    if min(video.num_frames, video.height, video.width) < 1:
        raise JhmdbError(
            f"video {video_id!r} has {video.num_frames} frames of {video.width}x{video.height}, expected at least 1"
        )
    for column, tables in video.tubes.items():
        if not 0 <= column < num_classes:
            raise JhmdbError(f"video {video_id!r} has tubes of the class {column}, expected 0 to {num_classes - 1}")
        for number, table in enumerate(tables):
            _check_tube(f"video {video_id!r}, class {column}, tube {number}", video, table)


def _check_tube(where: str, video: VideoTruth, table: Boxes) -> None:
    if table.ndim != 2 or table.shape[1] != 5 or not len(table):
        raise JhmdbError(f"{where} has shape {table.shape}, expected (frames, 5)")
    frames, boxes = table[:, 0], table[:, 1:]
    (wrong,) = np.nonzero(frames != frames[0] + np.arange(len(frames)))
    if len(wrong):
        raise JhmdbError(f"{where}: frame {frames[wrong[0]]:g} follows {frames[wrong[0] - 1]:g}, expected no gaps")
    if frames[0] < 1 or frames[0] != np.floor(frames[0]) or frames[-1] > video.num_frames:
        raise JhmdbError(
            f"{where} has the frames {frames[0]:g} to {frames[-1]:g}, but the video those from 1 to {video.num_frames}"
        )
    touches = (boxes[:, 0] <= video.width) & (boxes[:, 1] <= video.height) & (boxes[:, 2:] >= 0).all(axis=1)
    is_sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1) & touches
    (wrong,) = np.nonzero(~is_sound)
    if len(wrong):
        raise JhmdbError(
            f"{where}, frame {frames[wrong[0]]:g}: the box is {boxes[wrong[0]].tolist()}, expected x1 <= x2 and "
            f"y1 <= y2 in a frame of {video.width}x{video.height}"
        )
