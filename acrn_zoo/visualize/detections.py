"""Detections drawn on frames: a box for every person, and a plate that lists their actions."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from acrn_zoo.structures import Detections
from acrn_zoo.visualize.canvas import DARK, WHITE, colour_of, draw_box, drawn_boxes, font_of_size, to_image
from acrn_zoo.visualize.plates import Line, draw_plate, fit_line, lay_out

SHORT_SIDE = 480
"""Frames whose short side is less are enlarged, since text on them could not be read."""


def enlarged_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what :func:`draw_detections` returns for a frame of ``size`` (height, width)."""
    factor = max(1, ceil(SHORT_SIDE / min(size)))
    return size[0] * factor, size[1] * factor


def draw_detections(frame: Tensor, detections: Detections, *, top: int = 5, threshold: float = 0.3) -> Tensor:
    """Draw the people of a frame and what they do.

    Every person gets a box and, beside it, a plate of the same colour that lists their best actions. Plates
    stay in the frame and cover no other plate. Where they would not fit, or cover more than a quarter of the
    frame, all of them get fewer lines; a plate that does not even fit with one line is left out.

    Args:
        frame: ``[H, W, 3]`` uint8 RGB.
        detections: the people, in pixels of this frame.
        top: show at most so many actions of a person, the best ones.
        threshold: show only actions whose score is above it.

    Returns:
        ``[H', W', 3]`` uint8 RGB, a new tensor. A frame whose short side is below 480 is enlarged by the
        least whole factor that makes it 480 or more (see :func:`enlarged_size`). With nobody to draw, that is
        all.

    Raises:
        ValueError: if the frame is no such tensor, or the detections belong to frames of another size.
    """
    image = to_image(frame)
    size = (image.height, image.width)
    if detections.frame_size != size:
        raise ValueError(f"the frame is {size} (height, width), the detections need {detections.frame_size}")
    actions = [
        [(detections.categories[column], f"{score:.2f}") for column, score in best]
        for best in detections.top(top, threshold)
    ]
    return _draw_people(image, detections.boxes, actions)


def draw_annotations(frame: Tensor, boxes: Tensor, labels: Sequence[Sequence[str]], *, caption: str) -> Tensor:
    """Draw the people of a frame as somebody annotated them, under a line of text.

    Args:
        frame: ``[H, W, 3]`` uint8 RGB.
        boxes: ``[R, 4]``, xyxy in pixels of the frame.
        labels: what each of them does.
        caption: where the frame comes from, say.

    Returns:
        ``[H', W', 3]`` uint8 RGB: the frame with its short side at 480 or, if a whole factor does not give that,
        a little more, below a band with the caption.

    Raises:
        ValueError: if the frame is no such tensor, or there is not one list of labels for every box.
    """
    if len(labels) != len(boxes):
        raise ValueError(f"{len(labels)} lists of labels for {len(boxes)} boxes, expected one each")
    image = to_image(frame)
    ratio = min(1.0, SHORT_SIDE / min(image.size))
    if ratio < 1:
        image = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BICUBIC)
    drawn = _draw_people(image, boxes * ratio, [[(label, "") for label in names] for names in labels])
    band_height, font = SHORT_SIDE // 15, font_of_size(SHORT_SIDE // 24, caption.isascii())
    band = Image.new("RGB", (drawn.shape[1], band_height), DARK[:3])
    text, _ = fit_line((caption, ""), font, band.width)
    ImageDraw.Draw(band).text((8, band_height // 2), text, fill=WHITE, font=font, anchor="lm")
    return torch.cat([torch.from_numpy(np.array(band)), drawn])


def _draw_people(image: Image.Image, boxes: Tensor, actions: list[list[Line]]) -> Tensor:
    """The picture, enlarged if it is small, with a box and a plate for every person."""
    size = (image.height, image.width)
    height, width = enlarged_size(size)
    if height != image.height:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    drawn = drawn_boxes(boxes * (height / size[0]), (height, width))
    is_ascii = all(name.isascii() for lines in actions for name, _ in lines)
    font = font_of_size(max(14, round(min(height, width) / 36)), is_ascii)
    draw = ImageDraw.Draw(image, "RGBA")
    for index, box in enumerate(drawn):
        draw_box(draw, box, colour_of(index), max(2, min(height, width) // 240))
    for index, (plate, lines) in enumerate(lay_out(actions, drawn, (height, width), font)):
        if plate is not None:
            draw_plate(draw, plate, lines, colour_of(index), font)
    return torch.from_numpy(np.array(image))
