"""``acrn-zoo train`` and ``evaluate``, from their flags to files and messages."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_case import run_command
from ranks import run_ranks
from training_case import NUM_TRAINING, NUM_VALIDATION, write_dataset

from acrn_zoo.cli import main, parse
from acrn_zoo.cli import train as module
from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.engine import evaluation_run
from acrn_zoo.engine.config import Config, read_config
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.engine.train import TrainingResult

SMALL = ("--eval-short-side", "32", "--num-workers", "0", "--device", "cpu")
TRAINING = (*SMALL, "--short-side", "32", "40", "--crop", "32", "--clips-per-process", "4", "--no-tensorboard")
SHORT = ("--epochs", "1", "--warmup-epochs", "0.5")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """A run, and the command that it comes from."""
    out = tmp_path_factory.mktemp("trained") / "run"
    command = ("train", "small_world", "--data", str(root), "--out", str(out), *TRAINING, *SHORT)
    status, output, errors = run_command(command)
    assert status == 0, errors
    (out / "output.txt").write_text(output)
    return out, command


def parsed(*arguments: str) -> Any:
    return parse(arguments).parsed


def ended(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_recipe_alone_is_the_recipe() -> None:
    for name, recipe in RECIPES.items():
        assert parsed("train", name) == recipe()


def test_flags_change_the_recipe() -> None:
    config: Config = parsed(
        "train", "slowfast_acrn_ava22", "--epochs", "3", "--eval-scales", "224", "288", "--weights-backbone", "None",
        "--no-with-unmatched", "--data", "ava", "--ema-decay", "0.999", "--compile",
    )  # fmt: skip
    assert (config.optimization.epochs, config.optimization.ema_decay) == (3, 0.999)
    assert (config.data.eval_scales, config.data.with_unmatched, config.data.data) == ((224, 288), False, Path("ava"))
    assert (config.model.weights_backbone, config.model.compile) == (None, True)
    assert config.optimization.clips_per_process == RECIPES["slowfast_acrn_ava22"]().optimization.clips_per_process


def unboxed(text: str) -> str:
    """Words alone: without the frames that are drawn round them, and in one line."""
    return re.sub(r"[\s│]+", " ", text)


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_help_lists_the_recipes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(verb, "--help") == 0
    output = capsys.readouterr().out
    assert f"usage: acrn-zoo {verb} RECIPE [flags]" in output
    for name in RECIPES:
        assert re.search(rf"^  {name} +\S.*\.$", output, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "small_world"), r"--clip-length INT +frames of a clip\. \(default: 8\)"),
        (("train", "finetune"), r"\(default: *runs/finetune\)"),
        (("evaluate", "slowfast_acrn_ava22"), r"--clip-length INT +frames of a clip\. \(default: 32\)"),
    ],
)
def test_help_of_a_recipe(arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments, "--help") == 0
    assert re.search(expected, unboxed(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "arguments are required: RECIPE"),
        (("train", "smallworld"), "'smallworld' is no recipe: did you mean small_world?"),
        (("train", "x"), "'x' is no recipe: expected one of slowfast_acrn_ava22, "),
        (("evaluate", "small_word"), "'small_word' is no recipe: did you mean small_world?"),
        (("train", "small_world", "--epohs", "3"), "Unrecognized options: --epohs.*--epochs INT"),
        (("train", "small_world", "--epochs", "few"), "--epochs"),
        (("train", "small_world", "--epochs", "0"), "--epochs is 0, expected a whole number of at least 1"),
        (("train", "small_world", "--relation", "arcn"), "arcn.*--relation.*scene_attention"),
        (("evaluate", "small_world", "--weights", "x", "--top", "0"), "--top is 0, expected a whole number of at"),
        (("evaluate", "small_world", "--threshold", "2"), "--threshold is 2.0, expected a number of 0 to 1"),
        (("evaluate", "small_world", "--clip-length", "4"), "--clip-length is 4, expected a whole number of at least"),
    ],
)
def test_wrong_flags(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    assert re.search(message, unboxed(capsys.readouterr().err))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "small_world"), "--data is missing: name a dataset folder"),
        (("evaluate", "small_world", "--data", "nowhere"), "--weights is missing: name a record"),
        (("evaluate", "small_world", "--weights", "x.pth"), "--data is missing: name a dataset folder"),
        (("evaluate", "small_world", "--json", "nowhere/score.json"), "there is no folder nowhere"),
    ],
)
def test_what_is_missing(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main((*arguments, "--device", "cpu")) == 1
    assert message in capsys.readouterr().err


def test_plan_and_result(trained: tuple[Path, tuple[str, ...]], root: Path) -> None:
    out, _ = trained
    output = (out / "output.txt").read_text()
    for line in (
        "recipe    small_world: A small SlowFast with ACRN",
        f"data      case ({root}), 3 classes",
        f"train     {NUM_TRAINING} keyframes of 1 videos (train)",
        f"validate  {NUM_VALIDATION} keyframes of 1 videos (val), people as annotated, every epoch",
        "steps     1 epochs, 4 clips a step",
        "device    cpu, float32, 1 process",
        f"3 steps. Weights: {out / 'best.pth'}  {out / 'last.pth'}",
    ):
        assert f"\n{line}" in f"\n{output}"
    assert read_config(out / "config.json").optimization.clips_per_process == 4


def test_the_same_command_again(trained: tuple[Path, tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    out, command = trained
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "is finished: there is nothing to do" in captured.err
    assert f"3 steps. Weights: {out / 'best.pth'}" in captured.out
    assert main((*command, "--clips-per-process", "3")) == 1
    assert "optimization.clips_per_process: 4 before, 3 now" in capsys.readouterr().err


def test_evaluate(
    trained: tuple[Path, tuple[str, ...]],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = str(trained[0] / "best.pth")
    command = ("evaluate", "small_world", "--data", str(root), "--weights", weights, *SMALL)
    assert main((*command, "--out", "found.csv", "--json", "score.json")) == 0
    evaluated = capsys.readouterr().out
    assert f"{NUM_VALIDATION} keyframes in " in evaluated
    assert "Written: found.csv  score.json" in evaluated
    assert main(("score", "found.csv", "--ground-truth", str(root))) == 0
    scored = capsys.readouterr().out
    assert re.search(r"class +AP +annotated", evaluated)
    assert [line for line in scored.splitlines() if line not in evaluated.splitlines()] == []
    found = json.loads(Path("score.json").read_text())
    assert f"mAP {found['mAP']:.6f}" in scored
    assert main((*command, "--out", "found.csv")) == 1
    assert "found.csv exists already" in capsys.readouterr().err
    assert main((*command, "--out", "found.csv", "--overwrite", "--top", "1")) == 0
    num_people = len({line.rsplit(",", 2)[0] for line in Path("found.csv").read_text().splitlines()})
    assert len(Path("found.csv").read_text().splitlines()) == num_people
    assert main((*command, "--out", "nothing.csv", "--threshold", "1")) == 0
    assert Path("nothing.csv").read_text() == ""


@pytest.mark.parametrize("is_other", [False, True])
def test_weights_of_other_clips(
    is_other: bool, trained: tuple[Path, tuple[str, ...]], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", "small_world", "--data", str(root), "--weights", str(trained[0] / "best.pth"), *SMALL)
    assert main((*command, *("--clip-length", "12") * is_other)) == 0
    note = "the weights were trained on other clips than these: --clip-length 8 then, --clip-length 12 now"
    assert [line for line in capsys.readouterr().err.splitlines() if "other clips" in line] == [note] * is_other


def test_flags_reach_the_evaluation(
    trained: tuple[Path, tuple[str, ...]], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CalledError(Exception):
        pass

    def evaluate(_model: object, dataset: EvaluationDataset, *_: object, **options: object) -> None:
        raise CalledError(dataset.sampling, dataset.transform.short_side, options)

    monkeypatch.setattr(evaluation_run, "evaluate", evaluate)
    flags = ("--clip-length", "16", "--frame-interval", "0.02", "--eval-short-side", "24", "--num-workers", "3")
    more = ("--eval-flips", "--eval-scales", "24", "32", "--precision", "bfloat16")
    command = ("evaluate", "small_world", "--data", str(root), "--weights", str(trained[0] / "last.pth"))
    with pytest.raises(CalledError) as caught:
        main((*command, "--device", "cpu", *flags, *more))
    sampling, short_side, options = caught.value.args
    assert (sampling, short_side) == (ClipSampling(16, 0.02), 24)
    assert (options["flips"], options["scales"], options["precision"]) == (True, (24, 32), "bfloat16")
    assert options["num_workers"] == 3


def test_several_processes_speak_with_one_voice(trained: tuple[Path, tuple[str, ...]], root: Path) -> None:
    weights = str(trained[0] / "best.pth")
    command = ("evaluate", "small_world", "--data", str(root), "--weights", weights, *SMALL)
    first, second = run_ranks(run_command, 2, command)
    _, alone, _ = run_command(command)
    assert (first[0], second[:2]) == (0, (0, ""))
    assert re.sub(r"in .* s,", "", first[1]) == re.sub(r"in .* s,", "", alone)
    nowhere = str(trained[0] / "none" / "results.csv")
    first, second = run_ranks(run_command, 2, (*command, "--out", nowhere))
    assert (first[0], second[0]) == (1, 1)
    assert "none" in first[2]
    assert "none" not in second[2]  # the first one says it
    first, second = run_ranks(run_command, 2, trained[1])  # of a run that is finished
    assert (first[0], second[:2]) == (0, (0, ""))
    assert "device    cpu, float32, 2 processes" in first[1]
    first, second = run_ranks(run_command, 2, ("train", "small_world", "--device", "cpu"))
    assert (first[:2], second[:2]) == ((1, ""), (1, ""))
    assert "--data is missing" in first[2]
    assert "--data is missing" not in second[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interruption_asks_to_stop(
    number: signal.Signals,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def train(*_: object, stop_requested: Callable[[], bool], **__: object) -> TrainingResult:
        assert not stop_requested()
        for _again in range(2):  # as torchrun hands on what the terminal has sent already
            os.kill(os.getpid(), number)
            assert stop_requested()
        return TrainingResult(False, 5)

    monkeypatch.setattr(module, "train", train)
    assert main(("train", "small_world", "--data", str(root), "--out", str(tmp_path / "run"), "--device", "cpu")) == 130
    errors = capfd.readouterr().err
    assert errors.count("Stopping at the end of this step") == 1
    assert "interrupted" not in errors


def test_the_second_interruption_interrupts(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(*_: object, **__: object) -> TrainingResult:
        for _again in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not interrupted")

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr("acrn_zoo.cli.interruption.ONE_REQUEST", -1.0)
    assert main(("train", "small_world", "--data", str(root), "--out", str(tmp_path / "run"), "--device", "cpu")) == 130
    assert capfd.readouterr().err.endswith("acrn-zoo: interrupted\n")


def test_requests_end_with_their_block() -> None:
    with Interruption() as interruption:
        with interruption.as_request(""):
            pass
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
