"""The demo with the model that it is shipped with: what it shows is true, and good enough to be shown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from acrn_zoo import demo
from acrn_zoo.data.synthetic.small_world import SmallWorld
from acrn_zoo.data.synthetic.world import CATEGORIES, FAMILIES, Difficulty, draw_scene
from acrn_zoo.data.video import VideoReader
from acrn_zoo.files import OutputExistsError
from acrn_zoo.predictor import ActionPredictor
from acrn_zoo.structures import Detections, Keyframe
from acrn_zoo.visualize import RelationExample

# How good slowfast_acrn_mini must be on the demo's video.
LEAST_PRECISION = 0.96  # measured: 0.980
LEAST_POINTING = 0.93  # measured: 0.966

Demo = tuple[demo.DemoFiles, ActionPredictor, list[Detections], list[demo.Answer]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    files = demo.prepare(tmp_path_factory.mktemp("demo"))
    predictor = demo.create_predictor(files)
    return files, predictor, list(predictor.predict(files.video)), list(demo.right_answers(files, predictor))


def test_the_model_is_good_enough_to_be_shown(played: Demo) -> None:
    _, _, found, answers = played
    pointing = demo.pointing(answers)
    assert demo.mean_average_precision(found) >= LEAST_PRECISION
    assert pointing.accuracy >= LEAST_POINTING


def test_every_action_of_the_picture_is_answered_rightly(played: Demo) -> None:
    assert {answer.action for answer in played[3]} >= set(demo.EXAMPLES)


def test_the_video_shows_every_action() -> None:
    moments = demo.moments()
    shown = {
        action
        for moment in moments
        for actor in range(len(moment.scene.people))
        for action in moment.scene.evidence(actor)
    }
    assert shown == set(CATEGORIES)
    assert set(demo.EXAMPLES) <= set(CATEGORIES)
    assert all(moment.scene.people for moment in moments)
    assert SmallWorld().seed != demo.SEED


def test_the_seed_is_the_first_whose_shots_are_as_all_shots() -> None:
    def shares(seed: int, num_shots: int) -> npt.NDArray[np.float64]:
        drawn = [draw_scene(seed, 0, shot, seconds=demo.SECONDS, difficulty=Difficulty()) for shot in range(num_shots)]
        done = [scene.evidence(actor) for scene in drawn for actor in range(len(scene.people))]
        return np.mean([[action in each for action in CATEGORIES] for each in done], axis=0)

    usual = shares(0, 1000)
    found = {seed: shares(seed, demo.NUM_SHOTS) for seed in range(1000, demo.SEED + 1)}
    alike = [seed for seed, each in found.items() if each.all() and np.abs(each - usual).max() < 0.1]
    assert alike == [demo.SEED]


def test_clips_do_not_reach_into_another_shot(played: Demo) -> None:
    """10 frames a second, as drawn."""
    sampling = played[1].sampling
    for moment in demo.moments():
        times = sampling.times(moment.timestamp)
        assert {int((time + 1e-9) // demo.SECONDS) for time in times} == {int(moment.timestamp // demo.SECONDS)}


def test_the_keyframes_are_those_of_the_scenes(played: Demo) -> None:
    files, _, found, _ = played
    moments = demo.moments()
    assert [detections.keyframe.timestamp for detections in found] == [moment.timestamp for moment in moments]
    for detections, moment in zip(found, moments, strict=True):
        torch.testing.assert_close(detections.boxes, moment.boxes() * demo.SIDE, atol=0.1, rtol=0)
    with VideoReader(files.video) as video:
        assert (video.info.height, video.info.width) == (demo.SIDE, demo.SIDE)
        assert sum(1 for _ in video.frames()) == demo.NUM_SHOTS * demo.SECONDS * 10


def test_maps_are_of_the_predictions(played: Demo) -> None:
    """Both ways through the model give the same scores."""
    _, _, found, answers = played
    by_time = {detections.keyframe.timestamp: detections for detections in found}
    for answer in answers[::7]:
        scores = by_time[answer.moment.timestamp].scores[answer.actor]
        assert answer.score == pytest.approx(float(scores[CATEGORIES.index(answer.action)]), abs=1e-3)
        assert answer.action in answer.moment.scene.evidence(answer.actor)
        assert answer.score > demo.THRESHOLD


def truth_as_found(shift: float = 0.0) -> list[Detections]:
    """Detections that are right everywhere, moved to the right by a part of the frame."""
    made = []
    for moment in demo.moments():
        names = [moment.scene.evidence(actor) for actor in range(len(moment.scene.people))]
        scores = torch.tensor([[float(name in known) for name in CATEGORIES] for known in names])
        boxes = (moment.boxes() + torch.tensor([shift, 0, shift, 0])) * demo.SIDE
        made.append(_detections(moment, boxes, scores))
    return made


def _detections(moment: demo.Moment, boxes: Tensor, scores: Tensor) -> Detections:
    keyframe = Keyframe(demo.NAME, moment.timestamp)
    return Detections(keyframe, (demo.SIDE, demo.SIDE), boxes, torch.ones(len(boxes)), scores, CATEGORIES)


def test_precision_is_that_of_the_truth() -> None:
    assert demo.mean_average_precision(truth_as_found()) == 1
    assert demo.mean_average_precision(truth_as_found(shift=0.12)) < 0.3
    opposite = [replace(detections, scores=1 - detections.scores) for detections in truth_as_found()]
    assert demo.mean_average_precision(opposite) < 0.6


def test_pointing_counts_what_another_place_decides(played: Demo) -> None:
    answers = played[3]
    related = [answer for answer in answers if answer.action not in FAMILIES["motion"]]
    assert demo.pointing(answers).num_maps == len(related) > 0
    away = torch.zeros(8, 8)
    answer = related[0]
    x1, y1, x2, y2 = (float(value) * 8 for value in answer.moment.places(answer.actor, answer.action)[0])
    away[int((y1 + y2) / 2), int((x1 + x2) / 2)] = 1
    assert demo.pointing([replace(answer, activation=away)]).num_hits == 1
    assert demo.pointing([replace(answer, activation=away.flip(0, 1))]).num_hits == 0


def test_the_picture_has_the_surest_answer_of_each_action(played: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _, _, answers = played
    drawn: list[RelationExample] = []

    def keep(examples: list[RelationExample], *, title: str, about: tuple[str, ...]) -> Tensor:
        assert title.endswith("?")
        assert demo.pointing_in_words(demo.pointing(answers)) in about
        drawn.extend(examples)
        return torch.zeros(4, 4, 3, dtype=torch.uint8)

    monkeypatch.setattr(demo, "draw_relations", keep)
    demo.draw(files, answers, demo.pointing(answers), overwrite=True)
    assert [example.action for example in drawn] == list(demo.EXAMPLES)
    for example in drawn:
        clear = [answer for answer in answers if answer.action == example.action]
        if example.action in ("walk", "wave"):  # of people who do not do both
            other = "wave" if example.action == "walk" else "walk"
            clear = [answer for answer in clear if other not in answer.moment.scene.evidence(answer.actor)]
        assert example.score == max(answer.score for answer in clear)
        is_motion = example.action in FAMILIES["motion"]
        assert (example.activation is None) == is_motion == (len(example.places) == 0) == (example.later is not None)


def test_files_of_an_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "write_shots", lambda path, _scenes, _side: path.touch(exist_ok=False))
    files = demo.prepare(tmp_path)
    before = files.boxes.read_bytes()
    files.boxes.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        demo.prepare(tmp_path)
    assert files.boxes.read_text() == "mine"
    demo.prepare(tmp_path, overwrite=True)
    assert files.boxes.read_bytes() == before


def test_nothing_to_point_at() -> None:
    assert "no relation map" in demo.pointing_in_words(demo.pointing([]))
