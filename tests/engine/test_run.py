"""A run that was killed, at whatever moment, ends as one that was not: the same weights, to the last bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import CONTEXT, run_ranks
from torch import Tensor
from training_case import create_config, train_and_die, train_and_stop, train_case, write_dataset

from acrn_zoo.data.folder import DatasetError
from acrn_zoo.engine.run import finished_result
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.engine.train import TrainingResult

WITH_WORKERS = {"num_workers": 2}
TOGETHER = {"clips_per_process": 2, "accumulation_steps": 1}
TIMES = ("seconds", "clips_per_second", "waiting", "waiting_share", "memory_bytes", "validation_seconds")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    (result,) = run_ranks(train_case, 1, root, out)
    assert result == TrainingResult(True, 6, json_of(out / "DONE.json")["metrics"])
    return out


def json_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def kill(root: Path, out: Path, target: str, call: int, moment: str) -> None:
    """Train in another process until it kills itself."""
    process = CONTEXT.Process(target=train_and_die, args=(root, out, target, call, moment, WITH_WORKERS))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert not (out / "DONE.json").exists()


def without_times(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in TIMES}


def require_same(one: object, other: object, where: str) -> None:
    """All tensors and values, at any depth."""
    assert type(one) is type(other), where
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        assert list(one) == list(other), where
        for name in without_times(one):
            require_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for number, (mine, yours) in enumerate(zip(one, other, strict=True)):
            require_same(mine, yours, f"{where}[{number}]")
    elif isinstance(one, Tensor) and isinstance(other, Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def require_same_runs(one: Path, other: Path) -> None:
    """Files, weights, checkpoints and logs, but for times and places."""
    names = sorted(path.relative_to(one).as_posix() for path in one.rglob("*"))
    assert names == sorted(path.relative_to(other).as_posix() for path in other.rglob("*"))
    for name in (name for name in names if name.endswith(".pth")):
        mine, yours = (torch.load(out / name, weights_only=True) for out in (one, other))
        for content in (mine, yours):
            content.pop("config", None)
        require_same(mine, yours, name)
    mine, yours = ([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, other))
    assert [(line["kind"], line["epoch"], line["step"]) for line in mine] == [
        *(("step", 0, step) for step in (1, 2, 3)),
        ("epoch", 0, 3),
        *(("step", 1, step) for step in (4, 5, 6)),
        ("epoch", 1, 6),
    ]
    require_same(mine, yours, "log")
    assert json_of(one / "DONE.json") == json_of(other / "DONE.json")


@pytest.mark.parametrize(
    ("target", "call", "moment"),
    [
        ("acrn_zoo.engine.logs.RunLog.add_step", 5, "after"),  # in the midst of an epoch, between two checkpoints
        ("torch.save", 2, "within"),  # half a checkpoint is written
    ],
)
def test_killed(root: Path, undisturbed: Path, target: str, call: int, moment: str, tmp_path: Path) -> None:
    kill(root, tmp_path / "run", target, call, moment)
    run_ranks(train_case, 1, root, tmp_path / "run", WITH_WORKERS)
    require_same_runs(undisturbed, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "call", "moment"),
    [
        ("acrn_zoo.engine.run.create_model", 1, "after"),  # nothing is there yet
        ("acrn_zoo.engine.logs.RunLog.add_step", 1, "before"),  # nothing is saved yet
        ("acrn_zoo.engine.learner.Learner.step", 3, "after"),
        ("torch.save", 1, "within"),
        ("torch.save", 2, "before"),
        ("torch.save", 3, "within"),  # last.pth
        ("torch.save", 4, "within"),  # best.pth
        ("torch.save", 5, "within"),  # the third checkpoint, which takes the place of the first
        ("os.fsync", 1, "before"),
        ("os.fsync", 2, "after"),
        ("pathlib.Path.replace", 2, "before"),
        ("pathlib.Path.replace", 2, "after"),
        ("pathlib.Path.replace", 4, "before"),
        ("pathlib.Path.replace", 4, "after"),
        ("acrn_zoo.engine.state.RunFolder.save", 3, "after"),
        ("acrn_zoo.engine.run.evaluate", 1, "before"),
        ("acrn_zoo.engine.evaluate._add", 2, "before"),  # in the midst of the validation
        ("acrn_zoo.engine.run.evaluate", 1, "after"),
        ("acrn_zoo.engine.evaluate._add", 5, "before"),
        ("acrn_zoo.engine.train.write_weights", 1, "after"),
        ("acrn_zoo.engine.logs.RunLog.add_epoch", 1, "after"),  # right behind an epoch's end
        ("acrn_zoo.engine.logs.RunLog.add_epoch", 2, "after"),
        ("acrn_zoo.engine.state.RunFolder.finish", 1, "before"),
    ],
)
def test_killed_at_every_turn(
    root: Path, undisturbed: Path, target: str, call: int, moment: str, tmp_path: Path
) -> None:
    kill(root, tmp_path / "run", target, call, moment)
    run_ranks(train_case, 1, root, tmp_path / "run", WITH_WORKERS)
    require_same_runs(undisturbed, tmp_path / "run")


@pytest.mark.slow
def test_killed_again_and_again(root: Path, undisturbed: Path, tmp_path: Path) -> None:
    for target, call in (("acrn_zoo.engine.learner.Learner.step", 3), ("torch.save", 2), ("torch.save", 1)):
        kill(root, tmp_path / "run", target, call, "before")
    run_ranks(train_case, 1, root, tmp_path / "run")
    require_same_runs(undisturbed, tmp_path / "run")


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (5, 3),  # in the midst of the validation
        pytest.param(2, 2, marks=pytest.mark.slow),
        pytest.param(7, 4, marks=pytest.mark.slow),
    ],
)
def test_stopped(root: Path, undisturbed: Path, asked: int, steps: int, tmp_path: Path) -> None:
    ((result, _),) = run_ranks(train_and_stop, 1, root, tmp_path / "run", asked, {})
    assert result == TrainingResult(False, steps)
    assert not (tmp_path / "run/DONE.json").exists()
    run_ranks(train_case, 1, root, tmp_path / "run")
    require_same_runs(undisturbed, tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "learning_rate": 0.002},
        pytest.param({"precision": "bfloat16", "clip_length": 16}, marks=pytest.mark.slow),
        pytest.param({"precision": "float16", "clip_length": 16}, marks=pytest.mark.slow),
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_stopped_with_other_states(root: Path, changes: dict[str, object], tmp_path: Path) -> None:
    """Those of AdamW, and of the scaler of float16."""
    run_ranks(train_case, 1, root, tmp_path / "whole", changes)
    ((result, _),) = run_ranks(train_and_stop, 1, root, tmp_path / "run", 2, changes)
    assert not result.is_finished
    run_ranks(train_case, 1, root, tmp_path / "run", changes)
    require_same_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("steps", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_two_processes_stopped(root: Path, steps: int, tmp_path: Path) -> None:
    """Asked to stop at an epoch's end, or within one; the second process is asked, and both stop."""
    whole = run_ranks(train_and_stop, 2, root, tmp_path / "whole", 0, TOGETHER)
    assert [result.steps for result, _ in whole] == [6, 6]
    assert whole[0] == whole[1]
    for result, _ in run_ranks(train_and_stop, 2, root, tmp_path / "run", steps, TOGETHER):
        assert result == TrainingResult(False, steps)
    assert run_ranks(train_and_stop, 2, root, tmp_path / "run", 0, TOGETHER) == whole
    require_same_runs(tmp_path / "whole", tmp_path / "run")


def test_data_are_read_only_of_a_run_that_is_finished(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path / "run"), create_config(tmp_path / "nowhere", tmp_path / "run")
    assert finished_result(folder, config) is None
    with folder.claimed():
        folder.done.touch()
    with pytest.raises(DatasetError, match="nowhere is no dataset folder"):
        finished_result(folder, config)
