"""From boxes as annotated to rows of AVA's form: moments in seconds, boxes in fractions, actions as ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from acrn_zoo.data.importers.actions import ActionRule
from acrn_zoo.data.importers.marks import ImportFileError, Marks, Source
from acrn_zoo.data.importers.videos import Clock
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import ANNOTATION_COLUMNS, BOX_COLUMNS, KEYFRAME_COLUMNS, NO_ACTION

_DECIMALS = 6  # of fractions (a hundredth of a pixel of the largest frames) and of seconds (as keyframes compare)


@dataclass
class Losses:
    """What was changed or left out on the way.

    Args:
        num_clipped: boxes cut off at the border of the frame.
        dropped: what was left out, and how many of it.
        examples: the first place of each kind.
    """

    num_clipped: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, number: int, example: str) -> None:
        """Count ``number`` more of a kind."""
        if number:
            self.dropped[what] += number
            self.examples.setdefault(what, example)


def place_boxes(
    marks: Marks, clocks: Sequence[Clock], every: float, first_frame: int | None, losses: Losses, progress: bool
) -> pd.DataFrame:
    """Choose keyframes and bring their boxes into fractions.

    Args:
        marks: the boxes.
        clocks: of the video of each source.
        every: seconds between keyframes: of every multiple the annotated moment nearest to it; 0 for all moments.
        first_frame: number of the first frame of a video; None if the files or their names tell.
        losses: counts boxes that are clipped or dropped.
        progress: show a progress bar: the frame times of long videos take a while.

    Returns:
        ``video_id``, ``timestamp``, ``x1, y1, x2, y2``, ``person_id``, ``state`` and ``source``. A moment with
        nobody is a row with state -1 and NaN.

    Raises:
        ImportFileError: if a moment is not in the video, or its size is not known or another.
    """
    parts = []
    table = marks.table()
    bar = tqdm(clocks, desc="videos", unit="video", disable=not progress, leave=False)
    for number, (source, clock) in enumerate(zip(marks.sources, bar, strict=True)):
        rows = table[table["source"] == number]
        if rows.empty:
            continue
        moments, grid = _moments(rows, source, clock, first_frame)
        # Where only annotated moments are known, the last may stand for a multiple that is a little later.
        end = grid[-1] + (every / 2 if source.frames is None else 0.0)
        kept = np.ones(len(rows), dtype=bool) if every == 0 else np.isin(moments, _nearest(grid, end, every))
        part = rows[kept].assign(video_id=clock.found.video_id, timestamp=np.round(moments[kept], _DECIMALS))
        part[list(BOX_COLUMNS)] = _fractions(part, source, clock, losses)
        parts.append(_without_empty(part, rows[kept], source, losses))
    if not parts:
        raise ImportFileError(f"{', '.join(str(source.file) for source in marks.sources) or 'The files'}: no boxes")
    return _with_own_people(pd.concat(parts, ignore_index=True))


def _moments(
    rows: pd.DataFrame, source: Source, clock: Clock, first_frame: int | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Seconds of every row, and of all moments that were looked at."""
    if rows["seconds"].notna().all():
        seconds = rows["seconds"].to_numpy()
        latest = int(seconds.argmax())
        clock.require_within(float(seconds.min()), source, "the first moment")
        clock.require_within(float(seconds[latest]), source, f"{source.entry} {rows['line'].iloc[latest]}")
        return seconds, np.unique(seconds)
    frames = rows["frame"].to_numpy().astype(np.int64)
    first = clock.first_number(source) if first_frame is None else first_frame
    if frames.min() < first:
        raise ImportFileError(
            f"{source.file}: frame {frames.min()} of {clock.found.video_id!r} is annotated, but the first frame has "
            f"the number {first}; see --first-frame"
        )
    times = clock.times(int(frames.max()) - first + 1, source)
    if source.frames is None:
        return times[frames - first], times[np.unique(frames - first)]
    return times[frames - first], times[[frame for frame in source.frames if frame < len(times)]]


def _nearest(grid: npt.NDArray[np.float64], end: float, every: float) -> npt.NDArray[np.float64]:
    """Of each multiple of ``every`` up to ``end`` the moment of ``grid`` nearest to it, at most half the way off."""
    targets = np.arange(0, int(end / every + 1e-6) + 1) * every
    after = np.clip(np.searchsorted(grid, targets), 1, max(1, len(grid) - 1))
    before = grid[after - 1]
    later = grid[np.minimum(after, len(grid) - 1)]
    nearest = np.where(targets - before <= later - targets, before, later)
    return np.unique(nearest[np.abs(nearest - targets) <= every / 2 + 1e-9])


def _fractions(rows: pd.DataFrame, source: Source, clock: Clock, losses: Losses) -> npt.NDArray[np.float64]:
    boxes = rows[list(BOX_COLUMNS)].to_numpy()
    if not source.has_fractions:
        height, width = clock.size(source)
        boxes = boxes / np.array([width, height, width, height])
    clipped = np.round(np.clip(boxes, 0, 1), _DECIMALS)
    is_clipped = (np.abs(clipped - boxes) > 10.0**-_DECIMALS).any(axis=1)
    losses.num_clipped += int((is_clipped & ~_is_empty(clipped)).sum())
    return clipped


def _is_empty(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.any(boxes[:, 2:] <= boxes[:, :2], axis=1)  # not true of NaN, which is nobody


def _without_empty(part: pd.DataFrame, given: pd.DataFrame, source: Source, losses: Losses) -> pd.DataFrame:
    is_empty = _is_empty(part[list(BOX_COLUMNS)].to_numpy())
    if not is_empty.any():
        return part
    first = given[is_empty].iloc[0]
    box = [float(first[name]) for name in BOX_COLUMNS]
    example = f"{source.file}, {source.entry} {int(first['line'])}: {box}"
    losses.add("boxes that are empty or outside the frame", int(is_empty.sum()), example)
    return part[~is_empty]


def _with_own_people(table: pd.DataFrame) -> pd.DataFrame:
    """The same number may mean two people in two files about one video: then number them anew."""
    sources = table.dropna(subset="person_id").groupby("video_id")["source"].nunique()
    for video_id in sources.index[sources > 1]:
        rows = (table["video_id"] == video_id) & table["person_id"].notna()
        people = table.loc[rows, "source"].astype(str) + "/" + table.loc[rows, "person_id"].astype(str)
        table.loc[rows, "person_id"] = pd.factorize(people)[0].astype(np.float64)
    return table


@dataclass(frozen=True)
class Labelled:
    """Annotations in AVA's form, and what was counted on the way.

    Args:
        table: as :func:`acrn_zoo.tables.read_annotations` gives it.
        label_map: the classes.
        num_people: boxes, each counted once however many actions it has.
        num_without_action: boxes among them, of which no action is said.
    """

    table: pd.DataFrame
    label_map: LabelMap
    num_people: int
    num_without_action: int


def label_boxes(
    placed: pd.DataFrame, marks: Marks, rule: ActionRule, classes: LabelMap | None, losses: Losses
) -> Labelled:
    """Give every box its actions: a row an action.

    A keyframe whose people do nothing that is a class becomes a row that says so: nobody is annotated in it.

    Args:
        placed: the boxes, from :func:`place_boxes`.
        marks: the states that they refer to.
        rule: where actions stand.
        classes: the classes; None to make them of the actions, in alphabetical order.
        losses: counts actions that are no classes, and rows that stand there twice.

    Raises:
        ImportFileError: if no action is left.
    """
    placed = _people(placed, marks, rule, losses)
    actions = {int(n): rule.actions(marks.states[n]) for n in placed["state"].unique() if n >= 0}
    label_map = classes or _make_classes(actions, marks.labels_are_ids)
    numbers = _numbers(label_map, marks.labels_are_ids)
    _count_unknown(actions, placed["state"], numbers, losses)
    people = ["video_id", "timestamp", *BOX_COLUMNS, "person_id"]
    ids = [[numbers[name] for name in actions.get(state, ()) if name in numbers] for state in range(len(marks.states))]
    counts = np.array([*map(len, ids), 0])[placed["state"]]  # the last is state -1: nobody
    is_idle = (counts == 0) & (placed["state"] >= 0)
    rows = placed.loc[np.repeat(placed.index, counts), people]
    if rows.empty:
        raise ImportFileError(f"No person does anything: {rule} never names one of the classes")
    rows.insert(6, "action_id", _repeated(ids, placed["state"].to_numpy(), counts))
    is_twice = rows.duplicated()
    losses.add("rows that stand there twice", int(is_twice.sum()), _example(rows[is_twice]))
    table = pd.concat([rows[~is_twice], _nobody(placed, rows)], ignore_index=True)
    return Labelled(
        table.sort_values(list(KEYFRAME_COLUMNS), kind="stable", ignore_index=True),
        label_map,
        num_people=len(placed[placed["state"] >= 0].drop_duplicates(people)),
        num_without_action=len(placed[is_idle].drop_duplicates(people)),
    )


def _repeated(
    ids: Sequence[Sequence[int]], states: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The ids of every box's state, one after another."""
    flat = np.array([number for numbers in ids for number in numbers], dtype=np.int64)
    firsts = np.cumsum([0, *map(len, ids)])[states]
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return flat[np.repeat(firsts, counts) + steps]


def _people(placed: pd.DataFrame, marks: Marks, rule: ActionRule, losses: Losses) -> pd.DataFrame:
    others = [number for number, state in enumerate(marks.states) if not rule.is_person(state)]
    is_other = placed["state"].isin(others)
    for number, count in zip(*np.unique(placed.loc[is_other, "state"], return_counts=True), strict=True):
        losses.add(f"boxes that are no people ({marks.states[number].label})", int(count), "")
    return placed[~is_other]


def _make_classes(actions: Mapping[int, tuple[str, ...]], are_ids: bool) -> LabelMap:
    names = sorted({name for found in actions.values() for name in found})
    if not names:
        raise ImportFileError("No person does anything: not one action is given")
    return LabelMap({int(name): name for name in names} if are_ids else dict(enumerate(names, start=1)))


def _numbers(label_map: LabelMap, are_ids: bool) -> dict[str, int]:
    return {str(number) if are_ids else name: number for number, name in label_map.names.items()}


def _count_unknown(
    actions: Mapping[int, tuple[str, ...]], states: pd.Series, numbers: Mapping[str, int], losses: Losses
) -> None:
    for state, count in zip(*np.unique(states, return_counts=True), strict=True):
        for name in actions.get(int(state), ()):
            if name not in numbers:
                losses.add(f"actions that are none of the classes ({name})", int(count), "")


def _nobody(placed: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """A row for every keyframe that has none."""
    keyframes = list(KEYFRAME_COLUMNS)
    all_of_them = placed[keyframes].drop_duplicates()
    merged = all_of_them.merge(rows[keyframes].drop_duplicates(), on=keyframes, how="left", indicator=True)
    lonely = merged.loc[merged["_merge"] == "left_only", keyframes]
    return lonely.assign(action_id=NO_ACTION).reindex(columns=list(ANNOTATION_COLUMNS))


def _example(rows: pd.DataFrame) -> str:
    return "" if rows.empty else f"{rows['video_id'].iloc[0]} at {rows['timestamp'].iloc[0]:g} s"
