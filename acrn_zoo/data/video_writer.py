"""Frames into an mp4 that plays even if the program is killed while it writes."""

import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from acrn_zoo.data.video import VideoError

_WRITER_TIME_BASE = Fraction(1, 90000)


class VideoWriter:
    """Writes an mp4 (H.264, yuv420p) that plays up to about its last second even if the program is killed.

    While it is written it consists of fragments of one second; closing turns it into an ordinary mp4.
    An odd height or width grows by one pixel (its last row or column once more), as yuv420p halves both.

    Args:
        path: the new file; its folder must exist.
        size: height and width of the frames.
        frame_rate: frames a second, as announced in the header; the times given to :meth:`write` count.
        constant_rate_factor: of x264, 0 to 51; the higher, the smaller the file and the poorer the picture.

    Raises:
        VideoError: if the file exists already, or cannot be written.
        ValueError: if a number is out of range.
    """

    def __init__(
        self, path: str | Path, size: tuple[int, int], frame_rate: Fraction | float, *, constant_rate_factor: int = 20
    ) -> None:
        self.path = Path(path)
        self.size = size
        self._last_stamp = -1
        self._is_closed = False
        if min(size) < 1 or not 0 < frame_rate < math.inf:
            raise ValueError(f"size is {size} and frame_rate {frame_rate}, expected positive numbers")
        if not 0 <= constant_rate_factor <= 51:
            raise ValueError(f"constant_rate_factor is {constant_rate_factor}, expected 0 to 51")
        self._rate_factor = constant_rate_factor
        self._rate = Fraction(frame_rate).limit_denominator(100000)
        self._output: tuple[OutputContainer, VideoStream] | None = None
        try:
            self.path.open("xb").close()  # a bad folder shows now, not after hours
        except FileExistsError:
            raise VideoError(f"{self.path}: exists already. Choose another name, or remove it first.") from None
        except OSError as error:
            raise self._cannot_write(error) from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, frame: Tensor | np.ndarray, time: float) -> None:
        """Append a frame.

        Args:
            frame: ``[H, W, 3]`` uint8 RGB of the writer's size.
            time: seconds; later than that of the frame before.

        Raises:
            ValueError: if the frame is of another size or type, the time does not advance, or the writer is
                closed.
            VideoError: if the file cannot be written, for instance because the disk is full.
        """
        if self._is_closed:
            raise ValueError(f"{self.path}: the writer is closed")
        array = np.asarray(frame)
        if array.shape != (*self.size, 3) or array.dtype != np.uint8:
            expected = (*self.size, 3)
            raise ValueError(f"frame is {array.dtype} {array.shape}, expected uint8 {expected}")
        stamp = round(time / _WRITER_TIME_BASE) if math.isfinite(time) else -1
        if stamp <= self._last_stamp:
            raise ValueError(f"time is {time}, expected seconds after those of the frame before")
        self._last_stamp = stamp
        height, width = self.size
        padded = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        picture.pts, picture.time_base = stamp, _WRITER_TIME_BASE
        try:
            container, stream = self._output = self._output or self._open()
            container.mux(stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Write what is pending and finish the file; a second call does nothing. Without any frame no file is left."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._output is None:
            self.path.unlink(missing_ok=True)
            return
        container, stream = self._output
        try:
            try:
                container.mux(stream.encode(None))
            finally:
                container.close()
        except (av.FFmpegError, OSError) as error:
            raise self._cannot_write(error) from error

    def _open(self) -> tuple[OutputContainer, VideoStream]:
        """Begin the file. Not before there is a frame: FFmpeg crashes when it closes one that has none."""
        flags = {"movflags": "+hybrid_fragmented+frag_keyframe", "flush_packets": "1"}
        container = av.open(f"file:{self.path}", "w", format="mp4", container_options=flags)
        stream = container.add_stream(
            "libx264",
            rate=self._rate,
            # without B-frames and with a short look-ahead, little is pending when the program is killed
            options={"crf": str(self._rate_factor), "preset": "veryfast", "bf": "0", "rc-lookahead": "5"},
        )
        stream.height, stream.width = (side + side % 2 for side in self.size)
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(1, round(self._rate))
        stream.codec_context.time_base = _WRITER_TIME_BASE
        return container, stream

    def _cannot_write(self, error: OSError | av.FFmpegError) -> VideoError:
        return VideoError(
            f"{self.path}: cannot be written ({error.strerror}). Choose a folder that exists, that you may "
            "write to, and that has room."
        )
