"""The whole way once, offline: a generated video, its people, a model, and what comes out."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.data.video import VideoReader
from acrn_zoo.files import require_writable
from acrn_zoo.models import ActionDetector
from acrn_zoo.recorder import Recorder, make_folder
from acrn_zoo.results import read_json_lines
from acrn_zoo.visualize import contact_sheet, draw_detections, save_png
from acrn_zoo.zoo import slowfast_r50_acrn

ABOUT = (
    "A small video of walking figures is generated, and the full SlowFast-ACRN model labels them. Its weights are "
    "random: nothing is downloaded and the labels mean nothing. What the demo shows is that all parts work here."
)
NAME = "walkers"
SECONDS = 4
TOP = 3  # actions a person


@dataclass(frozen=True)
class DemoFiles:
    """What the demo has made before the model runs."""

    video: Path
    boxes: Path
    num_keyframes: int


def prepare(folder: Path, *, overwrite: bool = False) -> DemoFiles:
    """Write the demo's video and the boxes of its people, one keyframe a second.

    Raises:
        UserError: if a file exists or cannot be written.
    """
    make_folder(folder)
    made = DemoFiles(folder / f"{NAME}.mp4", folder / f"{NAME}_boxes.csv", SECONDS)
    for path in (made.video, made.boxes, folder / f"{NAME}.png"):
        require_writable(path, overwrite=overwrite)
    made.video.unlink(missing_ok=True)
    video = write_synthetic_video(made.video, seconds=SECONDS)
    with made.boxes.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "x1", "y1", "x2", "y2"])
        for second in range(SECONDS):
            rows.writerows([second, *(round(value, 2) for value in box)] for box in video.boxes(second).tolist())
    return made


def recorder(folder: Path, *, overwrite: bool = False) -> Recorder:
    """What writes the demo's results."""
    return Recorder(folder / f"{NAME}.mp4", folder, top=TOP, threshold=0.0, overwrite=overwrite)


def untrained_model() -> ActionDetector:
    """SlowFast-ACRN with random values, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return slowfast_r50_acrn().eval()


def draw(made: DemoFiles, folder: Path, *, overwrite: bool = False) -> Path:
    """One picture of all keyframes with what was found, ``NAME.png``."""
    wanted = iter(read_json_lines(folder / f"{NAME}.jsonl", CATEGORIES))
    detections = next(wanted, None)
    pictures: list[Tensor] = []
    with VideoReader(made.video) as video:
        for frame in video.frames():
            if detections is not None and frame.time >= detections.keyframe.timestamp:
                pictures.append(draw_detections(frame.rgb(), detections, top=TOP, threshold=0.0))
                detections = next(wanted, None)
    path = folder / f"{NAME}.png"
    save_png(path, contact_sheet(pictures, columns=2), overwrite=overwrite)
    return path
