"""From a video's frames to what a model sees: short side 256, RGB, normalised; for training cropped and flipped."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from acrn_zoo.boxes import clip_boxes, flip_boxes, scale_boxes

MEAN = (123.675, 116.28, 103.53)  # RGB, of 255
STD = (58.395, 57.12, 57.375)


class ClipTransform:
    """The preprocessing that goes with the published weights (evaluation: no crop, no flip).

    Call it on a whole clip, or use :meth:`resize` frame by frame and :meth:`normalize` at the end, as a streaming
    reader does; both give the same numbers.

    Args:
        short_side: the shorter side of the frames after resizing, in pixels; enlarges too. The aspect ratio is
            kept up to rounding to whole pixels.
    """

    def __init__(self, short_side: int = 256) -> None:
        if short_side < 1:
            raise ValueError(f"short_side is {short_side}, expected at least 1 pixel")
        self.short_side = short_side

    def __call__(self, frames: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Prepare one clip.

        Args:
            frames: ``[T, H, W, 3]`` uint8 RGB.
            boxes: ``[R, 4]`` xyxy in pixels of the frames.

        Returns:
            The clip ``[3, T, H', W']`` float32, normalised, and the boxes ``[R, 4]`` in clip pixels.
        """
        size = (int(frames.shape[1]), int(frames.shape[2]))
        resized = torch.stack([self.resize(frame) for frame in frames])
        return self.normalize(resized), scale_boxes(boxes, size, self.resized_size(size))

    def resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a frame of ``size`` (height, width) after :meth:`resize`."""
        return resized_size(size, self.short_side)

    def resize(self, frame: Tensor) -> Tensor:
        """Resize one frame ``[H, W, 3]`` uint8 RGB to ``[H', W', 3]`` uint8.

        Bilinear without anti-aliasing, rounded to whole levels: what the weights were trained on. The interpolation
        is in float32, since PyTorch's own for uint8 is off by up to a level and biased.
        """
        old_size = (int(frame.shape[0]), int(frame.shape[1]))
        size = self.resized_size(old_size)
        if size == old_size:
            return frame.clone()
        channels_first = frame.permute(2, 0, 1).unsqueeze(0).float()
        resized = F.interpolate(channels_first, size=size, mode="bilinear", align_corners=False)
        return resized[0].round().to(torch.uint8).permute(1, 2, 0).contiguous()

    def normalize(self, frames: Tensor) -> Tensor:
        """Turn frames ``[T, H, W, 3]`` uint8 RGB into a clip ``[3, T, H, W]`` float32: ``(x - mean) / std``."""
        return normalize(frames)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(short_side={self.short_side})"


@dataclass(frozen=True)
class Augmentation:
    """One way to resize, crop and mirror, the same for every frame and box of a clip.

    Args:
        size: height and width of the frames after resizing, in pixels.
        top: first row of the crop.
        left: first column of the crop.
        crop: height and width of the crop.
        is_flipped: whether the crop is mirrored left to right.
    """

    size: tuple[int, int]
    top: int
    left: int
    crop: int
    is_flipped: bool

    def frame(self, frame: Tensor) -> Tensor:
        """A frame ``[H, W, 3]`` uint8 as a crop ``[crop, crop, 3]`` uint8. Bilinear, as :meth:`ClipTransform.resize`.

        The interpolation is TorchVision's for uint8: five times as fast as ours, and within one level of it.
        """
        resized = tv.resize_image(frame.permute(2, 0, 1), list(self.size), antialias=False)
        cropped = tv.crop_image(resized, self.top, self.left, self.crop, self.crop)
        return (tv.horizontal_flip_image(cropped) if self.is_flipped else cropped).permute(1, 2, 0).contiguous()

    def boxes(self, boxes: Tensor, frame_size: tuple[int, int]) -> Tensor:
        """Boxes ``[R, 4]`` in pixels of a frame of ``frame_size`` (height, width), in pixels of the crop.

        They are cut off at ``crop - 1``, as published, and never dropped: one outside the crop loses its area.
        """
        shifted = scale_boxes(boxes, frame_size, self.size) - boxes.new_tensor([self.left, self.top] * 2)
        cropped = clip_boxes(shifted, (self.crop - 1, self.crop - 1))
        return flip_boxes(cropped, self.crop) if self.is_flipped else cropped


class RandomAugmentation:
    """The augmentation that the published models were trained with.

    Args:
        short_side: the shorter side after resizing is a whole number from the first to the second, both included,
            each equally likely.
        crop: height and width of a square somewhere in the frame. Its offset is one of 0 to ``size - crop - 1``:
            the last possible one never occurs, as published, except where it is the only one.
        flip: how likely it is that a clip is mirrored.

    Raises:
        ValueError: if the crop is larger than the frame can be, or ``flip`` is no probability.
    """

    def __init__(self, short_side: tuple[int, int] = (256, 320), crop: int = 256, flip: float = 0.5) -> None:
        if not 1 <= crop <= short_side[0] <= short_side[1]:
            raise ValueError(f"short_side is {short_side} and crop {crop}, expected 1 <= crop <= lowest <= highest")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip is {flip}, expected a probability")
        self.short_side = short_side
        self.crop = crop
        self.flip = flip

    def draw(self, frame_size: tuple[int, int], random: np.random.Generator) -> Augmentation:
        """Decide what happens to a clip.

        Args:
            frame_size: height and width of its frames in pixels.
            random: see :func:`sample_random`; four numbers are drawn.
        """
        low, high = self.short_side
        size = resized_size(frame_size, _integer(random, low, high))
        top, left = (_integer(random, 0, max(side - self.crop - 1, 0)) for side in size)
        return Augmentation(size, top, left, self.crop, bool(random.random() < self.flip))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(short_side={self.short_side}, crop={self.crop}, flip={self.flip})"


def sample_random(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one sample in one epoch.

    They depend on these three numbers alone: not on the worker that asks, nor on what was asked before, so that a run
    that is resumed, or shared out differently, sees the same data.

    Args:
        seed: of the run.
        epoch: which time the sample is seen.
        index: of the sample in the dataset.

    Raises:
        ValueError: if one of them is negative.
    """
    if min(seed, epoch, index) < 0:
        raise ValueError(f"seed is {seed}, epoch {epoch}, index {index}: expected 0 or more")
    # The generator counts up the first word of the counter, so that no two of these streams meet.
    key, counter = np.array([seed, epoch], dtype=np.uint64), np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def normalize(frames: Tensor) -> Tensor:
    """Turn frames ``[..., T, H, W, 3]`` uint8 RGB into clips ``[..., 3, T, H, W]`` float32: ``(x - mean) / std``."""
    mean, std = frames.new_tensor(MEAN, dtype=torch.float32), frames.new_tensor(STD, dtype=torch.float32)
    return ((frames - mean) / std).movedim(-1, -4).contiguous()


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Height and width of a frame of ``size`` (height, width) when its shorter side is resized to ``short_side``."""
    height, width = size
    shorter = min(height, width)
    return max(int(height * short_side / shorter + 0.5), 1), max(int(width * short_side / shorter + 0.5), 1)


def _integer(random: np.random.Generator, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included, each equally likely.

    Of NumPy's generators only the numbers from 0 to 1 are used, whose rule is the same in every version.
    """
    return low + int(random.random() * (high - low + 1))
