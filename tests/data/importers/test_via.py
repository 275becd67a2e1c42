"""The VGG Image Annotator: pictures of versions 1 and 2, videos of version 3."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from acrn_zoo.data.importers.marks import ImportFileError, Marks
from acrn_zoo.data.importers.via import read_via

Contents = Callable[[Marks], pd.DataFrame]
RECTANGLE = {"name": "rect", "x": 10, "y": 8, "width": 20, "height": 52}


def read(path: Path, given: object) -> Marks:
    path.write_text(given if isinstance(given, str) else json.dumps(given), encoding="utf-8")
    marks = Marks()
    read_via(path, marks)
    return marks


def pictures() -> dict[str, Any]:
    regions = [
        {"shape_attributes": RECTANGLE, "region_attributes": {"action": "walk", "person": "3"}},
        {"shape_attributes": {"name": "polygon", "all_points_x": [1]}, "region_attributes": {}},
        {"shape_attributes": RECTANGLE, "region_attributes": {"action": {"sit": True, "talk": True, "eat": False}}},
    ]
    return {
        "kitchen_000026.jpg8123": {
            "filename": "kitchen_000026.jpg",
            "size": 8123,
            "regions": regions,
            "file_attributes": {"caption": ""},
        },
        "hall/000001.jpg-1": {"filename": "hall/000001.jpg", "size": -1, "regions": [], "file_attributes": {}},
    }


@pytest.mark.parametrize("form", ["project", "annotations", "version 1"])
def test_pictures(tmp_path: Path, contents: Contents, form: str) -> None:
    given = pictures()
    if form == "version 1":
        for picture in given.values():
            picture["regions"] = {str(index): region for index, region in enumerate(picture["regions"])}
    if form == "project":
        given = {"_via_settings": {"ui": {}}, "_via_img_metadata": given, "_via_attributes": {"region": {}}}
    marks = read(tmp_path / "via.json", given)
    (source,) = marks.sources
    assert source.names == ("kitchen", "via")
    assert source.counts_from is None
    table = contents(marks)
    assert table[["frame", "x1", "y1", "x2", "y2"]].values.tolist() == [[26, 10, 8, 30, 60]] * 2
    assert [marks.states[number].attributes for number in table["state"]] == [
        (("action", "walk"),),
        (("action", "sit"), ("action", "talk")),
    ]
    assert table["person_id"].iloc[0] == 3
    assert math.isnan(table["person_id"].iloc[1])
    assert marks.left_out == {"shapes that are no boxes (polygon)": 1, "pictures without a box": 1}


@pytest.mark.parametrize("mark", ["", "#"])
def test_pictures_as_csv(tmp_path: Path, contents: Contents, mark: str) -> None:
    path = tmp_path / "via.csv"
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    with path.open("w", newline="") as file:
        file.write(mark + header + "\n")
        writer = csv.writer(file)
        writer.writerow(["kitchen_7.jpg", 1, "{}", 1, 0, json.dumps(RECTANGLE), json.dumps({"action": "walk"})])
        writer.writerow(["kitchen_9.jpg", 1, "{}", 0, 0, "{}", "{}"])
    marks = Marks()
    read_via(path, marks)
    table = contents(marks)
    assert table[["frame", "x1", "y1", "x2", "y2", "line"]].values.tolist() == [[7, 10, 8, 30, 60, 2]]
    assert table["attributes"].tolist() == [{"action": "walk"}]


@pytest.mark.parametrize("is_first", [True, False])
def test_pictures_without_a_box_tell_the_first_number(tmp_path: Path, is_first: bool) -> None:
    empty = {"kitchen_000000.jpg1": {"filename": "kitchen_000000.jpg", "regions": []}}
    marks = read(tmp_path / "via.json", empty | pictures() if is_first else pictures() | empty)
    assert [source.lowest for source in marks.sources] == [0]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("filename",), 5, "'kitchen_000026.jpg8123' has the filename 5"),
        (("regions",), 5, "'kitchen_000026.jpg8123' has .* the regions 5, expected a text and a list"),
        (("regions",), [5], "kitchen_000026.jpg, region 0 is 5, expected a JSON object"),
        (("regions", 0, "shape_attributes"), 5, "region 0, shape_attributes is 5, expected a JSON object"),
        (("regions", 0, "region_attributes"), [1], r"region 0, region_attributes is \[1\], expected a JSON object"),
        (("regions", 0, "shape_attributes"), RECTANGLE | {"x": 10**400}, "region 0: the box is"),
        (("filename",), "kitchen_1612345678901.jpg", "a picture has the number 1612345678901, expected a frame number"),
        (("filename",), f"kitchen_{'9' * 5000}.jpg", "a picture has the number 9+, expected a frame number"),
    ],
)
def test_errors_of_pictures(tmp_path: Path, where: tuple[Any, ...], value: object, message: str) -> None:
    given = pictures()
    *path, last = where
    target = given["kitchen_000026.jpg8123"]
    for key in path:
        target = target[key]
    target[last] = value
    with pytest.raises(ImportFileError, match="via.json: .*" + message):
        read(tmp_path / "via.json", given)


def project3() -> dict[str, Any]:
    """A project of VIA 3: two videos and a picture."""
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "config": {"file": {"loc_prefix": {"1": ""}}},
        "attribute": {
            "1": {"aname": "action", "anchor_id": "FILE1_Z1_XY1", "type": 2, "options": {"0": "walk", "1": "sit"}},
            "2": {"aname": "note", "anchor_id": "FILE1_Z1_XY1", "type": 1, "options": {}},
            "3": {"aname": "scene", "anchor_id": "FILE1_Z2_XY0", "type": 4, "options": {"0": "talk"}},
        },
        "file": {
            "1": {"fid": "1", "fname": "kitchen.mp4", "type": 4, "loc": 1, "src": ""},
            "2": {"fid": "2", "fname": "hall_000031.jpg", "type": 2, "loc": 1, "src": ""},
        },
        "metadata": {
            "1_a": {"vid": "1", "flg": 0, "z": [1.04], "xy": [2, 10, 8, 20, 52], "av": {"1": "0,1", "2": "tall, red"}},
            "1_b": {"vid": "1", "flg": 0, "z": [2.08], "xy": [2, 11, 8, 20, 52], "av": {"1": "1"}},
            "1_c": {"vid": "1", "flg": 0, "z": [2.08], "xy": [2, 50, 8, 20, 52], "av": {}},
            "2_d": {"vid": "2", "flg": 0, "z": [], "xy": [2, 12, 8, 20, 52], "av": {"1": "0"}},
        },
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
    }


def test_videos(tmp_path: Path, contents: Contents) -> None:
    marks = read(tmp_path / "via3.json", project3())
    assert [(source.names, source.counts_from) for source in marks.sources] == [
        (("kitchen.mp4", "via3"), 0),
        (("hall", "via3"), None),
    ]
    table = contents(marks)
    assert table["seconds"].fillna(-1).tolist() == [1.04, 2.08, 2.08, -1]
    assert table["frame"].fillna(-1).tolist() == [-1, -1, -1, 31]
    assert table["x1"].tolist() == [10, 11, 50, 12]
    assert [marks.states[number].attributes for number in table["state"]] == [
        (("action", "sit"), ("action", "walk"), ("note", "tall, red")),
        (("action", "sit"),),
        (),
        (("action", "walk"),),
    ]


def segment(start: float, end: float) -> dict[str, Any]:
    return {"vid": "1", "flg": 0, "z": [start, end], "xy": [], "av": {"3": "0"}}


@pytest.mark.parametrize(
    ("start", "end", "told", "left_out"),
    [
        (0.5, 1.5, [True, False, False], {}),
        (1.04, 1.5, [True, False, False], {}),
        (0.5, 2.5, [True, False, False], {"temporal segments with several people in them: whose action is it?": 1}),
        (3, 4, [False, False, False], {"temporal segments without a box in them": 1}),
    ],
)
def test_segment_is_about_the_person_who_is_alone(
    tmp_path: Path, contents: Contents, start: float, end: float, told: list[bool], left_out: dict[str, int]
) -> None:
    given = project3()
    del given["metadata"]["2_d"]
    given["metadata"] = {"1_s": segment(start, end)} | given["metadata"]
    marks = read(tmp_path / "via3.json", given)
    assert ["scene" in attributes for attributes in contents(marks)["attributes"]] == told
    assert marks.left_out == left_out


def test_regions_that_are_not_taken(tmp_path: Path) -> None:
    given = project3()
    given["metadata"]["1_a"]["xy"] = [4, 10, 8, 20, 52]
    given["metadata"]["1_b"]["z"] = [2, 3]
    given["metadata"]["1_c"]["xy"] = []
    assert read(tmp_path / "via3.json", given).left_out == {
        "shapes that are no boxes (VIA shape 4)": 1,
        "regions that last for a time": 1,
        "attributes of whole files": 1,
    }


def test_videos_as_csv(tmp_path: Path, contents: Contents) -> None:
    """The export of version 3: the attributes stand in a comment."""
    given = project3()
    path = tmp_path / "export.csv"
    with path.open("w", newline="") as file:
        file.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n")
        file.write('# SHAPE_ID = {"POINT":1,"RECTANGLE":2}\n')
        file.write(f"# ATTRIBUTE = {json.dumps(given['attribute'])}\n")
        file.write("# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n")
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        for key, row in given["metadata"].items():
            name = "kitchen.mp4" if row["vid"] == "1" else "hall_000031.jpg"
            cells = [json.dumps(value) for value in ([name], row["z"], row["xy"], row["av"])]
            writer.writerow([key, cells[0], 0, *cells[1:]])
    marks = Marks()
    read_via(path, marks)
    expected = contents(read(tmp_path / "via3.json", given)).drop(columns=["line"])
    pd.testing.assert_frame_equal(contents(marks).drop(columns=["line"]), expected)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("metadata", "1_a", "z"), ["soon"], "metadata 1_a: z is 'soon', expected seconds"),
        (("metadata", "1_a", "z"), [-1], "metadata 1_a: z is -1, expected seconds"),
        (("metadata", "1_a", "z"), None, "metadata 1_a has no lists z and xy"),
        (("metadata", "1_a", "xy"), [2, 1, 2, 3], "metadata 1_a: the box is"),
        (("metadata", "1_a", "xy"), [2, 1, 2, 3, None], "metadata 1_a: the box is"),
        (("metadata", "1_a", "vid"), "9", "metadata 1_a is of view '9', which the file does not have"),
        (("metadata", "1_a", "av"), {"7": "1"}, "metadata 1_a has a value of attribute '7', which the file does not"),
        (("metadata", "1_a", "z"), [10**400], "metadata 1_a: z is 10+, expected seconds"),
        (("metadata", "1_a", "av"), 5, "metadata 1_a, av is 5, expected a JSON object"),
        (("metadata",), [], r"metadata is \[\], expected a JSON object"),
        (("attribute",), [], r"attribute is \[\], expected a JSON object"),
        (("attribute", "1"), 5, "attribute 1 is 5, expected a JSON object"),
        (("attribute", "1", "options"), ["walk"], r"attribute 1, options is \['walk'\], expected a JSON object"),
        (("file",), 5, "file is 5, expected a JSON object"),
        (("file", "1"), "kitchen.mp4", "metadata 1_a: its file is 'kitchen.mp4', expected a JSON object"),
        (("file", "2", "fname"), "portrait.jpg", "'portrait.jpg' has no frame number"),
    ],
)
def test_errors_of_projects(tmp_path: Path, where: tuple[str, ...], value: object, message: str) -> None:
    given: Any = project3()
    *path, last = where
    target = given
    for key in path:
        target = target[key]
    target[last] = value
    with pytest.raises(ImportFileError, match="via3.json.*" + message):
        read(tmp_path / "via3.json", given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,region_attributes\n", "line 1: there is no column 'region_shape_attributes'"),
        (
            'filename,region_shape_attributes,region_attributes\na_1.jpg,"{""name"": ""rect""",{}\n',
            "line 2: .* is not JSON, which VIA writes into its cells",
        ),
        ("filename,region_shape_attributes,region_attributes\na_1.jpg,{}\n", "line 2: 2 columns, expected 3"),
        (
            'filename,region_shape_attributes,region_attributes\na_1.jpg,"{""name"":""rect"",""x"":1}",{}\n',
            "line 2: the box is",
        ),
        ("# Exported\n# CSV_HEADER = a\nx,y\n", "line 3: 2 columns, expected metadata_id,file_list"),
        ("# Exported\na,kitchen.mp4,0,[],[],{}\n", "line 2: 'kitchen.mp4' is not JSON"),
        ("# Exported\na,{},0,[],[],{}\n", "line 2: file_list is '{}', expected a list with one file name"),
        ('{"a": 1}', "'a' has no filename and regions"),
        ("{", "line 1: not valid JSON"),
        ("caf\xe9", "is not a CSV file"),
    ],
)
def test_errors_of_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "via.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ImportFileError, match=message):
        read_via(path, Marks())
