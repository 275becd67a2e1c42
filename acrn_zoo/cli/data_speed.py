"""``acrn-zoo data-speed``: how fast this machine reads training clips, and whether that is fast enough."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import number, positive
from acrn_zoo.data.batch import collate
from acrn_zoo.data.dataset import TrainingDataset
from acrn_zoo.files import require_writable, write_json
from acrn_zoo.loading_speed import LoadingSpeed, measure_loading, measure_step
from acrn_zoo.predictor import resolve_device
from acrn_zoo.zoo import create_slowfast_detector

ASSUMED_STEP_TIME = 0.05
"""Seconds a clip: SlowFast-R50 with ACRN and 3 people needs 0.85 TFLOP to train on one, at 17 TFLOP/s."""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Read training clips of a dataset as fast as this machine can, with several numbers of workers, and say how "
        "much of its time a training step would wait for them."
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="a dataset folder, with its dataset.json")
    verb.add_argument("--split", default="train", help="which part of the dataset")
    verb.add_argument("--workers", type=_counts, default=[0, 2, 4], metavar="N,N,...", help="numbers of workers")
    verb.add_argument("--batch-size", type=positive, default=8, help="clips of a training step")
    verb.add_argument("--batches", type=positive, default=10, help="how many are timed for each number of workers")
    step = verb.add_mutually_exclusive_group()
    step.add_argument(
        "--step-time",
        type=_seconds,
        metavar="SECONDS",
        help=f"how long a training step takes; {ASSUMED_STEP_TIME} a clip if nothing is said",
    )
    step.add_argument("--device", help="measure the step of SlowFast-R50 with ACRN in float32: auto, cpu, cuda, ...")
    verb.add_argument("--json", type=Path, metavar="OUT", help="write the numbers to this file, too")
    verb.add_argument("--overwrite", action="store_true", help="replace the file of an earlier run")


def run(options: argparse.Namespace, interruption: Interruption) -> None:  # noqa: ARG001 - it may come at any time
    """Measure and print."""
    if options.json is not None:
        require_writable(options.json, overwrite=options.overwrite)
    device = None if options.device is None else resolve_device(options.device)
    dataset = TrainingDataset.from_folder(options.folder, options.split)
    speeds = [
        measure_loading(dataset, num_workers=count, batch_size=options.batch_size, num_batches=options.batches)
        for count in tqdm(options.workers, desc="numbers of workers")
    ]
    if device is not None:
        model = create_slowfast_detector(SlowFastArchitecture(num_classes=len(dataset.categories)))
        batch = collate([dataset[index % len(dataset)] for index in range(options.batch_size)])
        step_time, source = measure_step(model.train().to(device), batch), f"measured on {device}"
    elif options.step_time is not None:
        step_time, source = options.step_time, "as given"
    else:
        step_time, source = ASSUMED_STEP_TIME * options.batch_size, "assumed"
    _print_table(speeds, step_time, source)
    if options.json is not None:
        write_json(options.json, _content(speeds, step_time, source))
        print(f"\nWritten: {options.json}")


def _print_table(speeds: Sequence[LoadingSpeed], step_time: float, source: str) -> None:
    batch_size = speeds[0].batch_size
    print(f"\nA training step of {batch_size} clips: {step_time:.3g} s ({source})\n")
    print("workers  clips/s  s a batch  a step waits")
    for speed in speeds:
        waiting = f"{100 * speed.waiting_share(step_time):.0f} %"
        counts = f"{speed.num_workers:>7}  {speed.clips_per_second:>7.1f}"
        print(f"{counts}  {speed.seconds_per_batch:>9.3f}  {waiting:>12}")
    best = max(speeds, key=lambda speed: speed.clips_per_second)
    verdict = f"With {best.num_workers} workers, the fastest here, a step of {batch_size} clips "
    if best.waiting_share(step_time) == 0:
        print(f"\n{verdict}never waits, if it takes {best.seconds_per_batch:.3g} s or more.")
    else:
        waiting = f"{100 * best.waiting_share(step_time):.0f} %"
        print(f"\n{verdict}waits {waiting} of its time for data. More processors, or smaller videos, would help.")


def _content(speeds: Sequence[LoadingSpeed], step_time: float, source: str) -> dict[str, Any]:
    return {
        "version": 1,
        "step_time": step_time,
        "step_time_source": source,
        "speeds": [
            {
                "num_workers": speed.num_workers,
                "batch_size": speed.batch_size,
                "num_batches": speed.num_batches,
                "seconds": speed.seconds,
                "clips_per_second": speed.clips_per_second,
                "waiting_share": speed.waiting_share(step_time),
            }
            for speed in speeds
        ],
    }


def _counts(text: str) -> list[int]:
    """Whole numbers from 0 on, between commas."""
    counts = [number(part, 0, 1024, "a number of workers from 0 to 1024") for part in text.split(",")]
    if any(count != int(count) for count in counts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers between commas, such as 0,2,4")
    return [int(count) for count in counts]


def _seconds(text: str) -> float:
    return number(text, 0, 1e6, "a number of seconds from 0 on")
