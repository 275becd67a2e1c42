"""The folder of a run: checkpoints that are whole or not there, and what is refused."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from training_case import claim, create_config, save_beyond_a_limit

from acrn_zoo.engine import state as module
from acrn_zoo.engine.config import ConfigError, write_config
from acrn_zoo.engine.learner import FORMAT, FORMAT_VERSION
from acrn_zoo.engine.state import RunError, RunFolder, read_state, require_same, require_same_facts, write_durably
from acrn_zoo.files import OutputError


def content(step: int) -> dict[str, Any]:
    position = {"epoch": 0, "step": step, "step_of_epoch": step}
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "position": position,
        "model": {"weight": torch.full((9,), step)},
    }


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    found = RunFolder(tmp_path / "run", keep_last=2)
    with found.claimed():
        return found


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.checkpoints.iterdir())


def newest_path(folder: RunFolder, note: Callable[[str], None]) -> Path | None:
    newest = folder.newest(note)
    return None if newest is None else newest[0]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "bit":
        place = data.index(torch.full((9,), 2).numpy().tobytes())
        data[place] ^= 1
    damaged = {"cut": data[:-100], "garbage": bytearray(b"x" * len(data)), "empty": bytearray(), "bit": data}
    path.write_bytes(damaged[how])


def test_keeps_the_last(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.save(content(step))
    assert names(folder) == ["step_00000002.pth", "step_00000003.pth"]
    newest = folder.newest(pytest.fail)
    assert newest is not None
    path, state = newest
    assert path == folder.checkpoints / "step_00000003.pth"
    assert state["model"]["weight"].tolist() == [3] * 9


def test_steps_beyond_eight_digits(folder: RunFolder) -> None:
    for step in (99_999_999, 100_000_000):
        folder.save(content(step))
    assert newest_path(folder, pytest.fail) == folder.checkpoints / "step_100000000.pth"


def test_nothing_there(folder: RunFolder) -> None:
    (folder.checkpoints / "step_00000001.pth.txt").write_text("a note")
    assert folder.newest(pytest.fail) is None


@pytest.mark.parametrize("how", ["cut", "garbage", "empty", "bit"])
def test_a_damaged_one_is_passed_over(folder: RunFolder, how: str) -> None:
    notes: list[str] = []
    for step in (1, 2):
        folder.save(content(step))
    damage(folder.checkpoints / "step_00000002.pth", how)
    assert newest_path(folder, notes.append) == folder.checkpoints / "step_00000001.pth"
    (note,) = notes
    assert "step_00000002.pth is damaged (" in note
    assert note.endswith("The one before it is taken: step_00000001.pth")
    assert names(folder) == ["step_00000001.pth", "step_00000002.pth"]
    # What is written now does not push the whole ones out, however much later the damaged one is.
    folder.keep_last = 1
    folder.save({**content(1), "model": {}})
    assert names(folder) == ["step_00000001.pth", "step_00000002.pth"]


def test_all_are_damaged(folder: RunFolder) -> None:
    for step in (1, 2):
        folder.save(content(step))
        damage(folder.checkpoints / f"step_0000000{step}.pth", "garbage")
    with pytest.raises(RunError, match=r"No checkpoint in .* nothing was changed.*_2\.pth.*_1\.pth".replace("_", "0")):
        folder.newest(pytest.fail)
    assert names(folder) == ["step_00000001.pth", "step_00000002.pth"]


def test_checkpoints_of_another_version(folder: RunFolder) -> None:
    """They are sound, so that those before them are no substitute."""
    folder.save(content(1))
    folder.save({**content(2), "version": FORMAT_VERSION + 1})
    with pytest.raises(RunError, match=r"step_00000002.pth was written by another version .* go on with that version"):
        folder.newest(pytest.fail)


@pytest.mark.parametrize("other", [{"weights": 1}, [1], {"format": "another"}])
def test_other_files_are_told_apart(folder: RunFolder, other: object) -> None:
    path = folder.checkpoints / "step_00000001.pth"
    torch.save(other, path)
    with pytest.raises(RunError, match="no checkpoint of a run"):
        read_state(path)


def test_a_full_disk(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.save(content(1))

    def full(_state: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.torch, "save", full)
    with pytest.raises(
        OutputError,
        match=r"cannot be written \(No space left on device\). The run can go on from step_00000001.pth: make room",
    ):
        folder.save(content(2))
    assert names(folder) == ["step_00000001.pth"]
    assert newest_path(folder, pytest.fail) == folder.checkpoints / "step_00000001.pth"


def test_a_file_that_may_not_grow(folder: RunFolder) -> None:
    """A real limit of the system, on which PyTorch's writer fails in its own way."""
    folder.save(content(1))
    (error,) = run_ranks(save_beyond_a_limit, 1, folder.root)
    assert isinstance(error, OutputError)
    assert "step_00000002.pth cannot be written (File too large). The run can go on from step_00000001.pth" in str(
        error
    )
    assert names(folder) == ["step_00000001.pth"]


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"old"))
    with pytest.raises(ZeroDivisionError):
        write_durably(path, lambda _file: 1 / 0)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_leftovers_are_removed(folder: RunFolder) -> None:
    leftovers = [
        folder.checkpoints / ".step_00000001.pth.part",
        folder.root / ".last.pth.123.part",
        folder.root / ".log.9.part.jsonl",
    ]
    for path in leftovers:
        path.write_text("half")
    (folder.root / "part").write_text("somebody's")
    with folder.claimed():
        assert not any(path.exists() for path in leftovers)
    assert (folder.root / "part").exists()


def test_one_run_a_folder(folder: RunFolder) -> None:
    with folder.claimed():
        (error,) = run_ranks(claim, 1, folder.root)
    assert isinstance(error, RunError)
    assert f"is in use by process {os.getpid()} on " in str(error)
    assert run_ranks(claim, 1, folder.root) == [True]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be used for a run"), RunFolder(tmp_path / "file").claimed():
        pass


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "best.pth").write_text("precious")
    with pytest.raises(RunError, match="has best.pth, but no config.json"), RunFolder(tmp_path).claimed():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["best.pth"]


def test_done(folder: RunFolder, tmp_path: Path) -> None:
    config = create_config(tmp_path, folder.root)
    facts = {"classes": "walk"}
    assert folder.result(config, facts) is None
    write_config(folder.config, config)
    folder.finish(12, {"mAP": 0.5, "AP/walk": math.nan}, facts)
    assert json.loads(folder.done.read_text()) == {
        "steps": 12,
        "metrics": {"mAP": 0.5, "AP/walk": None},
        "facts": {"classes": "walk"},
    }
    result = folder.result(create_config(tmp_path, folder.root, num_workers=7), facts)
    assert result is not None
    assert (result[0], result[1]["mAP"], math.isnan(result[1]["AP/walk"])) == (12, 0.5, True)
    with pytest.raises(ConfigError, match=r"other settings \(optimization.epochs: 2 before, 3 now\)"):
        folder.result(create_config(tmp_path, folder.root, epochs=3), facts)
    with pytest.raises(ConfigError, match=r"began otherwise \(classes: walk before, run now\)"):
        folder.result(config, {"classes": "run"})
    folder.done.write_text("[]")
    with pytest.raises(RunError, match="DONE.json cannot be read .* remove it, and the run goes on"):
        folder.result(config, facts)


def test_what_has_to_be_as_it_was(tmp_path: Path) -> None:
    facts: dict[str, object] = {"processes": 2, "classes": "walk"}
    require_same_facts(facts, dict(facts), tmp_path)
    with pytest.raises(
        ConfigError, match=r"began otherwise \(processes: 2 before, 8 now; classes: walk before, run now\)"
    ):
        require_same_facts(facts, {"processes": 8, "classes": "run"}, tmp_path)


def test_settings_have_to_be_as_they_were(tmp_path: Path) -> None:
    config = create_config(tmp_path, tmp_path / "run")
    require_same(config, config, tmp_path)
    other = create_config(tmp_path, tmp_path / "run", momentum=0.5, seed=1)
    with pytest.raises(ConfigError, match="optimization.momentum: 0.9 before, 0.5 now; optimization.seed: 0 before, 1"):
        require_same(config, other, tmp_path)


def test_weights_without_checkpoints(folder: RunFolder) -> None:
    folder.config.write_text("{}")
    folder.last.write_text("precious")
    with pytest.raises(RunError, match="no checkpoint to go on from, and they would be overwritten"):
        folder.newest(pytest.fail)
