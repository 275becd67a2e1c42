"""What predicting costs: seconds a keyframe and peak memory, of real videos, and of one hour against one minute.

    python -m benchmarks.predict speed VIDEO [VIDEO ...] [--people 3] [--keyframes 5]
    python -m benchmarks.predict length

``speed`` runs the full model (random weights: they cost the same) with a few fixed boxes, and writes all results.
``length`` runs a small model over a small video of one minute and over the same repeated to one hour, and writes CSV
and JSON lines. Every run has a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import torch
import torchvision
from torch import Tensor

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.predictor import ActionPredictor
from acrn_zoo.recorder import Recorder
from acrn_zoo.structures import Keyframe
from acrn_zoo.zoo import create_slowfast_detector

SMALL = SlowFastArchitecture(depth=18, width=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    speed = verbs.add_parser("speed")
    speed.add_argument("videos", nargs="+", type=Path)
    speed.add_argument("--people", type=int, default=3)
    speed.add_argument("--keyframes", type=int, default=5)
    speed.add_argument("--small", action="store_true", help="a small model instead of the full one")
    speed.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    verbs.add_parser("length")
    options = parser.parse_args()
    if options.verb == "length":
        measure_length()
    elif options.one:
        print(json.dumps(measure(options.videos[0], options.people, options.keyframes, options.small)))
    else:
        print(machine())
        for video in options.videos:
            show(video.name, run_apart(video, options.people, options.keyframes, options.small))


def measure(video: Path, num_people: int, num_keyframes: int, is_small: bool) -> dict[str, float]:
    """Predict and record one video in this process."""
    torch.manual_seed(0)
    model = create_slowfast_detector(SMALL if is_small else SlowFastArchitecture()).eval()
    loaded = peak_memory()

    def people(frame: Tensor, _keyframe: Keyframe) -> Tensor:
        height, width = frame.shape[:2]
        left = torch.arange(num_people) * width * 0.8 / num_people
        box = torch.tensor([0.0, 0.2 * height, 0.2 * width, 0.9 * height])
        return box + torch.stack([left, 0 * left, left, 0 * left], dim=1)

    predictor = ActionPredictor(model, people, transform=ClipTransform(64 if is_small else 256))
    with tempfile.TemporaryDirectory() as folder, Recorder(video, folder, with_video=not is_small) as recorder:
        started = time.perf_counter()
        for detections in predictor.predict(video):
            recorder.add(detections)
            if recorder.summary.num_keyframes == num_keyframes:
                break
        seconds = time.perf_counter() - started
    return {
        "keyframes": recorder.summary.num_keyframes,
        "seconds_per_keyframe": seconds / recorder.summary.num_keyframes,
        "peak_memory_mb": peak_memory(),
        "of_that_with_the_model_loaded_mb": loaded,
    }


def measure_length() -> None:
    """Peak memory over one minute and over one hour of video."""
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        minute, hour = Path(folder) / "minute.mp4", Path(folder) / "hour.mp4"
        write_synthetic_video(minute, seconds=60, size=(72, 96), frame_rate=15)
        repeat_video(minute, hour, 60)
        for video in (minute, hour):
            show(video.name, run_apart(video, 1, 10**9, is_small=True))


def repeat_video(source: Path, target: Path, times: int) -> None:
    """Append a video to itself without encoding it again."""
    with av.open(str(target), "w") as output:
        stream = None
        for index in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or output.add_stream_from_template(video)
                assert video.duration is not None
                for packet in container.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += index * video.duration
                    packet.dts += index * video.duration
                    packet.stream = stream
                    output.mux(packet)


def run_apart(video: Path, num_people: int, num_keyframes: int, is_small: bool) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.predict", "speed", str(video), "--one"]
    command += ["--people", str(num_people), "--keyframes", str(num_keyframes)] + ["--small"] * is_small
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def peak_memory() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def machine() -> str:
    return (
        f"{platform.machine()}, CPU, {torch.get_num_threads()} threads, float32, Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, PyAV {av.__version__}"
    )


def show(name: str, figures: dict[str, float]) -> None:
    print(
        f"{name}: {figures['keyframes']:.0f} keyframes, {figures['seconds_per_keyframe']:.2f} s each; peak memory "
        f"{figures['peak_memory_mb']:.0f} MB ({figures['of_that_with_the_model_loaded_mb']:.0f} MB of it with the "
        "model loaded)"
    )


if __name__ == "__main__":
    main()
