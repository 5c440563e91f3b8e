"""A test's limit of time counts the processor time that it gets, not the wall's: a busy machine fails no test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from programs import QUIET_S, processes, used_s

LOOK_EVERY_S = 5.0


class Limit(threading.Thread):
    """Calls `over` once the test's family of processes has used so much time, or has stood still for two minutes."""

    def __init__(self, most_s: float, over: Callable[[], None], quiet_s: float = QUIET_S) -> None:
        super().__init__(daemon=True)
        self.most_s, self.quiet_s, self._over, self._ended = most_s, quiet_s, over, threading.Event()

    def run(self) -> None:
        look_every_s, since = min(LOOK_EVERY_S, self.quiet_s / 4), time.monotonic()
        # nearly all tests have ended by then: to look through the system's processes takes as long as many of them
        if self._ended.wait(look_every_s):
            return
        begun = before = family_s()
        while not self._ended.wait(look_every_s):
            used = family_s()
            if not before <= used < before + 1:  # one that has ended no longer counts
                before, since = used, time.monotonic()
            if time.monotonic() - since > self.quiet_s or used - begun > self.most_s:
                self._over()
                return

    def cancel(self) -> None:
        """The test has ended."""
        self._ended.set()


def family_s() -> float:
    """Return the processor time in s of this process and all that descend from it, also of those that have ended."""
    there = dict(processes())
    family = {os.getpid()}
    while more := {one for one, fields in there.items() if int(fields[1]) in family} - family:
        family |= more
    return sum(used_s(there[one]) for one in family & there.keys())
