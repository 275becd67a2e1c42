"""Who does what in a video: Actor-Centric Relation Networks for the TorchVision and PyTorchVideo model zoos."""

from typing import TYPE_CHECKING, Any

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.version import VERSION
from acrn_zoo.zoo import (
    create_acrn_head,
    create_roi_head,
    create_slowfast_detector,
    load_detector,
    save_detector,
    slowfast_acrn_ava21,
    slowfast_acrn_ava22,
    slowfast_r50_acrn,
    slowfast_r50_roi,
)

if TYPE_CHECKING:
    from acrn_zoo.predictor import ActionPredictor, create_person_detector

__version__ = VERSION

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
    "slowfast_r50_acrn",
    "slowfast_r50_roi",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    """Import what reads videos only when it is used: models alone (torch.hub) do not need PyAV."""
    if name in ("ActionPredictor", "create_person_detector"):
        from acrn_zoo import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
