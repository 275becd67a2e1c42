"""TorchVision's detection networks as person detectors."""

import pickle
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as TorchVisionFasterRCNN
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from acrn_zoo.people.detector import PeopleError
from acrn_zoo.structures import Keyframe

FASTER_RCNN_WEIGHTS = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
"""TorchVision's record of the weights that :func:`load_faster_rcnn` reads: url (with hash) and metrics."""

COCO_PERSON = 1
"""The label of a person in COCO, as TorchVision's detectors number it."""


class FasterRCNN:
    """People found by one of TorchVision's detection networks.

    Every detection of a person whose score is at least ``threshold`` is kept. AVA's published models were
    evaluated on proposals of scores from 0.9 on, which is the default.

    Args:
        model: a TorchVision detection module: takes a list of ``[3, H, W]`` float images of 0 to 1, RGB, and
            returns a list of ``{"boxes", "labels", "scores"}``. See :func:`load_faster_rcnn`.
        threshold: the lowest score that counts, 0 to 1.
        device: where the network runs. The module is moved there and set to evaluation mode.
    """

    def __init__(self, model: nn.Module, *, threshold: float = 0.9, device: str | torch.device = "cpu") -> None:
        self.model = model.to(device).eval()
        self.threshold = threshold
        self.device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, frame: Tensor, keyframe: Keyframe) -> Tensor:  # noqa: ARG002 - the picture is enough
        """The people of ``frame [H, W, 3]``, as :class:`acrn_zoo.people.PeopleDetector` says, best first."""
        image = frame.to(self.device).permute(2, 0, 1).float() / 255
        found = self.model([image])[0]
        keep = (found["labels"] == COCO_PERSON) & (found["scores"] >= self.threshold)
        return torch.cat([found["boxes"][keep], found["scores"][keep, None]], dim=1).cpu()


def load_faster_rcnn(
    weights_path: str | Path, *, threshold: float = 0.9, device: str | torch.device = "cpu"
) -> FasterRCNN:
    """TorchVision's Faster R-CNN (ResNet-50, FPN) with COCO weights read from a file.

    The file is the one that ``FASTER_RCNN_WEIGHTS.url`` names. The network is put together as TorchVision
    does for these weights: with frozen batch normalisation of epsilon 0, which ``fasterrcnn_resnet50_fpn``
    gives only to whoever lets it download them.

    Args:
        weights_path: the state dict.
        threshold: the lowest score that counts.
        device: where the network runs.

    Raises:
        PeopleError: if the file is missing, is not a PyTorch file, or belongs to another network.
    """
    path = Path(weights_path)
    advice = f"expected the file that {FASTER_RCNN_WEIGHTS.url} gives"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PeopleError(f"{path} cannot be read ({error.strerror}); {advice}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise PeopleError(f"{path} is not a file of PyTorch weights; {advice}") from error
    norm_layer = partial(FrozenBatchNorm2d, eps=0.0)
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm_layer)
    model = TorchVisionFasterRCNN(backbone, num_classes=len(FASTER_RCNN_WEIGHTS.meta["categories"]))
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise PeopleError(f"{path} holds the weights of another network; {advice}") from error
    return FasterRCNN(model, threshold=threshold, device=device)
