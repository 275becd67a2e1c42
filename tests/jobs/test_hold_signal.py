"""The signal of a preemption, before a job has its handlers."""

import os
import signal
import subprocess
import sys

import pytest

EARLY = """
import os, signal, sys
os.kill(os.getpid(), signal.SIGUSR2)
from acrn_zoo.jobs.stopping import StopRequest
with StopRequest() as stop:
    print(stop(), signal.pthread_sigmask(signal.SIG_BLOCK, []), *sys.argv[1:])
"""


def test_a_signal_that_comes_early_is_heard_in_the_end() -> None:
    command = [sys.executable, "-m", "acrn_zoo.jobs.hold_signal", "-c", EARLY, "--further", "arguments"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "True set() --further arguments\n", done.stderr
    assert "USR2: stopping" in done.stderr
    assert done.returncode == 0


def test_the_signal_that_submitit_was_told() -> None:
    """The signals that a child of it holds back."""
    show = "import signal; print([each.name for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])])"
    command = [sys.executable, "-m", "acrn_zoo.jobs.hold_signal", "-c", show]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "SUBMITIT_PREEMPT_SIGNAL": "USR1"}
    )
    assert done.stdout == "['SIGUSR1']\n"


@pytest.mark.parametrize("status", [0, 3])
def test_ends_as_the_program_does(status: int) -> None:
    command = [sys.executable, "-m", "acrn_zoo.jobs.hold_signal", "-c", f"raise SystemExit({status})"]
    assert subprocess.run(command, check=False).returncode == status
    assert signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
