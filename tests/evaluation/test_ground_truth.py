"""What predictions are held against."""

from pathlib import Path

import pytest

from acrn_zoo.evaluation import RULES, EvaluationError, evaluate_ava, read_ground_truth
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import TableError, read_annotations, read_keyframes, read_predictions

BOX = "0.1,0.1,0.5,0.5"
NAMES = {1: "walk", 2: "talk", 4: "wave", 5: "sit", 7: "stand"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text(f"film,1,{BOX},1,0\nfilm,2,{BOX},2,0\nfilm,3,{BOX},1,0\nfilm,3,{BOX},3,0\n")
    (tmp_path / "excluded.csv").write_text("film,3\n")
    (tmp_path / "found.csv").write_text(f"film,1,{BOX},1,0.5\nfilm,4,{BOX},1,0.9\nfilm,3,0.6,0.6,0.9,0.9,1,0.8\n")
    return tmp_path


@pytest.mark.parametrize("excluded", [None, "excluded.csv"])
@pytest.mark.parametrize("rule", ["official", "2019"])
def test_is_the_evaluation_of_the_files(files: Path, excluded: str | None, rule: str) -> None:
    path = None if excluded is None else files / excluded
    truth = read_ground_truth(files / "people.csv", LabelMap(NAMES), path)
    predictions = read_predictions(files / "found.csv")
    result = truth.evaluate(predictions, RULES[rule])
    expected = evaluate_ava(
        read_annotations(files / "people.csv"),
        predictions,
        list(NAMES),
        rule=RULES[rule],
        excluded=None if path is None else read_keyframes(path),
    )
    assert result.mean == expected.mean
    assert result.num_annotated.tolist() == ([2, 1, 0, 0, 0] if excluded is None else [1, 1, 0, 0, 0])


def test_a_rule_is_the_official_one_unless_given(files: Path) -> None:
    truth = read_ground_truth(files / "people.csv", LabelMap(NAMES))
    predictions = read_predictions(files / "found.csv")
    assert truth.evaluate(predictions).mean != truth.evaluate(predictions, RULES["2019"]).mean


def test_nothing_to_find(files: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"people\.csv has no row of the 1 classes that count \(other\), so there"
    ):
        read_ground_truth(files / "people.csv", LabelMap({9: "other"}))
    names = {number + 10: name for number, name in NAMES.items()}
    with pytest.raises(EvaluationError, match=r"of the 5 classes that count \(walk, talk, wave, \.\.\.\), so"):
        read_ground_truth(files / "people.csv", LabelMap(names))


def test_files_that_are_not_there(files: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv cannot be read"):
        read_ground_truth(files / "none.csv", LabelMap(NAMES))
    with pytest.raises(TableError, match=r"none\.csv cannot be read"):
        read_ground_truth(files / "people.csv", LabelMap(NAMES), files / "none.csv")
