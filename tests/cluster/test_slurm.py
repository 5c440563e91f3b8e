"""Sweeps, interruptions and array jobs on a real scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cres import studies
from cres.evaluation import PredictionTable
from reconstruction.judging.tables.find import read_table

ROOT = Path(__file__).parents[2]
SmallSlurm = Any  # of conftest.py, which the tests cannot import

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

SMALL = {
    "trainer.max_epochs": 6,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": False,
    "trainer.log_every_n_steps": 1,
    "data.data": "cres.hdf5",
    "data.batch_size": 8,
    "model.encoders.spectrum.init_args.width": 8,
    "model.encoders.spectrum.init_args.depth": 1,
    # a checkpoint at every step is slow enough to be interrupted between two
    "checkpoint.every_steps": 1,
}
AXES = {"model.optimiser.lr": [1e-3, 4e-3], "model.optimiser.weight_decay": [0.0, 0.1]}
OPTIONS = [f"--{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in SMALL.items()]
SUBMIT = str(ROOT / "submit.sh")


def log_of(folder: Path, job: str) -> str:
    return "".join(path.read_text() for path in (folder / "logs").glob(f"*-{job}.log"))


def tell(folder: Path, *jobs: str) -> None:
    """Print what happened to jobs; shown by `pytest -s`."""
    words = ("== ", "stopped by", "srun: error", "the time limit", "epoch 6/", "electrons reconstructed", "is finished")
    for job in jobs:
        lines = [line for line in log_of(folder, job).splitlines() if any(word in line for word in words)]
        print(f"\njob {job}", *lines, sep="\n  ")


def has_saved(run: Path, after_ns: int = 0) -> bool:
    last = run / "checkpoints" / "last.ckpt"
    return last.exists() and last.stat().st_mtime_ns > after_ns


def process_of(run: str) -> int:
    """Return the training process of a run."""
    for place in Path("/proc").glob("[0-9]*"):
        words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if f"--run={run}" in words and "fit" in words and "python" in Path(words[0]).name:
            return int(place.name)
    raise AssertionError(f"no process trains {run}")


@pytest.fixture(scope="session")
def folder(slurm: SmallSlurm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with data that were simulated and prepared by array jobs."""
    place = tmp_path_factory.mktemp("user")
    simulate = slurm.submit(
        place, "--array=1-2", SUBMIT, str(ROOT / "scripts/simulate.py"), "--events", "48", "--seed", "{task}",
        "--output", "raw/{task}", "--events-per-file", "24", "--workers", "1",
    )  # fmt: skip
    prepare = (
        SUBMIT,
        str(ROOT / "scripts/data_prep.py"),
        "--input",
        "raw/*/*.pkl.gz",
        "--output",
        "cres.hdf5",
        "--workers",
        "1",
    )
    array = slurm.submit(place, "--array=0-1", f"--dependency=afterok:{simulate}", *prepare, "--task", "{task}/{tasks}")
    join = slurm.submit(place, f"--dependency=afterok:{array}", *prepare)
    slurm.wait_end(*(f"{array}_{task}" for task in range(2)))
    assert "--task 1/2" in log_of(place, f"{array}_1"), log_of(place, f"{simulate}_*")
    slurm.wait_end(join)
    assert (place / "cres.hdf5").exists(), log_of(place, f"{array}_*") + log_of(place, join)
    sweep = {"name": "four", "base": os.path.relpath(ROOT / "configs/s4d.yaml", place), "axes": AXES, "fixed": SMALL}
    (place / "four.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    return place


def test_a_sweep_ends_complete_whatever_was_interrupted(slurm: SmallSlurm, folder: Path) -> None:
    job = slurm.submit(folder, "--array=0-3", SUBMIT, "four.yaml")
    runs = [folder / "runs/four" / f"{index:03d}" for index in range(4)]
    slurm.wait_for(lambda: has_saved(runs[0]), "the first point's checkpoint")
    slurm.run("scontrol", "requeue", f"{job}_0")  # what an administrator or a preemption does
    slurm.wait_for(lambda: has_saved(runs[1]), "the second point's checkpoint")
    slurm.run("scancel", "--signal=USR1", f"{job}_1")  # what the time limit does
    slurm.wait_for(lambda: has_saved(runs[2]), "the third point's checkpoint")
    os.kill(process_of("runs/four/002"), signal.SIGKILL)  # what a lack of memory does
    slurm.wait_end(*(f"{job}_{index}" for index in range(4)))
    tell(folder, *(f"{job}_{index}" for index in range(4)))
    states = [slurm.state(f"{job}_{index}") for index in range(4)]
    assert states == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"], log_of(folder, f"{job}_*")
    assert [slurm.facts(f"{job}_{index}")["Restarts"] for index in range(4)] == ["1", "1", "0", "0"]

    again = slurm.submit(folder, "--array=2,3", SUBMIT, "four.yaml")
    slurm.wait_end(f"{again}_2", f"{again}_3")
    tell(folder, f"{again}_2", f"{again}_3")
    assert "runs/four/003 is finished" in log_of(folder, f"{again}_3")
    for log in (log_of(folder, f"{job}_0"), log_of(folder, f"{job}_1"), log_of(folder, f"{again}_2")):
        assert "--resume" in log
    assert "queued again (restart 1 of at most 50)" in log_of(folder, f"{job}_1")
    for run in runs:
        assert len(PredictionTable.read(run / "predictions.hdf5")) > 0
        steps = [int(line.split(",")[0]) for line in (run / "metrics.csv").read_text().splitlines()[1:]]
        assert steps == sorted(steps)
    summary = subprocess.run(
        [slurm.environment["CRES_PYTHON"], str(ROOT / "scripts/sweep.py"), "summarise", "runs/four"],
        cwd=folder, env={**slurm.environment, "COLUMNS": "160"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    print(summary)
    assert summary.count("complete") == 4
    page = (folder / "runs/four/summary.html").read_text()
    assert all(text in page for text in ("000", "003", "weight_decay", "validation loss"))


def test_an_interrupted_point_is_bit_by_bit_an_undisturbed_one(slurm: SmallSlurm, folder: Path) -> None:
    environment = {**slurm.environment, "CRES_TASKS": "0-1", "CRES_JOBS": "2"}
    command = ["bash", SUBMIT, "four.yaml", "--run=runs/undisturbed"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    for index in ("000", "001"):
        one, other = (folder / "runs" / name / index for name in ("four", "undisturbed"))
        states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (one, other)]
        assert states[0].keys() == states[1].keys()
        tensors = [{name: value for name, value in state.items() if torch.is_tensor(value)} for state in states]
        assert len(tensors[0]) > 30
        assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
        tables = [PredictionTable.read(run / "predictions.hdf5") for run in (one, other)]
        np.testing.assert_array_equal(tables[0].mean("energy_ev"), tables[1].mean("energy_ev"))


def test_the_time_limit_saves_queues_again_and_goes_on_and_a_cancelled_job_stays_so(
    slurm: SmallSlurm, folder: Path
) -> None:
    options = [*OPTIONS, "--trainer.max_epochs=100000", "--early_stopping.patience=100000", "--run=runs/long"]
    job = slurm.submit(folder, "--time=3", "--signal=SIGUSR1@90", SUBMIT, str(ROOT / "configs/s4d.yaml"), *options)
    run = folder / "runs/long"
    slurm.wait_for(lambda: "start 2" in log_of(folder, job), "the restart")
    restarted = time.time_ns()
    slurm.wait_for(lambda: has_saved(run, restarted), "a checkpoint of the second start")
    log = log_of(folder, job)
    tell(folder, job)
    assert "state saved in" in log
    assert "--resume" in log
    slurm.run("scancel", job)
    slurm.wait_end(job)
    assert slurm.state(job) == "CANCELLED"
    assert slurm.facts(job)["Restarts"] == "1"


def test_two_gpus_are_two_processes_of_one_training(slurm: SmallSlurm, folder: Path) -> None:
    options = [*OPTIONS, "--run=runs/two", "--checkpoint.every_steps=0"]
    job = slurm.submit(
        folder, "--gpus-per-node=2", "--cpus-per-task=2", SUBMIT, str(ROOT / "configs/s4d.yaml"), *options
    )
    slurm.wait_end(job)
    log = log_of(folder, job)
    tell(folder, job)
    assert slurm.state(job) == "COMPLETED", log
    assert "--ntasks=2" in log
    # 77 electrons to train on, in batches of 8: 10 steps of one process
    assert "5 batches an epoch" in log
    steps = [int(line.split(",")[0]) for line in (folder / "runs/two/metrics.csv").read_text().splitlines()[1:]]
    assert max(steps) == 6 * 5 - 1
    assert len(PredictionTable.read(folder / "runs/two/predictions.hdf5")) > 0


def test_two_nodes_train_as_two_processes_of_one(slurm: SmallSlurm, folder: Path) -> None:
    config, options = str(ROOT / "configs/s4d.yaml"), [*OPTIONS, "--trainer.max_epochs=3", "--checkpoint.every_steps=0"]
    wide = slurm.submit(folder, "--nodes=2", "--cpus-per-task=1", SUBMIT, config, *options, "--run=runs/wide")
    slurm.wait_end(wide)
    log = log_of(folder, wide)
    assert slurm.state(wide) == "COMPLETED", log
    assert slurm.facts(wide)["NumNodes"] == "2"
    assert "srun --nodes=2 --ntasks=2 --ntasks-per-node=1" in log
    assert log.count("epoch 3/3") == 1
    assert "5 batches an epoch" in log
    assert sorted(path.name for path in (folder / "runs").glob("wide*")) == ["wide"]
    assert len(PredictionTable.read(folder / "runs/wide/predictions.hdf5")) > 0
    for node in slurm.nodes:
        assert f"launch task StepId={wide}.0" in (slurm.folder / f"slurmd-{node}.log").read_text()

    narrow = slurm.submit(folder, "--ntasks-per-node=2", SUBMIT, config, *options, "--run=runs/narrow")
    slurm.wait_end(narrow)
    tell(folder, wide, narrow)
    assert "srun --nodes=1 --ntasks=2 --ntasks-per-node=2" in log_of(folder, narrow)
    states = [
        torch.load(folder / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("runs/wide", "runs/narrow")
    ]
    tensors = [{name: value for name, value in state.items() if torch.is_tensor(value)} for state in states]
    assert len(tensors[0]) > 30
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_two_nodes_save_on_the_signal_and_go_on(slurm: SmallSlurm, folder: Path) -> None:
    options = [*OPTIONS, "--trainer.max_epochs=100000", "--early_stopping.patience=100000", "--run=runs/wide_long"]
    job = slurm.submit(folder, "--nodes=2", SUBMIT, str(ROOT / "configs/s4d.yaml"), *options)
    run = folder / "runs/wide_long"
    slurm.wait_for(lambda: has_saved(run), "a checkpoint")
    slurm.run("scancel", "--signal=USR1", job)
    slurm.wait_for(lambda: "start 2" in log_of(folder, job), "the restart")
    restarted = time.time_ns()
    slurm.wait_for(lambda: has_saved(run, restarted), "a checkpoint of the second start")
    slurm.run("scancel", job)
    slurm.wait_end(job)
    tell(folder, job)
    log = log_of(folder, job)
    assert log.count("state saved in") >= 1
    assert "--resume" in log
    assert slurm.facts(job)["Restarts"] == "1"


def test_estimates_and_toys_are_array_jobs(slurm: SmallSlurm, folder: Path) -> None:
    prepare = (SUBMIT, str(ROOT / "scripts/data_prep.py"), "--input", "raw/{task}", "--output", "shards/{task}.hdf5")
    shards = slurm.submit(folder, "--array=1-2", *prepare, "--workers", "1")
    estimate = (SUBMIT, str(ROOT / "scripts/estimate.py"), "--method", "bound", "--split", "all")
    files = ("--data", "shards/{task}.hdf5", "--output", "bounds/{task}.hdf5")
    bounds = slurm.submit(folder, "--array=1-2", f"--dependency=afterany:{shards}", *estimate, *files)
    study = ("scripts/endpoint.py", "--toys", "4", "--workers", "1", "--output", "runs/toys")
    toys = slurm.submit(folder, "--array=0-1", SUBMIT, str(ROOT / study[0]), *study[1:], "--task", "{task}/{tasks}")
    slurm.wait_end(*(f"{bounds}_{task}" for task in (1, 2)), *(f"{toys}_{task}" for task in (0, 1)))
    tell(folder, *(f"{bounds}_{task}" for task in (1, 2)))
    together = read_table(folder / "bounds")
    assert len(together) == 96, log_of(folder, f"{shards}_*") + log_of(folder, f"{bounds}_*")
    assert together.is_bound
    assert "task 1 of 2: 2 pseudo-experiments" in log_of(folder, f"{toys}_1")
    said = slurm.run(slurm.environment["CRES_PYTHON"], str(ROOT / study[0]), *study[1:], cwd=folder)
    assert "pseudo-experiments   4 (0 fits failed)" in said
    assert not (folder / "runs/toys/toys.jsonl").exists()


def test_refusals_stand_in_the_log(slurm: SmallSlurm, folder: Path) -> None:
    config = str(ROOT / "configs/s4d.yaml")
    for words, sentence in (
        ([config, "--data.data=none.hdf5"], "error: there are no data none.hdf5"),
        (["configs/none.yaml"], "error: there is no configs/none.yaml"),
    ):
        job = slurm.submit(folder, SUBMIT, *words)
        slurm.wait_end(job)
        assert slurm.facts(job)["ExitCode"] == "2:0"
        assert log_of(folder, job).startswith(sentence)
    job = slurm.submit(folder, "--array=4", SUBMIT, "four.yaml")
    slurm.wait_end(f"{job}_4")
    assert "four has 4 points" in log_of(folder, f"{job}_4")


def test_an_adaptive_sweep_is_one_study_of_all_tasks(slurm: SmallSlurm, folder: Path) -> None:
    pytest.importorskip("optuna")
    axes = {"model.optimiser.lr": {"low": 1e-4, "high": 1e-2, "scale": "log"}, "model.optimiser.weight_decay": [0, 0.1]}
    base = os.path.relpath(ROOT / "configs/s4d.yaml", folder)
    fixed = {**SMALL, "trainer.max_epochs": 4, "study.startup_points": 1, "study.warmup_epochs": 1}
    content = {"name": "chosen", "base": base, "method": "adaptive", "points": 4, "axes": axes, "fixed": fixed}
    (folder / "chosen.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run = folder / "runs/chosen/000"

    job = slurm.submit(folder, "--array=0-3%2", SUBMIT, "chosen.yaml")
    slurm.wait_for(lambda: has_saved(run), "the first point's checkpoint")
    options = (run / "options").read_text()
    slurm.run("scontrol", "requeue", f"{job}_0")
    tasks = [f"{job}_{index}" for index in range(4)]
    slurm.wait_end(*tasks)
    tell(folder, *tasks)
    assert [slurm.state(task) for task in tasks] == ["COMPLETED"] * 4, log_of(folder, f"{job}_*")
    assert slurm.facts(f"{job}_0")["Restarts"] == "1"
    assert "--resume" in log_of(folder, f"{job}_0")
    assert (run / "options").read_text() == options

    trials = studies.load(folder / "runs/chosen/study.log").trials
    assert sorted(trial.user_attrs[studies.POINT] for trial in trials) == list(range(4))
    for trial in trials:
        point = folder / "runs/chosen" / f"{trial.user_attrs[studies.POINT]:03d}"
        assert (
            f"--model.optimiser.lr={trial.user_attrs['values']['model.optimiser.lr']}"
            in (point / "options").read_text()
        )
        ended_early = (point / "pruned").exists()
        assert trial.state.name == ("PRUNED" if ended_early else "COMPLETE")
        assert (point / "predictions.hdf5").exists() is not ended_early
        assert ended_early or trial.value == min(trial.intermediate_values.values())
    said = [task for task in tasks if "summary: runs/chosen/summary.html" in log_of(folder, task)]
    assert said, "no task made the summary"
    assert "chosen" in (folder / "runs/chosen/summary.html").read_text()
