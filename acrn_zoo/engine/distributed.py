"""The processes of one run: those that ``torchrun`` started, or this one alone.

``torchrun`` tells every process its place in the environment: ``RANK`` of ``WORLD_SIZE``, ``LOCAL_RANK`` on its
machine, and where they meet, ``MASTER_ADDR`` and ``MASTER_PORT``. Nothing else of it is needed: any launcher that
sets these five will do.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from acrn_zoo.errors import UserError
from acrn_zoo.predictor import DeviceError, resolve_device

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher says, all of it or nothing."""

TIMEOUT = timedelta(minutes=20)
"""So long the processes wait for one that is late. The first to scores a whole dataset or compiles while the others
wait; one that ended is noticed at once by gloo, and ``torchrun`` then ends the rest."""

_Value = TypeVar("_Value")


class DistributedError(UserError, RuntimeError):
    """The processes of a run do not come together, or one has failed; the message says what is missing, or which."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees it. Alone, it has nobody to wait for.

    All methods but :attr:`is_main` have to be called by every process, in the same order.

    Args:
        rank: the number of this process, from 0 on.
        world_size: how many there are.
        local_rank: its number on its machine.
        device: where it computes.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes files and talks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether it is so in at least one process."""
        return bool(self.sum(torch.tensor(int(flag), device=self.device)))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over the processes; a new tensor.

        Args:
            tensor: on :attr:`device`, of the same shape and type everywhere.
        """
        total = tensor.detach().clone()
        if self.world_size > 1:
            dist.all_reduce(total)
        return total

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a floating-point tensor over the processes, as :meth:`sum`."""
        return self.sum(tensor) / self.world_size

    def gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        """Numbers of all processes, in the order of their ranks; everywhere, and at the price of one sum.

        Args:
            numbers: as many everywhere.
        """
        table = torch.zeros(self.world_size, len(numbers), dtype=torch.float64)
        table[self.rank] = torch.tensor(numbers, dtype=torch.float64)
        found: list[list[float]] = self.sum(table.to(self.device)).tolist()
        return found

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, in the order of their ranks; everywhere.

        Args:
            value: anything that can be pickled. Alone, it is not copied.
        """
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def on_main(self, compute: Callable[[], _Value]) -> _Value:
        """Compute something in the first process, for all of them.

        Args:
            compute: gives what can be pickled; called in the first process alone.

        Raises:
            UserError: in every process, if it is raised there, so that none waits for one that gave up.
        """
        if self.world_size == 1:
            return compute()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = compute()
            except UserError as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0, device=self.device)
        if outcome[1] is not None:
            outcome[1].is_echo = not self.is_main
            raise outcome[1]
        return outcome[0]


def unread_clips(failures: Sequence[float]) -> DistributedError:
    """What the other processes raise where one cannot read its clips.

    Args:
        failures: of every process, in the order of their ranks, whether it is that one.
    """
    return DistributedError(
        f"Process {[bool(failed) for failed in failures].index(True)} of {len(failures)} cannot read its clips, and "
        "says why: all of them stop"
    )


@contextmanager
def processes(device: str = "auto") -> Iterator[Processes]:
    """Bring the processes of a run together, and let them go at the end.

    They talk through NCCL where they compute on GPUs, else through gloo.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda": of several processes each takes the GPU of its
            ``LOCAL_RANK``. A process alone may name one ("cuda:1").

    Yields:
        This process and its place among the others.

    Raises:
        DistributedError: if the environment says only a part of what it takes, or nonsense; if the processes do not
            find each other.
        DeviceError: if the device is not there, or there are fewer GPUs than processes on this machine.
    """
    place = _place(os.environ)
    if place is None:
        alone = resolve_device(device)
        _use(alone)
        yield Processes(device=alone)
        return
    rank, world_size, local_rank = place
    own = _own_device(device, local_rank)
    _use(own)
    if world_size == 1:
        yield Processes(device=own)
        return
    _meet(rank, world_size, own)
    leave = dist.destroy_process_group
    try:
        yield Processes(rank, world_size, local_rank, own)
    except BaseException:
        # The others may be in the midst of something. NCCL's orderly end would wait for them for ever; where there
        # is no other way to leave (before PyTorch 2.6), the orderly one does not wait.
        leave = getattr(distributed_c10d, "_abort_process_group", leave)
        raise
    finally:
        leave()


def _place(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Rank, world size and local rank; None for a process alone."""
    missing = [name for name in VARIABLES if not environment.get(name)]
    if len(missing) == len(VARIABLES):
        return None
    if missing:
        given = [name for name in VARIABLES if name not in missing]
        raise DistributedError(
            f"The environment has {_listed(given)}, but not {_listed(missing)}: several processes need all of them. "
            f"Start them with `torchrun`, or unset {_listed(given)} to run one process alone"
        )
    numbers = []
    for name, lowest in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("MASTER_PORT", 0)):
        text = environment[name]
        if not (text.isascii() and text.isdigit() and int(text) >= lowest):
            raise DistributedError(f"{name} is {text!r} in the environment, expected a whole number from {lowest} on")
        numbers.append(int(text))
    rank, world_size, local_rank, _ = numbers
    if rank >= world_size or local_rank > rank:
        raise DistributedError(
            f"RANK is {rank}, LOCAL_RANK {local_rank} and WORLD_SIZE {world_size} in the environment: expected "
            "LOCAL_RANK <= RANK < WORLD_SIZE. Start the processes with `torchrun`"
        )
    return rank, world_size, local_rank


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _own_device(device: str, local_rank: int) -> torch.device:
    """What one of several processes computes on."""
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if device not in ("auto", "cuda"):
        raise DeviceError(f"device is {device!r}: several processes take one GPU each; say cuda, or cpu, or auto")
    num_gpus = torch.cuda.device_count()
    if torch.cuda.is_available() and local_rank >= num_gpus:
        raise DeviceError(
            f"LOCAL_RANK is {local_rank}, but this machine shows {num_gpus} GPUs, and every process needs its own. "
            f"Start at most {num_gpus} on a machine (`torchrun --nproc-per-node {num_gpus}`), or let them compute on "
            "the CPU (--device cpu)"
        )
    return resolve_device(f"cuda:{local_rank}")


def _use(device: torch.device) -> None:
    """Make a GPU the one that is meant where only "cuda" is said."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _meet(rank: int, world_size: int, device: torch.device) -> None:
    is_gpu = device.type == "cuda"
    try:
        dist.init_process_group(
            "nccl" if is_gpu else "gloo",
            init_method="env://",
            rank=rank,
            world_size=world_size,
            timeout=TIMEOUT,
            device_id=device if is_gpu else None,
        )
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DistributedError(
            f"Process {rank} of {world_size} does not find the others at {where} ({reason}). Is MASTER_ADDR the "
            "machine of process 0, the port free there, and does every process run?"
        ) from error
