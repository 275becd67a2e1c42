"""The whole check, in the order in which one fault hides another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from acrn_zoo.data.folder import DatasetFolder, Split, read_dataset_folder
from acrn_zoo.data.manifest import ManifestEntry
from acrn_zoo.dataset_check.annotations import check_annotations
from acrn_zoo.dataset_check.findings import SEVERITIES, PredictionSummary, Report, SplitSummary
from acrn_zoo.dataset_check.predictions import check_predictions
from acrn_zoo.dataset_check.proposals import check_proposals
from acrn_zoo.dataset_check.sources import Source, read_proposal_table, read_source
from acrn_zoo.dataset_check.splits import check_classes, check_folder, check_leakage, check_same_files, summary_of
from acrn_zoo.dataset_check.videos import (
    check_excluded,
    check_files,
    check_listed,
    check_times,
    frame_sizes,
    look_at_videos,
    same_files,
)
from acrn_zoo.tables import (
    ANNOTATION_COLUMNS,
    KEYFRAME_COLUMNS,
    PREDICTION_COLUMNS,
    PROPOSAL_COLUMNS,
    read_annotations,
    read_keyframes,
    read_predictions,
)

# Findings after which a part of the annotations says nothing more, or says the same again in other words.
_SPOILS_CLASSES = {"ids-off-by-one", "malformed-rows", "unreadable-file", "missing-file", "empty-file"}
_SPOILS_BOXES = {"boxes-in-pixels", "boxes-in-percent", "boxes-as-width-height"}
_SPOILS_COMPARISON = {*_SPOILS_BOXES, "ids-off-by-one", "timestamps-in-frames", "timestamps-in-milliseconds"}
_LIKELY_PREDICTED = ("val", "validation", "test")


def check_dataset(
    folder: DatasetFolder | str | Path,
    *,
    splits: Sequence[str] | None = None,
    predictions: str | Path | None = None,
    with_videos: bool = True,
    num_workers: int = 4,
    progress: Callable[[str, ManifestEntry], None] | None = None,
) -> Report:
    """Read everything of a dataset and say what is wrong with it.

    Args:
        folder: the dataset, or its folder.
        splits: names of those to look at; all of them if None.
        predictions: a CSV file in AVA's form, compared with the split whose keyframes it meets most.
        with_videos: whether to open the videos too. What is found of them is kept in ``manifest.json``.
        num_workers: how many videos are opened at once.
        progress: called with the id and the manifest's entry of every video that was looked at.

    Raises:
        DatasetError: if there is no ``dataset.json``, it is of another form, or has no such split. Faults of the
            files that it names are findings.
    """
    if not isinstance(folder, DatasetFolder):
        folder = read_dataset_folder(folder)
    chosen = {name: folder.split(name) for name in (folder.splits if splits is None else splits)}
    checkup = _Checkup(folder)
    for name, split in chosen.items():
        checkup.read(name, split)
    checkup.findings += check_listed(folder, checkup.sources) if splits is None else []
    if with_videos:
        checkup.look_at(look_at_videos(folder, num_workers, progress))
    for name, split in chosen.items():
        checkup.check_annotations(name)
        checkup.check_keyframes(name, split)
    checkup.compare_splits()
    if predictions is not None:
        checkup.check_predictions(Path(predictions))
    return checkup.report()


class _Checkup:
    """Findings as they come in, and the tables that later steps need."""

    def __init__(self, folder: DatasetFolder) -> None:
        self.folder = folder
        self.findings = check_folder(folder)
        self.sources: dict[str, Source] = {}
        self.summaries: dict[str, SplitSummary] = {}
        self.kinds: dict[str, set[str]] = {}
        self.manifest: dict[str, ManifestEntry] = {}
        self.prediction_summary: PredictionSummary | None = None

    def read(self, name: str, split: Split) -> None:
        what = f"annotations of {name}"
        source, found = read_source(split.annotations, read_annotations, ANNOTATION_COLUMNS, what)
        if source is not None and not source.table.empty:
            self.sources[name] = source
            self.summaries[name] = summary_of(source)
        self.findings += found
        self.kinds[name] = {finding.kind for finding in found}

    def look_at(self, manifest: dict[str, ManifestEntry]) -> None:
        self.manifest = manifest
        self.findings += check_files(self.folder, manifest)
        self.findings += check_same_files(same_files(manifest), self.sources)

    def check_annotations(self, name: str) -> None:
        if name not in self.sources:
            return
        found = check_annotations(
            self.sources[name],
            name,
            self.folder.label_map,
            other_splits=[source for other, source in self.sources.items() if other != name],
            frame_sizes=frame_sizes(self.manifest),
        )
        self.findings += found
        self.kinds[name] |= {finding.kind for finding in found}

    def check_keyframes(self, name: str, split: Split) -> None:
        """Times, exclusions and proposals of one split; rows with a fault take no part in what follows."""
        excluded = proposals = None
        if split.excluded is not None:
            what = f"excluded keyframes of {name}"
            excluded, found = read_source(split.excluded, read_keyframes, KEYFRAME_COLUMNS, what)
            # a list of nothing to exclude is no fault
            self.findings += [finding for finding in found if finding.kind != "empty-file"]
        if split.proposals is not None:
            what = f"proposals of {name}"
            proposals, found = read_source(split.proposals, read_proposal_table, PROPOSAL_COLUMNS, what)
            self.findings += found
        if name not in self.sources:
            return
        source = self.sources[name]
        is_sound = np.ones(len(source.table), dtype=bool)
        found, is_outside = check_times(source, self.manifest)
        self.findings += found
        self.kinds[name] |= {finding.kind for finding in found}
        is_sound &= ~is_outside
        if excluded is not None:
            found, is_excluded = check_excluded(source, excluded.table)
            self.findings += found
            is_sound &= ~is_excluded
        if proposals is not None and not proposals.table.empty:
            self._check_proposals(name, source.only(is_sound), proposals)

    def _check_proposals(self, name: str, source: Source, proposals: Source) -> None:
        if self.kinds[name] & _SPOILS_BOXES:
            source = source.only(np.zeros(len(source.table), dtype=bool))
        found, recall = check_proposals(source, proposals, frame_sizes(self.manifest))
        self.findings += found
        self.summaries[name] = replace(self.summaries[name], proposal_recall=recall)

    def compare_splits(self) -> None:
        self.findings += check_leakage(self.sources)
        if not any(self.kinds[name] & _SPOILS_CLASSES for name in self.kinds):
            self.findings += check_classes(self.folder, self.summaries)

    def check_predictions(self, path: Path) -> None:
        source, found = read_source(path, read_predictions, PREDICTION_COLUMNS, "predictions", "--predictions")
        self.findings += found
        if source is None or source.table.empty:
            return
        likely = [name for name in _LIKELY_PREDICTED if name in self.sources]
        truths = {name: self.sources[name] for name in dict.fromkeys([*likely, *self.sources])}
        spoiled = [name for name in truths if self.kinds[name] & _SPOILS_COMPARISON]
        found, self.prediction_summary = check_predictions(source, truths, self.folder.label_map, spoiled)
        self.findings += found

    def report(self) -> Report:
        ranked = sorted(self.findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count))
        return Report(self.folder, tuple(ranked), self.summaries, self.prediction_summary, self.manifest)
