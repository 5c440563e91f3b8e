"""The estimators that know the forward model, as methods: matched filter, likelihoods, the bound."""

from __future__ import annotations

import numpy as np
import torch

from cres import schema
from cres.errors import UserError
from cres.estimation.bound.electrons import RADIUS_BLIND_TRAPS, electron_bounds, freedom
from cres.estimation.estimates import Estimates
from cres.estimation.fit.likelihood import Likelihood, LikelihoodEstimator
from cres.estimation.fit.posterior import cholesky_factors, with_fit
from cres.estimation.fit.seeded import Seed, SeededEstimator, with_network
from cres.estimation.methods.recordings import Recordings, Rows
from cres.estimation.methods.task import BLOCK, FIT_BLOCK, Task, apparatus_of, timed_blocks, training_rows
from cres.estimation.placement import on_host
from cres.estimation.radial.posterior import RadialEstimator, RadialPosterior
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.simple.filter_estimator import FilterEstimator
from cres.simulation.config import SimulationConfig
from cres.simulation.forward import PARAMETERS
from reconstruction.judging.tables.table import PredictionTable

# The filter is slower than a periodogram, and its spread needs no more.
FILTER_TRAINING_ELECTRONS = 1000
# Templates of this many electrons are held at a time, some MB an electron.
RADIAL_BLOCK = 64
NEAR_NINETY_SIGMAS = 3.0


def matched_filter(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimates, float]:
    """Energy and pitch angle of the best template; which electrons pass the threshold."""
    search = MatchedFilter(apparatus_of(task, config), recordings.noise_model)
    training = training_rows(task, recordings)[:FILTER_TRAINING_ELECTRONS]
    blocks = recordings.blocks(training, BLOCK, "matched filter, training")
    found = [search(series.to(search.apparatus.device)) for _, series in blocks]
    truth = {name: recordings.truth(name, training) for name in schema.DEFAULT_TARGETS}
    estimator = FilterEstimator.fit(search, found, truth, search.threshold(task.false_alarm_probability))
    return timed_blocks(task, recordings, rows, lambda series, _: estimator.estimate(search(series)), "matched filter")


def likelihood(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimates, float]:
    """Maximum likelihood from the matched filter's best candidates; with a radial field, the posterior over it."""
    if config.trap.kind in RADIUS_BLIND_TRAPS:
        estimator = likelihood_estimator(task, config, recordings)
        return timed_blocks(
            task,
            recordings,
            rows,
            lambda series, _: likelihood_estimates(estimator.estimate(series)),
            "maximum likelihood",
            FIT_BLOCK,
        )
    radial = RadialEstimator(MatchedFilter(apparatus_of(task, config), recordings.noise_model))
    return timed_blocks(
        task,
        recordings,
        rows,
        lambda series, _: radial_estimates(radial.estimate(series)),
        "posterior over the radius",
        RADIAL_BLOCK,
    )


def seeded(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimates, float]:
    """Maximum likelihood within the network's uncertainty; the network's answer where the fit fails."""
    if task.network is None:
        raise UserError("a seeded likelihood needs the network's predictions: name them with --network TABLE")
    table = PredictionTable.read(task.network)
    estimator = SeededEstimator(likelihood_estimator(task, config, recordings))

    def estimate(series: torch.Tensor, part: Rows) -> Estimates:
        seed = Seed.of(table, recordings.records.event_ids[part])
        found, fell_back = estimator.estimate(series, seed)
        return with_network(likelihood_estimates(found), seed, fell_back)

    return timed_blocks(task, recordings, rows, estimate, "network-seeded likelihood", FIT_BLOCK)


def bound(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimates, float]:
    """The Cramér–Rao bound at the true parameters; estimates are the truth itself."""
    apparatus, free = apparatus_of(task, config), freedom(config, task.bound, task.bound_free)
    noise = recordings.noise_model.to(apparatus.device)

    def bounds(_: torch.Tensor, part: Rows) -> Estimates:
        parameters = true_parameters(recordings, part).to(apparatus.device)
        return electron_bounds(apparatus, config, parameters, noise, free)

    return timed_blocks(task, recordings, rows, bounds, "Cramér–Rao bound")


def likelihood_estimator(task: Task, config: SimulationConfig, recordings: Recordings) -> LikelihoodEstimator:
    """Return the estimator of an apparatus. Raises UserError where the radius moves frequencies.

    The fit takes the radius from the strength, inside the best one: two radii that look alike must be alike.
    """
    if config.trap.kind not in RADIUS_BLIND_TRAPS:
        raise UserError(
            f"the seeded likelihood handles traps in which the radius moves no frequency, "
            f"{' and '.join(RADIUS_BLIND_TRAPS)}, not {config.trap.kind!r}: use the method likelihood, or the network"
        )
    return LikelihoodEstimator(MatchedFilter(apparatus_of(task, config), recordings.noise_model))


def radial_estimates(found: RadialPosterior) -> Estimates:
    """Return the middles of the shortest intervals with half their widths, and both solutions with their weights."""
    intervals = dict(zip(schema.DEFAULT_TARGETS, (found.energy_ev, found.pitch_angle_deg), strict=True))
    ends = {
        name: on_host(values)
        for target, (_, wide) in intervals.items()
        for name, values in zip(schema.interval95_names(target), (wide.low, wide.high), strict=True)
    }
    solutions = {
        f"{side}_{name}": on_host(getattr(solution, name))
        for side, solution in (("inner", found.inner), ("outer", found.outer))
        for name in ("weight", "energy_ev", "radius_m")
    }
    extra = {
        "fit_failed": on_host(found.failed),
        "ambiguous": on_host(found.ambiguous),
        "two_solutions": on_host(found.two_solutions),
        "goodness_p": on_host(found.goodness),
        "optimum_weight": on_host(found.weight),
        "noise_probability": on_host(found.elsewhere),
        "detection_statistic": on_host(found.statistic),
        "derivative_evaluations": on_host(found.evaluations),
        **ends,
        **solutions,
    }
    values = {name: on_host(narrow.centre) for name, (narrow, _) in intervals.items()}
    return Estimates(values, {name: on_host(narrow.half_width) for name, (narrow, _) in intervals.items()}, extra)


def true_parameters(recordings: Recordings, rows: Rows) -> torch.Tensor:
    """Return the forward model's parameters of electrons; phases that the data do not have count as 0."""
    scalars = recordings.scalars(rows)
    columns = {schema.prediction_name(name): values for name, values in scalars.items()}
    for name in ("energy_ev", "pitch_angle_deg", "radius_m"):
        if name not in columns:
            raise UserError(f"the bound needs the true {name}, and the data have no such column")
    default = {"start_phase_rad": 0.0, "axial_phase_rad": 0.0, "amplitude": 1.0}
    values = [columns[name] if name in columns else np.full(len(rows), default[name]) for name in PARAMETERS]
    return torch.from_numpy(np.stack(values, 1).astype(np.float64))


def likelihood_estimates(found: Likelihood) -> Estimates:
    """Return energy and pitch angle with uncertainties; honest where another optimum has a share (see `modes`).

    The curvature says little within a few error bars of 90°, where an electron hardly moves within the record: there
    the templates have a say, too. Where it gives no uncertainty at all, only they have, and the fit counts as failed.
    """
    values = dict(zip(schema.DEFAULT_TARGETS, (on_host(found.parameters[:, i]) for i in range(2)), strict=True))
    covariance = on_host(found.covariance[:, :2, :2])
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    curved = np.isfinite(covariance).all(axis=(1, 2)) & (variance > 0).all(axis=1)
    spread = np.sqrt(np.where(curved[:, None], variance, 0.0))
    correlated = np.where(curved[:, None, None], covariance, np.eye(2))
    credible = (on_host(found.credible_ev), on_host(found.credible_deg))
    ambiguous = on_host(found.ambiguous)
    slow = on_host(found.parameters[:, 1]) + NEAR_NINETY_SIGMAS * spread[:, 1] > 90
    wide = (ambiguous | ~curved, ambiguous | ~curved | slow)
    widths = [np.where(wide[i], np.maximum(spread[:, i], credible[i]), spread[:, i]) for i in range(2)]
    std = dict(zip(schema.DEFAULT_TARGETS, widths, strict=True))
    scale = np.stack(widths, 1) / np.where(curved[:, None], spread, 1.0)
    extra = {
        "fit_failed": on_host(found.failed) | ~curved,
        "ambiguous": ambiguous,
        "goodness_p": on_host(found.goodness),
        "optimum_weight": on_host(found.weight),
        "detection_statistic": on_host(found.statistic),
        "derivative_evaluations": on_host(found.evaluations),
        "fitted_radius_m": on_host(found.parameters[:, PARAMETERS.index("radius_m")]),
    }
    stated = correlated * scale[:, :, None] * scale[:, None, :]
    posterior = _posterior(found, np.where((ambiguous & curved)[:, None, None], covariance, stated), ambiguous)
    return Estimates(values, std, {**extra, **posterior}, stated)


def _posterior(found: Likelihood, covariance: np.ndarray, ambiguous: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of the whole posterior: the fit alone, or with the other optima where it is ambiguous."""
    host = [torch.from_numpy(on_host(part)) for part in (found.parameters[:, :2], found.weight, *found.others)]
    fit, share, *others = host
    share = torch.where(torch.from_numpy(ambiguous), share, 1.0)
    weight, mean, spread = with_fit(fit, torch.from_numpy(covariance), share, (others[0], others[1], others[2]))
    cholesky = cholesky_factors(spread)
    return dict(zip(schema.POSTERIOR_COLUMNS[:3], (v.numpy() for v in (weight, mean, cholesky)), strict=True))
