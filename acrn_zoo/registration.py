"""TorchVision learns the names of our models without our importing it, and imports them when they are asked for.

Importing TorchVision takes seconds, and much of this package (reading and scoring files) does without it. So the
names are registered at the moment when somebody imports TorchVision, before or after this package.
"""

import importlib
import inspect
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

REGISTERED: dict[str, dict[str, Any]] = {
    "slowfast_r50_acrn": {},
    "slowfast_r50_roi": {},
    "slowfast_acrn_mini": {"pretrained": False},  # to TorchVision, a model without `weights` is random
}
"""Names of functions in :mod:`acrn_zoo.zoo`, and what they are given if the caller does not say otherwise."""


class _ZooFunction:
    """Stands for a function of the zoo in TorchVision's table until it is called or looked at."""

    def __init__(self, name: str, defaults: dict[str, Any]) -> None:
        self.__name__ = name
        self._defaults = defaults
        self.__module__ = "acrn_zoo.zoo"  # list_models(module=acrn_zoo) goes by it

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - those of the function
        return self._function()(*arguments, **(self._defaults | options))

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())  # where get_model_weights finds the records

    def _function(self) -> Any:  # noqa: ANN401 - a function that builds a model
        return getattr(importlib.import_module(self.__module__), self.__name__)


class _TorchVisionFinder:
    """Finds TorchVision as usual, and registers the models as soon as it is imported."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _register()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Make the models known to ``torchvision.models.get_model``, now or when TorchVision is imported."""
    if "torchvision" in sys.modules:
        _register()
    elif _TorchVisionFinder not in sys.meta_path:
        sys.meta_path.insert(0, _TorchVisionFinder)


def _register() -> None:
    known: dict[str, Any] = importlib.import_module("torchvision.models._api").BUILTIN_MODELS
    for name, defaults in REGISTERED.items():
        known.setdefault(name, _ZooFunction(name, defaults))
