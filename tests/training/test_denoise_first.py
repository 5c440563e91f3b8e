"""A denoiser before the regressor's encoder: what is read, what is learned, and where it starts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cres.errors import UserError
from cres.transforms import AlignedSpectrum
from reconstruction.models import GaussianHead, S4DEncoder
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.averaging import Average, evaluation_weights
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.learning.rows_met import ELECTRONS
from reconstruction.training.network.denoise_first import DenoiseFirstOptions
from reconstruction.training.network.reconstructor import Reconstructor

CONFIGS = Path(__file__).parents[2] / "configs"
FRONT = "reconstructor.front.denoiser."
QUICK = (
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--figures.every_epochs=0",
)
SMALL = ("width=8", "depth=1", "state=4")


def small(in_channels: int) -> S4DEncoder:
    return S4DEncoder(in_channels, 8, 4, 1)


def network(**options) -> Reconstructor:
    torch.manual_seed(0)
    first = DenoiseFirstOptions("spectrum", small, **options)
    made = Reconstructor(
        {"spectrum": AlignedSpectrum(403e6)},
        {"spectrum": small(4)},
        lambda **how: GaussianHead(**how),
        ("x",),
        denoise_first=first,
    ).double()
    made.scalar_scaler.leave()
    return made


def volts(seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    time = torch.arange(256, dtype=torch.float64) / 403e6
    tone = torch.polar(torch.ones(()).double(), -2 * math.pi * 60e6 * time).expand(3, -1)
    return torch.view_as_real(tone) + 0.05 * torch.randn(3, 256, 2, dtype=torch.float64, generator=random)


@torch.no_grad()
def test_the_encoder_reads_the_denoisers_output():
    made, series = network(), volts()
    outcome = made.standardised({"series": series})
    read = made.front.denoiser(made.views["spectrum"](series).series)
    torch.testing.assert_close(outcome.denoised, read)
    torch.testing.assert_close(outcome.encoded["spectrum"].features, made.fusion.encoders["spectrum"](read))
    made.front = None
    assert not torch.allclose(
        made.standardised({"series": series}).encoded["spectrum"].features, outcome.encoded["spectrum"].features
    )


@pytest.mark.parametrize(
    ("done", "weight", "of_all"), [(0.0, 2.0, 0.5), (0.2, 1.2, 0.7), (0.5, 0.0, 1.0), (1.0, 0.0, 1.0)]
)
@torch.no_grad()
def test_both_losses_are_weighed_by_the_share_that_is_done(done, weight, of_all):
    made = network(weight=(2.0, 0.0), targets_weight=(0.5, 1.0))
    noisy, clean = volts(), volts(9)
    outcome = made.standardised({"series": noisy})
    wanted = made.views["spectrum"].framed(clean, noisy).series
    slowly = of_all * 3.0 + weight * float((outcome.denoised - wanted).square().mean())
    batches = {"inputs": {"series": noisy}}, {"inputs": {"series": clean}}
    found = made.with_denoiser(torch.tensor(3.0).double(), outcome, *batches, done)
    assert float(found) == pytest.approx(slowly)


# Through the command line -------------------------------------------------------------------------------------------


def fit(config: str, data: Path, run: Path, *options: str) -> Path:
    encoders = ["encoders.spectrum", *(["denoise_first.encoder"] if config == "denoise_first.yaml" else [])]
    narrow = [f"--model.{encoder}.init_args.{one}" for encoder in encoders for one in SMALL]
    arguments = ["-c", str(CONFIGS / config), f"--data.data={data}", f"--run={run}", *QUICK, *narrow, *options]
    CommandLine("fit", arguments).execute()
    return run / "checkpoints" / "last.ckpt"


def weights(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    stored = evaluation_weights(read_checkpoint(checkpoint))
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def apart(make_records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    data = make_records(folder / "records.hdf5", 64, labelled=False)
    return fit("denoise.yaml", data, folder / "run", "--model.ema_decay=0.5")


def test_a_denoiser_that_was_trained_apart_stays_frozen_and_reconstructs(apart, records, tmp_path):
    start = [f"--model.denoise_first.checkpoint={apart}", "--model.denoise_first.frozen=true"]
    made = weights(fit("denoise_first.yaml", records, tmp_path / "run", *start), FRONT)
    of_encoder, of_decoder = (
        weights(apart, prefix) for prefix in ("reconstructor.fusion.encoders.spectrum.", "denoising.denoiser.decoder.")
    )
    own = {f"encoder.{name}": value for name, value in of_encoder.items()}
    own |= {f"decoder.{name}": value for name, value in of_decoder.items()}
    assert own.keys() == made.keys()
    assert all(torch.equal(made[name], value) for name, value in own.items())
    met, known = (
        set(read_checkpoint(one)[CARD][ELECTRONS]["train"].tolist())
        for one in (apart, tmp_path / "run" / "checkpoints" / "last.ckpt")
    )
    assert met < known  # what the denoiser was trained on is no test of the whole
    apart.rename(apart.with_name("gone.ckpt"))  # the checkpoint of the whole is enough
    try:
        assert main(["test", f"--run={tmp_path / 'run'}"]) == 0
    finally:
        apart.with_name("gone.ckpt").rename(apart)


def test_the_average_of_a_shared_encoder_has_all_its_names(apart):
    """A decoder holds the encoder too; under its name the weights themselves once came after their average."""
    stored = read_checkpoint(apart)
    assert not stored["average"]["in_use"]
    average = weights(apart, "reconstructor.fusion.encoders.spectrum.")
    of_decoder = weights(apart, "denoising.denoiser.encoder.")
    own = {
        name.removeprefix("reconstructor.fusion.encoders.spectrum."): value
        for name, value in stored["state_dict"].items()
    }
    assert average.keys() == of_decoder.keys()
    tensors = [name for name, value in average.items() if isinstance(value, Tensor)]
    assert all(torch.equal(average[name], of_decoder[name]) for name in tensors)
    assert not all(torch.equal(average[name], own[name]) for name in tensors)
    resumed = {"average": stored["average"] | {"in_use": True}, "state_dict": dict(stored["state_dict"])}
    Average().restore(resumed)
    moved = resumed["state_dict"]
    assert all(
        torch.equal(
            moved[f"denoising.denoiser.encoder.{name}"], moved[f"reconstructor.fusion.encoders.spectrum.{name}"]
        )
        for name in tensors
    )


def test_one_that_goes_on_learning_moves(apart, records, tmp_path):
    made = weights(fit("denoise_first.yaml", records, tmp_path, f"--model.denoise_first.checkpoint={apart}"), FRONT)
    before = weights(apart, "denoising.denoiser.decoder.")
    assert not any(torch.equal(made[f"decoder.{name}"], value) for name, value in before.items())


def test_a_training_for_something_else_alone_estimates_nothing(apart):
    with pytest.raises(
        UserError, match=r"trained for model\.denoising alone and estimates no energy_eV, pitch_angle_deg"
    ):
        main(["predict", f"--run={apart.parents[1]}", f"--data.data={apart.parents[2] / 'records.hdf5'}"])


def test_mistakes_are_one_sentence(apart, records, tmp_path):
    def wrong(*options: str) -> None:
        fit("denoise_first.yaml", records, tmp_path, *options)

    with pytest.raises(UserError, match="frozen is about a denoiser that was trained: give its checkpoint"):
        wrong("--model.denoise_first.frozen=true")
    with pytest.raises(UserError, match="that of the targets is above 0 in the end"):
        wrong("--model.denoise_first.targets_weight=[1,0]")
    with pytest.raises(UserError, match=r"over is 0, but a share"):
        wrong("--model.denoise_first.over=0")
    with pytest.raises(UserError, match="view is 'time', but no view is called so"):
        wrong("--model.denoise_first.view=time")
    with pytest.raises(UserError, match=r"model\.masking reads views that nobody denoised"):
        wrong("--model.masking.spans={spectrum: {length: 2}}")
    given = f"--model.denoise_first.checkpoint={apart}"
    with pytest.raises(UserError, match=r"another shape than model\.denoise_first\.encoder"):
        wrong(given, "--model.denoise_first.encoder.init_args.width=6")
    regressor = fit("s4d.yaml", records, tmp_path / "plain")
    with pytest.raises(UserError, match="has no denoiser of a view 'spectrum'"):
        wrong(f"--model.denoise_first.checkpoint={regressor}")
