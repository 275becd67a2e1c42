"""The small world's rules: who does what follows from the scene, and nothing else gives it away."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from acrn_zoo.data.synthetic.world import (
    CATEGORIES,
    FAMILIES,
    MOST_SECONDS,
    Colors,
    Difficulty,
    Person,
    Scene,
    Shape,
    Thing,
    draw_scene,
)

RED, BLUE, RED_OVER_BLUE, BLUE_OVER_RED = (0, 0), (4, 4), (0, 4), (4, 0)
EVERY_COLOR = range(Difficulty().num_colors)
RELATIONS = (*FAMILIES["object"], *FAMILIES["partner"])


def scenes_of(num_scenes: int, **difficulty: Any) -> list[Scene]:
    return [draw_scene(3, shot, 0, difficulty=Difficulty(**difficulty)) for shot in range(num_scenes)]


def looks_of(scene: Scene) -> set[Colors]:
    return {person.colors for person in scene.people} | {thing.colors for thing in scene.things}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Of the world as it is by default."""
    return scenes_of(4000)


def person(colors: Colors, *, speed: float = 0.0, is_waving: bool = False) -> Person:
    return Person(0.5, 0.5, colors, speed, is_waving, 1.5, 0.3, 0.0)


def thing(colors: Colors, shape: Shape) -> Thing:
    return Thing(0.2, 0.2, colors, shape, 1.0, 0.0)


@pytest.mark.parametrize(
    ("people", "things", "expected"),
    [
        ([person(RED)], [], {"stand"}),
        ([person(RED, speed=0.2)], [], {"walk"}),
        ([person(RED, is_waving=True)], [], {"stand", "wave"}),
        ([person(RED)], [thing(RED, "ball")], {"stand", "play with a ball"}),
        ([person(RED)], [thing(BLUE, "ball")], {"stand"}),
        ([person(RED)], [thing(RED, "box"), thing(BLUE, "ball")], {"stand", "guard a box"}),
        ([person(RED_OVER_BLUE)], [thing(RED_OVER_BLUE, "ball")], {"stand", "play with a ball"}),
        ([person(RED_OVER_BLUE)], [thing(color, "ball") for color in (RED, BLUE, BLUE_OVER_RED)], {"stand"}),
        ([person(RED), person(RED, is_waving=True)], [], {"stand", "greet"}),
        ([person(RED), person(BLUE, is_waving=True)], [], {"stand"}),
        ([person(RED), person(RED, speed=-0.2)], [], {"stand", "accompany"}),
        ([person(RED), person(RED)], [], {"stand"}),
        ([person(RED), person(RED_OVER_BLUE, is_waving=True)], [], {"stand"}),
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


def test_rivals_are_of_the_kind_and_not_of_the_colors() -> None:
    balls, box = (thing(RED, "ball"), thing(RED_OVER_BLUE, "ball")), thing(BLUE, "box")
    walker = person(BLUE, speed=0.2)
    rivals = Scene((person(RED), walker, person(RED)), (*balls, box), 1.0, 0).rivals(0)
    assert rivals["play with a ball"] == balls[1:]
    assert rivals["guard a box"] == (box,)
    assert rivals["accompany"] == (walker,)
    assert rivals["greet"] == ()


def test_families_hold_every_action_once() -> None:
    for num_shapes in (1, 2, 3):
        difficulty = Difficulty(num_shapes=num_shapes)
        actions = [action for family in difficulty.families.values() for action in family]
        assert actions == list(difficulty.categories)
        assert len(set(actions)) == 5 + num_shapes
    assert Difficulty().families == FAMILIES
    assert Difficulty().categories == CATEGORIES


def test_as_many_shapes_as_wanted() -> None:
    shapes = {
        thing.shape
        for shot in range(50)
        for thing in draw_scene(0, 0, shot, difficulty=Difficulty(num_shapes=3)).things
    }
    assert shapes == {"ball", "box", "kite"}


@pytest.mark.parametrize("seconds", [0.5, 1.0, MOST_SECONDS])
def test_nothing_meets_nor_leaves_the_frame(seconds: float) -> None:
    full = Difficulty(num_people=(4, 4), num_things=(4, 4))
    for shot in range(60):
        scene = draw_scene(6, 0, shot, seconds=seconds, difficulty=full)
        present: list[Person | Thing] = [*scene.people, *scene.things]
        for time in np.linspace(-seconds / 2, seconds / 2, 5):
            boxes = [each.box(time) for each in present]
            assert all(0 <= value <= 1 for box in boxes for value in box)
            for a, b in combinations(boxes, 2):
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("number", range(5))
def test_places_do_not_depend_on_what_is_there(number: int) -> None:
    """Those that are taken are the first of all that there are."""
    full = Difficulty(num_people=(4, 4), num_things=(4, 4), num_shapes=3, num_colors=8)
    for shot in range(20):
        difficulty = Difficulty(num_people=(number, number), num_things=(4 - number, 4 - number))
        few, many = draw_scene(6, 0, shot, difficulty=difficulty), draw_scene(6, 0, shot, difficulty=full)
        assert [(each.x, each.y) for each in few.people] == [(each.x, each.y) for each in many.people[:number]]
        assert [(each.x, each.y) for each in few.things] == [(each.x, each.y) for each in many.things[: 4 - number]]


def test_too_long_a_scene() -> None:
    with pytest.raises(ValueError, match=f"at most {MOST_SECONDS}"):
        draw_scene(6, 0, 0, seconds=MOST_SECONDS + 0.1, difficulty=Difficulty())


def test_a_scene_depends_on_seed_video_and_shot_alone() -> None:
    keys = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    scenes = {key: draw_scene(*key, difficulty=Difficulty()) for key in keys}
    assert len(set(scenes.values())) == 4
    assert all(draw_scene(*key, difficulty=Difficulty()) == scenes[key] for key in reversed(keys))


def test_scenes_stay_what_they_are() -> None:
    """Published weights and their numbers are of these scenes."""
    scene = draw_scene(0, 0, 0, difficulty=Difficulty())
    assert [(each.colors, each.is_waving, round(each.speed, 4)) for each in scene.people] == [
        ((1, 2), False, 0.0),
        ((0, 2), False, 0.0),
        ((1, 2), True, 0.0),
        ((0, 1), False, 0.1431),
    ]
    assert [(each.colors, each.shape, round(each.x, 4)) for each in scene.things] == [
        ((1, 1), "box", 0.4024),
        ((1, 2), "ball", 0.1331),
        ((0, 2), "box", 0.1674),
        ((0, 1), "ball", 0.8488),
    ]


def test_difficulty_is_kept_to() -> None:
    scenes = scenes_of(300, num_people=(1, 3), num_things=(0, 2), num_colors=5, num_scene_colors=3)
    assert {len(scene.people) for scene in scenes} == {1, 2, 3}
    assert {len(scene.things) for scene in scenes} == {0, 1, 2}
    assert {color for colors in map(looks_of, scenes) for look in colors for color in look} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_a_scene_has_few_colors(number: int) -> None:
    difficulty = {"num_people": (4, 4), "num_things": (4, 4), "num_colors": 6, "num_scene_colors": number}
    looks = [looks_of(scene) for scene in scenes_of(300, **difficulty)]
    for half in (0, 1):
        assert max(len({look[half] for look in each}) for each in looks) == number


def test_looks_are_drawn_independently(scenes: list[Scene]) -> None:
    """Two figures of a scene agree in each half every other time, whether they agree in the other half or not."""
    pairs = [(scene.people[0], other) for scene in scenes for other in (scene.people[1], scene.things[0])]
    counts = Counter((a.colors[0] == b.colors[0], a.colors[1] == b.colors[1]) for a, b in pairs)
    assert [counts[upper, lower] / len(pairs) for upper in (False, True) for lower in (False, True)] == pytest.approx(
        [0.25] * 4, abs=0.02
    )


def test_the_own_box_says_nothing_about_relations(scenes: list[Scene]) -> None:
    """What is seen of a person, and where, leaves the frequency of relation labels as it is."""
    seen, labels = [], []
    for scene in scenes:
        for index, each in enumerate(scene.people):
            place = [each.x, each.y, abs(each.x - 0.5), abs(each.y - 0.5), abs(each.x - 0.5) * abs(each.y - 0.5)]
            motion = [each.speed != 0, each.speed, each.is_waving, each.speed != 0 and each.is_waving]
            colors = [color == known for color in each.colors for known in EVERY_COLOR]
            looks = [each.colors == (upper, lower) for upper in EVERY_COLOR for lower in EVERY_COLOR]
            seen.append([*place, *motion, each.arm(0.0), each.looks, *colors, *looks])
            labels.append([action in scene.evidence(index) for action in RELATIONS])
    own, related = np.array(seen, dtype=float), np.array(labels, dtype=float)
    correlation = np.corrcoef(own.T, related.T)[: own.shape[1], own.shape[1] :]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(own))


def share(scenes: list[Scene], action: str) -> float:
    return float(np.mean([action in scene.evidence(index) for scene in scenes for index in range(len(scene.people))]))


def test_how_often_each_action_is_done(scenes: list[Scene]) -> None:
    assert all(0.48 < share(scenes, action) < 0.52 for action in FAMILIES["motion"])
    assert all(0.34 < share(scenes, action) < 0.42 for action in FAMILIES["object"])
    assert all(0.27 < share(scenes, action) < 0.32 for action in FAMILIES["partner"])
    without_palette = scenes_of(1000, num_colors=6, num_scene_colors=6)
    assert all(share(without_palette, action) < 0.07 for action in RELATIONS)


def precision_of_summary(scenes: list[Scene], action: str, *, with_lists: bool) -> float:
    """The best AP of one who knows which halves of a robe are on some figure of the right kind, and no pairs.

    With lists, such a one also knows how many upper and how many lower colours there are on figures of that kind.
    """
    answers: dict[tuple[int, ...], list[bool]] = {}
    for scene in scenes:
        for index, each in enumerate(scene.people):
            deciding = scene.evidence(index).get(action, ())
            figures = deciding + scene.rivals(index)[action]
            lists = [{figure.colors[half] for figure in figures} for half in (0, 1)]
            known = [each.colors[half] in lists[half] for half in (0, 1)]
            sizes = [len(colors) for colors in lists] if with_lists else []
            answers.setdefault((*known, *sizes), []).append(bool(deciding))
    ranked = sorted(answers.values(), key=np.mean, reverse=True)
    found, looked_at = np.cumsum([sum(group) for group in ranked]), np.cumsum([len(group) for group in ranked])
    return float((found / looked_at * np.diff(found, prepend=0)).sum() / found[-1])


@pytest.mark.parametrize(
    ("difficulty", "halves", "lists"),
    [
        ({}, (0.77, 0.87), (0.91, 0.98)),
        ({"num_shapes": 3}, (0.75, 0.9), (0.9, 0.99)),
        ({"num_scene_colors": 3}, (0.6, 0.85), (0.8, 0.95)),
        ({"num_scene_colors": 1}, (1, 1), (1, 1)),  # whoever has one half has the other
        ({"num_people": (2, 2), "num_things": (1, 1)}, (1, 1), (1, 1)),  # both halves can be on one figure only
    ],
)
def test_what_a_summary_without_pairs_can_know(
    difficulty: dict[str, Any], halves: tuple[float, float], lists: tuple[float, float]
) -> None:
    scenes = scenes_of(1500, **difficulty)
    for action in RELATIONS:
        assert halves[0] <= precision_of_summary(scenes, action, with_lists=False) <= halves[1]
        assert lists[0] <= precision_of_summary(scenes, action, with_lists=True) <= lists[1]


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
        ({"num_people": (1, 5)}, r"num_people is \(1, 5\), expected 0 <= least <= most <= 4"),
        ({"num_things": (1, 5)}, "num_things"),
        ({"num_things": (-1, 2)}, "num_things"),
        ({"num_shapes": 0}, "num_shapes"),
        ({"num_shapes": 4}, "num_shapes"),
        ({"num_colors": 9}, "num_colors"),
        ({"num_colors": 1}, "num_colors"),
        ({"num_scene_colors": 0}, "num_scene_colors"),
        ({"num_colors": 3, "num_scene_colors": 4}, "num_scene_colors is 4, expected 1 to 3"),
    ],
)
def test_impossible_difficulties(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Difficulty(**wrong)
