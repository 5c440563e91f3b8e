"""Each part of the chain on a device gives what it gives on the processor."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from libraries import need_flows
from torch import Tensor, nn

from collider.jets.learning.masking import MaskedParticleOptions, MaskedParticles
from collider.jets.learning.views import ParticlesView
from collider.jets.networks import (
    DeepSetEncoder,
    LorentzParticleTransformer,
    ParticleTransformer,
    SlimLorentzTransformer,
)
from collider.showers.generator import Conditioned, ShowerGenerator
from cres import models, transforms
from cres.simulation.rendered_lines import RenderedLines
from cres.training.cuts import shortened, within_band
from cres.transforms import KeyedRandom, PiecewiseTransform, Place, RandomTransform
from reconstruction.models import Calibration, PredictiveDistribution, combine, interval95
from reconstruction.records.batch import mask_from, within
from reconstruction.training.learning.averaging import Average
from reconstruction.training.learning.tasks.generation import Generation, GenerationOptions
from reconstruction.training.learning.tasks.super_resolution import SuperResolution, SuperResolutionOptions
from reconstruction.training.network.reconstructor import Reconstructor

pytestmark = pytest.mark.gpu

RATE_HZ = 403e6
BAND_HZ = (-80e6, -45e6)
SAMPLES = 1024


def numbers(*shape: int, seed: int = 1, **options: Any) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def assert_same(there: Any, here: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    torch.testing.assert_close(there.detach().cpu().to(here.dtype), here.detach(), rtol=rtol, atol=atol)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: one.grad for name, one in module.named_parameters() if one.grad is not None}


VIEWS: dict[str, Callable[[], transforms.RecordView]] = {
    "time": lambda: transforms.TimeView(sampling_rate_hz=RATE_HZ),
    "spectrum": lambda: transforms.SpectrumView(sampling_rate_hz=RATE_HZ, band_hz=BAND_HZ, window="hann"),
    "log power": lambda: transforms.SpectrumView(sampling_rate_hz=RATE_HZ, band_hz=BAND_HZ, form="log_power"),
    "spectrogram": lambda: transforms.SpectrogramView(transforms.STFT(sampling_rate_hz=RATE_HZ, length=128, hop=64)),
    "constant q": lambda: transforms.SpectrogramView(transforms.QTransform(RATE_HZ, band_hz=BAND_HZ)),
    "aligned": lambda: transforms.AlignedSpectrum(sampling_rate_hz=RATE_HZ),
    "aligned, with all that it may show": lambda: transforms.AlignedSpectrum(
        sampling_rate_hz=RATE_HZ, carrier_bins=8, parts=(2,), rise_hz_per_s=(0.0, 1e13), comb=(1, 2)
    ),
    "filtered": lambda: transforms.FilteredView(
        [
            transforms.ButterworthBandPass(sampling_rate_hz=RATE_HZ, band_hz=BAND_HZ),
            transforms.FrequencyShift(sampling_rate_hz=RATE_HZ, shift_hz=62e6),
            transforms.Decimate(4),
        ],
        transforms.TimeView(sampling_rate_hz=RATE_HZ),
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(device: torch.device, name: str) -> None:
    view, series = VIEWS[name](), 0.1 * numbers(3, SAMPLES, 2)
    here, there = view(series), copy.deepcopy(view).to(device)(series.to(device))
    assert there.series.device == device
    assert_same(there.series, here.series, 1e-3, 1e-4)
    assert_same(there.scalars, here.scalars, 1e-3, 1e-4)
    if view.corrects:
        position = torch.full((3,), SAMPLES / 8)
        wanted = view.correction(here, position)
        found = copy.deepcopy(view).to(device).correction(there, position.to(device))
        for one, other in zip(found, wanted, strict=True):
            assert one.device == device
            assert_same(one, other, 1e-2, 1e-3)


ENCODERS: dict[str, Callable[[], models.Encoder]] = {
    "s4d": lambda: models.S4DEncoder(2, 8, 4, 2, pooling="attention"),
    "s4d causal": lambda: models.S4DEncoder(2, 8, 4, 1, bidirectional=False, stride=2),
    "s4d postnorm": lambda: models.S4DEncoder(2, 8, 4, 2, prenorm=False, downsample=(2, 1)),
    "lstm": lambda: models.LSTMEncoder(2, 8, 1, stride=4, pooling="last"),
    "convnet": lambda: models.ConvNetEncoder(2, 8, kernel_size=3, stride=2, downsample=(1, 2)),
    "conformer": lambda: models.ConformerEncoder(2, 8, 1, heads=2, kernel_size=5, expansion=2, stride=8),
}


JET_ENCODERS: dict[str, Callable[[], models.Encoder]] = {
    "transformer": lambda: ParticleTransformer(21, 8, 1, heads=2, pair_width=4, class_depth=1, expansion=1),
    "lorentz": lambda: LorentzParticleTransformer(
        21, 8, 1, heads=2, pair_width=4, class_depth=1, expansion=1, multivectors=2
    ),
    "slim": lambda: SlimLorentzTransformer(21, 8, 1, vectors=4, heads=2, expansion=1),
    "deep set": lambda: DeepSetEncoder(21, 8, 1),
}


@pytest.mark.parametrize("name", JET_ENCODERS)
def test_networks_of_jets(device: torch.device, name: str) -> None:
    """Scales fitted there, jets of different lengths, hidden particles and their loss, forward and backward."""
    if name in ("lorentz", "slim"):
        pytest.importorskip("lgatr")
    torch.manual_seed(0)
    encoder, jets = JET_ENCODERS[name](), numbers(4, 6, 16).abs() + 0.1
    jets[..., 3] = jets[..., :3].square().sum(-1).sqrt() + 0.1
    lengths, ids = torch.tensor([6, 4, 1, 6]), torch.arange(4)
    mask = mask_from(lengths, 6)
    jets = within(jets, mask)
    found = []
    for place in (torch.device("cpu"), device):
        view, own = ParticlesView(), copy.deepcopy(encoder).to(place)
        there, long = jets.to(place), lengths.to(place)
        own.fit([(view(there).series, long)])
        reconstructor = Reconstructor({"p": view}, {"p": own}, models.GaussianHead, ("jet_genmass",)).to(place)
        task = MaskedParticles(MaskedParticleOptions(0.4, mass_shell=1.0, jet_mass=1.0), reconstructor)
        for parameter in task.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        loss = task.to(place)(
            reconstructor, {"particles": there}, {"particles": mask.to(place)}, KeyedRandom(0, 0, ids.to(place))
        )
        features = own(view(there).series, long)
        (features.square().sum() + loss).backward()
        found.append((features, loss, gradients(own)))
    (here, here_loss, here_gradients), (there, there_loss, there_gradients) = found
    assert there.device == device
    assert_same(there, here, 1e-3, 1e-4)
    assert_same(there_loss, here_loss, 1e-3, 1e-4)
    for parameter, gradient in here_gradients.items():
        assert_same(there_gradients[parameter], gradient, 1e-2, 1e-3)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_forward_and_backward(device: torch.device, name: str, padded: bool) -> None:
    torch.manual_seed(0)
    encoder, series = ENCODERS[name](), numbers(3, 64, 2)
    lengths = torch.tensor([64, 41, 7]) if padded else None
    other = copy.deepcopy(encoder).to(device)
    here = encoder(series, lengths)
    there = other(series.to(device), None if lengths is None else lengths.to(device))
    assert_same(there, here)
    for features in (here, there):
        features.square().sum().backward()
    for name, gradient in gradients(encoder).items():
        assert_same(gradients(other)[name], gradient, 1e-3, 1e-4)


def test_a_causal_encoder_streams(device: torch.device) -> None:
    torch.manual_seed(0)
    encoder, series = ENCODERS["s4d causal"](), numbers(2, 96, 2)
    pieces = list(series.to(device).split(32, dim=1))
    assert_same(encoder.to(device).stream(pieces), encoder.cpu()(series))


def flow_head() -> models.FlowHead:
    need_flows()
    return models.FlowHead(6, 2, draws=32)


HEADS: dict[str, tuple[Callable[[], models.Head], list[models.Loss]]] = {
    "point": (lambda: models.PointHead(6, 2), [models.MSE(), models.Huber()]),
    "gaussian": (lambda: models.GaussianHead(6, 2), [models.GaussianNLL(), models.CRPS()]),
    "full gaussian": (lambda: models.GaussianHead(6, 2, covariance="full"), [models.GaussianNLL()]),
    "mixture": (lambda: models.MixtureHead(6, 2), [models.GaussianNLL(), models.CRPS()]),
    "quantiles": (lambda: models.QuantileHead(6, 2), [models.Pinball(), models.CRPS()]),
    "flow": (flow_head, [models.GaussianNLL(), models.CRPS()]),
}
STATED = {
    "estimate": lambda d: d.estimate,
    "error bar": lambda d: d.error_bar,
    "error covariance": lambda d: d.error_covariance,
    "std": lambda d: d.std,
    "quantile": lambda d: d.quantile(0.9),
    "affine": lambda d: d.affine(torch.ones_like(d.mean[0]) * 2, torch.ones_like(d.mean[0])).estimate,
    "tempered": lambda d: d.temper(torch.full_like(d.mean, 1.5)).error_bar,
    "density": lambda d: d.marginal_log_prob(torch.zeros_like(d.mean)),
}


def outcome(head: models.Head, losses: list[models.Loss], features: Tensor) -> dict[str, Tensor]:
    said = head(features, torch.zeros(len(features), 2, device=features.device))
    found = {name: read(said) for name, read in STATED.items()}
    found |= {type(loss).__name__: loss(said, torch.ones_like(said.mean)) for loss in losses}
    together = combine([said, head(features + 0.5)])
    found["ensemble"] = together.estimate
    calibration = Calibration(2).to(features.device)
    found["interval"] = torch.stack(interval95(calibration(together), [calibration]))
    said.sample(3)
    return found


@pytest.mark.parametrize("name", HEADS)
def test_heads_distributions_and_losses(device: torch.device, name: str) -> None:
    torch.manual_seed(0)
    make, losses = HEADS[name]
    head, features = make(), numbers(5, 6)
    here = outcome(head, losses, features)
    there = outcome(
        copy.deepcopy(head).to(device), [copy.deepcopy(loss).to(device) for loss in losses], features.to(device)
    )
    for what, values in here.items():
        assert there[what].device == device, what
        torch.testing.assert_close(there[what].cpu(), values, rtol=1e-3, atol=1e-4, equal_nan=True, msg=what)
    sum(there[type(loss).__name__].sum() for loss in losses).backward()


def predictions(name: str, count: int = 1100) -> tuple[PredictiveDistribution, Tensor]:
    torch.manual_seed(0)
    said = HEADS[name][0]().double().requires_grad_(False)(numbers(count, 6, dtype=torch.float64))
    return said, said.estimate + 2 * said.error_bar.nan_to_num(1) * numbers(count, 2, seed=2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "method", "predictions_there", "buffers_there"),
    [
        ("full gaussian", "coverage", False, True),
        ("full gaussian", "coverage", True, False),
        ("full gaussian", "coverage", True, True),
        ("mixture", "likelihood", False, True),
        ("mixture", "likelihood", True, True),
        ("quantiles", "coverage", True, True),
        ("flow", "likelihood", False, True),
        ("flow", "coverage", True, True),
    ],
)
def test_a_calibration_is_fitted_wherever_it_and_the_predictions_lie(
    device: torch.device, name: str, method: Any, predictions_there: bool, buffers_there: bool
) -> None:
    said, truth = predictions(name)
    here, there = Calibration(2), Calibration(2)
    here.fit(said, truth, method)
    there = there.to(device) if buffers_there else there
    place = device if predictions_there else torch.device("cpu")
    there.fit(said.map(lambda values: values.to(place)), truth.to(place), method)
    for key, value in here.state_dict().items():
        assert there.state_dict()[key].device.type == (device.type if buffers_there else "cpu")
        assert_same(there.state_dict()[key], value, 1e-9, 1e-9)


def test_an_average_goes_on_after_a_resume(device: torch.device) -> None:
    torch.manual_seed(0)
    module, average = nn.Linear(3, 2).to(device), Average()
    average.update(module, 0.5)
    resumed = Average()
    stored: dict[str, Any] = {"state_dict": {}}
    average.store(stored)
    # as a checkpoint comes back
    stored["average"]["other"] = {name: value.cpu() for name, value in stored["average"]["other"].items()}
    resumed.restore(stored)
    with torch.no_grad():
        module.weight.add_(1)
    for one in (average, resumed):
        one.update(module, 0.5)
    assert_same(resumed.other["weight"], average.other["weight"].cpu())
    resumed.swap(module)
    resumed.update(module, 0.5)


def test_a_polynomial_map(device: torch.device) -> None:
    coordinates = numbers(400, 2, dtype=torch.float64)
    wanted = torch.stack([coordinates.sum(1), coordinates.prod(1)], 1)
    here, there = models.PolynomialMap((3, 2), 2), models.PolynomialMap((3, 2), 2).to(device)
    here.fit(coordinates, wanted)
    there.fit(coordinates.to(device), wanted.to(device))
    assert_same(there(coordinates.to(device)), here(coordinates), 1e-6, 1e-6)


def test_a_denoiser(device: torch.device) -> None:
    torch.manual_seed(0)
    denoiser, series = models.Denoiser(ENCODERS["s4d causal"](), 2), numbers(2, 32, 2)
    here, there = denoiser(series), copy.deepcopy(denoiser).to(device)(series.to(device))
    assert_same(there, here)
    for loss in (models.SeriesMSE(), models.SeriesHuber(), models.TimeSpectrumLoss()):
        assert_same(loss.to(device)(there, series.to(device)), loss.cpu()(here, series))


@torch.no_grad()
def test_heads_that_draw_and_rebuild_records(device: torch.device) -> None:
    torch.manual_seed(0)
    asked = torch.tensor([[18_560.0, 88.6, 1e-3], [18_590.0, 89.2, 3e-3]], dtype=torch.float64)
    names = ("energy_eV", "pitch_angle_deg", "radius_m")
    encoder = models.S4DEncoder(4, 6, 4, 1)
    whole = Reconstructor({"view": VIEWS["aligned"]()}, {"view": encoder}, models.GaussianHead, names)
    drawing = Generation(GenerationOptions("view", RenderedLines(), prior="flow", width=8), whole)
    drawing.conditions.low.copy_(asked[0])
    drawing.conditions.high.copy_(asked[1])
    drawing.sizes.fit(numbers(20, drawing.rendering.width))
    here = (whole, drawing, SuperResolution(SuperResolutionOptions("view", SAMPLES // 4), whole))
    there = copy.deepcopy(here)
    for module in there:
        module.to(device)
    drawn = here[1].draw(asked, SAMPLES, seed=1)
    for targets in (asked, asked.to(device)):
        assert_same(there[1].draw(targets, SAMPLES, seed=1), drawn, 1e-3, 1e-4)
    rebuilt = there[2](there[0], {"series": drawn.to(device)})
    assert rebuilt.device == device
    assert_same(rebuilt, here[2](whole, {"series": drawn}), 1e-3, 1e-3)


def test_a_generator_of_showers(device: torch.device) -> None:
    cells = np.abs(numbers(40, 3).double().numpy())
    showers = Conditioned(cells, cells.sum(1), np.full(40, 11), np.linspace(0.9, 1.1, 40))
    torch.manual_seed(0)
    here = ShowerGenerator(3, width=8, depth=1)
    there = copy.deepcopy(here).to(device)
    losses = [one.fit(showers, steps=3) for one in (here, there)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    drawn = [one.generate(showers.energy_gev[:5]).cells_gev for one in (here, there)]
    np.testing.assert_allclose(drawn[1], drawn[0], rtol=1e-2, atol=1e-3)


TRANSFORMS: dict[str, Callable[[], RandomTransform]] = {
    "white": lambda: transforms.WhiteNoise(RATE_HZ),
    "coloured": lambda: transforms.ColouredNoise(RATE_HZ, [(-200e6, 1e-13), (0.0, 3e-13), (200e6, 2e-13)]),
    "cavity": lambda: transforms.CavityNoise(RATE_HZ, 25.9702e9, gain=3e9, quantum=True),
    "thermal": lambda: transforms.ThermalNoise(RATE_HZ, 5.0, gain=3e9, frequency_hz=25.9e9),
    "phase": transforms.RandomPhase,
    "phase noise": lambda: transforms.PhaseNoise(RATE_HZ, [(1e4, -70.0), (1e6, -90.0), (1e8, -110.0)]),
    "phase walk": lambda: transforms.PhaseWalk(RATE_HZ, 1e4),
    "tones": lambda: transforms.SpuriousTones(RATE_HZ, [-60e6, 10e6], [1e-4, 1e-5], spread_hz=1e6),
    "ripple": lambda: transforms.GainRipple(RATE_HZ, 0.1, 20e6),
    "drift": lambda: transforms.GainPhaseDrift(0.05, 0.02, 0.1),
    "quantise": lambda: transforms.Quantise(0.5, 14),
    "chain": lambda: transforms.RandomChain([transforms.RandomPhase(), transforms.WhiteNoise(RATE_HZ)]),
}


def source(device: torch.device | None = None) -> KeyedRandom:
    return KeyedRandom(11, 2, torch.tensor([7, 1 << 50, 3]), device)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_same_noise_on_every_device(device: torch.device, name: str) -> None:
    transform, series = TRANSFORMS[name](), 0.1 * numbers(3, 257, 2)
    other = copy.deepcopy(transform).to(device)
    assert_same(other(series.to(device), source(device), 0.7), transform(series, source(), 0.7), 1e-4, 1e-4)
    if isinstance(transform, PiecewiseTransform):
        piece, place = series[:, 100:200], Place(100, 257)
        there = other.piece(piece.to(device), source(device), place)
        assert_same(there, transform.piece(piece, source(), place), 1e-4, 1e-4)


def test_what_a_curriculum_cuts(device: torch.device) -> None:
    series, mask = numbers(3, 256, 2), mask_from(torch.tensor([256, 100, 30]), 256)
    batch = {"inputs": {"series": series}, "masks": {"series": mask}}
    there = {"inputs": {"series": series.to(device)}, "masks": {"series": mask.to(device)}}
    for ease in (partial(shortened, share=0.5), partial(within_band, sampling_rate_hz=RATE_HZ, band_hz=BAND_HZ)):
        for kind in ("inputs", "masks"):
            assert_same(ease(there)[kind]["series"], ease(batch)[kind]["series"])
    assert_same(within(there["inputs"]["series"], there["masks"]["series"]), within(series, mask))


def test_an_ensemble_of_reconstructors_in_half_mixed_precision(device: torch.device) -> None:
    torch.manual_seed(0)
    made = Reconstructor(
        {"time": VIEWS["time"](), "spectrum": VIEWS["spectrum"]()},
        {"time": ENCODERS["s4d causal"](), "spectrum": ENCODERS["s4d"]()},
        lambda in_width, targets: models.MixtureHead(in_width, targets),
        ("energy_eV", "pitch_angle_deg"),
    ).eval()
    made.target_scaler.fit(torch.tensor([[18_500.0, 88.0], [18_700.0, 90.0]], dtype=torch.float64))
    if made.scalar_scaler.shift.numel():
        made.scalar_scaler.fit(numbers(9, made.scalar_scaler.shift.numel()))
    other, series = copy.deepcopy(made).to(device), 0.1 * numbers(2, SAMPLES, 2)
    with torch.no_grad():
        assert_same(other(series.to(device)).estimate, made(series).estimate, 1e-6, 1e-3)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            assert other(series.to(device)).estimate.dtype == torch.float64


def test_fields_of_a_distribution_are_all_there(device: torch.device) -> None:
    said = HEADS["quantiles"][0]().to(device)(numbers(2, 6).to(device))
    assert all(getattr(said, field.name).device == device for field in dataclasses.fields(said))
