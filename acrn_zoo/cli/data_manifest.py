"""``acrn-zoo data manifest``: look at every video of a dataset once."""

import argparse
from pathlib import Path

from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.manifest import MANIFEST_FILE, ManifestEntry, update_manifest


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Open every video of a dataset, decode its beginning and its end, and write manifest.json: length, frame rate, "
        "frames, size, hash. Videos that have not changed since the last time are not looked at again. Ends with "
        "status 1 if a video cannot be used."
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="a dataset folder, with its dataset.json")
    verb.add_argument("--full", action="store_true", help="decode and count every frame, hash every byte")
    verb.add_argument("--workers", type=positive, default=4, help="videos at once")


def run(options: argparse.Namespace, interruption: Interruption) -> int:  # noqa: ARG001 - it may come at any time
    """Write the manifest and say what is wrong."""
    dataset = read_dataset_folder(options.folder)
    path = dataset.root / MANIFEST_FILE
    with tqdm(total=len(dataset.videos), desc="videos", unit="video") as bar:

        def show(_video_id: str, _entry: ManifestEntry) -> None:
            bar.update()

        entries = update_manifest(
            path,
            dataset.videos,
            frame_rate=dataset.frame_rate,
            depth="full" if options.full else "quick",
            num_workers=options.workers,
            progress=show,
        )
    _print_summary(entries)
    broken = {video_id: entry for video_id, entry in entries.items() if entry.problems}
    print(f"\nWritten: {path}")
    _print_problems(broken, len(entries))
    return 1 if broken else 0


def _print_summary(entries: dict[str, ManifestEntry]) -> None:
    seconds = sum(entry.duration or 0.0 for entry in entries.values())
    size = sum(entry.size for entry in entries.values())
    rates = sorted({f"{entry.frame_rate:.5g}" for entry in entries.values() if entry.frame_rate is not None}, key=float)
    listed = ", ".join(rates[:5]) + (", ..." if len(rates) > 5 else "")
    about = f"; {listed} frames a second" if rates else ""
    print(f"\n{len(entries)} videos, {seconds / 3600:.2f} h, {size / 1e9:.2f} GB{about}")


def _print_problems(broken: dict[str, ManifestEntry], num_videos: int) -> None:
    if not broken:
        print("No problems.")
        return
    print(f"\n{len(broken)} of {num_videos} videos cannot be used:")
    width = max(map(len, broken))
    for video_id, entry in broken.items():
        for problem in entry.problems:
            print(f"{video_id:<{width}}  {problem}")
