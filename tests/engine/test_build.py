"""From settings to model, datasets and optimizer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_case import NUM_TRAINING, NUM_VALIDATION, changed, create_config, write_dataset

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.folder import DatasetError
from acrn_zoo.engine import build
from acrn_zoo.engine.build import (
    create_evaluation_dataset,
    create_model,
    create_optimizer,
    create_training_dataset,
    load_weights,
    read_folder,
)
from acrn_zoo.engine.config import Config, ConfigError, ModelConfig, OptimizationConfig
from acrn_zoo.engine.recipes import small_world
from acrn_zoo.models import ActionDetector, ActorCentricRelation, SlowFast
from acrn_zoo.structures import Preprocessing
from acrn_zoo.weights import (
    SlowFast_ACRN_Mini_Weights,
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    WeightsError,
)
from acrn_zoo.zoo import create_slowfast_detector, save_detector

OLD = ("walk", "talk", "sit", "sit")
SMALL = SlowFastArchitecture(depth=18, width=8, relation_channels=16, num_classes=4, dropout=0.25, temporal_pool="max")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    model = create_slowfast_detector(SMALL)
    torch.nn.init.normal_(model.head.classifier.bias)
    save_detector(path, model, OLD)
    return str(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


def configured(**model: Any) -> Config:
    return replace(small_world(), model=ModelConfig(**model))


def body(model: ActionDetector) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if "classifier" not in name}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_random_weights_follow_the_seed() -> None:
    notes: list[str] = []
    before = torch.get_rng_state()
    model = create_model(small_world(), ("a", "b"), tell=notes.append)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.categories == ("a", "b")
    assert model.training
    assert model.architecture["spatial_stride"] == 8
    size = sum(parameter.numel() for parameter in model.parameters())
    assert notes == [f"SlowFast with acrn, 2 classes, {size:,} parameters; all weights start anew"]
    assert_equal(model.state_dict(), create_model(small_world(), ("a", "b")).state_dict())
    other = create_model(changed(small_world(), {"seed": 1}), ("a", "b"))
    assert not torch.equal(other.head.classifier.weight, model.head.classifier.weight)


def test_classes_of_the_same_name_are_kept(weights: str) -> None:
    notes: list[str] = []
    names = ("sit", "fly", "walk", "swim", "walk")
    model, old = create_model(configured(weights=weights), names, tell=notes.append), load_weights(weights)
    assert_equal(body(model), body(old))
    for parameter, found in zip(model.head.classifier.parameters(), old.head.classifier.parameters(), strict=True):
        assert torch.equal(parameter[[0, 2]], found[[2, 0]])
    assert not model.head.classifier.bias[[1, 3, 4]].any()
    assert model.categories == names
    assert model.architecture["num_classes"] == 5
    assert "keeps 2 classes of the same name (sit, walk), 2 start anew (fly, swim)" in notes[0]


def test_a_model_tells_which_clips_it_is_trained_on(weights: str) -> None:
    config = configured(weights=weights)
    config = replace(config, data=replace(config.data, clip_length=16, frame_interval=0.04, eval_short_side=112))
    assert create_model(config, OLD).preprocessing == Preprocessing(16, 0.04, 112)


OTHER_CLIPS = "the weights were trained on other clips than these: "


@pytest.mark.parametrize(
    ("known", "changes", "expected"),
    [
        (Preprocessing(8, 0.1, 64), {}, ""),
        (Preprocessing(8, 0.1, 48), {}, "--eval-short-side 48 then, --eval-short-side 64 now"),
        (Preprocessing(8, 0.1, 48), {"eval_scales": (32, 48)}, ""),
        (Preprocessing(16, 0.1, 64), {}, "--clip-length 16 then, --clip-length 8 now"),
        (Preprocessing(8, 2 / 30, 64), {}, "--frame-interval 0.0666667 then, --frame-interval 0.1 now"),
        (Preprocessing(8, 2 / 30, 64), {"frame_interval": 0.0667}, ""),
        (
            Preprocessing(),
            {},
            "--clip-length 32 --frame-interval 0.0666667 --eval-short-side 256 then, "
            "--clip-length 8 --frame-interval 0.1 --eval-short-side 64 now",
        ),
        (None, {}, ""),
    ],
)
def test_weights_of_other_clips(
    known: Preprocessing | None, changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    model = create_slowfast_detector(SMALL)
    model.preprocessing = known
    save_detector(tmp_path / "found.pth", model, OLD)
    notes: list[str] = []
    create_model(changed(configured(weights=str(tmp_path / "found.pth")), changes), OLD, tell=notes.append)
    assert notes[1:] == [OTHER_CLIPS + expected] * bool(expected)


def test_the_same_classes_keep_everything(weights: str) -> None:
    notes: list[str] = []
    model = create_model(configured(weights=weights), OLD, tell=notes.append)
    assert_equal(model.state_dict(), load_weights(weights).state_dict())
    assert notes[0].endswith(f"weights of {weights}, the classifier too, since the classes are the same")


def test_weights_decide(weights: str) -> None:
    model = create_model(configured(weights=weights), OLD)
    assert model.training
    assert model.architecture == {**model.architecture, "depth": 18, "temporal_pool": "max", "dropout": 0.25}
    same = configured(weights=weights, depth=18, width=8, relation_channels=16, temporal_pool="max", dropout=0.0)
    model = create_model(same, OLD)
    assert isinstance(model.head.relation, ActorCentricRelation)
    assert model.head.relation.dropout == model.architecture["dropout"] == 0.0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"depth": 101}, "--depth is 101, but --weights .*small.pth have 18: say 18"),
        ({"relation": "pooled_scene"}, "--relation is 'pooled_scene', but --weights .*small.pth have 'acrn'"),
        ({"relation_channels": 32}, "--relation-channels is 32, but --weights .*small.pth have 16"),
        ({"temporal_pool": "avg"}, "--temporal-pool is avg, but .*small.pth was trained with max"),
    ],
)
def test_contradictions(model: dict[str, Any], message: str, weights: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model(configured(weights=weights, **model), OLD)


def test_classes_without_names(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nameless = load_weights(weights)
    nameless.categories = None
    monkeypatch.setattr(build, "load_weights", lambda *_, **__: nameless)
    with pytest.raises(ConfigError, match="small.pth do not name their 4 classes.*save_detector"):
        create_model(configured(weights=weights), OLD)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("AVA22_V1", SlowFast_R50_ACRN_Weights.AVA22_V1),
        ("DEFAULT", SlowFast_R50_ACRN_Weights.DEFAULT),
        ("SlowFast_R50_ACRN_Weights.AVA21_V0", SlowFast_R50_ACRN_Weights.AVA21_V0),
        ("SlowFast_R50_RoI_Weights.AVA22_V1", SlowFast_R50_RoI_Weights.AVA22_V1),
        ("mini", SlowFast_ACRN_Mini_Weights.SMALL_WORLD_V1),
        ("somewhere/best.pth", Path("somewhere/best.pth")),
    ],
)
def test_names_of_weights(name: str, record: object, monkeypatch: pytest.MonkeyPatch) -> None:
    class FoundError(Exception):
        pass

    def read(weights: object, progress: bool) -> None:
        assert progress
        raise FoundError(weights)

    monkeypatch.setattr(build, "read_checkpoint", read)
    with pytest.raises(FoundError) as caught:
        load_weights(name)
    assert caught.value.args == (record,)


def test_unknown_weights() -> None:
    with pytest.raises(WeightsError, match=r"'AVA23' are not known: expected one of .*AVA22_V1.*the path"):
        load_weights("AVA23")


@pytest.mark.parametrize("lateral_norm", [False, True])
def test_backbone_alone(lateral_norm: bool, tmp_path: Path) -> None:
    found = create_slowfast_detector(replace(SMALL, lateral_norm=lateral_norm))
    save_detector(tmp_path / "found.pth", found, OLD)
    notes: list[str] = []
    path = str(tmp_path / "found.pth")
    config = configured(weights_backbone=path, depth=18, width=8, relation_channels=16)
    model = create_model(config, ("one",), tell=notes.append)
    assert_equal(model.backbone.state_dict(), found.backbone.state_dict())
    name = "head.relation.pair.0.weight"
    assert not torch.equal(model.state_dict()[name], found.state_dict()[name])
    assert (model.architecture["lateral_norm"], model.architecture["temporal_pool"]) == (lateral_norm, "max")
    assert notes[0].endswith(f"backbone of {path}, the head starts anew")
    if not lateral_norm:
        contradicting = changed(config, {"lateral_norm": True})
        with pytest.raises(ConfigError, match="--lateral-norm is True, but --weights-backbone .* have False"):
            create_model(contradicting, ("one",))


def test_frozen_stages_do_not_learn() -> None:
    notes: list[str] = []
    config = changed(small_world(), {"frozen_stages": 2})
    model = create_model(config, ("a",), tell=notes.append)
    assert isinstance(model.backbone, SlowFast)
    frozen = sum(parameter.numel() for parameter in model.backbone.blocks[:2].parameters())
    size = sum(parameter.numel() for parameter in model.parameters())
    assert f"{size:,} parameters ({size - frozen:,} learn)" in notes[0]
    assert [block.training for block in model.backbone.blocks] == [False, False, True, True, True]
    (group,) = create_optimizer(model, config.optimization).param_groups
    assert sum(parameter.numel() for parameter in group["params"]) == size - frozen


def test_optimizers() -> None:
    model = create_model(small_world(), ("a",))
    (group,) = create_optimizer(model, OptimizationConfig(momentum=0.8)).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.0, 0.8, 1e-5)
    optimizer = create_optimizer(model, OptimizationConfig(optimizer="adamw", momentum=0.8))
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.0, (0.8, 0.999), 1e-5)


def test_checkpointing_of_the_relation() -> None:
    config = changed(small_world(), {"checkpoint_relation": True})
    assert create_model(config, ("a",)).head.relation.is_checkpointed
    with pytest.raises(ConfigError, match="--checkpoint-relation: ActorOnly keeps no map"):
        create_model(changed(config, {"relation": "actor_only", "relation_channels": None}), ("a",))


def test_training_dataset(root: Path) -> None:
    # An interval below the published jitter, which must not be in the way.
    changes = {"frame_interval": 0.02, "jitter": 0.01, "flip": 0.25, "with_unmatched": True, "min_score": 0.5}
    dataset = create_training_dataset(create_config(root, root, **changes, seed=3, short_side=(40, 48)))
    assert len(dataset) == NUM_TRAINING
    assert dataset.sampling == ClipSampling(8, 0.02)
    augmentation = dataset.augmentation
    assert (augmentation.short_side, augmentation.crop, augmentation.flip) == ((40, 48), 32, 0.25)
    assert (dataset.jitter, dataset.with_unmatched, dataset.min_score, dataset.seed) == (0.01, True, 0.5, 3)
    assert dataset[0].frames.shape == (8, 32, 32, 3)


def test_evaluation_dataset(root: Path) -> None:
    config = create_config(root, root, eval_short_side=40)
    dataset = create_evaluation_dataset(config)
    assert len(dataset) == NUM_VALIDATION
    assert dataset.sampling == ClipSampling(8, 0.1)
    assert dataset[0].frames.shape[1] == 40
    assert create_evaluation_dataset(config, short_side=24)[0].frames.shape[1] == 24
    with pytest.raises(DatasetError, match="has no proposals"):
        create_evaluation_dataset(changed(config, {"people": "proposals"}))
    with pytest.raises(DatasetError, match="no split 'test'"):
        create_evaluation_dataset(changed(config, {"val_split": "test"}))


def test_no_dataset() -> None:
    with pytest.raises(ConfigError, match="--data is missing: name a dataset folder"):
        read_folder(small_world())
