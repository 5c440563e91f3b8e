from __future__ import annotations

import math

import pytest
import tones
import torch

from cres.errors import UserError
from cres.estimation.bound.electrons import Freedom, bound_of, electron_bounds, freedom
from cres.estimation.bound.information import area_prior_precision, cramer_rao, fisher_information
from cres.estimation.noise import Coloured, White
from cres.simulation import SimulationConfig
from cres.simulation.parameters import PARAMETERS

RATE, SAMPLES, SIGMA, AMPLITUDE = 403e6, 4096, 0.7, 0.2
TONE = ("energy_ev", "start_phase_rad", "amplitude")
STEPS = dict(zip(PARAMETERS, (1e-3, 1e-6, 1e-6, 1e-5, 1e-5, 1e-4), strict=True))


class ToneModel:
    """A tone whose frequency in hertz stands in the energy's place."""

    def __call__(self, parameters: torch.Tensor) -> torch.Tensor:
        return self.jacobian(parameters)[0]

    def jacobian(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
        frequency, _, _, phase, _, amplitude = (column[:, None] for column in parameters.unbind(1))
        unit = torch.exp(1j * (2 * math.pi * frequency * time + phase))
        series = amplitude * unit
        zero = torch.zeros_like(series)
        return series, torch.stack([2j * math.pi * time * series, zero, zero, 1j * series, zero, unit], 1)


def tone_parameters() -> torch.Tensor:
    return torch.tensor([[-61e6, 0, 0, 0.4, 0, AMPLITUDE], [-47e6, 0, 0, 2.0, 0, AMPLITUDE]], dtype=torch.float64)


def test_a_tone_has_its_analytic_bound() -> None:
    bound = cramer_rao(fisher_information(ToneModel(), tone_parameters(), White(SIGMA), TONE), TONE)
    expected = (
        tones.frequency_variance_hz2(AMPLITUDE, SIGMA, SAMPLES, RATE),
        tones.phase_variance_rad2(AMPLITUDE, SIGMA, SAMPLES),
        tones.amplitude_variance_volt2(SIGMA, SAMPLES),
    )
    for name, variance in zip(TONE, expected, strict=True):
        assert bound.std_of(name).square().tolist() == pytest.approx([variance] * 2, rel=1e-9)


def test_a_free_chirp_costs_a_factor_of_four_in_the_start_frequency() -> None:
    names = (*TONE, "chirp_hz_per_s")
    information = fisher_information(ToneModel(), tone_parameters(), White(SIGMA), names, RATE)
    expected = tones.chirp_start_frequency_variance_hz2(AMPLITUDE, SIGMA, SAMPLES, RATE)
    assert cramer_rao(information, names).std_of("energy_ev").square().tolist() == pytest.approx(
        [expected] * 2, rel=2e-3
    )


def test_the_public_numbers_of_the_tone_bound() -> None:
    # 10 K, 1 fW, 20.3 µs: 1.6 kHz, and 6.3 kHz for the start of a chirp (Phys. Rev. C 99 055501's scaling)
    samples = 8192
    sigma = math.sqrt(1.380649e-23 * 10 * RATE / 2)
    frequency = math.sqrt(tones.frequency_variance_hz2(math.sqrt(1e-15), sigma, samples, RATE))
    assert frequency == pytest.approx(1.6e3, rel=0.03)
    chirped = math.sqrt(tones.chirp_start_frequency_variance_hz2(math.sqrt(1e-15), sigma, samples, RATE))
    assert chirped == pytest.approx(6.3e3, rel=0.03)


def test_white_noise_is_coloured_noise_of_one_colour() -> None:
    flat = Coloured(torch.full((SAMPLES,), SIGMA, dtype=torch.float64))
    white = fisher_information(ToneModel(), tone_parameters(), White(SIGMA), TONE)
    coloured = fisher_information(ToneModel(), tone_parameters(), flat, TONE)
    scale = white.diagonal(dim1=1, dim2=2).sqrt()
    scale = scale[:, :, None] * scale[:, None, :]
    torch.testing.assert_close(coloured / scale, white / scale, rtol=1e-10, atol=1e-10)


def test_noise_elsewhere_costs_nothing_and_noise_here_does() -> None:
    frequency = torch.fft.fftfreq(SAMPLES, 1 / RATE, dtype=torch.float64)
    here = (frequency + 54e6).abs() < 15e6
    elsewhere, louder = (Coloured(torch.where(mask, 10 * SIGMA, SIGMA).double()) for mask in (frequency > 0, here))
    bounds = [
        cramer_rao(fisher_information(ToneModel(), tone_parameters(), noise, TONE), TONE).std_of("energy_ev")
        for noise in (White(SIGMA), elsewhere, louder)
    ]
    torch.testing.assert_close(bounds[1], bounds[0], rtol=2e-2, atol=0)
    assert torch.all(bounds[2] > 5 * bounds[0])


def test_the_information_is_that_of_finite_differences(simulated) -> None:  # type: ignore[no-untyped-def]
    parameters = simulated.parameters[:3]
    columns = []
    for i, name in enumerate(PARAMETERS):
        shift = torch.zeros(6, dtype=torch.float64)
        shift[i] = STEPS[name]
        up, down = simulated.apparatus.model(parameters + shift), simulated.apparatus.model(parameters - shift)
        columns.append((up - down) / (2 * STEPS[name]))
    slow = torch.stack(columns, 1)
    expected = torch.einsum("bit,bjt->bij", slow.conj(), slow).real / 0.3**2
    found = fisher_information(simulated.apparatus.model, parameters, White(0.3))
    scale = expected.diagonal(dim1=1, dim2=2).sqrt()
    error = (found - expected) / scale[:, :, None] / scale[:, None, :]
    assert float(error.abs().max()) < 1e-4


def test_the_default_apparatus_has_its_published_bound(simulated) -> None:  # type: ignore[no-untyped-def]
    free = freedom(SimulationConfig.default())
    assert free.free == ("energy_ev", "pitch_angle_deg", "start_phase_rad", "axial_phase_rad", "amplitude")
    bound = bound_of(simulated.apparatus, free, simulated.parameters[:50])
    low, middle, high = torch.quantile(bound.std_of("energy_ev"), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    assert not bound.singular.any()
    assert 0.017 < low < 0.03
    assert 0.03 < middle < 0.05
    assert 0.055 < high < 0.12


def test_two_parameters_that_do_the_same_are_reported_not_hidden(simulated) -> None:  # type: ignore[no-untyped-def]
    names = ("energy_ev", "start_phase_rad", "start_phase_rad")
    information = fisher_information(simulated.apparatus.model, simulated.parameters[:3], White(0.05), names)
    bound = cramer_rao(information, names)
    assert bound.singular.all()
    assert torch.isinf(bound.std[:, 1:]).all()
    assert torch.isfinite(bound.std[:, 0]).all()
    direction = bound.weakest_direction[:, 1:].abs()
    torch.testing.assert_close(direction, torch.full_like(direction, math.sqrt(0.5)), rtol=1e-4, atol=1e-4)


def test_a_silent_parameter_has_no_bound_until_it_has_a_prior() -> None:
    names = (*TONE, "radius_m")
    information = fisher_information(ToneModel(), tone_parameters(), White(SIGMA), names)
    assert torch.isinf(cramer_rao(information, names).std_of("radius_m")).all()
    bound = cramer_rao(information, names, {"radius_m": area_prior_precision(6.5e-3)})
    assert bound.std_of("radius_m").tolist() == pytest.approx([6.5e-3 / math.sqrt(18)] * 2)
    assert not bound.singular.any()


def test_knowing_more_never_hurts(simulated) -> None:  # type: ignore[no-untyped-def]
    apparatus, parameters = simulated.apparatus, simulated.parameters[:8]
    full = freedom(SimulationConfig.default())
    fewer = Freedom(full.free[:-1], {})
    prior = Freedom(full.free, {"pitch_angle_deg": 1e6})
    bounds = [bound_of(apparatus, free, parameters).std_of("energy_ev") for free in (full, fewer, prior)]
    assert torch.all(bounds[1] <= bounds[0] * (1 + 1e-9))
    assert torch.all(bounds[2] < bounds[0])


def test_the_table_of_bounds_has_the_truth_as_estimate(simulated) -> None:  # type: ignore[no-untyped-def]
    found = electron_bounds(simulated.apparatus, SimulationConfig.default(), simulated.parameters[:4])
    assert found.kind == "bound"
    assert found.values["energy_eV"] == pytest.approx(simulated.parameters[:4, 0].numpy())
    assert {"bound_amplitude", "information_singular", "smallest_eigenvalue"} <= set(found.extra)


def test_wrong_names_are_told(simulated) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="did you mean 'energy_ev'"):
        fisher_information(simulated.apparatus.model, simulated.parameters[:1], White(1.0), ("energy_eV",))
    with pytest.raises(UserError, match="which is not free"):
        cramer_rao(torch.eye(1, dtype=torch.float64)[None], ("energy_ev",), {"radius_m": 1.0})
    with pytest.raises(UserError, match="needs noise"):
        White(0.0)
