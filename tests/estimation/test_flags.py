"""What a likelihood says of itself: flags, weights of other optima, and how far a seed lets it look."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cres import schema
from cres.estimation.apparatus import Reception
from cres.estimation.fit.likelihood import SMALLEST_GOODNESS, Likelihood
from cres.estimation.fit.seeded import SEARCH_SIGMAS, SEARCH_SPREADS, Seed
from cres.estimation.search.templates import TemplateBank, TemplateProfile
from reconstruction.judging.tables.table import PredictionTable


def test_a_fit_fails_by_its_residual_as_well_as_by_its_steps() -> None:
    one = torch.ones(3, dtype=torch.float64)
    goodness = torch.tensor([0.5, SMALLEST_GOODNESS / 2, 0.5], dtype=torch.float64)
    converged = torch.tensor([True, True, False])
    covariance = torch.eye(5, dtype=torch.float64).repeat(3, 1, 1)
    others = (torch.zeros(3, 1), torch.zeros(3, 1, 2), torch.zeros(3, 1, 2, 2))
    found = Likelihood(
        torch.zeros(3, 6, dtype=torch.float64), covariance, one, goodness, one, one, one, others, one, converged, one
    )
    assert found.failed.tolist() == [False, True, True]


def test_templates_are_weighed_by_the_solid_angle_that_they_stand_for() -> None:
    # equal statistics: what is left is d(cos θ), the pitch angles unevenly spaced
    angles = torch.tensor([[88.0, 88.5, 88.6, 88.8, 89.9]], dtype=torch.float64)
    lines = torch.ones(1, 5, 1, dtype=torch.complex128)
    bank = TemplateBank(
        torch.zeros(1, dtype=torch.int64),
        torch.arange(1.0, 6.0, dtype=torch.float64),
        angles,
        torch.zeros(1, 5, dtype=torch.float64),
        lines,
        torch.tensor([18_600.0], dtype=torch.float64),
        Reception(25.9702e9, 403e6, 8192),
    )
    template = torch.arange(5)[None]
    searched = TemplateProfile(bank, template, *torch.zeros(4, 1, 5, dtype=torch.float64))
    found = searched.weights[0]
    solid = np.abs(np.gradient(np.cos(np.deg2rad(angles[0].numpy()))))
    np.testing.assert_allclose(found.numpy(), solid / solid.sum(), rtol=1e-9)
    assert math.isclose(float(found.sum()), 1.0)


def test_a_seed_reaches_as_far_as_its_other_modes() -> None:
    columns = {schema.ENERGY: np.array([18_600.0, 18_610.0]), schema.PITCH_ANGLE: np.array([89.0, 88.5])}
    std = {schema.ENERGY: np.array([0.1, 0.1]), schema.PITCH_ANGLE: np.array([0.01, 0.01])}
    wide = {schema.spread_name(schema.ENERGY): np.array([0.1, 8.0])}
    table = PredictionTable.from_estimates(np.array([1, 2]), columns, std=std, estimator="network", observables=wide)
    seed = Seed.of(table, np.array([2, 1]))
    assert seed.energy_reach_ev.tolist() == pytest.approx([SEARCH_SPREADS * 8.0, SEARCH_SIGMAS * 0.1])
    assert seed.pitch_angle_reach_deg.tolist() == pytest.approx([SEARCH_SIGMAS * 0.01] * 2)
