"""Weighing: lines of a table against the forward model's, the likelihood against one in the time domain, weights."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.noise import Coloured
from cres.estimation.weighing import exact as weighing
from cres.estimation.weighing.exact import ExactPosterior
from cres.estimation.weighing.importance import joined_samples, weighed
from cres.estimation.weighing.line_table import LineTable, energy_nodes, exact_lines
from cres.estimation.weighing.table import EFFECTIVE, FEW, weighted_estimates
from cres.evaluation.weighted import VALUES, WeightedSamples
from cres.simulation import SimulationConfig
from cres.simulation.parameters import parameter_rows

ENERGIES, ANGLES = (18_598.0, 18_602.0), (88.9, 89.5)


@pytest.fixture(scope="module")
def apparatus() -> Apparatus:
    """The default trap, few samples, a small window: a table of it is made in a second."""
    config = SimulationConfig.default()
    readout = dataclasses.replace(config.readout, samples=2048)
    ensemble = dataclasses.replace(config.ensemble, energy_ev=ENERGIES, pitch_angle_deg=ANGLES, radius_m=(0.0, 5e-3))
    return Apparatus.from_config(dataclasses.replace(config, readout=readout, ensemble=ensemble), noise_scale=0.2)


@pytest.fixture(scope="module")
def exact(apparatus: Apparatus) -> ExactPosterior:
    return ExactPosterior(apparatus, table=LineTable(apparatus, (3, 8, 8)))


def places(count: int) -> Tensor:
    random = np.random.default_rng(count)
    ends = np.array([ENERGIES, ANGLES, (1e-3, 4.9e-3)])
    return torch.from_numpy(random.uniform(ends[:, 0], ends[:, 1], (count, 3)))


def records(apparatus: Apparatus, at: Tensor) -> Tensor:
    phases = [torch.linspace(0.3, 5.0, len(at)).double(), torch.linspace(1.0, 4.0, len(at)).double()]
    clean = apparatus.model(parameter_rows(*at.unbind(1), *phases))
    noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return clean + apparatus.noise_std_volt * torch.view_as_complex(noise)


def test_the_table_has_the_lines_of_the_forward_model(apparatus: Apparatus, exact: ExactPosterior) -> None:
    at = places(20)
    wanted, harmonics = exact_lines(apparatus, *at.unbind(1))
    found = exact.table(*at.unbind(1))
    assert float((found.carrier_hz - wanted.carrier_hz).abs().max()) < 5
    assert float((found.axial_hz - wanted.axial_hz).abs().max()) < 5
    held = [exact.table.harmonics.tolist().index(m) for m in harmonics.tolist()]
    strongest = wanted.amplitudes.abs().amax(1, keepdim=True)
    assert float(((found.amplitudes[:, held] - wanted.amplitudes).abs() / strongest).max()) < 1e-3


def test_a_wide_window_has_as_many_energies_as_the_cavity_wants(apparatus: Apparatus) -> None:
    """At pitch angles and radii of the table, between its energies: with five of them carriers were off by 9 Hz."""
    low_ev, high_ev = 18_100.0, 19_100.0
    wide = dataclasses.replace(apparatus, energies_ev=(low_ev, high_ev))
    table = LineTable(wide, (energy_nodes(low_ev, high_ev), 4, 4))
    energies = torch.linspace(low_ev, high_ev, 40).double()
    at = torch.cartesian_prod(energies, table.axes[1][[0, -1]], table.axes[2][[6, -1]])
    found, (wanted, harmonics) = table(*at.unbind(1)), exact_lines(wide, *at.unbind(1))
    assert float((found.carrier_hz - wanted.carrier_hz).abs().max()) < 5
    strengths = (found.amplitudes[:, table.harmonics == 0], wanted.amplitudes[:, harmonics == 0])
    torch.testing.assert_close(*(volts.abs() for volts in strengths), rtol=5e-4, atol=0)


def slow_log_likelihood(apparatus: Apparatus, data: Tensor, at: Tensor) -> float:
    """Sample by sample in float64: ln of the mean over axial phases of I₀(|⟨s, d⟩|) exp(−⟨s, s⟩/2)."""
    phases = torch.arange(96).double() * 2 * math.pi / 96
    rows = parameter_rows(*(value.expand(96) for value in at), axial_phase_rad=phases)
    made = apparatus.model(rows) / apparatus.noise_std_volt
    inner = (made.conj() @ (data / apparatus.noise_std_volt)).abs()
    ratio = torch.special.i0e(inner).log() + inner - made.abs().square().sum(1) / 2
    return float(torch.logsumexp(ratio, 0)) - math.log(96)


def test_the_likelihood_is_that_of_the_time_domain(apparatus: Apparatus, exact: ExactPosterior) -> None:
    truth = places(2)
    data = records(apparatus, truth)
    away = torch.tensor([[0.0, 0.0, 0.0], [0.03, 0.0, 0.0], [-0.1, 0.002, 1e-4], [0.0, -0.01, -2e-4]]).double()
    points = truth[:, None] + away
    found = exact.log_likelihood(data, points)
    for row in range(len(truth)):
        wanted = torch.tensor([slow_log_likelihood(apparatus, data[row], at) for at in points[row]]).double()
        assert float(wanted.max() - wanted.min()) > 5
        torch.testing.assert_close(found[row], wanted, rtol=2e-3, atol=0.15)


def test_noise_of_a_flat_spectrum_is_white_noise(apparatus: Apparatus, exact: ExactPosterior) -> None:
    truth = places(2)
    data, points = records(apparatus, truth), truth[:, None].expand(-1, 3, -1)
    std_volt = 2 * apparatus.noise_std_volt
    flat = Coloured(torch.full((apparatus.reception.samples,), std_volt, dtype=torch.float64))
    louder = ExactPosterior(dataclasses.replace(apparatus, noise_std_volt=std_volt), table=exact.table)
    coloured = ExactPosterior(apparatus, flat, exact.table).log_likelihood(data, points)
    torch.testing.assert_close(coloured, louder.log_likelihood(data, points), rtol=1e-5, atol=1e-3)
    assert float((coloured - exact.log_likelihood(data, points)).abs().min()) > 5


def test_lines_that_rise_by_bins_count_each_with_its_own_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in long records: two radii of one electron rise differently, and neither is read with the other's rise."""
    config = SimulationConfig.default()
    ensemble = dataclasses.replace(config.ensemble, energy_ev=ENERGIES, pitch_angle_deg=ANGLES, radius_m=(1e-3, 4e-3))
    # eight times as long in as many samples, around the carrier
    rate_hz, carrier_hz = config.readout.sampling_rate_hz / 8, config.readout.lo_frequency_hz - 67e6
    readout = dataclasses.replace(config.readout, samples=2048, sampling_rate_hz=rate_hz, lo_frequency_hz=carrier_hz)
    loss = dataclasses.replace(config.loss, factor=3.0)
    apparatus = Apparatus.from_config(
        dataclasses.replace(config, readout=readout, loss=loss, ensemble=ensemble), noise_scale=6.4
    )
    exact = ExactPosterior(apparatus, table=LineTable(apparatus, (3, 6, 8)))
    points = torch.tensor([[18_600.0, 89.2, radius] for radius in (1.5e-3, 2.2e-3, 3e-3)]).double()
    rises = exact.table(*points.unbind(1)).chirp_hz_per_s / apparatus.reception.bin_hz**2
    assert float(rises.max() - rises.min()) > 1
    monkeypatch.setattr(weighing, "POINTS_AT_ONCE", 2)
    data = records(apparatus, points)
    found = exact.log_likelihood(data, points.expand(3, -1, -1))
    for row in range(3):
        wanted = torch.tensor([slow_log_likelihood(apparatus, data[row], at) for at in points]).double()
        torch.testing.assert_close(found[row], wanted, rtol=0, atol=0.6)


def test_above_90_degrees_are_the_lines_of_the_mirrored_angle(apparatus: Apparatus, exact: ExactPosterior) -> None:
    at = places(3)
    mirrored = torch.stack([at[:, 0], 180 - at[:, 1], at[:, 2]], 1)
    found, wanted = exact.table(*mirrored.unbind(1)), exact_lines(apparatus, *mirrored.unbind(1))[0]
    torch.testing.assert_close(found.carrier_hz, wanted.carrier_hz, rtol=0, atol=5)
    torch.testing.assert_close(found.axial_hz, wanted.axial_hz, rtol=0, atol=5)


def test_the_prior_is_normalised_and_ends_at_the_window(exact: ExactPosterior) -> None:
    axes = [torch.linspace(*ENERGIES, 5).double(), torch.linspace(*ANGLES, 41).double(), torch.linspace(0, 5e-3, 401)]
    grid = torch.stack(torch.meshgrid(*(axis.double() for axis in axes), indexing="ij"), -1)
    density = exact.log_prior(grid.flatten(0, 2)[None]).exp().reshape(grid.shape[:3])
    total = density
    for dim, axis in ((2, axes[2]), (1, axes[1]), (0, axes[0])):
        total = torch.trapezoid(total, axis.double(), dim=dim)
    assert float(total) == pytest.approx(1, rel=1e-4)
    # its shape: isotropic, uniform in area
    assert float(density[2, -1, 200] / density[2, 0, 200]) == pytest.approx(
        math.sin(math.radians(ANGLES[1])) / math.sin(math.radians(ANGLES[0])), abs=1e-9
    )
    assert float(density[2, 7, 400] / density[2, 7, 100]) == pytest.approx(4)
    ring = ExactPosterior(dataclasses.replace(exact.apparatus, smallest_radius_m=3e-3), table=exact.table)
    within = ring.log_prior(grid[2, 7][None])[0]
    assert bool((within[:240] == -math.inf).all())
    assert float((within - density[2, 7].log())[241:].exp().mean()) == pytest.approx(25 / (25 - 9))
    with pytest.raises(UserError, match=r"radius_m is 0\.005 alone"):
        ExactPosterior(dataclasses.replace(exact.apparatus, smallest_radius_m=5e-3), table=exact.table)
    outside = torch.tensor([[18_590.0, 89.0, 2e-3], [18_600.0, 89.6, 2e-3], [18_600.0, 89.0, 6e-3]]).double()
    assert bool((exact.log_prior(outside[None]) == -math.inf).all())


def test_weights_find_the_electron_that_a_poor_proposal_surrounds(apparatus: Apparatus, exact: ExactPosterior) -> None:
    """The proposal is a box; what it proposes that is not finite or outside of the window has no weight."""
    truth = places(2)
    data, events = records(apparatus, truth), torch.tensor([4, 9])
    width = torch.tensor([0.4, 0.02, 1e-3]).double()

    def box(series: Tensor, event_id: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.rand(len(series), 3000, 3, generator=torch.Generator().manual_seed(1)).double() - 0.5
        points = truth[:, None] + width * numbers + 0.2 * width
        points[:, 0] = torch.nan
        points[:, 1, 0] = 30_000.0
        return points, -width.log().sum().expand(points.shape[:2])

    found = weighed(exact, box, data, events)
    assert not found.weights[:, :2].any()
    assert (found.effective_samples > 1).all()
    for i, name in enumerate(VALUES):
        ends = found.quantiles(name, (0.0005, 0.9995))
        assert ((ends[:, 0] <= truth[:, i].numpy()) & (truth[:, i].numpy() <= ends[:, 1])).all(), name
    spread = found.quantiles("energy_ev", (0.1587, 0.8413))
    assert (np.diff(spread)[:, 0] < 0.5 * float(width[0])).all()
    both = joined_samples([found, found])
    assert len(both) == 4


def test_the_wrong_density_of_a_proposal_is_mended(apparatus: Apparatus, exact: ExactPosterior) -> None:
    """Two proposals in one box, of which one crowds the low energies: weighed, they have the same posterior."""
    truth = places(1)
    data = records(apparatus, truth)
    width = torch.tensor([0.3, 0.01, 1e-3]).double()

    def crowded(series: Tensor, event_id: Tensor, power: float) -> tuple[Tensor, Tensor]:
        numbers = torch.rand(1, 20_000, 3, generator=torch.Generator().manual_seed(2)).double().clamp_min(1e-9)
        energy = numbers[..., :1] ** power
        # u^s has the density x^(1/s − 1)/s
        log_density = (1 / power - 1) * energy[..., 0].log() - math.log(power) - width.log().sum()
        return truth[:, None] + width * (torch.cat([energy, numbers[..., 1:]], -1) - 0.5), log_density

    found = [weighed(exact, lambda *one, p=p: crowded(*one, p), data, torch.tensor([4])) for p in (1.0, 2.0)]
    mean = [float((one.weights * one.values["energy_ev"]).sum()) for one in found]
    ends = [one.quantiles("energy_ev", (0.1587, 0.8413))[0] for one in found]
    std = float(np.diff(ends[0])[0] / 2)
    error = std * math.hypot(*(1 / math.sqrt(one.effective_samples[0]) for one in found))
    assert error < std / 4
    assert abs(mean[0] - mean[1]) < 4 * error
    crowd = float(found[1].values["energy_ev"].mean() - found[0].values["energy_ev"].mean())
    assert abs(crowd) > 5 * error


def some_samples(electrons: int = 6, samples: int = 300) -> WeightedSamples:
    random = np.random.default_rng(3)
    values = {
        "energy_ev": 18_600 + random.normal(size=(electrons, samples)),
        "pitch_angle_deg": 89 + 0.1 * random.normal(size=(electrons, samples)),
        "radius_m": 3e-3 + 1e-4 * random.normal(size=(electrons, samples)),
    }
    log_weight = 50 + 0.3 * random.normal(size=(electrons, samples))
    log_weight[0] = -np.inf
    log_weight[0, 7] = 40.0
    return WeightedSamples(np.arange(electrons)[::-1] + 10, values, log_weight)


def test_a_table_of_weighted_samples() -> None:
    samples = some_samples()
    assert samples.effective_samples[0] == pytest.approx(1)
    assert samples.too_few.tolist() == [True] + [False] * 5
    assert samples.log_evidence[0] == pytest.approx(40 - math.log(300))
    found = weighted_estimates(samples)
    assert found.extra[FEW].tolist() == samples.too_few.tolist()
    assert (found.extra[EFFECTIVE][1:] > 200).all()
    np.testing.assert_allclose(found.std["energy_eV"][1:], 1, rtol=0.25)
    np.testing.assert_allclose(found.values["pitch_angle_deg"][1:], 89, atol=0.03)
    np.testing.assert_allclose(samples.below("energy_ev", found.values["energy_eV"])[1:], 0.5, atol=0.01)
    assert found.values["energy_eV"][0] == samples.values["energy_ev"][0, 7]
    impossible = dataclasses.replace(samples, log_weight=np.full_like(samples.log_weight, -np.inf))
    assert (impossible.log_evidence == -np.inf).all()
    assert impossible.too_few.all()
    assert np.isnan(weighted_estimates(impossible).values["energy_eV"]).all()


def test_weighted_quantiles_are_those_of_repeated_samples() -> None:
    counts = np.array([[1, 3, 2, 5, 1]])
    values = np.array([[4.0, 1.0, 3.0, 2.0, 9.0]])
    samples = WeightedSamples(np.zeros(1, np.int64), dict.fromkeys(VALUES, values), np.log(counts))
    many = WeightedSamples(
        np.zeros(1, np.int64), dict.fromkeys(VALUES, np.repeat(values, counts[0])[None]), np.zeros((1, 12))
    )
    for level in (0.3, 0.5, 0.8):
        apart = samples.quantiles("energy_ev", [level]) - many.quantiles("energy_ev", [level])
        assert abs(apart.item()) < 1.0
    assert float(samples.below("energy_ev", np.array([2.5]))[0]) == pytest.approx(8 / 12)
    assert float(samples.effective_samples[0]) == pytest.approx(144 / 40)


def test_samples_are_written_and_read(tmp_path: Path) -> None:
    samples = dataclasses.replace(some_samples(), truth={"energy_ev": np.full(6, 18_600.0)}, attributes={"a": "b"})
    back = WeightedSamples.read(samples.write(tmp_path / "new" / "samples.hdf5"))
    assert back.attributes["a"] == "b"
    np.testing.assert_array_equal(back.log_weight, samples.log_weight)
    np.testing.assert_array_equal(back.truth["energy_ev"], samples.truth["energy_ev"])
    np.testing.assert_array_equal(back.rows(np.array([10, 12, 99])), [5, 3, -1])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.pop("log_weight"), "no log_weight"),
        (lambda file: file["energy_ev"].__setitem__((0, 0), np.nan), "not finite"),
        (lambda file: file["log_weight"].__setitem__((0, 0), np.nan), "NaN or infinite"),
        (lambda file: file["event_id"].__setitem__(0, 10), "twice"),
        (
            lambda file: (file.pop("radius_m"), file.create_dataset("radius_m", data=np.zeros((2, 2)))),
            "radius_m of shape",
        ),
    ],
)
def test_a_spoilt_file_is_told(tmp_path: Path, spoil: object, words: str) -> None:
    path = some_samples().write(tmp_path / "samples.hdf5")
    with h5py.File(path, "r+") as file:
        spoil(file)  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        WeightedSamples.read(path)
    path.write_text("text")
    with pytest.raises(UserError, match="cannot be read"):
        WeightedSamples.read(path)
