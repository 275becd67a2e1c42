"""``acrn-zoo demo``: the whole way once, offline."""

import argparse
import sys
from pathlib import Path

from acrn_zoo import demo
from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.recording import record
from acrn_zoo.predictor import ActionPredictor


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = demo.ABOUT
    verb.add_argument("--out", type=Path, metavar="DIR", default=Path("acrn_demo"), help="where to write")
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def run(options: argparse.Namespace, interruption: Interruption) -> None:
    """Generate a video, label its people, and say where to look."""
    print(demo.ABOUT)
    recorder = demo.recorder(options.out, overwrite=options.overwrite)
    made = demo.prepare(options.out, overwrite=options.overwrite)
    predictor = ActionPredictor(demo.untrained_model(), made.boxes)
    record(predictor.predict(made.video), recorder, made.num_keyframes, interruption)
    picture = demo.draw(made, options.out, overwrite=options.overwrite)
    print(f"\nLook at {picture}\nNext, a video of your own: {Path(sys.argv[0]).name} predict VIDEO --weights ava22")
