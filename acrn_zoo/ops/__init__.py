"""The relation operator and its implementations, and RoIAlign where TorchVision's is slow."""

from acrn_zoo.ops.relation import relation
from acrn_zoo.ops.relation_reference import relation_reference
from acrn_zoo.ops.roi_align import separable_roi_align

__all__ = ["relation", "relation_reference", "separable_roi_align"]
