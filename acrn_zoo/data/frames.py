"""Folders of frames: numbered pictures, read as if they were a video file.

The pictures are named alike and numbered without a gap: ``img_00001.jpg`` (MMAction2), ``VIDEO_ID_000001.jpg``
(PySlowFast), ``00001.png`` (J-HMDB). The first of them, number 0 or 1, is shown at time 0 and picture number
``k``, counted from 0, at ``k / frame_rate`` seconds.

AVA's folders, cut from second 900 of the film at 30 frames a second, thus show second ``t`` of the film in
picture ``30 (t - 900)`` counted from 0: the file with the number ``30 (t - 900) + 1``. PySlowFast reads that
one, and so did MMAction2 when its published checkpoints were trained. MMAction2 since June 2023 (1dc3a9aa) adds
the 1 twice and reads the file after it. Weights from elsewhere gain nothing by that; whoever must repeat it
gives the folder the offset ``900 - 1 / 30`` in place of 900.
"""

import math
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from acrn_zoo.data.video import Frame, VideoError, VideoInfo, VideoReader

_PICTURE_NAME = re.compile(r"(.*?)([0-9]+)(\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)
_FLOW = ("flow_x_", "flow_y_")  # optical flow, which MMAction2 keeps beside the frames
_CODECS = {"JPEG": "mjpeg", "PNG": "png", "MPO": "mjpeg"}
_EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")
_EXPECTED = "expected pictures numbered from 0 or 1, such as img_00001.jpg, img_00002.jpg, ..."


class FrameFolder:
    """Reads a folder of numbered pictures (JPEG or PNG) as :class:`acrn_zoo.data.video.VideoReader` reads a file.

    A picture is decoded when its frame is converted, so skipping costs nothing. Other files, and optical flow
    (``flow_x_00001.jpg``), are left alone. A picture that says by EXIF which way is up is turned.

    Args:
        path: the folder.
        frame_rate: pictures a second; 30 for AVA's folders.

    Raises:
        VideoError: if the folder is missing, holds no numbered pictures or several sets of them, if a number is
            missing, or the first picture cannot be read.
        ValueError: if ``frame_rate`` is not positive.
    """

    def __init__(self, path: str | Path, frame_rate: float) -> None:
        if not 0 < frame_rate < math.inf:
            raise ValueError(f"frame_rate is {frame_rate}, expected a positive number of frames a second")
        self.path = Path(path)
        self._is_closed = False
        self._rate = frame_rate
        try:
            self._series = _find_series(self.path, self.path.stat().st_mtime_ns)
        except OSError as error:
            raise VideoError(f"{self.path}: the folder cannot be read ({error.strerror}).") from error
        first, codec = _read_picture(self.path / self._series.name(0))
        height, width = first.shape[:2]
        self.info = VideoInfo(
            path=self.path,
            width=width,
            height=height,
            duration=self._series.count / frame_rate,
            frame_rate=float(frame_rate),
            num_frames=self._series.count,
            codec=codec,
        )

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; iterators that still run raise ``ValueError`` when asked for another frame."""
        self._is_closed = True

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """The frames in the order of their numbers, beginning with the last one at or before ``start``.

        Args:
            start: seconds from the first frame.

        Raises:
            ValueError: if ``start`` is not finite, or the reader is closed.
            VideoError: when a frame is converted whose picture cannot be read or is of another size than the first.
        """
        if not math.isfinite(start):
            raise ValueError(f"start is {start}, expected seconds")
        for index in range(self._index_at(start), self._series.count):
            if self._is_closed:
                raise ValueError(f"{self.path}: the reader is closed")
            yield Frame(index / self._rate, 1 / self._rate, partial(self._read, index))

    def frame_times(self) -> Iterator[float]:
        """The times of all frames, ascending; no picture is opened."""
        return (index / self._rate for index in range(self._series.count))

    def seek_point(self, start: float) -> float:
        """The time at which reading for ``frames(start)`` begins: that of its first frame."""
        return self._index_at(start) / self._rate

    def _index_at(self, time: float) -> int:
        after = bisect_right(range(self._series.count), time, key=lambda index: index / self._rate)
        return max(0, after - 1)

    def _read(self, index: int) -> Tensor:
        path = self.path / self._series.name(index)
        picture, _ = _read_picture(path)
        height, width = picture.shape[:2]
        if (height, width) != (self.info.height, self.info.width):
            raise VideoError(
                f"{path}: the picture is {width}x{height}, the first of the folder {self.info.width}x"
                f"{self.info.height}; expected one size. Extract the frames of this video again."
            )
        return picture


Video: TypeAlias = VideoReader | FrameFolder
"""What clips are read from: a file or a folder of frames."""


def open_video(path: str | Path, frame_rate: float | None = None, decoder: str = "pyav") -> Video:
    """Open a video file or a folder of frames.

    Args:
        path: the file or the folder.
        frame_rate: pictures a second of a folder, which cannot say so itself. Not used for a file: it has its own.
        decoder: of a file: "pyav" or "torchcodec". Not used for a folder.

    Raises:
        VideoError: if it cannot be read, or is a folder and ``frame_rate`` is None.
    """
    if not Path(path).is_dir():
        return VideoReader(path, decoder=decoder)
    if frame_rate is None:
        raise VideoError(
            f"{path}: is a folder of frames, which cannot say how many frames a second it has. Give frame_rate "
            "(--frame-rate, or in dataset.json); it is 30 for AVA's folders."
        )
    return FrameFolder(path, frame_rate)


@dataclass(frozen=True)
class _Series:
    """The names of a folder's frames; all of them follow from these, so that nothing has to be kept per frame."""

    prefix: str
    width: int
    suffix: str
    first: int
    count: int

    def name(self, index: int) -> str:
        return f"{self.prefix}{self.first + index:0{self.width}d}{self.suffix}"


@lru_cache(maxsize=4096)  # a dataset opens the same folders again and again; listing 27,000 names takes its time
def _find_series(folder: Path, _modified: int) -> _Series:
    found: dict[tuple[str, str], list[str]] = {}
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for match in filter(None, map(_PICTURE_NAME.fullmatch, names)):
        if not match[0].startswith((".", *_FLOW)):
            prefix, digits, suffix = match.groups()
            found.setdefault((prefix, suffix), []).append(digits)
    if not found:
        raise VideoError(f"{folder}: the folder holds no numbered pictures; {_EXPECTED}")
    if len(found) > 1:
        examples = sorted(f"{prefix}{min(digits)}{suffix}" for (prefix, suffix), digits in found.items())
        raise VideoError(
            f"{folder}: the folder holds several sets of numbered pictures ({', '.join(examples[:3])}); expected the "
            "frames of one video, named alike. Move the others elsewhere."
        )
    ((prefix, suffix), all_digits) = found.popitem()
    return _checked_series(folder, prefix, suffix, all_digits)


def _checked_series(folder: Path, prefix: str, suffix: str, all_digits: list[str]) -> _Series:
    numbers = sorted(int(digits) for digits in all_digits)
    series = _Series(prefix, min(map(len, all_digits)), suffix, numbers[0], len(numbers))
    for digits in all_digits:
        if digits != f"{int(digits):0{series.width}d}":
            raise VideoError(
                f"{folder}: some numbers are padded with zeros and others not ({prefix}{digits}{suffix}); expected "
                "all names with as many digits. Rename them, so that none is there twice."
            )
    if series.first > 1:
        raise VideoError(
            f"{folder}: the first frame is {series.name(0)}; {_EXPECTED} If frames before it are missing, extract "
            "them again, else number them anew: the time of a frame is told by its number."
        )
    num_missing = numbers[-1] - series.first + 1 - len(numbers)
    if num_missing:
        gap = next(index for index, number in enumerate(numbers) if number != series.first + index)
        raise VideoError(
            f"{folder}: the frame {series.name(gap)} is missing ({num_missing} in all up to "
            f"{prefix}{numbers[-1]:0{series.width}d}{suffix}). Extract the frames of this video again."
        )
    return series


def _read_picture(path: Path) -> tuple[Tensor, str]:
    """The upright picture ``[H, W, 3]`` uint8 RGB, and its codec."""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise ValueError(f"its pixels are of the kind {image.mode}, expected 8 bits each")
            codec = _CODECS[image.format or "JPEG"]
            is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            rgb = (image if is_upright else ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        reason = "neither JPEG nor PNG" if isinstance(error, UnidentifiedImageError) else reason
        raise VideoError(f"{path}: this frame cannot be read ({reason}). Extract or get it again.") from error
    return torch.from_numpy(np.array(rgb)), codec
