"""Many videos, each once."""

import argparse
import copy
import fcntl
import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from acrn_zoo import cli
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.jobs.prediction import PredictTask, find_videos, is_finished, merge, require_same_videos, share_out
from acrn_zoo.jobs.task import JobError
from acrn_zoo.models import ActionDetector
from acrn_zoo.structures import Preprocessing

FLAGS = ("--threshold", "0", "--top", "2", "--no-video", "--device", "cpu", "--every", "0.5")


@pytest.fixture
def videos(small_video: Path, tmp_path: Path) -> tuple[Path, ...]:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in "abc":
        shutil.copy(small_video, folder / f"{name}.mp4")
    (folder / "notes.txt").touch()
    return find_videos([folder])


@pytest.fixture
def task(
    videos: tuple[Path, ...], tmp_path: Path, small_detector: ActionDetector, monkeypatch: pytest.MonkeyPatch
) -> PredictTask:
    """All videos, with a model that takes no time, and one person everywhere."""
    detector = copy.deepcopy(small_detector)
    detector.preprocessing = Preprocessing(clip_length=8, frame_interval=0.1, short_side=32)
    monkeypatch.setattr("acrn_zoo.zoo.load_detector", lambda *_, **__: detector)
    monkeypatch.setattr(
        "acrn_zoo.cli.predict.create_person_detector", lambda **_: lambda _frame, _keyframe: [[10, 10, 60, 60, 0.9]]
    )
    options: argparse.Namespace = cli.parse(["predict", "x.mp4", *FLAGS])
    return PredictTask(videos, videos, tmp_path / "out", options)


def never() -> bool:
    return False


def asked_after(number: int) -> Callable[[], bool]:
    """Says from the so many-th time on that the task is to stop."""
    answers = iter([False] * number)
    return lambda: next(answers, True)


def results(task: PredictTask) -> list[str]:
    return sorted(path.name for path in (task.out / "videos").iterdir())


def test_all_videos_and_their_merged_results(task: PredictTask) -> None:
    assert task(Processes(), never) is True
    assert results(task) == ["a.csv", "a.jsonl", "b.csv", "b.jsonl", "c.csv", "c.jsonl"]
    rows = (task.out / "predictions.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["a"] * 12 + ["b"] * 12 + ["c"] * 12  # 6 keyframes, 2 actions
    assert len(rows[0].split(",")) == 8
    assert len((task.out / "predictions.jsonl").read_text().splitlines()) == 18
    assert task.device == "cpu"


def test_merges_again_when_there_are_more_videos(task: PredictTask) -> None:
    few = replace(task, videos=task.videos[:2], everything=task.everything[:2])
    assert few(Processes(), never)
    assert len((task.out / "predictions.csv").read_text().splitlines()) == 24
    assert task(Processes(), never)
    assert len((task.out / "predictions.csv").read_text().splitlines()) == 36
    assert len((task.out / "predictions.jsonl").read_text().splitlines()) == 18


def test_each_video_once(task: PredictTask) -> None:
    first, rest = replace(task, videos=task.videos[:2]), replace(task, videos=task.videos[2:])
    assert first(Processes(), never)
    assert not (task.out / "predictions.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in (task.out / "videos").iterdir()}
    assert rest(Processes(), never)
    assert task(Processes(), never)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len((task.out / "predictions.csv").read_text().splitlines()) == 36


@pytest.mark.parametrize(
    ("asked", "finished"), [(0, []), (4, []), (7, ["a.csv", "a.jsonl"]), (11, ["a.csv", "a.jsonl"])]
)
def test_stops_between_keyframes_and_goes_on(task: PredictTask, asked: int, finished: list[str]) -> None:
    assert task(Processes(), asked_after(asked)) is False
    if asked:
        assert results(task) == finished
    (task.out / "videos").mkdir(parents=True, exist_ok=True)
    left = task.out / "videos" / ".b.part"  # as of a process that was killed
    left.mkdir()
    (left / "b.csv").write_text("half")
    assert task(Processes(), never) is True
    assert len((task.out / "predictions.csv").read_text().splitlines()) == 36


def test_a_video_that_cannot_be_read(task: PredictTask) -> None:
    task.videos[1].write_bytes(task.videos[1].read_bytes()[:300])
    with pytest.raises(JobError, match=r"1 of 3 videos have no results, the others are done\. b\.mp4: "):
        task(Processes(), never)
    assert results(task) == ["a.csv", "a.jsonl", "c.csv", "c.jsonl"]
    assert not (task.out / "predictions.csv").exists()


def hold(path: Path, pipe: Connection) -> None:
    path.parent.mkdir(parents=True)
    with path.open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        pipe.send("held")
        pipe.recv()


def test_a_video_that_another_process_is_at(task: PredictTask) -> None:
    mine, theirs = multiprocessing.Pipe()
    other = os.fork()
    if other == 0:
        hold(task.out / "locks" / "b", theirs)
        os._exit(0)
    try:
        mine.recv()
        assert task(Processes(), never) is True
        assert results(task) == ["a.csv", "a.jsonl", "c.csv", "c.jsonl"]
    finally:
        mine.send("enough")
        os.waitpid(other, 0)


def test_a_video_without_keyframes_is_finished_too(task: PredictTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acrn_zoo.predictor.ActionPredictor.predict", lambda *_, **__: iter(()))
    assert task(Processes(), never) is True
    assert all(is_finished(task.out, video) for video in task.videos)
    assert (task.out / "predictions.csv").read_text() == ""


def test_merges_only_what_is_complete(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.csv").touch()
    assert merge(tmp_path, [Path("a.mp4"), Path("b.mp4")]) is False


def test_another_video_of_the_same_name(task: PredictTask, tmp_path: Path) -> None:
    assert task(Processes(), never)
    require_same_videos(task.out, task.everything)
    old = task.videos[0]
    moved = tmp_path / "moved" / old.name
    moved.parent.mkdir()
    moved.write_bytes(old.read_bytes())
    require_same_videos(task.out, [moved])
    moved.write_bytes(old.read_bytes() + b" ")
    with pytest.raises(JobError, match=rf"{old.stem}.csv is of {re.escape(str(old))}, and {re.escape(str(moved))} is"):
        require_same_videos(task.out, [moved])
    (task.out / "videos" / f"{old.stem}.csv").unlink()
    require_same_videos(task.out, [moved])


def test_find_videos(tmp_path: Path) -> None:
    for name in ("films/b.mp4", "films/a.MKV", "films/list.txt", "frames/0001.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_videos([tmp_path / "frames", tmp_path / "films", tmp_path / "films" / "b.mp4"])
    assert [path.name for path in found] == ["frames", "a.MKV", "b.mp4"]
    with pytest.raises(JobError, match="nowhere: there is no such video"):
        find_videos([tmp_path / "nowhere"])
    (tmp_path / "empty" / "below").mkdir(parents=True)
    with pytest.raises(JobError, match="empty holds no files"):
        find_videos([tmp_path / "empty"])
    (tmp_path / "b.avi").touch()
    with pytest.raises(JobError, match=r"films/b\.mp4 and .*b\.avi have the same name"):
        find_videos([tmp_path / "films", tmp_path / "b.avi"])


@pytest.mark.parametrize(
    ("sizes", "num_shares", "expected"),
    [
        ((1, 1, 1, 1, 1, 1), 3, ["ad", "be", "cf"]),
        ((9, 1, 1, 1), 2, ["a", "bcd"]),
        ((1, 1), 8, ["a", "b"]),
        ((0, 0, 0), 2, ["ac", "b"]),
    ],
)
def test_share_out(sizes: tuple[int, ...], num_shares: int, expected: list[str], tmp_path: Path) -> None:
    videos = [tmp_path / letter for letter in "abcdef"[: len(sizes)]]
    for video, size in zip(videos, sizes, strict=True):
        video.write_bytes(b"x" * size)
    assert ["".join(video.name for video in share) for share in share_out(videos, num_shares)] == expected
