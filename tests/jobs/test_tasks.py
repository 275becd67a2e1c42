"""Training and evaluation as tasks: whole, and asked to stop."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from training_case import create_config, write_dataset

from acrn_zoo.engine.config import Config
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.state import RunFolder
from acrn_zoo.jobs.tasks import EvaluateTask, TrainTask, request_after


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("dataset")
    return create_config(write_dataset(root).root, root / "run", epochs=1, accumulation_steps=1)


def never() -> bool:
    return False


def always() -> bool:
    return True


@pytest.fixture(scope="module")
def trained(config: Config) -> tuple[Config, list[bool]]:
    """A run that was asked to stop at once, and then went on."""
    task = pickle.loads(pickle.dumps(TrainTask(config)))
    return config, [task(Processes(), stop) for stop in (always, never, never)]


def test_training_stops_and_goes_on(trained: tuple[Config, list[bool]]) -> None:
    config, answers = trained
    assert answers == [False, True, True]
    assert RunFolder(config.run.out).done.exists()
    assert TrainTask(config).device == "cpu"


@pytest.mark.parametrize("stop", [always, never])
def test_evaluation(
    trained: tuple[Config, list[bool]],
    stop: Callable[[], bool],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = request_after(trained[0], tmp_path)
    task = pickle.loads(pickle.dumps(EvaluateTask("small_world", request)))
    assert task.device == "cpu"
    is_whole = stop is never
    for _again in range(2):  # its own files may be there
        assert task(Processes(), stop) is is_whole
        assert (tmp_path / "predictions.csv").exists() is is_whole
        assert (tmp_path / "score.json").exists() is is_whole
    if is_whole:
        found = json.loads((tmp_path / "score.json").read_text())
        output = capsys.readouterr().out
        assert f"mAP {found['mAP']:.6f}" in output
        assert f"Written: {tmp_path / 'predictions.csv'}  {tmp_path / 'score.json'}" in output
