"""Arithmetic on boxes. A box is xyxy: left, top, right, bottom; ``x`` grows rightwards, ``y`` downwards."""

from collections.abc import Sequence

import torch
from torch import Tensor


def boxes_outside(boxes: Tensor, size: tuple[int, int]) -> list[int]:
    """Rows of ``boxes [R, 4]`` (pixels) that share no pixel with a frame of ``size`` (height, width)."""
    height, width = size
    is_outside = (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    return torch.nonzero(is_outside).flatten().tolist()


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """A copy of ``boxes [R, 4]`` (pixels) cut off at the border of a frame of ``size`` (height, width)."""
    height, width = size
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limits)


def scale_boxes(boxes: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """``boxes [R, 4]`` moved from a frame of ``old_size`` (height, width) to its resized copy of ``new_size``.

    Each axis is scaled by its own ratio, since rounding a size to whole pixels makes the two differ a little.
    """
    y_ratio, x_ratio = new_size[0] / old_size[0], new_size[1] / old_size[1]
    return boxes * boxes.new_tensor([x_ratio, y_ratio, x_ratio, y_ratio])


def flip_boxes(boxes: Tensor, width: int) -> Tensor:
    """``boxes [R, 4]`` (pixels) mirrored left to right in a frame of the given width: ``x`` becomes ``width - x``."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def boxes_to_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Join the boxes of N clips into RoI rows.

    Args:
        boxes: N tensors ``[R_i, 4]``, xyxy.

    Returns:
        ``[R, 5]`` rows ``(clip_index, x1, y1, x2, y2)`` in the order given; at least float32, since half
        precision cannot tell neighbouring pixels of a large frame apart.
    """
    rows = []
    for index, clip_boxes_ in enumerate(boxes):
        precise = clip_boxes_.to(torch.promote_types(clip_boxes_.dtype, torch.float32))
        rows.append(torch.cat([precise.new_full((len(precise), 1), index), precise], dim=1))
    return torch.cat(rows)
