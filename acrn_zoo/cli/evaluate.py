"""``acrn-zoo evaluate``: mAP of a detector on a dataset."""

import argparse
from typing import Any

import tyro

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.recipe import add_recipe
from acrn_zoo.cli.score_table import means_of_groups, print_answer, print_classes, print_groups, score_as_dict
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.engine.build import require_data
from acrn_zoo.engine.distributed import processes
from acrn_zoo.engine.evaluate import Evaluation
from acrn_zoo.engine.evaluation_run import OF_RECIPE, Request, evaluate_request
from acrn_zoo.engine.logs import TerminalReport
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.files import write_json


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Evaluate a detector on a dataset folder: mAP at IoU 0.5, equal to AVA's official evaluation. The recipe says "
        "how clips are read; the weights say how the model is built."
    )
    add_recipe(verb, parse_flags)


def parse_flags(recipe: str, flags: list[str]) -> Request:
    """What the flags of the recipe ask for.

    Raises:
        SystemExit: with status 2, if a flag is unknown or has a value that it cannot have; with 0 after ``--help``.
    """
    config = RECIPES[recipe]()
    of_recipe: dict[str, Any] = {name: getattr(config.data, name) for name in OF_RECIPE}
    default = Request(weights=None, split=config.data.val_split, precision=config.optimization.precision, **of_recipe)
    return tyro.cli(
        Request,
        default=default,
        prog=f"acrn-zoo evaluate {recipe}",
        description=f"Evaluate a detector on clips as the recipe {recipe} reads them.",
        args=flags,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def run(options: argparse.Namespace, _interruption: Interruption) -> None:
    """Evaluate, print, write."""
    request: Request = options.parsed
    with processes(request.device) as group:
        found = evaluate_request(options.recipe, request, group, report=TerminalReport())
        assert found is not None, "nobody was asked to stop"
        if group.is_main:
            conclude(request, found)


def conclude(request: Request, found: Evaluation) -> None:
    """Print what an evaluation gave, and write it as JSON if that is asked for.

    Args:
        request: what was evaluated.
        found: its numbers.

    Raises:
        UserError: if the dataset folder cannot be read, or the file not be written.
    """
    folder = read_dataset_folder(require_data(request.data))
    labels = folder.evaluated_label_map
    groups = means_of_groups(found.result, labels)
    print_classes(found.result, labels)
    print_groups(groups)
    print(f"{found.num_keyframes} keyframes in {found.seconds:.1f} s, people: {request.people}")
    if request.json is not None:
        write_json(request.json, score_as_dict(found.result, groups, "official"))
    if written := [str(path) for path in (request.out, request.json) if path is not None]:
        print(f"Written: {'  '.join(written)}")
    is_excluding = folder.split(request.split).excluded is not None
    print_answer(found.result, None, "official rule" + ", excluded keyframes left out" * is_excluding)
