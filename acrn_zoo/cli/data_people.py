"""``acrn-zoo data people``: find the people of all keyframes."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

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
from acrn_zoo.files import OutputError, require_writable
from acrn_zoo.people import PeopleDetector
from acrn_zoo.predictor import create_person_detector, resolve_device
from acrn_zoo.proposals import (
    ProposalsSummary,
    annotated_keyframes,
    find_proposals,
    missing_keyframes,
    partial_file,
    reopen,
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Find the people of all annotated keyframes with a person detector, and write the proposals that training and "
        "evaluation need. A run that was cut off is continued by the same command, and a finished one where keyframes "
        "have been annotated since. Ends with status 1 if a video cannot be read; the keyframes of the others are "
        "there then."
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
    files = _files_to_write(options, dataset)
    keyframes = {
        name: annotated_keyframes(dataset.split(name).annotations, with_all_seconds=options.all_seconds)
        for name in files
    }
    device = resolve_device(options.device)
    unfinished = {name: path for name, path in files.items() if _has_work(options, name, path, keyframes[name])}
    detector = create_person_detector(threshold=options.threshold, device=device) if unfinished else None
    num_problems = 0
    for name, path in files.items():
        if name in unfinished and detector is not None:
            summary = _find(options, dataset, name, path, keyframes[name], detector)
            num_problems += len(summary.problems)
        _name_in_dataset(options.folder, name, path)
    return 1 if num_problems else 0


def _files_to_write(options: argparse.Namespace, dataset: DatasetFolder) -> dict[str, Path]:
    """The splits and their files, in folders that can be written to."""
    if options.out is not None and options.split is None and len(dataset.splits) > 1:
        raise DatasetError(f"--out names one file, but there are the splits {', '.join(dataset.splits)}: say --split")
    files = {}
    for name in dataset.splits if options.split is None else (options.split,):
        named = dataset.split(name).proposals
        default = dataset.root / f"{name}_proposals.csv"
        path: Path = options.out or (named if named is not None and named.suffix == ".csv" else default)
        # A file of choice may be somebody else's; the others are proposals, and are continued.
        is_begun = options.out is None or partial_file(path).exists()
        require_writable(path, overwrite=options.overwrite or is_begun)
        files[name] = path
    return files


def _has_work(options: argparse.Namespace, name: str, path: Path, keyframes: Mapping[str, tuple[float, ...]]) -> bool:
    """Whether people are to be found for a file; a finished one that lacks some is made ready to be continued."""
    is_finished = path.exists() and not partial_file(path).exists() and not options.overwrite
    if is_finished and not (num_missing := missing_keyframes(path, keyframes)):
        print(f"{name}: {path} is there already; --overwrite makes it anew")
        return False
    _require_room_beside(path)
    if is_finished:
        print(f"{name}: {path} is there already and lacks {num_missing} keyframes, which are looked at now")
        reopen(path, _settings(options))
    return True


def _require_room_beside(path: Path) -> None:
    """Find out before the download whether the folder takes files."""
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}; --out FILE writes elsewhere") from error


def _settings(options: argparse.Namespace) -> dict[str, str | float]:
    return {"detector": options.detector, "threshold": options.threshold}


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
            settings=_settings(options),
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
    split, place = dataset.split(name), dataset.root / DATASET_FILE
    if split.proposals is None:
        splits = {**dataset.splits, name: replace(split, proposals=path)}
        try:
            write_dataset_folder(replace(dataset, splits=splits))
        except OutputError as error:  # --out FILE is for folders that can only be read
            print(f"{error}. So {path} is named nowhere: name it in a dataset.json of your own.")
        else:
            print(f"It is named in {place} now.")
    elif split.proposals != path:
        print(f"{place} names {split.proposals} as the proposals of {name!r}, not this file.")
