"""The network-seeded likelihood: the network says where to look, the likelihood measures, the network is the fallback.

It reads the network's predictions table, not the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.estimation.estimates import Estimated
from cres.estimation.fit.likelihood import Likelihood, LikelihoodEstimator
from cres.estimation.placement import on_host
from cres.estimation.search.matched_filter import Region
from cres.physics.cyclotron import cyclotron_frequency_hz
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.shapes import ComplexSeries

Array = NDArray[np.float64]
SEARCH_SIGMAS = 5.0
# The whole spread of a prediction counts its other modes: a mixture's second component lies inside.
SEARCH_SPREADS = 3.0
STARTS = 2
# A seeded fit starts so near that one that is not done by then swings about for other reasons.
STEPS = 8
# The search is never narrower: a network may be too sure of itself.
NARROWEST_ENERGY_EV = 2.0


@dataclass(frozen=True)
class Seed:
    """The network's answer for a block of electrons, each (batch,).

    std: the central 68 % of the prediction; reach: how far around it the search goes, `SEARCH_SIGMAS` std and
    `SEARCH_SPREADS` of the whole distribution's standard deviation, so that no mode is left out.
    """

    energy_ev: Array
    energy_std_ev: Array
    energy_reach_ev: Array
    pitch_angle_deg: Array
    pitch_angle_std_deg: Array
    pitch_angle_reach_deg: Array

    @classmethod
    def of(cls, table: PredictionTable, event_id: NDArray[np.int64]) -> Seed:
        """Look electrons up in a predictions table. Raises UserError where one is missing."""
        order = np.argsort(table.event_id)
        place = np.searchsorted(table.event_id, event_id, sorter=order).clip(max=len(table) - 1)
        rows = order[place]
        missing = table.event_id[rows] != event_id
        if missing.any():
            raise UserError(
                f"the network's table has no event {event_id[missing][0]} ({missing.sum()} of {len(event_id)} are "
                "missing): predict the same split of the same data"
            )
        columns = []
        for name in schema.DEFAULT_TARGETS:
            std = table.std(name)[rows]
            spread = table.column(schema.spread_name(name))[rows] if schema.spread_name(name) in table else std
            columns += [table.mean(name)[rows], std, np.maximum(SEARCH_SIGMAS * std, SEARCH_SPREADS * spread)]
        return cls(*columns)


class SeededEstimator:
    """Wraps a likelihood estimator: its search is confined to the network's uncertainty, until that finds nothing."""

    def __init__(self, likelihood: LikelihoodEstimator) -> None:
        self.likelihood = likelihood
        self.apparatus = likelihood.apparatus

    def estimate(self, data: ComplexSeries, seed: Seed) -> tuple[Likelihood, Bool[Tensor, "batch"]]:
        """Return the fits and where they failed, so that the network's answer is the better one."""
        searched = self.likelihood.search.within(data, self._region(seed))
        found = self.likelihood.fit_optima(data, searched, searched.optima(STARTS), STEPS)
        failed = torch.nonzero(found.failed)[:, 0]
        if len(failed):
            # a network that is sure of a wrong place is found out by what the fit leaves: then look everywhere
            anywhere = self.likelihood.estimate(data[failed])
            spent = found.evaluations.index_add(0, failed, anywhere.evaluations)
            better = torch.nonzero(~anywhere.failed)[:, 0]
            found = replace(found.with_rows(failed[better], anywhere, better), evaluations=spent)
        return found, found.failed

    def _region(self, seed: Seed) -> Region:
        """Return the carriers and axial frequencies that the network's energy and pitch angle allow."""
        trap, (low, high) = self.apparatus.trap, self.apparatus.pitch_angles_deg
        radius = np.zeros_like(seed.energy_ev)
        pitch, reach = np.minimum(seed.pitch_angle_deg, 90.0), seed.pitch_angle_reach_deg
        width = np.maximum(seed.energy_reach_ev, NARROWEST_ENERGY_EV)
        middle, other_energy, other_pitch = (
            np.asarray(cyclotron_frequency_hz(energy, trap.average_field_t(energy, angle, radius)))
            for energy, angle in (
                (seed.energy_ev, pitch),
                (seed.energy_ev + width, pitch),
                (seed.energy_ev, pitch - reach),
            )
        )
        apart = np.abs(other_energy - middle) + np.abs(other_pitch - middle)
        angles = [np.clip(seed.pitch_angle_deg + side * reach, low - 0.1, high - 1e-3) for side in (1, -1)]
        rates = [trap.axial_frequency_hz(seed.energy_ev, angle, radius) for angle in angles]
        return Region(*(torch.tensor(values, device=self.apparatus.device) for values in (middle, apart, *rates)))


def with_network(estimates: Estimated, seed: Seed, fell_back: Bool[Tensor, "batch"]) -> Estimated:
    """Return the estimates with the network's values where the fit failed; the column `fell_back` says where."""
    use = on_host(fell_back)
    network = (seed.energy_ev, seed.pitch_angle_deg)
    spread = (seed.energy_std_ev, seed.pitch_angle_std_deg)
    targets = schema.DEFAULT_TARGETS
    values = {name: np.where(use, network[i], estimates.values[name]) for i, name in enumerate(targets)}
    std = {name: np.where(use, spread[i], estimates.std[name]) for i, name in enumerate(targets)}
    diagonal = np.stack(spread, 1)[:, :, None] ** 2 * np.eye(2)
    covariance = diagonal if estimates.covariance is None else estimates.covariance.copy()
    covariance[use] = diagonal[use]
    extra = {**estimates.extra, **_without_others(estimates.extra, use, np.stack(network, 1), np.stack(spread, 1))}
    return replace(estimates, values=values, std=std, covariance=covariance, extra={**extra, "fell_back": use})


def _without_others(
    extra: Mapping[str, NDArray[Any]], use: NDArray[np.bool_], mean: Array, std: Array
) -> dict[str, NDArray[Any]]:
    """Return the posterior's columns with one Gaussian, the network's error bars, for the electrons of `use`."""
    known = schema.POSTERIOR_COLUMNS[:3]
    if not set(known) <= set(extra):
        return {}
    weight, means, cholesky = (np.array(extra[name]) for name in known)
    weight[use] = np.arange(weight.shape[1]) == 0
    means[use] = mean[use][:, None]
    cholesky[use] = (std[use][:, :, None] * np.eye(2))[:, None]
    return dict(zip(known, (weight, means, cholesky), strict=True))
