"""Electrons read by weighted samples: the closed case of a Gaussian, and two energies of one electron."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cres.endpoint.analysis import Options, analyse
from cres.endpoint.endpoint_interval import interval_of_profile
from cres.endpoint.examples import example_tables
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.likelihood import NUISANCES, PARAMETERS, EndpointLikelihood, FitWindow, make_constraints
from cres.endpoint.pseudo import Experiment
from cres.endpoint.quality import samples_warnings
from cres.endpoint.report import summary_lines
from cres.endpoint.sampled import SampledEnergies
from cres.errors import UserError
from cres.evaluation.weighted import PRIOR_ENERGY, VALUES, WeightedSamples
from cres.physics.beta import T2_ENDPOINT_EV

WINDOW = FitWindow(T2_ENDPOINT_EV - 30.0, T2_ENDPOINT_EV + 20.0)
EXPERIMENT = Experiment(electrons=300.0, background_fraction=0.02, window=WINDOW)
LEVELS = (np.arange(400) + 0.5) / 400


def point(**changes):
    values = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES
    return values | {"endpoint_ev": T2_ENDPOINT_EV, "signal": 290.0, "background": 6.0} | changes


def as_samples(energy_ev: np.ndarray, std_ev: np.ndarray, proposal: float = 1.0) -> SampledEnergies:
    """Samples of Gaussians that lie evenly; of a proposal so many times as wide, with the weights that mend it."""
    from scipy.stats import norm

    pull = proposal * norm.ppf(LEVELS)
    weights = norm.pdf(pull) / norm.pdf(pull / proposal)
    shape = (len(energy_ev), len(LEVELS))
    return SampledEnergies(energy_ev[:, None] + std_ev[:, None] * pull, np.broadcast_to(weights / weights.sum(), shape))


@pytest.fixture(scope="module")
def closed():
    energy, std, _ = EXPERIMENT.generate(np.random.default_rng(4))
    return EndpointLikelihood(energy, std, EXPERIMENT.response(), WINDOW)


@pytest.mark.parametrize("proposal", [1.0, 2.0])
def test_samples_of_gaussians_give_the_closed_likelihood(closed, proposal):
    samples = as_samples(closed.energy_ev, closed.std_ev, proposal)
    # the closed case has no bias, tail or regression to the prior: the ideal response
    sampled = replace(closed, samples=samples)
    for values in (point(), point(endpoint_ev=T2_ENDPOINT_EV + 2), point(signal=250.0, background=40.0)):
        assert sampled.nll(values) == pytest.approx(closed.nll(values), abs=0.1)
    there, here = fit_endpoint(sampled, minos=("endpoint_ev",)), fit_endpoint(closed, minos=("endpoint_ev",))
    assert there.endpoint_ev == pytest.approx(here.endpoint_ev, abs=0.05 * here.endpoint_error_ev)
    interval = interval_of_profile(there)
    assert interval.found
    assert interval.low_ev < there.endpoint_ev < interval.high_ev


def test_without_their_weights_samples_of_a_wide_proposal_are_wrong(closed):
    right = as_samples(closed.energy_ev, closed.std_ev, 2.0)
    flat = replace(right, weights=np.full_like(right.weights, 1 / right.weights.shape[1]))
    wanted = closed.nll(point())
    assert abs(replace(closed, samples=flat).nll(point()) - wanted) > 5 * abs(
        replace(closed, samples=right).nll(point()) - wanted
    )


def test_the_resolution_scale_widens_the_samples(closed):
    constraints = make_constraints({"resolution_scale": 0.1})
    plain = closed.with_constraints(constraints)
    sampled = replace(plain, samples=as_samples(closed.energy_ev, closed.std_ev))
    for scale in (0.9, 1.1):
        moved = [one.nll(point(resolution_scale=scale)) - one.nll(point()) for one in (plain, sampled)]
        assert moved[1] == pytest.approx(moved[0], abs=0.05)
    assert sampled.with_constraints({}).samples is sampled.samples


def test_an_electron_of_two_energies_counts_at_both(closed):
    """One electron of either energy: the density is the mean of those of two sure electrons."""
    energy = np.array([T2_ENDPOINT_EV - 20.0, T2_ENDPOINT_EV - 12.0])
    grid = closed.model.grid_ev
    samples = SampledEnergies(np.array([energy]), np.array([[0.3, 0.7]]))
    shape = closed.model.shape(T2_ENDPOINT_EV, 0.0)
    wanted = 0.3 * np.interp(energy[0], grid, shape) + 0.7 * np.interp(energy[1], grid, shape)
    assert float((samples.matrix(grid) @ shape)[0]) == pytest.approx(wanted)


def test_who_has_too_few_samples_is_read_by_the_error_bar(closed):
    samples = as_samples(closed.energy_ev, closed.std_ev)
    weights = samples.weights.copy()
    weights[::2] = 0.0
    half = replace(closed, samples=replace(samples, weights=weights))
    assert half.nll(point()) == pytest.approx(closed.nll(point()), abs=0.1)
    assert replace(closed, samples=replace(samples, weights=0 * weights)).nll(point()) == pytest.approx(
        closed.nll(point()), abs=1e-9
    )


def test_samples_find_their_electrons():
    values = {name: np.arange(60.0).reshape(2, 30) for name in VALUES}
    weights = np.zeros((2, 30))
    weights[1, 1:] = -np.inf
    samples = WeightedSamples(np.array([8, 3]), values, weights)
    there, ones = np.array([45.0, 15.0, 15.0]), np.ones(3)
    found = SampledEnergies.of(samples, np.array([3, 8, 5]), there, ones)
    assert found.known.tolist() == [False, True, False]  # one effective sample, thirty, none
    np.testing.assert_array_equal(found.energy_ev[1], values["energy_ev"][0])
    with pytest.raises(UserError, match="other electrons"):
        SampledEnergies.of(samples, np.array([1, 2]), there[:2], ones[:2])
    # of other electrons that are numbered alike
    with pytest.raises(UserError, match="same event ids"):
        SampledEnergies.of(samples, np.array([3, 8, 5]), there + 20, ones)


def of_table(table) -> WeightedSamples:
    """Samples of what a table's error bars say."""
    energy, std = table.mean("energy_ev"), table.std("energy_ev")
    drawn = as_samples(energy, std)
    values = dict.fromkeys(VALUES, drawn.energy_ev)
    return WeightedSamples(table.event_id, values, np.log(drawn.weights), {}, {PRIOR_ENERGY: "[18500, 18700]"})


def test_an_analysis_reads_the_samples_of_its_table():
    data, calibration = example_tables(1500, 1200, 18_576.9, seed=4)
    samples, options = of_table(data), Options(systematics=False)
    found = analyse(data, calibration, options, samples)
    plain = analyse(data, calibration, replace(options, limit=False))
    assert found.limit is None
    assert found.fit.endpoint_ev == pytest.approx(plain.fit.endpoint_ev, abs=0.5 * plain.statistical_ev)
    assert found.statistical_ev == pytest.approx(plain.statistical_ev, rel=0.3)
    said = "\n".join(summary_lines(found))
    assert "read by their weighted samples" in said
    assert "mass is not scanned" in said
    json.dumps(found.to_dict())
    assert not any("made for energies" in sentence for sentence in found.warnings)


def test_samples_whose_prior_ends_within_the_window_are_told():
    samples = WeightedSamples(np.zeros(0, np.int64), {}, np.zeros((0, 1)), {}, {PRIOR_ENERGY: "[18550, 18700]"})
    assert "18550.0 to 18700.0 eV" in samples_warnings(samples, WINDOW)[0]
    assert not samples_warnings(replace(samples, attributes={}), WINDOW)
    with pytest.raises(UserError, match=r"\[low, high\]"):
        samples_warnings(replace(samples, attributes={PRIOR_ENERGY: "all"}), WINDOW)
