"""Training and evaluation: settings, recipes, and the loops that follow them.

The functions ``train`` and ``evaluate`` are in modules of their names.
"""

from acrn_zoo.engine.config import (
    Config,
    ConfigError,
    DataConfig,
    ModelConfig,
    OptimizationConfig,
    RunConfig,
    read_config,
    write_config,
)
from acrn_zoo.engine.recipes import RECIPES

__all__ = [
    "RECIPES",
    "Config",
    "ConfigError",
    "DataConfig",
    "ModelConfig",
    "OptimizationConfig",
    "RunConfig",
    "read_config",
    "write_config",
]
