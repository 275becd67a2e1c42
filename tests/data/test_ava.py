"""AVA's classes, and its annotations and proposals as arrays."""

import pickle
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from acrn_zoo.data.ava import (
    AVA_EVALUATED_LABEL_MAP,
    AVA_LABEL_MAP,
    CATEGORIES,
    EVALUATED_IDS,
    annotations_from_table,
    read_annotations,
    read_proposals,
    select_proposals,
)
from acrn_zoo.data.folder import DatasetError
from acrn_zoo.labels import read_label_map
from acrn_zoo.pickles import PickleError
from acrn_zoo.tables import TableError
from acrn_zoo.tables import read_annotations as read_table


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def pickled(folder: Path, content: object) -> Path:
    path = folder / "p.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def test_column_is_id_minus_one() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 80
    assert CATEGORIES[1 - 1] == "bend/bow (at the waist)"
    assert CATEGORIES[12 - 1] == "stand"
    assert CATEGORIES[80 - 1] == "watch (a person)"
    assert AVA_LABEL_MAP.categories == CATEGORIES
    assert len(EVALUATED_IDS) == 60


@pytest.mark.parametrize(
    ("file", "number"),
    [
        ("ava_action_list_v2.2.pbtxt", 80),
        ("ava_action_list_v2.2_for_activitynet_2019.pbtxt", 60),
        ("ava_action_list_v2.1_for_activitynet_2018.pbtxt", 60),
    ],
)
def test_names_are_those_of_the_dataset(shared: Path, file: str, number: int) -> None:
    path = shared / "data" / "ava" / file
    labels = re.findall(r'name:\s*"([^"]*)"\s*(?:label_id|id):\s*(\d+)', path.read_text())
    assert len(labels) == number
    assert [name for name, _ in labels] == [CATEGORIES[int(label_id) - 1] for _, label_id in labels]
    assert read_label_map(path) == (AVA_LABEL_MAP if number == 80 else AVA_EVALUATED_LABEL_MAP)
    assert number == 80 or tuple(int(label_id) for _, label_id in labels) == EVALUATED_IDS


def test_needs_no_torch() -> None:
    code = "import sys, acrn_zoo.data.ava; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ROWS = """\
film,0903,0.5,0.1,0.9,0.8,12,1
film,0902,0.1,0.2,0.3,0.4,74,0
other,0902,0.1,0.2,0.3,0.4,1,0
film,0902,0.5,0.2,0.7,0.4,80,1
film,902.0000001,0.1,0.2,0.3,0.4,12,0
film,0902,0.10,0.2,0.3,0.4,74,5
empty,0910
film,0902.5,0.1,0.2,0.3,0.4,12,0
"""


def test_rows_of_one_box_are_one_actor(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, ROWS))
    keyframes = [found.keyframes[index] for index in range(len(found))]
    assert keyframes == [("film", 902), ("film", 902.5), ("film", 903), ("other", 902), ("empty", 910)]
    assert found.boxes(0).tolist() == [[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.7, 0.4]]
    labels = found.labels(0)
    assert (labels.shape, labels.dtype) == ((2, 80), np.float32)
    assert [np.flatnonzero(row).tolist() for row in labels] == [[11, 73], [79]]
    assert labels.max() == 1
    assert [len(found.boxes(index)) for index in range(5)] == [2, 1, 1, 1, 0]
    assert np.flatnonzero(found.labels(2)).tolist() == [11]
    assert found.labels(4).shape == (0, 80)


def test_keyframes_are_found_by_their_microseconds(tmp_path: Path) -> None:
    keyframes = read_annotations(written(tmp_path, ROWS)).keyframes
    assert [keyframes.find(*keyframes[index]) for index in range(5)] == list(range(5))
    assert keyframes.find("film", 902.0000004) == 0
    for absent in (("film", 901.0), ("film", 902.00001), ("film", 904.0), ("other", 903.0), ("nothing", 902.0)):
        assert keyframes.find(*absent) is None
    for index in (-1, 5):
        with pytest.raises(IndexError, match="only 0 to 4"):
            keyframes[index]
    thousandth = read_annotations(written(tmp_path, "film,1.001\n")).keyframes
    assert thousandth.find("film", 1.001) == 0  # 1000999.9999999999 microseconds


def test_excluded_keyframes_are_left_out(tmp_path: Path) -> None:
    excluded = written(tmp_path, "film,902\nother,0902\nother,0999\nunknown,0902\n", "excluded.csv")
    found = read_annotations(written(tmp_path, ROWS), excluded)
    assert [found.keyframes[index] for index in range(len(found))] == [("film", 902.5), ("film", 903), ("empty", 910)]
    assert found.boxes(1).tolist() == [[0.5, 0.1, 0.9, 0.8]]
    assert found.keyframes.video_ids == ("film", "empty")


@pytest.mark.parametrize("text", ["", "film,0902\n"])
def test_without_people(tmp_path: Path, text: str) -> None:
    found = read_annotations(written(tmp_path, text), num_classes=3)
    assert len(found) == len(text.splitlines())
    assert found.actor_boxes.shape == (0, 4)
    assert [found.labels(index).shape for index in range(len(found))] == [(0, 3)] * len(found)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("film,1,0.1,0.1,0.2,0.2,4", r"line 4: column 7 \(action_id\): 4, expected one of the 3 classes"),
        ("film,1,0.1,0.1,0.2,0.2,0", r"line 4: column 7 \(action_id\): 0, expected"),
        ("film,1,0.3,0.1,0.2,0.2,1", "line 4: the box 0.3,0.1,0.2,0.2 is no part of a frame"),
        ("film,1,0.1,0.3,0.2,0.2,1", "line 4: the box"),
        ("film,1,12,40,100,200,1", "line 4: the box 12,40,100,200 .* expected x1,y1,x2,y2 as fractions"),
        ("film,1,0,0,100,200,1", "line 4: the box 0,0,100,200"),
        ("film,1,-0.2,0.3,0,0.5,1", "line 4: the box"),
        ("film,1,1,0.3,1.2,0.5,1", "line 4: the box"),
        ("film,1,0.1,0.1,0.2,0.2,one", "line 4, column 7"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path, f"film,1,0,0,1,1,3\n\nfilm,2\n{row}\nfilm,1,0.1,0.1,0.2,0.2,99\n")
    with pytest.raises((DatasetError, TableError), match=message) as caught:
        read_annotations(path, num_classes=3)
    assert str(path) in str(caught.value)


def test_boxes_may_stick_out_and_have_no_area(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, "film,1,-0.1,0.2,1.1,1.2,1\nfilm,1,0.5,0.2,0.5,0.3,1\n"))
    assert len(found.boxes(0)) == 2


def test_table_made_elsewhere() -> None:
    """As the reader of J-HMDB makes it: plain text, any index."""
    table = pd.DataFrame(
        {
            "video_id": ["b", "a", "b"],
            "timestamp": [0.1, 0.0, 0.1],
            **{name: [value] * 3 for name, value in zip(("x1", "y1", "x2", "y2"), (0.0, 0.0, 0.5, 0.5), strict=True)},
            "action_id": [2, 1, 1],
            "person_id": [0.0, 0.0, 0.0],
        },
        index=[7, 7, 7],
    )
    before = table.copy()
    found = annotations_from_table(table, num_classes=2)
    assert found.keyframes.video_ids == ("b", "a")
    assert found.labels(0).tolist() == [[1, 1]]
    pd.testing.assert_frame_equal(table, before)
    with pytest.raises(DatasetError, match="row 1 of the annotations"):
        annotations_from_table(table, num_classes=1)


@pytest.mark.parametrize("file", ["ava_val_v2.1.csv", "real_rows/gt_0902_1014.csv"])
def test_real_annotations(shared: Path, file: str) -> None:
    """Against the same thing in plain dictionaries, row by row, both ways."""
    path = shared / "data" / "ava" / file
    table = read_table(path)
    expected: dict[Any, dict[Any, set[int]]] = defaultdict(dict)
    for video_id, second, x1, y1, x2, y2, action, _ in table.itertuples(index=False):
        expected[video_id, second].setdefault((x1, y1, x2, y2), set()).add(action)

    found = read_annotations(path, num_classes=80)
    assert len(found) == len(expected)
    for index in range(len(found)):
        actors = expected[found.keyframes[index]]
        assert [tuple(box) for box in found.boxes(index).tolist()] == list(actors)
        assert [set(np.flatnonzero(row) + 1) for row in found.labels(index)] == list(actors.values())


def test_real_exclusions(shared: Path) -> None:
    """The sample files of MMAction2: 2 of 3 keyframes are excluded."""
    folder = shared / "data" / "ava" / "mmaction2_ava_dataset"
    found = read_annotations(folder / "ava_sample.csv", folder / "ava_excluded_timestamps_sample.csv")
    assert [found.keyframes[index] for index in range(len(found))] == [("0f39OWEqJ24", 902)]
    assert (np.flatnonzero(found.labels(0)) + 1).tolist() == [12, 17, 79]
    everything = shared / "data" / "ava" / "ava_val_v2.1.csv"
    excluded = shared / "data" / "ava" / "ava_val_excluded_timestamps_v2.2.csv"
    assert len(read_annotations(everything, excluded)) == len(read_annotations(everything)) == 50029


def test_real_pickle(shared: Path) -> None:
    path = shared / "data" / "ava" / "mmaction2_ava_dataset" / "ava_proposals_sample.pkl"
    with path.open("rb") as file:
        content = pickle.load(file)
    found = read_proposals(path)
    assert len(found.keyframes) == len(content) == 3
    for key, array in content.items():
        video_id, second = key.split(",")
        pair = found.at(video_id, float(second))
        assert pair is not None
        np.testing.assert_array_equal(np.column_stack([pair[0], pair[1]]), array)


def test_real_predictions_are_boxes_too(shared: Path) -> None:
    path = shared / "data" / "ava" / "real_rows" / "ava_predicted_file_9bb5558.csv"
    found = read_proposals(path)
    boxes = {tuple(line.split(",")[:6]) for line in path.read_text().splitlines()}
    assert len(found.boxes) == len(boxes)
    assert found.at("1j20qq1JyX4", 902) is not None


BOX = [0.1, 0.2, 0.3, 0.4]
FORMS = {
    "scores": "b,7,0.5,0.5,0.6,0.6,0.3\na,0902,0.1,0.2,0.3,0.4,0.9\nb,7,0.1,0.1,0.2,0.2,0.8\nc,1\n",
    "actions": (
        "b,7,0.5,0.5,0.6,0.6,12,0.3\nb,7,0.5,0.5,0.6,0.6,80,0.3\na,0902,0.1,0.2,0.3,0.4,,0.9\n"
        "b,7,0.1,0.1,0.2,0.2,,0.8\n"
    ),
}


@pytest.mark.parametrize("form", ["scores", "actions", "pickle"])
def test_proposals_of_every_form(tmp_path: Path, form: str) -> None:
    rows = np.array([[0.5, 0.5, 0.6, 0.6, 0.3], [0.1, 0.1, 0.2, 0.2, 0.8]])
    content = {"b,0007": rows, "a,0902": np.array([[*BOX, 0.9]]), "c,0001": np.zeros((0, 5))}
    path = pickled(tmp_path, content) if form == "pickle" else written(tmp_path, FORMS[form])
    found = read_proposals(path)
    pair = found.at("b", 7.0)
    assert pair is not None
    np.testing.assert_array_equal(pair[0], rows[:, :4])
    np.testing.assert_array_equal(pair[1], rows[:, 4])
    one = found.at("a", 902)
    assert one is not None
    assert (one[0].tolist(), one[1].tolist()) == ([BOX], [0.9])
    nobody = found.at("c", 1)
    assert nobody is None if form == "actions" else nobody is not None and nobody[0].shape == (0, 4)
    assert found.at("a", 7) is None


def test_proposals_without_scores(tmp_path: Path) -> None:
    paths = pickled(tmp_path, {"a,0001": np.array([BOX])}), written(tmp_path, "a,1,0.1,0.2,0.3,0.4\n")
    for path in paths:
        assert read_proposals(path).scores.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"a": np.zeros((1, 5))}, "key 'a' is none of the form"),
        ({"a,x": np.zeros((1, 5))}, "key 'a,x' is none of the form"),
        ({7: np.zeros((1, 5))}, "key 7 is none of the form"),
        ({"a,0001": np.zeros((1, 3))}, r"key 'a,0001': \[1, 3\], expected an array"),
        ({"a,0001": [BOX]}, "key 'a,0001': list, expected an array"),
        (
            {"b,1": np.array([[*BOX, 0.5]] * 3), "a,2": np.array([[*BOX, 0.5], [9, 9, 99, 99, 1]])},
            "key 'a,2': the box 9",
        ),
        ({"b,1": np.zeros((0, 4)), "a,2": np.array([[*BOX, 1.5]])}, "key 'a,2': the score .* 1.5, expected 0 to 1"),
        ({"a,2": np.array([[*BOX, np.nan]])}, "key 'a,2': the score"),
        (
            {"a,1": np.array([BOX]), "a,2": np.array([[0, 0, 1, 9]]), "a,3": np.array([BOX])},
            "key 'a,2': the box 0,0,1,9",
        ),
        ({"a,2": np.array([[np.nan, 0, 1, 1, 1]])}, "key 'a,2': the box nan"),
        ({"a,2": np.array([BOX]), "a,0002": np.array([BOX])}, "'a,0002' stands there twice"),
    ],
)
def test_pickles_that_make_no_sense(tmp_path: Path, content: object, message: str) -> None:
    path = pickled(tmp_path, content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_proposals(path)
    assert str(path) in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil"),))


def test_pickles_are_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PickleError):
        read_proposals(pickled(tmp_path, {"a,0001": Evil()}))
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,0.1,0.2,0.3,0.4,,x", r"line 3, column 8 \(score\): 'x', expected a finite number"),
        ("a,1,0.1,0.2,,0.4,,0.5", r"line 3, column 5 \(x2\): ''"),
        ("a,1,0.1,0.2,0.3,0.4,,inf", r"line 3, column 8 \(score\): 'inf'"),
        (",1,0.1,0.2,0.3,0.4,,0.5", r"line 3, column 1 \(video_id\): ''"),
        ("a,1,0.1,0.2,0.3,0.4,0.5", "line 3: 7 columns, expected 8"),
        ("a,1,0.1,0.2,0.3,0.4,,,0.5", "line 3: 9 columns, expected 8"),
        ("a,1,0.1,0.2,0.3,0.4,,1.5", "line 3: the score .* 1.5"),
        ("a,1,30,20,40,50,,0.5", "line 3: the box 30"),
    ],
)
def test_labelled_boxes_that_make_no_sense(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path, f"a,1,0.1,0.2,0.3,0.4,,0.9\n\n{row}\na,1,0.1,0.2,0.3,0.4,,0.9\n")
    with pytest.raises((TableError, DatasetError), match=message) as caught:
        read_proposals(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["a,1,0.1,0.2,0.3,0.4,7\n", "a,1,0.1,0.2\n", "a,1,30,20,40,50,0.5\n"])
def test_proposal_rows_that_make_no_sense(tmp_path: Path, text: str) -> None:
    with pytest.raises((TableError, DatasetError), match=r"a\.csv, line 1"):
        read_proposals(written(tmp_path, text))


def test_no_such_file(tmp_path: Path) -> None:
    for name in ("x.csv", "x.pkl"):
        with pytest.raises((TableError, PickleError), match=name):
            read_proposals(tmp_path / name)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.95, 0.5, 0.9, 0.89], [0, 2]),
        ([0.3, 0.8, 0.5, 0.8], [1, 3]),  # nobody reaches 0.9: the best, and who is as good
        ([0.0], [0]),
        ([], []),
        ([1.0] * 1003, list(range(1000))),
    ],
)
def test_proposals_that_count(tmp_path: Path, scores: list[float], kept: list[int]) -> None:
    boxes = np.array([[0, 0, 1, (index + 1) / 2000] for index in range(len(scores))]).reshape(-1, 4)
    content = {"a,0902": np.column_stack([boxes, np.array(scores)])}
    found = select_proposals(read_proposals(pickled(tmp_path, content)), "a", 902)
    np.testing.assert_array_equal(found[0], boxes[kept])
    assert found[1].tolist() == [scores[index] for index in kept]


def test_unknown_keyframe_is_one_full_frame(tmp_path: Path) -> None:
    proposals = read_proposals(pickled(tmp_path, {"a,0902": np.array([[*BOX, 0.2]])}))
    boxes, scores = select_proposals(proposals, "a", 903)
    assert (boxes.tolist(), scores.tolist()) == ([[0, 0, 1, 1]], [1])
    assert select_proposals(proposals, "a", 902, min_score=0.1)[1].tolist() == [0.2]
    many = read_proposals(pickled(tmp_path, {"a,0902": np.array([[*BOX, 0.2]] * 3)}))
    assert len(select_proposals(many, "a", 902, maximum=2)[0]) == 2
