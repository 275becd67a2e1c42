"""Detections to numbers: mAP on AVA and on data of its form, frame-mAP and video-mAP on J-HMDB. No PyTorch."""

from acrn_zoo.evaluation.ava import AvaEvaluator, AvaResult, evaluate_ava
from acrn_zoo.evaluation.ground_truth import GroundTruth, read_ground_truth
from acrn_zoo.evaluation.jhmdb import JhmdbEvaluator
from acrn_zoo.evaluation.resampling import Comparison, compare, confidence_interval
from acrn_zoo.evaluation.rules import OFFICIAL, RULES, EvaluationError, Rule

__all__ = [
    "OFFICIAL",
    "RULES",
    "AvaEvaluator",
    "AvaResult",
    "Comparison",
    "EvaluationError",
    "GroundTruth",
    "JhmdbEvaluator",
    "Rule",
    "compare",
    "confidence_interval",
    "evaluate_ava",
    "read_ground_truth",
]
