"""J-HMDB's ground truth: what is read, what is refused, and the way to the rest of the program."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.data.jhmdb import FRAME_RATE, JhmdbError, JhmdbTruth, create_folder, find_videos, read_jhmdb, write_jhmdb
from acrn_zoo.errors import UserError
from acrn_zoo.pickles import PickleError
from acrn_zoo.tables import read_annotations

GOLF, WALK = "golf/a_@_1", "walk/b"


def content() -> dict[str, Any]:
    """A small file as ACT pickles it: two videos, the second with two people."""
    golf = np.array([[1, 10, 20, 90, 99], [2, 11, 20, 91, 99]], dtype=np.float32)
    walk = np.array([[2, 0, 0, 50, 40], [3, 1.5, 0, 51, 40]], dtype=np.float32)
    return {
        "labels": ["golf", "walk"],
        "gttubes": {GOLF: {0: [golf]}, WALK: {1: [walk, walk + np.float32(1)]}},
        "nframes": {GOLF: 2, WALK: 4},
        "resolution": {GOLF: (100, 200), WALK: (50, 100)},
        "train_videos": [[GOLF], [WALK]],
        "test_videos": [[WALK], [GOLF]],
    }


def saved(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


@pytest.fixture
def truth(tmp_path: Path) -> JhmdbTruth:
    return read_jhmdb(saved(tmp_path / "small.pkl", content()))


def is_same(one: JhmdbTruth, other: JhmdbTruth) -> bool:
    def plain(truth: JhmdbTruth) -> list[object]:
        videos = [
            (
                name,
                video.num_frames,
                video.height,
                video.width,
                [(key, [t.tolist() for t in tubes]) for key, tubes in video.tubes.items()],
            )
            for name, video in truth.videos.items()
        ]
        return [truth.categories, truth.train_videos, truth.test_videos, videos]

    return plain(one) == plain(other)


def test_reads_the_pickle(truth: JhmdbTruth) -> None:
    assert truth.categories == ("golf", "walk")
    assert dict(truth.label_map.names) == {1: "golf", 2: "walk"}
    assert truth.split(1) == ((GOLF,), (WALK,))
    assert truth.split(2) == ((WALK,), (GOLF,))
    video = truth.videos[WALK]
    assert (video.num_frames, video.height, video.width) == (4, 50, 100)
    assert truth.tubes[WALK][1][1].tolist() == [[3, 1, 1, 51, 41], [4, 2.5, 1, 52, 41]]
    assert truth.tubes[WALK][1][1].dtype == np.float64


def test_table_of_annotations(truth: JhmdbTruth) -> None:
    table = truth.table([WALK, GOLF])
    assert table.dtypes.astype(str).to_dict() == {
        "video_id": "category",
        **dict.fromkeys(("timestamp", "x1", "y1", "x2", "y2", "person_id"), "float64"),
        "action_id": "int64",
    }
    assert table.to_numpy().tolist() == [
        [WALK, 1 / 25, 0, 0, 0.5, 0.8, 2, 0],
        [WALK, 2 / 25, 0.015, 0, 0.51, 0.8, 2, 0],
        [WALK, 2 / 25, 0.01, 0.02, 0.51, 0.82, 2, 1],
        [WALK, 3 / 25, 0.025, 0.02, 0.52, 0.82, 2, 1],
        [GOLF, 0, 0.05, 0.2, 0.45, 0.99, 1, 0],
        [GOLF, 1 / 25, 0.055, 0.2, 0.455, 0.99, 1, 0],
    ]
    assert len(truth.table([])) == 0
    with pytest.raises(JhmdbError, match="'nobody'"):
        truth.table(["nobody"])


def test_plain_form_loses_nothing(truth: JhmdbTruth, tmp_path: Path) -> None:
    path = tmp_path / "plain.json"
    write_jhmdb(path, truth)
    assert is_same(read_jhmdb(path), truth)
    with pytest.raises(JhmdbError, match=r"ends in \.json"):
        write_jhmdb(tmp_path / "plain.pkl", truth)
    written = json.loads(path.read_text())
    written["version"] = 2
    path.write_text(json.dumps(written))
    with pytest.raises(JhmdbError, match=r"plain\.json: version 2, expected 1"):
        read_jhmdb(path)


def test_published_file(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/jhmdb/JHMDB-GT.pkl"
    truth = read_jhmdb(path)
    assert (len(truth.categories), len(truth.videos)) == (21, 928)
    assert [(len(train), len(test)) for train, test in map(truth.split, (1, 2, 3))] == [
        (660, 268),
        (658, 270),
        (663, 265),
    ]
    boxes = [tube for video in truth.videos.values() for tubes in video.tubes.values() for tube in tubes]
    assert (len(boxes), sum(map(len, boxes))) == (928, 31_852)
    with path.open("rb") as file:
        published = pickle.load(file, encoding="latin1")
    for video_id, tubes in published["gttubes"].items():
        for column, tables in tubes.items():
            np.testing.assert_array_equal(truth.tubes[video_id][column], tables)
    write_jhmdb(tmp_path / "plain.json", truth)
    assert is_same(read_jhmdb(tmp_path / "plain.json"), truth)
    table = truth.table(truth.videos)
    assert len(table) == 31_852
    assert table[["x1", "y1", "x2", "y2"]].to_numpy().min() >= 0
    assert table[["x1", "y1", "x2", "y2"]].to_numpy().max() <= 1


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    value = content()
    change(value)
    return value


def tube_with(row: int, column: int, number: float) -> dict[str, Any]:
    value = content()
    value["gttubes"][WALK][1][1][row, column] = number
    return value


PARTS = ("gttubes", "nframes", "resolution")
FAULTS: dict[str, tuple[object, str]] = {
    "no dictionary": ([1, 2], "not ground truth in the form of J-HMDB"),
    "no labels": (changed(lambda value: value.pop("labels")), "there is no 'labels'"),
    "no length": (changed(lambda value: value["nframes"].pop(WALK)), "there is no 'walk/b'"),
    "length 0": (changed(lambda value: value["nframes"].update({WALK: 0})), "video 'walk/b' has 0 frames of 100x50"),
    "too short": (
        changed(lambda value: value["nframes"].update({WALK: 3})),
        "video 'walk/b', class 1, tube 1 has the frames 3 to 4, but the video those from 1 to 3",
    ),
    "a class too many": (
        changed(lambda value: value["gttubes"][GOLF].update({2: []})),
        "video 'golf/a_@_1' has tubes of the class 2, expected 0 to 1",
    ),
    "unknown video": (changed(lambda value: value["test_videos"][1].append("x")), "split 2 names the video 'x'"),
    "leak": (changed(lambda value: value["train_videos"][0].append(WALK)), "split 1 names a video twice, or for"),
    "splits": (changed(lambda value: value["test_videos"].pop()), "2 lists of training videos, but 1 of test"),
    "shape": (
        changed(lambda value: value["gttubes"][GOLF].update({0: [np.zeros((2, 4))]})),
        r"video 'golf/a_@_1', class 0, tube 0 has shape \(2, 4\)",
    ),
    "gap": (tube_with(1, 0, 5), "class 1, tube 1: frame 5 follows 3, expected no gaps"),
    "inverted": (tube_with(1, 1, 60), r"tube 1, frame 4: the box is \[60\.0, 1\.0, 52\.0, 41\.0\], expected x1 <= x2"),
    "outside": (
        changed(lambda value: value["gttubes"][WALK].update({1: [np.array([[1, 101, 0, 120, 40]])]})),
        r"class 1, tube 0, frame 1: .* in a frame of 100x50",
    ),
    "endless": (
        changed(lambda value: value["nframes"].update({WALK: np.inf})),
        "the number of frames of video 'walk/b' is inf, expected a whole number",
    ),
    "half a pixel": (
        changed(lambda value: value["resolution"].update({WALK: (50.5, 100)})),
        r"the height of video 'walk/b' is 50\.5, expected a whole number",
    ),
    "a size in words": (
        changed(lambda value: value["resolution"].update({WALK: (50, "100")})),
        "the width of video 'walk/b' is '100', expected a whole number",
    ),
    "a number too long": (changed(lambda value: value["nframes"].update({WALK: 10**400})), "not ground truth"),
    "letters": (changed(lambda value: value.update(labels="ab")), "'labels' is 'ab', expected a list of names"),
    "numbers": (changed(lambda value: value.update(labels=["a", 2])), r"'labels' is \['a', 2\], expected a list"),
    "equal labels": (changed(lambda value: value.update(labels=["a", "a"])), "a class stands twice among the labels"),
    "a video by number": (
        changed(lambda value: [value[name].update({7: value[name][GOLF]}) for name in PARTS]),
        r"the list of videos is \[7\], expected a list of names",
    ),
    "a split of letters": (
        changed(lambda value: value["train_videos"].append("ab")),
        "'train_videos', split 3 is 'ab', expected a list of names",
    ),
    "not a number": (tube_with(0, 2, np.nan), "tube 1, frame 3: the box is .*nan"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(tmp_path: Path, name: str) -> None:
    value, reason = FAULTS[name]
    with pytest.raises(JhmdbError, match=rf"faulty\.pkl:? .*{reason}") as caught:
        read_jhmdb(saved(tmp_path / "faulty.pkl", value))
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda value: value["labels"].append("DEEP"),
            r": 'labels' is \['golf', 'walk', \[+\.\.\.\]+, expected a list",
        ),
        (lambda value: value["gttubes"][GOLF].update({0: ["DEEP"]}), "is not ground truth"),
        (lambda value: value["nframes"].update({GOLF: "DEEP"}), ": the number of frames of video 'golf/a_@_1' is "),
    ],
    ids=["labels", "tubes", "length"],
)
def test_deep_lists_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str) -> None:
    path, depth = saved(tmp_path / "deep.pkl", changed(change)), 20_000
    data = path.read_bytes()
    assert data.count(b"X\x04\0\0\0DEEP") == 1
    path.write_bytes(
        data.replace(b"X\x04\0\0\0DEEP", b"]" * depth + b"a" * (depth - 1))
    )  # lists, each in the one before
    with pytest.raises(JhmdbError, match=rf"deep\.pkl:? ?{reason}"):
        read_jhmdb(path)


def test_frames_count_from_one(tmp_path: Path) -> None:
    value = content()
    value["gttubes"][WALK][1][0][:, 0] -= 2
    with pytest.raises(JhmdbError, match="has the frames 0 to 1, but the video those from 1 to 4"):
        read_jhmdb(saved(tmp_path / "a.pkl", value))


def test_splits_count_from_one(truth: JhmdbTruth) -> None:
    for number in (0, 3):
        with pytest.raises(JhmdbError, match=f"no split {number}, only 1 to 2"):
            truth.split(number)


def test_hostile_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="not executed"):
        read_jhmdb(saved(tmp_path / "a.pkl", {"labels": print}))
    with pytest.raises(PickleError, match="cannot be read"):
        read_jhmdb(tmp_path / "nowhere.pkl")
    with pytest.raises(JhmdbError, match=r"nowhere\.json cannot be read"):
        read_jhmdb(tmp_path / "nowhere.json")
    for text in ("{", "[" * 200_000, "1", '"text"'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(JhmdbError, match=r"a\.json is not ground truth"):
            read_jhmdb(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("num_frames", "Infinity", "the number of frames of video 'golf/a_@_1' is inf, expected a whole number"),
        ("num_frames", "2.5", r"the number of frames of video 'golf/a_@_1' is 2\.5"),
        ("height", "NaN", "the height of video 'golf/a_@_1' is nan"),
        ("width", '"9"', "the width of video 'golf/a_@_1' is '9'"),
    ],
)
def test_sizes_in_json_are_whole(tmp_path: Path, truth: JhmdbTruth, name: str, value: str, reason: str) -> None:
    path = tmp_path / "plain.json"
    write_jhmdb(path, truth)
    written = json.loads(path.read_text())
    written["videos"][GOLF][name] = json.loads(value)
    path.write_text(json.dumps(written))
    with pytest.raises(JhmdbError, match=rf"plain\.json: {reason}"):
        read_jhmdb(path)


def test_finds_frames_and_files(tmp_path: Path, truth: JhmdbTruth) -> None:
    frames = tmp_path / "Frames" / GOLF
    frames.mkdir(parents=True)
    frames.with_name("a_@_1.avi").touch()
    for folder in ("ReCompress_Videos", "."):
        for name in (GOLF, WALK):
            path = tmp_path / folder / f"{name}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = find_videos(tmp_path, truth.videos)
    assert found == {GOLF: frames, WALK: tmp_path / "ReCompress_Videos" / "walk/b.avi"}
    found[WALK].unlink()
    assert find_videos(tmp_path, [WALK]) == {WALK: tmp_path / "walk/b.avi"}
    with pytest.raises(JhmdbError, match=r"lacks 2 of 3 videos, such as 'walk/c'; expected .*00001\.png"):
        find_videos(tmp_path, ["walk/c", GOLF, "walk/d"])


def test_dataset_folder(tmp_path: Path, truth: JhmdbTruth) -> None:
    root = tmp_path / "dataset"
    root.mkdir()
    paths = {GOLF: tmp_path / "Frames" / GOLF, WALK: tmp_path / "walk.avi"}
    create_folder(root, truth, 2, paths)
    folder = read_dataset_folder(root)
    assert folder.frame_rate == FRAME_RATE
    assert dict(folder.label_map.names) == {1: "golf", 2: "walk"}
    assert {name: entry.path for name, entry in folder.videos.items()} == paths
    for name, video in (("train", WALK), ("val", GOLF)):
        table = read_annotations(folder.split(name).annotations)
        assert table.to_numpy().tolist() == truth.table([video]).to_numpy().tolist()
    for place in (root, tmp_path / "nowhere"):
        with pytest.raises(JhmdbError, match="expected an empty folder"):
            create_folder(place, truth, 1, paths)
    (tmp_path / "other").mkdir()
    with pytest.raises(JhmdbError, match="no path for the video 'walk/b'"):
        create_folder(tmp_path / "other", truth, 1, {GOLF: paths[GOLF]})
