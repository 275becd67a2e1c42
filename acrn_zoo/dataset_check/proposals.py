"""What is wrong with the proposals of a split: the boxes that training and evaluation look at."""

from collections.abc import Mapping

import numpy as np

from acrn_zoo.dataset_check.annotations import BoxWords, check_boxes
from acrn_zoo.dataset_check.findings import Finding, counted
from acrn_zoo.dataset_check.geometry import best_meetings, boxes_of, distinct_boxes, is_first, keyframe_codes, swap_axes
from acrn_zoo.dataset_check.sources import Source

MEETS = 0.5
"""Intersection over union from which two boxes meet, as AVA counts."""

GOOD_RECALL = 0.8
_CLEARLY = 0.2
_WORDS = BoxWords("proposal", "proposal-", "note", "Nothing: they are dropped when the file is read.")
_FULL_FRAME = (
    "The whole frame stands in for the people there, as one box with score 1: so it was with the published models, and "
    "on data of your own it is garbage."
)


def check_proposals(
    annotations: Source, proposals: Source, frame_sizes: Mapping[str, tuple[int, int]]
) -> tuple[list[Finding], float | None]:
    """Compare with the annotated boxes.

    Args:
        annotations: rows whose moments and boxes can be trusted.
        proposals: with a column ``score``.
        frame_sizes: video id to width and height, where they are known.

    Returns:
        The findings, and the part of the annotated boxes that a proposal meets; None if there are none.
    """
    found = proposals.people()
    findings = check_boxes(found, _WORDS, frame_sizes)
    scores = found.table["score"]
    name = proposals.path.name
    findings += found.finding(
        (scores < 0) | (scores > 1),
        "proposal-scores",
        "error",
        "proposal",
        f"of {name} with a score outside 0 to 1: a threshold would keep or drop the wrong ones.",
        "Write probabilities, not percent or logits.",
        lambda row: f"score {row['score']:g}",
    )
    people = annotations.people()
    if people.table.empty:
        return findings, None
    codes, other, asked = keyframe_codes(people.table, found.table, proposals.table)
    lacks = ~np.isin(codes, other)
    findings += _check_keyframes(people, codes, ~np.isin(codes, asked), lacks, proposals)
    truth = distinct_boxes(codes, boxes_of(people.table))
    overlap, _ = best_meetings(truth, distinct_boxes(other, boxes_of(found.table)))
    recall = float((overlap >= MEETS).mean())
    if recall < GOOD_RECALL and not lacks.all() and not any(finding.severity == "error" for finding in findings):
        swapped, _ = best_meetings(truth, distinct_boxes(other, swap_axes(boxes_of(found.table))))
        findings.append(_poor_recall(name, overlap, float((swapped >= MEETS).mean())))
    return findings, recall


def _check_keyframes(
    people: Source, codes: np.ndarray, is_unknown: np.ndarray, lacks: np.ndarray, proposals: Source
) -> list[Finding]:
    """Annotated keyframes that the proposals do not know, and those at which they have nobody."""
    name, total = proposals.path.name, len(np.unique(codes))
    find = "Find these people with `acrn-zoo data people`"
    if proposals.lines is None:
        find += ', and name its file as the "proposals" of the split in dataset.json'
    return [
        *people.finding(
            is_unknown & is_first(codes),
            "keyframes-without-proposals",
            "error" if is_unknown.all() else "warning",
            "keyframe",
            f"of {total:,} in {people.path.name} not in {name}. {_FULL_FRAME}",
            f"{find}; if it is all keyframes, compare how the two files write video ids and timestamps.",
        ),
        *people.finding(
            lacks & ~is_unknown & is_first(codes),
            "keyframes-with-nobody-proposed",
            "warning",
            "keyframe",
            f"of {total:,} in {people.path.name} at which {name} has nobody: the people there cannot be found.",
            "Lower the threshold of the detector: `acrn-zoo data people --threshold 0.2 --overwrite`.",
        ),
    ]


def _poor_recall(name: str, overlap: np.ndarray, swapped: float) -> Finding:
    recall = float((overlap >= MEETS).mean())
    num_missed = int((overlap < MEETS).sum())
    if swapped > recall + _CLEARLY:
        message = (
            f"The boxes of {name} and the annotated ones have x and y exchanged: {recall:.0%} of the people are met "
            f"as it is, {swapped:.0%} read as y1, x1, y2, x2."
        )
        return Finding("proposal-boxes-swapped", "error", message, num_missed, "Write x1, y1, x2, y2 in both files.")
    message = (
        f"{counted(num_missed, 'annotated box')} without a proposal of {name} at IoU {MEETS:g}: recall is {recall:.1%}."
    )
    advice = "Nobody else can be found: lower the detector's threshold, or use a better one. AVA's own reach 94 %."
    return Finding("proposal-recall", "warning", message, num_missed, advice)
