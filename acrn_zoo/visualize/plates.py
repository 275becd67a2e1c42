"""Plates beside the boxes of people: which lines stand on them, and where they stand."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np
from PIL import ImageDraw

from acrn_zoo.visualize.canvas import DARK, WHITE, Font, Rectangle

Line = tuple[str, str]  # the name of an action and its score


def draw_plate(
    draw: ImageDraw.ImageDraw,
    plate: Rectangle,
    lines: Sequence[Line],
    colour: tuple[int, int, int],
    font: Font,
) -> None:
    """Draw a dark plate with a stripe of the person's colour, and lines of text on it."""
    x1, y1, x2, y2 = plate
    padding, line_height = _spacing(font)
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=DARK)
    draw.rectangle((x1, y1, x1 + padding - 1, y2 - 1), fill=colour)
    for row, (name, score) in enumerate(lines):
        y = y1 + padding // 2 + row * line_height
        draw.text((x1 + 2 * padding, y), name, fill=WHITE, font=font)
        draw.text((x2 - padding - ceil(font.getlength(score)), y), score, fill=WHITE, font=font)


def _spacing(font: Font) -> tuple[int, int]:
    """The padding of a plate and the height of a line, in pixels."""
    _, upper, _, lower = font.getbbox("Ag")
    return max(4, round((lower - upper) / 4)), round((lower - upper) * 1.3)


def lay_out(
    actions: list[list[Line]], boxes: list[Rectangle], size: tuple[int, int], font: Font
) -> list[tuple[Rectangle | None, list[Line]]]:
    """For every person the place of the plate and the lines on it; None where there is no plate."""
    plates: list[Rectangle | None] = [None] * len(actions)
    fitted = shown = [
        [fit_line(line, font, _widest_plate(box, size)) for line in lines]
        for lines, box in zip(actions, boxes, strict=True)
    ]
    for num_lines in range(max(map(len, actions), default=0), 0, -1):
        shown = [lines[:num_lines] for lines in fitted]
        plates = place_plates([_plate_size(lines, font) for lines in shown], boxes, size)
        has_room = all(plate or not lines for plate, lines in zip(plates, shown, strict=True))
        covered = sum((plate[2] - plate[0]) * (plate[3] - plate[1]) for plate in plates if plate)
        if has_room and 4 * covered <= size[0] * size[1]:
            break
    return list(zip(plates, shown, strict=True))


def _widest_plate(box: Rectangle, size: tuple[int, int]) -> int:
    return min(size[1], max(box[2] - box[0], round(0.4 * size[1])))


def _plate_size(lines: Sequence[Line], font: Font) -> tuple[int, int] | None:
    """Height and width of a plate with these lines; None where there are none."""
    if not lines:
        return None
    padding, line_height = _spacing(font)
    text_width = max(ceil(font.getlength(f"{name}  {score}".rstrip())) for name, score in lines)
    return padding + len(lines) * line_height, text_width + 3 * padding


def fit_line(line: Line, font: Font, width: int) -> Line:
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


def place_plates(
    sizes: Iterable[tuple[int, int] | None], boxes: Sequence[Rectangle], image_size: tuple[int, int]
) -> list[Rectangle | None]:
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
    taken: list[Rectangle] = []
    placed: list[Rectangle | None] = []
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


def _places(plate_size: tuple[int, int], box: Rectangle, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
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
