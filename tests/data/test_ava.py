"""AVA's classes."""

import re
from pathlib import Path

import pytest

from acrn_zoo.data.ava import AVA_EVALUATED_LABEL_MAP, AVA_LABEL_MAP, CATEGORIES, EVALUATED_IDS
from acrn_zoo.labels import read_label_map


def test_column_is_id_minus_one() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 80
    assert CATEGORIES[1 - 1] == "bend/bow (at the waist)"
    assert CATEGORIES[12 - 1] == "stand"
    assert CATEGORIES[80 - 1] == "watch (a person)"
    assert AVA_LABEL_MAP.categories == CATEGORIES
    assert len(EVALUATED_IDS) == 60


@pytest.mark.parametrize(
    ("file", "number"),
    [
        ("ava_action_list_v2.2.pbtxt", 80),
        ("ava_action_list_v2.2_for_activitynet_2019.pbtxt", 60),
        ("ava_action_list_v2.1_for_activitynet_2018.pbtxt", 60),
    ],
)
def test_names_are_those_of_the_dataset(shared: Path, file: str, number: int) -> None:
    path = shared / "data" / "ava" / file
    labels = re.findall(r'name:\s*"([^"]*)"\s*(?:label_id|id):\s*(\d+)', path.read_text())
    assert len(labels) == number
    assert [name for name, _ in labels] == [CATEGORIES[int(label_id) - 1] for _, label_id in labels]
    assert read_label_map(path) == (AVA_LABEL_MAP if number == 80 else AVA_EVALUATED_LABEL_MAP)
    assert number == 80 or tuple(int(label_id) for _, label_id in labels) == EVALUATED_IDS
