"""Folders of frames: which file is shown when, and what is wrong with a folder."""

import json
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from numbered_video import frame_times, numbered_picture, read_number, write_numbered
from PIL import Image

from acrn_zoo.data.clips import ClipFrames, ClipSampling, read_clips
from acrn_zoo.data.frames import FrameFolder, open_video
from acrn_zoo.data.video import VideoError, VideoReader

AVA_OFFSET = 900.0  # second of the film that AVA's folders begin with


def write_picture(path: Path, number: int, size: tuple[int, int] = (64, 96)) -> None:
    Image.fromarray(numbered_picture(number, size)).save(path)


def write_folder(folder: Path, names: Iterable[str]) -> Path:
    """Pictures that show 0, 1, 2, ... in the order of the names."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        write_picture(folder / name, number)
    return folder


def named(template: str, first: int, number: int) -> list[str]:
    return [template.format(index) for index in range(first, first + number)]


def numbers(clip: ClipFrames) -> list[int]:
    return [read_number(frame) for frame in clip.frames]


LAYOUTS = {
    "MMAction2": ("img_{:05d}.jpg", 1),
    "PySlowFast": ("-5KQ66BBWC4_{:06d}.jpg", 1),
    "J-HMDB": ("{:05d}.png", 1),
    "from 0": ("frame{:04d}.JPEG", 0),
    "no padding": ("{}.jpg", 1),
}


@pytest.mark.parametrize(("template", "first"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(template: str, first: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named(template, first, 12))
    with FrameFolder(folder, 25) as video:
        info = video.info
        assert (info.width, info.height, info.num_frames, info.frame_rate) == (96, 64, 12, 25.0)
        assert info.duration == pytest.approx(12 / 25)
        assert info.codec == ("png" if template.endswith("png") else "mjpeg")
        frames = list(video.frames())
        assert [read_number(frame.rgb()) for frame in frames] == list(range(12))
        assert [frame.time for frame in frames] == [number / 25 for number in range(12)]
        assert {frame.duration for frame in frames} == {1 / 25}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named("img_{:05d}.jpg", 1, 3))
    for name in (".DS_Store", "._img_00001.jpg", "list.txt", "poster.jpg", "img_00009.txt", "img_00009.jpg.part"):
        (folder / name).touch()
    for name in ("flow_x_00001.jpg", "flow_y_00001.jpg", "flow_x_00002.jpg", "flow_y_00002.jpg"):
        (folder / name).touch()
    assert FrameFolder(folder, 30).info.num_frames == 3


@pytest.mark.parametrize("start", [-5.0, 0.0, 0.03, 0.1, 1 / 3, 0.34, 0.7, 0.89, 0.9, 0.95, 7.0])
def test_start_is_that_of_a_file(start: float, tmp_path: Path) -> None:
    """Frames and times of a folder are those of a video of constant rate, wherever one begins."""
    path = write_numbered(tmp_path / "film.mp4", frame_times(10, 10), rate=10)
    folder = FrameFolder(write_folder(tmp_path / "film", named("{:02d}.png", 0, 10)), 10)
    with VideoReader(path) as video:
        expected = [(read_number(frame.rgb()), pytest.approx(frame.time)) for frame in video.frames(start)]
    assert [(read_number(frame.rgb()), frame.time) for frame in folder.frames(start)] == expected


def test_every_frame_can_be_begun_with(tmp_path: Path) -> None:
    """30000/1001 and times that are no binary fractions: no frame is lost to rounding."""
    folder = write_folder(tmp_path / "film", named("{:03d}.png", 1, 200))
    for rate in (30000 / 1001, 30, 24.0, 15.3):
        video = FrameFolder(folder, rate)
        for index in range(200):
            frame = next(video.frames(index / rate))
            assert frame.time == index / rate
            assert video.seek_point(index / rate) == frame.time
            assert next(video.frames(math.nextafter(index / rate, -1))).time == max(0, index - 1) / rate


def test_pictures_are_upright(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    picture = numbered_picture(1234)
    for number, (orientation, stored) in enumerate([(6, np.rot90(picture)), (3, picture[::-1, ::-1]), (1, picture)]):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(folder / f"{number}.png", exif=exif)
    video = FrameFolder(folder, 30)
    assert (video.info.height, video.info.width) == picture.shape[:2]
    for frame in video.frames():
        assert (frame.rgb().numpy() == picture).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_pictures_become_rgb(mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    Image.fromarray(numbered_picture(77)).convert(mode).save(folder / "1.png")
    assert read_number(next(FrameFolder(folder, 30).frames()).rgb()) == 77


def golden_numbers(shared: Path, second: int, rule: str) -> list[int]:
    goldens = json.loads((shared / "reference/acrn/goldens/frames.json").read_text())
    return goldens[str(second)][rule]


def ava_folder(folder: Path, template: str, real: set[int]) -> Path:
    """A cut of 900 s at 30 frames a second; only the files with the numbers in ``real`` hold a picture."""
    folder.mkdir()
    for number in range(1, 27001):
        os.close(os.open(folder / template.format(number), os.O_CREAT | os.O_WRONLY))
    for number in real | {1}:
        write_picture(folder / template.format(number), number)
    return folder


SECONDS = (902, 1000, 1797, 1798)
TRAINING_TIME, HEAD = "mmaction2_0x_and_training_time", "mmaction2_head_1x"


@pytest.mark.parametrize(
    ("template", "rule", "offset"),
    [
        ("img_{:05d}.jpg", TRAINING_TIME, AVA_OFFSET),
        ("1j20qq1JyX4_{:06d}.jpg", TRAINING_TIME, AVA_OFFSET),
        ("img_{:05d}.jpg", HEAD, AVA_OFFSET - 1 / 30),
    ],
    ids=["MMAction2", "PySlowFast", "MMAction2 since June 2023"],
)
def test_file_numbers_of_ava_clips(template: str, rule: str, offset: float, shared: Path, tmp_path: Path) -> None:
    """The pictures show the numbers of their files: those that the published models were trained with.

    PySlowFast numbers its list of frames from 0 and takes entry 30 (t - 900) and those 32 before to 30 after it,
    which are the same files.
    """
    wanted = {second: golden_numbers(shared, second, rule) for second in SECONDS}
    if rule == TRAINING_TIME:
        assert wanted[1000] == list(range(30 * 100 + 1 - 32, 30 * 100 + 1 + 31, 2))
    folder = ava_folder(tmp_path / "film", template, {number for row in wanted.values() for number in row})
    with FrameFolder(folder, 30) as video:
        clips = read_clips(video, [second - offset for second in SECONDS], ClipSampling(), lambda picture: picture)
        assert [numbers(clip) for clip in clips] == list(wanted.values())


def test_clips_of_a_folder_are_those_of_the_file(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "film.mp4", frame_times(600, 24), rate=24)
    folder = write_folder(tmp_path / "film", named("{:04d}.png", 1, 600))
    found = []
    for opened in (VideoReader(path), open_video(folder, 24)):
        with opened as video:
            clips = read_clips(video, [0.0, 0.5, 4.01, 20.0, 24.9], ClipSampling(8, 0.1), lambda picture: picture)
            found.append([(clip.timestamp, read_number(clip.keyframe), numbers(clip)) for clip in clips])
    assert found[0] == found[1]
    assert [read for _, read, _ in found[0]] == [0, 12, 96, 480, 598]


def test_skipped_pictures_are_not_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named("{:04d}.png", 0, 30))
    for number in range(1, 28):
        (folder / f"{number:04d}.png").write_bytes(b"")
    (clip,) = read_clips(FrameFolder(folder, 1), [29.0], ClipSampling(2, 1.0), lambda picture: picture)
    assert numbers(clip) == [28, 29]


def test_clips_before_a_damaged_picture_come_first(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named("{:02d}.png", 1, 40))
    (folder / "31.png").write_bytes(b"")
    clips = read_clips(FrameFolder(folder, 10), [1.0, 2.0, 3.0], ClipSampling(4, 0.1), lambda picture: picture)
    assert [read_number(next(clips).keyframe) for _ in range(2)] == [10, 20]
    with pytest.raises(VideoError, match=r"31\.png: this frame cannot be read"):
        next(clips)


def lose(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def add(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            write_picture(folder / name, 0)

    return change


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def cut(folder: Path) -> None:
    path = folder / "img_00001.jpg"
    path.write_bytes(path.read_bytes()[:-100])


def spoil(folder: Path) -> None:
    (folder / "img_00001.jpg").write_text("<html>404</html>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose("img_00004.jpg", "img_00007.jpg"), r"img_00004\.jpg is missing \(2 in all up to img_00012\.jpg\)"),
        (lose("img_00001.jpg"), r"the first frame is img_00002\.jpg.*numbered from 0 or 1"),
        (add("img_1.jpg"), "some numbers are padded with zeros"),
        (add("thumb_00001.jpg"), r"several sets of numbered pictures \(img_00001\.jpg, thumb_00001\.jpg\)"),
        (add("img_00013.png"), "several sets of numbered pictures"),
        (empty, "holds no numbered pictures"),
        (cut, r"img_00001\.jpg: this frame cannot be read \(image file is truncated"),
        (spoil, r"img_00001\.jpg: this frame cannot be read \(neither JPEG nor PNG\)"),
    ],
)
def test_what_is_wrong_with_a_folder(change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named("img_{:05d}.jpg", 1, 12))
    change(folder)
    with pytest.raises(VideoError, match=message) as raised:
        FrameFolder(folder, 30)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize(
    ("number", "message"),
    [(5, r"5\.png: the picture is 48x32, the first of the folder 96x64"), (6, r"6\.png: this frame cannot be read")],
)
def test_what_is_wrong_with_a_later_picture(number: int, message: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named("{}.png", 1, 8))
    video = FrameFolder(folder, 30)
    write_picture(folder / "5.png", 4, size=(32, 48))
    (folder / "6.png").unlink()
    frames = list(video.frames())
    with pytest.raises(VideoError, match=message):
        frames[number - 1].rgb()


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(folder / "1.png")
    with pytest.raises(VideoError, match=r"1\.png: .*8 bits each"):
        FrameFolder(folder, 30)


def test_a_folder_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "film", named("{}.png", 1, 3))
    assert FrameFolder(folder, 30).info.num_frames == 3
    write_picture(folder / "4.png", 3)
    os.utime(folder, (1e9, 1e9))
    assert FrameFolder(folder, 30).info.num_frames == 4


def test_closed(tmp_path: Path) -> None:
    video = FrameFolder(write_folder(tmp_path / "film", named("{}.png", 1, 3)), 30)
    frames = video.frames()
    next(frames)
    video.close()
    with pytest.raises(ValueError, match="closed"):
        next(frames)


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_frame_rate_is_checked(rate: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame_rate"):
        FrameFolder(tmp_path, rate)


@pytest.mark.parametrize("start", [math.nan, math.inf])
def test_start_is_checked(start: float, tmp_path: Path) -> None:
    video = FrameFolder(write_folder(tmp_path / "film", named("{}.png", 1, 3)), 30)
    with pytest.raises(ValueError, match="start"):
        next(video.frames(start))


def test_open_video(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "film.mp4", frame_times(5))
    folder = write_folder(tmp_path / "film", named("{}.png", 1, 3))
    with open_video(path, frame_rate=10) as video:
        assert isinstance(video, VideoReader)
        assert video.info.frame_rate == 30  # its own
    with open_video(folder, frame_rate=10) as video:
        assert isinstance(video, FrameFolder)
        assert video.info.frame_rate == 10
    with pytest.raises(VideoError, match="Give frame_rate"):
        open_video(folder)
    with pytest.raises(VideoError, match="there is no such file"):
        open_video(tmp_path / "nothing")
    with pytest.raises(VideoError, match=r"film\.mp4: the folder cannot be read"):
        FrameFolder(path, 30)
