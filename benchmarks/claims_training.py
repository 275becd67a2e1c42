"""The training runs of ``benchmarks.claims``: several ``acrn-zoo train`` at once, each with one thread."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acrn_zoo.cli.train import parse_flags
from acrn_zoo.engine.config import Config
from acrn_zoo.engine.run import finished_result
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.errors import UserError

RECIPE = "small_world"
OF_THE_BENCHMARK = ("--relation", "--seed", "--data", "--out")
SHOW_EVERY = 30.0  # seconds from one look at the runs to the next
LOOK_EVERY = 0.5


class TrainingError(UserError, RuntimeError):
    """A run has failed, or cannot be begun."""


@dataclass(frozen=True)
class Job:
    """One head to train from one seed.

    Args:
        head: of the model.
        seed: of the run.
        data: the small world.
        out: the folder of all runs; that of this one is in it.
        flags: of the recipe, the same for all runs.
    """

    head: str
    seed: int
    data: Path
    out: Path
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the run and its folder."""
        return f"{self.head}_{self.seed}"

    @property
    def all_flags(self) -> list[str]:
        """What follows ``acrn-zoo train small_world``."""
        own = ["--relation", self.head, "--seed", self.seed, "--data", self.data, "--out", self.out / self.name]
        return [*self.flags, *map(str, own)]

    @property
    def config(self) -> Config:
        """The settings of the run, as its own command reads them."""
        return parse_flags(RECIPE, self.all_flags)

    @property
    def folder(self) -> RunFolder:
        """What the run leaves."""
        return RunFolder(self.out / self.name)

    @property
    def output(self) -> Path:
        """What it would have written on a terminal."""
        return self.out / f"{self.name}.txt"


def require_shared(flags: Sequence[str]) -> None:
    """Refuse flags that would make runs differ otherwise than in head and seed.

    Raises:
        TrainingError: naming the flag.
    """
    for flag in flags:
        if flag.partition("=")[0].replace("_", "-") in OF_THE_BENCHMARK:
            raise TrainingError(f"{flag} is for the benchmark to say: use --heads, --seeds, --data and --out")


def train_all(jobs: Iterable[Job], num_at_once: int, tell: Callable[[str], None] = print) -> None:
    """Train what is not trained yet; runs that were interrupted go on.

    Args:
        jobs: in the order in which they begin.
        num_at_once: how many run at the same time.
        tell: is given a line for every run that ends, and now and then one for every run that goes on.

    Raises:
        TrainingError: if a run fails, or its folder holds another. The others are stopped, with a checkpoint each.
        KeyboardInterrupt: after all runs were stopped, each with a checkpoint.
    """
    waiting = [job for job in jobs if not _is_finished(job, tell)]
    running: dict[Job, subprocess.Popen[bytes]] = {}
    shown = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < num_at_once:
                job = waiting.pop(0)
                running[job] = _start(job)
            time.sleep(LOOK_EVERY)
            for job in [job for job, process in running.items() if process.poll() is not None]:
                _conclude(job, running.pop(job).returncode, tell)
            if time.monotonic() - shown >= SHOW_EVERY:
                shown = time.monotonic()
                for job in running:
                    tell(f"  {job.name}: {progress_of(job)}")
    finally:
        _stop(running.values())


def _is_finished(job: Job, tell: Callable[[str], None]) -> bool:
    if finished_result(job.folder, job.config) is None:
        return False
    tell(f"{job.name}: {_summary(job)} (it was there already)")
    return True


def _start(job: Job) -> "subprocess.Popen[bytes]":
    job.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "acrn_zoo", "train", RECIPE, *job.all_flags]
    with job.output.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def _conclude(job: Job, status: int, tell: Callable[[str], None]) -> None:
    if status != 0:
        last = job.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise TrainingError(
            f"The run {job.name} has ended with status {status}: {''.join(last)[-300:]}. All of what it said is in "
            f"{job.output}; the same command goes on with the others and this one"
        )
    tell(f"{job.name}: {_summary(job)}")


def _stop(running: Iterable["subprocess.Popen[bytes]"]) -> None:
    """Ask the runs to save and stop, and wait for it; interrupted once more, end them at once."""
    processes = list(running)
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise


def training_seconds(job: Job) -> float:
    """Spent on the steps of a run, validation left out."""
    return sum(float(line["seconds"]) for line in _log(job) if line["kind"] == "epoch")


def progress_of(job: Job) -> str:
    """Where a run stands."""
    steps = [line for line in _log(job) if line["kind"] == "step"]
    if not steps:
        return "begins"
    last = steps[-1]
    return (
        f"epoch {last['epoch'] + 1} of {job.config.optimization.epochs}, step {last['step']}, loss {last['loss']:.4f}, "
        f"{last['clips_per_second']:.3g} clips/s"
    )


def _summary(job: Job) -> str:
    epochs = [line for line in _log(job) if line["kind"] == "epoch"]
    last = epochs[-1]
    metrics = last["metrics"] or {}
    mean = "" if metrics.get("mAP") is None else f", mAP {100 * metrics['mAP']:.2f} %"
    return f"{last['step']} steps in {training_seconds(job) / 60:.1f} min, loss {last['loss']:.4f}{mean}"


def _log(job: Job) -> list[dict[str, Any]]:
    """The lines of the log; the last one may not be whole yet."""
    try:
        lines = job.folder.log.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]
