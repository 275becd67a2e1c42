"""Entry points for torch.hub: ``torch.hub.load("org/acrn", "slowfast_acrn_ava22")``."""

dependencies = ["torch", "torchvision", "pytorchvideo", "fvcore", "iopath", "numpy", "portalocker", "tqdm"]

from acrn_zoo.zoo import (  # noqa: E402, F401
    slowfast_acrn_ava21,
    slowfast_acrn_ava22,
    slowfast_acrn_mini,
    slowfast_r50_acrn,
    slowfast_r50_roi,
)
