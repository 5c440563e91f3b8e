from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cres.errors import UserError
from cres.estimation.inversion import energy_and_pitch, energy_from_carrier
from cres.estimation.simple.carrier import CarrierCurve
from cres.estimation.simple.local_spread import LocalSpread
from cres.physics.cyclotron import cyclotron_frequency_hz
from cres.simulation import SimulationConfig
from cres.simulation.trapping import make_trap

TRAP = make_trap(SimulationConfig.default().trap)


@settings(max_examples=40, deadline=None)
@given(st.floats(18_000, 19_000), st.floats(87.0, 89.99))
def test_carrier_and_axial_frequency_give_back_energy_and_pitch(energy: float, pitch: float) -> None:
    k, theta, radius = np.array([energy]), np.array([pitch]), np.zeros(1)
    carrier = cyclotron_frequency_hz(k, TRAP.average_field_t(k, theta, radius))
    found = energy_and_pitch(TRAP, carrier, TRAP.axial_frequency_hz(k, theta, radius))
    assert found[0][0] == pytest.approx(energy, abs=1e-5)
    assert found[1][0] == pytest.approx(pitch, abs=1e-8)


def test_frequencies_out_of_reach_give_the_limits() -> None:
    carrier = np.full(2, 25.905e9)
    _, pitch = energy_and_pitch(TRAP, carrier, np.array([0.0, 1e9]), pitch_limits_deg=(85.0, 89.9))
    assert pitch == pytest.approx([89.9, 85.0], abs=1e-9)


def test_a_known_pitch_angle_needs_the_carrier_only() -> None:
    k, theta = np.array([18_600.0]), np.array([90.0])
    carrier = cyclotron_frequency_hz(k, TRAP.average_field_t(k, theta, np.zeros(1)))
    assert energy_from_carrier(TRAP, carrier, theta, np.zeros(1))[0] == pytest.approx(18_600.0, abs=1e-6)


def test_the_curve_follows_and_its_spread_covers() -> None:
    rng = np.random.default_rng(0)
    carrier = rng.uniform(-72e6, -58e6, 6000)
    width = 5 + 10 * (carrier + 72e6) / 14e6
    energy = 18_600 - 20e-6 * (carrier + 65e6) + width * rng.normal(size=6000)
    energy[:100] = rng.uniform(0, 1e5, 100)  # records whose peak is noise
    curve = CarrierCurve.fit(carrier[:4000], energy[:4000])
    value, std = curve(carrier[4000:])
    assert np.abs(value - (18_600 - 20e-6 * (carrier[4000:] + 65e6))).max() < 5
    assert np.mean(np.abs(value - energy[4000:]) < std) == pytest.approx(0.683, abs=0.035)


@pytest.mark.parametrize("fit", [CarrierCurve.fit, LocalSpread.fit])
def test_too_few_training_electrons_are_refused(fit) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="training electrons"):
        fit(np.arange(10.0), np.arange(10.0))
