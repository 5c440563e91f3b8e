"""The page of constants says what the code holds, and what it says of differences is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cres.physics import beta, beta_corrections, gas, krypton
from cres.physics.constants import ELECTRON_MASS_EV

PAGE = (Path(__file__).parents[2] / "docs/concepts/constants.md").read_text()
# LisaSchlueter/Samak, simulation/GetElossPara.m: the collaboration's preliminary fit of May 2019 to T₂
PRELIMINARY = ((0.0313912, 11.9359493, 0.1797124), (0.2981921, 12.8267238, 0.4707867), (0.0764888, 14.9725935, 0.87))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (beta.Q_VALUE_EV, "18 592.071"),
        (beta.T2_ENDPOINT_EV, "18 574.06"),
        (beta.T_ENDPOINT_EV, "18 564.02"),
        (beta_corrections.AXIAL_TO_VECTOR, "1.2754"),
        (beta_corrections.MAGNETIC_MOMENT_DIFFERENCE, "5.107"),
        (beta_corrections.HELION_MASS, "5 497.885"),
        (beta_corrections.SCREENING_POTENTIAL_EV, "76 eV"),
        (1e3 * beta_corrections.HELION_RADIUS, "2.884"),
        (krypton.K_32.energy_ev, "17 824.2"),
        (krypton.K_32.width_ev, "2.774"),
        (1e22 * gas.INELASTIC_CROSS_SECTION_M2, "3.62"),
        (1e23 * float(gas.elastic_cross_section_m2(18_600.0)), "2.95"),
        (gas.IONISATION_EV, "15.487"),
        *((place, f"{place:.3f}") for _, place, _ in gas._EXCITATIONS),
    ],
)
def test_the_page_has_the_values_of_the_code(value: float, written: str) -> None:
    assert written in PAGE
    digits = written.removesuffix(" eV").replace(" ", "")
    decimals = len(digits.partition(".")[2])
    assert round(value, decimals) == float(digits)


def test_the_endpoints_are_what_the_cited_papers_subtract() -> None:
    # KATRIN 2021: 16.29 eV of binding energies; recoil of a molecule of 6 u by the electron's momentum, in eV
    momentum_squared = beta.T2_ENDPOINT_EV * (beta.T2_ENDPOINT_EV + 2 * ELECTRON_MASS_EV)
    recoil = momentum_squared / (2 * 6.0321 * 931_494_102.4)
    assert recoil == pytest.approx(1.72, abs=0.01)
    assert pytest.approx(16.29 + recoil, abs=0.01) == beta.Q_VALUE_EV - beta.T2_ENDPOINT_EV
    # project8/mermithid, Constants_numericalunits.py: 18574.01 eV of Myers et al. 2015, 18563.251 eV of an older Q
    assert pytest.approx(18_592.01 - 18_574.01, abs=0.02) == beta.Q_VALUE_EV - beta.T2_ENDPOINT_EV
    assert pytest.approx(18_591.3 - 18_563.251, abs=0.01) == beta.Q_VALUE_EV - beta.T_ENDPOINT_EV


def test_the_coupling_hardly_changes_the_spectrums_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = np.linspace(beta.T2_ENDPOINT_EV - 200, beta.T2_ENDPOINT_EV - 1, 200)
    now = beta.electron_factor(energy, beta.T2_ENDPOINT_EV, beta.CORRECTIONS)
    monkeypatch.setattr(beta_corrections, "AXIAL_TO_VECTOR", 1.265)
    before = beta.electron_factor(energy, beta.T2_ENDPOINT_EV, beta.CORRECTIONS)
    slope = np.polyfit(energy - energy.mean(), now / before, 1)[0]
    # d ln(rate)/dE₀ = 2/(E₀ − K): a slope of the shape of s per eV moves an endpoint by less than s × 200² eV
    assert abs(slope) * 200**2 < 1e-4


def test_the_energy_loss_is_near_the_preliminary_one() -> None:
    for (amplitude, place, width), (others, at, wide) in zip(gas._EXCITATIONS, PRELIMINARY, strict=True):
        assert place == pytest.approx(at, abs=0.023)
        assert amplitude == pytest.approx(others, rel=0.05)
        assert width == pytest.approx(wide, rel=0.05)

    def mean(groups: tuple[tuple[float, float, float], ...]) -> float:
        area = [amplitude * width for amplitude, _, width in groups]
        return float(np.average([place for _, place, _ in groups], weights=area))

    assert mean(PRELIMINARY) == pytest.approx(mean(gas._EXCITATIONS), abs=0.003)
