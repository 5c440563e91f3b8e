"""Lines of 83mKr: consistent with the transition's energy and krypton's binding energies; their distributions."""

import numpy as np
import pytest
from scipy import stats

from cres.physics.krypton import K_32, LINES, line_quantile_ev, lines_between

TRANSITION_EV = 32_151.6
# electron binding energies of krypton: X-ray Data Booklet, LBNL/PUB-490, table 1-1 (2009)
BINDING_EV = {
    "K": 14_326,
    "L1": 1_921.0,
    "L2": 1_730.9,
    "L3": 1_678.4,
    "M1": 292.8,
    "M2": 222.2,
    "M3": 214.4,
    "M4": 95.0,
    "M5": 93.8,
    "N1": 27.5,
    "N2": 14.1,
    "N3": 14.1,
}


def test_energies_are_those_of_the_transition_less_the_binding_energies() -> None:
    for line in LINES:
        recoil = line.energy_ev / (2 * 82.914 * 931.494e6 / 1.022e6) * (1 + line.energy_ev / 1.022e6)
        bound = TRANSITION_EV - line.energy_ev - recoil
        tolerance = 4.0 if line.name == "L1-32" else 1.5  # L1: solid-state table, 1921 against 1924.6 eV in the gas
        assert bound == pytest.approx(BINDING_EV[line.name.split("-")[0]], abs=tolerance), line.name


def test_all_decays_of_the_transition_convert() -> None:
    """The conversion coefficient is about 2000 (Vénos et al. 2018): the photon has 0.05 %."""
    assert sum(line.intensity for line in LINES) == pytest.approx(99.95, abs=0.3)


def test_a_line_alone_is_its_lorentzian_cut_to_the_window() -> None:
    generator = np.random.default_rng(1)
    energy = line_quantile_ev(generator.random(20_000), generator.random(20_000), 17_800.0, 17_850.0, (K_32,))
    low, high = K_32.distribution([17_800.0, 17_850.0])
    assert stats.kstest(energy, lambda e: (K_32.distribution(e) - low) / (high - low)).pvalue > 1e-3
    assert stats.kstest(energy, lambda e: (K_32.distribution(e - 0.05) - low) / (high - low)).pvalue < 1e-3


def test_lines_are_chosen_by_intensity_within_the_window() -> None:
    generator = np.random.default_rng(2)
    energy = line_quantile_ev(generator.random(50_000), generator.random(50_000), 30_300.0, 30_600.0)
    assert energy.min() >= 30_300.0
    assert energy.max() <= 30_600.0
    share = (np.abs(energy - 30_472.2) < 20).mean()
    assert share == pytest.approx(37.8 / (37.8 + 24.3) * 0.983, abs=0.01)


def test_quantiles_invert_and_sharp_lines_stay_sharp() -> None:
    probability = np.linspace(0.01, 0.99, 7)
    for line in LINES:
        if line.width_ev > 0:
            np.testing.assert_allclose(line.distribution(line.quantile_ev(probability)), probability, rtol=1e-9)
    assert [line.name for line in lines_between(32_100.0, 32_200.0)] == ["N1-32", "N2-32", "N3-32"]
    sharp = line_quantile_ev(np.full(3, 0.999), probability[:3], 32_137.0, 32_138.0)
    np.testing.assert_allclose(sharp, 32_137.4, atol=1e-6)


def test_a_window_without_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="no line reaches"):
        line_quantile_ev([0.5], [0.5], 20_000.0, 20_010.0, LINES[-1:])
