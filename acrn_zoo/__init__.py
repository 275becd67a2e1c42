"""Who does what in a video: Actor-Centric Relation Networks for the TorchVision and PyTorchVideo model zoos."""

from acrn_zoo.zoo import (
    SlowFastArchitecture,
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

__version__ = "0.1.0"

__all__ = [
    "SlowFastArchitecture",
    "create_acrn_head",
    "create_roi_head",
    "create_slowfast_detector",
    "load_detector",
    "save_detector",
    "slowfast_acrn_ava21",
    "slowfast_acrn_ava22",
    "slowfast_r50_acrn",
    "slowfast_r50_roi",
]
