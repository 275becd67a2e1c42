"""What is wrong with the proposals of a split: the boxes that training and evaluation look at."""

import numpy as np

from acrn_zoo.dataset_check.annotations import BoxWords, check_boxes
from acrn_zoo.dataset_check.findings import Finding, counted
from acrn_zoo.dataset_check.geometry import best_meetings, boxes_of, distinct_boxes, is_first, keyframe_codes, swap_axes
from acrn_zoo.dataset_check.sources import Source

MEETS = 0.5
"""Intersection over union from which two boxes meet, as AVA counts."""

GOOD_RECALL = 0.8
_CLEARLY = 0.2
_WORDS = BoxWords("proposal", "proposal-")


def check_proposals(annotations: Source, proposals: Source) -> tuple[list[Finding], float | None]:
    """Compare with the annotated boxes.

    Args:
        annotations: rows whose moments and boxes can be trusted.
        proposals: with a column ``score``.

    Returns:
        The findings, and the part of the annotated boxes that a proposal meets; None if there are none.
    """
    found = proposals.people()
    findings = check_boxes(found, _WORDS)
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
    codes, other = keyframe_codes(people.table, found.table)
    lacks = ~np.isin(codes, other)
    findings += people.finding(
        lacks & is_first(codes),
        "keyframes-without-proposals",
        "error" if lacks.all() else "warning",
        "keyframe",
        f"of {len(np.unique(codes)):,} in {people.path.name} without a proposal in {name}: nobody can be found there.",
        "Find the people again with `acrn-zoo data people`; if it is all of them, compare how the two files write "
        "video ids and timestamps.",
    )
    truth = distinct_boxes(codes, boxes_of(people.table))
    overlap, _ = best_meetings(truth, distinct_boxes(other, boxes_of(found.table)))
    recall = float((overlap >= MEETS).mean())
    if recall < GOOD_RECALL and not lacks.all() and not any(finding.severity == "error" for finding in findings):
        swapped, _ = best_meetings(truth, distinct_boxes(other, swap_axes(boxes_of(found.table))))
        findings.append(_poor_recall(name, overlap, float((swapped >= MEETS).mean())))
    return findings, recall


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
