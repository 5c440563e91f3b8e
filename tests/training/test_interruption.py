"""What a stopped training tells the shell and the scheduler; scontrol is a fake."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from forked import run_forked
from programs import plain_environment, run_program

from cres.data.module import CresDataModule
from cres.training.module import CresModule
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.runs.fitting import FitScalers
from reconstruction.training.runs.interruption import Interrupted, StopOnSignal, Watch
from reconstruction.training.runs.run_lock import LOCK
from reconstruction.training.runs.runs import RunRecord
from reconstruction.training.runs.slurm import slurm_job

ROOT = Path(__file__).parents[2]


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


def test_without_a_scheduler_at_hand_a_job_is_not_queued_again(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not StopOnSignal().queue_again()
    assert Interrupted(signal.SIGUSR1, "last.ckpt", requeued=False).exit_code == 138


def test_a_program_that_was_started_to_outlive_its_terminal_does(monkeypatch, fit, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(StopOnSignal, "on_train_epoch_start", lambda *_: os.kill(os.getpid(), signal.SIGHUP))
    try:
        fit(tmp_path, "--trainer.max_epochs=1")
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def survives_sigterm():
    """Where a training does not take the signal, a test fails and does not end."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("survives_sigterm")
def test_a_signal_before_the_first_step_is_no_good_end(monkeypatch, tiny, records, tmp_path, capsys):
    monkeypatch.setattr(StopOnSignal, "on_sanity_check_start", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    words = ["fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--trainer.num_sanity_val_steps=1"]
    assert main(words) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM before anything was trained" in capsys.readouterr().err


@pytest.mark.usefixtures("survives_sigterm")
def test_a_signal_while_a_trained_model_is_used_is_no_good_end(monkeypatch, trained, tmp_path, capsys):
    words = ["test", f"--run={trained}", "--data.batch_size=4", f"--predictions={tmp_path / 'p.hdf5'}"]
    inner = CresModule.test_step
    with monkeypatch.context() as patched:
        patched.setattr(CresModule, "test_step", lambda *given: os.kill(os.getpid(), signal.SIGTERM) or inner(*given))
        assert main(words) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM before it was done" in capsys.readouterr().err
    monkeypatch.setattr(CresModule, "test_step", lambda *given: signal.raise_signal(signal.SIGINT) or inner(*given))
    assert main(words) == 128 + signal.SIGINT
    assert "stopped by SIGINT before it was done" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


PHASES = {
    "the parts are made": (CommandLine, "instantiate_trainer"),
    "the data are read": (CresDataModule, "setup"),
    "scales are fitted": (FitScalers, "on_fit_start"),
    "the files are written": (RunRecord, "on_train_start"),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("phase", PHASES)
def test_a_training_that_is_stopped_before_its_first_step_says_so(phase, number, monkeypatch, tiny, records, tmp_path):
    cls, name = PHASES[phase]
    inner = getattr(cls, name)
    monkeypatch.setattr(cls, name, lambda *given, **more: (os.kill(os.getpid(), number), inner(*given, **more))[1])
    words = ("fit", "-c", tiny, f"--data.data={records}", f"--run={tmp_path / 'run'}")
    done = run_forked(ROOT / "cli.py", *words, environment={"SLURM_JOB_ID": ""})
    name = signal.Signals(number).name
    assert done.stderr.splitlines()[-1] == f"stopped by {name} before anything was trained: start it again"
    assert done.returncode == 128 + number
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_job_that_is_out_of_time_before_its_first_step_is_queued_again(
    scontrol, monkeypatch, tiny, records, tmp_path
):
    monkeypatch.setattr(FitScalers, "on_fit_start", lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
    words = ("fit", "-c", tiny, f"--data.data={records}", f"--run={tmp_path / 'run'}")
    done = run_forked(ROOT / "cli.py", *words, environment={"SLURM_JOB_ID": "11"})
    assert "stopped by SIGUSR1 before anything was trained: the job is queued again" in done.stderr
    assert done.returncode == 0
    assert scontrol.read_text() == "requeue 11\n"


# Trainings that hang ------------------------------------------------------------------------------------------------


@pytest.fixture
def watch():
    """Makes a watch whose end is noted, not done, while this thread has the signals."""
    ended, watches = [], []
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGUSR1)}

    def make(grace_s):
        over = threading.Event()
        watches.append(Watch(grace_s, lambda number, why: (ended.append((number, why)), over.set())))
        return watches[-1], over

    yield make, ended
    for one in watches:
        one.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_training_that_stands_still_after_a_signal_is_ended(watch):
    make, ended = watch
    _, over = make(0.2)
    assert not over.wait(0.6)  # nobody asked it to end
    os.kill(os.getpid(), signal.SIGTERM)
    assert over.wait(20)
    assert ended[0][0] == signal.SIGTERM
    assert "did not end within" in ended[0][1]


def test_a_training_that_moves_may_take_its_time(watch):
    make, _ = watch
    one, over = make(3.0)
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(40):
        one.moved()
        time.sleep(0.1)
    assert not over.is_set()


def test_a_second_signal_ends_at_once_but_an_echo_of_the_first_does_not(watch):
    make, ended = watch
    _, over = make(600.0)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert not over.wait(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert over.wait(20)
    assert ended == [(signal.SIGTERM, "a second signal")]


BROKEN = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from cres import errors
from reconstruction.training.command_line.cli import main
from cres.training.module import CresModule
from reconstruction.training.runs.run_lock import LOCK
from reconstruction.training.runs.runs import RunRecord
inner, seen = CresModule.training_step, [0]
def step(self, batch, batch_idx):
    seen[0] += 1
    if seen[0] == 8 and self.global_rank == {rank}:
        {what}
    return inner(self, batch, batch_idx)
CresModule.training_step = step
errors.run(lambda: main(sys.argv[1:]))
"""


def run_broken(what, rank, tiny, records, folder, *options, environment=None):
    """Train with something that happens in one process, in the third step of the second epoch."""
    (folder / "broken.py").write_text(BROKEN.format(root=str(ROOT / "src"), rank=rank, what=what))
    words = [
        sys.executable,
        folder / "broken.py",
        "fit",
        "-c",
        tiny,
        f"--data.data={records}",
        f"--run={folder / 'run'}",
    ]
    return run_program([*words, *options], folder, environment)


HANGS_IN_A_SAVE = """
        import ctypes
        from reconstruction.training.learning import checkpoints
        def save(checkpoint, stream):
            stream.write(b"half of it")
            os.kill(os.getpid(), signal.SIGTERM)
            ctypes.CDLL(None).sleep(600)  # no signal handler of Python runs meanwhile
        checkpoints._save = save
        self.trainer.save_checkpoint(self.trainer.default_root_dir + "/checkpoints/last.ckpt")
"""


@pytest.mark.timeout(0)  # run_program sees when it hangs
def test_a_step_that_never_ends_is_left_with_what_was_saved(tiny, records, tmp_path):
    done = run_broken(HANGS_IN_A_SAVE, 0, tiny, records, tmp_path, "--interruption.grace_s=1")
    assert done.code == 128 + signal.SIGTERM, done.said
    assert "stopped by SIGTERM at once (its step did not end" in done.said
    assert f"{tmp_path}/run/checkpoints/last.ckpt: go on with the same command and --resume" in done.said
    assert "Traceback" not in done.said
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 5
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == []
    assert not (tmp_path / "run/training").exists()


TWO = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=9"]
OTHER = "another process of this training"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_others_with_one_sentence(tiny, records, tmp_path, rank):
    done = run_broken("os._exit(9)", rank, tiny, records, tmp_path, *TWO)
    assert done.code != 0
    assert done.said.count(OTHER) == 1, done.said
    assert "Traceback" not in done.said


@pytest.mark.timeout(0)
def test_a_loss_that_is_not_finite_in_one_process_ends_both(tiny, records, tmp_path, late_gloo):
    what = "batch['inputs']['series'].fill_(float('nan')); open(os.environ['LATE_FROM'], 'w')"
    late = plain_environment(**late_gloo, LATE_FROM=str(tmp_path / "late"))
    done = run_broken(what, 1, tiny, records, tmp_path, *TWO, environment=late)
    assert done.code != 0
    assert done.said.count("error: the loss is nan in epoch") == 1, done.said
    assert done.said.count(OTHER) <= 1
    assert "Traceback" not in done.said
