"""Which boxes a clip is trained on, against MMAction2's own choice and its rule row by row."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from acrn_zoo.data.actors import match_proposals, training_actors
from acrn_zoo.data.transforms import sample_random

NOTHING = torch.zeros(0, 4)


def golden(shared: Path, case: int) -> dict[str, Tensor]:
    with np.load(shared / "reference" / "acrn" / "goldens" / "assign.npz") as content:
        names = [name for name in content.files if name.startswith(f"{case}/")]
        return {name.split("/")[1]: torch.from_numpy(np.asarray(content[name])) for name in names}


@pytest.mark.parametrize("case", range(6))
def test_as_published(shared: Path, case: int) -> None:
    expected = golden(shared, case)
    gt, labels, proposals = expected["gt"], expected["gt_labels"][:, 1:], expected["proposals"]
    assert torch.equal(match_proposals(gt, proposals) + 1, expected["assigned_gt_index_1based"])
    boxes, found = training_actors(gt, labels, proposals, sample_random(0, 0, 0), with_unmatched=True)
    assert torch.equal(boxes, expected["sampled_boxes"])
    assert torch.equal(found, expected["sampled_labels"][:, 1:])
    boxes, found = training_actors(gt, labels, proposals, sample_random(0, 0, 0))
    number = int(expected["n_pos"])
    assert torch.equal(boxes, expected["sampled_boxes"][:number])
    assert torch.equal(found, expected["sampled_labels"][:number, 1:])


def box(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y2]


def test_threshold_is_included() -> None:
    boxes = torch.tensor([box(0, 0, 10, 10)])
    proposals = torch.tensor([box(0, 0, 10, 10), box(0, 0, 9, 10), box(0, 0, 8.9, 10)])
    assert match_proposals(boxes, proposals).tolist() == [0, 0, -1]
    assert match_proposals(boxes, proposals, 0.85).tolist() == [0, 0, 0]
    assert match_proposals(boxes, proposals[2:]).tolist() == [-1]  # the best of its box, and not good enough


def test_a_box_takes_its_best_proposal_from_another() -> None:
    """The only proposal near the second box is nearer to the first: the second takes it all the same."""
    boxes = torch.tensor([box(0, 0, 100, 100), box(0, 0, 100, 96)])
    proposals = torch.tensor([box(0, 0, 100, 100), box(0, 0, 100, 99)])
    # IoU 1.00 and 0.99 with the first, 0.96 and 0.97 with the second
    assert match_proposals(boxes, proposals).tolist() == [0, 1]
    assert match_proposals(boxes[:1], proposals).tolist() == [0, 0]


@pytest.mark.parametrize(("boxes", "proposals"), [(0, 0), (0, 3), (3, 0)])
def test_without_people(boxes: int, proposals: int) -> None:
    whole = torch.tensor([box(0, 0, 5, 5)])
    labels = torch.ones(boxes, 4)
    found, of_them = training_actors(whole.expand(boxes, 4), labels, whole.expand(proposals, 4), sample_random(0, 0, 0))
    assert (found.shape, of_them.shape) == ((boxes, 4), (boxes, 4))
    filled, _ = training_actors(
        whole.expand(boxes, 4), labels, whole.expand(proposals, 4), sample_random(0, 0, 0), with_unmatched=True
    )
    assert len(filled) == boxes + proposals


def test_boxes_without_area_match_nothing() -> None:
    flat, whole = torch.tensor([box(3, 3, 3, 3)]), torch.tensor([box(0, 0, 5, 5)])
    found, _ = training_actors(flat, torch.ones(1, 2), flat, sample_random(0, 0, 0))
    assert len(found) == 1
    assert match_proposals(torch.cat([flat, whole]), torch.cat([flat, whole])).tolist() == [-1, 1]


def many(number: int) -> Tensor:
    """Boxes that are far from each other, numbered by their left side."""
    left = torch.arange(number) * 100.0
    return torch.stack([left, torch.zeros(number), left + 10, torch.full((number,), 10.0)], dim=1)


def test_too_many_are_drawn_at_random() -> None:
    labels = torch.arange(40.0).unsqueeze(1) + 1
    draws = [training_actors(many(40), labels, NOTHING, sample_random(0, epoch, 0)) for epoch in range(100)]
    for boxes, of_them in draws:
        assert len(boxes) == 32
        assert torch.equal(boxes[:, 0] / 100 + 1, of_them[:, 0])
        assert (boxes[:, 0].diff() > 0).all()
    seen = torch.cat([of_them[:, 0] for _, of_them in draws]).long().bincount(minlength=41)[1:]
    assert 60 <= seen.min() <= seen.max() <= 97  # 80 expected each, standard deviation 4
    again, _ = training_actors(many(40), labels, NOTHING, sample_random(0, 99, 0))
    assert torch.equal(again, draws[-1][0])


def test_annotated_and_matched_are_drawn_alike() -> None:
    boxes, labels = many(20), torch.ones(20, 3)
    counts = []
    for epoch in range(200):
        found, _ = training_actors(boxes, labels, boxes + 0.1, sample_random(0, epoch, 0), maximum=10)
        counts.append(int((found[:, 1] == 0).sum()))
    assert 4.5 < sum(counts) / 200 < 5.5


def test_the_rest_fills_up() -> None:
    proposals = many(50)
    boxes, labels = training_actors(
        proposals[:4], torch.ones(4, 2), proposals, sample_random(3, 0, 0), maximum=12, with_unmatched=True
    )
    assert len(boxes) == 12
    assert torch.equal(boxes[:8], proposals[[0, 1, 2, 3, 0, 1, 2, 3]])
    assert labels.sum(dim=1).tolist() == [2] * 8 + [0] * 4
    assert len(set(boxes[8:, 0].tolist())) == 4
    assert (boxes[8:, 0] >= 400).all()


def test_inputs_stay_as_they_are() -> None:
    boxes, labels, proposals = many(40), torch.ones(40, 2), many(60)
    before = boxes.clone(), labels.clone(), proposals.clone()
    training_actors(boxes, labels, proposals, sample_random(0, 0, 0), with_unmatched=True)
    assert all(torch.equal(one, other) for one, other in zip(before, (boxes, labels, proposals), strict=True))


def test_at_least_one_actor() -> None:
    with pytest.raises(ValueError, match="maximum is 0"):
        training_actors(NOTHING, torch.zeros(0, 1), NOTHING, sample_random(0, 0, 0), maximum=0)
