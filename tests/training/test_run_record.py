"""A run's record is true, and a run is touched by nobody else."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
import torch
import yaml
from forked import child_within
from jsonargparse import Namespace

from cres.errors import UserError
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.runs import run_lock
from reconstruction.training.runs.calibrating import FitCalibration
from reconstruction.training.runs.run_lock import LOCK, training_alone
from reconstruction.training.runs.runs import default_folder, set_aside
from reconstruction.training.runs.starts import Trial
from reconstruction.training.watching.loggers import make_loggers, wandb_wanted


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path, trained):
    """A copy of a finished run, whose original must stay as it is."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def words(tiny, records):
    return ["fit", "-c", str(tiny), f"--data.data={records}"]


# Folders and records ------------------------------------------------------------------------------------------------


def test_a_copied_run_goes_on_with_itself(run, trained):
    before = contents(trained)
    assert main(["fit", "-c", str(run / "config.yaml"), "--resume", "--trainer.max_epochs=4"]) == 0
    assert contents(trained) == before
    assert (run / "metrics.csv").read_text().splitlines()[-1].split(",")[0] == "19"
    assert yaml.safe_load((run / "config.yaml").read_text())["run"] is None


def test_where_a_configuration_lies_decides_the_folder_of_a_run_alone(tmp_path):
    own = tmp_path / "config.yaml"
    assert default_folder([own]) == tmp_path
    assert default_folder([own], "runs/x") == Path("runs/x")
    (tmp_path / "metrics.csv").touch()
    assert default_folder([own], "runs/x") == tmp_path
    assert default_folder([Path("configs/s4d.yaml")]) == Path("runs/s4d")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--model.optimiser.lr=1e-6", "model.optimiser.lr was 0.002 and is 1e-06 now"),
        ("--model.encoders.spectrum.init_args.width=8", "model.encoders.spectrum.width was 6 and is 8 now"),
        (
            "--model.schedule=reconstruction.training.schedules.Constant",
            "model.schedule was reconstruction.training.schedules.Plateau",
        ),
        ("--seed_everything=4", "seed_everything was 3 and is 4 now"),
        ("--data.batch_size=16", "data.batch_size was 32 and is 16 now"),
        ("--checkpoint.monitor=val/coverage", "checkpoint.monitor was val/loss"),
    ],
)
def test_what_would_be_another_training_is_refused_with_old_and_new_value(run, words, option, said):
    before = contents(run)
    with pytest.raises(UserError) as refused:
        main([*words, f"--run={run}", "--resume", "--trainer.max_epochs=4", option])
    assert said in str(refused.value)
    assert contents(run) == before


def test_other_electrons_are_refused(run, words, make_records, tmp_path):
    other = make_records(tmp_path / "other.hdf5", seed=5)
    with pytest.raises(UserError, match="give it the same data"):
        main([*words, f"--run={run}", "--resume", "--trainer.max_epochs=4", f"--data.data={other}"])


def test_a_finished_training_says_that_it_is_finished(run, words, capsys):
    before = contents(run)
    assert main([*words, f"--run={run}", "--resume"]) == 0
    assert "is finished: it has all of its 3 epochs" in capsys.readouterr().err
    assert main([*words, f"--run={run}", "--resume", "--trainer.max_epochs=1"]) == 0
    assert contents(run) == before


def test_patience_is_that_of_now_and_an_early_stop_is_an_end(words, tmp_path, capsys):
    early = [*words, f"--run={tmp_path}", "--early_stopping.patience=1", "--early_stopping.min_delta=100"]
    assert main(early) == 0
    assert main([*early, "--resume"]) == 0
    assert "is finished: it stopped early after 2 epochs" in capsys.readouterr().err
    assert main([*early, "--resume", "--early_stopping.patience=9"]) == 0
    assert "epoch 3/3" in capsys.readouterr().err


def test_a_new_training_keeps_everything_of_the_earlier_one_aside(run, words):
    shutil.copy(run / "config.yaml", run / "notes.txt")
    assert main(["test", f"--run={run}"]) == 0
    (run / "wandb_id").write_text("0123")
    before = contents(run)
    assert main([*words, f"--run={run}", "--trainer.max_epochs=1"]) == 0
    aside = contents(run / "earlier.1")
    assert {name: before[name] for name in aside} == aside
    assert {"metrics.csv", "predictions.hdf5", "config.yaml", "wandb_id", "checkpoints/best.ckpt"} <= aside.keys()
    assert "notes.txt" not in aside
    assert not (run / "wandb_id").exists()
    assert len(json.loads((run / "environment.json").read_text())) == 1
    assert set_aside(run) == run / "earlier.2"


@pytest.mark.parametrize("trial", ["--trainer.fast_dev_run=true", "--trainer.overfit_batches=1", "--find_lr"])
def test_a_trial_leaves_a_run_alone(run, words, trial, capsys):
    before = contents(run)
    assert main([*words, f"--run={run}", trial]) == 0
    assert contents(run) == before
    if "overfit" in trial:
        assert "1 batches an epoch" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "batches"), [(1, 1), (1.0, 1), (3.0, 3), (0.25, 0.25)])
def test_batches_to_learn_by_heart_are_counted_whatever_the_parser_makes_of_them(asked, batches):
    trial = Trial.of(Namespace(trainer=Namespace(fast_dev_run=False, overfit_batches=asked), resume=False))
    trial.forget()
    assert trial.limits() == {"limit_train_batches": batches, "limit_val_batches": batches}
    assert type(trial.overfit) is type(batches)


@pytest.mark.parametrize(
    "wrong",
    ["--trainer.enable_checkpointing=false", "--seed_everything=true", "--trainer.strategy=deepspeed", "--resume"],
)
def test_a_refused_start_leaves_nothing_behind(words, tmp_path, wrong):
    with pytest.raises(UserError):
        main([*words, f"--run={tmp_path / 'new/run'}", wrong])
    assert not (tmp_path / "new").exists()


def test_a_start_that_the_data_refuse_leaves_the_earlier_training(run, words, make_records, tmp_path):
    before = contents(run)
    unlabelled = make_records(tmp_path / "u.hdf5", labelled=False)
    with pytest.raises(UserError, match="trained on"):
        main([*words, f"--run={run}", f"--data.data={unlabelled}"])
    assert contents(run) == before


# One at a time ------------------------------------------------------------------------------------------------------


def test_a_second_training_is_refused_while_the_first_lives(run, words):
    before = contents(run)
    with child_within(lambda: training_alone(run)) as holder, pytest.raises(UserError) as refusal:
        main([*words, f"--run={run}"])
    assert re.search(rf"process {holder} on .* trains in .*--run", str(refusal.value))
    assert contents(run).keys() - before.keys() == {LOCK}
    with training_alone(run):  # that of the dead process is recognised
        assert (run / LOCK).exists()
    assert contents(run) == before


@pytest.mark.parametrize(("age_s", "free"), [(5, False), (run_lock.SILENT_S + 60, True)])
def test_on_another_machine_it_lives_as_long_as_it_touches_its_file(tmp_path, age_s, free):
    lock = tmp_path / LOCK
    lock.write_text(json.dumps({"host": "node7", "machine": "another", "pid": 1, "since": "today"}))
    os.utime(lock, (time.time() - age_s, time.time() - age_s))
    if free:
        with training_alone(tmp_path):
            pass
        return
    with pytest.raises(UserError, match="on node7 trains"), training_alone(tmp_path):
        pass
    assert lock.exists()


def test_a_job_that_was_queued_again_takes_over_from_itself(tmp_path, monkeypatch):
    (tmp_path / LOCK).write_text(json.dumps({"host": "node7", "machine": "another", "pid": 1, "job": "11"}))
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    with training_alone(tmp_path):
        pass


def test_a_copy_of_a_folder_in_which_a_training_runs_is_free(tmp_path):
    with training_alone(tmp_path / "original"):
        lock = tmp_path / "original" / LOCK
        lock.write_text(json.dumps(json.loads(lock.read_text()) | {"machine": "another"}))
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
        with pytest.raises(UserError, match="trains in"), training_alone(tmp_path / "original"):
            pass
        with training_alone(tmp_path / "copy"):
            pass
        assert lock.exists()


def test_a_later_process_of_the_same_number_holds_nothing(tmp_path):
    holder = {"host": "here", "machine": run_lock._machine(), "pid": os.getppid(), "started": "1"}
    (tmp_path / LOCK).write_text(json.dumps(holder))
    with training_alone(tmp_path):
        pass


# Configurations -----------------------------------------------------------------------------------------------------


def test_a_configuration_with_a_repeated_key_trains_nothing(tiny, records, tmp_path):
    twice = tmp_path / "twice.yaml"
    twice.write_text(tiny.read_text() + "trainer: {max_epochs: 1}\n")
    with pytest.raises(UserError, match="'trainer' stands twice"):
        main(["fit", "-c", str(twice), f"--data.data={records}", f"--run={tmp_path / 'run'}"])


@pytest.mark.parametrize("seed", ["true", "false", "-1", "4294967296"])
def test_a_seed_is_a_number_that_a_record_can_repeat(words, tmp_path, seed):
    with pytest.raises(UserError, match="seed_everything"):
        main([*words, f"--run={tmp_path}", f"--seed_everything={seed}"])


def test_a_logger_that_is_asked_for_logs_beside_the_file(tmp_path, monkeypatch):
    from lightning.pytorch.loggers import CSVLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    mine = CSVLogger(tmp_path)
    assert make_loggers(tmp_path, chosen=mine)[-1] is mine
    assert len(make_loggers(tmp_path, chosen=[mine, mine])) == 4
    assert len(make_loggers(tmp_path, chosen=False)) == 1
    assert len(make_loggers(tmp_path, keep=False)) == 1


def test_a_wandb_server_of_ones_own_counts_as_asked_for(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine wandb.lab.org\n  login user\n  password 0\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert not wandb_wanted()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.org:8080")
    assert wandb_wanted()


def test_a_training_that_was_ended_before_its_calibration_is_calibrated_when_it_is_resumed(
    tiny, make_records, tmp_path, monkeypatch
):
    words = ["fit", "-c", str(tiny), f"--data.data={make_records(tmp_path / 'more.hdf5', 300)}", f"--run={tmp_path}"]
    words.append("--trainer.max_epochs=1")
    with monkeypatch.context() as patched:
        patched.setattr(FitCalibration, "on_train_end", lambda *_: None)
        assert main(words) == 0
    assert factors(tmp_path / "checkpoints/best.ckpt").eq(1).all()
    assert main([*words, "--resume"]) == 0
    for name in ("best", "last"):
        assert not factors(tmp_path / f"checkpoints/{name}.ckpt").eq(1).any()


def factors(checkpoint: Path) -> torch.Tensor:
    return read_checkpoint(checkpoint)["state_dict"]["reconstructor.calibration.temperature.factor"]
