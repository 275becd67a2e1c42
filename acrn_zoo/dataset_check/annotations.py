"""What is wrong with one table of annotations, looked at alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from acrn_zoo.dataset_check.findings import Finding, Severity
from acrn_zoo.dataset_check.geometry import (
    LIKELY_PIXELS,
    TOLERANCE,
    are_width_height,
    boxes_of,
    count_ids,
    keyframe_codes,
    off_by_one,
)
from acrn_zoo.dataset_check.sources import Source, box_text
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import BOX_COLUMNS

FAR_OUTSIDE = 0.1
"""Boxes may leave the frame by rounding or a detector's guess, not by more than this part of it."""

_MOSTLY = 0.5
_PERCENT = 100 * (1 + TOLERANCE)
_LEAST_REACH = 0.5  # of the frame: people of a whole file do not all keep to its upper left corner


@dataclass(frozen=True)
class BoxWords:
    """How findings about boxes of different files are called.

    Args:
        noun: what a row is.
        prefix: of the kinds; annotations have none.
        severity_of_empty: how bad boxes without area are.
        advice_on_empty: what to do about them.
    """

    noun: str = "box"
    prefix: str = ""
    severity_of_empty: Severity = "error"
    advice_on_empty: str = "Delete these rows: they count as people that nothing can ever find."


def check_annotations(
    source: Source,
    split: str,
    label_map: LabelMap,
    *,
    other_splits: Iterable[Source] = (),
    frame_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> list[Finding]:
    """Ids, boxes, repeated and contradictory rows, keyframes with nobody.

    Args:
        source: the annotations.
        split: whose they are.
        label_map: the classes.
        other_splits: the annotations of the dataset's other splits, for ids that are wrong throughout.
        frame_sizes: video id to width and height, where they are known.
    """
    people = source.people()
    elsewhere = [number for other in other_splits for number in other.people().table["action_id"].unique()]
    return [
        *check_ids(people, label_map, elsewhere),
        *check_boxes(people, BoxWords(), frame_sizes or {}),
        *_check_repeated(people),
        *_check_person_ids(people),
        *source.finding(
            source.table["x1"].isna(),
            "keyframes-without-people",
            "note",
            "keyframe",
            f"of {split} annotated as empty.",
            "Nothing, if it is so: evaluation counts predictions there as wrong, training reads their clips and has "
            "nobody to learn from in them.",
        ),
    ]


def check_ids(people: Source, label_map: LabelMap, elsewhere: Iterable[int] = ()) -> list[Finding]:
    """Action ids that the label map does not know; ``elsewhere`` are those of the other splits."""
    counts = count_ids(people.table)
    used, known = list(counts), label_map.ids
    is_unknown = ~people.table["action_id"].isin(known)
    shift = off_by_one(counts, known, elsewhere)
    name = people.path.name
    if shift is not None:
        return [
            Finding(
                "ids-off-by-one",
                "error",
                f"The action ids of {name} go from {used[0]} to {used[-1]}, but the classes have {known[0]} to "
                f"{known[-1]}: every id seems one too {'small, counted from 0' if shift > 0 else 'large'}.",
                len(people.table),
                f"{'Add 1 to' if shift > 0 else 'Subtract 1 from'} every action id of the file; AVA counts from 1.",
                (f"{name}: ids {', '.join(map(str, used[:8]))}{', ...' if len(used) > 8 else ''}",),
            )
        ]
    return people.finding(
        is_unknown,
        "unknown-class",
        "error",
        "row",
        f"of {name} with an action id that is no class of dataset.json.",
        "Mend the ids, or add the classes to dataset.json; training stops at them.",
        lambda row: f"id {row['action_id']}",
    )


def check_boxes(people: Source, words: BoxWords, frame_sizes: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Coordinates in percent or pixels, outside the frame, inverted, empty, or of another form than corners.

    Args:
        people: rows with boxes.
        words: how the findings call them.
        frame_sizes: video id to width and height, where they are known.
    """
    boxes = boxes_of(people.table)
    in_pixels = (np.abs(boxes) > LIKELY_PIXELS).any(1)
    if _are_percent(people.table, boxes, in_pixels, frame_sizes):
        return people.finding(
            np.ones(len(boxes), dtype=bool),
            f"{words.prefix}boxes-in-percent",
            "error",
            words.noun,
            f"of {people.path.name} in percent, it seems: coordinates up to {boxes.max():.5g}, where fractions of the "
            "frame are expected.",
            "Divide every coordinate by 100.",
            box_text,
        )
    outside = ~in_pixels & ((boxes < -TOLERANCE) | (boxes > 1 + TOLERANCE)).any(1)
    far = ~in_pixels & ((boxes < -FAR_OUTSIDE) | (boxes > 1 + FAR_OUTSIDE)).any(1)
    name = people.path.name
    return [
        *people.finding(
            in_pixels,
            f"{words.prefix}boxes-in-pixels",
            "error",
            words.noun,
            f"of {name} in pixels, it seems: coordinates far above 1, where fractions of the frame are expected.",
            "Divide x by the width and y by the height of the video's frames.",
            box_text,
        ),
        *people.finding(
            outside,
            f"{words.prefix}boxes-outside",
            "error" if far.any() else "warning",
            words.noun,
            f"of {name} outside the frame: coordinates below 0 or above 1.",
            "Cut them off at 0 and 1; if many are far outside, they were divided by the wrong width or height.",
            box_text,
        ),
        *_check_corners(people, boxes, words),
    ]


def _are_percent(
    table: pd.DataFrame, boxes: np.ndarray, in_pixels: np.ndarray, frame_sizes: Mapping[str, tuple[int, int]]
) -> bool:
    """Whether coordinates that are no fractions go up to 100, and as pixels would not fill the frames."""
    if not len(boxes) or in_pixels.mean() <= _MOSTLY or not (boxes.min() >= 0 and boxes.max() <= _PERCENT):
        return False
    column = table["video_id"].cat
    sizes = np.array([frame_sizes.get(name, (np.nan, np.nan)) for name in column.categories], dtype=np.float64)
    reach = boxes[:, 2:] / sizes[column.codes.to_numpy()]
    known = reach[~np.isnan(reach)]
    return not (len(known) and _LEAST_REACH <= known.max() <= 1)


def _check_corners(people: Source, boxes: np.ndarray, words: BoxWords) -> list[Finding]:
    name = people.path.name
    inverted = np.any(boxes[:, 2:] < boxes[:, :2], axis=1)
    if are_width_height(boxes):
        return people.finding(
            inverted,
            f"{words.prefix}boxes-as-width-height",
            "error",
            words.noun,
            f"of {name} would end before they begin; read as x, y, width, height all of the file stay inside the "
            "frame.",
            "Write the right and lower border instead: x2 = x + width, y2 = y + height.",
            box_text,
        )
    empty = ~inverted & np.any(boxes[:, 2:] == boxes[:, :2], axis=1)
    return [
        *people.finding(
            inverted,
            f"{words.prefix}boxes-inverted",
            "error",
            words.noun,
            f"of {name} inverted: x2 is left of x1, or y2 above y1.",
            "Exchange the two, or delete the rows; the order is left, top, right, bottom.",
            box_text,
        ),
        *people.finding(
            empty,
            f"{words.prefix}boxes-empty",
            words.severity_of_empty,
            words.noun,
            f"of {name} without width or without height.",
            words.advice_on_empty,
            box_text,
        ),
    ]


def _check_repeated(people: Source) -> list[Finding]:
    codes = _row_codes(people)
    return people.finding(
        codes.duplicated().to_numpy(),
        "duplicate-rows",
        "warning",
        "row",
        f"of {people.path.name} repeated: the same keyframe, box and action.",
        "Delete the second ones: each counts as one more person to find, and can never be found.",
        lambda row: f"{box_text(row)}, id {row['action_id']}",
    )


def _check_person_ids(people: Source) -> list[Finding]:
    numbered = people.only(people.table["person_id"].notna())
    codes = _row_codes(numbered).drop(columns="action_id").assign(person=numbered.table["person_id"].to_numpy())
    distinct = codes.drop_duplicates()
    contested = distinct[distinct.drop(columns="person").duplicated()].index
    is_contested = np.zeros(len(numbered.table), dtype=bool)
    is_contested[contested] = True
    return numbered.finding(
        is_contested,
        "contradictory-person-ids",
        "warning",
        "box",
        f"of {people.path.name} with two person ids: the same box of the same keyframe, twice a person.",
        "Give all rows of the box one person id; mind that two people may not share a box to the last digit.",
        lambda row: f"{box_text(row)}, person {row['person_id']:g}",
    )


def _row_codes(people: Source) -> pd.DataFrame:
    (codes,) = keyframe_codes(people.table)
    columns = {name: people.table[name].to_numpy() for name in (*BOX_COLUMNS, "action_id")}
    return pd.DataFrame({"keyframe": codes, **columns})
