"""What scoring costs: CPU seconds and peak memory of ``acrn-zoo score`` at the size of AVA's validation set.

    python -m benchmarks.evaluation [--files DIR] [--repeats 5] [--plain-videos 8] [--json OUT]

Files are generated (64 videos of 897 keyframes, 20 classes a predicted box: 2.3 million rows), or taken from DIR
(``gt.csv`` and ``pred.csv``). The evaluation is compared with the same rule in plain Python on some of the videos, both
in one run, and shown to give the same numbers; then the whole command is measured, each time in a process of its own:
medians. Twice the rows show that the cost grows linearly.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from acrn_zoo.data.ava import EVALUATED_IDS
from acrn_zoo.evaluation.ava import evaluate_ava
from acrn_zoo.tables import read_annotations, read_predictions
from benchmarks.plain_evaluation import plain_official, read_rows

NUM_VIDEOS = 64
SECONDS = range(902, 1799)
CLASSES_PER_BOX = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, help="a folder with gt.csv and pred.csv, in place of generated ones")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plain-videos", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, object] = {"machine": machine()}
    print(figures["machine"])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = options.files or generate(scratch / "whole", NUM_VIDEOS, seed=0)
        figures["against plain Python"] = against_plain(folder, scratch, options.plain_videos, options.repeats)
        figures["whole"] = whole(folder, options.repeats)
        figures["twice the rows"] = whole(repeated(folder, scratch / "twice"), options.repeats)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def generate(folder: Path, num_videos: int, seed: int) -> Path:
    """Annotations and predictions with about as many boxes, actions and ties as AVA's have."""
    random = np.random.default_rng(seed)
    ids = np.array(EVALUATED_IDS)
    video, second = (grid.ravel() for grid in np.meshgrid(np.arange(num_videos), SECONDS, indexing="ij"))
    num_boxes = np.where(random.random(len(video)) < 0.87, random.geometric(0.54, len(video)).clip(max=10), 0)
    keyframe = np.repeat(np.arange(len(video)), num_boxes)
    corner, size = random.random((len(keyframe), 2)) * 0.5, random.random((len(keyframe), 2)) * 0.4 + 0.1
    boxes = np.hstack([corner, corner + size]).round(3)
    rank = np.arange(1, len(ids) + 1)
    is_done = random.random((len(keyframe), len(ids))) < np.minimum(0.9, 1.2 / rank)
    is_done[~is_done.any(axis=1), 0] = True
    box, column = np.nonzero(is_done)
    folder.mkdir()
    write(folder / "gt.csv", video, second, keyframe[box], boxes[box], ids[column], box % 100)
    is_extra = random.random(len(video)) < 0.3
    found = np.concatenate([keyframe, np.flatnonzero(is_extra)])
    moved = boxes + (random.random(boxes.shape) - 0.5) * 0.1
    extra = np.tile([0.2, 0.2, 0.6, 0.9], (is_extra.sum(), 1))
    moved = np.vstack([moved, extra]).clip(0, 1).round(3)
    scores = random.random((len(found), len(ids))) ** 4 / np.sqrt(rank)
    scores[: len(keyframe)] += np.where(is_done, random.random(is_done.shape), 0)
    best = np.argsort(-scores, axis=1)[:, :CLASSES_PER_BOX]
    order = np.argsort(found, kind="stable")
    rows = np.repeat(order, CLASSES_PER_BOX)
    column = best[order].ravel()
    write(folder / "pred.csv", video, second, found[rows], moved[rows], ids[column], scores[rows, column].round(4))
    return folder


def write(
    path: Path,
    video: np.ndarray,
    second: np.ndarray,
    keyframe: np.ndarray,
    boxes: np.ndarray,
    action_ids: np.ndarray,
    last: np.ndarray,
) -> None:
    names = np.array([f"video{number:06d}" for number in range(int(video.max()) + 1)], dtype=object)
    columns = {"video_id": names[video[keyframe]], "timestamp": second[keyframe]}
    columns |= dict(zip(("x1", "y1", "x2", "y2"), boxes.T, strict=True)) | {"action_id": action_ids, "last": last}
    pd.DataFrame(columns).to_csv(path, header=False, index=False)


def repeated(folder: Path, target: Path) -> Path:
    """The same rows twice, the second time of other videos."""
    target.mkdir()
    for name in ("gt.csv", "pred.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (target / name).write_text("".join([*lines, *(f"again_{line}" for line in lines)]))
    return target


def against_plain(folder: Path, scratch: Path, num_videos: int, repeats: int) -> dict[str, float]:
    """Both ways on the first videos: CPU seconds of reading and evaluating, and the largest difference."""
    part = scratch / "part"
    part.mkdir()
    chosen = list(dict.fromkeys(line.split(",", 1)[0] for line in (folder / "gt.csv").open()))[:num_videos]
    for name in ("gt.csv", "pred.csv"):
        with (folder / name).open() as source, (part / name).open("w") as target:
            target.writelines(line for line in source if line.split(",", 1)[0] in chosen)
    started = time.process_time()
    plain = plain_official(read_rows(part / "gt.csv"), read_rows(part / "pred.csv"), EVALUATED_IDS)
    plain_seconds = time.process_time() - started
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        truth, found = read_annotations(part / "gt.csv"), read_predictions(part / "pred.csv")
        result = evaluate_ava(truth, found, EVALUATED_IDS)
        seconds.append(time.process_time() - started)
    difference = float(np.nanmax(np.abs(result.average_precision - [plain[number] for number in result.class_ids])))
    ours = statistics.median(seconds)
    figures = {
        "videos": num_videos,
        "rows": len(found),
        "plain_cpu_s": plain_seconds,
        "cpu_s": ours,
        "ratio": plain_seconds / ours,
        "largest_difference": difference,
    }
    print(
        f"{num_videos} videos, {len(found)} rows: plain Python {plain_seconds:.2f} s CPU, ours {ours:.3f} s "
        f"({figures['ratio']:.0f} times less); largest difference of an AP {difference:.1g}"
    )
    return figures


def whole(folder: Path, repeats: int) -> dict[str, float]:
    """Reading and computation in this process, and the whole command in processes of their own."""
    reading, computing, command, memory = [], [], [], []
    for _ in range(repeats):  # before this process grows: what it holds would count as the peak of its children
        run = subprocess.run([sys.executable, "-c", MEASURED, folder], capture_output=True, text=True, check=True)
        seconds, kilobytes = run.stdout.split()[-2:]
        command.append(float(seconds))
        memory.append(float(kilobytes) / 1e3)
    for _ in range(repeats):
        times = [time.process_time()]
        truth, found = read_annotations(folder / "gt.csv"), read_predictions(folder / "pred.csv")
        times.append(time.process_time())
        result = evaluate_ava(truth, found, EVALUATED_IDS)
        times.append(time.process_time())
        reading.append(times[1] - times[0])
        computing.append(times[2] - times[1])
    figures = {
        "rows": len(found),
        "mAP": result.mean,
        "read_cpu_s": statistics.median(reading),
        "compute_cpu_s": statistics.median(computing),
        "command_cpu_s": statistics.median(command),
        "command_peak_mb": max(memory),
    }
    print(
        f"{len(found)} prediction rows: reading {figures['read_cpu_s']:.2f} s CPU, computation "
        f"{figures['compute_cpu_s']:.2f} s; the whole command with its start {figures['command_cpu_s']:.2f} s, peak "
        f"memory {figures['command_peak_mb']:.0f} MB; mAP {result.mean:.6f}"
    )
    return figures


MEASURED = """
import resource, sys
from acrn_zoo.cli import main
main(["score", f"{sys.argv[1]}/pred.csv", "--ground-truth", f"{sys.argv[1]}/gt.csv"])
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def machine() -> str:
    return (
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, pandas {pd.__version__}; "
        f"peak memory at the start {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )


if __name__ == "__main__":
    main()
