"""Video, people and model together: what is predicted, when, and what is refused."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.data.video import VideoError, VideoReader
from acrn_zoo.errors import UserError
from acrn_zoo.models import ActionDetector
from acrn_zoo.people import PeopleError
from acrn_zoo.predictor import ActionPredictor, DeviceError, TimestampError, create_person_detector, resolve_device
from acrn_zoo.structures import Keyframe, Preprocessing

SAMPLING = ClipSampling(length=8, interval=0.1)
TRANSFORM = ClipTransform(short_side=32)
BOXES = torch.tensor([[5.0, 8.0, 40.0, 60.0], [50.0, 4.0, 90.0, 62.0]])


def predictor(model: ActionDetector, people: object, **options: object) -> ActionPredictor:
    return ActionPredictor(model, people, sampling=SAMPLING, transform=TRANSFORM, **options)  # type: ignore[arg-type]


def two_people(_frame: Tensor, _keyframe: Keyframe) -> Tensor:
    return BOXES


def box_file(folder: Path, timestamps: list[float]) -> Path:
    path = folder / "boxes.csv"
    rows = [f"{moment},{','.join(map(str, box))}" for moment in timestamps for box in BOXES.tolist()]
    path.write_text("timestamp,x1,y1,x2,y2\n" + "\n".join(rows) + "\n")
    return path


def test_equals_the_model_on_frames_gathered_by_hand(small_video: Path, small_detector: ActionDetector) -> None:
    """10 frames a second, keyframe 1.0: frames 6 to 13."""
    with VideoReader(small_video) as video:
        frames = [frame.rgb() for frame in video.frames()]
    clip, boxes = TRANSFORM(torch.stack(frames[6:14]), BOXES)
    with torch.inference_mode():
        expected = small_detector(clip.unsqueeze(0), [boxes]).sigmoid()

    found = list(predictor(small_detector, two_people).predict(small_video))
    assert [detections.keyframe for detections in found] == [Keyframe("small", float(t)) for t in range(3)]
    assert torch.equal(found[1].scores, expected)
    assert torch.equal(found[1].boxes, BOXES)
    assert found[1].frame_size == (64, 96)
    assert found[1].person_scores.tolist() == [1, 1]
    assert found[1].categories == ("action 1", "action 2", "action 3", "action 4")


def test_clips_are_those_that_the_model_was_trained_on(small_video: Path, small_detector: ActionDetector) -> None:
    told = copy.copy(small_detector)
    told.preprocessing = Preprocessing(clip_length=8, frame_interval=0.1, short_side=32)
    (by_itself, *_), (by_order, *_), (other, *_) = (
        list(ActionPredictor(told, two_people, sampling=sampling).predict(small_video))
        for sampling in (None, SAMPLING, ClipSampling(8, 0.2))
    )
    assert torch.equal(by_itself.scores, by_order.scores)
    assert not torch.equal(by_itself.scores, other.scores)
    assert ActionPredictor(told, two_people).transform.short_side == 32
    untold = ActionPredictor(small_detector, two_people)
    assert (untold.sampling, untold.transform.short_side) == (ClipSampling(32, 2 / 30), 256)


@pytest.mark.parametrize("batch_size", [2, 3, 7])
def test_batches_change_nothing(small_video: Path, small_detector: ActionDetector, batch_size: int) -> None:
    def sometimes(_frame: Tensor, keyframe: Keyframe) -> Tensor:
        return BOXES[: int(keyframe.timestamp * 10) % 3]

    single = list(predictor(small_detector, sometimes).predict(small_video, every=0.3))
    batched = list(predictor(small_detector, sometimes, batch_size=batch_size).predict(small_video, every=0.3))
    assert len(single) == 10
    for one, other in zip(single, batched, strict=True):
        assert one.keyframe == other.keyframe
        torch.testing.assert_close(one.scores, other.scores)


def test_keyframes_every_so_often(small_video: Path, small_detector: ActionDetector) -> None:
    found = predictor(small_detector, two_people).predict(small_video, every=0.7)
    assert [round(detections.keyframe.timestamp, 6) for detections in found] == [0, 0.7, 1.4, 2.1, 2.8]


def test_keyframes_of_the_box_file(small_video: Path, small_detector: ActionDetector, tmp_path: Path) -> None:
    found = list(predictor(small_detector, box_file(tmp_path, [0.5, 2.25])).predict(small_video))
    assert [detections.keyframe.timestamp for detections in found] == [0.5, 2.25]
    assert [len(detections) for detections in found] == [2, 2]


def test_nobody_never_reaches_the_model(small_video: Path, small_detector: ActionDetector) -> None:
    model = copy.deepcopy(small_detector)
    model.forward = None  # type: ignore[assignment, method-assign]
    found = list(predictor(model, lambda _frame, _keyframe: torch.zeros(0, 4)).predict(small_video))
    assert [tuple(detections.scores.shape) for detections in found] == [(0, 4)] * 3


def test_results_come_while_the_video_is_read(small_video: Path, small_detector: ActionDetector) -> None:
    asked: list[float] = []

    def people(_frame: Tensor, keyframe: Keyframe) -> Tensor:
        asked.append(keyframe.timestamp)
        return BOXES

    found = predictor(small_detector, people).predict(small_video)
    next(found)
    assert asked == [0.0]


def test_model_is_not_changed(small_video: Path, small_detector: ActionDetector) -> None:
    model = copy.deepcopy(small_detector).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    list(predictor(model, two_people, dtype=torch.bfloat16).predict(small_video))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_ready_model_is_not_copied(small_detector: ActionDetector) -> None:
    assert predictor(small_detector, two_people, device="cpu").model is small_detector


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.bfloat16, 0.1)], ids=str)
def test_dtypes(small_video: Path, small_detector: ActionDetector, dtype: torch.dtype, tolerance: float) -> None:
    expected = list(predictor(small_detector, two_people).predict(small_video))
    found = list(predictor(small_detector, two_people, dtype=dtype).predict(small_video))
    for one, other in zip(expected, found, strict=True):
        assert (one.scores - other.scores).abs().max() <= tolerance


def test_video_that_breaks_off_gives_what_it_has(
    small_video: Path, small_detector: ActionDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = VideoReader.frames

    def broken(self: VideoReader, start: float = 0.0) -> Iterator[object]:
        for number, frame in enumerate(whole(self, start)):
            if number == 15:
                raise VideoError("it stops")
            yield frame

    monkeypatch.setattr(VideoReader, "frames", broken)
    found = predictor(small_detector, two_people, batch_size=8).predict(small_video)
    assert [next(found).keyframe.timestamp, next(found).keyframe.timestamp] == [0, 1]
    with pytest.raises(VideoError, match="it stops"):
        next(found)


def test_video_shorter_than_a_clip_is_said(small_video: Path, small_detector: ActionDetector) -> None:
    predictor = ActionPredictor(small_detector, two_people, transform=TRANSFORM, sampling=ClipSampling(32, 0.1))
    with pytest.warns(UserWarning, match=r"small.mp4 is 3.00 s long, shorter than a clip of 3.20 s"):
        found = predictor.predict(small_video)
    assert len(list(found)) == 3


@pytest.mark.parametrize(
    ("timestamps", "message"),
    [([0.5, 7.0, 9.0], "is 3.00 s long, but keyframes are wanted at 7, 9 s"), ([0.5, 3.4], "no frame at 3.4 s")],
)
def test_timestamps_that_do_not_exist(
    timestamps: list[float], message: str, small_video: Path, small_detector: ActionDetector, tmp_path: Path
) -> None:
    boxes = box_file(tmp_path, timestamps)
    with pytest.raises(TimestampError, match=message):
        list(predictor(small_detector, boxes).predict(small_video))


@pytest.mark.parametrize("every", [0.0, -1.0, 0.0001, float("inf"), float("nan")])
def test_every_must_be_positive(every: float, small_video: Path, small_detector: ActionDetector) -> None:
    with pytest.raises(ValueError, match="expected seconds from 0.001 on"):
        predictor(small_detector, two_people).predict(small_video, every=every)


def test_errors_come_before_the_first_result(small_detector: ActionDetector, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="missing.mp4"):
        predictor(small_detector, two_people).predict(tmp_path / "missing.mp4")


def test_bad_people(small_video: Path, small_detector: ActionDetector) -> None:
    found = predictor(small_detector, lambda _frame, _keyframe: torch.tensor([[9.0, 9, 5, 20]])).predict(small_video)
    with pytest.raises(PeopleError, match="small.*0"):
        next(found)


def test_categories(small_detector: ActionDetector) -> None:
    names = ["a", "b", "c", "d"]
    assert predictor(small_detector, two_people, categories=names).categories == tuple(names)
    named = copy.deepcopy(small_detector)
    named.categories = tuple("wxyz")
    assert predictor(named, two_people).categories == tuple("wxyz")
    with pytest.raises(ValueError, match="3 categories for a model of 4 actions"):
        predictor(small_detector, two_people, categories=names[:3])


@pytest.mark.parametrize("device", ["cuda:7", "abacus", "meta:x", "meta"])
def test_device_that_is_not_there(device: str) -> None:
    with pytest.raises(DeviceError, match=f"device '{device}' cannot be used .* this machine has cpu"):
        resolve_device(device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"dtype": torch.int32}, "dtype is torch.int32"),
        ({"people": None}, "people is a NoneType"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str, small_detector: ActionDetector) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ActionPredictor(small_detector, **({"people": two_people} | options))  # type: ignore[arg-type]


def test_box_outside_is_said_at_once(small_video: Path, small_detector: ActionDetector, tmp_path: Path) -> None:
    boxes = box_file(tmp_path, [0.5, 1.5])
    boxes.write_text(boxes.read_text() + "2.5,500,8,540,60\n")
    with pytest.raises(PeopleError, match=r"boxes.csv, line 6: .* outside the frames"):
        predictor(small_detector, boxes).predict(small_video)


def test_auto_device() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_advice_on_a_detector_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command of an option, since not all that need the detector have it."""

    def unreachable(_url: str, *, advice: str, **_: object) -> Path:
        raise UserError(advice)

    monkeypatch.setattr("acrn_zoo.predictor.fetch", unreachable)
    with pytest.raises(UserError, match=r'`predict --boxes FILE`; for a dataset, a file named as "proposals"'):
        create_person_detector(device="cpu")
