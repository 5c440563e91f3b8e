"""The estimators that know the forward model, as methods: matched filter, likelihoods, the bound."""

from __future__ import annotations

from typing import Any

import torch

from cres import schema
from cres.errors import UserError
from cres.estimation.bound.electrons import RADIUS_BLIND_TRAPS, electron_bounds, freedom
from cres.estimation.estimates import Estimated
from cres.estimation.fit.likelihood import LikelihoodEstimator, likelihood_estimates
from cres.estimation.fit.seeded import Seed, SeededEstimator, with_network
from cres.estimation.methods.recordings import Recordings, Rows
from cres.estimation.methods.task import BLOCK, FIT_BLOCK, Task, apparatus_of, timed_blocks, training_rows
from cres.estimation.placement import on_host
from cres.estimation.radial.posterior import RadialEstimator, RadialPosterior
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.simple.filter_estimator import FilterEstimator
from cres.simulation.config import SimulationConfig
from cres.simulation.forward import size_for
from cres.simulation.parameters import PARAMETERS, parameter_rows
from reconstruction.judging.tables.joins import require_truth_of
from reconstruction.judging.tables.table import PredictionTable

# The filter is slower than a periodogram, and its spread needs no more.
FILTER_TRAINING_ELECTRONS = 1000
# Templates of this many electrons are held at a time, some MB an electron.
RADIAL_BLOCK = {"cpu": 64, "cuda": 512}


def matched_filter(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimated, float]:
    """Energy and pitch angle of the best template; which electrons pass the threshold."""
    search = MatchedFilter(apparatus_of(task, config), recordings.noise_model)
    training = training_rows(task, recordings)[:FILTER_TRAINING_ELECTRONS]
    blocks = recordings.blocks(training, size_for(BLOCK, search.apparatus.device), "matched filter, training")
    found = [search(series.to(search.apparatus.device)) for _, series in blocks]
    truth = {name: recordings.truth(name, training) for name in schema.DEFAULT_TARGETS}
    estimator = FilterEstimator.fit(search, found, truth, search.threshold(task.false_alarm_probability))
    return timed_blocks(task, recordings, rows, lambda series, _: estimator.estimate(search(series)), "matched filter")


def likelihood(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimated, float]:
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


def seeded(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimated, float]:
    """Maximum likelihood within the network's uncertainty; the network's answer where the fit fails."""
    if task.network is None:
        raise UserError("a seeded likelihood needs the network's predictions: name them with --network TABLE")
    table = _answers(task.network, recordings)
    estimator = SeededEstimator(likelihood_estimator(task, config, recordings))

    def estimate(series: torch.Tensor, part: Rows) -> Estimated:
        seed = Seed.of(table, recordings.records.event_ids[part])
        found, fell_back = estimator.estimate(series, seed)
        return with_network(likelihood_estimates(found), seed, fell_back)

    return timed_blocks(task, recordings, rows, estimate, "network-seeded likelihood", FIT_BLOCK)


def _answers(network: str, recordings: Recordings) -> PredictionTable:
    """Read a network's table. Raises UserError for a bound, and where its electrons are others than the records'."""
    table = PredictionTable.read(network)
    if table.is_bound:
        raise UserError(f"{network} holds the Cramér–Rao bound and no estimates: name a network's predictions")
    require_truth_of(table, recordings.records, "let the network predict these records")
    return table


def bound(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimated, float]:
    """The Cramér–Rao bound at the true parameters; estimates are the truth itself."""
    apparatus, free = apparatus_of(task, config), freedom(config, task.bound, task.bound_free)
    noise = recordings.noise_model.to(apparatus.device)

    def bounds(_: torch.Tensor, part: Rows) -> Estimated:
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


def radial_estimates(found: RadialPosterior) -> Estimated:
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
    return Estimated(values, {name: on_host(narrow.half_width) for name, (narrow, _) in intervals.items()}, extra)


def true_parameters(recordings: Recordings, rows: Rows) -> torch.Tensor:
    """Return the forward model's parameters of electrons; phases that the data do not have count as 0."""
    scalars = recordings.scalars(rows)
    columns: dict[str, Any] = {schema.prediction_name(name): values for name, values in scalars.items()}
    for name in ("energy_ev", "pitch_angle_deg", "radius_m"):
        if name not in columns:
            raise UserError(f"the bound needs the true {name}, and the data have no such column")
    return parameter_rows(**{name: columns[name] for name in PARAMETERS if name in columns})
