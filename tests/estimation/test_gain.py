"""A gain that is known within a prior: bound, likelihood and posterior against slow twins, and where it is off."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, special

from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import LOSS_FREE, bound_of, freedom
from cres.estimation.bound.information import area_prior_precision, cramer_rao, fisher_information
from cres.estimation.fit.likelihood import FREE, LikelihoodEstimator
from cres.estimation.noise import White
from cres.estimation.radial.grid import exponent, log_ratio
from cres.estimation.radial.posterior import RadialEstimator
from cres.estimation.search.matched_filter import MatchedFilter
from cres.simulation import PARAMETERS, SimulationConfig, sample_electrons
from cres.simulation.parameters import parameters_of

BATHTUB = SimulationConfig.from_dict({"readout": {"samples": 4096}})
COILS = SimulationConfig.from_yaml(Path(__file__).parents[2] / "configs" / "simulation" / "coils.yaml")
ENERGY = "energy_ev"


def known_to(config: SimulationConfig, gain_std: float) -> SimulationConfig:
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, gain_std=gain_std))


def electrons(config: SimulationConfig, count: int = 6) -> torch.Tensor:
    drawn = sample_electrons(config, count, seed=5)
    return parameters_of(drawn)


def bound_ev(config: SimulationConfig, parameters: torch.Tensor, bound: str = "tied") -> torch.Tensor:
    return bound_of(Apparatus.from_config(config), freedom(config, bound), parameters).std_of(ENERGY)


@pytest.mark.parametrize("gain_std", [0.02, 0.2, 0.8])
@pytest.mark.parametrize(("norm", "overlap"), [(6.0, 0.7), (15.0, 1.0), (40.0, 1.1)])
def test_the_ratio_is_the_integral_over_the_gain(norm: float, overlap: float, gain_std: float) -> None:
    inner, power = norm**2 * overlap, norm**2

    def integrand(amplitude: float) -> float:
        prior = np.exp(-0.5 * ((amplitude - 1) / (gain_std / 2)) ** 2) / (np.sqrt(2 * np.pi) * gain_std / 2)
        log = amplitude * inner - amplitude**2 * power / 2 - inner**2 / power / 2
        return float(prior * special.i0e(amplitude * inner) * np.exp(log))

    places = np.linspace(1 - 2.5 * gain_std, 1 + 2.5 * gain_std, 41)
    integral = sum(integrate.quad(integrand, a, b)[0] for a, b in itertools.pairwise(places))
    found = log_ratio(*(torch.tensor([[value]], dtype=torch.float64) for value in (inner, power)), gain_std)
    assert float(found) == pytest.approx(np.log(integral) + inner**2 / power / 2, abs=0.02)


def test_a_gain_that_is_known_changes_nothing() -> None:
    inner, power = torch.rand(3, 4, dtype=torch.float64) * 90, torch.rand(3, 4, dtype=torch.float64) * 90
    torch.testing.assert_close(exponent(inner, power), inner - power / 2, rtol=0, atol=0)
    plain = torch.logsumexp(torch.special.i0e(inner).log() + inner - power / 2, 1) - np.log(4)
    torch.testing.assert_close(log_ratio(inner, power), plain, rtol=0, atol=1e-12)
    parameters = electrons(BATHTUB)
    torch.testing.assert_close(bound_ev(known_to(BATHTUB, 1e-6), parameters), bound_ev(BATHTUB, parameters))


def test_the_bound_with_a_prior_of_the_gain_in_a_bathtub() -> None:
    """The twin frees radius and amplitude of the forward model themselves, the amplitude under its prior."""
    config, parameters = known_to(BATHTUB, 0.3), electrons(BATHTUB)
    apparatus = Apparatus.from_config(config)
    information = fisher_information(apparatus.model, parameters, White(apparatus.noise_std_volt))
    twin = cramer_rao(information, PARAMETERS, {"amplitude": (0.3 / 2) ** -2}).std_of(ENERGY)
    torch.testing.assert_close(bound_ev(config, parameters), twin, rtol=2e-3, atol=0)
    known, free = bound_ev(BATHTUB, parameters), bound_ev(BATHTUB, parameters, LOSS_FREE)
    assert bool(((known < twin) & (twin < free)).all())
    assert float((twin / known).max()) > 1.02


def test_the_bound_with_a_prior_of_the_gain_between_coils() -> None:
    parameters = electrons(COILS, 3)
    apparatus = Apparatus.from_config(COILS)
    information = fisher_information(apparatus.model, parameters, White(apparatus.noise_std_volt))
    prior = {"amplitude": (0.1 / 2) ** -2, "radius_m": area_prior_precision(COILS.ensemble.radius_m[1])}
    twin = cramer_rao(information, PARAMETERS, prior).std_of(ENERGY)
    torch.testing.assert_close(bound_ev(known_to(COILS, 0.1), parameters), twin, rtol=1e-6, atol=0)
    assert bool((twin > bound_ev(COILS, parameters)).all())


@pytest.fixture(scope="module")
def records() -> tuple[torch.Tensor, torch.Tensor]:
    """Resolved electrons of the bathtub: parameters, and records with noise."""
    parameters = electrons(BATHTUB, 40)
    apparatus = Apparatus.from_config(BATHTUB)
    clean = apparatus.model(parameters)
    strong = clean.abs().square().sum(1).argsort(descending=True)[:12]
    noise = torch.randn(12, 4096, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return parameters[strong], clean[strong] + torch.view_as_complex(noise) * apparatus.noise_std_volt


def test_the_likelihood_integrates_the_gain_out(records: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The twin is the information of all six parameters at the fit, the amplitude under its prior."""
    _, data = records
    config = known_to(BATHTUB, 0.3)
    apparatus = Apparatus.from_config(config)
    found = LikelihoodEstimator(MatchedFilter(apparatus)).estimate(data)
    free = fisher_information(apparatus.model, found.parameters, White(apparatus.noise_std_volt))
    twin = cramer_rao(free, PARAMETERS, {"amplitude": (0.3 / 2) ** -2})
    known = LikelihoodEstimator(MatchedFilter(Apparatus.from_config(BATHTUB))).estimate(data)
    inner = found.parameters[:, 2] < 2.9e-3  # away from the radius of the strongest record, where the tie ends
    wider = (1 - 0.5 * len(FREE) / found.statistic[inner]).rsqrt()  # the fitted power holds noise
    for index, name in enumerate((ENERGY, "pitch_angle_deg")):
        torch.testing.assert_close(
            found.covariance[inner, index, index].sqrt(), wider * twin.std_of(name)[inner], rtol=0.02, atol=0
        )
    assert bool((found.covariance[:, 0, 0] >= 0.98 * known.covariance[:, 0, 0]).all())
    assert int(inner.sum()) >= 4


def test_a_fit_goes_to_the_joint_optimum(records: tuple[torch.Tensor, torch.Tensor]) -> None:
    """After the step the gradient by every parameter, and that of the gain with its prior, is gone."""
    _, data = records
    estimator = LikelihoodEstimator(MatchedFilter(Apparatus.from_config(known_to(BATHTUB, 0.3))))
    known = LikelihoodEstimator(MatchedFilter(Apparatus.from_config(BATHTUB)))
    moved, stayed = estimator.estimate(data).parameters, known.estimate(data).parameters
    assert not torch.equal(moved[:, 0], stayed[:, 0])
    spread = bound_ev(known_to(BATHTUB, 0.3), stayed)
    assert bool(((moved - stayed)[:, 0].abs() < 3 * spread).all())


def test_the_posterior_between_two_radii_is_wider() -> None:
    config = known_to(BATHTUB, 0.2)
    parameters = electrons(BATHTUB, 12)
    data = Apparatus.from_config(BATHTUB).model(parameters)
    counts = []
    for one in (BATHTUB, config):
        search = MatchedFilter(Apparatus.from_config(one))
        weight = RadialEstimator(search).grid(data, search(data).carrier_hz).weight
        counts.append(weight.sum(1).square() / weight.square().sum(1))
    assert float((counts[1] / counts[0]).median()) > 1.2


@pytest.mark.parametrize("value", [-0.1, 1.0, 7.0])
def test_impossible_priors_are_one_sentence(value: float) -> None:
    with pytest.raises(UserError, match="gain_std must lie in 0"):
        SimulationConfig.from_dict({"readout": {"gain_std": value}})
