"""Super-resolution: what is looked at, what is wanted, in which frame, and the way through the command line."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cres.errors import UserError
from cres.transforms import FROZEN_EPOCH, AlignedSpectrum, KeyedRandom, SpectrumView
from cres.transforms.spectrum import to_complex
from reconstruction.models import GaussianHead, S4DEncoder
from reconstruction.models.encoders.views import View
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.tasks.super_resolution import SuperResolution, SuperResolutionOptions
from reconstruction.training.network.reconstructor import Reconstructor
from reconstruction.training.runs.loading import load_module

CONFIGS = Path(__file__).parents[2] / "configs"
RATE_HZ = 403e6
ENCODER = "reconstructor.fusion.encoders.spectrum."
QUICK = (
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--figures.every_epochs=0",
)
NARROW = tuple(f"--model.encoders.spectrum.init_args.{one}" for one in ("width=8", "depth=1", "state=4"))


def aligned() -> AlignedSpectrum:
    return AlignedSpectrum(RATE_HZ, half_width_hz=20e6, scale_volt=0.5)


def electrons(rows: int = 3, samples: int = 256, seed: int = 0, noise: float = 0.05) -> Tensor:
    """A carrier with two sidebands, and noise."""
    random = torch.Generator().manual_seed(seed)
    carrier = -60e6 + 3e6 * torch.rand(rows, 1, generator=random, dtype=torch.float64)
    time = torch.arange(samples, dtype=torch.float64) / RATE_HZ
    phase = 2 * math.pi * (carrier * time + torch.rand(rows, 1, generator=random, dtype=torch.float64))
    record = torch.polar(1 + 0.6 * torch.cos(2 * math.pi * 8e6 * time), phase)
    return torch.view_as_real(record) + noise * torch.randn(rows, samples, 2, generator=random, dtype=torch.float64)


# The frame of a view ------------------------------------------------------------------------------------------------


def test_a_record_in_its_own_frame_is_its_view():
    series = electrons()
    for view in (aligned(), SpectrumView(RATE_HZ)):
        own, framed = view(series), view.framed(series, series)
        torch.testing.assert_close(framed.series, own.series)
        torch.testing.assert_close(framed.scalars, own.scalars)


@settings(max_examples=10, deadline=None)
@given(st.floats(-3, 3), st.integers(0, 50))
def test_in_a_given_frame_the_view_is_linear(factor, seed):
    guide, first, second = electrons(seed=seed), electrons(seed=1), electrons(seed=2)
    view = aligned()
    together = view.framed(first + factor * second, guide).series
    apart = view.framed(first, guide).series + factor * view.framed(second, guide).series
    torch.testing.assert_close(together, apart)
    assert not torch.allclose(view(first + second).series, view(first).series + view(second).series)


def test_an_unfolded_view_is_the_spectrum_itself():
    """Against the sum over the samples at every frequency that is named."""
    view, guide, series = aligned(), electrons(seed=4), electrons(seed=5)
    frequency, spectrum = view.unfolded(view.framed(series, guide).series, guide)
    time = torch.arange(256, dtype=torch.float64) / RATE_HZ
    waves = torch.polar(torch.ones(()).double(), -2 * math.pi * frequency[:, :, None] * time) / 16
    slowly = (waves * to_complex(series)[:, None, :, 0]).sum(dim=2)
    torch.testing.assert_close(spectrum[:, :, 0], slowly, rtol=1e-8, atol=1e-8)
    assert bool((frequency.diff(dim=1) > 0).all())


# What is looked at and what is wanted ---------------------------------------------------------------------------------


def made(samples: int = 64, **options) -> tuple[SuperResolution, Reconstructor]:
    torch.manual_seed(0)
    encoder = S4DEncoder(4, 8, 4, 1)
    network = Reconstructor({"spectrum": aligned()}, {"spectrum": encoder}, lambda **how: GaussianHead(**how), ("x",))
    task = SuperResolution(SuperResolutionOptions("spectrum", samples, **options), network)
    return task.double(), network.double()


RANDOM = KeyedRandom(0, FROZEN_EPOCH, torch.arange(3))


def batch(series: Tensor) -> dict[str, object]:
    return {"inputs": {"series": series}, "event_id": torch.arange(len(series))}


@torch.no_grad()
def test_the_loss_is_the_mean_square_distance_to_the_whole_noiseless_view():
    task, network = made(weight=3.0)
    noisy, clean = electrons(), electrons(noise=0.0)
    padded = torch.zeros_like(noisy)
    padded[:, :64] = noisy[:, :64] * 2  # a quarter of the record, and the noise of the whole
    rebuilt = task.denoiser(aligned()(padded).series)
    wanted = aligned().framed(clean, padded).series
    slowly = 3 * sum(float((rebuilt[i] - wanted[i]).square().mean()) for i in range(3)) / 3
    assert float(task.objective(network, batch(noisy), batch(clean), RANDOM)) == pytest.approx(slowly)
    nothing = 3 * float(wanted.square().mean())
    assert float(task.of_nothing(network, batch(noisy), batch(clean), RANDOM)) == pytest.approx(nothing)


@torch.no_grad()
def test_what_comes_behind_is_not_looked_at(monkeypatch):
    task, network = made()

    def leak() -> float:
        other = electrons()
        other[:, 64:] += 5.0
        return float((task(network, {"series": other}) - task(network, {"series": electrons()})).abs().max())

    assert leak() == 0
    monkeypatch.setattr(SuperResolution, "seen", lambda self, network, inputs: inputs["series"])
    assert leak() > 1e-6  # a leak is seen


@torch.no_grad()
def test_padded_records_are_rebuilt_where_they_hold_something():
    class Plain(AlignedSpectrum):
        """A series in time with lengths: the record as it is."""

        def forward(self, series: Tensor) -> View:
            return View(torch.cat((series, series), dim=2), series.new_zeros(len(series), 2))

        def framed(self, series: Tensor, guide: Tensor) -> View:
            return self(series)

        def lengths(self, lengths: Tensor, samples: int, positions: int) -> Tensor:
            return lengths

    task, network = made()
    network.views["spectrum"] = Plain(RATE_HZ)
    noisy, clean = electrons(), electrons(noise=0.0)
    mask = torch.arange(256) < torch.tensor([[256], [200], [100]])
    whole = batch(noisy) | {"masks": {"series": mask}}, batch(clean) | {"masks": {"series": mask}}
    loss = float(task.objective(network, *whole, RANDOM))
    for one in whole:
        one["inputs"]["series"][~mask] = 7.0
    assert float(task.objective(network, *whole, RANDOM)) == pytest.approx(loss)


# Through the command line -------------------------------------------------------------------------------------------


def fit(data: Path, run: Path, *options: str, config: str = "super_resolve.yaml") -> Path:
    arguments = ["-c", str(CONFIGS / config), f"--data.data={data}", f"--run={run}", *QUICK, *NARROW, *options]
    CommandLine("fit", arguments).execute()
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def unlabelled(make_records, tmp_path_factory):
    """Electrons with sidebands 8 MHz from the carrier."""
    path = make_records(tmp_path_factory.mktemp("unlabelled") / "records.hdf5", 96, labelled=False)
    beat = 0.5 * (1 + 0.6 * np.cos(2 * np.pi * 8e6 / RATE_HZ * np.arange(512)))
    with h5py.File(path, "r+") as file:
        for name in ("output_ts_I", "output_ts_Q"):
            file[name][:] = file[name][:] * beat
    return path


@pytest.fixture(scope="module")
def trained(unlabelled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("super_resolution")
    return fit(
        unlabelled,
        folder,
        "--model.super_resolution.samples=128",
        "--trainer.max_epochs=8",
        "--data.batch_size=8",
        "--model.optimiser.lr=0.02",
    )


def weights(checkpoint: Path) -> dict[str, Tensor]:
    stored = evaluation_weights(read_checkpoint(checkpoint))
    return {name: value for name, value in stored.items() if name.startswith(ENCODER)}


def test_it_learns_without_truth_and_says_the_floor(trained):
    header, *lines = (trained.parents[1] / "metrics.csv").read_text().splitlines()
    names = header.split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    judged = [row for row in rows if row["val/loss"]]
    assert float(judged[-1]["val/loss"]) < 0.8 * float(judged[-1]["val/loss_of_nothing"])
    assert float(judged[-1]["val/loss"]) < float(judged[0]["val/loss"])


@torch.no_grad()
def test_the_checkpoint_alone_makes_spectra(trained):
    module = load_module(trained)
    series = electrons(samples=512).float()
    folded = module.super_resolution(module.reconstructor, {"series": series})
    view = module.reconstructor.views["spectrum"]
    seen = module.super_resolution.seen(module.reconstructor, {"series": series})
    frequency, spectrum = view.unfolded(folded, seen)
    assert folded.shape == (3, view.bins(512), view.channels)
    assert spectrum.shape[:2] == frequency.shape == (3, 2 * view.bins(512))


@pytest.mark.parametrize(("layers", "changed"), [("0", False), ("null", True)])
def test_it_fine_tunes_an_encoder_frozen_or_whole(trained, unlabelled, tmp_path, layers, changed):
    start = [f"--fine_tune.checkpoint={trained}", f"--fine_tune.trainable_layers={layers}"]
    tuned = fit(unlabelled, tmp_path, "--model.super_resolution.samples=256", "--trainer.max_epochs=1", *start)
    before, after = weights(trained), weights(tuned)
    moved = {name.removeprefix(ENCODER) for name in before if not torch.equal(before[name], after[name])}
    assert bool(moved) == changed
    assert not any(name.startswith("pooling") for name in moved)


def test_what_an_augmentation_turns_is_wanted_turned(unlabelled, monkeypatch):
    """Without noise the two are one; a clean record that is not turned once taught an encoder a mean over phases."""
    arguments = ["-c", str(CONFIGS / "super_resolve.yaml"), f"--data.data={unlabelled}", *QUICK, *NARROW]
    line = CommandLine("fit", [*arguments, "--model.super_resolution.samples=128", "--model.noise=[]"])
    line.datamodule.setup("fit")
    module = line.model
    clean = module.placed(next(iter(line.datamodule.train_dataloader())))
    for epoch in (0, 3):
        turned = module.inject(clean, epoch)["inputs"]["series"]
        torch.testing.assert_close(module.augmented(clean, epoch)["inputs"]["series"], turned)
        assert not torch.allclose(clean["inputs"]["series"], turned)
    assert module.augmented(clean, FROZEN_EPOCH) is clean


def test_mistakes_are_one_sentence(unlabelled, tmp_path):
    def wrong(*options: str) -> None:
        fit(unlabelled, tmp_path, *options)

    with pytest.raises(UserError, match="samples is 2048, and the records have 512: there is nothing to continue"):
        wrong()
    with pytest.raises(UserError, match="samples is 0, but must be 1 or more"):
        wrong("--model.super_resolution.samples=0")
    with pytest.raises(UserError, match=r"view is 'spektrum', but no view is called so.*spectrum"):
        wrong("--model.super_resolution.view=spektrum")
    with pytest.raises(UserError, match=r"model\.super_resolution reads views without settings"):
        wrong("--model.condition.settings=[wall]")


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "super_resolution.md"


def test_the_pages_blocks_run(trained, unlabelled, tmp_path, monkeypatch):
    """The trainings at the size of a test; the last block with the model that is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "finer").symlink_to(trained.parents[1])
    commands = [line for line in PAGE.read_text().splitlines() if line.startswith("python cli.py fit")]
    assert len(commands) == 2
    arguments = shlex.split(commands[1].replace("data/cres.hdf5", str(unlabelled)))[2:]
    arguments[2] = str(CONFIGS / "super_resolve.yaml")
    assert main([*arguments, *QUICK, *NARROW, "--trainer.max_epochs=1"]) == 0
    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    found: dict[str, Tensor] = {}
    exec(compile(code, str(PAGE), "exec"), found)
    assert found["spectrum_volt"].shape[:2] == found["frequency_hz"].shape
    assert bool(found["frequency_hz"].isfinite().all())
