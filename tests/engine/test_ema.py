"""The moving average of the weights."""

import pytest
import torch

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.engine.ema import averaged_detector, create_average
from acrn_zoo.models import ActionDetector
from acrn_zoo.zoo import create_slowfast_detector


@pytest.fixture
def model() -> ActionDetector:
    return create_slowfast_detector(SlowFastArchitecture(depth=18, width=8, num_classes=2)).train()


def fill(model: ActionDetector, value: float) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)


def test_average(model: ActionDetector) -> None:
    average = create_average(model, 0.75)
    for value in (8.0, 4.0, 0.0):
        fill(model, value)
        average.update_parameters(model)
    found = averaged_detector(average)
    assert found.head.classifier.bias.tolist() == [5.25, 5.25]  # 8, then 7, then 3/4 of that
    statistics = [buffer for buffer in found.buffers() if buffer.is_floating_point()]
    assert len(statistics) > 10
    assert all(bool((buffer == 5.25).all()) for buffer in statistics)
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert not any(module.training for module in found.modules())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_can_be_built_again(model: ActionDetector) -> None:
    """It is saved as the model itself would be."""
    found = averaged_detector(create_average(model, 0.5))
    assert found.architecture == model.architecture
    assert list(found.state_dict()) == list(model.state_dict())
