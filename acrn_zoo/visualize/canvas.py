"""What all pictures are made with: colours, letters, boxes, and files."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from math import ceil
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, replacing

# The palette of Okabe and Ito, which people with any common colour blindness can tell apart; the brightest
# first, without black, which does not show on the dark plates.
PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (204, 121, 167),
    (0, 158, 115),
    (213, 94, 0),
    (0, 114, 178),
)
DARK = (12, 12, 16, 190)
WHITE = (255, 255, 255)

_SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "arialuni.ttf",
    "Arial.ttf",
    "arial.ttf",
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rectangle = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; x2 and y2 are just outside


class PictureError(UserError, OSError):
    """A picture cannot be written."""


def contact_sheet(frames: Sequence[Tensor], columns: int) -> Tensor:
    """Several pictures in one, row by row.

    Args:
        frames: at least one ``[H_i, W_i, 3]`` uint8 RGB; each cell is as large as the largest.
        columns: pictures in a row.

    Returns:
        ``[H, W, 3]`` uint8 RGB, with a dark gap round every picture.

    Raises:
        ValueError: if there is no picture, or ``columns`` is not positive.
    """
    if not frames or columns < 1:
        raise ValueError(f"a contact sheet of {len(frames)} pictures in {columns} columns; expected 1 or more")
    gap = 6
    height, width = (max(frame.shape[axis] for frame in frames) + gap for axis in (0, 1))
    columns = min(columns, len(frames))
    rows = ceil(len(frames) / columns)
    sheet = torch.full((rows * height + gap, columns * width + gap, 3), 24, dtype=torch.uint8)
    for index, frame in enumerate(frames):
        y, x = (index // columns) * height + gap, (index % columns) * width + gap
        sheet[y : y + frame.shape[0], x : x + frame.shape[1]] = frame.cpu()
    return sheet


def save_png(path: str | Path, image: Tensor, *, overwrite: bool = False) -> None:
    """Write a picture; the file appears complete or not at all.

    Args:
        path: the file.
        image: ``[H, W, 3]`` uint8 RGB.
        overwrite: replace a file that exists.

    Raises:
        PictureError: if the file exists and ``overwrite`` is false, or if it cannot be written.
        ValueError: if the image is no such tensor.
    """
    path = Path(path)
    picture = to_image(image)
    if path.exists() and not overwrite:
        raise PictureError(f"{path} exists already; pass overwrite to replace it, or choose another name")
    try:
        with replacing(path) as partial:
            picture.save(partial, format="PNG")
    except OutputError as error:
        raise PictureError(str(error)) from error


def to_image(frame: Tensor) -> Image.Image:
    """A frame ``[H, W, 3]`` uint8 RGB as a picture to draw on; what is drawn does not change the frame."""
    if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"a picture is {frame.dtype} {tuple(frame.shape)}, expected uint8 [H, W, 3]")
    return Image.fromarray(frame.cpu().numpy())


def drawn_boxes(boxes: Tensor, size: tuple[int, int]) -> list[Rectangle]:
    """Boxes in whole pixels inside the picture, each at least one pixel large."""
    height, width = size
    drawn = []
    for x1, y1, x2, y2 in boxes.round().int().tolist():
        left, upper = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
        drawn.append((left, upper, min(max(x2, left + 1), width), min(max(y2, upper + 1), height)))
    return drawn


@cache
def font_of_size(size: int, is_ascii: bool = True) -> Font:
    """The built-in font, which is the same everywhere; beyond ASCII one of the system's, as far as it has any."""
    for name in () if is_ascii else _SYSTEM_FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def colour_of(index: int) -> tuple[int, int, int]:
    """The colour of a person by number, RGB."""
    return PALETTE[index % len(PALETTE)]


def draw_box(draw: ImageDraw.ImageDraw, box: Rectangle, colour: tuple[int, int, int], line_width: int) -> None:
    """Draw the outline of a box, inside of it."""
    x1, y1, x2, y2 = box
    # A dark rim on both sides of the line keeps it visible on a background of its own colour.
    draw.rectangle((x1 - 1, y1 - 1, x2, y2), outline=DARK, width=line_width + 2)
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=line_width)
