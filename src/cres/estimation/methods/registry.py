"""Every estimator by its name: what `scripts/estimate.py` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from cres.errors import UserError, nearest
from cres.estimation.bound.electrons import TIED
from cres.estimation.estimates import Estimated
from cres.estimation.methods import model, spectral
from cres.estimation.methods.recordings import Recordings, Rows
from cres.estimation.methods.table import stamped, to_table
from cres.estimation.methods.task import Task, config_of, with_gain_std
from cres.simulation.config import SimulationConfig
from reconstruction.judging.tables.table import PredictionTable

Method = Callable[[Task, SimulationConfig, Recordings, Rows], tuple[Estimated, float]]
METHODS: dict[str, tuple[str, Method]] = {
    "carrier": ("carrier alone", spectral.carrier),
    "peaks": ("spectral peaks", spectral.peaks),
    "matched-filter": ("matched filter", model.matched_filter),
    "likelihood": ("maximum likelihood", model.likelihood),
    "seeded": ("network-seeded likelihood", model.seeded),
    "bound": ("Cramér–Rao bound", model.bound),
}
"""Name on the command line → display name and function."""
NEED_NO_APPARATUS = ("carrier",)
SEEK_IN_BAND = ("carrier", "peaks")


def run(task: Task, config: SimulationConfig | None = None) -> PredictionTable:
    """Estimate the electrons of a task; `config` is the apparatus (default: that of the data).

    Raises UserError for a method that needs an apparatus where neither tells.
    """
    if task.method not in METHODS:
        known = ", ".join(METHODS)
        raise UserError(f"unknown method {task.method!r}{nearest(task.method, METHODS)}: known are {known}")
    density = None if config is None else config.readout.density_w_per_hz
    recordings = Recordings(
        task.data, task.noise_scale, task.noise_seed, task.split_seed, task.fractions, task.noise_spectrum, density
    )
    rows = recordings.rows(task.split)[task.first :][: task.limit]
    if not len(rows):
        raise UserError(
            f"the {task.split} split has {len(recordings.rows(task.split))} electrons: none is left after --first "
            f"{task.first}"
        )
    _require_band(task, recordings.records.sampling_rate_hz)
    config = config or config_of(recordings) or _without_apparatus(task, recordings)
    config = with_gain_std(task, config)
    display, method = METHODS[task.method]
    if task.method == "bound" and task.bound != TIED:
        display += f", {task.bound.replace('-', ' ')}"
    estimates, seconds = method(task, config, recordings, rows)
    spectrum = None if recordings.spectrum is None else recordings.spectrum.source
    made_with = {**asdict(task), "noise_spectrum": spectrum, "simulation": asdict(config)}
    table = to_table(recordings, rows, estimates, display, seconds / len(rows), made_with)
    return stamped(table, task, recordings, rows)


def _require_band(task: Task, sampling_rate_hz: float) -> None:
    """Raise UserError where a method would seek carriers in a band that the records do not have."""
    low, high = task.band_hz
    if task.method in SEEK_IN_BAND and not -sampling_rate_hz / 2 <= low < high <= sampling_rate_hz / 2:
        raise UserError(
            f"carriers are sought from {low:g} to {high:g} Hz after mixing, which is no band within "
            f"±{sampling_rate_hz / 2:g} Hz, half of the sampling rate: give --band-hz LOW HIGH"
        )


def _without_apparatus(task: Task, recordings: Recordings) -> SimulationConfig:
    """Return the default apparatus for a method that does not look at it."""
    if task.method not in NEED_NO_APPARATUS:
        raise UserError(
            f"{recordings.records.files[0].path} does not say of which trap and cavity its records are, and the method "
            f"{task.method} needs to know: name a file of yours or one of configs/simulation/ with -c (the "
            "default trap is -c cavity_26ghz)"
        )
    return SimulationConfig.default()
