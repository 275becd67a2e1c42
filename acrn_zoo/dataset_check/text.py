"""The report, to be read by people and by programs."""

import textwrap
from dataclasses import asdict
from typing import Any

from acrn_zoo.dataset_check.findings import SEVERITIES, Finding, Report, SplitSummary, counted

_WIDTH = 110
_BAR = 24


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as plain values: ``is_healthy``, ``findings``, ``splits``, ``predictions``."""
    return {
        "dataset": report.folder.name,
        "is_healthy": report.is_healthy,
        "findings": [asdict(finding) for finding in report.findings],
        "splits": {name: _split_fields(split) for name, split in report.splits.items()},
        "predictions": None if report.predictions is None else asdict(report.predictions),
    }


def _split_fields(split: SplitSummary) -> dict[str, Any]:
    counts = {str(number): count for number, count in split.class_counts.items()}
    return {**asdict(split), "class_counts": counts}


def report_as_text(report: Report) -> str:
    """The report in plain words: what there is, the classes as bars, then the findings, the worst first."""
    blocks = [_overview(report), _histogram(report), *(_finding_text(finding) for finding in report.findings)]
    return "\n\n".join(block for block in [*blocks, _verdict(report)] if block)


def _overview(report: Report) -> str:
    folder = report.folder
    size = f"{counted(len(folder.label_map.names), 'class')}, {counted(len(folder.videos), 'video')}"
    lines = [f"{folder.name} ({folder.root}): {size}"]
    for name, split in report.splits.items():
        numbers = (split.num_videos, split.num_keyframes, split.num_boxes, sum(split.class_counts.values()))
        counts = [counted(*pair) for pair in zip(numbers, ("video", "keyframe", "box", "label"), strict=True)]
        line = f"  {name}: {', '.join(counts)}"
        if split.proposal_recall is not None:
            line += f"; proposals find {split.proposal_recall:.1%} of the boxes"
        lines.append(line)
    if (found := report.predictions) is not None:
        lines.append(
            f"  predictions: {found.num_rows:,} rows at {found.num_keyframes:,} keyframes, compared with "
            f"{found.split}: they cover {found.met_keyframes:.1%} of its keyframes and {found.recall:.1%} of its boxes"
        )
    return "\n".join(lines)


def _histogram(report: Report) -> str:
    """A row a class, a bar a split; each split's bars are relative to its most frequent class."""
    if not report.splits:
        return ""
    names = report.folder.label_map.names
    width = max(map(len, names.values()))
    lines = [f"  {'class':<{width + 5}}" + "".join(f"{name:>9}  {'':{_BAR}}" for name in report.splits).rstrip()]
    for number, name in names.items():
        cells = []
        for split in report.splits.values():
            count = split.class_counts.get(number, 0)
            most = max((split.class_counts.get(other, 0) for other in names), default=0)
            filled = max(1, round(_BAR * count / most)) if count else 0
            cells.append(f"{count:>9,}  {'#' * filled:<{_BAR}}")
        lines.append(f"  {number:>3}  {name:<{width}}" + "".join(cells).rstrip())
    return "\n".join(lines)


def _finding_text(finding: Finding) -> str:
    first = textwrap.fill(f"{finding.severity.upper()}  {finding.message}", _WIDTH, subsequent_indent="  ")
    lines = [f"{first} [{finding.kind}]"]
    lines += [f"    {example}" for example in finding.examples]
    if finding.count > len(finding.examples) > 0:
        lines[-1] += " ..."
    lines.append(textwrap.fill(f"To do: {finding.advice}", _WIDTH, initial_indent="  ", subsequent_indent="  "))
    return "\n".join(lines)


def _verdict(report: Report) -> str:
    if not report.findings:
        return "Nothing is wrong."
    counts = []
    for severity in SEVERITIES:
        counts.append(counted(report.num_findings(severity), severity))
    return ("No errors: " if report.is_healthy else "Mend the errors first: ") + ", ".join(counts) + "."
