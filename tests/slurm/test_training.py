"""Training on a real Slurm: on one node and on two, preempted, out of time, put back, and with a process killed."""

import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from slurm_case import Launcher, SlurmRun
from throwaway_slurm import ThrowawaySlurm

pytestmark = pytest.mark.slow

Flags = tuple[object, ...]
MIDDLE = 20
"""A step that is neither the first nor one behind which a checkpoint is written."""
SAVED = 14  # the last step behind which a checkpoint is certain to be there then
WARNING = 30  # seconds before a time limit
LOOKS_EVERY = 35  # seconds, a few of them to spare: so long Slurm may not look at time limits


def test_one_node_two_nodes_one_process(
    launch: Launcher, uninterrupted: SlurmRun, two_processes: Flags, training: Flags, tmp_path: Path
) -> None:
    """The same clips a step give the same steps, whoever computes them."""
    spread = ("--nodes", 2, "--tasks-per-node", 1)
    launch(*two_processes, *spread, "--out", tmp_path / "two_nodes", "--wait")
    alone = [*map(str, training), "--clips-per-process", "4", "--accumulation-steps", "2"]
    subprocess.run(
        [sys.executable, "-m", "acrn_zoo", *alone[0].lstrip("-").split(), *alone[1:], "--out", tmp_path / "alone"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    runs = {name: SlurmRun(tmp_path / name) for name in ("two_nodes", "alone")}
    assert {place["host"] for place in runs["two_nodes"].places} == {"node0", "node1"}
    assert {place["host"] for place in uninterrupted.places} == {"node0"}
    assert not uninterrupted.places[0]["meeting_point"].startswith(("localhost", "127."))
    assert _differences(runs["two_nodes"], uninterrupted) == []
    assert runs["alone"].losses == pytest.approx(uninterrupted.losses, rel=1e-4)
    for name, value in runs["alone"].weights.items():
        if value.is_floating_point() and "running_" not in name:  # BatchNorm's are those of the first process's clips
            torch.testing.assert_close(value, uninterrupted.weights[name], rtol=1e-3, atol=1e-5, msg=name)


def test_preempted(
    slurm: ThrowawaySlurm, launch: Launcher, uninterrupted: SlurmRun, two_processes: Flags, tmp_path: Path
) -> None:
    """Jobs of another partition take the nodes; afterwards the run goes on to the last bit as if nothing had been."""
    run = _started(launch, tmp_path, *two_processes, "--profile", "low")
    slurm.wait_for(lambda: run.has_reached(MIDDLE), "the middle of the run")
    slurm.run("sbatch", "-p", "high", "-N2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 2")
    slurm.wait_for(lambda: run.is_done, "the end of the run")
    assert "USR2: stopping" in run.said
    assert _attempts(run) == {0, 1}
    assert min(run.resumed_after) >= MIDDLE
    assert _differences(run, uninterrupted) == []


def test_out_of_time(
    slurm: ThrowawaySlurm, launch: Launcher, uninterrupted: SlurmRun, two_processes: Flags, tmp_path: Path
) -> None:
    """The time limit announces itself, and what is left is done by another start."""
    profile = f"[patient]\npartition = 'debug'\nminutes = 60\nsignal_seconds = {WARNING}\n"
    launch.profiles.write_text(launch.profiles.read_text() + profile)
    run = _started(launch, tmp_path, *two_processes, "--profile", "patient")
    slurm.wait_for(lambda: run.has_reached(MIDDLE), "the middle of the run")
    # Slurm counts in minutes, which is long for this run: it stands still until Slurm announces the end, and lets the
    # processes go on to hear of it.
    for place in run.places:
        os.kill(place["process"], signal.SIGSTOP)
    job_id = run.places[0]["job_id"]
    _set_limit(slurm, job_id, minutes=math.ceil((_seconds_of(slurm, job_id) + WARNING + LOOKS_EVERY) / 60))
    slurm.wait_for(lambda: _attempts(run) == {0, 1}, "the second start")
    _set_limit(slurm, job_id, minutes=60)
    slurm.wait_for(lambda: run.is_done, "the end of the run")
    assert "USR2: stopping" in run.said
    assert _attempts(run) == {0, 1}
    assert min(run.resumed_after) >= MIDDLE
    assert _differences(run, uninterrupted) == []


def test_put_back_from_outside(
    slurm: ThrowawaySlurm, launch: Launcher, uninterrupted: SlurmRun, two_processes: Flags, tmp_path: Path
) -> None:
    """`scontrol requeue` tells the job nothing of it: it goes on from the last checkpoint."""
    run = _started(launch, tmp_path, *two_processes)
    slurm.wait_for(lambda: run.has_reached(MIDDLE), "the middle of the run")
    slurm.run("scontrol", "requeue", run.places[0]["job_id"])
    slurm.wait_for(lambda: run.is_done, "the end of the run")
    assert _attempts(run) == {0, 1}
    assert min(run.resumed_after) >= SAVED
    assert _differences(run, uninterrupted) == []


def test_a_process_is_killed(
    slurm: ThrowawaySlurm, launch: Launcher, uninterrupted: SlurmRun, two_processes: Flags, tmp_path: Path
) -> None:
    """The job fails at once, and says so; the same command goes on."""
    run = _started(launch, tmp_path, *two_processes)
    slurm.wait_for(lambda: run.has_reached(MIDDLE), "the middle of the run")
    job_id = run.places[0]["job_id"]
    os.kill(run.places[1]["process"], signal.SIGKILL)
    slurm.wait_for(lambda: slurm.states()[job_id] == "FAILED", "the end of the job", 30)
    assert re.search(r"task 1: Killed", launch("--status", run.root))
    launch(*two_processes, "--out", run.root, "--wait")
    assert {place["job_id"] for place in run.places} == {job_id, str(int(job_id) + 1)}
    assert min(run.resumed_after) >= SAVED
    assert _differences(run, uninterrupted) == []


def test_eight_processes_with_eight_gpus(launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """The default of the launcher; the GPUs are pretended, so that it computes on CPUs."""
    few = ("--epochs", 1, "--warmup-epochs", 0, "--validate-every", 1, "--clips-per-process", 1, "--num-workers", 0)
    launch(*training, *few, "--out", tmp_path / "run", "--wait")
    run = SlurmRun(tmp_path / "run")
    places = run.places
    assert [place["rank"] for place in places] == [place["local_rank"] for place in places] == list(range(8))
    assert {place["visible_gpus"] for place in places} == {"0,1,2,3,4,5,6,7"}
    assert run.is_done


def _started(launch: Launcher, tmp_path: Path, *arguments: object) -> SlurmRun:
    """A training that was submitted and left to itself."""
    launch(*arguments, "--out", tmp_path / "run")
    return SlurmRun(tmp_path / "run")


def _attempts(run: SlurmRun) -> set[int]:
    return {place["attempt"] for place in run.places}


def _differences(run: SlurmRun, other: SlurmRun) -> list[str]:
    """In what two runs do not agree to the last bit."""
    ours, others = run.weights, other.weights
    different = [] if ours.keys() == others.keys() else ["names"]
    different += [name for name in ours.keys() & others.keys() if not torch.equal(ours[name], others[name])]
    return different + ([] if run.losses == other.losses else ["losses"])


def _seconds_of(slurm: ThrowawaySlurm, job_id: str) -> int:
    """How long a job has been running."""
    *_, minutes, seconds = slurm.run("squeue", "--noheader", f"--jobs={job_id}", "--format=%M").strip().split(":")
    return 60 * int(minutes) + int(seconds)


def _set_limit(slurm: ThrowawaySlurm, job_id: str, *, minutes: int) -> None:
    slurm.run("scontrol", "update", f"JobId={job_id}", f"TimeLimit={minutes}")
