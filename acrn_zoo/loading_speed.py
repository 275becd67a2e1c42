"""How fast a dataset gives its clips, and how long a training step would wait for them."""

import time
from contextlib import closing
from dataclasses import dataclass

import torch
from torch.utils.data import BatchSampler, RandomSampler

from acrn_zoo.data.batch import Batch
from acrn_zoo.data.dataset import ActionDataset
from acrn_zoo.data.loading import create_loader, explained_workers
from acrn_zoo.errors import UserError
from acrn_zoo.models import ActionDetector
from acrn_zoo.models.losses import action_loss


class SpeedError(UserError, RuntimeError):
    """There is nothing to measure, or no room to do it."""


@dataclass(frozen=True)
class LoadingSpeed:
    """What was measured with one number of workers.

    Args:
        num_workers: processes that decode; 0 if the training process does it itself.
        batch_size: clips of a batch.
        num_batches: how many were timed.
        seconds: how long they took together, the model doing nothing.
    """

    num_workers: int
    batch_size: int
    num_batches: int
    seconds: float

    @property
    def clips_per_second(self) -> float:
        """Clips that are ready in a second."""
        return self.batch_size * self.num_batches / self.seconds

    @property
    def seconds_per_batch(self) -> float:
        """From one batch to the next."""
        return self.seconds / self.num_batches

    def waiting_share(self, step_time: float) -> float:
        """The share of time, 0 to 1, in which a training step waits for its data.

        Workers load while the model computes, so that only the difference is waited for; without workers one
        follows the other. What the workers take from the model's own processors does not count.

        Args:
            step_time: seconds of a step whose data are there.

        Raises:
            ValueError: if it is negative.
        """
        if step_time < 0:
            raise ValueError(f"step_time is {step_time}, expected seconds from 0 on")
        if self.num_workers == 0:
            return self.seconds_per_batch / (self.seconds_per_batch + step_time)
        return max(0.0, 1 - step_time / self.seconds_per_batch)


def measure_loading(dataset: ActionDataset, *, num_workers: int, batch_size: int, num_batches: int) -> LoadingSpeed:
    """Load batches in random order, always the same one, as fast as they come.

    The first round of the workers does not count: their start, and what they bring at once.

    Args:
        dataset: whose samples; drawn with replacement, so that any number of them will do.
        num_workers: processes that decode.
        batch_size: clips of a batch.
        num_batches: how many are timed.

    Raises:
        SpeedError: if the dataset has no samples.
        SampleError: if a clip cannot be read.
    """
    if len(dataset) == 0:
        raise SpeedError("the dataset has no keyframes, so there is nothing to measure")
    num_first = max(1, num_workers)
    num_samples = (num_first + num_batches) * batch_size
    order = RandomSampler(
        dataset, replacement=True, num_samples=num_samples, generator=torch.Generator().manual_seed(0)
    )
    loader = create_loader(dataset, BatchSampler(order, batch_size, drop_last=False), num_workers=num_workers)
    with explained_workers(), closing(iter(loader)) as batches:
        for _ in range(num_first):
            next(batches)
        started = time.perf_counter()
        for _ in range(num_batches):
            next(batches)
        return LoadingSpeed(num_workers, batch_size, num_batches, time.perf_counter() - started)


def measure_step(model: ActionDetector, batch: Batch, *, num_steps: int = 3) -> float:
    """Seconds of a training step, forward and backward, once its batch is on the device of the model.

    Args:
        model: in training mode; its gradients are gone afterwards, its batch statistics have moved.
        batch: of the size that is trained with.
        num_steps: how many are timed, after one that is not.

    Raises:
        SpeedError: if the memory of the device does not suffice.
    """
    device = next(model.parameters()).device
    placed = batch.to(device)
    try:
        _step(model, placed)
        _finish(device)
        started = time.perf_counter()
        for _ in range(num_steps):
            _step(model, placed)
        _finish(device)
    except torch.OutOfMemoryError as error:
        raise SpeedError(
            f"{device} has not the memory to train on {len(batch)} clips at once; try a smaller batch"
        ) from error
    return (time.perf_counter() - started) / num_steps


def _step(model: ActionDetector, batch: Batch) -> None:
    action_loss(model(batch.clips, batch.boxes), batch.labels).backward()
    model.zero_grad(set_to_none=True)


def _finish(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
