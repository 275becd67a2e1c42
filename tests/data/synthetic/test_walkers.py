"""The generated video: its boxes are where its people are, and a seed fixes it."""

from pathlib import Path

import pytest
import torch

from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.data.video import VideoReader
from acrn_zoo.structures import invalid_boxes


def pictures(path: Path) -> list[torch.Tensor]:
    with VideoReader(path) as video:
        return [frame.rgb() for frame in video.frames()]


def test_length_size_and_seed(tmp_path: Path) -> None:
    videos = [
        write_synthetic_video(tmp_path / f"{name}.mp4", seed=seed, seconds=0.5, size=(96, 130), num_people=2)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, same, other = (pictures(video.path) for video in videos)
    assert len(first) == 15
    assert first[0].shape == (96, 130, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(videos[0].boxes(0.3), videos[1].boxes(0.3))
    assert (videos[0].seconds, videos[0].size) == (0.5, (96, 130))


@pytest.mark.parametrize("num_people", [0, 1, 3, 8])
def test_boxes_are_valid_and_inside(tmp_path: Path, num_people: int) -> None:
    video = write_synthetic_video(tmp_path / "a.mp4", seconds=0.1, size=(64, 96), num_people=num_people)
    for time in (0.0, 0.5, 100.0, 3599.9):
        boxes = video.boxes(time)
        assert boxes.shape == (num_people, 4)
        assert boxes.dtype == torch.float32
        assert not invalid_boxes(boxes)
        assert bool(((boxes >= -1e-3) & (boxes <= torch.tensor([96.0, 64, 96, 64]) + 1e-3)).all())


def test_what_moves_is_in_the_boxes(tmp_path: Path) -> None:
    video = write_synthetic_video(tmp_path / "a.mp4", seconds=2.0, num_people=3)
    frames = pictures(video.path)
    empty = pictures(write_synthetic_video(tmp_path / "b.mp4", seconds=0.1, num_people=0).path)[0]
    for number in (0, 31, 59):
        foreign = (frames[number].float() - empty.float()).abs().amax(2) > 40
        outside = foreign.clone()
        for left, top, right, bottom in video.boxes(number / 30).round().int().tolist():
            outside[top - 1 : bottom + 3, max(0, left - 2) : right + 2] = False
            assert foreign[top:bottom, left:right].float().mean() > 0.25
        assert outside.float().mean() < 0.001


def test_people_walk(tmp_path: Path) -> None:
    video = write_synthetic_video(tmp_path / "a.mp4", seconds=0.1)
    assert bool(((video.boxes(1.0) - video.boxes(0.0))[:, 0].abs() > 5).all())
