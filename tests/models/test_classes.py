"""Distributions over classes: densities, temperature, loss, ensembles, and areas under curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cres.errors import UserError
from reconstruction.judging.measures.separation import Told, area_under_curve, calibration_error, mean_area
from reconstruction.models import (
    CRPS,
    MSE,
    Calibration,
    Categorical,
    CategoricalHead,
    CrossEntropy,
    GaussianNLL,
    Pinball,
    combine,
    interval95,
)

CLASSES = {"electron": 11, "positron": -11, "photon": 22}


def predict(batch: int = 6, seed: int = 0) -> Categorical:
    torch.manual_seed(seed)
    head = CategoricalHead(7, 1, classes=CLASSES).double().requires_grad_(False)
    found = head(torch.randn(batch, 7, dtype=torch.float64))
    assert isinstance(found, Categorical)
    return found


def test_it_states_probabilities_of_codes():
    found = predict()
    assert found.shape == (6, 1)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(6).double())
    truth = torch.tensor([[11.0], [-11.0], [22.0], [22.0], [11.0], [13.0]]).double()
    expected = torch.stack([found.log_probs[i, place] for i, place in enumerate((0, 1, 2, 2, 0))])
    torch.testing.assert_close(found.log_prob(truth)[:5], expected)
    assert found.log_prob(truth)[5] == -torch.inf
    assert found.estimate[:, 0].tolist() == [list(CLASSES.values())[i] for i in found.log_probs.argmax(1).tolist()]
    for nothing in (found.std, found.error_bar, found.quantile(0.5), found.covariance, found.error_covariance):
        assert bool(nothing.isnan().all())
    assert bool(torch.stack(interval95(found, [Calibration(1)])).isnan().all())
    shares = (found.sample(40_000)[..., 0] == 22).double().mean(0)
    torch.testing.assert_close(shares, found.probabilities[:, 2], atol=0.02, rtol=0)


def test_its_loss_is_the_cross_entropy_of_torch():
    found, truth = predict(), torch.tensor([[11.0], [-11.0], [22.0], [22.0], [11.0], [11.0]]).double()
    places = torch.tensor([0, 1, 2, 2, 0, 0])
    expected = torch.nn.functional.cross_entropy(found.log_probs, places, reduction="none")
    torch.testing.assert_close(CrossEntropy()(found, truth), expected)
    torch.testing.assert_close(GaussianNLL()(found, truth), expected)
    weighted = CrossEntropy([1.0, 2.0, 3.0])(found, truth)
    torch.testing.assert_close(weighted, expected * torch.tensor([0.5, 1.0, 1.5]).double()[places])
    for loss in (MSE(), CRPS(), Pinball(), GaussianNLL(0.5)):
        with pytest.raises(UserError):
            loss(found, truth)
    with pytest.raises(UserError, match="CategoricalHead"):
        CrossEntropy()(combine([combine_of_gaussians()]), truth[:1])


def combine_of_gaussians():
    from reconstruction.models import Gaussian

    return Gaussian(torch.zeros(1, 1), torch.ones(1, 1, 1))


def test_gradients_reach_every_parameter():
    head = CategoricalHead(5, 1, classes=CLASSES, hidden_width=8)
    loss = CrossEntropy()(head(torch.randn(20, 5)), torch.tensor([[11.0], [-11.0]]).repeat(10, 1)).mean()
    loss.backward()
    assert all(bool(part.grad.abs().sum() > 0) for part in head.parameters())


@pytest.mark.parametrize("sureness", [0.5, 3.0])
@pytest.mark.parametrize("method", ["coverage", "likelihood"])
def test_one_temperature_makes_it_honest(sureness, method):
    """Truth drawn from p; p^sureness is stated. The temperature is the sureness, and beats all others of a grid."""
    torch.manual_seed(1)
    honest = torch.log_softmax(1.5 * torch.randn(20_000, 3, dtype=torch.float64), dim=1)
    codes = torch.tensor(list(CLASSES.values())).double()
    truth = codes[torch.multinomial(honest.exp(), 1)]
    stated = Categorical(codes, torch.log_softmax(sureness * honest, dim=1))
    calibration = Calibration(1)
    calibration.fit(stated, truth, method)
    found = calibration.temperature.factor[0].item()
    assert found == pytest.approx(sureness, rel=0.04)
    grid = torch.linspace(0.5, 2, 61).double() * found
    scores = [float(stated.temper(one).log_prob(truth).mean()) for one in grid]
    assert max(scores) <= float(calibration(stated).log_prob(truth).mean()) + 1e-9
    assert bool((calibration(stated).estimate == stated.estimate).all())


def test_what_cannot_be_calibrated_is_told_and_perfection_ends():
    codes = torch.tensor([0.0, 1.0]).double()
    sure = Categorical(codes, torch.log_softmax(torch.tensor([[5.0, 0.0], [0.0, 5.0]]).double(), dim=1))
    calibration = Calibration(1)
    calibration.fit(sure, torch.tensor([[0.0], [1.0]]).double())
    assert 0.049 < calibration.temperature.factor[0].item() < 0.2
    with pytest.raises(UserError, match="of other classes"):
        calibration.fit(sure, torch.tensor([[0.0], [2.0]]).double())


def test_units_and_ensembles():
    one, other = predict(seed=1), predict(seed=2)
    moved = one.affine(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert moved.dtype == torch.float64
    torch.testing.assert_close(moved.estimate, one.estimate)
    both = combine([one, other])
    assert isinstance(both, Categorical)
    torch.testing.assert_close(both.probabilities, (one.probabilities + other.probabilities) / 2)


def test_heads_keep_codes_at_any_precision():
    head = CategoricalHead(3, 1, classes={"a": 2**24 - 1, "b": 3}).to(torch.bfloat16)
    assert head.codes.tolist() == [2**24 - 1, 3]
    with pytest.raises(UserError, match="single precision"):
        CategoricalHead(3, 1, classes={"a": 1_000_010_020, "b": 3})
    with pytest.raises(UserError, match="no first guess"):
        CategoricalHead(3, 1, classes=CLASSES)(torch.randn(2, 3), torch.zeros(2, 1))


# Measures ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_area_is_the_share_of_pairs_in_order(rows):
    """Against all pairs counted one by one, with ties and weights."""
    score, positive, weight = (np.array(column) for column in zip(*rows, strict=True))
    pairs = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            each = weight[i] * weight[j]
            total += each
            pairs += each * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    found = area_under_curve(score.astype(float), positive, weight[None].astype(float))[0]
    assert found == pytest.approx(pairs / total) if total else np.isnan(found)


def test_the_calibration_error_by_hand():
    """Three rows said to be right at 0.9, of which two are, and one at 0.5 that is: (|2.7 − 2| + |0.5 − 1|)/4."""
    confidence, right = np.array([0.9, 0.9, 0.9, 0.5]), np.array([1.0, 1.0, 0.0, 1.0])
    assert calibration_error(confidence, right, np.ones((1, 4)))[0] == pytest.approx((0.7 + 0.5) / 4)


def test_areas_of_classes_are_averaged_over_those_that_are_there():
    told = Told.of(np.array([7, 8, 7, 8, 99]), np.array([7, 8, 9]), np.eye(3)[[0, 1, 0, 0, 2]])
    assert told.truth.tolist() == [0, 1, 0, 1, -1]
    kept = told.select(told.usable)
    assert mean_area(kept, np.ones((1, 4)))[0] == pytest.approx((0.75 + 0.75) / 2)
    assert kept.confusion().tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
