"""Training and evaluation as tasks of jobs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from acrn_zoo.cli.evaluate import OF_RECIPE, Request
from acrn_zoo.cli.score_table import means_of_groups, print_answer, print_classes, print_groups, score_as_dict
from acrn_zoo.engine.build import create_evaluation_dataset, load_weights, read_folder
from acrn_zoo.engine.config import Config
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.evaluate import Evaluation, evaluate
from acrn_zoo.engine.logs import Report, Silence, TerminalReport
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.engine.train import train
from acrn_zoo.files import replacing
from acrn_zoo.models import ActionDetector


@dataclass(frozen=True)
class TrainTask:
    """Train, or go on training.

    Args:
        config: all settings; ``run.out`` is the folder.
    """

    config: Config

    @property
    def device(self) -> str:
        """What it computes on."""
        return self.config.run.device

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        """Train until all epochs are done, or this is asked to stop."""
        return train(self.config, processes, report=_report(processes), stop_requested=stop_requested).is_finished


@dataclass(frozen=True)
class EvaluateTask:
    """Evaluate a detector; one that was asked to stop begins anew.

    Args:
        recipe: its name.
        request: what is evaluated, and how. Its files are replaced.
    """

    recipe: str
    request: Request

    @property
    def device(self) -> str:
        """What it computes on."""
        return self.request.device

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        """Evaluate, print and write."""
        request, report = self.request, _report(processes)
        config = replace(RECIPES[self.recipe](), data=request.data_config())
        dataset, folder = create_evaluation_dataset(config), read_folder(config)
        model = self._load(processes).to(processes.device)
        with report.progress("keyframes", len(dataset) * max(len(request.eval_scales), 1)) as bar:
            found = evaluate(
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
                overwrite=True,
                top=request.top,
                threshold=request.threshold,
                progress=lambda done, _total: bar.update(done),
                stop_requested=stop_requested,
            )
        if found is not None and processes.is_main:
            self._conclude(found, config)
        return found is not None

    def _load(self, processes: Processes) -> ActionDetector:
        """The first process fetches the weights, the others find them there."""
        assert self.request.weights is not None, "the launcher has looked"
        weights, pool = self.request.weights, self.request.temporal_pool
        loaded: list[ActionDetector] = []
        processes.on_main(lambda: loaded.append(load_weights(weights, temporal_pool=pool)))
        return loaded[0] if loaded else load_weights(weights, temporal_pool=pool)

    def _conclude(self, found: Evaluation, config: Config) -> None:
        labels = read_folder(config).evaluated_label_map
        groups = means_of_groups(found.result, labels)
        print_classes(found.result, labels)
        print_groups(groups)
        if self.request.json is not None:
            content = score_as_dict(found.result, groups, "official")
            with replacing(self.request.json) as partial:
                partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        print_answer(found.result, None, "official rule")


def request_after(config: Config, out: Path) -> Request:
    """The evaluation that follows a training: of its best weights, on the split that it was validated on.

    Args:
        config: of the training.
        out: the folder for ``predictions.csv`` and ``score.json``.
    """
    return Request(
        weights=str(config.run.out / "best.pth"),
        split=config.data.val_split,
        precision=config.optimization.precision,
        device=config.run.device,
        out=out / "predictions.csv",
        json=out / "score.json",
        overwrite=True,
        **{name: getattr(config.data, name) for name in OF_RECIPE},
    )


def _report(processes: Processes) -> Report:
    return TerminalReport() if processes.is_main else Silence()
