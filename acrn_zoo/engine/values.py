"""The fields of configurations: which values they take, and their form in JSON files."""

import math
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from acrn_zoo.errors import UserError


class ConfigError(UserError, ValueError):
    """A setting is missing, unknown, or has a value that it cannot have."""


def flag_of(field: str) -> str:
    """What the command line calls a field: ``--clip-length`` for ``clip_length``."""
    return "--" + field.replace("_", "-")


def settle(config: Any) -> None:  # noqa: ANN401 - any dataclass
    """Bring the fields of a new frozen dataclass to the types that they are declared with.

    Whole numbers become floats, lists tuples and texts paths where that is what is declared.

    Raises:
        ConfigError: naming the flag, the value and what was expected, if that cannot be done.
    """
    for name, hint in types_of(type(config)).items():  # type: ignore[arg-type] # a class is hashable
        value = getattr(config, name)
        try:
            object.__setattr__(config, name, typed(value, hint))
        except TypeError as error:
            raise ConfigError(f"{flag_of(name)} is {value!r}, expected {error}") from None


@cache
def types_of(config_class: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    """Field names of a dataclass, and their types."""
    return get_type_hints(config_class)


def require(config: object, expected: str, is_right: Callable[[Any], bool], *names: str) -> None:
    """Check some fields; those that are None are left out.

    Raises:
        ConfigError: naming the flag, the value and what was ``expected``.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not is_right(value):
            shown = str(value) if isinstance(value, Path) else repr(value)
            raise ConfigError(f"{flag_of(name)} is {shown}, expected {expected}")


def at_least(config: object, lowest: int, *names: str) -> None:
    """Check that whole numbers are not below ``lowest``; see :func:`require`."""
    require(config, f"a whole number of at least {lowest}", lambda value: value >= lowest, *names)


def typed(value: object, hint: Any) -> Any:  # noqa: ANN401 - a type, and a value of it
    """A value as the type ``hint``: what it is already, or its form in JSON.

    Raises:
        TypeError: saying what was expected.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (some,) = (one for one in inner if one is not type(None))
        return None if value is None else _or_none(value, some)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        if len(kinds) == len(value):
            return tuple(typed(one, kind) for one, kind in zip(value, kinds, strict=True))
    elif origin is Literal:
        if type(value) is str and value in inner:
            return value
    elif hint is float:
        if type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type] # mypy cannot follow
            return float(value)  # type: ignore[arg-type]
    elif hint is Path:
        if isinstance(value, str | Path):
            return Path(value)
    elif type(value) is hint:
        return value
    raise TypeError(_described(hint))


def plain(value: object) -> object:
    """A value as JSON knows it. Paths become absolute, so that they mean the same wherever they are read."""
    if isinstance(value, Path):
        return str(value.absolute())
    return list(value) if isinstance(value, tuple) else value


def _or_none(value: object, hint: Any) -> Any:  # noqa: ANN401 - a type, and a value of it
    try:
        return typed(value, hint)
    except TypeError as error:
        raise TypeError(f"{error}, or none") from None


def _described(hint: Any) -> str:  # noqa: ANN401 - a type
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        number = "" if kinds[-1] is ... else f"{len(kinds)} "
        return f"{number}whole numbers"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    return words[hint]
