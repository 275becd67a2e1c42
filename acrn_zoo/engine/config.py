"""Every setting of a training run: one layer of frozen dataclasses.

Their fields are the flags of ``acrn-zoo train`` and the entries of the file ``config.json`` beside the checkpoints.
:mod:`acrn_zoo.engine.recipes` has those that are known to be good. The configuration ends at the engine: models, data
and evaluation take plain numbers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acrn_zoo.engine.settings import DataConfig, ModelConfig, OptimizationConfig, RunConfig
from acrn_zoo.engine.values import ConfigError, plain, types_of
from acrn_zoo.files import write_json

__all__ = [
    "Config",
    "ConfigError",
    "DataConfig",
    "ModelConfig",
    "OptimizationConfig",
    "RunConfig",
    "config_as_dict",
    "config_from_dict",
    "differences",
    "read_config",
    "write_config",
]

VERSION = 1
"""The version of the JSON form that is written and read."""


@dataclass(frozen=True)
class Config:
    """All settings of a run.

    Args:
        recipe: the name of the recipe that they come from.
        model: what is trained.
        data: what it is trained and evaluated on.
        optimization: how.
        run: where, and when to save and evaluate.
    """

    recipe: str
    model: ModelConfig
    data: DataConfig
    optimization: OptimizationConfig
    run: RunConfig


GROUPS = {"model": ModelConfig, "data": DataConfig, "optimization": OptimizationConfig, "run": RunConfig}

SAME_NUMBERS = frozenset(
    {"recipe", "model.checkpoint_relation", "data.num_workers", *(f"run.{field.name}" for field in fields(RunConfig))}
)
"""Entries that do not change what is learnt; a run may go on with others."""


def config_as_dict(config: Config) -> dict[str, Any]:
    """The settings as JSON has them: plain values, paths absolute."""
    groups = {group: {name: plain(value) for name, value in asdict(getattr(config, group)).items()} for group in GROUPS}
    return {"version": VERSION, "recipe": config.recipe, **groups}


def config_from_dict(values: Mapping[str, Any], source: str) -> Config:
    """The settings that :func:`config_as_dict` gave.

    Args:
        values: nested entries, all of them.
        source: where they come from, for errors.

    Raises:
        ConfigError: naming the entry, if one is missing, unknown, or has a value that it cannot have.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: expected entries in braces, not {values!r:.80}")
    if (version := values.get("version")) != VERSION:
        raise ConfigError(f"{source}: version {version!r}, expected {VERSION}")
    _require_names(values, ("version", "recipe", *GROUPS), source, "")
    if not isinstance(values["recipe"], str):
        raise ConfigError(f"{source}: recipe is {values['recipe']!r}, expected text")
    groups: dict[str, Any] = {}
    for group, config_class in GROUPS.items():
        entries = values[group]
        if not isinstance(entries, Mapping):
            raise ConfigError(f"{source}: {group} is {entries!r:.80}, expected entries in braces")
        _require_names(entries, tuple(types_of(config_class)), source, f"{group}.")
        try:
            groups[group] = config_class(**entries)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    return Config(recipe=values["recipe"], **groups)


def read_config(path: str | Path) -> Config:
    """Read the settings of a run.

    Raises:
        ConfigError: naming the file, if it is missing or not what :func:`write_config` writes.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error})") from error
    return config_from_dict(values, str(path))


def write_config(path: str | Path, config: Config) -> None:
    """Write the settings of a run as JSON; a file that exists is replaced.

    Raises:
        OutputError: if it cannot be written.
    """
    write_json(Path(path), config_as_dict(config))


def differences(old: Config, new: Config) -> list[str]:
    """Settings that change what is learnt and are not the same, such as ``optimization.epochs: 10 before, 12 now``."""
    before, now = _flat(old), _flat(new)
    return [
        f"{name}: {json.dumps(before[name])} before, {json.dumps(now[name])} now"
        for name in before
        if before[name] != now[name] and name not in SAME_NUMBERS
    ]


def _flat(config: Config) -> dict[str, Any]:
    values = config_as_dict(config)
    return {f"{group}.{name}": value for group in GROUPS for name, value in values[group].items()}


def _require_names(values: Mapping[str, Any], names: tuple[str, ...], source: str, prefix: str) -> None:
    if unknown := [f"{prefix}{name}" for name in values if name not in names]:
        raise ConfigError(f"{source}: unknown entries: {', '.join(unknown)}; was it written by another version?")
    if missing := [f"{prefix}{name}" for name in names if name not in values]:
        raise ConfigError(f"{source}: missing entries: {', '.join(missing)}; was it written by another version?")
