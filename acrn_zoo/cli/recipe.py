"""``RECIPE [flags]``: the flags of a verb whose defaults a recipe gives."""

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any

from acrn_zoo.cli.options import HelpFormatter
from acrn_zoo.engine.recipes import RECIPES, summary_of


def add_recipe(verb: argparse.ArgumentParser, parse: Callable[[str, list[str]], Any]) -> None:
    """Let a verb take the name of a recipe, and all that follows as flags of this recipe.

    Args:
        verb: its namespace gets ``parsed``.
        parse: from recipe and flags to what ``parsed`` is to be; prints the help if it is asked to, and ends the
            program with status 2 if a flag is wrong.
    """

    class Parse(argparse.Action):
        def __call__(
            self,
            _parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            _option: str | None = None,
        ) -> None:
            namespace.parsed = parse(namespace.recipe, list(values or ()))

    width = max(map(len, RECIPES))
    lines = [f"  {name:<{width}}  {summary_of(name)}" for name in RECIPES]
    verb.usage = f"{verb.prog} RECIPE [flags]"
    verb.formatter_class = _WithList
    verb.epilog = "\n".join(["recipes:", *lines, "", f"The flags and their defaults: {verb.prog} RECIPE --help"])
    verb.add_argument("recipe", type=_known, metavar="RECIPE", help="where all settings come from that no flag gives")
    flags = verb.add_argument(
        "parsed", nargs=argparse.REMAINDER, action=Parse, metavar="flags", help="what is to be different"
    )
    flags.required = False


class _WithList(HelpFormatter):
    """Keeps the lines of a text that has several, as the list of recipes has."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def _known(name: str) -> str:
    if name in RECIPES:
        return name
    similar = difflib.get_close_matches(name, RECIPES, n=3)
    hint = f"did you mean {' or '.join(similar)}?" if similar else f"expected one of {', '.join(RECIPES)}"
    raise argparse.ArgumentTypeError(f"{name!r} is no recipe: {hint}")
