"""``acrn-zoo data jhmdb``, from a small ground truth to the folder that training reads."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acrn_zoo.cli import main
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.jhmdb import JhmdbTruth, VideoTruth, write_jhmdb
from acrn_zoo.tables import read_annotations


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Two videos of three frames, one to train on and one to test on."""
    tube = np.array([[frame, 4 * frame, 6, 4 * frame + 16, 42] for frame in (1, 2, 3)], dtype=np.float64)
    videos = {f"golf/{name}": VideoTruth(3, 48, 64, {1: (tube,)}) for name in ("a", "b")}
    truth = JhmdbTruth(("run", "golf"), videos, (("golf/a",),), (("golf/b",),))
    write_jhmdb(tmp_path / "truth.json", truth)
    for name in videos:
        folder = tmp_path / "Frames" / name
        folder.mkdir(parents=True)
        for number in (1, 2, 3):
            Image.fromarray(np.full((48, 64, 3), 50 * number, dtype=np.uint8)).save(folder / f"{number:05d}.png")
    return tmp_path


def run(copy: Path, *more: object) -> int:
    arguments = ["data", "jhmdb", copy / "truth.json", "--videos", copy, "--out", copy / "golf", *more]
    return main([str(argument) for argument in arguments])


def test_makes_a_folder_that_is_read_as_others(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(copy) == 0
    assert "J-HMDB split 1: 1 videos to train on, 1 to test on, 2 classes" in capsys.readouterr().out
    folder = read_dataset_folder(copy / "golf")
    assert read_annotations(folder.split("val").annotations)["video_id"].unique().tolist() == ["golf/b"]
    samples = EvaluationDataset.from_folder(folder, "val", people="annotated")
    assert len(samples) == 3
    sample = samples[1]
    assert sample.keyframe.timestamp == pytest.approx(1 / 25)
    assert sample.frames[16].float().mean() == pytest.approx(100)  # the second frame, in the middle of the clip
    assert sample.labels.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("arguments", "message"), [(("--split", 2), r"split"), (("--videos", "nowhere"), "lacks 2 of 2 videos")]
)
def test_errors(copy: Path, arguments: tuple[object, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(copy, *arguments) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (copy / "golf").exists()


def test_another_folder_is_left_alone(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "golf").mkdir()
    (copy / "golf" / "mine").write_text("keep")
    assert run(copy) == 1
    assert "expected an empty folder" in capsys.readouterr().err
    assert [path.name for path in (copy / "golf").iterdir()] == ["mine"]


def test_folder_that_cannot_be_made(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(copy, "--out", copy / "truth.json" / "golf") == 1
    assert re.search(r"error: Cannot make the folder .*golf: Not a directory", capsys.readouterr().err)
