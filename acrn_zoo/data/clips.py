"""Which frames make the clip of a keyframe, gathered while the video streams by once."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acrn_zoo.data.frames import Video
from acrn_zoo.data.video import Frame, VideoError

_TIE = 1e-6  # seconds within which a wanted time counts as halfway between two frames
_SEEK_AHEAD = 10.0  # seconds: a smaller gap between two clips is decoded through

END_TOLERANCE = 2e-3
"""Seconds behind the end of a video at which an annotated keyframe still shows its last frame: a video of whole seconds
often has a keyframe at its very end."""


@dataclass(frozen=True)
class ClipSampling:
    """The times of a clip's frames round its keyframe, which is number ``length // 2``.

    The defaults are those of the published models: 32 frames, every second one of 30 frames a second.

    Args:
        length: number of frames T.
        interval: seconds from one to the next.
    """

    length: int = 32
    interval: float = 2 / 30

    def __post_init__(self) -> None:
        if self.length < 1 or not 0 < self.interval < math.inf:
            raise ValueError(f"length is {self.length}, interval {self.interval}: expected positive numbers")

    def times(self, timestamp: float) -> list[float]:
        """The T wanted times for the keyframe at ``timestamp``, in seconds; some may be outside the video."""
        return [timestamp + (index - self.length // 2) * self.interval for index in range(self.length)]


@dataclass(frozen=True, eq=False)
class ClipFrames:
    """The frames of one clip.

    Args:
        timestamp: of the keyframe, in seconds from the first frame of the video.
        frames: ``[T, h, w, 3]`` uint8 RGB, resized.
        keyframe: ``[H, W, 3]`` uint8 RGB, the keyframe at the video's own size.
    """

    timestamp: float
    frames: Tensor
    keyframe: Tensor


@dataclass(eq=False)
class _OpenClip:
    """A clip whose frames are still being gathered; clips share the tensors they have in common."""

    timestamp: float
    wanted: list[float]
    frames: list[Tensor] = field(default_factory=list)
    keyframe: Tensor | None = None

    def take(self, picture: "_Picture", until: float) -> None:
        """Use the picture for every wanted time up to ``until`` that has no frame yet."""
        while len(self.frames) < len(self.wanted) and self.wanted[len(self.frames)] <= until:
            if len(self.frames) == len(self.wanted) // 2:
                self.keyframe = picture.full()
            self.frames.append(picture.resized())

    def is_complete(self) -> bool:
        return len(self.frames) == len(self.wanted)

    def finish(self) -> ClipFrames:
        assert self.keyframe is not None
        return ClipFrames(self.timestamp, torch.stack(self.frames), self.keyframe)


class _Picture:
    """A frame that is converted and resized at most once, and only if some clip uses it."""

    def __init__(self, frame: Frame, resize: Callable[[Tensor], Tensor]) -> None:
        self._frame = frame
        self._resize = resize
        self._full: Tensor | None = None
        self._resized: Tensor | None = None

    def full(self) -> Tensor:
        if self._full is None:
            self._full = self._frame.rgb()
        return self._full

    def resized(self) -> Tensor:
        if self._resized is None:
            self._resized = self._resize(self.full())
        return self._resized


def read_clips(
    video: Video,
    timestamps: Iterable[float],
    sampling: ClipSampling,
    resize: Callable[[Tensor], Tensor],
    *,
    tolerance: float = 0.0,
) -> Iterator[ClipFrames]:
    """Read the clips round the keyframes at ``timestamps`` in one pass over the video.

    A wanted time takes the nearest frame, the earlier one where two are equally near, the first or last frame
    where it lies outside the video. Every frame is decoded once, and converted and resized at most once,
    however many clips share it; long stretches that no clip needs are skipped. Memory does not grow with the
    length of the video: only the clips that overlap one moment are held.

    Args:
        video: the open video, a file or a folder of frames.
        timestamps: seconds, ascending, perhaps without end (reading stops with the video). One at or after
            the end of the video yields nothing, but for the tolerance.
        sampling: the frames of a clip.
        resize: from ``[H, W, 3]`` uint8 to ``[h, w, 3]`` uint8, always the same size.
        tolerance: seconds by which a timestamp may lie behind the video and still show its last frame.

    Yields:
        One record a timestamp, in order.

    Raises:
        VideoError: if the video breaks off; the clips whose keyframe could be decoded come first. If a picture
            of a folder of frames cannot be read; the clips that are complete before it come first.
        ValueError: if a timestamp is negative or not finite, or they do not ascend.
    """
    coming = _checked(timestamps)
    upcoming = next(coming, None)
    open_clips: deque[_OpenClip] = deque()
    frames = _Lookahead(video, tolerance)
    while upcoming is not None or open_clips:
        if upcoming is not None and not open_clips:
            frames.skip_to(sampling.times(upcoming)[0])
        frame, until = frames.advance()
        if frame is None:
            break
        while upcoming is not None and sampling.times(upcoming)[0] <= until and upcoming < frames.end:
            open_clips.append(_OpenClip(upcoming, sampling.times(upcoming)))
            upcoming = next(coming, None)
        picture = _Picture(frame, resize)
        for clip in open_clips:
            if clip.timestamp < frames.end:
                clip.take(picture, until)
        while open_clips and open_clips[0].is_complete():
            yield open_clips.popleft().finish()
    if frames.error is not None:
        raise frames.error


class _Lookahead:
    """The frames of a video with the time up to which each is the nearest; looks one frame ahead."""

    def __init__(self, video: Video, tolerance: float) -> None:
        self.end = math.inf  # of what may be asked for; known once the last frame is there
        self._tolerance = tolerance
        self.error: VideoError | None = None  # why the video ended early
        self._video = video
        self._skipped_to = 0.0
        self._frames = video.frames()
        self._next = self._fetch()

    def skip_to(self, time: float) -> None:
        """Make sure that the frames nearest to ``time`` are still to come, and jump if they are far ahead."""
        if self._next is None or time < self._next.time + _SEEK_AHEAD or time == self._skipped_to:
            return
        self._skipped_to = time
        # with no key frame between here and there, or in a format without seeking, reading on is best
        if self._video.seek_point(time) > self._next.time:
            self._frames = self._video.frames(time)
            self._next = self._fetch()

    def advance(self) -> tuple[Frame | None, float]:
        """The next frame and the time up to which it is nearer than the one after it."""
        frame = self._next
        if frame is None:
            return None, math.inf
        self._next = self._fetch()
        if self._next is None:
            self.end = frame.time + frame.duration - _TIE + self._tolerance
            return frame, math.inf
        return frame, (frame.time + self._next.time) / 2 + _TIE

    def _fetch(self) -> Frame | None:
        try:
            return next(self._frames, None)
        except VideoError as error:
            self.error = error
            return None


def _checked(timestamps: Iterable[float]) -> Iterator[float]:
    previous = -math.inf
    for timestamp in timestamps:
        if not 0 <= timestamp < math.inf:
            raise ValueError(f"timestamp {timestamp} is not a number of seconds from the start of the video")
        if timestamp <= previous:
            raise ValueError(f"timestamp {timestamp} comes after {previous}: sort them, each once")
        previous = timestamp
        yield timestamp
