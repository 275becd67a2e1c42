"""What one should know after an import: what was decided without being said, and what looks wrong."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from acrn_zoo.data.importers.marks import Marks, Source
from acrn_zoo.data.importers.videos import Clock

_SLIVER = 0.5  # share of a video; pictures extracted at half the video's rate or less cover no more
_FEWEST = 3  # consecutive numbers, that are no accident


def picture_notes(
    marks: Marks, clocks: Sequence[Clock], frame_rate: float | None, first_frame: int | None
) -> tuple[str, ...]:
    """How numbers of pictures became frames and seconds.

    Args:
        marks: the boxes.
        clocks: of the video of each source.
        frame_rate: of pictures, as the user said.
        first_frame: number of the first one, likewise.
    """
    notes = []
    table = marks.table()
    used = set(table["source"].unique())
    sources = [source for number, source in enumerate(marks.sources) if number in used]
    if first_frame is None and any(source.counts_from is None for source in sources):
        notes.append("picture numbers count from 0 if one is 0, else from 1 (--first-frame says otherwise)")
    if first_frame is None and any(_may_count_from_one(source) for source in sources):
        notes.append("no frame is called 0, but they were taken as counted from 0; if from 1: --first-frame 1")
    if frame_rate is not None and table["frame"].notna().any():
        notes.append(f"frame numbers became seconds by {frame_rate:g} frames a second, as you said")
    if frame_rate is None and (files := _files_of_pictures(marks, clocks, table)):
        rates = sorted({f"{clock.info.frame_rate:.4g}" for clock, _ in files if clock.info and clock.info.frame_rate})
        each = f" ({' or '.join(rates)} a second)" if 0 < len(rates) <= 3 else ""
        notes.append(
            f"picture numbers were taken as the video's own frames{each}; pictures extracted at another rate need "
            "--frame-rate"
        )
    return tuple(notes)


def picture_warnings(marks: Marks, clocks: Sequence[Clock], frame_rate: float | None) -> tuple[str, ...]:
    """Videos of which the pictures have consecutive numbers, and would cover only the very beginning.

    Args:
        marks: the boxes.
        clocks: of the video of each source.
        frame_rate: of pictures, as the user said: then all is well.
    """
    warnings = []
    for clock, frames in _files_of_pictures(marks, clocks, marks.table()) if frame_rate is None else ():
        if clock.info is None or not clock.info.duration or not clock.info.frame_rate or len(frames) < _FEWEST:
            continue
        covered = (frames[-1] - frames[0] + 1) / clock.info.frame_rate
        if np.median(np.diff(frames)) == 1 and covered <= _SLIVER * clock.info.duration:
            warnings.append(
                f"the annotated pictures of {clock.found.video_id!r} have consecutive numbers ({frames[0]} to "
                f"{frames[-1]}), which as frames of the video are {covered:.2f} s of its {clock.info.duration:.2f} s. "
                f"If they were extracted at another rate than {clock.info.frame_rate:.4g} a second, all moments are "
                "wrong: import again with --frame-rate"
            )
    return tuple(warnings)


def dataset_notes(splits: Mapping[str, Sequence[str]], num_videos: int, num_at_hand: int) -> tuple[str, ...]:
    """What the dataset lacks.

    Args:
        splits: name to video ids.
        num_videos: that are annotated.
        num_at_hand: those whose place is known.
    """
    notes = []
    if len(splits) == 1:
        few = "there is one video alone, and" if num_videos == 1 else "no split was asked for (--split val=0.2):"
        notes.append(f"{few} everything is in train")
    if num_at_hand == 0:
        notes.append("the dataset names no videos: import once more with --videos before training")
    return tuple(notes)


def _may_count_from_one(source: Source) -> bool:
    return source.of_pictures and source.counts_from == 0 and source.lowest > 0


def _files_of_pictures(marks: Marks, clocks: Sequence[Clock], table: pd.DataFrame) -> list[tuple[Clock, list[int]]]:
    """Videos of which pictures are annotated, each with the numbers of these in ascending order.

    These are files where no frame rate is given: a folder of frames needs one.
    """
    found = []
    for number, (source, clock) in enumerate(zip(marks.sources, clocks, strict=True)):
        if source.of_pictures and clock.info is not None:
            frames = np.unique(table.loc[table["source"] == number, "frame"].to_numpy()).astype(np.int64)
            found += [(clock, frames.tolist())] if len(frames) else []
    return found
