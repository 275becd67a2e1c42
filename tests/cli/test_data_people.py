"""``acrn-zoo data people``: the files, what dataset.json says afterwards, the messages, the exit status."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acrn_zoo.cli import data_people, main
from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, read_dataset_folder, write_dataset_folder
from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.dataset_check import check_dataset
from acrn_zoo.files import OutputError
from acrn_zoo.labels import LabelMap
from acrn_zoo.structures import Keyframe
from acrn_zoo.tables import read_proposals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits: ``a`` to train with, two seconds of it annotated, ``b`` to evaluate with."""
    for seed, name in enumerate("ab"):
        write_synthetic_video(tmp_path / f"{name}.mp4", seed=seed, seconds=4, size=(48, 64), frame_rate=10)
    row = "0.1,0.1,0.9,0.9,1,0\n"
    (tmp_path / "train.csv").write_text(f"a,0,{row}a,3,{row}")
    (tmp_path / "val.csv").write_text(f"b,901,{row}b,901,{row}")
    write_dataset_folder(
        DatasetFolder(
            root=tmp_path,
            name="small",
            label_map=LabelMap({1: "walk"}),
            splits={name: Split(tmp_path / f"{name}.csv") for name in ("train", "val")},
            videos={"a": VideoEntry(tmp_path / "a.mp4"), "b": VideoEntry(tmp_path / "b.mp4", 900)},
        )
    )
    return tmp_path


class Detectors:
    """In place of the network: finds one person a frame, and notes how it was made and what it was asked."""

    def __init__(self) -> None:
        self.made: list[tuple[float, str]] = []
        self.asked: list[tuple[str, float]] = []
        self.fails_at: int | None = None

    def create(self, *, threshold: float, device: torch.device) -> "Detectors":
        self.made.append((threshold, str(device)))
        return self

    def __call__(self, frame: Tensor, keyframe: Keyframe) -> Tensor:
        if len(self.asked) == self.fails_at:
            raise KeyboardInterrupt
        self.asked.append((keyframe.video_id, keyframe.timestamp))
        height, width = frame.shape[:2]
        return torch.tensor([[0, 0, width / 2, height / 4, 0.625]])


@pytest.fixture(autouse=True)
def detectors(monkeypatch: pytest.MonkeyPatch) -> Detectors:
    made = Detectors()
    monkeypatch.setattr(data_people, "create_person_detector", made.create)
    return made


def run(*arguments: object) -> int:
    return main(["data", "people", *map(str, arguments)])


def test_all_splits(folder: Path, detectors: Detectors, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--threshold", 0.25, "--device", "cpu") == 0
    assert detectors.made == [(0.25, "cpu")]
    assert detectors.asked == [("a", 0), ("a", 3), ("b", 901)]
    assert (folder / "train_proposals.csv").read_text() == "a,0000,0,0,0.5,0.25,0.625\na,0003,0,0,0.5,0.25,0.625\n"
    dataset = read_dataset_folder(folder)
    assert [split.proposals for split in dataset.splits.values()] == [
        folder / "train_proposals.csv",
        folder / "val_proposals.csv",
    ]
    output = capsys.readouterr().out
    assert "train: 2 people in 2 keyframes" in output
    assert f"Written: {folder}/val_proposals.csv\nIt is named in {folder}/dataset.json now." in output

    assert run(folder) == 0
    assert f"train: {folder}/train_proposals.csv is there already; --overwrite makes it anew" in capsys.readouterr().out
    assert len(detectors.made) == 1
    assert run(folder, "--overwrite") == 0
    assert len(detectors.asked) == 6


def test_one_split_with_all_seconds(folder: Path, detectors: Detectors) -> None:
    assert run(folder, "--split", "train", "--all-seconds") == 0
    assert detectors.asked == [("a", second) for second in range(4)]
    assert read_dataset_folder(folder).split("val").proposals is None


def test_a_file_of_choice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--split", "val", "--out", folder / "mine.csv") == 0
    assert read_dataset_folder(folder).split("val").proposals == folder / "mine.csv"
    (folder / "mine.csv").unlink()
    assert run(folder, "--split", "val") == 0
    assert len(read_proposals(folder / "mine.csv")) == 1  # the one that dataset.json names
    capsys.readouterr()
    assert run(folder, "--split", "val", "--out", folder / "other.csv") == 0
    assert "dataset.json names" in capsys.readouterr().out
    assert read_dataset_folder(folder).split("val").proposals == folder / "mine.csv"


def test_a_dataset_that_can_only_be_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What took hours is there, wherever one may write."""

    def refuse(_folder: DatasetFolder) -> None:
        raise OutputError("Cannot write dataset.json: Read-only file system")

    monkeypatch.setattr(data_people, "write_dataset_folder", refuse)
    assert run(folder, "--split", "val", "--out", tmp_path / "mine.csv") == 0
    assert len(read_proposals(tmp_path / "mine.csv")) == 1
    assert f"Read-only file system. So {tmp_path}/mine.csv is named nowhere" in capsys.readouterr().out


def test_other_proposals_are_left_alone(folder: Path) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    content["splits"]["val"]["proposals"] = "dense.pkl"
    (folder / "dataset.json").write_text(json.dumps(content))
    (folder / "dense.pkl").write_bytes(b"theirs")
    assert run(folder, "--split", "val", "--overwrite") == 0
    assert (folder / "dense.pkl").read_bytes() == b"theirs"
    assert len(read_proposals(folder / "val_proposals.csv")) == 1
    assert read_dataset_folder(folder).split("val").proposals == folder / "dense.pkl"


def test_continued_by_the_same_command(folder: Path, detectors: Detectors, capsys: pytest.CaptureFixture[str]) -> None:
    detectors.fails_at = 1
    assert run(folder) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (folder / "train_proposals.csv").exists()
    assert read_dataset_folder(folder).split("train").proposals is None
    detectors.fails_at = None
    assert run(folder) == 0
    assert detectors.asked == [("a", 0), ("a", 3), ("b", 901)]
    assert len(read_proposals(folder / "train_proposals.csv")) == 2


def test_damaged_video(folder: Path, detectors: Detectors, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(b"")
    assert run(folder) == 1
    output = capsys.readouterr().out
    assert f"1 of 1 videos have keyframes that are missing in it:\na  {folder}/a.mp4: the file is empty" in output
    assert len(read_proposals(folder / "val_proposals.csv")) == 1
    assert read_proposals(folder / "train_proposals.csv").empty
    (folder / "a.mp4").write_bytes(whole)
    assert run(folder) == 0
    assert detectors.asked == [("b", 901), ("a", 0), ("a", 3)]
    assert len(read_proposals(folder / "train_proposals.csv")) == 2


def test_after_the_dataset_was_imported_again(
    folder: Path, detectors: Detectors, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are there, but dataset.json names none; and a keyframe has been added."""
    assert run(folder) == 0
    dataset = read_dataset_folder(folder)
    splits = {name: Split(split.annotations) for name, split in dataset.splits.items()}
    write_dataset_folder(replace(dataset, splits=splits))
    with (folder / "train.csv").open("a") as file:
        file.write("a,1,0.1,0.1,0.9,0.9,1,0\n")
    detectors.asked.clear()
    detectors.made.clear()
    capsys.readouterr()
    assert run(folder, "--split", "train") == 0
    assert detectors.asked == [("a", 1)]
    assert read_proposals(folder / "train_proposals.csv")["timestamp"].tolist() == [0, 1, 3]
    assert "train_proposals.csv is there already and lacks 1 keyframes" in capsys.readouterr().out
    detectors.made.clear()
    assert run(folder) == 0
    assert detectors.made == []  # nothing to find, so no download
    for name, split in read_dataset_folder(folder).splits.items():
        assert split.proposals == folder / f"{name}_proposals.csv"
    assert f"It is named in {folder}/dataset.json now." in capsys.readouterr().out
    assert check_dataset(folder, with_videos=False).is_healthy


def test_changes_of_dataset_json_meanwhile_are_kept(
    folder: Path, detectors: Detectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "dataset.json"

    def create(*, threshold: float, device: torch.device) -> Detectors:
        path.write_text(path.read_text().replace("small", "renamed"))
        return detectors.create(threshold=threshold, device=device)

    monkeypatch.setattr(data_people, "create_person_detector", create)
    assert run(folder) == 0
    dataset = read_dataset_folder(folder)
    assert (dataset.name, dataset.split("val").proposals) == ("renamed", folder / "val_proposals.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "there is no split 'test'; there is train, val"),
        (["--out", "x.csv"], "say --split"),
        (["--split", "val", "--out", "{folder}/val.csv"], "val.csv exists already"),
        (["--split", "val", "--out", "/proc/x.csv"], "Cannot write /proc/x.csv"),
        (["--split", "val", "--out", "{folder}/nowhere/x.csv"], "no folder .*nowhere"),
        (["--device", "cuda:9"], "device 'cuda:9' cannot be used"),
    ],
)
def test_one_clear_error(
    arguments: list[str], message: str, folder: Path, detectors: Detectors, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    assert run(folder, *(argument.format(folder=folder) for argument in arguments)) == 1
    error = capsys.readouterr().err
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)
    assert error.count("acrn-zoo: error:") == 1
    assert detectors.made == []  # no download for a run that cannot be
    assert sorted(path.name for path in folder.iterdir()) == before


def test_annotations_that_cannot_be_read(
    folder: Path, detectors: Detectors, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "val.csv").write_text("b,902,here\n")
    assert run(folder) == 1
    assert "val.csv, line 1" in capsys.readouterr().err
    assert detectors.made == []


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("somewhere", "--threshold", "2")
    assert "'2' is not a number of 0 to 1" in capsys.readouterr().err
