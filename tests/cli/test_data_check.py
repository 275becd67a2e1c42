"""``acrn-zoo data check``: what it prints, writes and returns."""

import json
from pathlib import Path

import pytest
from PIL import Image

from acrn_zoo.cli import main
from acrn_zoo.data.folder import DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.labels import LabelMap


@pytest.fixture
def folder(tmp_path: Path, small_video: Path) -> Path:
    """One video of three seconds with one person."""
    root = tmp_path / "dataset"
    root.mkdir()
    rows = [f"film,{index / 10},0.1,0.1,0.5,0.9,1,1\n" for index in range(28)]
    (root / "val.csv").write_text("".join(rows))
    splits = {"val": Split(root / "val.csv")}
    folder = DatasetFolder(root, "one person", LabelMap({1: "walk"}), splits, {"film": VideoEntry(small_video)})
    write_dataset_folder(folder)
    return root


def test_a_healthy_dataset(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "one person" in output
    assert "Nothing is wrong." in output
    assert f"Written: {folder / 'data_check.png'}" in output
    with Image.open(folder / "data_check.png") as picture:
        assert picture.size[0] > 640
    assert main(["data", "check", str(folder)]) == 0  # its own picture is replaced


def test_an_error_is_the_status_and_is_written_for_programs_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (folder / "val.csv").read_text()
    (folder / "val.csv").write_text(rows + "film,99,0.1,0.1,0.5,0.9,7,1\n")
    report = tmp_path / "report.json"
    assert main(["data", "check", str(folder), "--no-picture", "--json", str(report)]) == 1
    output = capsys.readouterr().out
    assert "ERROR  1 row of val.csv with an action id that is no class of dataset.json. [unknown-class]" in output
    assert "val.csv, line 29: film at 99 s" in output
    kinds = [finding["kind"] for finding in json.loads(report.read_text())["findings"]]
    assert sorted(kinds) == ["timestamps-outside", "unknown-class"]
    assert not (folder / "data_check.png").exists()


def test_without_videos_none_is_opened_and_none_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(folder), "--no-videos"]) == 0
    assert "Written" not in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "label_map.pbtxt", "val.csv"]


def test_predictions(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = tmp_path / "predictions.csv"
    predictions.write_text("film.mp4,0.1,0.1,0.1,0.5,0.9,1,0.7\nfilm.mp4,0.2,0.1,0.1,0.5,0.9,1,0.8\n")
    assert main(["data", "check", str(folder), "--no-videos", "--predictions", str(predictions)]) == 1
    assert "[predictions-other-videos]" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--picture", "--json"])
def test_a_file_that_exists_is_not_replaced_unless_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    precious = tmp_path / "precious.png"
    precious.write_text("precious")
    assert main(["data", "check", str(folder), option, str(precious)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert precious.read_text() == "precious"
    assert main(["data", "check", str(folder), option, str(precious), "--overwrite"]) == 0
    assert precious.read_bytes() != b"precious"


def test_the_report_does_not_depend_on_its_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder / "data_check.png"
    place.mkdir()  # so that nothing can be written there
    assert main(["data", "check", str(folder)]) == 0
    output, errors = capsys.readouterr()
    assert "Nothing is wrong." in output
    assert f"No picture was drawn: Cannot write {place}" in output
    assert "Written" not in output
    assert "error" not in errors
    (folder / "val.csv").write_text("film,0,0.1,0.1,0.5,0.9,7,1\n")
    assert main(["data", "check", str(folder), "--split", "val"]) == 1
    assert "[unknown-class]" in capsys.readouterr().out


def test_the_report_comes_before_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place of one's own that cannot be written to is an error, but not one that costs the report."""
    for option in ("--picture", "--json"):
        assert main(["data", "check", str(folder), option, "/proc/here.png"]) == 1
        output, errors = capsys.readouterr()
        assert "Nothing is wrong." in output
        assert "Cannot write /proc/here.png" in errors


def test_what_is_no_dataset_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "is no dataset folder" in capsys.readouterr().err
