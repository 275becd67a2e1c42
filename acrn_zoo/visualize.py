"""Detections drawn on frames: a box for every person, and a plate that lists their actions."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, replacing
from acrn_zoo.structures import Detections

SHORT_SIDE = 480
"""Frames whose short side is less are enlarged, since text on them could not be read."""

# The palette of Okabe and Ito, which people with any common colour blindness can tell apart; the brightest
# first, without black, which does not show on the dark plates.
_PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (204, 121, 167),
    (0, 158, 115),
    (213, 94, 0),
    (0, 114, 178),
)
_DARK = (12, 12, 16, 190)
_WHITE = (255, 255, 255)

_SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "arialuni.ttf",
    "Arial.ttf",
    "arial.ttf",
)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Rectangle = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; x2 and y2 are just outside
_Line = tuple[str, str]  # the name of an action and its score


class PictureError(UserError, OSError):
    """A picture cannot be written."""


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
    image = _to_image(frame)
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
    image = _to_image(frame)
    ratio = min(1.0, SHORT_SIDE / min(image.size))
    if ratio < 1:
        image = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BICUBIC)
    drawn = _draw_people(image, boxes * ratio, [[(label, "") for label in names] for names in labels])
    band_height, font = SHORT_SIDE // 15, _font(SHORT_SIDE // 24, caption.isascii())
    band = Image.new("RGB", (drawn.shape[1], band_height), _DARK[:3])
    text, _ = _fit_line((caption, ""), font, band.width)
    ImageDraw.Draw(band).text((8, band_height // 2), text, fill=_WHITE, font=font, anchor="lm")
    return torch.cat([torch.from_numpy(np.array(band)), drawn])


def _draw_people(image: Image.Image, boxes: Tensor, actions: list[list[_Line]]) -> Tensor:
    """The picture, enlarged if it is small, with a box and a plate for every person."""
    size = (image.height, image.width)
    height, width = enlarged_size(size)
    if height != image.height:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    drawn = _drawn_boxes(boxes * (height / size[0]), (height, width))
    is_ascii = all(name.isascii() for lines in actions for name, _ in lines)
    font = _font(max(14, round(min(height, width) / 36)), is_ascii)
    draw = ImageDraw.Draw(image, "RGBA")
    for index, box in enumerate(drawn):
        _draw_box(draw, box, _colour(index), max(2, min(height, width) // 240))
    for index, (plate, lines) in enumerate(_lay_out(actions, drawn, (height, width), font)):
        if plate is not None:
            _draw_plate(draw, plate, lines, _colour(index), font)
    return torch.from_numpy(np.array(image))


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
    picture = _to_image(image)
    if path.exists() and not overwrite:
        raise PictureError(f"{path} exists already; pass overwrite to replace it, or choose another name")
    try:
        with replacing(path) as partial:
            picture.save(partial, format="PNG")
    except OutputError as error:
        raise PictureError(str(error)) from error


def _to_image(frame: Tensor) -> Image.Image:
    if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"a picture is {frame.dtype} {tuple(frame.shape)}, expected uint8 [H, W, 3]")
    return Image.fromarray(frame.cpu().numpy())


def _drawn_boxes(boxes: Tensor, size: tuple[int, int]) -> list[_Rectangle]:
    """Boxes in whole pixels inside the picture, each at least one pixel large."""
    height, width = size
    drawn = []
    for x1, y1, x2, y2 in boxes.round().int().tolist():
        left, upper = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
        drawn.append((left, upper, min(max(x2, left + 1), width), min(max(y2, upper + 1), height)))
    return drawn


@cache
def _font(size: int, is_ascii: bool = True) -> _Font:
    """The built-in font, which is the same everywhere; beyond ASCII one of the system's, as far as it has any."""
    for name in () if is_ascii else _SYSTEM_FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _colour(index: int) -> tuple[int, int, int]:
    return _PALETTE[index % len(_PALETTE)]


def _draw_box(draw: ImageDraw.ImageDraw, box: _Rectangle, colour: tuple[int, int, int], line_width: int) -> None:
    x1, y1, x2, y2 = box
    # A dark rim on both sides of the line keeps it visible on a background of its own colour.
    draw.rectangle((x1 - 1, y1 - 1, x2, y2), outline=_DARK, width=line_width + 2)
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=line_width)


def _draw_plate(
    draw: ImageDraw.ImageDraw,
    plate: _Rectangle,
    lines: Sequence[_Line],
    colour: tuple[int, int, int],
    font: _Font,
) -> None:
    x1, y1, x2, y2 = plate
    padding, line_height = _spacing(font)
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=_DARK)
    draw.rectangle((x1, y1, x1 + padding - 1, y2 - 1), fill=colour)
    for row, (name, score) in enumerate(lines):
        y = y1 + padding // 2 + row * line_height
        draw.text((x1 + 2 * padding, y), name, fill=_WHITE, font=font)
        draw.text((x2 - padding - ceil(font.getlength(score)), y), score, fill=_WHITE, font=font)


def _spacing(font: _Font) -> tuple[int, int]:
    """The padding of a plate and the height of a line, in pixels."""
    _, upper, _, lower = font.getbbox("Ag")
    return max(4, round((lower - upper) / 4)), round((lower - upper) * 1.3)


def _lay_out(
    actions: list[list[_Line]], boxes: list[_Rectangle], size: tuple[int, int], font: _Font
) -> list[tuple[_Rectangle | None, list[_Line]]]:
    """For every person the place of the plate and the lines on it; None where there is no plate."""
    plates: list[_Rectangle | None] = [None] * len(actions)
    fitted = shown = [
        [_fit_line(line, font, _widest_plate(box, size)) for line in lines]
        for lines, box in zip(actions, boxes, strict=True)
    ]
    for num_lines in range(max(map(len, actions), default=0), 0, -1):
        shown = [lines[:num_lines] for lines in fitted]
        plates = _place_plates([_plate_size(lines, font) for lines in shown], boxes, size)
        has_room = all(plate or not lines for plate, lines in zip(plates, shown, strict=True))
        covered = sum((plate[2] - plate[0]) * (plate[3] - plate[1]) for plate in plates if plate)
        if has_room and 4 * covered <= size[0] * size[1]:
            break
    return list(zip(plates, shown, strict=True))


def _widest_plate(box: _Rectangle, size: tuple[int, int]) -> int:
    return min(size[1], max(box[2] - box[0], round(0.4 * size[1])))


def _plate_size(lines: Sequence[_Line], font: _Font) -> tuple[int, int] | None:
    """Height and width of a plate with these lines; None where there are none."""
    if not lines:
        return None
    padding, line_height = _spacing(font)
    text_width = max(ceil(font.getlength(f"{name}  {score}".rstrip())) for name, score in lines)
    return padding + len(lines) * line_height, text_width + 3 * padding


def _fit_line(line: _Line, font: _Font, width: int) -> _Line:
    """The line with its name shortened to a plate's width: by what stands in brackets, then cut."""
    name, score = line

    def is_too_wide(text: str) -> bool:
        size = _plate_size([(text, score)], font)
        return size is None or size[1] > width

    if is_too_wide(name):
        name = re.sub(r"\s*\([^)]*\)", "", name) or name
    if is_too_wide(name):
        cuts = [name[:length].rstrip(" /(") + "\N{HORIZONTAL ELLIPSIS}" for length in range(1, len(name))]
        num_fitting = bisect_left(cuts, True, key=is_too_wide)
        name = cuts[num_fitting - 1] if num_fitting else ""
    return name, score


def _place_plates(
    sizes: Iterable[tuple[int, int] | None], boxes: Sequence[_Rectangle], image_size: tuple[int, int]
) -> list[_Rectangle | None]:
    """Find a place beside its box for every plate: inside the picture, and covering no other plate.

    Greedy, in the order given: of the places that are free, the one that hides least of the people and is
    plainest to read. To hide a small box wholly counts as much as to fill the whole plate with a larger one.

    Args:
        sizes: height and width of each plate; None for a person without.
        boxes: the box of each.
        image_size: height and width of the picture.

    Returns:
        A rectangle for each; None for a person without plate, and where no place is free.
    """
    all_boxes = np.array(boxes).reshape(-1, 4)
    areas = (all_boxes[:, 2:] - all_boxes[:, :2]).prod(1)
    taken: list[_Rectangle] = []
    placed: list[_Rectangle | None] = []
    for index, (size, box) in enumerate(zip(sizes, boxes, strict=True)):
        placed.append(None)
        if size is None or size[0] > image_size[0] or size[1] > image_size[1]:
            continue
        places, penalties = _places(size, box, image_size)
        hidden = _overlap(places, all_boxes) * np.maximum(1, size[0] * size[1] / areas)
        hidden[:, index] /= 2
        cost = hidden.sum(1) + penalties * size[0] * size[1]
        cost[_overlap(places, np.array(taken).reshape(-1, 4)).any(1)] = np.inf
        best = int(cost.argmin())  # the first of equals
        if np.isfinite(cost[best]):
            x1, y1, x2, y2 = places[best].tolist()
            placed[-1] = (x1, y1, x2, y2)
            taken.append((x1, y1, x2, y2))
    return placed


def _places(plate_size: tuple[int, int], box: _Rectangle, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where a plate may stand: ``[P, 4]`` rectangles, pushed into the picture, and ``[P]`` penalties.

    A penalty says which part of the plate's area might rather hide a person than stand in a worse place.
    """
    height, width = plate_size
    x1, y1, x2, y2 = box
    inner_x = (x1, x2 - width, (x1 + x2 - width) // 2)
    inner_y = (y1, y2 - height, (y1 + y2 - height) // 2)
    above_below, beside = (y1 - height, y2), (x2, x1 - width)
    corners = [
        *((x, y, 0.0) for y in above_below for x in inner_x),
        *((x, y, 0.1) for x in beside for y in inner_y),
        *((x, y, 0.2) for y in inner_y for x in inner_x),
        *((x, y, 0.4) for y in above_below for x in beside),
    ]
    places = np.array([(x, y, x + width, y + height) for x, y, _ in corners])
    for axis, (extent, limit) in enumerate(((width, image_size[1]), (height, image_size[0]))):
        places[:, axis] = places[:, axis].clip(0, limit - extent)
        places[:, axis + 2] = places[:, axis] + extent
    return places, np.array([penalty for _, _, penalty in corners])


def _overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The area that each of ``[A, 4]`` rectangles shares with each of ``[B, 4]``: ``[A, B]`` float."""
    upper_left = np.maximum(first[:, None, :2], second[None, :, :2])
    lower_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (lower_right - upper_left).clip(0).prod(2).astype(float)
