"""People of keyframes: the right frames are asked for, nothing is done twice, and a kill loses nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.synthetic import SyntheticVideo, write_synthetic_video
from acrn_zoo.data.video import VideoReader
from acrn_zoo.files import OutputError, OutputExistsError
from acrn_zoo.people import PeopleError
from acrn_zoo.proposals import (
    ProposalsError,
    ProposalsSummary,
    annotated_keyframes,
    find_proposals,
    missing_keyframes,
    partial_file,
    reopen,
)
from acrn_zoo.structures import Keyframe
from acrn_zoo.tables import TableError, read_proposals

ROOT = Path(__file__).resolve().parents[1]
SIZE = (64, 96)  # height, width
KEYFRAMES = {"b": (900.0, 901.0, 901.5, 903.2), "a": (0.0, 1.0, 2.0)}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SyntheticVideo]:
    folder = tmp_path_factory.mktemp("films")
    return {
        name: write_synthetic_video(folder / f"{name}.mp4", seed=seed, seconds=4, size=SIZE, frame_rate=10)
        for seed, name in enumerate("ab")
    }


@pytest.fixture
def videos(films: dict[str, SyntheticVideo]) -> dict[str, VideoEntry]:
    return {"a": VideoEntry(films["a"].path), "b": VideoEntry(films["b"].path, offset=900)}


class Known:
    """A detector that knows the boxes, and which keyframes it was asked for."""

    def __init__(self, films: dict[str, SyntheticVideo]) -> None:
        self.films = films
        self.asked: list[tuple[str, float]] = []

    def __call__(self, frame: Tensor, keyframe: Keyframe) -> Tensor:
        assert frame.shape == (*SIZE, 3)
        self.asked.append((keyframe.video_id, keyframe.timestamp))
        seconds = keyframe.timestamp - (900 if keyframe.video_id == "b" else 0)
        boxes = self.films[keyframe.video_id].boxes(seconds)
        return torch.cat([boxes, torch.tensor([[0.9], [0.75], [0.5]])], dim=1)


@pytest.fixture
def detector(films: dict[str, SyntheticVideo]) -> Known:
    return Known(films)


def find(
    path: Path, videos: dict[str, VideoEntry], detector: Callable[..., object], **options: object
) -> ProposalsSummary:
    arguments = {"settings": {"detector": "known"}, **options}
    return find_proposals(path, KEYFRAMES, videos, detector, **arguments)  # type: ignore[arg-type]


def test_every_keyframe(
    tmp_path: Path, films: dict[str, SyntheticVideo], videos: dict[str, VideoEntry], detector: Known
) -> None:
    path = tmp_path / "people.csv"
    seen: list[tuple[int, int]] = []
    summary = find(path, videos, detector, progress=lambda done, total: seen.append((done, total)))
    assert (summary.path, summary.num_keyframes, summary.num_people, summary.problems) == (path, 7, 21, {})
    assert seen == [(done, 7) for done in range(8)]
    table = read_proposals(path)
    assert table["video_id"].tolist() == ["b"] * 12 + ["a"] * 9
    assert table["timestamp"].tolist() == [moment for row in KEYFRAMES.values() for moment in row for _ in range(3)]
    assert table["score"].tolist() == [0.9, 0.75, 0.5] * 7
    expected = films["b"].boxes(1.5) / torch.tensor([96, 64, 96, 64])
    assert table.loc[6:8, ["x1", "y1", "x2", "y2"]].to_numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert path.read_text().startswith("b,0900,0.")
    assert list(tmp_path.iterdir()) == [path]


def test_the_frames_are_those_of_the_keyframes(tmp_path: Path, videos: dict[str, VideoEntry]) -> None:
    pictures = {}
    for name, video in videos.items():
        with VideoReader(video.path) as reader:
            pictures[name] = [frame.rgb() for frame in reader.frames()]
    shown = {}

    def look(frame: Tensor, keyframe: Keyframe) -> list[list[float]]:
        shown[keyframe.video_id, keyframe.timestamp] = [
            number for number, picture in enumerate(pictures[keyframe.video_id]) if torch.equal(picture, frame)
        ]
        return []

    find(tmp_path / "people.csv", videos, look)
    assert {key: numbers for key, numbers in shown.items() if key[0] == "a"} == {("a", n): [10 * n] for n in range(3)}
    assert [shown["b", moment] for moment in KEYFRAMES["b"]] == [[0], [10], [15], [32]]


def test_nobody_is_a_row_of_its_own(tmp_path: Path, videos: dict[str, VideoEntry]) -> None:
    path = tmp_path / "people.csv"
    summary = find(path, videos, lambda _, keyframe: [[1, 2, 30, 40]] if keyframe.timestamp == 1 else [])
    assert (summary.num_keyframes, summary.num_people) == (7, 1)
    rows = path.read_text().splitlines()
    assert rows == [
        "b,0900",
        "b,0901",
        "b,901.5",
        "b,903.2",
        "a,0000",
        "a,0001,0.010417,0.03125,0.3125,0.625,1",
        "a,0002",
    ]
    assert read_proposals(path)["x1"].isna().sum() == 6


def test_a_box_thinner_than_the_last_digit_is_left_out(tmp_path: Path, videos: dict[str, VideoEntry]) -> None:
    summary = find(tmp_path / "people.csv", videos, lambda *_: [[1, 2, 1.00002, 40]])
    assert summary.num_people == 0
    assert read_proposals(tmp_path / "people.csv")["x1"].isna().all()


def stop_after(number: int, detector: Known) -> Callable[..., Tensor]:
    def stopping(frame: Tensor, keyframe: Keyframe) -> Tensor:
        if len(detector.asked) == number:
            raise KeyboardInterrupt
        return detector(frame, keyframe)

    return stopping


@pytest.mark.parametrize("number", [0, 1, 3, 4, 6])
def test_continued(number: int, tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    find(tmp_path / "whole.csv", videos, detector)
    all_asked, detector.asked = detector.asked, []
    path = tmp_path / "people.csv"
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(number, detector))
    assert not path.exists()
    with partial_file(path).open("a") as file:
        file.write('{"people": [[0.1, 0.2')  # a torn line, as a full disk leaves it
    seen: list[int] = []
    summary = find(path, videos, detector, progress=lambda done, _: seen.append(done))
    assert seen == list(range(number, 8))
    assert detector.asked == all_asked
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert summary.num_keyframes == 7
    assert not partial_file(path).exists()


def test_videos_that_are_done_are_not_opened_again(
    tmp_path: Path, videos: dict[str, VideoEntry], detector: Known
) -> None:
    path = tmp_path / "people.csv"
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(4, detector))  # all of b
    summary = find(path, {**videos, "b": VideoEntry(tmp_path / "gone.mp4")}, detector)
    assert (summary.num_keyframes, summary.problems) == (7, {})


def test_killed(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    path = tmp_path / "people.csv"
    paths = [(str(video.path), video.offset) for video in videos.values()]
    script = f"""
        import time
        from pathlib import Path
        from acrn_zoo.data.folder import VideoEntry
        from acrn_zoo.proposals import find_proposals

        def slow(frame, keyframe):
            time.sleep(0.05)
            return [[0, 0, 10, 10, 0.25]]

        a, b = (VideoEntry(Path(path), offset) for path, offset in {paths})
        find_proposals({str(path)!r}, {KEYFRAMES}, {{"a": a, "b": b}}, slow, settings={{"detector": "known"}})
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    partial = partial_file(path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (partial.exists() and partial.read_text().count("\n") >= 4):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not path.exists()
    num_done = partial.read_text().count("\n") - 1
    assert 3 <= num_done < 7

    summary = find(path, videos, detector)
    assert len(detector.asked) == 7 - num_done
    table = read_proposals(path)
    by_the_other = table[table["score"] == 0.25]
    assert len(by_the_other) == num_done
    assert (summary.num_keyframes, summary.num_people) == (7, num_done + 3 * (7 - num_done))
    assert table.groupby(["video_id", "timestamp"], observed=True).ngroups == 7


def test_other_settings_are_not_continued(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    path = tmp_path / "people.csv"
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(2, detector), settings={"threshold": 0.5, "detector": "known"})
    before = partial_file(path).read_bytes()
    with pytest.raises(
        ProposalsError, match=r'people\.csv\.partial was left by .*"threshold": 0\.5.*"threshold": 0\.9'
    ):
        find(path, videos, detector, settings={"detector": "known", "threshold": 0.9})
    assert partial_file(path).read_bytes() == before
    find(path, videos, detector, settings={"detector": "known", "threshold": 0.5})  # in any order
    assert len(detector.asked) == 7


def test_overwrite_begins_anew(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    path = tmp_path / "people.csv"
    find(path, videos, detector)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        find(path, videos, detector)
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(9, detector), overwrite=True, settings={})
    assert len(read_proposals(path)) == 21  # the old one stays until the new one is whole
    detector.asked.clear()
    find(path, videos, lambda *_: [], overwrite=True)
    assert read_proposals(path)["x1"].isna().tolist() == [True] * 7


@pytest.mark.parametrize(
    ("damage", "missing", "message"),
    [
        (lambda path: path.unlink(), 3, "there is no such file"),
        (lambda path: path.write_bytes(b"not a video"), 3, "not a video"),
        (lambda path: shorten(path), 1, r"has no frame at 2 s of the annotations.*\(1 such keyframes\).*second 0\."),
    ],
    ids=["missing", "damaged", "too short"],
)
def test_damaged_videos_do_not_hold_up_the_others(
    damage: Callable[[Path], object],
    missing: int,
    message: str,
    tmp_path: Path,
    videos: dict[str, VideoEntry],
    detector: Known,
) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(videos["a"].path.read_bytes())
    damage(video)
    path = tmp_path / "people.csv"
    summary = find(path, {"a": VideoEntry(video), "b": videos["b"]}, detector)
    assert list(summary.problems) == ["a"]
    with pytest.raises(ValueError, match=rf"{video}.*{message}"):
        raise ValueError(summary.problems["a"])
    assert summary.num_keyframes == 7 - missing
    assert len(read_proposals(path)) == 3 * (7 - missing)
    detector.asked.clear()
    mended = find(path, videos, detector)
    assert detector.asked == [("a", moment) for moment in KEYFRAMES["a"][3 - missing :]]
    assert (mended.num_keyframes, mended.problems) == (7, {})
    assert len(read_proposals(path)) == 21
    assert not partial_file(path).exists()


def shorten(path: Path) -> None:
    path.unlink()
    write_synthetic_video(path, seconds=1, size=SIZE, frame_rate=10)


def test_offsets_that_do_not_fit(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    shifted = {"a": VideoEntry(videos["a"].path, 0.5), "b": VideoEntry(videos["b"].path, None)}
    summary = find(tmp_path / "people.csv", shifted, detector)
    assert detector.asked == [("a", 1.0), ("a", 2.0)]
    assert "no frame at 0 s of the annotations" in summary.problems["a"]
    assert "its first frame shows second 0.5" in summary.problems["a"]
    assert "Say in dataset.json" in summary.problems["b"]


def test_video_that_the_dataset_does_not_name(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    summary = find(tmp_path / "people.csv", {"b": videos["b"]}, detector)
    assert "names no video of this id" in summary.problems["a"]
    assert summary.num_keyframes == 4


def test_keyframes_no_longer_wanted_are_left_out(
    tmp_path: Path, videos: dict[str, VideoEntry], detector: Known
) -> None:
    path = tmp_path / "people.csv"
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(6, detector))
    summary = find_proposals(path, {"b": (901.0,)}, videos, detector, settings={"detector": "known"})
    assert (summary.num_keyframes, summary.num_people, len(detector.asked)) == (1, 3, 6)


def test_a_wrong_answer_stops_the_run(tmp_path: Path, videos: dict[str, VideoEntry]) -> None:
    with pytest.raises(PeopleError, match="0.000 s of 'a'"):
        find(tmp_path / "people.csv", videos, lambda _, keyframe: [] if keyframe.timestamp else [[9, 9, 1, 1]])
    assert len(partial_file(tmp_path / "people.csv").read_text().splitlines()) == 5


def test_damaged_partial_file(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    path = tmp_path / "people.csv"
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(4, detector))
    lines = partial_file(path).read_text().splitlines()
    assert json.loads(lines[1])["timestamp"] == 900
    partial_file(path).write_text("\n".join([*lines[:2], "rubbish", *lines[2:], ""]))
    with pytest.raises(ProposalsError, match=r"people\.csv\.partial, line 3: damaged"):
        find(path, videos, detector)


def test_a_foreign_file_is_not_touched(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    path = tmp_path / "people.csv"
    partial_file(path).write_bytes(b"\xff\xfe something else")
    with pytest.raises(ProposalsError, match="was left by a run of other settings"):
        find(path, videos, detector)
    assert partial_file(path).read_bytes() == b"\xff\xfe something else"


@pytest.mark.parametrize("size", [1, 10, 20, 10_000])
def test_a_torn_first_line_is_no_other_setting(
    tmp_path: Path, videos: dict[str, VideoEntry], detector: Known, size: int
) -> None:
    """As a full disk leaves it, by a run of whatever settings; nothing was done by then."""
    path = tmp_path / "people.csv"
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(0, detector), settings={"detector": "another"})
    header = partial_file(path).read_bytes()
    assert header.count(b"\n") == 1
    partial_file(path).write_bytes(header[:-1][:size])
    assert find(path, videos, detector).num_keyframes == 7


def test_a_finished_file_is_reopened_for_what_is_missing(
    tmp_path: Path, videos: dict[str, VideoEntry], detector: Known
) -> None:
    path = tmp_path / "people.csv"
    settings = {"detector": "known"}
    some = {"b": (901.0, 902.0), "a": (1.0, 2.5)}  # 902 and 2.5 are wanted no more, and kept
    find_proposals(path, some, videos, detector, settings=settings)
    before = read_proposals(path)
    assert missing_keyframes(path, some) == 0
    assert missing_keyframes(path, KEYFRAMES) == 5
    detector.asked.clear()
    reopen(path, settings)
    with pytest.raises(KeyboardInterrupt):
        find(path, videos, stop_after(2, detector))
    assert read_proposals(path).equals(before)  # until the new one is whole
    summary = find(path, videos, detector)
    assert detector.asked == [("b", 900), ("b", 901.5), ("b", 903.2), ("a", 0), ("a", 2)]
    assert (summary.num_keyframes, summary.num_people) == (9, 27)
    after = read_proposals(path)
    assert after["timestamp"][::3].tolist() == [900, 901, 901.5, 902, 903.2, 0, 1, 2, 2.5]
    find(tmp_path / "whole.csv", videos, detector)
    wanted = after[~after["timestamp"].isin([902, 2.5])].reset_index(drop=True)
    assert wanted.equals(read_proposals(tmp_path / "whole.csv"))
    assert not partial_file(path).exists()


def test_keyframes_with_nobody_count_as_done(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    path = tmp_path / "people.csv"
    path.write_text("a,0\n")
    assert missing_keyframes(path, {"a": (0.0, 1.0), "b": ()}) == 1
    reopen(path, {"detector": "known"})
    find(path, videos, detector)
    assert ("a", 0) not in detector.asked
    assert "a,0000\n" in path.read_text()


def test_what_is_no_file_of_proposals_is_not_reopened(tmp_path: Path) -> None:
    path = tmp_path / "val.csv"
    path.write_text("a,1,0.1,0.1,0.9,0.9,1,7\n")
    with pytest.raises(TableError, match="line 1: 8 columns"):
        reopen(path, {})
    assert not partial_file(path).exists()


def test_full_disk(tmp_path: Path, videos: dict[str, VideoEntry], detector: Known) -> None:
    partial_file(tmp_path / "people.csv").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"Cannot write .*people\.csv\.partial: No space left"):
        find(tmp_path / "people.csv", videos, detector)


def test_annotated_keyframes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [("z", 904, 1), ("z", "0902.5", 2), ("a", 3, 1), ("z", 904, 2), ("z", 904.0000001, 3)]
    lines = [f"{video_id},{moment},0.1,0.1,0.9,0.9,{action},0" for video_id, moment, action in rows]
    path.write_text("\n".join([*lines, "a,0005", "a,0001"]))
    assert annotated_keyframes(path) == {"z": (902.5, 904), "a": (1, 3, 5)}
    seconds = annotated_keyframes(path, with_all_seconds=True)
    assert seconds == {"z": (902.5, 903, 904), "a": (1, 2, 3, 4, 5)}
    assert list(seconds) == ["z", "a"]


def test_keyframes_of_ava(shared: Path) -> None:
    keyframes = annotated_keyframes(shared / "data/ava/ava_val_v2.1.csv")
    assert (len(keyframes), sum(map(len, keyframes.values()))) == (64, 50029)
    everything = annotated_keyframes(shared / "data/ava/ava_val_v2.1.csv", with_all_seconds=True)
    assert all(row == tuple(range(int(row[0]), int(row[-1]) + 1)) for row in everything.values())
    assert all(set(keyframes[name]) <= set(row) for name, row in everything.items())
