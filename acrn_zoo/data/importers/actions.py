"""Which words are actions: the label of a box, or its attributes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from acrn_zoo.data.importers.marks import ImportFileError, State

_PEOPLE = frozenset(
    {"actor", "adult", "child", "customer", "employee", "human", "man", "patient", "pedestrian", "people", "person"}
    | {"persons", "player", "staff", "student", "subject", "worker", "woman"}
)
_ACTION_NAMES = frozenset(("action", "actions", "activity", "activities", "behavior", "behaviour"))
# What annotation tools write beside people's own attributes.
_TECHNICAL = frozenset(
    {"difficult", "group_id", "id", "instance_id", "iscrowd", "keyframe", "occluded", "outside", "person_id"}
    | {"rotation", "track_id", "truncated"}
)
_NO_ACTION = frozenset(("", "-", "__undefined__", "false", "n/a", "na", "no action", "nothing", "none", "null"))
_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class ActionRule:
    """Where actions stand.

    Args:
        from_label: whether the label is the action; else it is in attributes.
        attributes: the names of those attributes, if not the label.
        ignored: names of attributes that stand at boxes and are no actions.
    """

    from_label: bool
    attributes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "the label" if self.from_label else f"the attributes {', '.join(self.attributes)}"

    def is_person(self, state: State) -> bool:
        """Whether the box is one of a person: not a car that was annotated beside the people."""
        if self.from_label or state.label is None or state.label.strip().lower() in _PEOPLE:
            return True
        return any(name in self.attributes for name, _ in state.attributes)

    def actions(self, state: State) -> tuple[str, ...]:
        """What the person does, each action once, in alphabetical order."""
        if self.from_label:
            return () if state.label is None else (state.label.strip(),)
        found: set[str] = set()
        for name, value in state.attributes:
            if name not in self.attributes:
                continue
            if value.strip().lower() == "true":
                found.add(name)
            else:
                found |= {part.strip() for part in value.split(",") if part.strip().lower() not in _NO_ACTION}
        return tuple(sorted(found))


def choose_rule(states: Sequence[State], wanted: str | None) -> ActionRule:
    """Decide where actions stand.

    Args:
        states: what is written at boxes.
        wanted: ``label``, ``attributes`` (all but those of the tools, such as ``occluded``), or
            ``attribute:NAME,NAME``; None to decide by looking: attributes if boxes are people (they have no
            label, or are called person or the like, or all of them are called the same and have attributes),
            only those called action or activity if there are such; else the label.

    Raises:
        ImportFileError: if there are no such attributes, or boxes of people say nothing about what they do.
    """
    labels = {state.label for state in states}
    names = sorted({name for state in states for name, _ in state.attributes})
    useful = _useful(states)
    if wanted is not None and wanted.startswith("attribute:"):
        chosen = tuple(name.strip() for name in wanted.removeprefix("attribute:").split(","))
        if missing := [name for name in chosen if name not in names]:
            raise ImportFileError(f"No box has the attribute {missing[0]!r}; there are {_listed(names)}")
        return ActionRule(False, chosen, tuple(name for name in names if name not in chosen))
    if wanted not in (None, "label", "attributes"):
        raise ImportFileError(f"actions from {wanted!r}: expected label, attributes or attribute:NAME")
    is_people = labels == {None} or any(label and label.lower().strip() in _PEOPLE for label in labels)
    is_people |= len(labels) == 1 and bool(useful)
    if wanted == "label" or (wanted is None and not is_people):
        if None in labels:
            raise ImportFileError(
                f"Boxes have no label that could be the action; there are attributes: {_listed(names)}"
            )
        return ActionRule(True, (), tuple(names))
    if not useful:
        raise ImportFileError(
            f"Nothing says what people do: boxes are called {_listed(sorted(str(label) for label in labels))} and "
            f"have the attributes {_listed(names)}. Name one with --actions-from attribute:NAME, or say "
            "--actions-from label if the labels are the actions"
        )
    if wanted is None and (called_action := [name for name in useful if name.lower() in _ACTION_NAMES]):
        useful = called_action
    return ActionRule(False, tuple(useful), tuple(name for name in names if name not in useful))


def _useful(states: Iterable[State]) -> list[str]:
    """Attributes that could be actions: not the tools' own, not numbers alone."""
    values: dict[str, set[str]] = {}
    for state in states:
        for name, value in state.attributes:
            values.setdefault(name, set()).add(value.strip())
    return sorted(
        name
        for name, found in values.items()
        if name.lower() not in _TECHNICAL and not all(_NUMBER.fullmatch(value) for value in found)
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return (shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "none"
