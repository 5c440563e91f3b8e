"""The limit of a test's time: an endless loop and a standstill are ended, a busy machine is not."""

from __future__ import annotations

import subprocess
import sys
import threading

from starved import Limit, family_s


def watched(most_s: float, quiet_s: float, wait_s: float) -> bool:
    """Return whether a limit was hit within some seconds in which this thread waits."""
    over = threading.Event()
    limit = Limit(most_s, over.set, quiet_s)
    limit.start()
    found = over.wait(wait_s)
    limit.cancel()
    return found


def test_work_of_a_child_counts() -> None:
    before = family_s()
    subprocess.run([sys.executable, "-c", "while __import__('time').process_time() < 0.3: pass"], check=True)
    assert family_s() - before >= 0.25


def test_an_endless_loop_is_ended_and_so_is_a_standstill() -> None:
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert watched(most_s=0.2, quiet_s=1.0, wait_s=60)
        assert not watched(most_s=600.0, quiet_s=30.0, wait_s=1.0)
    finally:
        loop.kill()
        loop.wait()
    assert watched(most_s=600.0, quiet_s=0.4, wait_s=60)


def test_a_test_that_waits_for_little_is_left_alone() -> None:
    assert not watched(most_s=600.0, quiet_s=60.0, wait_s=0.5)
