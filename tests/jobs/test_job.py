"""The job that submitit runs, as its only process."""

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.jobs.job import MAX_STARTS, Job
from acrn_zoo.jobs.record import JobFolder
from acrn_zoo.jobs.task import JobError
from acrn_zoo.jobs.tasks import TrainTask

pytestmark = pytest.mark.usefixtures("local_job")


def create_job(task: Any, folder: Path, num_processes: int = 1, code: Path | None = None) -> Job:
    return Job(task, folder, num_processes, "a job", code)


def test_runs_once(tmp_path: Path, capfd: pytest.CaptureFixture[str], counted_task: Any) -> None:
    task = counted_task()
    job = create_job(task, tmp_path)
    assert job() is True
    assert job() is True
    assert [processes.world_size for processes in task.calls] == [1]
    errors = capfd.readouterr().err
    assert "job 77, start 1: rank 0 of 1 on " in errors
    assert "a job: is finished, and there is nothing to do" in errors
    assert JobFolder(tmp_path).places("77")[0]["rank"] == 0


def test_failure(tmp_path: Path, counted_task: Any) -> None:
    def act(_stop_requested: Callable[[], bool]) -> bool:
        raise ZeroDivisionError("of the task")

    with pytest.raises(ZeroDivisionError):
        create_job(counted_task(act), tmp_path)()
    (text,) = JobFolder(tmp_path).failed("77")
    assert text.splitlines()[-1] == "ZeroDivisionError: of the task"
    assert not JobFolder(tmp_path).done.exists()


def test_asked_to_stop(tmp_path: Path, counted_task: Any) -> None:
    requeued = []

    def act(stop_requested: Callable[[], bool]) -> bool:
        os.kill(os.getpid(), signal.SIGUSR2)
        return not stop_requested()

    def requeue(number: int, _frame: object) -> None:
        requeued.append(number)
        raise SystemExit(144)

    previous = signal.signal(signal.SIGUSR2, requeue)
    with pytest.raises(SystemExit):
        create_job(counted_task(act), tmp_path)()
    signal.signal(signal.SIGUSR2, previous)
    assert requeued == [signal.SIGUSR2]
    assert not JobFolder(tmp_path).done.exists()
    assert JobFolder(tmp_path).failed("77") == []


@pytest.mark.parametrize("gets_further", [True, False])
def test_stopped_again_and_again(tmp_path: Path, counted_task: Any, gets_further: bool) -> None:
    task = counted_task()

    def act(stop_requested: Callable[[], bool]) -> bool:
        task.steps += gets_further
        os.kill(os.getpid(), signal.SIGUSR2)
        return not stop_requested()

    def requeue(_number: int, _frame: object) -> None:
        raise SystemExit(144)

    task.act = act
    previous = signal.signal(signal.SIGUSR2, requeue)
    try:
        for _ in range(MAX_STARTS - 1):
            with pytest.raises(SystemExit):
                create_job(task, tmp_path)()
        expected = pytest.raises(SystemExit) if gets_further else pytest.raises(JobError, match="5 times in a row")
        with expected:
            create_job(task, tmp_path)()
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert bool(JobFolder(tmp_path).failed("77")) is not gets_further


def test_asked_to_stop_too_late(tmp_path: Path, counted_task: Any) -> None:
    def act(_stop_requested: Callable[[], bool]) -> bool:
        os.kill(os.getpid(), signal.SIGUSR2)
        return True

    assert create_job(counted_task(act), tmp_path)() is True
    assert JobFolder(tmp_path).done.exists()


def test_wrong_world_size_never_trains(tmp_path: Path, counted_task: Any) -> None:
    task = counted_task()
    with pytest.raises(JobError, match="submitted for 8 processes, and local has started 1"):
        create_job(task, tmp_path, num_processes=8)()
    assert task.calls == []
    assert len(JobFolder(tmp_path).failed("77")) == 1


def test_other_code_than_the_snapshot(tmp_path: Path, counted_task: Any) -> None:
    task = counted_task()
    with pytest.raises(JobError, match="in place of its snapshot"):
        create_job(task, tmp_path, code=tmp_path)()
    assert task.calls == []


def test_what_a_killed_start_has_left(tmp_path: Path, counted_task: Any) -> None:
    """Submitit refuses to write where it has begun to write before."""
    logs = tmp_path / "logs"
    logs.mkdir()
    left = [logs / "77_submitted.pkl.save_tmp", logs / "77_0_result.pkl.save_tmp"]
    for path in left:
        path.touch()
    create_job(counted_task(), tmp_path)()
    assert not any(path.exists() for path in left)


def test_goes_back_into_the_queue_as_it_is(tmp_path: Path) -> None:
    job = create_job(TrainTask(RECIPES["small_world"]()), tmp_path)
    assert pickle.loads(pickle.dumps(job)) == job
    delayed = job.checkpoint()
    assert (delayed.function, delayed.args, delayed.kwargs) == (job, (), {})
