"""Loaders: the batches that are asked for, errors in plain words, and workers that leave signals alone."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from acrn_zoo.data.annotations import read_annotations
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import Sample, SampleError, TrainingDataset
from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.loading import WorkerError, create_loader, explained_workers
from acrn_zoo.data.transforms import RandomAugmentation

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Odd(TrainingDataset):
    """Does odd things when a sample is asked for in a worker."""

    deed = ""
    notes: Path

    def __getitem__(self, index: int) -> Sample:
        if self.deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "fail":
            raise RuntimeError("a fault of the program")
        if self.deed == "tell" and not self.notes.exists():
            handlers = [signal.getsignal(number) for number in SIGNALS]
            self.notes.write_text(str(handlers == [signal.SIG_IGN] * len(SIGNALS)))
        return super().__getitem__(index)


@pytest.fixture
def dataset(small_video: Path, tmp_path: Path) -> Odd:
    """Four keyframes, at the last of which there is no video."""
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(small_video.read_bytes()[:100])
    rows = "".join(f"a,{second},0.1,0.1,0.9,0.9,1,0\n" for second in range(3)) + "b,7,0.1,0.1,0.9,0.9,1,0\n"
    (tmp_path / "rows.csv").write_text(rows)
    found = Odd(
        read_annotations(tmp_path / "rows.csv", num_classes=1),
        {"a": VideoEntry(small_video), "b": VideoEntry(damaged)},
        ("a",),
        sampling=ClipSampling(8, 0.05),
        augmentation=RandomAugmentation((32, 32), 32),
    )
    found.notes = tmp_path / "notes"
    return found


@pytest.fixture
def handled() -> Iterator[None]:
    """Signals as the command line and jobs of a cluster handle them."""
    previous = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches(dataset: Odd, num_workers: int) -> None:
    order = [[2, 0], [1], [1, 2]]
    loader = create_loader(dataset, order, num_workers=num_workers)
    assert len(loader) == 3
    for _ in range(2):  # as often as one likes
        state = torch.get_rng_state()
        assert [list(batch.indices) for batch in loader] == order
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_error_of_a_sample(dataset: Odd, num_workers: int) -> None:
    batches = iter(create_loader(dataset, [[0], [1, 3], [2]], num_workers=num_workers))
    assert next(batches).indices == (0,)
    with pytest.raises(SampleError) as caught:
        next(batches)
    assert str(caught.value).startswith("The keyframe at 7 s of video b cannot be read.")
    assert "Traceback" not in str(caught.value)
    assert living_workers() == []  # although the error, and what it was raised in, is still there


def test_workers_end_with_a_loop_that_is_left(dataset: Odd) -> None:
    batches = iter(create_loader(dataset, [[0]] * 9, num_workers=2))
    next(batches)
    assert len(living_workers()) == 2
    batches.close()
    assert living_workers() == []


def test_a_worker_that_is_killed(dataset: Odd) -> None:
    dataset.deed = "die"
    with pytest.raises(WorkerError, match=r"A process that reads clips has gone: .*pid.*\. Most often the memory"):
        next(iter(create_loader(dataset, [[0]], num_workers=1)))


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_other_errors_keep_their_tracebacks(dataset: Odd, num_workers: int) -> None:
    dataset.deed = "fail"
    with pytest.raises(RuntimeError, match="a fault of the program") as caught:
        list(create_loader(dataset, [[0]], num_workers=num_workers))
    assert not isinstance(caught.value, WorkerError)


def test_a_worker_that_is_killed_meanwhile(dataset: Odd) -> None:
    """PyTorch notices wherever the main thread is."""
    batches = iter(create_loader(dataset, [[0]] * 9, num_workers=1))
    next(batches)
    (worker,) = living_workers()
    with pytest.raises(WorkerError, match=rf"A process that reads clips has gone: .*{worker}"), explained_workers():
        kill_and_wait(worker)
    batches.close()
    assert living_workers() == []


def test_other_errors_are_not_explained() -> None:
    with pytest.raises(RuntimeError, match="^a fault of the program$"), explained_workers():
        raise RuntimeError("a fault of the program")


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_the_parents(number: signal.Signals, dataset: Odd) -> None:
    dataset.deed = "tell"
    batches = iter(create_loader(dataset, [[0]] * 9, num_workers=1))
    next(batches)
    assert dataset.notes.read_text() == "True"
    (worker,) = living_workers()
    os.kill(worker, number)
    assert len(list(batches)) == 8


def living_workers() -> list[int]:
    """Workers of this process that live."""
    return [process.pid for process in multiprocessing.active_children() if process.pid]


def kill_and_wait(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    time.sleep(60)  # broken off
