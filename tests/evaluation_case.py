"""A dataset of seven keyframes and a model for it, and what processes do that evaluate it together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, read_dataset_folder, write_dataset_folder
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.engine import evaluate as module
from acrn_zoo.engine.distributed import processes
from acrn_zoo.engine.evaluate import Evaluation, evaluate
from acrn_zoo.labels import LabelMap
from acrn_zoo.models import ActionDetector
from acrn_zoo.zoo import create_slowfast_detector

SIZES = {"wide": (48, 80), "high": (64, 40)}
NAMES = {1: "walk", 2: "talk", 3: "wave", 4: "sit"}
EVALUATED = (1, 2, 4)
NOBODY = ("high", 1.5)
EXCLUDED = ("wide", 1.0)
MOMENTS = tuple((video, 0.5 * number) for video in SIZES for number in range(4))
BOXES = ((0.1, 0.2, 0.5, 0.9), (0.4, 0.1, 0.95, 0.8))


def write_case(root: Path, moments: Sequence[tuple[str, float]] = MOMENTS) -> DatasetFolder:
    """Two videos of different sizes; at every keyframe two people, at one of them nobody is found."""
    generator = torch.Generator().manual_seed(0)
    for name, (height, width) in SIZES.items():
        with VideoWriter(root / f"{name}.mp4", size=(height, width), frame_rate=10) as video:
            for number in range(20):
                blocks = torch.randint(0, 256, (height // 8, width // 8, 3), dtype=torch.uint8, generator=generator)
                video.write(blocks.repeat_interleave(8, dim=0).repeat_interleave(8, dim=1), number / 10)
    people, found = [], []
    for number, (name, moment) in enumerate(moments):
        found.append(f"{name},{moment}")
        for person, box in enumerate(BOXES):
            corners = ",".join(map(str, box))
            people += [f"{name},{moment},{corners},{1 + (number + person + shift) % 4},{person}" for shift in (0, 1)]
            if (name, moment) != NOBODY:
                found.append(f"{name},{moment},{corners},{0.9 + 0.05 * person}")
    (root / "people.csv").write_text("\n".join(people) + "\n")
    (root / "found.csv").write_text("\n".join(found) + "\n")
    (root / "excluded.csv").write_text(f"{EXCLUDED[0]},{EXCLUDED[1]}\n")
    videos = {name: VideoEntry(root / f"{name}.mp4") for name in SIZES}
    splits = {"val": Split(root / "people.csv", root / "excluded.csv", root / "found.csv")}
    folder = DatasetFolder(root, "case", LabelMap(NAMES), splits, videos, evaluated=EVALUATED)
    write_dataset_folder(folder)
    return folder


def create_dataset(folder: DatasetFolder) -> EvaluationDataset:
    """Clips of 8 frames, 32 pixels high or wide."""
    dataset = EvaluationDataset.from_folder(folder, sampling=ClipSampling(8, 0.1))
    dataset.transform = ClipTransform(32)
    return dataset


def create_model() -> ActionDetector:
    """A detector whose scores lie all over 0 to 1; always the same."""
    torch.manual_seed(0)
    model = create_slowfast_detector(SlowFastArchitecture(depth=18, width=8, num_classes=4))
    torch.nn.init.normal_(model.head.classifier.weight, std=0.3)
    return model


def evaluate_case(root: Path, **options: Any) -> Evaluation | None:
    """Evaluate as one of the processes of the environment, or alone."""
    folder = read_dataset_folder(root)
    with processes("cpu") as group:
        return evaluate(create_model(), create_dataset(folder), folder, "val", group, **options)


def evaluate_to_file(root: Path, out: Path, options: dict[str, Any]) -> Evaluation | None:
    """The same for :func:`ranks.run_ranks`."""
    return evaluate_case(root, out=out, **options)


def evaluate_until_stopped(root: Path, stopping_rank: int) -> tuple[bool, int]:
    """One process is asked to stop after its first keyframe: whether this one gave up, and how far it came."""
    module.AGREE_EVERY = 2
    folder = read_dataset_folder(root)
    done: list[int] = []
    with processes("cpu") as group:
        evaluation = evaluate(
            create_model(),
            create_dataset(folder),
            folder,
            "val",
            group,
            progress=lambda number, _total: done.append(number),
            stop_requested=lambda: group.rank == stopping_rank and len(done) > 0,
        )
    return evaluation is None, len(done)
