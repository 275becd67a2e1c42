"""The small world: scenes whose actions are known by construction, and so are the places that decide them.

A scene has people in coloured robes and coloured things, all moving a little, each in a place of its own. Seven
actions, in three families:

========== ==================================================================================================
motion     *stand* or *walk*, and *wave*: seen in the person's own box, from several frames only
object     *play with a ball*, *fly a kite*: a ball (a kite) **of the colour of the person's robe** is in the scene
partner    *greet*, *accompany*: somebody else **in a robe of that colour** waves (walks)
========== ==================================================================================================

Nothing in a person's own box tells the object and partner actions: colours, poses and motion are drawn before them and
independently, and things and other people keep out of the box. Nor does the scene alone: some of its things match
nobody, and what matches one person is there for the others too. Only the pair of a person and a place decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from acrn_zoo.data.transforms import sample_random

Family = Literal["motion", "object", "partner"]
Shape = Literal["ball", "kite"]
_T = TypeVar("_T")

CATEGORIES = ("stand", "walk", "wave", "play with a ball", "fly a kite", "greet", "accompany")
"""The actions; the id of one is its place here, from 1 on."""

FAMILIES: dict[Family, tuple[str, ...]] = {
    "motion": ("stand", "walk", "wave"),
    "object": ("play with a ball", "fly a kite"),
    "partner": ("greet", "accompany"),
}

COLORS = ("#d62020", "#f2e21d", "#27a427", "#23cfd6", "#2545e0", "#e83fd0", "#ff8c1a", "#6f3fc0")
"""Colours of robes and things."""

PERSON_SIZE = (0.3, 0.19)  # height and width, as fractions of the frame's side
THING_SIZE = 0.16
SWAY = 0.02  # how far things move up and down, to each side
_MARGIN = 0.012  # free space round everything
_SPEED = (0.16, 0.24)  # of walking, sides a second
_WAVES = (1.3, 1.9)  # swings of the arm a second
_TRIES = 60


@dataclass(frozen=True)
class Difficulty:
    """How hard the scenes are.

    Args:
        num_people: least and most people of a scene.
        num_things: least and most things, if there is room.
        num_colors: colours of robes and things, at most 8. The more there are, the more pairs must be told apart.
        matching: how likely a person has a ball, and a kite, of the own colour.
        sharing: how likely a person wears the colour of somebody before.

    Raises:
        ValueError: if a number is none that scenes can be made with.
    """

    num_people: tuple[int, int] = (1, 3)
    num_things: tuple[int, int] = (2, 4)
    num_colors: int = 6
    matching: float = 0.4
    sharing: float = 0.5

    def __post_init__(self) -> None:
        for name, (low, high) in (("num_people", self.num_people), ("num_things", self.num_things)):
            if not 0 <= low <= high:
                raise ValueError(f"{name} is {(low, high)}, expected 0 <= least <= most")
        if not 2 <= self.num_colors <= len(COLORS):
            raise ValueError(f"num_colors is {self.num_colors}, expected 2 to {len(COLORS)}")
        for name, value in (("matching", self.matching), ("sharing", self.sharing)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected a probability")


@dataclass(frozen=True)
class Person:
    """One actor. Places are those at the middle of the scene's time, in fractions of the frame's side.

    Args:
        x: of the box's middle.
        y: of the box's middle.
        color: index into :data:`COLORS`.
        speed: sides a second to the right; 0 for one who stands.
        is_waving: whether the raised arm swings.
        swings: of the arm, a second, if it does.
        phase: where in its swing the arm is at the middle, 0 to 1; for a still arm, where it stays.
        looks: 0 to 1, chooses the skin.
    """

    x: float
    y: float
    color: int
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
    """A ball or a kite; ``x`` and ``y`` of its middle, ``phase`` and ``swings`` (a second) of its sway."""

    x: float
    y: float
    color: int
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
        others = [other for number, other in enumerate(self.people) if number != index and other.color == person.color]
        things = [thing for thing in self.things if thing.color == person.color]
        found: dict[str, tuple[Person | Thing, ...]] = {
            "play with a ball": tuple(thing for thing in things if thing.shape == "ball"),
            "fly a kite": tuple(thing for thing in things if thing.shape == "kite"),
            "greet": tuple(other for other in others if other.is_waving),
            "accompany": tuple(other for other in others if other.speed != 0),
        }
        own: dict[str, tuple[Person | Thing, ...]] = {"walk" if person.speed else "stand": ()}
        if person.is_waving:
            own["wave"] = ()
        return own | {action: places for action, places in found.items() if places}


def draw_scene(seed: int, video: int, shot: int, *, seconds: float = 1.0, difficulty: Difficulty) -> Scene:
    """A scene that depends on ``seed``, ``video`` and ``shot`` alone.

    Args:
        seed: of the world.
        video: number of the video.
        shot: number of the scene in its video.
        seconds: how long it lasts; people must not meet anything in that time.
        difficulty: how many people, things and colours.
    """
    random = _Dice(sample_random(seed, video, shot))
    colors = _robe_colors(random, difficulty)
    room = _Room()
    people = []
    for color in colors:
        speed = random.between(*_SPEED) * random.choice((-1.0, 1.0))
        is_walking, is_waving = random.chance(0.5), random.chance(0.5)
        swings, phase, looks = random.between(*_WAVES), random.number(), random.number()
        # Those who stand get as much room as those who walk, lest a single frame tell them apart.
        place = room.find(random, PERSON_SIZE[0], PERSON_SIZE[1] + abs(speed) * seconds)
        if place is not None:
            people.append(Person(*place, color, speed if is_walking else 0.0, is_waving, swings, phase, looks))
    things = []
    for color, shape in _kinds_of_things(random, [person.color for person in people], difficulty):
        place = room.find(random, THING_SIZE + 2 * SWAY, THING_SIZE)
        if place is not None:
            things.append(Thing(*place, color, shape, random.between(0.4, 1.2), random.number()))
    return Scene(tuple(people), tuple(things), seconds, random.integer(0, 2**31 - 1))


def _robe_colors(random: "_Dice", difficulty: Difficulty) -> list[int]:
    colors: list[int] = []
    for _ in range(random.integer(*difficulty.num_people)):
        is_shared = bool(colors) and random.chance(difficulty.sharing)
        colors.append(random.choice(colors) if is_shared else random.integer(0, difficulty.num_colors - 1))
    return colors


def _kinds_of_things(random: "_Dice", robes: Sequence[int], difficulty: Difficulty) -> list[tuple[int, Shape]]:
    """Colours and shapes: for some people a thing of their colour, the rest match nobody."""
    shapes: tuple[Shape, Shape] = ("ball", "kite")
    wanted = random.integer(*difficulty.num_things)
    colors = sorted(set(robes))
    kinds = [(color, shape) for color in colors for shape in shapes if random.chance(difficulty.matching)]
    foreign = [color for color in range(difficulty.num_colors) if color not in colors]
    while foreign and len(kinds) < wanted:
        kinds.append((random.choice(foreign), random.choice(shapes)))
    return random.shuffled(kinds)


class _Room:
    """The frame, in which everything gets a place of its own."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float, float]] = []

    def find(self, random: "_Dice", height: float, width: float) -> tuple[float, float] | None:
        """The middle (x, y) of a free place, or None if none was found."""
        for _ in range(_TRIES):
            x = random.between(width / 2 + _MARGIN, 1 - width / 2 - _MARGIN)
            y = random.between(height / 2 + _MARGIN, 1 - height / 2 - _MARGIN)
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if not any(_touches(box, other) for other in self._taken):
                self._taken.append(box)
                return x, y
        return None


def _touches(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return (
        box[0] < other[2] + _MARGIN
        and other[0] < box[2] + _MARGIN
        and box[1] < other[3] + _MARGIN
        and other[1] < box[3] + _MARGIN
    )


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
