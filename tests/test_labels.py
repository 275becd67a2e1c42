"""Label maps, in the forms that are about."""

import pickle
import random
from pathlib import Path

import pytest

from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.labels import LabelMap, LabelMapError, read_label_map, write_label_map


@pytest.mark.parametrize(
    "text",
    [
        'item {\n  name: "stand"\n  id: 12\n}\nitem {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\n',
        'label {\n  name: "bend/bow (at the waist)"\n  label_id: 1\n  label_type: PERSON_MOVEMENT\n}\n'
        'label {\n  name: "stand"\n  label_id: 12\n  label_type: PERSON_MOVEMENT\n}\n',
        'item{name:"stand" id:12} item{id:1 name:"bend/bow (at the waist)"}',
        '\ufeffitem {\r\n  name: "stand"\r\n  id: 0012\r\n}\r\n\r\nitem {\r\n\tid: 1\r\n'
        '\tname: "bend/bow (at the waist)"\r\n}',
    ],
)
def test_forms(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.pbtxt"
    path.write_bytes(text.encode())
    label_map = read_label_map(path)
    assert list(label_map.names.items()) == [(1, "bend/bow (at the waist)"), (12, "stand")]
    assert label_map.ids == (1, 12)
    assert label_map.num_columns == 12
    assert label_map.categories == ("bend/bow (at the waist)", *map(str, range(2, 12)), "stand")


@pytest.mark.parametrize(
    "names",
    [
        {1: "walk"},
        {3: 'say "no"', 1: "back\\slash", 2: "caf\xe9 \u4f60\u597d", 7: "{brace}", 9: "id: 4"},
        {5: "same", 6: "same", 999_999: " spaces "},
        {1: "\\", 2: '\\"', 3: '"', 4: ""},
        {1: "two\nlines"},
    ],
)
def test_round_trip(tmp_path: Path, names: dict[int, str]) -> None:
    path = tmp_path / "map.pbtxt"
    write_label_map(path, LabelMap(names))
    assert read_label_map(path) == LabelMap(names)
    assert list(read_label_map(path).names) == sorted(names)


def test_round_trip_of_any_names(tmp_path: Path) -> None:
    dice = random.Random(0)
    for _ in range(50):
        names = {
            dice.randrange(1, 1000): "".join(dice.choice('ab" \\{}:\n\t\u4f60#') for _ in range(dice.randrange(9)))
            for _ in range(8)
        }
        write_label_map(tmp_path / "map.pbtxt", LabelMap(names))
        assert dict(read_label_map(tmp_path / "map.pbtxt").names) == names


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('item {\n  name: "a"\n  id: 1\n}\nitem {\n  name: "b"\n  id: 1\n}\n', 5, "the id 1 stands for 'a' already"),
        ('item {\n  name: "a"\n  id: 1\n}\nthing {\n}\n', 5, "'thing {' begins no class"),
        ('item {\n  name: "a"\n  id: 1\n', 1, "this class is not closed"),
        ('item {\n  name: "a"\n  id 1\n}', 1, "or has a line that is no field"),
        ("item {\n  id: 1\n}\n", 1, "lacks a name or an id"),
        ('\n\nitem {\n  name: "a"\n}\n', 3, "lacks a name or an id"),
        ('item { name: "a" id: 0 }', 1, "the id of 'a' is 0, expected a whole number from 1 on"),
        ('item { name: "a" id: -3 }', 1, "is -3, expected a whole number"),
        ('item { name: "a" id: 1.5 }', 1, "is 1.5, expected a whole number"),
        ('item { name: "a" id: 1000000 }', 1, "is 1000000, expected"),
        ("walk\nsit\n", 1, "'walk' begins no class"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    with pytest.raises(LabelMapError) as caught:
        read_label_map(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "names no class"), (b" \n\n", "names no class"), (b"\xff\xfe\x00", "is not text"), (None, "cannot be read")],
)
def test_no_label_map(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "map.pbtxt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabelMapError, match=message) as caught:
        read_label_map(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("names", "message"), [({}, "at least one class"), ({0: "a", 1: "b"}, "'a' has the id 0")])
def test_impossible_maps(names: dict[int, str], message: str) -> None:
    with pytest.raises(LabelMapError, match=message):
        LabelMap(names)


def test_keeps_a_copy_of_its_own() -> None:
    given = {1: "walk"}
    label_map = LabelMap(given)
    given[2] = "sit"
    assert label_map.ids == (1,)
    assert pickle.loads(pickle.dumps(label_map)) == label_map  # workers of a data loader get one


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ava_action_list_v2.2.pbtxt", 80),
        ("ava_action_list_v2.2_for_activitynet_2019.pbtxt", 60),
        ("ava_action_list_v2.1_for_activitynet_2018.pbtxt", 60),
    ],
)
def test_official_files(shared: Path, tmp_path: Path, name: str, number: int) -> None:
    label_map = read_label_map(shared / "data" / "ava" / name)
    assert len(label_map.ids) == number
    assert label_map.num_columns == 80
    write_label_map(tmp_path / "copy.pbtxt", label_map)
    assert read_label_map(tmp_path / "copy.pbtxt") == label_map
    if number == 80:
        assert label_map.categories == CATEGORIES


def test_comments_quotes_and_separators(tmp_path: Path) -> None:
    path = tmp_path / "labels.pbtxt"
    path.write_text(
        "# mine\nitem { name: 'it\\'s #1', id: 3; } # last\nitem { name: \"/m/01\" id: 4 display_name: 'sit' }\n"
    )
    assert read_label_map(path).names == {3: "it's #1", 4: "sit"}
