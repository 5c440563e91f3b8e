"""Calibrated uncertainties are honest at every stated width, and so is the 95 % interval of a mixture."""

from __future__ import annotations

import pytest
import torch

from cres.errors import UserError
from reconstruction.models import Calibration, Gaussian, GaussianMixture, Point, Quantiles, interval95
from reconstruction.models.predictive.calibration import KNOTS, RECORDS_PER_KNOT, WidthFactor

COUNT = 8_000
SEEDS = (11, 12)


def gaussians(width: torch.Tensor) -> Gaussian:
    return Gaussian(torch.zeros(len(width), 2).double(), torch.diag_embed(width))


def two_modes(width: torch.Tensor, outliers: float = 0.12) -> GaussianMixture:
    """A narrow mode and, for one electron in eight or so, a wide one far off."""
    count = len(width)
    weights = torch.tensor([1 - outliers, outliers]).double().log().expand(count, 2)
    places = torch.tensor([[0.0, 0.0], [4.0, 2.0]]).double().expand(count, 2, 2)
    return GaussianMixture(weights, places, torch.diag_embed(torch.stack([width, torch.full_like(width, 6.0)], dim=1)))


def widths(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 2, generator=generator).double().mul(4).sub(2).exp()


def share_inside(truth: torch.Tensor, low: torch.Tensor, high: torch.Tensor, rows: torch.Tensor) -> float:
    return float(((truth >= low) & (truth <= high))[rows].double().mean())


def test_coverage_is_honest_where_the_network_is_too_sure_and_where_it_is_too_modest() -> None:
    """Good electrons are stated too narrow by 1.5, poor ones too wide by 2: one factor for all would hide both."""

    def stated_and_truth(seed: int) -> tuple[Gaussian, torch.Tensor]:
        torch.manual_seed(seed)
        true = widths(COUNT, seed)
        wrong = torch.where(true < 1, 1 / 1.5, 2.0)
        return gaussians(true * wrong), torch.randn(COUNT, 2).double() * true

    calibration = Calibration(2)
    calibration.fit(*stated_and_truth(SEEDS[0]))
    stated, truth = stated_and_truth(SEEDS[1])
    calibrated = calibration(stated)
    sure = stated.std[:, 0] < 1 / 1.5
    for rows in (sure, ~sure):
        error_bar = calibrated.error_bar[:, 0]
        inside = share_inside(truth[:, 0], -error_bar, error_bar, rows)
        assert inside == pytest.approx(0.683, abs=0.03)
    low, high = interval95(calibrated, [calibration])
    assert share_inside(truth, low, high, torch.ones_like(sure)) == pytest.approx(0.9545, abs=0.009)


def test_the_95_percent_interval_of_a_mixture_holds_its_outliers_where_two_error_bars_do_not() -> None:
    torch.manual_seed(3)
    honest = two_modes(widths(COUNT, 3))
    truth = honest.sample(1)[0]
    calibration = Calibration(2)
    calibration.fit(honest, truth)
    calibrated = calibration(honest)
    low, high = interval95(calibrated, [calibration])
    everyone = torch.ones(COUNT, dtype=torch.bool)
    assert share_inside(truth, low, high, everyone) == pytest.approx(0.9545, abs=0.009)
    middle, bar = calibrated.estimate, calibrated.error_bar
    assert share_inside(truth, middle - 2 * bar, middle + 2 * bar, everyone) < 0.93


def test_quantiles_are_calibrated_about_the_median_that_is_reported() -> None:
    """Skewed quantiles, stated twice too narrow: the error bars grow, the estimates stay."""
    levels = torch.tensor([0.025, 0.158655, 0.5, 0.841345, 0.975]).double()
    width = widths(COUNT, 5).unsqueeze(-1)
    shape = torch.tensor([-1.0, -0.6, 0.0, 1.4, 3.0]).double()
    honest = Quantiles(levels, 18_600 + width * shape)
    torch.manual_seed(5)
    truth = honest.sample(1)[0]
    stated = Quantiles(levels, 18_600 + width * shape / 2)
    calibration = Calibration(2)
    calibration.fit(stated, truth)
    calibrated = calibration(stated)
    torch.testing.assert_close(calibrated.estimate, stated.estimate, rtol=0, atol=1e-9)
    offset = (truth - calibrated.estimate).abs()
    assert float((offset < calibrated.error_bar).double().mean()) == pytest.approx(0.683, abs=0.01)


def test_an_overconfident_mixture_is_widened_to_the_truth() -> None:
    torch.manual_seed(4)
    honest = two_modes(widths(COUNT, 4))
    truth = honest.sample(1)[0]
    calibration = Calibration(2)
    calibration.fit(honest.temper(torch.tensor(0.4).double()), truth)
    calibrated = calibration(honest.temper(torch.tensor(0.4).double()))
    offset = (truth - calibrated.estimate).abs()
    assert float((offset <= calibrated.error_bar).double().mean()) == pytest.approx(0.683, abs=0.015)


@pytest.mark.parametrize("factor", [0.25, 1.6])
def test_likelihood_finds_one_wrong_scale(factor: float) -> None:
    torch.manual_seed(5)
    honest = gaussians(widths(COUNT, 5))
    calibration = Calibration(2)
    calibration.fit(honest.temper(torch.tensor(factor).double()), honest.sample(1)[0], "likelihood")
    found = calibration.temperature.factor
    torch.testing.assert_close(found, torch.full_like(found, 1 / factor), rtol=0.03, atol=0)


def test_few_electrons_share_one_factor() -> None:
    torch.manual_seed(6)
    honest = gaussians(widths(2 * RECORDS_PER_KNOT - 1, 6))
    calibration = Calibration(2)
    calibration.fit(honest, honest.sample(1)[0])
    assert calibration.temperature.factor.unique(dim=0).shape[0] == 1


def test_one_width_for_all_electrons_is_no_division_by_zero() -> None:
    torch.manual_seed(7)
    same = gaussians(torch.ones(COUNT, 2).double())
    calibration = Calibration(2)
    calibration.fit(same, 3 * same.sample(1)[0])
    torch.testing.assert_close(calibration(same).std, torch.full((COUNT, 2), 3.0).double(), rtol=0.05, atol=0)


def test_factor_is_linear_between_knots_and_constant_outside() -> None:
    factor = WidthFactor(1)
    factor.set(torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[1.0], [3.0]]).double())
    at = torch.tensor([-5.0, 0.0, 0.25, 1.0, 1.7, 40.0]).double().exp().unsqueeze(-1)
    expected = torch.tensor([1.0, 1.0, 1.5, 3.0, 3.0, 3.0]).double().unsqueeze(-1)
    torch.testing.assert_close(factor(at), expected, rtol=1e-6, atol=0)
    assert len(factor.log_width) == KNOTS


def test_a_state_dictionary_carries_the_calibration() -> None:
    torch.manual_seed(8)
    honest = two_modes(widths(1_000, 8))
    fitted, fresh = Calibration(2), Calibration(2)
    fitted.fit(honest, 2 * honest.sample(1)[0])
    fresh.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(fresh(honest).error_bar, fitted(honest).error_bar)
    fresh.reset()
    torch.testing.assert_close(fresh(honest).error_bar, honest.error_bar)


def test_point_estimates_and_empty_or_broken_validation() -> None:
    point = Point(torch.zeros(5, 2).double())
    calibration = Calibration(2)
    calibration.fit(point, point.mean)
    assert calibration(point) is point
    assert all(bool(end.isnan().all()) for end in interval95(point, [calibration]))
    with pytest.raises(UserError, match="empty"):
        calibration.fit(gaussians(torch.ones(0, 2).double()), torch.zeros(0, 2).double())
    with pytest.raises(UserError, match="not finite"):
        calibration.fit(gaussians(torch.ones(3, 2).double()), torch.full((3, 2), torch.nan).double())
