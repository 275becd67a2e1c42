"""A small generated video of walking figures, for tests and speed measurements: every box is known by construction."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from acrn_zoo.data.video_writer import VideoWriter

_SUPERSAMPLING = 3  # figures are drawn larger and scaled down, so that their edges are smooth
_SHIRTS = ("#c8553d", "#2f6690", "#e0a030", "#588157", "#7b4b94", "#3aaed8")
_SKINS = ("#f1c27d", "#c68642", "#8d5524", "#ffdbac")
_TROUSERS = ("#2b2d42", "#4a4e69", "#3d3522")


@dataclass(frozen=True)
class _Figure:
    """A walker: ``x`` of the middle at time 0 and ``feet`` (y) in pixels, ``speed`` in pixels a second."""

    x: float
    feet: float
    height: float
    speed: float
    shirt: str
    skin: str
    trousers: str


@dataclass(frozen=True)
class SyntheticVideo:
    """A generated video and what is in it.

    Args:
        path: the mp4 file.
        size: height and width of its frames in pixels.
        seconds: its length.
        figures: its people.
    """

    path: Path
    size: tuple[int, int]
    seconds: float
    figures: tuple[_Figure, ...]

    def boxes(self, timestamp: float) -> Tensor:
        """``[R, 4]`` float32: the people at ``timestamp`` (seconds), xyxy in pixels, always in the same order."""
        rows = [_box(figure, timestamp, self.size[1]) for figure in self.figures]
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def write_synthetic_video(
    path: str | Path,
    *,
    seed: int = 0,
    seconds: float = 4.0,
    size: tuple[int, int] = (256, 340),
    frame_rate: int = 30,
    num_people: int = 3,
) -> SyntheticVideo:
    """Write an mp4 of simple figures that walk to and fro before a plain wall.

    Args:
        path: the new file.
        seed: the same seed gives the same video.
        seconds: length; at least one frame is written.
        size: height and width in pixels.
        frame_rate: frames a second.
        num_people: how many figures, all of them always wholly in the picture.

    Raises:
        VideoError: if the file exists or cannot be written.
    """
    dice = random.Random(seed)  # noqa: S311
    shirts = dice.sample(_SHIRTS, len(_SHIRTS))
    places = [(index + 0.5) / max(1, num_people) for index in range(num_people)]
    columns = dice.sample(places, num_people)
    figures = tuple(
        _new_figure(column, depth, size, shirts[index % len(shirts)], dice)
        for index, (column, depth) in enumerate(zip(columns, places, strict=True))
    )
    background = _background(size, seed)
    with VideoWriter(path, size, frame_rate) as writer:
        for number in range(max(1, round(seconds * frame_rate))):
            time = number / frame_rate
            writer.write(_draw(background, figures, time, size), time)
    return SyntheticVideo(Path(path), size, seconds, figures)


def _new_figure(column: float, depth: float, size: tuple[int, int], shirt: str, dice: random.Random) -> _Figure:
    """A figure at a column (0 left, 1 right) and depth (0 far, 1 near: larger, lower, drawn over the others)."""
    height, width = size
    return _Figure(
        x=width * (0.1 + 0.8 * column),
        feet=height * (0.74 + 0.22 * depth),
        height=height * (0.45 + 0.2 * depth),
        speed=width * dice.uniform(0.05, 0.14) * dice.choice((-1, 1)),
        shirt=shirt,
        skin=dice.choice(_SKINS),
        trousers=dice.choice(_TROUSERS),
    )


def _box(figure: _Figure, time: float, width: int) -> tuple[float, float, float, float]:
    """Where a figure is: it turns round at the borders of the picture. It is 0.36 times as wide as high."""
    half = 0.18 * figure.height
    reach = width - 2 * half
    # unfold the way there and back into one line of twice the reach
    along = (figure.x - half + figure.speed * time) % (2 * reach)
    middle = half + min(along, 2 * reach - along)
    return middle - half, figure.feet - figure.height, middle + half, figure.feet


def _background(size: tuple[int, int], seed: int) -> Image.Image:
    """A wall and a floor, each with a soft grain."""
    height, width = (side * _SUPERSAMPLING for side in size)
    image = Image.new("RGB", (width, height), "#cfd3cd")
    draw = ImageDraw.Draw(image)
    for x in range(0, width, width // 6):
        draw.rectangle((x, 0, x + width // 12, height), fill="#c8cdc6")
    draw.rectangle((0, int(height * 0.66), width, height), fill="#a08f7a")
    draw.rectangle((0, int(height * 0.645), width, int(height * 0.66)), fill="#f2efe8")
    grain = np.random.default_rng(seed).normal(0, 22, (height, width, 1))
    noisy = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(noisy).filter(ImageFilter.GaussianBlur(_SUPERSAMPLING))


def _draw(background: Image.Image, figures: tuple[_Figure, ...], time: float, size: tuple[int, int]) -> np.ndarray:
    image = background.copy()
    draw = ImageDraw.Draw(image)
    for figure in figures:
        box = np.array(_box(figure, time, size[1])) * _SUPERSAMPLING
        _draw_figure(draw, figure, box, time)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX))


def _draw_figure(draw: ImageDraw.ImageDraw, figure: _Figure, box: np.ndarray, time: float) -> None:
    """Shadow, legs, arms, body and head, filling the box from hair to soles; limbs swing as it walks."""
    left, top, right, bottom = box.tolist()
    height, middle, half = bottom - top, (left + right) / 2, (right - left) / 2
    swing = np.sin(2 * np.pi * 1.6 * time + figure.x) * half * 0.75
    shoulder, hip, sole = top + 0.24 * height, top + 0.55 * height, bottom - 0.03 * height
    limb = round(0.085 * height)

    def stroke(start: tuple[float, float], end: tuple[float, float], color: str, width: int) -> None:
        draw.line((*start, *end), fill=color, width=width)
        for x, y in (start, end):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=color)

    draw.ellipse((left, bottom - 0.03 * height, right, bottom + 0.015 * height), fill="#857662")
    for side in (-1, 1):
        stroke((middle + side * half * 0.2, hip), (middle + side * swing, sole), figure.trousers, limb)
    stroke((middle, shoulder + 0.02 * height), (middle - swing, hip), figure.skin, round(limb * 0.7))
    body = (middle - half * 0.5, shoulder - 0.04 * height, middle + half * 0.5, hip + 0.04 * height)
    draw.rounded_rectangle(body, radius=half * 0.4, fill=figure.shirt)
    stroke((middle, shoulder + 0.02 * height), (middle + swing, hip), figure.skin, round(limb * 0.7))
    head = 0.085 * height
    draw.ellipse((middle - head, top, middle + head, top + 2.3 * head), fill="#3b2a20")
    draw.ellipse((middle - 0.85 * head, top + 0.6 * head, middle + 0.85 * head, top + 2.35 * head), fill=figure.skin)
