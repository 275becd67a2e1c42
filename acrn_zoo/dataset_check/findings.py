"""What the doctor hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.data.manifest import ManifestEntry

Severity: TypeAlias = Literal["error", "warning", "note"]
"""``error``: training or evaluation go wrong; ``warning``: they may; ``note``: good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def counted(number: int, noun: str) -> str:
    """The number and its noun: "1 box", "93 boxes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or good to know.

    Args:
        kind: a stable name of the fault, such as ``boxes-in-pixels``.
        severity: how bad it is.
        message: one sentence: what was found, and where.
        count: how often.
        advice: what to do.
        examples: a few places: file, line, video, second, value.
    """

    kind: str
    severity: Severity
    message: str
    count: int
    advice: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds.

    Args:
        num_videos: videos that its annotations name.
        num_keyframes: moments, those with nobody included.
        num_boxes: different boxes at a keyframe.
        class_counts: action id to number of rows; ids that are no classes included.
        proposal_recall: the part of its boxes that a proposal meets at IoU 0.5; None without proposals.
    """

    num_videos: int
    num_keyframes: int
    num_boxes: int
    class_counts: Mapping[int, int]
    proposal_recall: float | None = None


@dataclass(frozen=True)
class PredictionSummary:
    """How predictions and the truth meet, as they are.

    Args:
        split: the split whose keyframes they meet most.
        num_rows: rows of the file.
        num_keyframes: moments that they name.
        met_keyframes: the part of the split's keyframes that have a prediction.
        recall: the part of the split's boxes that a predicted box meets at IoU 0.5, whatever its action.
    """

    split: str
    num_rows: int
    num_keyframes: int
    met_keyframes: float
    recall: float


@dataclass(frozen=True)
class Report:
    """All findings on a dataset, the worst first.

    Args:
        folder: the dataset.
        findings: errors, then warnings, then notes.
        splits: name to summary of every split that could be read.
        predictions: None if there were none to check, or they could not be read.
        manifest: what is known of the videos; empty if they were not looked at.
    """

    folder: DatasetFolder
    findings: tuple[Finding, ...]
    splits: Mapping[str, SplitSummary]
    predictions: PredictionSummary | None = None
    manifest: Mapping[str, ManifestEntry] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def num_findings(self, severity: Severity) -> int:
        """How many findings are of that severity."""
        return sum(finding.severity == severity for finding in self.findings)
