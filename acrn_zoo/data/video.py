"""Video files: frames with their times, read one after another.

Time 0 is the first frame that the video shows. The times are those of the file, never a frame number divided
by a rate, so that variable frame rates, edit lists and a stream that starts at 1.4 s need no care elsewhere.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from acrn_zoo.errors import UserError

if TYPE_CHECKING:
    from torchcodec.decoders import VideoDecoder

# Formats with a time on every frame. In others (AVI, MPEG-PS, raw streams) FFmpeg makes up times as it reads on,
# and other ones after a seek: they are read through from the start.
_CAN_SEEK = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "flv")
_AVI = "avi"
_NO_TIMESTAMPS = 0x80  # FFmpeg's flag of raw formats, AVFMT_NOTIMESTAMPS
# Formats whose packets say when each frame is shown.
_STATES_TIMES = ("mov,", "matroska")
# Formats whose header says how long the whole file is (MPEG-TS and raw streams have no such header).
_STATES_LENGTH = ("matroska,webm", "flv")
_MAY_MISS = 0.5  # seconds between the end of the data and the header's length in files that are whole
_MAY_GO_BACK = 1.0  # seconds by which a damaged time stamp may go back before we call it another recording
_READ_THROUGH = 3.0  # seconds from the start that are sooner decoded than sought
_FASTEST = 1000  # frames a second; where FFmpeg finds no rate it states the ticks of the clock
_SMALL = 256 * 256  # pixels of a picture that one thread decodes as fast as several
_TURNS = [(False, False, False), (True, True, False), (False, True, True), (True, False, True)]  # not mirrored
_STARTS_WITH_NONSENSE = ("mpeg1video", "mpeg2video", "mpeg4")  # decoders that do not wait for a key frame


class VideoError(UserError, RuntimeError):
    """A video file that cannot be read or written; the message names the file and says what to do."""


class _BrokenOffError(Exception):
    """The data end, or turn into nonsense, before the video does."""


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video file says.

    Args:
        path: the file.
        width: of a frame as it is shown (a rotated video is upright), in pixels.
        height: likewise.
        duration: length in seconds, None where the file does not say.
        frame_rate: average number of frames a second, None where the file does not say.
        num_frames: number of frames, None where the file does not say.
        codec: FFmpeg's name of it, such as ``h264``.
    """

    path: Path
    width: int
    height: int
    duration: float | None
    frame_rate: float | None
    num_frames: int | None
    codec: str


class Frame:
    """One picture of a video; it is converted to RGB only when asked for.

    Args:
        time: when it is shown, in seconds from the first frame of the video.
        duration: how long it is shown, in seconds, as far as the file knows.
        convert: makes the RGB picture.
    """

    __slots__ = ("_convert", "duration", "time")

    def __init__(self, time: float, duration: float, convert: Callable[[], Tensor]) -> None:
        self.time = time
        self.duration = duration
        self._convert = convert

    def rgb(self) -> Tensor:
        """The picture, upright: ``[H, W, 3]`` uint8. Every call converts anew."""
        return self._convert()


class VideoReader:
    """Reads the first video stream of a file, frame by frame; memory does not grow with its length.

    Every call of :meth:`frames` opens the file anew, so several may run at once and any may be left early.

    Args:
        path: the video file.
        decoder: ``"pyav"``, or ``"torchcodec"``: the same frames, but only of mp4, mov, mkv and webm, and it
            notices a file that is cut off, not one with damaged pictures inside.

    Raises:
        VideoError: if the file is missing, empty, no video, or not one frame of it decodes; if torchcodec is
            asked for and not installed, or would not give the same frames.
        ValueError: if there is no such decoder.
    """

    def __init__(self, path: str | Path, decoder: str = "pyav") -> None:
        if decoder not in ("pyav", "torchcodec"):
            raise ValueError(f"decoder is {decoder!r}, expected 'pyav' or 'torchcodec'")
        self.path = Path(path)
        self._containers: set[InputContainer] = set()
        self._is_closed = False
        _check_file(self.path)
        self.info = self._probe()
        self._uses_torchcodec = decoder == "torchcodec"
        if self._uses_torchcodec:
            self._open_torchcodec()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; iterators that still run raise ``ValueError`` when asked for another frame."""
        self._is_closed = True
        for container in self._containers:
            container.close()
        self._containers.clear()

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """The frames in the order of their times, beginning with the last one at or before ``start``.

        Frames and times do not depend on ``start``; what lies before it is skipped where the file allows it.

        Args:
            start: seconds from the first frame.

        Raises:
            VideoError: after the last frame that decodes, if the file is damaged or shorter than it says; if
                the size of the picture changes on the way.
            ValueError: if ``start`` is not finite, or the reader is closed.
        """
        if not math.isfinite(start):
            raise ValueError(f"start is {start}, expected seconds")
        before: Frame | None = None
        try:
            for frame in self._torchcodec_near(start) if self._uses_torchcodec else self._decode_near(start):
                if frame.time <= start:
                    before = frame
                    continue
                if before is not None:
                    yield before
                    before = None
                yield frame
        except VideoError:
            if before is not None:
                yield before
            raise
        if before is not None:
            yield before

    def frame_times(self) -> Iterator[float]:
        """The times of all frames, ascending: those of :meth:`frames`, mostly without decoding any.

        Raises:
            VideoError: after the last time, if the file is damaged or shorter than it says.
        """
        if not self._format.startswith(_STATES_TIMES):
            yield from (frame.time for frame in self.frames())
            return
        shown, broken = self._packet_times()
        yield from (time for time, _ in shown)
        if broken is not None:
            raise self._breaks_off(sum(shown[-1]) if shown else 0.0, broken) from broken

    def seek_point(self, start: float) -> float:
        """The time at which decoding for ``frames(start)`` has to begin: a guess, by the file's own index."""
        if not self._can_seek or start <= _READ_THROUGH:
            return 0.0
        container, stream = self._open()
        try:
            with suppress(av.FFmpegError):
                self._seek(container, stream, start)
                packet = next(container.demux(stream), None)
                if packet is not None and packet.pts is not None:
                    return max(0.0, min(start, self._seconds(packet.pts)))
        finally:
            self._close(container)
        return 0.0

    def _probe(self) -> VideoInfo:
        """Decode the first frame: it tells the start time, which way is up, and that decoding works."""
        container, stream = self._open()
        try:
            picture = next(self._pictures(container, stream), None)
            if picture is None:
                raise _BrokenOffError("it holds no frame")
            # FFmpeg calls every raw stream 25 frames a second; only the guess looks into the stream itself
            is_raw = bool(container.format.flags & _NO_TIMESTAMPS)
            rate = stream.guessed_rate if is_raw else stream.average_rate or stream.guessed_rate
            rate = rate if rate and rate <= _FASTEST else None
            self._has_times = container.format.name != _AVI
            self._format, self._stream_index = container.format.name, stream.index
            self._can_seek = container.format.name in _CAN_SEEK
            self._time_base = stream.time_base or Fraction(1, 90000)
            self._frame_duration = float(1 / rate) if rate else 1 / 25
            self._start = self._stamp(picture) or 0
            self._stored_size = (picture.height, picture.width)
            self._orientation = _orientation(picture)
            height, width = self._stored_size[::-1] if self._orientation[0] else self._stored_size
            return VideoInfo(
                path=self.path,
                width=width,
                height=height,
                duration=_stated_duration(container, stream),
                frame_rate=float(rate) if rate else None,
                num_frames=stream.frames or None,
                codec=stream.codec_context.name,
            )
        except _BrokenOffError as error:
            raise VideoError(
                f"{self.path}: no frame of this video decodes ({error}). The file is damaged; get it again."
            ) from error
        finally:
            self._close(container)

    def _decode_near(self, start: float) -> Iterator[Frame]:
        """The frames from one at or before ``start`` on, found by seeking where that is possible."""
        # a seek may land too late (MPEG-TS), or on a key frame shown after the target: then go further back
        for back in (0.0, 2.0, 10.0, 50.0) if self._can_seek and start > _READ_THROUGH else ():
            decoded = self._decode(max(0.0, start - back))
            with suppress(VideoError):
                first = next(decoded, None)
                if first is not None and first.time <= start:
                    yield first
                    break
        else:
            decoded = self._decode(None)
        yield from decoded

    def _decode(self, target: float | None) -> Iterator[Frame]:
        """The frames from the key frame that seeking to ``target`` finds; all of them if it is None."""
        container, stream = self._open()
        convert = _Converter(self._orientation)
        previous: Frame | None = None
        try:
            if target is not None:
                self._seek(container, stream, target)
            for picture in self._pictures(container, stream, is_sought=target is not None):
                time = self._time(picture, previous, is_sought=target is not None)
                if (picture.height, picture.width) != self._stored_size:
                    raise _BrokenOffError(f"the picture changes its size to {picture.width}x{picture.height}")
                duration = float(picture.duration * self._time_base) or self._frame_duration
                previous = Frame(time, duration, partial(convert, picture))
                yield previous
        except _BrokenOffError as error:
            end = 0.0 if previous is None else previous.time + previous.duration
            raise self._breaks_off(end, error) from error
        finally:
            self._close(container)

    def _breaks_off(self, end: float, error: Exception) -> VideoError:
        stated = self.info.duration
        length = "does not say how long it is" if stated is None else f"says {stated:.2f} s"
        return VideoError(
            f"{self.path}: the video breaks off at {end:.2f} s ({error}); its header {length}. The file is cut "
            "off or damaged: get it again, or work with the part before."
        )

    def _open_torchcodec(self) -> "VideoDecoder":
        """A decoder of the same stream, or an error where it is known to give other frames than PyAV."""
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError) as error:  # not installed, or no FFmpeg libraries to load
            raise VideoError(
                'decoder="torchcodec" needs torchcodec and FFmpeg: pip install "acrn-zoo[torchcodec]", and '
                "FFmpeg by your system's package manager."
            ) from error
        # compared with PyAV: it drops frames of AVI and MPEG-TS, and leaves mirrored pictures mirrored
        if not self._format.startswith(_STATES_TIMES) or self._orientation not in _TURNS:
            raise VideoError(
                f'{self.path}: decoder="torchcodec" is not exact for this file ({self._format}, or mirrored '
                'pictures). Use decoder="pyav".'
            )
        return VideoDecoder(
            str(self.path),
            stream_index=self._stream_index,
            dimension_order="NHWC",
            num_ffmpeg_threads=0,
            seek_mode="exact",
        )

    def _torchcodec_near(self, start: float) -> Iterator[Frame]:
        """As :meth:`_decode_near`: the times are those of the packets, torchcodec makes the pictures."""
        shown, broken = self._packet_times()
        decoder = self._open_torchcodec()
        origin = decoder.get_frame_at(0).pts_seconds
        first = max(0, bisect_right(shown, (start, math.inf)) - 1)
        for index, (time, duration) in enumerate(shown[first:], first):
            if self._is_closed:
                raise ValueError(f"{self.path}: the reader is closed")
            try:
                found = decoder.get_frame_at(index)
            except (RuntimeError, IndexError) as error:
                reason = broken or _BrokenOffError("torchcodec decodes no further")
                raise self._breaks_off(time, reason) from error
            if abs(found.pts_seconds - origin - time) > 1e-6:
                raise VideoError(
                    f'{self.path}: torchcodec gives another frame than PyAV at {time:.3f} s. Use decoder="pyav".'
                )
            yield Frame(time, duration, partial(_same, found.data))
        if broken is not None:
            raise self._breaks_off(sum(shown[-1]), broken) from broken

    def _packet_times(self) -> tuple[list[tuple[float, float]], _BrokenOffError | None]:
        """Time and duration of all frames without decoding any, and why there are no more if some are missing."""
        container, stream = self._open()
        shown: list[tuple[float, float]] = []
        broken: _BrokenOffError | None = None
        try:
            for packet in self._packets(container, stream):
                if packet.is_corrupt:
                    raise _BrokenOffError("an incomplete frame")
                if packet.pts is not None and packet.size and not packet.is_discard:
                    duration = float((packet.duration or 0) * self._time_base) or self._frame_duration
                    shown.append((self._seconds(packet.pts), duration))
        except _BrokenOffError as error:
            broken = error
        finally:
            self._close(container)
        return sorted(shown), broken

    def _pictures(
        self, container: InputContainer, stream: VideoStream, is_sought: bool = False
    ) -> Iterator[VideoFrame]:
        """The decoder's sound pictures; unsound ones before the first (cut recordings, seeks) are skipped."""
        has_begun = False
        needs_key = is_sought or stream.codec_context.name in _STARTS_WITH_NONSENSE
        for packet in self._packets(container, stream):
            # the decoder would make a half-grey picture of an incomplete packet: take what it holds back, and stop
            is_incomplete = packet.is_corrupt
            try:
                pictures = stream.decode(None) if is_incomplete else packet.decode()
            except av.FFmpegError as error:
                if has_begun:
                    raise _BrokenOffError(error.strerror) from error
                continue
            for picture in pictures:
                if not has_begun and (picture.is_corrupt or (needs_key and not picture.key_frame)):
                    continue
                if picture.is_corrupt:
                    raise _BrokenOffError("a damaged picture")
                has_begun = True
                yield picture
            if is_incomplete and has_begun:
                raise _BrokenOffError("an incomplete frame")
            if is_incomplete:
                stream.codec_context.flush_buffers()

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
        """The packets of the video stream, then an error if there should be more (FFmpeg raises none)."""
        demuxed = container.demux()
        end = 0.0  # of all streams, since the header states the length of the longest
        last: av.Packet | None = None
        while True:
            if self._is_closed:
                raise ValueError(f"{self.path}: the reader is closed")
            try:
                packet = next(demuxed, None)
            except av.FFmpegError as error:
                yield _flush_packet(stream)
                raise _BrokenOffError(error.strerror) from error
            if packet is None:
                break
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream:
                continue
            last = packet if packet.dts is not None else last
            yield packet
        if _is_cut(container, stream, last, end):
            raise _BrokenOffError("the file ends before the video does")

    def _time(self, picture: VideoFrame, previous: Frame | None, is_sought: bool) -> float:
        """Seconds from the first frame; always later than the previous frame."""
        stamp = self._stamp(picture)
        if previous is None:
            if stamp is None:  # after a seek nobody can tell where we are; infinity sends the caller further back
                return math.inf if is_sought else 0.0
            return self._seconds(stamp)
        time = previous.time + self._frame_duration if stamp is None else self._seconds(stamp)
        if time < previous.time - _MAY_GO_BACK:
            raise _BrokenOffError(f"its clock goes back to {time:.2f} s, as in recordings that were joined")
        return time if time > previous.time else previous.time + float(self._time_base)

    def _stamp(self, picture: VideoFrame) -> int | None:
        # AVI stores no times: what passes for them are the numbers of the packets, in decoding order
        return picture.pts if self._has_times else picture.dts

    def _seconds(self, stamp: int) -> float:
        return float((stamp - self._start) * self._time_base)

    def _open(self) -> tuple[InputContainer, VideoStream]:
        if self._is_closed:
            raise ValueError(f"{self.path}: the reader is closed")
        try:
            # "file:" for names that look like addresses; the whitelist keeps playlists off the network
            container = av.open(f"file:{self.path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path}: {_why_not_open(self.path)}") from error
        try:
            stream = _video_stream(container, self.path)
        except VideoError:
            container.close()
            raise
        # Threads of its own cost a decoder more than they save on a picture of a few thousand pixels.
        is_small = stream.width * stream.height <= _SMALL
        stream.thread_type = "NONE" if is_small else "AUTO"
        self._containers.add(container)
        return container, stream

    def _close(self, container: InputContainer) -> None:
        container.close()
        self._containers.discard(container)

    def _seek(self, container: InputContainer, stream: VideoStream, target: float) -> None:
        with suppress(av.FFmpegError):  # then it stays at the beginning, which is never wrong
            container.seek(self._start + math.floor(target / self._time_base), stream=stream)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise VideoError(
            f"{path}: is a folder, expected a video file. acrn_zoo.data.frames.open_video reads folders of frames."
        )
    if not path.exists():
        raise VideoError(f"{path}: there is no such file.")
    try:
        with path.open("rb") as file:
            head = file.read(7)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror}).") from error
    if not head:
        raise VideoError(f"{path}: the file is empty (0 bytes), expected a video.")
    if head == b"#EXTM3U":  # FFmpeg would wait for ever for a list that goes on
        raise VideoError(f"{path}: is a playlist, expected the video file itself.")


def _why_not_open(path: Path) -> str:
    """What is wrong with a file that FFmpeg does not open."""
    with path.open("rb") as file:
        is_mp4 = file.read(12)[4:8] == b"ftyp"
    if is_mp4:
        return (
            "begins like an mp4 but has no readable index (moov atom): it looks cut off, as by a download or "
            "recording that was interrupted. Get it again."
        )
    return "is not a video that FFmpeg knows, or its header is damaged."


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    name = container.format.name
    if name.endswith("_pipe") or name in ("image2", "tty"):
        kind = "a text file" if name == "tty" else "an image"
        raise VideoError(f"{path}: is {kind}, expected a video.")
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    for stream in container.streams.video:
        if not stream.disposition & covers:
            return stream
    names = {"video": "a cover picture"}
    kinds = " and ".join(sorted({names.get(stream.type, stream.type) for stream in container.streams}))
    found = f"holds no moving picture, only {kinds}" if kinds else "holds nothing: it looks cut off"
    raise VideoError(f"{path}: {found}. Expected a video.")


def _stated_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds, as the header says of the video stream or else of the whole file."""
    if container.format.name == _AVI and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # FFmpeg shortens the other number if the file is cut
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _is_cut(container: InputContainer, stream: VideoStream, last: av.Packet | None, end: float) -> bool:
    """Whether the data ended before the header's word, all streams together at ``end`` seconds."""
    name = container.format.name
    if name.startswith("mov,"):  # its index lists every packet
        index = stream.index_entries
        return len(index) > 0 and (last is None or (last.dts or 0) < index[len(index) - 1].timestamp)
    if name == _AVI:  # its packets are numbered
        num_packets = 0 if last is None else (last.dts or 0) + 1
        return num_packets < stream.frames - _MAY_MISS * float(stream.average_rate or 0)
    if name not in _STATES_LENGTH or container.duration is None:
        return False
    # counted from zero, as FFmpeg writes it even if the first frame comes later
    return end < container.duration / av.time_base - _MAY_MISS


def _flush_packet(stream: VideoStream) -> av.Packet:
    """The empty packet that makes the decoder give out the pictures it holds back."""
    packet = av.Packet()
    packet.stream = stream
    return packet


def _orientation(picture: VideoFrame) -> tuple[bool, bool, bool]:
    """How to set a picture upright: exchange rows and columns, then mirror left-right, then top-bottom."""
    side_data = picture.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return False, False, False
    # the matrix takes a stored (x, y) to the shown (a x + c y, b x + d y)
    a, b, _, c, d, *_ = np.frombuffer(memoryview(side_data), np.int32).tolist()  # type: ignore[arg-type]
    return (False, a < 0, d < 0) if abs(a) >= abs(b) else (True, c < 0, b < 0)


def _same(image: Tensor) -> Tensor:
    return image


class _Converter:
    """Makes upright RGB tensors of the pictures of one stream; it prepares its tables once, not every time."""

    def __init__(self, orientation: tuple[bool, bool, bool]) -> None:
        self._orientation = orientation
        self._reformatter = VideoReformatter()
        self._lock = Lock()  # frames may be converted by several threads

    def __call__(self, picture: VideoFrame) -> Tensor:
        with self._lock:
            num_threads = 1 if picture.width * picture.height <= _SMALL else 2
            rgb = self._reformatter.reformat(picture, format="rgb24", threads=num_threads)
        image = torch.from_numpy(rgb.to_ndarray())
        is_transposed, flips_x, flips_y = self._orientation
        if is_transposed:
            image = image.transpose(0, 1)
        axes = [axis for axis, flips in ((0, flips_y), (1, flips_x)) if flips]
        return image.flip(axes).contiguous() if axes else image.contiguous()
