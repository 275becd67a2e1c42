"""``acrn-zoo predict`` and ``demo``, from their arguments to files and messages; and what all verbs share."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

import acrn_zoo
from acrn_zoo.cli import main
from acrn_zoo.data.video import VideoReader
from acrn_zoo.data.video_writer import VideoWriter
from acrn_zoo.models import ActionDetector

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("run", "sit", "talk to", "watch, quietly")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weights(tmp_path: Path, small_detector: ActionDetector) -> str:
    acrn_zoo.save_detector(tmp_path / "weights.pth", small_detector, NAMES)
    return "weights.pth"


@pytest.fixture
def boxes(tmp_path: Path) -> str:
    rows = ("timestamp,x1,y1,x2,y2", "0,5,8,40,60", "1,6,8,41,60", "1,50,4,90,62", "2.5,5,8,40,60")
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    return "boxes.csv"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_predict_writes_everything(
    small_video: Path, weights: str, boxes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", small_video, "--weights", weights, "--boxes", boxes, "--threshold", 0, "--top", 2) == 0
    output = capsys.readouterr().out
    assert "3 keyframes" in output
    assert "4 people" in output
    assert re.search(r"action +people +best score", output)

    folder = Path("small_actions")
    rows = pd.read_csv(folder / "small.csv", header=None)
    assert rows[1].tolist() == [0] * 2 + [1] * 4 + [2.5] * 2
    assert rows[6].between(1, 4).all()
    lines = [json.loads(line) for line in (folder / "small.jsonl").read_text().splitlines()]
    assert [len(line["people"]) for line in lines] == [1, 2, 1]
    assert all(action["name"] in NAMES for line in lines for person in line["people"] for action in person["actions"])
    with VideoReader(folder / "small_annotated.mp4") as video:
        assert len(list(video.frames())) == 30


def test_no_people_at_all(small_video: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("nobody.json").write_text('[{"timestamp": 1.0, "boxes": []}]')
    assert run("predict", small_video, "--weights", weights, "--boxes", "nobody.json") == 0
    assert "No people were found" in capsys.readouterr().out
    assert Path("small_actions/small.csv").read_text() == ""
    assert json.loads(Path("small_actions/small.jsonl").read_text())["people"] == []


def test_boxes_looked_up_every_so_often(small_video: Path, weights: str, boxes: str) -> None:
    assert run("predict", small_video, "--weights", weights, "--boxes", boxes, "--every", 1, "--no-video") == 0
    lines = [json.loads(line) for line in Path("small_actions/small.jsonl").read_text().splitlines()]
    assert [(line["timestamp"], len(line["people"])) for line in lines] == [(0, 1), (1, 2), (2, 0)]


def test_own_boxes_are_not_overwritten(
    small_video: Path, weights: str, boxes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(boxes).rename("small.csv")
    before = Path("small.csv").read_text()
    arguments = ("predict", small_video, "--weights", weights, "--boxes", "small.csv", "--out", ".", "--overwrite")
    assert run(*arguments) == 1
    assert "small.csv would be overwritten, but it is read by this run" in capsys.readouterr().err
    assert Path("small.csv").read_text() == before


def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo") == 0
    output = capsys.readouterr().out
    assert "A toy world" in output
    assert "32 keyframes" in output
    assert re.search(r"mAP [01]\.\d{3}, by AVA's official rule", output)
    assert re.search(r"brightest at what decides in \d+ of \d+ right answers", output)
    assert "predict VIDEO --weights ava22" in output
    made = {"small_world.mp4", "small_world_boxes.csv", "small_world_relations.png"}
    results = {"small_world.csv", "small_world.jsonl", "small_world_annotated.mp4"}
    assert {path.name for path in Path("acrn_demo").iterdir()} == made | results
    with Image.open("acrn_demo/small_world_relations.png") as picture:
        assert min(picture.size) > 1000
    assert run("demo") == 1
    assert "--overwrite" in capsys.readouterr().err


def test_predict_with_the_small_model(small_video: Path, boxes: str) -> None:
    """Its clips are 0.8 s long, and 64 pixels high."""
    assert run("predict", small_video, "--weights", "mini", "--boxes", boxes, "--threshold", 0, "--no-video") == 0
    lines = [json.loads(line) for line in Path("small_actions/small.jsonl").read_text().splitlines()]
    names = {action["name"] for line in lines for person in line["people"] for action in person["actions"]}
    assert "play with a ball" in names
    predictor = acrn_zoo.ActionPredictor(acrn_zoo.slowfast_acrn_mini(), boxes)
    expected = next(iter(predictor.predict(small_video))).scores[0].max()
    assert lines[0]["people"][0]["actions"][0]["score"] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("folder", ["/proc/out", "file", "file/out"])
def test_demo_that_cannot_write(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert run("demo", "--out", folder) == 1
    error = capsys.readouterr().err
    assert folder in error
    assert "Traceback" not in error


def test_never_overwrites_silently(
    small_video: Path, weights: str, boxes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("predict", small_video, "--weights", weights, "--boxes", boxes, "--out", "out")
    assert run(*arguments) == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    capsys.readouterr()
    assert run(*arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before
    assert run(*arguments, "--overwrite", "--no-video") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4"], "missing.mp4"),
        (["{video}", "--weights", "AVA23"], "AVA21_V0, AVA21_V1, AVA22_V0, AVA22_V1"),
        (["{video}", "--weights", "nowhere.pth"], "nowhere.pth does not exist"),
        (["{video}", "--weights", "page.pth"], "page.pth is a web page, not a checkpoint"),
        (["{video}", "--boxes", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["{video}", "--boxes", "outside.csv"], "outside.csv, line 2: .* outside the frames"),
        (["{video}", "--boxes", "late.csv"], "wanted at 99 s"),
        (["{video}", "--device", "cuda:9"], "device 'cuda:9' cannot be used"),
        (["{video}", "--out", "page.pth/out"], "page.pth/out cannot be written to"),
        (["{video}", "--out", "/proc/out"], "output folder /proc/out cannot be made"),
        (["page.pth"], "page.pth"),
    ],
)
def test_one_clear_error(
    arguments: list[str],
    message: str,
    small_video: Path,
    weights: str,
    boxes: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("page.pth").write_text("<!DOCTYPE html><title>404</title>")
    Path("outside.csv").write_text("timestamp,x1,y1,x2,y2\n0,500,8,540,60\n")
    Path("late.csv").write_text("timestamp,x1,y1,x2,y2\n99,5,8,40,60\n")
    arguments = [argument.format(video=small_video) for argument in arguments]
    if "--weights" not in arguments:
        arguments += ["--weights", weights]
    if "--boxes" not in arguments:
        arguments += ["--boxes", boxes]
    assert run("predict", *arguments) == 1
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("acrn-zoo: error:") == 1
    assert "Traceback" not in error
    assert not Path("small_actions").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(small_video: Path, weights: str, boxes: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    assert run("predict", small_video, "--weights", weights, "--boxes", boxes, "--out", "locked") == 1
    assert "locked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "0"], "'0' is not a number of seconds of at least 0.001"),
        (["--every", "abc"], "'abc' is not a number of seconds"),
        (["--threshold", "2"], "'2' is not a number of 0 to 1"),
        (["--top", "0"], "'0' is not a whole number of at least 1"),
        (["--top", "2.5"], "2.5 is not a whole number"),
        (["--boxes", "b.csv", "--people", "fasterrcnn"], "not allowed with"),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("predict", "video.mp4", *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_short_video_is_a_note_not_a_failure(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    with VideoWriter("short.mp4", size=(64, 96), frame_rate=10) as video:
        for number in range(8):
            video.write(torch.full((64, 96, 3), 20 * number, dtype=torch.uint8), number / 10)
    Path("b.csv").write_text("timestamp,x1,y1,x2,y2\n0,5,8,40,60\n")
    assert run("predict", "short.mp4", "--weights", weights, "--boxes", "b.csv") == 0
    assert "note: short.mp4 is 0.80 s long, shorter than a clip" in capsys.readouterr().err


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=lambda number: number.name,
)
def test_interrupted_run_leaves_valid_files(number: signal.Signals, small_video: Path, weights: str) -> None:
    moments = [round(0.05 * index, 2) for index in range(58)]
    Path("b.csv").write_text("timestamp,x1,y1,x2,y2\n" + "".join(f"{moment},5,8,40,60\n" for moment in moments))
    command = [sys.executable, "-W", "ignore", "-m", "acrn_zoo", "predict", str(small_video), "--weights", weights]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--boxes", "b.csv", "--threshold", "0", "--out", "out"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = Path("out/small.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (lines.exists() and lines.read_text().count("\n") >= 3):
        time.sleep(0.002)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)

    done = [json.loads(line)["timestamp"] for line in lines.read_text().splitlines()]
    assert 3 <= len(done) < len(moments), output
    assert done == moments[: len(done)]
    rows = pd.read_csv("out/small.csv", header=None)
    assert set(rows[1].round(2)) <= set(moments)
    if number != signal.SIGKILL:
        assert process.returncode == 130, output
        assert "interrupted" in output
        assert f"{len(done)} keyframes before the run ended early" in output
        with VideoReader("out/small_annotated.mp4") as video:
            assert list(video.frames())


def test_a_folder_of_frames_is_a_video(small_video: Path, weights: str, boxes: str) -> None:
    """The same pictures with the same times give the same files."""
    Path("frames/small").mkdir(parents=True)
    with VideoReader(small_video) as video:
        for number, frame in enumerate(video.frames(), start=1):
            Image.fromarray(frame.rgb().numpy()).save(f"frames/small/img_{number:05d}.png")
    common = ("--weights", weights, "--boxes", boxes, "--threshold", 0)
    assert run("predict", small_video, *common, "--out", "of_video") == 0
    assert run("predict", "frames/small", *common, "--frame-rate", 10, "--out", "of_frames") == 0
    for name in ("small.csv", "small.jsonl"):
        assert Path("of_frames", name).read_bytes() == Path("of_video", name).read_bytes()
    with VideoReader("of_frames/small_annotated.mp4") as annotated:
        assert sum(1 for _ in annotated.frames()) == 30


def test_a_folder_of_frames_needs_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    Path("frames").mkdir()
    assert run("predict", "frames") == 1
    assert "Give frame_rate (--frame-rate" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    rows = "".join(f"video{number},902,0.1,0.1,0.5,0.5,{1 + number % 80},0.5\n" for number in range(200))
    for name in ("gt.csv", "pred.csv"):
        (tmp_path / name).write_text(rows)
    files = f"{tmp_path}/pred.csv --ground-truth {tmp_path}/gt.csv"
    command = f"{sys.executable} -m acrn_zoo score {files}; echo status $? >&2"
    # A pipe whose reader is gone before anything is written.
    done = subprocess.run(
        ["bash", "-c", f"{{ sleep 0.5; {command}; }} | true"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == "status 141\n"
