"""Fixtures that every test may use."""

from pathlib import Path

import published_model
import pytest
import torch
from torch import Tensor

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.models import ActionDetector
from acrn_zoo.zoo import create_slowfast_detector


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and reference data that may stand beside the checkout; absent elsewhere."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "DESIGN.md").is_file():
        pytest.skip("needs the folder `shared` (real videos, reference data) beside the checkout")
    return folder


@pytest.fixture(scope="session")
def published_state_dict() -> dict[str, Tensor]:
    """The golden weights under MMAction2's names; not to be written to."""
    return published_model.golden_state_dict()


@pytest.fixture(scope="session")
def published_checkpoint(tmp_path_factory: pytest.TempPathFactory, published_state_dict: dict[str, Tensor]) -> Path:
    """A file laid out as MMAction2 publishes them."""
    path = tmp_path_factory.mktemp("published") / "slowfast_acrn.pth"
    torch.save({"meta": {}, "state_dict": published_state_dict}, path)
    return path


@pytest.fixture(scope="session")
def small_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of 96x64 at 10 frames a second; the picture changes all the time."""
    path = tmp_path_factory.mktemp("video") / "small.mp4"
    generator = torch.Generator().manual_seed(0)
    with VideoWriter(path, size=(64, 96), frame_rate=10) as video:
        for number in range(30):
            blocks = torch.randint(0, 256, (8, 12, 3), dtype=torch.uint8, generator=generator)
            video.write(blocks.repeat_interleave(8, dim=0).repeat_interleave(8, dim=1), number / 10)
    return path


@pytest.fixture(scope="session")
def small_detector() -> ActionDetector:
    """A detector of four actions that runs in milliseconds; its scores differ visibly. Not to be written to."""
    torch.manual_seed(0)
    detector = create_slowfast_detector(SlowFastArchitecture(depth=18, width=8, num_classes=4)).eval()
    torch.nn.init.normal_(detector.head.classifier.weight, std=3.0)
    return detector
