"""CVAT's XML, as it exports it."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from acrn_zoo.data.importers.cvat import read_cvat
from acrn_zoo.data.importers.marks import ImportFileError, Marks

Contents = Callable[[Marks], pd.DataFrame]

META = """<meta><task>
 <id>12</id><name>monday</name><size>100</size><mode>interpolation</mode><overlap>5</overlap>
 <start_frame>10</start_frame><stop_frame>90</stop_frame><frame_filter>step=2</frame_filter>
 <labels><label><name>person</name><attributes><attribute><name>action</name><input_type>select</input_type>
 <values>walk\nsit</values></attribute></attributes></label></labels>
 <segments><segment><id>3</id><start>0</start><stop>99</stop><url>http://localhost/3</url></segment></segments>
 <owner><username>ann</username><email/></owner>
 <original_size><width>96</width><height>64</height></original_size><source>kitchen.mp4</source>
</task><dumped>2024-05-02 10:00:00+00:00</dumped></meta>"""


def box(frame: int, x: float = 10, attributes: str = "", **more: object) -> str:
    values = {"keyframe": 1, "outside": 0, "occluded": 0} | more
    flags = " ".join(f'{name}="{value}"' for name, value in values.items())
    return (
        f'<box frame="{frame}" {flags} xtl="{x:.2f}" ytl="8.00" xbr="{x + 20:.2f}" ybr="60.00" z_order="0">'
        f"{attributes}</box>\n"
    )


def attribute(name: str, value: str) -> str:
    return f'<attribute name="{name}">{value}</attribute>'


def document(body: str, meta: str = META) -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n{meta}\n{body}</annotations>'
    )


def read(tmp_path: Path, text: str) -> Marks:
    path = tmp_path / "annotations.xml"
    path.write_text(text, encoding="utf-8")
    marks = Marks()
    read_cvat(path, marks)
    return marks


def test_track_with_a_box_on_every_frame(tmp_path: Path, contents: Contents) -> None:
    """What is outside is not there, and gaps are not filled: CVAT has interpolated already."""
    boxes = box(10, 1) + box(12, 2, keyframe=0) + box(16, 3) + box(18, 3, outside=1) + box(20, 9)
    marks = read(tmp_path, document(f'<track id="4" label="walk" source="manual">\n{boxes}</track>'))
    table = contents(marks)
    assert table["frame"].tolist() == [10, 12, 16, 20]
    assert table[["x1", "y1", "x2", "y2"]].iloc[1].tolist() == [2, 8, 22, 60]
    assert set(table["person_id"]) == {4}
    assert set(table["label"]) == {"walk"}
    assert marks.is_dense
    (source,) = marks.sources
    assert source.names == ("kitchen.mp4", "monday", "annotations")
    assert source.size == (64, 96)
    assert source.frames == range(10, 91, 2)
    assert source.counts_from == 0


def test_track_of_key_frames_alone_is_interpolated(tmp_path: Path, contents: Contents) -> None:
    """Evenly to the next box, not at all towards the one that is outside."""
    boxes = box(10, 0) + box(14, 8) + box(17, 50, outside=1) + box(19, 7)
    table = contents(read(tmp_path, document(f'<track id="0" label="walk">{boxes}</track>')))
    assert table["frame"].tolist() == [10, 11, 12, 13, 14, 15, 16, 19]
    assert table["x1"].tolist() == [0, 2, 4, 6, 8, 8, 8, 7]


def test_attributes_change_on_the_way(tmp_path: Path, contents: Contents) -> None:
    boxes = box(10, 1, attribute("action", "walk")) + box(11, 1, attribute("action", "sit &amp; talk"))
    text = f'<track id="0" label="person">{attribute("sex", "female")}{boxes}</track>'
    table = contents(read(tmp_path, document(text)))
    assert table["attributes"].tolist() == [
        {"action": "walk", "sex": "female"},
        {"action": "sit & talk", "sex": "female"},
    ]


def test_project_of_several_tasks(tmp_path: Path, contents: Contents) -> None:
    one = META.replace("<meta>", "").replace("</meta>", "").replace("<dumped>2024-05-02 10:00:00+00:00</dumped>", "")
    other = one.replace("<id>12<", "<id>13<").replace("kitchen", "hall").replace("<width>96", "<width>80")
    meta = f"<meta><project><id>1</id><name>house</name><tasks>{one}{other}</tasks></project></meta>"
    tracks = "".join(f'<track id="0" label="walk" task_id="{task}">{box(10)}</track>' for task in (13, 12, 13))
    marks = read(tmp_path, document(tracks, meta))
    assert [(source.names[0], source.size) for source in marks.sources] == [
        ("hall.mp4", (64, 80)),
        ("kitchen.mp4", (64, 96)),
    ]
    assert contents(marks)["source"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("meta", "name", "expected_names", "frame", "counts_from"),
    [
        (META, "frame_000012", ("kitchen.mp4", "monday", "annotations"), 7, 0),
        ("<meta><task><name>x</name></task></meta>", "hall/000012.jpg", ("hall", "annotations"), 12, None),
        ("", "hall/hall_000012.PNG", ("hall", "hall", "annotations"), 12, None),
    ],
)
def test_images(
    tmp_path: Path,
    contents: Contents,
    meta: str,
    name: str,
    expected_names: tuple[str, ...],
    frame: int,
    counts_from: int | None,
) -> None:
    shape = '<box label="walk" occluded="0" source="manual" xtl="1" ytl="2" xbr="30.5" ybr="40" z_order="0"></box>'
    image = f'<image id="7" name="{name}" width="96" height="64">{shape}</image>'
    marks = read(tmp_path, document(image, meta))
    assert marks.sources[0].names == expected_names
    assert marks.sources[0].size == (64, 96)
    assert marks.sources[0].counts_from == counts_from
    table = contents(marks)
    assert table[["frame", "x1", "y1", "x2", "y2"]].values.tolist() == [[frame, 1, 2, 30.5, 40]]
    assert not marks.is_dense


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    polygon = '<polygon frame="10" keyframe="1" outside="0" points="1,2;3,4;5,6"></polygon>'
    body = f'<track id="0" label="walk">{polygon}{box(11, rotation="30.5")}{box(12, rotation="0.00")}</track>'
    marks = read(tmp_path, document(body))
    assert marks.left_out == {"shapes that are no boxes (polygon)": 1, "rotated boxes": 1}
    assert len(marks) == 1
    assert "annotations.xml, line" in marks.examples["rotated boxes"]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('xtl="10.00"', 'xtl="ten"', "xtl is 'ten', expected a number of pixels"),
        ('xtl="10.00"', 'xtl="nan"', "xtl is 'nan', expected a number of pixels"),
        ('xtl="10.00" ', "", "a box has no xtl"),
        ('frame="10"', 'frame="-1"', "frame is '-1', expected a whole number of 0"),
        ('frame="10"', 'frame="5000001"', "frame is '5000001', expected a whole number of 0"),
        ('frame="10"', 'frame="0000000000005000001"', "frame is '0000000000005000001', expected a whole number of 0"),
        ('frame="10"', 'frame="11"', "track 0 goes from frame 11 to 11"),
        ('frame="10"', 'frame="1" frame="2"', "not well-formed XML"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = document(f'<track id="0" label="walk">\n{box(10)}{box(11)}</track>').replace(old, new, 1)
    with pytest.raises(ImportFileError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    line = int(re.search(r"annotations\.xml, line (\d+):", str(caught.value))[1])  # type: ignore[index]
    assert line - line_of(text, "<box") in (0, 1)


def test_cut_off(tmp_path: Path) -> None:
    text = document(f'<track id="0" label="walk">{box(10)}</track>')
    with pytest.raises(ImportFileError, match=r"line \d+: not well-formed XML .*cut off"):
        read(tmp_path, text[: len(text) // 2])


def test_other_xml(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="the outermost element is <annotation>, expected <annotations>"):
        read(tmp_path, "<annotation><object/></annotation>")


def test_images_without_a_box_are_counted(tmp_path: Path) -> None:
    """Their numbers too: the first picture may be one with nobody."""
    empty = '<image id="{0}" name="hall/00000{0}.jpg" width="96" height="64">{1}</image>'
    tag = '<tag label="dark" source="manual"></tag>'
    body = "".join(empty.format(number, shape) for number, shape in enumerate(["", box(1), tag, box(3), ""]))
    marks = read(tmp_path, document(body, ""))
    assert marks.left_out == {"pictures without a box": 2, "shapes that are no boxes (tag)": 1}
    assert marks.examples["pictures without a box"].endswith("annotations.xml, image hall/000000.jpg")
    assert [source.lowest for source in marks.sources] == [0]


def test_videos_without_a_box_are_no_sources(tmp_path: Path) -> None:
    empty = '<image id="0" name="hall/000000.jpg" width="96" height="64"></image>'
    assert read(tmp_path, document(empty, "")).sources == []


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("", "track 0, which goes to frame 4999999, 4999988 boxes .* at most 2000000 are"),
        (META, "track 0 goes to frame 4999999, but the head of the file says that frame 90 is the last of its task"),
    ],
)
def test_wrong_frame_number_does_not_fill_the_memory(tmp_path: Path, meta: str, message: str) -> None:
    text = document(f'<track id="0" label="walk">{box(10)}{box(4_999_999)}</track>', meta)
    with pytest.raises(ImportFileError, match=r"annotations.xml, line \d+: .*" + message):
        read(tmp_path, text)


def test_boxes_that_are_filled_in_are_counted_over_all_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acrn_zoo.data.importers.cvat._MOST_FILLED", 40)
    track = '<track id="{}" label="walk">' + box(0) + box(21) + box(23, outside=1) + box(90) + "</track>"
    assert len(read(tmp_path, document(track.format(0)))) == 24
    with pytest.raises(ImportFileError, match="with track 1, which goes to frame 90, 42 boxes"):
        read(tmp_path, document(track.format(0) + track.format(1)))


def test_box_after_the_last_frame_may_be_outside(tmp_path: Path) -> None:
    boxes = box(88) + box(92, outside=1)
    assert len(read(tmp_path, document(f'<track id="0" label="walk">{boxes}</track>'))) == 4


def test_image_without_a_number(tmp_path: Path) -> None:
    image = f'<image id="0" name="portrait.jpg" width="9" height="9">{box(0)}</image>'
    with pytest.raises(ImportFileError, match=r"image 'portrait\.jpg' has no frame number"):
        read(tmp_path, document(image, ""))


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE annotations [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotations SYSTEM "http://localhost/evil.dtd">',
    ],
)
def test_entities_are_refused(tmp_path: Path, doctype: str) -> None:
    text = document(f'<track id="0" label="&b;">{box(10)}</track>').replace("<annotations>", doctype + "<annotations>")
    with pytest.raises(ImportFileError, match="declares a DTD or entities"):
        read(tmp_path, text)


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="nowhere.xml cannot be read"):
        read_cvat(tmp_path / "nowhere.xml", Marks())


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """Of 9 MB of XML a few MB are kept: the boxes."""
    import tracemalloc

    path = tmp_path / "large.xml"
    padding = attribute("note", "x" * 400)
    boxes = "".join(box(frame, 10, padding, keyframe=0) for frame in range(400))
    with path.open("w") as file:
        file.write(document("", META).removesuffix("</annotations>"))
        for number in range(40):
            file.write(f'<track id="{number}" label="walk">{boxes}</track>')
        file.write("</annotations>")
    assert path.stat().st_size > 8e6
    marks = Marks()
    tracemalloc.start()
    read_cvat(path, marks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(marks) == 16000
    assert peak < 4e6
