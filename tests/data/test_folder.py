"""What a dataset folder says, written and read."""

import json
from pathlib import Path
from typing import Any

import pytest

from acrn_zoo.data.folder import (
    DATASET_FILE,
    LABEL_MAP_FILE,
    DatasetError,
    DatasetFolder,
    Split,
    VideoEntry,
    read_dataset_folder,
    write_dataset_folder,
)
from acrn_zoo.files import OutputError
from acrn_zoo.labels import LabelMap, read_label_map


def folder(root: Path) -> DatasetFolder:
    return DatasetFolder(
        root=root,
        name="k\xfcche",
        label_map=LabelMap({1: "cut", 4: "stir, slowly"}),
        splits={
            "train": Split(root / "train.csv", excluded=root / "x.csv", proposals=Path("/data/p.pkl")),
            "val": Split(root / "val.csv"),
        },
        videos={
            "film": VideoEntry(root / "videos" / "film.mp4"),
            "-cut": VideoEntry(Path("/films/cut.mkv"), offset=900.0),
            "open": VideoEntry(root / "frames" / "open", offset=None),
        },
        evaluated=(4,),
        frame_rate=29.97,
    )


def test_round_trip(tmp_path: Path) -> None:
    given = folder(tmp_path)
    write_dataset_folder(given)
    assert read_dataset_folder(tmp_path) == given
    assert read_dataset_folder(str(tmp_path)) == given
    assert read_label_map(tmp_path / LABEL_MAP_FILE) == given.label_map
    assert sorted(path.name for path in tmp_path.iterdir()) == [DATASET_FILE, LABEL_MAP_FILE]


def test_paths_inside_are_relative(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write_dataset_folder(folder(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_dataset_folder(tmp_path / "new") == folder(tmp_path / "new")
    content = json.loads((tmp_path / "new" / DATASET_FILE).read_text())
    assert content["splits"]["train"] == {"annotations": "train.csv", "excluded": "x.csv", "proposals": "/data/p.pkl"}


def test_paths_outside_a_relative_root_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    write_dataset_folder(
        DatasetFolder(
            root=Path("set"),
            name="set",
            label_map=LabelMap({1: "a"}),
            splits={"train": Split(Path("set/train.csv"))},
            videos={"film": VideoEntry(Path("films/film.mp4"))},
        )
    )
    read = read_dataset_folder("set")
    assert read.videos["film"].path == tmp_path / "films" / "film.mp4"
    assert read.splits["train"].annotations == Path("set/train.csv")


def test_all_classes_are_evaluated_if_nothing_is_said(tmp_path: Path) -> None:
    given = DatasetFolder(tmp_path, "a", LabelMap({2: "b", 5: "c"}), splits={}, videos={})
    assert given.evaluated == (2, 5)
    assert given.evaluated_label_map == given.label_map


def test_splits_are_found_by_name(tmp_path: Path) -> None:
    given = folder(tmp_path)
    assert given.split("val") == Split(tmp_path / "val.csv")
    with pytest.raises(DatasetError, match="there is no split 'test'; there is train, val"):
        given.split("test")


def test_names_of_those_that_are_evaluated(tmp_path: Path) -> None:
    assert folder(tmp_path).evaluated_label_map == LabelMap({4: "stir, slowly"})


def test_evaluated_must_be_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"evaluated names the ids \[2, 3\], which are no classes"):
        DatasetFolder(tmp_path, "a", LabelMap({1: "b"}), splits={}, videos={}, evaluated=(3, 1, 2))


def test_writing_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_dataset_folder(folder(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"is no dataset folder: it has no dataset.json. `acrn-zoo data import` makes one"),
        ("{", "dataset.json is not JSON"),
        ("", "dataset.json is not JSON"),
        ("[1]", r"dataset.json: the file is \[1\], expected entries in braces"),
        ("null", "dataset.json: the file is null, expected"),
        ("{}", "dataset.json: there is no 'version' in the file"),
    ],
)
def test_no_dataset(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / DATASET_FILE).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset_folder(tmp_path)


@pytest.mark.parametrize("key", ["version", "name", "classes", "splits", "videos"])
def test_missing_entries(tmp_path: Path, key: str) -> None:
    write_dataset_folder(folder(tmp_path))
    path = tmp_path / DATASET_FILE
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=f"dataset.json: there is no '{key}'"):
        read_dataset_folder(tmp_path)


@pytest.mark.parametrize("key", ["evaluated", "frame_rate"])
def test_entries_that_may_be_missing(tmp_path: Path, key: str) -> None:
    write_dataset_folder(folder(tmp_path))
    path = tmp_path / DATASET_FILE
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    assert getattr(read_dataset_folder(tmp_path), key) == {"evaluated": (1, 4), "frame_rate": None}[key]


@pytest.mark.parametrize(("entry", "offset"), [({}, 0.0), ({"offset": None}, None), ({"offset": 900}, 900.0)])
def test_offset_that_is_missing_and_that_is_to_be_found(
    tmp_path: Path, entry: dict[str, object], offset: float | None
) -> None:
    write_dataset_folder(folder(tmp_path))
    path = tmp_path / DATASET_FILE
    content = json.loads(path.read_text())
    content["videos"]["film"] = {"path": "film.mp4", **entry}
    path.write_text(json.dumps(content))
    assert read_dataset_folder(tmp_path).videos["film"] == VideoEntry(tmp_path / "film.mp4", offset)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("version",), 2, "version 2, expected 1"),
        (("classes",), {}, "needs at least one class"),
        (("classes",), {"0": "a"}, "'a' has the id 0"),
        (("classes",), {"one": "a"}, '"classes" holds "one", expected ids'),
        (("classes", "1"), 7, "the name of class 1 is 7, expected text"),
        (("classes",), ["a"], r'"classes" is \["a"\], expected entries in braces'),
        (("evaluated",), [9], r"evaluated names the ids \[9\]"),
        (("evaluated",), 4, '"evaluated" is 4, expected a list of class ids'),
        (("evaluated",), [1.5], '"evaluated" holds 1.5, expected ids'),
        (("frame_rate",), "fast", "frame_rate is 'fast', expected a finite number or null"),
        (("frame_rate",), True, "frame_rate is True"),
        (("videos", "film", "offset"), "900", "offset of film is '900'"),
        (("videos", "film", "offset"), float("inf"), "offset of film is inf"),
        (("videos", "film"), {}, "there is no 'path' in the video 'film'"),
        (("videos", "film"), "film.mp4", "the video 'film' is \"film.mp4\", expected entries in braces"),
        (("videos", "film", "path"), 3, "\"path\" of the video 'film' is 3, expected text"),
        (("videos",), [], r'"videos" is \[\], expected entries in braces'),
        (("splits", "train"), {}, "there is no 'annotations' in the split 'train'"),
        (("splits", "train"), None, "the split 'train' is null, expected entries in braces"),
        (("splits", "train", "excluded"), 5, "\"excluded\" of the split 'train' is 5, expected text"),
    ],
)
def test_entries_of_another_form(tmp_path: Path, where: tuple[str, ...], value: object, message: str) -> None:
    write_dataset_folder(folder(tmp_path))
    path = tmp_path / DATASET_FILE
    content: Any = json.loads(path.read_text())
    *keys, last = where
    target = content
    for key in keys:
        target = target[key]
    target[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message) as caught:
        read_dataset_folder(tmp_path)
    assert DATASET_FILE in str(caught.value)
