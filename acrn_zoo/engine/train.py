"""The training loop.

A step of the optimizer is that of one batch of all its clips, however these are divided into parts that are computed
one after the other (accumulation) or by several processes: the loss is the mean over all labelled actors of the
step. Batch statistics are the exception: they are those of a part, unless SyncBatchNorm shares them.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice

from torch.nn.utils import clip_grad_norm_

from acrn_zoo.data.batch import Batch
from acrn_zoo.data.loading import explained_workers
from acrn_zoo.engine.config import Config, write_config
from acrn_zoo.engine.distributed import Processes, unread_clips
from acrn_zoo.engine.evaluate import Evaluation, never
from acrn_zoo.engine.finite import Outcome, require_finite
from acrn_zoo.engine.learner import Position
from acrn_zoo.engine.logs import EpochRecord, Progress, Report, RunLog, Silence, StepRecord, memory_bytes, open_log
from acrn_zoo.engine.run import Run, create_run, find_saved, finished_result, resume, save, validate, write_weights
from acrn_zoo.engine.schedule import learning_rate
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.errors import UserError
from acrn_zoo.models.losses import action_loss


@dataclass(frozen=True)
class TrainingResult:
    """How a call has ended.

    Args:
        is_finished: whether all epochs are done; else the same call goes on with the run.
        steps: steps of the optimizer that are done.
        metrics: of the last validation; empty if there was none, or the run is not finished.
    """

    is_finished: bool
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)


def train(
    config: Config, processes: Processes, *, report: Report, stop_requested: Callable[[], bool] = never
) -> TrainingResult:
    """Train as the settings say; a run that its folder holds already goes on as if it had never stopped.

    Every process has to call this.

    Args:
        config: the settings; ``run.out`` is the folder.
        processes: who trains together.
        report: is told how it goes; of the first process only.
        stop_requested: asked after every step whether to stop. If one process says so, all of them do, once the run
            is saved.

    Raises:
        UserError: if something outside is wrong: settings, files, the disk, a loss that is not finite, a folder that
            another process uses or that holds a run with other settings. Where a process cannot read its clips, all
            of them raise one, once the steps that are done are saved.
    """
    report = report if processes.is_main else Silence()
    folder = RunFolder(config.run.out, config.run.keep_last)
    with ExitStack() as stack:
        processes.on_main(lambda: stack.enter_context(folder.claimed()))
        done = processes.on_main(lambda: finished_result(folder, config))
        if done is not None:
            report.note(f"the run in {config.run.out} is finished: there is nothing to do")
            return TrainingResult(True, *done)
        run, position = _start(config, processes, folder, report)
        processes.on_main(lambda: write_config(folder.config, config))
        log = stack.enter_context(_open_log(run, position, report))
        stack.enter_context(explained_workers())
        return _train_epochs(run, position, log, report, stop_requested)


def _start(config: Config, processes: Processes, folder: RunFolder, report: Report) -> tuple[Run, Position]:
    """A run, where it stands; its checkpoint, as large as all that learns, is held no longer than this takes."""
    saved = find_saved(config, processes, folder, report)
    run = create_run(config, processes, folder, report, saved)
    return run, Position() if saved is None else resume(run, saved, report)


def _open_log(run: Run, position: Position, report: Report) -> AbstractContextManager[RunLog]:
    if not run.processes.is_main:
        return nullcontext(RunLog())
    return open_log(
        run.folder.log,
        epoch=position.epoch,
        step=position.step,
        tensorboard=run.folder.tensorboard if run.config.run.tensorboard else None,
        note=report.note,
    )


def _train_epochs(
    run: Run, position: Position, log: RunLog, report: Report, stop_requested: Callable[[], bool]
) -> TrainingResult:
    """All epochs that are left, each with its validation and its weights."""
    num_epochs = run.config.optimization.epochs
    metrics: dict[str, float] = {}
    with report.progress("training", num_epochs * len(run.sampler), position.step) as bar:
        while position.epoch < num_epochs:
            run.dataset.set_epoch(position.epoch)
            run.sampler.set_epoch(position.epoch, position.step_of_epoch)
            with closing(iter(run.loader)) as batches:
                is_stopped = train_epoch(run, batches, position, log, bar, stop_requested)
            evaluation = None
            if not is_stopped:
                evaluation, is_stopped = validate(run, position, report, stop_requested)
            if is_stopped:
                report.note(f"stopped after step {position.step}; the same command goes on from there")
                return TrainingResult(False, position.step)
            metrics = _end_epoch(run, position, evaluation, log, report)
            position.begin_epoch()
    run.processes.on_main(lambda: run.folder.finish(position.step, metrics, run.facts))
    return TrainingResult(True, position.step, metrics)


def train_epoch(
    run: Run,
    batches: Iterator[Batch],
    position: Position,
    log: RunLog,
    bar: Progress,
    stop_requested: Callable[[], bool],
) -> bool:
    """Train what is left of an epoch.

    Args:
        run: its parts.
        batches: what is left of the epoch's data.
        position: where the run stands; moved on with every step.
        log: is given every step.
        bar: likewise.
        stop_requested: see :func:`train`.

    Returns:
        Whether the run was asked to stop before the epoch's end, or just there. It is saved in any case.

    Raises:
        UserError: see :func:`train`.
    """
    optimization, learner, processes = run.config.optimization, run.learner, run.processes
    learner.model.train()
    is_stopped = False
    while position.step_of_epoch < len(run.sampler) and not is_stopped:
        started = time.perf_counter()
        parts, waited = _fetch_step(run, batches, position, log)
        rate = learning_rate(optimization, peak=run.peak, steps_per_epoch=len(run.sampler), step=position.step)
        for group in learner.optimizer.param_groups:
            group["lr"] = rate
        outcomes = []
        for number, (part, share) in enumerate(parts, start=1):
            batch = part.to(processes.device, non_blocking=True)
            with run.adding_gradients(is_last=number == len(parts)):
                with run.autocast():
                    logits = run.forward(run.clips(batch), batch.boxes)
                    loss = share * action_loss(
                        logits, batch.labels, alpha=optimization.focal_alpha, gamma=optimization.focal_gamma
                    )
                learner.scaler.scale(loss).backward()
            outcomes.append(Outcome(batch, logits.detach(), loss.detach()))
        learner.scaler.unscale_(learner.optimizer)
        norm = clip_grad_norm_(learner.model.parameters(), optimization.clip_gradient or math.inf)
        step_loss, step_norm = require_finite(outcomes, norm, learner, processes)
        learner.step()
        seconds = time.perf_counter() - started
        position.add_step(step_loss, seconds, waited)
        record = StepRecord(
            epoch=position.epoch,
            step=position.step,
            loss=step_loss,
            learning_rate=rate,
            gradient_norm=step_norm,
            clips_per_second=run.clips_per_step / seconds,
            waiting_share=waited / seconds,
            memory_bytes=memory_bytes(processes.device),
        )
        log.add_step(record)
        bar.update(position.step, f"epoch {position.epoch + 1} of {optimization.epochs}, {record}")
        is_stopped = processes.any(stop_requested())
        if is_stopped or position.step % run.config.run.save_every == 0 or position.step_of_epoch == len(run.sampler):
            save(run, position, log)
    return is_stopped


def _fetch_step(
    run: Run, batches: Iterator[Batch], position: Position, log: RunLog
) -> tuple[list[tuple[Batch, float]], float]:
    """The parts of the next step, and the seconds that the process waited for them that waited longest.

    With each part, how much its mean loss counts in that of the step: its share of the labelled actors. Times the
    number of processes, since DistributedDataParallel divides by it.

    Raises:
        UserError: in every process, if one of them cannot read its parts; the run is saved.
    """
    processes = run.processes
    parts: list[Batch] = []
    failure: UserError | None = None
    started = time.perf_counter()
    try:
        parts.extend(islice(batches, run.config.optimization.accumulation_steps))
    except UserError as error:  # raised below, once the others know: they would wait for this process
        failure = error
    waited = time.perf_counter() - started
    counts = [int((part.labels > 0).any(dim=1).sum()) for part in parts]
    totals, failures, waits = zip(*processes.gather_numbers([sum(counts), failure is not None, waited]), strict=True)
    if any(failures):
        if position.step_of_epoch > 0:  # else nothing was done since the run was saved
            save(run, position, log)
        raise failure or unread_clips(failures)
    shares = [count * processes.world_size / max(sum(totals), 1) for count in counts]
    return list(zip(parts, shares, strict=True)), max(waits)


def _end_epoch(
    run: Run, position: Position, evaluation: Evaluation | None, log: RunLog, report: Report
) -> dict[str, float]:
    """Write the weights and say how the epoch was; returns the metrics, if there are any."""
    metrics = {} if evaluation is None else evaluation.metrics
    is_best = run.validation is None and position.best is None
    if evaluation is not None:
        # It is not a number where no class of the split has examples.
        is_best = position.best is None or math.isnan(position.best) or metrics["mAP"] > position.best
        position.best = metrics["mAP"] if is_best else position.best
    write_weights(run, is_best=is_best)
    record = EpochRecord(
        epoch=position.epoch,
        step=position.step,
        loss=position.loss / len(run.sampler),
        seconds=position.seconds,
        clips_per_second=run.clips_per_step * len(run.sampler) / position.seconds,
        waiting_share=position.waiting / position.seconds,
        memory_bytes=memory_bytes(run.processes.device),
        metrics=None if evaluation is None else metrics,
        validation_seconds=None if evaluation is None else evaluation.seconds,
    )
    log.add_epoch(record)
    best = ", the best so far" if is_best and evaluation is not None else ""
    report.note(f"epoch {position.epoch + 1} of {run.config.optimization.epochs}: {record}{best}")
    return metrics
