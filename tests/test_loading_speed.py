"""What is computed from measured times; the times themselves are whatever they are."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acrn_zoo import loading_speed
from acrn_zoo.data.annotations import read_annotations
from acrn_zoo.data.batch import collate
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import Sample, SampleError, TrainingDataset
from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.transforms import RandomAugmentation
from acrn_zoo.loading_speed import LoadingSpeed, SpeedError, measure_loading, measure_step
from acrn_zoo.models import ActionDetector


@pytest.mark.parametrize(
    ("num_workers", "step_time", "share"),
    [
        (0, 0.5, 0.5),  # half a second of loading, then half a second of computing
        (0, 1.5, 0.25),
        (0, 0.0, 1.0),
        (2, 0.5, 0.0),
        (2, 2.0, 0.0),
        (2, 0.125, 0.75),
        (2, 0.0, 1.0),
    ],
)
def test_waiting(num_workers: int, step_time: float, share: float) -> None:
    speed = LoadingSpeed(num_workers, batch_size=4, num_batches=6, seconds=3.0)
    assert speed.seconds_per_batch == 0.5
    assert speed.clips_per_second == 8
    assert speed.waiting_share(step_time) == share


def test_step_time_is_checked() -> None:
    with pytest.raises(ValueError, match=r"step_time is -0\.1"):
        LoadingSpeed(0, 1, 1, 1.0).waiting_share(-0.1)


class Counting(TrainingDataset):
    """Notes which samples are asked for."""

    asked: list[int]

    def __getitem__(self, index: int) -> Sample:
        self.asked.append(index)
        return super().__getitem__(index)


@pytest.fixture
def dataset(small_video: Path, tmp_path: Path) -> Counting:
    (tmp_path / "rows.csv").write_text("".join(f"a,{second},0.1,0.1,0.9,0.9,{second + 1},0\n" for second in range(3)))
    annotations = read_annotations(tmp_path / "rows.csv", num_classes=4)
    found = Counting(
        annotations,
        {"a": VideoEntry(small_video)},
        ("a", "b", "c", "d"),
        sampling=ClipSampling(32, 0.05),
        augmentation=RandomAugmentation((64, 64), 64),
    )
    found.asked = []
    return found


def test_first_round_does_not_count(dataset: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[int] = count()
    monkeypatch.setattr(loading_speed.time, "perf_counter", lambda: len(dataset.asked) + 0 * next(clock))
    speed = measure_loading(dataset, num_workers=0, batch_size=2, num_batches=3)
    assert len(dataset.asked) == 2 * (1 + 3)
    assert (speed.num_workers, speed.batch_size, speed.num_batches) == (0, 2, 3)
    assert speed.seconds == 2 * 3
    assert set(dataset.asked) == {0, 1, 2}
    again = list(dataset.asked)
    dataset.asked.clear()
    measure_loading(dataset, num_workers=0, batch_size=2, num_batches=3)
    assert dataset.asked == again


def test_workers(dataset: Counting) -> None:
    speed = measure_loading(dataset, num_workers=1, batch_size=1, num_batches=2)
    assert dataset.asked == []  # all of it happened elsewhere
    assert speed.clips_per_second > 0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_clip_that_cannot_be_read(small_video: Path, tmp_path: Path, num_workers: int) -> None:
    """The message is the same, whoever reads."""
    (tmp_path / "rows.csv").write_text("a,0,0.1,0.1,0.9,0.9,1,0\n")
    annotations = read_annotations(tmp_path / "rows.csv", num_classes=1)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(small_video.read_bytes()[:100])
    dataset = TrainingDataset(annotations, {"a": VideoEntry(damaged)}, ("a",))
    with pytest.raises(SampleError) as caught:
        measure_loading(dataset, num_workers=num_workers, batch_size=2, num_batches=1)
    assert str(caught.value).startswith("The keyframe at 0 s of video a cannot be read.")
    assert "Traceback" not in str(caught.value)


def test_nothing_to_measure(small_video: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("")
    empty = TrainingDataset(
        read_annotations(tmp_path / "rows.csv", num_classes=1), {"a": VideoEntry(small_video)}, ("a",)
    )
    with pytest.raises(SpeedError, match="no keyframes"):
        measure_loading(empty, num_workers=0, batch_size=1, num_batches=1)


def test_step(dataset: Counting, small_detector: ActionDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate([dataset[0], dataset[1]])
    losses: list[Tensor] = []

    def noted(logits: Tensor, labels: Tensor) -> Tensor:
        assert logits.shape == labels.shape == (2, 4)
        losses.append(logits.sum())
        return losses[-1]

    monkeypatch.setattr(loading_speed, "action_loss", noted)
    monkeypatch.setattr(loading_speed.time, "perf_counter", lambda: 10.0 * len(losses))
    assert measure_step(small_detector, batch, num_steps=2) == 10  # a second step took ten seconds, by this clock
    assert len(losses) == 3
    assert all(parameter.grad is None for parameter in small_detector.parameters())


def test_too_large_a_batch(dataset: Counting, small_detector: ActionDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_logits: Tensor, _labels: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loading_speed, "action_loss", full)
    with pytest.raises(SpeedError, match="cpu has not the memory to train on 1 clips"):
        measure_step(small_detector, collate([dataset[0]]))
