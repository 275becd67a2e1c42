"""From what a user asks for to jobs with all settings."""

import json
from pathlib import Path

import pytest
from training_case import write_dataset

from acrn_zoo.engine.config import ConfigError, read_config
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.errors import UserError
from acrn_zoo.jobs.plans import (
    FACTS,
    Plan,
    ablation,
    combinations,
    plan_evaluation,
    plan_prediction,
    plan_training,
    require_recipe,
    settle,
    settled_device,
)
from acrn_zoo.jobs.prediction import PredictTask, merge
from acrn_zoo.jobs.profiles import Profile
from acrn_zoo.jobs.run_directory import RunDirectory
from acrn_zoo.jobs.task import JobError
from acrn_zoo.jobs.tasks import EvaluateTask, TrainTask


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(root: Path, *flags: str, sweep: tuple[str, ...] = (), out: Path | None = None) -> Plan:
    flags = ("--data", str(root), *flags)
    return plan_training(
        "small_world", flags, out=out, sweep=sweep, with_evaluation=True, profile=Profile(), device="cuda"
    )


def configs(plan: Plan) -> list[TrainTask]:
    return [work.task for work in plan.works if isinstance(work.task, TrainTask)]


def test_training(root: Path, tmp_path: Path) -> None:
    plan = train(root, "--epochs", "3")
    (task,) = configs(plan)
    assert task.config.optimization.epochs == 3
    assert (task.device, task.config.data.data) == ("cuda", root)
    assert plan.root == plan.works[0].folder == tmp_path / "runs" / "small_world"
    (after,) = plan.afterwards
    assert isinstance(after.task, EvaluateTask)
    assert after.folder == plan.root / "evaluation"
    assert after.task.request.weights == str(plan.root / "best.pth")
    assert (after.task.request.data, after.task.request.clip_length) == (root, 8)
    assert (after.title, after.task.device) == ("evaluate small_world", "cuda")


@pytest.mark.parametrize("out", [("--out", "here"), None])
def test_run_directory(root: Path, tmp_path: Path, out: tuple[str, str] | None) -> None:
    plan = train(root, *(out or ()), out=None if out else Path("here"))
    assert plan.root == tmp_path / "here"


def test_paths_hold_in_any_folder(root: Path, tmp_path: Path) -> None:
    Path("start.pth").touch()
    Path("data").symlink_to(root)
    plan = plan_training(
        "finetune", ["--weights", "start.pth"], profile=Profile(data={"finetune": "data"}), device="cuda"
    )
    (task,) = configs(plan)
    assert task.config.model.weights == str(tmp_path / "start.pth")
    assert task.config.data.data == tmp_path / "data"
    assert configs(train(root))[0].config.model.weights is None


def test_folder_of_the_profile_is_a_default(root: Path) -> None:
    profile = Profile(data={"small_world": "nowhere"})
    plan = plan_training("small_world", [f"--data={root}"], profile=profile, device="cpu")
    assert configs(plan)[0].config.data.data == root
    with pytest.raises(UserError, match="nowhere"):
        plan_training("small_world", [], profile=profile, device="cpu")


def test_sweep(root: Path, tmp_path: Path) -> None:
    plan = train(root, sweep=("relation=acrn,actor_only", "seed=0,1"))
    names = ["relation-acrn_seed-0", "relation-acrn_seed-1", "relation-actor_only_seed-0", "relation-actor_only_seed-1"]
    assert [work.folder for work in plan.works] == [tmp_path / "runs/small_world" / name for name in names]
    assert [task.config.run.out for task in configs(plan)] == [work.folder for work in plan.works]
    found = [(task.config.model.relation, task.config.optimization.seed) for task in configs(plan)]
    assert found == [("acrn", 0), ("acrn", 1), ("actor_only", 0), ("actor_only", 1)]
    assert [work.folder.parent for work in plan.afterwards] == [work.folder for work in plan.works]
    assert train(root, sweep=("seed=0",), out=Path("x")).works[0].folder == tmp_path / "x" / "seed-0"


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ([], [("", [])]),
        (
            ["--eval_flips=true,false"],
            [("eval-flips-true", ["--eval-flips"]), ("eval-flips-false", ["--no-eval-flips"])],
        ),
        (["seed=1,1"], [("seed-1", ["--seed", "1"])]),
        (["weights=a/b c"], [("weights-a-b-c", ["--weights", "a/b c"])]),
    ],
)
def test_combinations(sweep: list[str], expected: list[tuple[str, list[str]]]) -> None:
    assert combinations(sweep) == expected


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (["seed"], "'seed' is no part of a sweep: expected NAME=VALUE,VALUE"),
        (["seed=1,"], "is no part of a sweep"),
        (["=1"], "is no part of a sweep"),
        (["seed=1", "seed=2"], "the sweep has seed twice"),
        (["weights=a/b,a-b"], "would share the folder weights-a-b"),
    ],
)
def test_wrong_sweeps(sweep: list[str], message: str) -> None:
    with pytest.raises(JobError, match=message):
        combinations(sweep)


def test_ablation_is_over_all_relations() -> None:
    assert ablation() == ["relation=acrn,actor_only,pooled_scene,scene_attention"]


def test_unknown_recipe() -> None:
    with pytest.raises(JobError, match=f"'x' is no recipe: expected one of {', '.join(RECIPES)}"):
        require_recipe("x")


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [("auto", "cuda", "cuda"), ("auto", "cpu", "cpu"), ("cpu", "cuda", "cpu"), ("cuda", "cuda", "cuda")],
)
def test_device(asked: str, given: str, expected: str) -> None:
    assert settled_device(asked, given) == expected  # type: ignore[arg-type]


def test_gpu_that_is_not_asked_for() -> None:
    with pytest.raises(JobError, match="--device cuda needs GPUs"):
        settled_device("cuda", "cpu")


def test_evaluation(root: Path, tmp_path: Path) -> None:
    flags = ["--weights", "mini", "--data", str(root), "--top", "3"]
    plan = plan_evaluation("small_world", flags, profile=Profile(), device="cpu")
    (work,) = plan.works
    assert isinstance(work.task, EvaluateTask)
    request = work.task.request
    assert plan.root == work.folder == tmp_path / "runs" / "evaluate_small_world"
    assert (request.weights, request.top, request.device, request.overwrite) == ("mini", 3, "cpu", True)
    assert (request.out, request.json) == (plan.root / "predictions.csv", plan.root / "score.json")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--weights is missing"),
        (["--weights", "mini"], "--data is missing"),
        (["--weights", "mini", "--data", "x"], "x"),
    ],
)
def test_incomplete_evaluation(flags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_evaluation("small_world", flags, profile=Profile(), device="cpu")


def test_prediction(tmp_path: Path) -> None:
    for name in "abc":
        Path(f"{name}.mp4").write_bytes(b"x")
    Path("boxes.csv").touch()
    videos = [Path(f"{name}.mp4") for name in "abc"]

    def plan() -> Plan:
        return plan_prediction(videos, ["--boxes", "boxes.csv"], out=Path("out"), num_shares=2, device="cuda")

    first = plan()
    tasks = [work.task for work in first.works if isinstance(work.task, PredictTask)]
    assert [[video.name for video in task.videos] for task in tasks] == [["a.mp4", "c.mp4"], ["b.mp4"]]
    assert {task.everything for task in tasks} == {tuple(tmp_path / video for video in videos)}
    assert (tasks[0].options.boxes, tasks[0].device) == (tmp_path / "boxes.csv", "cuda")
    assert json.loads(json.dumps(first.works[0].settings))["boxes"] == str(tmp_path / "boxes.csv")
    (tmp_path / "out" / "videos").mkdir(parents=True)
    for name in "abc":
        (tmp_path / "out" / "videos" / f"{name}.csv").touch()
        assert [len(work.task.videos) for work in plan().works if isinstance(work.task, PredictTask)] == {
            "a": [1, 1],
            "b": [1],
            "c": [0],  # somebody has to merge them
        }[name]
    for name in "abc":
        (tmp_path / "out" / "videos" / f"{name}.jsonl").touch()
    assert merge(tmp_path / "out", tasks[0].everything)
    assert plan().works == ()
    for path, content in (("merged.json", '["a"]'), ("merged.json", "{"), ("predictions.jsonl", None)):
        assert merge(tmp_path / "out", tasks[0].everything)
        if content is None:
            (tmp_path / "out" / path).unlink()
        else:
            (tmp_path / "out" / path).write_text(content)
        assert len(plan().works) == 1, path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--overwrite"], "--overwrite does not go with many videos"),
        (["--boxes", "none.csv"], "none.csv: there is no such file of boxes"),
        (["--weights", "AVA99"], "AVA99"),
    ],
)
def test_wrong_prediction(flags: list[str], message: str) -> None:
    Path("a.mp4").touch()
    with pytest.raises(UserError, match=message):
        plan_prediction([Path("a.mp4")], flags, num_shares=2, device="cpu")


def test_settles_training(root: Path) -> None:
    plan = train(root, sweep=("seed=0,1",))
    run = RunDirectory(plan.root)
    settle(run, plan, 1)
    assert [read_config(work.folder / "config.json").optimization.seed for work in plan.works] == [0, 1]
    settle(run, train(root, "--keep-last", "5", sweep=("seed=0,1",)), 1)
    with pytest.raises(ConfigError, match=r"holds a run with other settings .optimization.epochs: \d+ before, 3 now"):
        settle(run, train(root, "--epochs", "3", sweep=("seed=2,0",)), 1)
    assert not (plan.root / "seed-2").exists()


def test_settles_others() -> None:
    Path("a.mp4").touch()

    def plan(*flags: str) -> Plan:
        return plan_prediction([Path("a.mp4")], flags, out=Path("out"), num_shares=2, device="cpu")

    run = RunDirectory(Path("out"))
    settle(run, plan(), 1)
    done = plan().works[0].folder / "DONE"
    done.parent.mkdir(parents=True)
    done.touch()
    settle(run, plan(), 1)
    assert not done.exists()  # the video has no results, whatever was done once
    with pytest.raises(JobError, match="out holds another run .top: 5 before, 3 now"):
        settle(run, plan("--top", "3"), 1)


def test_a_run_that_began_without_the_launcher_is_left_to_its_job(root: Path) -> None:
    """What is not noted is not known: 8 processes are not what it began with because somebody asks for them."""
    plan = plan_training("small_world", ["--data", str(root)], out=Path("out"), profile=Profile(), device="cpu")
    run, checkpoints = RunDirectory(plan.root), plan.root / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "step_00000004.pth").touch()
    settle(run, plan, 8)
    settle(run, plan, 4)
    assert not (plan.root / FACTS).exists()


def test_evaluation_after_a_training_needs_its_split(root: Path) -> None:
    flags = ["--data", str(root), "--val-split", "other"]
    with pytest.raises(JobError, match="has no split 'other' for --evaluate"):
        plan_training("small_world", flags, with_evaluation=True, profile=Profile(), device="cpu")


def test_other_files_of_the_same_name(root: Path, tmp_path: Path) -> None:
    """What is finished with one content is not finished with another."""
    weights, boxes, video = tmp_path / "best.pth", tmp_path / "boxes.csv", tmp_path / "a.mp4"
    for path in (weights, boxes, video):
        path.write_bytes(b"1")

    def evaluation() -> None:
        flags = ["--weights", str(weights), "--data", str(root)]
        plan = plan_evaluation("small_world", flags, out=Path("out"), profile=Profile(), device="cpu")
        settle(RunDirectory(plan.root), plan, 1)

    def prediction() -> None:
        flags = ["--weights", str(weights), "--boxes", str(boxes)]
        plan = plan_prediction([video], flags, out=Path("other"), num_shares=1, device="cpu")
        settle(RunDirectory(plan.root), plan, 1)

    evaluation()
    prediction()
    weights.write_bytes(b"2")
    for again in (evaluation, prediction):
        with pytest.raises(JobError, match=r"holds another run \(SHA-256 of the weights: \w+ before, \w+ now\):"):
            again()
    weights.write_bytes(b"1")
    boxes.write_bytes(b"2")
    evaluation()
    with pytest.raises(JobError, match="SHA-256 of the boxes"):
        prediction()


def test_evaluation_after_training_has_settings(root: Path) -> None:
    plan = train(root)
    settle(RunDirectory(plan.root), plan, 1)
    noted = json.loads((plan.afterwards[0].folder / "config.json").read_text())
    assert noted["weights"] == str(plan.root / "best.pth")
