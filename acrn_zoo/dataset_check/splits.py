"""What is wrong between the splits of a dataset: classes that are rare or missing, and videos in two splits."""

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np

from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.dataset_check.findings import Finding, Severity, SplitSummary, counted
from acrn_zoo.dataset_check.geometry import boxes_of, distinct_boxes, keyframe_codes
from acrn_zoo.dataset_check.sources import NUM_EXAMPLES, Source

ENOUGH_EXAMPLES = 25
"""AVA itself evaluates only classes that have at least so many examples in its validation split."""

TRAINING = "train"


def summary_of(source: Source) -> SplitSummary:
    """The numbers of one split."""
    people = source.people()
    (codes,) = keyframe_codes(people.table)
    numbers, counts = np.unique(people.table["action_id"], return_counts=True)
    return SplitSummary(
        num_videos=int(source.table["video_id"].nunique()),
        num_keyframes=len(np.unique(keyframe_codes(source.table)[0])),
        num_boxes=len(distinct_boxes(codes, boxes_of(people.table)).codes),
        class_counts=dict(zip(numbers.tolist(), counts.tolist(), strict=True)),
    )


def check_classes(folder: DatasetFolder, splits: Mapping[str, SplitSummary]) -> list[Finding]:
    """Classes that cannot be learned or not be measured.

    Args:
        folder: the dataset; only the classes that it evaluates count.
        splits: the summaries of splits whose ids can be trusted.
    """
    findings = []
    for name in splits:
        if name != TRAINING:
            findings += _check_measured(folder, name, splits)
    seen = {number for split in splits.values() for number, count in split.class_counts.items() if count}
    unused = [number for number in folder.evaluated if number not in seen] if splits else []
    advice = "Leave them out of the classes of dataset.json, or annotate some."
    return findings + _class_finding(folder, unused, "unused-classes", "note", "without any example.", advice, {})


def _check_measured(folder: DatasetFolder, name: str, splits: Mapping[str, SplitSummary]) -> list[Finding]:
    """Whether the classes of a split that is measured on were learned, and are frequent enough."""
    counts = {number: splits[name].class_counts.get(number, 0) for number in folder.evaluated}
    present = [number for number, count in counts.items() if count]
    rare = [number for number in present if counts[number] < ENOUGH_EXAMPLES]
    message = f"of {name} with fewer than {ENOUGH_EXAMPLES} examples: its AP is mostly chance."
    advice = "Annotate more of them, or read their AP with care; AVA leaves such classes out."
    findings = _class_finding(folder, rare, "rare-classes", "note", message, advice, counts)
    if TRAINING not in splits:
        return findings
    learned = splits[TRAINING].class_counts
    strange = [number for number in present if not learned.get(number)]
    message = f"of {name} that never occurs in {TRAINING}: nothing can be learned of it."
    advice = f'Move videos that show them into {TRAINING}, or leave the classes out of "evaluated".'
    findings += _class_finding(folder, strange, "untrained-classes", "warning", message, advice, counts)
    missing = [number for number in folder.evaluated if learned.get(number) and not counts[number]]
    message = f"of {TRAINING} that never occurs in {name}: no AP can be said of it."
    advice = f"Move videos that show them into {name}, if they matter."
    return findings + _class_finding(folder, missing, "unmeasured-classes", "note", message, advice, learned)


def _class_finding(
    folder: DatasetFolder,
    numbers: list[int],
    kind: str,
    severity: Severity,
    message: str,
    advice: str,
    counts: Mapping[int, int],
) -> list[Finding]:
    if not numbers:
        return []
    names = folder.label_map.names
    shown = sorted(numbers, key=lambda number: (counts.get(number, 0), number))[: 2 * NUM_EXAMPLES]
    examples = tuple(
        f"{number} {names[number]}" + (f": {counts[number]}" if number in counts else "") for number in shown
    )
    text = f"{counted(len(numbers), 'class')} {message}"
    return [Finding(kind, severity, text, len(numbers), advice, examples)]


def check_leakage(sources: Mapping[str, Source]) -> list[Finding]:
    """Videos that two splits share."""
    findings = []
    for first, second in combinations(sources, 2):
        shared = sorted(_videos(sources[first]) & _videos(sources[second]))
        if shared:
            findings.append(
                Finding(
                    "leaked-videos",
                    "error",
                    f"{counted(len(shared), 'video')} both in {first} and {second}: {second} will look too good.",
                    len(shared),
                    "Keep every video in one split only; moments of one video look alike.",
                    tuple(shared[:NUM_EXAMPLES]),
                )
            )
    return findings


def _videos(source: Source) -> set[str]:
    return set(source.table["video_id"].cat.remove_unused_categories().cat.categories)


def check_same_files(same: Iterable[list[str]], sources: Mapping[str, Source]) -> list[Finding]:
    """Files that stand under several video ids.

    Args:
        same: the ids of each such file.
        sources: the annotations of every split.
    """
    findings = []
    videos = {split: _videos(source) for split, source in sources.items()}
    for ids in same:
        homes = [split for split, members in videos.items() if members & set(ids)]
        text = " and ".join(ids)
        if len(homes) > 1:
            message = f"{text} are one and the same video, and it is in {' and '.join(homes)}."
            advice = "Keep it in one split, under one name: as it is, the model is tested on what it was trained on."
            findings.append(Finding("leaked-file", "error", message, len(ids), advice))
        else:
            message = f"{text} are one and the same video."
            findings.append(Finding("same-file", "warning", message, len(ids), "Keep one of them."))
    return findings
