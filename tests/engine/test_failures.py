"""What ends a training from outside: signals to all of its processes, clips that one of them cannot read, workers
that are killed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from failure_case import load_and_die, run_in_a_group, train_with_a_bad_clip
from ranks import run_ranks
from training_case import create_config, train_case, write_dataset

from acrn_zoo.data.dataset import SampleError
from acrn_zoo.data.loading import WorkerError
from acrn_zoo.engine import train as train_module
from acrn_zoo.engine.distributed import DistributedError, Processes
from acrn_zoo.engine.logs import Silence
from acrn_zoo.engine.state import read_state
from acrn_zoo.engine.train import train

ONE_EPOCH = {"epochs": 1, "warmup_epochs": 0.0, "validate_every": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


def saved_step(out: Path) -> int:
    step = read_state(max((out / "checkpoints").iterdir()))["position"]["step"]
    assert isinstance(step, int)
    return step


def logged_steps(out: Path) -> list[int]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "step"]


def test_sigterm_to_the_whole_group(root: Path, tmp_path: Path) -> None:
    """As torchrun and Slurm send it: the run is saved, since its workers stay until they are no longer needed."""
    small = ("--short-side", "32", "40", "--crop", "32", "--clips-per-process", "4", "--no-tensorboard")
    endless = ("--epochs", "9999", "--save-every", "9999", "--validate-every", "0", "--num-workers", "2")
    command = ("train", "small_world", "--data", str(root), "--out", str(tmp_path), "--device", "cpu", *small, *endless)
    ((status, _, errors),) = run_ranks(run_in_a_group, 1, command, tmp_path / "log.jsonl")
    last = logged_steps(tmp_path)[-1]
    assert status == 130, errors
    assert f"stopped after step {last}; the same command goes on from there" in errors
    assert saved_step(tmp_path) == last >= 2


@pytest.mark.parametrize(("failing", "sample", "done"), [(1, 3, 1), (0, 1, 0)])
def test_a_clip_that_one_of_two_processes_cannot_read(
    failing: int, sample: int, done: int, root: Path, tmp_path: Path
) -> None:
    """Both stop, the steps that are done are saved, and the run goes on once the clip is there."""
    changes = {**ONE_EPOCH, "accumulation_steps": 1, "save_every": 99}
    errors = run_ranks(train_with_a_bad_clip, 2, root, tmp_path, failing, sample, changes)
    assert isinstance(errors[failing], SampleError)
    assert str(errors[failing]) == "there is a hole in the film"
    assert isinstance(errors[1 - failing], DistributedError)
    assert str(errors[1 - failing]) == f"Process {failing} of 2 cannot read its clips, and says why: all of them stop"
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step_00000001.pth"] * done
    assert [result.steps for result in run_ranks(train_case, 2, root, tmp_path, changes)] == [3, 3]
    assert logged_steps(tmp_path) == [1, 2, 3]


def test_a_clip_that_a_process_alone_cannot_read(root: Path, tmp_path: Path) -> None:
    (error,) = run_ranks(train_with_a_bad_clip, 1, root, tmp_path, 0, 7, {**ONE_EPOCH, "save_every": 99})
    assert isinstance(error, SampleError)
    assert saved_step(tmp_path) == 1  # of two parts of two clips


def test_a_worker_that_is_killed_while_a_step_computes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(*_: object, **__: object) -> None:
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(60)  # broken off

    monkeypatch.setattr(train_module, "action_loss", deadly)
    with pytest.raises(WorkerError, match="A process that reads clips has gone: .*Killed"):
        train(create_config(root, tmp_path, **ONE_EPOCH, num_workers=1), Processes(), report=Silence())
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_workers_end_with_a_process_that_is_killed(root: Path) -> None:
    """The pipe of the answer is closed only when they have ended, too."""
    (answer,) = run_ranks(load_and_die, 1, root)
    assert isinstance(answer, EOFError)


SCRIPT = """
import sys
from pathlib import Path
from training_case import create_config
from acrn_zoo.data.loading import create_loader
from acrn_zoo.engine.build import create_training_dataset

root = Path(sys.argv[1])
batches = iter(create_loader(create_training_dataset(create_config(root, root / "run")), [[0]] * 99, num_workers=2))
next(batches)
raise RuntimeError("a fault of the program")
"""


@pytest.mark.slow
def test_a_program_that_fails_does_not_wait_for_its_workers(root: Path) -> None:
    """They wait for it, and ignore SIGTERM."""
    tests = Path(__file__).resolve().parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(root)],
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith("RuntimeError: a fault of the program\n")
