"""What a stopped training tells the shell and the scheduler; scontrol is a fake."""

import os
import signal
from pathlib import Path

import pytest

from cres.training.interruption import Interrupted, StopOnSignal, slurm_job


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path / "called"}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "called"


def test_a_job_queues_itself_again_until_the_limit(scontrol, monkeypatch):
    stop = StopOnSignal(requeue_limit=3)
    assert not stop.queue_again()
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    assert stop.queue_again()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm_job() == "12_3"
    assert stop.queue_again()
    assert scontrol.read_text() == "requeue 11\nrequeue 12_3\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    with pytest.warns(UserWarning, match="not queued again"):
        assert not stop.queue_again()


def test_exit_codes_say_what_happened():
    assert Interrupted(signal.SIGTERM, str(Path("last.ckpt")), requeued=False).exit_code == 143
    assert Interrupted(signal.SIGUSR1, str(Path("last.ckpt")), requeued=True).exit_code == 0
