"""What libraries and the system report becomes one sentence, and what a person could do without is said once."""

import errno
import math
import multiprocessing
import os
import sys
import time
import warnings

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from cres.data.electrons import ElectronDataset
from cres.errors import UserError
from cres.training.module import CresModule
from reconstruction.output import LastingStream, lasting_output
from reconstruction.records import reading_ahead
from reconstruction.records.reading_ahead import begin_reading, say_once
from reconstruction.training.command_line.cli import main
from reconstruction.training.command_line.failures import sentence
from reconstruction.training.learning.checkpoints import Checkpoints, read_checkpoint

FROM_WORKER = "Caught UserError in DataLoader worker process 1.\nOriginal Traceback (most recent call last):\n  x\n"
SIZES = (
    "Error(s) in loading state_dict for CresModule:\n\tsize mismatch for reconstructor.head.weight: copying a param "
    "with shape torch.Size([6, 4]) from checkpoint, the shape in current model is torch.Size([8, 4])."
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RuntimeError("Too many open files. Communication with the workers is no longer possible."), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible …"), "--shm-size"),
        (RuntimeError("unable to write to file </torch_7_1>: No space left on device (28)"), "/dev/shm"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "data.workers"),
        (OSError(errno.ENOLCK, "No locks available"), "no locks"),
        (
            RuntimeError("[/x/gloo/transport/tcp/pair.cc:5] Connection closed by peer"),
            "another process of this training",
        ),
        (RuntimeError(SIZES), "reconstructor.head.weight is [6, 4] in it and [8, 4] now"),
        (MisconfigurationException("No `gpu`\nhere"), "the trainer does not take its options: No gpu here"),
        (UserError(FROM_WORKER + "cres.errors.UserError: the file is damaged"), "the file is damaged"),
        (torch.OutOfMemoryError("CUDA"), "data.batch_size"),
    ],
)
def test_a_failure_is_one_sentence_that_says_what_to_do(error, said):
    found = sentence(error)
    assert found is not None
    assert said in found
    assert "\n" not in found
    assert "Traceback" not in found


def test_it_is_found_below_what_wraps_it_and_faults_of_the_program_stay_what_they_are():
    outer = RuntimeError("something")
    outer.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert "ulimit" in str(sentence(outer))
    assert sentence(KeyError("x")) is None
    assert sentence(RuntimeError("shapes cannot be multiplied")) is None


def test_what_is_printed_into_a_closed_pipe_is_lost_and_nothing_else():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        stream = LastingStream(pipe)
        stream.write("more than a buffer holds " * 10_000)
        console = Console(file=stream)
        for _ in range(3):
            console.print("epoch")
            print("epoch", file=stream, flush=True)
        os.write(pipe.fileno(), b"also past the stream")


def test_the_streams_are_given_back(capsys):
    before = sys.stdout
    with lasting_output():
        print("said")
        assert sys.stdout is not before
    assert sys.stdout is before
    assert capsys.readouterr().out == "said\n"


def test_a_score_that_is_not_a_number_is_never_the_best(fit, tmp_path, monkeypatch):
    inner = CresModule.objective

    def poisoned(self, *arguments):
        loss, outcome = inner(self, *arguments)
        return (loss if self.training or self.current_epoch else loss * math.nan), outcome

    monkeypatch.setattr(CresModule, "objective", poisoned)
    with pytest.warns(UserWarning, match="val/loss is nan after epoch 1"):
        fit(tmp_path, "--trainer.max_epochs=2")
    (kept,) = (
        state
        for state in read_checkpoint(tmp_path / "checkpoints/best.ckpt")["callbacks"].values()
        if "best_epoch" in state
    )
    assert kept["best_epoch"] == 1
    assert math.isfinite(kept["best_score"])
    old = Checkpoints()
    old.load_state_dict({"best_score": math.nan, "best_epoch": 0})
    assert old.best_score is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "Too many open files"), errno.EMFILE),
        (
            RuntimeError("unable to open shared memory object </torch_7>: Too many open files (24)"),
            24,
        ),
        (RuntimeError("unable to write to file </torch_7_1>: No space left on device (28)"), errno.ENOSPC),
        (RuntimeError("something"), 1),
    ],
)
def test_a_worker_that_cannot_hand_over_a_batch_ends_and_says_why_by_its_code(error, code, capfd):
    def put() -> None:
        begin_reading(0)
        queue = multiprocessing.get_context("fork").Queue()
        queue.put(Unsent(error))
        time.sleep(60)  # for ever, but for the thread that cannot send

    child = multiprocessing.get_context("fork").Process(target=put)
    child.start()
    child.join(30)
    assert child.exitcode == code
    assert ("something" in capfd.readouterr().err) == (code == 1)


class Unsent:
    """What cannot be sent to another process."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def test_too_low_a_limit_of_open_files_is_refused_with_the_limit(monkeypatch, tiny, records, tmp_path):
    monkeypatch.setattr(reading_ahead, "file_limit", lambda: 20)
    with pytest.raises(UserError, match=r"limit is 20, data.workers=2 needs about \d+\).*ulimit -n.*workers=0"):
        main(["fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path / 'run'}", "--data.workers=2"])
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_handed_over_ends_the_training_with_the_limit(monkeypatch, tiny, records, tmp_path):
    def unsent(self, draws):
        return {"inputs": Unsent(OSError(errno.EMFILE, "Too many open files"))}

    monkeypatch.setattr(ElectronDataset, "__getitems__", unsent)
    with pytest.raises(UserError, match=r"too few files may be open at once \(the limit is \d+\)"):
        main(["fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path / 'run'}", "--data.workers=2"])


def test_one_of_several_workers_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_once(1)
        warnings.warn("by the second", stacklevel=1)
        warnings.simplefilter("error")
        say_once(0)
        with pytest.raises(UserWarning):
            warnings.warn("by the first", stacklevel=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ckpt_path=x.ckpt"], "--resume goes on with this run, --fine_tune.checkpoint"),
        (["--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:05"], "curriculum.noise_scale.epochs"),
        (
            [
                "--trainer.max_epochs=-1",
                "--curriculum.noise_scale.epochs=1",
                "--model.schedule=reconstruction.training.schedules.OneCycle",
            ],
            "model.schedule is OneCycle, whose shape needs to know the end",
        ),
        (["--trainer.strategy=deepspeed"], "the trainer cannot be made"),
        (["--trainer.enable_checkpointing=false"], "would lose the training"),
        (["--trainer.devices=64", "--trainer.strategy=ddp"], "the validation split has 19 electrons"),
        (["--trainer.overfit_batches=-1"], "overfit_batches is -1"),
        (["--trainer.max_epochs=0"], "trainer.max_epochs=0 would train nothing"),
        (["--trainer.max_steps=0"], "trainer.max_steps=0 would train nothing"),
        (["--trainer.limit_train_batches=0"], "trainer.limit_train_batches=0 would train nothing"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(tiny, records, tmp_path, options, said):
    with pytest.raises(UserError) as refused:
        main(["fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path / 'run'}", *options])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [["--trainer.max_epochs=-1"], ["--trainer.max_epochs=null"]])
def test_a_training_with_an_end_in_steps_alone(fit, tmp_path, options, capsys):
    fit(
        tmp_path,
        *options,
        "--trainer.max_steps=7",
        "--model.schedule=reconstruction.training.schedules.Cosine",
    )
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 7
    assert "epoch 2  loss" in capsys.readouterr().err


def test_a_training_on_few_electrons_is_warned_of(tiny, make_records, tmp_path):
    few = make_records(tmp_path / "few.hdf5", 24)
    with pytest.warns(UserWarning, match="trains on 19 electrons and validates on 3"):
        main(["fit", "-c", str(tiny), f"--data.data={few}", f"--run={tmp_path / 'run'}", "--trainer.max_epochs=1"])
