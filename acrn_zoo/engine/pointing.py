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
        rivals: likewise, figures of the same kind that did not decide; not there where there are none.
    """

    persons: dict[tuple[str, int, tuple[float, ...]], int]
    boxes: dict[_Key, npt.NDArray[np.float64]]
    rivals: dict[_Key, npt.NDArray[np.float64]]

    @classmethod
    def read(cls, annotations: Path, places: Path) -> "Places":
        """Read a split's annotations and its places.

        Raises:
            UserError: if one of the two cannot be read.
        """
        people = read_annotations(annotations).drop_duplicates(["video_id", "timestamp", "person_id"])
        rows = zip(*_moments(people), people[list(BOX_COLUMNS)].to_numpy(), people["person_id"], strict=True)
        persons = {(str(video), moment, tuple(box.tolist())): int(person) for video, moment, box, person in rows}
        table = read_places(places)
        decides = table["decides"] == 1
        return cls(persons, _boxes_by_key(table[decides]), _boxes_by_key(table[~decides]))


def _boxes_by_key(table: pd.DataFrame) -> dict[_Key, npt.NDArray[np.float64]]:
    boxes: dict[_Key, list[npt.NDArray[np.float64]]] = {}
    columns = (*_moments(table), table["person_id"], table["action_id"], table[list(BOX_COLUMNS)].to_numpy())
    for video, moment, person, action, box in zip(*columns, strict=True):
        boxes.setdefault((str(video), moment, int(person), int(action)), []).append(box)
    return {key: np.array(value) for key, value in boxes.items()}


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
    among_rivals: bool = False,
) -> dict[str, Pointing]:
    """Point with the class activation of the relation map, for every true positive.

    Args:
        model: with an actor-centric relation; in evaluation mode.
        dataset: of annotated people.
        places: of the same split.
        threshold: an action that a person does counts if its score is above it.
        tolerance: cells, see :func:`acrn_zoo.evaluation.pointing.point`.
        among_rivals: look only at maps of scenes that have a rival, too: a figure of the right kind and the wrong
            colours. Elsewhere a map that knows the kind alone points rightly.

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
        for actor, action, key in _deciding(dataset, index, batch, places):
            rivals = places.rivals.get(key, ())
            if torch.sigmoid(logits[actor, action]) > threshold and (len(rivals) or not among_rivals):
                name = dataset.categories[action]
                activation = _within_frame(maps[actor, action], batch, model.backbone.spatial_stride)
                one = point(activation, places.boxes[key], rivals=rivals, tolerance=tolerance)
                found[name] = found.get(name, Pointing()) + one
    return found


def _deciding(dataset: EvaluationDataset, index: int, batch: Batch, places: Places) -> Iterator[tuple[int, int, _Key]]:
    """Actor, column and key of every label of a sample that a place decided."""
    video_id, timestamp = batch.keyframes[0].video_id, batch.keyframes[0].timestamp
    moment = int(timestamp_key([timestamp])[0])
    for actor, box in enumerate(dataset.annotations.boxes(index)):
        person = places.persons[video_id, moment, tuple(box.tolist())]
        for action in batch.labels[actor].nonzero()[:, 0].tolist():
            key = (video_id, moment, person, action + 1)
            if key in places.boxes:
                yield actor, action, key


def _within_frame(activation: Tensor, batch: Batch, stride: int) -> npt.NDArray[np.float32]:
    """The map, without the cells that lie behind the frame's border."""
    height, width = batch.clip_size
    return activation[: max(height // stride, 1), : max(width // stride, 1)].float().cpu().numpy()
