"""What is in a jet beside its particles: the mass without soft radiation, and how many prongs it has."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.jets import clusters
from collider.generation.kinematics import azimuth, delta_r, rapidity, transverse
from collider.generation.wheels import wheel

SOFT_DROP_CUT: Final = 0.1
"""z of soft drop with β = 0                  Larkoski, Marzani, Soyez, Thaler 2014, arXiv:1402.2657"""
PRONGS: Final = (1, 2, 3, 4)
WHOLE: Final = 100.0
"""Radius of clusterings that take up all of a jet: its constituents may be further apart than its own radius."""


def soft_drop_mass(constituents: Any, radius: float) -> NDArray[np.float64]:
    """Return the mass in GeV of each jet without its soft radiation: Cambridge–Aachen declustered, z > 0.1.

    constituents: a list for each jet with px, py, pz, energy.
    """
    with _without_a_wrong_warning():
        sequence = clusters(constituents, "cambridge-aachen", WHOLE)
        groomed = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=0, symmetry_cut=SOFT_DROP_CUT, R0=radius)
    return np.asarray(groomed.msoftdrop.to_numpy(), dtype=np.float64)


def subjettiness(constituents: Any, radius: float) -> NDArray[np.float64]:
    """Return τ1 to τ4 of each jet, (jet, 4), about axes of exclusive k_T subjets, not minimised further.

    τ_N = Σ pT min_k ΔR_k / (Σ pT · R), β = 1, ΔR in rapidity and azimuth
    Thaler and Van Tilburg 2010, arXiv:1011.2268, eq. 2.1 and 2.2
    A jet of N constituents or fewer has τ_N = 0.
    """
    ak = wheel("awkward")
    counts = ak.num(constituents.px).to_numpy()
    found = np.zeros((len(counts), len(PRONGS)))
    for place, prongs in enumerate(PRONGS):
        enough = counts > prongs
        if enough.any():
            found[enough, place] = _tau(constituents[enough], prongs, radius)
    return found


def _tau(constituents: Any, prongs: int, radius: float) -> NDArray[np.float64]:
    ak = wheel("awkward")
    with _without_a_wrong_warning():
        axes = clusters(constituents, "kt", WHOLE).exclusive_jets(n_jets=prongs)
    pt, one = transverse(constituents.px, constituents.py), _placed(constituents)
    near = None
    for axis in range(prongs):
        away = delta_r(*one, *_placed(axes[:, axis]))
        near = away if near is None else np.minimum(near, away)
    return np.asarray((ak.sum(pt * near, axis=1) / (ak.sum(pt, axis=1) * radius)).to_numpy(), dtype=np.float64)


@contextlib.contextmanager
def _without_a_wrong_warning() -> Iterator[None]:
    """Keep FastJet 3.5 from warning of exclusive jets of k_T and Cambridge–Aachen, and from how it prints warnings."""
    printed = warnings.formatwarning
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "dcut and exclusive jets", UserWarning)
            yield
    finally:
        warnings.formatwarning = printed


def _placed(group: Any) -> tuple[Any, Any]:
    return rapidity(group.pz, group.energy), azimuth(group.px, group.py)
