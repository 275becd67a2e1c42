"""Who does what in a video: Actor-Centric Relation Networks for the TorchVision and PyTorchVideo model zoos.

Importing this package registers its models with TorchVision. What it holds is imported when it is first used,
so that reading and scoring files does not wait for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from acrn_zoo import registration
from acrn_zoo.version import VERSION

if TYPE_CHECKING:
    from acrn_zoo.architecture import SlowFastArchitecture
    from acrn_zoo.predictor import ActionPredictor, create_person_detector
    from acrn_zoo.zoo import (
        create_acrn_head,
        create_roi_head,
        create_slowfast_detector,
        load_detector,
        save_detector,
        slowfast_acrn_ava21,
        slowfast_acrn_ava22,
        slowfast_acrn_mini,
        slowfast_r50_acrn,
        slowfast_r50_roi,
    )

__version__ = VERSION

_HOMES = {
    "ActionPredictor": "predictor",
    "SlowFastArchitecture": "architecture",
    "create_acrn_head": "zoo",
    "create_person_detector": "predictor",
    "create_roi_head": "zoo",
    "create_slowfast_detector": "zoo",
    "load_detector": "zoo",
    "save_detector": "zoo",
    "slowfast_acrn_ava21": "zoo",
    "slowfast_acrn_ava22": "zoo",
    "slowfast_acrn_mini": "zoo",
    "slowfast_r50_acrn": "zoo",
    "slowfast_r50_roi": "zoo",
}

__all__ = [
    "ActionPredictor",
    "SlowFastArchitecture",
    "create_acrn_head",
    "create_person_detector",
    "create_roi_head",
    "create_slowfast_detector",
    "load_detector",
    "save_detector",
    "slowfast_acrn_ava21",
    "slowfast_acrn_ava22",
    "slowfast_acrn_mini",
    "slowfast_r50_acrn",
    "slowfast_r50_roi",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]


registration.register()
