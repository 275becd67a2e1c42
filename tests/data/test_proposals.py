"""Proposals: files of every form and fault, and which of them count."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acrn_zoo.data.folder import DatasetError
from acrn_zoo.data.proposals import read_proposals, select_proposals
from acrn_zoo.pickles import PickleError
from acrn_zoo.tables import TableError


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def pickled(folder: Path, content: object) -> Path:
    path = folder / "p.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


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


@pytest.mark.parametrize("form", ["scores", "actions", "pickle"])
def test_boxes_without_area_are_dropped(tmp_path: Path, form: str) -> None:
    """Wherever they are; the keyframe stays one at which the detector was asked."""
    flat = [[1.0, 0.1, 1.0, 0.5], [0.2, 0.2, 0.2, 0.5], [0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.9, 0.0]]
    content: dict[str, list[list[float]]] = {
        "a,1": [*flat[:2], BOX],
        "a,2": flat[2:],
        "b,3": [BOX, flat[0], [0, 0, 1, 1]],
        "c,4": [],
    }
    if form == "pickle":
        rows = {key: np.array([[*box, 0.9] for box in boxes]).reshape(-1, 5) for key, boxes in content.items()}
        path = pickled(tmp_path, rows)
    else:
        end = ",0.9\n" if form == "scores" else ",,0.9\n"
        path = written(
            tmp_path,
            "".join(f"{key},{','.join(map(str, box))}{end}" for key, boxes in content.items() for box in boxes),
        )
    found = read_proposals(path)
    kept = {}
    for key in content:
        pair = found.at(key[0], float(key[2]))
        kept[key] = None if pair is None else pair[0].tolist()
    assert kept.pop("c,4") == ([] if form == "pickle" else None)
    assert kept == {"a,1": [BOX], "a,2": [], "b,3": [BOX, [0, 0, 1, 1]]}
    assert found.scores.tolist() == [0.9] * 3


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.4], [0.9, 0.1, 0.1, 0.5]])
def test_inverted_boxes_are_errors(tmp_path: Path, box: list[float]) -> None:
    with pytest.raises(DatasetError, match="no part of a frame"):
        read_proposals(pickled(tmp_path, {"a,1": np.array([BOX, box])}))


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
