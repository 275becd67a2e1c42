"""What processes do that train in :mod:`engine.test_failures`, and fail or are ended."""

import multiprocessing
import os
import signal
import time
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

from command_case import run_command
from training_case import create_config, train_case

from acrn_zoo.data.dataset import Sample, SampleError, TrainingDataset
from acrn_zoo.data.loading import create_loader
from acrn_zoo.engine.build import create_training_dataset
from acrn_zoo.engine.train import TrainingResult


def run_in_a_group(command: tuple[str, ...], log: Path) -> tuple[int, str, str]:
    """Run a command in a process group of its own, to which SIGTERM is sent once the log has two lines."""
    multiprocessing.set_start_method("fork", force=True)
    os.setsid()
    Thread(target=_end_group, args=(log,), daemon=True).start()
    return run_command(command)


def _end_group(log: Path) -> None:
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        time.sleep(0.01)
    os.killpg(os.getpgrp(), signal.SIGTERM)


def train_with_a_bad_clip(root: Path, out: Path, rank: int, sample: int, changes: dict[str, Any]) -> TrainingResult:
    """Train where one process cannot read one of its samples, by their number."""
    numbers = count(1)
    original = TrainingDataset.__getitem__

    def spoiled(self: TrainingDataset, index: int) -> Sample:
        if os.environ["RANK"] == str(rank) and next(numbers) == sample:
            raise SampleError("there is a hole in the film")
        return original(self, index)

    TrainingDataset.__getitem__ = spoiled  # type: ignore[assignment, method-assign]
    return train_case(root, out, changes)


def load_and_die(root: Path) -> None:
    """Be killed with two workers, which hold the end of the pipe that the answer would go through."""
    dataset = create_training_dataset(create_config(root, root / "run"))
    dataset.set_epoch(0)
    batches = iter(create_loader(dataset, [[0]] * 99, num_workers=2))
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    os.kill(os.getpid(), signal.SIGKILL)
