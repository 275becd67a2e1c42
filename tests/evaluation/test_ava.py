"""The evaluation of AVA against the official script's own results."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acrn_zoo.evaluation.ava import AvaResult, evaluate_ava, mean_of
from acrn_zoo.evaluation.rules import OFFICIAL, RULES, EvaluationError, Rule
from acrn_zoo.labels import read_label_map
from acrn_zoo.tables import TableError, read_annotations, read_keyframes, read_predictions

SMALL_SETS = ("small_tied", "small_unique", "real_yowov3", "mmaction2_eval_detection")
LARGE_SETS = (
    pytest.param("medium_tied"),
    pytest.param("full_tied", marks=pytest.mark.slow),
    pytest.param("full_unique", marks=pytest.mark.slow),
)
EXACT = 1e-12
NO_TIES = ("public/small_unique", "public/mmaction2_eval_detection")


@pytest.fixture(scope="session")
def reference(shared: Path) -> Path:
    return shared / "reference" / "ava_evaluation"


@pytest.fixture(scope="session")
def listed(shared: Path) -> tuple[int, ...]:
    return read_label_map(shared / "data/ava/ava_action_list_v2.1_for_activitynet_2018.pbtxt").ids


@pytest.fixture
def golden_set(
    request: pytest.FixtureRequest, reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """What the official script gave for a set of files, and the files."""
    golden = json.loads((reference / "goldens" / f"{request.param}.json").read_text())
    folder = reference / "goldens" / request.param
    if not folder.is_dir():
        folder = tmp_path_factory.getbasetemp() / request.param
        if not folder.exists():
            command = [sys.executable, reference / "generate.py", folder, f"public/{request.param}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return golden, folder


def evaluate(folder: Path, listed: tuple[int, ...], rule: Rule = OFFICIAL, with_excluded: bool = False) -> AvaResult:
    own_map = folder / "action_list.txt"
    excluded = folder / "excluded.csv"
    return evaluate_ava(
        read_annotations(folder / "gt.csv"),
        read_predictions(folder / "pred.csv"),
        read_label_map(own_map).ids if own_map.exists() else listed,
        rule=rule,
        excluded=read_keyframes(excluded) if with_excluded and excluded.exists() else None,
    )


def values_of(golden: dict[str, float | None], class_ids: tuple[int, ...]) -> list[float]:
    values = [golden[str(class_id)] for class_id in class_ids]
    return [np.nan if value is None else value for value in values]


@pytest.mark.parametrize("golden_set", [*SMALL_SETS, *LARGE_SETS], indirect=True)
def test_official_rule(golden_set: tuple[dict[str, Any], Path], listed: tuple[int, ...]) -> None:
    golden, folder = golden_set
    official = golden["official"]
    result = evaluate(folder, listed)
    ids = result.class_ids
    np.testing.assert_allclose(result.average_precision, values_of(official["stable"]["AP"], ids), atol=EXACT, rtol=0)
    assert result.mean == pytest.approx(official["stable"]["mAP"], abs=EXACT, rel=0)
    lowest, highest = result.range_over_ties
    np.testing.assert_allclose(lowest, values_of(official["AP_min_over_ties"], ids), atol=EXACT, rtol=0)
    np.testing.assert_allclose(highest, values_of(official["AP_max_over_ties"], ids), atol=EXACT, rtol=0)
    default = np.array(values_of(official["default"]["AP"], ids))
    assert np.all((lowest - EXACT <= default) & (default <= highest + EXACT) | np.isnan(default))
    for name, found in (
        ("num_gt", result.num_annotated),
        ("num_det", result.num_predicted),
        ("num_tp", result.num_found),
    ):
        assert {str(key): int(value) for key, value in zip(ids, found, strict=True)} == official["counts"][name], name
    if "det_rows_used" in official["counts"]:
        assert result.num_predicted.sum() == official["counts"]["det_rows_used"]


def micro_cases() -> list[Any]:
    path = Path(__file__).resolve().parents[3] / "shared/reference/ava_evaluation/goldens/micro_cases.json"
    if not path.is_file():
        reason = "needs the folder `shared` (reference data) beside the checkout"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="none")]
    return [pytest.param(case, id=case["name"]) for case in json.loads(path.read_text())["cases"]]


@pytest.fixture
def evaluate_case(tmp_path: Path, listed: tuple[int, ...]) -> Any:
    def evaluate_texts(case: dict[str, Any], rule: str) -> AvaResult:
        (tmp_path / "gt.csv").write_text(case["gt"])
        (tmp_path / "pred.csv").write_text(case["det"])
        return evaluate(tmp_path, listed, RULES[rule])

    return evaluate_texts


@pytest.mark.parametrize("case", micro_cases())
def test_every_point_of_the_official_rule(case: dict[str, Any], evaluate_case: Any) -> None:
    expected = case["official_default"]
    if "error" in expected:
        with pytest.raises((EvaluationError, TableError)):
            evaluate_case(case, "official")
        return
    result = evaluate_case(case, "official")
    assert result.mean == pytest.approx(expected["mAP"], abs=EXACT)
    for name, found in (
        ("AP", result.average_precision),
        ("num_gt", result.num_annotated),
        ("num_det", result.num_predicted),
        ("num_tp", result.num_found),
    ):
        named = {str(key): float(value) for key, value in zip(result.class_ids, found, strict=True)}
        counted = {key: value for key, value in named.items() if not np.isnan(value) and (value or name == "AP")}
        assert counted == pytest.approx(expected[name], abs=EXACT), name


# Texts that become the same numbers in a table, so that what only their own readers refuse is not seen here.
READ_ALIKE = {("det_seven_columns", "pyslowfast")}


@pytest.mark.parametrize("rule", ["pyslowfast", "mmaction2"])
@pytest.mark.parametrize("case", micro_cases())
def test_every_point_of_other_rules(case: dict[str, Any], rule: str, evaluate_case: Any) -> None:
    expected = case[f"{'slowfast' if rule == 'pyslowfast' else rule}_mAP"]
    if (case["name"], rule) in READ_ALIKE:
        expected = case["official_default"]["mAP"]
    if isinstance(expected, str):
        with pytest.raises((EvaluationError, TableError)):
            evaluate_case(case, rule)
    else:
        expected = np.nan if expected is None else expected
        assert evaluate_case(case, rule).mean == pytest.approx(expected, abs=EXACT, nan_ok=True)


@pytest.mark.parametrize("golden_set", [*SMALL_SETS, "medium_tied"], indirect=True)
@pytest.mark.parametrize("rule", ["pyslowfast", "mmaction2"])
def test_other_rules(golden_set: tuple[dict[str, Any], Path], rule: str, listed: tuple[int, ...]) -> None:
    golden, folder = golden_set
    result = evaluate(folder, listed, RULES[rule], with_excluded=True)
    expected = golden["slowfast"]["mAP"] if rule == "pyslowfast" else golden["mmaction2"]["result"]["overall"]
    lowest, highest = result.range_over_ties
    assert mean_of(lowest) - EXACT <= expected <= mean_of(highest) + EXACT
    if golden["set"] in NO_TIES:  # else an unstable sort decides
        assert result.mean == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("golden_set", ["small_unique", "real_yowov3", "mmaction2_eval_detection"], indirect=True)
def test_localisation(golden_set: tuple[dict[str, Any], Path], listed: tuple[int, ...]) -> None:
    """The golden is the core of 2018 behind the reader of 2020."""
    golden, folder = golden_set
    rule = replace(RULES["2018"], max_rows=50, counts_unannotated=False)
    result = evaluate(folder, listed, rule)
    expected = golden["corloc_official_2018"]
    if golden["set"] in NO_TIES:
        assert result.mean == pytest.approx(expected["mAP_2018"], abs=EXACT)
    assert result.localisation is not None
    np.testing.assert_allclose(result.localisation, values_of(expected["CorLoc"], result.class_ids), atol=EXACT)
