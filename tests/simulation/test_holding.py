"""Traps of every kind: wells off the middle, unequal ends, bounds of cavity and band, electrons that go down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq

from cres import schema
from cres.errors import UserError
from cres.physics.cyclotron import cyclotron_frequency_hz, speed_m_per_s
from cres.physics.guiding import solve_bounce
from cres.simulation import ForwardModel, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.checks import electrons_at
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.electrons import draw_counted, draw_electrons, fate_of
from cres.simulation.holding import Fate
from cres.simulation.motion import Start
from cres.simulation.parameters import parameters_of
from cres.simulation.trapping import make_motion, make_trap
from cres.simulation.writer import simulate_to_files

TWO = [[0.02, -0.08, 42.0], [0.02, 0.08, 42.0]]


def coils(*rows: list[float], length_m: float = 0.16, **trap: Any) -> SimulationConfig:
    return SimulationConfig.from_dict(
        {
            "trap": {"kind": "coils", "field_t": 0.9587, "coils": list(rows), **trap},
            "cavity": {"length_m": length_m},
            "readout": {"samples": 512, "sampling_rate_hz": 1.6e9},
        }
    )


TRAPS = {
    "hump of 20 A": coils(*TWO, [0.02, 0.0, 20.0]),
    "hump of 1 A": coils(*TWO, [0.02, 0.0, 1.0]),
    "wells far out": coils(*TWO, [0.02, 0.0, 40.0]),
    "two wells of their own": coils([0.02, -0.05, -42.0], [0.02, 0.05, -42.0], length_m=0.3),
    "unequal wells": coils(*TWO, [0.02, 0.01, 20.0]),
    "one coil off the middle": coils([0.02, 0.01, -40.0], length_m=0.2),
}


@pytest.mark.parametrize("config", TRAPS.values(), ids=TRAPS)
def test_labels_are_those_of_the_trap(config: SimulationConfig) -> None:
    electrons = sample_electrons(config, 20, 0)
    columns = simulate_columns(config, electrons)
    solved = make_trap(config.trap).bounce(electrons.energy_ev, electrons.pitch_angle_deg, electrons.radius_m)
    carrier = cyclotron_frequency_hz(electrons.energy_ev, solved.average_field_t) - solved.drift_frequency_hz
    np.testing.assert_allclose(columns["start_carrier_frequency_Hz"], carrier, rtol=0, atol=1e3)
    np.testing.assert_allclose(columns["avg_axial_frequency_Hz"] * solved.period_s, 1, rtol=0, atol=1e-4)
    assert np.isfinite(columns[schema.SERIES_I]).all()


@pytest.mark.parametrize(("current_a", "near_deg"), [(20.0, 88.68), (35.0, 88.21)])
def test_electrons_that_hardly_pass_a_hump_are_drawn_again(current_a: float, near_deg: float) -> None:
    """Those that are held agree with a quadrature of four times the nodes; among those refused some do not."""
    config = coils(*TWO, [0.02, 0.0, current_a])
    trap = make_trap(config.trap)
    angles = near_deg + np.linspace(-0.02, 0.02, 120)
    electrons = electrons_at(len(angles), pitch_angle_deg=angles, radius_m=np.full(len(angles), 3e-3))
    start = electrons.energy_ev, electrons.pitch_angle_deg, electrons.radius_m
    exact = solve_bounce(trap.field, *start, trap.interval_m, True, 1536)
    solved = make_motion(config.trap).solve(Start(*map(torch.from_numpy, (start[0], np.deg2rad(angles), start[2]))))
    carrier, axial = (rate.numpy() / (2 * np.pi) for rate in solved.rates())
    carrier = carrier + exact.drift_frequency_hz
    off = np.abs(carrier - cyclotron_frequency_hz(start[0], exact.average_field_t))
    fate = fate_of(config, electrons)
    held = fate == Fate.HELD
    assert set(fate[~held]) == {Fate.LINGERING}
    assert off[held].max() < 100
    np.testing.assert_allclose((axial * exact.period_s)[held], 1, rtol=3e-6)
    assert np.nanmax(off[~held]) > 1e3


@pytest.mark.parametrize("name", ["hump of 20 A", "one coil off the middle"])
def test_the_trap_itself_against_an_integration_along_the_axis(name: str) -> None:
    """On the axis, without gyration: the lowest field, the turning points and the time between them."""
    trap, pitch_deg = make_trap(TRAPS[name].trap), 89.0
    solved = trap.bounce(18_600.0, pitch_deg, 0.0, gyroradius=False)
    z = np.linspace(*trap.interval_m, 200_001)
    field = np.asarray(trap.field_t(0.0, z))
    place = z[len(z) - 1 - int(np.argmin(field[::-1]))]
    assert float(solved.minimum_m[0]) == pytest.approx(place, abs=5e-6)
    turning = field.min() / np.sin(np.deg2rad(pitch_deg)) ** 2
    ends = [brentq(lambda x: float(trap.field_t(0.0, x)) - turning, place, place + side) for side in (-0.03, 0.03)]
    np.testing.assert_allclose([solved.low_m[0], solved.high_m[0]], ends, atol=1e-7)
    middle, reach = sum(ends) / 2, (ends[1] - ends[0]) / 2

    def slowness(u: float) -> float:
        local = float(trap.field_t(0.0, middle + reach * np.sin(u)))
        return reach * np.cos(u) / np.sqrt(max(1 - local / turning, 1e-18))

    time = quad(slowness, -np.pi / 2 + 1e-6, np.pi / 2 - 1e-6, limit=200)[0] * 2 / float(speed_m_per_s(18_600.0))
    assert float(solved.period_s[0]) == pytest.approx(time, rel=1e-5)


@pytest.mark.parametrize(
    ("one", "mirrored"),
    [
        (coils([0.02, -0.08, 30.0], [0.02, 0.08, 42.0]), coils([0.02, -0.08, 42.0], [0.02, 0.08, 30.0])),
        (coils(*TWO, background_gradient_t_per_m=4e-3), coils(*TWO, background_gradient_t_per_m=-4e-3)),
    ],
)
def test_either_end_loses_electrons(one: SimulationConfig, mirrored: SimulationConfig) -> None:
    refused = [draw_electrons(config, 60, 0)[1] for config in (one, mirrored)]
    assert refused[0] == refused[1] > 0


def test_electrons_outside_of_cavity_wall_and_band_are_drawn_again_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = {
        "cavity": {"length_m": 0.145},
        "ensemble": {"radius_m": [0, 6.9e-3]},
        "readout": {"samples": 64, "sampling_rate_hz": 131e6},
    }
    config = SimulationConfig.from_dict(tree)
    electrons, refused = draw_counted(config, 300, 0)
    assert set(refused) == {Fate.OUTSIDE, Fate.WALL, Fate.OUT_OF_BAND}
    turning = make_trap(config.trap).turning_point_m(electrons.energy_ev, electrons.pitch_angle_deg)
    assert np.max(turning) <= 0.145 / 2
    carrier = simulate_columns(config, electrons)["start_carrier_frequency_Hz"]
    assert np.abs(carrier - config.readout.lo_frequency_hz).max() <= 131e6 / 2
    files = simulate_to_files(config, 300, tmp_path / "out", 0)
    said = capsys.readouterr().out
    assert f"{refused.total()} draws were refused" in said
    assert f"{refused[Fate.OUT_OF_BAND]} out of the sampled band" in said
    assert pd.read_pickle(files[0]).attrs["refused_draws"] == refused.total()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"ensemble": {"kind": "krypton", "energy_ev": [30000, 30600]}}, "out of the sampled band.*lo_frequency_hz"),
        ({"readout": {"sampling_rate_hz": 100e6}}, "out of the sampled band.*sampling_rate_hz"),
        ({"cavity": {"length_m": 0.1}}, "turning outside of the cavity.*cavity.length_m"),
        ({"cavity": {"offset_m": 0.02}}, "turning outside of the cavity"),
        ({"trap": {"kind": "coils", "coils": [[0.02, -0.08, -42.0], [0.02, 0.08, 42.0]]}}, "outside of the cavity"),
        ({"trap": {"kind": "coils", "coils": [[0.02, 0.0, 40.0]]}}, "at least two coils.*negative current"),
        ({"trap": {"kind": "coils", "coils": []}}, "at least two coils"),
        ({"trap": {"kind": "coils", "coils": [[0.02, -0.08, 0.0], [0.02, 0.08, 1.0]]}}, "currents that are not zero"),
    ],
)
def test_an_apparatus_that_holds_nothing_says_why(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample_electrons(SimulationConfig.from_dict(tree), 2, 0)


def test_an_electron_above_ninety_degrees_goes_the_other_way() -> None:
    """91.3° is 88.7° half a bounce later: in records, on a device, in the forward model and its derivatives."""
    config = SimulationConfig.from_dict({"cavity": {"offset_m": 1e-3}, "readout": {"samples": 512}})
    down = electrons_at(2, pitch_angle_deg=np.array([91.3, 90.4]), axial_phase_rad=np.array([0.3, 2.0]))
    up = electrons_at(2, pitch_angle_deg=np.array([88.7, 89.6]), axial_phase_rad=np.array([0.3, 2.0]) + np.pi)
    made, expected = simulate_columns(config, down), simulate_columns(config, up)
    source = DeviceElectrons(config)
    on_device = source.records(source.sent(down))
    for name in (*schema.SERIES_COLUMNS, schema.CARRIER_FREQUENCY, schema.AXIAL_FREQUENCY):
        np.testing.assert_allclose(made[name], expected[name], rtol=1e-9, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(on_device[name].numpy(), expected[name], rtol=1e-9, atol=1e-7, err_msg=name)
    assert list(made[schema.PITCH_ANGLE]) == [91.3, 90.4]
    model = ForwardModel(config)
    points = [parameters_of(e) for e in (down, up)]
    (series, by), (series_up, by_up) = (model.jacobian(point) for point in points)
    torch.testing.assert_close(series, series_up, rtol=0, atol=1e-10)
    torch.testing.assert_close(by[:, 1], -by_up[:, 1], rtol=1e-6, atol=1e-9)


def test_an_ensemble_may_reach_above_ninety_degrees() -> None:
    for births in ("minimum", "field_line"):
        config = SimulationConfig.from_dict({"ensemble": {"pitch_angle_deg": [88, 92], "births": births}})
        pitch = sample_electrons(config, 2000, 1).pitch_angle_deg
        assert 0.45 < (pitch > 90).mean() < 0.55
        assert abs(np.median(np.abs(pitch - 90)) - 0.95) < 0.15


def test_fates_come_in_the_order_of_their_reasons() -> None:
    electrons = electrons_at(3, radius_m=np.array([3e-3, 7.0e-3, 3e-3]), pitch_angle_deg=np.array([89.0, 89.0, 80.0]))
    assert list(fate_of(SimulationConfig.default(), electrons)) == [Fate.HELD, Fate.WALL, Fate.OUTSIDE]
