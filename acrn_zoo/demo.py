"""The whole way once, offline: a generated video, its people, a small trained model, and what comes out."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from acrn_zoo.boxes import scale_boxes
from acrn_zoo.data.clips import read_clips
from acrn_zoo.data.synthetic.drawing import draw_backdrop, draw_frame
from acrn_zoo.data.synthetic.small_world import LABEL_MAP, write_shots
from acrn_zoo.data.synthetic.world import CATEGORIES, FAMILIES, Difficulty, Scene, draw_scene
from acrn_zoo.data.video import VideoReader
from acrn_zoo.evaluation.ava import AvaEvaluator
from acrn_zoo.evaluation.pointing import Pointing, point
from acrn_zoo.files import require_writable
from acrn_zoo.predictor import ActionPredictor
from acrn_zoo.recorder import Recorder, make_folder
from acrn_zoo.structures import Detections
from acrn_zoo.tables import ANNOTATION_COLUMNS
from acrn_zoo.visualize import RelationExample, draw_relations, save_png
from acrn_zoo.zoo import slowfast_acrn_mini

ABOUT = (
    "A toy world: a small video of generated figures is drawn, and a small SlowFast-ACRN, trained on such scenes on "
    "2 CPU cores, says what each of them does. It has never seen this video. Nothing is downloaded."
)
NAME = "small_world"
SIDE = 480  # of the frames in pixels; the model looks at them at 64
# Of a world that nobody trains on. It is the first seed from 1000 on in whose shots every action is done, and by a
# share of the people that is within 0.1 of the share in all scenes.
SEED, NUM_SHOTS, SECONDS = 1008, 8, 1.4
TIMES = (-0.3, -0.1, 0.1, 0.3)  # keyframes of a shot, from its middle: their clips stay in the shot
THRESHOLD = 0.5
LATER = 0.4  # seconds: the second picture of an action that shows in its motion

EXAMPLES = {
    "play with a ball": "= a ball in the colours of the robe is in the scene",
    "guard a box": "= a box in the colours of the robe is in the scene",
    "greet": "= somebody else in a robe of these colours waves",
    "accompany": "= somebody else in a robe of these colours walks",
    "walk": f"own motion, no place decides; right: {LATER} s later",
    "wave": f"own motion, no place decides; right: {LATER} s later",
}
"""The actions of the picture in its order, and what each of them means in this world."""


@dataclass(frozen=True, eq=False)
class Moment:
    """One keyframe of the video.

    Args:
        timestamp: seconds from the start of the video.
        scene: what is seen.
        time: seconds from the middle of the scene.
    """

    timestamp: float
    scene: Scene
    time: float

    def boxes(self) -> Tensor:
        """The people ``[R, 4]``, xyxy in fractions of the frame."""
        return torch.tensor([person.box(self.time) for person in self.scene.people]).reshape(-1, 4)

    def places(self, actor: int, action: str) -> Tensor:
        """What decides an action of a person ``[P, 4]``, xyxy in fractions of the frame."""
        evidence = self.scene.evidence(actor).get(action, ())
        return torch.tensor([place.box(self.time) for place in evidence]).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class Answer:
    """An action that the model sees rightly.

    Args:
        moment: when.
        frame: ``[H, W, 3]`` uint8 RGB.
        actor: which person of the scene.
        action: its name.
        score: above :data:`THRESHOLD`.
        activation: ``[h, w]``, its relation map.
    """

    moment: Moment
    frame: Tensor
    actor: int
    action: str
    score: float
    activation: Tensor


@dataclass(frozen=True)
class DemoFiles:
    """What the demo writes besides the results.

    Args:
        video: the generated video.
        boxes: where its people are.
        picture: the relation maps.
    """

    video: Path
    boxes: Path
    picture: Path


def moments() -> list[Moment]:
    """The keyframes of the video, in order."""
    scenes = [draw_scene(SEED, 0, shot, seconds=SECONDS, difficulty=Difficulty()) for shot in range(NUM_SHOTS)]
    return [
        Moment(round((shot + 0.5) * SECONDS + time, 3), scene, time)
        for shot, scene in enumerate(scenes)
        for time in TIMES
    ]


def prepare(folder: Path, *, overwrite: bool = False) -> DemoFiles:
    """Write the video and the boxes of its people.

    Raises:
        UserError: if a file exists or cannot be written.
    """
    make_folder(folder)
    files = DemoFiles(folder / f"{NAME}.mp4", folder / f"{NAME}_boxes.csv", folder / f"{NAME}_relations.png")
    for path in (files.video, files.boxes, files.picture):
        require_writable(path, overwrite=overwrite)
    files.video.unlink(missing_ok=True)
    all_moments = moments()
    write_shots(files.video, [moment.scene for moment in all_moments[:: len(TIMES)]], SIDE)
    with files.boxes.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "x1", "y1", "x2", "y2"])
        for moment in all_moments:
            rows.writerows([moment.timestamp, *(round(value, 4) for value in box)] for box in moment.boxes().tolist())
    return files


def recorder(folder: Path, *, overwrite: bool = False) -> Recorder:
    """What writes the demo's results."""
    return Recorder(
        folder / f"{NAME}.mp4",
        folder,
        hold=TIMES[1] - TIMES[0],
        top=len(CATEGORIES),
        threshold=THRESHOLD,
        overwrite=overwrite,
    )


def create_predictor(files: DemoFiles) -> ActionPredictor:
    """The small model, with the known people."""
    return ActionPredictor(slowfast_acrn_mini(), files.boxes, device="cpu")


def mean_average_precision(found: Iterable[Detections]) -> float:
    """The mAP of what was found, all scores counted, by AVA's official rule against the known truth."""
    rows = [
        (NAME, moment.timestamp, *box, CATEGORIES.index(action) + 1, actor)
        for moment in moments()
        for actor, box in enumerate(moment.boxes().tolist())
        for action in moment.scene.evidence(actor)
    ]
    truth = pd.DataFrame(rows, columns=list(ANNOTATION_COLUMNS))
    evaluator = AvaEvaluator(truth, LABEL_MAP)
    for detections in found:
        boxes = scale_boxes(detections.boxes, detections.frame_size, (1, 1))
        evaluator.update(NAME, detections.keyframe.timestamp, boxes, detections.scores)
    return evaluator.compute()["mAP"]


@torch.inference_mode()
def right_answers(files: DemoFiles, predictor: ActionPredictor) -> Iterator[Answer]:
    """Every action that the model sees rightly, with its relation map."""
    known = {moment.timestamp: moment for moment in moments() if moment.scene.people}
    with VideoReader(files.video) as video:
        for clip in read_clips(video, known, predictor.sampling, predictor.transform.resize):
            moment, size = known[clip.timestamp], (int(clip.frames.shape[1]), int(clip.frames.shape[2]))
            boxes = scale_boxes(moment.boxes(), (1, 1), size)
            logits, maps = predictor.model.forward_with_maps(predictor.transform.normalize(clip.frames)[None], [boxes])
            for actor, scores in enumerate(logits.sigmoid().tolist()):
                for action in moment.scene.evidence(actor):
                    column = CATEGORIES.index(action)
                    if scores[column] > THRESHOLD:
                        yield Answer(moment, clip.keyframe, actor, action, scores[column], maps[actor, column])


def pointing(answers: Iterable[Answer]) -> Pointing:
    """How often the highest place of a relation map is one that decided; only where a place decided."""
    found = Pointing()
    for answer in answers:
        places = answer.moment.places(answer.actor, answer.action)
        if len(places):
            found += point(answer.activation, places)
    return found


def pointing_in_words(found: Pointing) -> str:
    """One line."""
    if not found.num_maps:
        return "No right answer that another place decides, so no relation map to look at."
    return (
        f"Relation maps are brightest at what decides in {found.num_hits} of {found.num_maps} right answers "
        f"in {NUM_SHOTS} scenes ({found.accuracy:.0%}; by chance {found.chance_accuracy:.0%})."
    )


def draw(files: DemoFiles, answers: Sequence[Answer], found: Pointing, *, overwrite: bool = False) -> None:
    """Write one picture of relation maps: of each action the answer with the highest score."""
    shown = {action: [answer for answer in answers if _shows(answer, action)] for action in EXAMPLES}
    surest = {action: max(some, key=lambda answer: answer.score) for action, some in shown.items() if some}
    about = (
        "A toy world: generated scenes, and a small ACRN that has never seen them, trained on 2 CPU cores.",
        "For each action the surest right answer: left, the person; right, where in the scene the model sees it.",
        pointing_in_words(found),
    )
    examples = [_example(answer) for answer in surest.values()]
    picture = draw_relations(examples, title="Which place in the scene tells what a person does?", about=about)
    save_png(files.picture, picture, overwrite=overwrite)


def _shows(answer: Answer, action: str) -> bool:
    """Whether an answer is of an action; where that is motion, of nothing but this motion."""
    moving = {"walk", "wave"} & answer.moment.scene.evidence(answer.actor).keys()
    return answer.action == action and (action not in FAMILIES["motion"] or moving == {action})


def _example(answer: Answer) -> RelationExample:
    is_motion = answer.action in FAMILIES["motion"]
    moment, scene = answer.moment, answer.moment.scene
    later = draw_frame(scene, moment.time + LATER, SIDE, draw_backdrop(scene, SIDE))
    return RelationExample(
        frame=answer.frame,
        box=moment.boxes()[answer.actor] * SIDE,
        action=answer.action,
        score=answer.score,
        note=EXAMPLES[answer.action],
        activation=None if is_motion else answer.activation,
        places=moment.places(answer.actor, answer.action) * SIDE,
        later=torch.from_numpy(np.array(later)) if is_motion else None,
    )
