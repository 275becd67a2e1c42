"""The doctor of datasets: what is wrong with the annotations, videos, proposals and predictions, in plain words."""

from acrn_zoo.dataset_check.check import check_dataset
from acrn_zoo.dataset_check.findings import Finding, PredictionSummary, Report, SplitSummary
from acrn_zoo.dataset_check.picture import draw_samples
from acrn_zoo.dataset_check.text import report_as_json, report_as_text

__all__ = [
    "Finding",
    "PredictionSummary",
    "Report",
    "SplitSummary",
    "check_dataset",
    "draw_samples",
    "report_as_json",
    "report_as_text",
]
