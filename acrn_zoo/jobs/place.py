"""Where a process of a job runs, as submitit sees it, whatever the cluster."""

import os
import platform
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from submitit import JobEnvironment
from submitit.helpers import TorchDistributedEnvironment

from acrn_zoo import version
from acrn_zoo.jobs.task import JobError

_PACKAGE = Path(version.__file__).resolve().parent


@dataclass(frozen=True)
class Place:
    """One process of one start of a job.

    Args:
        cluster: slurm, local or debug.
        job_id: of the cluster; ``12_3`` is the part 3 of the array 12.
        attempt: how often the cluster has started the job again.
        rank: the number of the process.
        num_processes: how many there are.
        local_rank: its number on its machine.
        host: the machine.
    """

    cluster: str
    job_id: str
    attempt: int
    rank: int
    num_processes: int
    local_rank: int
    host: str

    @property
    def name(self) -> str:
        """Of files about this process: ``12_3.0.007``."""
        return f"{self.job_id}.{self.attempt}.{self.rank:03d}"


def find_place() -> Place:
    """Find out where this process runs, and tell PyTorch, through the environment, where the others are."""
    environment = JobEnvironment()
    TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    return Place(
        cluster=environment.cluster,
        job_id=environment.job_id,
        attempt=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        rank=environment.global_rank,
        num_processes=environment.num_tasks,
        local_rank=environment.local_rank,
        host=socket.gethostname(),
    )


def require_processes(place: Place, num_processes: int) -> None:
    """Refuse to run as fewer processes than were asked for, which would train something else.

    Raises:
        JobError: if they are not as many.
    """
    if place.num_processes != num_processes:
        raise JobError(
            f"Job {place.job_id} was submitted for {num_processes} processes, and {place.cluster} has started "
            f"{place.num_processes}: look into the profile's setup and extra parameters for what changes their number"
        )


def require_code(code: Path | None) -> None:
    """Refuse to run other code than the job was submitted with.

    Args:
        code: the folder of the snapshot; None if there is none.

    Raises:
        JobError: if the package comes from elsewhere.
    """
    if code is not None and not _PACKAGE.is_relative_to(code.resolve()):
        raise JobError(
            f"The job runs {_PACKAGE} in place of its snapshot {code}: unset PYTHONSAFEPATH in the profile's "
            "setup, and let nothing there change the working directory"
        )


def facts_of(place: Place) -> dict[str, Any]:
    """What people want to know of a process that behaves oddly."""
    return {
        **asdict(place),
        "gpu": _gpu_of(place.local_rank),
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "meeting_point": f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
        "process": os.getpid(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "code": str(_PACKAGE),
        "versions": {
            "acrn_zoo": version.VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
        },
    }


def line_of(facts: dict[str, Any]) -> str:
    """The facts in one line, for the log."""
    return (
        f"job {facts['job_id']}, start {facts['attempt'] + 1}: rank {facts['rank']} of {facts['num_processes']} on "
        f"{facts['host']}, {facts['gpu']}, {facts['cpus']} CPUs, "
        f"torch {facts['versions']['torch']}, code {facts['code']}"
    )


def _gpu_of(local_rank: int) -> str:
    if not torch.cuda.is_available():
        return "no GPU"
    if local_rank >= torch.cuda.device_count():
        return "no GPU of its own"
    return f"GPU {local_rank}: {torch.cuda.get_device_name(local_rank)}"
