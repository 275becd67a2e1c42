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
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number of at least 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    value = number(text, least, sys.float_info.max, f"a whole number of at least {least}")
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
