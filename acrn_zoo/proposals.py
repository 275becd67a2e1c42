"""The people of a dataset's keyframes, found by a person detector and kept in a file: proposals.

The file is CSV, ``video_id,timestamp,x1,y1,x2,y2,score`` (:func:`acrn_zoo.tables.read_proposals`), boxes in fractions
of the frame with 6 digits. A keyframe with nobody is a row of its first two columns alone.

Finding takes hours on a large dataset. While it goes on, every keyframe is appended to ``FILE.partial`` in one
piece, and a run that was killed is continued where it stopped. A finished file can be reopened, to find the people
of keyframes that were annotated since.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from acrn_zoo.data.clips import END_TOLERANCE, ClipSampling, read_clips
from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.frames import open_video
from acrn_zoo.data.manifest import OffsetError, resolve_offset
from acrn_zoo.data.video import VideoError
from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, replacing, require_writable
from acrn_zoo.people import PeopleDetector, find_people
from acrn_zoo.structures import Keyframe
from acrn_zoo.tables import PROPOSAL_COLUMNS, read_annotations, read_proposals, timestamp_key, write_table

PARTIAL_VERSION = 1
_HEADER_BEGIN = b'{"settings": {'
_DIGITS = 6
_KEYFRAME_ALONE = ClipSampling(length=1)


class ProposalsError(UserError, ValueError):
    """What an earlier run left cannot be continued."""


@dataclass(frozen=True)
class ProposalsSummary:
    """What came of a run.

    Args:
        path: the file.
        num_keyframes: in it, with people or without.
        num_people: in it.
        problems: video id to what is wrong with it, in plain words. Keyframes of these videos are missing in the file.
    """

    path: Path
    num_keyframes: int
    num_people: int
    problems: Mapping[str, str]


def annotated_keyframes(annotations: str | Path, *, with_all_seconds: bool = False) -> dict[str, tuple[float, ...]]:
    """The keyframes of an annotation file.

    Args:
        annotations: CSV in AVA's form, :func:`acrn_zoo.tables.read_annotations`.
        with_all_seconds: also the whole seconds between the first and the last annotated keyframe of each video.

    Returns:
        Video id, in the order of the file, to timestamps in seconds, ascending.

    Raises:
        TableError: if the file is not of that form.
    """
    table = read_annotations(annotations)[["video_id", "timestamp"]]
    keyframes = {}
    for video_id, timestamps in table.groupby("video_id", observed=True)["timestamp"]:
        seconds = timestamps.to_numpy()
        if with_all_seconds:
            seconds = np.concatenate([seconds, np.arange(math.ceil(seconds.min()), seconds.max())])
        _, first = np.unique(timestamp_key(seconds), return_index=True)
        keyframes[str(video_id)] = tuple(seconds[first].tolist())
    return keyframes


def partial_file(path: Path) -> Path:
    """Where the keyframes of a proposals file are kept as long as some are missing."""
    return path.with_name(f"{path.name}.partial")


def missing_keyframes(path: Path, keyframes: Mapping[str, Sequence[float]]) -> int:
    """How many of the keyframes a finished file does not know.

    Raises:
        TableError: if it is no file of proposals.
    """
    known = _finished(path)
    return sum(_key(video_id, moment) not in known for video_id, moments in keyframes.items() for moment in moments)


def reopen(path: Path, settings: Mapping[str, str | float]) -> None:
    """Make a finished file one that :func:`find_proposals` continues: all that it knows counts as done.

    Args:
        path: the file. It stays as it is until the run ends.
        settings: of the run that is to continue it; the file does not say with which it was made.

    Raises:
        TableError: if it is no file of proposals.
        OutputError: if ``FILE.partial`` cannot be written.
    """
    lines = [_header(settings), *_finished(path).values()]
    with replacing(partial_file(path)) as partial:
        partial.write_text("".join(f"{_text(line)}\n" for line in lines), encoding="utf-8")


def find_proposals(
    path: str | Path,
    keyframes: Mapping[str, Sequence[float]],
    videos: Mapping[str, VideoEntry],
    detector: PeopleDetector,
    *,
    settings: Mapping[str, str | float],
    frame_rate: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ProposalsSummary:
    """Find the people of keyframes and write them to a file.

    A run that ended early is continued: what ``FILE.partial`` holds is not done again, and what a finished file beside
    it knows of other keyframes stays in it. A video that cannot be read, or ends before its keyframes do, is left for
    the summary and the others go on; then the file is written without the missing keyframes and ``FILE.partial`` stays,
    so that the same call does what is missing once the video is mended.

    Args:
        path: the CSV file.
        keyframes: video id to timestamps, seconds as annotations have them, ascending.
        videos: video id to file or folder of frames, and the offset between its time and that of the annotations.
        detector: asked once a keyframe, which it gets with the timestamp of the annotations.
        settings: what tells this detector from others, such as ``{"detector": "fasterrcnn", "threshold": 0.5}``. A run
            of other settings is not continued.
        frame_rate: of folders of frames.
        overwrite: replace the file, and begin anew if an earlier run ended early.
        progress: called with the number of keyframes done and wanted: first, and after every keyframe.

    Raises:
        OutputExistsError: if the file exists, is not that of a run to be continued, and ``overwrite`` is false.
        OutputError: if it cannot be written.
        TableError: if a file that is continued is no file of proposals.
        ProposalsError: if the earlier run had other settings, or its file is damaged.
        PeopleError: if the detector's answer cannot be used.
    """
    path = Path(path)
    partial_path = partial_file(path)
    require_writable(path, overwrite=overwrite or partial_path.exists())
    if overwrite:
        partial_path.unlink(missing_ok=True)
    total = sum(map(len, keyframes.values()))
    kept = _merged(keyframes, _finished(path)) if path.exists() and not overwrite else keyframes
    problems = {}
    with _PartialFile(partial_path, settings) as partial:
        todo = {video_id: partial.missing(video_id, timestamps) for video_id, timestamps in keyframes.items()}
        num_done = total - sum(map(len, todo.values()))
        if progress is not None:
            progress(num_done, total)
        for video_id in filter(todo.__getitem__, todo):
            try:
                for timestamp, frame in _keyframes_of(video_id, todo[video_id], videos, frame_rate):
                    partial.add(video_id, timestamp, _people_of(frame, Keyframe(video_id, timestamp), detector))
                    num_done += 1
                    if progress is not None:
                        progress(num_done, total)
            except (VideoError, OffsetError, _MissingError) as error:
                problems[video_id] = str(error)
    people = _read_partial(partial_path, kept)
    write_table(path, people)
    if not problems:
        partial_path.unlink()
    num_keyframes = len(people.drop_duplicates(["video_id", "timestamp"]))
    return ProposalsSummary(path, num_keyframes, int(people["score"].notna().sum()), problems)


class _MissingError(Exception):
    """There is no such video, or no such moment in it."""


def _keyframes_of(
    video_id: str,
    timestamps: Sequence[float],
    videos: Mapping[str, VideoEntry],
    frame_rate: float | None,
) -> Iterator[tuple[float, Tensor]]:
    """The timestamps with their frames; at last an error if there are fewer."""
    if video_id not in videos:
        raise _MissingError("the dataset names no video of this id; add it to dataset.json")
    video = videos[video_id]
    with open_video(video.path, frame_rate) as opened:
        offset = resolve_offset(video, opened.info.duration)
        moments = {timestamp - offset: timestamp for timestamp in timestamps if timestamp >= offset}
        missing = set(timestamps)
        for clip in read_clips(opened, moments, _KEYFRAME_ALONE, lambda frame: frame, tolerance=END_TOLERANCE):
            yield moments[clip.timestamp], clip.keyframe
            missing.discard(moments[clip.timestamp])
    if missing:
        raise _MissingError(
            f"{video.path} has no frame at {min(missing):g} s of the annotations, where a keyframe is "
            f"({len(missing)} such keyframes); its first frame shows second {offset:g}. Check its offset and length."
        )


def _people_of(frame: Tensor, keyframe: Keyframe, detector: PeopleDetector) -> list[list[float]]:
    """Rows ``x1, y1, x2, y2, score``, the box in fractions of the frame."""
    boxes, scores = find_people(detector, frame, keyframe)
    height, width = frame.shape[:2]
    fractions = boxes.double() / torch.tensor([width, height, width, height])
    rows = torch.cat([fractions, scores.double()[:, None]], dim=1).tolist()
    rounded = [[round(value, _DIGITS) for value in row] for row in rows]
    # a box thinner than the last digit is no person, and would be read as an empty one
    return [row for row in rounded if row[0] < row[2] and row[1] < row[3]]


class _PartialFile:
    """Keyframes as they are done, JSON lines after a first one with the settings."""

    def __init__(self, path: Path, settings: Mapping[str, str | float]) -> None:
        self.path = path
        header = _header(settings)
        has_content = path.exists() and path.stat().st_size > 0
        is_new = not has_content or _is_torn_header(path)
        if not is_new:
            _check_header(path, header)
        if has_content:
            _cut_off_torn_line(path)
        self._done = set() if is_new else {_key(line["video_id"], line["timestamp"]) for line in _lines(path)}
        try:
            self._file = FileIO(path, "a")
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}") from error
        if is_new:
            self._append(header)

    def __enter__(self) -> "_PartialFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def missing(self, video_id: str, timestamps: Sequence[float]) -> list[float]:
        return [timestamp for timestamp in timestamps if _key(video_id, timestamp) not in self._done]

    def add(self, video_id: str, timestamp: float, people: list[list[float]]) -> None:
        self._append({"video_id": video_id, "timestamp": timestamp, "people": people})

    def _append(self, content: Mapping[str, Any]) -> None:
        line = f"{_text(content)}\n".encode()
        try:
            num_written = self._file.write(line)
        except OSError as error:
            self._file.close()
            raise OutputError(f"Cannot write {self.path}: {error.strerror}") from error
        if num_written != len(line):
            raise OutputError(f"Cannot write {self.path}: the disk took only a part (is it full?)")


def _header(settings: Mapping[str, str | float]) -> dict[str, Any]:
    return {"version": PARTIAL_VERSION, "settings": dict(settings)}


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)


def _key(video_id: str, timestamp: float) -> tuple[str, str]:
    return video_id, f"{timestamp:.6f}"  # as timestamp_key tells moments apart


def _cut_off_torn_line(path: Path) -> None:
    """Remove a last line that was not written to its end."""
    with path.open("r+b") as file:
        end = 0
        for line in file:
            end += len(line) if line.endswith(b"\n") else 0
        file.truncate(end)


def _is_torn_header(path: Path) -> bool:
    """Whether a file ends within its first line, and this begins as a partial file does."""
    with path.open("rb") as file:
        first = file.readline()
    return not first.endswith(b"\n") and first[: len(_HEADER_BEGIN)] == _HEADER_BEGIN[: len(first)]


def _check_header(path: Path, expected: Mapping[str, Any]) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline().strip()
    if first != _text(expected):
        raise ProposalsError(
            f"{path} was left by a run of other settings: it begins with {first[:200]}, expected "
            f"{_text(expected)}. Repeat those settings to continue it, or say --overwrite (in Python, "
            "overwrite=True) to begin anew."
        )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The keyframes of a partial file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline()
        for number, line in enumerate(file, start=2):
            try:
                content = json.loads(line)
                yield {name: content[name] for name in ("video_id", "timestamp", "people")}
            except (ValueError, TypeError, KeyError) as error:
                raise ProposalsError(
                    f"{path}, line {number}: damaged ({error}). Delete this line and run again; the keyframe is then "
                    "done once more."
                ) from error


def _finished(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The keyframes of a finished file, as the lines of a partial one."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for video_id, timestamp, *person in read_proposals(path).itertuples(index=False, name=None):
        line = lines.setdefault(_key(video_id, timestamp), {"video_id": video_id, "timestamp": timestamp, "people": []})
        if not math.isnan(person[0]):
            line["people"].append(person)
    return lines


def _merged(
    keyframes: Mapping[str, Sequence[float]], lines: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, tuple[float, ...]]:
    """The keyframes of both, ascending in each video."""
    merged = {
        video_id: {_key(video_id, moment): moment for moment in moments} for video_id, moments in keyframes.items()
    }
    for key, line in lines.items():
        merged.setdefault(line["video_id"], {}).setdefault(key, line["timestamp"])
    return {video_id: tuple(sorted(moments.values())) for video_id, moments in merged.items()}


def _read_partial(path: Path, keyframes: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """What was found at the wanted keyframes, in their order; of nobody a row without a box."""
    nobody = [[math.nan] * 5]
    found = {_key(line["video_id"], line["timestamp"]): line["people"] or nobody for line in _lines(path)}
    rows = [
        (video_id, timestamp, *person)
        for video_id, timestamps in keyframes.items()
        for timestamp in timestamps
        for person in found.get(_key(video_id, timestamp), ())
    ]
    return pd.DataFrame(rows, columns=list(PROPOSAL_COLUMNS))
