"""Scenes of the small world as pictures."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from acrn_zoo.data.synthetic.world import COLORS, Person, Scene, Thing

_SUPERSAMPLING = 2  # drawn larger and scaled down, so that edges are smooth
_SKINS = ("#f1c27d", "#d9a066", "#a8703f", "#6f4a2c")
_OUTLINE = "#26282b"


def draw_frame(scene: Scene, time: float, side: int, backdrop: Image.Image) -> npt.NDArray[np.uint8]:
    """The picture of a scene.

    Args:
        scene: what to draw.
        time: seconds from its middle.
        side: height and width in pixels.
        backdrop: of :func:`draw_backdrop`, for the same scene and side.

    Returns:
        ``[side, side, 3]`` uint8 RGB.
    """
    image = backdrop.copy()
    draw = ImageDraw.Draw(image)
    scale = side * _SUPERSAMPLING
    for thing in scene.things:
        _draw_thing(draw, thing, time, scale)
    for person in scene.people:
        _draw_person(draw, person, time, scale)
    return np.asarray(image.reduce(_SUPERSAMPLING))


def draw_backdrop(scene: Scene, side: int) -> Image.Image:
    """What is behind people and things: a pale wall of soft spots, another one for each scene."""
    random = np.random.Generator(np.random.Philox(key=scene.backdrop))
    tone = 176 + 44 * random.random()
    spots = tone + 26 * (random.random((6, 6, 1)) - 0.5) + 10 * (random.random((6, 6, 3)) - 0.5)
    small = Image.fromarray(np.clip(spots, 0, 255).astype(np.uint8))
    return small.resize((side * _SUPERSAMPLING,) * 2, Image.Resampling.BICUBIC)


def _draw_thing(draw: ImageDraw.ImageDraw, thing: Thing, time: float, scale: int) -> None:
    """Shapes differ in outline and in their middle, so that a few pixels tell them apart."""
    box = left, top, right, bottom = tuple(value * scale for value in thing.box(time))
    line, inset, middle = max(1, scale // 128), 0.36 * (right - left), (top + bottom) / 2
    inner = (left + inset, top + inset, right - inset, bottom - inset)
    upper, lower = (COLORS[color] for color in thing.colors)
    if thing.shape == "ball":
        draw.chord(box, 180, 360, fill=upper)
        draw.chord(box, 0, 180, fill=lower)
        draw.ellipse(box, outline=_OUTLINE, width=line)
        draw.ellipse(inner, fill="#ffffff")
    elif thing.shape == "box":
        draw.rectangle((left, top, right, middle), fill=upper)
        draw.rectangle((left, middle, right, bottom), fill=lower)
        draw.rectangle(box, outline=_OUTLINE, width=line)
        draw.rectangle(inner, fill=_OUTLINE)
    else:
        sides, center = ((left, middle), (right, middle)), (left + right) / 2
        draw.polygon((*sides, (center, top)), fill=upper, outline=_OUTLINE, width=line)
        draw.polygon((*sides, (center, bottom)), fill=lower, outline=_OUTLINE, width=line)


def _draw_person(draw: ImageDraw.ImageDraw, person: Person, time: float, scale: int) -> None:
    """A robe in the person's colours, feet, head, and two arms in white gloves, which swing if the person waves."""
    left, top, right, bottom = (value * scale for value in person.box(time))
    height, middle = bottom - top, (left + right) / 2
    half = (right - left) / 2
    skin = _SKINS[int(person.looks * len(_SKINS)) % len(_SKINS)]
    limb = max(1, round(0.08 * height))
    line = max(1, limb // 4)
    shoulder, hem = top + 0.34 * height, bottom - 0.07 * height
    for side in (-0.35, 0.35):
        x = middle + side * half
        draw.rectangle((x - limb * 0.7, hem, x + limb * 0.7, bottom), fill=_OUTLINE)
    collar, waist = shoulder - 0.08 * height, (shoulder - 0.08 * height + hem) / 2
    upper, lower = (COLORS[color] for color in person.colors)
    edges = [(reach * half, y) for reach, y in ((0.5, collar), (0.64, waist), (0.78, hem))]
    for (narrow, above), (wide, below), color in zip(edges, edges[1:], (upper, lower), strict=False):
        corners = ((middle - narrow, above), (middle + narrow, above), (middle + wide, below), (middle - wide, below))
        draw.polygon(corners, fill=color, outline=_OUTLINE, width=line)
    head = 0.125 * height
    draw.ellipse((middle - head, top, middle + head, top + 2 * head), fill=skin, outline=_OUTLINE, width=line)
    glove = 0.095 * height  # white and large, so that waving is seen at a few pixels
    for side in (-1, 1):
        swing = side * person.arm(time)
        x, y = middle + side * half * 0.8, top + height * (0.36 + 0.26 * swing)
        draw.line((middle + 0.4 * side * half, shoulder, x, y), fill=skin, width=limb)
        draw.ellipse((x - glove, y - glove, x + glove, y + glove), fill="#ffffff", outline=_OUTLINE, width=line)
