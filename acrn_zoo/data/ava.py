"""The AVA dataset (Gu et al., CVPR 2018): its classes.

AVA numbers its 80 actions from 1. Inside the program the action with id ``i`` is **column ``i - 1``** of
logits, scores and labels, so ``CATEGORIES[column]`` is its name and K is 80: there is no background column.

Its files are read by :mod:`acrn_zoo.data.annotations` and :mod:`acrn_zoo.data.proposals`, as are people's own in
AVA's form, with any number of classes.
"""

from acrn_zoo.labels import LabelMap

CATEGORIES: tuple[str, ...] = (
    "bend/bow (at the waist)",
    "crawl",
    "crouch/kneel",
    "dance",
    "fall down",
    "get up",
    "jump/leap",
    "lie/sleep",
    "martial art",
    "run/jog",
    "sit",
    "stand",
    "swim",
    "walk",
    "answer phone",
    "brush teeth",
    "carry/hold (an object)",
    "catch (an object)",
    "chop",
    "climb (e.g., a mountain)",
    "clink glass",
    "close (e.g., a door, a box)",
    "cook",
    "cut",
    "dig",
    "dress/put on clothing",
    "drink",
    "drive (e.g., a car, a truck)",
    "eat",
    "enter",
    "exit",
    "extract",
    "fishing",
    "hit (an object)",
    "kick (an object)",
    "lift/pick up",
    "listen (e.g., to music)",
    "open (e.g., a window, a car door)",
    "paint",
    "play board game",
    "play musical instrument",
    "play with pets",
    "point to (an object)",
    "press",
    "pull (an object)",
    "push (an object)",
    "put down",
    "read",
    "ride (e.g., a bike, a car, a horse)",
    "row boat",
    "sail boat",
    "shoot",
    "shovel",
    "smoke",
    "stir",
    "take a photo",
    "text on/look at a cellphone",
    "throw",
    "touch (an object)",
    "turn (e.g., a screwdriver)",
    "watch (e.g., TV)",
    "work on a computer",
    "write",
    "fight/hit (a person)",
    "give/serve (an object) to (a person)",
    "grab (a person)",
    "hand clap",
    "hand shake",
    "hand wave",
    "hug (a person)",
    "kick (a person)",
    "kiss (a person)",
    "lift (a person)",
    "listen to (a person)",
    "play with kids",
    "push (another person)",
    "sing to (e.g., self, a person, a group)",
    "take (an object) from (a person)",
    "talk to (e.g., self, a person, a group)",
    "watch (a person)",
)
"""The names of AVA's 80 actions (v2.2; v2.1 has the same), in the order of their columns."""

EVALUATED_IDS: tuple[int, ...] = tuple(
    number
    for number in range(1, 81)
    if number not in (2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75)
)
"""The ids of the 60 actions that AVA's official evaluation counts (the challenges of 2018 and 2019 alike)."""

AVA_LABEL_MAP = LabelMap(dict(enumerate(CATEGORIES, start=1)))
"""All 80 actions, those that models are trained on."""

AVA_EVALUATED_LABEL_MAP = LabelMap({number: AVA_LABEL_MAP.names[number] for number in EVALUATED_IDS})
"""The 60 actions that are evaluated."""
