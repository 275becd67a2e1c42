"""What a detector's relation maps point at, measured on data that say which places decided (the small world)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from acrn_zoo.data.batch import Batch, collate
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.synthetic.small_world import read_places
from acrn_zoo.evaluation.pointing import Pointing, point
from acrn_zoo.models import ActionDetector
from acrn_zoo.tables import BOX_COLUMNS, read_annotations, timestamp_key

_Key = tuple[str, int, int, int]  # video, microseconds, person, action


@dataclass(frozen=True)
class Places:
    """Which places decided which actions.

    Args:
        persons: the person id of (video, microseconds, box).
        boxes: the places ``[P, 4]`` (fractions) of (video, microseconds, person, action).
    """

    persons: dict[tuple[str, int, tuple[float, ...]], int]
    boxes: dict[_Key, npt.NDArray[np.float64]]

    @classmethod
    def read(cls, annotations: Path, places: Path) -> "Places":
        """Read a split's annotations and its places.

        Raises:
            UserError: if the annotations cannot be read.
        """
        people = read_annotations(annotations).drop_duplicates(["video_id", "timestamp", "person_id"])
        rows = zip(*_moments(people), people[list(BOX_COLUMNS)].to_numpy(), people["person_id"], strict=True)
        persons = {(str(video), moment, tuple(box.tolist())): int(person) for video, moment, box, person in rows}
        table = read_places(places)
        boxes: dict[_Key, list[npt.NDArray[np.float64]]] = {}
        for video, moment, person, action, box in zip(
            *_moments(table), table["person_id"], table["action_id"], table[list(BOX_COLUMNS)].to_numpy(), strict=True
        ):
            boxes.setdefault((str(video), moment, int(person), int(action)), []).append(box)
        return cls(persons, {key: np.array(value) for key, value in boxes.items()})


def _moments(table: pd.DataFrame) -> tuple[pd.Series, list[int]]:
    return table["video_id"], timestamp_key(table["timestamp"]).tolist()


@torch.inference_mode()
def measure_pointing(
    model: ActionDetector,
    dataset: EvaluationDataset,
    places: Places,
    *,
    threshold: float = 0.5,
    tolerance: float = 1.0,
) -> dict[str, Pointing]:
    """Point with the class activation of the relation map, for every true positive.

    Args:
        model: with an actor-centric relation; in evaluation mode.
        dataset: of annotated people.
        places: of the same split.
        threshold: an action that a person does counts if its score is above it.
        tolerance: cells, see :func:`acrn_zoo.evaluation.pointing.point`.

    Returns:
        For every action with places, how often its maps pointed at one of them.

    Raises:
        TypeError: if the model's head has no map.
    """
    device = next(model.parameters()).device
    found: dict[str, Pointing] = {}
    for index in range(len(dataset)):
        batch = collate([dataset[index]]).to(device)
        logits, maps = model.forward_with_maps(batch.clips, batch.boxes)
        for actor, action, boxes in _deciding(dataset, index, batch, places):
            if torch.sigmoid(logits[actor, action]) > threshold:
                name = dataset.categories[action]
                activation = _within_frame(maps[actor, action], batch, model.backbone.spatial_stride)
                found[name] = found.get(name, Pointing()) + point(activation, boxes, tolerance=tolerance)
    return found


def _deciding(
    dataset: EvaluationDataset, index: int, batch: Batch, places: Places
) -> Iterator[tuple[int, int, npt.NDArray[np.float64]]]:
    """Actor, column and places of every label of a sample that a place decided."""
    video_id, timestamp = batch.keyframes[0].video_id, batch.keyframes[0].timestamp
    moment = int(timestamp_key([timestamp])[0])
    for actor, box in enumerate(dataset.annotations.boxes(index)):
        person = places.persons[video_id, moment, tuple(box.tolist())]
        for action in batch.labels[actor].nonzero()[:, 0].tolist():
            boxes = places.boxes.get((video_id, moment, person, action + 1))
            if boxes is not None:
                yield actor, action, boxes


def _within_frame(activation: Tensor, batch: Batch, stride: int) -> npt.NDArray[np.float32]:
    """The map, without the cells that lie behind the frame's border."""
    height, width = batch.clip_size
    return activation[: max(height // stride, 1), : max(width // stride, 1)].float().cpu().numpy()
