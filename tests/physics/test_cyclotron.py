import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cres.physics import chirp_rate_hz_per_s, cyclotron_frequency_hz, kinetic_energy_ev, radiated_power_w
from cres.physics.constants import ELECTRON_MASS_EV
from cres.physics.cyclotron import gyroradius_m, lorentz_factor, speed_m_per_s


def test_golden_numbers() -> None:
    # CODATA 2022: 18.6 keV at 1 T
    assert float(cyclotron_frequency_hz(18_600.0, 1.0)) == pytest.approx(27.0092e9, rel=2e-5)
    assert float(lorentz_factor(18_600.0)) == pytest.approx(1.0364, abs=1e-5)
    assert float(speed_m_per_s(18_600.0)) == pytest.approx(7.875e7, rel=5e-5)
    assert float(gyroradius_m(18_600.0, 90.0, 0.95903)) == pytest.approx(0.484e-3, rel=2e-3)
    # Ashtari Esfahani et al. 2019 (arXiv:1901.02844), evaluated at 0.959 T
    assert float(radiated_power_w(18_600.0, 90.0, 0.95903)) == pytest.approx(1.081e-15, rel=1e-3)
    assert float(chirp_rate_hz_per_s(18_600.0, 90.0, 0.95903)) == pytest.approx(3.3e8, rel=5e-3)


@given(st.floats(100.0, 1e6), st.floats(0.01, 10.0))
def test_energy_and_frequency_round_trip(energy: float, field: float) -> None:
    there = cyclotron_frequency_hz(energy, field)
    assert float(kinetic_energy_ev(there, field)) == pytest.approx(energy, abs=1e-9 * ELECTRON_MASS_EV)


def test_arrays_broadcast() -> None:
    assert radiated_power_w(np.full((3, 1), 18e3), np.array([88.0, 90.0]), 1.0).shape == (3, 2)


def test_chirp_takes_a_given_power() -> None:
    free = radiated_power_w(18_600.0, 89.0, 1.0)
    twice = chirp_rate_hz_per_s(18_600.0, 89.0, 1.0, 2 * free)
    assert float(twice) == pytest.approx(2 * float(chirp_rate_hz_per_s(18_600.0, 89.0, 1.0)))
