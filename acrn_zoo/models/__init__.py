"""Backbones, RoI pooling, relation heads, the detector and its loss."""

from acrn_zoo.models.backbone import Backbone, SlowFast, TimePooled, create_slowfast_backbone
from acrn_zoo.models.detector import ActionDetector, ActionHead
from acrn_zoo.models.losses import action_loss
from acrn_zoo.models.relation import ActorCentricRelation, ActorOnly, RelationHead
from acrn_zoo.models.roi import RoIPooling

__all__ = [
    "ActionDetector",
    "ActionHead",
    "ActorCentricRelation",
    "ActorOnly",
    "Backbone",
    "RelationHead",
    "RoIPooling",
    "SlowFast",
    "TimePooled",
    "action_loss",
    "create_slowfast_backbone",
]
