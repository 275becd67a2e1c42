"""Backbones, RoI pooling, relation heads, the detector and its loss."""

from acrn_zoo.models.backbone import Backbone, SlowFast, TimePooled, create_slowfast_backbone
from acrn_zoo.models.detector import ActionDetector, ActionHead
from acrn_zoo.models.losses import action_loss
from acrn_zoo.models.relation import ActorCentricRelation, ActorOnly, PooledScene, RelationHead, SceneAttention
from acrn_zoo.models.roi import RoIPooling
from acrn_zoo.models.training import checkpoint_relation, freeze_stages, replace_classifier

__all__ = [
    "ActionDetector",
    "ActionHead",
    "ActorCentricRelation",
    "ActorOnly",
    "Backbone",
    "PooledScene",
    "RelationHead",
    "RoIPooling",
    "SceneAttention",
    "SlowFast",
    "TimePooled",
    "action_loss",
    "checkpoint_relation",
    "create_slowfast_backbone",
    "freeze_stages",
    "replace_classifier",
]
