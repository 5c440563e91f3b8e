"""How well endpoint and neutrino mass can be measured, from fits of pseudo-experiments and from Fisher information."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.binned import BinnedLikelihood
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.information import fisher_errors
from cres.endpoint.likelihood import NUISANCES, PARAMETERS, EndpointLikelihood, FitWindow
from cres.endpoint.limits import feldman_cousins_upper
from cres.endpoint.pseudo import Experiment
from cres.progress import track

Array = NDArray[np.float64]

BELOW_EV, ABOVE_EV = 40.0, 20.0
"""Window of the study, below and above the endpoint."""
ASIMOV_BIN_EV = 0.25
DEFAULT_ELECTRONS = (300.0, 1000.0, 3000.0, 10_000.0)
DEFAULT_RESOLUTIONS_EV = (0.3, 1.0, 3.0)
DEFAULT_BACKGROUNDS = (1e-4, 0.02)


@dataclass(frozen=True)
class Sensitivity:
    """Uncertainties at one point of the study; `…_expected` from the Fisher information.

    `endpoint_ev` for a massless neutrino, the median of pseudo-experiments; `mass_squared_ev2` with the endpoint free,
    towards larger masses, from a data set without fluctuations; `mass_limit_ev` is the Feldman–Cousins limit at 90 %
    that a result of m² = 0 would give.
    """

    electrons: float
    resolution_ev: float
    background_fraction: float
    endpoint_ev: float
    endpoint_expected_ev: float
    mass_squared_ev2: float
    mass_squared_expected_ev2: float
    mass_limit_ev: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)


def study(
    experiment: Experiment,
    electrons: Sequence[float] = DEFAULT_ELECTRONS,
    resolutions_ev: Sequence[float] = DEFAULT_RESOLUTIONS_EV,
    backgrounds: Sequence[float] = DEFAULT_BACKGROUNDS,
    toys: int = 5,
    seed: int = 0,
) -> list[Sensitivity]:
    """Vary electrons, resolution and background one at a time around the middle of each range, `toys` fits a point."""
    middle = (electrons[len(electrons) // 2], resolutions_ev[len(resolutions_ev) // 2], backgrounds[0])
    points = list(
        dict.fromkeys(
            [(number, middle[1], middle[2]) for number in electrons]
            + [(middle[0], resolution, middle[2]) for resolution in resolutions_ev]
            + [(middle[0], middle[1], background) for background in backgrounds]
        )
    )
    window = FitWindow(experiment.endpoint_ev - BELOW_EV, experiment.endpoint_ev + ABOVE_EV)
    made = (_point(replace(experiment, window=window), *point, toys, seed) for point in points)
    return list(track(made, "sensitivity", len(points), "points"))


def _point(
    base: Experiment, electrons: float, resolution: float, background: float, toys: int, seed: int
) -> Sensitivity:
    experiment = replace(
        base, electrons=electrons, background_fraction=background, std_low_ev=resolution, std_high_ev=resolution
    )
    expected = fisher_errors(electrons, resolution, background, BELOW_EV, ABOVE_EV)
    mass = _mass_error(experiment)
    return Sensitivity(
        electrons,
        resolution,
        background,
        float(np.median(list(_endpoint_errors(experiment, toys, seed)))),
        expected[0],
        mass,
        expected[1],
        float(np.sqrt(feldman_cousins_upper(0.0) * mass)),
    )


def _endpoint_errors(experiment: Experiment, toys: int, seed: int) -> Iterator[float]:
    response = experiment.response()
    for index in range(toys):
        energy, std, _ = experiment.generate(np.random.default_rng([seed, index]))
        likelihood = EndpointLikelihood(energy, std, response, experiment.window, experiment.physics)
        yield fit_endpoint(likelihood).endpoint_error_ev


def _mass_error(experiment: Experiment) -> float:
    """Return the error of m² in the fit of a data set without fluctuations, in fine bins."""
    bins = int(experiment.window.width_ev / ASIMOV_BIN_EV)
    empty = np.empty(0)
    binned = BinnedLikelihood(empty, empty, experiment.response(), experiment.window, experiment.physics, bins=bins)
    truth = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES
    truth |= {
        "endpoint_ev": experiment.endpoint_ev,
        "signal": experiment.electrons * (1 - experiment.background_fraction),
        "background": experiment.electrons * experiment.background_fraction,
    }
    fit = fit_endpoint(binned.asimov(truth), free_mass=True, minos=("mass_squared_ev2",), start=truth)
    hesse = fit.errors["mass_squared_ev2"]
    return fit.minos.get("mass_squared_ev2", (-hesse, hesse))[1]
