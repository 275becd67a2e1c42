"""TorchVision's detection networks as person detectors."""

from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from acrn_zoo.people.detector import PeopleError
from acrn_zoo.people.faster_rcnn import FasterRCNN, load_faster_rcnn
from acrn_zoo.structures import Keyframe

FRAME = torch.zeros(100, 200, 3, dtype=torch.uint8)
KEYFRAME = Keyframe("film", 2.0)


class FixedDetections(nn.Module):
    """A network that sees the same in every picture, and keeps the picture."""

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.images = images
        boxes = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])
        return [{"boxes": boxes, "labels": torch.tensor([1, 3, 1, 1]), "scores": torch.tensor([0.99, 0.98, 0.9, 0.89])}]


@pytest.mark.parametrize(("threshold", "rows"), [(0.9, [0, 2]), (0.5, [0, 2, 3]), (1.0, [])])
def test_faster_rcnn_keeps_people_above_the_threshold(threshold: float, rows: list[int]) -> None:
    model = FixedDetections().train()
    found = FasterRCNN(model, threshold=threshold)(FRAME, KEYFRAME)
    assert found.shape == (len(rows), 5)
    assert found[:, 0].tolist() == [1 + 4 * row for row in rows]
    assert not model.training


def test_faster_rcnn_shows_rgb_between_0_and_1() -> None:
    model = FixedDetections()
    frame = torch.tensor([255, 51, 0], dtype=torch.uint8).expand(4, 6, 3)
    FasterRCNN(model)(frame, KEYFRAME)
    assert model.images[0].shape == (3, 4, 6)
    assert model.images[0][:, 0, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])


@pytest.mark.slow
def test_load_faster_rcnn_is_torchvisions_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    # The state dict of the published file has no counters of batches, so it fits the frozen form only.
    backbone = detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet50", weights=None)
    state = detection.FasterRCNN(backbone, num_classes=91).state_dict()
    path = tmp_path / "detector.pth"
    torch.save(state, path)
    record = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    with mock.patch.object(type(record), "get_state_dict", return_value=state):
        expected = detection.fasterrcnn_resnet50_fpn(weights=record).eval()
    image = torch.rand(3, 80, 100)
    loaded = load_faster_rcnn(path)
    with torch.inference_mode():
        ours, theirs = loaded.model([image])[0], expected([image])[0]
    assert loaded.threshold == 0.9
    assert len(ours["boxes"]) > 0
    for name, values in theirs.items():
        assert torch.equal(ours[name], values), name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "not a file of PyTorch weights"),
        (b"<html>404</html>", "not a file of PyTorch weights"),
        (b"PK\x03\x04 cut off", "not a file of PyTorch weights"),
        ({"layer.weight": torch.zeros(2)}, "weights of another network"),
        ([1, 2], "weights of another network"),
    ],
)
def test_load_faster_rcnn_refuses(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "detector.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(PeopleError, match=message) as caught:
        load_faster_rcnn(path)
    assert "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth" in str(caught.value)
    assert str(path) in str(caught.value)
