"""What the command line's options are made of."""

import argparse
import math
import sys


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default only where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def fraction(text: str) -> float:
    """A number of 0 to 1."""
    return number(text, 0, 1, "a number of 0 to 1")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = number(text, 1, sys.float_info.max, "a whole number of at least 1")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(value)


def rate(text: str) -> float:
    """A number of frames a second."""
    return number(text, 1e-3, 1e4, "a number of frames a second")


def number(text: str, lowest: float, highest: float, expected: str) -> float:
    """A number within bounds, both included.

    Raises:
        argparse.ArgumentTypeError: saying what was expected.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value
