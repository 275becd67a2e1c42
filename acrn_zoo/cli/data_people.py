"""``acrn-zoo data people``: find the people of all keyframes."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import fraction
from acrn_zoo.data.folder import (
    DATASET_FILE,
    DatasetError,
    DatasetFolder,
    read_dataset_folder,
    write_dataset_folder,
)
from acrn_zoo.files import require_writable
from acrn_zoo.people import PeopleDetector
from acrn_zoo.predictor import create_person_detector, resolve_device
from acrn_zoo.proposals import ProposalsSummary, annotated_keyframes, find_proposals, partial_file


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Find the people of all annotated keyframes with a person detector, and write the proposals that training and "
        "evaluation need. A run that was cut off is continued by the same command. Ends with status 1 if a video "
        "cannot be read; the keyframes of the others are there then."
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="a dataset folder, with its dataset.json")
    verb.add_argument("--split", help="such as train or val; all of them if not given")
    verb.add_argument("--detector", choices=("fasterrcnn",), default="fasterrcnn", help="what finds the people")
    verb.add_argument(
        "--threshold",
        type=fraction,
        default=0.5,
        help="lowest score that counts; lower than the 0.9 of the published evaluation, so that this can still choose",
    )
    verb.add_argument(
        "--all-seconds", action="store_true", help="also the seconds between annotated keyframes, from first to last"
    )
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    verb.add_argument(
        "--out", type=Path, metavar="FILE", help="the file; the one in dataset.json or SPLIT_proposals.csv if not given"
    )
    verb.add_argument("--overwrite", action="store_true", help="replace files of an earlier run, and begin anew")


def run(options: argparse.Namespace, interruption: Interruption) -> int:  # noqa: ARG001 - it may come at any time
    """Everything that can be wrong is looked at before the first download."""
    dataset = read_dataset_folder(options.folder)
    files = dict(_files_to_write(options, dataset))
    keyframes = {
        name: annotated_keyframes(dataset.split(name).annotations, with_all_seconds=options.all_seconds)
        for name in files
    }
    device = resolve_device(options.device)
    if not files:
        return 0
    detector = create_person_detector(threshold=options.threshold, device=device)
    num_problems = 0
    for name, path in files.items():
        summary = _find(options, dataset, name, path, keyframes[name], detector)
        num_problems += len(summary.problems)
        _name_in_dataset(options.folder, name, path)
    return 1 if num_problems else 0


def _files_to_write(options: argparse.Namespace, dataset: DatasetFolder) -> Iterator[tuple[str, Path]]:
    """The splits to be done and their files. Where all are wanted, those that are done are left alone."""
    if options.out is not None and options.split is None and len(dataset.splits) > 1:
        raise DatasetError(f"--out names one file, but there are the splits {', '.join(dataset.splits)}: say --split")
    for name in dataset.splits if options.split is None else (options.split,):
        named = dataset.split(name).proposals
        default = dataset.root / f"{name}_proposals.csv"
        path: Path = options.out or (named if named is not None and named.suffix == ".csv" else default)
        is_begun = partial_file(path).exists()
        if options.split is None and path.exists() and not is_begun and not options.overwrite:
            print(f"{name}: {path} is there already; --overwrite makes it anew")
            continue
        require_writable(path, overwrite=options.overwrite or is_begun)
        yield name, path


def _find(
    options: argparse.Namespace,
    dataset: DatasetFolder,
    name: str,
    path: Path,
    keyframes: dict[str, tuple[float, ...]],
    detector: PeopleDetector,
) -> ProposalsSummary:
    with tqdm(desc=name, unit="keyframe") as bar:

        def show(num_done: int, total: int) -> None:
            if bar.total is None:
                bar.reset(total)
                bar.initial = num_done  # what an earlier run did says nothing about the time that is left
            bar.update(num_done - bar.n)

        summary = find_proposals(
            path,
            keyframes,
            dataset.videos,
            detector,
            settings={"detector": options.detector, "threshold": options.threshold},
            frame_rate=dataset.frame_rate,
            overwrite=options.overwrite,
            progress=show,
        )
    print(f"\n{name}: {summary.num_people} people in {summary.num_keyframes} keyframes\nWritten: {path}")
    if summary.problems:
        print(f"\n{len(summary.problems)} of {len(keyframes)} videos have keyframes that are missing in it:")
        for video_id, problem in summary.problems.items():
            print(f"{video_id}  {problem}")
        print("The same command does what is missing, once they are mended.")
    return summary


def _name_in_dataset(folder: Path, name: str, path: Path) -> None:
    """Let ``dataset.json`` name the file, unless it names another; read anew, since hours have passed."""
    dataset = read_dataset_folder(folder)
    split = dataset.split(name)
    if split.proposals is None:
        splits = {**dataset.splits, name: replace(split, proposals=path)}
        write_dataset_folder(replace(dataset, splits=splits))
        print(f"It is named in {dataset.root / DATASET_FILE} now.")
    elif split.proposals != path:
        print(f"{dataset.root / DATASET_FILE} names {split.proposals} as the proposals of {name!r}, not this file.")
