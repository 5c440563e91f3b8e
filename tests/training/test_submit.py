"""submit.sh: what it runs, with and without a scheduler, and what it says about mistakes. Python and srun are fakes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from cres.training.interruption import Interrupted, StopOnSignal, slurm_job


@pytest.fixture
def submit(tmp_path, request):
    (tmp_path / "submit.sh").write_text((request.config.rootpath / "submit.sh").read_text())
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "s4d.yaml").write_text("")
    for name in ("python", "srun"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name}: $*"\n')
        (tmp_path / name).chmod(0o755)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        keep = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CRES_PYTHON": str(tmp_path / "python")}
        command = ["bash", str(tmp_path / "submit.sh"), *arguments]
        return subprocess.run(
            command, env=keep | environment, capture_output=True, text=True, cwd=tmp_path, check=False
        )

    return run


def test_without_slurm_it_trains_here(submit, tmp_path):
    done = submit("configs/s4d.yaml", "--trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "python: cli.py fit -c configs/s4d.yaml --run=runs/s4d --trainer.max_epochs=2" in done.stdout
    assert (tmp_path / "logs").is_dir()


def test_with_slurm_it_goes_through_srun(submit):
    done = submit("configs/s4d.yaml", SLURM_JOB_ID="7", SLURM_JOB_NUM_NODES="2", SLURM_NTASKS_PER_NODE="4")
    assert "srun: --kill-on-bad-exit=1" in done.stdout
    assert "--trainer.num_nodes=2 --trainer.devices=4" in done.stdout
    assert "--resume" not in done.stdout


def test_a_job_that_was_queued_again_resumes(submit, tmp_path):
    last = tmp_path / "runs" / "s4d" / "checkpoints" / "last.ckpt"
    assert "--resume" not in submit("configs/s4d.yaml", SLURM_RESTART_COUNT="1").stdout
    last.parent.mkdir(parents=True)
    last.write_bytes(b"")
    assert "--resume" in submit("configs/s4d.yaml", SLURM_RESTART_COUNT="1").stdout
    assert "--resume" not in submit("configs/s4d.yaml").stdout


@pytest.mark.parametrize(
    ("arguments", "said"), [((), "name a configuration"), (("configs/nothing.yaml",), "no configuration")]
)
def test_mistakes_are_one_sentence(submit, arguments, said):
    done = submit(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_signal_reaches_the_training_and_not_the_shell(request):
    text = (request.config.rootpath / "submit.sh").read_text()
    assert "#SBATCH --signal=SIGUSR1@180" in text
    assert "--signal=B:" not in text


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
