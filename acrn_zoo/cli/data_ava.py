"""``acrn-zoo data ava``: fetch AVA."""

import argparse
from pathlib import Path

from acrn_zoo.ava_download import VERSIONS, VIDEO_URLS, AvaSummary, fetch_ava
from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Fetch AVA's annotations, excluded keyframes, proposals and the list of its films from their public places, "
        "check them, and make DIR a dataset folder. Run it again to continue: what is there is kept. Ends with "
        "status 1 if something could not be fetched."
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="where to; made if it is missing")
    verb.add_argument("--version", choices=VERSIONS, default="2.2", help="of the annotations")
    verb.add_argument("--videos", action="store_true", help="fetch the 299 films too: about 160 GB")
    verb.add_argument("--jobs", type=positive, default=4, help="downloads at once")
    verb.add_argument(
        "--from", dest="url_base", metavar="URL", help="a folder that has all files under their own names, as a mirror"
    )
    verb.add_argument(
        "--accept", action="append", metavar="NAME", help="take this file although its SHA-256 is not the known one"
    )


def run(options: argparse.Namespace, interruption: Interruption) -> int:  # noqa: ARG001 - it may come at any time
    """Fetch, and say what is there and what is not."""
    summary = fetch_ava(
        options.folder,
        version=options.version,
        with_videos=options.videos,
        num_jobs=options.jobs,
        url_base=options.url_base,
        accepted=options.accept or (),
    )
    _print_summary(summary)
    return 1 if summary.failures else 0


def _print_summary(summary: AvaSummary) -> None:
    for name, reason in summary.failures.items():
        print(f"FAILED  {name}: {reason}")
    if summary.failures:
        print("Run the same command again to continue.\n")
    print(f"Fetched: {', '.join(summary.fetched) or 'nothing, all was there'}")
    if summary.num_films:
        print(f"Films: {summary.films_here} of {summary.num_films} are in {summary.root / 'videos'}")
    if summary.films_here < summary.num_films:
        print(
            f"The others are listed in {summary.root / VIDEO_URLS}: fetch them with --videos (160 GB in all), or put "
            "your own copies there (VIDEO_ID.mkv, .mp4, ...; whole films or cuts from minute 15 to 30)"
        )
    if summary.is_complete:
        print(f"Next: acrn-zoo data check {summary.root}")
