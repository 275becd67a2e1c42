"""``acrn-zoo data import`` from its arguments to its words."""

from pathlib import Path

import numpy as np
import pytest

from acrn_zoo.cli import main
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.video_writer import VideoWriter

XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id><name>shift</name><size>30</size><mode>interpolation</mode>
<original_size><width>96</width><height>64</height></original_size><source>{video}.mp4</source></task></meta>
<track id="0" label="person" source="manual">
{boxes}</track>
</annotations>
"""
BOX = (
    '<box frame="{frame}" keyframe="{is_key}" outside="0" occluded="0" xtl="{x}" ytl="8" xbr="{right}" ybr="60">'
    '<attribute name="action">{action}</attribute><attribute name="sex">female</attribute></box>\n'
)


def run(*arguments: object) -> int:
    return main(["data", "import", *map(str, arguments)])


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two films of three seconds and their annotations, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("films").mkdir()
    for number, name in enumerate(("kitchen", "hall")):
        with VideoWriter(f"films/{name}.mp4", (64, 96), 10) as writer:
            for frame in range(30):
                writer.write(np.full((64, 96, 3), frame, np.uint8), frame / 10)
        boxes = "".join(
            BOX.format(
                frame=frame,
                is_key=int(frame % 10 == 0),
                x=frame,
                right=frame + 80,
                action=("walk", "sit", "none")[(frame // 10 + number) % 3],
            )
            for frame in range(30)
        )
        Path(f"{name}.xml").write_text(XML.format(video=name, boxes=boxes))


def test_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("kitchen.xml", "hall.xml", "--videos", "films", "--split", "val=0.5", "--out", "house")
    assert run(*arguments, "--seed", 3) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "cvat annotations: 6 keyframes with 6 people in them",
        "",
        "split     videos  keyframes",
        "train          1          3  kitchen",
        "val            1          3  hall",
        "",
        "class  people",
        "sit         2",
        "walk        2",
        "",
        "keyframes: one every 1 s (--every)",
        "actions: from the attributes action (--actions-from)",
        "attributes that are no actions: sex",
        "2 people do nothing that is a class: they have no row",
        "2 keyframes in which nobody does: kept, as empty ones",
        "2 boxes were cut off at the border of the frame",
        "",
        "house is ready; look for mistakes in it with: acrn-zoo data check house",
    ]
    folder = read_dataset_folder("house")
    assert set(folder.splits) == {"train", "val"}
    assert folder.videos["hall"].path == Path("films/hall.mp4").absolute()
    assert run(*arguments) == 1
    assert "house is not empty" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 0


def test_every_option_reaches_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("classes.txt").write_text("sit\nfemale\nrun\n")
    status = run(
        *("kitchen.xml", "hall.xml", "--format", "cvat", "--videos", "films", "--copy", "--every", 0.5),
        *("--actions-from", "attribute:sex,action", "--classes", "classes.txt", "--val", "kitchen"),
        *("--name", "home", "--out", "house", "--frame-rate", 20),
    )
    assert status == 0
    output = capsys.readouterr().out
    assert "one every 0.5 s" in output
    assert "left out: 2 actions that are none of the classes (walk)" in output
    assert "note: frame numbers became seconds by 20 frames a second" in output
    folder = read_dataset_folder("house")
    assert folder.name == "home"
    assert folder.frame_rate is None  # the videos are files
    assert dict(folder.label_map.names) == {1: "sit", 2: "female", 3: "run"}
    assert folder.videos["hall"].path == Path("house/videos/hall.mp4")
    rows = [line.split(",")[:2] for line in folder.split("val").annotations.read_text().splitlines()]
    assert {name for name, _ in rows} == {"kitchen"}
    assert {float(moment) for _, moment in rows} == {0, 0.5, 1}


def test_pictures_without_videos(capsys: pytest.CaptureFixture[str]) -> None:
    Path("via.csv").write_text(
        "filename,region_shape_attributes,region_attributes\n"
        'hall_20.jpg,"{""name"":""rect"",""x"":10,""y"":10,""width"":80,""height"":20}","{""what"":""sit""}"\n'
        'hall_30.jpg,"{""name"":""circle"",""cx"":10,""cy"":10,""r"":80}","{}"\n'
    )
    options = ("--size", "100x50", "--frame-rate", 10, "--first-frame", 0)
    assert run("via.csv", "--out", "house", *options) == 0
    assert Path("house/train.csv").read_text() == "hall,0002,0.1,0.2,0.9,0.6,1\n"
    output = capsys.readouterr().out
    assert "keyframes: every annotated moment" in output
    assert "left out: 1 shapes that are no boxes (circle), the first: via.csv, line 3" in output


def test_warnings_are_loud(capsys: pytest.CaptureFixture[str]) -> None:
    rectangle = '"{""name"":""rect"",""x"":10,""y"":10,""width"":80,""height"":20}","{""what"":""sit""}"'
    rows = "".join(f"hall_{number}.jpg,{rectangle}\n" for number in (1, 2, 3))
    Path("via.csv").write_text("filename,region_shape_attributes,region_attributes\n" + rows)
    assert run("via.csv", "--out", "house", "--videos", "films") == 0
    output = capsys.readouterr().out
    assert "note: picture numbers were taken as the video's own frames (10 a second)" in output
    assert "\nWARNING: the annotated pictures of 'hall'" in output
    assert run("via.csv", "--out", "house", "--videos", "films", "--frame-rate", 1, "--overwrite") == 0
    assert "WARNING" not in capsys.readouterr().out


def test_offset(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text("hall,902,0,0,1,1,1,0\n")
    assert run("a.csv", "--out", "house", "--videos", "films", "--offset", 900) == 0
    assert read_dataset_folder("house").videos["hall"].offset == 900
    capsys.readouterr()
    assert run("a.csv", "--out", "other", "--videos", "films", "--offset", "auto") == 1
    assert "hall.mp4 is 3.0 s long: neither a 15-minute cut" in capsys.readouterr().err


def test_help_says_what_the_frame_rate_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    assert "extracted from video files at another rate" in " ".join(capsys.readouterr().out.split())


def test_many_classes_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text("".join(f"hall,1,0,0,1,1,{number},0\n" for number in range(1, 26)))
    assert run("a.csv", "--out", "house") == 0
    assert "... and 5 more classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.xml", "--out", "house"], "nowhere.xml cannot be read"),
        (["kitchen.xml", "--out", "house"], "Say where the videos are (--videos), or how many frames"),
        (["kitchen.xml", "--out", "kitchen.xml", "--videos", "films"], "is a file, expected the name of a new folder"),
        (["kitchen.xml", "--out", "films", "--videos", "films"], "films is not empty"),
        (["kitchen.xml", "--out", "house", "--videos", "films", "--classes", "no.pbtxt"], "no.pbtxt cannot be read"),
    ],
)
def test_one_clear_error(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("acrn-zoo: error:") == 1
    assert not Path("house").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "val=1.5"], "is not a share between 0 and 1, as in val=0.2"),
        (["--split", "val"], "is not a share between 0 and 1, as in val=0.2"),
        (["--split", "train=0.5"], "is not the name of a split other than train"),
        (["--split", "a/b=0.5"], "is not the name of a split other than train"),
        (["--split", "val=0.5", "--val", "hall"], "not allowed with"),
        (["--size", "100"], "'100' is not a size such as 1280x720"),
        (["--size", "0x5"], "'0x5' is not a size such as 1280x720"),
        (["--every", "-1"], "is not a number of seconds of at least 0"),
        (["--frame-rate", "0"], "is not a number of frames a second"),
        (["--format", "yolo"], "invalid choice: 'yolo'"),
        (["--first-frame", "2"], "invalid choice: 2"),
        (["--offset", "soon"], "is not auto or a number of seconds of at least 0"),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("kitchen.xml", "--out", "house", *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
