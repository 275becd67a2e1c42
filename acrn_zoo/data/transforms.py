"""From a video's frames to what a model sees: short side 256, RGB, normalised."""

import torch
import torch.nn.functional as F
from torch import Tensor

from acrn_zoo.boxes import scale_boxes

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
        height, width = size
        shorter = min(height, width)
        return (
            max(int(height * self.short_side / shorter + 0.5), 1),
            max(int(width * self.short_side / shorter + 0.5), 1),
        )

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
        mean, std = frames.new_tensor(MEAN, dtype=torch.float32), frames.new_tensor(STD, dtype=torch.float32)
        return ((frames - mean) / std).permute(3, 0, 1, 2).contiguous()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(short_side={self.short_side})"
