"""Annotations as arrays: who does what at every keyframe."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from acrn_zoo.data.annotations import annotations_from_table, read_annotations
from acrn_zoo.data.folder import DatasetError
from acrn_zoo.tables import TableError
from acrn_zoo.tables import read_annotations as read_table


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


ROWS = """\
film,0903,0.5,0.1,0.9,0.8,12,1
film,0902,0.1,0.2,0.3,0.4,74,0
other,0902,0.1,0.2,0.3,0.4,1,0
film,0902,0.5,0.2,0.7,0.4,80,1
film,902.0000001,0.1,0.2,0.3,0.4,12,0
film,0902,0.10,0.2,0.3,0.4,74,5
empty,0910
film,0902.5,0.1,0.2,0.3,0.4,12,0
"""


def test_rows_of_one_box_are_one_actor(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, ROWS))
    keyframes = [found.keyframes[index] for index in range(len(found))]
    assert keyframes == [("film", 902), ("film", 902.5), ("film", 903), ("other", 902), ("empty", 910)]
    assert found.boxes(0).tolist() == [[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.7, 0.4]]
    labels = found.labels(0)
    assert (labels.shape, labels.dtype) == ((2, 80), np.float32)
    assert [np.flatnonzero(row).tolist() for row in labels] == [[11, 73], [79]]
    assert labels.max() == 1
    assert [len(found.boxes(index)) for index in range(5)] == [2, 1, 1, 1, 0]
    assert np.flatnonzero(found.labels(2)).tolist() == [11]
    assert found.labels(4).shape == (0, 80)


def test_excluded_keyframes_are_left_out(tmp_path: Path) -> None:
    excluded = written(tmp_path, "film,902\nother,0902\nother,0999\nunknown,0902\n", "excluded.csv")
    found = read_annotations(written(tmp_path, ROWS), excluded)
    assert [found.keyframes[index] for index in range(len(found))] == [("film", 902.5), ("film", 903), ("empty", 910)]
    assert found.boxes(1).tolist() == [[0.5, 0.1, 0.9, 0.8]]
    assert found.keyframes.video_ids == ("film", "empty")


@pytest.mark.parametrize("text", ["", "film,0902\n"])
def test_without_people(tmp_path: Path, text: str) -> None:
    found = read_annotations(written(tmp_path, text), num_classes=3)
    assert len(found) == len(text.splitlines())
    assert found.actor_boxes.shape == (0, 4)
    assert [found.labels(index).shape for index in range(len(found))] == [(0, 3)] * len(found)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("film,1,0.1,0.1,0.2,0.2,4", r"line 4: column 7 \(action_id\): 4, expected one of the 3 classes"),
        ("film,1,0.1,0.1,0.2,0.2,0", r"line 4: column 7 \(action_id\): 0, expected"),
        ("film,1,0.3,0.1,0.2,0.2,1", "line 4: the box 0.3,0.1,0.2,0.2 is no part of a frame"),
        ("film,1,0.1,0.3,0.2,0.2,1", "line 4: the box"),
        ("film,1,12,40,100,200,1", "line 4: the box 12,40,100,200 .* expected x1,y1,x2,y2 as fractions"),
        ("film,1,0,0,100,200,1", "line 4: the box 0,0,100,200"),
        ("film,1,-0.2,0.3,0,0.5,1", "line 4: the box"),
        ("film,1,1,0.3,1.2,0.5,1", "line 4: the box"),
        ("film,1,0.1,0.1,0.2,0.2,one", "line 4, column 7"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path, f"film,1,0,0,1,1,3\n\nfilm,2\n{row}\nfilm,1,0.1,0.1,0.2,0.2,99\n")
    with pytest.raises((DatasetError, TableError), match=message) as caught:
        read_annotations(path, num_classes=3)
    assert str(path) in str(caught.value)


def test_boxes_may_stick_out_and_have_no_area(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, "film,1,-0.1,0.2,1.1,1.2,1\nfilm,1,0.5,0.2,0.5,0.3,1\n"))
    assert len(found.boxes(0)) == 2


def test_table_made_elsewhere() -> None:
    """As the reader of J-HMDB makes it: plain text, any index."""
    table = pd.DataFrame(
        {
            "video_id": ["b", "a", "b"],
            "timestamp": [0.1, 0.0, 0.1],
            **{name: [value] * 3 for name, value in zip(("x1", "y1", "x2", "y2"), (0.0, 0.0, 0.5, 0.5), strict=True)},
            "action_id": [2, 1, 1],
            "person_id": [0.0, 0.0, 0.0],
        },
        index=[7, 7, 7],
    )
    before = table.copy()
    found = annotations_from_table(table, num_classes=2)
    assert found.keyframes.video_ids == ("b", "a")
    assert found.labels(0).tolist() == [[1, 1]]
    pd.testing.assert_frame_equal(table, before)
    with pytest.raises(DatasetError, match="row 1 of the annotations"):
        annotations_from_table(table, num_classes=1)


@pytest.mark.parametrize("file", ["ava_val_v2.1.csv", "real_rows/gt_0902_1014.csv"])
def test_real_annotations(shared: Path, file: str) -> None:
    """Against the same thing in plain dictionaries, row by row, both ways."""
    path = shared / "data" / "ava" / file
    table = read_table(path)
    expected: dict[Any, dict[Any, set[int]]] = defaultdict(dict)
    for video_id, second, x1, y1, x2, y2, action, _ in table.itertuples(index=False):
        expected[video_id, second].setdefault((x1, y1, x2, y2), set()).add(action)

    found = read_annotations(path, num_classes=80)
    assert len(found) == len(expected)
    for index in range(len(found)):
        actors = expected[found.keyframes[index]]
        assert [tuple(box) for box in found.boxes(index).tolist()] == list(actors)
        assert [set(np.flatnonzero(row) + 1) for row in found.labels(index)] == list(actors.values())


def test_real_exclusions(shared: Path) -> None:
    """The sample files of MMAction2: 2 of 3 keyframes are excluded."""
    folder = shared / "data" / "ava" / "mmaction2_ava_dataset"
    found = read_annotations(folder / "ava_sample.csv", folder / "ava_excluded_timestamps_sample.csv")
    assert [found.keyframes[index] for index in range(len(found))] == [("0f39OWEqJ24", 902)]
    assert (np.flatnonzero(found.labels(0)) + 1).tolist() == [12, 17, 79]
    everything = shared / "data" / "ava" / "ava_val_v2.1.csv"
    excluded = shared / "data" / "ava" / "ava_val_excluded_timestamps_v2.2.csv"
    assert len(read_annotations(everything, excluded)) == len(read_annotations(everything)) == 50029
