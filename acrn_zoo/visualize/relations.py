"""Relation maps over frames: for each example a person, an action, and where in the scene it was seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from acrn_zoo.visualize.canvas import Rectangle, colour_of, draw_box, drawn_boxes, font_of_size, to_image

PICTURE_SIDE = 300
"""The longer side of a picture, in pixels."""

_GAP, _MARGIN = 10, 34
_HEAD = 70  # of the two lines over an example
_TEXT, _FAINT, _PAPER = (20, 20, 24), (90, 90, 98), (255, 255, 255)
_TITLE_SIZE, _LARGE, _SMALL = 38, 28, 21
_OPACITY = 0.62  # of a map over its frame

# Viridis (Smith and van der Walt, 2015) at equal steps: its lightness rises evenly, whoever looks at it.
_VIRIDIS = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)


@dataclass(frozen=True, eq=False)
class RelationExample:
    """One action of one person.

    Args:
        frame: ``[H, W, 3]`` uint8 RGB.
        box: ``[4]``, the person, xyxy in pixels of the frame.
        action: its name.
        score: 0 to 1.
        note: a line of explanation.
        activation: ``[h, w]``, how much each place speaks for the action; covers the whole frame. None for an action
            that no place decides.
        places: ``[P, 4]``, what truly decides the action, xyxy in pixels of the frame; none if nobody knows.
        later: ``[H, W, 3]``, a later frame, shown in the place of a map that is None.
    """

    frame: Tensor
    box: Tensor
    action: str
    score: float
    note: str
    activation: Tensor | None
    places: Tensor
    later: Tensor | None = None


def draw_relations(
    examples: Sequence[RelationExample], *, title: str, about: Sequence[str], columns: int = 2
) -> Tensor:
    """Draw examples side by side, each as its frame and, beside it, the map over the same frame.

    Above stand a title and what one sees, below the scale of the maps. Every map has a scale of its own, from 0 (and
    what is below) to its highest place. White rings are the places that truly decide.

    Args:
        examples: at least one.
        title: one line.
        about: lines under it.
        columns: examples in a row.

    Returns:
        ``[H, W, 3]`` uint8 RGB.

    Raises:
        ValueError: if there is no example, a frame is no picture, or a map is not finite.
    """
    if not examples or columns < 1:
        raise ValueError(f"{len(examples)} examples in {columns} columns, expected at least one of each")
    cells = [_draw_example(example) for example in examples]
    cell_width, cell_height = (max(cell.size[axis] for cell in cells) for axis in (0, 1))
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    header = _MARGIN + 50 + 30 * len(about) + 16
    width = 2 * _MARGIN + columns * (cell_width + _MARGIN) - _MARGIN
    sheet = Image.new("RGB", (width, header + rows * (cell_height + 26) + 70), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, fill=_TEXT, font=font_of_size(_TITLE_SIZE), anchor="lt")
    for number, line in enumerate(about):
        draw.text((_MARGIN, _MARGIN + 54 + 30 * number), line, fill=_FAINT, font=font_of_size(_SMALL + 2), anchor="lt")
    for index, cell in enumerate(cells):
        x = _MARGIN + (index % columns) * (cell_width + _MARGIN)
        sheet.paste(cell, (x, header + (index // columns) * (cell_height + 26)))
    _draw_key(draw, sheet, sheet.height - 52)
    return torch.from_numpy(np.array(sheet))


def viridis(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Numbers of 0 to 1 as colours: ``[...]`` to ``[..., 3]``, dark violet to bright yellow."""
    steps = np.linspace(0, 1, len(_VIRIDIS))
    channels = [np.interp(values, steps, channel) for channel in zip(*_VIRIDIS, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _draw_example(example: RelationExample) -> Image.Image:
    """Two lines of text, and below them the frame and the map."""
    frame = to_image(example.frame)
    ratio = PICTURE_SIDE / max(frame.size)
    size = (round(frame.width * ratio), round(frame.height * ratio))
    (box,) = drawn_boxes(example.box[None] * ratio, (size[1], size[0]))
    right = _right_picture(example, frame, size)
    left = frame.resize(size, Image.Resampling.BICUBIC)
    for picture in (left, right):
        draw_box(ImageDraw.Draw(picture, "RGBA"), box, colour_of(0), 3)
    for ring in drawn_boxes(example.places * ratio, (size[1], size[0])) if len(example.places) else []:
        _draw_ring(ImageDraw.Draw(right), ring)
    cell = Image.new("RGB", (2 * size[0] + _GAP, size[1] + _HEAD), _PAPER)
    draw = ImageDraw.Draw(cell)
    draw.text((0, 4), f"{example.action}   {example.score:.2f}", fill=_TEXT, font=font_of_size(_LARGE))
    draw.text((0, 38), example.note, fill=_FAINT, font=font_of_size(_SMALL))
    cell.paste(left, (0, _HEAD))
    cell.paste(right, (size[0] + _GAP, _HEAD))
    return cell


def _right_picture(example: RelationExample, frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    if example.activation is not None:
        return _overlaid(frame.resize(size, Image.Resampling.BICUBIC), example.activation)
    later = frame if example.later is None else to_image(example.later)
    return later.resize(size, Image.Resampling.BICUBIC)


def _overlaid(frame: Image.Image, activation: Tensor) -> Image.Image:
    """The frame in grey, under the colours of the map."""
    values = activation.float().cpu().numpy()
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"activation is {list(values.shape)}, expected finite numbers [h, w]")
    scaled = values.clip(0) / max(float(values.max()), 1e-9)
    smooth = Image.fromarray(scaled.astype(np.float32)).resize(frame.size, Image.Resampling.BICUBIC)
    colours = Image.fromarray(viridis(np.asarray(smooth).clip(0, 1)))
    return Image.blend(frame.convert("L").convert("RGB"), colours, _OPACITY)


def _draw_ring(draw: ImageDraw.ImageDraw, box: Rectangle) -> None:
    x1, y1, x2, y2 = box
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    radius = 0.62 * max(x2 - x1, y2 - y1)
    for colour, width, grown in (((0, 0, 0), 8, 2), ((255, 255, 255), 4, 0)):
        reach = radius + grown
        draw.ellipse(
            (middle_x - reach, middle_y - reach, middle_x + reach, middle_y + reach), outline=colour, width=width
        )


def _draw_key(draw: ImageDraw.ImageDraw, sheet: Image.Image, y: int) -> None:
    """What boxes, colours and rings mean, in one line."""
    font, middle = font_of_size(_SMALL), y + 14

    def say(x: int, text: str) -> int:
        draw.text((x, middle), text, fill=_TEXT, font=font, anchor="lm")
        return x + round(font.getlength(text)) + 44

    draw_box(draw, (_MARGIN, y, _MARGIN + 20, y + 28), colour_of(0), 3)
    x = say(_MARGIN + 30, "the person")
    x = say(x, "not at all") - 34
    ramp = np.broadcast_to(viridis(np.linspace(0, 1, 150)), (28, 150, 3))
    sheet.paste(Image.fromarray(np.ascontiguousarray(ramp)), (x, y))
    x = say(x + 160, "most: how much each place speaks for the action")
    draw.ellipse((x, y, x + 28, y + 28), fill=(120, 120, 120))
    draw.ellipse((x + 3, y + 3, x + 25, y + 25), outline=(255, 255, 255), width=4)
    say(x + 38, "what truly decides it")
