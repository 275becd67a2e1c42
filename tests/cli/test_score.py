"""``acrn-zoo score``, from its arguments to what it prints and writes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from acrn_zoo.cli import main
from acrn_zoo.data.folder import DatasetFolder, Split, write_dataset_folder
from acrn_zoo.labels import LabelMap, write_label_map

BOX = "0.1,0.1,0.5,0.5"
ELSEWHERE = "0.6,0.6,0.9,0.9"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three videos with stand (12) and sit (11); the predictions find all but one of the sitting."""
    monkeypatch.chdir(tmp_path)
    truth, found, worse = [], [], []
    for video in ("one", "two", "three"):
        for second in (902, 903):
            truth += [f"{video},{second},{BOX},12,0", f"{video},{second},{ELSEWHERE},11,1"]
            found += [f"{video},0{second}.0,{BOX},12,0.9", f"{video},{second},{ELSEWHERE},11,0.{second - 895}"]
            worse += [f"{video},{second},{ELSEWHERE},12,0.9", f"{video},{second},{ELSEWHERE},11,0.5"]
    found[1] = f"one,902,{BOX},11,0.99"
    Path("gt.csv").write_text("\n".join(truth) + "\n")
    Path("pred.csv").write_text("\n".join(found) + "\n")
    Path("worse.csv").write_text("\n".join(worse) + "\n")


def score(*arguments: object) -> int:
    return main(["score", *map(str, arguments)])


def test_table_and_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert score("pred.csv", "--ground-truth", "gt.csv") == 0
    output = capsys.readouterr().out
    assert re.search(r"12 +stand +1\.0000 +6 +6 +6\n", output)
    sit = sum(5 / 6 for _ in range(5)) / 6
    assert re.search(rf"11 +sit +{sit:.4f} +6 +6 +5\n", output)
    assert output.splitlines()[-1] == f"mAP {(1 + sit) / 2:.6f} ({50 + 50 * sit:.2f} %), official rule, 2 classes"
    assert "means: person movement" in output


def test_json_has_everything_at_full_precision() -> None:
    assert score("pred.csv", "--ground-truth", "gt.csv", "--json", "out.json") == 0
    content = json.loads(Path("out.json").read_text())
    assert content["rule"] == "official"
    assert content["AP"]["12"] == 1.0
    assert content["AP"]["1"] is None
    assert len(content["AP"]) == 60
    assert content["mAP"] == (content["AP"]["11"] + content["AP"]["12"]) / 2
    assert content["num_annotated"]["11"] == 6
    assert content["means"]["object manipulation"] is None
    low, high = content["mAP_range_over_ties"]
    assert low <= content["mAP"] <= high


def test_own_classes(capsys: pytest.CaptureFixture[str]) -> None:
    write_label_map("labels.pbtxt", LabelMap({11: "on a chair", 200: "never"}))
    assert score("pred.csv", "--ground-truth", "gt.csv", "--labels", "labels.pbtxt") == 0
    output = capsys.readouterr().out
    assert "on a chair" in output
    assert "rows of classes that do not count: 6 annotations, 6 predictions" in output
    assert "means:" not in output
    assert output.splitlines()[-1].endswith("official rule, 1 classes")


def test_a_dataset_folder_tells_its_classes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("excluded.csv").write_text("one,902\n")
    splits = {"val": Split(Path("gt.csv"), excluded=Path("excluded.csv")), "train": Split(Path("gt.csv"))}
    labels = LabelMap({11: "on a chair", 12: "upright"})
    write_dataset_folder(DatasetFolder(Path(), "own", labels, splits, {}, evaluated=(12,)))
    assert score("pred.csv", "--ground-truth", ".") == 0
    output = capsys.readouterr().out
    assert re.search(r"12 +upright +1\.0000 +5 +5 +5\n", output)
    assert output.splitlines()[-1].endswith("official rule, excluded keyframes left out, 1 classes")
    assert score("pred.csv", "--ground-truth", ".", "--split", "train") == 0
    assert re.search(r"12 +upright +1\.0000 +6 +6 +6\n", capsys.readouterr().out)
    assert score("pred.csv", "--ground-truth", ".", "--split", "test") == 1
    assert "no split 'test'; there is val, train" in capsys.readouterr().err


def test_rules_and_excluded_keyframes(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("pred.csv").open("a") as file:
        file.write(f"one,905,{BOX},12,0.95\n")
    Path("excluded.csv").write_text("one,905\n")
    values = {}
    for rule, *more in (("official",), ("pyslowfast",), ("pyslowfast", "--excluded", "excluded.csv"), ("2018",)):
        assert (
            score("pred.csv", "--ground-truth", "gt.csv", "--rule", rule, "--json", "o.json", "--overwrite", *more) == 0
        )
        values[(rule, *more)] = json.loads(Path("o.json").read_text())["AP"]["12"]
    assert list(values.values()) == [1.0, pytest.approx(6 / 7), 1.0, pytest.approx(6 / 7)]
    assert "keyframes that are not annotated, which this rule ignores: 1\n" in capsys.readouterr().out


def test_comparison_and_interval(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--compare", "worse.csv", "--interval", "--resamples", 40, "--json", "out.json")
    assert score("pred.csv", "--ground-truth", "gt.csv", *arguments) == 0
    output = capsys.readouterr().out
    assert re.search(r"pred.csv 0\.\d+, worse.csv 0\.\d+: difference \+0\.\d+ \(95 % interval", output)
    assert re.search(
        r"^mAP 0\.\d+ \([\d.]+ %\) \(95 % interval 0\.\d+ to [01]\.\d+\), official rule", output.splitlines()[-1]
    )
    content = json.loads(Path("out.json").read_text())
    assert content["comparison"]["num_videos"] == 3
    assert content["comparison"]["difference"] == pytest.approx(content["mAP"] - content["comparison"]["mAP"])
    assert content["mAP_interval"][0] <= content["mAP"] <= content["mAP_interval"][1]


def test_says_what_to_do_when_nothing_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pred.csv").write_text(f"elsewhere,902,{BOX},12,0.9\n")
    assert score("pred.csv", "--ground-truth", "gt.csv") == 0
    output = capsys.readouterr().out
    assert "No prediction found anything. To see why: acrn-zoo data check" in output
    assert output.splitlines()[-1].startswith("mAP 0.000000")


def test_empty_predictions() -> None:
    Path("pred.csv").write_text("")
    assert score("pred.csv", "--ground-truth", "gt.csv", "--rule", "mmaction2", "--json", "o.json") == 0
    assert json.loads(Path("o.json").read_text())["mAP"] is None


def test_no_map_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pred.csv").write_text("")
    assert score("pred.csv", "--ground-truth", "gt.csv", "--rule", "mmaction2") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mAP is not defined: no class counts by the mmaction2 rule"
    for more in (("--interval",), ("--compare", "worse.csv")):
        assert score("pred.csv", "--ground-truth", "gt.csv", "--rule", "mmaction2", "--json", "o.json", *more) == 1
        assert "No class counts" in capsys.readouterr().err
    assert not Path("o.json").exists()


def test_few_videos_are_too_few(capsys: pytest.CaptureFixture[str]) -> None:
    assert score("pred.csv", "--ground-truth", "gt.csv", "--compare", "worse.csv", "--resamples", 10) == 0
    assert "With 3 videos no difference, however large" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (
            {"pred.csv": f"one,902,{BOX},12,0.9\none,902,1\n"},
            (),
            r"pred\.csv, line 2: 3 columns, expected 2, 7 or 8",
        ),
        (
            {"pred.csv": f"one,902,{BOX},12,high\n"},
            (),
            r"pred\.csv, line 1, column 8 \(score\): 'high', expected a finite",
        ),
        ({"gt.csv": f"one,902,{BOX},sit,1\n"}, (), r"gt\.csv, line 1, column 7 \(action_id\): 'sit', expected a whole"),
        ({"gt.csv": ""}, (), r"gt\.csv has no row of the 60 classes that count \(bend"),
        ({}, ("--split", "val"), "--split val is for a dataset folder, and gt.csv is a file"),
        ({}, ("--labels", "missing.pbtxt"), r"label map missing\.pbtxt cannot be read"),
        ({}, ("--compare", "missing.csv"), r"missing\.csv cannot be read"),
        ({}, ("--json", "nowhere/out.json"), "there is no folder nowhere"),
        ({}, ("--json", "worse.csv"), "exists already"),
        ({}, ("--json", "pred.csv", "--overwrite"), "is one of the files to read"),
        ({"gt.csv": f"one,902,{BOX},12,0\n", "pred.csv": f"one,902,{BOX},12,1\n"}, ("--interval",), "only one video"),
        ({"gt.csv": "one,902,0.5,0.1,0.1,0.5,12,0\n"}, (), "annotated box is inverted, for example at one, 902 s"),
        ({"gt.csv": f"one,902.5,{BOX},12,0\n"}, ("--rule", "pyslowfast"), "knows whole seconds alone"),
    ],
)
def test_errors(
    change: dict[str, str], arguments: tuple[Any, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in change.items():
        Path(name).write_text(text)
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert score("pred.csv", "--ground-truth", "gt.csv", *arguments) == 1
    assert re.search(message, capsys.readouterr().err)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
