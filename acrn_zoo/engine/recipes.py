"""Recipes: settings that belong together, by name. Each is a function, so that one may be built on another.

What a recipe says is the default of the flags of ``acrn-zoo train RECIPE``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from acrn_zoo.engine.config import Config, DataConfig, ModelConfig, OptimizationConfig, RunConfig

KINETICS = "KINETICS400_MMACTION2_V0"
"""What the published models were started from."""


def slowfast_acrn_ava22() -> Config:
    """SlowFast R50 with ACRN on AVA 2.2 as published (MMAction2 1.x): 8 GPUs x 8 clips, 10 epochs.

    Learning rate 0.1 for 64 clips, rising for 2 epochs from a tenth, then along a cosine to 0. As published, proposals
    that match nobody enter the batch statistics.
    """
    return _published("slowfast_acrn_ava22")


def slowfast_acrn_ava21() -> Config:
    """SlowFast R50 with ACRN on AVA 2.1 as published (MMAction2 1.x): 8 GPUs x 8 clips, 10 epochs.

    The same numbers as :func:`slowfast_acrn_ava22`, on what ``acrn-zoo data ava DIR --version 2.1`` fetches.
    """
    return _published("slowfast_acrn_ava21")


def slowfast_acrn_ava_maximum() -> Config:
    """The older recipe for AVA 2.1 and 2.2 (MMAction2 0.x): maximum over time, 8 GPUs x 6 clips, 10 epochs.

    Learning rate 0.075 for 48 clips, along one cosine over the whole run, which a warm-up of 2 epochs multiplies.
    """
    config = _published("slowfast_acrn_ava_maximum")
    return replace(
        config,
        model=replace(config.model, temporal_pool="max"),
        optimization=replace(config.optimization, clips_per_process=6, schedule="cosine_times_warmup"),
    )


def slowfast_acrn_jhmdb() -> Config:
    """SlowFast R50 with ACRN on a split of J-HMDB, on the annotated boxes; not published, not measured yet.

    The videos last half a second to one and a half, at 25 frames a second, and every frame is a keyframe. So a clip
    has every frame for 1.3 s, none is shifted, and few epochs see all there is many times.
    """
    config = _published("slowfast_acrn_jhmdb")
    data = replace(config.data, frame_interval=1 / 25, jitter=0.0, people="annotated", with_unmatched=False)
    optimization = replace(config.optimization, epochs=4, warmup_epochs=0.5)
    return replace(config, data=data, optimization=optimization)


def finetune() -> Config:
    """Your own dataset, starting from the model trained on AVA; classes that AVA knows keep what it learnt.

    Gentler than training from Kinetics, since what is known already should be bent, not lost: a tenth of the learning
    rate, with a warm-up that lets the new rows of the classifier find their place before the rest moves much; fewer
    epochs, since small datasets are soon learnt by heart; the stem and res2, whose edges and flicker are the same in
    all videos, stay as they are, which also saves memory. Evaluation is on the annotated boxes, which every dataset
    has: with proposals of a detector (``acrn-zoo data people``), say ``--people proposals``.
    """
    config = _published("finetune")
    return replace(
        config,
        model=ModelConfig(weights="AVA22_V1", frozen_stages=2),
        data=replace(config.data, people="annotated", with_unmatched=False),
        optimization=replace(config.optimization, epochs=6, warmup_epochs=1.0, learning_rate_per_clip=0.00015625),
    )


def small_world() -> Config:
    """A small SlowFast with ACRN on the world of `acrn-zoo data small-world`, for two cores."""
    return Config(
        recipe="small_world",
        model=ModelConfig(depth=18, width=8, beta=2, alpha=4, spatial_stride=8, relation_channels=128, dropout=0.0),
        data=DataConfig(
            clip_length=8,
            frame_interval=0.1,
            short_side=(64, 64),
            crop=64,
            jitter=0.0,
            people="annotated",
            eval_short_side=64,
            num_workers=0,  # two cores have enough to do: reading in between is faster than a third process
        ),
        optimization=OptimizationConfig(
            epochs=13,
            clips_per_process=16,
            learning_rate_per_clip=0.000125,
            optimizer="adamw",
            weight_decay=1e-4,
            warmup_epochs=1.0,
        ),
        run=RunConfig(out=_folder("small_world")),
    )


def _published(name: str) -> Config:
    """The recipe of MMAction2 1.x; its numbers are the defaults of the settings, but for these.

    Two things are not as published. The loss of a step is the mean over the labelled actors of all processes together;
    MMAction2 takes the mean of each GPU's and averages these, so that actors count more on a GPU that has few. And the
    last step of an epoch is left out where its clips are too few.
    """
    return Config(
        recipe=name,
        model=ModelConfig(weights_backbone=KINETICS),
        data=DataConfig(with_unmatched=True),
        optimization=OptimizationConfig(),
        run=RunConfig(out=_folder(name)),
    )


def _folder(name: str) -> Path:
    return Path("runs") / name


RECIPES: Mapping[str, Callable[[], Config]] = {
    recipe.__name__: recipe
    for recipe in (
        slowfast_acrn_ava22,
        slowfast_acrn_ava21,
        slowfast_acrn_ava_maximum,
        slowfast_acrn_jhmdb,
        finetune,
        small_world,
    )
}
"""All recipes by their names."""


def summary_of(name: str) -> str:
    """What a recipe is, in one line."""
    return (RECIPES[name].__doc__ or "").partition("\n")[0]
