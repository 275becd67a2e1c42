"""``acrn-zoo score-tubes``: from files to the line that is the answer."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acrn_zoo.cli import main
from acrn_zoo.data.jhmdb import JhmdbTruth, VideoTruth, write_jhmdb

MEASURES = ["frame_mAP@0.5", "video_mAP@0.2", "video_mAP@0.5", "video_mAP@0.75", "video_mAP@0.5:0.95"]


def still(first: int, last: int, left: float = 0) -> np.ndarray:
    return np.array([[frame, left, 0, left + 9, 9] for frame in range(first, last + 1)], dtype=np.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ground truth of three videos in two splits, whose test videos are a and b, and c."""
    videos = {
        "a": VideoTruth(10, 100, 200, {0: (still(1, 10),)}),
        "b": VideoTruth(10, 100, 200, {1: (still(1, 10),)}),
        "c": VideoTruth(10, 100, 200, {1: (still(1, 10),)}),
    }
    truth = JhmdbTruth(("golf", "walk, run"), videos, (("c",), ("a", "b")), (("a", "b"), ("c",)))
    write_jhmdb(tmp_path / "gt.json", JhmdbTruth(("golf", "walk"), truth.videos, truth.train_videos, truth.test_videos))
    return tmp_path


def rows(video: str, label: str, score: float, tube: np.ndarray, number: int | None = None) -> str:
    end = "" if number is None else f",{number}"
    return "".join(
        f"{video},{int(frame)},{x1!r},{y1!r},{x2!r},{y2!r},{label},{score}{end}\n"
        for frame, x1, y1, x2, y2 in tube.tolist()
    )


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def score(folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    assert main(["score-tubes", *arguments, "--ground-truth", str(folder / "gt.json"), "--json", str(out)]) == 0
    return json.loads(out.read_text())


def test_linked_tubes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = rows("a", "golf", 0.5, still(1, 10)) + rows("b", "2", 0.5, still(1, 5))
    result = score(folder, write(folder / "found.csv", text))
    assert [result[name] for name in MEASURES] == [0.75, 1.0, 1.0, 0.5, pytest.approx(0.55)]
    assert result["AP"]["video_mAP@0.75"] == {"golf": 1.0, "walk": 0.0}
    assert (result["rule"], result["split"], result["tubes"]) == ("act", "1", "linked")
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["class", "golf", "walk", "mean"]
    assert lines[2].split()[1:] == ["1", "50.00", "100.00", "100.00", "0.00", "10.00"]
    assert lines[-1] == "frame-mAP@0.5 75.00  video-mAP@0.5 100.00  (split 1, rule act, tubes linked)"


def test_given_tubes_in_any_order_of_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write(folder / "found.csv", rows("a", "golf", 0.5, still(1, 10)))
    lines = rows("a", "1", 0.1, still(1, 10), 4) + rows("a", "1", 0.9, still(1, 10, left=50), 7)
    shuffled = np.random.default_rng(0).permutation(lines.splitlines(keepends=True))
    result = score(folder, found, "--tubes", write(folder / "tubes.csv", "".join(shuffled)))
    assert result["AP"]["video_mAP@0.5"]["golf"] == 0.25  # behind a wrong one
    assert result["tubes"] == "given"
    captured = capsys.readouterr()
    assert "found.csv, split 1: 1 of 2 videos have no detections" in captured.err
    assert captured.out.endswith("(split 1, rule act, tubes given)\n")


def test_equal_tubes_count_in_the_order_of_the_file(folder: Path) -> None:
    found = write(folder / "found.csv", rows("a", "golf", 0.5, still(1, 10)))
    lines = rows("a", "golf", 0.5, still(1, 10), 7) + rows("a", "golf", 0.5, still(1, 10, left=50), 4)
    tubes = write(folder / "tubes.csv", lines)
    assert score(folder, found, "--tubes", tubes, "--rule", "hit")["AP"]["video_mAP@0.5"]["golf"] == 1


def test_linking_options(folder: Path) -> None:
    tube = np.concatenate([still(1, 4), still(7, 10)])
    found = write(folder / "found.csv", rows("a", "golf", 0.5, tube) + rows("a", "golf", 0.9, still(1, 2, left=50)))
    measure = "video_mAP@0.75"
    assert score(folder, found)["AP"][measure]["golf"] == 0
    assert score(folder, found, "--max-gap", "2")["AP"][measure]["golf"] == 0.25
    assert score(folder, found, "--max-gap", "2", "--min-length", "3")["AP"][measure]["golf"] == 1
    moving = still(1, 10) + np.arange(10)[:, None] * [0, 1, 0, 1, 0]
    moved = write(folder / "moved.csv", rows("a", "golf", 0.5, moving))
    assert score(folder, moved)["AP"]["video_mAP@0.2"]["golf"] > 0
    assert score(folder, moved, "--min-iou", "0.95")["AP"]["video_mAP@0.2"]["golf"] == 0


def test_rule_and_classes_left_out(folder: Path) -> None:
    found = write(folder / "found.csv", rows("c", "walk", 0.5, still(1, 10)))
    result = score(folder, found, "--split", "2", "--rule", "hit")
    assert result["AP"]["frame_mAP@0.5"] == {"golf": None, "walk": 1.0}
    assert (result["frame_mAP@0.5"], result["rule"]) == (1.0, "hit")
    assert score(folder, found, "--split", "2")["frame_mAP@0.5"] == 0.5


def test_all_splits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = rows("a", "golf", 0.5, still(1, 10))
    two = rows("c", "walk", 0.5, still(1, 10))
    both = write(folder / "both.csv", one + two)
    apart = [write(folder / "one.csv", one), write(folder / "two.csv", two)]
    result = score(folder, both, "--split", "all")
    assert "1 rows" not in capsys.readouterr().out
    assert result["frame_mAP@0.5"] == 0.5
    assert result["splits"] == {number: dict.fromkeys(MEASURES, 0.5) for number in ("1", "2")}
    other = score(folder, *apart, "--split", "all")
    captured = capsys.readouterr()
    assert other["splits"] == result["splits"]
    assert captured.out.endswith("(the mean of 2 splits, rule act, tubes linked)\n")
    assert "ignored" not in captured.err
    score(folder, both, "--split", "1")
    assert "both.csv, split 1: 10 rows of videos that are not tested are ignored" in capsys.readouterr().err


GOOD = "a,1,0,0,9,9,golf,0.5"
FAULTS = {
    "header": (
        "video,frame,x1,y1,x2,y2,class,score",
        "line 2: this is a header; delete it, the columns have to be video,frame,x1,y1,x2,y2,class,score",
    ),
    "header in quotation marks": ('"name","no","l","t","r","b","label","conf"', "line 2: this is a header"),
    "unknown video": ("x,1,0,0,9,9,golf,0.5", r"line 2, column 1 \(video\): 'x', expected a video of the ground truth"),
    "frame 0": (
        "a,0,0,0,9,9,golf,0.5",
        r"line 2, column 2 \(frame\): '0', expected a frame of the video, counted from 1",
    ),
    "frame too late": ("a,11,0,0,9,9,golf,0.5", r"line 2, column 2 \(frame\): '11'"),
    "half a frame": ("a,1.5,0,0,9,9,golf,0.5", r"line 2, column 2 \(frame\): '1\.5', expected a whole number"),
    "word": ("a,1,0,left,9,9,golf,0.5", r"line 2, column 4 \(y1\): 'left', expected a finite number"),
    "nan": ("a,1,0,0,9,nan,golf,0.5", r"line 2, column 6 \(y2\): 'nan', expected a finite number"),
    "inverted": ("a,1,10,0,9,9,golf,0.5", r"line 2, column 5 \(x2\): '9', expected at least x1"),
    "class 0": (
        "a,1,0,0,9,9,0,0.5",
        r"line 2, column 7 \(class\): '0', expected a name of a class or its number, 1 to 2",
    ),
    "class by a wrong name": ("a,1,0,0,9,9,Golf,0.5", r"line 2, column 7 \(class\): 'Golf'"),
    "score": ("a,1,0,0,9,9,golf,inf", r"line 2, column 8 \(score\): 'inf', expected a finite number"),
    "too few": ("a,1,0,0,9,9,golf", "line 2: 7 columns with something in them; expected the columns video,frame"),
    "too many": ("a,1,0,0,9,9,golf,0.5,3", "line 2: 9 columns"),
    "far too many": ("a,1,0,0,9,9,golf,0.5,3,4,5", "line 2: more than 8 columns; expected the columns video,frame"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    line, reason = FAULTS[name]
    found = write(folder / "found.csv", f"{GOOD}\n{line}\n{GOOD}\n")
    assert main(["score-tubes", found, "--ground-truth", str(folder / "gt.json")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(rf"acrn-zoo: error: .*found\.csv(, |: ).*{reason}", captured.err), captured.err
    assert captured.err.count("\n") == 1


def test_lines_are_counted_over_empty_ones(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write(folder / "found.csv", f"{GOOD}\n\n   \n\nb,1,0,0,9,9,golf,?\n")
    assert main(["score-tubes", found, "--ground-truth", str(folder / "gt.json")]) == 1
    assert "line 5, column 8 (score): '?'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        ("a,1,0.1,0.2,0.3,0.9,golf,0.5\n", [], "boxes seem to be fractions; expected pixels"),
        (GOOD, ["--split", "3"], "--split 3: expected a number of 1 to 2, or all"),
        (GOOD, ["--split", "first"], "--split first"),
        (GOOD, ["--tubes", "{folder}/gt.json", "{folder}/gt.json"], "--tubes: 2 files for 1 split(s)"),
        (GOOD, ["--tubes", "{folder}/nowhere.csv"], "nowhere.csv cannot be read"),
        (GOOD, ["--json", "{folder}/gt.json"], "gt.json exists already"),
        (GOOD, ["--json", "{folder}/found.csv", "--overwrite"], "found.csv is a file that is read"),
        (GOOD, ["--json", "{folder}/none/out.json"], "no folder"),
        (b"\xff\xfe\x00", [], "found.csv is not text"),
    ],
)
def test_what_else_may_be_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, arguments: list[str], reason: str
) -> None:
    found = folder / "found.csv"
    found.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    filled = [argument.format(folder=folder) for argument in arguments]
    assert main(["score-tubes", str(found), "--ground-truth", str(folder / "gt.json"), *filled]) == 1
    assert reason in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ([0, 2, 4], "line 6: tube 1 of 'a', class 'golf': frame 3 follows 1; expected one box in every frame"),
        ([1, 0, 2, 2], "line 8: tube 1 of 'a', class 'golf': frame 3 stands in line 7, too; expected one box"),
        ([2, 1, 0, 1], "line 8: tube 1 of 'a', class 'golf': frame 2 stands in line 6, too; expected one box"),
    ],
)
def test_a_tube_without_one_box_a_frame(
    folder: Path, capsys: pytest.CaptureFixture[str], order: list[int], reason: str
) -> None:
    found = write(folder / "found.csv", GOOD)
    good = rows("b", "golf", 0.5, still(1, 2), 1) + rows("a", "golf", 0.5, still(1, 1), 0) + "\n"
    tubes = write(folder / "tubes.csv", good + rows("a", "1", 0.5, still(1, 9)[order], 1))
    assert main(["score-tubes", found, "--ground-truth", str(folder / "gt.json"), "--tubes", tubes]) == 1
    assert re.search(rf"tubes\.csv, {re.escape(reason)}", capsys.readouterr().err)


def test_a_header_before_tubes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write(folder / "found.csv", GOOD)
    tubes = write(folder / "tubes.csv", "video,frame,x1,y1,x2,y2,class,score,tube\n" + GOOD + ",1\n")
    assert main(["score-tubes", found, "--ground-truth", str(folder / "gt.json"), "--tubes", tubes]) == 1
    assert "tubes.csv, line 1: this is a header; delete it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gap", "reason"),
    [
        ("-1", "'-1' is not a whole number of at least 0"),
        ("few", "'few' is not a whole number of at least 0"),
        ("1.5", "1.5 is not a whole number"),
    ],
)
def test_gaps_are_counted(folder: Path, capsys: pytest.CaptureFixture[str], gap: str, reason: str) -> None:
    with pytest.raises(SystemExit):
        main(["score-tubes", "a.csv", "--ground-truth", str(folder / "gt.json"), "--max-gap", gap])
    assert f"--max-gap: {reason}" in capsys.readouterr().err


def test_no_tubes_at_all(folder: Path) -> None:
    found = write(folder / "found.csv", rows("a", "golf", 0.5, still(1, 10)))
    result = score(folder, found, "--tubes", write(folder / "tubes.csv", ""))
    assert (result["frame_mAP@0.5"], result["video_mAP@0.2"]) == (0.5, 0)


def test_no_detections_at_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(folder, write(folder / "found.csv", ""))["frame_mAP@0.5"] == 0
    assert "2 of 2 videos have no detections" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jhmdb_real_small", "jhmdb_synth_multi", "jhmdb_synth_tied"])
@pytest.mark.parametrize("rule", ["act", "hit"])
def test_published_values(shared: Path, tmp_path: Path, name: str, rule: str) -> None:
    """From files to numbers, equal scores included."""
    golden = json.loads((shared / f"reference/ava_evaluation/goldens/{name}.json").read_text())
    names = [video["name"] for video in golden["videos"]]
    videos = {
        video["name"]: VideoTruth(
            video["nframes"],
            240,
            320,
            {int(column): tuple(map(np.array, tubes)) for column, tubes in video["gt_tubes"].items()},
        )
        for video in golden["videos"]
    }
    write_jhmdb(tmp_path / "gt.json", JhmdbTruth(tuple(golden["labels"]), videos, ((),), (tuple(names),)))
    found = "".join(
        f"{names[int(video)]},{int(frame)},{','.join(map(repr, box))},{golden['labels'][int(column)]},{value!r}\n"
        for video, frame, column, value, *box in golden["frame_detections"]
    )
    tubes = "".join(
        rows(video, str(int(column) + 1), tube["score"], np.array(tube["boxes_frame_x1_y1_x2_y2"]), number)
        for video, columns in golden["tubes"].items()
        for column, own in columns.items()
        for number, tube in enumerate(own)
    )
    tube_file = write(tmp_path / "tubes.csv", tubes)
    result = score(tmp_path, write(tmp_path / "found.csv", found), "--tubes", tube_file, "--rule", rule)
    expected = golden["expected_percent"][rule.upper()]
    for measure, values in expected.items():
        assert 100 * result[measure] == pytest.approx(values["mean"], abs=1e-12)
        for category, value in values.get("AP", {}).items():
            assert 100 * result["AP"][measure][category] == value


def test_starts_without_torch(folder: Path) -> None:
    found = write(folder / "found.csv", GOOD)
    code = "import sys; from acrn_zoo.cli import main; main(sys.argv[1:]); sys.exit(3 if 'torch' in sys.modules else 0)"
    arguments = ["score-tubes", found, "--ground-truth", str(folder / "gt.json")]
    assert subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True).returncode == 0
