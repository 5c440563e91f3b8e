"""Mixtures of gases: constants against their sums, drawn scatterings against the cross-sections."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binomtest

from cres.errors import UserError
from cres.physics import gas
from cres.physics.gases import (
    HYDROGEN_BETHE_CONSTANT,
    MOLECULES,
    RYDBERG_EV,
    GasMixture,
    hydrogen_strength,
    known_gases,
)
from cres.simulation import SimulationConfig
from cres.simulation.scattering import draw_kick, track_time_s
from cres.simulation.scattering_config import ScatteringConfig

KINETIC_EV = 18_600.0
AIR = {"T2": 0.6, "HT": 0.1, "He3": 0.1, "Kr": 0.1, "H": 0.1}


def test_the_bethe_constant_of_hydrogen_follows_from_strengths_and_form_factor() -> None:
    """Inokuti 1971: C = M² ln 4 + I₁ − I₂ − 2L(−1), by quadrature over x = (Ka₀)² and over the spectrum."""

    def incoherent(x: float) -> float:
        return 1 - (1 + x / 4) ** -4

    def continuum(e: float) -> float:  # df/dE of hydrogen, E in Rydberg
        k = np.sqrt(max(e - 1, 1e-12))
        return 2**7 / 3 / e**4 * np.exp(-4 / k * np.arctan(k)) / -np.expm1(-2 * np.pi / k)

    def over(weight) -> float:  # type: ignore[no-untyped-def]
        return sum(quad(lambda e: continuum(e) * weight(e), a, b)[0] for a, b in ((1, 20), (20, np.inf)))

    levels = np.arange(2, 3000)
    strength = np.array([hydrogen_strength(int(n)) for n in levels])
    energy = 1 - 1 / levels.astype(float) ** 2
    assert strength[0] == pytest.approx(0.4162, abs=1e-4)
    assert strength.sum() + over(lambda _: 1.0) == pytest.approx(1, abs=1e-6)
    square = (strength / energy).sum() + over(lambda e: 1 / e)
    assert square == pytest.approx(1, abs=1e-6)  # ⟨r²⟩/3 of the ground state
    logarithm = (strength / energy * np.log(energy)).sum() + over(lambda e: np.log(e) / e)
    far = quad(lambda x: incoherent(x) / x**2, 1, np.inf)[0]
    near = quad(lambda x: (1 - incoherent(x) / x) / x, 1e-9, 1)[0]
    assert np.log(4) + far - near - 2 * logarithm == pytest.approx(HYDROGEN_BETHE_CONSTANT, abs=2e-4)


@pytest.mark.parametrize(
    ("name", "strength", "square"),
    [("H", 0.4343, 0.2834), ("He3", 1.605, 0.489)],  # Kim and Rudd 1994, table I; M² of ionisation: Inokuti 1971
)
def test_strengths_of_the_continuum_have_their_published_moments(name: str, strength: float, square: float) -> None:
    one = known_gases()[name]
    assert one is not None
    powers = list(enumerate(one.ionisation.strength, start=2))
    assert sum(c / (p - 1) for p, c in powers) == pytest.approx(strength, abs=1e-3)
    moment = sum(c / p for p, c in powers) * RYDBERG_EV / one.ionisation.binding_ev
    assert moment == pytest.approx(square, abs=2e-3)


def test_cross_sections_have_the_size_that_is_published() -> None:
    gases = known_gases()
    hydrogen, helium, krypton = gases["H"], gases["He"], gases["Kr"]
    assert hydrogen is not None
    assert helium is not None
    assert krypton is not None
    ionised = hydrogen.inelastic_m2 * (1 - sum(part for _, part in hydrogen.lines))
    assert ionised == pytest.approx(9.7e-23, rel=0.02)  # Bethe, M² = 0.2834: 9e-23 m²
    assert 0.4 < helium.inelastic_m2 / gas.INELASTIC_CROSS_SECTION_M2 < 0.52
    assert hydrogen.inelastic_m2 < gas.INELASTIC_CROSS_SECTION_M2 < 2 * hydrogen.inelastic_m2
    # minimum-ionising: 67 · 1.87e-24 m² make 34 primary ionisations a cm of krypton at 0 °C
    assert 8e-22 < krypton.inelastic_m2 < 1.1e-21
    assert 10 < krypton.elastic_m2(KINETIC_EV) / helium.elastic_m2(KINETIC_EV) < 300


@pytest.mark.parametrize("name", ["H", "He", "Kr"])
def test_losses_have_the_mean_of_their_shape_and_are_the_inverse(name: str) -> None:
    one = known_gases()[name]
    assert one is not None
    excited = sum(part for _, part in one.lines)
    shares = np.linspace(0, 1, 200_001)[1:-1]
    losses = one.loss_quantile_ev(shares)
    assert bool((np.diff(losses) >= 0).all())
    assert losses[-1] <= KINETIC_EV / 2 + 1
    for line, _ in one.lines[:1]:
        assert np.mean(losses == line) > 0
    ionised = losses[shares > excited]
    assert ionised.min() >= one.ionisation.binding_ev * 0.999
    grid = np.geomspace(one.ionisation.binding_ev, KINETIC_EV / 2, 20_001)
    shape = one.ionisation.shape(grid, KINETIC_EV)
    mean = np.trapezoid(grid * shape, grid) / np.trapezoid(shape, grid)
    assert ionised.mean() == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("name", ["He", "Kr"])
def test_elastic_angles_follow_the_screened_amplitude(name: str) -> None:
    one = known_gases()[name]
    assert one is not None
    k = np.sqrt(KINETIC_EV * (KINETIC_EV + 2 * 510_998.95)) * 137.035999 / 510_998.95
    radius = 0.885 * one.nuclear_charge ** (-1 / 3)
    angle = np.concatenate([np.linspace(0, 0.5, 100_001), np.linspace(0.5, np.pi, 20_001)[1:]])
    middle = (angle[1:] + angle[:-1]) / 2
    amplitude = 2 * one.nuclear_charge / ((2 * k * np.sin(middle / 2)) ** 2 + radius**-2)
    weight = amplitude**2 * 2 * np.pi * (np.cos(angle[:-1]) - np.cos(angle[1:]))
    assert one.elastic_m2(KINETIC_EV) == pytest.approx(weight.sum() * gas.BOHR_RADIUS_M**2, rel=1e-3)
    shares = np.array([0.05, 0.3, 0.7, 0.95])
    below = np.interp(one.elastic_angle_rad(shares, np.full(4, KINETIC_EV)), angle, np.append(0, np.cumsum(weight)))
    np.testing.assert_allclose(below / weight.sum(), shares, atol=2e-3)


def test_a_mixture_is_the_sum_of_its_parts() -> None:
    mixture = GasMixture(tuple(AIR.items()))
    elastic, inelastic = mixture.cross_sections_m2(KINETIC_EV)
    for row, (name, part) in enumerate(AIR.items()):
        alone = GasMixture(((name, 1.0),)).cross_sections_m2(KINETIC_EV)
        np.testing.assert_allclose([elastic[row], inelastic[row]], np.array(alone)[:, 0] * part)
    total = elastic.sum() + inelastic.sum()
    assert mixture.mean_track_time_s(KINETIC_EV, 1e18)[0] == pytest.approx(1 / (1e18 * total * 7.875e7), rel=1e-3)
    count = 40_000
    draws = np.random.default_rng(1).random((count, 3))
    loss, angle = mixture.kick(np.full(count, KINETIC_EV), draws)
    assert binomtest(int((loss == 0).sum()), count, float(elastic.sum() / total)).pvalue > 1e-4
    on_helium = int((loss == 21.218).sum())
    helium = known_gases()["He3"]
    assert helium is not None
    part = float(inelastic[2, 0]) * helium.lines[0][1] / total
    assert binomtest(on_helium, count, part).pvalue > 1e-4
    assert bool((angle >= 0).all())


@pytest.mark.parametrize("gases", [{}, {"T2": 1.0}, {"T2": 0.5, "HT": 0.5}, dict.fromkeys(MOLECULES, 1 / 6)])
def test_molecules_of_hydrogen_are_tritium_to_an_electron(gases: dict[str, float]) -> None:
    """And of tritium alone every number is what it was: the twin is written out."""
    config = ScatteringConfig(density_per_m3=1e18, gases=gases)
    draws, kinetic = np.random.default_rng(2).random((500, 3)), np.full(500, KINETIC_EV)
    elastic, inelastic = gas.elastic_cross_section_m2(KINETIC_EV), gas.inelastic_cross_section_m2(KINETIC_EV)
    np.testing.assert_allclose(
        track_time_s(config, kinetic, draws[:, 0]), -np.log1p(-draws[:, 0]) * gas.mean_track_time_s(KINETIC_EV, 1e18)
    )
    if len(gases) < 2:
        loss = np.asarray(gas.energy_loss_quantile_ev(draws[:, 1], kinetic))
        is_elastic = draws[:, 0] * (inelastic + elastic) < elastic
        np.testing.assert_array_equal(draw_kick(config, kinetic, draws).loss_ev, np.where(is_elastic, 0.0, loss))


@pytest.mark.parametrize(
    ("gases", "message"),
    [
        ({"T2": 0.5, "Kr": 0.4}, "sum to 0.9; they must sum to 1"),
        ({"T3": 1.0}, "'T3', did you mean|names 'T3'"),
        ({"T2": 1.2, "Kr": -0.2}, "fraction of T2 is 1.2"),
        ({"T2": "much"}, "gases, T2 must be of type float, not 'much'"),
    ],
)
def test_mistakes_are_one_sentence(gases: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulationConfig.from_dict({"scattering": {"density_per_m3": 1e18, "gases": gases}})


def test_a_configuration_with_gases_is_read_again() -> None:
    config = SimulationConfig.from_dict({"scattering": {"density_per_m3": 1e18, "gases": AIR}})
    assert SimulationConfig.from_dict(config.to_dict()) == config
    assert dataclasses.asdict(config.scattering)["gases"] == AIR
