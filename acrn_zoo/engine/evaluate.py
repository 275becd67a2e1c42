"""A model on the keyframes of a dataset, shared out over the processes of a run; the mAP of what it says.

Every keyframe goes through the model by itself, as published, so that what is said about it does not depend on its
neighbours. Its people come from the dataset. The processes take turns; nothing is done twice and nothing is filled
up, and the result is that of one process to the last bit (on the same hardware, with as many threads each).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from acrn_zoo.boxes import flip_boxes
from acrn_zoo.data.batch import Batch
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.data.loading import create_loader
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.engine.distributed import Processes, unread_clips
from acrn_zoo.engine.settings import Precision
from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.ava import AvaEvaluator, AvaResult, named_metrics
from acrn_zoo.evaluation.ground_truth import GroundTruth, read_ground_truth
from acrn_zoo.evaluation.rules import EvaluationError
from acrn_zoo.files import require_writable
from acrn_zoo.models import ActionDetector
from acrn_zoo.structures import Keyframe
from acrn_zoo.tables import write_table

THRESHOLD = 0.002
"""Scores count if they are above it: what the published results were written with."""

BOX_DIGITS = 6  # of fractions of the frame: a five-hundredth of a pixel
AGREE_EVERY = 10  # steps after which several processes ask each other whether to stop


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    Args:
        metrics: ``mAP``, and ``AP/<category>`` of every class that is evaluated (NaN for one that is not annotated).
        result: what they are made of.
        num_keyframes: how many were looked at.
        seconds: from the first file that was read to the last that was written.
    """

    metrics: dict[str, float]
    result: AvaResult
    num_keyframes: int
    seconds: float


@dataclass(frozen=True, eq=False)
class _Prediction:
    """One keyframe: boxes ``[R, 4]``, fractions of the frame, and scores ``[R, K]`` float32."""

    keyframe: Keyframe
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]


def never() -> bool:
    """No: the answer of somebody who does not ask to stop."""
    return False


def _silent(_done: int, _total: int) -> None:
    pass


def evaluate(
    model: ActionDetector,
    dataset: EvaluationDataset,
    folder: DatasetFolder,
    split: str,
    processes: Processes,
    *,
    num_workers: int = 0,
    precision: Precision = "float32",
    flips: bool = False,
    scales: Sequence[int] = (),
    out: Path | None = None,
    overwrite: bool = False,
    top: int | None = None,
    threshold: float = THRESHOLD,
    progress: Callable[[int, int], None] = _silent,
    stop_requested: Callable[[], bool] = never,
) -> Evaluation | None:
    """Evaluate a model on one part of a dataset folder by the official rule.

    The mAP is that of the rows that ``out`` holds, or would hold: for every person the evaluated actions whose score
    is above the threshold, boxes with six digits, scores with those that float32 needs. So ``acrn-zoo score OUT
    --ground-truth DIR`` gives the very same numbers.

    The model's weights, its modes and the random numbers of the program are as before afterwards. Every process has
    to call this, and gets the same answer.

    Args:
        model: on its device. It is put in evaluation mode meanwhile.
        dataset: the keyframes, their clips and people.
        folder: the dataset folder, which tells the classes that count.
        split: the part of it that ``dataset`` was made from.
        processes: those that share the work.
        num_workers: processes that decode, for each of these.
        precision: of the model's arithmetic; below float32, under autocast.
        flips: look at every clip mirrored, too; scores are the mean.
        scales: look at every clip with its shorter side resized to each of these pixels, in place of the dataset's
            own size; scores are the mean.
        out: the CSV file of predictions in AVA's form to write, if any.
        overwrite: replace it if it exists.
        top: at most so many actions of a person, the best ones; all of them if None.
        threshold: only actions whose score is above it.
        progress: called with the keyframes that are done and their number, each counted once a scale.
        stop_requested: asked now and then whether to give up.

    Returns:
        The evaluation; None if one of the processes was asked to stop.

    Raises:
        UserError: in every process, if a file cannot be read or written, or the model knows other actions than the
            dataset.
        ValueError: if ``top`` is less than 1.
    """
    if top is not None and top < 1:
        raise ValueError(f"top is {top}, expected at least 1 action a person")
    started = time.perf_counter()
    files = folder.split(split)
    truth = read_ground_truth(files.annotations, folder.evaluated_label_map, files.excluded)
    _require_same_actions(model, folder)
    if out is not None:
        processes.on_main(lambda: require_writable(out, overwrite=overwrite))
    views = [replace(dataset, transform=ClipTransform(short_side)) for short_side in scales] or [dataset]
    with _evaluation_mode(model), _arithmetic(model, precision):
        own = _predict(model, views, processes, num_workers, flips, progress, stop_requested)
    if own is None:
        return None
    shards = processes.gather(own)

    def conclude() -> Evaluation:
        predictions = _table(truth, model.num_classes, shards, top, threshold)
        result = truth.evaluate(predictions)
        if out is not None:
            write_table(out, predictions)
        metrics = named_metrics(result, truth.label_map)
        return Evaluation(metrics, result, len(dataset), time.perf_counter() - started)

    return processes.on_main(conclude)


def _require_same_actions(model: ActionDetector, folder: DatasetFolder) -> None:
    """Refuse numbers that would be of other actions."""
    advice = "Give weights that were trained on this dataset, or train them with `acrn-zoo train`"
    if model.num_classes != folder.label_map.num_columns:
        raise EvaluationError(
            f"The model knows {model.num_classes} actions, and the dataset {folder.name!r} has "
            f"{folder.label_map.num_columns}. {advice}"
        )
    for number, name in folder.evaluated_label_map.names.items():
        if model.categories is not None and model.categories[number - 1] != name:
            raise EvaluationError(
                f"Action {number} is {model.categories[number - 1]!r} to the model, and {name!r} to the dataset "
                f"{folder.name!r}. {advice}"
            )


@contextmanager
def _evaluation_mode(model: ActionDetector) -> Iterator[None]:
    """No dropout, no batch statistics, no gradients; each module as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, is_training in modes:
            module.training = is_training


def _arithmetic(model: ActionDetector, precision: Precision) -> AbstractContextManager[object]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(_device_of(model).type, getattr(torch, precision))


def _device_of(model: ActionDetector) -> torch.device:
    return next(model.parameters()).device


def _predict(
    model: ActionDetector,
    views: list[EvaluationDataset],
    processes: Processes,
    num_workers: int,
    flips: bool,
    progress: Callable[[int, int], None],
    stop_requested: Callable[[], bool],
) -> list[_Prediction] | None:
    """This process's share of the keyframes, seen in every view; None if a process was asked to stop."""
    num_keyframes, num_processes = len(views[0]), processes.world_size
    own = [[index] for index in range(processes.rank, num_keyframes, num_processes)]
    agree_every = 1 if num_processes == 1 else AGREE_EVERY
    found: dict[int, _Prediction] = {}
    failure: UserError | None = None
    for number, view in enumerate(views):
        is_gpu = _device_of(model).type == "cuda"
        batches = iter(create_loader(view, own, num_workers=num_workers, pin_memory=is_gpu))
        for step in range(-(-num_keyframes // num_processes)):
            if step % agree_every == 0 and _is_stopped(processes, failure, stop_requested()):
                return None
            try:
                # In the last step there may be none for this process.
                batch = next(batches, None) if failure is None else None
            except UserError as error:  # raised once the others know: they would wait for this process
                failure, batch = error, None
            if batch is not None:
                _add(found, batch, _scores(model, batch, flips) / len(views))
            done = min((step + 1) * num_processes, num_keyframes)
            progress(number * num_keyframes + done, len(views) * num_keyframes)
    return None if _is_stopped(processes, failure, False) else list(found.values())


def _is_stopped(processes: Processes, failure: UserError | None, is_requested: bool) -> bool:
    """Whether a process was asked to stop; called by all of them.

    Raises:
        UserError: in every process, if one of them cannot read its clips.
    """
    failures, requests = zip(*processes.gather_numbers([failure is not None, is_requested]), strict=True)
    if any(failures):
        raise failure or unread_clips(failures)
    return any(requests)


def _add(found: dict[int, _Prediction], batch: Batch, scores: Tensor) -> None:
    """Note the scores ``[R, K]`` of a keyframe, or add them to those of its other views."""
    (index,) = batch.indices
    height, width = batch.clip_size
    own = scores.cpu().numpy()
    if index in found:
        found[index] = replace(found[index], scores=found[index].scores + own)
        return
    fractions = batch.boxes[0].numpy().astype(np.float64) / [width, height, width, height]
    found[index] = _Prediction(batch.keyframes[0], fractions.round(BOX_DIGITS), own)


def _scores(model: ActionDetector, batch: Batch, flips: bool) -> Tensor:
    """Action scores ``[R, K]`` float32; with ``flips`` the mean of those of the clips and of the mirrored ones."""
    if not sum(map(len, batch.boxes)):
        return torch.zeros(0, model.num_classes)
    placed = batch.to(_device_of(model), non_blocking=True)
    clips = placed.clips
    scores = model(clips, placed.boxes).float().sigmoid()
    if not flips:
        return scores
    mirrored = [flip_boxes(boxes, batch.clip_size[1]) for boxes in placed.boxes]
    return (scores + model(clips.flip(-1), mirrored).float().sigmoid()) / 2


def _table(
    truth: GroundTruth,
    num_classes: int,
    shards: list[list[_Prediction]],
    top: int | None,
    threshold: float,
) -> pd.DataFrame:
    """What is predicted, as it is written and evaluated: keyframes in order, whichever process has seen them."""
    evaluator = AvaEvaluator(truth.annotations, truth.label_map, num_classes=num_classes, excluded=truth.excluded)
    for shard in shards:
        for one in shard:
            evaluator.update(one.keyframe.video_id, one.keyframe.timestamp, one.boxes, one.scores)
    table = evaluator.predictions()
    scores = table["score"].to_numpy().reshape(-1, len(truth.label_map.ids))
    is_kept = scores > threshold
    if top is not None:
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        is_best = np.zeros_like(is_kept)
        np.put_along_axis(is_best, best, True, axis=1)
        is_kept &= is_best
    table = table[is_kept.ravel()].reset_index(drop=True)
    # With the fewest digits that are still the same in float32: a third of what the file would take.
    shortest = table["score"].to_numpy().astype(np.float32).astype(str).astype(np.float64)
    return table.assign(score=shortest)
