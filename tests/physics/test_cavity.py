import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import j1

from cres.physics import cavity_power_w, cyclotron_frequency_hz
from cres.physics.cavity import J1_ZEROS, axial_profile, mode_frequency_hz, port_share, radial_coupling

CAVITY = {"cavity_radius_m": 7.063e-3, "cavity_length_m": 0.150, "loaded_q": 400.0, "mode_frequency_hz": 25.905e9}


def power(radius: float = 3.4e-3, axial: float = 0.0, field: float = 0.95903) -> float:
    return float(cavity_power_w(18_600.0, 90.0, radius, axial, field_t=field, **CAVITY))


def test_mode_frequency_of_the_default_cavity() -> None:
    assert mode_frequency_hz(7.063e-3, 0.150) == pytest.approx(25.905e9, rel=5e-4)


def test_power_at_the_antinode() -> None:
    assert power() == pytest.approx(3.7e-15, rel=0.02)


def test_power_vanishes_on_the_axis_at_the_wall_and_at_the_ends() -> None:
    for nothing in (power(radius=0.0), power(radius=7.063e-3), power(axial=0.075)):
        assert nothing == pytest.approx(0.0, abs=1e-24)


def test_power_falls_with_detuning() -> None:
    on_resonance = 25.905e9 / float(cyclotron_frequency_hz(18_600.0, 1.0))
    half_width = on_resonance * (1 + 1 / 800)
    assert power(field=half_width) / power(field=on_resonance) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(("radius", "gyroradius"), [(0.0, 5e-4), (2e-3, 5e-4), (3.4e-3, 4.8e-4), (6e-3, 9e-4)])
def test_coupling_is_the_average_over_a_turn(radius: float, gyroradius: float) -> None:
    """Work of E_φ on the gyrating electron, its quadratures added: slow twin of 2J₁(kρ)J₁'(kr_c)."""
    k = J1_ZEROS[0] / 7.063e-3
    turn = np.linspace(0, 2 * np.pi, 4097)[:-1]
    x, y = radius + gyroradius * np.cos(turn), gyroradius * np.sin(turn)
    distance = np.hypot(x, y)
    along = (x * np.cos(turn) + y * np.sin(turn)) / distance  # φ̂ · v̂
    work = np.mean(j1(k * distance) * along * np.exp(1j * turn))
    assert 2 * abs(work) == pytest.approx(abs(float(radial_coupling(radius, gyroradius, 7.063e-3))), abs=1e-10)


def test_mode_is_normalised_as_the_power_formula_says() -> None:
    """∫ J₁²(kρ) sin²(πz'/L) dV = π R² L J₀²(x)/2, the volume in `antinode_power_w`."""
    k = J1_ZEROS[0]
    integral, _ = dblquad(lambda r, z: j1(k * r) ** 2 * np.sin(np.pi * z) ** 2 * 2 * np.pi * r, 0, 1, 0, 1)
    assert integral == pytest.approx(np.pi * 0.40275939570255295**2 / 2, rel=1e-8)


def test_axial_profile_and_port() -> None:
    np.testing.assert_allclose(axial_profile([0.0, 0.075, -0.075], 0.15), [1, 0, 0], atol=1e-15)
    assert port_share(400.0, 1060.0) == pytest.approx(1.65 / 2.65)
