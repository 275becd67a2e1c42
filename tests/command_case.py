"""What processes do that run a command together."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from acrn_zoo.cli import main


def run_command(arguments: Sequence[str]) -> tuple[int, str, str]:
    """A command's exit status and what it wrote, for :func:`ranks.run_ranks`."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        status = main(arguments)
    return status, output.getvalue(), errors.getvalue()
