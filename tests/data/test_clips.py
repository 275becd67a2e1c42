"""Which frame answers which wanted time, and that a stream is read once and held briefly."""

import gc
import itertools
import math
import os
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from numbered_video import frame_times, read_number, write_numbered
from torch import Tensor

from acrn_zoo.data.clips import ClipFrames, ClipSampling, read_clips
from acrn_zoo.data.video import Frame, VideoError, VideoReader

LONG_GOP = {"preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:keyint=250:scenecut=0"}


class StandIn(VideoReader):
    """A video of one-pixel frames at given times, whose red value counts them; it counts what is asked of it."""

    def __init__(self, times: list[float], last_duration: float, error: str = "") -> None:
        self.times = times
        self.last_duration = last_duration
        self.error = error
        self.starts: list[float] = []
        self.converted: list[int] = []
        self.num_decoded = 0
        self.num_asked = 0
        self.can_seek = True

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        self.starts.append(start)
        first = max((index for index, time in enumerate(self.times) if time <= start), default=0)
        for index in range(first, len(self.times)):
            self.num_decoded += 1
            yield Frame(self.times[index], self.last_duration, lambda index=index: self.convert(index))  # type: ignore[misc]
        if self.error:
            raise VideoError(self.error)

    def seek_point(self, start: float) -> float:
        self.num_asked += 1
        return start - start % 5 if self.can_seek else 0.0

    def convert(self, index: int) -> Tensor:
        self.converted.append(index)
        return torch.tensor([index % 256, index // 256, 0], dtype=torch.uint8).reshape(1, 1, 3)


def constant(num_frames: int, rate: Fraction | float, error: str = "") -> StandIn:
    return StandIn([float(index / rate) for index in range(num_frames)], float(1 / rate), error)


def same(picture: Tensor) -> Tensor:
    return picture


def indices(clip: ClipFrames) -> list[int]:
    return (clip.frames[:, 0, 0, 0].int() + 256 * clip.frames[:, 0, 0, 1].int()).tolist()


def test_default_times() -> None:
    times = ClipSampling().times(5.0)
    assert len(times) == 32
    assert times[16] == 5.0
    assert times == pytest.approx([5 + offset / 30 for offset in range(-32, 31, 2)])
    assert ClipSampling(length=1).times(3.0) == [3.0]


@pytest.mark.parametrize(("length", "interval"), [(0, 0.1), (-1, 0.1), (8, 0.0), (8, math.nan), (8, math.inf)])
def test_sampling_is_checked(length: int, interval: float) -> None:
    with pytest.raises(ValueError, match="expected positive"):
        ClipSampling(length, interval)


def test_published_rule_at_30_frames_a_second() -> None:
    """Frames 30t - 32, 30t - 30, ..., 30t + 30, clamped, are those that the published models saw."""
    video = constant(900, 30)
    clips = list(read_clips(video, map(float, itertools.count()), ClipSampling(), same))
    assert [clip.timestamp for clip in clips] == list(range(30))
    for second, clip in enumerate(clips):
        assert indices(clip) == [min(max(30 * second + offset, 0), 899) for offset in range(-32, 31, 2)]
        assert clip.keyframe[0, 0, 0] + 256 * int(clip.keyframe[0, 0, 1]) == 30 * second


def nearest(times: list[Fraction], wanted: Fraction) -> int:
    """The definition, in exact numbers: ties go to the earlier frame."""
    return min(range(len(times)), key=lambda index: (abs(times[index] - wanted), times[index]))


@pytest.mark.parametrize("rate", [Fraction(r) for r in (5, 10, 12, 15, 24, 25, 28, 50, 60)] + [Fraction(30000, 1001)])
@pytest.mark.parametrize("shift", [Fraction(0), Fraction(1, 50), Fraction(1, 3)])
def test_nearest_frame_with_exact_ties(rate: Fraction, shift: Fraction) -> None:
    times = [index / rate for index in range(int(8 * rate))]
    moments = [second + shift for second in range(1, 7)]
    for interval in (Fraction(2, 30), Fraction(1, 50)):
        sampling = ClipSampling(16, float(interval))
        clips = list(read_clips(constant(len(times), rate), map(float, moments), sampling, same))
        for moment, clip in zip(moments, clips, strict=True):
            wanted = [moment + (index - 8) * interval for index in range(16)]
            assert indices(clip) == [nearest(times, time) for time in wanted]


def test_variable_rate() -> None:
    video = StandIn([0.0, 0.1, 0.2, 1.0, 1.1, 4.0], last_duration=0.5)
    (clip,) = read_clips(video, [1.0], ClipSampling(8, 0.3), same)
    # wanted: -0.2, 0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 1.9
    assert indices(clip) == [0, 1, 2, 3, 3, 4, 4, 4]


@pytest.mark.parametrize(
    ("timestamps", "found"),
    [
        ([], []),
        ([0.0], [0.0]),
        ([1.95], [1.95]),
        ([2.0, 3.0, 100.0], []),
        ([0.5, 1.5, 2.5], [0.5, 1.5]),
        ([0.0, 0.01, 0.02], [0.0, 0.01, 0.02]),
    ],
)
def test_timestamps_that_exist(timestamps: list[float], found: list[float]) -> None:
    video = constant(20, 10)
    assert [clip.timestamp for clip in read_clips(video, timestamps, ClipSampling(4, 0.1), same)] == found


def test_video_of_one_frame() -> None:
    (clip,) = read_clips(constant(1, 25), map(float, itertools.count()), ClipSampling(), same)
    assert indices(clip) == [0] * 32


@pytest.mark.parametrize("bad", [[-0.1], [math.nan], [math.inf], [1.0, 0.5], [1.0, 1.0]])
def test_bad_timestamps(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        list(read_clips(constant(60, 30), bad, ClipSampling(), same))


def test_each_frame_is_decoded_converted_and_resized_once() -> None:
    resized: list[int] = []

    def resize(picture: Tensor) -> Tensor:
        resized.append(int(picture[0, 0, 0]) + 256 * int(picture[0, 0, 1]))
        return picture.clone()

    video = constant(300, 30)
    timestamps = [number * 0.1 for number in range(90)]
    clips = list(read_clips(video, timestamps, ClipSampling(), resize))
    assert len(clips) == 90
    assert video.num_decoded in (299, 300)  # the last clip may be complete before the end
    assert len(resized) == len(set(resized)) <= 300
    assert video.converted == resized == sorted({index for clip in clips for index in indices(clip)})


def test_frames_between_are_not_converted() -> None:
    video = constant(300, 30)
    list(read_clips(video, [4.0], ClipSampling(), same))
    assert video.converted == list(range(88, 151, 2))


def test_far_clips_are_sought() -> None:
    timestamps = [3.0, 500.0, 505.0, 900.0, 5000.0]
    video = constant(30000, 30)
    clips = list(read_clips(video, timestamps, ClipSampling(), same))
    assert [clip.timestamp for clip in clips] == timestamps[:4]
    assert all(indices(clip) == [int(30 * clip.timestamp) + offset for offset in range(-32, 31, 2)] for clip in clips)
    assert len(video.starts) == 4  # the beginning, 500, 900 and 5000, which does not exist
    assert video.num_decoded < 1000


def test_no_seeking_back_over_what_was_read() -> None:
    """Where only the first frame can be sought, the video is read through once."""
    video = constant(3000, 30)
    video.can_seek = False
    assert len(list(read_clips(video, [1.0, 30.0, 60.0, 90.0], ClipSampling(), same))) == 4
    assert (video.starts, video.num_decoded < 3000) == ([0.0], True)
    assert video.num_asked == 3


def test_break_comes_after_the_clips_before_it() -> None:
    clips = read_clips(constant(100, 30, error="it breaks off"), map(float, itertools.count()), ClipSampling(), same)
    found: list[ClipFrames] = []
    with pytest.raises(VideoError, match="it breaks off"):
        gather(found, clips)
    assert [clip.timestamp for clip in found] == [0, 1, 2, 3]
    assert indices(found[-1])[-3:] == [99, 99, 99]


def gather(found: list[ClipFrames], clips: Iterator[ClipFrames]) -> None:
    for clip in clips:
        found.append(clip)  # one by one, so that they stay if an error follows


def test_memory_is_flat() -> None:
    """Resized frames die with the last clip that uses them, however long the video."""
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()

    def resize(picture: Tensor) -> Tensor:
        copy = picture.clone()
        alive.add(copy)
        return copy

    most = 0
    for clip in read_clips(constant(3000, 30), map(float, itertools.count()), ClipSampling(), resize):
        del clip
        gc.collect(0)
        most = max(most, len(alive))
    assert 16 <= most <= 48


def test_clips_of_a_file(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(900), options=LONG_GOP)
    with VideoReader(path) as video:
        for timestamps in ([0.0, 3.0, 27.0, 29.5], [25.0]):
            clips = list(read_clips(video, timestamps, ClipSampling(), lambda picture: picture[::2, ::2]))
            assert [clip.timestamp for clip in clips] == timestamps
            for clip in clips:
                centre = round(30 * clip.timestamp)
                wanted = [min(max(centre + offset, 0), 899) for offset in range(-32, 31, 2)]
                assert [read_number(frame) for frame in clip.frames] == wanted
                assert read_number(clip.keyframe) == centre
                assert (clip.frames.shape, clip.keyframe.shape) == ((32, 32, 48, 3), (64, 96, 3))


def test_25_frames_a_second_give_the_frames_that_extraction_at_30_gives(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", frame_times(200, 25), rate=25)
    with VideoReader(path) as video:
        (clip,) = read_clips(video, [4.0], ClipSampling(), same)
    wanted = [nearest(frame_times(200, 25), Fraction(120 + offset, 30)) for offset in range(-32, 31, 2)]
    assert [read_number(frame) for frame in clip.frames] == wanted


def test_cut_off_file(tmp_path: Path) -> None:
    faststart = {"movflags": "faststart"}
    path = write_numbered(tmp_path / "a.mp4", frame_times(300), options=LONG_GOP, container_options=faststart)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    found: list[ClipFrames] = []
    with VideoReader(path) as video, pytest.raises(VideoError, match="breaks off at"):
        gather(found, read_clips(video, map(float, range(100)), ClipSampling(), same))
    assert len(found) >= 3
    assert [read_number(clip.keyframe) for clip in found] == [30 * number for number in range(len(found))]


@pytest.mark.slow
def test_memory_of_a_long_file_is_that_of_a_short_one(tmp_path: Path) -> None:
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("needs /proc to see the memory in use")
    path = write_numbered(tmp_path / "a.mp4", frame_times(18000), options={"preset": "ultrafast"})
    in_use = []
    with VideoReader(path) as video:
        for clip in read_clips(video, map(float, itertools.count()), ClipSampling(), same):
            if clip.timestamp in (60, 598):
                in_use.append(int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert len(in_use) == 2
    assert in_use[1] - in_use[0] < 8e6  # bytes; all the frames would be 330 MB
