"""A cavity with several modes and ports: energy, lines, couplings, noise, against integrals that share no code."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from lorentz import LorentzMotion, integrate_lorentz
from numpy.typing import NDArray
from scipy.special import j1, jv, jvp

from cres import schema
from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import bound_of, freedom
from cres.physics.cavity import J1_ZEROS, mode_frequency_hz
from cres.physics.constants import ELEMENTARY_CHARGE_C, VACUUM_PERMITTIVITY_F_PER_M
from cres.physics.fields import QuadraticField
from cres.physics.modes import ModeShape, mode_response
from cres.simulation import PARAMETERS, Electrons, ForwardModel, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.bessel import bessel_j, bessel_j_derivative
from cres.simulation.checks_modes import mode_balance, mode_power
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.motion import Start
from cres.simulation.parameters import parameters_of
from cres.simulation.track import TrackModel
from cres.transforms import CavityNoise

NAMES = ("TE011", "TE012", "TE013")
MODES = [{"name": name, "resonance_hz": hz} for name, hz in zip(NAMES, (25.905e9, 25.962e9, 26.058e9), strict=True)]
RADIUS, LENGTH = 7.063e-3, 0.150


def with_ports(*axial_m: float, modes: list[dict[str, Any]] | None = None, **sections: Any) -> SimulationConfig:
    ports = [{"axial_m": z, "share": 1 / len(axial_m)} for z in axial_m]
    return SimulationConfig.from_dict({"cavity": {"modes": modes or MODES, "ports": ports}, **sections})


def start_of(electrons: Electrons) -> Start:
    return Start(
        torch.from_numpy(electrons.energy_ev),
        torch.from_numpy(np.deg2rad(electrons.pitch_angle_deg)),
        torch.from_numpy(electrons.radius_m),
    )


def lines_of(config: SimulationConfig, electrons: Electrons) -> dict[int, NDArray[np.float64]]:
    """Return the height of each line of the records, by harmonic."""
    parameters = parameters_of(electrons)
    lines = ForwardModel(config).lines(parameters)
    return {int(h): lines.amplitudes[:, i].abs().numpy() for i, h in enumerate(lines.harmonics)}


DEFAULT = SimulationConfig.default()
ELECTRONS = sample_electrons(DEFAULT, 100, 0)


def loss_ratio(config: SimulationConfig) -> float:
    powers = [TrackModel(c).bounce(start_of(ELECTRONS)).power.mean(1) for c in (config, DEFAULT)]
    return float((powers[0] / powers[1]).median())


def test_a_port_in_the_middle_sees_no_odd_lines_and_the_loss_grows_by_28_percent() -> None:
    config = with_ports(0.0)
    assert loss_ratio(config) == pytest.approx(1.28, abs=0.01)
    odd = [height.max() for harmonic, height in lines_of(config, ELECTRONS).items() if harmonic % 2]
    assert max(odd, default=0.0) == 0.0


def test_a_port_off_the_middle_sees_odd_lines_as_large_as_even_ones() -> None:
    heights = lines_of(with_ports(LENGTH / 4), ELECTRONS)
    odd, even = (np.hypot(heights[n], heights[-n]) for n in (1, 2))
    assert 0.9 < np.median(odd / even) < 1.6


def test_one_mode_in_a_list_is_the_cavity_of_one_mode() -> None:
    listed = SimulationConfig.from_dict({"cavity": {"modes": [{"name": "TE011", "resonance_hz": 25.905e9}]}})
    few = ELECTRONS[:4]
    expected, found = simulate_columns(DEFAULT, few), simulate_columns(listed, few)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6 if name.endswith("snr") else 1e-12, atol=1e-8)


@pytest.mark.parametrize("axial_m", [(0.0,), (0.0375,), (0.0375, -0.02)])
def test_radiated_power_is_what_leaves_the_ports_and_stays_in_the_walls(axial_m: tuple[float, ...]) -> None:
    """The modes integrated in time along the bounce, not line by line, to 0.1 %."""
    config = with_ports(*axial_m)
    model = TrackModel(config)
    bounce = model.bounce(start_of(ELECTRONS[:3]))
    power = sum(p.mean(1) for p in model.cavity.watt_of_modes(bounce.drives, bounce.answers))
    for row in range(3):
        left, stayed = integrated(config, bounce, row)
        assert left + stayed == pytest.approx(float(power[row]), rel=1e-3)


def integrated(config: SimulationConfig, bounce: Any, row: int) -> tuple[float, float]:
    """Return the power out of the ports and into the walls, by steps of the coupled-mode equations in time."""
    cavity = config.cavity
    couplings = cavity.couplings
    resonance = np.array([mode["resonance_hz"] for mode in MODES])
    half_width = resonance / 800
    shared = couplings.conj().T @ couplings
    np.fill_diagonal(shared, 1.0)
    carrier, axial = float(bounce.rates.carrier[row]), float(bounce.rates.axial[row])
    decay = 2 * np.pi * (np.sqrt(np.outer(half_width, half_width)) * shared - 1j * np.diag(resonance))
    decay = decay + 1j * carrier * np.eye(3)
    drive = np.array([d[row].numpy() for d in bounce.drives])
    step = 2 * np.pi / axial / drive.shape[1]
    # between two points the drive is linear: the exact step of y' = −A y + u + v t
    values, vectors = np.linalg.eig(decay)
    kernel = vectors @ np.diag(np.exp(-values * step)) @ np.linalg.inv(vectors)
    grown = np.linalg.inv(decay)
    root = np.sqrt(2 * np.pi * half_width)
    amplitude = np.zeros(3, np.complex128)
    left = stayed = 0.0
    for _ in range(2):  # the first turn settles
        left = stayed = 0.0
        for i in range(drive.shape[1]):
            here, there = root * drive[:, i], root * drive[:, (i + 1) % drive.shape[1]]
            slope = (there - here) / step
            bent = grown @ (grown @ slope)
            amplitude = kernel @ (amplitude - grown @ here + bent) + grown @ there - bent
            power = np.abs(root * amplitude) ** 2
            left += float((np.abs(couplings @ (root * amplitude)) ** 2).sum())
            stayed += float(((1 - (np.abs(couplings) ** 2).sum(0)) * power).sum())
    return left / drive.shape[1], stayed / drive.shape[1]


GRADIENT_LENGTH, ENERGY, PITCH_DEG, PERIODS = 0.5, 18_600.0, 86.0, 6


@pytest.mark.parametrize(("radius", "tolerance"), [(1.5e-3, 5e-3), (3.4e-3, 5e-3), (5.5e-3, 1.5e-2)])
def test_power_into_each_mode_against_overlap_integrals_along_a_lorentz_orbit(radius: float, tolerance: float) -> None:
    """∫ E·v e^{−iωt} dt along the electron's own path in a harmonic trap, for the lines of each mode.

    The simulator couples at the radius in the trap's middle; towards the turning points the field line is nearer to the
    axis, which close to the wall, where the field falls steeply, makes a percent.
    """
    apart = [{**mode, "couplings": [[0.0, 0.0]]} for mode in MODES]
    config = with_ports(0.0, modes=apart, trap={"kind": "harmonic", "gradient_length_m": GRADIENT_LENGTH})
    model = TrackModel(config)
    values = (ENERGY, np.deg2rad(PITCH_DEG), radius)
    bounce = model.bounce(Start(*(torch.tensor([value], dtype=torch.float64) for value in values)))
    found = [float(power.mean()) for power in model.cavity.watt_of_modes(bounce.drives, bounce.answers)]
    carrier, axial = float(bounce.rates.carrier), float(bounce.rates.axial)
    np.testing.assert_allclose(found, overlap_powers(config.trap.field_t, radius, carrier, axial), rtol=tolerance)


def overlap_powers(field_t: float, radius: float, carrier: float, axial: float) -> list[float]:
    field = QuadraticField(field_t, GRADIENT_LENGTH)
    orders = np.arange(-8, 9)
    rates = carrier + orders * axial
    length_s = PERIODS * 2 * np.pi / axial
    sums, weight = np.zeros((3, len(orders)), np.complex128), 0.0

    def induction(rho: Any, z: Any) -> tuple[Any, Any]:
        beyond, b_rho, _ = field.beyond_background(rho, z)
        return field_t + beyond, b_rho

    def add(motion: LorentzMotion) -> None:
        nonlocal weight
        window = motion.weights_s * np.where(
            motion.times_s < length_s, 1 - np.cos(2 * np.pi * motion.times_s / length_s), 0.0
        )
        place, rho = motion.place_m[:, 0], np.abs(motion.place_m[:, 0])
        along = (np.conj(1j * place / rho) * motion.velocity_m_per_s[:, 0]).real * j1(J1_ZEROS[0] / RADIUS * rho)
        waves = np.exp(-1j * motion.times_s[:, None] * rates) * window[:, None]
        for p in range(3):
            profile = np.sin((p + 1) * np.pi * (motion.axial_m[:, 0] / LENGTH + 0.5))
            sums[p] += 2 * (along * profile) @ waves
        weight += float(window.sum())

    integrate_lorentz(induction, np.array([ENERGY]), np.array([PITCH_DEG]), np.array([radius]), length_s, add)
    rho = (np.arange(4000) + 0.5) / 4000 * RADIUS
    norm = 2 * np.pi * (j1(J1_ZEROS[0] / RADIUS * rho) ** 2 * rho).sum() * RADIUS / 4000 * LENGTH / 2
    powers = []
    for lines, mode in zip(sums / weight, MODES, strict=True):
        detuning = 800 * (rates / (2 * np.pi) / mode["resonance_hz"] - 1)
        unit = (
            ELEMENTARY_CHARGE_C**2 * 400 / (2 * 2 * np.pi * mode["resonance_hz"] * VACUUM_PERMITTIVITY_F_PER_M * norm)
        )
        powers.append(float((unit * np.abs(lines) ** 2 / (1 + detuning**2)).sum()))
    return powers


def test_a_further_channel_sees_its_own_sum_of_modes() -> None:
    """A port and a probe at the mirrored place see the odd mode with the other sign, on the processor and a device."""
    channels = [{"port": 1}, {"axial_m": -0.0375, "gain": 0.25}, {"phase_deg": 90.0}]
    config = with_ports(0.0375, -0.0375, more_channels=channels)
    few = ELECTRONS[:3]
    columns = simulate_columns(config, few)
    volts = [columns[i] + 1j * columns[q] for i, q in map(schema.series_columns, range(4))]
    assert np.abs(np.abs(volts[1]) - np.abs(volts[0])).max() > 0.1 * np.abs(volts[0]).max()
    # the probe takes nothing from the cavity; half the shares are the ports', so it sees √2 of their amplitude
    np.testing.assert_allclose(volts[2], np.sqrt(2) / 2 * volts[1], rtol=0, atol=1e-6 * np.abs(volts[1]).max())
    np.testing.assert_allclose(volts[3], 1j * volts[0], rtol=0, atol=1e-6 * np.abs(volts[0]).max())
    source = DeviceElectrons(config)
    made = source.records(source.sent(few))
    for name in columns:
        atol = 1e-6 * np.abs(columns[name]).max()
        np.testing.assert_allclose(made[name].numpy(), columns[name], rtol=1e-6, atol=atol, err_msg=name)


def test_explicit_couplings_replace_those_of_the_place() -> None:
    placed = with_ports(0.0375)
    seen = [[[abs(c), np.rad2deg(np.angle(c))]] for c in placed.cavity.couplings[0]]
    given = with_ports(-0.01, modes=[{**mode, "couplings": c} for mode, c in zip(MODES, seen, strict=True)])
    np.testing.assert_allclose(given.cavity.couplings, placed.cavity.couplings, atol=1e-12)


def test_the_derivatives_are_those_of_the_records() -> None:
    config = with_ports(0.0375, readout={"samples": 512})
    model = ForwardModel(config)
    few = sample_electrons(config, 3, 5)
    parameters = parameters_of(few)
    series, derivatives = model.jacobian(parameters)
    columns = simulate_columns(config, few)
    made = columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]
    assert np.abs(series.numpy() - made).max() < 2e-6 * np.abs(made).max()
    for column, step in enumerate((0.02, 1e-5, 3e-5, 1e-2, 3e-3, 1e-2)):
        shift = torch.zeros(6, dtype=torch.float64)
        shift[column] = step
        points = [model(parameters + scale * shift) - model(parameters - scale * shift) for scale in (0.5, 1.0)]
        expected = (8 * points[0] - points[1]) / (6 * step)
        error = (derivatives[:, column] - expected).norm(dim=1) / expected.norm(dim=1)
        assert float(error.max()) < 1e-4, PARAMETERS[column]


def test_noise_of_modes_is_what_the_walls_absorb() -> None:
    """One mode in a list is the closed form; with several, it is what the walls keep of a wave."""
    facts = {"sampling_rate_hz": 403e6, "lo_frequency_hz": 25.9702e9}
    frequency = torch.linspace(-200e6, 200e6, 81, dtype=torch.float64)
    one, listed = CavityNoise(**facts), CavityNoise(**facts, modes=[[25.905e9, 400.0, np.sqrt(660 / 1060), 0.0]])
    torch.testing.assert_close(listed.emissivity(frequency), one.emissivity(frequency), rtol=1e-9, atol=1e-12)

    cavity = with_ports(0.0375, -0.02).cavity
    response = mode_response(np.array([m["resonance_hz"] for m in MODES]), np.full(3, 400.0), cavity.couplings)
    absolute = frequency.numpy() + facts["lo_frequency_hz"]
    # a wave into port 0 drives mode μ with 2 c*_μ: what the walls keep of it
    kept = 2 * response.modes_at(absolute) @ cavity.couplings[0].conj()
    walls = ((1 - (np.abs(cavity.couplings) ** 2).sum(0)) * np.abs(kept) ** 2).sum(-1)
    found = CavityNoise(**facts, modes=cavity.mode_rows()).emissivity(frequency)
    np.testing.assert_allclose(found.numpy(), walls, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(response.emissivity_at(absolute), walls, rtol=1e-9, atol=1e-12)


def test_resonances_follow_from_the_dimensions_where_none_are_given() -> None:
    config = SimulationConfig.from_dict({"cavity": {"modes": [{"name": "TE012"}, {"name": "TE021"}]}})
    assert config.cavity.resonance_hz == mode_frequency_hz(RADIUS, LENGTH, 1, 2)
    assert config.cavity.mode_hz(config.cavity.modes[1]) == mode_frequency_hz(RADIUS, LENGTH, 2, 1)
    assert SimulationConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("cavity", "message"),
    [
        ({"modes": [{"name": "TM111"}]}, "TM111.*no mode that is simulated.*TE0np"),
        ({"modes": [{"name": "TE110"}]}, "'TE110' is no mode that is simulated: name TE011, TE111, TM110"),
        ({"modes": [{"name": "TEM00"}]}, "'TEM00' is no mode that is simulated"),
        ({"modes": [{"name": "TM441"}]}, "'TM441' is no mode that is simulated"),
        (
            {"modes": [{"name": "TE011"}, {"name": "TE111", "couplings": [[0.3, 0.0]]}]},
            "TE111 is not the same at every azimuth",
        ),
        ({"modes": [{"name": "TE011"}, {"name": "TE011"}]}, "names a mode twice"),
        ({"modes": [{"name": "TE011", "loaded_q": 2000}]}, "below its unloaded_q"),
        ({"modes": [{"name": "TE011"}], "loaded_q": 500}, "cavity.loaded_q is that of a cavity of one mode"),
        ({"ports": [{"axial_m": 0.01}]}, "belong to cavity.modes"),
        ({"modes": [{"name": "TE011"}], "ports": [{"axial_m": 0.09}]}, "lies outside"),
        ({"modes": [{"name": "TE011"}], "ports": [{}, {}]}, "would leave through the ports"),
        ({"modes": [{"name": "TE011", "couplings": [[0.9, 0.0]]}]}, "would leave through the ports"),
        ({"modes": [{"name": "TE011", "couplings": [[0.1, 0.0], [0.1, 0.0]]}]}, "2 couplings and the cavity 1 ports"),
    ],
)
def test_cavities_that_cannot_be_are_refused_in_a_sentence(cavity: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulationConfig.from_dict({"cavity": cavity})


def test_the_published_configuration_is_read() -> None:
    config = SimulationConfig.from_yaml("configs/simulation/cavity_26ghz_modes.yaml")
    assert [mode.name for mode in config.cavity.modes] == list(NAMES)
    assert dataclasses.replace(config.cavity, modes=(), ports=()) == DEFAULT.cavity


# Modes of any kind --------------------------------------------------------------------------------------------------

MIXED = ("TE011", "TE111", "TE211", "TM011", "TM110", "TM111")


def mixed(names: tuple[str, ...] = MIXED, **sections: Any) -> SimulationConfig:
    """A cavity of modes of all kinds, all at one resonance, so that all of them take power."""
    modes = [{"name": name, "resonance_hz": 25.905e9} for name in names]
    return SimulationConfig.from_dict({"cavity": {"modes": modes}, **sections})


def powers_by_mode(config: SimulationConfig, start: Start) -> dict[str, float]:
    bounce = TrackModel(config).bounce(start)
    cavity = TrackModel(config).cavity
    found = dict.fromkeys(MIXED, 0.0)
    for field, power in zip(cavity.fields, cavity.watt_of_modes(bounce.drives, bounce.answers), strict=True):
        found[field.mode.name] += float(power.mean())
    return found


def test_shapes_and_resonances_of_modes() -> None:
    """Zeros of J_m' and J_m: Abramowitz & Stegun, table 9.5. TM111 has TE011's resonance."""
    zeros = {"TE111": 1.84118, "TE211": 3.05424, "TE011": 3.83171, "TM010": 2.40483, "TM111": 3.83171, "TM211": 5.13562}
    for name, zero in zeros.items():
        shape = ModeShape.of(name)
        assert shape.zero == pytest.approx(zero, abs=1e-5)
        rho = (np.arange(20_000) + 0.5) / 20_000 * RADIUS
        m, k = shape.azimuthal, zero / RADIUS
        psi2, slope2 = jv(m, k * rho) ** 2, jvp(m, k * rho) ** 2 + (m / (k * rho) * jv(m, k * rho)) ** 2
        around = np.pi * (2 if m == 0 else 1) * RADIUS * np.array([(psi2 * rho).mean(), (slope2 * rho).mean()])
        bent = (shape.axial * np.pi / LENGTH / k) ** 2
        along = LENGTH if shape.axial == 0 else LENGTH / 2
        norm = around[1] * LENGTH / 2 if shape.electric else around[0] * along + bent * around[1] * LENGTH / 2
        assert shape.squared_norm_m3(RADIUS, LENGTH) == pytest.approx(norm, rel=1e-4)
    te, tm = (ModeShape.of(name).resonance_hz(RADIUS, LENGTH) for name in ("TE011", "TM111"))
    assert te == pytest.approx(mode_frequency_hz(RADIUS, LENGTH), rel=1e-12)
    assert tm == pytest.approx(te, rel=1e-12)
    assert ModeShape.of("TM010").resonance_hz(RADIUS, LENGTH) == pytest.approx(
        2.40483 * 299792458 / (2 * np.pi * RADIUS), rel=1e-5
    )


@pytest.mark.parametrize("radius", [1.5e-3, 3.4e-3])
def test_power_into_modes_of_all_kinds_against_overlap_integrals_along_a_lorentz_orbit(radius: float) -> None:
    """∫ E·v e^{−iωt} dt with all components of E on the electron's own path, both of a pair, line by line.

    In TM modes the lines above the carrier differ from those below: the sign of what the axial speed does is seen.
    """
    config = mixed(trap={"kind": "harmonic", "gradient_length_m": GRADIENT_LENGTH})
    start = Start(*(torch.tensor([v], dtype=torch.float64) for v in (ENERGY, np.deg2rad(PITCH_DEG), radius)))
    model = TrackModel(config)
    bounce = model.bounce(start)
    found = dict.fromkeys(MIXED, np.zeros(17))
    for field, drive in zip(model.cavity.fields, bounce.drives, strict=True):
        lines = np.fft.fft(drive[0].numpy())[np.arange(-8, 9)] / drive.shape[1]
        found[field.mode.name] = found[field.mode.name] + np.abs(lines) ** 2
    expected = lorentz_powers(config.trap.field_t, radius, float(bounce.rates.carrier), float(bounce.rates.axial))
    for name, powers in expected.items():
        np.testing.assert_allclose(found[name], powers, rtol=0.05, atol=5e-3 * powers.max(), err_msg=name)


def test_the_checks_hold_with_modes_of_all_kinds_and_see_what_is_broken() -> None:
    """Radiated power is what leaves the port and stays in the walls, to 0.1 %; each mode by its own overlap."""
    config = mixed(("TE011", "TE111", "TM011"), readout={"samples": 2048})
    fewer = dataclasses.replace(config, cavity=dataclasses.replace(config.cavity, modes=config.cavity.modes[::2]))
    for check in (mode_power, mode_balance):
        assert check(config, config).passed
        assert not check(config, fewer).passed


def test_modes_that_turn_take_power_and_are_seen_by_no_port() -> None:
    """At one resonance TM111 takes a thousandth of what TE011 takes, TE111 more than it, on the axis too."""
    start = start_of(ELECTRONS[:20])
    found = powers_by_mode(mixed(), start)
    assert found["TM111"] < 3e-3 * found["TE011"] < found["TE111"]
    on_axis = powers_by_mode(mixed(), start._replace(radius_m=torch.zeros_like(start.radius_m)))
    assert on_axis["TE011"] == 0 < on_axis["TE111"]
    alone = SimulationConfig.from_dict({"cavity": {"modes": [MODES[0]]}, "loss": {"kind": "free_space"}})
    both = dataclasses.replace(mixed(), loss=alone.loss)
    series = [simulate_columns(config, ELECTRONS[:3])[schema.SERIES_I] for config in (alone, both)]
    np.testing.assert_allclose(series[0], series[1], rtol=0, atol=1e-6 * np.abs(series[0]).max())
    facts = {"sampling_rate_hz": 403e6, "lo_frequency_hz": 25.9702e9}
    frequency = torch.linspace(-200e6, 200e6, 21, dtype=torch.float64)
    noise = [CavityNoise(**facts, modes=c.cavity.mode_rows()).emissivity(frequency) for c in (alone, both)]
    torch.testing.assert_close(noise[1], noise[0], rtol=1e-12, atol=1e-14)


def test_an_axisymmetric_tm_mode_can_be_seen_and_its_derivatives_are_those_of_the_records() -> None:
    """TM012 with a coupling of its own: records, a device, the forward model and its derivatives, the bound."""
    modes = [
        {"name": "TE011"},
        {"name": "TM012", "resonance_hz": 25.93e9, "couplings": [[0.7, 40.0]]},
        {"name": "TE111"},
    ]
    config = SimulationConfig.from_dict({"cavity": {"modes": modes}, "readout": {"samples": 512}})
    assert list(abs(config.cavity.couplings[0]).round(3)) == [0.789, 0.7, 0.0, 0.0]
    few, model = sample_electrons(config, 3, 5), ForwardModel(config)
    parameters = parameters_of(few)
    columns = simulate_columns(config, few)
    made = columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]
    series, derivatives = model.jacobian(parameters)
    assert np.abs(series.numpy() - made).max() < 2e-6 * np.abs(made).max()
    source = DeviceElectrons(config)
    on_device = source.records(source.sent(few))[schema.SERIES_I].numpy()
    np.testing.assert_allclose(on_device, made.real, rtol=0, atol=1e-6 * np.abs(made).max())
    unseen = SimulationConfig.from_dict(
        {"cavity": {"modes": [modes[0], {"name": "TM012"}, modes[2]]}, "readout": {"samples": 512}}
    )
    assert np.abs(simulate_columns(unseen, few)[schema.SERIES_I] - made.real).max() > 1e-3 * np.abs(made).max()
    for column, step in enumerate((0.02, 1e-5, 3e-5, 1e-2, 3e-3, 1e-2)):
        shift = torch.zeros(6, dtype=torch.float64)
        shift[column] = step
        points = [model(parameters + scale * shift) - model(parameters - scale * shift) for scale in (0.5, 1.0)]
        expected = (8 * points[0] - points[1]) / (6 * step)
        error = (derivatives[:, column] - expected).norm(dim=1) / expected.norm(dim=1)
        assert float(error.max()) < 1e-4, PARAMETERS[column]
    bound = bound_of(Apparatus.from_config(config), freedom(config), parameters).std_of("energy_ev")
    assert bool(torch.isfinite(bound).all())


@pytest.mark.parametrize("order", [-3, -1, 0, 1, 2, 4])
def test_bessel_functions_of_any_order(order: int) -> None:
    x = np.linspace(0, 13.5, 28)
    values = torch.from_numpy(x)
    np.testing.assert_allclose(bessel_j(order, values).numpy(), jv(order, x), rtol=0, atol=1e-9)
    np.testing.assert_allclose(bessel_j_derivative(order, values).numpy(), jvp(order, x), rtol=0, atol=1e-9)


def lorentz_powers(field_t: float, radius: float, carrier: float, axial: float) -> dict[str, NDArray[np.float64]]:
    """Return the power into each mode, were it on resonance, by line: orders −8 to 8 of the axial frequency."""
    field, orders = QuadraticField(field_t, GRADIENT_LENGTH), np.arange(-8, 9)
    rates, length_s = carrier + orders * axial, PERIODS * 2 * np.pi / axial
    sums = {(name, side): np.zeros(len(orders), np.complex128) for name in MIXED for side in (0, 1)}
    weight = 0.0

    def induction(rho: Any, z: Any) -> tuple[Any, Any]:
        beyond, b_rho, _ = field.beyond_background(rho, z)
        return field_t + beyond, b_rho

    def add(motion: LorentzMotion) -> None:
        nonlocal weight
        inside = motion.times_s < length_s
        window = motion.weights_s * np.where(inside, 1 - np.cos(2 * np.pi * motion.times_s / length_s), 0.0)
        waves = np.exp(-1j * motion.times_s[:, None] * rates) * window[:, None]
        place, velocity = motion.place_m[:, 0], motion.velocity_m_per_s[:, 0]
        z, v_z = motion.axial_m[:, 0] + LENGTH / 2, motion.axial_velocity_m_per_s[:, 0]
        for name, side in sums:
            shape = ModeShape.of(name)
            m, k, beta = shape.azimuthal, shape.zero / RADIUS, shape.axial * np.pi / LENGTH
            rho, phi = np.abs(place), np.angle(place) - side * np.pi / (2 * m if m else 1)
            gradient = k * jvp(m, k * rho) * np.cos(m * phi) - 1j * m / rho * jv(m, k * rho) * np.sin(m * phi)
            gradient = gradient * place / rho
            if shape.electric:
                work = (np.conj(1j * gradient / k) * velocity).real * np.sin(beta * z)
            else:
                work = -beta / k**2 * (np.conj(gradient) * velocity).real * np.sin(beta * z)
                work = work + jv(m, k * rho) * np.cos(m * phi) * v_z * np.cos(beta * z)
            sums[name, side] += 2 * work @ waves
        weight += float(window.sum())

    integrate_lorentz(induction, np.array([ENERGY]), np.array([PITCH_DEG]), np.array([radius]), length_s, add)
    powers = dict.fromkeys(MIXED, np.zeros(len(orders)))
    for (name, side), lines in sums.items():
        shape = ModeShape.of(name)
        if side and not shape.azimuthal:
            continue
        norm = shape.squared_norm_m3(RADIUS, LENGTH)
        unit = ELEMENTARY_CHARGE_C**2 * 400 / (4 * np.pi * 25.905e9 * VACUUM_PERMITTIVITY_F_PER_M * norm)
        powers[name] = powers[name] + unit * np.abs(lines / weight) ** 2
    return powers
