"""COCO-style JSON, in the variants that are about."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from acrn_zoo.data.importers.coco import read_coco
from acrn_zoo.data.importers.marks import ImportFileError, Marks

Contents = Callable[[Marks], pd.DataFrame]


def content() -> dict[str, Any]:
    """As the tracking community writes it."""
    return {
        "info": {"year": 2024},
        "videos": [{"id": 1, "name": "kitchen", "width": 96, "height": 64}, {"id": 2, "file_name": "hall.mp4"}],
        "images": [
            {"id": 10, "video_id": 1, "frame_id": 25, "file_name": "kitchen/000026.jpg", "width": 96, "height": 64},
            {"id": 11, "video_id": 2, "frame_id": 0, "file_name": "x.jpg", "width": 80, "height": 60},
            {"id": 12, "video_id": 2, "frame_id": 1, "file_name": "x.jpg", "width": 80, "height": 60},
        ],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 3, "bbox": [10, 8, 20.5, 52], "instance_id": 7, "area": 1066},
            {"id": 2, "image_id": 11, "category_id": 1, "bbox": [0, 0, 8, 6], "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": "sit"}, {"id": 3, "name": "walk", "supercategory": "person"}],
    }


def read(tmp_path: Path, given: object) -> Marks:
    path = tmp_path / "marks.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    marks = Marks()
    read_coco(path, marks)
    return marks


def test_videos_and_frames(tmp_path: Path, contents: Contents) -> None:
    marks = read(tmp_path, content())
    assert [(source.names, source.size, source.counts_from) for source in marks.sources] == [
        (("kitchen", "marks"), (64, 96), 0),
        (("hall.mp4", "marks"), (60, 80), 0),
    ]
    table = contents(marks)
    assert table[["source", "frame", "x1", "y1", "x2", "y2"]].values.tolist() == [
        [0, 25, 10, 8, 30.5, 60],
        [1, 0, 0, 0, 8, 6],
    ]
    assert table["label"].tolist() == ["walk", "sit"]
    assert table["person_id"].iloc[0] == 7
    assert math.isnan(table["person_id"].iloc[1])
    assert marks.left_out == {"pictures without a box": 1}
    assert [source.lowest for source in marks.sources] == [25, 0]


@pytest.mark.parametrize("field", ["frame_id", "frame_index", "frame"])
@pytest.mark.parametrize("video", ["video_id", "video"])
def test_names_of_the_fields(tmp_path: Path, contents: Contents, field: str, video: str) -> None:
    given = content()
    given["videos"] = []
    given["images"] = [{"id": 10, video: "kitchen", field: 3}, {"id": 11, video: "kitchen", field: 4}]
    marks = read(tmp_path, given)
    assert contents(marks)["frame"].tolist() == [3, 4]
    assert [source.names[0] for source in marks.sources] == ["kitchen"]
    assert marks.sources[0].size is None


@pytest.mark.parametrize(
    ("name", "names", "number"),
    [
        ("kitchen/000001.jpg", ("kitchen", "marks"), 1),
        ("data/kitchen/img_00012.jpg", ("kitchen", "marks"), 12),
        ("kitchen_000012.jpg", ("kitchen", "marks"), 12),
        ("frames\\kitchen_012.PNG", ("kitchen", "frames", "marks"), 12),
        ("frame_000000.PNG", ("marks",), 0),
    ],
)
def test_plain_coco(tmp_path: Path, contents: Contents, name: str, names: tuple[str, ...], number: int) -> None:
    """Video and frame in the name of the picture."""
    given = content()
    del given["videos"]
    given["images"] = [{"id": 10, "file_name": name, "width": 96, "height": 64}]
    given["annotations"] = given["annotations"][:1]
    marks = read(tmp_path, given)
    (source,) = marks.sources
    assert source.names == names
    assert source.counts_from is None
    assert source.lowest == number
    assert contents(marks)["frame"].tolist() == [number]


def test_attributes(tmp_path: Path, contents: Contents) -> None:
    given = content()
    given["annotations"][0]["attributes"] = {"occluded": False, "walk": True, "pose": ["up", "left"], "none": None}
    given["annotations"][1]["attributes"] = {"track_id": 5, "what": {"sit": True, "talk": False, "eat": True}, "n": 1}
    marks = read(tmp_path, given)
    first, second = (marks.states[number].attributes for number in marks.table()["state"])
    assert first == (("none", ""), ("occluded", "false"), ("pose", "left"), ("pose", "up"), ("walk", "true"))
    assert second == (("n", "1"), ("track_id", "5"), ("what", "eat"), ("what", "sit"))
    assert contents(marks)["person_id"].tolist() == [7, 5]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("annotations", 0, "bbox"), [1, 2, 3], r"annotations\[0\]: bbox is \[1, 2, 3\], expected the 4 numbers"),
        (("annotations", 0, "bbox"), [1, 2, 3, "4"], r"annotations\[0\]: bbox is"),
        (("annotations", 0, "bbox"), [1, 2, 3, math.nan], r"annotations\[0\]: bbox is"),
        (("annotations", 1, "image_id"), 99, r"annotations\[1\] is of image 99, which is not among the images"),
        (("annotations", 1, "category_id"), 2, r"annotations\[1\] has category 2, which is not among the categories"),
        (("annotations", 1, "bboxes"), [[1, 2, 3, 4], None], r"annotations\[1\] has bboxes, a list for a whole video"),
        (("annotations", 1), 5, r"annotations\[1\] has no image_id"),
        (("images", 0, "frame_id"), -1, r"images\[0\]: the frame is -1, expected a whole number"),
        (("images", 0, "frame_id"), 2.5, r"images\[0\]: the frame is 2.5, expected a whole number"),
        (("images", 0, "video_id"), 9, r"images\[0\] is of video 9, which is not among the videos"),
        (("images", 0, "video_id"), [1], r"images\[0\] is of video \[1\], expected a number or a name"),
        (("videos", 0, "id"), [1], r"videos\[0\]: id is \[1\], expected a number or a name"),
        (("videos",), 5, "videos is 5, expected a list"),
        (("annotations", 0, "bbox"), [1, 2, 3, 10**400], r"annotations\[0\]: bbox is"),
        (("images", 2, "id"), 10, r"images\[2\] has the id 10, which another image has"),
        (("images", 2, "width"), 81, r"images\[2\] \(x.jpg\) has the size 81x60, other pictures of its video 80x60"),
        (("images", 2), {"file_name": "a.jpg", "id": 4}, r"images\[2\] has no frame_id, and its file_name 'a.jpg'"),
        (("images",), None, "has no list 'images'"),
        (("categories", 0), {"name": "sit"}, r"categories\[0\] has no id"),
    ],
)
def test_errors_name_the_entry(tmp_path: Path, where: tuple[Any, ...], value: object, message: str) -> None:
    given: Any = content()
    *path, last = where
    target = given
    for key in path:
        target = target[key]
    target[last] = value
    with pytest.raises(ImportFileError, match="marks.json.*" + message):
        read(tmp_path, given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [\n  {"id": 1},\n  {"id":', "line 3: not valid JSON"),
        ("[1, 2]", "holds a JSON list, expected an object with images"),
        ("[" * 100_000, "is not JSON"),
        ("[" + "9" * 5000 + "]", "is not JSON"),
    ],
)
def test_other_json(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "marks.json"
    path.write_text(text)
    with pytest.raises(ImportFileError, match=message):
        read_coco(path, Marks())


def test_annotation_without_a_box_is_counted(tmp_path: Path) -> None:
    given = content()
    given["annotations"][1]["bbox"] = []
    assert read(tmp_path, given).left_out == {"annotations without a box": 1, "pictures without a box": 2}
