"""``acrn-zoo data import``: people's own annotations made into a dataset folder."""

import argparse
import math
import re
from pathlib import Path
from typing import Literal

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import number, rate
from acrn_zoo.data.importers import FORMATS, ImportSummary, import_annotations, read_classes

_LISTED = 20  # classes that are shown; all of them stand in the label map


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    parser.add_argument("annotations", type=Path, nargs="+", metavar="ANNOTATIONS", help="files of one format")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the dataset folder to make")
    parser.add_argument(
        "--videos", type=Path, metavar="DIR|FILE", help="folder of the videos (or folders of frames), or the only one"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), help="of the annotations; found by looking if not given")
    parser.add_argument(
        "--actions-from",
        metavar="WHERE",
        help="label, attributes or attribute:NAME,...: where actions stand; found by looking if not given",
    )
    parser.add_argument(
        "--classes", metavar="FILE|NAMES", help="the classes: a label map, a file of names, or names,with,commas"
    )
    parser.add_argument(
        "--every",
        type=_seconds,
        metavar="SECONDS",
        help="between keyframes; 0 takes every annotated frame. If not given, 1 where boxes are interpolated over "
        "all frames (CVAT tracks), else 0",
    )
    splits = parser.add_mutually_exclusive_group()
    splits.add_argument(
        "--split", type=_share, nargs="+", metavar="NAME=SHARE", help="such as val=0.2: that share of the videos"
    )
    splits.add_argument("--val", nargs="+", default=[], metavar="VIDEO", help="the videos of the split val, by name")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of videos")
    parser.add_argument("--name", help="of the dataset; that of the folder if not given")
    parser.add_argument(
        "--frame-rate",
        type=rate,
        metavar="RATE",
        help="frames a second of frame folders, of videos not at hand, or of annotated pictures that were extracted "
        "from video files at another rate than the files' own",
    )
    parser.add_argument("--size", type=_size, metavar="WIDTHxHEIGHT", help="of videos that are not at hand")
    parser.add_argument(
        "--first-frame", type=int, choices=(0, 1), help="what pictures' names or COCO's frame ids count from"
    )
    parser.add_argument(
        "--offset",
        type=_offset,
        default=0.0,
        metavar="SECONDS|auto",
        help="second of the annotations that the first frame of a video shows: 900 for 15-minute cuts of AVA's films; "
        "auto tells these from whole films by their length",
    )
    parser.add_argument("--copy", action="store_true", help="copy the videos into the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in the folder")


def run(options: argparse.Namespace, _: Interruption) -> None:
    """Import, and say what became of the annotations."""
    summary = import_annotations(
        options.annotations,
        options.out,
        videos=options.videos,
        format=options.format,
        actions_from=options.actions_from,
        classes=None if options.classes is None else read_classes(options.classes),
        every=options.every,
        fractions=dict(options.split or ()),
        val=options.val,
        seed=options.seed,
        name=options.name,
        frame_rate=options.frame_rate,
        size=options.size,
        first_frame=options.first_frame,
        offset=options.offset,
        copy=options.copy,
        overwrite=options.overwrite,
    )
    _print_contents(summary)
    _print_decisions(summary)
    print(f"\n{summary.root} is ready; look for mistakes in it with: acrn-zoo data check {summary.root}")


def _print_contents(summary: ImportSummary) -> None:
    total = sum(summary.keyframes.values())
    print(f"{summary.format} annotations: {total} keyframes with {summary.num_people} people in them\n")
    print("split     videos  keyframes")
    for split, videos in summary.splits.items():
        names = ", ".join(videos[:5]) + (", ..." if len(videos) > 5 else "")
        print(f"{split:<8}{len(videos):>8}{summary.keyframes[split]:>11}  {names}")
    width = max(5, *map(len, summary.classes))
    print(f"\n{'class':<{width}}  people")
    for name, count in list(summary.classes.items())[:_LISTED]:
        print(f"{name:<{width}}{count:>8}")
    if len(summary.classes) > _LISTED:
        print(f"... and {len(summary.classes) - _LISTED} more classes")


def _print_decisions(summary: ImportSummary) -> None:
    every = f"one every {summary.every:g} s" if summary.every else "every annotated moment"
    print(f"\nkeyframes: {every} (--every)")
    print(f"actions: from {summary.actions_from} (--actions-from)")
    if summary.ignored_attributes:
        print(f"attributes that are no actions: {', '.join(summary.ignored_attributes)}")
    if summary.num_without_action:
        print(f"{summary.num_without_action} people do nothing that is a class: they have no row")
    if summary.num_empty_keyframes:
        print(f"{summary.num_empty_keyframes} keyframes in which nobody does: kept, as empty ones")
    if summary.num_clipped:
        print(f"{summary.num_clipped} boxes were cut off at the border of the frame")
    for what, count in summary.dropped.items():
        example = f", the first: {summary.examples[what]}" if summary.examples.get(what) else ""
        print(f"left out: {count} {what}{example}")
    for note in summary.notes:
        print(f"note: {note}")
    for warning in summary.warnings:
        print(f"\nWARNING: {warning}")


def _seconds(text: str) -> float:
    return number(text, 0, 1e6, "a number of seconds of at least 0")


def _offset(text: str) -> float | Literal["auto"]:
    return "auto" if text == "auto" else number(text, 0, 1e6, "auto or a number of seconds of at least 0")


def _size(text: str) -> tuple[int, int]:
    """Height and width."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1280x720")
    return int(match[2]), int(match[1])


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    value = number(share or "nothing", math.ulp(0), 1 - 1e-9, f"a share between 0 and 1, as in {name or 'val'}=0.2")
    if not re.fullmatch(r"\w+", name) or name == "train":
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a split other than train, and its share")
    return name, value
