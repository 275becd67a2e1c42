"""The small world as a dataset folder: mp4 files, AVA's CSV files, proposals, and the places that decided the actions.

Every video is a row of shots of one second, with a keyframe in the middle of each. Besides what every dataset folder
has (:mod:`acrn_zoo.data.folder`) there are, for each split::

    SPLIT_proposals.csv    where a person detector might have found people: boxes a little off, with some false ones
    SPLIT_excluded.csv     keyframes that are left out: their shots show nobody
    SPLIT_places.csv       which places decided an action, and which are of the same kind and did not: a header, then
                           video_id,timestamp,person_id,action_id,x1,y1,x2,y2,decides (fractions of the frame; 1 or 0)
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.data.new_folder import new_folder, require_free
from acrn_zoo.data.synthetic.drawing import draw_backdrop, draw_frame
from acrn_zoo.data.synthetic.world import CATEGORIES, MOST_SECONDS, Difficulty, Scene, draw_scene
from acrn_zoo.data.transforms import sample_random
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.errors import UserError
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import ANNOTATION_COLUMNS, BOX_COLUMNS, KEYFRAME_COLUMNS, PROPOSAL_COLUMNS, write_table

FRAME_RATE = 10
PLACE_COLUMNS = (*KEYFRAME_COLUMNS, "person_id", "action_id", *BOX_COLUMNS, "decides")
LABEL_MAP = LabelMap(dict(enumerate(CATEGORIES, start=1)))
DEFAULT_SPLITS = {"train": 1100, "val": 90}
_RATE_FACTOR = 23  # of x264: figures stay clear, and the default set below 30 MB
_EMPTY_SHOTS = 0.02  # how many shots show things, but nobody


class PlacesError(UserError, ValueError):
    """A file of places cannot be used."""


@dataclass(frozen=True)
class SmallWorld:
    """What to generate; every number changes the result, and the same numbers give the same.

    Args:
        seed: of all that is random.
        splits: name of a split to number of its videos.
        num_shots: of a video.
        shot_seconds: length of a shot.
        side: height and width of the frames in pixels.
        difficulty: of the scenes.

    Raises:
        ValueError: if there would be nothing to generate.
    """

    seed: int = 0
    splits: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_SPLITS))
    num_shots: int = 4
    shot_seconds: float = 1.0
    side: int = 64
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        if not self.splits or min(self.splits.values()) < 1 or self.num_shots < 1:
            raise ValueError(f"splits is {dict(self.splits)}, num_shots {self.num_shots}: expected at least 1 of each")
        for name, value, least, most in (
            ("side", self.side, 32, math.inf),
            ("shot_seconds", self.shot_seconds, 0.5, MOST_SECONDS),
            ("seed", self.seed, 0, math.inf),
        ):
            if not least <= value <= most:
                bounds = f"at least {least}" if most == math.inf else f"{least} to {most}"
                raise ValueError(f"{name} is {value}, expected {bounds}")


def write_small_world(
    out: str | Path,
    world: SmallWorld | None = None,
    *,
    overwrite: bool = False,
    num_processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetFolder:
    """Write a small world as a dataset folder; it is there whole or not at all.

    Args:
        out: the folder.
        world: what to generate; the default set (4,760 shots, 28.6 MB) if None.
        overwrite: whether a dataset that is there may be replaced.
        num_processes: that draw at once; as many as there are processors if None.
        progress: called with the number of videos that are done, and of all.

    Raises:
        UserError: if the folder cannot be written.
    """
    out, world = Path(out), world or SmallWorld()
    require_free(out, overwrite)
    tasks = [(world, number, name) for number, name in enumerate(_video_names(world))]
    with new_folder(out) as root:
        (root / "videos").mkdir()
        made: list[_VideoTables] = []
        for tables in _in_processes(root, tasks, num_processes or os.cpu_count() or 1):
            made.append(tables)
            if progress is not None:
                progress(len(made), len(tasks))
        folder = _folder(root, world)
        for split in world.splits:
            _write_split(root, split, [tables for tables in made if tables.split == split])
        write_dataset_folder(folder)
    return _folder(out, world)


def read_places(path: str | Path) -> pd.DataFrame:
    """Read ``SPLIT_places.csv``, with the columns :data:`PLACE_COLUMNS`.

    Raises:
        PlacesError: if the file is missing, or has other columns or cells.
    """
    types = dict.fromkeys(PLACE_COLUMNS, float) | {"video_id": str, "person_id": int, "action_id": int, "decides": int}
    try:
        table = pd.read_csv(path, dtype=types)
    except (OSError, ValueError) as error:
        raise PlacesError(f"{path} cannot be read ({error}): make the small world again") from error
    if tuple(table.columns) != PLACE_COLUMNS:
        raise PlacesError(
            f"{path} has the columns {', '.join(table.columns)}, expected {', '.join(PLACE_COLUMNS)}: make the small "
            "world again, with this version"
        )
    return table


def write_shots(path: Path, scenes: list[Scene], side: int) -> None:
    """Write scenes one after the other as an mp4 of 10 frames a second.

    Raises:
        VideoError: if the file exists, or cannot be written.
    """
    with VideoWriter(path, (side, side), FRAME_RATE, constant_rate_factor=_RATE_FACTOR) as video:
        number = 0
        for scene in scenes:
            backdrop = draw_backdrop(scene, side)
            num_frames = round(scene.seconds * FRAME_RATE)
            for index in range(num_frames):
                time = index / FRAME_RATE - scene.seconds / 2
                video.write(draw_frame(scene, time, side, backdrop), number / FRAME_RATE)
                number += 1


@dataclass(frozen=True)
class _VideoTables:
    """The rows of one video."""

    split: str
    annotations: pd.DataFrame
    proposals: pd.DataFrame
    excluded: pd.DataFrame
    places: pd.DataFrame


def _video_names(world: SmallWorld) -> list[str]:
    return [f"{split}_{number:04d}" for split, count in world.splits.items() for number in range(count)]


def _in_processes(root: Path, tasks: list[tuple[SmallWorld, int, str]], num_processes: int) -> Iterator[_VideoTables]:
    if num_processes == 1:
        yield from (_write_video(root, *task) for task in tasks)
        return
    # Fresh processes: a fork of one that has run PyTorch's threads may hang.
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_write_video, root, *task) for task in tasks]
        try:
            yield from (future.result() for future in futures)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write_video(root: Path, world: SmallWorld, number: int, name: str) -> _VideoTables:
    scenes = []
    for shot in range(world.num_shots):
        scene = draw_scene(world.seed, number, shot, seconds=world.shot_seconds, difficulty=world.difficulty)
        is_empty = sample_random(world.seed, number, shot + 2**32).random() < _EMPTY_SHOTS
        scenes.append(Scene((), scene.things, scene.seconds, scene.backdrop) if is_empty else scene)
    write_shots(root / "videos" / f"{name}.mp4", scenes, world.side)
    categories = world.difficulty.categories
    return _tables(name, scenes, categories, sample_random(world.seed, number, 2**33))


def _tables(name: str, scenes: list[Scene], categories: tuple[str, ...], random: np.random.Generator) -> _VideoTables:
    """Annotations, proposals and places of one video; the keyframe of a shot is its middle."""
    annotations, proposals, excluded, places = [], [], [], []
    start, first_person = 0.0, 0
    for scene in scenes:
        moment = (name, round(start + scene.seconds / 2, 6))
        for index, person in enumerate(scene.people):
            box, person_id = person.box(0.0), first_person + index
            for action, evidence in scene.evidence(index).items():
                action_id = categories.index(action) + 1
                annotations.append((*moment, *_rounded(box), action_id, person_id))
                both = ((1, evidence), (0, scene.rivals(index).get(action, ())))
                places += [
                    (*moment, person_id, action_id, *_rounded(figure.box(0.0)), decides)
                    for decides, figures in both
                    for figure in figures
                ]
        proposals += [(*moment, *_rounded(box), score) for box, score in _found_people(scene, random)]
        if not scene.people:
            excluded.append(moment)
        start += scene.seconds
        first_person += len(scene.people)
    return _VideoTables(
        split=name.rpartition("_")[0],
        annotations=pd.DataFrame(annotations, columns=list(ANNOTATION_COLUMNS)),
        proposals=pd.DataFrame(proposals, columns=list(PROPOSAL_COLUMNS)),
        excluded=pd.DataFrame(excluded, columns=list(KEYFRAME_COLUMNS)),
        places=pd.DataFrame(places, columns=list(PLACE_COLUMNS)),
    )


def _found_people(scene: Scene, random: np.random.Generator) -> Iterator[tuple[tuple[float, ...], float]]:
    """What a person detector might say: boxes a little off, now and then one missed, or a thing taken for somebody."""
    for person in scene.people:
        box = np.array(person.box(0.0))
        width, height = box[2] - box[0], box[3] - box[1]
        shifts = (random.random(4) - 0.5) * 0.12 * np.array([width, height, width, height])
        score, is_missed = 0.9 + 0.1 * random.random(), random.random() < 0.02
        if not is_missed:
            yield tuple(np.clip(box + shifts, 0, 1).tolist()), round(float(score), 4)
    for thing in scene.things:
        if random.random() < 0.04:
            yield thing.box(0.0), round(0.3 + 0.65 * float(random.random()), 4)


def _rounded(box: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in box)


def _folder(root: Path, world: SmallWorld) -> DatasetFolder:
    return DatasetFolder(
        root=root,
        name="small world",
        label_map=LabelMap(dict(enumerate(world.difficulty.categories, start=1))),
        splits={
            split: Split(root / f"{split}.csv", root / f"{split}_excluded.csv", root / f"{split}_proposals.csv")
            for split in world.splits
        },
        videos={name: VideoEntry(root / "videos" / f"{name}.mp4") for name in _video_names(world)},
    )


def _write_split(root: Path, split: str, videos: list[_VideoTables]) -> None:
    write_table(root / f"{split}.csv", pd.concat([tables.annotations for tables in videos]))
    write_table(root / f"{split}_excluded.csv", pd.concat([tables.excluded for tables in videos]))
    write_table(root / f"{split}_proposals.csv", pd.concat([tables.proposals for tables in videos]))
    places = pd.concat([tables.places for tables in videos])
    places.to_csv(root / f"{split}_places.csv", index=False)
