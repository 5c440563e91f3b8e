"""Predictions of batches collected into arrays, over all processes, and the figures shown while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torchmetrics import MeanMetric

from reconstruction import schema
from reconstruction.judging.measures.metrics import coverage, sigma68
from reconstruction.judging.measures.separation import Told, separation_figures
from reconstruction.levels import ENDS_68, ENDS_95
from reconstruction.models import (
    Calibration,
    Categorical,
    DrawnDistribution,
    Gaussian,
    GaussianMixture,
    PredictiveDistribution,
    Quantiles,
    interval95,
)

Array = NDArray[Any]

_LOW_LEVELS = (0.005, 0.01, ENDS_95[0], 0.05, 0.1, ENDS_68[0], 0.2, 0.3, 0.4)
LEVELS_OF_DRAWS = (*_LOW_LEVELS, 0.5, *(1 - level for level in reversed(_LOW_LEVELS)))
"""Levels of the quantiles by which a table holds a distribution that is known by draws."""


class EpochLoss(MeanMetric):
    """Weighted mean of losses; they are looked at elsewhere, so that to add one is two short steps."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")

    @torch.no_grad()
    def update(self, value: torch.Tensor, weight: int) -> None:  # type: ignore[override]
        """Add the mean loss of so many rows."""
        self.mean_value.add_(value, alpha=weight)
        self.weight.add_(weight)


@dataclass(frozen=True)
class Collected:
    """Predictions of rows as arrays: rows r, targets t; truth is None for data without it."""

    event_id: Array
    mean: Array
    covariance: Array
    spread: Array
    """(r, t) standard deviations with all tails and modes: where it exceeds `std`, the row may be an outlier."""
    interval95: Array
    """(r, t, 2) ends of the central 95.45 %."""
    truth: Array | None
    log_density: Array | None = None
    """(r, t) logarithm of each target's own stated density at the truth; NaN for heads without one."""
    observables: dict[str, Array] = field(default_factory=dict)
    posterior: dict[str, Array] = field(default_factory=dict)
    """Columns of the whole distribution, where it was asked for; probabilities of classes always."""
    seconds: float = 0.0
    """Wall time from the noisy records to these numbers, in s."""

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def std(self) -> Array:
        """Standard deviations (r, t)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @classmethod
    def join(cls, parts: Sequence[Collected]) -> Collected:
        """Put parts together in order of event_id, each row once."""
        event_id = np.concatenate([part.event_id for part in parts])
        kept = np.unique(event_id, return_index=True)[1]
        truths = [part.truth for part in parts if part.truth is not None]
        densities = [part.log_density for part in parts if part.log_density is not None]
        return cls(
            event_id[kept],
            np.concatenate([part.mean for part in parts])[kept],
            np.concatenate([part.covariance for part in parts])[kept],
            np.concatenate([part.spread for part in parts])[kept],
            np.concatenate([part.interval95 for part in parts])[kept],
            np.concatenate(truths)[kept] if len(truths) == len(parts) else None,
            np.concatenate(densities)[kept] if len(densities) == len(parts) else None,
            {name: np.concatenate([part.observables[name] for part in parts])[kept] for name in parts[0].observables},
            {name: np.concatenate([part.posterior[name] for part in parts])[kept] for name in parts[0].posterior},
            sum(part.seconds for part in parts),
        )

    @classmethod
    def gather(cls, parts: Sequence[Collected], world_size: int) -> Collected:
        """Join the parts of all processes; every process gets the whole."""
        mine = cls.join(parts)
        if world_size == 1:
            return mine
        everyone: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(everyone, mine)
        return cls.join(everyone)


def collect(
    distribution: PredictiveDistribution,
    batch: Mapping[str, Any],
    calibrations: Sequence[Calibration],
    *,
    whole: bool = False,
) -> Collected:
    """Return the predictions of one batch on the host; the calibrations are those of the predictor's members.

    `whole`: the whole distribution too, which tables keep and a training's own scores do not need.
    """
    truth = batch.get("targets")
    return Collected(
        _host(batch["event_id"]),
        _host(distribution.estimate),
        _host(distribution.error_covariance),
        _host(distribution.std),
        _host(torch.stack(interval95(distribution, calibrations), dim=-1)),
        None if truth is None else _host(truth),
        None if truth is None else _host(distribution.marginal_log_prob(truth)),
        {name: _host(values) for name, values in batch.get("observables", {}).items()},
        {name: _host(values) for name, values in posterior_columns(distribution).items()}
        if whole or isinstance(distribution, Categorical)
        else {},
    )


def posterior_columns(distribution: PredictiveDistribution) -> dict[str, torch.Tensor]:
    """Return the columns that hold a whole distribution, as `cres.schema` names them; none for a point estimate."""
    if isinstance(distribution, Quantiles):
        levels = distribution.levels.expand(distribution.values.shape[0], -1)  # len() would fix an exported batch
        return {schema.POSTERIOR_LEVEL: levels, schema.POSTERIOR_QUANTILE: distribution.values}
    if isinstance(distribution, DrawnDistribution):
        levels = distribution.values.new_tensor(LEVELS_OF_DRAWS)
        values = torch.stack([distribution.quantile(level) for level in LEVELS_OF_DRAWS], dim=-1)
        return {schema.POSTERIOR_LEVEL: levels.expand(len(values), -1), schema.POSTERIOR_QUANTILE: values}
    if isinstance(distribution, Categorical):
        codes = distribution.codes.expand(distribution.log_probs.shape[0], -1)
        return {schema.CLASS_CODE: codes, schema.CLASS_PROBABILITY: distribution.probabilities}
    if isinstance(distribution, Gaussian):
        location, cholesky = distribution.location.unsqueeze(1), distribution.cholesky.unsqueeze(1)
        weight = torch.ones_like(location[..., 0])
        return _mixture_columns(weight, location, cholesky)
    if isinstance(distribution, GaussianMixture):
        return _mixture_columns(distribution.log_weights.exp(), distribution.locations, distribution.choleskys)
    return {}


def _mixture_columns(weight: torch.Tensor, mean: torch.Tensor, cholesky: torch.Tensor) -> dict[str, torch.Tensor]:
    return {schema.POSTERIOR_WEIGHT: weight, schema.POSTERIOR_MEAN: mean, schema.POSTERIOR_CHOLESKY: cholesky}


def _host(values: torch.Tensor) -> Array:
    return values.detach().cpu().numpy()


def metric_name(column: str, metric: str) -> str:
    """Return the name of a figure with its unit: energy_eV, sigma68 → val/energy_sigma68_eV."""
    stem, _, unit = column.rpartition("_")
    return f"val/{stem}_{metric}_{unit}" if stem else f"val/{column}_{metric}"


def validation_metrics(collected: Collected, targets: Sequence[str]) -> dict[str, float]:
    """Return σ68 of each target in its unit and the share of truths within one stated standard deviation.

    Of classes the shares that are told right, the area under the curve and the calibration error.
    """
    if collected.truth is None:
        return {}
    if schema.CLASS_PROBABILITY in collected.posterior:
        return {f"val/{name}": value for name, value in separation_figures(told_of(collected)).items()}
    residual = collected.mean - collected.truth
    figures = {metric_name(name, "sigma68"): sigma68(residual[:, i]) for i, name in enumerate(targets)}
    if np.isfinite(collected.std).any():
        figures["val/coverage"] = float(
            np.mean([coverage(residual[:, i], collected.std[:, i]) for i in range(len(targets))])
        )
    return figures


def told_of(collected: Collected) -> Told:
    """Return what was stated of classes, with the truth. Of predictions of a head that classifies."""
    assert collected.truth is not None
    codes, probabilities = (collected.posterior[name] for name in (schema.CLASS_CODE, schema.CLASS_PROBABILITY))
    return Told.of(collected.truth[:, 0], codes[0] if len(codes) else np.zeros(0), probabilities)
