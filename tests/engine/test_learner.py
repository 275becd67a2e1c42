"""What a run is made of between two steps."""

import torch

from acrn_zoo.engine.learner import Position, random_state, set_random_state


def test_position() -> None:
    position = Position(epoch=1, step=5, best=0.5)
    position.add_step(2.0, 0.5, 0.25)
    position.add_step(1.0, 0.5, 0.25)
    assert position == Position(epoch=1, step=7, step_of_epoch=2, loss=3.0, seconds=1.0, waiting=0.5, best=0.5)
    position.begin_epoch()
    assert position == Position(epoch=2, step=7, best=0.5)


def test_random_state() -> None:
    before = random_state(torch.device("cpu"))
    drawn = torch.rand(3)
    set_random_state(before, torch.device("cpu"))
    assert torch.equal(torch.rand(3), drawn)
