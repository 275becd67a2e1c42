"""What is wrong with the videos of a dataset, and with the moments that annotations name in them."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.data.manifest import CUT_OFFSET, MANIFEST_FILE, ManifestEntry, update_manifest
from acrn_zoo.dataset_check.findings import Finding, Severity, counted
from acrn_zoo.dataset_check.geometry import keyframe_codes
from acrn_zoo.dataset_check.sources import NUM_EXAMPLES, Source

_TOLERANCE = 1e-3  # seconds
_MOSTLY = 0.5
_LEAST_FILL = 0.2  # numbers of frames reach to the end of a video, or they are none


def look_at_videos(
    folder: DatasetFolder, num_workers: int, progress: Callable[[str, ManifestEntry], None] | None
) -> dict[str, ManifestEntry]:
    """Open every video; what is found is kept in ``manifest.json``, if the folder can be written to."""
    with tempfile.TemporaryDirectory() as elsewhere:
        place = folder.root if os.access(folder.root, os.W_OK) else Path(elsewhere)
        return update_manifest(
            place / MANIFEST_FILE,
            folder.videos,
            frame_rate=folder.frame_rate,
            num_workers=num_workers,
            progress=progress,
        )


def check_listed(folder: DatasetFolder, sources: Mapping[str, Source]) -> list[Finding]:
    """Videos of the annotations that dataset.json does not list, and the other way round."""
    annotated: dict[str, str] = {}
    for source in sources.values():
        for video_id in source.table["video_id"].cat.remove_unused_categories().cat.categories:
            annotated.setdefault(video_id, source.path.name)
    unlisted = {video_id: name for video_id, name in annotated.items() if video_id not in folder.videos}
    meant = same_names(list(unlisted), list(folder.videos))
    hint = 'Add them to "videos" of dataset.json, or delete their rows.'
    if meant:
        wrong, right = next(iter(meant.items()))
        hint = f"Write the names alike: dataset.json calls {wrong!r} {right!r}, without path and ending."
    is_whole = set(sources) == set(folder.splits)  # else the others may be annotated in what is missing
    idle = sorted(set(folder.videos) - set(annotated) - set(meant.values())) if is_whole else []
    return [
        *_finding(
            "unlisted-videos",
            "error",
            "of the annotations not listed in dataset.json.",
            hint,
            [f"{video_id} of {name}" for video_id, name in unlisted.items()],
        ),
        *_finding(
            "unannotated-videos",
            "note",
            "of dataset.json without annotations.",
            "Nothing, if they are meant for prediction; else the annotations are missing or name them otherwise.",
            idle,
        ),
    ]


def same_names(strangers: list[str], known: list[str]) -> dict[str, str]:
    """Strangers that are known names with a path or an ending, or in other letters."""
    plain = {_plain(name): name for name in known}
    return {name: plain[_plain(name)] for name in strangers if _plain(name) in plain}


def _plain(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    known_ending = path.suffix.lower() in (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".ts")
    return (path.stem if known_ending else path.name).lower()


def check_files(folder: DatasetFolder, manifest: Mapping[str, ManifestEntry]) -> list[Finding]:
    """Videos that are missing, damaged, or begin nobody knows when."""
    missing, damaged, unplaced = [], [], []
    for video_id, entry in manifest.items():
        if not entry.path.exists():
            missing.append(f"{video_id}: {entry.path}")
        elif entry.problems and entry.duration is not None and entry.hash is not None:
            unplaced += [f"{video_id}: {problem}" for problem in entry.problems]
        elif entry.problems:
            damaged += [f"{video_id}: {problem}" for problem in entry.problems]
    total = len(folder.videos)
    return [
        *_finding(
            "missing-videos",
            "error",
            f"of {total} not where dataset.json says.",
            "Put them there, or mend the paths; --no-videos checks the rest without them.",
            missing,
        ),
        *_finding(
            "damaged-videos",
            "error",
            f"of {total} that cannot be read, or not to the end.",
            "Get them again.",
            damaged,
        ),
        *_finding(
            "unknown-offset",
            "error",
            f"of {total} of which nobody says with which second it begins.",
            'Say it as "offset" of the video in dataset.json: 0 if the annotations count from its first frame.',
            unplaced,
        ),
    ]


def _finding(kind: str, severity: Severity, message: str, advice: str, things: list[str]) -> list[Finding]:
    if not things:
        return []
    text = f"{counted(len(things), 'video')} {message}"
    return [Finding(kind, severity, text, len(things), advice, tuple(things[:NUM_EXAMPLES]))]


def frame_sizes(manifest: Mapping[str, ManifestEntry]) -> dict[str, tuple[int, int]]:
    """Video id to width and height, of those that are known."""
    return {
        video_id: (entry.width, entry.height)
        for video_id, entry in manifest.items()
        if entry.width is not None and entry.height is not None
    }


def same_files(manifest: Mapping[str, ManifestEntry]) -> list[list[str]]:
    """The ids of every video that has several: the same path, or the same content."""
    by_content: dict[str, list[str]] = defaultdict(list)
    for video_id, entry in manifest.items():
        if entry.path.exists():
            by_content[entry.hash or str(entry.path.resolve())].append(video_id)
    return [ids for ids in by_content.values() if len(ids) > 1]


@dataclass(frozen=True)
class _Moments:
    """Where the rows of a table lie in their videos; NaN where a video is unknown."""

    timestamps: np.ndarray
    offsets: np.ndarray
    durations: np.ndarray
    frame_rates: np.ndarray
    videos: np.ndarray

    def outside(self, timestamps: np.ndarray | None = None, offsets: np.ndarray | float | None = None) -> np.ndarray:
        seconds = (self.timestamps if timestamps is None else timestamps) - (
            self.offsets if offsets is None else offsets
        )
        return (seconds < -_TOLERANCE) | (seconds > self.durations + _TOLERANCE)


def check_times(source: Source, manifest: Mapping[str, ManifestEntry]) -> tuple[list[Finding], np.ndarray]:
    """Moments that are not in their video, and why.

    Returns:
        The findings, and ``[N]`` which rows they are about.
    """
    moments = _moments(source.table, manifest)
    outside = moments.outside()
    if not outside.any():
        return [], outside
    shifted = _wrong_offset(moments, outside)
    name = source.path.name
    findings = []
    for offset in (CUT_OFFSET, 0.0):
        findings += source.finding(
            outside & (shifted == offset),
            "wrong-offset",
            "error",
            "row",
            f"of {name} outside the videos; all would lie inside if the videos began at second {offset:g} of the film.",
            f'Set "offset" of these videos to {offset:g} in dataset.json.',
        )
    rest = outside & np.isnan(shifted)
    unit = _other_unit(moments, rest)
    if unit is not None:
        kind, unit_name, advice = unit
        message = f"of {name} beyond the end of the video: the timestamps are {unit_name}, not seconds."
        return findings + source.finding(rest, kind, "error", "row", message, advice), np.ones(len(outside), dtype=bool)
    findings += source.finding(
        rest,
        "timestamps-outside",
        "error",
        "row",
        f"of {name} at moments that the video does not have.",
        'Mend the timestamps (seconds), or "offset" of the video in dataset.json if it does not begin at second 0.',
        lambda row: f"the video has {_span(manifest[row['video_id']])}",
    )
    return findings, outside


def _moments(table: pd.DataFrame, manifest: Mapping[str, ManifestEntry]) -> _Moments:
    column = table["video_id"].cat
    known = [manifest.get(name) for name in column.categories]

    def spread(name: str) -> np.ndarray:
        values = [np.nan if entry is None or getattr(entry, name) is None else getattr(entry, name) for entry in known]
        return np.array(values, dtype=np.float64)[column.codes.to_numpy()]

    return _Moments(
        table["timestamp"].to_numpy(),
        spread("offset"),
        spread("duration"),
        spread("frame_rate"),
        column.codes.to_numpy(),
    )


def _wrong_offset(moments: _Moments, outside: np.ndarray) -> np.ndarray:
    """``[N]`` the usual offset with which all moments of the row's video would lie inside; NaN if there is none."""
    found = np.full(len(outside), np.nan)
    for video in np.unique(moments.videos[outside]):
        rows = moments.videos == video
        if outside[rows].mean() < _MOSTLY:
            continue
        for offset in (CUT_OFFSET, 0.0):
            if not moments.outside(offsets=offset)[rows].any():
                found[rows] = offset
                break
    return found


def _other_unit(moments: _Moments, outside: np.ndarray) -> tuple[str, str, str] | None:
    """Kind, name and advice if the timestamps are numbers of frames or milliseconds."""
    is_whole = (moments.timestamps == np.rint(moments.timestamps)).all()
    if not is_whole or outside.mean() < _MOSTLY:
        return None
    units = (
        ("timestamps-in-milliseconds", "milliseconds", 1000.0, "Divide the timestamps by 1000."),
        ("timestamps-in-frames", "numbers of frames", moments.frame_rates, "Divide by the frame rate of the video."),
    )
    best, most = None, _LEAST_FILL
    for kind, name, ratio, advice in units:
        seconds = moments.timestamps / ratio
        fill = float(np.nanmax((seconds - moments.offsets) / moments.durations))
        if np.nanmean(moments.outside(seconds)) < 0.01 and fill > most:
            best, most = (kind, name, advice), fill
    return best


def _span(entry: ManifestEntry) -> str:
    begin = entry.offset or 0.0
    return f"{begin:g} to {begin + (entry.duration or 0.0):.2f} s"


def check_excluded(source: Source, excluded: pd.DataFrame) -> tuple[list[Finding], np.ndarray]:
    """Annotated keyframes that are to be left out.

    Returns:
        The findings, and ``[N]`` which rows they are about.
    """
    codes, left_out = keyframe_codes(source.table, excluded)
    is_excluded = np.isin(codes, left_out)
    message = f"of {source.path.name} at keyframes that the split excludes: nothing will use them."
    advice = "Delete the rows, or take the keyframes out of the excluded ones."
    return source.finding(is_excluded, "excluded-keyframes", "warning", "row", message, advice), is_excluded
