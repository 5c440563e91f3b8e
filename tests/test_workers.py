"""Processes that share work: a killed one is one sentence, and none is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cres.errors import UserError
from reconstruction.workers import available_cpus, process_pool

PARENT = """
import os, time
from reconstruction.workers import process_pool
if __name__ == "__main__":
    with process_pool(2, []) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_killed_worker_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"a worker process was killed.*--workers"), process_pool(1, []) as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()


def test_workers_end_when_what_started_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        give_up = time.monotonic() + 60
        while lives(worker):
            assert time.monotonic() < give_up
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def submit_and_give_up(folder: Path) -> None:
    with process_pool(1, []) as pool:
        for number in range(200):
            pool.submit(time.sleep, 0.05)
            pool.submit(Path.touch, folder / str(number))
        raise KeyboardInterrupt


def test_work_that_was_not_begun_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        submit_and_give_up(tmp_path)
    assert len(list(tmp_path.iterdir())) < 100


def test_workers_have_imported_what_they_need_and_leave_the_other_cores_alone() -> None:
    with process_pool(1, ["json.tool", "torch"]) as pool:
        assert pool.submit(eval, "'json.tool' in __import__('sys').modules").result()
        assert pool.submit(eval, "__import__('torch').get_num_threads()").result() == 1
    assert available_cpus() <= (os.cpu_count() or 1)
