"""The command line: ``acrn-zoo predict`` and ``acrn-zoo demo``."""

import argparse
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

import acrn_zoo
from acrn_zoo import demo
from acrn_zoo.data.video import VideoReader
from acrn_zoo.errors import UserError
from acrn_zoo.models import ActionDetector
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.people import BoxFile
from acrn_zoo.predictor import ActionPredictor, create_person_detector, resolve_device
from acrn_zoo.recorder import Recorder, Summary
from acrn_zoo.structures import Detections
from acrn_zoo.weights import SlowFast_R50_ACRN_Weights, resolve_weights

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; those of the process if None.

    Returns:
        The exit status: 0 if all went well, 1 for an error that its message explains, 130 when interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if getattr(options, "boxes", None) is not None and options.every is not None:
        parser.error("--every does not go with --boxes: the keyframes are those of the file")
    try:
        with _short_warnings(), Interruption() as interruption:
            options.run(options, interruption)
    except UserError as error:
        print(f"acrn-zoo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("acrn-zoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="acrn-zoo", description="Who does what in a video?")
    parser.add_argument("--version", action="version", version=f"acrn-zoo {acrn_zoo.__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_predict(verbs)
    _add_demo(verbs)
    return parser


def _add_predict(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    names = ", ".join(SlowFast_R50_ACRN_Weights.__members__)
    verb = verbs.add_parser(
        "predict",
        help="label the people of a video",
        description="Label the people of a video: an AVA-form CSV, JSON lines and an annotated video are written.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    verb.set_defaults(run=_predict)
    verb.add_argument("video", type=Path, metavar="VIDEO", help="a video file")
    verb.add_argument(
        "--weights", default="ava22", help=f"ava21, ava22, one of {names}, or the path of a checkpoint file"
    )
    verb.add_argument("--temporal-pool", choices=("avg", "max"), help="for the path of a checkpoint that does not tell")
    people = verb.add_mutually_exclusive_group()
    people.add_argument(
        "--boxes", type=Path, metavar="FILE", help="where the people are, as CSV or JSON; gives the keyframes too"
    )
    people.add_argument(
        "--people", choices=("fasterrcnn",), help="find the people with this detector; so it is if nothing is said"
    )
    verb.add_argument(
        "--person-threshold", type=_fraction, default=0.9, help="lowest score of the detector that counts"
    )
    verb.add_argument("--out", type=Path, metavar="DIR", help="where to write; VIDEO_actions if not given")
    verb.add_argument(
        "--every", type=_seconds, help="seconds between keyframes; 1.0, or those of the boxes, if not given"
    )
    verb.add_argument("--top", type=_positive, default=5, help="at most so many actions a person")
    verb.add_argument(
        "--threshold",
        type=_fraction,
        default=0.3,
        help="only actions with a score above it; 0.002 with --top 80 for files to be evaluated",
    )
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    verb.add_argument("--dtype", choices=tuple(DTYPES), default="float32", help="of weights and clips")
    verb.add_argument("--batch-size", type=_positive, default=1, help="clips that go through the model at once")
    verb.add_argument("--decoder", choices=("pyav", "torchcodec"), default="pyav", help="what decodes the video")
    verb.add_argument("--no-video", action="store_true", help="write no annotated video")
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def _add_demo(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verb = verbs.add_parser(
        "demo",
        help="see the whole way once, offline, on a small generated video",
        description=demo.ABOUT,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    verb.set_defaults(run=_demo)
    verb.add_argument("--out", type=Path, metavar="DIR", default=Path("acrn_demo"), help="where to write")
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def _predict(options: argparse.Namespace, interruption: "Interruption") -> None:
    """Everything that can be wrong is looked at before the first download."""
    device = resolve_device(options.device)
    with VideoReader(options.video, decoder=options.decoder) as reader:
        duration = reader.info.duration
    boxes = None if options.boxes is None else BoxFile(options.boxes, video_id=options.video.stem)
    every = options.every or 1.0
    recorder = Recorder(
        options.video,
        options.out or Path(f"{options.video.stem}_actions"),
        hold=every / 2,
        top=options.top,
        threshold=options.threshold,
        with_video=not options.no_video,
        overwrite=options.overwrite,
    )
    predictor = ActionPredictor(
        _model(options.weights, options.temporal_pool),
        boxes or create_person_detector(threshold=options.person_threshold, device=device),
        device=device,
        dtype=DTYPES[options.dtype],
        batch_size=options.batch_size,
    )
    found = predictor.predict(options.video, every=options.every, decoder=options.decoder)
    total = None if duration is None else int(duration / every) + 1
    if boxes is not None:
        total = len(boxes.timestamps)
    with recorder:
        _record(found, recorder, total, interruption)


def _demo(options: argparse.Namespace, interruption: "Interruption") -> None:
    print(demo.ABOUT)
    made = demo.prepare(options.out, overwrite=options.overwrite)
    recorder = Recorder(made.video, options.out, threshold=0.0, top=3, overwrite=options.overwrite)
    predictor = ActionPredictor(demo.untrained_model(), made.boxes)
    with recorder:
        _record(predictor.predict(made.video), recorder, made.num_keyframes, interruption)
    picture = demo.draw(made, options.out, overwrite=options.overwrite)
    print(f"\nLook at {picture}\nNext, a video of your own: acrn-zoo predict VIDEO --weights ava22")


def _model(weights: str, temporal_pool: TemporalPool | None) -> ActionDetector:
    named = {"ava21": acrn_zoo.slowfast_acrn_ava21, "ava22": acrn_zoo.slowfast_acrn_ava22}
    if weights in named:
        return named[weights](temporal_pool=temporal_pool)
    chosen = resolve_weights(SlowFast_R50_ACRN_Weights, weights)
    if isinstance(chosen, Path):
        return acrn_zoo.load_detector(chosen, temporal_pool=temporal_pool)
    return acrn_zoo.slowfast_r50_acrn(weights=chosen, temporal_pool=temporal_pool)


def _record(found: Iterator[Detections], recorder: Recorder, total: int | None, interruption: "Interruption") -> None:
    """Write every keyframe with a progress bar, and the summary whatever happens."""
    started = time.perf_counter()
    try:
        for detections in tqdm(found, total=total, desc="keyframes", unit="keyframe"):
            with interruption.held():
                recorder.add(detections)
    finally:
        _print_summary(recorder.summary, recorder.paths, time.perf_counter() - started)


def _print_summary(summary: Summary, paths: Sequence[Path], seconds: float) -> None:
    per_keyframe = f", {seconds / summary.num_keyframes:.2f} s each" if summary.num_keyframes else ""
    print(f"\n{summary.num_keyframes} keyframes{per_keyframe}; {summary.num_people} people in them")
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
    print("\nWritten: " + "  ".join(str(path) for path in paths))


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Notes to the user as one line, without the place in the code; other packages' deprecations not at all."""

    def show(message: Warning | str, *_: object) -> None:
        print(f"acrn-zoo: note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


class Interruption:
    """Ctrl-C and SIGTERM (Slurm, kill), both as KeyboardInterrupt, but never in the middle of a keyframe's writing."""

    def __init__(self) -> None:
        self._is_held = False
        self._is_pending = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # elsewhere signals are somebody else's
            self._previous = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put an interruption off until the block is done."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_pending:
            raise KeyboardInterrupt

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_held:
            raise KeyboardInterrupt
        self._is_pending = True


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 to 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value
