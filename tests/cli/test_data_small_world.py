"""``acrn-zoo data small-world``."""

from pathlib import Path

import pytest

from acrn_zoo.cli import main
from acrn_zoo.data.folder import read_dataset_folder

TINY = ["--train", "2", "--val", "1", "--shots", "2", "--processes", "1"]


def test_makes_a_dataset_and_says_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "world"
    scenes = ["--people", "1", "1", "--shapes", "3", "--colors", "2", "--scene-colors", "1"]
    assert main(["data", "small-world", str(folder), *TINY, *scenes]) == 0
    said = capsys.readouterr().out
    assert "3 videos, 2 keyframes each" in said
    assert "play with a ball, guard a box, fly a kite" in said
    assert f"acrn-zoo train small_world --data {folder}" in said
    assert list(read_dataset_folder(folder).videos) == ["train_0000", "train_0001", "val_0000"]


def test_nothing_is_replaced_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "small-world", str(tmp_path / "world"), *TINY]
    assert main(command) == 0
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--people", "3", "2"], "num_people is (3, 2)"),
        (["--things", "5", "1"], "num_things is (5, 1)"),
        (["--colors", "9"], "num_colors is 9, expected 2 to 8"),
        (["--colors", "3", "--scene-colors", "4"], "num_scene_colors is 4, expected 1 to 3"),
        (["--shapes", "4"], "num_shapes is 4, expected 1 to 3"),
        (["--side", "16"], "side is 16"),
        (["--seed", "-1"], "seed is -1"),
    ],
)
def test_worlds_that_there_are_not(
    flags: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "small-world", str(tmp_path / "world"), *flags]) == 1
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
