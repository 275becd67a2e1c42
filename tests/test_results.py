"""Detections to files and back: every digit, every comma, every fault."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, OutputExistsError, require_writable
from acrn_zoo.results import (
    AvaCsvWriter,
    JsonLinesWriter,
    ResultsError,
    ResultsFormatError,
    read_json_lines,
)
from acrn_zoo.structures import Detections, Keyframe

CATEGORIES = ("stand", "walk", "talk to (e.g., self, a person, a group)")
WRITERS = (AvaCsvWriter, JsonLinesWriter)


def detections_at(timestamp: float, num_people: int = 2, video_id: str = "film") -> Detections:
    generator = torch.Generator().manual_seed(round(timestamp * 1000))
    corners = torch.rand(num_people, 4, generator=generator) * 50
    return Detections(
        keyframe=Keyframe(video_id, timestamp),
        frame_size=(100, 200),
        boxes=corners + torch.tensor([0, 0, 51, 51]),
        person_scores=torch.rand(num_people, generator=generator),
        scores=torch.rand(num_people, 3, generator=generator),
        categories=CATEGORIES,
    )


def test_csv_is_in_avas_form(tmp_path: Path) -> None:
    detections = Detections(
        keyframe=Keyframe("film", 902.0),
        frame_size=(100, 200),
        boxes=torch.tensor([[20.0, 10, 100, 90], [0, 0, 200, 100], [1, 1, 2, 2]]),
        person_scores=torch.tensor([1.0, 0.5, 0.5]),
        scores=torch.tensor([[0.25, 0.5, 0.75], [0.1234567, 0, 0], [0.1, 0.1, 0.1]]),
        categories=CATEGORIES,
    )
    path = tmp_path / "film.csv"
    with AvaCsvWriter(path, top=2, threshold=0.1001) as writer:
        writer.write(detections)
    assert path.read_bytes().decode() == (
        "film,0902,0.100000,0.100000,0.500000,0.900000,3,0.750000\n"
        "film,0902,0.100000,0.100000,0.500000,0.900000,2,0.500000\n"
        "film,0902,0.000000,0.000000,1.000000,1.000000,1,0.123457\n"
    )


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        (0.0, "0000"),
        (2.0, "0002"),
        (902.0, "0902"),
        (12345.0, "12345"),
        (100.0, "0100"),
        (902.5, "902.5"),
        (0.04, "0.04"),
        (1 / 3, "0.333"),
        (2.9999, "0003"),
        (1001 / 30000, "0.033"),
    ],
)
def test_csv_timestamps(timestamp: float, text: str, tmp_path: Path) -> None:
    with AvaCsvWriter(tmp_path / "film.csv", top=1, threshold=0) as writer:
        writer.write(detections_at(timestamp, 1))
    assert (tmp_path / "film.csv").read_text().split(",")[1] == text


@pytest.mark.parametrize("video_id", ["a,b", 'say "x"', "two\nlines", "Fenêtre ουρανός", "-5KQ66BBWC4", " "])
def test_video_ids_survive(video_id: str, tmp_path: Path) -> None:
    with AvaCsvWriter(tmp_path / "film.csv", top=1, threshold=0) as writer:
        writer.write(detections_at(1, 1, video_id))
    with (tmp_path / "film.csv").open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == [video_id]
    with JsonLinesWriter(tmp_path / "film.jsonl", top=1, threshold=0) as writer_:
        writer_.write(detections_at(1, 1, video_id))
    assert next(read_json_lines(tmp_path / "film.jsonl", CATEGORIES)).keyframe.video_id == video_id


def test_video_ids_that_are_not_unicode(tmp_path: Path) -> None:
    video_id = os.fsdecode(b"caf\xe9")
    with AvaCsvWriter(tmp_path / "film.csv", top=1, threshold=0) as writer:
        writer.write(detections_at(1, 1, video_id))
    assert (tmp_path / "film.csv").read_bytes().startswith(b"caf?,0001,")
    with JsonLinesWriter(tmp_path / "film.jsonl", top=1, threshold=0) as writer_:
        writer_.write(detections_at(1, 1, video_id))
    assert next(read_json_lines(tmp_path / "film.jsonl", CATEGORIES)).keyframe.video_id == video_id


def test_json_lines_come_back_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "film.jsonl"
    written = [detections_at(1 / 3), detections_at(1.0, 0), detections_at(1001 / 30, 7)]
    with JsonLinesWriter(path, top=3, threshold=0) as writer:
        for detections in written:
            writer.write(detections)
    found = list(read_json_lines(path, CATEGORIES))
    assert len(found) == len(written)
    for ours, theirs in zip(found, written, strict=True):
        assert ours.keyframe == theirs.keyframe
        assert ours.frame_size == theirs.frame_size
        assert ours.categories == theirs.categories
        for name in ("boxes", "person_scores", "scores"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


def test_json_is_as_described(tmp_path: Path) -> None:
    detections = Detections(
        keyframe=Keyframe("film", 902.5),
        frame_size=(100, 200),
        boxes=torch.tensor([[20.1, 10, 100, 90]]),
        person_scores=torch.tensor([0.98]),
        scores=torch.tensor([[0.87, 0.2, 0.95]]),
        categories=CATEGORIES,
    )
    with JsonLinesWriter(tmp_path / "film.jsonl", top=5, threshold=0.3) as writer:
        writer.write(detections)
    text = (tmp_path / "film.jsonl").read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    actions = [{"id": 3, "name": CATEGORIES[2], "score": 0.95}, {"id": 1, "name": "stand", "score": 0.87}]
    assert json.loads(text) == {
        "version": 1,
        "video_id": "film",
        "timestamp": 902.5,
        "frame_size": [100, 200],
        "people": [{"box": [20.1, 10.0, 100.0, 90.0], "score": 0.98, "actions": actions}],
    }


def test_only_what_was_written_comes_back(tmp_path: Path) -> None:
    detections = detections_at(4)
    with JsonLinesWriter(tmp_path / "film.jsonl", top=1, threshold=0) as writer:
        writer.write(detections)
    found = next(read_json_lines(tmp_path / "film.jsonl", CATEGORIES))
    best = detections.scores.max(dim=1, keepdim=True).values
    assert torch.equal(found.scores, torch.where(detections.scores == best, detections.scores, 0.0))


@pytest.mark.parametrize("writer_class", WRITERS)
def test_keyframes_are_on_disk_at_once(writer_class: type[AvaCsvWriter], tmp_path: Path) -> None:
    with writer_class(tmp_path / "out", top=3, threshold=0) as writer:
        sizes = []
        for timestamp in range(3):
            writer.write(detections_at(timestamp))
            sizes.append((tmp_path / "out").stat().st_size)
    assert 0 < sizes[0] < sizes[1] < sizes[2] == (tmp_path / "out").stat().st_size


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from test_results import detections_at
from acrn_zoo.results import JsonLinesWriter
writer = JsonLinesWriter(sys.argv[1], top=3, threshold=0)
for timestamp in range(5):
    writer.write(detections_at(timestamp))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_a_valid_file(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(tests), str(tests.parent)], check=False, timeout=120
    )
    assert [found.keyframe.timestamp for found in read_json_lines(tmp_path / "out", CATEGORIES)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("writer_class", WRITERS)
def test_nothing_is_overwritten_unasked(writer_class: type[AvaCsvWriter], tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("precious")
    with pytest.raises(OutputExistsError, match="out exists already: .*overwrite") as caught:
        writer_class(path, top=1, threshold=0)
    assert isinstance(caught.value, FileExistsError)
    assert isinstance(caught.value, UserError)
    assert path.read_text() == "precious"
    with writer_class(path, top=1, threshold=0, overwrite=True) as writer:
        writer.write(detections_at(1))
    assert "precious" not in path.read_text()


@pytest.mark.parametrize("writer_class", WRITERS)
@pytest.mark.parametrize(("name", "message"), [("missing/out", "there is no folder .*missing"), ("", "it is a folder")])
def test_places_that_cannot_be_written(
    writer_class: type[AvaCsvWriter], name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=message):
        writer_class(tmp_path / name, top=1, threshold=0, overwrite=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer_class", WRITERS)
def test_read_only_folder(writer_class: type[AvaCsvWriter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # by hand, since root may write everywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("acrn_zoo.results.FileIO", refuse)
    with pytest.raises(ResultsError, match=r"Cannot write .*out: Permission denied"):
        writer_class(tmp_path / "out", top=1, threshold=0)


@pytest.mark.parametrize("writer_class", WRITERS)
def test_a_file_that_appears_meanwhile_is_spared(
    writer_class: type[AvaCsvWriter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("precious")
    monkeypatch.setattr("acrn_zoo.results.require_writable", lambda *_, **__: None)
    with pytest.raises(ResultsError, match="File exists"):
        writer_class(tmp_path / "out", top=1, threshold=0)
    assert (tmp_path / "out").read_text() == "precious"


def test_require_writable_accepts_a_new_file(tmp_path: Path) -> None:
    require_writable(tmp_path / "new", overwrite=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk() -> None:
    writer = JsonLinesWriter("/dev/full", top=1, threshold=0, overwrite=True)
    with writer, pytest.raises(ResultsError, match="Cannot write /dev/full: No space left"):
        writer.write(detections_at(1))


def test_a_keyframe_written_in_part_is_taken_back(tmp_path: Path) -> None:
    with JsonLinesWriter(tmp_path / "out", top=3, threshold=0) as writer:
        writer.write(detections_at(1))
        whole_file, raw_file = writer._file, os.dup(writer._file.fileno())

        class AlmostFull:
            tell, truncate, seek, close = whole_file.tell, whole_file.truncate, whole_file.seek, whole_file.close

            def write(self, data: bytes) -> int:
                return os.write(raw_file, data[: len(data) // 2])

        writer._file = AlmostFull()  # type: ignore[assignment]
        before = (tmp_path / "out").read_bytes()
        with pytest.raises(ResultsError, match="took only a part"):
            writer.write(detections_at(2))
        assert (tmp_path / "out").read_bytes() == before
        writer._file = whole_file
        writer.write(detections_at(3))
        os.close(raw_file)
    assert [found.keyframe.timestamp for found in read_json_lines(tmp_path / "out", CATEGORIES)] == [1, 3]


GOOD = {
    "version": 1,
    "video_id": "film",
    "timestamp": 2,
    "frame_size": [100, 200],
    "people": [{"box": [1, 2, 3, 4], "score": 0.5, "actions": [{"id": 1, "name": "stand", "score": 0.75}]}],
}
PERSON = GOOD["people"][0]  # type: ignore[index]


def with_action(**changes: object) -> dict[str, object]:
    return {**GOOD, "people": [{**PERSON, "actions": [{"id": 1, "name": "stand", "score": 0.75, **changes}]}]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "line 2: not a JSON object"),
        ("film,2,0,0,1,1", "line 2: not a JSON object"),
        ([1], "line 2: not of the form that JsonLinesWriter writes"),
        (7, "line 2: not of the form"),
        ({}, "line 2: there is no 'version'"),
        ({**GOOD, "version": 2}, "line 2: version 2, expected 1"),
        ({key: value for key, value in GOOD.items() if key != "frame_size"}, "line 2: there is no 'frame_size'"),
        ({**GOOD, "frame_size": [1, 2, 3]}, "line 2: too many values"),
        ({**GOOD, "timestamp": float("nan")}, "line 2: timestamp"),
        ({**GOOD, "timestamp": "2"}, "line 2: not of the form"),
        ({**GOOD, "people": [{"score": 1}]}, "line 2: there is no 'actions'"),
        ({**GOOD, "people": [{**PERSON, "box": [5, 2, 3, 4]}]}, r"line 2: .*expected x1 < x2"),
        ({**GOOD, "people": [{**PERSON, "box": [1, 2, 3]}]}, "line 2: not of the form"),
        ({**GOOD, "people": [{**PERSON, "score": 7}]}, "line 2: .*0 to 1"),
        ({**GOOD, "people": 5}, "line 2: not of the form"),
        (with_action(score=1.5), "line 2: .*0 to 1"),
        (with_action(id=0), "line 2: action id 0, expected 1 to 3"),
        (with_action(id=4), "line 2: action id 4, expected 1 to 3"),
        (with_action(id=2), "line 2: action 2 is called 'stand', expected 'walk'; was the file written with other"),
        (with_action(id="1"), "line 2: not of the form"),
    ],
)
def test_bad_lines_are_named(entry: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "film.jsonl"
    bad = entry if isinstance(entry, str) else json.dumps(entry)
    path.write_text(f"{json.dumps(GOOD)}\n{bad}\n{json.dumps(GOOD)}\n")
    found = read_json_lines(path, CATEGORIES)
    assert next(found).keyframe.timestamp == 2
    with pytest.raises(ResultsFormatError, match=message) as caught:
        next(found)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_cut_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "film.jsonl"
    line = json.dumps(GOOD)
    path.write_text(f"{line}\n{line[:30]}")
    found = read_json_lines(path, CATEGORIES)
    next(found)
    with pytest.raises(ResultsFormatError, match="line 2: the line breaks off; the run that wrote it was cut here"):
        next(found)


def test_a_last_line_without_its_end_counts_if_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.jsonl"
    path.write_text(json.dumps(GOOD))
    assert len(list(read_json_lines(path, CATEGORIES))) == 1


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "film.jsonl"
    path.write_bytes(b"\xff\xfe\x00\x81\n")
    with pytest.raises(ResultsFormatError, match="line 1: not a JSON object"):
        next(read_json_lines(path, CATEGORIES))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"Cannot read .*film.jsonl: No such file"):
        next(read_json_lines(tmp_path / "film.jsonl", CATEGORIES))
