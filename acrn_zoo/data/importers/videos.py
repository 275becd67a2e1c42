"""The videos that annotations are about: where they are, how large, and when their frames are shown."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.frames import FrameFolder, Video, open_video
from acrn_zoo.data.importers.marks import VIDEO_SUFFIXES, ImportFileError, Source, split_picture_name, stem
from acrn_zoo.data.manifest import CUT_SECONDS, FILM_SECONDS, OffsetError, resolve_offset
from acrn_zoo.data.video import VideoInfo

_PICTURES = (".jpg", ".jpeg", ".png")
_TOLERANCE = 1e-3  # seconds by which a moment may lie past the end


@dataclass(frozen=True)
class FoundVideo:
    """A video that annotations are about.

    Args:
        video_id: its name in the dataset.
        path: the file or the folder of frames; None if it is not at hand.
    """

    video_id: str
    path: Path | None


def find_video(source: Source, place: Path | None, *, is_only: bool) -> FoundVideo:
    """The video of a source.

    Args:
        source: what the annotation file calls it.
        place: the folder of the videos, or the video itself; None if they are not at hand.
        is_only: whether the annotations are about one video alone: then ``place`` may be that one, whatever its
            name.

    Raises:
        ImportFileError: saying what was looked for, if it is not there or there are several.
    """
    if place is None:
        return FoundVideo(stem(source.names[0]), None)
    if not place.exists():
        raise ImportFileError(f"{place}: there is no such folder or file of videos")
    if place.is_file() or (is_only and _holds_pictures(place)):
        if not is_only:
            raise ImportFileError(f"{place} is one video, but the annotations are about several: name their folder")
        return FoundVideo(stem(place.name), place)
    for name in source.names:
        clean = name.replace("\\", "/")
        found = [path for path in (place / clean, place / Path(clean).name) if _is_video(path)][:1]
        found = found or sorted(path for path in place.glob(f"{_literal(stem(name))}.*") if _is_video(path))
        found = found or [path for path in (place / stem(name),) if _is_video(path)]
        if len(found) > 1:
            raise ImportFileError(f"{place} holds several videos {stem(name)!r}: {found[0].name} and {found[1].name}")
        if found:
            return FoundVideo(stem(found[0].name), found[0])
    names = " or ".join(repr(name) for name in dict.fromkeys(source.names))
    raise ImportFileError(
        f"{source.file} is about the video {names}, which is not in {place}. Rename the file, or name the video "
        "itself (--videos FILE) if the annotations are about one alone"
    )


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES if path.is_file() else path.is_dir() and _holds_pictures(path)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _holds_pictures(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(_PICTURES) for entry in entries)


class Clock:
    """Size and times of one video.

    Args:
        found: the video.
        frame_rate: frames a second: of a folder of frames, of pictures that were extracted from a file, or of a
            video that is not at hand. Where it is None, the times are those of the file.
        size: height and width, for videos that are not at hand.
        offset: second of the annotations that the first frame shows; None to find it by the video's length.

    Raises:
        ImportFileError: if the length does not tell, or nobody says the frame rate of a folder.
    """

    def __init__(
        self,
        found: FoundVideo,
        frame_rate: float | None,
        size: tuple[int, int] | None,
        offset: float | None = 0.0,
    ) -> None:
        self.found = found
        self._frame_rate = frame_rate
        self._size = size
        if found.path is not None and found.path.is_dir() and frame_rate is None:
            raise ImportFileError(
                f"{found.path} is a folder of frames, which cannot say how many a second they are: --frame-rate"
            )
        self._video: Video | None = None if found.path is None else open_video(found.path, frame_rate)
        self._times: npt.NDArray[np.float64] = np.empty(0)
        self.offset = _offset(found, self.info, offset)

    def size(self, source: Source) -> tuple[int, int]:
        """Height and width.

        Raises:
            ImportFileError: if nobody knows it, or the annotations state another than the video has.
        """
        if self._video is not None:
            actual = (self._video.info.height, self._video.info.width)
            if source.size not in (None, actual):
                assert source.size is not None
                raise ImportFileError(
                    f"{source.file} was made on frames of {source.size[1]}x{source.size[0]}, but {self.found.path} "
                    f"has {actual[1]}x{actual[0]} (width x height): is this the video that was annotated?"
                )
            return actual
        if source.size is None and self._size is None:
            raise ImportFileError(
                f"{source.file} does not say how large the frames of {self.found.video_id!r} are. Say where the "
                "videos are (--videos), or their size (--size WIDTHxHEIGHT)"
            )
        return source.size or self._size or (0, 0)

    def first_number(self, source: Source) -> int:
        """The number of the first frame, as the source counts: 0 or 1.

        Where the source does not say so, as names of pictures do not: 0 if a picture has that number, in the
        folder of frames or else in the annotations.
        """
        if source.counts_from is not None:
            return source.counts_from
        lowest = source.lowest
        if isinstance(self._video, FrameFolder) and self.found.path is not None:
            numbered = filter(None, (split_picture_name(entry.name) for entry in self.found.path.iterdir()))
            lowest = min(number for _, number in numbered)
        return min(lowest, 1)

    def times(self, count: int, source: Source) -> npt.NDArray[np.float64]:
        """``[count]`` seconds, in the time of the annotations, at which the first frames are shown.

        Raises:
            ImportFileError: if the video has fewer frames, or nobody knows the times.
        """
        if self._frame_rate is not None:
            times = np.arange(count) / self._frame_rate + self.offset
            if outside := self._outside(float(times[-1])):
                raise ImportFileError(
                    f"{source.file}: frame {count - 1} (counted from 0) of {self.found.video_id!r} is at "
                    f"{times[-1]:.3f} s by {self._frame_rate:g} frames a second, outside {outside}: is "
                    "--frame-rate right?"
                )
            return times
        if self._video is None:
            raise ImportFileError(
                f"{source.file} gives frame numbers of {self.found.video_id!r}, not times. Say where the videos are "
                "(--videos), or how many frames a second they have (--frame-rate)"
            )
        if len(self._times) < count:
            self._times = _read_times(self._video, count)
        if len(self._times) < count:
            raise ImportFileError(
                f"{source.file}: frame {count - 1} (counted from 0) of {self.found.video_id!r} is annotated, but "
                f"{self.found.path} has only {len(self._times)} frames: is this the video that was annotated?"
            )
        return self._times[:count] + self.offset

    def require_within(self, seconds: float, source: Source, what: str) -> None:
        """Check that a moment, in the time of the annotations, lies in the video.

        Raises:
            ImportFileError: if it lies past the end, naming both.
        """
        if outside := self._outside(seconds):
            raise ImportFileError(
                f"{source.file}: {what} of {self.found.video_id!r} is at {seconds:.3f} s, outside {outside}. If the "
                "annotations count from another moment, say which second the first frame shows: --offset SECONDS (900 "
                "for 15-minute cuts of AVA's films)"
            )

    def _outside(self, seconds: float) -> str | None:
        """The video, in words, if a moment is not in it."""
        duration = None if self.info is None else self.info.duration
        since = seconds - self.offset
        if since >= 0 and (duration is None or since <= duration + _TOLERANCE):
            return None
        length = "" if duration is None else f", which is {duration:.3f} s long"
        begin = f" and begins with second {self.offset:g} (--offset)" if self.offset else ""
        return f"{self.found.path or 'the video'}{length}{begin}"

    @property
    def info(self) -> VideoInfo | None:
        """What the video says about itself; None if it is not at hand."""
        return None if self._video is None else self._video.info

    @property
    def is_folder(self) -> bool:
        """Whether the video is a folder of frames."""
        return isinstance(self._video, FrameFolder)


def _offset(found: FoundVideo, info: VideoInfo | None, offset: float | None) -> float:
    if offset == 0.0:
        return 0.0
    if found.path is None or info is None:
        raise ImportFileError(
            f"The offset of {found.video_id!r} is written beside its path, which is not known: say where the videos "
            "are (--videos)"
        )
    try:
        return resolve_offset(VideoEntry(found.path, offset), info.duration)
    except OffsetError as error:
        length = "does not say how long it is" if info.duration is None else f"is {info.duration:.1f} s long"
        raise ImportFileError(
            f"{found.path} {length}: neither a 15-minute cut of an AVA film ({CUT_SECONDS[0]:g} to "
            f"{CUT_SECONDS[1]:g} s) nor a whole one ({FILM_SECONDS:g} s and more). Say which second of the annotations "
            "its first frame shows: --offset SECONDS"
        ) from error


def _read_times(video: Video, count: int) -> npt.NDArray[np.float64]:
    """The times of the first frames, as many of them as there are."""
    # No further than asked: a file may be damaged behind.
    return np.array(list(islice(video.frame_times(), count)))
