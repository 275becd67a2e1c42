"""Signals that ask a job to stop. They only set flags, so that no step is broken off and all processes can agree.

A cluster sends one of two: the signal that announces the time limit or a preemption (USR2, unless submitit was told
otherwise), after which the job is to go back into the queue; or SIGTERM, where the user cancels it or the cluster
preempts it without further notice. After SIGTERM alone a job never queues itself again: a cancelled one would come
back. It waits to be ended, and where it was preempted, Slurm itself brings it back.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import UncompletedJobError

from acrn_zoo.jobs.task import JobError

PATIENCE = 3600.0
"""Seconds that a job waits to be ended after SIGTERM. Slurm takes half a minute, or the grace time of a partition."""

PAUSES = (1.0, 5.0, 15.0)
"""Seconds between attempts to put a job back into the queue."""

STDERR = 2


class StopRequest:
    """Whether this process was asked to stop; a context manager that holds the signals.

    Handlers that were there before, which are submitit's in a job, are kept, and are called by :meth:`hand_back`.
    """

    def __init__(self) -> None:
        self.requeue = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        self._received: set[int] = set()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        numbers = dict.fromkeys((signal.SIGTERM, self.requeue))
        self._previous = {number: signal.signal(number, self._take) for number in numbers}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # held until here, see acrn_zoo.jobs.hold_signal
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return bool(self._received)

    def hand_back(self, *, waits: bool) -> None:
        """Give the job back to the cluster. Called by one process alone, when everything is saved.

        Where it is to go back into the queue, submitit's handler does that, and exits.

        Args:
            waits: for the signal of a preemption, or the end, where it has not come; else that is an error at once.

        Raises:
            SystemExit: when the job is in the queue again.
            JobError: if nobody takes it back.
        """
        deadline = time.monotonic() + PATIENCE * waits
        while self.requeue not in self._received and time.monotonic() < deadline:
            time.sleep(0.1)
        handler = self._previous[self.requeue]
        if self.requeue in self._received and callable(handler):
            try:
                _insist(lambda: handler(self.requeue, None))
            except UncompletedJobError as error:  # out of time, and so often that another start would be no better
                raise JobError(
                    "The time limit is too short for this job, which is not put back into the queue: raise it with "
                    f"--minutes, or minutes in the profile, and give the same command again ({error})"
                ) from error
        raise JobError(
            "The job was asked to stop. All that is done is saved: give the same command again, or --resume, to go on"
        )

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number not in self._received:  # past Python's buffers, which the signal may have found half written
            os.write(STDERR, f"\n{signal.Signals(number).name}: stopping at the next moment that suits\n".encode())
        self._received.add(number)


def _insist(requeue: Callable[[], None]) -> None:
    """Try again where the cluster is too busy to answer: one such moment is no reason to give a run up."""
    for pause in PAUSES:
        try:
            return requeue()
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            time.sleep(pause)
    return requeue()
