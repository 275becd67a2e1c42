"""The doctor: a healthy dataset gives nothing, each planted fault gives itself and nothing else."""

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from acrn_zoo import dataset_check
from acrn_zoo.data.dataset import EvaluationDataset, TrainingDataset
from acrn_zoo.data.folder import DatasetError, DatasetFolder, Split, VideoEntry, write_dataset_folder
from acrn_zoo.data.manifest import ManifestEntry
from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.dataset_check import check_dataset, draw_samples, report_as_json, report_as_text
from acrn_zoo.dataset_check.annotations import BoxWords, check_boxes
from acrn_zoo.dataset_check.geometry import off_by_one
from acrn_zoo.dataset_check.sources import Source, read_source
from acrn_zoo.dataset_check.videos import check_times
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import ANNOTATION_COLUMNS, read_annotations, read_predictions, read_proposals, write_table

SIZE = (96, 128)
NUM_KEYFRAMES = 31
VIDEOS = {"kitchen": "train", "garden": "train", "street": "val"}
CORNERS = ["x1", "y1", "x2", "y2"]

Plant = Callable[[Path], object]


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of three people, each of whom does one thing; proposals and predictions that meet them."""
    root = tmp_path_factory.mktemp("healthy") / "dataset"
    (root / "videos").mkdir(parents=True)
    rows = []
    for seed, video_id in enumerate(VIDEOS):
        video = write_synthetic_video(root / "videos" / f"{video_id}.mp4", seed=seed, size=SIZE, frame_rate=8)
        for index in range(NUM_KEYFRAMES):
            boxes = video.boxes(index / 8).double().numpy() / [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
            rows += [[video_id, index / 8, *box.clip(0, 1).round(4), n, n] for n, box in enumerate(boxes, start=1)]
    table = pd.DataFrame(rows, columns=["video_id", "timestamp", *CORNERS, "action_id", "person_id"])
    splits = {name: table[table["video_id"].map(VIDEOS) == name] for name in ("train", "val")}
    for name, split in splits.items():
        write_table(root / f"{name}.csv", split)
        (root / f"{name}_excluded.csv").write_text("kitchen,3.999\n")
    write_table(root / "train_proposals.csv", _jittered(splits["train"]).assign(score=0.95).drop(columns=["action_id"]))
    proposals = {
        f"{video_id},{timestamp}": np.column_stack([rows[CORNERS], np.full(len(rows), 0.95)])
        for (video_id, timestamp), rows in _jittered(splits["val"]).groupby(["video_id", "timestamp"])
    }
    (root / "val_proposals.pkl").write_bytes(pickle.dumps(proposals))
    write_table(root / "predictions.csv", _predicted(splits["val"]))
    folder = DatasetFolder(
        root,
        "example",
        LabelMap({1: "walk", 2: "stand", 3: "wave (a hand)"}),
        {
            "train": Split(root / "train.csv", root / "train_excluded.csv", root / "train_proposals.csv"),
            "val": Split(root / "val.csv", root / "val_excluded.csv", root / "val_proposals.pkl"),
        },
        {video_id: VideoEntry(root / "videos" / f"{video_id}.mp4") for video_id in VIDEOS},
    )
    write_dataset_folder(folder)
    check_dataset(root)  # makes the manifest, so that copies need not open the videos again
    return root


def _jittered(table: pd.DataFrame) -> pd.DataFrame:
    noise = np.random.default_rng(0).uniform(-0.004, 0.004, (len(table), 4))
    boxes = (table[CORNERS] + noise).clip(0, 1)
    return table.drop(columns="person_id").assign(**boxes)


def _predicted(table: pd.DataFrame) -> pd.DataFrame:
    """Every class for every box, the true one with a high score."""
    boxes = _jittered(table)
    noise = np.random.default_rng(1).uniform(0, 0.2, (3, len(table)))
    return pd.concat(
        [
            boxes.assign(action_id=number, score=0.7 * (boxes["action_id"] == number) + noise[number - 1])
            for number in (1, 2, 3)
        ]
    )


@pytest.fixture
def folder(healthy: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "dataset"
    shutil.copytree(healthy, copy)
    return copy


def kinds_of(report: dataset_check.Report) -> list[str]:
    return sorted({finding.kind for finding in report.findings})


def test_a_healthy_dataset_gives_nothing(folder: Path) -> None:
    report = check_dataset(folder, predictions=folder / "predictions.csv")
    assert report.findings == ()
    assert report.is_healthy
    assert report.splits["train"].class_counts == {1: 62, 2: 62, 3: 62}
    assert report.splits["val"].num_boxes == 93
    assert report.splits["val"].num_keyframes == 31
    assert report.splits["train"].num_videos == 2
    assert report.splits["val"].proposal_recall == 1.0
    assert report.predictions is not None
    assert (report.predictions.split, report.predictions.met_keyframes, report.predictions.recall) == ("val", 1, 1)
    text = report_as_text(report)
    assert "wave (a hand)" in text
    assert text.endswith("Nothing is wrong.")


def annotations(split: str, change: Callable[[pd.DataFrame], Any]) -> Plant:
    """A fault in the annotations; ``change`` returns the new table, or changes it in place."""

    def plant(folder: Path) -> None:
        table = read_annotations(folder / f"{split}.csv").astype({"video_id": object})
        changed = change(table)
        write_table(folder / f"{split}.csv", table if changed is None else changed)

    return plant


def put(rows: Any, column: str | list[str], value: Any) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[rows, column] = value

    return change


def entry(change: Callable[[dict[str, Any]], Any]) -> Plant:
    """A fault in dataset.json."""

    def plant(folder: Path) -> None:
        content = json.loads((folder / "dataset.json").read_text())
        change(content)
        (folder / "dataset.json").write_text(json.dumps(content))

    return plant


def proposals(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Plant:
    def plant(folder: Path) -> None:
        table = read_proposals(folder / "train_proposals.csv").astype({"video_id": object})
        write_table(folder / "train_proposals.csv", change(table))

    return plant


def change_pickle(folder: Path, key: str, value: np.ndarray) -> None:
    path = folder / "val_proposals.pkl"
    content = pickle.loads(path.read_bytes())
    assert key in content
    path.write_bytes(pickle.dumps({**content, key: value}))


def text(name: str, content: str) -> Plant:
    return lambda folder: (folder / name).write_text(content)


def appended(name: str, content: str) -> Plant:
    return lambda folder: (folder / name).write_text((folder / name).read_text() + content)


def pixels(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x1=table.x1 * 340, x2=table.x2 * 340, y1=table.y1 * 256, y2=table.y2 * 256)


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """With one that reaches to 100, below the 96 pixels of the frame."""
    return table.assign(**(table[CORNERS] * 100)).assign(y2=lambda t: t.y2.where(t.index > 0, 100))


def small_pixels(table: pd.DataFrame) -> pd.DataFrame:
    """None beyond 100, but within the frame."""
    return table.assign(x1=table.x1 * 50, x2=table.x2 * 50, y1=table.y1 * 96, y2=table.y2 * 96)


def width_height(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x2=table.x2 - table.x1, y2=table.y2 - table.y1)


def swapped(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x1=table.y1, y1=table.x1, x2=table.y2, y2=table.x2)


def cut_video(folder: Path) -> None:
    path = folder / "videos" / "street.mp4"
    path.write_bytes(path.read_bytes()[:-2000])


def other_offset(folder: Path) -> None:
    """Annotations that count the film's seconds, for a cut of it."""
    annotations("val", lambda table: table.assign(timestamp=table["timestamp"] + 900))(folder)
    entry(lambda content: content["splits"]["val"].update(proposals=None))(folder)


def same_content(folder: Path) -> None:
    shutil.copyfile(folder / "videos" / "kitchen.mp4", folder / "videos" / "street.mp4")


def frame_numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(timestamp=(table["timestamp"] * 8).round())


def milliseconds(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(timestamp=(table["timestamp"] * 1000).round())


def without(split: str, name: str) -> Plant:
    return entry(lambda content: content["splits"][split].update({name: None}))


def both(*plants: Plant) -> Plant:
    def plant(folder: Path) -> None:
        for each in plants:
            each(folder)

    return plant


FAULTS: dict[str, tuple[Plant, str, str, int | None]] = {
    # name: plant, kind, severity, count
    "id 0 to 2": (
        both(*(annotations(split, lambda t: t.assign(action_id=t.action_id - 1)) for split in ("train", "val"))),
        "ids-off-by-one",
        "error",
        186,
    ),
    "id 2 to 4": (
        both(*(annotations(split, lambda t: t.assign(action_id=t.action_id + 1)) for split in ("train", "val"))),
        "ids-off-by-one",
        "error",
        186,
    ),
    "id 99": (annotations("train", put([4, 5], "action_id", 99)), "unknown-class", "error", 2),
    "pixels": (annotations("val", pixels), "boxes-in-pixels", "error", 93),
    "two boxes in pixels": (annotations("val", put([0, 4], CORNERS, [10, 10, 90, 90])), "boxes-in-pixels", "error", 2),
    "a little outside": (annotations("val", put(3, "x2", 1.02)), "boxes-outside", "warning", 1),
    "far outside": (annotations("val", put(3, ["x1", "x2"], [0.9, 1.6])), "boxes-outside", "error", 1),
    "inverted": (annotations("val", put(3, ["y1", "y2"], [0.9, 0.1])), "boxes-inverted", "error", 1),
    "flat": (annotations("val", put(3, ["y1", "y2"], 0.5)), "boxes-empty", "error", 1),
    "boxes in percent": (annotations("val", percent), "boxes-in-percent", "error", 93),
    "boxes in pixels of a small frame": (annotations("val", small_pixels), "boxes-in-pixels", "error", 93),
    "widths": (annotations("val", width_height), "boxes-as-width-height", "error", None),
    "nobody": (appended("val.csv", "street,3.9\n"), "keyframes-without-people", "note", 1),
    "twice": (annotations("val", lambda t: pd.concat([t, t.iloc[5:8]])), "duplicate-rows", "warning", 3),
    "two persons, one box": (
        annotations("val", lambda t: pd.concat([t, t.iloc[[5]].assign(action_id=1, person_id=7)])),
        "contradictory-person-ids",
        "warning",
        1,
    ),
    "one moment too late": (annotations("val", put([90, 91, 92], "timestamp", 99)), "timestamps-outside", "error", 3),
    "before the start": (annotations("val", put([0, 1, 2], "timestamp", -2)), "timestamps-outside", "error", 3),
    "frames": (
        both(without("val", "proposals"), annotations("val", frame_numbers)),
        "timestamps-in-frames",
        "error",
        None,
    ),
    "milliseconds": (annotations("val", milliseconds), "timestamps-in-milliseconds", "error", None),
    "offset": (other_offset, "wrong-offset", "error", 93),
    "excluded": (text("val_excluded.csv", "street,0.5\nstreet,0.625\n"), "excluded-keyframes", "warning", 6),
    "excluded and without proposals": (
        both(
            text("train_excluded.csv", "kitchen,0\n"),
            proposals(lambda t: t[(t.video_id != "kitchen") | (t.timestamp > 0)]),
        ),
        "excluded-keyframes",
        "warning",
        3,
    ),
    "rare": (
        annotations("val", lambda t: t.assign(action_id=t.action_id.where((t.action_id != 3) | (t.index < 30), 2))),
        "rare-classes",
        "note",
        1,
    ),
    "rare to learn from": (
        annotations("train", lambda t: t.assign(action_id=t.action_id.where((t.action_id != 3) | (t.index < 30), 2))),
        "rare-classes",
        "note",
        1,
    ),
    "one name for two classes": (
        entry(lambda content: content["classes"].update({"2": "walk"})),
        "classes-of-one-name",
        "warning",
        1,
    ),
    "never trained": (
        annotations("train", lambda t: t.assign(action_id=t.action_id.replace(3, 2))),
        "untrained-classes",
        "warning",
        1,
    ),
    "never measured": (
        annotations("val", lambda t: t.assign(action_id=t.action_id.replace(3, 2))),
        "unmeasured-classes",
        "note",
        1,
    ),
    "unused": (
        entry(lambda content: content.update(classes=content["classes"] | {"4": "sit"}, evaluated=[])),
        "unused-classes",
        "note",
        1,
    ),
    "leak": (
        both(
            annotations("train", lambda t: t.assign(video_id=t.video_id.replace("garden", "street"))),
            without("train", "proposals"),
            entry(lambda content: content["videos"].pop("garden")),
        ),
        "leaked-videos",
        "error",
        1,
    ),
    "same file": (same_content, "leaked-file", "error", 2),
    "same path": (
        entry(lambda content: content["videos"]["garden"].update(path="videos/kitchen.mp4")),
        "same-file",
        "warning",
        2,
    ),
    "not listed": (entry(lambda content: content["videos"].pop("street")), "unlisted-videos", "error", 1),
    "listed with ending": (
        both(without("val", "proposals"), annotations("val", lambda t: t.assign(video_id="videos/street.mp4"))),
        "unlisted-videos",
        "error",
        1,
    ),
    "not annotated": (
        entry(lambda content: content["videos"].update(film=content["videos"]["street"] | {"path": "videos/film.mp4"})),
        "unannotated-videos",
        "note",
        1,
    ),
    "missing video": (lambda folder: (folder / "videos" / "street.mp4").unlink(), "missing-videos", "error", 1),
    "cut video": (cut_video, "damaged-videos", "error", 1),
    "no offset": (entry(lambda content: content["videos"]["street"].update(offset=None)), "unknown-offset", "error", 1),
    "missing annotations": (lambda folder: (folder / "val.csv").unlink(), "missing-file", "error", 1),
    "missing proposals": (lambda folder: (folder / "val_proposals.pkl").unlink(), "missing-file", "error", 1),
    "empty annotations": (text("val.csv", ""), "empty-file", "error", 1),
    "header": (
        lambda folder: text(
            "val.csv", "video_id,timestamp,x1,y1,x2,y2,action_id,person_id\n" + (folder / "val.csv").read_text()
        )(folder),
        "malformed-rows",
        "error",
        1,
    ),
    "words": (appended("val.csv", "street,1,0,0,1,x,1,1\nstreet,1,0,0\n"), "malformed-rows", "error", 2),
    "no table": (text("val.csv", "<html>\n</html>\n"), "unreadable-file", "error", 1),
    "no pickle": (text("val_proposals.pkl", "<html>"), "unreadable-file", "error", 1),
    "malformed exclusions": (appended("val_excluded.csv", "street\n"), "malformed-rows", "error", 1),
    "no proposals at 4 keyframes": (proposals(lambda t: t.iloc[12:]), "keyframes-without-proposals", "warning", 4),
    "proposals of other videos": (
        proposals(lambda t: t.assign(video_id=t.video_id + ".mp4")),
        "keyframes-without-proposals",
        "error",
        62,
    ),
    "proposals in pixels": (proposals(pixels), "proposal-boxes-in-pixels", "error", 186),
    "proposals swapped": (proposals(swapped), "proposal-boxes-swapped", "error", None),
    "proposals in percent": (
        proposals(percent),
        "proposal-boxes-in-percent",
        "error",
        186,
    ),
    "proposal without area": (
        appended("train_proposals.csv", "kitchen,0,1,0.1,1,0.5,0.9\n"),
        "proposal-boxes-empty",
        "note",
        1,
    ),
    "proposals of nobody": (
        proposals(lambda t: t.assign(**{name: t[name].where(t.timestamp > 0) for name in [*CORNERS, "score"]})),
        "keyframes-with-nobody-proposed",
        "warning",
        2,
    ),
    "nobody in a pickle": (
        lambda folder: change_pickle(folder, "street,0.5", np.zeros((0, 5))),
        "keyframes-with-nobody-proposed",
        "warning",
        1,
    ),
    "percent": (proposals(lambda t: t.assign(score=95)), "proposal-scores", "error", 186),
    "low recall": (proposals(lambda t: t[t.index % 3 > 0]), "proposal-recall", "warning", 58),
}


@pytest.mark.parametrize("name", FAULTS)
def test_finds_the_planted_fault_and_no_other(folder: Path, name: str) -> None:
    plant, kind, severity, count = FAULTS[name]
    plant(folder)
    report = check_dataset(folder)
    expected = [kind, "missing-videos"] if name == "not annotated" else [kind]
    assert kinds_of(report) == sorted(expected), report_as_text(report)
    finding = next(finding for finding in report.findings if finding.kind == kind)
    assert (finding.severity, count or finding.count) == (severity, finding.count)
    assert finding.message
    assert finding.advice
    assert report.is_healthy == (severity != "error" and name != "not annotated")


@pytest.mark.parametrize("action", ["1", ""])
def test_proposals_of_pyslowfast_are_read_too(folder: Path, action: str) -> None:
    """Their rows have a column of actions, which may be empty."""
    table = read_proposals(folder / "train_proposals.csv")
    rows = [f"{','.join(map(str, row[:6]))},{action},{row[6]}\n" for row in table.itertuples(index=False)]
    (folder / "train_proposals.csv").write_text("".join(rows))
    report = check_dataset(folder, with_videos=False)
    assert report.findings == ()
    assert report.splits["train"].proposal_recall == 1.0


def test_pickled_proposals_may_have_no_scores_or_wrong_ones(folder: Path) -> None:
    content = pickle.loads((folder / "val_proposals.pkl").read_bytes())
    bare = {key: boxes[:, :4] for key, boxes in content.items()}
    (folder / "val_proposals.pkl").write_bytes(pickle.dumps(bare))
    assert check_dataset(folder, with_videos=False).findings == ()
    (folder / "val_proposals.pkl").write_bytes(pickle.dumps({key: boxes * 100 for key, boxes in content.items()}))
    report = check_dataset(folder, with_videos=False)
    assert kinds_of(report) == ["proposal-boxes-in-percent", "proposal-scores"]
    assert report.findings[0].examples[0].startswith("val_proposals.pkl: street at 0 s: ")
    (folder / "val_proposals.pkl").write_bytes(pickle.dumps([1, 2]))
    assert kinds_of(check_dataset(folder, with_videos=False)) == ["unreadable-file"]


def test_several_faults_at_once_are_all_reported_the_worst_first(folder: Path) -> None:
    for name in ("id 99", "twice", "far outside", "nobody", "cut video", "percent"):
        FAULTS[name][0](folder)
    report = check_dataset(folder)
    assert kinds_of(report) == [
        "boxes-outside",
        "damaged-videos",
        "duplicate-rows",
        "keyframes-without-people",
        "proposal-scores",
        "unknown-class",
    ]
    severities = [finding.severity for finding in report.findings]
    assert severities == ["error"] * 4 + ["warning", "note"]


def predicted(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Plant:
    def plant(folder: Path) -> None:
        table = read_predictions(folder / "predictions.csv").astype({"video_id": object})
        write_table(folder / "predictions.csv", change(table))

    return plant


def shifted(seconds: float) -> Plant:
    return predicted(lambda table: table.assign(timestamp=table["timestamp"] + seconds))


def uneven(table: pd.DataFrame) -> pd.DataFrame:
    """The times of the frames that were taken, not those of the keyframes."""
    return table.assign(timestamp=table["timestamp"] + 0.001 + table["timestamp"] % 0.5 / 50)


def squeezed(table: pd.DataFrame) -> pd.DataFrame:
    """Divided by the size of the frame, though found in a picture half as wide and 3/4 as high."""
    return table.assign(x1=table.x1 * 0.5, x2=table.x2 * 0.5, y1=table.y1 * 0.75, y2=table.y2 * 0.75)


def inverted(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x2=table.x2.where(table.index > 0, 0.0))


PREDICTION_FAULTS: dict[str, tuple[Plant, list[str], str, str]] = {
    # name: plant, kinds, severity, what the message says
    "ending": (
        predicted(lambda t: t.assign(video_id=t.video_id + ".mp4")),
        ["predictions-other-videos"],
        "error",
        "not written as in val",
    ),
    "path": (
        predicted(lambda t: t.assign(video_id="data/videos/" + t.video_id)),
        ["predictions-other-videos"],
        "error",
        "a path, an ending",
    ),
    "other videos": (
        predicted(lambda t: t.assign(video_id="beach")),
        ["predictions-other-videos"],
        "error",
        "No video of predictions.csv is one of val",
    ),
    "900 s": (shifted(900), ["predictions-shifted"], "error", "would if you subtract 900 s"),
    "-900 s": (shifted(-900), ["predictions-shifted"], "error", "would if you add 900 s"),
    "fractions": (predicted(uneven), ["predictions-shifted"], "error", "round them"),
    "a second": (shifted(1.0), ["predictions-shifted"], "error", "1 s earlier"),
    "unusual shift": (shifted(40.3), ["predictions-shifted"], "error", "subtract 40.3 s"),
    "milliseconds": (predicted(milliseconds), ["predictions-shifted"], "error", "divide them by 1000"),
    "other times": (
        predicted(lambda t: t.assign(timestamp=t.timestamp * 3.3 + 0.05)),
        ["predictions-other-times"],
        "error",
        "hardly",
    ),
    "pixels": (predicted(pixels), ["predictions-in-pixels"], "error", "of a frame of about 340x256"),
    "boxes in percent": (
        predicted(lambda t: t.assign(**(t[CORNERS] * 100))),
        ["predictions-in-percent"],
        "error",
        "in percent",
    ),
    "widths": (predicted(width_height), ["predictions-as-width-height"], "error", "Read as x, y, width, height"),
    "swapped": (predicted(swapped), ["predictions-swapped"], "error", "x and y exchanged"),
    "pixels, swapped": (
        predicted(lambda t: swapped(pixels(t))),
        ["predictions-in-pixels", "predictions-swapped"],
        "error",
        "",
    ),
    "wrong size": (
        predicted(squeezed),
        ["predictions-wrong-size"],
        "error",
        "0.50 times too large in x and 0.75 times",
    ),
    "other boxes": (
        predicted(lambda t: t.assign(x1=0.0, y1=0.0, x2=0.01, y2=0.01 + t.index % 7 / 1000)),
        ["predictions-other-boxes"],
        "error",
        "hardly ever meet",
    ),
    "inverted": (predicted(inverted), ["predictions-inverted"], "error", "evaluation drops"),
    "id 0 to 2": (
        predicted(lambda t: t.assign(action_id=t.action_id - 1)),
        ["predictions-ids-off-by-one"],
        "error",
        "too small",
    ),
    "id 2 to 4": (
        predicted(lambda t: t.assign(action_id=t.action_id + 1)),
        ["predictions-ids-off-by-one"],
        "error",
        "too large",
    ),
    "ids in the map, but moved": (
        predicted(lambda t: t[t.action_id < 3].assign(action_id=t.action_id + 1)),
        ["predictions-ids-off-by-one"],
        "error",
        "too large",
    ),
    "further ids": (
        predicted(lambda t: pd.concat([t, t.iloc[:2].assign(action_id=[50, 70])])),
        ["predictions-unknown-class"],
        "warning",
        "2 rows",
    ),
    "equal scores": (predicted(lambda t: t.assign(score=0.5)), ["scores-equal"], "error", "nothing to rank by"),
    "no scores": (predicted(lambda t: t.drop(columns="score")), ["scores-equal"], "error", "are 1"),
    "percent": (predicted(lambda t: t.assign(score=t.score * 100)), ["scores-in-percent"], "warning", "percent"),
    "logits": (predicted(lambda t: t.assign(score=t.score - 0.5)), ["scores-outside"], "warning", "logits"),
    "nan": (
        lambda folder: (folder / "predictions.csv").write_text(
            (folder / "predictions.csv").read_text() + "street,1,0,0,1,1,1,nan\n"
        ),
        ["malformed-rows"],
        "error",
        "'nan', expected a finite number",
    ),
    "cut short": (
        predicted(lambda t: t[t.timestamp < 3]),
        ["keyframes-without-predictions"],
        "warning",
        "7 keyframes of 31",
    ),
    "missing": (lambda folder: (folder / "predictions.csv").unlink(), ["missing-file"], "error", "no file"),
    "three at once": (
        both(predicted(lambda t: t.assign(video_id=t.video_id + ".mp4")), shifted(900), predicted(pixels)),
        ["predictions-in-pixels", "predictions-other-videos", "predictions-shifted"],
        "error",
        "",
    ),
}


@pytest.mark.parametrize("name", PREDICTION_FAULTS)
def test_says_why_predictions_do_not_meet_the_truth(folder: Path, name: str) -> None:
    plant, kinds, severity, words = PREDICTION_FAULTS[name]
    plant(folder)
    report = check_dataset(folder, predictions=folder / "predictions.csv", with_videos=False)
    assert kinds_of(report) == kinds, report_as_text(report)
    assert {finding.severity for finding in report.findings} == {severity}
    assert words in report.findings[0].message


@pytest.mark.parametrize("name", ["pixels", "widths", "id 0 to 2"])
def test_predictions_are_not_blamed_for_faults_of_the_truth(folder: Path, name: str) -> None:
    plant, kind, _, _ = FAULTS[name]
    plant(folder)
    assert kinds_of(check_dataset(folder, predictions=folder / "predictions.csv", with_videos=False)) == [kind]


def test_predictions_are_compared_with_the_split_whose_keyframes_they_meet(folder: Path) -> None:
    write_table(folder / "train_predictions.csv", _predicted(read_annotations(folder / "train.csv")))
    report = check_dataset(folder, predictions=folder / "train_predictions.csv", with_videos=False)
    assert report.findings == ()
    assert report.predictions is not None
    assert report.predictions.split == "train"


def test_a_missing_file_of_predictions_is_not_explained_with_dataset_json(folder: Path) -> None:
    (finding,) = check_dataset(folder, predictions=folder / "nope.csv", with_videos=False).findings
    assert "nope.csv, where --predictions expects the predictions" in finding.message
    assert "dataset.json" not in finding.message + finding.advice


def test_a_video_without_any_prediction_is_not_overlooked(folder: Path) -> None:
    table = _predicted(read_annotations(folder / "train.csv"))
    write_table(folder / "predictions.csv", table[table["video_id"] == "kitchen"])
    (finding,) = check_dataset(folder, predictions=folder / "predictions.csv", with_videos=False).findings
    assert finding.message.startswith("31 keyframes of 62 in train without a prediction")
    assert finding.examples[0] == "garden at 0 s"


def test_a_biased_model_that_sees_nothing_is_no_shift_of_ids(folder: Path) -> None:
    """An untrained model scores one class above the others, whoever it looks at, and most people do one thing."""
    annotations("val", lambda t: t.assign(action_id=t.action_id.where(t.index % 5 == 0, 1)))(folder)
    table = read_predictions(folder / "predictions.csv")
    noise = np.random.default_rng(2).uniform(0, 0.05, len(table))
    write_table(folder / "predictions.csv", table.assign(score=0.5 * (table["action_id"] == 2) + noise))
    report = check_dataset(folder, predictions=folder / "predictions.csv", with_videos=False)
    assert kinds_of(report) == ["rare-classes"]


def entry_of(duration: float, frame_rate: float = 30.0) -> ManifestEntry:
    names = [field.name for field in fields(ManifestEntry)]
    values: dict[str, Any] = {
        **dict.fromkeys(names),
        "duration": duration,
        "frame_rate": frame_rate,
        "offset": 0.0,
        "problems": (),
    }
    return ManifestEntry(**values)


@pytest.mark.parametrize(
    ("timestamps", "duration"),
    [
        ([*range(950, 2000, 10), 2001], 2000.0),  # one is too late, although a shift by 900 s would fit all
        (range(10), 4.0),  # as milliseconds or frames they would all be at the very beginning
        ([0.5, 1.5, 70.5, 71.5, 72.5], 4.0),
    ],
)
def test_moments_outside_are_not_explained_by_what_is_unlikely(timestamps: Sequence[float], duration: float) -> None:
    table = pd.DataFrame({"video_id": "film", "timestamp": np.array(timestamps, dtype=float)})
    source = Source(Path("val.csv"), table.astype({"video_id": "category"}), None)
    (finding,), is_outside = check_times(source, {"film": entry_of(duration)})
    assert finding.kind == "timestamps-outside"
    assert is_outside.tolist() == [timestamp > duration for timestamp in timestamps]


@pytest.mark.parametrize(
    ("counts", "known", "elsewhere", "shift"),
    [
        ({0: 5, 1: 5, 2: 5}, (1, 2, 3), (), 1),
        ({0: 5, 1: 5, 2: 5}, (1, 2, 3), (0, 1), 1),
        ({0: 5, 1: 5, 2: 5}, (1, 2, 3), (1, 3), None),  # the 3 of the other file
        ({2: 5, 3: 5, 4: 5}, (1, 2, 3), (), -1),
        ({2: 5, 3: 5, 4: 5}, (1, 2, 3), (1,), None),
        ({2: 41, 3: 21, 4: 1}, (1, 2, 3), (), None),  # a slip of the pen
        ({5: 1, 81: 1}, tuple(range(1, 81)), (), None),  # would not reach down to 1
        ({2: 1, 81: 1}, tuple(range(1, 81)), (), -1),
        (dict.fromkeys(range(1, 80), 100) | {0: 30}, tuple(range(1, 81)), (), 1),  # rare as some classes are
        ({4: 5, 5: 5}, (5, 6), (), 1),  # classes that do not begin with 1
        ({4: 5, 5: 5}, (5, 6, 7), (), None),
        ({4: 5}, (5,), (), None),
        ({1: 5, 2: 5}, (1, 2, 3), (), None),
        ({0: 5, 3: 5}, (1, 2, 3), (), None),
    ],
)
def test_ids_are_off_by_one_only_with_evidence(
    counts: dict[int, int], known: tuple[int, ...], elsewhere: tuple[int, ...], shift: int | None
) -> None:
    assert off_by_one(counts, known, elsewhere) == shift


@pytest.mark.parametrize(
    "plant",
    [
        annotations("val", lambda t: t.assign(action_id=t.action_id - 1)),  # the other split has ids of the classes
        both(
            annotations("train", lambda t: t.assign(action_id=t.action_id.replace(1, 2))),
            annotations("val", lambda t: t.assign(action_id=t.action_id.replace(1, 2).where(t.index != 2, 4))),
        ),
    ],
    ids=["one split alone", "a slip of the pen"],
)
def test_sound_ids_are_not_to_be_shifted(folder: Path, plant: Plant) -> None:
    plant(folder)
    report = check_dataset(folder)
    assert "unknown-class" in kinds_of(report)
    assert "ids-off-by-one" not in kinds_of(report)


def test_percent_are_not_taken_for_pixels_where_the_frames_are_large_or_unknown(folder: Path) -> None:
    annotations("val", lambda table: table.assign(**(table[CORNERS] * 80)))(folder)
    assert kinds_of(check_dataset(folder, with_videos=False)) == ["boxes-in-percent"]
    source = read_source(folder / "val.csv", read_annotations, ANNOTATION_COLUMNS, "annotations of val")[0]
    assert source is not None
    for size, kind in (((1280, 720), "boxes-in-percent"), ((128, 96), "boxes-in-pixels")):
        (finding,) = check_boxes(source, BoxWords(), {"street": size})
        assert finding.kind == kind


def test_many_names_of_one_file_are_not_all_listed(folder: Path) -> None:
    copies = {f"copy {number}": {"path": "videos/kitchen.mp4", "offset": 0} for number in range(40)}
    entry(lambda content: content["videos"].update(copies))(folder)
    (finding,) = [finding for finding in check_dataset(folder).findings if finding.kind == "same-file"]
    assert finding.message == "1 video file under several video ids."
    assert finding.count == 41
    assert finding.examples == ("kitchen, copy 0, copy 1 and 38 more",)


@pytest.mark.parametrize("name", ["val.csv", "train_proposals.csv", "val_excluded.csv"])
def test_a_file_that_may_not_be_read_is_a_finding(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def forbidding(opened: Callable[..., Any]) -> Callable[..., Any]:
        def open_allowed(file: Any, *arguments: Any, **options: Any) -> Any:
            if Path(str(file)).name == name:
                raise PermissionError(13, "Permission denied", str(file))
            return opened(file, *arguments, **options)

        return open_allowed

    monkeypatch.setattr("builtins.open", forbidding(open))
    monkeypatch.setattr(Path, "open", forbidding(Path.open))
    (finding,) = check_dataset(folder, with_videos=False).findings
    assert (finding.kind, finding.severity) == ("unreadable-file", "error")
    assert f"{name} cannot be read (Permission denied)" in finding.message


def test_a_dataset_without_splits(folder: Path) -> None:
    entry(lambda content: content.update(splits={}))(folder)
    kinds = {finding.kind: finding.severity for finding in check_dataset(folder).findings}
    assert kinds == {"no-splits": "warning", "unannotated-videos": "note"}


def test_what_is_said_of_keyframes_is_true(folder: Path) -> None:
    """The sentences of two findings, beside what training and evaluation do."""
    appended("train.csv", "kitchen,3.9\n")(folder)
    proposals(lambda table: table[(table.video_id != "kitchen") | (table.timestamp > 0)])(folder)
    sentences = {finding.kind: f"{finding.message} {finding.advice}" for finding in check_dataset(folder).findings}
    training = TrainingDataset.from_folder(folder)
    nobody = next(index for index in range(len(training)) if training.annotations.keyframes[index] == ("kitchen", 3.9))
    assert len(training[nobody].boxes) == 0
    assert "training reads their clips" in sentences["keyframes-without-people"]
    evaluation = EvaluationDataset.from_folder(folder, "train")
    first = next(index for index in range(len(evaluation)) if evaluation.annotations.keyframes[index] == ("kitchen", 0))
    assert evaluation[first].person_scores.tolist() == [1]
    assert "one box with score 1" in sentences["keyframes-without-proposals"]


def test_one_split_alone(folder: Path) -> None:
    FAULTS["id 99"][0](folder)  # in train
    assert check_dataset(folder, splits=["val"]).is_healthy
    assert kinds_of(check_dataset(folder, splits=["train"])) == ["unknown-class"]
    with pytest.raises(DatasetError, match="no split 'test'"):
        check_dataset(folder, splits=["test"])


def test_without_videos_nothing_is_said_of_them_and_none_is_opened(folder: Path) -> None:
    shutil.rmtree(folder / "videos")
    (folder / "manifest.json").unlink()
    assert check_dataset(folder, with_videos=False).findings == ()
    assert not (folder / "manifest.json").exists()


def test_a_folder_that_cannot_be_written_to_can_be_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "manifest.json").unlink()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert check_dataset(folder).findings == ()
    assert not (folder / "manifest.json").exists()


def test_examples_name_the_line_even_after_blank_lines(folder: Path) -> None:
    lines = (folder / "val.csv").read_text().splitlines()
    cells = lines[4].split(",")
    lines[4] = ",".join([*cells[:6], "99", cells[7]])
    (folder / "val.csv").write_text("\n\n" + "\n".join(lines) + "\n\n")
    (finding,) = check_dataset(folder, with_videos=False).findings
    assert finding.examples == ("val.csv, line 7: street at 0.125 s: id 99",)


def test_the_report_for_programs_is_json(folder: Path) -> None:
    FAULTS["percent"][0](folder)
    content = json.loads(json.dumps(report_as_json(check_dataset(folder, with_videos=False))))
    assert content["is_healthy"] is False
    assert content["findings"][0]["kind"] == "proposal-scores"
    assert content["splits"]["val"]["class_counts"] == {"1": 31, "2": 31, "3": 31}
    assert content["predictions"] is None


def test_the_histogram_shows_classes_without_examples(folder: Path) -> None:
    FAULTS["unused"][0](folder)
    lines = report_as_text(check_dataset(folder, with_videos=False)).splitlines()
    (line,) = [line for line in lines if line.startswith("    4  sit")]
    assert line.split() == ["4", "sit", "0", "0"]


def test_sample_keyframes_are_of_all_videos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = []
    draw = dataset_check.picture.draw_annotations

    def spy(*arguments: Any, caption: str) -> Any:
        captions.append(caption)
        return draw(*arguments, caption=caption)

    monkeypatch.setattr(dataset_check.picture, "draw_annotations", spy)
    sheet = draw_samples(check_dataset(folder))
    assert sheet is not None
    assert sheet.shape == (4 * (512 + 6) + 6, 3 * (640 + 6) + 6, 3)
    videos = [caption.split(": ")[1].split(" at ")[0] for caption in captions]
    assert {video: videos.count(video) for video in videos} == {"kitchen": 3, "garden": 3, "street": 6}
    assert len(set(captions)) == 12


def test_where_no_box_can_be_drawn_there_is_no_picture(folder: Path) -> None:
    for split in ("train", "val"):
        annotations(split, pixels)(folder)
    assert draw_samples(check_dataset(folder)) is None
    assert draw_samples(check_dataset(folder, with_videos=False)) is None


def test_moments_that_the_video_does_not_have_are_not_drawn(folder: Path) -> None:
    annotations("val", lambda table: table.assign(timestamp=99.0))(folder)
    assert draw_samples(check_dataset(folder, splits=["val"])) is None


def test_annotations_that_count_the_seconds_of_the_film_are_drawn_at_their_moment(folder: Path) -> None:
    before = draw_samples(check_dataset(folder, splits=["val"]))
    annotations("val", lambda table: table.assign(timestamp=table["timestamp"] + 900))(folder)
    entry(lambda content: content["videos"]["street"].update(offset=900))(folder)
    after = draw_samples(check_dataset(folder, splits=["val"]))
    assert before is not None
    assert after is not None
    captions_apart = (before != after).any(-1).float().mean()
    assert captions_apart < 0.02


def test_the_real_files_of_ava(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {
                "version": 1,
                "name": "AVA",
                "frame_rate": None,
                "classes": {str(number): f"action {number}" for number in range(1, 81)},
                "splits": {
                    "val": {
                        "annotations": str(shared / "data/ava/real_rows/gt_0902_1014.csv"),
                        "excluded": str(shared / "data/ava/ava_val_excluded_timestamps_v2.2.csv"),
                    }
                },
                "videos": {"1j20qq1JyX4": {"path": "videos/1j20qq1JyX4.mp4", "offset": None}},
            }
        )
    )
    predictions = shared / "data/ava/real_rows/ava_predicted_file_9bb5558.csv"
    report = check_dataset(tmp_path, predictions=predictions, with_videos=False)
    assert report.is_healthy
    assert set(kinds_of(report)) <= {"rare-classes", "unused-classes", "keyframes-without-predictions"}
    assert report.predictions is not None
    assert report.predictions.recall > 0.5
