"""How good the mini checkpoint is on a fixed small world, however it is computed; and what a short training reaches.

    python -m benchmarks.accuracy            measures, and records it in benchmarks/results/accuracy.json
    python -m pytest benchmarks/             holds it against what is recorded (benchmarks/test_accuracy.py)

Record anew when the checkpoint, the small world or its recipe was changed on purpose; a number that falls without such
a reason is a fault. It takes some ten minutes on two cores.
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from acrn_zoo.cli.train import parse_flags
from acrn_zoo.data.batch import Batch, collate
from acrn_zoo.data.synthetic.small_world import SmallWorld, write_small_world
from acrn_zoo.data.synthetic.world import FAMILIES
from acrn_zoo.engine.build import create_evaluation_dataset, read_folder
from acrn_zoo.engine.recipes import small_world
from acrn_zoo.engine.run import finished_result
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.evaluation.ava import AvaEvaluator
from acrn_zoo.evaluation.ground_truth import GroundTruth, read_ground_truth
from acrn_zoo.files import write_json
from acrn_zoo.models import ActionDetector
from acrn_zoo.ops.relation import relation as chosen_relation
from acrn_zoo.ops.relation_reference import relation_reference
from acrn_zoo.zoo import save_detector, slowfast_acrn_mini
from benchmarks.claims_report import group_mean
from benchmarks.machine import torch_machine

RECORD = Path(__file__).parent / "results" / "accuracy.json"

VALIDATION = SmallWorld(seed=20_18, splits={"val": 16}, num_shots=8)
"""What the mini checkpoint is measured on: 128 scenes of no other world."""

TRAINING = SmallWorld(seed=20_19, splits={"train": 40, "val": 10}, num_shots=12)
"""What the short training learns."""

TRAINING_FLAGS = ("--seed", "0", "--epochs", "10", "--num-workers", "1", "--no-tensorboard", "--validate-every", "10")
MARGIN = 8.0  # points below the recorded mAP that make the floor: another machine rounds otherwise

Relation = Callable[..., tuple[Tensor, Tensor | None]]

IMPLEMENTATIONS: Mapping[str, Relation] = {"reference": relation_reference, "as chosen": chosen_relation}
"""All ways to compute the relation, by name; the last is the way that models go."""


@dataclass(frozen=True)
class Arithmetic:
    """How a model is computed, and how far that may be from the reference in float32.

    Args:
        max_error: of the logits: the norm of the difference, relative to the norm.
        max_points: of every AP, in per cent.
        dtype: of the weights and clips; where ``is_autocast``, of what autocast chooses instead.
        is_autocast: whether the weights stay float32.
        is_channels_last: whether weights and clips lie in memory with the channels last.
        is_compiled: whether torch.compile has made the head.
    """

    max_error: float
    max_points: float
    dtype: torch.dtype = torch.float32
    is_autocast: bool = False
    is_channels_last: bool = False
    is_compiled: bool = False


# Measured on a CPU: errors of 5e-7 and 0 points in full precision; of 0.008 and 0.34 points in bfloat16.
ARITHMETICS: Mapping[str, Arithmetic] = {
    "float32": Arithmetic(1e-5, 0.02),
    "float64": Arithmetic(1e-5, 0.02, torch.float64),
    "float32, channels last": Arithmetic(1e-5, 0.02, is_channels_last=True),
    "float32, compiled": Arithmetic(1e-5, 0.02, is_compiled=True),
    "bfloat16": Arithmetic(0.02, 1.0, torch.bfloat16),
    "bfloat16, autocast": Arithmetic(0.02, 1.0, torch.bfloat16, is_autocast=True),
}


@dataclass(frozen=True, eq=False)
class Validation:
    """A validation set, read once.

    Args:
        batches: all keyframes, some at once.
        boxes: of the annotated people of every keyframe, fractions of the frame.
        truth: what they do.
    """

    batches: list[Batch]
    boxes: list[Any]
    truth: GroundTruth


@dataclass(frozen=True, eq=False)
class Outcome:
    """Logits ``[A, K]`` float64 of all actors, and AP in per cent by action, with their mean as ``mAP``."""

    logits: Tensor
    precisions: dict[str, float]


def create_validation(folder: Path) -> Validation:
    """Write and read the validation set, with clips as the mini checkpoint's recipe has them."""
    write_small_world(folder, VALIDATION, num_processes=1)
    config = small_world()
    config = replace(config, data=replace(config.data, data=folder))
    dataset, files = create_evaluation_dataset(config), read_folder(config).split("val")
    samples = [dataset[index] for index in range(len(dataset))]
    return Validation(
        batches=[collate(samples[start : start + 16]) for start in range(0, len(samples), 16)],
        boxes=[dataset.annotations.boxes(index) for index in range(len(dataset))],
        truth=read_ground_truth(files.annotations, read_folder(config).evaluated_label_map, files.excluded),
    )


def measure(
    model: ActionDetector,
    validation: Validation,
    arithmetic: Arithmetic,
    relation: Relation = relation_reference,
    device: str = "cpu",
) -> Outcome:
    """Logits and AP by the official rule of a model, computed in one way.

    Args:
        model: float32, on the CPU, in evaluation mode; left as it is.
        validation: what it sees.
        arithmetic: how it is computed.
        relation: what computes the relation.
        device: where.
    """
    layout = torch.channels_last_3d if arithmetic.is_channels_last else torch.contiguous_format
    dtype = torch.float32 if arithmetic.is_autocast else arithmetic.dtype
    placed = copy.deepcopy(model).to(device, dtype).to(memory_format=layout)
    if arithmetic.is_compiled:
        placed.head.compile()
    context = torch.autocast(device, arithmetic.dtype) if arithmetic.is_autocast else nullcontext()
    logits = []
    # TensorFloat-32 would be another arithmetic, and nobody has asked for it.
    with (
        torch.inference_mode(),
        context,
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        patch("acrn_zoo.models.relation.relation", relation),
    ):
        for batch in validation.batches:
            there = batch.to(device)
            clips = there.clips.to(dtype).contiguous(memory_format=layout)
            logits.append(placed(clips, there.boxes).double().cpu())
    return Outcome(torch.cat(logits), _precisions(torch.cat(logits), validation))


def _precisions(logits: Tensor, validation: Validation) -> dict[str, float]:
    evaluator = AvaEvaluator(validation.truth.annotations, validation.truth.label_map)
    keyframes = [keyframe for batch in validation.batches for keyframe in batch.keyframes]
    scores = logits.sigmoid().split([len(boxes) for boxes in validation.boxes])
    for keyframe, boxes, rows in zip(keyframes, validation.boxes, scores, strict=True):
        evaluator.update(keyframe.video_id, keyframe.timestamp, boxes, rows)
    return {name.removeprefix("AP/"): 100 * value for name, value in evaluator.compute().items()}


def error_of(found: Outcome, reference: Outcome) -> float:
    """The norm of the difference of the logits, relative to that of the reference."""
    return float((found.logits - reference.logits).norm() / reference.logits.norm())


def points_between(found: Outcome, reference: Outcome) -> float:
    """The largest difference of an AP, in per cent."""
    return max(abs(found.precisions[name] - value) for name, value in reference.precisions.items())


def train_shortly(folder: Path, head: str = "acrn") -> dict[str, float]:
    """Train by the recipe of the small world: two minutes on two cores, one of which reads the clips.

    The head starts anew, the backbone from the mini checkpoint: from nothing, two minutes teach no relation.

    Args:
        folder: an empty one, for the data and the run.
        head: how an actor sees the scene, as ``--relation`` has it.

    Returns:
        The mAP of the last epoch in per cent, by family.
    """
    folder.mkdir(exist_ok=True)
    data, out, backbone = folder / "data", folder / "run", folder / "mini.pth"
    write_small_world(data, TRAINING, num_processes=1)
    mini = slowfast_acrn_mini()
    assert mini.categories is not None
    save_detector(backbone, mini, mini.categories)
    files = ["--data", str(data), "--out", str(out), "--weights-backbone", str(backbone)]
    flags = [*TRAINING_FLAGS, "--relation", head, *files]
    command = [sys.executable, "-m", "acrn_zoo", "train", "small_world", *flags]
    # With one thread, as sums of several depend on how many processors there are.
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    config = parse_flags("small_world", flags)
    result = finished_result(RunFolder(out), config)
    assert result is not None, "the command has ended with success"
    metrics = {name.removeprefix("AP/"): value for name, value in result[1].items()}
    return {family: group_mean(metrics, family) for family in FAMILIES}


def read_record() -> dict[str, Any]:
    """What was recorded.

    Returns:
        ``mini``: AP in per cent by action, and ``mAP``. By family: ``training``, its ``floor``, and
        ``without_relation``, which is what the same training reaches where an actor sees itself alone.
    """
    return json.loads(RECORD.read_text(encoding="utf-8"))


def main() -> None:
    """Measure everything, print it, record what the tests compare with."""
    with tempfile.TemporaryDirectory() as name:
        validation = create_validation(Path(name) / "validation")
        model = slowfast_acrn_mini()
        reference = measure(model, validation, ARITHMETICS["float32"])
        print(f"mini: {_rounded(reference.precisions)}; {len(reference.logits)} actors")
        for title, arithmetic in ARITHMETICS.items():
            found = measure(model, validation, arithmetic)
            error, points = error_of(found, reference), points_between(found, reference)
            print(f"  {title:24} error of the logits {error:.1e}, of an AP {points:.3f} points", flush=True)
        reached = {head: train_shortly(Path(name) / head, head) for head in ("acrn", "actor_only")}
    print(f"training: {_rounded(reached['acrn'])}; actor only: {_rounded(reached['actor_only'])}")
    record = {
        "command": "python -m benchmarks.accuracy",
        "machine": f"{torch_machine()}, {torch.get_num_threads()} threads",
        "mini": _rounded(reference.precisions),
        "training": _rounded(reached["acrn"]),
        "floor": _rounded({family: value - MARGIN for family, value in reached["acrn"].items()}),
        "without_relation": _rounded(reached["actor_only"]),
    }
    RECORD.parent.mkdir(exist_ok=True)
    write_json(RECORD, record)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


if __name__ == "__main__":
    main()
