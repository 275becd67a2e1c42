"""``acrn-zoo data check``: the doctor."""

import argparse
from pathlib import Path

from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.manifest import ManifestEntry
from acrn_zoo.dataset_check import Report, check_dataset, draw_samples, report_as_json, report_as_text
from acrn_zoo.files import require_writable, write_json
from acrn_zoo.visualize import PictureError, save_png

PICTURE = "data_check.png"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Read everything of a dataset, and predictions on it if there are some, and say in plain words what is wrong, "
        "worst first. Ends with status 1 if there is an error."
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="a dataset folder, with its dataset.json")
    verb.add_argument("--split", action="append", metavar="NAME", help="look at this split only; may be given again")
    verb.add_argument("--predictions", type=Path, metavar="CSV", help="say why these do not meet the ground truth")
    pictures = verb.add_mutually_exclusive_group()
    pictures.add_argument(
        "--picture", type=Path, metavar="PNG", help=f"where to draw sample keyframes; DIR/{PICTURE} if not given"
    )
    pictures.add_argument("--no-picture", action="store_true", help="draw none")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the report in a form for programs, too")
    verb.add_argument("--videos", action=argparse.BooleanOptionalAction, default=True, help="open the videos")
    verb.add_argument("--workers", type=positive, default=4, help="videos opened at once")
    verb.add_argument("--overwrite", action="store_true", help="replace the files of --picture and --json")


def run(options: argparse.Namespace, interruption: Interruption) -> int:  # noqa: ARG001 - it may come at any time
    """Print the report; say by the status whether the dataset is healthy."""
    for path in filter(None, (options.picture, options.json)):
        require_writable(path, overwrite=options.overwrite)
    dataset = read_dataset_folder(options.folder)
    with tqdm(
        total=len(dataset.videos) * options.videos, desc="videos", unit="video", disable=not options.videos
    ) as bar:

        def show(_video_id: str, _entry: ManifestEntry) -> None:
            bar.update()

        report = check_dataset(
            dataset,
            splits=options.split,
            predictions=options.predictions,
            with_videos=options.videos,
            num_workers=options.workers,
            progress=show,
        )
    print(report_as_text(report) + "\n", flush=True)  # before anything else can fail
    if options.json is not None:
        write_json(options.json, report_as_json(report))
        print(f"Written: {options.json}")
    if options.videos and not options.no_picture:
        _draw(report, options.picture)
    return 0 if report.is_healthy else 1


def _draw(report: Report, path: Path | None) -> None:
    """The page of samples. The one in the dataset's folder is of the doctor's own making, and replaced."""
    sheet = draw_samples(report)
    if sheet is None:
        return
    try:
        save_png(path or report.folder.root / PICTURE, sheet, overwrite=True)
    except PictureError as error:
        if path is not None:
            raise
        print(f"No picture was drawn: {error}. --picture PNG draws it elsewhere.")  # many datasets are read-only
    else:
        print(f"Written: {path or report.folder.root / PICTURE}")
