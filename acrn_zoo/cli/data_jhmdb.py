"""``acrn-zoo data jhmdb``: a split of J-HMDB as a dataset folder."""

import argparse
from pathlib import Path

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.data.jhmdb import create_folder, find_videos, read_jhmdb
from acrn_zoo.files import OutputError


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Make a dataset folder of one split of J-HMDB, from which training and evaluation read: every frame of a tube "
        "is a keyframe, the test videos are the split val. Videos stay where they are."
    )
    verb.add_argument("ground_truth", type=Path, metavar="GT", help="JHMDB-GT.pkl as ACT published it")
    verb.add_argument(
        "--videos", type=Path, required=True, metavar="DIR", help="a copy of J-HMDB: frames, or .avi files"
    )
    verb.add_argument("--split", type=positive, default=1, help="number of the split")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the dataset folder to make; new or empty")


def run(options: argparse.Namespace, _interruption: Interruption) -> None:
    """Find the videos, write the folder, say what is in it."""
    truth = read_jhmdb(options.ground_truth)
    train, test = truth.split(options.split)
    paths = find_videos(options.videos, [*train, *test])
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {options.out}: {error.strerror}") from error
    folder = create_folder(options.out, truth, options.split, paths)
    print(f"{folder.name}: {len(train)} videos to train on, {len(test)} to test on, {len(truth.categories)} classes")
    print(f"\n{folder.root} is ready; look for mistakes in it with: acrn-zoo data check {folder.root}")
