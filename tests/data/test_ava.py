import re
from pathlib import Path

import pytest

from acrn_zoo.data.ava import CATEGORIES


def test_column_is_id_minus_one() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 80
    assert CATEGORIES[1 - 1] == "bend/bow (at the waist)"
    assert CATEGORIES[12 - 1] == "stand"
    assert CATEGORIES[80 - 1] == "watch (a person)"


@pytest.mark.parametrize(
    ("file", "number"),
    [
        ("ava_action_list_v2.2.pbtxt", 80),
        ("ava_action_list_v2.2_for_activitynet_2019.pbtxt", 60),
        ("ava_action_list_v2.1_for_activitynet_2018.pbtxt", 60),
    ],
)
def test_names_are_those_of_the_dataset(shared: Path, file: str, number: int) -> None:
    text = (shared / "data" / "ava" / file).read_text()
    labels = re.findall(r'name:\s*"([^"]*)"\s*(?:label_id|id):\s*(\d+)', text)
    assert len(labels) == number
    assert [name for name, _ in labels] == [CATEGORIES[int(label_id) - 1] for _, label_id in labels]
