"""The manifest of a dataset: what is known of each video, found out once, so that a damaged one shows before training.

``manifest.json`` stands beside ``dataset.json`` and holds one :class:`ManifestEntry` a video.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.frames import FrameFolder, Video, open_video
from acrn_zoo.data.hashing import StoppedError, hash_content, hash_outline, size_and_time
from acrn_zoo.data.video import VideoError
from acrn_zoo.errors import UserError
from acrn_zoo.files import write_json

MANIFEST_FILE = "manifest.json"
VERSION = 1

FILM_SECONDS = 1800.0
"""AVA's films are at least so long: a longer video is taken for a whole film, its offset for 0."""

CUT_SECONDS = (899.0, 906.0)
"""A video of this length is taken for the cut of an AVA film that begins at its second 900."""

CUT_OFFSET = 900.0

Depth: TypeAlias = Literal["quick", "full"]
"""How closely a video is looked at.

``quick``: its header, its first frame, its last two seconds, and :func:`acrn_zoo.data.hashing.hash_outline`. Formats in
which FFmpeg cannot seek, and files that do not say how long they are, are read to the end.

``full``: every frame is decoded and counted; :func:`acrn_zoo.data.hashing.hash_content`.
"""

_LAST_SECONDS = 2.0
_SAVE_EVERY = 5.0  # seconds; what is known so far outlives a kill
_PILLOW = "pillow"


class ManifestError(UserError, ValueError):
    """A manifest cannot be read, or videos that it lists cannot be used."""


class OffsetError(UserError, ValueError):
    """Nobody said which second of the film a video begins with, and its length does not tell."""


@dataclass(frozen=True)
class ManifestEntry:
    """What is known of one video. None is what the video does not say, or could not be found out.

    Args:
        path: the file, or the folder of frames.
        size: bytes, of a folder those of its files together; 0 if it is missing.
        modified: when it was last changed, in nanoseconds since 1970; of a folder the latest of its files.
        decoder: what read it: ``pyav``, ``torchcodec``, or ``pillow`` for a folder.
        depth: how closely it was looked at.
        duration: seconds from the first frame to the end of the last.
        frame_rate: average number of frames a second.
        num_frames: as counted (``full``) or as the header says.
        width: of a frame as it is shown, in pixels.
        height: likewise.
        codec: such as ``h264``; ``mjpeg`` or ``png`` for a folder.
        offset: the second of the film that the first frame shows, given or found (:func:`resolve_offset`).
        hash: of the content; the part before the colon says of what, see :mod:`acrn_zoo.data.hashing`.
        problems: what is wrong with it, in plain words; empty if nothing is.
    """

    path: Path
    size: int
    modified: int
    decoder: str
    depth: Depth
    duration: float | None = None
    frame_rate: float | None = None
    num_frames: int | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    offset: float | None = None
    hash: str | None = None
    problems: tuple[str, ...] = ()


def resolve_offset(video: VideoEntry, duration: float | None) -> float:
    """The second of the film that the first frame of a video shows.

    Args:
        video: its own offset is taken if it has one.
        duration: seconds. 899 to 906 are an AVA cut from second 900 on, 1800 and more a whole film.

    Raises:
        OffsetError: if neither tells.
    """
    if video.offset is not None:
        return video.offset
    if duration is not None and CUT_SECONDS[0] <= duration <= CUT_SECONDS[1]:
        return CUT_OFFSET
    if duration is not None and duration >= FILM_SECONDS:
        return 0.0
    length = "does not say how long it is" if duration is None else f"is {duration:.1f} s long"
    raise OffsetError(
        f"{video.path} {length}: neither a 15-minute cut of an AVA film ({CUT_SECONDS[0]:g} to {CUT_SECONDS[1]:g} s) "
        f'nor a whole one ({FILM_SECONDS:g} s and more). Say in dataset.json, as "offset" of this video, which second '
        "of the annotations its first frame shows."
    )


def update_manifest(
    path: str | Path,
    videos: Mapping[str, VideoEntry],
    *,
    frame_rate: float | None = None,
    decoder: str = "pyav",
    depth: Depth = "quick",
    num_workers: int = 4,
    progress: Callable[[str, ManifestEntry], None] | None = None,
) -> dict[str, ManifestEntry]:
    """Make a manifest, or bring it up to date.

    Entries of the file are kept if they have no problems and nothing has changed since: the video's path, size
    and time, what was given for it, and no closer look is asked for. The file is written now and then on the way,
    so that a run that ends early is continued by the next. What is wrong with a video stands in its entry.

    Args:
        path: ``manifest.json``; made if it is missing. Videos that it lists and ``videos`` does not are dropped.
        videos: video id to file or folder.
        frame_rate: of folders of frames.
        decoder: of files, "pyav" or "torchcodec".
        depth: how closely the videos are looked at.
        num_workers: how many at once, each in a thread.
        progress: called with the id and the entry of every video, those that were kept first.

    Returns:
        Video id to entry, in the order of ``videos``.

    Raises:
        ManifestError: if the file that is there is no manifest.
        OutputError: if it cannot be written.
    """
    path, look = Path(path), _Look(frame_rate, decoder, depth)
    known = read_manifest(path) if path.exists() else {}
    entries = {
        video_id: known[video_id]
        for video_id, video in videos.items()
        if video_id in known and look.would_tell_nothing_new(video, known[video_id])
    }
    todo = {video_id: video for video_id, video in videos.items() if video_id not in entries}
    saved = time.monotonic()
    try:
        with closing(_inspect_all(todo, look, num_workers)) as found:
            for video_id, entry in chain(tuple(entries.items()), found):
                entries[video_id] = entry
                if progress is not None:
                    progress(video_id, entry)
                if time.monotonic() - saved >= _SAVE_EVERY:
                    write_manifest(path, entries)
                    saved = time.monotonic()
    finally:
        entries = {video_id: entries[video_id] for video_id in videos if video_id in entries}
        write_manifest(path, entries)
    return entries


def read_manifest(path: str | Path) -> dict[str, ManifestEntry]:
    """Read a manifest.

    Returns:
        Video id to entry; paths are absolute if ``path`` is.

    Raises:
        ManifestError: if the file is missing or is no manifest.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}, expected {VERSION}")
        return {str(video_id): _entry_of(fields, path.parent) for video_id, fields in content["videos"].items()}
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read ({error.strerror}). Make it with `acrn-zoo data manifest`."
        ) from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ManifestError(
            f"{path} is no manifest ({reason}). Delete it and make it anew with `acrn-zoo data manifest`."
        ) from error


def write_manifest(path: str | Path, entries: Mapping[str, ManifestEntry]) -> None:
    """Write a manifest, whole or not at all; paths below its folder are written relative to it.

    Raises:
        OutputError: if it cannot be written.
    """
    path = Path(path)
    content = {"version": VERSION, "videos": {name: _fields_of(entry, path.parent) for name, entry in entries.items()}}
    write_json(path, content, ensure_ascii=False)


def require_sound(entries: Mapping[str, ManifestEntry]) -> None:
    """Raise one error for all videos that cannot be used.

    Raises:
        ManifestError: listing every problem.
    """
    lines = [f"{video_id}: {problem}" for video_id, entry in entries.items() for problem in entry.problems]
    if lines:
        num_videos = sum(bool(entry.problems) for entry in entries.values())
        raise ManifestError(f"{num_videos} of {len(entries)} videos cannot be used:\n" + "\n".join(lines))


def _fields_of(entry: ManifestEntry, root: Path) -> dict[str, Any]:
    path = entry.path.relative_to(root).as_posix() if entry.path.is_relative_to(root) else str(entry.path.absolute())
    return {**asdict(entry), "path": path}


def _entry_of(fields: dict[str, Any], root: Path) -> ManifestEntry:
    changed = {"path": root / fields["path"], "problems": tuple(fields["problems"])}
    return ManifestEntry(**{**fields, **changed})


@dataclass(frozen=True)
class _Look:
    """How videos are looked at; the arguments of :func:`update_manifest`."""

    frame_rate: float | None
    decoder: str
    depth: Depth

    def would_tell_nothing_new(self, video: VideoEntry, known: ManifestEntry) -> bool:
        is_folder = video.path.is_dir()
        return (
            not known.problems
            and known.path.absolute() == video.path.absolute()
            and (known.size, known.modified) == size_and_time(video.path)
            and known.decoder == (_PILLOW if is_folder else self.decoder)
            and (known.frame_rate == self.frame_rate or not is_folder)
            and known.depth in (self.depth, "full")
            and _with_offset(known, video) == known
        )

    def inspect(self, video: VideoEntry, stop: threading.Event) -> ManifestEntry:
        size, modified = size_and_time(video.path)
        decoder = _PILLOW if video.path.is_dir() else self.decoder
        entry = ManifestEntry(video.path, size, modified, decoder, self.depth, offset=video.offset)
        try:
            with open_video(video.path, self.frame_rate, self.decoder) as opened:
                entry = replace(entry, **{name: getattr(opened.info, name) for name in _OF_INFO})
                num_frames, duration = _decode(opened, self.depth, stop)
            found = hash_content(video.path, stop) if self.depth == "full" else hash_outline(video.path)
            entry = replace(entry, num_frames=num_frames, duration=duration, hash=found)
        except (VideoError, OSError) as error:
            return replace(entry, problems=(str(error),))  # the length of a broken video does not tell its offset
        return _with_offset(entry, video)


_OF_INFO = ("duration", "frame_rate", "num_frames", "width", "height", "codec")


def _with_offset(entry: ManifestEntry, video: VideoEntry) -> ManifestEntry:
    try:
        return replace(entry, offset=resolve_offset(video, entry.duration))
    except OffsetError as error:
        return replace(entry, offset=None, problems=(str(error),))


def _inspect_all(
    videos: Mapping[str, VideoEntry], look: _Look, num_workers: int
) -> Generator[tuple[str, ManifestEntry], None, None]:
    """The entries as they are ready. Threads are enough: decoding and hashing do not hold the interpreter."""
    stop = threading.Event()
    with ThreadPoolExecutor(num_workers) as pool:
        futures = {pool.submit(look.inspect, video, stop): video_id for video_id, video in videos.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:  # also where the caller was interrupted and closes this
            stop.set()
            pool.shutdown(cancel_futures=True)


def _decode(video: Video, depth: Depth, stop: threading.Event) -> tuple[int | None, float | None]:
    """Number of frames (the header's, unless all are decoded) and the moment at which the last one ends."""
    info = video.info
    is_whole = depth == "full" or info.duration is None
    start = 0.0 if is_whole else max(0.0, (info.duration or 0.0) - _LAST_SECONDS)
    number, end = 0, info.duration
    for number, frame in enumerate(video.frames(start), start=1):  # noqa: B007
        if isinstance(video, FrameFolder):
            frame.rgb()  # where decoding happens; a file has been decoded by now
        end = frame.time + frame.duration
        if stop.is_set():
            raise StoppedError
    return number if is_whole else info.num_frames, end
