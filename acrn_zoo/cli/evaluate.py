"""``acrn-zoo evaluate``: mAP of a detector on a dataset."""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.recipe import add_recipe
from acrn_zoo.cli.score_table import means_of_groups, print_answer, print_classes, print_groups, score_as_dict
from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.data.loading import explained_workers
from acrn_zoo.engine.build import create_evaluation_dataset, explain_other_clips, load_weights, read_folder
from acrn_zoo.engine.config import Config, DataConfig
from acrn_zoo.engine.distributed import Processes, processes
from acrn_zoo.engine.evaluate import THRESHOLD, Evaluation, evaluate
from acrn_zoo.engine.logs import Silence, TerminalReport
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.engine.settings import Precision
from acrn_zoo.engine.values import ConfigError, at_least, require, settle
from acrn_zoo.files import replacing, require_writable
from acrn_zoo.models import ActionDetector
from acrn_zoo.models.backbone import TemporalPool

OF_RECIPE = (
    "data",
    "clip_length",
    "frame_interval",
    "min_score",
    "people",
    "eval_short_side",
    "eval_flips",
    "eval_scales",
    "num_workers",
    "decoder",
)
"""Flags that are also flags of ``train``; the recipe gives their defaults."""


@dataclass(frozen=True)
class Request:
    """What is evaluated, and how.

    Args:
        weights: the detector: a record's name, such as AVA22_V1 or mini, or the path of a checkpoint: a run's best.pth.
        data: the dataset folder, with its dataset.json.
        split: the part of it to evaluate on.
        out: write the predictions to this CSV file, in AVA's form.
        json: write all numbers at full precision to this file.
        overwrite: replace the files of an earlier run.
        top: at most so many actions of a person count, and are written; all of them if None.
        threshold: only actions whose score is above it count, and are written.
        temporal_pool: for a checkpoint that does not tell how it pools over time; avg if None.
        clip_length: frames of a clip.
        frame_interval: seconds from one frame of a clip to the next.
        min_score: proposals below this score of the person detector are left out.
        people: who is classified: those whom a detector found, or those who are annotated.
        eval_short_side: shorter side of the frames, in pixels.
        eval_flips: average the scores with those of the mirrored clip.
        eval_scales: average the scores over these shorter sides, in place of the one above.
        num_workers: of every process, to read clips; 0 reads them in the process itself.
        decoder: what decodes the videos.
        precision: of the computation; the parameters are float32.
        device: auto, cpu or cuda; auto takes a GPU if there is one.
    """

    weights: str | None
    data: Path | None
    split: str
    clip_length: int
    frame_interval: float
    min_score: float
    people: Literal["proposals", "annotated"]
    eval_short_side: int
    eval_flips: bool
    eval_scales: tuple[int, ...]
    num_workers: int
    decoder: Literal["pyav", "torchcodec"]
    precision: Precision
    out: Path | None = None
    json: Path | None = None
    overwrite: bool = False
    top: int | None = None
    threshold: float = THRESHOLD
    temporal_pool: TemporalPool | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        settle(self)
        self.data_config()  # whose checks are made
        at_least(self, 1, "top")
        require(self, "a number of 0 to 1", lambda value: 0 <= value <= 1, "threshold")

    def data_config(self) -> DataConfig:
        """The settings of the engine; what they say of training is of no account."""
        own: dict[str, Any] = {name: getattr(self, name) for name in OF_RECIPE}
        return DataConfig(**own, val_split=self.split, jitter=0.0)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Evaluate a detector on a dataset folder: mAP at IoU 0.5, equal to AVA's official evaluation. The recipe says "
        "how clips are read; the weights say how the model is built."
    )
    add_recipe(verb, parse_flags)


def parse_flags(recipe: str, flags: list[str]) -> Request:
    """What the flags of the recipe ask for.

    Raises:
        SystemExit: with status 2, if a flag is unknown or has a value that it cannot have; with 0 after ``--help``.
    """
    config = RECIPES[recipe]()
    of_recipe: dict[str, Any] = {name: getattr(config.data, name) for name in OF_RECIPE}
    default = Request(weights=None, split=config.data.val_split, precision=config.optimization.precision, **of_recipe)
    return tyro.cli(
        Request,
        default=default,
        prog=f"acrn-zoo evaluate {recipe}",
        description=f"Evaluate a detector on clips as the recipe {recipe} reads them.",
        args=flags,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def run(options: argparse.Namespace, _interruption: Interruption) -> None:
    """Evaluate, print, write."""
    request: Request = options.parsed
    config = replace(RECIPES[options.recipe](), data=request.data_config())
    with processes(request.device) as group, explained_workers():
        if request.json is not None:
            path = request.json
            group.on_main(lambda: require_writable(path, overwrite=request.overwrite))
        found = _evaluate(request, config, group)
        if group.is_main:
            _conclude(found, read_folder(config), request)


def _evaluate(request: Request, config: Config, group: Processes) -> Evaluation:
    if request.weights is None:
        raise ConfigError("--weights is missing: name a record, such as AVA22_V1, or a checkpoint: a run's best.pth")
    dataset, folder = create_evaluation_dataset(config), read_folder(config)
    model = _load(request.weights, request.temporal_pool, group).to(group.device)
    report = TerminalReport() if group.is_main else Silence()
    if others := explain_other_clips(model.preprocessing, config.data):
        report.note(others)
    with report.progress("keyframes", len(dataset) * max(len(request.eval_scales), 1)) as bar:
        found = evaluate(
            model,
            dataset,
            folder,
            request.split,
            group,
            num_workers=request.num_workers,
            precision=request.precision,
            flips=request.eval_flips,
            scales=request.eval_scales,
            out=request.out,
            overwrite=request.overwrite,
            top=request.top,
            threshold=request.threshold,
            progress=lambda done, _total: bar.update(done),
        )
    assert found is not None, "nobody was asked to stop"
    return found


def _load(weights: str, temporal_pool: TemporalPool | None, group: Processes) -> ActionDetector:
    """The first process fetches the weights, the others find them there."""
    models: list[ActionDetector] = []

    def load() -> None:
        models.append(load_weights(weights, temporal_pool=temporal_pool))

    group.on_main(load)
    if not models:
        load()
    return models[0]


def _conclude(found: Evaluation, folder: DatasetFolder, request: Request) -> None:
    labels = folder.evaluated_label_map
    groups = means_of_groups(found.result, labels)
    print_classes(found.result, labels)
    print_groups(groups)
    print(f"{found.num_keyframes} keyframes in {found.seconds:.1f} s, people: {request.people}")
    if request.json is not None:
        content = score_as_dict(found.result, groups, "official")
        with replacing(request.json) as partial:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if written := [str(path) for path in (request.out, request.json) if path is not None]:
        print(f"Written: {'  '.join(written)}")
    is_excluding = folder.split(request.split).excluded is not None
    print_answer(found.result, None, "official rule" + ", excluded keyframes left out" * is_excluding)
