"""``acrn-zoo data manifest``: the file, the messages, the exit status."""

import json
from pathlib import Path

import pytest

from acrn_zoo.cli import main
from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.data.manifest import read_manifest
from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.labels import LabelMap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate("ab"):
        write_synthetic_video(tmp_path / f"{name}.mp4", seed=seed, seconds=2, size=(48, 64), frame_rate=10)
    write_dataset_folder(
        DatasetFolder(
            root=tmp_path,
            name="small",
            label_map=LabelMap({1: "walk"}),
            splits={"train": Split(tmp_path / "train.csv")},
            videos={name: VideoEntry(tmp_path / f"{name}.mp4") for name in "ab"},
        )
    )
    return tmp_path


def run(*arguments: object) -> int:
    return main(["data", "manifest", *map(str, arguments)])


def test_sound(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    output = capsys.readouterr()
    assert "2 videos, 0.00 h, 0.00 GB; 10 frames a second" in output.out
    assert "No problems." in output.out
    assert "2/2" in output.err
    assert {entry.depth for entry in read_manifest(folder / "manifest.json").values()} == {"quick"}
    assert run(folder, "--full", "--workers", 1) == 0
    assert {entry.depth for entry in read_manifest(folder / "manifest.json").values()} == {"full"}


def test_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.mp4").write_bytes(b"")
    assert run(folder) == 1
    output = capsys.readouterr().out
    assert f"1 of 2 videos cannot be used:\nb  {folder}/b.mp4: the file is empty" in output
    assert read_manifest(folder / "manifest.json")["b"].problems
    assert "Traceback" not in output


def test_offset_that_nobody_knows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    content["videos"]["a"]["offset"] = None
    (folder / "dataset.json").write_text(json.dumps(content))
    assert run(folder) == 1
    assert 'Say in dataset.json, as "offset" of this video' in capsys.readouterr().out


def test_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 1
    assert "is no dataset folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
