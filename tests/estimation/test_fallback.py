"""Where a seeded fit fails, the network's answer stands, with the network's uncertainties and their covariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cres import schema
from cres.estimation.estimates import Estimated
from cres.estimation.fit.seeded import Seed, with_network

SEED = Seed(
    *(
        np.array(pair)
        for pair in ((18_600.5, 18_601.5), (0.8, 0.9), (4.0, 4.5), (89.1, 88.2), (0.02, 0.03), (0.1, 0.15))
    )
)
OWN = np.array([[[1e-3, 2e-5], [2e-5, 1e-6]], [[4e-3, 5e-5], [5e-5, 9e-6]]])


def fitted(covariance: np.ndarray | None) -> Estimated:
    values = {schema.ENERGY: np.array([18_600.0, 18_601.0]), schema.PITCH_ANGLE: np.array([89.0, 88.0])}
    std = {schema.ENERGY: np.sqrt(OWN[:, 0, 0]), schema.PITCH_ANGLE: np.sqrt(OWN[:, 1, 1])}
    return Estimated(values, std, {"goodness_p": np.array([0.5, 1e-9])}, covariance)


@pytest.mark.parametrize("covariance", [OWN, None])
def test_a_failed_fit_has_the_network_s_covariance_and_the_other_its_own(covariance: np.ndarray | None) -> None:
    found = with_network(fitted(covariance), SEED, torch.tensor([False, True]))
    assert found.values[schema.ENERGY].tolist() == [18_600.0, 18_601.5]
    assert found.values[schema.PITCH_ANGLE].tolist() == [89.0, 88.2]
    assert found.std[schema.ENERGY][1] == 0.9
    assert found.std[schema.PITCH_ANGLE][1] == 0.03
    assert found.extra["fell_back"].tolist() == [False, True]
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance[1], np.diag([0.9**2, 0.03**2]), rtol=1e-12)
    if covariance is not None:
        np.testing.assert_array_equal(found.covariance[0], OWN[0])
        np.testing.assert_array_equal(OWN[1], covariance[1])
