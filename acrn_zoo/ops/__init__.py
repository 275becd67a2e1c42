"""The relation operator and its implementations."""

from acrn_zoo.ops.relation import relation
from acrn_zoo.ops.relation_reference import relation_reference

__all__ = ["relation", "relation_reference"]
