"""What the benchmark of claims makes of numbers, and how it runs its runs."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from acrn_zoo.data.synthetic.world import CATEGORIES, FAMILIES, Difficulty, Person, Thing, draw_scene
from acrn_zoo.engine import run
from acrn_zoo.engine.config import write_config
from acrn_zoo.evaluation.pointing import Pointing
from benchmarks import claims, claims_figure, claims_report, claims_training
from benchmarks.claims_own_room import ROOM, only_room
from benchmarks.claims_report import Results, RunResult, Spread
from benchmarks.claims_training import Job, TrainingError, train_all

FAMILY = {name: family for family, names in FAMILIES.items() for name in names}
PRIORS = {"motion": 0.5, "object": 0.4, "partner": 0.2}
MEANS = {
    "actor_only": {"motion": 0.9, "object": 0.42, "partner": 0.2},
    "pooled_scene": {"motion": 0.9, "object": 0.7, "partner": 0.5},
    "scene_attention": {"motion": 0.9, "object": 0.8, "partner": 0.6},
    "acrn": {"motion": 0.9, "object": 0.9, "partner": 0.8},
}


def run_of(head: str, seed: int, *, add: float = 0.0, hits: int = 90) -> RunResult:
    precisions = {name: MEANS[head][FAMILY[name]] + add for name in CATEGORIES}
    maps, among_rivals = {}, {}
    if head == "acrn":
        ball, greet = Pointing(60, hits - 35, 12.0, 40.0), Pointing(40, 35, 8.0, 30.0)
        maps = {"1.0": {"play with a ball": ball, "greet": greet}, "0.5": {"greet": Pointing(100, 60, 10.0, 50.0)}}
        among_rivals = {"1.0": {"greet": Pointing(20, 14, 4.0, 10.0)}, "0.5": {"greet": Pointing(20, 12, 2.0, 10.0)}}
    own_room = {name: PRIORS[FAMILY[name]] for name in CATEGORIES} if head == "actor_only" else {}
    return RunResult(head, seed, precisions, 200_000, own_room, maps, among_rivals)


def results_of(*runs: RunResult) -> Results:
    return Results(
        "command", "machine", {}, {"keyframes": 480}, {name: PRIORS[FAMILY[name]] for name in CATEGORIES}, runs
    )


@pytest.fixture
def results() -> Results:
    return results_of(*(run_of(head, seed, add=0.01 * (seed - 1)) for seed in (2, 0, 1) for head in MEANS))


def words(results: Results) -> list[bool | None]:
    return [verdict.is_met for verdict in claims_report.judge(results)]


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 2.0, 6.0], (3, 1, 6)), ([4.0], (4, 4, 4)), ([math.nan, 2.0], (2, 2, 2))]
)
def test_spread(values: list[float], expected: tuple[float, float, float]) -> None:
    assert claims_report.spread(values) == expected


def test_spread_of_nothing_is_not_a_number() -> None:
    assert all(map(math.isnan, claims_report.spread([math.nan])))


def test_scores_are_means_over_a_family_and_seeds(results: Results) -> None:
    assert claims_report.scores(results, "acrn", "partner") == pytest.approx(Spread(80, 79, 81))
    mean = (3 * 90 + 2 * 90 + 2 * 80) / 7
    assert claims_report.scores(results, "acrn", "all") == pytest.approx(Spread(mean, mean - 1, mean + 1))


def test_advantage_is_between_runs_of_the_same_seed() -> None:
    found = results_of(
        run_of("acrn", 1, add=0.05), run_of("acrn", 0), run_of("pooled_scene", 0, add=0.1), run_of("pooled_scene", 1)
    )
    assert claims_report.advantage(found, "acrn", "pooled_scene", "object") == pytest.approx(Spread(17.5, 10, 25))


def test_all_claims_met(results: Results) -> None:
    assert words(results) == [True] * 5


@pytest.mark.parametrize(
    ("head", "action", "value", "broken"),
    [
        ("actor_only", "greet", 0.81, [0]),  # 50.5 for partner; ACRN has 80
        ("actor_only", "greet", 0.79, []),
        ("pooled_scene", "guard a box", 0.91, [1]),  # 80.5 for object; ACRN has 90
        ("pooled_scene", "guard a box", 0.89, []),
        ("scene_attention", "wave", 0.74, [2]),  # 84.7 for motion; the others have 90
        ("scene_attention", "wave", 0.76, []),
        ("acrn", "guard a box", 0.5, [0, 1]),
    ],
)
def test_claims_are_met_up_to_their_bounds(
    results: Results, head: str, action: str, value: float, broken: list[int]
) -> None:
    runs = [
        replace(run, average_precision={**run.average_precision, action: value}) if run.head == head else run
        for run in results.runs
    ]
    assert words(results_of(*runs)) == [number not in broken for number in range(5)]


@pytest.mark.parametrize(("value", "is_met"), [(0.31, False), (0.29, True), (0.11, True), (0.09, False)])
def test_own_pixels_tell_no_relation(results: Results, value: float, is_met: bool) -> None:
    """Guessing 20 for partner."""
    runs = [replace(run, own_room={**run.own_room, "greet": value}) for run in results.of("actor_only")]
    assert words(results_of(*runs))[3] is is_met


@pytest.mark.parametrize(("hits", "is_met"), [(85, True), (84, False)])
def test_pointing_claim(results: Results, hits: int, is_met: bool) -> None:
    runs = [run_of("acrn", run.seed, hits=hits) if run.head == "acrn" else run for run in results.runs]
    assert words(results_of(*runs))[-1] is is_met


def test_claims_about_heads_that_are_not_there_are_not_measured(results: Results) -> None:
    assert words(results_of(*results.of("pooled_scene"))) == [None] * 5
    assert words(results_of(*results.of("actor_only"))) == [None, None, None, True, None]


def test_results_survive_json(results: Results) -> None:
    content = json.dumps(claims_report.results_as_dict(results), allow_nan=False)
    assert claims_report.results_from_dict(json.loads(content)) == results


def test_action_that_nobody_does_is_null_in_json_and_no_part_of_means(results: Results) -> None:
    run = replace(results.runs[0], average_precision={**results.runs[0].average_precision, "wave": math.nan})
    content = json.dumps(claims_report.results_as_dict(results_of(run)), allow_nan=False)
    (back,) = claims_report.results_from_dict(json.loads(content)).runs
    assert math.isnan(back.average_precision["wave"])
    assert claims_report.group_mean(back.average_precision, "motion") == pytest.approx(91)


def test_reports_hold_the_numbers(results: Results) -> None:
    table = claims_report.markdown_report(results).splitlines()
    assert table[0] == "| head | motion | object | partner | all | parameters |"
    assert table[5].startswith("| ACRN | 90.0 (89.0 to 91.0) | 90.0 (89.0 to 91.0) | 80.0 (79.0 to 81.0) |")
    assert table[6].startswith("| (guessing) | 50.0 | 40.0 | 20.0 |")
    text = claims_report.text_report(results)
    assert "met: the relation map" in text
    assert (
        "within 1 cell 90.0 % of 300 true positives (object 91.7, partner 87.5), a random cell 20.0, a random figure "
        "of the right kind 70.0; of the 60 with a rival, a figure of the right kind and the wrong colours, in the "
        "scene 70.0 %, a random figure of the kind 50.0"
    ) in text


def test_only_figure_says_and_draws_what_is_there(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "claims.json"
    path.write_text(json.dumps(claims_report.results_as_dict(results)))
    assert claims.main(["--only-figure", "--markdown", "--results", str(path)]) == 0
    assert claims_report.markdown_report(results) in capsys.readouterr().out
    with Image.open(tmp_path / "claims.png") as picture:
        colors = {color for _, color in picture.convert("RGBA").getcolors(2**20) or []}
        assert picture.size == (1600, 800)
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert {(*bytes.fromhex(color[1:]), 255) for color in claims_figure.COLORS.values()} <= colors


def test_missing_matplotlib_is_said_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert claims.main(["--data", "none", "--out", "none"]) == 1
    assert "pip install 'acrn-zoo[benchmarks]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only-figure", "--results", "missing.json"], "measure first"),
        ([], "--data and --out are missing"),
        (["--data", "d", "--out", "o", "--relation", "acrn"], "use --heads"),
        (["--data", "d", "--out", "o", "--seed=3"], "use --heads, --seeds"),
        (["--data", "no_such_folder", "--out", "o"], "no_such_folder"),
    ],
)
def test_mistakes(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert claims.main(arguments) == 1
    assert expected in capsys.readouterr().err


def test_only_room() -> None:
    """Nothing but the room is left, to the borders of the frame and no further, and the clip is as it was."""
    clip = torch.ones(1, 3, 2, 40, 60)
    seen = only_room(clip, torch.tensor([10.0, 5.0, 20.0, 38.0]))
    rows, columns = seen[0, 0, 0].sum(dim=1).nonzero()[:, 0], seen[0, 0, 0].sum(dim=0).nonzero()[:, 0]
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 37, 4, 25)
    assert seen.sum() == 3 * 2 * 33 * 22
    at_the_edge = only_room(clip, torch.tensor([-1.0, -1.0, 3.0, 41.0]))
    assert at_the_edge.sum() == 3 * 2 * 40 * 9
    assert clip.min() == 1


def test_own_room_shows_nobody_else() -> None:
    """A person's room, as wide as it is, holds no other figure at any time of a clip."""
    for shot in range(200):
        scene = draw_scene(2, 0, shot, difficulty=Difficulty())
        for person in scene.people:
            x1, y1, x2, y2 = person.box(0.0)
            present: list[Person | Thing] = [*scene.people, *scene.things]
            others = [figure for figure in present if figure is not person]
            for time in (-0.4, 0.0, 0.4):
                left, _, right, _ = person.box(time)
                assert x1 - ROOM <= left
                assert right <= x2 + ROOM
                for a1, b1, a2, b2 in (other.box(time) for other in others):
                    assert a2 <= x1 - ROOM or x2 + ROOM <= a1 or b2 <= y1 or y2 <= b1


LOG = (
    '{"kind": "step", "epoch": 0, "step": 1, "loss": 0.5, "clips_per_second": 20.0}',
    '{"kind": "epoch", "epoch": 0, "step": 1, "loss": 0.5, "seconds": 90.0, "metrics": {"mAP": 0.25}}',
    '{"kind": "step", "epoch": 1, "step": 2, "loss": 0.25, "clips_per_second": 21.0}',
)
SUCCESS = "pass"
FAILURE = "import sys; sys.exit('out of luck')"
ENDLESS = "import time; time.sleep(600)"


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    made = [Job(head, 0, tmp_path / "data", tmp_path / "runs", ("--epochs", "5")) for head in ("acrn", "actor_only")]
    for job in made:
        job.folder.root.mkdir(parents=True)
        job.folder.log.write_text("\n".join(LOG) + '\n{"kind": "st')
    return made


class StandIns:
    """Programs in place of training: by the name of a run, SUCCESS unless told otherwise."""

    def __init__(self) -> None:
        self.programs: dict[str, str] = {}
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, job: Job) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", self.programs.get(job.name, SUCCESS)]
        with job.output.open("wb") as output:
            self.started[job.name] = subprocess.Popen(command, stdout=output, stderr=output)
        return self.started[job.name]


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> StandIns:
    made = StandIns()
    monkeypatch.setattr(claims_training, "_start", made.start)
    monkeypatch.setattr(claims_training, "LOOK_EVERY", 0.01)
    return made


def test_command_of_a_run(tmp_path: Path) -> None:
    job = Job("pooled_scene", 2, tmp_path / "data", tmp_path / "runs", ("--epochs", "5"))
    config = job.config
    assert (config.model.relation, config.optimization.seed, config.optimization.epochs) == ("pooled_scene", 2, 5)
    assert (config.data.data, config.run.out) == (tmp_path / "data", tmp_path / "runs/pooled_scene_2")
    others = replace(job, head="acrn", seed=0).config
    assert replace(others.model, relation="pooled_scene") == config.model
    assert replace(others.optimization, seed=2) == config.optimization
    assert others.data == config.data


def test_progress_skips_a_line_that_is_being_written(jobs: list[Job]) -> None:
    assert claims_training.progress_of(jobs[0]) == "epoch 2 of 5, step 2, loss 0.2500, 21 clips/s"
    assert claims_training.training_seconds(jobs[0]) == 90


def test_every_run_is_told(jobs: list[Job], stand_ins: StandIns) -> None:
    told: list[str] = []
    train_all(jobs, 1, told.append)
    assert told == [f"{job.name}: 1 steps in 1.5 min, loss 0.5000, mAP 25.00 %" for job in jobs]
    assert list(stand_ins.started) == ["acrn_0", "actor_only_0"]


def test_finished_run_is_not_done_again(jobs: list[Job], stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(jobs[0].folder.config, jobs[0].config)
    facts = {"classes": "walk"}
    jobs[0].folder.finish(1, {}, facts)
    monkeypatch.setattr(run, "data_facts", lambda _: facts)
    told: list[str] = []
    train_all(jobs, 2, told.append)
    assert list(stand_ins.started) == ["actor_only_0"]
    assert "was there already" in told[0]


def test_failure_stops_the_others_and_is_told(jobs: list[Job], stand_ins: StandIns) -> None:
    stand_ins.programs |= {"acrn_0": ENDLESS, "actor_only_0": FAILURE}
    with pytest.raises(TrainingError, match="actor_only_0 has ended with status 1: out of luck"):
        train_all(jobs, 2, lambda _: None)
    assert stand_ins.started["acrn_0"].poll() is not None


def test_interruption_stops_all_runs(jobs: list[Job], stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins.programs |= {"acrn_0": ENDLESS, "actor_only_0": ENDLESS}
    monkeypatch.setattr(claims_training, "SHOW_EVERY", 0)

    def interrupt(_text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(jobs, 2, interrupt)
    assert [process.poll() is not None for process in stand_ins.started.values()] == [True, True]
