"""The learning rate: how high it is for a number of clips, and how it goes during a run. Pure functions."""

import math

from acrn_zoo.engine.config import OptimizationConfig
from acrn_zoo.engine.values import flag_of


def scaled_learning_rate(optimization: OptimizationConfig, num_processes: int) -> float:
    """The highest learning rate of a run.

    The linear scaling rule (Goyal et al., 2017): as many times higher as a step has more clips. The published
    recipes agree on 0.0015625 a clip: 0.1 for 8 processes of 8 clips, 0.075 for 8 of 6.

    Args:
        optimization: where ``learning_rate`` is given, that is it, and nothing is scaled.
        num_processes: how many train together.
    """
    if optimization.learning_rate is not None:
        return optimization.learning_rate
    return optimization.learning_rate_per_clip * clips_per_step(optimization, num_processes)


def clips_per_step(optimization: OptimizationConfig, num_processes: int) -> int:
    """The clips of one step of the optimizer, over all processes."""
    return num_processes * optimization.clips_per_process * optimization.accumulation_steps


def explain_learning_rate(optimization: OptimizationConfig, num_processes: int) -> str:
    """Where :func:`scaled_learning_rate` comes from, in one line."""
    peak = f"learning rate {scaled_learning_rate(optimization, num_processes):g}"
    if optimization.learning_rate is not None:
        clips = _counted(clips_per_step(optimization, num_processes), "clip")
        return f"{peak} as given with {flag_of('learning_rate')}; it is not scaled to the {clips} of a step"
    counts = (
        _counted(num_processes, "process", "processes"),
        _counted(optimization.clips_per_process, "clip"),
        _counted(optimization.accumulation_steps, "accumulation step"),
    )
    return f"{peak} = {optimization.learning_rate_per_clip:g} a clip x {' x '.join(counts)}"


def learning_rate(optimization: OptimizationConfig, *, peak: float, steps_per_epoch: int, step: int) -> float:
    """The learning rate of one step.

    With W steps of warm-up, S steps in all and f = ``warmup_start``:

    - ``warmup_then_cosine`` (MMAction2 1.x): ``peak (f + (1 - f) step / (W - 1))`` up to step W - 1, where it
      is the peak; from then on ``peak / 2 (1 + cos(pi (step - W) / (S - W)))``.
    - ``cosine_times_warmup`` (MMAction2 0.x): ``peak / 2 (1 + cos(pi step / S))``, before step W times
      ``f + (1 - f) step / W``.

    Args:
        optimization: the schedule.
        peak: the highest learning rate, :func:`scaled_learning_rate`.
        steps_per_epoch: steps of the optimizer in an epoch.
        step: which one, from 0 on, over all epochs.

    Raises:
        ValueError: if there is no such step.
    """
    num_steps = optimization.epochs * steps_per_epoch
    if not 0 <= step < num_steps:
        raise ValueError(f"step is {step}, expected 0 to {num_steps - 1}")
    warmup = round(optimization.warmup_epochs * steps_per_epoch)
    start = optimization.warmup_start
    if optimization.schedule == "warmup_then_cosine":
        if step < warmup:
            return peak * (start + (1 - start) * step / max(warmup - 1, 1))
        return _cosine(peak, (step - warmup) / (num_steps - warmup))
    factor = start + (1 - start) * step / warmup if step < warmup else 1.0
    return factor * _cosine(peak, step / num_steps)


def _cosine(peak: float, progress: float) -> float:
    """From ``peak`` at progress 0 to 0 at progress 1."""
    return peak / 2 * (1 + math.cos(math.pi * progress))


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
