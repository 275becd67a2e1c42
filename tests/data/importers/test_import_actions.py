"""Which words are actions."""

import pytest

from acrn_zoo.data.importers.actions import choose_rule
from acrn_zoo.data.importers.marks import ImportFileError, State


def person(**attributes: str) -> State:
    return State("Person", tuple(sorted(attributes.items())))


CHECKBOXES = [person(walk="true", sit="false", occluded="true"), person(walk="false", sit="true", occluded="false")]
CHOICE = [person(action="walk", sex="female"), person(action="sit,  talk ", sex="male"), person(action="none", sex="x")]
LABELS = [State("walk"), State("sit", (("difficult", "true"),))]


@pytest.mark.parametrize(
    ("states", "wanted", "text", "ignored", "actions"),
    [
        (LABELS, None, "the label", ("difficult",), [("walk",), ("sit",)]),
        (CHECKBOXES, None, "the attributes sit, walk", ("occluded",), [("walk",), ("sit",)]),
        (CHECKBOXES, "label", "the label", ("occluded", "sit", "walk"), [("Person",), ("Person",)]),
        (CHOICE, None, "the attributes action", ("sex",), [("walk",), ("sit", "talk"), ()]),
        (CHOICE, "attributes", "the attributes action, sex", (), [("female", "walk"), ("male", "sit", "talk"), ("x",)]),
        (CHOICE, "attribute:sex", "the attributes sex", ("action",), [("female",), ("male",), ("x",)]),
        (CHOICE, "attribute:sex, action", "the attributes sex, action", (), [("female", "walk")]),
        ([State(None, (("what", "walk"),))], None, "the attributes what", (), [("walk",)]),
        ([State("operator", (("pose", "sit"),))], None, "the attributes pose", (), [("sit",)]),
        ([State("fall", (("occluded", "true"),))], None, "the label", ("occluded",), [("fall",)]),
        ([State("fall", (("speed", "3.5"),))], None, "the label", ("speed",), [("fall",)]),
        ([State("walk", (("red", "true"),)), State("sit")], None, "the label", ("red",), [("walk",), ("sit",)]),
        (
            [State("person", (("what", "walk"),)), State("car", (("brand", "x"),))],
            "attribute:what",
            "the attributes what",
            ("brand",),
            [("walk",), ()],
        ),
        ([State(" walk ")], None, "the label", (), [("walk",)]),
    ],
)
def test_rule(
    states: list[State], wanted: str | None, text: str, ignored: tuple[str, ...], actions: list[tuple[str, ...]]
) -> None:
    rule = choose_rule(states, wanted)
    assert str(rule) == text
    assert rule.ignored == ignored
    assert [rule.actions(state) for state in states[: len(actions)]] == actions


def test_who_is_a_person() -> None:
    states = [State("person", (("action", "walk"),)), State("car"), State("worker"), State("dog", (("action", "x"),))]
    rule = choose_rule(states, None)
    assert [rule.is_person(state) for state in states] == [True, False, True, True]
    rule = choose_rule(states, "label")
    assert all(rule.is_person(state) for state in states)


@pytest.mark.parametrize(
    ("states", "wanted", "message"),
    [
        (CHOICE, "attribute:pose", "No box has the attribute 'pose'; there are 'action', 'sex'"),
        (CHOICE, "tags", "actions from 'tags': expected label, attributes or attribute:NAME"),
        (
            [State("person")],
            None,
            "Nothing says what people do: boxes are called 'person' and have the attributes none",
        ),
        ([person(occluded="true", track_id="7")], None, "Nothing says what people do"),
        ([person(age="7")], "attributes", "Nothing says what people do"),
        ([State(None, (("a", "b"),))], "label", "Boxes have no label that could be the action; there are .* 'a'"),
    ],
)
def test_errors(states: list[State], wanted: str | None, message: str) -> None:
    with pytest.raises(ImportFileError, match=message):
        choose_rule(states, wanted)
