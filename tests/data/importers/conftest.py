"""Small videos and annotation files, written as the tools write them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.importers.marks import Marks
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.tables import BOX_COLUMNS, read_annotations

Rows = list[tuple[str, float, tuple[float, ...], str, float]]


def write_video(path: Path, times: Sequence[float], size: tuple[int, int] = (64, 96)) -> Path:
    """A video whose frames are shown at ``times``."""
    with VideoWriter(path, size, 25) as writer:
        for number, time in enumerate(times):
            writer.write(np.full((*size, 3), number % 256, np.uint8), time)
    return path


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder of two videos of 4 seconds, 96x64: one of 25 frames a second, one of a varying rate."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "kitchen.mp4", [number / 25 for number in range(100)])
    # ten frames a second for two seconds, then twenty-five
    write_video(folder / "hall.mp4", [n / 10 for n in range(20)] + [2 + n / 25 for n in range(50)])
    return folder


@pytest.fixture
def rows() -> Callable[[Path, str], Rows]:
    """Reads a dataset folder back: video, timestamp, box, class and person of every row, boxes in 96ths and 64ths."""

    def read(root: Path, split: str = "train") -> Rows:
        folder = read_dataset_folder(root)
        table = read_annotations(folder.split(split).annotations)
        boxes = table[list(BOX_COLUMNS)].to_numpy() * [96, 64, 96, 64]
        names = [folder.label_map.names.get(number, "") for number in table["action_id"]]
        return [
            (str(video), float(timestamp), tuple(np.round(box, 3).tolist()), name, float(person))
            for video, timestamp, box, name, person in zip(
                table["video_id"], table["timestamp"], boxes, names, table["person_id"], strict=True
            )
        ]

    return read


@pytest.fixture
def contents() -> Callable[[Marks], pd.DataFrame]:
    """The boxes of a reader, with label and attributes instead of the number of the state."""

    def read(marks: Marks) -> pd.DataFrame:
        table = marks.table()
        states = [marks.states[number] for number in table["state"]]
        return table.assign(
            label=pd.Series([state.label for state in states], dtype=object),
            attributes=pd.Series([dict(state.attributes) for state in states], dtype=object),
        )

    return read
