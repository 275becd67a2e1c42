"""``python -m acrn_zoo.jobs.hold_signal [arguments of Python]``: Python, started with the signal of a preemption held.

Until a job has its handlers, seconds after its start, that signal would end it for good. Held, it waits for
:class:`acrn_zoo.jobs.stopping.StopRequest`, which lets it in.
"""

import os
import signal
import sys

if __name__ == "__main__":
    # As submitit reads it, which is imported later: here every moment counts.
    name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.Signals[f"SIG{name}"]])
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])  # noqa: S606 - there is no shell to be had
