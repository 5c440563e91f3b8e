"""Which jets hold a particle with all that it decays to."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collider.generation.kinematics import azimuth, delta_r, pseudorapidity, transverse
from collider.generation.wheels import wheel

W: Final = 24
NEUTRINOS: Final = (12, 14, 16)
MOST_COPIES: Final = 200
"""More copies than a particle has of itself in an event's record."""


class Decayed(NamedTuple):
    """Particles that decayed, one after the other, and the directions of what can be seen of their decays."""

    event: NDArray[np.int64]
    code: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    product_eta: NDArray[np.float64]
    """(particle, product), NaN where there are fewer."""
    product_phi: NDArray[np.float64]


def decayed(events: Any, resonance: int, products: int) -> Decayed:
    """Return the particles of a PDG code, or their antiparticles, whose decay has so many products that are seen.

    Those of a W among the products count in its place; what is radiated before the decay is no product.
    """
    ak = wheel("awkward")
    particles = events.particles
    counts = ak.num(particles).to_numpy()
    flat = ak.flatten(particles)
    codes, mothers = flat.pdg_id.to_numpy(), flat.mother.to_numpy()
    mothers = np.where(mothers >= 0, mothers + np.repeat(np.cumsum(counts) - counts, counts), -1)
    roots, places = _products(codes, mothers, resonance)
    eta, phi = _directions(flat)
    order = np.argsort(roots, kind="stable")
    roots, places = roots[order], places[order]
    found, first, each = np.unique(roots, return_index=True, return_counts=True)
    whole = each == products
    found, rows = found[whole], first[whole, None] + np.arange(products)
    return Decayed(
        np.repeat(np.arange(len(counts)), counts)[found],
        codes[found],
        transverse(flat.px.to_numpy(), flat.py.to_numpy())[found],
        eta[found],
        phi[found],
        eta[places[rows]],
        phi[places[rows]],
    )


def _directions(flat: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    px, py, pz = (flat[name].to_numpy() for name in ("px", "py", "pz"))
    return pseudorapidity(px, py, pz), azimuth(px, py)


def _products(
    codes: NDArray[np.int64], mothers: NDArray[np.int64], resonance: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each visible product the place of the particle that decayed to it, and its own."""
    size = np.abs(codes)
    heavy = np.isin(size, (resonance, W))
    child = np.flatnonzero(mothers >= 0)
    copied = np.zeros(len(codes), dtype=bool)
    copied[mothers[child[codes[child] == codes[mothers[child]]]]] = True
    last = heavy & ~copied
    of_last = child[last[mothers[child]]]
    product = of_last[~heavy[of_last] & ~np.isin(size[of_last], NEUTRINOS)]
    root = mothers[product]
    for _ in range(MOST_COPIES):
        climbing = (root >= 0) & (size[root] != resonance)
        if not climbing.any():
            break
        above = mothers[root[climbing]]
        root[climbing] = np.where((above >= 0) & heavy[above], above, -1)
    return root[root >= 0], product[root >= 0]


def matched(jets: Any, decays: Decayed, radius: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each event the place of its hardest jet that holds a decay, and which decay; −1 and −1 for none.

    A jet holds it where the particle and every product of it that can be seen are within `radius` of its axis.
    """
    ak = wheel("awkward")
    counts = ak.num(jets.pt).to_numpy()
    starts = np.cumsum(counts) - counts
    eta, phi = (ak.flatten(jets[name]).to_numpy() for name in ("eta", "phi"))
    which = np.repeat(np.arange(len(decays.event)), counts[decays.event])
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts[decays.event]) - counts[decays.event],
                                               counts[decays.event])  # fmt: skip
    jet = starts[decays.event[which]] + within
    near = delta_r(eta[jet], phi[jet], decays.eta[which], decays.phi[which]) < radius
    product = delta_r(eta[jet, None], phi[jet, None], decays.product_eta[which], decays.product_phi[which])
    held = near & (product < radius).all(axis=1)
    best, decay = np.full(len(counts), -1), np.full(len(counts), -1)
    # jets are in the order of their momenta: the last that is written is the hardest
    for place in np.flatnonzero(held)[np.argsort(-within[held], kind="stable")]:
        best[decays.event[which[place]]], decay[decays.event[which[place]]] = within[place], which[place]
    return best, decay
