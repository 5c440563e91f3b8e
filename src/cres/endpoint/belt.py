"""Pseudo-experiments of the fitted model, and the Neyman construction of the neutrino mass that they make.

Ordering after Feldman and Cousins, Phys. Rev. D 57 (1998) 3873, with nuisance parameters profiled: a squared mass is
accepted when 2 Δ(−ln L) over the best m² ≥ 0 is no larger than in `confidence` of the pseudo-experiments made with it.
Nothing is assumed normal or parabolic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.likelihood import MARGIN_EV, background_density
from cres.endpoint.mass_scan import MassProfile, scan
from cres.endpoint.missed import draw_losses
from cres.endpoint.smeared import ScanSample, SmearedSpectra
from cres.physics.beta import beta_quantile
from cres.physics.final_states import FinalStates

Array = NDArray[np.float64]

QUANTILES = np.concatenate([np.linspace(0.0, 0.99, 4001)[:-1], 1 - np.geomspace(0.01, 1e-6, 400), [1.0]])


@dataclass(frozen=True)
class Expectation:
    """What pseudo-experiments are made of: endpoint in eV, mean numbers of signal and background electrons."""

    endpoint_ev: float
    signal: float
    background: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Belt:
    """For squared masses (mass,): the value of 2 Δ(−ln L) that `confidence` of `toys` pseudo-experiments stay below."""

    mass_squared_ev2: Array
    critical: Array
    confidence: float
    toys: int

    def at(self, mass_squared_ev2: Array | float) -> Array:
        """Return the critical value at squared masses, linear in the mass between those that were made."""
        masses = np.sqrt(np.maximum(mass_squared_ev2, 0.0))
        return np.asarray(np.interp(masses, np.sqrt(self.mass_squared_ev2), self.critical))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "mass_squared_ev2": self.mass_squared_ev2.tolist(),
            "critical": self.critical.tolist(),
            "confidence": self.confidence,
            "toys": self.toys,
        }


def draw_sample(
    spectra: SmearedSpectra, expected: Expectation, mass_squared_ev2: float, generator: np.random.Generator
) -> ScanSample:
    """Draw electrons of the model that a fit assumes: its spectrum, efficiency, resolutions, tail, flat background."""
    parts = [
        _signal(spectra, expected.endpoint_ev, mass_squared_ev2, generator.poisson(expected.signal), generator),
        _background(spectra, generator.poisson(expected.background), generator),
    ]
    energy, width = (np.concatenate([getattr(p, name) for p in parts]) for name in ("energy_ev", "width_ev"))
    return ScanSample(energy, width, np.concatenate([p.label for p in parts]))


def make_belt(
    spectra: SmearedSpectra,
    expectation: Callable[[float], Expectation],
    masses: Sequence[int],
    toys: int,
    confidence: float,
    seed: int = 0,
) -> Belt:
    """Make the belt at the indices `masses` of the tables; `expectation` gives what is expected at a squared mass."""
    critical = [
        np.quantile([*statistics(spectra, expectation, mass, toys, seed)], confidence, method="higher")
        for mass in masses
    ]
    return Belt(spectra.mass_squared_ev2[list(masses)], np.array(critical), confidence, toys)


def statistics(
    spectra: SmearedSpectra, expectation: Callable[[float], Expectation], mass: int, toys: int, seed: int = 0
) -> Iterator[float]:
    """Yield 2 Δ(−ln L) of the true squared mass over the best m² ≥ 0 in pseudo-experiments; toy i keyed by (m, i)."""
    physical = np.flatnonzero(spectra.mass_squared_ev2 >= 0)
    true = float(spectra.mass_squared_ev2[mass])
    expected = expectation(true)
    for index in range(toys):
        sample = draw_sample(spectra, expected, true, np.random.default_rng([seed, mass, index]))
        profile = scan(spectra, sample, physical.tolist())
        yield float(np.maximum(profile.rise()[int(np.searchsorted(physical, mass))], 0.0))


def from_profile(profile: MassProfile, electrons: int) -> Callable[[float], Expectation]:
    """Return what a data set lets expect at each squared mass: the other parameters at their best there."""

    def expectation(mass_squared_ev2: float) -> Expectation:
        share = profile.share(mass_squared_ev2)
        return Expectation(profile.endpoint_ev(mass_squared_ev2), electrons * (1 - share), electrons * share)

    return expectation


def _signal(
    spectra: SmearedSpectra, endpoint_ev: float, mass_squared_ev2: float, count: int, generator: np.random.Generator
) -> ScanSample:
    window, low = spectra.window, spectra.window.low_ev - MARGIN_EV
    # the distance to the endpoint is what is drawn, so that one table serves all endpoints
    depth_ev = 10.0 * np.ceil((endpoint_ev - low) / 10.0)
    physics = spectra.physics
    decay = physics.final_states, tuple(physics.corrections)
    energy = _quantiles(*decay, float(depth_ev), float(mass_squared_ev2)) + endpoint_ev
    found, accepted = np.empty((3, 0)), 0.1
    while found.shape[1] < count:
        batch = int(1.2 * (count - found.shape[1]) / accepted) + 50
        truth = np.interp(generator.random(batch), QUANTILES, energy)
        if spectra.physics.missed_fraction:
            truth = truth - draw_losses(batch, spectra.physics.missed_fraction, generator)
        width, label = _resolutions(spectra, truth, generator)
        ratio = np.array([r for _, r in spectra.response.components()])
        weight = np.array([w for w, _ in spectra.response.components()])
        wide = ratio[generator.choice(len(ratio), batch, p=weight)]
        observed = truth + width * wide * generator.standard_normal(batch)
        good = (label >= 0) & window.contains(observed)
        accepted = max(float(good.mean()), 1e-3)
        found = np.concatenate([found, np.stack([observed, width, label.astype(np.float64)])[:, good]], axis=1)
    return ScanSample(found[0, :count], found[1, :count], found[2, :count].astype(np.int64))


@lru_cache(maxsize=64)
def _quantiles(
    final_states: FinalStates | None, corrections: tuple[str, ...], depth_ev: float, mass_squared_ev2: float
) -> Array:
    """Return energies less the endpoint at QUANTILES of the spectrum's last `depth_ev`, read only."""
    reference = 18_574.0
    quantiles = beta_quantile(
        QUANTILES,
        reference - depth_ev,
        reference,
        reference,
        neutrino_mass_squared_ev2=mass_squared_ev2,
        corrections=corrections,
        final_states=final_states,
    )
    below = np.asarray(quantiles - reference)
    below.flags.writeable = False
    return below


def _resolutions(
    spectra: SmearedSpectra, truth_ev: Array, generator: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Draw core width in eV and class of each electron, class −1 for those that fail the cut."""
    shares = np.cumsum(spectra.response.efficiency.of(truth_ev), axis=1)
    label = (generator.random(len(truth_ev))[:, None] > shares).sum(axis=1)
    passed = label < shares.shape[1]
    return _widths(spectra, np.where(passed, label, 0), generator), np.where(passed, label, -1)


def _widths(spectra: SmearedSpectra, label: NDArray[np.int64], generator: np.random.Generator) -> Array:
    quantiles = spectra.response.std_quantiles
    std = quantiles[label, generator.integers(0, quantiles.shape[1], len(label))]
    return spectra.response.calibrate(np.full_like(std, spectra.response.centre_ev), std)[1]


def _background(spectra: SmearedSpectra, count: int, generator: np.random.Generator) -> ScanSample:
    density = background_density(spectra.response, spectra.window)
    label = generator.choice(len(density), count, p=density / density.sum()).astype(np.int64)
    energy = generator.uniform(spectra.window.low_ev, spectra.window.high_ev, count)
    return ScanSample(energy, _widths(spectra, label, generator), label)
