"""What else is launched on a real Slurm: failures, snapshots, predictions, chains, sweeps, other executors."""

import json
import os
import re
import shutil
import signal
from datetime import datetime
from pathlib import Path

import pytest
from slurm_case import CHECKOUT, Launcher, SlurmRun
from throwaway_slurm import ThrowawaySlurm

pytestmark = pytest.mark.slow

Flags = tuple[object, ...]
ONE = ("--gpus-per-node", 0, "--tasks-per-node", 1)
SHORT = ("--epochs", 1, "--warmup-epochs", 0, "--validate-every", 1)
OWN_CODE = "acrn_zoo/jobs/tasks.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project that may be edited."""
    for name in ("acrn_zoo", "slurm"):
        shutil.copytree(CHECKOUT / name, tmp_path / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "checkout"


def test_one_process_raises(slurm: ThrowawaySlurm, launch: Launcher, two_processes: Flags, checkout: Path) -> None:
    """The job ends at once, though the other process would wait for ever; the traceback comes first."""
    _edit(
        checkout,
        "        return train(",
        "        if processes.rank == 1:\n"
        "            raise RuntimeError('the second one gives up')\n"
        "        import time\n"
        "        time.sleep(3600)\n"
        "        return train(",
    )
    own = Launcher(slurm, launch.profiles, checkout)
    run = SlurmRun(checkout.parent / "run")
    said = own(*two_processes, "--out", run.root, "--wait", status=1)
    job_id = run.places[0]["job_id"]
    assert slurm.states()[job_id] == "FAILED"
    ended = re.search(r"EndTime=(\S+)", slurm.run("scontrol", "show", "job", job_id))
    assert ended is not None
    failed = min(path.stat().st_mtime for path in (run.root / "failures").iterdir())
    assert datetime.fromisoformat(ended[1]).timestamp() - failed < 15
    status = own("--status", run.root)
    assert status.splitlines()[0].endswith("has failed; the process that failed first:")
    assert "RuntimeError: the second one gives up" in status
    assert status.rstrip() in said


def test_code_that_is_edited_while_a_job_waits(
    slurm: ThrowawaySlurm, launch: Launcher, training: Flags, checkout: Path
) -> None:
    """The job runs the code as it was when it was submitted; the next launch takes the edited one."""
    own = Launcher(slurm, launch.profiles, checkout)
    run = SlurmRun(checkout.parent / "run")
    with slurm.waiting():
        own(*training, *ONE, *SHORT, "--out", run.root)
        assert "PENDING" in own("--status", run.root)
        _edit(checkout, "        return train(", "        raise RuntimeError('edited')\n        return train(")
    slurm.wait_for(lambda: run.is_done, "the end of the run")
    assert run.places[0]["code"].startswith(str(run.root / "code"))
    other = checkout.parent / "other"
    assert "RuntimeError: edited" in own(*training, *ONE, *SHORT, "--out", other, "--wait", status=1)
    assert len(list((run.root / "launches").iterdir())) == 1


def test_predictions_in_an_array(slurm: ThrowawaySlurm, launch: Launcher, world: Path, tmp_path: Path) -> None:
    """Six videos in three shares; one share is killed, and the same command does what is left."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in sorted((world / "videos").iterdir())[:6]:
        shutil.copy(path, videos)
    _write_boxes(tmp_path / "boxes.csv", [path.stem for path in videos.iterdir()])
    command: Flags = ("--predict", videos, "--boxes", tmp_path / "boxes.csv", "--weights", "mini", "--device", "cpu")
    command = (*command, "--gpus-per-node", 0, "--shares", 3, "--no-video", "--out", tmp_path / "run")
    launch(*command)
    parts = [SlurmRun(tmp_path / "run" / "parts" / str(number)) for number in (1, 2, 3)]
    slurm.wait_for(lambda: parts[1].places, "the second share's start")
    os.kill(parts[1].places[0]["process"], signal.SIGKILL)
    slurm.wait_until_quiet()
    results = tmp_path / "run" / "videos"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.csv")}
    assert 2 <= len(before) < 6
    assert not (tmp_path / "run" / "predictions.csv").exists()
    launch(*command, "--wait")
    assert {path.stem for path in results.glob("*.csv")} == {path.stem for path in videos.iterdir()}
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    lines = (tmp_path / "run" / "predictions.csv").read_text().splitlines()
    assert lines == [line for path in sorted(results.glob("*.csv")) for line in path.read_text().splitlines()]
    assert len({line.split(",")[0] for line in lines}) == 6
    assert "nothing to do" in launch(*command)


def test_training_and_its_evaluation(launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """Two jobs, the second behind the first."""
    said = launch(*training, *ONE, *SHORT, "--evaluate", "--out", tmp_path / "run", "--wait")
    assert said.count("FINISHED") == 2
    score = json.loads((tmp_path / "run" / "evaluation" / "score.json").read_text())
    assert 0 <= score["mAP"] <= 1
    done = json.loads((tmp_path / "run" / "DONE.json").read_text())
    assert score["mAP"] == pytest.approx(done["metrics"]["mAP"], abs=1e-6)


def test_an_evaluation_without_its_training(launch: Launcher, training: Flags, checkout: Path) -> None:
    """Where the first job fails, the second is never begun, and does not wait for ever either."""
    _edit(checkout, "        return train(", "        raise RuntimeError('no training')\n        return train(")
    own = Launcher(launch.slurm, launch.profiles, checkout)
    root = checkout.parent / "run"
    said = own(*training, *ONE, *SHORT, "--evaluate", "--out", root, "--wait", status=1)
    assert "RuntimeError: no training" in said
    assert not (root / "evaluation" / "ranks").exists()


def test_cancel_and_resume(slurm: ThrowawaySlurm, launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """What is cancelled is saved, and does not come back by itself; --resume goes on."""
    run = SlurmRun(tmp_path / "run")
    launch(*training, *ONE, "--clips-per-process", 8, "--out", run.root)
    slurm.wait_for(lambda: run.has_reached(3), "the first steps")
    job_id = run.places[0]["job_id"]
    os.kill(run.places[0]["process"], signal.SIGSTOP)  # else it may be done before the launcher has begun
    assert f"cancelled: {job_id}" in launch("--cancel", run.root)
    slurm.wait_for(lambda: slurm.states()[job_id] == "CANCELLED", "the end of the job", 60)
    assert not run.is_done
    assert "No job of this run is going." in launch("--cancel", run.root)
    launch("--resume", run.root)
    slurm.wait_for(lambda: run.is_done, "the end of the run")
    assert min(run.resumed_after) >= 3
    steps = [step["step"] for step in run.steps]
    assert steps == list(range(1, len(steps) + 1))


def test_status_with_accounts(slurm: ThrowawaySlurm, launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """The queue forgets; who keeps accounts knows still. The program that is asked for them is pretended here."""
    run = SlurmRun(tmp_path / "run")
    launch(*training, *ONE, "--clips-per-process", 8, "--out", run.root)
    slurm.wait_for(lambda: run.places, "the start")
    job_id = run.places[0]["job_id"]
    slurm.run("scancel", "--full", "--signal=KILL", job_id)
    slurm.wait_until_quiet()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("squeue", ""), ("sacct", f"echo '{job_id}|NODE_FAIL'")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    forgotten = Launcher(slurm, launch.profiles, environment={"PATH": f"{programs}:{os.environ['PATH']}"})
    assert f"{job_id}  NODE_FAIL" in forgotten("--status", run.root)
    (programs / "sacct").write_text("#!/bin/sh\nexit 1\n")
    assert f"{job_id}  ENDED" in forgotten("--status", run.root)


def test_sweep(launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """An array, each part with a folder of its own."""
    said = launch(*training, *ONE, *SHORT, "--sweep", "relation=acrn,actor_only", "--out", tmp_path / "run", "--wait")
    assert said.count("FINISHED") == 2
    for relation in ("acrn", "actor_only"):
        config = json.loads((tmp_path / "run" / f"relation-{relation}" / "config.json").read_text())
        assert config["model"]["relation"] == relation
        assert (tmp_path / "run" / f"relation-{relation}" / "best.pth").exists()


def test_starting_twice(slurm: ThrowawaySlurm, launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """While a job of the run is going nothing is submitted, and when it is finished there is nothing to do."""
    command = (*training, *ONE, *SHORT, "--out", tmp_path / "run")
    with slurm.waiting():
        launch(*command)
        assert "nothing was submitted" in launch(*command)
    slurm.wait_for(lambda: SlurmRun(tmp_path / "run").is_done, "the end of the run")
    slurm.wait_until_quiet()
    assert "nothing to do" in launch(*command)


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_without_slurm(launch: Launcher, training: Flags, cluster: str, tmp_path: Path) -> None:
    processes = ("--gpus-per-node", 0, "--tasks-per-node", 2) if cluster == "local" else ()
    said = launch(*training, *SHORT, *processes, "--cluster", cluster, "--out", tmp_path / "run")
    assert "FINISHED" in said
    run = SlurmRun(tmp_path / "run")
    assert run.is_done
    assert len(run.places) == (2 if cluster == "local" else 1)


def test_slurm_refuses(launch: Launcher, training: Flags, tmp_path: Path) -> None:
    """Its words are shown, and nothing is left that looks like a job."""
    launch.profiles.write_text("[default]\npartition = 'nowhere'\n")
    said = launch(*training, *ONE, "--out", tmp_path / "run", status=1)
    assert "Slurm refuses the request" in said
    assert "invalid partition" in said


def _edit(checkout: Path, old: str, new: str) -> None:
    """Change the code of the training task."""
    path = checkout / OWN_CODE
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def _write_boxes(path: Path, videos: list[str]) -> None:
    """A box in the middle of the first seconds."""
    path.write_text("".join(f"{name},{second},0.2,0.2,0.8,0.8\n" for name in videos for second in (1, 2)))
