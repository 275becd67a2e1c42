"""Samples of training and evaluation: the very frames, boxes and labels, from files and folders, in workers too."""

import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_video import frame_times, numbered_picture, read_number, write_numbered
from PIL import Image
from torch.utils.data import DataLoader

from acrn_zoo.data.annotations import Annotations, annotations_from_table, read_annotations
from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import ActionDataset, EvaluationDataset, Sample, SampleError, TrainingDataset
from acrn_zoo.data.folder import (
    DatasetError,
    DatasetFolder,
    Split,
    VideoEntry,
    read_dataset_folder,
    write_dataset_folder,
)
from acrn_zoo.data.proposals import Proposals, read_proposals
from acrn_zoo.data.synthetic import write_synthetic_video
from acrn_zoo.data.transforms import ClipTransform, RandomAugmentation, sample_random
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import read_annotations as read_table

CATEGORIES = ("walk", "talk", "sit")
SAMPLING = ClipSampling(8, 2 / 30)
WHOLE = RandomAugmentation((64, 64), 64, flip=0.0)  # of a square picture everything stays

ROWS = """\
a,0903,0.1,0.2,0.5,0.9,1,0
a,0903,0.1,0.2,0.5,0.9,3,0
a,0903,0.5,0.25,0.75,0.75,2,1
a,0905,0,0,1,1,2,0
a,0904
"""
PROPOSALS = """\
a,0903,0.101,0.2,0.5,0.9,0.95
a,0903,0.6,0.1,0.9,0.3,0.97
a,0903,0.5,0.25,0.75,0.75,0.4
"""


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of numbered frames, 96x64, 30 a second."""
    return write_numbered(tmp_path_factory.mktemp("videos") / "a.mp4", frame_times(300))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a folder of square pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(300):
        Image.fromarray(numbered_picture(index, (64, 64))).save(folder / f"img_{index + 1:05d}.jpg")
    return folder


@pytest.fixture
def annotations(tmp_path: Path) -> Annotations:
    (tmp_path / "rows.csv").write_text(ROWS)
    return read_annotations(tmp_path / "rows.csv", num_classes=3)


@pytest.fixture
def proposals(tmp_path: Path) -> Proposals:
    (tmp_path / "proposals.csv").write_text(PROPOSALS)
    return read_proposals(tmp_path / "proposals.csv")


def training(annotations: Annotations, folder: Path, **changes: object) -> TrainingDataset:
    entries = {"a": VideoEntry(folder, 900.0)}
    options = {"sampling": SAMPLING, "frame_rate": 30.0, "augmentation": WHOLE, "jitter": 0.0, **changes}
    return TrainingDataset(annotations, entries, CATEGORIES, **options)  # type: ignore[arg-type]


def evaluation(annotations: Annotations, path: Path, **changes: object) -> EvaluationDataset:
    entries = {"a": VideoEntry(path, 900.0)}
    options = {"sampling": SAMPLING, "frame_rate": 30.0, "transform": ClipTransform(64), **changes}
    return EvaluationDataset(annotations, entries, CATEGORIES, **options)  # type: ignore[arg-type]


def numbers(sample: Sample) -> list[int]:
    return [read_number(frame) for frame in sample.frames]


def test_the_very_frames_of_a_cut(annotations: Annotations, numbered: Path, pictures: Path) -> None:
    """Second 903 of the film is second 3 of a cut that begins at 900: frame 90, number 4 of 8."""
    for path in (numbered, pictures):
        dataset = evaluation(annotations, path)
        assert len(dataset) == 3
        for index, second in enumerate((3, 4, 5)):
            sample = dataset[index]
            assert numbers(sample) == [30 * second + 2 * (number - 4) for number in range(8)]
            assert (sample.keyframe.video_id, sample.keyframe.timestamp) == ("a", 900 + second)
            assert sample.index == index


def test_training_sees_the_same_frames(annotations: Annotations, pictures: Path) -> None:
    sample = training(annotations, pictures)[0]
    assert numbers(sample) == [90 + 2 * (number - 4) for number in range(8)]
    assert sample.frames.shape == (8, 64, 64, 3)
    torch.testing.assert_close(sample.boxes[1], torch.tensor([32.0, 16.0, 48.0, 48.0]))


@pytest.mark.parametrize(
    ("length", "shift"),
    [
        (901.0, 900),  # AVA's cuts
        (1900.0, 0),  # a whole film
    ],
)
def test_offset_is_found_by_the_length(
    annotations: Annotations, numbered: Path, monkeypatch: pytest.MonkeyPatch, length: float, shift: int
) -> None:
    asked = []

    def resolve(entry: VideoEntry, duration: float | None) -> float:
        assert entry.offset is None
        asked.append(duration)
        return 900.0

    dataset = EvaluationDataset(annotations, {"a": VideoEntry(numbered, None)}, CATEGORIES, sampling=SAMPLING)
    with pytest.raises(SampleError, match=r"903 s of video a.*a\.mp4 is 10\.0 s long.*offset"):
        dataset[0]
    from acrn_zoo.data import dataset as module

    real = module.resolve_offset
    assert real(dataset.videos["a"], length) == shift
    monkeypatch.setattr(module, "resolve_offset", resolve)
    assert numbers(dataset[0])[4] == 90
    assert asked == [pytest.approx(10.0)]


def test_boxes_and_labels(annotations: Annotations, numbered: Path) -> None:
    sample = evaluation(annotations, numbered, transform=ClipTransform(128))[0]
    assert sample.frame_size == (64, 96)
    torch.testing.assert_close(
        sample.boxes, torch.tensor([[0.1 * 192, 0.2 * 128, 96.0, 0.9 * 128], [96.0, 32.0, 144.0, 96.0]])
    )
    assert sample.boxes.dtype == torch.float32
    assert sample.labels.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert sample.has_labels.tolist() == [True, True]
    assert sample.person_scores.tolist() == [1, 1]
    assert sample.frames.dtype == torch.uint8
    assert sample.clip.shape == (3, 8, 128, 192)
    torch.testing.assert_close(sample.clip, ClipTransform().normalize(sample.frames))


def test_evaluation_on_proposals(annotations: Annotations, proposals: Proposals, numbered: Path) -> None:
    sample = evaluation(annotations, numbered, proposals=proposals)[0]
    torch.testing.assert_close(sample.boxes, torch.tensor([[9.696, 12.8, 48.0, 57.6], [57.6, 6.4, 86.4, 19.2]]))
    torch.testing.assert_close(sample.person_scores, torch.tensor([0.95, 0.97]))
    assert sample.labels.tolist() == [[0, 0, 0]] * 2
    assert not sample.has_labels.any()
    low = evaluation(annotations, numbered, proposals=proposals, min_score=0.4)[0]
    assert len(low.boxes) == 3
    unknown = evaluation(annotations, numbered, proposals=proposals)[2]
    assert unknown.boxes.tolist() == [[0, 0, 96, 64]]


def test_keyframe_without_people(annotations: Annotations, numbered: Path) -> None:
    for dataset in (evaluation(annotations, numbered), training(annotations, numbered)):
        sample = dataset[1]
        assert (sample.boxes.shape, sample.labels.shape, sample.person_scores.shape) == ((0, 4), (0, 3), (0,))
        assert sample.clip.shape[:2] == (3, 8)


def test_training_actors_are_annotated_and_matched(
    annotations: Annotations, proposals: Proposals, pictures: Path
) -> None:
    sample = training(annotations, pictures, proposals=proposals)[0]
    assert sample.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    expected = torch.tensor([[6.4, 12.8, 32.0, 57.6], [32, 16, 48, 48], [6.464, 12.8, 32.0, 57.6]])
    torch.testing.assert_close(sample.boxes, expected)
    assert sample.person_scores.tolist() == [1, 1, 1]
    filled = training(annotations, pictures, proposals=proposals, with_unmatched=True)[0]
    assert filled.has_labels.tolist() == [True, True, True, False]
    everyone = training(annotations, pictures, proposals=proposals, min_score=0.4)[0]
    assert len(everyone.boxes) == 4


def test_jitter_takes_frames_one_earlier(annotations: Annotations, pictures: Path) -> None:
    dataset = training(annotations, pictures, jitter=1 / 30, sampling=ClipSampling(16, 2 / 30))
    seen = set()
    for epoch in range(4):
        dataset.set_epoch(epoch)
        shifts = [90 + 2 * (place - 8) - number for place, number in enumerate(numbers(dataset[0]))]
        assert set(shifts) == {0, 1}
        seen.add(tuple(shifts))
    assert len(seen) == 4


def same(one: Sample, other: Sample) -> bool:
    names = ("frames", "boxes", "labels", "person_scores")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def varied(annotations: Annotations, numbered: Path, seed: int = 3) -> TrainingDataset:
    return training(annotations, numbered, augmentation=RandomAugmentation((64, 90), 64), jitter=1 / 30, seed=seed)


def test_samples_depend_on_seed_epoch_and_index_alone(annotations: Annotations, numbered: Path) -> None:
    dataset = varied(annotations, numbered)
    first = [dataset[index] for index in (0, 1, 2)]
    assert all(same(dataset[index], first[index]) for index in (2, 0, 1))
    dataset.set_epoch(1)
    assert not same(dataset[0], first[0])
    assert not same(varied(annotations, numbered, seed=4)[0], first[0])
    dataset.set_epoch(0)
    assert same(dataset[0], first[0])
    drawn = dataset.augmentation.draw((64, 96), sample_random(3, 0, 2))
    torch.testing.assert_close(first[2].boxes, drawn.boxes(torch.tensor([[0.0, 0.0, 96.0, 64.0]]), (64, 96)))
    with pytest.raises(ValueError, match="epoch is -1"):
        dataset.set_epoch(-1)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_see_the_same_and_follow_the_epoch(annotations: Annotations, numbered: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    dataset = varied(annotations, numbered)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context=method,
        sampler=[2, 0, 1],
    )
    for epoch in range(2):
        dataset.set_epoch(epoch)
        found = list(loader)
        assert [sample.index for sample in found] == [2, 0, 1]
        assert all(same(sample, dataset[sample.index]) for sample in found)
    del loader


def test_can_be_pickled(annotations: Annotations, numbered: Path) -> None:
    dataset = varied(annotations, numbered)
    before = dataset[0]
    dataset.set_epoch(5)
    copy = pickle.loads(pickle.dumps(dataset))
    assert same(copy[0], dataset[0])
    copy.set_epoch(0)
    assert same(copy[0], before)
    assert len(pickle.dumps(dataset)) < 10_000


def test_negative_and_late_indices(annotations: Annotations, numbered: Path) -> None:
    dataset = evaluation(annotations, numbered)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            dataset[index]
    assert len(list(dataset)) == 3  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (904.0, r"903 s of video a cannot be read.*at -1 s of .*a\.mp4, which is 10\.00 s long"),
        (890.0, r"903 s of video a cannot be read.*at 13 s of .*a\.mp4, which is 10\.00 s long"),
        (0.0, r"903 s of video a cannot be read.*at 903 s of .*a\.mp4"),
    ],
)
def test_keyframe_outside_the_video(annotations: Annotations, numbered: Path, offset: float, message: str) -> None:
    dataset = EvaluationDataset(annotations, {"a": VideoEntry(numbered, offset)}, CATEGORIES, sampling=SAMPLING)
    with pytest.raises(SampleError, match=message):
        dataset[0]


@pytest.mark.parametrize("is_folder", [False, True])
def test_keyframe_at_the_very_end_is_the_last_frame(
    numbered: Path, pictures: Path, tmp_path: Path, is_folder: bool
) -> None:
    (tmp_path / "rows.csv").write_text("a,10,0.1,0.2,0.5,0.9,1,0\na,10.001,0.1,0.2,0.5,0.9,1,0\n")
    annotations = read_annotations(tmp_path / "rows.csv", num_classes=3)
    videos = {"a": VideoEntry(pictures if is_folder else numbered)}
    size = (64, 64) if is_folder else (64, 96)
    samples = EvaluationDataset(
        annotations, videos, CATEGORIES, sampling=SAMPLING, frame_rate=30, transform=ClipTransform(size[0])
    )
    for sample in (samples[0], samples[1]):
        assert [read_number(frame) for frame in sample.frames[4:]] == [299] * 4
        assert read_number(sample.frames[3]) == 298


def test_unreadable_videos(annotations: Annotations, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    for path in (broken, tmp_path / "missing.mp4"):
        with pytest.raises(SampleError, match=rf"903 s of video a cannot be read\. .*{path.name}") as caught:
            evaluation(annotations, path)[0]
        # so that it comes out of a worker as what it is
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_fractional_offsets_do_not_fall_below_zero(tmp_path: Path, numbered: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,0.3,0,0,1,1,1\n")
    annotations = read_annotations(tmp_path / "rows.csv", num_classes=3)
    dataset = EvaluationDataset(annotations, {"a": VideoEntry(numbered, 0.1 + 0.2)}, CATEGORIES, sampling=SAMPLING)
    assert dataset[0].keyframe.timestamp == 0.3


def test_videos_and_categories_must_fit(annotations: Annotations, numbered: Path) -> None:
    with pytest.raises(DatasetError, match="1 videos are annotated.*: a"):
        EvaluationDataset(annotations, {"b": VideoEntry(numbered)}, CATEGORIES)
    with pytest.raises(DatasetError, match="2 categories for annotations of 3 actions"):
        EvaluationDataset(annotations, {"a": VideoEntry(numbered)}, CATEGORIES[:2])
    for jitter in (-0.1, 0.1):
        with pytest.raises(ValueError, match="jitter is"):
            training(annotations, numbered, jitter=jitter)


def test_from_a_table(numbered: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    annotations = annotations_from_table(read_table(tmp_path / "rows.csv"), num_classes=3)
    assert same(evaluation(annotations, numbered)[0], evaluation(annotations, numbered)[0])


@pytest.fixture
def folder(tmp_path: Path, numbered: Path) -> Path:
    (tmp_path / "train.csv").write_text(ROWS)
    (tmp_path / "excluded.csv").write_text("a,0905\n")
    (tmp_path / "proposals.csv").write_text(PROPOSALS)
    splits = {
        "train": Split(tmp_path / "train.csv", tmp_path / "excluded.csv", tmp_path / "proposals.csv"),
        "val": Split(tmp_path / "train.csv"),
    }
    names = LabelMap(dict(enumerate(CATEGORIES, start=1)))
    videos = {"a": VideoEntry(numbered, 900.0), "unused": VideoEntry(numbered, 0.0)}
    write_dataset_folder(DatasetFolder(tmp_path, "small", names, splits, videos))
    return tmp_path


def test_from_a_folder(folder: Path) -> None:
    train = TrainingDataset.from_folder(folder, seed=7, sampling=SAMPLING)
    assert (len(train), train.categories, train.seed) == (2, CATEGORIES, 7)
    assert train[0].frames.shape == (8, 256, 256, 3)
    assert len(train[0].boxes) == 3
    val = EvaluationDataset.from_folder(folder, people="annotated", sampling=SAMPLING)
    assert len(val) == 3
    assert val[0].clip.shape == (3, 8, 256, 384)
    assert len(val[0].boxes) == 2
    found = EvaluationDataset.from_folder(folder, "train", sampling=SAMPLING)
    assert len(found[0].boxes) == 2
    assert not found[0].has_labels.any()


def test_folder_of_frames_in_a_folder(folder: Path, pictures: Path) -> None:
    changed = read_dataset_folder(folder)
    for rate, expected in ((30.0, 90), (15.0, 45)):
        dataset = replace(changed, videos={"a": VideoEntry(pictures, 900.0)}, frame_rate=rate)
        found = EvaluationDataset.from_folder(dataset, people="annotated", sampling=SAMPLING)[0]
        assert read_number(found.frames[4]) == expected
        assert TrainingDataset.from_folder(dataset, sampling=SAMPLING)[0].frame_size == (64, 64)


def test_evaluation_wants_proposals_unless_told(folder: Path) -> None:
    with pytest.raises(DatasetError, match="'val' has no proposals.*acrn-zoo data people"):
        EvaluationDataset.from_folder(folder)
    with pytest.raises(ValueError, match="people is 'gt', expected 'proposals' or 'annotated'"):
        EvaluationDataset.from_folder(folder, people="gt")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="no split 'test'"):
        TrainingDataset.from_folder(folder, "test")


def test_people_are_where_their_boxes_are(tmp_path: Path) -> None:
    """End to end on a generated film: the figures stand out from the wall inside their boxes, not beside them."""
    video = write_synthetic_video(tmp_path / "film.mp4", seconds=3, size=(128, 170), num_people=1)
    moments = (0.5, 1.5, 2.5)
    fractions = [video.boxes(moment)[0] / torch.tensor([170, 128, 170, 128]) for moment in moments]
    lines = [
        f"film,{moment + 60},{','.join(map(str, box.tolist()))},1,0"
        for moment, box in zip(moments, fractions, strict=True)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    annotations = read_annotations(tmp_path / "rows.csv", num_classes=1)
    empty = write_synthetic_video(tmp_path / "empty.mp4", seconds=3, size=(128, 170), num_people=0)
    datasets: list[ActionDataset] = [
        TrainingDataset(annotations, {"film": VideoEntry(path, 60.0)}, ("walk",), sampling=ClipSampling(1), jitter=0)
        for path in (video.path, empty.path)
    ]
    for index in range(3):
        sample, background = datasets[0][index], datasets[1][index]
        assert torch.equal(sample.boxes, background.boxes)
        changed = (sample.frames[0].int() - background.frames[0].int()).abs().amax(2) > 40
        x1, y1, x2, y2 = sample.boxes[0].round().int().tolist()
        inside = torch.zeros_like(changed)
        inside[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = True
        assert changed.sum() > 500
        assert (changed & inside).sum() / changed.sum() > 0.97


def test_random_numbers_of_numpy_and_torch_are_not_used(annotations: Annotations, numbered: Path) -> None:
    dataset = varied(annotations, numbered)
    state, of_torch = np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    dataset[0]
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), of_torch)
