"""Every estimator by its name: what `scripts/estimate.py` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from cres.errors import UserError, nearest
from cres.estimation import model_methods, spectral_methods
from cres.estimation.bounds import TIED
from cres.estimation.recordings import Recordings, Rows
from cres.estimation.tables import Estimates, to_table
from cres.estimation.task import Task, config_of
from cres.evaluation.table import PredictionTable
from cres.simulation.config import SimulationConfig

Method = Callable[[Task, SimulationConfig, Recordings, Rows], tuple[Estimates, float]]
METHODS: dict[str, tuple[str, Method]] = {
    "carrier": ("carrier alone", spectral_methods.carrier),
    "peaks": ("spectral peaks", spectral_methods.peaks),
    "matched-filter": ("matched filter", model_methods.matched_filter),
    "likelihood": ("maximum likelihood", model_methods.likelihood),
    "seeded": ("network-seeded likelihood", model_methods.seeded),
    "bound": ("Cramér–Rao bound", model_methods.bound),
}
"""Name on the command line → display name and function."""


def run(task: Task, config: SimulationConfig | None = None) -> PredictionTable:
    """Estimate the electrons of a task; `config` is the apparatus (default: that of the data, else the default one)."""
    if task.method not in METHODS:
        known = ", ".join(METHODS)
        raise UserError(f"unknown method {task.method!r}{nearest(task.method, METHODS)}: known are {known}")
    recordings = Recordings(
        task.data, task.noise_scale, task.noise_seed, task.split_seed, task.fractions, task.noise_spectrum
    )
    rows = recordings.rows(task.split)[task.first :][: task.limit]
    config = config or config_of(recordings)
    display, method = METHODS[task.method]
    if task.method == "bound" and task.bound != TIED:
        display += f", {task.bound.replace('-', ' ')}"
    estimates, seconds = method(task, config, recordings, rows)
    made_with = {**asdict(task), "simulation": asdict(config)}
    return to_table(recordings, rows, estimates, display, seconds / len(rows), made_with)
