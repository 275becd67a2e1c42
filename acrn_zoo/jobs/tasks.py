"""Training and evaluation as tasks of jobs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acrn_zoo.cli.evaluate import conclude
from acrn_zoo.engine.config import Config
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.evaluation_run import OF_RECIPE, Request, evaluate_request
from acrn_zoo.engine.logs import TerminalReport
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.engine.train import train


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

    def progress(self) -> int:
        """Steps of its newest checkpoint, from which it goes on."""
        return RunFolder(self.config.run.out).num_steps

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        """Train until all epochs are done, or this is asked to stop."""
        return train(self.config, processes, report=TerminalReport(), stop_requested=stop_requested).is_finished


@dataclass(frozen=True)
class EvaluateTask:
    """Evaluate a detector; one that was asked to stop begins anew.

    Args:
        recipe: its name.
        request: what is evaluated, and how; with ``overwrite``, as an earlier start may have left files.
    """

    recipe: str
    request: Request

    @property
    def device(self) -> str:
        """What it computes on."""
        return self.request.device

    def progress(self) -> None:
        """None: it writes when it is done."""

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        """Evaluate, print and write."""
        found = evaluate_request(
            self.recipe, self.request, processes, report=TerminalReport(), stop_requested=stop_requested
        )
        if found is not None and processes.is_main:
            conclude(self.request, found)
        return found is not None


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
