"""From annotation files to a dataset folder and back."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.importers import ImportFileError, ImportSummary, find_format, import_annotations, read_classes
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, OutputExistsError
from acrn_zoo.labels import LabelMap, read_label_map
from acrn_zoo.tables import read_annotations

Rows = list[tuple[str, float, tuple[float, ...], str, float]]
Read = Callable[..., Rows]
Corners = tuple[float, float, float, float]

HALL_TIMES = [n / 10 for n in range(20)] + [2 + n / 25 for n in range(50)]


def cvat(
    path: Path,
    tracks: Sequence[tuple[str, range, Callable[[int], Corners], Callable[[int], dict[str, str]]]],
    *,
    video: str = "kitchen.mp4",
    num_frames: int = 100,
    size: tuple[int, int] | None = (96, 64),
) -> Path:
    """A file as CVAT writes it: a box on every frame, and one outside at the end."""
    stated = (
        "" if size is None else f"<original_size><width>{size[0]}</width><height>{size[1]}</height></original_size>"
    )
    lines = [
        f"<annotations><version>1.1</version><meta><task><id>1</id><name>job</name><size>{num_frames}</size>"
        f"<mode>interpolation</mode><start_frame>0</start_frame><stop_frame>{num_frames - 1}</stop_frame>"
        f"<frame_filter></frame_filter>{stated}<source>{video}</source></task></meta>"
    ]
    for number, (label, frames, corners, attributes) in enumerate(tracks):
        lines.append(f'<track id="{number}" label="{label}" source="manual">')
        for frame in [*frames, frames.stop]:
            x1, y1, x2, y2 = corners(frame)
            entries = "".join(f'<attribute name="{k}">{v}</attribute>' for k, v in attributes(frame).items())
            lines.append(
                f'<box frame="{frame}" keyframe="{int(frame % 10 == 0)}" outside="{int(frame == frames.stop)}" '
                f'occluded="0" xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}" z_order="0">{entries}</box>'
            )
        lines.append("</track>")
    path.write_text("\n".join([*lines, "</annotations>"]))
    return path


def moving(frame: int) -> Corners:
    return (frame / 4, 8.0, frame / 4 + 20, 56.0)


def still(_: int) -> Corners:
    return (48.0, 16.0, 72.0, 64.0)


def nothing(_: int) -> dict[str, str]:
    return {}


def importing(*arguments: Any, **options: Any) -> ImportSummary:
    return import_annotations(*arguments, progress=False, **options)


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Both videos annotated, by labels."""
    return [
        cvat(tmp_path / "a.xml", [("walk", range(0, 60), moving, nothing), ("sit", range(40, 99), still, nothing)]),
        cvat(tmp_path / "b.xml", [("walk", range(5, 69), moving, nothing)], video="hall.mp4", num_frames=70),
    ]


def test_boxes_moments_and_classes_come_back(tmp_path: Path, videos: Path, two: list[Path], rows: Read) -> None:
    """Of each second the frame that the video shows then, in the varying rate too."""
    summary = importing(two, tmp_path / "house", videos=videos)
    assert rows(tmp_path / "house") == [
        # at 25 a second, then 10 and 25
        ("hall", 1, (2.5, 8, 22.5, 56), "walk", 0),
        ("hall", 2, (5, 8, 25, 56), "walk", 0),
        ("hall", 3, (11.25, 8, 31.25, 56), "walk", 0),
        ("kitchen", 0, (0, 8, 20, 56), "walk", 0),
        ("kitchen", 1, (6.25, 8, 26.25, 56), "walk", 0),
        ("kitchen", 2, (12.5, 8, 32.5, 56), "walk", 0),
        ("kitchen", 2, (48, 16, 72, 64), "sit", 1),
        ("kitchen", 3, (48, 16, 72, 64), "sit", 1),
    ]
    folder = read_dataset_folder(tmp_path / "house")
    assert folder.name == "house"
    assert folder.frame_rate is None
    assert dict(folder.label_map.names) == {1: "sit", 2: "walk"}
    assert folder.evaluated == (1, 2)
    assert {name: video.path for name, video in folder.videos.items()} == {
        "kitchen": videos / "kitchen.mp4",
        "hall": videos / "hall.mp4",
    }
    assert {video.offset for video in folder.videos.values()} == {0.0}
    assert read_label_map(tmp_path / "house" / "label_map.pbtxt") == folder.label_map
    assert summary.format == "cvat"
    assert summary.every == 1
    assert summary.keyframes == {"train": 7}
    assert summary.num_people == 8
    assert summary.classes == {"sit": 2, "walk": 6}
    assert summary.dropped == {}
    assert summary.num_clipped == summary.num_without_action == summary.num_empty_keyframes == 0
    assert any("no split was asked for" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (0.0, [n / 25 for n in range(60)]),
        (0.5, [0, 0.48, 1, 1.48, 2]),  # of the two at 0.48 and 0.52 the earlier
        (0.04, [n / 25 for n in range(60)]),
        (1.5, [0, 1.48]),
        (100.0, [0]),
    ],
)
def test_every(tmp_path: Path, videos: Path, rows: Read, every: float, expected: list[float]) -> None:
    file = cvat(tmp_path / "a.xml", [("walk", range(60), moving, nothing)])
    summary = importing([file], tmp_path / "out", videos=videos, every=every)
    moments = [row[1] for row in rows(tmp_path / "out")]
    assert moments == pytest.approx(expected, abs=1e-6)
    assert summary.every == every
    assert [row[2][0] for row in rows(tmp_path / "out")] == pytest.approx([moment * 25 / 4 for moment in moments])


def test_every_of_moments_that_are_annotated_here_and_there(tmp_path: Path, rows: Read) -> None:
    """Of each second the nearest, if it is nearer to it than to the next one; after the end of the last too."""
    moments = (0.7, 0.95, 2.9)
    (tmp_path / "a.csv").write_text("".join(f"film,{moment},0,0,1,1,1,0\n" for moment in moments))
    importing([tmp_path / "a.csv"], tmp_path / "out", every=1)
    assert [row[1] for row in rows(tmp_path / "out")] == [0.95, 2.9]


def test_frames_that_cvat_skipped(tmp_path: Path, videos: Path, rows: Read) -> None:
    """With every seventh frame annotated, the one nearest to the second is taken."""
    file = cvat(tmp_path / "a.xml", [("walk", range(0, 99, 7), moving, nothing)])
    file.write_text(file.read_text().replace("<frame_filter>", "<frame_filter>step=7"))
    importing([file], tmp_path / "out", videos=videos)
    assert [round(row[1] * 25) for row in rows(tmp_path / "out")] == [0, 28, 49, 77]


def test_actions_as_attributes(tmp_path: Path, videos: Path, rows: Read) -> None:
    """Several actions are several rows; a person without one has none; a keyframe of such people is an empty one."""

    def first(frame: int) -> dict[str, str]:
        return {"cut": str(frame < 30).lower(), "talk": str(frame > 20).lower(), "occluded": "true"}

    idle = {"cut": "false", "talk": "false", "occluded": "false"}
    file = cvat(
        tmp_path / "a.xml",
        [
            ("person", range(0, 60), moving, first),
            ("person", range(50, 99), still, lambda _: idle),
            ("car", range(0, 99), still, nothing),
        ],
    )
    summary = importing([file], tmp_path / "out", videos=videos)
    assert [row for row in rows(tmp_path / "out") if row[3]] == [
        ("kitchen", 0, (0, 8, 20, 56), "cut", 0),
        ("kitchen", 1, (6.25, 8, 26.25, 56), "cut", 0),
        ("kitchen", 1, (6.25, 8, 26.25, 56), "talk", 0),
        ("kitchen", 2, (12.5, 8, 32.5, 56), "talk", 0),
    ]
    assert (tmp_path / "out" / "train.csv").read_text().splitlines()[-1] == "kitchen,0003"
    assert summary.actions_from == "the attributes cut, talk"
    assert summary.ignored_attributes == ("occluded",)
    assert summary.num_people == 5
    assert summary.num_without_action == 2
    assert summary.num_empty_keyframes == 1
    assert summary.keyframes == {"train": 4}
    assert summary.classes == {"cut": 2, "talk": 2}
    assert summary.dropped == {"boxes that are no people (car)": 4}


def test_boxes_past_the_border(tmp_path: Path, videos: Path, rows: Read) -> None:
    def leaving(frame: int) -> Corners:
        return (60.0 + frame, -4.0, 90.0 + frame, 40.0)

    file = cvat(tmp_path / "a.xml", [("walk", range(99), leaving, nothing), ("sit", range(99), still, nothing)])
    summary = importing([file], tmp_path / "out", videos=videos)
    walking = [row for row in rows(tmp_path / "out") if row[3] == "walk"]
    assert walking == [
        ("kitchen", 0, (60, 0, 90, 40), "walk", 0),
        ("kitchen", 1, (85, 0, 96, 40), "walk", 0),
    ]
    assert summary.num_clipped == 2
    assert summary.dropped == {"boxes that are empty or outside the frame": 2}
    (example,) = summary.examples.values()
    assert example.startswith(f"{file}, line ")
    assert example.endswith("[110.0, -4.0, 140.0, 40.0]")
    line = int(example.split("line ")[1].split(":")[0])
    assert 'frame="50"' in file.read_text().splitlines()[line - 1]


def test_two_files_about_one_video(tmp_path: Path, videos: Path, rows: Read) -> None:
    """The tracks 0 of both are two people."""
    files = [cvat(tmp_path / f"{name}.xml", [("walk", range(20), moving, nothing)]) for name in "ab"]
    files[1].write_text(files[1].read_text().replace('xbr="20.00"', 'xbr="30.00"'))
    importing(files, tmp_path / "out", videos=videos)
    assert [(row[2], row[4]) for row in rows(tmp_path / "out")] == [((0, 8, 20, 56), 0), ((0, 8, 30, 56), 1)]


def test_rows_that_stand_there_twice(tmp_path: Path, videos: Path, rows: Read) -> None:
    text = "kitchen,1,0.1,0.2,0.5,0.9,1,3\n"
    (tmp_path / "a.csv").write_text(text * 3)
    summary = importing([tmp_path / "a.csv"], tmp_path / "out", videos=videos)
    assert len(rows(tmp_path / "out")) == 1
    assert summary.dropped == {"rows that stand there twice": 2}
    assert summary.examples == {"rows that stand there twice": "kitchen at 1 s"}


@pytest.mark.parametrize("zero", [True, False])
def test_folders_of_frames(tmp_path: Path, rows: Read, zero: bool) -> None:
    """The first picture is at second 0, whatever its number; annotations start later."""
    folder = tmp_path / "videos" / "kitchen"
    folder.mkdir(parents=True)
    first = 0 if zero else 1
    for number in range(first, first + 30):
        Image.new("RGB", (96, 64)).save(folder / f"img_{number:05d}.jpg")
    given = coco(["kitchen/img_00010.jpg", "kitchen/img_00021.jpg"])
    (tmp_path / "coco.json").write_text(json.dumps(given))
    summary = importing([tmp_path / "coco.json"], tmp_path / "out", videos=tmp_path / "videos", frame_rate=10)
    moments = [row[1] for row in rows(tmp_path / "out")]
    assert moments == [1.0, 2.1] if zero else [0.9, 2.0]
    assert read_dataset_folder(tmp_path / "out").frame_rate == 10
    assert summary.every == 0
    with pytest.raises(ImportFileError, match=r"kitchen is a folder of frames, .*--frame-rate"):
        importing([tmp_path / "coco.json"], tmp_path / "other", videos=tmp_path / "videos")
    importing([tmp_path / "coco.json"], tmp_path / "one", videos=folder, frame_rate=10)
    assert [row[1] for row in rows(tmp_path / "one")] == moments


def coco(names: Sequence[str], **image: object) -> dict[str, Any]:
    return {
        "images": [
            {"id": number, "file_name": name, "width": 96, "height": 64} | image for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [24, 16, 48, 32]}
            for number in range(len(names))
        ],
        "categories": [{"id": 1, "name": "walk"}],
    }


@pytest.mark.parametrize(
    ("names", "options", "frames"),
    [
        (["hall_1.jpg", "hall_26.jpg"], {}, [0, 25]),
        (["hall_0.jpg", "hall_25.jpg"], {}, [0, 25]),
        (["hall_5.jpg", "hall_25.jpg"], {}, [4, 24]),
        (["hall_5.jpg", "hall_25.jpg"], {"first_frame": 0}, [5, 25]),
    ],
)
def test_pictures_of_a_video_file(
    tmp_path: Path, videos: Path, rows: Read, names: list[str], options: dict[str, Any], frames: list[int]
) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(coco(names)))
    summary = importing([tmp_path / "coco.json"], tmp_path / "out", videos=videos, **options)
    assert [row[1] for row in rows(tmp_path / "out")] == pytest.approx([HALL_TIMES[frame] for frame in frames])
    assert {row[2] for row in rows(tmp_path / "out")} == {(24, 16, 72, 48)}
    assert np.isnan([row[4] for row in rows(tmp_path / "out")]).all()
    assert any("picture numbers count from" in note for note in summary.notes) == (not options)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["hall_0.jpg"], {"first_frame": 1}, "frame 0 of 'hall' is annotated, but the first frame has the number 1"),
        (
            ["hall_99.jpg"],
            {"frame_rate": 10},
            r"frame 98 \(counted from 0\) of 'hall' is at 9.800 s by 10 .*which is 4.000 s long",
        ),
    ],
)
def test_pictures_that_are_not_of_the_video(
    tmp_path: Path, videos: Path, names: list[str], options: dict[str, Any], message: str
) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(coco(names)))
    with pytest.raises(ImportFileError, match=message):
        importing([tmp_path / "coco.json"], tmp_path / "out", videos=videos, **options)


def test_what_the_annotations_say_of_the_size_counts(tmp_path: Path, rows: Read) -> None:
    file = cvat(tmp_path / "a.xml", [("walk", range(10), moving, nothing)])
    importing([file], tmp_path / "out", frame_rate=20, size=(640, 960))
    assert rows(tmp_path / "out")[0][2] == (0, 8, 20, 56)


def test_videos_that_are_not_at_hand(tmp_path: Path, rows: Read) -> None:
    file = cvat(tmp_path / "a.xml", [("walk", range(60), moving, nothing)], size=None)
    with pytest.raises(ImportFileError, match=r"gives frame numbers of 'kitchen', not times.*--frame-rate"):
        importing([file], tmp_path / "out")
    with pytest.raises(ImportFileError, match=r"how large the frames of 'kitchen' are.*--size"):
        importing([file], tmp_path / "out", frame_rate=20)
    assert not (tmp_path / "out").exists()
    summary = importing([file], tmp_path / "out", frame_rate=20, size=(64, 96))
    assert rows(tmp_path / "out") == [
        ("kitchen", 0, (0, 8, 20, 56), "walk", 0),
        ("kitchen", 1, (5, 8, 25, 56), "walk", 0),
        ("kitchen", 2, (10, 8, 30, 56), "walk", 0),
    ]
    assert read_dataset_folder(tmp_path / "out").videos == {}
    assert any("names no videos" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (("<width>96", "<width>128"), {}, r"a.xml was made on frames of 128x64, but .*kitchen.mp4 has 96x64"),
        (("kitchen.mp4", "cellar.mp4"), {}, r"about the video 'cellar.mp4' or 'job' or 'a', which is not in .*videos"),
        (("<annotations>", "<annotation>"), {}, "expected <annotations>"),
        ((), {"classes": LabelMap({1: "run"})}, "No person does anything: the label never names one of the classes"),
        ((), {"val": ["cellar"]}, "There is no video 'cellar' for val; there are kitchen"),
        ((), {"val": ["kitchen"]}, "1 videos are too few for these splits"),
        ((), {"format": "coco"}, "not valid JSON"),
    ],
)
def test_errors_leave_nothing_behind(
    tmp_path: Path, videos: Path, change: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    file = cvat(tmp_path / "a.xml", [("walk", range(60), moving, nothing)])
    if change:
        file.write_text(file.read_text().replace(change[0], change[1]))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        importing([file], tmp_path / "out", videos=videos, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_more_frames_than_the_video_has(tmp_path: Path, videos: Path) -> None:
    file = cvat(tmp_path / "a.xml", [("walk", range(120), moving, nothing)], num_frames=121)
    message = r"frame 119 \(counted from 0\) of 'kitchen' is annotated, but .*kitchen.mp4 has only 100 frames"
    with pytest.raises(ImportFileError, match=message):
        importing([file], tmp_path / "out", videos=videos)


@pytest.mark.parametrize("moment", ["4.5", "-1"])
def test_moment_outside_the_video(tmp_path: Path, videos: Path, moment: str) -> None:
    (tmp_path / "a.csv").write_text(f"kitchen,1,0,0,1,1,5,0\nkitchen,{moment},0,0,1,1,5,0\n")
    message = rf"of 'kitchen' is at {float(moment):.3f} s, outside .*kitchen.mp4, which is 4.000 s long"
    with pytest.raises(ImportFileError, match=message):
        importing([tmp_path / "a.csv"], tmp_path / "out", videos=videos)


@pytest.mark.parametrize(("offset", "shown"), [(900.0, 900), (2.5, 2.5)])
def test_annotations_in_the_time_of_a_film(tmp_path: Path, videos: Path, offset: float, shown: float) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"kitchen,{shown},0,0,1,1,5,0\nkitchen,{shown + 4},0,0,1,1,5,0\n")
    importing([file], tmp_path / "out", videos=videos, offset=offset)
    folder = read_dataset_folder(tmp_path / "out")
    assert folder.videos["kitchen"].offset == offset
    assert read_annotations(folder.split("train").annotations)["timestamp"].tolist() == [shown, shown + 4]
    importing([file], tmp_path / "copied", videos=videos, offset=offset, copy=True)
    assert read_dataset_folder(tmp_path / "copied").videos["kitchen"].offset == offset


@pytest.mark.parametrize(
    ("moment", "offset", "message"),
    [
        (900, 0.0, r"is at 900.000 s, outside .* is 4.000 s long. .* say which second .*: --offset SECONDS \(900 "),
        (899.9, 900.0, r"the first moment .* is at 899.900 s, .* begins with second 900 \(--offset\)"),
        (904.1, 900.0, r"the first moment .* is at 904.100 s, .* begins with second 900 \(--offset\)"),
        (1, "auto", r"kitchen.mp4 is 4.0 s long: neither a 15-minute cut .*: --offset SECONDS"),
    ],
)
def test_moments_outside_the_part_of_a_film(
    tmp_path: Path, videos: Path, moment: float, offset: float | Literal["auto"], message: str
) -> None:
    (tmp_path / "a.csv").write_text(f"kitchen,{moment},0,0,1,1,5,0\n")
    with pytest.raises(ImportFileError, match=message):
        importing([tmp_path / "a.csv"], tmp_path / "out", videos=videos, offset=offset)


def test_cuts_of_films_are_told_by_their_length(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name, end in (("cut", 901), ("film", 2000)):
        with VideoWriter(tmp_path / "videos" / f"{name}.mp4", (16, 16), 25) as writer:
            for time in (0, end):
                writer.write(np.zeros((16, 16, 3), np.uint8), time)
    (tmp_path / "a.csv").write_text("cut,0902,0,0,1,1,5,0\nfilm,0902,0,0,1,1,5,0\n")
    importing([tmp_path / "a.csv"], tmp_path / "out", videos=tmp_path / "videos", offset="auto")
    offsets = {name: video.offset for name, video in read_dataset_folder(tmp_path / "out").videos.items()}
    assert offsets == {"cut": 900, "film": 0}


@pytest.mark.parametrize("frame_rate", [None, 25])
def test_frames_of_a_part_of_a_film(tmp_path: Path, videos: Path, rows: Read, frame_rate: float | None) -> None:
    file = cvat(tmp_path / "a.xml", [("walk", range(60), moving, nothing)])
    importing([file], tmp_path / "out", videos=videos, offset=900, frame_rate=frame_rate)
    assert [row[:3] for row in rows(tmp_path / "out")] == [
        ("kitchen", 900, (0, 8, 20, 56)),
        ("kitchen", 901, (6.25, 8, 26.25, 56)),
        ("kitchen", 902, (12.5, 8, 32.5, 56)),
    ]


def test_offset_of_videos_that_are_not_at_hand(tmp_path: Path) -> None:
    """It would be lost: dataset.json has it beside the path."""
    with pytest.raises(ImportFileError, match=r"The offset of 'v00' is written beside its path, .*--videos"):
        importing([many(tmp_path, 1)], tmp_path / "out", offset=900)


def test_ava(tmp_path: Path, videos: Path) -> None:
    """Ids stay, and so does every number; keyframes with nobody stay."""
    text = (
        "hall,0001,0.102,0.2,0.513,0.9,80,3\nhall,0001,0.102,0.2,0.513,0.9,12,3\n"
        "kitchen,0002\nkitchen,2.5,0.25,0,1,1,12,0\n"
    )
    (tmp_path / "a.csv").write_text(text)
    summary = importing([tmp_path / "a.csv"], tmp_path / "out", videos=videos)
    assert (tmp_path / "out" / "train.csv").read_text() == text
    assert summary.actions_from == "the action ids"
    assert (summary.num_people, summary.num_without_action, summary.num_empty_keyframes) == (2, 0, 1)
    assert any("--classes" in note for note in summary.notes)
    labels = LabelMap({12: "stand", 79: "hum"})
    summary = importing([tmp_path / "a.csv"], tmp_path / "named", videos=videos, classes=labels)
    assert summary.classes == {"stand": 2, "hum": 0}
    assert summary.dropped == {"actions that are none of the classes (80)": 1}
    assert read_dataset_folder(tmp_path / "named").label_map == labels


def test_classes_that_are_given(tmp_path: Path, videos: Path, two: list[Path], rows: Read) -> None:
    summary = importing(two, tmp_path / "out", videos=videos, classes=LabelMap({3: "walk", 5: "jump"}))
    assert {row[3] for row in rows(tmp_path / "out")} == {"walk", ""}
    assert summary.classes == {"walk": 6, "jump": 0}
    assert summary.dropped == {"actions that are none of the classes (sit)": 2}
    assert summary.num_empty_keyframes == 1
    assert set(read_annotations(tmp_path / "out" / "train.csv")["action_id"]) == {3, 0}


def test_videos_are_copied(tmp_path: Path, videos: Path, two: list[Path]) -> None:
    importing(two, tmp_path / "out", videos=videos, copy=True)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["videos"]["hall"]["path"] == "videos/hall.mp4"
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    path = read_dataset_folder(tmp_path / "elsewhere").videos["hall"].path
    assert path.read_bytes() == (videos / "hall.mp4").read_bytes()


def many(tmp_path: Path, number: int) -> Path:
    rows = [f"v{video:02d},{second},0,0,1,1,1,0\n" for video in range(number) for second in range(3)]
    (tmp_path / "a.csv").write_text("".join(rows))
    return tmp_path / "a.csv"


def test_splits_are_by_video(tmp_path: Path) -> None:
    file = many(tmp_path, 10)
    shares = {"val": 0.2, "test": 0.31}
    summary = importing([file], tmp_path / "a", fractions=shares)
    again = importing([file], tmp_path / "b", fractions=shares)
    other = importing([file], tmp_path / "c", fractions=shares, seed=1)
    assert summary.splits == again.splits != other.splits
    assert {name: len(ids) for name, ids in summary.splits.items()} == {"train": 5, "val": 2, "test": 3}
    folder = read_dataset_folder(tmp_path / "a")
    found = {name: set(read_annotations(split.annotations)["video_id"]) for name, split in folder.splits.items()}
    assert found == {name: set(ids) for name, ids in summary.splits.items()}
    assert sum(map(len, found.values())) == 10


def test_named_videos_for_validation(tmp_path: Path) -> None:
    summary = importing([many(tmp_path, 4)], tmp_path / "a", val=["v02", "v00"])
    assert summary.splits == {"train": ("v01", "v03"), "val": ("v00", "v02")}
    assert summary.keyframes == {"train": 6, "val": 6}


@pytest.mark.parametrize(("number", "shares"), [(2, {"val": 0.2, "test": 0.2}), (3, {"val": 0.9})])
def test_too_few_videos_for_the_splits(tmp_path: Path, number: int, shares: dict[str, float]) -> None:
    with pytest.raises(ImportFileError, match=f"{number} videos are too few for these splits"):
        importing([many(tmp_path, number)], tmp_path / "a", fractions=shares)


def test_one_video_is_all_for_training(tmp_path: Path) -> None:
    summary = importing([many(tmp_path, 1)], tmp_path / "a", fractions={"val": 0.5})
    assert summary.splits == {"train": ("v00",)}
    assert any("one video alone" in note for note in summary.notes)


def test_overwriting(tmp_path: Path) -> None:
    """Only a dataset, and only when asked; what others put beside it stays."""
    file, out = many(tmp_path, 3), tmp_path / "out"
    importing([file], out, val=["v00"])
    (out / "proposals.csv").write_text("hours of work")
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(OutputExistsError, match="is not empty: choose another folder, or say --overwrite"):
        importing([file], out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    importing([file], out, overwrite=True)
    assert set(read_dataset_folder(out).splits) == {"train"}
    assert not (out / "val.csv").exists()
    assert (out / "proposals.csv").read_text() == "hours of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "out"]


def test_other_folders_are_never_overwritten(tmp_path: Path) -> None:
    file, out = many(tmp_path, 3), tmp_path / "out"
    out.mkdir()
    importing([file], out)  # an empty one may be used
    (out / "dataset.json").unlink()
    with pytest.raises(OutputExistsError, match="holds no dataset.json"):
        importing([file], out, overwrite=True)
    with pytest.raises(OutputError, match="is a file, expected the name of a new folder"):
        importing([file], file, overwrite=True)


def test_nothing_is_left_when_writing_fails(
    tmp_path: Path, videos: Path, two: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acrn_zoo.data.importers.writing.shutil.copy2", fail)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="Cannot write .*out: No space left on device"):
        importing(two, tmp_path / "out", videos=videos, copy=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    """Not those of runs that go on, nor those of another dataset."""
    file, dead = many(tmp_path, 1), 4_194_305  # one more than Linux gives
    names = [f".out.{dead}.part", f".out.{os.getppid()}.part", f".other.{dead}.part", ".out.mine.part"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.csv").write_text("half")
    importing([file], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.glob(".*")) == sorted(names[1:])


def test_videos_in_the_dataset_folder_are_relative(tmp_path: Path, videos: Path, two: list[Path]) -> None:
    importing(two, tmp_path / "out", videos=videos, copy=True)
    importing(two, tmp_path / "out", videos=tmp_path / "out" / "videos", overwrite=True)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["videos"]["hall"]["path"] == "videos/hall.mp4"
    assert read_dataset_folder(tmp_path / "out").videos["hall"].path.is_file()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<?xml version="1.0"?>\n<annotations>', "cvat"),
        ("\ufeff<annotations>", "cvat"),
        ('{"info": {}, "images": [', "coco"),
        ('{"_via_settings": {"ui": {', "via"),
        ('{"a.jpg12": {"filename": "a.jpg", "size": 12, "regions": [', "via"),
        ('{"project": {"pid": 1}, "config": {"file": {', "via"),
        ("filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes", "via"),
        ("#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes", "via"),
        ("# Exported using VGG Image Annotator\n", "via"),
        ("kitchen,0001,0,0,1,1,5,0\n", "ava"),
        ("video_id,timestamp,x1,y1,x2,y2,action_id\n", "ava"),
    ],
)
def test_format(tmp_path: Path, head: str, expected: str) -> None:
    (tmp_path / "file").write_text(head, encoding="utf-8")
    assert find_format(tmp_path / "file") == expected


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"PK\x03\x04", "is a ZIP archive, as CVAT exports it: unpack it"),
        (b'{"hello": 1}', "is of none of the formats cvat, via, coco, ava"),
        (b"hello", "is of none of the formats"),
        (b"", "is empty, expected annotations"),
        (b"\xef\xbb\xbf\r\n ", "is empty, expected annotations"),
    ],
)
def test_unknown_format(tmp_path: Path, head: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(head)
    with pytest.raises(ImportFileError, match=message):
        find_format(tmp_path / "file")


@pytest.mark.parametrize("format", ["cvat", "via", "coco", "ava"])
def test_empty_file_of_a_format_that_is_said(tmp_path: Path, format: str) -> None:
    (tmp_path / "a").write_text("\n")
    with pytest.raises(ImportFileError, match="a is empty, expected annotations"):
        importing([tmp_path / "a"], tmp_path / "out", format=format)


def test_formats_are_not_mixed(tmp_path: Path, two: list[Path]) -> None:
    with pytest.raises(ImportFileError, match=r"several formats: .*a.csv \(ava\), .*a.xml \(cvat\)"):
        importing([many(tmp_path, 1), two[0]], tmp_path / "out")


def test_files_without_a_box(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotations></annotations>")
    with pytest.raises(ImportFileError, match=r"a.xml: there is no box in it"):
        importing([tmp_path / "a.xml"], tmp_path / "out")


def test_two_files_named_alike(tmp_path: Path, videos: Path, two: list[Path]) -> None:
    shutil.copy(videos / "hall.mp4", videos / "hall.mkv")
    two[1].write_text(two[1].read_text().replace("hall.mp4", "hall"))
    with pytest.raises(ImportFileError, match=r"holds several videos 'hall': hall.mkv and hall.mp4"):
        importing(two, tmp_path / "out", videos=videos)


def test_two_videos_of_one_name(tmp_path: Path, videos: Path) -> None:
    for name in ("a", "b"):
        (videos / name).mkdir()
        shutil.copy(videos / "hall.mp4", videos / name / "hall.mp4")
    (videos / "hall.mp4").unlink()
    given = coco(["x_1.jpg", "x_2.jpg"])
    for number, name in enumerate("ab"):
        given["images"][number] |= {"video": f"{name}/hall.mp4", "frame_id": 0}
    (tmp_path / "coco.json").write_text(json.dumps(given))
    with pytest.raises(ImportFileError, match=r"Two videos have the name 'hall': .*a/hall.mp4 and .*b/hall.mp4"):
        importing([tmp_path / "coco.json"], tmp_path / "out", videos=videos)


def test_names_are_no_patterns(tmp_path: Path, videos: Path, two: list[Path], rows: Read) -> None:
    (videos / "kitchen.mp4").rename(videos / "k[1].mp4")
    two[0].write_text(two[0].read_text().replace("kitchen.mp4", "k[1]"))
    importing(two, tmp_path / "out", videos=videos)
    assert {row[0] for row in rows(tmp_path / "out")} == {"hall", "k[1]"}


def test_the_only_video_may_have_any_name(tmp_path: Path, videos: Path, two: list[Path], rows: Read) -> None:
    other = (videos / "kitchen.mp4").rename(tmp_path / "GX0100.mp4")
    importing(two[:1], tmp_path / "out", videos=other)
    assert {row[0] for row in rows(tmp_path / "out")} == {"GX0100"}
    with pytest.raises(ImportFileError, match="is one video, but the annotations are about several"):
        importing(two, tmp_path / "more", videos=other)
    with pytest.raises(ImportFileError, match="nowhere: there is no such folder or file of videos"):
        importing(two, tmp_path / "more", videos=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("walk, sit", {1: "walk", 2: "sit"}),
        ("names.txt", {1: "walk", 2: "sit, down"}),
        ("map.pbtxt", {4: "walk", 9: "sit"}),
    ],
)
def test_read_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: dict[int, str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("walk\n\nsit, down \n")
    Path("map.pbtxt").write_text('item { name: "walk" id: 4 }\nitem { name: "sit" id: 9 }\n')
    assert dict(read_classes(text).names) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("walk,sit,walk", "expected names, each once"), (" , ", "expected names"), ("nowhere.txt", "no such file")],
)
def test_classes_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ImportFileError, match=message):
        read_classes(text)
