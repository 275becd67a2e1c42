"""The learning rate against what MMEngine gives, and against MMCV's rule written out."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from acrn_zoo.engine.config import OptimizationConfig
from acrn_zoo.engine.recipes import slowfast_acrn_ava22, slowfast_acrn_ava_maximum
from acrn_zoo.engine.schedule import clips_per_step, explain_learning_rate, learning_rate, scaled_learning_rate

STEPS_PER_EPOCH = 10
NEW = slowfast_acrn_ava22().optimization
OLD = slowfast_acrn_ava_maximum().optimization

# Some of MMEngine's own numbers for the published recipe, 10 epochs of 10 steps.
GOLDEN = {
    0: 0.010000000000000002,
    1: 0.01473684210526316,
    18: 0.09526315789473687,
    19: 0.10000000000000003,
    20: 0.10000000000000003,
    21: 0.09996145181203618,
    60: 0.050000000000000024,
    99: 3.854818796385499e-05,
}


def rate(optimization: OptimizationConfig, step: int, peak: float = 0.1) -> float:
    return learning_rate(optimization, peak=peak, steps_per_epoch=STEPS_PER_EPOCH, step=step)


@pytest.mark.parametrize("step", GOLDEN)
def test_published_schedule(step: int) -> None:
    assert rate(NEW, step) == pytest.approx(GOLDEN[step], abs=1e-15, rel=0)


def test_whole_published_schedule(shared: Path) -> None:
    golden = json.loads((shared / "reference/acrn/goldens/lr_schedule.json").read_text())
    assert (golden["epoch_length"], golden["base_lr"]) == (STEPS_PER_EPOCH, 0.1)
    assert len(golden["lr"]) == NEW.epochs * STEPS_PER_EPOCH
    assert [rate(NEW, step) for step in range(100)] == pytest.approx(golden["lr"], abs=1e-15, rel=0)


@pytest.mark.parametrize("step", [0, 1, 10, 19, 20, 50, 99])
def test_older_schedule(step: int) -> None:
    cosine = 0.075 * 0.5 * (math.cos(math.pi * step / 100) + 1)
    missing = (1 - step / 20) * (1 - 0.1) if step < 20 else 0.0
    assert rate(OLD, step, peak=0.075) == pytest.approx(cosine * (1 - missing), abs=1e-15, rel=0)


@pytest.mark.parametrize("optimization", [NEW, OLD])
@pytest.mark.parametrize(("warmup", "first"), [(0.0, 1.0), (0.1, 0.1), (0.5, 0.1), (9.9, 0.1)])
def test_any_warmup(optimization: OptimizationConfig, warmup: float, first: float) -> None:
    optimization = replace(optimization, warmup_epochs=warmup)
    rates = [rate(optimization, step, peak=1.0) for step in range(100)]
    assert rates[0] == pytest.approx(first, rel=1e-15)
    assert all(0 < value <= 1 + 1e-15 for value in rates)


@pytest.mark.parametrize("step", [-1, 100])
def test_there_is_no_such_step(step: int) -> None:
    with pytest.raises(ValueError, match=f"step is {step}, expected 0 to 99"):
        rate(NEW, step)


@pytest.mark.parametrize(
    ("optimization", "num_processes", "clips", "expected"),
    [
        (NEW, 8, 64, 0.1),
        (OLD, 8, 48, 0.075),
        (NEW, 1, 8, 0.0125),
        (replace(NEW, accumulation_steps=8), 1, 64, 0.1),
        (replace(NEW, clips_per_process=2, accumulation_steps=4), 8, 64, 0.1),
        (replace(NEW, learning_rate=0.3), 8, 64, 0.3),
    ],
)
def test_linear_scaling(optimization: OptimizationConfig, num_processes: int, clips: int, expected: float) -> None:
    assert clips_per_step(optimization, num_processes) == clips
    assert scaled_learning_rate(optimization, num_processes) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("optimization", "num_processes", "expected"),
    [
        (NEW, 1, "learning rate 0.0125 = 0.0015625 a clip x 1 process x 8 clips x 1 accumulation step"),
        (
            replace(NEW, accumulation_steps=2),
            8,
            "learning rate 0.2 = 0.0015625 a clip x 8 processes x 8 clips x 2 accumulation steps",
        ),
        (
            replace(NEW, learning_rate=0.05),
            2,
            "learning rate 0.05 as given with --learning-rate; it is not scaled to the 16 clips of a step",
        ),
    ],
)
def test_explanation(optimization: OptimizationConfig, num_processes: int, expected: str) -> None:
    assert explain_learning_rate(optimization, num_processes) == expected
