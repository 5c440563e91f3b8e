"""The simple estimators as methods: carrier alone, spectral peaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from cres import schema
from cres.estimation.estimates import Estimated
from cres.estimation.methods.recordings import Recordings, Rows
from cres.estimation.methods.task import BLOCK, Task, apparatus_of, timed_blocks, training_rows
from cres.estimation.placement import choose_device, on_host
from cres.estimation.search.periodogram import centred_spectrum, strongest_line
from cres.estimation.simple.carrier import CarrierCurve
from cres.estimation.simple.peak_estimator import PeakEstimator, comb_search, concatenated, find
from cres.simulation.config import SimulationConfig
from cres.simulation.forward import size_for

Array = NDArray[np.float64]


def carrier(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimated, float]:
    """Energy from the carrier alone, by a curve fitted on the training split."""
    training = training_rows(task, recordings)
    observed = np.concatenate(list(carriers(task, recordings, training, "carriers, training")))
    curve = CarrierCurve.fit(observed, recordings.truth(schema.ENERGY, training))

    def estimate(series: torch.Tensor, _: Rows) -> Estimated:
        found = line_hz(series, recordings.records.sampling_rate_hz, task.band_hz)
        energy, std = curve(found)
        return Estimated({schema.ENERGY: energy}, {schema.ENERGY: std}, {"peak_carrier_hz": found})

    return timed_blocks(task, recordings, rows, estimate, "energy from the carrier")


def carriers(task: Task, recordings: Recordings, rows: Rows, description: str) -> Iterator[Array]:
    """Yield the strongest line after mixing of each block."""
    device = choose_device(task.device)
    for _, series in recordings.blocks(rows, size_for(BLOCK, device), description):
        yield line_hz(series.to(device), recordings.records.sampling_rate_hz, task.band_hz)


def line_hz(series: torch.Tensor, sampling_rate_hz: float, band_hz: tuple[float, float]) -> Array:
    """Return the strongest line after mixing, (batch,)."""
    return on_host(strongest_line(series, centred_spectrum(series, sampling_rate_hz), band_hz))


def peaks(task: Task, config: SimulationConfig, recordings: Recordings, rows: Rows) -> tuple[Estimated, float]:
    """Energy and pitch angle from carrier and comb; from the carrier alone where the comb is not significant."""
    apparatus = apparatus_of(task, config)
    search = comb_search(apparatus, task.band_hz)
    training = training_rows(task, recordings)
    blocks = recordings.blocks(training, size_for(BLOCK, apparatus.device), "peaks, training")
    found = [find(apparatus, series.to(apparatus.device), search) for _, series in blocks]
    truth = {name: recordings.truth(name, training) for name in schema.DEFAULT_TARGETS}
    estimator = PeakEstimator.fit(apparatus, search, concatenated(found), truth)

    def estimate(series: torch.Tensor, _: Rows) -> Estimated:
        return estimator.estimate(find(apparatus, series, search))

    return timed_blocks(task, recordings, rows, estimate, "spectral peaks")
