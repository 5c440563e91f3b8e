"""What the command line offers for large models and fast devices: each option trains, and to the right result."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cres.errors import UserError
from cres.training.module import CresModule
from reconstruction.models import S4DEncoder
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning import batch_finder
from reconstruction.training.learning.batch_finder import Tried, scan_sizes, suggested
from reconstruction.training.learning.checkpoints import read_checkpoint

ROOT = Path(__file__).parents[2]
PLAIN = [
    "--trainer.max_epochs=1",
    "--model.encoders.spectrum.init_args.dropout=0.0",
    "--model.ema_decay=0.0",
    "--model.augmentations=[]",
]


def weights(folder) -> dict:
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
    return {name: value for name, value in state.items() if "scaler" not in name and "calibration" not in name}


@pytest.fixture(scope="module")
def plain(fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    fit(folder, *PLAIN, "--trainer.limit_train_batches=4", "--curriculum.noise_scale.shape=none")
    return weights(folder)


def test_accumulated_batches_are_the_joint_batch(plain, fit, tmp_path):
    smaller = ["--data.batch_size=16", "--trainer.limit_train_batches=8", "--trainer.accumulate_grad_batches=2"]
    fit(tmp_path, *PLAIN, *smaller, "--curriculum.noise_scale.shape=none")
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4
    torch.testing.assert_close(weights(tmp_path), plain, rtol=1e-3, atol=1e-4)


def test_mixed_precision_trains_with_its_kernel_in_float32(plain, fit, tmp_path, monkeypatch):
    seen = set()
    inner = S4DEncoder.sequence

    def watch(self, series, lengths=None):
        found = inner(self, series, lengths)
        if self.training:
            seen.add((torch.is_autocast_enabled("cpu"), self.blocks[0].state_space.kernel(8).dtype))
        return found

    monkeypatch.setattr(S4DEncoder, "sequence", watch)
    fit(tmp_path, *PLAIN, "--trainer.precision=bf16-mixed", "--trainer.limit_train_batches=4")
    assert seen == {(True, torch.float32)}
    assert all(value.dtype == plain[name].dtype for name, value in weights(tmp_path).items())


def test_deterministic_algorithms_train_to_the_same_bits(plain, fit, tmp_path):
    options = ["--trainer.limit_train_batches=4", "--curriculum.noise_scale.shape=none"]
    try:
        fit(tmp_path, *PLAIN, *options, "--trainer.deterministic=true")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(value, plain[name]) for name, value in weights(tmp_path).items())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_encoders_train_to_the_same_weights(plain, tiny, records, tmp_path):
    """Needs a C++ compiler and minutes, and a process without the checks of shapes, which torch cannot capture."""
    options = ["--trainer.limit_train_batches=4", "--curriculum.noise_scale.shape=none"]
    command = [sys.executable, "cli.py", "fit", "-c", tiny, f"--data.data={records}", f"--run={tmp_path}"]
    command += [*PLAIN, *options, "--model.compile_encoders=true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(weights(tmp_path), plain, rtol=1e-3, atol=1e-4)


def test_without_a_compiler_it_is_named(tiny, records, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    options = ["-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--model.compile_encoders=true"]
    with pytest.raises(UserError, match="no-such-compiler"):
        main(["fit", *options])


# Batch size ----------------------------------------------------------------------------------------------------------


def test_the_smallest_size_of_nearly_the_highest_rate_is_suggested():
    assert suggested([Tried(4, 10.0), Tried(8, 19.0), Tried(16, 36.5), Tried(32, 40.0), Tried(64, 39.0)]) == 16


def test_the_finder_prints_rates_and_an_option_and_trains_nothing(tiny, records, tmp_path, capsys):
    options = ["-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--find_batch_size"]
    assert main(["fit", *options]) == 0
    printed = capsys.readouterr().out
    assert "--data.batch_size=" in printed
    assert "rows/s" in printed
    assert not (tmp_path / "checkpoints").exists()


def test_the_finder_stops_where_memory_ends_and_leaves_the_module_alone(trained, monkeypatch):
    from reconstruction.training.runs.loading import load_module

    module = load_module(trained / "checkpoints" / "last.ckpt")
    before = {name: value.clone() for name, value in module.named_parameters()}
    inner = CresModule.objective

    def limited(self, noisy, batch):
        if len(noisy["event_id"]) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(self, noisy, batch)

    monkeypatch.setattr(CresModule, "objective", limited)
    monkeypatch.setattr(batch_finder, "NO_FASTER", 0.0)

    def batch_of(size: int) -> dict:
        return {
            "inputs": {"series": torch.randn(size, 512, 2)},
            "event_id": torch.arange(size),
            "targets": torch.tensor([[18_600.0, 89.0]], dtype=torch.float64).repeat(size, 1),
        }

    scan = scan_sizes(module, batch_of, 1000)
    assert [one.batch_size for one in scan.tried] == [4, 8, 16]
    assert scan.memory_ended
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())
    monkeypatch.setattr(batch_finder, "SMALLEST", 32)
    with pytest.raises(UserError, match="not even 32"):
        scan_sizes(module, batch_of, 1000)


def test_a_training_ends_by_the_clock_with_its_schedule_and_a_validation(fit, tmp_path, capsys):
    by_the_clock = ["--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:02", "--curriculum.noise_scale.epochs=1"]
    by_the_clock += ["--model.schedule=reconstruction.training.schedules.OneCycle"]
    fit(tmp_path, *by_the_clock)
    last = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    groups = last["optimizer_states"][0]["param_groups"]
    assert all(group["lr"] < 1e-2 * group["initial_lr"] for group in groups)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    validated = [row.split(",") for row in rows if row.split(",")[rows[0].split(",").index("val/loss")]]
    assert int(validated[-1][rows[0].split(",").index("step")]) >= last["global_step"] - 1
    fit(tmp_path, *by_the_clock, "--resume")
    assert f"is finished: it has had its time, in which it took {last['global_step']} steps" in capsys.readouterr().err
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == last["global_step"]
