"""The small world as files: what is annotated is what the videos show."""

from pathlib import Path

import numpy as np
import pytest

from acrn_zoo.data.dataset import EvaluationDataset, TrainingDataset
from acrn_zoo.data.folder import DatasetFolder, read_dataset_folder
from acrn_zoo.data.synthetic.small_world import DEFAULT_SPLITS, SmallWorld, read_places, write_small_world
from acrn_zoo.data.synthetic.world import CATEGORIES, COLORS, Difficulty, draw_scene
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.dataset_check import check_dataset
from acrn_zoo.files import OutputExistsError
from acrn_zoo.tables import read_annotations

WORLD = SmallWorld(seed=7, splits={"train": 2, "val": 1}, num_shots=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    return write_small_world(tmp_path_factory.mktemp("world") / "small", WORLD, num_processes=1)


def test_the_files_of_a_dataset_folder(folder: DatasetFolder) -> None:
    assert read_dataset_folder(folder.root) == folder
    assert folder.label_map.categories == CATEGORIES
    assert sorted(path.name for path in (folder.root / "videos").iterdir()) == [
        "train_0000.mp4",
        "train_0001.mp4",
        "val_0000.mp4",
    ]
    assert len(TrainingDataset.from_folder(folder)) == 10
    assert len(EvaluationDataset.from_folder(folder)) == 5


def test_the_default_set_stays_below_30_mb(folder: DatasetFolder) -> None:
    """If all of its shots take as much as these 15."""
    size = sum(path.stat().st_size for path in folder.root.rglob("*") if path.is_file())
    assert size / 15 * SmallWorld().num_shots * sum(DEFAULT_SPLITS.values()) < 30e6


def test_the_doctor_finds_nothing(folder: DatasetFolder) -> None:
    findings = check_dataset(folder.root, with_videos=False).findings
    assert [finding for finding in findings if finding.severity != "note"] == []


def test_robes_are_where_the_boxes_are(folder: DatasetFolder) -> None:
    """In every annotated box of the keyframe are the robe's two colours, after encoding and decoding."""
    dataset = EvaluationDataset.from_folder(folder, people="annotated")
    dataset.transform = ClipTransform(short_side=WORLD.side)
    for index in range(len(dataset)):
        sample = dataset[index]
        scene = draw_scene(WORLD.seed, 2, int(sample.keyframe.timestamp), difficulty=WORLD.difficulty)
        keyframe = sample.frames[dataset.sampling.length // 2].numpy()
        assert len(sample.boxes) == len(scene.people)
        for box, person in zip(sample.boxes.numpy(), scene.people, strict=True):
            for color, part in zip(person.colors, (0.45, 0.8), strict=True):
                x, y = int((box[0] + box[2]) / 2), int(box[1] + part * (box[3] - box[1]))
                wanted = [int(COLORS[color][start : start + 2], 16) for start in (1, 3, 5)]
                assert np.abs(keyframe[y, x].astype(int) - wanted).max() < 40


def test_places_belong_to_relation_labels(folder: DatasetFolder) -> None:
    annotations, places = read_annotations(folder.root / "train.csv"), read_places(folder.root / "train_places.csv")
    related = annotations[annotations["action_id"] > 3]
    keys = ["video_id", "timestamp", "person_id", "action_id"]
    assert set(map(tuple, related[keys].to_numpy())) == set(map(tuple, places[places["decides"] == 1][keys].to_numpy()))
    assert set(places["decides"]) == {0, 1}
    own = annotations.drop_duplicates(keys[:3]).astype({"video_id": str})
    both = places.merge(own, on=keys[:3], suffixes=("", "_own"))
    assert len(both) == len(places)
    is_beside = (both["x2"] <= both["x1_own"]) | (both["x2_own"] <= both["x1"])
    is_above = (both["y2"] <= both["y1_own"]) | (both["y2_own"] <= both["y1"])
    assert (is_beside | is_above).all()


def test_more_shapes_are_more_actions(tmp_path: Path) -> None:
    world = SmallWorld(splits={"train": 1}, num_shots=1, difficulty=Difficulty(num_shapes=3))
    folder = write_small_world(tmp_path / "a", world, num_processes=1)
    assert folder.label_map.categories == world.difficulty.categories
    assert len(read_dataset_folder(folder.root).label_map.categories) == 8


def test_the_same_world_twice_in_two_processes(folder: DatasetFolder, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    again = write_small_world(tmp_path / "again", WORLD, num_processes=2, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    names = {path.relative_to(folder.root) for path in folder.root.rglob("*")}
    assert names == {path.relative_to(again.root) for path in again.root.rglob("*")}
    assert all((folder.root / name).read_bytes() == (again.root / name).read_bytes() for name in names if name.suffix)


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    tiny = SmallWorld(splits={"train": 1}, num_shots=1)
    write_small_world(tmp_path / "a", tiny, num_processes=1)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_small_world(tmp_path / "a", tiny, num_processes=1)
    write_small_world(tmp_path / "a", tiny, num_processes=1, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize(
    "wrong", [{"splits": {}}, {"splits": {"a": 0}}, {"num_shots": 0}, {"side": 8}, {"seed": -1}, {"shot_seconds": 3.0}]
)
def test_impossible_worlds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        SmallWorld(**wrong)  # type: ignore[arg-type]
