"""Energy and pitch angle of the matched filter's best template, with uncertainties from the training split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.estimation.apparatus import TYPICAL_RADIUS_M
from cres.estimation.estimates import Estimated
from cres.estimation.inversion import energy_and_pitch_of_lines
from cres.estimation.placement import on_host
from cres.estimation.search.matched_filter import Found, MatchedFilter
from cres.estimation.search.periodogram import parabolic_peak
from cres.estimation.simple.local_spread import LocalOffset, LocalSpread

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FilterEstimator:
    """Best template → energy and pitch angle; `threshold` of the detection statistic.

    offset: what the templates miss on the training split (they hold the mean carrier, the energy is that of the start),
    a function of the statistic: strong records lose more energy. spread: of the training residuals, a function of the
    sidebands' part of the statistic.
    """

    search: MatchedFilter
    threshold: float
    offset: Mapping[str, LocalOffset]
    spread: Mapping[str, LocalSpread]

    @classmethod
    def fit(
        cls, search: MatchedFilter, found: list[Found], truth: Mapping[str, Array], threshold: float
    ) -> FilterEstimator:
        """Fit on what was found in blocks of training electrons and their truth, by column."""
        parts = [best_template(search, block) for block in found]
        observed = np.concatenate([contrast(block) for block in found])
        residuals = {name: truth[name] - np.concatenate([part[name] for part in parts]) for name in truth}
        strength = np.concatenate([on_host(block.statistic) for block in found])
        offset = {name: LocalOffset.fit(strength, values) for name, values in residuals.items()}
        left = {name: values - offset[name](strength) for name, values in residuals.items()}
        spread = {name: LocalSpread.fit(observed, values) for name, values in left.items()}
        return cls(search, threshold, offset, spread)

    def estimate(self, found: Found) -> Estimated:
        """Return the estimates; `detected` says whether noise alone would hardly look like this."""
        observed = contrast(found)
        statistic = on_host(found.statistic)
        best = best_template(self.search, found)
        values = {name: direct + self.offset[name](statistic) for name, direct in best.items()}
        std = {name: self.spread[name](observed) for name in values}
        extra = {"detection_statistic": statistic, "detected": statistic > self.threshold, "contrast": observed}
        return Estimated(values, std, extra)


def contrast(found: Found) -> Array:
    """Return how much the best template is above the median of all: what the sidebands say."""
    statistic = found.templates.statistic
    return on_host(statistic.amax(1) - statistic.median(1).values)


def best_template(search: MatchedFilter, found: Found) -> dict[str, Array]:
    """Return energy and pitch angle of the best template, parabolic between neighbours, by column."""
    best, offset = parabolic_peak(found.templates.statistic)
    axial = search.fine.axial_hz
    axial_hz = axial[found.templates.template.gather(1, best[:, None])[:, 0]] + offset * (axial[1] - axial[0])
    values = energy_and_pitch_of_lines(search.apparatus, found.carrier_hz, axial_hz, TYPICAL_RADIUS_M)
    return dict(zip(schema.DEFAULT_TARGETS, map(on_host, values), strict=True))
