"""What a run is made of between two steps: where it stands, what it has learnt, and its random numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from acrn_zoo.engine.ema import averaged_detector
from acrn_zoo.models import ActionDetector

FORMAT = "acrn_zoo training run"
FORMAT_VERSION = 2


@dataclass
class Position:
    """Where a run stands: between two steps.

    Args:
        epoch: the one that is being trained, from 0 on.
        step: steps of the optimizer that are done, over all epochs.
        step_of_epoch: those of this epoch.
        loss: sum over the steps of this epoch.
        seconds: spent on them.
        waiting: those of them in which the process waited for data that waited longest.
        best: the highest mAP of all validations so far; None before the first.
    """

    epoch: int = 0
    step: int = 0
    step_of_epoch: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    waiting: float = 0.0
    best: float | None = None

    def add_step(self, loss: float, seconds: float, waiting: float) -> None:
        """Count a step."""
        self.step += 1
        self.step_of_epoch += 1
        self.loss += loss
        self.seconds += seconds
        self.waiting += waiting

    def begin_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self.step_of_epoch, self.loss, self.seconds, self.waiting = 0, 0.0, 0.0, 0.0


@dataclass(frozen=True, eq=False)
class Learner:
    """All that changes when a step is made.

    Args:
        model: the weights.
        optimizer: of their parameters.
        scaler: of float16's losses; does nothing in other precisions.
        average: the moving average of the model, if there is one.
    """

    model: ActionDetector
    optimizer: Optimizer
    scaler: GradScaler
    average: AveragedModel | None

    @property
    def result(self) -> ActionDetector:
        """The model that is evaluated and given out: the averaged one, if there is an average."""
        return self.model if self.average is None else averaged_detector(self.average)

    def step(self) -> None:
        """Move the weights along their gradients, which are gone afterwards, and the average after them.

        Gradients that float16 cannot hold leave the weights alone.
        """
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, where they are; not copied."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of this process's random numbers that a step may draw: PyTorch's, here and on its GPU.

    Nothing in a step draws from Python's or NumPy's own generators; what is random in a sample depends on seed, epoch
    and index.
    """
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": on_gpu}


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Take over what :func:`random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


def position_of(state: Mapping[str, Any]) -> Position:
    """Where the run of a checkpoint stands."""
    return Position(**state["position"])


def as_state(learner: Learner, position: Position, surroundings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint.

    Args:
        learner: what has been learnt.
        position: where the run stands.
        surroundings: further entries, tensors and plain values.
    """
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "position": asdict(position),
        **learner.state_dict(),
        **surroundings,
    }
