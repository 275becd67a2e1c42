"""Small videos whose every picture shows its own number, so that pixels tell which frame came out."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

TIME_BASE = Fraction(1, 90000)


def numbered_picture(number: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """``[H, W, 3]`` uint8: 4 x 4 blocks, the bits of the number, the lowest at the top left."""
    bits = [(number >> bit) & 1 for bit in range(16)]
    blocks = np.array(bits, np.uint8).reshape(4, 4) * 200 + 28
    picture = np.kron(blocks, np.ones((size[0] // 4, size[1] // 4), np.uint8))
    return np.repeat(picture[..., None], 3, axis=2)


def read_number(picture: Tensor) -> int:
    """The number in an upright picture ``[H, W, 3]`` of any size."""
    height, width = picture.shape[0] // 4, picture.shape[1] // 4
    gray = picture[: height * 4, : width * 4].float().mean(2)
    means = gray.reshape(4, height, 4, width).mean(dim=(1, 3))
    return int((torch.tensor([1 << bit for bit in range(16)]) * (means > 128).flatten()).sum())


def write_numbered(
    path: Path,
    times: Iterable[Fraction | float],
    *,
    rate: Fraction | int = 30,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    rotation: tuple[int, bool] | None = None,
    audio_seconds: float = 0.0,
    time_base: Fraction = TIME_BASE,
) -> Path:
    """Write the frames 0, 1, ... to be shown at ``times`` (seconds); the name's ending chooses the format."""
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options or {}))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        sound = container.add_stream("aac", rate=8000) if audio_seconds else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(_stored(number, rotation), format="rgb24")
            frame.pts, frame.time_base = round(time / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            assert isinstance(sound, av.AudioStream)
            for packet in _silence(sound, audio_seconds):
                container.mux(packet)
    return path


def _stored(number: int, rotation: tuple[int, bool] | None) -> np.ndarray:
    """The picture as it must be stored to come out upright after FFmpeg's rotation (counter-clockwise) and flip."""
    if rotation is None:
        return numbered_picture(number)
    degrees, is_flipped = rotation
    size = (96, 64) if degrees % 180 else (64, 96)
    upright = numbered_picture(number, size)
    upright = upright[:, ::-1] if is_flipped else upright
    return np.ascontiguousarray(np.rot90(upright, -degrees // 90))


def _silence(stream: av.AudioStream, seconds: float) -> Iterable[av.Packet]:
    for start in range(0, int(seconds * 8000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def frame_times(number: int, rate: Fraction | int = 30) -> list[Fraction]:
    """``number`` times at a constant rate."""
    return [Fraction(index) / rate for index in range(number)]
