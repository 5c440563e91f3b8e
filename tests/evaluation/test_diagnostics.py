"""Each diagnostic accepts a right posterior, and is shown to reject those that are wrong in the way it looks for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from cres import schema
from cres.errors import UserError
from cres.evaluation import PredictionTable, compare
from reconstruction.judging.measures.diagnostics import (
    FEWEST,
    coverage_at_levels,
    estimates_of,
    parts_of,
    rank_fractions,
    sbc_ranks,
    shape_in_words,
    sharpest,
    tarp_fractions,
    uniformity,
)
from reconstruction.judging.measures.posterior import Mixture, posterior_of
from reconstruction.judging.report.diagnostics_section import diagnostics_section
from reconstruction.models import Gaussian, GaussianMixture, Quantiles
from reconstruction.training.learning.metrics import posterior_columns

COUNT = 3000


def drawn_table(
    count: int = COUNT, *, std_scale: float = 1.0, bias: float = 0.0, correlation: float = 0.6, stated: float = 0.6
) -> PredictionTable:
    """Return a table whose errors have a correlation, and that states another one, widths and a bias (in σ)."""
    random = np.random.default_rng(3)
    truth = np.stack([random.normal(18_600, 50, count), random.normal(88, 1, count)], axis=1)
    width = np.stack([random.uniform(0.05, 0.5, count), random.uniform(0.01, 0.02, count)], axis=1)
    mix = np.linalg.cholesky([[1, correlation], [correlation, 1]])
    estimate = truth + width * (random.standard_normal((count, 2)) @ mix.T + bias)
    said = std_scale**2 * np.array([[1, stated], [stated, 1]])
    return PredictionTable.from_estimates(
        np.arange(count),
        {"energy_eV": estimate[:, 0], "pitch_angle_deg": estimate[:, 1]},
        estimator="drawn",
        covariance=width[:, :, None] * width[:, None, :] * said,
        truth={"energy_eV": truth[:, 0], "pitch_angle_deg": truth[:, 1]},
    )


def the_prior(table: PredictionTable) -> PredictionTable:
    """Return a table that says of every electron what was known before: the prior, which is calibrated and useless."""
    count = len(table)
    return PredictionTable.from_estimates(
        table.event_id,
        {"energy_eV": np.full(count, 18_600.0), "pitch_angle_deg": np.full(count, 88.0)},
        estimator="prior",
        std={"energy_eV": np.full(count, 50.0), "pitch_angle_deg": np.full(count, 1.0)},
        truth={"energy_eV": table.truth("energy_ev"), "pitch_angle_deg": table.truth("pitch_angle_deg")},
    )


@pytest.mark.parametrize(
    ("how", "right", "word"),
    [
        ({}, True, ""),
        ({"std_scale": 0.8}, False, "tails"),
        ({"std_scale": 1.25}, False, "middle"),
        ({"bias": 0.3}, False, "low"),
        ({"bias": -0.3}, False, "high"),
    ],
)
def test_sbc_and_tarp_tell_right_posteriors_from_wrong_ones(how, right, word):
    table = drawn_table(**how)
    for target in table.targets:
        fractions = rank_fractions(table, target)
        assert uniformity(fractions).passed is right, target
        assert right or word in shape_in_words(fractions)
        ranks = sbc_ranks(table, target)
        assert uniformity((ranks + np.random.default_rng(1).uniform(size=COUNT)) / 100).passed is right
    assert uniformity(tarp_fractions(table)).passed is right


def test_tarp_sees_a_wrong_correlation_that_no_marginal_shows():
    table = drawn_table(correlation=0.9, stated=-0.9)
    assert all(uniformity(rank_fractions(table, target)).passed for target in table.targets)
    assert uniformity(tarp_fractions(table)).passed is False


def test_tarp_sees_a_posterior_that_is_the_prior_with_anchors_that_know_the_record():
    sharp = drawn_table()
    prior = the_prior(sharp)
    assert all(uniformity(rank_fractions(prior, target)).passed for target in prior.targets)
    assert uniformity(tarp_fractions(prior)).passed  # its own estimates know nothing
    assert sharpest([prior, sharp], prior.targets) is sharp
    anchors = estimates_of(sharp, prior.targets)
    assert uniformity(tarp_fractions(prior, anchors=anchors)).passed is False
    assert uniformity(tarp_fractions(sharp, anchors=anchors)).passed


def test_ranks_are_the_probability_below_the_truth():
    table = drawn_table(400)
    fractions, ranks = rank_fractions(table, "energy_ev"), sbc_ranks(table, "energy_ev", draws=2000)
    assert np.abs(ranks / 2000 - fractions).max() < 5 * 0.5 / np.sqrt(2000)
    slow = [
        0.5 * (1 + math.erf((truth - mean) / std / math.sqrt(2)))
        for truth, mean, std in zip(
            table.truth("energy_ev"), table.mean("energy_ev"), table.std("energy_ev"), strict=True
        )
    ]
    np.testing.assert_allclose(fractions, slow, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.floats(0.4, 2.5), st.integers(0, 10_000))
def test_uniformity_is_the_test_of_kolmogorov_and_smirnov(count, power, seed):
    values = np.random.default_rng(seed).uniform(size=count) ** power
    found, known = uniformity(np.append(values, np.nan)), kstest(values, "uniform")
    np.testing.assert_allclose([found.distance, found.p_value], [known.statistic, known.pvalue], rtol=1e-6, atol=1e-12)
    assert found.passed is None if count < FEWEST else found.passed in (True, False)


def test_few_electrons_get_no_verdict_and_failed_ones_are_left_out():
    table = drawn_table(60)
    table.columns["energy_ev"][:20] = np.nan
    fractions = rank_fractions(table, "energy_ev")
    assert np.isnan(fractions[:20]).all()
    assert uniformity(fractions).count == 40
    assert uniformity(fractions).passed is None
    assert (sbc_ranks(table, "energy_ev")[:20] == -1).all()
    assert np.isnan(tarp_fractions(table)[:20]).all()
    assert uniformity(np.zeros(0)).passed is None


def test_coverage_at_levels_counts_intervals():
    fractions = rank_fractions(drawn_table(std_scale=0.8), "energy_ev")
    observed, error = coverage_at_levels(fractions, np.array([0.5, 0.9]))
    slow = [np.mean((fractions > 0.5 - half) & (fractions < 0.5 + half)) for half in (0.25, 0.45)]
    np.testing.assert_allclose(observed, slow)
    assert (observed < np.array([0.5, 0.9]) - 5 * error).all()
    np.testing.assert_allclose(error, np.sqrt(np.array([0.25, 0.09]) / COUNT))


def test_parts_show_what_is_wrong_in_one_place_only():
    table = drawn_table()
    wide = table.column("energy_std_ev") > np.median(table.column("energy_std_ev"))
    for name in ("energy_std_ev",):
        table.columns[name] = table.columns[name] * np.where(wide, 1.4, 0.75)
    parts = parts_of(table.column("energy_std_ev"), rank_fractions(table, "energy_ev"))
    assert len(parts) == 4
    assert sum(len(fractions) for *_, fractions in parts) == COUNT
    assert [low < high for low, high, _ in parts] == [True] * 4
    covered = [coverage_at_levels(fractions, np.array([0.6827]))[0][0] for *_, fractions in parts]
    assert covered[0] < 0.6 < 0.77 < covered[3]
    assert len(parts_of(np.arange(30.0), np.full(30, 0.5))) == 1


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "quantiles"])
def test_a_table_holds_the_distribution_of_the_network(kind: str):
    """The posterior of the columns against the network's own: quantiles come back as their levels."""
    torch.manual_seed(0)
    means = torch.randn(50, 2, 2, dtype=torch.float64)
    choleskys = torch.tril(0.3 * torch.randn(50, 2, 2, 2, dtype=torch.float64))
    choleskys.diagonal(dim1=-2, dim2=-1).abs_().add_(0.05)
    distribution = {
        "gaussian": Gaussian(means[:, 0], choleskys[:, 0]),
        "mixture": GaussianMixture(torch.randn(50, 2, dtype=torch.float64).log_softmax(1), means, choleskys),
        "quantiles": Quantiles(
            torch.tensor([0.02, 0.2, 0.5, 0.8, 0.98], dtype=torch.float64),
            torch.randn(50, 2, 5, dtype=torch.float64).cumsum(-1).sort(-1).values,
        ),
    }[kind]
    estimate = distribution.estimate.numpy()
    stored = {name: values.numpy() for name, values in posterior_columns(distribution).items()}
    table = PredictionTable.from_estimates(
        np.arange(50),
        {"energy_eV": estimate[:, 0], "pitch_angle_deg": estimate[:, 1]},
        estimator=kind,
        observables=stored,
    )
    posterior = posterior_of(table)
    for level in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(posterior.cdf(distribution.quantile(level).numpy()), level, atol=1e-6)
    drawn = posterior.draws(4000, np.random.default_rng(0))
    ends = distribution.quantile(0.8).numpy()
    np.testing.assert_allclose((drawn < ends[:, None]).mean(axis=1), 0.8, atol=0.03)


def test_a_table_without_more_than_error_bars_is_read_as_gaussian_with_its_correlation():
    table = drawn_table(30)
    posterior = posterior_of(table)
    assert isinstance(posterior, Mixture)
    assert "error bars" in posterior.source
    cholesky = posterior.choleskys[:, 0]
    np.testing.assert_allclose(cholesky @ cholesky.transpose(0, 2, 1), table.column("covariance"))
    broken = table.with_columns({"covariance": np.full((30, 2, 2), np.nan)})
    np.testing.assert_allclose(posterior_of(broken).widths[:, 0, 0], table.std("energy_ev"))


def test_what_cannot_be_judged_is_said():
    table = drawn_table(60)
    bare = PredictionTable({name: table.columns[name] for name in ("event_id", "energy_ev", "true_energy_ev")})
    with pytest.raises(UserError, match="states no uncertainty"):
        rank_fractions(bare, "energy_ev")
    blind = PredictionTable({name: table.columns[name] for name in ("event_id", "energy_ev", "energy_std_ev")})
    with pytest.raises(UserError, match="no true energy_ev"):
        sbc_ranks(blind, "energy_ev")
    with pytest.raises(UserError, match="anchors have shape"):
        tarp_fractions(table, anchors=np.zeros((60, 3)))
    shape = {schema.POSTERIOR_WEIGHT: np.ones((60, 2)), schema.POSTERIOR_MEAN: np.ones((60, 2, 3)),
             schema.POSTERIOR_CHOLESKY: np.ones((60, 2, 3, 3))}  # fmt: skip
    with pytest.raises(UserError, match="posterior_mean"):
        posterior_of(table.with_columns(shape))


def test_the_section_tells_honest_from_exhaustive():
    """The prior passes what judges it alone; beside a sharp estimator the report says that the record tells more."""
    sharp = drawn_table(400)
    comparison = compare([the_prior(sharp), sharp])
    section = diagnostics_section(comparison)
    assert section.headline == "Whole posteriors, all electrons: prior passes SBC and TARP; drawn passes SBC and TARP."
    assert "the record tells more, as drawn shows" in section.html
    assert section.html.count("TARP near drawn") == 1
    wrong = diagnostics_section(compare([drawn_table(400, std_scale=0.6)]))
    assert "drawn fails SBC of the energy, SBC of the pitch angle and TARP" in wrong.headline
    assert "truths too often in the tails" in wrong.html
    names = [panel.name for picture in section.illustrations for panel in picture.panels]
    assert "tarp_all" in names
    assert "energy_ev_levels_pitch_angle_deg_1" in names
    for picture in section.illustrations:
        for panel in picture.panels:
            assert panel.drawn().axes[0].get_xlabel()
