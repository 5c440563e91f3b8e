"""Single particles to look at detectors with, without a generator of collisions."""

from __future__ import annotations

from typing import Final

import numpy as np

from collider.detectors.particles import Integers, Particles
from reconstruction.errors import UserError

KINDS: Final = {
    "photon": (22, 0, 0.0),
    "electron": (11, -1, 0.000510999),
    "muon": (13, -1, 0.105658),
    "pion": (211, 1, 0.139570),
    "kaon": (321, 1, 0.493677),
    "proton": (2212, 1, 0.938272),
}
"""PDG code, charge, mass in GeV of the one that has the positive code: Review of Particle Physics (2024)."""


def shot(
    kind: str,
    events: int,
    each: int = 1,
    pt_gev: tuple[float, float] = (1.0, 100.0),
    eta: tuple[float, float] = (-2.5, 2.5),
    seed: int = 1,
) -> Particles:
    """Return particles from the origin, as many in each event, half of them antiparticles where they are charged.

    pT is log-uniform, η and φ uniform. Raises UserError for a kind that is none, and for intervals that are empty.
    """
    if kind not in KINDS:
        raise UserError(f"there is no gun for {kind!r}: known are {', '.join(KINDS)}")
    if not (0 < pt_gev[0] <= pt_gev[1] < np.inf and -np.inf < eta[0] <= eta[1] < np.inf):
        raise UserError(f"pT must be above 0 and intervals go upwards, not {pt_gev} GeV and η {eta}")
    code, charge, mass = KINDS[kind]
    count = events * each
    random = np.random.default_rng((seed, code))
    low, high = np.log(pt_gev)
    pt = np.exp(random.uniform(float(low), float(high), count))
    phi, slope = random.uniform(-np.pi, np.pi, count), np.sinh(random.uniform(*eta, count))
    sign: Integers = random.choice(np.array([-1, 1]), count) if charge else np.ones(count, dtype=np.int64)
    momentum = pt[:, None] * np.stack([np.cos(phi), np.sin(phi), slope], axis=1)
    event = np.repeat(np.arange(events, dtype=np.int64), each)
    return Particles(event, sign * code, sign * charge, momentum, np.full(count, mass), np.zeros((count, 3)))
