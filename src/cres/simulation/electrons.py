"""Start values of electrons. Electron i depends on (seed, i) only: not on the shard, the worker or the number."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cres.errors import UserError
from cres.physics.beta import beta_quantile
from cres.physics.cyclotron import Values, cyclotron_frequency_hz, kinetic_energy_ev
from cres.physics.final_states import FinalStates
from cres.physics.krypton import line_quantile_ev
from cres.simulation.births import doppler_std_ev, pitch_and_radius
from cres.simulation.config import SOURCE_MASS_U, EnsembleConfig, SimulationConfig
from cres.simulation.electron_table import read_electron_table
from cres.simulation.holding import ADVICE, WORDS, Fate, fates
from cres.simulation.trapping import make_trap

FloatArray = NDArray[np.float64]

MAXIMUM_DRAWS = 100
BAND_GRID = 9
"""Pitch angles and radii at which the edges of the band are looked for."""
SMALLEST_DRAW = 2.0**-54
"""In place of a quantile of 0, which a normal distribution has at −∞."""
DRAWS_PER_ELECTRON = 8
"""Uniform numbers that an electron may use; a multiple of 4, which is one step of the Philox counter."""


@dataclass(frozen=True)
class Electrons:
    """Start values, one entry an electron; float64 arrays of one length, event_id int64."""

    energy_ev: FloatArray
    pitch_angle_deg: FloatArray
    radius_m: FloatArray
    azimuth_rad: FloatArray
    start_phase_rad: FloatArray
    axial_phase_rad: FloatArray
    amplitude: FloatArray
    event_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.energy_ev)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Electrons:
        return Electrons(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def event_ids(seed: int, start: int, count: int) -> NDArray[np.int64]:
    """Return identities that differ between seeds (20 bits) and electrons (32 bits) and are exact in float64."""
    return ((np.int64(seed % 2**20)) << np.int64(32)) + np.arange(start, start + count, dtype=np.int64)


def uniform_draws(seed: int, start: int, count: int, stream: int = 0) -> FloatArray:
    """Return (count, DRAWS_PER_ELECTRON) uniform numbers in [0, 1) keyed by (seed, stream, electron)."""
    generator = np.random.Philox(key=[seed % 2**64, stream])
    generator.advance(start * DRAWS_PER_ELECTRON // 4)
    return np.random.Generator(generator).random((count, DRAWS_PER_ELECTRON))


def sample_electrons(config: SimulationConfig, count: int, seed: int, start: int = 0) -> Electrons:
    """Draw electrons `start` to `start + count` of the ensemble with this seed; all of them are held by the trap."""
    return draw_electrons(config, count, seed, start)[0]


def draw_electrons(config: SimulationConfig, count: int, seed: int, start: int = 0) -> tuple[Electrons, int]:
    """Return the electrons of `sample_electrons` and how many draws were refused on the way."""
    electrons, refused = draw_counted(config, count, seed, start)
    return electrons, refused.total()


def draw_counted(config: SimulationConfig, count: int, seed: int, start: int = 0) -> tuple[Electrons, Counter[Fate]]:
    """Return the electrons of `sample_electrons` and how many draws were refused on the way, by reason.

    An electron that is not held (see `holding`) is drawn again from its own next stream, so that it still depends on
    (seed, i) only. Raises UserError where hardly any of the ensemble is held.
    """
    if count < 0 or start < 0:
        raise UserError(f"the number of electrons must not be negative, not {count} from {start}")
    electrons = _draw(config, count, seed, start, 0)
    fate = fate_of(config, electrons)
    refused = Counter(Fate(f) for f in fate[fate != Fate.HELD])
    for stream in range(1, MAXIMUM_DRAWS):
        missing = fate != Fate.HELD
        if not missing.any():
            return electrons, refused
        again = _draw(config, count, seed, start, stream)
        electrons = Electrons(
            **{f.name: np.where(missing, getattr(again, f.name), getattr(electrons, f.name)) for f in fields(Electrons)}
        )
        fate[missing] = fate_of(config, electrons[missing])
        refused.update(Fate(f) for f in fate[fate != Fate.HELD])
    why = refused.most_common(1)[0][0]
    raise UserError(
        f"{int((fate != Fate.HELD).sum())} of {count} electrons were refused {MAXIMUM_DRAWS} times, most draws as "
        f"{WORDS[why]}: {ADVICE[why]}"
        + (f", or take them out of {config.ensemble.table}" if config.ensemble.table else "")
    )


def fate_of(config: SimulationConfig, electrons: Electrons) -> NDArray[np.int64]:
    """Return `Fate` of each electron: held by trap, cavity and band, or the first reason why not."""
    start = electrons.energy_ev, electrons.pitch_angle_deg, electrons.radius_m
    fate = fates(config, *start)
    if has_below_window(config):
        above = carrier_hz(config, *start) > band_top_hz(config)
        fate[above & (fate == Fate.HELD)] = Fate.OUT_OF_BAND
    return fate


def is_held(config: SimulationConfig, electrons: Electrons) -> NDArray[np.bool_]:
    """Return which electrons are trapped within the cavity, clear of its wall, and in the band."""
    return fate_of(config, electrons) == Fate.HELD


def has_below_window(config: SimulationConfig) -> bool:
    """Return whether the ensemble reaches below its energies as far as electrons enter the band."""
    return config.ensemble.kind == "tritium" and config.ensemble.below_window


def carrier_hz(config: SimulationConfig, energy_ev: Values, pitch_angle_deg: Values, radius_m: Values) -> FloatArray:
    """Return mean carriers at the start, before mixing."""
    mean_field = make_trap(config.trap).average_field_t(energy_ev, pitch_angle_deg, radius_m)
    return np.asarray(cyclotron_frequency_hz(energy_ev, mean_field))


@lru_cache(maxsize=32)
def band_top_hz(config: SimulationConfig) -> float:
    """Return the highest carrier of the window: lowest energy, and the pitch angle and radius of the highest field."""
    return float(np.nanmax(carrier_hz(config, config.ensemble.energy_ev[0], *_corners(config))))


@lru_cache(maxsize=32)
def band_floor_ev(config: SimulationConfig) -> float:
    """Return the lowest energy with a carrier in the band: at 90° an electron may have less energy than at 88°."""
    mean_field = make_trap(config.trap).average_field_t(config.ensemble.energy_ev[0], *_corners(config))
    return float(kinetic_energy_ev(band_top_hz(config), np.nanmin(mean_field)))


def _corners(config: SimulationConfig) -> tuple[FloatArray, FloatArray]:
    """Return pitch angles and radii over the ensemble's ranges, NaN of the trap where it does not hold them."""
    pitch = np.linspace(*config.ensemble.pitch_angle_deg, BAND_GRID)
    return pitch[:, None], np.linspace(*config.ensemble.radius_m, BAND_GRID)


def _draw(config: SimulationConfig, count: int, seed: int, start: int, stream: int) -> Electrons:
    draws = uniform_draws(seed, start, count, stream)
    ensemble = config.ensemble
    pitch_deg, radius_m = pitch_and_radius(config, draws[:, 1], draws[:, 2])
    drawn = Electrons(
        energy_ev=_moving_source(ensemble, energies_ev(config, draws[:, 0], draws[:, 6]), draws[:, 7]),
        pitch_angle_deg=pitch_deg,
        radius_m=radius_m,
        azimuth_rad=2 * math.pi * draws[:, 3],
        start_phase_rad=2 * math.pi * draws[:, 4],
        axial_phase_rad=2 * math.pi * draws[:, 5],
        amplitude=np.ones(count),
        event_id=event_ids(seed, start, count),
    )
    if ensemble.kind != "table":
        return drawn
    columns = read_electron_table(ensemble.table)
    rows = np.arange(start, start + count) % len(next(iter(columns.values())))
    given: dict[str, Any] = {name: values[rows] for name, values in columns.items()}
    return replace(drawn, **given)


def energies_ev(config: SimulationConfig, draw: FloatArray, choice: FloatArray) -> FloatArray:
    """Energies of the ensemble at the quantiles `draw`; `choice` decides on background and between lines."""
    ensemble = config.ensemble
    if ensemble.kind in ("uniform", "table"):
        return _between(ensemble.energy_ev, draw)
    background = choice < ensemble.background_fraction
    low, high = ensemble.energy_ev
    if ensemble.kind == "krypton":
        of_line = (choice - ensemble.background_fraction) / max(1 - ensemble.background_fraction, 1e-300)
        return np.where(background, _between(ensemble.energy_ev, draw), line_quantile_ev(of_line, draw, low, high))
    low = band_floor_ev(config) if has_below_window(config) else low
    return beta_quantile(
        draw,
        low,
        high,
        ensemble.endpoint_ev,
        ensemble.neutrino_mass_ev,
        final_states=FinalStates.of(ensemble.final_states),
        background=background,
    )


def _between(interval: tuple[float, float], draw: FloatArray) -> FloatArray:
    return interval[0] + (interval[1] - interval[0]) * draw


def _moving_source(ensemble: EnsembleConfig, energy_ev: FloatArray, draw: FloatArray) -> FloatArray:
    """Return the energies of electrons whose molecules move thermally towards or away from them."""
    if ensemble.source_temperature_k == 0:
        return energy_ev
    mass_u = ensemble.source_mass_u or SOURCE_MASS_U[ensemble.kind]
    return energy_ev + doppler_std_ev(energy_ev, ensemble.source_temperature_k, mass_u) * np.asarray(
        ndtri(np.maximum(draw, SMALLEST_DRAW))
    )
