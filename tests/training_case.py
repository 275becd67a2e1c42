"""A training of seconds, and what processes do that train, are killed, and go on."""

import hashlib
import io
import multiprocessing
import os
import pkgutil
import resource
import signal
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm3d

from acrn_zoo.data.batch import Batch
from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.engine import build, run
from acrn_zoo.engine import train as engine_train
from acrn_zoo.engine.config import Config, DataConfig, ModelConfig, OptimizationConfig, RunConfig
from acrn_zoo.engine.distributed import processes
from acrn_zoo.engine.learner import Position
from acrn_zoo.engine.logs import Silence
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.engine.train import TrainingResult, train
from acrn_zoo.labels import LabelMap
from acrn_zoo.models import ActionDetector

NAMES = {1: "walk", 2: "talk", 3: "sit"}
NUM_TRAINING, NUM_VALIDATION = 13, 3
BOXES = ((0.1, 0.2, 0.5, 0.9), (0.4, 0.1, 0.95, 0.8))


def write_dataset(root: Path, *, with_validation: bool = True) -> DatasetFolder:
    """A video of two seconds; at every keyframe one person or two."""
    generator = torch.Generator().manual_seed(0)
    with VideoWriter(root / "film.mp4", size=(48, 64), frame_rate=10) as video:
        for number in range(20):
            blocks = torch.randint(0, 256, (6, 8, 3), dtype=torch.uint8, generator=generator)
            video.write(blocks.repeat_interleave(8, dim=0).repeat_interleave(8, dim=1), number / 10)
    rows = [
        f"film,{0.1 * keyframe:.1f},{','.join(map(str, box))},{1 + (keyframe * (person + 1) + person) % 3},{person}"
        for keyframe in range(NUM_TRAINING + NUM_VALIDATION)
        for person, box in enumerate(BOXES[: 1 + keyframe % 2])
    ]
    splits = {}
    for name, keyframes in (("train", range(NUM_TRAINING)), ("val", range(NUM_TRAINING, 99))):
        own = [row for row in rows if round(10 * float(row.split(",")[1])) in keyframes]
        (root / f"{name}.csv").write_text("\n".join(own) + "\n")
        splits[name] = Split(root / f"{name}.csv")
    if not with_validation:
        del splits["val"]
    folder = DatasetFolder(root, "case", LabelMap(NAMES), splits, {"film": VideoEntry(root / "film.mp4")})
    write_dataset_folder(folder)
    return folder


def create_config(root: Path, out: Path, **changes: Any) -> Config:
    """Two epochs of three steps of two parts of two clips, with all that has a state.

    Args:
        root: of the dataset.
        out: of the run.
        changes: settings of any group, by their names.
    """
    config = Config(
        recipe="case",
        model=ModelConfig(depth=18, width=8, relation_channels=16, dropout=0.5),
        data=DataConfig(
            data=root,
            clip_length=8,
            frame_interval=0.1,
            short_side=(32, 40),
            crop=32,
            people="annotated",
            eval_short_side=32,
            num_workers=0,
        ),
        optimization=OptimizationConfig(
            epochs=2,
            clips_per_process=2,
            accumulation_steps=2,
            learning_rate=0.05,
            warmup_epochs=0.5,
            ema_decay=0.5,
        ),
        run=RunConfig(out=out, save_every=2, device="cpu", tensorboard=False),
    )
    return changed(config, changes)


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The settings with some of other values, by their names."""
    for group in ("model", "data", "optimization", "run"):
        settings = getattr(config, group)
        own = {name: value for name, value in changes.items() if hasattr(settings, name)}
        config = replace(config, **{group: replace(settings, **own)})
    return config


def train_case(root: Path, out: Path, changes: Mapping[str, Any] | None = None) -> TrainingResult:
    """Train, as one of the processes of the environment, or alone."""
    _be_like_the_command_line()
    with processes("cpu") as group:
        return train(create_config(root, out, **dict(changes or {})), group, report=Silence())


def train_and_die(root: Path, out: Path, target: str, call: int, moment: str, changes: Mapping[str, Any]) -> None:
    """Train, but kill this process in a call of some function.

    Args:
        root: of the dataset.
        out: of the run.
        target: the function, by its full name.
        call: which of its calls, from 1 on.
        moment: "before" or "after" it; "within", for torch.save, when half of the file is written.
        changes: as for :func:`create_config`.
    """
    owner, name = pkgutil.resolve_name(target.rpartition(".")[0]), target.rpartition(".")[2]
    original, numbers = getattr(owner, name), count(1)

    def deadly(*arguments: Any, **options: Any) -> Any:
        if next(numbers) != call:
            return original(*arguments, **options)
        if moment == "within":
            content, file = io.BytesIO(), arguments[1]
            original(arguments[0], content)
            file.write(content.getvalue()[: len(content.getvalue()) // 2])
            file.flush()
        if moment == "after":
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")

    setattr(owner, name, deadly)
    train_case(root, out, changes)


def freeze_norms(model: ActionDetector) -> ActionDetector:
    """Keep the statistics of all BatchNorms, also when the model is trained: a step is then the sum of its parts."""
    for module in model.modules():
        if isinstance(module, BatchNorm3d):
            module.eval()
            module.train = partial(_stay, module)  # type: ignore[method-assign]
    return model


def _stay(module: BatchNorm3d, _mode: bool = True) -> BatchNorm3d:
    return module


def train_with_frozen_norms(root: Path, out: Path, changes: Mapping[str, Any]) -> TrainingResult:
    """Train a model whose BatchNorms never change."""
    original = build.create_model
    run.create_model = lambda *arguments, **options: freeze_norms(original(*arguments, **options))
    return train_case(root, out, changes)


def train_and_stop(root: Path, out: Path, asked: int, changes: Mapping[str, Any]) -> tuple[TrainingResult, str]:
    """Train until the last process is asked for the so many-th time whether to stop.

    Returns:
        The result, and a digest of the parameters of this process.
    """
    runs: list[run.Run] = []
    numbers = count(1)
    original = run.create_run

    def kept(*arguments: Any) -> run.Run:
        runs.append(original(*arguments))
        return runs[-1]

    engine_train.create_run = kept  # type: ignore[assignment]
    _be_like_the_command_line()
    with processes("cpu") as group:
        result = train(
            create_config(root, out, **changes),
            group,
            report=Silence(),
            stop_requested=lambda: group.rank == group.world_size - 1 and next(numbers) == asked,
        )
    values = torch.cat([parameter.detach().flatten() for parameter in runs[0].learner.model.parameters()])
    return result, hashlib.sha256(values.numpy().tobytes()).hexdigest()


def train_spoiled(root: Path, out: Path, changes: Mapping[str, Any]) -> TrainingResult:
    """Train where the second process gets a label that is no number."""
    original = run.Run.clips

    def spoiled(self: run.Run, batch: Batch) -> Tensor:
        if self.processes.rank == 1:
            batch.labels[0, 0] = torch.nan
        return original(self, batch)

    run.Run.clips = spoiled  # type: ignore[method-assign]
    return train_case(root, out, changes)


def claim(root: Path) -> bool:
    """Claim a run's folder, as another process."""
    with RunFolder(root).claimed():
        return True


def save_beyond_a_limit(root: Path) -> None:
    """Write a checkpoint that is larger than this process may write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    state = {"position": asdict(Position(step=2)), "model": torch.zeros(1_000_000)}
    RunFolder(root).save(state)


def _be_like_the_command_line() -> None:
    """A process of its own, whose workers are forked, and which computes in one order of sums."""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)
