"""People's own annotations (CVAT, VIA, COCO, AVA's CSV) made into a dataset folder.

:func:`import_annotations` does all of it; the readers beside it know one format each.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.importers.actions import ActionRule, choose_rule
from acrn_zoo.data.importers.ava_csv import read_ava_csv
from acrn_zoo.data.importers.coco import read_coco
from acrn_zoo.data.importers.cvat import read_cvat
from acrn_zoo.data.importers.keyframes import Labelled, Losses, label_boxes, place_boxes
from acrn_zoo.data.importers.marks import ImportFileError, Marks
from acrn_zoo.data.importers.notes import dataset_notes, picture_notes, picture_warnings
from acrn_zoo.data.importers.via import read_via
from acrn_zoo.data.importers.videos import Clock, find_video
from acrn_zoo.data.importers.writing import write_folder
from acrn_zoo.data.new_folder import require_free
from acrn_zoo.labels import LabelMap, read_label_map
from acrn_zoo.tables import KEYFRAME_COLUMNS, NO_ACTION

__all__ = ["FORMATS", "ImportFileError", "ImportSummary", "find_format", "import_annotations", "read_classes"]

FORMATS: Mapping[str, Callable[[Path, Marks], None]] = {
    "cvat": read_cvat,
    "via": read_via,
    "coco": read_coco,
    "ava": read_ava_csv,
}
TRAIN, VAL = "train", "val"


@dataclass(frozen=True)
class ImportSummary:
    """What an import made of the annotations.

    Args:
        root: the dataset folder.
        format: of the annotations.
        actions_from: where actions were found, in words.
        ignored_attributes: names of attributes that were not taken for actions.
        every: seconds between keyframes; 0 if all annotated moments are keyframes.
        videos: video id to the ids' file or folder, None where it is not at hand.
        splits: name to video ids.
        keyframes: name of a split to its number of keyframes.
        num_people: people in all keyframes; one who is in ten keyframes counts ten times.
        num_without_action: those of them of whom no action is said: they have no row.
        num_empty_keyframes: keyframes in which nobody does anything that is a class.
        classes: class to the number of people doing it, in the order of the ids.
        num_clipped: boxes that were cut off at the border of the frame.
        dropped: what was left out, and how many.
        examples: one place each of what was left out.
        notes: what one should know.
        warnings: what looks as if the whole import were wrong.
    """

    root: Path
    format: str
    actions_from: str
    ignored_attributes: tuple[str, ...]
    every: float
    videos: Mapping[str, Path | None]
    splits: Mapping[str, tuple[str, ...]]
    keyframes: Mapping[str, int]
    num_people: int
    num_without_action: int
    num_empty_keyframes: int
    classes: Mapping[str, int]
    num_clipped: int
    dropped: Mapping[str, int]
    examples: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def import_annotations(
    annotations: Sequence[str | Path],
    out: str | Path,
    *,
    videos: str | Path | None = None,
    format: str | None = None,
    actions_from: str | None = None,
    classes: LabelMap | None = None,
    every: float | None = None,
    fractions: Mapping[str, float] | None = None,
    val: Sequence[str] = (),
    seed: int = 0,
    name: str | None = None,
    frame_rate: float | None = None,
    size: tuple[int, int] | None = None,
    first_frame: int | None = None,
    offset: float | Literal["auto"] = 0.0,
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> ImportSummary:
    """Make a dataset folder; it appears whole or not at all.

    Args:
        annotations: files of one format.
        out: the new folder.
        videos: folder of the videos (files, or folders of frames), or the video itself if there is one alone;
            None if they are not at hand: then annotations that count frames need ``frame_rate``, those in pixels
            that do not say the size ``size``.
        format: a key of :data:`FORMATS`; None to look.
        actions_from: see :func:`acrn_zoo.data.importers.actions.choose_rule`.
        classes: the classes and their ids; None to take the actions found, in alphabetical order.
        every: seconds between keyframes, 0 for all annotated moments; None for 1 second where a tool has put a
            box on every frame (CVAT tracks), else 0.
        fractions: name of a split to its share of the videos, at least one; the rest is ``train``.
        val: ids of the videos of the split ``val`` instead.
        seed: of the choice of videos.
        name: of the dataset; that of the folder if None.
        frame_rate: frames a second of folders of frames and of pictures that were extracted from video files.
            Where it is None, frame numbers become seconds by the times in the video file.
        size: height and width of videos that are not at hand.
        first_frame: number of a video's first frame in the names of pictures and in COCO's frame ids; None to take
            names by the lowest number, ids as counted from 0.
        offset: the second of the annotations that the first frame of every video shows; frame numbers become seconds
            that begin there. "auto" tells cuts of AVA's films (900) and whole ones (0) by their length.
        copy: copy the videos into the folder instead of naming their paths.
        overwrite: replace the dataset that ``out`` holds.
        progress: show a progress bar over the videos.

    Raises:
        ImportFileError: if annotations and videos do not make a dataset; says why.
        acrn_zoo.tables.TableError: if a CSV file is not of AVA's form.
        acrn_zoo.data.video.VideoError: if a video cannot be read.
        OutputError: if the folder cannot be written.
    """
    files, out = [Path(path) for path in annotations], Path(out)
    require_free(out, overwrite)
    found_format, marks = _read(files, format)
    place = None if videos is None else Path(videos)
    clocks = _open_videos(marks, place, frame_rate, size, None if offset == "auto" else offset)
    chosen_every = every if every is not None else 1.0 if marks.is_dense else 0.0
    losses = Losses(dropped=marks.left_out, examples=marks.examples)
    placed = place_boxes(marks, clocks, chosen_every, first_frame, losses, progress)
    states = [marks.states[number] for number in placed["state"].unique() if number >= 0]
    rule = ActionRule(True) if marks.labels_are_ids else choose_rule(states, actions_from)
    labelled = label_boxes(placed, marks, rule, classes, losses)
    is_unnamed = marks.labels_are_ids and classes is None
    paths = {clock.found.video_id: clock.found.path for clock in clocks}
    splits = _split(sorted(labelled.table["video_id"].unique()), fractions or {}, val, seed)
    folder_rate = frame_rate if any(clock.is_folder for clock in clocks) else None
    entries = {clock.found.video_id: VideoEntry(clock.found.path, clock.offset) for clock in clocks if clock.found.path}
    write_folder(out, name or out.name, labelled, splits, entries, folder_rate, copy)
    return ImportSummary(
        root=out,
        format=found_format,
        actions_from="the action ids" if marks.labels_are_ids else str(rule),
        ignored_attributes=rule.ignored,
        every=chosen_every,
        videos=paths,
        splits=splits,
        keyframes={split: _num_keyframes(labelled.table, ids) for split, ids in splits.items()},
        num_people=labelled.num_people,
        num_without_action=labelled.num_without_action,
        num_empty_keyframes=int((labelled.table["action_id"] == NO_ACTION).sum()),
        classes=_class_counts(labelled),
        num_clipped=losses.num_clipped,
        dropped=dict(losses.dropped),
        examples=losses.examples,
        notes=(
            *dataset_notes(splits, len(paths), len(entries)),
            *picture_notes(marks, clocks, frame_rate, first_frame),
            *(["classes are called by their ids: --classes LABEL_MAP.pbtxt names them"] * is_unnamed),
        ),
        warnings=picture_warnings(marks, clocks, frame_rate),
    )


def find_format(path: Path) -> str:
    """The format of an annotation file, by its first characters and its names.

    Raises:
        ImportFileError: if it is none of those that can be read, or is empty.
    """
    head = _head(path)
    if head.startswith(b"PK"):
        raise ImportFileError(f"{path} is a ZIP archive, as CVAT exports it: unpack it and name the file inside")
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t")
    if text.startswith("<"):
        return "cvat"
    if text.startswith(("{", "[")):
        is_coco = '"annotations"' in text or '"images"' in text or '"categories"' in text
        is_via = '"_via' in text or '"regions"' in text or ('"project"' in text and '"config"' in text)
        if is_coco != is_via:
            return "coco" if is_coco else "via"
    elif "," in (line := text.partition("\n")[0]) or text.startswith("#"):
        return "via" if "region_shape_attributes" in line or text.startswith("# ") else "ava"
    names = ", ".join(FORMATS)
    raise ImportFileError(f"{path} is of none of the formats {names}, as far as its beginning tells; see --format")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read ({error.strerror})") from error
    if not head.strip(b"\xef\xbb\xbf \r\n\t"):
        raise ImportFileError(f"{path} is empty, expected annotations: export or download it again")
    return head


def read_classes(text: str) -> LabelMap:
    """Classes from what a user names.

    Args:
        text: a label map (``.pbtxt``), a text file with a name a line, or names with commas between them.

    Raises:
        ImportFileError: if a name stands there twice, or there is none.
        acrn_zoo.labels.LabelMapError: if the label map is none.
    """
    path = Path(text)
    if path.suffix == ".pbtxt":
        return read_label_map(path)
    if path.is_file():
        names = path.read_text(encoding="utf-8-sig").splitlines()
    elif path.suffix == ".txt":
        raise ImportFileError(f"{path}: there is no such file of classes")
    else:
        names = text.split(",")
    names = [name.strip() for name in names if name.strip()]
    if len(set(names)) < len(names) or not names:
        raise ImportFileError(f"Classes {text!r}: expected names, each once")
    return LabelMap(dict(enumerate(names, start=1)))


def _read(files: Sequence[Path], wanted: str | None) -> tuple[str, Marks]:
    formats = {path: wanted or find_format(path) for path in files}
    if len(set(formats.values())) > 1:
        listed = ", ".join(f"{path} ({found})" for path, found in formats.items())
        raise ImportFileError(f"The files are of several formats: {listed}. Import one format at a time")
    marks = Marks()
    for path, found in formats.items():
        _head(path)
        FORMATS[found](path, marks)
    if not len(marks):
        raise ImportFileError(f"{', '.join(map(str, files))}: there is no box in it")
    return next(iter(formats.values())), marks


def _open_videos(
    marks: Marks,
    place: Path | None,
    frame_rate: float | None,
    size: tuple[int, int] | None,
    offset: float | None,
) -> list[Clock]:
    """The video of every source; one that several sources are about is opened once."""
    used = marks.table()["source"].unique()
    is_only = len({marks.sources[number].names[:1] for number in used}) == 1
    clocks: dict[str, Clock] = {}
    found = []
    for source in marks.sources:
        video = find_video(source, place, is_only=is_only)
        if video.video_id not in clocks:
            clocks[video.video_id] = Clock(video, frame_rate, size, offset)
        clock = clocks[video.video_id]
        if clock.found != video:
            raise ImportFileError(f"Two videos have the name {video.video_id!r}: {clock.found.path} and {video.path}")
        found.append(clock)
    return found


def _split(
    videos: Sequence[str], fractions: Mapping[str, float], val: Sequence[str], seed: int
) -> dict[str, tuple[str, ...]]:
    """Whole videos to each split, so that no video is in two."""
    chosen: dict[str, tuple[str, ...]] = {}
    if val:
        if unknown := sorted(set(val) - set(videos)):
            raise ImportFileError(f"There is no video {unknown[0]!r} for val; there are {', '.join(videos)}")
        chosen[VAL] = tuple(sorted(set(val)))
    elif len(videos) > 1:
        rest = random.Random(seed).sample(list(videos), len(videos))  # noqa: S311 - no secret
        for split, fraction in fractions.items():
            count = max(1, round(fraction * len(videos)))
            chosen[split], rest = tuple(sorted(rest[:count])), rest[count:]
    taken = {video for ids in chosen.values() for video in ids}
    train = tuple(video for video in videos if video not in taken)
    if not train or not all(chosen.values()):
        raise ImportFileError(f"{len(videos)} videos are too few for these splits: each needs one, train too")
    return {TRAIN: train, **chosen}


def _num_keyframes(table: pd.DataFrame, videos: Sequence[str]) -> int:
    return len(table.loc[table["video_id"].isin(videos), list(KEYFRAME_COLUMNS)].drop_duplicates())


def _class_counts(labelled: Labelled) -> dict[str, int]:
    counts = labelled.table["action_id"].value_counts()
    return {name: int(counts.get(number, 0)) for number, name in labelled.label_map.names.items()}
