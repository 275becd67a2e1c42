"""The small world's rules: who does what follows from the scene, and nothing else gives it away."""

from itertools import combinations

import numpy as np
import pytest

from acrn_zoo.data.synthetic.world import (
    CATEGORIES,
    FAMILIES,
    Difficulty,
    Person,
    Scene,
    Shape,
    Thing,
    draw_scene,
)

RED, BLUE = 0, 5


def person(color: int, *, speed: float = 0.0, is_waving: bool = False) -> Person:
    return Person(0.5, 0.5, color, speed, is_waving, 1.5, 0.3, 0.0)


def thing(color: int, shape: Shape) -> Thing:
    return Thing(0.2, 0.2, color, shape, 1.0, 0.0)


@pytest.mark.parametrize(
    ("people", "things", "expected"),
    [
        ([person(RED)], [], {"stand"}),
        ([person(RED, speed=0.2)], [], {"walk"}),
        ([person(RED, is_waving=True)], [], {"stand", "wave"}),
        ([person(RED)], [thing(RED, "ball")], {"stand", "play with a ball"}),
        ([person(RED)], [thing(BLUE, "ball")], {"stand"}),
        ([person(RED)], [thing(RED, "kite"), thing(BLUE, "ball")], {"stand", "fly a kite"}),
        ([person(RED), person(RED, is_waving=True)], [], {"stand", "greet"}),
        ([person(RED), person(BLUE, is_waving=True)], [], {"stand"}),
        ([person(RED), person(RED, speed=-0.2)], [], {"stand", "accompany"}),
        ([person(RED), person(RED)], [], {"stand"}),
    ],
)
def test_actions_of_the_first_person(people: list[Person], things: list[Thing], expected: set[str]) -> None:
    scene = Scene(tuple(people), tuple(things), 1.0, 0)
    assert set(scene.evidence(0)) == expected


def test_evidence_names_every_place_that_decides() -> None:
    balls = (thing(RED, "ball"), thing(BLUE, "ball"), thing(RED, "ball"))
    friend = person(RED, speed=0.2, is_waving=True)
    evidence = Scene((person(RED), friend), balls, 1.0, 0).evidence(0)
    assert evidence["play with a ball"] == (balls[0], balls[2])
    assert evidence["greet"] == evidence["accompany"] == (friend,)
    assert evidence["stand"] == ()


def test_families_hold_every_action_once() -> None:
    assert sorted(action for actions in FAMILIES.values() for action in actions) == sorted(CATEGORIES)


def test_nothing_meets_in_a_scene() -> None:
    for shot in range(100):
        scene = draw_scene(0, 0, shot, difficulty=Difficulty())
        present: list[Person | Thing] = [*scene.people, *scene.things]
        for time in (-0.5, -0.2, 0.0, 0.4, 0.5):
            boxes = [each.box(time) for each in present]
            assert all(0 <= value <= 1 for box in boxes for value in box)
            for a, b in combinations(boxes, 2):
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_a_scene_depends_on_seed_video_and_shot_alone() -> None:
    scenes = {key: draw_scene(*key, difficulty=Difficulty()) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}
    assert len(set(scenes.values())) == 4
    assert all(draw_scene(*key, difficulty=Difficulty()) == scene for key, scene in scenes.items())


def test_the_own_box_says_nothing_about_relations() -> None:
    """What is seen of a person (colour, walking, waving, looks) leaves the frequency of relation labels as it is."""
    seen, labels = [], []
    for shot in range(4000):
        scene = draw_scene(3, 0, shot, difficulty=Difficulty())
        for index, each in enumerate(scene.people):
            actions = scene.evidence(index)
            seen.append([each.color < 4, each.color % 2, each.speed != 0, each.speed > 0, each.is_waving])
            labels.append([action in actions for action in CATEGORIES[3:]])
    looks, related = np.array(seen, dtype=float), np.array(labels, dtype=float)
    assert 0.25 < related.mean(axis=0).min() < related.mean(axis=0).max() < 0.5
    correlation = np.corrcoef(looks.T, related.T)[: looks.shape[1], looks.shape[1] :]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(looks))


def test_a_frame_alone_does_not_show_waving() -> None:
    """The arm of one who waves is at any moment where that of one who does not may be."""
    arms: dict[bool, list[float]] = {True: [], False: []}
    for shot in range(2000):
        for each in draw_scene(4, 0, shot, difficulty=Difficulty()).people:
            arms[each.is_waving].append(each.arm(0.1))
    waving, still = (np.histogram(arms[key], bins=8, range=(-1, 1), density=True)[0] for key in (True, False))
    assert np.abs(waving - still).max() < 0.15


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"num_people": (3, 2)}, "num_people"),
        ({"num_things": (-1, 2)}, "num_things"),
        ({"num_colors": 9}, "num_colors"),
        ({"num_colors": 1}, "num_colors"),
        ({"matching": 1.5}, "matching"),
        ({"sharing": -0.1}, "sharing"),
    ],
)
def test_impossible_difficulties(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Difficulty(**wrong)  # type: ignore[arg-type]


def test_difficulty_is_kept_to() -> None:
    difficulty = Difficulty(num_people=(1, 1), num_things=(2, 2), num_colors=3, matching=0.0)
    for shot in range(50):
        scene = draw_scene(0, 0, shot, difficulty=difficulty)
        assert (len(scene.people), len(scene.things)) == (1, 2)
        present: list[Person | Thing] = [*scene.people, *scene.things]
        assert all(each.color < 3 for each in present)
        assert set(scene.evidence(0)) <= {"stand", "walk", "wave"}
