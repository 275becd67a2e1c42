"""Jobs into the hands of submitit: on Slurm, as processes of this machine, or in this very process."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from submitit import DebugExecutor, LocalExecutor, SlurmExecutor
from submitit.core.core import Job as Submission
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import clean_env, environment_variables

from acrn_zoo.jobs.job import Job
from acrn_zoo.jobs.profiles import Profile
from acrn_zoo.jobs.task import JobError

Cluster = Literal["slurm", "local", "debug"]

MAX_TIMEOUTS = 1000
"""So often submitit puts a job that ran into its time limit back into the queue, where every time it gets further."""

KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_", "SUBMITIT_PREEMPT_SIGNAL")
"""Variables of Slurm, or what they begin with, that say where and how to submit, and not what this process runs in."""


@dataclass(frozen=True)
class Resources:
    """What a job takes.

    Args:
        nodes: machines.
        gpus_per_node: GPUs of each.
        tasks_per_node: processes on each, one a GPU.
        minutes: time limit.
        signal_seconds: before this limit, the job is told to save.

    Raises:
        JobError: if the numbers do not go together.
    """

    nodes: int
    gpus_per_node: int
    tasks_per_node: int
    minutes: int
    signal_seconds: int

    def __post_init__(self) -> None:
        if 0 < self.gpus_per_node < self.tasks_per_node:
            raise JobError(
                f"{self.tasks_per_node} processes on a node cannot share {self.gpus_per_node} GPUs, since each takes "
                "one: lower --tasks-per-node, raise --gpus-per-node, or say --gpus-per-node 0 to compute on CPUs"
            )
        if 60 * self.minutes < 2 * self.signal_seconds:
            raise JobError(
                f"A time limit of {self.minutes} minutes is too short: the job is told to save {self.signal_seconds} s "
                "before it, and would hardly begin. Raise --minutes, or lower signal_seconds in the profile"
            )

    @property
    def num_processes(self) -> int:
        """On all nodes."""
        return self.nodes * self.tasks_per_node


class _Slurm(SlurmExecutor):
    """Submits to Slurm; shows what it would submit also where there is no Slurm."""

    def __init__(self, logs: Path, *, max_timeouts: int = MAX_TIMEOUTS) -> None:
        python = shlex.join([sys.executable, "-m", "acrn_zoo.jobs.hold_signal"])
        super().__init__(logs, max_num_timeout=max_timeouts, python=python)

    @classmethod
    def affinity(cls) -> int:
        return 1

    def text(self, num_jobs: int) -> str:
        """The batch script of a job, or of an array of several."""
        if num_jobs > 1:
            self.parameters["map_count"] = num_jobs
        return str(self._make_submission_file_text(self._submitit_command_str, ""))


def slurm_parameters(
    title: str, resources: Resources, profile: Profile, code: Path, dependency: str | None = None
) -> dict[str, Any]:
    """What submitit is told of a job, by the names that it has for the parameters of sbatch.

    Args:
        title: of the job.
        resources: what it takes.
        profile: what the cluster asks for.
        code: the snapshot that it runs in.
        dependency: on another job, as sbatch takes it.
    """
    cpus, gpus = profile.cpus_per_task, resources.gpus_per_node
    own: dict[str, Any] = {"requeue": True, "chdir": str(code)}
    if dependency is not None:
        own["kill-on-invalid-dep"] = "yes"
    setup = [*profile.setup]
    if cpus is not None:  # from Slurm 22.05 on, srun does not look at what the job has
        setup.append(f"export SRUN_CPUS_PER_TASK={cpus}")
    if resources.num_processes > 1:  # as torchrun does: else each process would compute on all CPUs
        setup.append("export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}")
    parameters = {
        "job_name": title.replace(" ", "-"),
        "time": resources.minutes,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.tasks_per_node,
        "gpus_per_node": None if not gpus else gpus if profile.gpu_type is None else f"{profile.gpu_type}:{gpus}",
        "cpus_per_task": cpus,
        "mem": None if profile.memory is None else f"{profile.memory}GB",
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": ",".join(profile.exclude) or None,
        "mail_user": profile.mail,
        "mail_type": None if profile.mail is None else "END,FAIL,REQUEUE",
        "dependency": dependency,
        "signal_delay_s": resources.signal_seconds,
        "setup": setup or None,
        # One process that fails ends all of them at once; one that ends well waits for the others.
        "srun_args": ["--kill-on-bad-exit=1", "--wait=0"],
        "additional_parameters": {**own, **profile.extra},
    }
    return {**{name: value for name, value in parameters.items() if value is not None}, "wckey": None}


def sbatch_text(logs: Path, parameters: dict[str, Any], num_jobs: int = 1) -> str:
    """The batch script that Slurm would be given for a job, or for an array of several."""
    executor = _Slurm(logs)
    executor.update_parameters(**parameters)
    return executor.text(num_jobs)


def require_slurm() -> None:
    """Refuse to submit where there is no Slurm.

    Raises:
        JobError: saying where else to go.
    """
    if shutil.which("sbatch") is None:
        raise JobError(
            "There is no sbatch on PATH, so nothing can be submitted to Slurm: log in to a machine of the cluster from "
            "which jobs are submitted, or say --cluster local to use the GPUs of this one"
        )


def submit_to_slurm(jobs: Sequence[Job], logs: Path, parameters: dict[str, Any]) -> list[str]:
    """Submit jobs to Slurm; several as one array.

    Args:
        jobs: that differ only in their tasks, which are of one kind.
        logs: submitit's folder.
        parameters: those of :func:`slurm_parameters`.

    Returns:
        The jobs' ids.

    Raises:
        JobError: if Slurm refuses, with what it says.
    """
    executor = _Slurm(logs, max_timeouts=_max_timeouts(jobs[0]))
    executor.update_parameters(**parameters)
    errors = StringIO()  # which submitit prints, too
    try:
        with _without_own_job(), redirect_stderr(errors):
            return [job.job_id for job in executor.submit_array(jobs)]
    except (FailedJobError, FailedSubmissionError) as error:
        said = str(error).strip() or errors.getvalue().strip() or "nothing"
        raise JobError(
            f"Slurm refuses the request. It says: {said}. Look into the profile, and at what --dry-run shows"
        ) from error


def start_here(job: Job, logs: Path, resources: Resources, code: Path) -> Submission[bool]:
    """Start the processes of a job on this machine.

    Args:
        job: which.
        logs: submitit's folder.
        resources: what it takes: one node.
        code: the snapshot that it runs in.

    Raises:
        JobError: if GPUs are wanted of those that CUDA_VISIBLE_DEVICES names otherwise than by number.
    """
    executor = LocalExecutor(logs, max_num_timeout=_max_timeouts(job))
    executor.update_parameters(
        timeout_min=resources.minutes,
        tasks_per_node=resources.tasks_per_node,
        gpus_per_node=resources.gpus_per_node,
        visible_gpus=visible_gpus() if resources.gpus_per_node else (),
        signal_delay_s=resources.signal_seconds,
    )
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} if resources.num_processes > 1 else {}
    with _without_own_job(), environment_variables(**threads), _working_in(code):
        return executor.submit(job)


def visible_gpus() -> tuple[int, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process; none where it leaves all of them.

    Raises:
        JobError: if it names them otherwise than by number, which submitit cannot hand on.
    """
    named = [text.strip() for text in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if text.strip()]
    if strange := [text for text in named if not text.isdecimal()]:
        raise JobError(
            f"CUDA_VISIBLE_DEVICES has {', '.join(strange)}, and --cluster local takes GPUs by number alone: give "
            "their numbers, as nvidia-smi -L shows them"
        )
    return tuple(int(text) for text in named)


def _max_timeouts(job: Job) -> int:
    """How often a job may run into its time limit.

    Where each start begins anew, a third would not get further. The second is for one that was preempted late, which
    submitit takes for having run into its limit.
    """
    return 1 if job.task.progress() is None else MAX_TIMEOUTS


def run_in_this_process(job: Job, logs: Path) -> None:
    """Run a job in this process, where a debugger stops at its error if somebody is there to ask.

    Raises:
        Exception: that of the task.
    """
    with _without_own_job(), ExitStack() as stack:
        if not sys.stdin.isatty():
            stack.callback(setattr, sys, "stdin", sys.stdin)
            sys.stdin = stack.enter_context(Path(os.devnull).open(encoding="utf-8"))
        DebugExecutor(logs).submit(job).wait()


@contextmanager
def _without_own_job() -> Iterator[None]:
    """Hide the job that this process is in, if it is in one."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    with clean_env(), environment_variables(**kept):
        yield


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
