"""What is wrong with one table of annotations, looked at alone."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from acrn_zoo.dataset_check.findings import Finding
from acrn_zoo.dataset_check.geometry import LIKELY_PIXELS, boxes_of, keyframe_codes, off_by_one
from acrn_zoo.dataset_check.sources import Source, box_text
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import BOX_COLUMNS

FAR_OUTSIDE = 0.1
"""Boxes may leave the frame by rounding or a detector's guess, not by more than this part of it."""

_TOLERANCE = 1e-6
_MANY = 0.05


@dataclass(frozen=True)
class BoxWords:
    """How findings about boxes of different files are called.

    Args:
        noun: what a row is.
        prefix: of the kinds; annotations have none.
    """

    noun: str = "box"
    prefix: str = ""


def check_annotations(source: Source, split: str, label_map: LabelMap) -> list[Finding]:
    """Ids, boxes, repeated and contradictory rows, keyframes with nobody."""
    people = source.people()
    return [
        *check_ids(people, label_map),
        *check_boxes(people, BoxWords()),
        *_check_repeated(people),
        *_check_person_ids(people),
        *source.finding(
            source.table["x1"].isna(),
            "keyframes-without-people",
            "note",
            "keyframe",
            f"of {split} annotated as empty.",
            "Nothing, if it is so: evaluation counts predictions there as wrong, training leaves them out.",
        ),
    ]


def check_ids(people: Source, label_map: LabelMap) -> list[Finding]:
    """Action ids that the label map does not know."""
    used = np.unique(people.table["action_id"]).tolist()
    known = label_map.ids
    is_unknown = ~people.table["action_id"].isin(known)
    shift = off_by_one(used, known)
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


def check_boxes(people: Source, words: BoxWords) -> list[Finding]:
    """Coordinates that are pixels, outside the frame, inverted, empty, or of another form than corners."""
    boxes = boxes_of(people.table)
    in_pixels = (np.abs(boxes) > LIKELY_PIXELS).any(1)
    outside = ~in_pixels & ((boxes < -_TOLERANCE) | (boxes > 1 + _TOLERANCE)).any(1)
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


def _check_corners(people: Source, boxes: np.ndarray, words: BoxWords) -> list[Finding]:
    name = people.path.name
    inverted = np.any(boxes[:, 2:] < boxes[:, :2], axis=1)
    would_fit = (boxes[:, :2] + boxes[:, 2:] <= 1 + _TOLERANCE).all()
    if would_fit and inverted.sum() > _MANY * len(boxes):
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
            "error",
            words.noun,
            f"of {name} without width or without height.",
            "Delete these rows: they count as people that nothing can ever find.",
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
