"""``acrn-zoo train``: train a detector by a recipe."""

import argparse

import tyro

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.recipe import add_recipe
from acrn_zoo.data.annotations import read_annotations
from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.engine.build import read_folder
from acrn_zoo.engine.config import Config, DataConfig, ModelConfig, OptimizationConfig, RunConfig
from acrn_zoo.engine.distributed import Processes, processes
from acrn_zoo.engine.logs import Silence, TerminalReport
from acrn_zoo.engine.recipes import RECIPES, summary_of
from acrn_zoo.engine.schedule import clips_per_step
from acrn_zoo.engine.train import TrainingResult, train

STOPPED = 130
"""The exit status of a run that was asked to stop, as of one that Ctrl-C ended."""

STOPPING = "Stopping at the end of this step, with a checkpoint. Once more to stop at once."


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.description = (
        "Train a detector. The run's folder holds everything: give the same command again to go on with a run that was "
        "interrupted. With several GPUs: torchrun --nproc-per-node 8 -m acrn_zoo train RECIPE ..."
    )
    add_recipe(verb, parse_flags)


def parse_flags(recipe: str, flags: list[str]) -> Config:
    """The settings of a recipe with those that the flags change.

    Args:
        recipe: its name.
        flags: ``["--epochs", "3", ...]``.

    Raises:
        SystemExit: with status 2, if a flag is unknown or has a value that it cannot have; with 0 after ``--help``.
    """
    default = RECIPES[recipe]()

    def config(
        model: ModelConfig = default.model,
        data: DataConfig = default.data,
        optimization: OptimizationConfig = default.optimization,
        run: RunConfig = default.run,
    ) -> Config:
        return Config(recipe, model, data, optimization, run)

    return tyro.cli(
        config,
        prog=f"acrn-zoo train {recipe}",
        description=summary_of(recipe),
        args=flags,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def run(options: argparse.Namespace, interruption: Interruption) -> int:
    """Say what is trained, train it, say what there is."""
    config: Config = options.parsed
    with processes(config.run.device) as group:
        group.on_main(lambda: _print_plan(config, group))
        report = TerminalReport() if group.is_main else Silence()
        with interruption.as_request(STOPPING if group.is_main else "") as stop_requested:
            result = train(config, group, report=report, stop_requested=stop_requested)
        if group.is_main and result.is_finished:
            _print_result(config, result)
    return 0 if result.is_finished else STOPPED


def _print_plan(config: Config, group: Processes) -> None:
    folder, optimization = read_folder(config), config.optimization
    rows = {
        "recipe": f"{config.recipe}: {summary_of(config.recipe)}",
        "data": f"{folder.name} ({config.data.data}), {len(folder.label_map.names)} classes",
        "train": _split(folder, config.data.train_split),
        "validate": _validation(config, folder),
        "steps": f"{optimization.epochs} epochs, {clips_per_step(optimization, group.world_size)} clips a step",
        "device": f"{group.device}, {optimization.precision}, "
        f"{group.world_size} {'process' if group.world_size == 1 else 'processes'}",
        "out": str(config.run.out),
    }
    for name, text in rows.items():
        print(f"{name:<9} {text}")
    print(flush=True)


def _validation(config: Config, folder: DatasetFolder) -> str:
    every = config.run.validate_every
    if every == 0 or config.data.val_split not in folder.splits:
        return "never"
    people = {"proposals": "people as proposed by a detector", "annotated": "people as annotated"}[config.data.people]
    how_often = "every epoch" if every == 1 else f"every {every} epochs"
    return f"{_split(folder, config.data.val_split)}, {people}, {how_often}"


def _split(folder: DatasetFolder, name: str) -> str:
    files = folder.split(name)
    annotations = read_annotations(files.annotations, files.excluded, num_classes=folder.label_map.num_columns)
    return f"{len(annotations)} keyframes of {len(annotations.keyframes.video_ids)} videos ({name})"


def _print_result(config: Config, result: TrainingResult) -> None:
    if "mAP" in result.metrics:
        print(f"mAP of the last epoch: {result.metrics['mAP']:.4f} ({100 * result.metrics['mAP']:.2f} %)")
    print(f"{result.steps} steps. Weights: {config.run.out / 'best.pth'}  {config.run.out / 'last.pth'}")
