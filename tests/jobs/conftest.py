"""A job's surroundings, without a cluster."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from submitit.helpers import environment_variables

from acrn_zoo.engine.distributed import Processes
from acrn_zoo.jobs.place import Place
from acrn_zoo.jobs.run_directory import RunDirectory, Submitted


@dataclass
class CountedTask:
    """Ends as it is told to, and remembers what it was asked."""

    act: Callable[[Callable[[], bool]], bool] = lambda _: True
    device: str = "cpu"
    steps: int | None = 0
    calls: list[Processes] = field(default_factory=list)

    def progress(self) -> int | None:
        return self.steps

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        self.calls.append(processes)
        return self.act(stop_requested)


def note(run: RunDirectory, job_id: str, folder: str = ".", *, launch: int = 1, **others: str) -> None:
    """Note a job, as the launcher does."""
    usual = {"cluster": "slurm", "title": "train", "group": folder, "launched_on": socket.gethostname()}
    texts = {**usual, **others}
    run.add_job(Submitted(job_id=job_id, folder=folder, launch=launch, num_processes=2, submitted_at="now", **texts))


@pytest.fixture(name="note")
def note_fixture() -> Callable[..., None]:
    return note


@pytest.fixture
def counted_task() -> type[CountedTask]:
    return CountedTask


@pytest.fixture
def local_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment that submitit's local executor gives the only process of a job."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that they are as before afterwards
        monkeypatch.delenv(name)
    with environment_variables(
        SUBMITIT_EXECUTOR="local", SUBMITIT_LOCAL_JOB_ID="77", SUBMITIT_FOLDER=str(tmp_path / "logs")
    ):
        yield


@pytest.fixture
def place() -> Place:
    return Place("slurm", "12", 0, 1, 2, 1, "node0")
