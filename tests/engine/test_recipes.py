"""Recipes against the facts that were published."""

from dataclasses import replace

import pytest

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.engine.config import OptimizationConfig
from acrn_zoo.engine.recipes import (
    RECIPES,
    finetune,
    slowfast_acrn_ava21,
    slowfast_acrn_ava22,
    slowfast_acrn_ava_maximum,
    slowfast_acrn_jhmdb,
    small_world,
    summary_of,
)
from acrn_zoo.engine.schedule import scaled_learning_rate
from acrn_zoo.weights import SlowFast_R50_ACRN_Weights, SlowFast_R50_Weights, resolve_detector


@pytest.mark.parametrize("name", RECIPES)
def test_names(name: str) -> None:
    config = RECIPES[name]()
    assert config.recipe == name == config.run.out.name
    assert summary_of(name).endswith(".")
    assert config.data.data is None


def test_published() -> None:
    config = slowfast_acrn_ava22()
    assert config.model.architecture(80) == SlowFastArchitecture()
    assert config.model.weights_backbone in SlowFast_R50_Weights.__members__
    assert config.optimization == OptimizationConfig(
        epochs=10,
        clips_per_process=8,
        momentum=0.9,
        weight_decay=1e-5,
        clip_gradient=40,
        warmup_epochs=2,
        warmup_start=0.1,
        schedule="warmup_then_cosine",
    )
    data = config.data
    assert (data.clip_length, data.frame_interval, data.jitter) == (32, 2 / 30, 1 / 30)
    assert (data.short_side, data.crop, data.flip, data.eval_short_side) == ((256, 320), 256, 0.5, 256)
    assert (data.min_score, data.with_unmatched, data.people) == (0.9, True, "proposals")
    assert replace(slowfast_acrn_ava21(), recipe=config.recipe, run=config.run) == config


def test_older() -> None:
    config = slowfast_acrn_ava_maximum()
    assert config.model.architecture(80) == SlowFastArchitecture(temporal_pool="max")
    assert config.optimization.schedule == "cosine_times_warmup"
    assert scaled_learning_rate(config.optimization, 8) == pytest.approx(0.075, rel=1e-15)
    assert config.data == slowfast_acrn_ava22().data


def test_finetuning_is_gentler() -> None:
    config, published = finetune(), slowfast_acrn_ava22()
    assert config.model.weights is not None
    assert resolve_detector(config.model.weights) is SlowFast_R50_ACRN_Weights.AVA22_V1
    assert config.model.weights_backbone is None
    assert config.optimization.learning_rate_per_clip == published.optimization.learning_rate_per_clip / 10
    assert config.optimization.epochs < published.optimization.epochs


def test_people_are_annotated_where_no_proposals_are_made() -> None:
    for recipe in (finetune, slowfast_acrn_jhmdb, small_world):
        assert recipe().data.people == "annotated"


def test_small_world_is_small() -> None:
    config = small_world()
    architecture = config.model.architecture(8)
    assert (architecture.depth, architecture.width, architecture.spatial_stride) == (18, 8, 8)
    assert (config.model.weights, config.model.weights_backbone) == (None, None)
