"""How the jobs of a run directory are: in the queue, running, ended, finished, failed and why."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit.core.utils import JobPaths

from acrn_zoo.jobs.record import JobFolder
from acrn_zoo.jobs.run_directory import RunDirectory, Submitted
from acrn_zoo.jobs.task import JobError

GOING = frozenset(
    ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SIGNALING", "STOPPED")
)
"""States of Slurm from which a job may come back by itself."""

FINISHED = "FINISHED"
ENDED = "ENDED"
"""A job that is gone, where nobody keeps account of how."""

LOOK_EVERY = 5.0
PATIENCE = 600.0
"""Seconds for which Slurm may be too busy to answer."""
DELAY = 60.0
"""Seconds after which everybody sees what a job wrote at its end."""
TAIL = 20
MOST_BYTES = 1 << 20
"""Of the end of what a process wrote, in which its last words are looked for."""
_SRUN = re.compile(r"srun: error: [^\n]*: tasks? [^\n]*")
_TRACEBACK = "Traceback (most recent call last)"
_CONTROLLER = b"submitit.local._local"


class SilenceError(JobError):
    """Slurm does not answer."""


@dataclass(frozen=True)
class JobStatus:
    """How a job is.

    Args:
        job: which.
        state: FINISHED if its task is done; else Slurm's word, or ENDED.
        reason: why it waits, if it does.
        failures: tracebacks of the processes that failed in its last start, the first at the head.
        places: where its processes run, one line each.
    """

    job: Submitted
    state: str
    reason: str = ""
    failures: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @property
    def is_going(self) -> bool:
        """Whether it may still get further by itself."""
        return self.state in GOING


def statuses(run: RunDirectory) -> list[JobStatus]:
    """How the jobs of a run are, the last of each folder.

    Raises:
        JobError: if nothing was submitted there.
    """
    jobs = run.submitted()
    on_slurm = [job.job_id for job in jobs if job.cluster == "slurm"]
    queue = _queue(on_slurm)
    accounts = _accounts([job_id for job_id in on_slurm if job_id not in queue])
    found = []
    for job in jobs:
        folder = JobFolder(run.root / job.folder)
        state, reason = queue.get(job.job_id) or (accounts.get(job.job_id) or _state_here(job), "")
        state = FINISHED if folder.done.exists() else state
        failures = () if state == FINISHED else tuple(folder.failed(job.job_id))
        places = tuple(f"rank {one['rank']}: {one['host']}, {one['gpu']}" for one in folder.places(job.job_id))
        found.append(JobStatus(job, state, reason, failures, places))
    return found


def describe(run: RunDirectory, found: Sequence[JobStatus]) -> str:
    """The statuses for people: what failed first, then a line a job."""
    parts = []
    for status in found:
        if status.failures:
            title = f"{status.job.title} (job {status.job.job_id}) has failed; the process that failed first:"
            parts.append(f"{title}\n{status.failures[0]}{_words_of_srun(run, status)}")
        elif status.state not in (FINISHED, *GOING):
            parts.append(_last_words(run, status))
    width = max(len(status.job.job_id) for status in found)
    for status in found:
        reason = f" ({status.reason})" if status.reason not in ("", "None") else ""
        where = f", {len(status.places)} of {status.job.num_processes} processes have begun" if status.places else ""
        parts.append(f"{status.job.job_id:<{width}}  {status.state:<10} {status.job.title}{reason}{where}")
    return "\n".join(parts)


def wait(run: RunDirectory) -> list[JobStatus]:
    """Wait until no job of a run will get further by itself.

    Raises:
        JobError: if nothing was submitted there; if Slurm has not answered for :data:`PATIENCE` seconds.
    """
    answered = ended = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            found, answered = statuses(run), now
        except SilenceError:
            if now - answered > PATIENCE:
                raise
        else:
            if any(status.is_going for status in found):
                ended = now
            elif now - ended > DELAY or all(status.state != "COMPLETED" for status in found):
                return found
        time.sleep(LOOK_EVERY)


def logs(run: RunDirectory, rank: int) -> str:
    """What one process of every job has written."""
    parts = []
    for job in run.submitted():
        paths = JobPaths(run.logs, job.job_id, rank)
        for path in (paths.stdout, paths.stderr):
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else "(not there yet)\n"
            parts.append(f"== {path}\n{text}")
    return "\n".join(parts)


def cancel(run: RunDirectory) -> list[Submitted]:
    """End the jobs of a run that are going; what they have saved stays.

    Returns:
        Those that were.

    Raises:
        JobError: if Slurm refuses, with what it says.
    """
    going = [status.job for status in statuses(run) if status.is_going]
    on_slurm = [job.job_id for job in going if job.cluster == "slurm"]
    if on_slurm:
        done = _run(["scancel", *on_slurm])
        if done is None or done.returncode:
            raise JobError(f"Slurm does not cancel: {'there is no scancel on PATH' if done is None else done.stderr}")
    for job in going:
        if job.cluster == "local":
            os.kill(int(job.job_id), signal.SIGTERM)  # which submitit hands on to the processes
    return going


def _queue(job_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """State and reason of the user's jobs that Slurm still knows."""
    if not job_ids:
        return {}
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r"]
    done = _run(command)
    if done is None or done.returncode:
        said = "there is no squeue on PATH" if done is None else done.stderr.strip()
        raise SilenceError(f"Slurm does not say how the jobs are: {said}")
    rows = (line.strip().split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2)
    return {job_id: (state, reason) for job_id, state, reason in rows if job_id in job_ids}


def _accounts(job_ids: Sequence[str]) -> dict[str, str]:
    """States of jobs that are gone, where the cluster keeps accounts."""
    if not job_ids:
        return {}
    done = _run(["sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", ",".join(job_ids)])
    if done is None or done.returncode:
        return {}
    rows = (line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line)
    return {job_id: state.split()[0] for job_id, state in rows if state and job_id in job_ids}


def _state_here(job: Submitted) -> str:
    """Of a job that no Slurm knows."""
    if job.cluster != "local":
        return ENDED
    if job.launched_on != socket.gethostname():
        return f"UNKNOWN, since it was started on {job.launched_on}"
    try:
        is_running = _CONTROLLER in Path(f"/proc/{job.job_id}/cmdline").read_bytes()
    except OSError:
        is_running = False
    return "RUNNING" if is_running else ENDED


def _words_of_srun(run: RunDirectory, status: JobStatus) -> str:
    """How the processes of the last start have ended: one that was killed has left no traceback of its own."""
    path = JobPaths(run.logs, status.job.job_id, 0).stderr
    last = _of_last_start(path, status.job.job_id) if path.exists() else ""
    return "".join(f"{line}\n" for line in _SRUN.findall(last))


def _of_last_start(path: Path, job_id: str) -> str:
    """What a process has written since the job began for the last time; of a long text the end."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - MOST_BYTES, 0))
        text = file.read().decode(errors="replace")
    return text[text.rfind(f"job {job_id}, start ") + 1 :]


def _last_words(run: RunDirectory, status: JobStatus) -> str:
    """Of a job that is gone without a traceback: killed, cancelled, out of time or memory."""
    paths = [JobPaths(run.logs, status.job.job_id, rank).stderr for rank in range(status.job.num_processes)]
    texts = {path: _of_last_start(path, status.job.job_id) for path in paths if path.exists()}
    path = paths[0]
    if not (_SRUN.search(texts.get(path, "")) or "CANCELLED" in texts.get(path, "")):
        path = next((one for one, text in texts.items() if _TRACEBACK in text), path)  # raised before the task began
    title = f"{status.job.title} (job {status.job.job_id}) has ended: {status.state}"
    if not path.exists():
        return f"{title}, and has written nothing to {path}"
    text = texts[path]
    lines = text[max(text.rfind(_TRACEBACK), 0) :].splitlines()[-TAIL:]
    return "\n".join([f"{title}. The last lines of {path}:", *lines, ""])


def _run(command: list[str]) -> "subprocess.CompletedProcess[str] | None":
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
