"""Every form and fault of a file of boxes."""

import json
from pathlib import Path

import pytest
import torch

from acrn_zoo.people.box_file import BoxFile
from acrn_zoo.people.detector import PeopleError, find_people
from acrn_zoo.results import AvaCsvWriter, JsonLinesWriter
from acrn_zoo.structures import Detections, Keyframe

FRAME = torch.zeros(100, 200, 3, dtype=torch.uint8)
KEYFRAME = Keyframe("film", 2.0)


def box_file(folder: Path, text: str | bytes, video_id: str | None = None) -> BoxFile:
    path = folder / "boxes.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return BoxFile(path, video_id)


def people_at(boxes: BoxFile, timestamp: float) -> list[list[float]]:
    return boxes(FRAME, Keyframe("film", timestamp)).tolist()


PIXELS = [[20.0, 10.0, 100.0, 90.0]]
FORMS = {
    "AVA, 6 columns": "film,2,0.1,0.1,0.5,0.9\nfilm,3.5,0,0,1,1\n",
    "AVA, one box twice": "film,02,0.1,0.1,0.5,0.9,12,0.5\nfilm,02,0.1,0.1,0.5,0.9,80,0.7\nfilm,3.5,0,0,1,1,1,1\n",
    "header in another order": "y2,x2,Y1,x1, timestamp\n0.9,0.5,0.1,0.1,2\n1,1,0,0,3.5\n",
    "header, pixels": "timestamp,x1,y1,x2,y2\n2,20,10,100,90\n3.5,0,0,200,100\n",
    "blank lines, CRLF, BOM": "\ufefffilm,2,0.1,0.1,0.5,0.9\r\n\r\nfilm,3.5,0,0,1,1\r\n\r\n",
    "JSON list": '[{"timestamp": 2, "boxes": [[20, 10, 100, 90]]},\n {"timestamp": 3.5, "boxes": [[0, 0, 200, 100]]}]',
    "JSON lines": '{"timestamp": 2, "boxes": [[0.1, 0.1, 0.5, 0.9]]}\n{"timestamp": 3.5, "boxes": [[0, 0, 1, 1]]}\n',
    "JSON, unordered": '[{"timestamp": 3.5, "boxes": [[0,0,200,100]]}, {"timestamp": 2, "boxes": [[20,10,100,90]]}]',
}


@pytest.mark.parametrize("form", FORMS)
def test_box_file_forms(form: str, tmp_path: Path) -> None:
    boxes = box_file(tmp_path, FORMS[form])
    assert boxes.timestamps == (2.0, 3.5)
    assert people_at(boxes, 2.0) == [pytest.approx([20, 10, 100, 90, 1])]
    assert people_at(boxes, 3.5) == [pytest.approx([0, 0, 200, 100, 1])]


def test_timestamps_ascend(tmp_path: Path) -> None:
    moments = [9, 1.5, 700, 33, 2, 1.5]
    text = "".join(f"film,{moment},0,0,1,1\n" for moment in moments)
    assert box_file(tmp_path, text).timestamps == (1.5, 2, 9, 33, 700)


def test_json_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert box_file(tmp_path, '\ufeff[{"timestamp": 2, "boxes": []}]').timestamps == (2.0,)


def test_box_file_is_a_people_detector(tmp_path: Path) -> None:
    boxes, scores = find_people(box_file(tmp_path, "film,2,-10,-10,30,300\n"), FRAME, KEYFRAME)
    assert boxes.tolist() == [[0, 0, 30, 100]]
    assert scores.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "is_fraction"),
    [
        ("film,2,0,0,1,1\n", True),
        ("film,2,-0.1,0,1,1\n", True),
        ("film,2,0,0,1.05,1\n", True),
        ("film,2,0,0,1,1\nfilm,3,0,0,2.5,1\n", False),
        ("film,2,0,0,1,1\nother,3,0,0,50,40\n", False),
        ('{"timestamp": 2, "video_id": "film", "boxes": []}\n', False),
    ],
)
def test_box_file_unit(text: str, is_fraction: bool, tmp_path: Path) -> None:
    assert box_file(tmp_path, text, "film").is_fraction is is_fraction


@pytest.mark.parametrize(
    ("timestamp", "num_people"), [(2.0, 1), (2.001, 1), (1.999, 1), (2.0015, 0), (1.9985, 0), (3.0, 0)]
)
def test_box_file_matches_within_a_millisecond(timestamp: float, num_people: int, tmp_path: Path) -> None:
    found = box_file(tmp_path, "film,2,0,0,1,1\n")(FRAME, Keyframe("film", timestamp))
    assert found.shape == (num_people, 5)
    assert found.dtype == torch.float32


def test_rows_within_a_millisecond_are_one_moment(tmp_path: Path) -> None:
    moments = [1.0005, 1, 1.001, 1.0015, 1]  # the last but one is too far from 1
    text = "".join(f"film,{moment},{row},0,50,50\n" for row, moment in enumerate(moments))
    boxes = box_file(tmp_path, text + "film,1.0005,1,0,50,50\n")
    assert list(boxes.timestamps) == [1, 1.0015]
    assert [row[0] for row in people_at(boxes, 1)] == [0, 1, 2, 4]
    assert people_at(boxes, 1.0005) == people_at(boxes, 1)
    assert [row[0] for row in people_at(boxes, 1.0015)] == [3]


@pytest.mark.parametrize("text", ["film,1,,,,\nfilm,2,0,0,9,9\n", "timestamp,x1,y1,x2,y2\n1, ,,,\n2,0,0,9,9\n"])
def test_rows_for_nobody(text: str, tmp_path: Path) -> None:
    boxes = box_file(tmp_path, text)
    assert list(boxes.timestamps) == [1, 2]
    assert people_at(boxes, 1) == []
    assert people_at(boxes, 2) == [[0, 0, 9, 9, 1]]


def test_fractions_slightly_above_1_are_cut_at_the_border(tmp_path: Path) -> None:
    boxes, _ = find_people(box_file(tmp_path, "film,2,0.5,0,1.04,1.01\n"), FRAME, KEYFRAME)
    assert boxes.tolist() == [[100, 0, 200, 100]]


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,x1,y1,x2,y2,score\n2,20,10,100,90,0.5\n2,20,10,100,90,0.75\n2,0,0,9,9,0.25\n",
        '[{"timestamp": 2, "boxes": [[20,10,100,90,0.5], [0,0,9,9,0.25]]},'
        ' {"timestamp": 2, "boxes": [[20,10,100,90,0.75]]}]',
    ],
)
def test_box_file_keeps_scores_and_merges_equal_boxes(text: str, tmp_path: Path) -> None:
    assert people_at(box_file(tmp_path, text), 2.0) == [[20, 10, 100, 90, 0.75], [0, 0, 9, 9, 0.25]]


def test_box_file_names_moments_without_people(tmp_path: Path) -> None:
    boxes = box_file(tmp_path, '{"timestamp": 1, "boxes": []}\n{"timestamp": 2, "boxes": [[0, 0, 9, 9]]}\n')
    assert boxes.timestamps == (1.0, 2.0)
    assert boxes(FRAME, Keyframe("film", 1.0)).shape == (0, 5)


@pytest.mark.parametrize(
    "text",
    [
        "a,1,0,0,1,1\nb,2,0,0,1,1\n",
        'video_id,timestamp,x1,y1,x2,y2\na,1,0,0,1,1\n"b",2,0,0,1,1\n',
        '[{"video_id": "a", "timestamp": 1, "boxes": []}, {"video_id": "b", "timestamp": 2, "boxes": []}]',
    ],
)
def test_box_file_takes_one_video(text: str, tmp_path: Path) -> None:
    assert box_file(tmp_path, text, "a").timestamps == (1.0,)
    assert box_file(tmp_path, text, "b").timestamps == (2.0,)
    with pytest.raises(PeopleError, match=r"boxes.txt has no row of the video 'c'; it has a, b"):
        box_file(tmp_path, text, "c")
    with pytest.raises(PeopleError, match=r"several videos; say which: a, b"):
        box_file(tmp_path, text)


def test_box_file_lists_at_most_ten_videos(tmp_path: Path) -> None:
    text = "".join(f"v{number:02},1,0,0,1,1\n" for number in range(12))
    with pytest.raises(PeopleError, match="v08, v09 and 2 more"):
        box_file(tmp_path, text, "film")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "boxes.txt is empty"),
        ("\n \n", "boxes.txt is empty"),
        ("[]", "boxes.txt is empty"),
        ("timestamp,x1,y1,x2,y2\n", "boxes.txt is empty"),
        ("<!DOCTYPE html><html></html>", "HTML"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "not text"),
        ("hello world\n", "line 1: no column for timestamp, x1, y1, x2, y2"),
        ("film;2;0;0;1;1\n", "boxes.txt are separated by semicolons, expected commas"),
        ("\ntimestamp;x1;y1;x2;y2\n2;0,1;0,1;0,5;0,9\n", "separated by semicolons, expected commas"),
        ("film;2;0;0;1;1\nfilm;2;0,1;0,1;0,5;0,9\n", "separated by semicolons, expected commas"),
        ("film\t2\t0\t0\t1\t1\n", "separated by tabs, expected commas"),
        ("film,2,0,0,1\n", "line 1: no column for y2; expected CSV rows"),
        ("timestamp,x1,y1,x2\n1,0,0,1\n", "line 1: no column for y2"),
        ("film,2,0,0,1,1\nfilm,3,0,0,1,1,1,2,3\n", "not a regular CSV.*line 2"),
        ('film,2,0,0,1,"1\n', "not a regular CSV"),
        ("film,2,0,0,1,1\nfilm,2,0,0,1\n", "line 2: y2 is '', expected a finite number"),
        ("film,2,0,0,1,1\nfilm,3\n", "line 2: x1 is '', expected a finite number"),
        ("film,2,0,0,1,1\nfilm,3,,,,1\n", "line 2: x1 is '', expected a finite number"),
        ("film,2,0,0,1,1\n\nfilm,2,zero,0,1,1\n", "line 3: x1 is 'zero', expected a finite number"),
        ('"fi\nlm",2,0,0,1,1\nfilm,2,0,0,1,one\n', "line 3: y2 is 'one'"),
        ("film,2,nan,0,1,1\n", "line 1: x1 is 'nan'"),
        ("film,2,0,0,inf,1\n", "line 1: x2 is 'inf'"),
        ("film,two,0,0,1,1\n", "line 1: timestamp is 'two'"),
        ("film,-2,0,0,1,1\n", "line 1: timestamp is -2, expected seconds from 0 on"),
        ("film,2,0,0,1,1\nfilm,2,0.5,0,0.5,1\n", r"line 2: the box \[0.5, 0.0, 0.5, 1.0\] is inverted"),
        ("film,2,0,9,5,3\n", "line 1: .*inverted"),
        ("timestamp,x1,y1,x2,y2,score\n2,0,0,1,1,90\n", "line 2: score is 90.0, expected 0 to 1"),
        ("film,2,0,0,1,1\nfilm,2,0,0,1.06,1\n", "line 2: the largest coordinate of the file is 1.06"),
        ("film,2,0,0,2,1\n", "line 1: the largest coordinate of the file is 2.0"),
        ('[{"timestamp": 2, "boxes": [[0, 0, 1, 1]]}', "line 1: not JSON"),
        ('{"timestamp": 2, "boxes": []}\n{"timestamp": 3, "bo', "line 2: not JSON"),
        ('{"timestamp": 2, "boxes": []}\nfilm,2\n', "line 2: not JSON"),
        ('\n[\n{"timestamp": 2, "boxes": []},\n\n{"boxes": []}\n]', 'line 5: expected {"timestamp"'),
        ('{"timestamp": 2, "boxes": []}\n{"timestamp": 2}\n', 'line 2: expected .*found {"timestamp": 2}'),
        ("[1, 2]", "line 1: expected .*found 1"),
        ('[{"timestamp": 2, "boxes": 7}]', "line 1: expected"),
        ('[{"timestamp": 2, "boxes": [[1, 2, 3]]}]', r"line 1: the box \[1, 2, 3\] has 3 numbers"),
        ('[{"timestamp": 2, "boxes": [[]]}]', r"line 1: the box \[\] has 0 numbers"),
        ('[{"timestamp": 2, "boxes": [[1, 2, 3, NaN]]}]', "line 1: y2 is nan"),
        ('[{"timestamp": 2, "boxes": [[1, 2, 3, null]]}]', "line 1: y2 is None"),
        ('[{"timestamp": null, "boxes": []}]', "line 1: timestamp is None"),
        ('[{"timestamp": 2,\n "boxes": [[1, 2, 3, 4, 5]]}]', "line 1: score is 5"),
        (f'[{{"timestamp": {"9" * 400}, "boxes": []}}]', "line 1: timestamp is 9+[.]{3}9+, expected a finite number"),
        (f'[{{"timestamp": 2, "boxes": [[1, 2, 3, {"9" * 400}]]}}]', "line 1: y2 is 9+[.]{3}9+, expected a finite"),
        (f'{{"timestamp": {"9" * 5000}, "boxes": []}}', "line 1 or later: not a usable number"),
        ("[" * 5000, "boxes.txt has brackets nested too deeply"),
        ('{"boxes": ' + "[" * 200_000, "boxes.txt has brackets nested too deeply"),
    ],
)
def test_box_file_refuses(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(PeopleError, match=message) as caught:
        box_file(tmp_path, text)
    assert str(tmp_path / "boxes.txt") in str(caught.value)


def test_box_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PeopleError, match=r"missing.csv cannot be read \(No such file"):
        BoxFile(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    "text",
    ["film,1,0,0,9,9\nfilm,2,200,0,210,9\n", '{"timestamp": 1, "boxes": []}\n{"timestamp": 2, "boxes": [[0,-9,9,0]]}'],
)
def test_box_outside_the_frame(text: str, tmp_path: Path) -> None:
    boxes = box_file(tmp_path, text)
    with pytest.raises(PeopleError, match=r"boxes.txt, line 2: .* outside the frames of the video \(200x100\)"):
        find_people(boxes, FRAME, KEYFRAME)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("film,9,0,0,9,9\nfilm,2,200,0,210,9\nfilm,1,0,100,9,110\n", 2),
        ("film,9,0,0,1,1\nfilm,2,-0.5,0,0,1\n", 2),
        # Equal boxes are one person, whose first row counts.
        ("timestamp,x1,y1,x2,y2,score\n2,200,0,210,9,0.1\n1,300,0,310,9,1\n2,200,0,210,9,1\n", 2),
        ("other,1,300,0,310,9\nfilm,1,,,,\nfilm,2,0,0,9,9\nfilm,3,200,0,210,9\n", 4),
    ],
)
def test_check_names_the_first_box_outside(text: str, line: int, tmp_path: Path) -> None:
    boxes = box_file(tmp_path, text, "film")
    with pytest.raises(PeopleError, match=rf"boxes.txt, line {line}: .* outside the frames of the video") as caught:
        boxes.check((100, 200))
    asked = []
    for timestamp in boxes.timestamps:
        try:
            people_at(boxes, timestamp)
        except PeopleError as error:
            asked.append(str(error))
    assert str(caught.value) in asked


@pytest.mark.parametrize("text", ["film,1,0,0,9,9\nfilm,2,199,-5,210,9\n", "film,1,0,0,1,1\n", "film,1,,,,\n"])
def test_check_accepts(text: str, tmp_path: Path) -> None:
    box_file(tmp_path, text).check((100, 200))


def test_reads_what_our_writers_write(tmp_path: Path) -> None:
    detections = Detections(
        keyframe=Keyframe('a,"b"\nc', 902.5),
        frame_size=(100, 200),
        boxes=torch.tensor([[20.25, 10, 100, 90], [0, 0, 33.3, 44.4]]),
        person_scores=torch.tensor([0.875, 0.5]),
        scores=torch.tensor([[0.9, 0.8], [0.1, 0.7]]),
        categories=("stand", "walk"),
    )
    empty = Detections(
        Keyframe('a,"b"\nc', 903.0), (100, 200), torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 2), ("stand", "walk")
    )
    with AvaCsvWriter(tmp_path / "a.csv", top=5, threshold=0.3) as csv:
        csv.write(detections)
    with JsonLinesWriter(tmp_path / "a.jsonl", top=5, threshold=0.3) as json_lines:
        json_lines.write(detections)
        json_lines.write(empty)
    from_csv, from_json = BoxFile(tmp_path / "a.csv", 'a,"b"\nc'), BoxFile(tmp_path / "a.jsonl", 'a,"b"\nc')
    assert (from_csv.timestamps, from_json.timestamps) == ((902.5,), (902.5, 903.0))
    assert (from_csv.is_fraction, from_json.is_fraction) == (True, False)
    expected = torch.cat([detections.boxes, detections.person_scores[:, None]], dim=1)
    assert torch.equal(from_json(FRAME, detections.keyframe), expected)
    assert torch.allclose(from_csv(FRAME, detections.keyframe)[:, :4], detections.boxes, atol=2e-4)


def test_reads_the_files_of_ava(shared: Path) -> None:
    boxes = BoxFile(shared / "data/ava/real_rows/gt_0902_1014.csv", "1j20qq1JyX4")
    assert boxes.is_fraction
    assert (boxes.timestamps[0], boxes.timestamps[-1]) == (902.0, 1014.0)
    assert sum(len(boxes(FRAME, Keyframe("film", timestamp))) for timestamp in boxes.timestamps) == 148


def test_message_shows_what_json_was_found(tmp_path: Path) -> None:
    with pytest.raises(PeopleError) as caught:
        box_file(tmp_path, json.dumps([{"time": 2, "boxes": [[0, 0, 1, 1]] * 100}]))
    assert len(str(caught.value)) < 400
