"""Signals as flags, and how a job goes back to its cluster."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from submitit.core.utils import UncompletedJobError

from acrn_zoo.jobs.stopping import StopRequest
from acrn_zoo.jobs.task import JobError


@pytest.fixture
def submitit() -> Iterator[list[int]]:
    """The signals that what stands for submitit's handler was called with."""
    called: list[int] = []

    def requeue(number: int, _frame: object) -> None:
        called.append(number)
        raise SystemExit(-1)

    previous = signal.signal(signal.SIGUSR2, requeue)
    yield called
    signal.signal(signal.SIGUSR2, previous)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_signals_set_flags(number: signal.Signals, submitit: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop()
        for _twice in range(2):
            os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) is before
    assert submitit == []
    assert capfd.readouterr().err.count(f"{number.name}: stopping") == 1


def test_too_often_out_of_time() -> None:
    """Submitit's own handler, in a job that may not run into its limit again."""

    def refuse(_number: int, _frame: object) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    before = signal.signal(signal.SIGUSR2, refuse)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGUSR2)
            with pytest.raises(JobError, match="time limit is too short.*--minutes.*timed-out too many times"):
                stop.hand_back(waits=True)
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("waits", [False, True])
def test_hands_back_through_submitit(waits: bool, submitit: list[int]) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(SystemExit):
            stop.hand_back(waits=waits)
    assert submitit == [signal.SIGUSR2]


@pytest.mark.parametrize("num_failures", [0, 2, 4])
def test_insists_where_the_cluster_is_busy(num_failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acrn_zoo.jobs.stopping.PAUSES", (0.0,) * 3)
    tries: list[int] = []

    def requeue(number: int, _frame: object) -> None:
        tries.append(number)
        if len(tries) <= num_failures:
            raise subprocess.TimeoutExpired("scontrol requeue", 60)
        raise SystemExit(-1)

    previous = signal.signal(signal.SIGUSR2, requeue)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(SystemExit if num_failures < 4 else subprocess.TimeoutExpired):
            stop.hand_back(waits=True)
    signal.signal(signal.SIGUSR2, previous)
    assert len(tries) == min(num_failures + 1, 4)


def test_a_cancelled_job_does_not_come_back(submitit: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acrn_zoo.jobs.stopping.PATIENCE", 0.2)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(JobError, match="All that is done is saved"):
            stop.hand_back(waits=True)
    assert submitit == []


def test_waits_for_the_signal_of_a_preemption(submitit: list[int]) -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR2))
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        timer.start()
        with pytest.raises(SystemExit):
            stop.hand_back(waits=True)
    assert submitit == [signal.SIGUSR2]


def test_nobody_to_hand_back_to() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(JobError, match="asked to stop"):
            stop.hand_back(waits=False)


def test_signal_that_submitit_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submitit.core.job_environment.JobEnvironment.USR_SIG", "TERM")
    called: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _frame: called.append(number))
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(JobError):
            stop.hand_back(waits=True)
    signal.signal(signal.SIGTERM, previous)
    assert called == [signal.SIGTERM]
