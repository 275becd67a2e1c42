"""Resizing and normalisation against their definitions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from acrn_zoo.data.transforms import ClipTransform


def bilinear(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between pixel centres, in float64, without rounding."""

    def axis(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(centre).astype(int)
        return low, np.minimum(low + 1, old - 1), centre - low

    y0, y1, dy = axis(frame.shape[0], height)
    x0, x1, dx = axis(frame.shape[1], width)
    rows = frame[y0] * (1 - dy)[:, None, None] + frame[y1] * dy[:, None, None]
    return rows[:, x0] * (1 - dx)[:, None] + rows[:, x1] * dx[:, None]


def random_frames(*size: int) -> Tensor:
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 340), (256, 340)),
        ((720, 1280), (256, 455)),  # 455.1
        ((1080, 1920), (256, 455)),
        ((240, 426), (256, 454)),  # 454.4
        ((240, 427), (256, 455)),  # 455.47
        ((500, 341), (375, 256)),  # 375.4, portrait
        ((100, 100), (256, 256)),
        ((1, 3), (256, 768)),
    ],
)
def test_resizes_the_short_side_to_256(size: tuple[int, int], expected: tuple[int, int]) -> None:
    transform = ClipTransform()
    frame = random_frames(*size)
    resized = transform.resize(frame)
    assert transform.resized_size(size) == expected
    assert resized.shape == (*expected, 3)
    assert resized.dtype == torch.uint8
    exact = bilinear(frame.numpy().astype(np.float64), *expected)
    assert np.abs(resized.numpy() - exact).max() <= 0.55  # half a level of rounding, and float32
    assert abs((resized.numpy() - exact).mean()) < 0.01


def test_normalises_rgb() -> None:
    frames = torch.tensor([124, 116, 104], dtype=torch.uint8).expand(2, 4, 5, 3)
    clip = ClipTransform().normalize(frames)
    assert clip.shape == (3, 2, 4, 5)
    expected = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    torch.testing.assert_close(clip[:, 0, 0, 0], torch.tensor(expected))


def test_whole_clip_is_frame_by_frame() -> None:
    transform = ClipTransform(short_side=32)
    frames = random_frames(3, 60, 90)
    boxes = torch.tensor([[0.0, 0.0, 90.0, 60.0], [9.0, 6.0, 45.0, 30.0]])
    clip, scaled = transform(frames, boxes)
    stream = transform.normalize(torch.stack([transform.resize(frame) for frame in frames]))
    assert torch.equal(clip, stream)
    torch.testing.assert_close(scaled, torch.tensor([[0.0, 0, 48, 32], [4.8, 3.2, 24, 16]]))
    assert boxes[0, 2] == 90


def test_short_side_must_be_positive() -> None:
    with pytest.raises(ValueError, match="short_side is 0"):
        ClipTransform(short_side=0)
