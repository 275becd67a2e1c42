"""The annotated video: which frame shows what, when it is written, and what is left when something goes wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acrn_zoo.annotate import AnnotatedVideo
from acrn_zoo.data.video import Frame, VideoError, VideoReader
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.files import OutputError, OutputExistsError
from acrn_zoo.results import ResultsError
from acrn_zoo.structures import Detections, Keyframe

SIZE = (60, 80)  # eight times as large once annotated
MOMENTS = (0.5, 1.5, 2.5)


@pytest.fixture(scope="module")
def white_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of white at 10 frames a second."""
    path = tmp_path_factory.mktemp("annotate") / "white.mp4"
    with VideoWriter(path, SIZE, frame_rate=10) as video:
        for number in range(30):
            video.write(torch.full((*SIZE, 3), 255, dtype=torch.uint8), number / 10)
    return path


def detections_at(number: int, size: tuple[int, int] = SIZE) -> Detections:
    """Of the keyframe ``MOMENTS[number]``: one person, further to the right each time."""
    left = 5.0 + 25 * number
    return Detections(
        keyframe=Keyframe("white", MOMENTS[number]),
        frame_size=size,
        boxes=torch.tensor([[left, 30, left + 20, 55]]),
        person_scores=torch.ones(1),
        scores=torch.ones(1, 1),
        categories=("stand",),
    )


def annotated(video: Path, folder: Path, *, hold: float = 0.5, overwrite: bool = False) -> AnnotatedVideo:
    return AnnotatedVideo(video, folder / "out.mp4", hold=hold, top=5, threshold=0.3, overwrite=overwrite)


def annotate(video: Path, folder: Path, numbers: tuple[int, ...], error: type[BaseException] | None = None) -> None:
    """The whole way, for these keyframes; then the error."""
    with annotated(video, folder) as out:
        for number in numbers:
            out.add(detections_at(number))
        if error is not None:
            raise error


def frames_of(path: Path) -> list[tuple[float, Tensor]]:
    with VideoReader(path) as reader:
        return [(round(frame.time, 3), frame.rgb()) for frame in reader.frames()]


def shown_in(picture: Tensor) -> list[int]:
    """The keyframes whose dark plate is in an annotated picture."""
    lefts = [(number, 40 + 200 * number) for number in range(3)]
    return [number for number, left in lefts if picture[228:236, left + 8 : left + 60].float().mean() < 150]


def shown_by_time(path: Path) -> dict[int, list[float]]:
    times: dict[int, list[float]] = {}
    for time, picture in frames_of(path):
        for number in shown_in(picture) or [-1]:
            times.setdefault(number, []).append(time)
    return times


def tenths(first: int, last: int) -> list[float]:
    return [number / 10 for number in range(first, last + 1)]


@pytest.mark.parametrize(
    ("hold", "expected"),
    [
        (0.5, {0: tenths(0, 10), 1: tenths(11, 20), 2: tenths(21, 29)}),
        (9.0, {0: tenths(0, 10), 1: tenths(11, 20), 2: tenths(21, 29)}),
        (
            0.2,
            {
                0: tenths(3, 7),
                1: tenths(13, 17),
                2: tenths(23, 27),
                -1: [*tenths(0, 2), *tenths(8, 12), *tenths(18, 22), *tenths(28, 29)],
            },
        ),
        (0.0, {0: [0.5], 1: [1.5], 2: [2.5], -1: sorted(set(tenths(0, 29)) - set(MOMENTS))}),
    ],
)
def test_frames_show_the_nearest_keyframe(
    hold: float, expected: dict[int, list[float]], white_video: Path, tmp_path: Path
) -> None:
    with annotated(white_video, tmp_path, hold=hold) as video:
        for number in range(3):
            video.add(detections_at(number))
    assert shown_by_time(tmp_path / "out.mp4") == expected


def test_without_detections_all_frames_are_there(white_video: Path, tmp_path: Path) -> None:
    with annotated(white_video, tmp_path):
        pass
    frames = frames_of(tmp_path / "out.mp4")
    assert [time for time, _ in frames] == tenths(0, 29)
    assert frames[0][1].shape == (480, 640, 3)
    assert min(int(picture.min()) for _, picture in frames) > 240


def test_frames_are_read_and_written_as_soon_as_they_are_certain(
    white_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, written = [], []
    read_all, write = VideoReader.frames, VideoWriter.write

    def frames(reader: VideoReader) -> Iterator[Frame]:
        for frame in read_all(reader):
            read.append(round(frame.time, 3))
            yield frame

    def record(writer: VideoWriter, frame: Tensor, time: float) -> None:
        written.append(round(time, 3))
        write(writer, frame, time)

    monkeypatch.setattr(VideoReader, "frames", frames)
    monkeypatch.setattr(VideoWriter, "write", record)
    with annotated(white_video, tmp_path) as video:
        assert (len(read), len(written)) == (1, 0)
        for number, last in enumerate((5, 15, 25)):
            video.add(detections_at(number))
            assert written == tenths(0, last)
            assert len(read) == len(written) + 1
    assert written == read == tenths(0, 29)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_what_was_written(
    error: type[BaseException], white_video: Path, tmp_path: Path
) -> None:
    with pytest.raises(error):
        annotate(white_video, tmp_path, (0, 1), error)
    assert shown_by_time(tmp_path / "out.mp4") == {0: tenths(0, 10), 1: tenths(11, 15)}


def test_a_video_that_breaks_off(white_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_all = VideoReader.frames

    def frames(reader: VideoReader) -> Iterator[Frame]:
        for frame in read_all(reader):
            if frame.time > 0.75:
                raise VideoError("the video breaks off")
            yield frame

    monkeypatch.setattr(VideoReader, "frames", frames)
    with pytest.raises(VideoError, match="breaks off"):
        annotate(white_video, tmp_path, (0, 1))
    monkeypatch.undo()
    assert shown_by_time(tmp_path / "out.mp4") == {0: tenths(0, 7)}


def test_uneven_times_and_odd_sizes_are_kept(tmp_path: Path) -> None:
    size, times = (481, 641), [0.0, 0.1, 0.15, 0.6, 1.0]
    with VideoWriter(tmp_path / "in.mp4", size, frame_rate=5) as video:
        for time in times:
            video.write(torch.full((*size, 3), 255, dtype=torch.uint8), time)
    stored = (482, 642)  # as the writer rounds them
    with annotated(tmp_path / "in.mp4", tmp_path) as out:
        out.add(detections_at(0, stored))
    frames = frames_of(tmp_path / "out.mp4")
    assert [time for time, _ in frames] == times
    assert frames[0][1].shape == (*stored, 3)


def test_close_twice(white_video: Path, tmp_path: Path) -> None:
    video = annotated(white_video, tmp_path)
    video.close()
    video.close()
    assert len(frames_of(tmp_path / "out.mp4")) == 30


def test_nothing_is_overwritten_unasked(white_video: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    with pytest.raises(OutputExistsError, match="out.mp4 exists already"):
        annotated(white_video, tmp_path)
    assert (tmp_path / "out.mp4").read_text() == "precious"
    with annotated(white_video, tmp_path, overwrite=True):
        pass
    assert len(frames_of(tmp_path / "out.mp4")) == 30


def test_the_video_itself_is_never_overwritten(white_video: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(white_video.read_bytes())
    with pytest.raises(ResultsError, match="is the video itself"):
        annotated(tmp_path / "out.mp4", tmp_path, overwrite=True)
    assert (tmp_path / "out.mp4").read_bytes() == white_video.read_bytes()


def test_missing_video_spares_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    with pytest.raises(VideoError, match="missing.mp4"):
        annotated(tmp_path / "missing.mp4", tmp_path, overwrite=True)
    assert (tmp_path / "out.mp4").read_text() == "precious"


def test_missing_folder(white_video: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        annotated(white_video, tmp_path / "missing")


@pytest.mark.parametrize("hold", [-1.0, float("nan")])
def test_hold_is_not_negative(hold: float, white_video: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold is"):
        annotated(white_video, tmp_path, hold=hold)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("second", [0, 1])
def test_keyframes_ascend(second: int, white_video: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected ascending keyframes"):
        annotate(white_video, tmp_path, (1, second))


def test_detections_of_another_video(white_video: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(60, 80\)"), annotated(white_video, tmp_path) as video:
        video.add(detections_at(0, (120, 160)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mmaction2__demo.mp4", "mmaction2__test.avi", "mmaction2__demo_skeleton.mp4"])
def test_real_videos_keep_frames_and_times(name: str, shared: Path, tmp_path: Path) -> None:
    path = shared / "data/video" / name
    with VideoReader(path) as reader:
        size = (reader.info.height, reader.info.width)
    with annotated(path, tmp_path) as video:
        for number in range(3):
            video.add(detections_at(number, size))
    with VideoReader(path) as before, VideoReader(tmp_path / "out.mp4") as after:
        expected = [frame.time for frame in before.frames()]
        assert [frame.time for frame in after.frames()] == pytest.approx(expected, abs=1e-4)
