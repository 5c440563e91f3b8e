"""The named bounds: against finite differences of the simulator, and what each takes for known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import BOUNDS, Freedom, bound_of, electron_bounds, freedom
from cres.estimation.bound.information import fisher_information
from cres.estimation.fit.least_squares import RadialStrength
from cres.estimation.fit.products import SampleProducts
from cres.estimation.methods.registry import run
from cres.estimation.methods.task import Task
from cres.estimation.noise import White
from cres.simulation import Electrons, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import parameters_of
from reconstruction.judging.tables.table import PredictionTable

ELECTRONS = 20
DEFAULT = SimulationConfig.default()
# Each moves the record by a hundredth of a radian or a hundredth of itself: enough for samples of single precision.
STEPS = {"energy_ev": 2e-3, "pitch_angle_deg": 2e-5, "start_phase_rad": 1e-2, "axial_phase_rad": 1e-2}
STRENGTH_STEP = 5e-3
Matrix = NDArray[np.float64]


@pytest.fixture(scope="module")
def electrons() -> Electrons:
    return sample_electrons(DEFAULT, ELECTRONS, seed=31)


@pytest.fixture(scope="module")
def parameters(electrons: Electrons) -> torch.Tensor:
    return parameters_of(electrons)


@pytest.fixture(scope="module")
def apparatus() -> Apparatus:
    return Apparatus.from_config(DEFAULT)


def volts(config: SimulationConfig, electrons: Electrons) -> NDArray[np.complex128]:
    columns = simulate_columns(config, electrons)
    return columns[schema.SERIES_I].astype(np.float64) + 1j * columns[schema.SERIES_Q]


def scaled(amplitude: float, loss: float) -> SimulationConfig:
    """The apparatus whose signals are `amplitude` times as high, and whose electrons lose `loss` times as much."""
    readout = dataclasses.replace(DEFAULT.readout, gain=DEFAULT.readout.gain * amplitude**2)
    return dataclasses.replace(DEFAULT, readout=readout, loss=dataclasses.replace(DEFAULT.loss, factor=loss))


def by_differences(electrons: Electrons, bound: str) -> Matrix:
    """The bound on energy and pitch angle (electron, 2) from the simulator alone."""
    columns = []
    for name, step in STEPS.items():
        there = [dataclasses.replace(electrons, **{name: getattr(electrons, name) + s}) for s in (-step, step)]
        columns.append((volts(DEFAULT, there[1]) - volts(DEFAULT, there[0])) / (2 * step))

    def strength(amplitude: float, loss: float) -> NDArray[np.complex128]:
        ends = [scaled((1 + s) ** amplitude, (1 + s) ** loss) for s in (-STRENGTH_STEP, STRENGTH_STEP)]
        return (volts(ends[1], electrons) - volts(ends[0], electrons)) / (2 * STRENGTH_STEP)

    moved = {"tied": [(1, 2)], "loss-known": [(1, 0)], "loss-free": [(1, 0), (0, 1)]}[bound]
    columns += [strength(amplitude, loss) for amplitude, loss in moved]
    slow = np.stack(columns, 1)
    information = np.einsum("bit,bjt->bij", slow.conj(), slow).real * 2 / DEFAULT.readout.complex_noise_variance
    scale = 1 / np.sqrt(np.diagonal(information, axis1=1, axis2=2))
    covariance = np.linalg.inv(information * scale[:, :, None] * scale[:, None, :])
    return (np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)) * scale)[:, :2]


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_bound_is_that_of_finite_differences_of_the_simulator(
    bound: str, electrons: Electrons, parameters: torch.Tensor, apparatus: Apparatus
) -> None:
    found = bound_of(apparatus, freedom(DEFAULT, bound), parameters).std[:, :2].numpy()
    np.testing.assert_allclose(found, by_differences(electrons, bound), rtol=1e-3)


def test_knowing_the_radiated_power_is_worth_a_factor(parameters: torch.Tensor, apparatus: Apparatus) -> None:
    tied, known, free = (bound_of(apparatus, freedom(DEFAULT, name), parameters).std_of("energy_ev") for name in BOUNDS)
    assert torch.all(known < tied)
    assert 1.01 < float((tied / known).median()) < 1.1
    assert torch.all(free > 2 * tied)


def test_the_strength_is_that_of_the_likelihood(parameters: torch.Tensor, apparatus: Apparatus) -> None:
    # the fit moves along the inner radius, which in a bathtub is a strength and nothing else
    tie = RadialStrength.measure(apparatus)
    # not at the strongest radius, where the radius moves nothing to first order
    inner = parameters[(parameters[:, 2] > 5e-4) & (parameters[:, 2] < 0.8 * tie.radius_m[tie.best])]
    assert len(inner) >= 3
    names = (*freedom(DEFAULT).free[:-1], "radius_m", "amplitude")
    products = SampleProducts(apparatus.model, apparatus.model(inner), White(apparatus.noise_std_volt), names)
    untied = products(torch.arange(len(inner)), inner).information
    along = torch.eye(5, 6, dtype=torch.float64).repeat(len(inner), 1, 1)
    along[:, 4, 4:] = tie.directions(inner)
    by_radius = along @ untied @ along.transpose(1, 2)
    found = fisher_information(
        apparatus.model, inner, White(apparatus.noise_std_volt), freedom(DEFAULT).free, tied=True
    )
    unit = found.diagonal(dim1=1, dim2=2).rsqrt()
    unit = unit[:, :, None] * unit[:, None, :]
    torch.testing.assert_close(by_radius * unit, found * unit, rtol=0, atol=3e-3)


def test_an_electron_of_another_strength_is_tied_at_its_own(parameters: torch.Tensor, apparatus: Apparatus) -> None:
    # twice the amplitude at the same loss: half the noise, and the logarithm of the strength moves both as before
    stronger = parameters.clone()
    stronger[:, 5] = 2.0
    free = freedom(DEFAULT)
    usual, found = (bound_of(apparatus, free, rows) for rows in (parameters, stronger))
    torch.testing.assert_close(found.std_of("energy_ev"), usual.std_of("energy_ev") / 2)
    torch.testing.assert_close(found.std_of("amplitude"), usual.std_of("amplitude"))


def test_a_start_time_costs_little_where_the_beginning_is_seen(parameters: torch.Tensor, apparatus: Apparatus) -> None:
    model, rate = apparatus.model, apparatus.reception.sampling_rate_hz
    tied, late = (bound_of(apparatus, freedom(DEFAULT, also=also), parameters) for also in ((), ("start-time",)))
    ratio = late.std_of("energy_ev") / tied.std_of("energy_ev")
    assert torch.all((ratio >= 1) & (ratio < 1.01))
    # the beginning is about one sample's worth of signal, σ/(|s₀| f_s)
    one_sample = apparatus.noise_std_volt / (model(parameters)[:, 0].abs() * rate)
    samples = late.std_of("start_time_s") / one_sample
    assert torch.all((samples > 0.6) & (samples < 2))


def test_a_start_time_moves_the_whole_record(parameters: torch.Tensor, apparatus: Apparatus) -> None:
    rate, step_s = apparatus.reception.sampling_rate_hz, 1e-12
    moved = Apparatus.from_config(DEFAULT).model
    moved._time_s = moved.time_s - step_s
    later = moved(parameters)
    moved._time_s = moved.time_s + 2 * step_s
    wanted = (later - moved(parameters)) / (2 * step_s)
    wanted[:, 0] = wanted[:, 0] / 2 - rate * apparatus.model(parameters)[:, 0]
    information = fisher_information(apparatus.model, parameters, White(1.0), ("start_time_s", "energy_ev"), rate)
    derivative = apparatus.model.jacobian(parameters)[1][:, 0]
    for place, other in enumerate((wanted, derivative)):
        expected = (wanted.conj() * other).sum(1).real
        torch.testing.assert_close(information[:, 0, place], expected, rtol=2e-3, atol=0)


def test_a_free_slope_hides_the_loss(parameters: torch.Tensor, apparatus: Apparatus) -> None:
    tied, sloped = (
        bound_of(apparatus, freedom(DEFAULT, also=also), parameters).std_of("energy_ev") for also in ((), ("slope",))
    )
    assert torch.all(sloped > 2 * tied)


def test_between_coils_the_radius_ties(apparatus: Apparatus) -> None:
    coils = SimulationConfig.from_yaml(Path(__file__).parents[2] / "configs/simulation/coils.yaml")
    tied, free = freedom(coils), freedom(coils, "loss-free")
    assert tied.free[-1] == "radius_m"
    assert free.free == (*tied.free, "log_loss_factor")
    assert free.prior_precision == tied.prior_precision
    with pytest.raises(UserError, match="sets the loss"):
        freedom(coils, "loss-known")


def test_bounds_that_do_not_exist_are_told(apparatus: Apparatus, parameters: torch.Tensor) -> None:
    with pytest.raises(UserError, match="did you mean 'tied'"):
        freedom(DEFAULT, "tide")
    with pytest.raises(UserError, match="did you mean 'slope'"):
        freedom(DEFAULT, also=("slop",))
    lossless = dataclasses.replace(DEFAULT, loss=dataclasses.replace(DEFAULT.loss, kind="off"))
    with pytest.raises(UserError, match="lose nothing"):
        freedom(lossless, "loss-free")
    still = Apparatus.from_config(lossless)
    tied, known = (bound_of(still, freedom(lossless, name), parameters[:2]).std for name in ("tied", "loss-known"))
    torch.testing.assert_close(tied, known)


def test_the_table_says_which_bound_it_is(apparatus: Apparatus, parameters: torch.Tensor, data_file: Path) -> None:
    assert electron_bounds(apparatus, DEFAULT, parameters[:2]).attributes["bound"] == "tied"
    table = run(Task(str(data_file), "bound", limit=3, bound="loss-free", bound_free=("slope",)))
    again = PredictionTable.read(table.write(data_file.parent / "free.hdf5"))
    assert again.estimator == "Cramér–Rao bound, loss free"
    assert again.attributes["bound"] == "loss-free"
    assert again.attributes["bound_free"][-2:] == ["log_loss_factor", "chirp_hz_per_s"]
    assert {"bound_log_loss_factor", "bound_chirp_hz_per_s", "bound_amplitude"} <= set(again.columns)


def test_a_freedom_is_tied_unless_told() -> None:
    assert Freedom(("energy_ev", "amplitude"), {}).bound == freedom(DEFAULT).bound == "tied"
