"""Keyframes on their way into files: a progress bar, and at the end what there is."""

import time
from collections.abc import Iterator

from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.recorder import Recorder
from acrn_zoo.structures import Detections


def record(found: Iterator[Detections], recorder: Recorder, total: int | None, interruption: Interruption) -> None:
    """Write every keyframe with a progress bar; say at the end what there is, also of a run that was cut off."""
    started = time.perf_counter()
    is_complete = False
    try:
        with recorder:
            for detections in tqdm(found, total=total, desc="keyframes", unit="keyframe"):
                with interruption.held():
                    recorder.add(detections)
        is_complete = True
    finally:
        if is_complete or recorder.summary.num_keyframes:
            _print_summary(recorder, time.perf_counter() - started, is_complete)


def _print_summary(recorder: Recorder, seconds: float, is_complete: bool) -> None:
    summary = recorder.summary
    per_keyframe = f", {seconds / summary.num_keyframes:.2f} s each" if summary.num_keyframes else ""
    cut = "" if is_complete else " before the run ended early"
    print(f"\n{summary.num_keyframes} keyframes{cut}{per_keyframe}; {summary.num_people} people in them")
    if not summary.num_people:
        print("No people were found.")
    elif not summary.actions:
        print("No action scored above the threshold.")
    else:
        ranked = sorted(summary.actions.items(), key=lambda entry: (-entry[1][0], -entry[1][1]))
        width = max(len(name) for name, _ in ranked[:20])
        print(f"\n{'action':<{width}}  people  best score")
        for name, (count, best) in ranked[:20]:
            print(f"{name:<{width}}  {count:>6}  {best:>10.2f}")
        if len(ranked) > 20:
            print(f"and {len(ranked) - 20} more actions")
    print("\nWritten: " + "  ".join(str(path) for path in recorder.paths if path.exists()))
