"""One estimator by name over the electrons of data files: what `scripts/estimate.py` runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError, nearest
from cres.estimation.apparatus import Apparatus
from cres.estimation.carrier import CarrierCurve
from cres.estimation.peak_estimator import PeakEstimator, comb_search, concatenated, find
from cres.estimation.periodogram import centred_spectrum, strongest_line
from cres.estimation.recordings import Recordings, Rows
from cres.estimation.tables import Estimates, joined, to_table
from cres.evaluation.table import PredictionTable
from cres.simulation.config import SimulationConfig

Array = NDArray[np.float64]
DEFAULT_BAND_HZ = (-80e6, -45e6)
BLOCK = 64


@dataclass(frozen=True)
class Task:
    """What is asked for: which electrons, which noise, which apparatus."""

    data: str | list[str]
    method: str
    split: str = "test"
    limit: int | None = None
    training_electrons: int = 4000
    band_hz: tuple[float, float] = DEFAULT_BAND_HZ
    noise_scale: float = 1.0
    noise_seed: int = 0
    split_seed: int = 0


def run(task: Task, config: SimulationConfig | None = None) -> PredictionTable:
    """Estimate the electrons of a task; `config` is the apparatus (default: that of the data, else the default one)."""
    if task.method not in METHODS:
        known = ", ".join(METHODS)
        raise UserError(f"unknown method {task.method!r}{nearest(task.method, METHODS)}: known are {known}")
    recordings = Recordings(task.data, task.noise_scale, task.noise_seed, task.split_seed)
    rows = recordings.rows(task.split, task.limit)
    config = config or config_of(recordings)
    display, method = METHODS[task.method]
    estimates, seconds = method(task, config, recordings, rows)
    return to_table(recordings, rows, estimates, display, seconds / len(rows), asdict(task))


def config_of(recordings: Recordings) -> SimulationConfig:
    """Return the apparatus that the data say they were simulated with, or the default one."""
    text = recordings.records.files[0].attributes.get("config", "{}")
    content = json.loads(text) if isinstance(text, str) else {}
    if not isinstance(content, dict) or "trap" not in content:
        return SimulationConfig.default()
    return SimulationConfig.from_dict(content)


def timed_blocks(
    recordings: Recordings, rows: Rows, estimate: Callable[[torch.Tensor, Rows], Estimates], description: str
) -> tuple[Estimates, float]:
    """Estimate block by block; return all estimates and the seconds spent in the estimator alone."""
    parts, seconds = [], 0.0
    for part, series in recordings.blocks(rows, BLOCK, description):
        begin = time.perf_counter()
        parts.append(estimate(series, part))
        seconds += time.perf_counter() - begin
    return joined(parts), seconds


def training_rows(task: Task, recordings: Recordings) -> Rows:
    """Return the training electrons that curves and spreads are fitted on."""
    return recordings.rows("train", task.training_electrons)


# Carrier alone ----------------------------------------------------------------------------------------------------


def carrier(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimates, float]:
    """Energy from the carrier alone, by a curve fitted on the training split."""
    training = training_rows(task, recordings)
    observed = np.concatenate(list(carriers(task, recordings, training, "carriers, training")))
    curve = CarrierCurve.fit(observed, recordings.truth(schema.ENERGY, training))

    def estimate(series: torch.Tensor, _: Rows) -> Estimates:
        found = line_hz(series, recordings.records.sampling_rate_hz, task.band_hz)
        energy, std = curve(found)
        return Estimates({schema.ENERGY: energy}, {schema.ENERGY: std}, {"peak_carrier_hz": found})

    return timed_blocks(recordings, rows, estimate, "energy from the carrier")


def carriers(task: Task, recordings: Recordings, rows: Rows, description: str) -> Iterator[Array]:
    """Yield the strongest line after mixing of each block."""
    for _, series in recordings.blocks(rows, BLOCK, description):
        yield line_hz(series, recordings.records.sampling_rate_hz, task.band_hz)


def line_hz(series: torch.Tensor, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Array:
    """Return the strongest line after mixing, (batch,)."""
    return strongest_line(series, centred_spectrum(series, sampling_rate_hz), band_hz).numpy()


# Peaks ------------------------------------------------------------------------------------------------------------


def peaks(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimates, float]:
    """Energy and pitch angle from carrier and comb; from the carrier alone where the comb is not significant."""
    apparatus = apparatus_of(task, config)
    search = comb_search(apparatus, task.band_hz)
    training = training_rows(task, recordings)
    found = [find(apparatus, series, search) for _, series in recordings.blocks(training, BLOCK, "peaks, training")]
    truth = {name: recordings.truth(name, training) for name in schema.DEFAULT_TARGETS}
    estimator = PeakEstimator.fit(apparatus, search, concatenated(found), truth)

    def estimate(series: torch.Tensor, _: Rows) -> Estimates:
        return estimator.estimate(find(apparatus, series, search))

    return timed_blocks(recordings, rows, estimate, "spectral peaks")


def apparatus_of(task: Task, config: SimulationConfig) -> Apparatus:
    """Return the apparatus with the noise that the records carry: nominal where none is injected."""
    return Apparatus.from_config(config, task.noise_scale or 1.0)


Method = Callable[[Task, SimulationConfig, Recordings, Rows], tuple[Estimates, float]]
METHODS: dict[str, tuple[str, Method]] = {
    "carrier": ("carrier alone", carrier),
    "peaks": ("spectral peaks", peaks),
}
