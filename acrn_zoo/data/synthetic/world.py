"""The small world: scenes whose actions are known by construction, and so are the places that decide them.

A scene has people in robes of two colours, one for the upper half and one for the lower, and things of two colours
likewise, all moving a little, each in a place of its own. Seven actions, in three families:

========== ==================================================================================================
motion     *stand* or *walk*, and *wave*: seen in the person's own box, from several frames only
object     *play with a ball*, *guard a box*: a ball (a box) **of the colours of the person's robe** is in the scene
partner    *greet*, *accompany*: somebody else **in a robe of these colours** waves (walks)
========== ==================================================================================================

A scene is painted with few colours: two for upper halves and two for lower halves, drawn from those of the world. Every
robe and every thing takes one of the four looks that they make, independently of all others. Therefore

- a person's own box tells nothing about the object and partner actions: places are drawn before anything else, looks
  and motion of every figure on their own, and the others keep out of the box;
- each half of a robe is often there, somewhere on a ball, but are both on the same one? One who knows no more than that
  reaches an AP of 0.8; one who has the lists of all upper and all lower colours of every kind of figure can work out
  more, 0.93 to 0.97, and one who compares the person with each place, everything.

A third shape, kites to *fly*, makes an eighth action where it is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from acrn_zoo.data.transforms import sample_random

Family = Literal["motion", "object", "partner"]
Shape = Literal["ball", "box", "kite"]
Colors = tuple[int, int]
_T = TypeVar("_T")

SHAPES: dict[Shape, str] = {"ball": "play with a ball", "box": "guard a box", "kite": "fly a kite"}
"""Shapes of things, and what those whom they match do with them."""

COLORS = ("#d62020", "#f2e21d", "#27a427", "#23cfd6", "#2545e0", "#e83fd0", "#f8f8f8", "#141416")
"""Colours of robes and things."""

PERSON_SIZE = (0.3, 0.2)  # height and width, as fractions of the frame's side
THING_SIZE = 0.2
SWAY = 0.02  # how far things move up and down, to each side
_MARGIN = 0.012  # free space round everything
_SPEED = (0.12, 0.2)  # of walking, sides a second
_WAVES = (1.3, 1.9)  # swings of the arm a second
_ROWS = ("pp", "ptt", "ptt")  # the places of a scene, in each row: p for a person, t for a thing
_NUM_PLACES = {kind: sum(row.count(kind) for row in _ROWS) for kind in "pt"}


def _room_to_walk(row: str) -> float:
    """What each person of a row may have beside the own width, in sides of the frame."""
    return (1 - row.count("t") * THING_SIZE - (len(row) + 1) * _MARGIN) / row.count("p") - PERSON_SIZE[1]


MOST_SECONDS = math.floor(10 * min(map(_room_to_walk, _ROWS)) / _SPEED[1]) / 10
"""So long a scene may last: then those who walk have used up the room of a row."""


@dataclass(frozen=True)
class Difficulty:
    """How hard the scenes are.

    Args:
        num_people: least and most people of a scene, at most 4.
        num_things: least and most things of a scene, at most 4.
        num_shapes: of things, 1 to 3; each is an action more.
        num_colors: of the world, 2 to 8; the square of it is how many looks there are.
        num_scene_colors: how many of these the upper halves of one scene have, and how many the lower halves. With 1
            all figures of a scene look alike; the more there are, the rarer do two of them.

    Raises:
        ValueError: if a number is none that scenes can be made with.
    """

    num_people: tuple[int, int] = (3, 4)
    num_things: tuple[int, int] = (3, 4)
    num_shapes: int = 2
    num_colors: int = 4
    num_scene_colors: int = 2

    def __post_init__(self) -> None:
        room = {"num_people": _NUM_PLACES["p"], "num_things": _NUM_PLACES["t"]}
        for name, (low, high) in (("num_people", self.num_people), ("num_things", self.num_things)):
            if not 0 <= low <= high <= room[name]:
                raise ValueError(f"{name} is {(low, high)}, expected 0 <= least <= most <= {room[name]}")
        for name, number, least, most in (
            ("num_shapes", self.num_shapes, 1, len(SHAPES)),
            ("num_colors", self.num_colors, 2, len(COLORS)),
            ("num_scene_colors", self.num_scene_colors, 1, self.num_colors),
        ):
            if not least <= number <= most:
                raise ValueError(f"{name} is {number}, expected {least} to {most}")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes that things have."""
        return tuple(SHAPES)[: self.num_shapes]

    @property
    def families(self) -> dict[Family, tuple[str, ...]]:
        """The actions by what they depend on."""
        return {
            "motion": ("stand", "walk", "wave"),
            "object": tuple(SHAPES[shape] for shape in self.shapes),
            "partner": ("greet", "accompany"),
        }

    @property
    def categories(self) -> tuple[str, ...]:
        """All actions; the id of one is its place here, from 1 on."""
        return tuple(action for actions in self.families.values() for action in actions)


FAMILIES = Difficulty().families
CATEGORIES = Difficulty().categories
"""Those of the world as it is by default."""


@dataclass(frozen=True)
class Person:
    """One actor. Places are those at the middle of the scene's time, in fractions of the frame's side.

    Args:
        x: of the box's middle.
        y: of the box's middle.
        colors: of the upper and the lower half of the robe, indices into :data:`COLORS`.
        speed: sides a second to the right; 0 for one who stands.
        is_waving: whether the raised arm swings.
        swings: of the arm, a second, if it does.
        phase: where in its swing the arm is at the middle, 0 to 1; for a still arm, where it stays.
        looks: 0 to 1, chooses the skin.
    """

    x: float
    y: float
    colors: Colors
    speed: float
    is_waving: bool
    swings: float
    phase: float
    looks: float

    def box(self, time: float) -> tuple[float, float, float, float]:
        """Where it is ``time`` seconds from the middle: xyxy in fractions of the frame."""
        height, width = PERSON_SIZE
        x = self.x + self.speed * time
        return x - width / 2, self.y - height / 2, x + width / 2, self.y + height / 2

    def arm(self, time: float) -> float:
        """How far the arm is swung at ``time``, -1 (forward) to 1 (back)."""
        return float(np.sin(2 * np.pi * (self.phase + (self.swings * time if self.is_waving else 0.0))))


@dataclass(frozen=True)
class Thing:
    """A ball, a box or a kite; ``x`` and ``y`` of its middle, ``phase`` and ``swings`` (a second) of its sway."""

    x: float
    y: float
    colors: Colors
    shape: Shape
    swings: float
    phase: float

    def box(self, time: float) -> tuple[float, float, float, float]:
        """Where it is ``time`` seconds from the middle: xyxy in fractions of the frame."""
        half = THING_SIZE / 2
        y = self.y + SWAY * float(np.sin(2 * np.pi * (self.phase + self.swings * time)))
        return self.x - half, y - half, self.x + half, y + half


@dataclass(frozen=True)
class Scene:
    """What one shot shows: people and things, for ``seconds`` round the moment 0."""

    people: tuple[Person, ...]
    things: tuple[Thing, ...]
    seconds: float
    backdrop: int

    def evidence(self, index: int) -> dict[str, tuple[Person | Thing, ...]]:
        """The actions of one person, each with what decides it: nothing for those of the person's own motion."""
        person = self.people[index]
        own: dict[str, tuple[Person | Thing, ...]] = {"walk" if person.speed else "stand": ()}
        if person.is_waving:
            own["wave"] = ()
        matching = {
            action: tuple(figure for figure in figures if figure.colors == person.colors)
            for action, figures in self._candidates(index).items()
        }
        return own | {action: figures for action, figures in matching.items() if figures}

    def rivals(self, index: int) -> dict[str, tuple[Person | Thing, ...]]:
        """For each relation of one person, what would decide it if it had the person's colours, and has not."""
        colors = self.people[index].colors
        candidates = self._candidates(index).items()
        return {
            action: tuple(figure for figure in figures if figure.colors != colors) for action, figures in candidates
        }

    def _candidates(self, index: int) -> dict[str, tuple[Person | Thing, ...]]:
        """Of each relation, the figures of the right kind, whatever their colours."""
        others = self.people[:index] + self.people[index + 1 :]
        return {
            **{
                action: tuple(thing for thing in self.things if thing.shape == shape)
                for shape, action in SHAPES.items()
            },
            "greet": tuple(other for other in others if other.is_waving),
            "accompany": tuple(other for other in others if other.speed != 0),
        }


def draw_scene(seed: int, video: int, shot: int, *, seconds: float = 1.0, difficulty: Difficulty) -> Scene:
    """A scene that depends on ``seed``, ``video`` and ``shot`` alone.

    Args:
        seed: of the world.
        video: number of the video.
        shot: number of the scene in its video.
        seconds: how long it lasts; people must not meet anything in that time.
        difficulty: how many people, things and colours.

    Raises:
        ValueError: if it lasts longer than :data:`MOST_SECONDS`.
    """
    if seconds > MOST_SECONDS:
        raise ValueError(f"seconds is {seconds}, expected at most {MOST_SECONDS}: people would leave their room")
    random = _Dice(sample_random(seed, video, shot))
    # Places first, of all that could be there: so they tell nothing about what is there.
    for_people, for_things = _places(random, seconds)
    looks = _looks(random, difficulty)
    num_people, num_things = random.integer(*difficulty.num_people), random.integer(*difficulty.num_things)
    people = tuple(_person(random, *place, random.choice(looks)) for place in for_people[:num_people])
    things = tuple(_thing(random, *place, random.choice(looks), difficulty) for place in for_things[:num_things])
    return Scene(people, things, seconds, random.integer(0, 2**31 - 1))


def _places(random: "_Dice", seconds: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """The middles (x, y) of places for people and of places for things, in random order.

    Those who stand get as much room as those who walk, lest a single frame tell them apart.
    """
    person, thing = PERSON_SIZE[1] + _SPEED[1] * seconds, THING_SIZE
    for_people: list[tuple[float, float]] = []
    for_things: list[tuple[float, float]] = []
    for number, row in enumerate(random.shuffled(_ROWS)):
        kinds = random.shuffled(row)
        widths = [person if kind == "p" else thing for kind in kinds]
        parts = [0.1 + random.number() for _ in range(len(row) + 1)]  # of the gaps
        free = 1 - sum(widths) - len(parts) * _MARGIN
        x = 0.0
        for part, kind, width in zip(parts, kinds, widths, strict=False):
            height = PERSON_SIZE[0] if kind == "p" else THING_SIZE + 2 * SWAY
            x += _MARGIN + free * part / sum(parts) + width / 2
            play = (1 / len(_ROWS) - height - _MARGIN) / 2
            y = (number + 0.5) / len(_ROWS) + random.between(-play, play)
            (for_people if kind == "p" else for_things).append((x, y))
            x += width / 2
    return random.shuffled(for_people), random.shuffled(for_things)


def _looks(random: "_Dice", difficulty: Difficulty) -> list[Colors]:
    """All looks of a scene: each of its upper colours over each of its lower ones."""
    colors = range(difficulty.num_colors)
    uppers, lowers = (random.shuffled(colors)[: difficulty.num_scene_colors] for _ in range(2))
    return [(upper, lower) for upper in uppers for lower in lowers]


def _person(random: "_Dice", x: float, y: float, colors: Colors) -> Person:
    speed = random.between(*_SPEED) * random.choice((-1.0, 1.0))
    is_walking, is_waving = random.chance(0.5), random.chance(0.5)
    swings, phase, looks = random.between(*_WAVES), random.number(), random.number()
    return Person(x, y, colors, speed if is_walking else 0.0, is_waving, swings, phase, looks)


def _thing(random: "_Dice", x: float, y: float, colors: Colors, difficulty: Difficulty) -> Thing:
    return Thing(x, y, colors, random.choice(difficulty.shapes), random.between(0.4, 1.2), random.number())


class _Dice:
    """Random choices made of the numbers from 0 to 1 alone, whose rule is the same in every version of NumPy."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def number(self) -> float:
        return float(self._generator.random())

    def chance(self, probability: float) -> bool:
        return self.number() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.number()

    def integer(self, low: int, high: int) -> int:
        return low + int(self.number() * (high - low + 1))

    def choice(self, options: Sequence[_T]) -> _T:
        return options[self.integer(0, len(options) - 1)]

    def shuffled(self, values: Sequence[_T]) -> list[_T]:
        order = np.argsort(self._generator.random(len(values)), kind="stable")
        return [values[index] for index in order]
