"""The parts of a training run: built from its settings, saved, brought back, validated."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.batch import Batch
from acrn_zoo.data.dataset import EvaluationDataset, TrainingDataset
from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.data.loading import Loader, create_loader
from acrn_zoo.engine.build import (
    create_evaluation_dataset,
    create_model,
    create_optimizer,
    create_training_dataset,
    read_folder,
    split_facts,
)
from acrn_zoo.engine.config import Config, ConfigError, config_as_dict, config_from_dict
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.ema import create_average
from acrn_zoo.engine.evaluate import Evaluation, evaluate
from acrn_zoo.engine.learner import Learner, Position, as_state, position_of, random_state, set_random_state
from acrn_zoo.engine.logs import Report, RunLog
from acrn_zoo.engine.sampler import TrainingSampler
from acrn_zoo.engine.schedule import clips_per_step, explain_learning_rate, scaled_learning_rate
from acrn_zoo.engine.state import RunFolder, read_state, require_same, require_same_facts
from acrn_zoo.models import ActionDetector, ActionHead, Backbone
from acrn_zoo.zoo import save_detector


@dataclass(frozen=True, eq=False)
class Validation:
    """What a run is measured on.

    Args:
        folder: the dataset folder.
        dataset: its part for validation.
    """

    folder: DatasetFolder
    dataset: EvaluationDataset


@dataclass(frozen=True, eq=False)
class Run:
    """The parts of a run, of one of its processes.

    Args:
        config: the settings.
        processes: who trains together.
        folder: where files go.
        dataset: the clips to train on.
        sampler: which of them make a step of this process.
        loader: gives them in parts of ``clips_per_process``.
        learner: what changes with a step.
        parallel: the model as several processes train it together; None of one alone.
        forward: the model, or ``parallel``; backbone and head compiled if the settings say so.
        peak: the highest learning rate.
        validation: what the run is measured on, if it is.
        facts: what decides how it goes on, besides its settings; in words that people understand.
    """

    config: Config
    processes: Processes
    folder: RunFolder
    dataset: TrainingDataset
    sampler: TrainingSampler
    loader: Loader
    learner: Learner
    parallel: DistributedDataParallel | None
    forward: Callable[[Tensor, list[Tensor]], Tensor]
    peak: float
    validation: Validation | None
    facts: Mapping[str, object]

    @property
    def clips_per_step(self) -> int:
        """Of all processes together."""
        return clips_per_step(self.config.optimization, self.processes.world_size)

    def clips(self, batch: Batch) -> Tensor:
        """The clips ``[N, 3, T, H, W]`` of a batch, in the memory format of the settings."""
        clips = batch.clips
        return clips.to(memory_format=torch.channels_last_3d) if self.config.model.channels_last else clips

    def autocast(self) -> AbstractContextManager[object]:
        """The arithmetic of the settings."""
        precision = self.config.optimization.precision
        if precision == "float32":
            return nullcontext()
        return torch.autocast(self.processes.device.type, getattr(torch, precision))

    def adding_gradients(self, *, is_last: bool) -> AbstractContextManager[object]:
        """Where a backward pass happens: that of a step's last part adds up the gradients of all processes."""
        return nullcontext() if self.parallel is None or is_last else self.parallel.no_sync()


class _Parts(Sampler[list[int]]):
    """The batches of a sampler, each cut into parts of ``size``."""

    def __init__(self, batches: Sampler[list[int]], size: int) -> None:
        self.batches, self.size = batches, size

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            for start in range(0, len(batch), self.size):
                yield batch[start : start + self.size]


@dataclass(frozen=True, eq=False)
class Saved:
    """A checkpoint of a run.

    Args:
        path: the file.
        state: its content.
    """

    path: Path
    state: Mapping[str, Any]


def find_saved(config: Config, processes: Processes, folder: RunFolder, report: Report) -> Saved | None:
    """The newest checkpoint of a run, the same for every process; None if it has not begun.

    Raises:
        ConfigError: if that is of a run with other settings.
        RunError: if no checkpoint can be read.
    """
    found: list[Saved] = []

    def find() -> Path | None:
        newest = folder.newest(report.note)
        if newest is None:
            return None
        path, state = newest
        require_same(config_from_dict(state["config"], "the checkpoint"), config, folder.root)
        found.append(Saved(path, state))
        return path

    path = processes.on_main(find)
    if path is None:
        return None
    return found[0] if found else Saved(path, read_state(path))


def create_run(
    config: Config, processes: Processes, folder: RunFolder, report: Report, saved: Saved | None = None
) -> Run:
    """Build the parts of a run as it begins.

    Args:
        config: the settings.
        processes: who trains together.
        folder: where files go.
        report: is told what was decided.
        saved: where it will go on from: it knows how the model is built, so that the weights from which the run began
            are needed no more.

    Raises:
        UserError: if the settings do not go together, or a file is missing or wrong.
    """
    optimization, device = config.optimization, processes.device
    validation = _find_validation(config, report)
    dataset = create_training_dataset(config)
    sampler = TrainingSampler(
        len(dataset),
        optimization.clips_per_process * optimization.accumulation_steps,
        seed=optimization.seed,
        rank=processes.rank,
        world_size=processes.world_size,
    )
    loader = create_loader(
        dataset,
        _Parts(sampler, optimization.clips_per_process),
        num_workers=config.data.num_workers,
        pin_memory=device.type == "cuda",
    )
    built = None if saved is None else SlowFastArchitecture(**saved.state["architecture"])
    model = _placed(create_model(config, dataset.categories, built=built, tell=report.note), config, processes)
    average = None if optimization.ema_decay is None else create_average(model, optimization.ema_decay)
    if average is not None:
        report.note("validation, best.pth and last.pth take the moving average of the weights")
    report.note(explain_learning_rate(optimization, processes.world_size))
    trained = _compiled(model) if config.model.compile else model
    parallel = DistributedDataParallel(trained) if processes.world_size > 1 else None
    scaler = GradScaler(device.type, enabled=optimization.precision == "float16")
    # Every process drops other entries than its neighbours.
    torch.manual_seed(int(np.random.SeedSequence([optimization.seed, processes.rank]).generate_state(1)[0]))
    return Run(
        config=config,
        processes=processes,
        folder=folder,
        dataset=dataset,
        sampler=sampler,
        loader=loader,
        learner=Learner(model, create_optimizer(model, optimization), scaler, average),
        parallel=parallel,
        forward=parallel or trained,
        peak=scaled_learning_rate(optimization, processes.world_size),
        validation=validation,
        facts={"processes": processes.world_size, **data_facts(config)},
    )


def data_facts(config: Config) -> dict[str, object]:
    """What is known of the data that a run is trained on, in words that people understand.

    Raises:
        UserError: if the dataset folder cannot be read.
    """
    return split_facts(read_folder(config), config.data.train_split)


def finished_result(folder: RunFolder, config: Config) -> tuple[int, dict[str, float]] | None:
    """The steps and metrics of a run that is finished; None if it is not, and then no data are read.

    Raises:
        UserError: see :meth:`acrn_zoo.engine.state.RunFolder.result` and :func:`data_facts`.
    """
    return folder.result(config, data_facts(config)) if folder.done.exists() else None


def _find_validation(config: Config, report: Report) -> Validation | None:
    if config.run.validate_every == 0:
        return None
    folder = read_folder(config)
    if config.data.val_split not in folder.splits:
        report.note(
            f"{folder.root} has no split {config.data.val_split!r}, so nothing is validated: best.pth will be the same "
            "as last.pth. Name another with --val-split, or make one with `acrn-zoo data import`"
        )
        return None
    return Validation(folder, create_evaluation_dataset(config))


def _placed(model: ActionDetector, config: Config, processes: Processes) -> ActionDetector:
    """The model where it is trained, with its layers as the settings want them."""
    if config.model.sync_batch_norm:
        if processes.device.type != "cuda":
            raise ConfigError("--sync-batch-norm works on GPUs only, and this run computes on the CPU: leave it out")
        if processes.world_size > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = model.to(processes.device)
    return model.to(memory_format=torch.channels_last_3d) if config.model.channels_last else model


def _compiled(model: ActionDetector) -> ActionDetector:
    """The same weights, with backbone and head compiled, each on its own.

    The list of boxes stays outside: a graph is made for every pattern of 0, 1 and more actors in its clips, and the
    compiler gives up after a few.
    """
    backbone, head = torch.compile(model.backbone), torch.compile(model.head)
    return ActionDetector(cast(Backbone, backbone), cast(ActionHead, head))


def resume(run: Run, saved: Saved, report: Report) -> Position:
    """Bring a run to where a checkpoint of it is.

    Raises:
        ConfigError: if that is of a run with other data or processes.
    """
    state = saved.state
    require_same_facts(state["facts"], run.facts, run.folder.root)
    run.learner.load_state_dict(state)
    set_random_state(state["random_states"][run.processes.rank], run.processes.device)
    position = position_of(state)
    report.note(f"going on after step {position.step}, in epoch {position.epoch + 1}, from {saved.path}")
    return position


def save(run: Run, position: Position, log: RunLog) -> None:
    """Write a checkpoint of the run.

    Raises:
        OutputError: if it cannot be written; those that there are stay.
    """
    random_states = run.processes.gather(random_state(run.processes.device))

    def write() -> None:
        log.sync()
        config, facts = config_as_dict(run.config), dict(run.facts)
        architecture = dict(run.learner.model.architecture)
        surroundings = {
            "config": config,
            "facts": facts,
            "architecture": architecture,
            "random_states": random_states,
        }
        run.folder.save(as_state(run.learner, position, surroundings))

    run.processes.on_main(write)


def validate(
    run: Run, position: Position, report: Report, stop_requested: Callable[[], bool]
) -> tuple[Evaluation | None, bool]:
    """Measure the model at the end of an epoch, if it is time.

    Returns:
        The evaluation, if there was one, and whether it was broken off since the run was asked to stop.
    """
    config, epochs_done = run.config, position.epoch + 1
    is_due = epochs_done % max(config.run.validate_every, 1) == 0 or epochs_done == config.optimization.epochs
    if run.validation is None or not is_due:
        return None, False
    _share_statistics(run)
    views = max(len(config.data.eval_scales), 1)
    with report.progress("validation", len(run.validation.dataset) * views) as bar:
        evaluation = evaluate(
            run.learner.result,
            run.validation.dataset,
            run.validation.folder,
            config.data.val_split,
            run.processes,
            num_workers=config.data.num_workers,
            precision=config.optimization.precision,
            flips=config.data.eval_flips,
            scales=config.data.eval_scales,
            progress=lambda done, _total: bar.update(done),
            stop_requested=stop_requested,
        )
    return evaluation, evaluation is None


def _share_statistics(run: Run) -> None:
    """Give all processes the batch statistics of the first, which are those that are saved."""
    if run.processes.world_size > 1:
        for buffer in run.learner.result.buffers():
            dist.broadcast(buffer, src=0)


def write_weights(run: Run, *, is_best: bool) -> None:
    """Write ``last.pth``, and ``best.pth`` too if these weights are the best.

    Raises:
        CheckpointError: if that is not possible.
    """

    def write() -> None:
        for path in (run.folder.last, run.folder.best)[: 1 + is_best]:
            save_detector(path, run.learner.result, run.dataset.categories, overwrite=True)

    run.processes.on_main(write)
