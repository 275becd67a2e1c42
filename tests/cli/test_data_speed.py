"""``acrn-zoo data-speed``: the table, the file, the messages."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.cli import data_speed, main
from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.labels import LabelMap
from acrn_zoo.loading_speed import LoadingSpeed
from acrn_zoo.models import ActionDetector
from acrn_zoo.zoo import create_slowfast_detector


@pytest.fixture
def folder(tmp_path: Path, small_video: Path) -> Path:
    (tmp_path / "train.csv").write_text("a,1,0.1,0.1,0.9,0.9,1,0\na,2,0.1,0.1,0.9,0.9,2,0\n")
    (tmp_path / "val.csv").write_text("")
    names = LabelMap({1: "walk", 2: "talk"})
    splits = {name: Split(tmp_path / f"{name}.csv") for name in ("train", "val")}
    write_dataset_folder(DatasetFolder(tmp_path, "small", names, splits, {"a": VideoEntry(small_video)}))
    return tmp_path


def run(*arguments: object) -> int:
    return main(["data-speed", *map(str, arguments)])


def test_table_and_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    assert run(folder, "--workers", "0,1", "--batch-size", 1, "--batches", 1, "--step-time", 1e5, "--json", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "A training step of 1 clips: 1e+05 s (as given)" in lines
    header = lines.index("workers  clips/s  s a batch  a step waits")
    assert [line.split()[0] for line in lines[header + 1 : header + 3]] == ["0", "1"]
    assert all(line.endswith("0 %") for line in lines[header + 1 : header + 3])
    content = json.loads(out.read_text())
    assert (content["version"], content["step_time"]) == (1, 1e5)
    assert [speed["num_workers"] for speed in content["speeds"]] == [0, 1]
    for speed in content["speeds"]:
        assert speed["clips_per_second"] == pytest.approx(1 / speed["seconds"])
        assert speed["waiting_share"] < 1e-3


SPEEDS = {0: LoadingSpeed(0, 8, 1, 4.0), 2: LoadingSpeed(2, 8, 1, 2.0), 4: LoadingSpeed(4, 8, 1, 0.5)}


@pytest.fixture
def known_speeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """2, 4 and 16 clips a second, whatever the machine."""

    def measured(_dataset: object, *, num_workers: int, batch_size: int, num_batches: int) -> LoadingSpeed:
        assert (batch_size, num_batches) == (8, 10)
        return SPEEDS[num_workers]

    monkeypatch.setattr(data_speed, "measure_loading", measured)


@pytest.mark.usefixtures("known_speeds")
@pytest.mark.parametrize(
    ("step", "shares", "verdict"),
    [
        (
            ["--step-time", "1"],
            ["80 %", "50 %", "0 %"],
            "With 4 workers, the fastest here, a step of 8 clips never waits",
        ),
        (["--step-time", "0.125"], ["97 %", "94 %", "75 %"], "waits 75 % of its time for data"),
        ([], ["91 %", "80 %", "20 %"], "waits 20 % of its time for data"),
    ],
)
def test_shares(
    folder: Path, capsys: pytest.CaptureFixture[str], step: list[str], shares: list[str], verdict: str
) -> None:
    assert run(folder, *step) == 0
    output = capsys.readouterr().out
    rows = output.split("a step waits\n")[1].splitlines()[:3]
    assert [" ".join(row.split()[-2:]) for row in rows] == shares
    assert [row.split()[:2] for row in rows] == [["0", "2.0"], ["2", "4.0"], ["4", "16.0"]]
    assert verdict in output
    assert ("0.4 s (assumed)" in output) == (step == [])


@pytest.mark.usefixtures("known_speeds")
def test_step_measured_on_a_device(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(architecture: SlowFastArchitecture) -> ActionDetector:
        assert architecture == SlowFastArchitecture(num_classes=2)
        return create_slowfast_detector(replace(architecture, depth=18, width=8))

    def measured(model: ActionDetector, batch: object) -> float:
        assert model.training
        assert len(batch) == 8  # type: ignore[arg-type]
        return 0.25

    monkeypatch.setattr(data_speed, "create_slowfast_detector", small)
    monkeypatch.setattr(data_speed, "measure_step", measured)
    assert run(folder, "--device", "cpu") == 0
    assert "A training step of 8 clips: 0.25 s (measured on cpu)" in capsys.readouterr().out


@pytest.mark.usefixtures("known_speeds")
def test_files_are_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "speed.json"
    assert run(folder, "--json", out) == 0
    before = out.read_text()
    assert run(folder, "--json", out, "--step-time", 9) == 1
    assert "speed.json exists already" in capsys.readouterr().err
    assert out.read_text() == before
    assert run(folder, "--json", out, "--step-time", 9, "--overwrite") == 0
    assert json.loads(out.read_text())["step_time"] == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "no split 'test'"),
        (["--split", "val"], "no keyframes"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_what_cannot_be_measured(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(folder, *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["-1", "1.5", "many", "0,,2", ""])
def test_numbers_of_workers(folder: Path, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    with pytest.raises(SystemExit):
        run(folder, f"--workers={workers}")
    assert "--workers" in capsys.readouterr().err
