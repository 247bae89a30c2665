"""Ctrl-C with patience: the first waits for what must not be broken off, the second does not."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType


class Patience:
    """A context. While it lasts, Ctrl-C raises KeyboardInterrupt; within `unbroken` the first one does so at its end.

    Nothing changes where Ctrl-C is ignored (a job in the background), or outside the main thread.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._asked = False

    def __enter__(self) -> Patience:
        self._before = signal.getsignal(signal.SIGINT)
        self._takes = threading.current_thread() is threading.main_thread() and self._before is not signal.SIG_IGN
        if self._takes:
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._takes:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._depth and not self._asked:
            self._asked = True
            return
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def unbroken(self) -> Iterator[None]:
        """What is done here is finished first, unless somebody insists. May be nested."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._asked and not self._depth:
            self._asked = False
            raise KeyboardInterrupt
