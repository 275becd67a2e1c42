"""``acrn-zoo predict``: label the people of a video."""

import argparse
import math
import sys
from pathlib import Path

import torch

from acrn_zoo import zoo
from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import fraction, number, positive, rate
from acrn_zoo.cli.recording import record
from acrn_zoo.data.frames import open_video
from acrn_zoo.people import BoxFile
from acrn_zoo.predictor import MIN_EVERY, ActionPredictor, create_person_detector, require_within, resolve_device
from acrn_zoo.recorder import Recorder
from acrn_zoo.weights import SHORT_NAMES, SlowFast_R50_ACRN_Weights, SlowFast_R50_RoI_Weights, resolve_detector

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    names = ", ".join((*SHORT_NAMES, *SlowFast_R50_ACRN_Weights.__members__))
    baselines = ", ".join(
        f"{SlowFast_R50_RoI_Weights.__name__}.{name}" for name in SlowFast_R50_RoI_Weights.__members__
    )
    verb.description = "Label the people of a video: an AVA-form CSV, JSON lines and an annotated video are written."
    verb.add_argument("video", type=Path, metavar="VIDEO", help="a video file, or a folder of frames")
    verb.add_argument(
        "--weights",
        default="ava22",
        help=f"{names}, {baselines}, or the path of a file",
    )
    verb.add_argument("--temporal-pool", choices=("avg", "max"), help="for the path of a checkpoint that does not tell")
    people = verb.add_mutually_exclusive_group()
    people.add_argument(
        "--boxes", type=Path, metavar="FILE", help="where the people are, as CSV or JSON; its moments are the keyframes"
    )
    people.add_argument(
        "--people", choices=("fasterrcnn",), help="find the people with this detector; so it is if nothing is said"
    )
    verb.add_argument("--person-threshold", type=fraction, default=0.9, help="lowest score of the detector that counts")
    verb.add_argument("--out", type=Path, metavar="DIR", help="where to write; VIDEO_actions if not given")
    verb.add_argument(
        "--every",
        type=_seconds,
        help="seconds between keyframes; 1, or with --boxes the moments of the file, if not given",
    )
    verb.add_argument("--top", type=positive, default=5, help="at most so many actions a person")
    verb.add_argument(
        "--threshold",
        type=fraction,
        default=0.3,
        help="only actions with a score above it; 0.002 with --top 80 for files to be evaluated",
    )
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    verb.add_argument("--dtype", choices=tuple(DTYPES), default="float32", help="of weights and clips")
    verb.add_argument("--batch-size", type=positive, default=1, help="clips that go through the model at once")
    verb.add_argument("--decoder", choices=("pyav", "torchcodec"), default="pyav", help="what decodes the video")
    verb.add_argument("--frame-rate", type=rate, help="frames a second, where VIDEO is a folder of frames")
    verb.add_argument("--no-video", action="store_true", help="write no annotated video")
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def run(options: argparse.Namespace, interruption: Interruption) -> None:
    """Everything that can be wrong is looked at before the first download."""
    device = resolve_device(options.device)
    with open_video(options.video, options.frame_rate, options.decoder) as reader:
        info = reader.info
    boxes = None if options.boxes is None else BoxFile(options.boxes, video_id=options.video.stem)
    if boxes is not None:
        boxes.check((info.height, info.width))
        require_within(boxes.timestamps, info)
    every = options.every or 1.0
    recorder = Recorder(
        options.video,
        options.out or Path(f"{options.video.stem}_actions"),
        hold=every / 2,
        top=options.top,
        threshold=options.threshold,
        with_video=not options.no_video,
        frame_rate=options.frame_rate,
        overwrite=options.overwrite,
        inputs=[Path(path) for path in (options.boxes, options.weights) if path is not None],
    )
    predictor = create_predictor(options, boxes, device)
    found = predictor.predict(
        options.video, every=options.every, decoder=options.decoder, frame_rate=options.frame_rate
    )
    total = None if info.duration is None else math.ceil(info.duration / every - 1e-6)
    if boxes is not None and options.every is None:
        total = len(boxes.timestamps)
    record(found, recorder, total, interruption)


def create_predictor(
    options: argparse.Namespace, boxes: BoxFile | Path | None, device: torch.device
) -> ActionPredictor:
    """The weights and the people of the options, made ready.

    Args:
        options: of this verb.
        boxes: where the people are; a detector finds them if None.
        device: what it computes on, whatever the options say.

    Raises:
        UserError: if weights are unknown, or cannot be fetched or read.
    """
    return ActionPredictor(
        zoo.load_detector(resolve_detector(options.weights), temporal_pool=options.temporal_pool),
        boxes or create_person_detector(threshold=options.person_threshold, device=device),
        device=device,
        dtype=DTYPES[options.dtype],
        batch_size=options.batch_size,
    )


def _seconds(text: str) -> float:
    return number(text, MIN_EVERY, sys.float_info.max, f"a number of seconds of at least {MIN_EVERY}")
