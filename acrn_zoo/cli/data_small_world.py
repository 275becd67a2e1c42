"""``acrn-zoo data small-world``: generate the small world, in which relations can be learnt in minutes."""

import argparse
from pathlib import Path

from tqdm import tqdm

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.data.synthetic.small_world import SmallWorld, write_small_world
from acrn_zoo.data.synthetic.world import Difficulty
from acrn_zoo.errors import UserError


class SmallWorldError(UserError, ValueError):
    """There is no such small world."""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    default = SmallWorld()
    verb.description = (
        "Generate a dataset of short videos in which people in robes of two colours walk, wave, and have to do with "
        "things and people of the same colours elsewhere in the scene. The same options give the same data."
    )
    verb.add_argument("out", type=Path, metavar="DIR", help="the dataset folder to make")
    verb.add_argument("--train", type=positive, default=default.splits["train"], metavar="N", help="videos to train on")
    verb.add_argument("--val", type=positive, default=default.splits["val"], metavar="N", help="videos to evaluate on")
    verb.add_argument("--shots", type=positive, default=default.num_shots, help="scenes of a video")
    verb.add_argument("--side", type=positive, default=default.side, metavar="PIXELS", help="of the square frames")
    verb.add_argument("--seed", type=int, default=default.seed, help="another one gives other scenes")
    verb.add_argument(
        "--people", type=positive, nargs=2, default=default.difficulty.num_people, metavar="N", help="least and most"
    )
    verb.add_argument(
        "--things", type=positive, nargs=2, default=default.difficulty.num_things, metavar="N", help="least and most"
    )
    verb.add_argument("--shapes", type=positive, default=default.difficulty.num_shapes, metavar="N", help="1 to 3")
    verb.add_argument(
        "--colors",
        type=positive,
        default=default.difficulty.num_colors,
        metavar="N",
        help="of halves of robes and things, 2 to 8",
    )
    verb.add_argument(
        "--scene-colors",
        type=positive,
        default=default.difficulty.num_scene_colors,
        metavar="N",
        help="how many of them the upper halves of one scene have, and how many the lower halves",
    )
    verb.add_argument("--processes", type=positive, metavar="N", help="that draw at once; as many as processors")
    verb.add_argument("--overwrite", action="store_true", help="replace the dataset in the folder")


def run(options: argparse.Namespace, interruption: Interruption) -> None:  # noqa: ARG001 - it may come at any time
    """Generate, and say what there is."""
    world = _world(options)
    with tqdm(desc="videos", unit="video") as bar:

        def show(num_done: int, num_all: int) -> None:
            bar.total = num_all
            bar.update(num_done - bar.n)

        folder = write_small_world(
            options.out,
            world,
            overwrite=options.overwrite,
            num_processes=options.processes,
            progress=show,
        )
    size = sum(path.stat().st_size for path in folder.root.rglob("*") if path.is_file())
    print(f"\n{len(folder.videos)} videos, {options.shots} keyframes each, {size / 1e6:.1f} MB")
    for family, actions in world.difficulty.families.items():
        print(f"  {family:8}  {', '.join(actions)}")
    print(f"\n{options.out} is ready. Train on it with: acrn-zoo train small_world --data {options.out} --out DIR")


def _world(options: argparse.Namespace) -> SmallWorld:
    try:
        difficulty = Difficulty(
            num_people=tuple(options.people),
            num_things=tuple(options.things),
            num_shapes=options.shapes,
            num_colors=options.colors,
            num_scene_colors=options.scene_colors,
        )
        splits = {"train": options.train, "val": options.val}
        return SmallWorld(options.seed, splits, options.shots, side=options.side, difficulty=difficulty)
    except ValueError as error:
        raise SmallWorldError(f"there is no such small world: {error}") from error
