"""An evaluation from its settings to its numbers, as ``acrn-zoo evaluate`` and jobs carry it out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from acrn_zoo.data.loading import explained_workers
from acrn_zoo.engine.build import (
    create_evaluation_dataset,
    explain_other_clips,
    load_weights,
    read_folder,
    require_weights,
)
from acrn_zoo.engine.config import DataConfig
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.evaluate import THRESHOLD, Evaluation, evaluate, never
from acrn_zoo.engine.logs import Report, Silence
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.engine.settings import Precision
from acrn_zoo.engine.values import at_least, require, settle
from acrn_zoo.files import require_writable
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
"""Fields that are also settings of a training; the recipe gives their defaults."""


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


@explained_workers()
def evaluate_request(
    recipe: str,
    request: Request,
    processes: Processes,
    *,
    report: Report,
    stop_requested: Callable[[], bool] = never,
) -> Evaluation | None:
    """Load what a request names, evaluate it, and write its predictions if that is asked for.

    Every process has to call this, and gets the same answer.

    Args:
        recipe: the name of the one that gives the settings which the request has not.
        request: what is evaluated, and how. Whether ``json`` may be written is looked at first; it is not written.
        processes: who evaluates together.
        report: is told how it goes; of the first process only.
        stop_requested: asked now and then whether to give up.

    Returns:
        The evaluation; None if one of the processes was asked to stop.

    Raises:
        UserError: in every process, if something is not named, missing or wrong.
    """
    if (path := request.json) is not None:
        processes.on_main(lambda: require_writable(path, overwrite=request.overwrite))
    weights = require_weights(request.weights)
    report = report if processes.is_main else Silence()
    config = replace(RECIPES[recipe](), data=request.data_config())
    dataset, folder = create_evaluation_dataset(config), read_folder(config)
    model = _load(weights, request.temporal_pool, processes).to(processes.device)
    if others := explain_other_clips(model.preprocessing, config.data):
        report.note(others)
    with report.progress("keyframes", len(dataset) * max(len(request.eval_scales), 1)) as bar:
        return evaluate(
            model,
            dataset,
            folder,
            request.split,
            processes,
            num_workers=request.num_workers,
            precision=request.precision,
            flips=request.eval_flips,
            scales=request.eval_scales,
            out=request.out,
            overwrite=request.overwrite,
            top=request.top,
            threshold=request.threshold,
            progress=lambda done, _total: bar.update(done),
            stop_requested=stop_requested,
        )


def _load(weights: str, temporal_pool: TemporalPool | None, processes: Processes) -> ActionDetector:
    """The first process fetches the weights, the others find them there."""
    loaded: list[ActionDetector] = []
    processes.on_main(lambda: loaded.append(load_weights(weights, temporal_pool=temporal_pool)))
    return loaded[0] if loaded else load_weights(weights, temporal_pool=temporal_pool)
