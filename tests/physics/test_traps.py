import mpmath
import numpy as np
import pytest

from cres.physics import BathtubTrap, CoilTrap, HarmonicTrap, Trap, kinetic_energy_ev
from cres.physics.constants import ELECTRON_CYCLOTRON_HZ_PER_T
from cres.physics.cyclotron import lorentz_factor, speed_m_per_s
from cres.physics.fields import CoilField, coil_field, elliptic_ke

COILS = [(0.02, -0.08, 42.0), (0.02, 0.08, 42.0)]


def integrate_bounce(flat_m: float, length_m: float, pitch_deg: float) -> tuple[float, float]:
    """Axial frequency and mean field at B₀ = 0.96 T by quadrature with 30 digits: the slow twin of the closed forms."""
    with mpmath.workdps(30):
        rise = lambda z: (max(z - mpmath.mpf(flat_m) / 2, 0) / length_m) ** 2  # noqa: E731
        cotangent2 = mpmath.cot(mpmath.radians(mpmath.mpf(pitch_deg))) ** 2
        turning = mpmath.findroot(lambda z: rise(z) - cotangent2, (flat_m / 2 + length_m * mpmath.sqrt(cotangent2)))
        places = [0, mpmath.asin(flat_m / 2 / turning), mpmath.pi / 2] if flat_m else [0, mpmath.pi / 2]

        def time(u: mpmath.mpf) -> mpmath.mpf:
            left = (cotangent2 - rise(turning * mpmath.sin(u))) / (1 + cotangent2)
            return turning * mpmath.cos(u) / mpmath.sqrt(left) if left > 0 else mpmath.mpf(0)

        total = mpmath.quad(time, places)
        mean = mpmath.quad(lambda u: time(u) * rise(turning * mpmath.sin(u)), places) / total
    return float(speed_m_per_s(18_600.0)) / (4 * float(total)), 0.96 * (1 + float(mean))


@pytest.mark.parametrize("pitch", [86.0, 88.0, 89.0, 89.5])
@pytest.mark.parametrize("kind", ["harmonic", "bathtub"])
def test_closed_forms_against_numerical_integration(kind: str, pitch: float) -> None:
    trap = HarmonicTrap(0.96, 0.38) if kind == "harmonic" else BathtubTrap(0.96, 0.12, 0.38)
    frequency, mean = integrate_bounce(0.0 if kind == "harmonic" else 0.12, 0.38, pitch)
    assert float(trap.axial_frequency_hz(18_600.0, pitch, gyroradius=False)) == pytest.approx(frequency, rel=1e-9)
    assert float(trap.average_field_t(18_600.0, pitch, gyroradius=False)) == pytest.approx(mean, rel=1e-9)


def test_the_comparison_notices_a_wrong_flat_length() -> None:
    frequency, _ = integrate_bounce(0.12, 0.38, 88.0)
    wrong = BathtubTrap(0.96, 0.12 * (1 + 1e-6), 0.38)
    assert float(wrong.axial_frequency_hz(18_600.0, 88.0)) != pytest.approx(frequency, rel=1e-9)


def test_reference_numbers_of_the_default_trap() -> None:
    trap = BathtubTrap(0.95903, 0.12, 0.38)
    assert float(trap.axial_frequency_hz(18_600.0, 88.0)) == pytest.approx(8.5e6, rel=2e-3)
    assert float(trap.turning_point_m(18_600.0, 88.0)) == pytest.approx(73e-3, rel=5e-3)
    rise = float(trap.average_field_t(18_600.0, 88.0)) - 0.95903
    shift = ELECTRON_CYCLOTRON_HZ_PER_T * rise / float(lorentz_factor(18_600.0))
    assert shift == pytest.approx(4.1e6, rel=0.01)
    # 88° moves the mean carrier by 80 eV in the bathtub, by 320 eV in a harmonic trap
    for other, energy in ((trap, 80.0), (HarmonicTrap(0.95903, 0.38), 320.0)):
        carrier = ELECTRON_CYCLOTRON_HZ_PER_T * other.average_field_t(18_600.0, 88.0) / lorentz_factor(18_600.0)
        assert 18_600 - float(kinetic_energy_ev(carrier, 0.95903)) == pytest.approx(energy, rel=0.05)


def test_ninety_degrees() -> None:
    trap = BathtubTrap(1.0, 0.12, 0.38)
    assert float(trap.axial_frequency_hz(18_600.0, 90.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(trap.average_field_t(18_600.0, 90.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("trap", [BathtubTrap(0.96, 0.1, 0.4), HarmonicTrap(0.96, 0.4), CoilTrap(0.9587, COILS)])
def test_all_arguments_broadcast_and_agree_with_single_calls(trap: Trap) -> None:
    for method in (trap.axial_frequency_hz, trap.average_field_t, trap.turning_point_m, trap.drift_frequency_hz):
        table = method(np.array([[18e3], [19e3]]), np.array([88.3, 89.0, 89.9]), 3e-3)
        assert table.shape == (2, 3)
        np.testing.assert_allclose(table[1, 0], method(19e3, 88.3, 3e-3), rtol=1e-9)


def test_elliptic_integrals() -> None:
    # Abramowitz & Stegun, table 17.1: m = 0.5
    k, e = elliptic_ke(np.sqrt(0.5))
    assert k == pytest.approx(1.8540746773013719, rel=1e-15)
    assert e == pytest.approx(1.3506438810476755, rel=1e-15)


@pytest.mark.parametrize(("radius", "axial"), [(0.0, 0.01), (1e-5, 0.03), (3e-3, 0.01), (6e-3, -2e-3), (6.5e-3, 0.0)])
def test_coil_field_against_biot_savart(radius: float, axial: float) -> None:
    turn = np.arange(4000) * 2 * np.pi / 4000
    element = np.stack([-np.sin(turn), np.cos(turn), 0 * turn], 1) * 0.02 * 2 * np.pi / 4000
    way = np.array([radius, 0, axial]) - np.stack([0.02 * np.cos(turn), 0.02 * np.sin(turn), 0 * turn], 1)
    distance = np.linalg.norm(way, axis=1)[:, None]
    scale = 1.25663706127e-6 * 42 / (4 * np.pi)
    field = scale * (np.cross(element, way) / distance**3).sum(0)
    potential = scale * (element / distance).sum(0)[1]
    field_z, field_rho, flux = coil_field(np.float64(radius), np.float64(axial), 0.02, 42.0)
    np.testing.assert_allclose([field_z, field_rho], [field[2], field[0]], rtol=1e-9, atol=1e-14)
    assert flux == pytest.approx(radius * potential, rel=1e-8, abs=1e-20)


def test_the_field_of_the_coils_has_no_sources() -> None:
    """∂(ρA_φ)/∂ρ = ρB_z and ∂(ρA_φ)/∂z = −ρB_ρ, the background gradient included."""
    field = CoilField(0.9587, COILS, gradient_t_per_m=1e-3)
    radius, axial, step = np.array([1e-3, 4e-3, 6e-3]), np.array([0.02, -0.06, 0.075]), 1e-6
    across = (field.beyond_background(radius + step, axial)[2] - field.beyond_background(radius - step, axial)[2]) / 2
    along = (field.beyond_background(radius, axial + step)[2] - field.beyond_background(radius, axial - step)[2]) / 2
    field_z, field_rho, _ = field.beyond_background(radius, axial)
    np.testing.assert_allclose(across / step, radius * field_z, rtol=1e-6)
    np.testing.assert_allclose(along / step, -radius * field_rho, rtol=1e-6)


def test_harmonic_off_axis_and_gyration_against_quadrature() -> None:
    """The closed form's first order in z²/L₀² against the guiding-centre quadrature in the same vacuum field."""
    from cres.physics.traps import NumericalTrap

    class Quadratic:
        background_t = 0.96

        def beyond_background(self, radius_m, axial_m):
            z, rho = axial_m / 0.5, radius_m / 0.5
            shape = 0.96 * (z**2 - rho**2 / 2)
            flux = 0.96 * radius_m**2 * (z**2 / 2 - rho**2 / 8)
            return shape, -0.96 * rho * z, flux

        def excess_t(self, radius_m, axial_m):
            z, rho, _ = self.beyond_background(radius_m, axial_m)
            return np.hypot(0.96 + z, rho) - 0.96

    closed, numerical = HarmonicTrap(0.96, 0.5), NumericalTrap(Quadratic(), (-0.1, 0.1))
    arguments = (18_600.0, np.array([88.0, 88.5, 89.5])), {"radius_m": np.array([[0.0], [4e-3]])}
    for method, tolerance in (("axial_frequency_hz", 1e-6), ("average_field_t", 1e-8), ("turning_point_m", 1e-6)):
        expected = getattr(numerical, method)(*arguments[0], **arguments[1])
        np.testing.assert_allclose(getattr(closed, method)(*arguments[0], **arguments[1]), expected, rtol=tolerance)
    drift = numerical.drift_frequency_hz(*arguments[0], **arguments[1])
    np.testing.assert_allclose(closed.drift_frequency_hz(*arguments[0], **arguments[1]), drift, rtol=3e-3)
    # leaving the gyration out moves the carrier by 11 kHz at 88° in a harmonic trap of 0.5 m
    shift = closed.average_field_t(18_600.0, 88.0) - closed.average_field_t(18_600.0, 88.0, gyroradius=False)
    assert abs(float(shift)) * ELECTRON_CYCLOTRON_HZ_PER_T / 1.0364 == pytest.approx(11e3, rel=0.15)


def test_coil_trap_reference_numbers_and_escape() -> None:
    trap = CoilTrap(0.9587, COILS)
    assert float(trap.axial_frequency_hz(18_600.0, 88.15)) == pytest.approx(7e6, rel=0.02)
    assert np.isnan(trap.axial_frequency_hz(18_600.0, 85.0))
    with pytest.raises(ValueError, match="two coils"):
        CoilTrap(0.9587, COILS[:1])


def test_an_asymmetric_trap_has_its_own_minimum() -> None:
    level, tilted = CoilTrap(0.9587, COILS), CoilTrap(0.9587, COILS, gradient_t_per_m=2e-4)
    assert level.bounce(18_600.0, 89.0).minimum_m[0] == 0.0
    assert tilted.bounce(18_600.0, 89.0).minimum_m[0] < -1e-3
