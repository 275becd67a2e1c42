"""The command line: ``acrn-zoo predict`` and ``acrn-zoo demo``."""

import argparse
import math
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

from acrn_zoo import demo, zoo
from acrn_zoo.data.video import VideoReader
from acrn_zoo.errors import UserError
from acrn_zoo.models import ActionDetector
from acrn_zoo.models.backbone import TemporalPool
from acrn_zoo.people import BoxFile
from acrn_zoo.predictor import MIN_EVERY, ActionPredictor, create_person_detector, require_within, resolve_device
from acrn_zoo.recorder import Recorder
from acrn_zoo.structures import Detections
from acrn_zoo.version import VERSION
from acrn_zoo.weights import SlowFast_R50_ACRN_Weights, SlowFast_R50_RoI_Weights, resolve_weights

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; those of the process if None.

    Returns:
        The exit status: 0 if all went well, 1 for an error that its message explains, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
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
    parser.add_argument("--version", action="version", version=f"acrn-zoo {VERSION}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_predict(verbs)
    _add_demo(verbs)
    return parser


def _add_predict(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    names = ", ".join(SlowFast_R50_ACRN_Weights.__members__)
    baselines = ", ".join(
        f"{SlowFast_R50_RoI_Weights.__name__}.{name}" for name in SlowFast_R50_RoI_Weights.__members__
    )
    verb = verbs.add_parser(
        "predict",
        help="label the people of a video",
        description="Label the people of a video: an AVA-form CSV, JSON lines and an annotated video are written.",
        formatter_class=_HelpFormatter,
    )
    verb.set_defaults(run=_predict)
    verb.add_argument("video", type=Path, metavar="VIDEO", help="a video file")
    verb.add_argument(
        "--weights",
        default="ava22",
        help=f"ava21, ava22, {names}, {baselines}, or the path of a file",
    )
    verb.add_argument("--temporal-pool", choices=("avg", "max"), help="for the path of a checkpoint that does not tell")
    people = verb.add_mutually_exclusive_group()
    people.add_argument(
        "--boxes", type=Path, metavar="FILE", help="where the people are, as CSV or JSON; its moments are the keyframes"
    )
    people.add_argument(
        "--people", choices=("fasterrcnn",), help="find the people with this detector; so it is if nothing is said"
    )
    verb.add_argument(
        "--person-threshold", type=_fraction, default=0.9, help="lowest score of the detector that counts"
    )
    verb.add_argument("--out", type=Path, metavar="DIR", help="where to write; VIDEO_actions if not given")
    verb.add_argument(
        "--every",
        type=_seconds,
        help="seconds between keyframes; 1, or with --boxes the moments of the file, if not given",
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
        formatter_class=_HelpFormatter,
    )
    verb.set_defaults(run=_demo)
    verb.add_argument("--out", type=Path, metavar="DIR", default=Path("acrn_demo"), help="where to write")
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def _predict(options: argparse.Namespace, interruption: "Interruption") -> None:
    """Everything that can be wrong is looked at before the first download."""
    device = resolve_device(options.device)
    with VideoReader(options.video, decoder=options.decoder) as reader:
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
        overwrite=options.overwrite,
        inputs=[Path(path) for path in (options.boxes, options.weights) if path is not None],
    )
    predictor = ActionPredictor(
        _model(options.weights, options.temporal_pool),
        boxes or create_person_detector(threshold=options.person_threshold, device=device),
        device=device,
        dtype=DTYPES[options.dtype],
        batch_size=options.batch_size,
    )
    found = predictor.predict(options.video, every=options.every, decoder=options.decoder)
    total = None if info.duration is None else math.ceil(info.duration / every - 1e-6)
    if boxes is not None and options.every is None:
        total = len(boxes.timestamps)
    _record(found, recorder, total, interruption)


def _demo(options: argparse.Namespace, interruption: "Interruption") -> None:
    print(demo.ABOUT)
    recorder = demo.recorder(options.out, overwrite=options.overwrite)
    made = demo.prepare(options.out, overwrite=options.overwrite)
    predictor = ActionPredictor(demo.untrained_model(), made.boxes)
    _record(predictor.predict(made.video), recorder, made.num_keyframes, interruption)
    picture = demo.draw(made, options.out, overwrite=options.overwrite)
    print(f"\nLook at {picture}\nNext, a video of your own: {Path(sys.argv[0]).name} predict VIDEO --weights ava22")


def _model(weights: str, temporal_pool: TemporalPool | None) -> ActionDetector:
    named = {"ava21": zoo.slowfast_acrn_ava21, "ava22": zoo.slowfast_acrn_ava22}
    if weights in named:
        return named[weights](temporal_pool=temporal_pool)
    if weights.startswith(f"{SlowFast_R50_RoI_Weights.__name__}."):
        return zoo.slowfast_r50_roi(weights=weights, temporal_pool=temporal_pool)
    chosen = resolve_weights(SlowFast_R50_ACRN_Weights, weights)
    if isinstance(chosen, Path):
        return zoo.load_detector(chosen, temporal_pool=temporal_pool)
    return zoo.slowfast_r50_acrn(weights=chosen, temporal_pool=temporal_pool)


def _record(found: Iterator[Detections], recorder: Recorder, total: int | None, interruption: "Interruption") -> None:
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


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default only where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


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
    return _number(text, 0, 1, "a number of 0 to 1")


def _seconds(text: str) -> float:
    return _number(text, MIN_EVERY, sys.float_info.max, f"a number of seconds of at least {MIN_EVERY}")


def _positive(text: str) -> int:
    value = _number(text, 1, sys.float_info.max, "a whole number of at least 1")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(value)


def _number(text: str, lowest: float, highest: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value
