"""A small case without files: tables as a calibrated estimator would write them, for the notebook and for trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.physics.beta import T2_ENDPOINT_EV, sample_beta_spectrum
from cres.physics.final_states import FinalStates
from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]

TRAINING_WINDOW_EV = (18_500.0, 18_700.0)
MEDIAN_RESOLUTION_EV, RESOLUTION_SPREAD = 1.5, 1.1
"""Median and log-normal width of the resolution, like that of a small network on the default apparatus."""


def example_tables(
    calibration: int = 3000,
    electrons: int = 4000,
    endpoint_ev: float = T2_ENDPOINT_EV,
    seed: int = 0,
    final_states: str = "none",
) -> tuple[PredictionTable, PredictionTable]:
    """Return (tritium, calibration) tables of an estimator that was trained on a flat window.

    It returns mean and standard deviation of the posterior under that window. `electrons` tritium electrons are drawn
    from 30 eV below the window up to the endpoint, with `final_states` (T2, HT, DT, T, none).
    """
    generator = np.random.default_rng(seed)
    low, high = TRAINING_WINDOW_EV
    flat = generator.uniform(low, high, calibration)
    tritium = sample_beta_spectrum(
        electrons, low - 30.0, high, endpoint_ev, generator, final_states=FinalStates.of(final_states)
    )
    return (
        _table(tritium, generator, calibration, {"true_endpoint_ev": endpoint_ev, "final_states": final_states}),
        _table(flat, generator, 0, {}),
    )


def posterior_mean_and_std(measured_ev: Array, resolution_ev: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the energy under a flat prior over the training window, (electron,)."""
    energies = np.linspace(*TRAINING_WINDOW_EV, 2001)
    log_weight = -0.5 * ((energies - measured_ev[:, None]) / resolution_ev[:, None]) ** 2
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ energies
    return mean, np.sqrt((weight * (energies - mean[:, None]) ** 2).sum(axis=1))


def _table(truth: Array, generator: np.random.Generator, first: int, extra: dict[str, float | str]) -> PredictionTable:
    resolution = MEDIAN_RESOLUTION_EV * np.exp(RESOLUTION_SPREAD * generator.standard_normal(len(truth)))
    measured = truth + resolution * generator.standard_normal(len(truth))
    mean, std = posterior_mean_and_std(measured, resolution)
    columns = {
        "event_id": first + np.arange(len(truth)),
        "energy_ev": mean,
        "energy_std_ev": std,
        "true_energy_ev": truth,
        schema.SPLIT: np.full(len(truth), schema.SPLITS["new"]),
    }
    return PredictionTable(columns, {"targets": ["energy_ev"], "estimator": "example", **extra})
