"""``acrn-zoo demo``: the whole way once, offline."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from acrn_zoo import demo
from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.recording import record
from acrn_zoo.structures import Detections


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = demo.ABOUT
    verb.add_argument("--out", type=Path, metavar="DIR", default=Path("acrn_demo"), help="where to write")
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run")


def run(options: argparse.Namespace, interruption: Interruption) -> None:
    """Draw a video, label its people, measure, and say where to look."""
    print(demo.ABOUT)
    recorder = demo.recorder(options.out, overwrite=options.overwrite)
    files = demo.prepare(options.out, overwrite=options.overwrite)
    predictor = demo.create_predictor(files)
    found: list[Detections] = []

    def kept() -> Iterator[Detections]:
        for detections in predictor.predict(files.video):
            found.append(detections)
            yield detections

    record(kept(), recorder, len(demo.moments()), interruption)
    answers = list(demo.right_answers(files, predictor))
    pointing = demo.pointing(answers)
    demo.draw(files, answers, pointing, overwrite=options.overwrite)
    print(f"\nmAP {demo.mean_average_precision(found):.3f}, by AVA's official rule against the known truth")
    print(demo.pointing_in_words(pointing))
    print(f"Written besides: {files.video}  {files.boxes}  {files.picture}")
    print(f"\nLook at {files.picture} first: it shows which place in the scene the model goes by.")
    print("Next, a real video, with weights trained on AVA: acrn-zoo predict VIDEO --weights ava22")
