"""Keyframes of a table, found again by their moments."""

import pandas as pd
import pytest

from acrn_zoo.data.keyframes import keyframes_of

ROWS = [
    ("film", 903.0),
    ("film", 902.0),
    ("other", 902.0),
    ("film", 902.0000001),
    ("empty", 910.0),
    ("film", 902.5),
]
MOMENTS = pd.DataFrame(ROWS, columns=["video_id", "timestamp"])


def test_keyframes_go_by_video_then_by_time() -> None:
    keyframes, keyframe_of_row = keyframes_of(MOMENTS)
    expected = [("film", 902), ("film", 902.5), ("film", 903), ("other", 902), ("empty", 910)]
    assert [keyframes[index] for index in range(len(keyframes))] == expected
    assert keyframe_of_row.tolist() == [2, 0, 3, 0, 4, 1]


def test_keyframes_are_found_by_their_microseconds() -> None:
    keyframes, _ = keyframes_of(MOMENTS)
    assert [keyframes.find(*keyframes[index]) for index in range(5)] == list(range(5))
    assert keyframes.find("film", 902.0000004) == 0
    for absent in (("film", 901.0), ("film", 902.00001), ("film", 904.0), ("other", 903.0), ("nothing", 902.0)):
        assert keyframes.find(*absent) is None
    for index in (-1, 5):
        with pytest.raises(IndexError, match="only 0 to 4"):
            keyframes[index]
    thousandth, _ = keyframes_of(pd.DataFrame({"video_id": ["film"], "timestamp": [1.001]}))
    assert thousandth.find("film", 1.001) == 0  # 1000999.9999999999 microseconds
