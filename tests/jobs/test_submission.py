"""What submitit, and through it Slurm, is asked for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from submitit.core.utils import DelayedSubmission
from submitit.helpers import environment_variables

from acrn_zoo.jobs.job import Job
from acrn_zoo.jobs.profiles import Profile
from acrn_zoo.jobs.submission import (
    Resources,
    require_slurm,
    run_in_this_process,
    sbatch_text,
    slurm_parameters,
    submit_to_slurm,
    visible_gpus,
)
from acrn_zoo.jobs.task import JobError

CODE = Path("/shared/run/code/abc")
LOGS = Path("/shared/run/logs")
PROFILE = Profile(
    partition="gpu,debug",
    account="us",
    qos="high",
    constraint="a100",
    exclude=("node1", "node2"),
    memory=480,
    cpus_per_task=6,
    mail="me@example.org",
    setup=("module load cuda",),
    extra={"reservation": "mine", "exclusive": True},
)
GOLDEN = """\
#!/bin/bash

# Parameters
#SBATCH --account=us
#SBATCH --chdir=/shared/run/code/abc
#SBATCH --constraint=a100
#SBATCH --cpus-per-task=6
#SBATCH --error=/shared/run/logs/%j_0_log.err
#SBATCH --exclude=node1,node2
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --job-name=train-small_world
#SBATCH --mail-type=END,FAIL,REQUEUE
#SBATCH --mail-user=me@example.org
#SBATCH --mem=480GB
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --open-mode=append
#SBATCH --output=/shared/run/logs/%j_0_log.out
#SBATCH --partition=gpu,debug
#SBATCH --qos=high
#SBATCH --requeue
#SBATCH --reservation=mine
#SBATCH --signal=USR2@180
#SBATCH --time=1440

# setup
module load cuda
export SRUN_CPUS_PER_TASK=6
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/run/logs/%j_%t_log.out --error /shared/run/logs/%j_%t_log.err \
--kill-on-bad-exit=1 --wait=0 PYTHON -m acrn_zoo.jobs.hold_signal -u -m submitit.core._submit /shared/run/logs
"""


def create_resources(**changes: int) -> Resources:
    usual = {"nodes": 2, "gpus_per_node": 8, "tasks_per_node": 8, "minutes": 1440, "signal_seconds": 180}
    return Resources(**{**usual, **changes})


@pytest.fixture
def fake_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an sbatch in front of all others."""

    def install(script: str) -> None:
        path = tmp_path / "bin" / "sbatch"
        path.parent.mkdir()
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return install


def test_batch_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "PYTHON")
    parameters = slurm_parameters("train small_world", create_resources(), PROFILE, CODE)
    assert sbatch_text(LOGS, parameters).rstrip() == GOLDEN.rstrip()


@pytest.mark.parametrize(
    ("profile", "changes", "lines", "no_lines"),
    [
        (Profile(), {}, (), ("--mem", "--cpus-per-task", "SRUN_CPUS", "--mail", "--exclude", "--wckey", "--array")),
        (Profile(), {"gpus_per_node": 0, "tasks_per_node": 2}, ("--ntasks-per-node=2",), ("--gpus",)),
        (Profile(), {"nodes": 1, "gpus_per_node": 1, "tasks_per_node": 1}, ("--gpus-per-node=1",), ("OMP_NUM",)),
        (Profile(gpu_type="a100"), {}, ("--gpus-per-node=a100:8",), ()),
        (Profile(gpu_type="a100"), {"gpus_per_node": 0, "tasks_per_node": 1}, (), ("a100",)),
        (Profile(memory=0), {}, ("--mem=0GB",), ()),
        (Profile(extra={"requeue": "no", "chdir": "/x"}), {}, ("--requeue=no", "--chdir=/x"), ()),
    ],
)
def test_parts_of_batch_scripts(
    profile: Profile, changes: dict[str, int], lines: tuple[str, ...], no_lines: tuple[str, ...]
) -> None:
    text = sbatch_text(LOGS, slurm_parameters("x", create_resources(**changes), profile, CODE))
    for line in lines:
        assert f"#SBATCH {line}\n" in text
    for line in no_lines:
        assert line not in text


def test_array_behind_another() -> None:
    parameters = slurm_parameters("x", create_resources(), Profile(), CODE, dependency="aftercorr:12")
    text = sbatch_text(LOGS, parameters, num_jobs=3)
    for line in ("--array=0-2%3", "--dependency=aftercorr:12", "--kill-on-invalid-dep=yes"):
        assert f"#SBATCH {line}\n" in text
    assert f"--output {LOGS}/%A_%a_%t_log.out" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus_per_node": 4}, "8 processes on a node cannot share 4 GPUs"),
        ({"minutes": 5}, "A time limit of 5 minutes is too short: .* 180 s before"),
    ],
)
def test_numbers_that_do_not_go_together(changes: dict[str, int], message: str) -> None:
    with pytest.raises(JobError, match=message):
        create_resources(**changes)


def test_resources() -> None:
    assert create_resources(gpus_per_node=0, tasks_per_node=3).num_processes == 6
    assert create_resources(minutes=6).num_processes == 16


def test_submits_an_array(
    tmp_path: Path, fake_sbatch: Callable[[str], None], counted_task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sbatch(f'cat "$1" > {tmp_path}/script; env > {tmp_path}/env; echo Submitted batch job 12')
    monkeypatch.setattr("shutil.which", lambda name: name)
    jobs = [Job(counted_task(), tmp_path / str(number), 1, "x") for number in range(2)]
    parameters = slurm_parameters("x", create_resources(), Profile(), CODE)
    inside = {"SLURM_JOB_ID": "3", "SLURM_CONF": "/etc/x", "SBATCH_ACCOUNT": "us", "RANK": "1"}
    inside["SUBMITIT_PREEMPT_SIGNAL"] = "USR1"
    with environment_variables(**inside):
        assert submit_to_slurm(jobs, tmp_path / "logs", parameters) == ["12_0", "12_1"]
        assert os.environ["SLURM_JOB_ID"] == "3"
    assert "--array=0-1%2" in (tmp_path / "script").read_text()
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert (environment["SLURM_CONF"], environment["SBATCH_ACCOUNT"]) == ("/etc/x", "us")
    assert environment["SUBMITIT_PREEMPT_SIGNAL"] == "USR1"  # which the batch script has, too
    assert not {"SLURM_JOB_ID", "RANK"} & set(environment)


@pytest.mark.parametrize(("steps", "timeouts"), [(0, 1000), (None, 1)])
def test_time_limits(
    steps: int | None, timeouts: int, tmp_path: Path, fake_sbatch: Callable[[str], None], counted_task: Any
) -> None:
    """What begins anew with every start would not get further with another."""
    fake_sbatch("echo Submitted batch job 12")
    (tmp_path / "bin" / "srun").symlink_to(tmp_path / "bin" / "sbatch")  # which submitit looks for
    task = counted_task(steps=steps)
    parameters = slurm_parameters("x", create_resources(), Profile(), CODE)
    submit_to_slurm([Job(task, tmp_path / "own", 1, "x")], tmp_path / "logs", parameters)
    assert DelayedSubmission.load(tmp_path / "logs" / "12_submitted.pkl")._timeout_countdown == timeouts


@pytest.mark.parametrize(("named", "expected"), [(None, ()), ("", ()), ("4,5", (4, 5)), (" 3 ", (3,))])
def test_visible_gpus(named: str | None, expected: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected


def test_gpus_without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-8d2")
    with pytest.raises(JobError, match="CUDA_VISIBLE_DEVICES has GPU-8d2, and --cluster local takes GPUs by number"):
        visible_gpus()


def test_refusal(
    tmp_path: Path,
    fake_sbatch: Callable[[str], None],
    counted_task: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fake_sbatch("echo 'sbatch: error: invalid partition specified: gpus' >&2; exit 1")
    parameters = slurm_parameters("x", create_resources(), Profile(partition="gpus"), CODE)
    with pytest.raises(JobError, match="Slurm refuses .* invalid partition specified: gpus"):
        submit_to_slurm([Job(counted_task(), tmp_path, 16, "x")], tmp_path / "logs", parameters)
    assert capfd.readouterr().err == ""


def test_no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(JobError, match="There is no sbatch on PATH.*--cluster local"):
        require_slurm()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log files open
@pytest.mark.usefixtures("local_job")
def test_in_this_process(tmp_path: Path, counted_task: Any, capfd: pytest.CaptureFixture[str]) -> None:
    task = counted_task()
    before = dict(os.environ)
    run_in_this_process(Job(task, tmp_path, 1, "x"), tmp_path / "logs")
    assert [processes.world_size for processes in task.calls] == [1]
    assert dict(os.environ) == before
    capfd.readouterr()

    def fail(_stop_requested: object) -> bool:
        raise ZeroDivisionError("of the task")

    with pytest.raises(ZeroDivisionError):  # and no debugger waits for somebody to type
        run_in_this_process(Job(counted_task(fail), tmp_path / "other", 1, "x"), tmp_path / "logs")
