"""What only a real device can show: trainings that go on to equal bits, half precision, compiled layers, two ranks.

`make test-gpu` runs them on a GPU; `--gpu-device=cpu` tries the tests themselves.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_records import SAMPLES, TINY, write_records

from cres.data.records import open_records
from cres.training.module import CresModule
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.runs.interruption import Interrupted

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("real", "few_passes")]

Run = Callable[..., None]


@pytest.fixture
def real(kind: str) -> str:
    if kind == "pretend":
        pytest.skip("the pretended device has the chain of its own; these need a real one")
    return kind


@pytest.fixture
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration of few records is enough to go through it."""
    monkeypatch.setattr("reconstruction.training.runs.calibrating.CALIBRATION_RECORDS", 1)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("data") / "records.hdf5", 256)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("  accelerator: cpu\n", "").replace("max_epochs: 3", "max_epochs: 2"))
    return path


@pytest.fixture
def run(config: Path, trainer_options: list[str], records: Path) -> Run:
    """Run a command: run(command, folder, *options)."""

    def run(command: str, folder: Path, *options: str) -> None:
        given = ["-c", str(config)] if command == "fit" else []
        data = [f"--data.data={records}"] if command != "export" else []
        CommandLine(command, [*given, *data, f"--run={folder}", *trainer_options, *options]).execute()

    return run


def state(folder: Path) -> dict[str, torch.Tensor]:
    found = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")
    average = {f"average/{name}": value for name, value in found["average"]["other"].items()}
    return {name: value for name, value in (found["state_dict"] | average).items() if isinstance(value, torch.Tensor)}


def table(folder: Path, name: str = "predictions.hdf5") -> PredictionTable:
    return PredictionTable.read(folder / name)


def test_a_resumed_training_ends_with_equal_weights(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in its third step, in the middle of an epoch."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or torch refuses its deterministic mode on a GPU
    exact = "--trainer.deterministic=true"
    run("fit", tmp_path / "whole", exact)
    with monkeypatch.context() as patched:
        inner, seen = CresModule.training_step, [0]

        def step_and_stop(self: CresModule, batch: Any, batch_idx: int) -> Any:
            seen[0] += 1
            if seen[0] == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return inner(self, batch, batch_idx)

        patched.setattr(CresModule, "training_step", step_and_stop)
        with pytest.raises(Interrupted):
            run("fit", tmp_path / "parts", exact)
    run("fit", tmp_path / "parts", exact, "--resume")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        assert torch.equal(values, parts[name]), name


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_precisions_train_and_keep_float32_weights(run: Run, tmp_path: Path, precision: str) -> None:
    run("fit", tmp_path, f"--trainer.precision={precision}")
    weights = {name: value for name, value in state(tmp_path).items() if "encoders" in name}
    assert weights
    assert not {value.dtype for value in weights.values()} & {torch.bfloat16, torch.float16}
    run("predict", tmp_path, f"--trainer.precision={precision}", f"--predictions={tmp_path / 'same.hdf5'}")
    run("predict", tmp_path, "--trainer.precision=32-true", f"--predictions={tmp_path / 'full.hdf5'}")
    here, there = table(tmp_path, "full.hdf5"), table(tmp_path, "same.hdf5")
    apart = np.abs(there.mean("energy_eV") - here.mean("energy_eV")) / here.std("energy_eV")
    assert np.median(apart) < (0.1 if precision == "bf16-mixed" else 1e-6)


def test_predictions_are_those_of_the_processor(run: Run, tmp_path: Path) -> None:
    """The median within 1e-3 σ, 99 % within 1e-2 σ; the rest is listed."""
    run("fit", tmp_path)
    run("predict", tmp_path, f"--predictions={tmp_path / 'there.hdf5'}")
    run("predict", tmp_path, "--trainer.accelerator=cpu", f"--predictions={tmp_path / 'here.hdf5'}")
    here, there = table(tmp_path, "here.hdf5"), table(tmp_path, "there.hdf5")
    np.testing.assert_array_equal(here.event_id, there.event_id)
    for target in ("energy_eV", "pitch_angle_deg"):
        apart = np.abs(there.mean(target) - here.mean(target)) / here.std(target)
        beyond = np.flatnonzero(apart > 1e-2)
        said = ", ".join(f"event {here.event_id[row]}: {apart[row]:.2g} σ" for row in beyond)
        print(f"{target}: median {np.median(apart):.1e} σ, worst {apart.max():.1e} σ; beyond 0.01 σ: {said or 'none'}")
        assert np.median(apart) < 1e-3
        assert np.mean(apart < 1e-2) >= 0.99
        np.testing.assert_allclose(there.std(target), here.std(target), rtol=1e-2)


def test_compiled_layers_say_what_plain_ones_say(kind: str, config: Path, records: Path, tmp_path: Path) -> None:
    """In a process of its own: the compiler does not follow the checks of types that tests switch on."""
    if kind == "cpu" and shutil.which("g++") is None:
        pytest.skip("compiling on a processor needs g++")
    from programs import run_program

    accelerator = f"--trainer.accelerator={'gpu' if kind == 'cuda' else kind}"
    common = [f"--data.data={records}", f"--run={tmp_path / 'run'}", accelerator]

    def command(name: str, *options: object) -> None:
        done = run_program([sys.executable, ROOT / "cli.py", name, *common, *options], tmp_path)
        assert done.code == 0, done.said

    said = []
    for name, compiled in (("compiled", "true"), ("plain", "false")):
        run = f"--run={tmp_path / name}"
        command("fit", "-c", config, f"--model.compile_encoders={compiled}", "--trainer.max_epochs=1", run)
        command("predict", run, f"--predictions={tmp_path / name}.hdf5")
        said.append(table(tmp_path, f"{name}.hdf5"))
    # not the weights: of a gradient that is rounding alone, AdamW makes a step of full length either way
    for target in ("energy_eV", "pitch_angle_deg"):
        apart = np.abs(said[0].mean(target) - said[1].mean(target)) / said[1].std(target)
        assert np.median(apart) < 0.02
        np.testing.assert_allclose(said[0].std(target), said[1].std(target), rtol=0.05)


@pytest.mark.filterwarnings("ignore:the records are not like")  # it was trained with noise
def test_an_export_says_what_the_model_says_on_any_device(
    run: Run, device: torch.device, records: Path, tmp_path: Path
) -> None:
    run("fit", tmp_path, "--trainer.max_epochs=1")
    run("predict", tmp_path, "--noise_scale=0", f"--predictions={tmp_path / 'said.hdf5'}")
    run("export", tmp_path, f"--output={tmp_path / 'model.pt2'}")
    said = table(tmp_path, "said.hdf5")
    opened = open_records(records)
    rows = np.array([int(np.flatnonzero(opened.event_ids == event)[0]) for event in said.event_id])
    volts = torch.from_numpy(opened.read_series(rows))
    assert volts.shape[1:] == (SAMPLES, 2)
    program = torch.export.load(tmp_path / "model.pt2")
    with torch.no_grad():
        found = program.module()(volts)
    apart = np.abs(found["estimate"][:, 0].numpy() - said.mean("energy_eV")) / said.std("energy_eV")
    assert np.median(apart) < 1e-3
    passes = getattr(torch.export, "passes", None)
    if device.type == "cpu" or not hasattr(passes, "move_to_device_pass"):
        return
    moved = passes.move_to_device_pass(program, str(device)).module()
    with torch.no_grad():
        there = moved(volts.to(device))
    torch.testing.assert_close(there["estimate"].cpu(), found["estimate"], rtol=1e-6, atol=1e-2)
    torch.testing.assert_close(there["covariance"].cpu(), found["covariance"], rtol=1e-2, atol=1e-6)


def test_two_ranks_share_one_device(kind: str, config: Path, records: Path, tmp_path: Path) -> None:
    """NCCL wants a device for each rank; through gloo two may share one, each as a node of its own."""
    from programs import run_program

    done = run_program([sys.executable, HERE / "two_ranks.py", kind, config, records, tmp_path / "run"], tmp_path)
    assert done.code == 0, done.said
    assert done.said.count("epoch 2/2") == 1
    weights = [torch.load(tmp_path / "run" / f"weights_{rank}.pt", weights_only=True) for rank in range(2)]
    for name, values in weights[0].items():
        assert torch.equal(values, weights[1][name]), name
    assert all(bool(torch.isfinite(values).all()) for values in weights[0].values())


HERE = Path(__file__).parent
