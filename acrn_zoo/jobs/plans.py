"""From what a user asks for to the jobs that do it, with all settings resolved."""

import argparse
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from acrn_zoo import cli
from acrn_zoo.cli.evaluate import parse_flags as parse_evaluation
from acrn_zoo.cli.train import parse_flags as parse_training
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.download import sha256_of
from acrn_zoo.engine.build import read_folder, require_data, require_weights, split_facts
from acrn_zoo.engine.config import Config, config_as_dict, read_config, write_config
from acrn_zoo.engine.evaluation_run import Request
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.engine.run import data_facts
from acrn_zoo.engine.state import RunFolder, require_same, require_same_facts
from acrn_zoo.engine.values import plain
from acrn_zoo.files import write_json
from acrn_zoo.jobs.prediction import PredictTask, find_videos, is_finished, is_merged, require_same_videos, share_out
from acrn_zoo.jobs.profiles import Profile
from acrn_zoo.jobs.record import JobFolder
from acrn_zoo.jobs.run_directory import RunDirectory
from acrn_zoo.jobs.task import JobError, Task
from acrn_zoo.jobs.tasks import EvaluateTask, TrainTask, request_after
from acrn_zoo.models.relation import Relation
from acrn_zoo.weights import resolve_detector

DEFAULT_RECIPE = "slowfast_acrn_ava22"

FACTS = "facts.json"
"""Beside the settings of a training: on what data, and with how many processes it began."""

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Work:
    """One job to be.

    Args:
        task: what it does.
        folder: its own.
        group: what it is a share of, with a folder that is shared out anew with every launch; else its own folder.
        title: what people call it.
        settings: all of them, as JSON has them.
    """

    task: Task
    folder: Path
    group: Path
    title: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a launch is to do.

    Args:
        root: the run directory.
        works: jobs that may run at the same time.
        afterwards: for each of them the job that follows it; none if empty.
    """

    root: Path
    works: tuple[Work, ...]
    afterwards: tuple[Work, ...] = ()


def plan_training(
    recipe: str,
    flags: Sequence[str],
    *,
    out: Path | None = None,
    sweep: Sequence[str] = (),
    with_evaluation: bool = False,
    profile: Profile,
    device: Device,
) -> Plan:
    """Training by a recipe, once or over all combinations of some settings.

    Args:
        recipe: its name.
        flags: of the recipe.
        out: the run directory, which holds a folder for every combination; if None, what the recipe says.
        sweep: ``NAME=VALUE,VALUE`` of flags.
        with_evaluation: whether each training is to be followed by an evaluation of its best weights.
        profile: knows the dataset folder where the flags name none.
        device: what ``auto`` comes to, given the GPUs that are asked for.

    Raises:
        UserError: if a setting or the dataset folder is wrong.
        SystemExit: if a flag is.
    """
    require_recipe(recipe)
    given = [*_with_data(flags, recipe, profile), *(() if out is None else ("--out", str(out)))]
    base = _settled(parse_training(recipe, given), device)
    data = read_folder(base)
    if with_evaluation and base.data.val_split not in data.splits:
        raise JobError(
            f"{data.root} has no split {base.data.val_split!r} for --evaluate: name another with --val-split, or leave "
            "out --evaluate"
        )
    works = []
    for name, own in combinations(sweep):
        folder = ("--out", str(base.run.out / name)) if name else ()
        config = _settled(parse_training(recipe, [*_without(given, "--out", folder), *own, *folder]), device)
        title = f"train {recipe} {name}".strip()
        works.append(Work(TrainTask(config), config.run.out, config.run.out, title, config_as_dict(config)))
    afterwards = [_evaluation_after(work) for work in works] if with_evaluation else []
    return Plan(base.run.out, tuple(works), tuple(afterwards))


def plan_evaluation(
    recipe: str, flags: Sequence[str], *, out: Path | None = None, profile: Profile, device: Device
) -> Plan:
    """Evaluation of a detector; see :func:`plan_training`.

    Raises:
        UserError: if a setting, the weights or the dataset folder are wrong.
        SystemExit: if a flag is.
    """
    require_recipe(recipe)
    root = (out or Path("runs") / f"evaluate_{recipe}").absolute()
    request = parse_evaluation(recipe, _with_data(flags, recipe, profile))
    weights, data = require_weights(request.weights), require_data(request.data)
    facts = {**_weights_facts(weights), **split_facts(read_dataset_folder(data), request.split)}
    request = replace(
        request,
        weights=_located(weights),
        data=data.absolute(),
        device=settled_device(request.device, device),
        out=(request.out or root / "predictions.csv").absolute(),
        json=(request.json or root / "score.json").absolute(),
        overwrite=True,
    )
    settings = {**_as_json(recipe, request), "facts": facts}
    work = Work(EvaluateTask(recipe, request), root, root, f"evaluate {recipe}", settings)
    return Plan(root, (work,))


def plan_prediction(
    places: Sequence[Path], flags: Sequence[str], *, out: Path | None = None, num_shares: int, device: Device
) -> Plan:
    """Labels for many videos, shared out over several jobs; those that are finished are left out.

    Args:
        places: videos, and folders of them.
        flags: of ``acrn-zoo predict``.
        out: the run directory.
        num_shares: jobs at most.
        device: what ``auto`` comes to, given the GPUs that are asked for.

    Raises:
        UserError: if a video is not there or has the name of another that was labelled, or a setting is wrong.
        SystemExit: if a flag is wrong.
    """
    root = (out or Path("runs") / "predict").absolute()
    videos = find_videos(places)
    require_same_videos(root, videos)
    options = _prediction_options(videos[0], flags, device)
    facts = {**_weights_facts(options.weights), "SHA-256 of the boxes": _sha256(options.boxes)}
    values = {name: plain(value) for name, value in vars(options).items()}
    settings = {"version": 1, "task": "predict", **values, "facts": facts}
    left = [video for video in videos if not is_finished(root, video)]
    shares = share_out(left, num_shares) if left else [] if is_merged(root, videos) else [()]
    works = [
        Work(
            PredictTask(share, videos, root, options),
            root / "parts" / str(number),
            root,
            f"predict {number} of {len(shares)}",
            settings,
        )
        for number, share in enumerate(shares, start=1)
    ]
    return Plan(root, tuple(works))


def settle(run: RunDirectory, plan: Plan, num_processes: int) -> None:
    """Note the settings in the folders of the jobs, or make sure that they are those that are noted.

    Args:
        run: the run directory.
        plan: what is to be done, but for what is going.
        num_processes: of each job; a training goes on with as many as it has begun with.

    Raises:
        UserError: if a folder holds another run; then nothing was changed.
    """
    new: list[tuple[Path, Config, dict[str, object] | None]] = []
    for work in plan.works:
        if not isinstance(work.task, TrainTask):
            run.settle_config(work.settings)
            if isinstance(work.task, PredictTask):  # a part of an earlier launch is done, not this one
                JobFolder(work.folder).done.unlink(missing_ok=True)
            continue
        path, config = work.folder / "config.json", work.task.config
        if path.exists():
            require_same(read_config(path), config, work.folder)
        facts = {"processes": num_processes, **data_facts(config)}
        noted, has_begun = work.folder / FACTS, RunFolder(work.folder).has_begun
        if has_begun and noted.exists():
            require_same_facts(json.loads(noted.read_text(encoding="utf-8")), facts, work.folder)
        # One that was begun without this launcher knows its facts itself, and the job compares them.
        new.append((path, config, None if has_begun else facts))
    run.make()
    for path, config, begun_with in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_config(path, config)
        if begun_with is not None:
            write_json(path.with_name(FACTS), begun_with)
    for work in plan.afterwards:
        work.folder.mkdir(parents=True, exist_ok=True)
        write_json(work.folder / "config.json", work.settings)


def combinations(sweep: Sequence[str]) -> list[tuple[str, list[str]]]:
    """All combinations of a sweep: a name for each, and its flags; one without name and flags for an empty sweep.

    Args:
        sweep: ``NAME=VALUE,VALUE``; ``true`` and ``false`` for a flag that has no value.

    Raises:
        JobError: if one is not of this form, a name is there twice, or two combinations have the same name.
    """
    choices: list[list[tuple[str, str]]] = []
    for text in sweep:
        name, _, values = text.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not name or not all(values.split(",")):
            raise JobError(f"{text!r} is no part of a sweep: expected NAME=VALUE,VALUE, such as seed=0,1,2")
        if any(name == other[0][0] for other in choices):
            raise JobError(f"the sweep has {name} twice: give all its values at once, as {name}=VALUE,VALUE")
        choices.append([(name, value) for value in dict.fromkeys(values.split(","))])
    found = []
    for chosen in itertools.product(*choices):
        flags: list[str] = []
        for name, value in chosen:
            flags += {"true": [f"--{name}"], "false": [f"--no-{name}"]}.get(value, [f"--{name}", value])
        found.append((_safe("_".join(f"{name}-{value}" for name, value in chosen)), flags))
    if len({name for name, _ in found}) < len(found):
        raise JobError(f"two combinations of the sweep would share the folder {found[0][0]}: change their values")
    return found


def ablation() -> list[str]:
    """The sweep over all relations."""
    return [f"relation={','.join(get_args(Relation))}"]


def require_recipe(name: str) -> None:
    """Refuse an unknown recipe.

    Raises:
        JobError: with those that there are.
    """
    if name not in RECIPES:
        raise JobError(f"{name!r} is no recipe: expected one of {', '.join(RECIPES)}")


def settled_device(asked: str, given: Device) -> Any:  # noqa: ANN401 - one of the words that configurations know
    """What a job computes on: never a CPU where GPUs were asked of the cluster, unless somebody said so.

    Args:
        asked: by the user: auto, cpu or cuda.
        given: what the cluster is asked for.

    Raises:
        JobError: if a GPU is wanted where none is asked for.
    """
    if asked.startswith("cuda") and given == "cpu":
        raise JobError(f"--device {asked} needs GPUs, and --gpus-per-node is 0: raise it, or leave out --device")
    return given if asked == "auto" else asked


def _prediction_options(video: Path, flags: Sequence[str], device: Device) -> argparse.Namespace:
    """The flags of ``acrn-zoo predict``, but for what every video has of its own."""
    options = cli.parse(["predict", str(video), *flags])
    if options.overwrite:
        raise JobError("--overwrite does not go with many videos, each of which is done once: choose another --out")
    for name in ("video", "out", "overwrite", "run"):
        delattr(options, name)
    options.device = settled_device(options.device, device)
    options.weights = _located(options.weights)
    if options.boxes is not None:
        options.boxes = options.boxes.absolute()
        if not options.boxes.is_file():
            raise JobError(f"{options.boxes}: there is no such file of boxes")
    return options


def _evaluation_after(work: Work) -> Work:
    assert isinstance(work.task, TrainTask)
    config, folder = work.task.config, work.folder / "evaluation"
    request = request_after(config, folder)
    title = work.title.replace("train", "evaluate", 1)
    return Work(EvaluateTask(config.recipe, request), folder, folder, title, _as_json(config.recipe, request))


def _settled(config: Config, device: Device) -> Config:
    """The settings as they mean the same on any machine, in any folder."""
    data, model = config.data, config.model
    return replace(
        config,
        model=replace(
            model,
            weights=None if model.weights is None else _located(model.weights),
            weights_backbone=None if model.weights_backbone is None else _located(model.weights_backbone),
        ),
        data=replace(data, data=None if data.data is None else data.data.absolute()),
        run=replace(config.run, out=config.run.out.absolute(), device=settled_device(config.run.device, device)),
    )


def _located(weights: str) -> str:
    """The path of a file as one that holds in any folder; the name of a record as it is."""
    return str(Path(weights).absolute()) if Path(weights).exists() else weights


def _weights_facts(weights: str) -> dict[str, object]:
    """The content of a file of weights, which another of the same name may take the place of; a record's is fixed.

    Raises:
        WeightsError: if they are neither a record nor a file.
    """
    found = resolve_detector(weights)
    return {"SHA-256 of the weights": _sha256(found if isinstance(found, Path) else None)}


def _sha256(path: Path | None) -> str | None:
    """The first digits of a file's; None where there is none."""
    return sha256_of(path)[:12] if path is not None and path.is_file() else None


def _with_data(flags: Sequence[str], recipe: str, profile: Profile) -> list[str]:
    is_named = any(flag == "--data" or flag.startswith("--data=") for flag in flags)
    return [*(() if is_named or recipe not in profile.data else ("--data", profile.data[recipe])), *flags]


def _without(flags: Sequence[str], name: str, replacement: Sequence[str]) -> list[str]:
    """The flags without one that has a value, if there is one to take its place."""
    if not replacement or name not in flags:
        return list(flags)
    index = list(flags).index(name)
    return [*flags[:index], *flags[index + 2 :]]


def _as_json(recipe: str, request: Request) -> dict[str, Any]:
    values = {name: plain(value) for name, value in asdict(request).items()}
    return {"version": 1, "task": "evaluate", "recipe": recipe, **values}


def _safe(name: str) -> str:
    """A name of a folder that no shell and no Slurm takes for anything else."""
    return re.sub(r"[^\w.+-]", "-", name)
