"""What a job does: the contract between jobs, which know clusters, and tasks, which know what there is to do."""

from collections.abc import Callable
from typing import Protocol

from acrn_zoo.engine.distributed import Processes
from acrn_zoo.errors import UserError


class JobError(UserError, RuntimeError):
    """A job cannot be submitted, or cannot run where it was started; the message says what to change."""


class Task(Protocol):
    """Work that several processes do together, and that goes on where an earlier start has left it.

    It has to be picklable, and to find what is done already in its own files: a cluster may end and start it again at
    any moment.
    """

    @property
    def device(self) -> str:
        """What it computes on, as :func:`acrn_zoo.engine.distributed.processes` takes it."""

    def progress(self) -> int | None:
        """How far it has got, a number that grows, as its files say; None if every start begins anew."""

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        """Do it, or what is left of it.

        Args:
            processes: those that do it together; every one of them calls this.
            stop_requested: whether this process was asked to stop, which need not be all of them. The task then
                saves and returns, in all processes.

        Returns:
            Whether it is finished; the same in all processes.
        """
