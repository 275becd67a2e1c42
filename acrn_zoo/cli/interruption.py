"""Ctrl-C and SIGTERM, at moments that suit."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STDERR = 2
ONE_REQUEST = 2.0
"""Seconds in which several signals are one: ``torchrun`` hands on what the terminal has sent already."""


class Interruption:
    """Ctrl-C and SIGTERM (Slurm, kill), both as KeyboardInterrupt, but never in the middle of a keyframe's writing."""

    def __init__(self) -> None:
        self._is_held = False
        self._is_pending = False
        self._notice: str | None = None  # not None while interruptions are requests
        self._requested_at: float | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # elsewhere signals are somebody else's
            self._previous = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put an interruption off until the block is done."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_pending:
            raise KeyboardInterrupt

    @contextmanager
    def as_request(self, notice: str) -> Iterator[Callable[[], bool]]:
        """Let the first interruption be a wish, which the block may grant when it suits; another one interrupts.

        Args:
            notice: written to the standard error stream at the first; nothing is, if it is empty.

        Yields:
            Tells whether there was one.
        """
        self._notice, self._requested_at = notice, None
        try:
            yield lambda: self._requested_at is not None
        finally:
            self._notice = None

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self._notice is not None:
            self._request(self._notice)
        elif not self._is_held:
            raise KeyboardInterrupt
        else:
            self._is_pending = True

    def _request(self, notice: str) -> None:
        now = time.monotonic()
        if self._requested_at is None:
            self._requested_at = now
            if notice:  # past Python's buffers, which the signal may have found half written
                os.write(STDERR, f"\n{notice}\n".encode())
        elif now - self._requested_at > ONE_REQUEST:
            raise KeyboardInterrupt
