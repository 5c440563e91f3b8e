"""Pseudo-experiments: electrons drawn from a known spectrum and smeared with a known resolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.likelihood import MARGIN_EV, FitWindow, Physics
from cres.endpoint.missed import draw_losses
from cres.endpoint.response import Response
from cres.errors import UserError
from cres.physics.beta import T2_ENDPOINT_EV, sample_beta_spectrum
from cres.physics.final_states import FinalStates

Array = NDArray[np.float64]

PHASE_TWO_FWHM_EV = 1.66
FWHM_PER_STD = float(2 * np.sqrt(2 * np.log(2)))


@dataclass(frozen=True)
class Experiment:
    """What is repeated.

    `electrons` is the mean number in the window, `background_fraction` the part of it that is flat background. Stated
    uncertainties are drawn log-uniformly between `std_low_ev` and `std_high_ev` and are true.
    """

    electrons: float = 5000.0
    background_fraction: float = 0.01
    endpoint_ev: float = T2_ENDPOINT_EV
    mass_squared_ev2: float = 0.0
    std_low_ev: float = 0.3
    std_high_ev: float = 5.0
    window: FitWindow = field(default_factory=lambda: FitWindow(T2_ENDPOINT_EV - 15.0, T2_ENDPOINT_EV + 30.0))
    physics: Physics = field(default_factory=Physics)

    def __post_init__(self) -> None:
        if not 0 < self.std_low_ev <= self.std_high_ev:
            raise UserError("the range of resolutions must be positive and ascending")
        if not 0 <= self.background_fraction < 1:
            raise UserError("the background fraction must lie between 0 and 1")

    @classmethod
    def like_phase_two(cls) -> Experiment:
        """Return an exposure like that of the published Phase II analysis (Phys. Rev. Lett. 131 102502).

        3 770 electrons between 16.2 and 19.8 keV, the line resolution of 1.66 eV FWHM for every electron, no background
        and the molecular final states. Left out: the low-energy tail of missed scatters, the
        efficiency's dependence on frequency, the uncertainties of both and of the field.
        """
        return cls(
            electrons=3770.0,
            background_fraction=0.0,
            std_low_ev=PHASE_TWO_FWHM_EV / FWHM_PER_STD,
            std_high_ev=PHASE_TWO_FWHM_EV / FWHM_PER_STD,
            window=FitWindow(16_200.0, 19_800.0),
            physics=Physics(final_states=FinalStates.t2()),
        )

    def draw_stds(self, count: int, generator: np.random.Generator) -> Array:
        """Draw stated uncertainties, (count,)."""
        return np.exp(generator.uniform(np.log(self.std_low_ev), np.log(self.std_high_ev), count))

    def response(self) -> Response:
        """Return the true response of this experiment."""
        ranks = (np.arange(4096) + 0.5) / 4096
        stds = self.std_low_ev * (self.std_high_ev / self.std_low_ev) ** ranks
        return Response.ideal(stds, self.window.low_ev - MARGIN_EV, self.window.high_ev + MARGIN_EV)

    def generate(self, generator: np.random.Generator) -> tuple[Array, Array, Array]:
        """Return (energy, stated uncertainty, true energy) of one data set, in eV; background's true energy is nan."""
        signal = generator.poisson(self.electrons * (1 - self.background_fraction))
        background = generator.poisson(self.electrons * self.background_fraction)
        energy, std, truth = self._signal(signal, generator)
        flat = generator.uniform(self.window.low_ev, self.window.high_ev, background)
        return (
            np.concatenate([energy, flat]),
            np.concatenate([std, self.draw_stds(background, generator)]),
            np.concatenate([truth, np.full(background, np.nan)]),
        )

    def _signal(self, count: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw until `count` electrons fall into the window after smearing."""
        low = self.window.low_ev - min(MARGIN_EV, 8 * self.std_high_ev)
        found, accepted = np.empty((3, 0)), 0.05
        while found.shape[1] < count:
            batch = int(1.1 * (count - found.shape[1]) / accepted) + 100
            truth = sample_beta_spectrum(
                batch,
                low,
                self.window.high_ev + MARGIN_EV,
                self.endpoint_ev,
                generator,
                neutrino_mass_squared_ev2=self.mass_squared_ev2,
                corrections=self.physics.corrections,
                final_states=self.physics.final_states,
            )
            if self.physics.missed_fraction:
                truth = truth - draw_losses(batch, self.physics.missed_fraction, generator)
            std = self.draw_stds(batch, generator)
            energy = truth + std * generator.standard_normal(batch)
            inside = self.window.contains(energy)
            accepted = max(float(inside.mean()), 1e-3)
            found = np.concatenate([found, np.stack([energy, std, truth])[:, inside]], axis=1)
        return found[0, :count], found[1, :count], found[2, :count]
