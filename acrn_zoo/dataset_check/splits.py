"""What is wrong between the splits of a dataset: classes that are rare or missing, and videos in two splits."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np

from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.dataset_check.findings import Finding, Severity, SplitSummary, counted
from acrn_zoo.dataset_check.geometry import boxes_of, count_ids, distinct_boxes, keyframe_codes
from acrn_zoo.dataset_check.sources import NUM_EXAMPLES, Source

ENOUGH_EXAMPLES = 25
"""AVA itself evaluates only classes that have at least so many examples in its validation split."""

TRAINING = "train"


def summary_of(source: Source) -> SplitSummary:
    """The numbers of one split."""
    people = source.people()
    (codes,) = keyframe_codes(people.table)
    return SplitSummary(
        num_videos=int(source.table["video_id"].nunique()),
        num_keyframes=len(np.unique(keyframe_codes(source.table)[0])),
        num_boxes=len(distinct_boxes(codes, boxes_of(people.table)).codes),
        class_counts=count_ids(people.table),
    )


def check_classes(folder: DatasetFolder, splits: Mapping[str, SplitSummary]) -> list[Finding]:
    """Classes that cannot be learned or not be measured.

    Args:
        folder: the dataset; only the classes that it evaluates count.
        splits: the summaries of splits whose ids can be trusted.
    """
    findings = []
    for name in splits:
        findings += _check_learned(folder, splits[name]) if name == TRAINING else _check_measured(folder, name, splits)
    seen = {number for split in splits.values() for number, count in split.class_counts.items() if count}
    unused = [number for number in folder.evaluated if number not in seen] if splits else []
    advice = "Leave them out of the classes of dataset.json, or annotate some."
    return findings + _class_finding(folder, unused, "unused-classes", "note", "without any example.", advice, {})


def check_folder(folder: DatasetFolder) -> list[Finding]:
    """What dataset.json says about classes and splits, looked at alone."""
    names = folder.label_map.names
    ids: dict[str, list[int]] = defaultdict(list)
    for number, name in names.items():
        ids[name].append(number)
    alike = {name: numbers for name, numbers in ids.items() if len(numbers) > 1}
    findings = []
    if alike:
        examples = tuple(f"{name}: {', '.join(map(str, numbers))}" for name, numbers in alike.items())[:NUM_EXAMPLES]
        message = f"{counted(len(alike), 'name')} in dataset.json that several classes share."
        advice = (
            "Give each class a name of its own; if they mean the same, give their rows one id and delete the other."
        )
        findings.append(Finding("classes-of-one-name", "warning", message, len(alike), advice, examples))
    if not folder.splits:
        message = "dataset.json names no splits: there are no annotations to look at."
        advice = 'Name them under "splits", such as {"train": {"annotations": "train.csv"}}.'
        findings.append(Finding("no-splits", "warning", message, 1, advice))
    return findings


def _check_learned(folder: DatasetFolder, summary: SplitSummary) -> list[Finding]:
    """Whether the classes are frequent enough to be learned."""
    counts = {number: summary.class_counts.get(number, 0) for number in folder.evaluated}
    rare = [number for number, count in counts.items() if 0 < count < ENOUGH_EXAMPLES]
    message = f"of {TRAINING} with fewer than {ENOUGH_EXAMPLES} examples: few to learn from."
    advice = "Annotate more of them, or join them with classes that look alike."
    return _class_finding(folder, rare, "rare-classes", "note", message, advice, counts)


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
    leaked: dict[str, int] = {}
    repeated: dict[str, int] = {}
    videos = {split: _videos(source) for split, source in sources.items()}
    for ids in same:
        homes = [split for split, members in videos.items() if members & set(ids)]
        text = ", ".join(ids[:NUM_EXAMPLES]) + (f" and {len(ids) - NUM_EXAMPLES} more" * (len(ids) > NUM_EXAMPLES))
        if len(homes) > 1:
            leaked[f"{text} (in {' and '.join(homes)})"] = len(ids)
        else:
            repeated[text] = len(ids)
    shared = "under several video ids"
    return [
        *_file_finding(
            "leaked-file",
            "error",
            f"{shared}, in several splits: the model is tested on what it was trained on.",
            "Keep each in one split, under one name.",
            leaked,
        ),
        *_file_finding("same-file", "warning", f"{shared}.", "Keep one name of each.", repeated),
    ]


def _file_finding(kind: str, severity: Severity, message: str, advice: str, files: Mapping[str, int]) -> list[Finding]:
    """One finding about files, as examples name them; its count is that of their video ids."""
    if not files:
        return []
    text = f"{counted(len(files), 'video file')} {message}"
    return [Finding(kind, severity, text, sum(files.values()), advice, tuple(files)[:NUM_EXAMPLES])]
