"""Batches from worker processes, whose errors arrive as plainly as if there were no workers."""

import atexit
import signal
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from acrn_zoo.data.batch import Batch, collate
from acrn_zoo.data.dataset import ActionDataset, Sample
from acrn_zoo.errors import UserError

SIGNALS_OF_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a program to stop, or a job to save: workers ignore it."""


class WorkerError(UserError, RuntimeError):
    """A process that reads clips has ended by itself, or was ended by the system."""


class Loader:
    """The batches of a dataset, in a given order; every ``iter()`` reads them anew.

    Made by :func:`create_loader`.

    Args:
        batches: PyTorch's loader, whose batches may be errors.
    """

    def __init__(self, batches: "DataLoader[Any]") -> None:
        self._batches = batches

    def __len__(self) -> int:
        """How many batches the order has."""
        return len(self._batches)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Give the batches one by one.

        Raises:
            UserError: the one that the dataset has raised, whoever read the sample.
            WorkerError: if a worker has gone.
        """
        batches = iter(self._batches)
        # Of one process alone, the iterator has nothing to end.
        end_workers = getattr(batches, "_shutdown_workers", _nothing)
        atexit.register(end_workers)  # before those who wait for the workers, which ignore SIGTERM
        try:
            while (batch := _next(batches)) is not None:
                if isinstance(batch, UserError):
                    raise batch
                yield batch
        finally:
            # Workers end with their iterator. Left to an error's traceback, and thus to the garbage collector, it
            # would find its queues gone before it, and wait 5 s for workers that it cannot tell.
            end_workers()
            atexit.unregister(end_workers)
            del batches, end_workers


def create_loader(
    dataset: ActionDataset,
    batch_sampler: Iterable[list[int]],
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Loader:
    """Load samples in an order, in worker processes or here.

    No random number of PyTorch's is drawn, so that what else is random in a program does not depend on how it loads.
    Workers ignore Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2, which terminals, ``torchrun`` and Slurm send to all processes
    at once: the one that reads from them decides what happens then. They end when it closes them, or has ended.

    Args:
        dataset: whose samples.
        batch_sampler: the indices of every batch; a list, or a sampler such as
            :class:`acrn_zoo.engine.sampler.TrainingSampler`.
        num_workers: processes that decode; 0 to do it in this one.
        pin_memory: place batches in page-locked memory, from where they reach a GPU faster.
    """
    loader: DataLoader[Any] = DataLoader(
        _Answering(dataset),
        batch_sampler=batch_sampler,
        num_workers=num_workers,
        collate_fn=_collate_sound,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_parent,
        generator=torch.Generator(),  # else every iter() would draw from that of the whole process
    )
    return Loader(loader)


class _Answering(Dataset[Sample | UserError]):
    """A dataset that returns its errors: those that workers raise arrive with a traceback round their message."""

    def __init__(self, dataset: ActionDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Sample | UserError:
        try:
            return self.dataset[index]
        except UserError as error:
            return error


def _collate_sound(samples: list[Sample | UserError]) -> Batch | UserError:
    sound = [sample for sample in samples if isinstance(sample, Sample)]
    return next((sample for sample in samples if isinstance(sample, UserError)), None) or collate(sound)


def _leave_signals_to_parent(_worker: int) -> None:
    """Workers have inherited what the parent does on signals, which is not theirs to do."""
    for number in SIGNALS_OF_PARENT:
        signal.signal(number, signal.SIG_IGN)


def _nothing() -> None:
    pass


def _next(batches: Iterator[Batch | UserError]) -> Batch | UserError | None:
    with explained_workers():
        return next(batches, None)


@contextmanager
def explained_workers() -> Iterator[None]:
    """Say in plain words that a worker has gone, which PyTorch notices wherever the main thread is just then.

    Raises:
        WorkerError: if one has gone.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise WorkerError(
            f"A process that reads clips has gone: {str(error).splitlines()[0].strip('. ')}. Most often the memory did "
            "not suffice: try fewer workers or smaller batches"
        ) from error
