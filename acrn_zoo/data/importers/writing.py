"""The dataset folder that an import leaves behind."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.data.importers.keyframes import Labelled
from acrn_zoo.data.new_folder import new_folder
from acrn_zoo.tables import write_table


def write_folder(
    out: Path,
    name: str,
    labelled: Labelled,
    splits: Mapping[str, Sequence[str]],
    videos: Mapping[str, VideoEntry],
    frame_rate: float | None,
    copy: bool,
) -> None:
    """Write a dataset folder, whole or not at all.

    Args:
        out: the folder.
        name: of the dataset.
        labelled: annotations and classes.
        splits: name to video ids.
        videos: those that are at hand; the dataset does not name others.
        frame_rate: of folders of frames.
        copy: copy the videos into the folder instead of naming their paths.

    Raises:
        OutputError: if it cannot be written.
    """
    with new_folder(out) as root:
        entries = {}
        for video_id, video in videos.items():
            path = _copy(video.path, video_id, root) if copy else _kept(video.path, out, root)
            entries[video_id] = replace(video, path=path)
        for split, ids in splits.items():
            write_table(root / f"{split}.csv", labelled.table[labelled.table["video_id"].isin(ids)])
        write_dataset_folder(
            DatasetFolder(
                root=root,
                name=name,
                label_map=labelled.label_map,
                splits={split: Split(root / f"{split}.csv") for split in splits},
                videos=entries,
                frame_rate=frame_rate,
            )
        )


def _copy(path: Path, video_id: str, root: Path) -> Path:
    folder = root / "videos"
    folder.mkdir(exist_ok=True)
    target = folder / (video_id + ("" if path.is_dir() else path.suffix))
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copy2(path, target)
    return target


def _kept(path: Path, out: Path, root: Path) -> Path:
    """The path itself; of a video in the dataset folder the one that is relative to it."""
    path, out = path.absolute(), out.absolute()
    return root / path.relative_to(out) if path.is_relative_to(out) else path
