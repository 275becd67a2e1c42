"""The paper's claims, measured on the small world: four heads, several seeds, one recipe.

    acrn-zoo data small-world DIR
    python -m benchmarks.claims --data DIR --out RUNS [--seeds 0 1 2] [--heads acrn actor_only] [--jobs 2] [flags]
    python -m benchmarks.claims --only-figure [--markdown]

Trains every head from every seed with ``acrn-zoo train small_world`` (further flags go to it, the same for all),
evaluates the last weights on the annotated people of the validation split by the official rule, measures what ACRN's
relation maps point at, and says which claims are met. Runs that are finished are not done again, and those that were
interrupted go on. Writes ``benchmarks/results/claims.json`` and, beside it, the figure.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import positive
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.download import sha256_of
from acrn_zoo.engine.build import create_evaluation_dataset, load_weights, read_folder
from acrn_zoo.engine.config import Config, config_as_dict
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.evaluate import evaluate
from acrn_zoo.engine.pointing import Places, measure_pointing
from acrn_zoo.errors import UserError
from acrn_zoo.evaluation.pointing import Pointing
from acrn_zoo.files import write_json
from acrn_zoo.weights import SlowFast_ACRN_Mini_Weights
from benchmarks.claims_figure import draw, require_matplotlib
from benchmarks.claims_own_room import precisions_of_own_room
from benchmarks.claims_report import (
    NAMES,
    TOLERANCES,
    Results,
    RunResult,
    markdown_report,
    results_as_dict,
    results_from_dict,
    text_report,
)
from benchmarks.claims_training import Job, require_shared, train_all
from benchmarks.machine import torch_machine

DATA_COMMAND = "acrn-zoo data small-world DIR"
RESULTS = Path(__file__).parent / "results" / "claims.json"


class ClaimsError(UserError, ValueError):
    """The claims cannot be measured, or their file of results cannot be read."""


def main(arguments: list[str] | None = None) -> int:
    options, flags = _parser().parse_known_args(arguments)
    try:
        with Interruption():
            require_matplotlib()  # before hours of training, not behind them
            results = _read(options.results) if options.only_figure else _measure(options, tuple(flags))
            print("\n" + (markdown_report(results) if options.markdown else text_report(results)))
            draw(results, options.results.with_suffix(".png"))
            print(f"\nFigure: {options.results.with_suffix('.png')}")
    except UserError as error:
        print(f"claims: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("claims: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the small world")
    parser.add_argument("--out", type=Path, metavar="RUNS", help="the folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--heads", nargs="+", choices=list(NAMES), default=list(NAMES), metavar="HEAD")
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="runs at once, each with one thread")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="JSON", help="the file to write, or to read")
    parser.add_argument("--only-figure", action="store_true", help="say and draw again what is in the file of results")
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    return parser


def _measure(options: argparse.Namespace, flags: tuple[str, ...]) -> Results:
    """Train, evaluate, and write the file of results."""
    if options.data is None or options.out is None:
        raise ClaimsError(
            "--data and --out are missing: name a folder that `acrn-zoo data small-world` made, and one for the runs"
        )
    require_shared(flags)
    is_whole = set(options.heads) == set(NAMES) and len(set(options.seeds)) >= 3 and not flags
    if options.results == RESULTS and not is_whole:
        raise ClaimsError("this is a part of the claims, or with other settings: name a file for it with --results")
    seeds, heads = list(dict.fromkeys(options.seeds)), list(dict.fromkeys(options.heads))
    jobs = [Job(head, seed, options.data, options.out, flags) for seed in seeds for head in heads]
    config = jobs[0].config
    folder, dataset = read_folder(config), create_evaluation_dataset(config)
    if options.results == RESULTS:
        _require_usual_world(folder, config)
    places = _read_places(folder, config.data.val_split)
    train_all(jobs, options.jobs, tell=lambda text: print(text, flush=True))
    results = Results(
        command=f"{DATA_COMMAND}; "
        + " ".join(["python -m benchmarks.claims --data DIR --out RUNS", *_choices(options), *flags]),
        machine=f"{torch_machine()}, {options.jobs} runs at once",
        settings=_shared_settings(config),
        data=_facts(folder, config),
        priors=_priors(dataset),
        runs=tuple(_evaluate(job, folder, dataset, places) for job in jobs),
    )
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, results_as_dict(results))
    return results


def _require_usual_world(folder: DatasetFolder, config: Config) -> None:
    """Refuse to give the claims of another world for those of the world as it is by default."""
    splits = (config.data.train_split, config.data.val_split)
    found = hashlib.sha256(b"".join(folder.split(split).annotations.read_bytes() for split in splits)).hexdigest()
    if found != SlowFast_ACRN_Mini_Weights.SMALL_WORLD_V1.meta["data_sha256"]:
        raise ClaimsError(f"{folder.root} is not the world that {DATA_COMMAND} makes: name a file with --results")


def _choices(options: argparse.Namespace) -> list[str]:
    return ["--seeds", *map(str, options.seeds), "--heads", *options.heads, "--jobs", str(options.jobs)]


def _read(path: Path) -> Results:
    try:
        return results_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClaimsError(
            f"{path} cannot be read ({error}): measure first, with --data and --out in place of --only-figure"
        ) from error


def _read_places(folder: DatasetFolder, split: str) -> Places:
    annotations = folder.split(split).annotations
    path = annotations.with_name(f"{split}_places.csv")
    if not path.exists():
        raise ClaimsError(f"{path} is missing: --data has to be a folder that `acrn-zoo data small-world` made")
    return Places.read(annotations, path)


def _shared_settings(config: Config) -> dict[str, object]:
    """What is the same in all runs, without the places of files."""
    left_out = {"model": ("relation",), "data": ("data",), "optimization": ("seed",), "run": ("out",)}
    return {
        group: {name: value for name, value in values.items() if name not in left_out[group]}
        for group, values in config_as_dict(config).items()
        if group in left_out
    }


def _facts(folder: DatasetFolder, config: Config) -> dict[str, object]:
    splits = {"training": config.data.train_split, "validation": config.data.val_split}
    return {
        f"{purpose} annotations (SHA-256)": sha256_of(folder.split(split).annotations)[:16]
        for purpose, split in splits.items()
    }


def _priors(dataset: EvaluationDataset) -> dict[str, float]:
    """The share of people who do each action: the AP of scores that know nothing."""
    annotations = dataset.annotations
    counts = np.bincount(annotations.action_ids, minlength=annotations.num_classes + 1)[1:]
    shares = counts / len(annotations.actor_boxes)
    return dict(zip(dataset.categories, shares.tolist(), strict=True))


def _evaluate(job: Job, folder: DatasetFolder, dataset: EvaluationDataset, places: Places) -> RunResult:
    """The last weights of a run, on the CPU."""
    model = load_weights(str(job.folder.last))
    found = evaluate(model, dataset, folder, job.config.data.val_split, Processes())
    assert found is not None, "nobody asked it to stop"
    pointing: dict[str, dict[str, Pointing]] = {}
    among_rivals: dict[str, dict[str, Pointing]] = {}
    own_room: dict[str, float] = {}
    if job.head == "actor_only":
        own_room = precisions_of_own_room(model, dataset, folder, job.config.data.val_split)
    if job.head == "acrn":
        for tolerance in TOLERANCES:
            pointing[str(tolerance)] = measure_pointing(model, dataset, places, tolerance=tolerance)
            among_rivals[str(tolerance)] = measure_pointing(
                model, dataset, places, tolerance=tolerance, among_rivals=True
            )
    print(f"{job.name}: mAP {100 * found.metrics['mAP']:.2f} % of {found.num_keyframes} keyframes", flush=True)
    return RunResult(
        head=job.head,
        seed=job.seed,
        average_precision={name: found.metrics[f"AP/{name}"] for name in dataset.categories},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        own_room=own_room,
        pointing=pointing,
        among_rivals=among_rivals,
    )


if __name__ == "__main__":
    sys.exit(main())
