"""The files of a run, together."""

from pathlib import Path

import pytest
import torch

from acrn_zoo.data.video import VideoReader
from acrn_zoo.errors import UserError
from acrn_zoo.recorder import Recorder
from acrn_zoo.results import read_json_lines
from acrn_zoo.structures import Detections, Keyframe

CATEGORIES = ("run", "sit", "wave")


def detections(timestamp: float, scores: list[list[float]]) -> Detections:
    boxes = torch.tensor([[5.0, 8.0, 40.0, 60.0], [50.0, 4.0, 90.0, 62.0]])[: len(scores)]
    return Detections(
        keyframe=Keyframe("small", timestamp),
        frame_size=(64, 96),
        boxes=boxes,
        person_scores=torch.ones(len(scores)),
        scores=torch.tensor(scores).reshape(-1, 3),
        categories=CATEGORIES,
    )


def test_files_and_summary(small_video: Path, tmp_path: Path) -> None:
    with Recorder(small_video, tmp_path / "new" / "folder", threshold=0.5) as recorder:
        recorder.add(detections(0.0, [[0.9, 0.6, 0.1]]))
        recorder.add(detections(1.0, []))
        recorder.add(detections(2.0, [[0.8, 0.2, 0.1], [0.7, 0.1, 0.95]]))
    assert [path.name for path in recorder.paths] == ["small.csv", "small.jsonl", "small_annotated.mp4"]
    assert recorder.summary.num_keyframes == 3
    assert recorder.summary.num_people == 3
    actions = {name: (count, round(best, 2)) for name, (count, best) in recorder.summary.actions.items()}
    assert actions == {"run": (3, 0.9), "sit": (1, 0.6), "wave": (1, 0.95)}
    read = list(read_json_lines(recorder.paths[1], CATEGORIES))
    assert [len(one) for one in read] == [1, 0, 2]
    with VideoReader(recorder.paths[2]) as video:
        assert len(list(video.frames())) == 30


def test_without_video(small_video: Path, tmp_path: Path) -> None:
    with Recorder(small_video, tmp_path, with_video=False) as recorder:
        recorder.add(detections(0.0, [[0.9, 0.6, 0.1]]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.csv", "small.jsonl"]


def test_failure_before_the_first_keyframe_leaves_nothing(small_video: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no"), Recorder(small_video, tmp_path):
        raise RuntimeError("no")
    assert list(tmp_path.iterdir()) == []


def test_failure_later_leaves_what_is_done(small_video: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no"), Recorder(small_video, tmp_path) as recorder:  # noqa: PT012
        recorder.add(detections(1.0, [[0.9, 0.6, 0.1]]))
        raise RuntimeError("no")
    assert len(list(read_json_lines(recorder.paths[1], CATEGORIES))) == 1
    with VideoReader(recorder.paths[2]) as video:
        assert len(list(video.frames())) == 11  # what the keyframe at 1.0 s makes certain


@pytest.mark.parametrize("name", ["small.csv", "small.jsonl", "small_annotated.mp4"])
def test_one_old_file_stops_all(name: str, small_video: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match=f"{name} exists already"):
        Recorder(small_video, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_failing_again_takes_nothing_away(small_video: Path, tmp_path: Path) -> None:
    with Recorder(small_video, tmp_path) as recorder:
        recorder.add(detections(1.0, [[0.9, 0.6, 0.1]]))
    before = {path: path.read_bytes() for path in recorder.paths}
    with pytest.raises(RuntimeError, match="no"), Recorder(small_video, tmp_path, overwrite=True):
        raise RuntimeError("no")
    assert {path: path.read_bytes() for path in recorder.paths} == before


@pytest.mark.parametrize("name", ["walk.csv", "walk.jsonl", "walk_annotated.mp4"])
def test_what_is_read_is_never_overwritten(name: str, tmp_path: Path) -> None:
    given = tmp_path / name
    given.write_text("precious")
    with pytest.raises(UserError, match=f"{name} would be overwritten, but it is read"):
        Recorder(tmp_path / "walk.mp4", tmp_path, overwrite=True, inputs=[given])
    (tmp_path / "walk.csv").write_text("a video with an odd name")
    with pytest.raises(UserError, match="walk.csv would be overwritten"):
        Recorder(tmp_path / "walk.csv", tmp_path, overwrite=True)


def test_folder_that_cannot_be_made(small_video: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/out cannot be written to"):
        Recorder(small_video, tmp_path / "file" / "out")
