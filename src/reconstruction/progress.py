"""How far a long work is, on standard error: a bar on a terminal, now and then a line where there is none."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")

EVERY: Final = "CRES_PROGRESS_S"
"""Variable of the environment: so many seconds between two lines."""
ON_A_TERMINAL_S: Final = 4.0
IN_A_LOG_S: Final = 60.0


def every_s() -> float:
    """Return how many seconds lie between two lines about the same work."""
    try:
        return max(0.1, float(os.environ[EVERY]))
    except (KeyError, ValueError):
        return ON_A_TERMINAL_S if sys.stderr.isatty() else IN_A_LOG_S


SHORTEST: Final = 0.25
"""Part of the seconds between two lines: work that takes less is never told of."""


class Heartbeat:
    """Calls a function every few seconds, from a thread, until it is stopped.

    The seconds are counted from the last call of any of them, and from the start of the program: where one long work
    follows another, the pause between their lines is no longer than within one.
    """

    _said = time.monotonic()

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat, self._seconds = beat, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = Heartbeat._said + self._seconds - time.monotonic()
        while not self._over.wait(max(pause, SHORTEST * self._seconds)):
            Heartbeat._said, pause = time.monotonic(), self._seconds
            with contextlib.suppress(ValueError, OSError):  # a closed stream
                self._beat()

    def stop(self) -> None:
        """Stop; no call follows."""
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say every few seconds that something is still going on: "loading torch: 8 s". A worker says nothing."""
    if multiprocessing.parent_process() is not None:  # it imports its parent's script once more
        yield
        return
    started = time.monotonic()
    beat = Heartbeat(lambda: print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr), every_s())
    try:
        yield
    finally:
        beat.stop()


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "it")
        return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else f"– {unit}/s")


class _Bar(Progress):
    """A bar, and lines instead while it cannot be seen."""

    _beating: Heartbeat | None = None

    def start(self) -> None:
        super().start()
        if not self.console.is_terminal and self._beating is None:
            self._beating = Heartbeat(self._say, every_s())

    def stop(self) -> None:
        if self._beating is not None:
            self._beating.stop()
            self._beating = None
        super().stop()

    def _say(self) -> None:
        # what is done while its bar is still there, such as the end of a process, is named by the last task
        unfinished = [task for task in self.tasks if not task.finished]
        for task in unfinished or self.tasks[-1:]:
            total = f" of {task.total:,.0f}" if task.total is not None else ""
            print(f"{task.description}: {task.completed:,.0f}{total} {task.fields.get('unit', '')}", file=sys.stderr)


def progress_bar() -> Progress:
    """Return a progress display to be used as a context manager; add tasks with `unit='electrons'`."""
    return _Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def track(items: Iterable[T], description: str, total: int, unit: str = "it") -> Iterator[T]:
    """Yield the items while a bar shows how far they are."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=total, unit=unit)
        for item in items:
            yield item
            bar.advance(task)
