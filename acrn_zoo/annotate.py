"""A video and its detections into an annotated video, a frame at a time."""

import math
from pathlib import Path
from types import TracebackType

import torch

from acrn_zoo.data.frames import open_video
from acrn_zoo.data.video import Frame
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.files import require_writable
from acrn_zoo.results import ResultsError
from acrn_zoo.structures import Detections, Keyframe
from acrn_zoo.visualize import draw_detections, enlarged_size

# For the header of the new file only, where the old one states no rate: every frame keeps its own time.
_FALLBACK_FRAME_RATE = 25.0


class AnnotatedVideo:
    """Reads a video once more and writes it with the people and their actions drawn in; a context manager.

    A frame shows the detections of the nearest keyframe (of two as near, the earlier), if that is at most ``hold``
    seconds away. Frames are written as soon as it is certain which keyframe that is, and only one is in memory.
    If the ``with`` block ends with an exception, the file ends with the frames written so far and is valid.

    Args:
        video_path: the video, a file or a folder of frames.
        out_path: the mp4 to write. Its frames are as large as :func:`acrn_zoo.visualize.draw_detections` says.
        hold: seconds, 0 or more; half the time between keyframes shows each until the next takes over.
        top: show at most so many actions of a person.
        threshold: show only actions whose score is above it.
        frame_rate: frames a second of a folder of frames.
        overwrite: replace a file that exists.

    Raises:
        OutputExistsError: if ``out_path`` exists and ``overwrite`` is false.
        ResultsError: if its folder is missing, or it is the video itself.
        VideoError: if the video cannot be read, or the new one not be written.
        ValueError: if ``hold`` is negative.
    """

    def __init__(
        self,
        video_path: str | Path,
        out_path: str | Path,
        *,
        hold: float,
        top: int,
        threshold: float,
        frame_rate: float | None = None,
        overwrite: bool = False,
    ) -> None:
        if not hold >= 0:
            raise ValueError(f"hold is {hold}, expected seconds, 0 or more")
        self.hold, self.top, self.threshold = hold, top, threshold
        self._newest: Detections | None = None
        self._reader = open_video(video_path, frame_rate)
        try:
            self._frames = self._reader.frames()
            self._next_frame = next(self._frames, None)
            self._writer = self._create_writer(Path(out_path), overwrite=overwrite)
        except BaseException:
            self._reader.close()
            raise

    def add(self, detections: Detections) -> None:
        """Take the next keyframe, and write all frames of which it is certain what they show.

        Args:
            detections: of a later keyframe than those before.

        Raises:
            VideoError: if the video breaks off, or the new one cannot be written.
            ValueError: if the keyframe is not later, or the detections are in pixels of other frames.
        """
        moment = detections.keyframe.timestamp
        if self._newest is not None:
            previous = self._newest.keyframe.timestamp
            if moment <= previous:
                raise ValueError(f"keyframe {moment} s comes after {previous} s, expected ascending keyframes")
            self._write_until((previous + moment) / 2, self._newest)
        self._write_until(moment, detections)
        self._newest = detections

    def close(self) -> None:
        """Write the remaining frames and finish the file; a second call does nothing.

        Raises:
            VideoError: if the video breaks off, or the new one cannot be written.
        """
        try:
            self._write_until(math.inf, self._newest)
        finally:
            self._release()

    def __enter__(self) -> "AnnotatedVideo":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is None:
            self.close()
        else:
            self._release()

    def _create_writer(self, path: Path, *, overwrite: bool) -> VideoWriter:
        require_writable(path, overwrite=overwrite)
        info = self._reader.info
        if path.exists():
            if path.samefile(info.path):
                raise ResultsError(f"{path} is the video itself; choose another name for the annotated one")
            path.unlink()
        self._size = (info.height, info.width)
        return VideoWriter(path, enlarged_size(self._size), info.frame_rate or _FALLBACK_FRAME_RATE)

    def _write_until(self, end: float, nearest: Detections | None) -> None:
        """Write the frames up to ``end`` seconds, whose nearest keyframe is that of ``nearest``."""
        while self._next_frame is not None and self._next_frame.time <= end:
            self._write(self._next_frame, nearest)
            self._next_frame = None  # lets go of the picture before the next is decoded
            self._next_frame = next(self._frames, None)

    def _write(self, frame: Frame, nearest: Detections | None) -> None:
        # The sum forgives the rounding of a difference that is just `hold` on paper.
        is_near = nearest is not None and abs(frame.time - nearest.keyframe.timestamp) <= self.hold + 1e-6
        shown = nearest if nearest is not None and is_near else _nobody(self._size)
        image = draw_detections(frame.rgb(), shown, top=self.top, threshold=self.threshold)
        self._writer.write(image, frame.time)

    def _release(self) -> None:
        self._next_frame = None
        try:
            self._writer.close()
        finally:
            self._reader.close()


def _nobody(size: tuple[int, int]) -> Detections:
    return Detections(
        keyframe=Keyframe("", 0.0),
        frame_size=size,
        boxes=torch.zeros(0, 4),
        person_scores=torch.zeros(0),
        scores=torch.zeros(0, 0),
        categories=(),
    )
