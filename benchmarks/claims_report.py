"""What the runs of ``benchmarks.claims`` say together: means and spreads, tables, and whether each claim is met."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from acrn_zoo.data.synthetic.world import CATEGORIES, FAMILIES
from acrn_zoo.evaluation.pointing import Pointing

NAMES = {
    "actor_only": "actor only",
    "pooled_scene": "actor + pooled scene",
    "scene_attention": "actor + scene attention",
    "acrn": "ACRN",
}
"""The heads, from the one that sees least on, as people call them."""

GROUPS: dict[str, tuple[str, ...]] = {str(family): names for family, names in FAMILIES.items()} | {"all": CATEGORIES}
"""What is averaged over: the families of actions, and all actions."""

RELATIONS = ("object", "partner")
TOLERANCES = (1.0, 0.5)
"""Cells by which a place is enlarged; the first is that of the claim."""

OVER_ACTOR_ONLY = 30.0  # points of mAP, in every family of relations
OVER_POOLED_SCENE = 10.0
TIE = 5.0  # points between heads that are as good as each other, and between a head and what guessing reaches
POINTING = 85.0  # per cent


@dataclass(frozen=True)
class RunResult:
    """One head, trained from one seed.

    Args:
        head: a key of :data:`NAMES`.
        seed: of the run.
        average_precision: of every action, 0 to 1; NaN for one that nobody does.
        parameters: how many the model has.
        own_room: the same where everything but the person's room is grey; empty but for the head that looks at the
            person alone.
        pointing: by tolerance, as text, and action; empty for heads without a map.
        among_rivals: likewise, of the maps whose scene has a figure of the right kind and the wrong colours.
    """

    head: str
    seed: int
    average_precision: Mapping[str, float]
    parameters: int
    own_room: Mapping[str, float]
    pointing: Mapping[str, Mapping[str, Pointing]]
    among_rivals: Mapping[str, Mapping[str, Pointing]]


@dataclass(frozen=True)
class Results:
    """All that was measured: the content of the file of results.

    Args:
        command: what gives it.
        machine: where it was measured.
        settings: those that all runs share.
        data: facts of the dataset.
        priors: share of the people of the validation set who do an action: its AP where one can only guess.
        runs: one for every head and seed.
    """

    command: str
    machine: str
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    priors: Mapping[str, float]
    runs: tuple[RunResult, ...]

    @property
    def heads(self) -> list[str]:
        """Those that were trained, in the order of :data:`NAMES`."""
        return [head for head in NAMES if any(run.head == head for run in self.runs)]

    @property
    def seeds(self) -> list[int]:
        """Those that were trained with."""
        return sorted({run.seed for run in self.runs})

    def of(self, head: str) -> list[RunResult]:
        """The runs of a head, by their seeds."""
        return sorted((run for run in self.runs if run.head == head), key=lambda run: run.seed)


class Spread(NamedTuple):
    """Several seeds' numbers: their mean, the lowest and the highest."""

    mean: float
    low: float
    high: float


class Verdict(NamedTuple):
    """A claim, whether it is met (None: not measured), and the numbers that say so."""

    claim: str
    is_met: bool | None
    text: str


def results_as_dict(results: Results) -> dict[str, Any]:
    """The results as JSON has them, where NaN is null."""
    return {**asdict(results), "runs": [_run_as_dict(run) for run in results.runs]}


def _run_as_dict(run: RunResult) -> dict[str, Any]:
    precisions = {
        field: {name: None if math.isnan(value) else value for name, value in getattr(run, field).items()}
        for field in ("average_precision", "own_room")
    }
    return {**asdict(run), **precisions}


def results_from_dict(values: Mapping[str, Any]) -> Results:
    """The results that :func:`results_as_dict` gave."""
    named = {field.name: values[field.name] for field in fields(Results)}
    return Results(**{**named, "runs": tuple(map(_run_from_dict, values["runs"]))})


def _run_from_dict(values: Mapping[str, Any]) -> RunResult:
    precisions = {
        field: {name: math.nan if value is None else value for name, value in values[field].items()}
        for field in ("average_precision", "own_room")
    }
    maps = {
        name: {
            tolerance: {action: Pointing(**counts) for action, counts in found.items()}
            for tolerance, found in values[name].items()
        }
        for name in ("pointing", "among_rivals")
    }
    return RunResult(**{**values, **precisions, **maps})


def spread(values: Iterable[float]) -> Spread:
    """Mean, lowest and highest of the values that are numbers; NaN if there is none."""
    counted = [value for value in values if not math.isnan(value)]
    if not counted:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(math.fsum(counted) / len(counted), min(counted), max(counted))


def group_mean(values: Mapping[str, float], group: str) -> float:
    """The mean over the actions of a group, in per cent; actions that nobody does are left out."""
    return 100 * spread(values[name] for name in GROUPS[group]).mean


def scores(results: Results, head: str, group: str) -> Spread:
    """The mAP of a head over a group of actions, per cent, over its seeds."""
    return spread(group_mean(run.average_precision, group) for run in results.of(head))


def advantage(results: Results, head: str, other: str, group: str) -> Spread:
    """By how many points the mAP of a head is above that of another trained from the same seed, over the seeds."""
    pairs = zip(results.of(head), results.of(other), strict=True)
    return spread(
        group_mean(one.average_precision, group) - group_mean(two.average_precision, group) for one, two in pairs
    )


def pointing(results: Results, tolerance: float, *, group: str = "all", among_rivals: bool = False) -> Pointing:
    """What the maps of all seeds pointed at."""
    return sum(_pointing_of_runs(results, tolerance, group, among_rivals), start=Pointing())


def pointing_accuracy(results: Results, tolerance: float, *, group: str = "all", among_rivals: bool = False) -> Spread:
    """Pointing accuracy in per cent, over the seeds."""
    return spread(100 * found.accuracy for found in _pointing_of_runs(results, tolerance, group, among_rivals))


def _pointing_of_runs(results: Results, tolerance: float, group: str, among_rivals: bool) -> list[Pointing]:
    maps = [run.among_rivals if among_rivals else run.pointing for run in results.runs]
    return [
        sum((found for action, found in one[str(tolerance)].items() if action in GROUPS[group]), start=Pointing())
        for one in maps
        if str(tolerance) in one
    ]


def judge(results: Results) -> list[Verdict]:
    """Every claim, met or not."""
    return [
        _judge_advantage(results, "actor_only", OVER_ACTOR_ONLY),
        _judge_advantage(results, "pooled_scene", OVER_POOLED_SCENE),
        _judge_tie(results),
        _judge_prior(results),
        _judge_pointing(results),
    ]


def _judge_advantage(results: Results, other: str, least: float) -> Verdict:
    claim = f"ACRN is at least {least:g} points above {NAMES[other]} in each family of relations"
    if not {"acrn", other} <= set(results.heads):
        return Verdict(claim, None, "")
    found = {group: advantage(results, "acrn", other, group) for group in RELATIONS}
    text = ", ".join(f"{group} {_signed(value)}" for group, value in found.items())
    return Verdict(claim, all(value.mean >= least for value in found.values()), text)


def _judge_tie(results: Results) -> Verdict:
    claim = f"in the motion family all heads are within {TIE:g} points"
    if len(results.heads) < 2:
        return Verdict(claim, None, "")
    means = {head: scores(results, head, "motion").mean for head in results.heads}
    lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    text = f"{NAMES[lowest]} {means[lowest]:.1f} to {NAMES[highest]} {means[highest]:.1f}"
    return Verdict(claim, means[highest] - means[lowest] <= TIE, text)


def _judge_prior(results: Results) -> Verdict:
    """From the own box, that is: from outside it, the backbone brings something into the box."""
    claim = f"actor only with all but the person's room in grey is within {TIE:g} points of guessing relations"
    runs = results.of("actor_only")
    if not runs:
        return Verdict(claim, None, "")
    found = {group: spread(group_mean(run.own_room, group) for run in runs) for group in ("motion", *RELATIONS)}
    prior = {group: group_mean(results.priors, group) for group in RELATIONS}
    text = ", ".join(f"{group} {_plain(found[group])}, guessing {prior[group]:.1f}" for group in RELATIONS)
    is_met = all(abs(found[group].mean - prior[group]) <= TIE for group in RELATIONS)
    return Verdict(claim, is_met, f"{text}; motion still {_plain(found['motion'])}")


def _judge_pointing(results: Results) -> Verdict:
    claim = f"the relation map of a true positive points at what decided it in at least {POINTING:g} %"
    if pointing(results, TOLERANCES[0]).num_maps == 0:
        return Verdict(claim, None, "")
    accuracy = pointing_accuracy(results, TOLERANCES[0])
    return Verdict(claim, accuracy.mean >= POINTING, "; ".join(_pointing_text(results, one) for one in TOLERANCES))


def _pointing_text(results: Results, tolerance: float) -> str:
    """All maps, then those of each family, then those where a map may point at a figure of the same kind."""
    found = pointing(results, tolerance)
    families = ", ".join(
        f"{group} {pointing_accuracy(results, tolerance, group=group).mean:.1f}"
        for group in RELATIONS
        if pointing(results, tolerance, group=group).num_maps
    )
    rivals = pointing(results, tolerance, among_rivals=True)
    among = pointing_accuracy(results, tolerance, among_rivals=True)
    cells = f"{tolerance:g} {'cell' if tolerance <= 1 else 'cells'}"
    return (
        f"within {cells} {_plain(pointing_accuracy(results, tolerance))} % of {found.num_maps} true positives "
        f"({families}), a random cell {100 * found.chance_accuracy:.1f}, a random figure of the right kind "
        f"{100 * found.of_kind_accuracy:.1f}; of the {rivals.num_maps} with a rival, a figure of the right kind and "
        f"the wrong colours, in the scene {_plain(among)} %, a random figure of the kind "
        f"{100 * rivals.of_kind_accuracy:.1f}"
    )


def text_report(results: Results) -> str:
    """Everything, for a terminal."""
    title = f"mAP in %, {_over_seeds(results)}; AP of the actions below"
    table = _aligned([_header(), *_rows(results), _prior_row(results)])
    actions = _aligned([["", *GROUPS["all"]], *_action_rows(results)])
    return "\n".join([title, table, "", actions, "", *_facts(results), "", *_verdict_lines(results)])


def markdown_report(results: Results) -> str:
    """The table of the README and what it says."""
    rows = [_header(), ["---"] + ["---:"] * (len(GROUPS) + 1), *_rows(results), _prior_row(results)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    lines = [f"mAP in %, {_over_seeds(results)}.", "", *(f"- {line}" for line in _verdict_lines(results))]
    return "\n".join([table, "", *lines])


def _header() -> list[str]:
    return ["head", *GROUPS, "parameters"]


def _rows(results: Results) -> list[list[str]]:
    return [
        [
            NAMES[head],
            *(_plain(scores(results, head, group)) for group in GROUPS),
            f"{results.of(head)[0].parameters:,}",
        ]
        for head in results.heads
    ]


def _prior_row(results: Results) -> list[str]:
    return ["(guessing)", *(f"{group_mean(results.priors, group):.1f}" for group in GROUPS), ""]


def _action_rows(results: Results) -> list[list[str]]:
    rows = [
        [NAMES[head]]
        + [
            f"{100 * spread(run.average_precision[name] for run in results.of(head)).mean:.1f}"
            for name in GROUPS["all"]
        ]
        for head in results.heads
    ]
    return [*rows, ["(guessing)", *(f"{100 * results.priors[name]:.1f}" for name in GROUPS["all"])]]


def _facts(results: Results) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in results.data.items())
    return [f"command  {results.command}", f"machine  {results.machine}", f"data     {facts}"]


def _verdict_lines(results: Results) -> list[str]:
    words = {True: "met", False: "NOT MET", None: "not measured"}
    return [
        f"{words[verdict.is_met]}: {verdict.claim}" + (f" ({verdict.text})" if verdict.text else "")
        for verdict in judge(results)
    ]


def _over_seeds(results: Results) -> str:
    count = len(results.seeds)
    return f"mean of {count} seeds (lowest to highest)" if count > 1 else f"seed {results.seeds[0]} alone"


def _plain(value: Spread) -> str:
    """``83.1 (82.0 to 84.4)``; the mean alone if all are the same, as far as is seen."""
    low, high = f"{value.low:.1f}", f"{value.high:.1f}"
    return f"{value.mean:.1f}" + (f" ({low} to {high})" if low != high else "")


def _signed(value: Spread) -> str:
    return f"{value.mean:+.1f}" + (f" ({value.low:+.1f} to {value.high:+.1f})" if value.low != value.high else "")


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
