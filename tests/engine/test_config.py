"""Settings: what they take, how they are written, and what counts as a difference."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from acrn_zoo.engine.config import (
    Config,
    ConfigError,
    DataConfig,
    ModelConfig,
    OptimizationConfig,
    RunConfig,
    config_as_dict,
    config_from_dict,
    differences,
    read_config,
    write_config,
)
from acrn_zoo.engine.recipes import RECIPES, small_world

GROUPS = (ModelConfig, DataConfig, OptimizationConfig, RunConfig)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_a_file(name: str, tmp_path: Path) -> None:
    config = RECIPES[name]()
    config = replace(
        config, data=replace(config.data, data=tmp_path, eval_scales=(1, 2)), run=replace(config.run, out=tmp_path)
    )
    write_config(tmp_path / "config.json", config)
    assert read_config(tmp_path / "config.json") == config


def test_paths_are_written_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = config_as_dict(replace(small_world(), run=RunConfig(out=Path("run"))))
    assert values["run"]["out"] == str(tmp_path / "run")
    json.dumps(values, allow_nan=False)


def test_flags_are_unique_and_documented() -> None:
    counts = Counter(field.name for group in GROUPS for field in fields(group))
    assert set(counts.values()) == {1}
    for group in GROUPS:
        documented = (group.__doc__ or "").partition("Args:")[2]
        for field in fields(group):
            assert f"        {field.name}: " in documented, field.name


def test_values_take_their_types() -> None:
    values: dict[str, Any] = {"data": "folder", "short_side": [300, 320], "frame_interval": 1}
    data = DataConfig(**values)
    assert (data.data, data.short_side, data.frame_interval) == (Path("folder"), (300, 320), 1.0)
    assert type(data.frame_interval) is float


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        (ModelConfig, {"depth": 34}, "model: depth is 34, expected one of 18, 50, 101, 152"),
        (ModelConfig, {"relation": "acnr"}, "--relation is 'acnr', expected one of acrn, actor_only, "),
        (ModelConfig, {"frozen_stages": 6}, "--frozen-stages is 6, expected a whole number from 0 to 5"),
        (ModelConfig, {"dropout": 1.0}, "model: dropout is 1.0, expected 0 or more and less than 1"),
        (ModelConfig, {"compile": 1}, "--compile is 1, expected true or false"),
        (ModelConfig, {"relation_channels": 2.5}, "--relation-channels is 2.5, expected a whole number, or none"),
        (ModelConfig, {"weights": "a", "weights_backbone": "b"}, "--weights bring their own backbone"),
        (DataConfig, {"clip_length": 7}, "--clip-length is 7, expected a whole number of at least 8"),
        (DataConfig, {"frame_interval": 0}, "--frame-interval is 0.0, expected seconds above 0"),
        (
            DataConfig,
            {"jitter": 0.1},
            "--jitter is 0.1, expected seconds from 0 to --frame-interval, which is 0.0666667",
        ),
        (DataConfig, {"short_side": (200, 320)}, "--short-side is (200, 320), expected two whole numbers, the second"),
        (DataConfig, {"short_side": (320, 300)}, "--short-side is (320, 300), expected two whole numbers, the second"),
        (DataConfig, {"short_side": (256,)}, "--short-side is (256,), expected 2 whole numbers"),
        (DataConfig, {"crop": 0}, "--crop is 0, expected a whole number of at least 1"),
        (DataConfig, {"flip": 1.5}, "--flip is 1.5, expected a number of 0 to 1"),
        (DataConfig, {"people": "all"}, "--people is 'all', expected one of proposals, annotated"),
        (DataConfig, {"eval_scales": (224, 0)}, "--eval-scales is (224, 0), expected whole numbers of at least 1"),
        (DataConfig, {"num_workers": -1}, "--num-workers is -1, expected a whole number of at least 0"),
        (DataConfig, {"data": 5}, "--data is 5, expected a path, or none"),
        (OptimizationConfig, {"epochs": 0}, "--epochs is 0, expected a whole number of at least 1"),
        (OptimizationConfig, {"epochs": 2}, "--warmup-epochs is 2.0, expected 0 or more and less than --epochs"),
        (OptimizationConfig, {"learning_rate": 0}, "--learning-rate is 0.0, expected a number above 0"),
        (OptimizationConfig, {"learning_rate": float("inf")}, "--learning-rate is inf, expected a number, or none"),
        (OptimizationConfig, {"momentum": 1}, "--momentum is 1.0, expected 0 or more and less than 1"),
        (OptimizationConfig, {"weight_decay": -1e-5}, "--weight-decay is -1e-05, expected 0 or more"),
        (OptimizationConfig, {"clip_gradient": 0}, "--clip-gradient is 0.0, expected a number above 0"),
        (OptimizationConfig, {"ema_decay": 1}, "--ema-decay is 1.0, expected a number between 0 and 1"),
        (OptimizationConfig, {"warmup_start": 0}, "--warmup-start is 0.0, expected above 0 and at most 1"),
        (OptimizationConfig, {"seed": -1}, "--seed is -1, expected a whole number of at least 0"),
        (RunConfig, {"validate_every": -1}, "--validate-every is -1, expected a whole number of at least 0"),
        (RunConfig, {"save_every": 0}, "--save-every is 0, expected a whole number of at least 1"),
        (RunConfig, {"keep_last": True}, "--keep-last is True, expected a whole number"),
        (RunConfig, {"keep_last": 0}, "--keep-last is 0, expected a whole number of at least 1"),
    ],
)
def test_wrong_values(group: Any, values: dict[str, Any], message: str) -> None:
    required = {"out": Path("run")} if group is RunConfig else {}
    with pytest.raises(ConfigError) as caught:
        group(**required, **values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("data"), "file: missing entries: data; was it written"),
        (lambda values: values["data"].pop("crop"), "file: missing entries: data.crop; was it written"),
        (lambda values: values["run"].update(speed=1), "file: unknown entries: run.speed; was it written"),
        (lambda values: values.update(models={}), "file: unknown entries: models; was it written"),
        (lambda values: values.update(version=2), "file: version 2, expected 1"),
        (lambda values: values.update(recipe=None), "file: recipe is None, expected text"),
        (lambda values: values.update(model=[]), r"file: model is [], expected entries in braces"),
        (lambda values: values["model"].update(depth="18"), "file: --depth is '18', expected a whole number"),
        (lambda values: values["data"].update(crop=0), "file: --crop is 0, expected"),
    ],
)
def test_wrong_entries(change: Callable[[dict[str, Any]], object], message: str) -> None:
    values = config_as_dict(small_world())
    change(values)
    with pytest.raises(ConfigError) as caught:
        config_from_dict(values, "file")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("{", "is not JSON"), ("[1]", "expected entries in braces")]
)
def test_wrong_files(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=f"config.json.*{message}"):
        read_config(tmp_path / "config.json")


def changed(config: Config, group: str, **values: Any) -> Config:
    return replace(config, **{group: replace(getattr(config, group), **values)})


@pytest.mark.parametrize(
    ("group", "values", "expected"),
    [
        ("optimization", {"epochs": 14}, ["optimization.epochs: 13 before, 14 now"]),
        ("optimization", {"learning_rate": 0.5}, ["optimization.learning_rate: null before, 0.5 now"]),
        ("data", {"short_side": (64, 80)}, ["data.short_side: [64, 64] before, [64, 80] now"]),
        ("model", {"relation": "actor_only"}, ['model.relation: "acrn" before, "actor_only" now']),
        ("data", {"num_workers": 7}, []),
        ("model", {"checkpoint_relation": True}, []),
        ("run", {"out": Path("x"), "validate_every": 3, "save_every": 1, "keep_last": 9, "device": "cpu"}, []),
        ("run", {"tensorboard": False}, []),
    ],
)
def test_differences(group: str, values: dict[str, Any], expected: list[str]) -> None:
    assert differences(small_world(), changed(small_world(), group, **values)) == expected


def test_a_recipe_by_another_name_is_no_difference() -> None:
    assert differences(small_world(), replace(small_world(), recipe="mine")) == []
