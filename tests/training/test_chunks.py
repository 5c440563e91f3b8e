"""Long records through a causal model piece by piece: the same as whole, in memory that does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.transforms import FROZEN_EPOCH
from reconstruction.judging.tables.columns import COVARIANCE
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.runs.loading import load_module

ROOT = Path(__file__).parents[2]
CAUSAL = """
seed_everything: 3
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
data: {batch_size: 16}
figures: {every_epochs: 0}
model:
  views:
    time: {class_path: cres.transforms.TimeView, init_args: {band_hz: null}}
  encoders:
    time:
      class_path: reconstruction.models.S4DEncoder
      init_args: {width: 6, state: 4, depth: 2, bidirectional: false, stride: 4, downsample: [2, 1]}
  head: {class_path: reconstruction.models.GaussianHead, init_args: {hidden_width: 8}}
  receiver:
    - {class_path: cres.transforms.GainPhaseDrift, init_args: {gain_std: 0.1, phase_drift_std_rad: 0.5}}
    - {class_path: cres.transforms.Quantise, init_args: {range_volt: 1.0, bits: 14}}
"""
POOLINGS = ("mean", "attention", "last")


def train(folder: Path, records: Path, *options: str) -> Path:
    config = folder / "causal.yaml"
    config.write_text(CAUSAL)
    CommandLine("fit", ["-c", str(config), f"--data.data={records}", f"--run={folder}", *options]).execute()
    return folder


@pytest.fixture(scope="module")
def causal(records, tmp_path_factory):
    """Return causal runs by pooling."""
    option = "--model.encoders.time.init_args.pooling="
    return {name: train(tmp_path_factory.mktemp(name), records, option + name) for name in POOLINGS}


def same(found: PredictionTable, wanted: PredictionTable, rtol: float) -> None:
    """Compare everything that is stated about the electrons; differences count beside the error bars."""
    assert np.array_equal(found.event_id, wanted.event_id)
    assert set(found.columns) == set(wanted.columns)
    std = np.stack([wanted.std(name) for name in wanted.targets], axis=1)
    unit = std[:, :, None] * std[:, None, :]
    for name, values in wanted.columns.items():
        if name == COVARIANCE:
            np.testing.assert_allclose(found.column(name) / unit, values / unit, rtol=rtol, atol=rtol)
            continue
        # target columns and the ends of intervals differ by a share of the error bar, whatever the size of the target
        target = next((one for one in wanted.targets if name.startswith(one.rpartition("_")[0])), None)
        scale = np.maximum(1.0, np.abs(values)) if target is None else wanted.std(target)
        np.testing.assert_allclose(found.column(name) / scale, values / scale, rtol=0, atol=rtol, err_msg=name)


@pytest.mark.parametrize(
    ("command", "pooling", "chunks"),
    # 200 leaves a shorter last piece; all poolings at another length: in float64, below
    [("predict", "mean", (64, 200, 512)), ("test", "attention", (200,)), ("predict", "last", (200,))],
)
def test_pieces_give_what_the_whole_record_gives(causal, records, tmp_path, command, pooling, chunks):
    options = [command, f"--run={causal[pooling]}", f"--data.data={records}"]
    main([*options, f"--predictions={tmp_path / 'whole.h5'}"])
    for chunk in chunks:
        main([*options, f"--chunk={chunk}", f"--predictions={tmp_path / 'pieces.h5'}"])
        same(PredictionTable.read(tmp_path / "pieces.h5"), PredictionTable.read(tmp_path / "whole.h5"), 1e-5)


def batches(records, chunk, **settings):
    data = CresDataModule(str(records), batch_size=5, **settings)
    rows = np.arange(5)
    return next(iter(data.piece_dataloader(rows, chunk))), next(iter(data.predict_dataloader()))


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_in_float64_they_are_equal_to_rounding(causal, records, pooling):
    model = load_module(causal[pooling] / "checkpoints" / "best.ckpt").double()
    pieces, whole = batches(records, 104)
    found = model.reconstruct(pieces)
    double = {"series": whole["inputs"]["series"].double()}
    wanted = model.of(model.inject(whole | {"inputs": double}, FROZEN_EPOCH))
    torch.testing.assert_close(found.estimate, wanted.estimate, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.error_covariance, wanted.error_covariance, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_a_state_that_is_not_carried_is_noticed(causal, records, monkeypatch):
    """The check above can fail: pieces that know nothing of each other give something else."""
    from reconstruction.models.encoders.s4d_layer import StateSpace

    model = load_module(causal["last"] / "checkpoints" / "best.ckpt").double()
    pieces, _ = batches(records, 104)
    found = model.reconstruct(pieces)
    carried = StateSpace.chunk
    monkeypatch.setattr(StateSpace, "chunk", lambda self, values, state: carried(self, values, 0 * state))
    assert not torch.allclose(model.reconstruct(pieces).estimate, found.estimate, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0])
def test_pieces_have_the_noise_of_the_whole_record(causal, records, scale):
    model = load_module(causal["mean"] / "checkpoints" / "best.ckpt")
    model.noise_scale = scale
    pieces, whole = batches(records, 100, window_start=7, window_samples=500)
    together = torch.cat(list(model.pieces(pieces)), dim=1)
    torch.testing.assert_close(
        together, model.inject(whole, FROZEN_EPOCH, scale)["inputs"]["series"], rtol=0, atol=2e-7
    )


def test_an_ensemble_reads_pieces(causal, records, tmp_path):
    files = ",".join(str(causal[name] / "checkpoints" / "best.ckpt") for name in POOLINGS)
    options = ["predict", f"--run={causal['mean']}", f"--data.data={records}", f"--ckpt_path=[{files}]"]
    main([*options, f"--predictions={tmp_path / 'whole.h5'}"])
    main([*options, "--chunk=128", f"--predictions={tmp_path / 'pieces.h5'}"])
    same(PredictionTable.read(tmp_path / "pieces.h5"), PredictionTable.read(tmp_path / "whole.h5"), 1e-5)


TIME = "--model.encoders.time.init_args."


@pytest.mark.parametrize(
    ("trained_with", "chunk", "said"),
    [
        ([f"{TIME}bidirectional=true"], 64, r"'time' \(S4DEncoder\) reads the whole record.*--windows"),
        (["--model.views.time.init_args.band_hz=[-80e6,-45e6]"], 64, r"'time' \(TimeView\) is made of the whole"),
        ([], 66, "must be a multiple of 8"),
        (
            ["--model.noise=[{class_path: cres.transforms.CavityNoise, init_args: {lo_frequency_hz: 25.9702e9}}]"],
            64,
            "CavityNoise needs the whole record.*--windows",
        ),
    ],
)
def test_what_needs_the_whole_record_says_so(causal, records, tmp_path, trained_with, chunk, said):
    # what a model is made of decides, not what it learned
    run = train(tmp_path, records, *trained_with, "--trainer.limit_train_batches=1") if trained_with else causal["mean"]
    with pytest.raises(UserError, match=said):
        main(["predict", f"--run={run}", f"--data.data={records}", f"--chunk={chunk}"])


def test_options_that_contradict_are_refused(causal, trained, records):
    run = f"--run={causal['mean']}"
    with pytest.raises(UserError, match="one of the two"):
        main(["test", run, f"--data.data={records}", "--chunk=64", "--windows=512"])
    with pytest.raises(UserError, match=r"data\.band_hz cuts a band"):
        main(["test", run, f"--data.data={records}", "--chunk=64", "--data.band_hz=[-80e6,-45e6]"])
    with pytest.raises(UserError, match=r"'spectrum' \(SpectrumView\) is made of the whole"):
        main(["test", f"--run={trained}", "--chunk=64"])


def long_record(path: Path, samples: int) -> Path:
    """Write two electrons of `samples` samples, a little at a time."""
    with h5py.File(path, "w") as file:
        for name in ("output_ts_I", "output_ts_Q"):
            file.create_dataset(name, (2, samples), np.float32, chunks=(1, samples), fillvalue=0.01)[:, :64] = 0.02
        file["event_id"] = np.arange(2)
        file["content_hash"] = np.arange(2)
        file.attrs.update({"schema_version": 1, "sampling_rate_hz": 403e6, "lo_frequency_hz": 25.9702e9})
    return path


MEASURED = """
import sys, warnings
from pathlib import Path
from reconstruction.training.command_line.cli import main
warnings.simplefilter("ignore")
main(sys.argv[1:])
print("peak", next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def peak_mib(*arguments: str) -> float:
    """Return the peak memory of a process that runs this command line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURED, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rpartition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_memory_does_not_grow_with_the_record(causal, tmp_path):
    short, long = (long_record(tmp_path / f"{n}.hdf5", n) for n in (1 << 16, 1 << 20))
    options = ["predict", f"--run={causal['mean']}", f"--predictions={tmp_path / 'p.h5'}"]
    before = peak_mib(*options, "--chunk=8192", f"--data.data={short}")
    after = peak_mib(*options, "--chunk=8192", f"--data.data={long}")
    whole = peak_mib(*options, f"--data.data={long}")
    print(f"peak memory {before:.0f} MiB, 16 times as long {after:.0f} MiB, the same at once {whole:.0f} MiB")
    record_mib = 2 * 2 * (1 << 20) * 4 / 2**20
    assert after - before < record_mib / 2  # the volts alone would be more
    assert whole - before > 10 * record_mib  # as measured, the check can fail
