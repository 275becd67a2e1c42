"""How well actions are told from a person's own pixels: everything but the person's room is grey."""

import torch
from torch import Tensor

from acrn_zoo.data.batch import collate
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.evaluation.ava import AvaEvaluator
from acrn_zoo.evaluation.ground_truth import read_ground_truth
from acrn_zoo.models import ActionDetector

ROOM = 0.1  # of the frame's width, on each side of a box: there people walk, and nobody else is


@torch.inference_mode()
def precisions_of_own_room(
    model: ActionDetector, dataset: EvaluationDataset, folder: DatasetFolder, split: str
) -> dict[str, float]:
    """AP of every action, 0 to 1, where each person is seen in a clip that is grey elsewhere.

    Args:
        model: in evaluation mode.
        dataset: the annotated people of a small world whose shots last a second.
        folder: of the dataset.
        split: of the dataset.
    """
    files = folder.split(split)
    truth = read_ground_truth(files.annotations, folder.evaluated_label_map, files.excluded)
    evaluator = AvaEvaluator(truth.annotations, truth.label_map)
    for index in range(len(dataset)):
        batch = collate([dataset[index]])
        (boxes,) = batch.boxes
        clips = torch.cat([only_room(batch.clips, box) for box in boxes]) if len(boxes) else batch.clips[:0]
        scores = model(clips, [box[None] for box in boxes]).sigmoid()
        keyframe = batch.keyframes[0]
        evaluator.update(keyframe.video_id, keyframe.timestamp, dataset.annotations.boxes(index), scores)
    return {name.removeprefix("AP/"): value for name, value in evaluator.compute().items() if name != "mAP"}


def only_room(clip: Tensor, box: Tensor) -> Tensor:
    """A copy of a clip ``[1, 3, T, H, W]`` that is grey (0, as it is normalised) outside one person's room.

    Args:
        clip: normalised.
        box: ``[4]``, xyxy in clip pixels.
    """
    height, width = clip.shape[-2:]
    x1, y1, x2, y2 = box.tolist()
    top, bottom = max(0, round(y1)), min(height, round(y2))
    left, right = max(0, round(x1 - ROOM * width)), min(width, round(x2 + ROOM * width))
    seen = torch.zeros_like(clip)
    seen[..., top:bottom, left:right] = clip[..., top:bottom, left:right]
    return seen
