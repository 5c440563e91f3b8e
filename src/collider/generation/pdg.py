"""What the numbers of the PDG's scheme say of a particle: charge, quarks, whether a detector sees it.

Monte Carlo particle numbering scheme, Review of Particle Physics (2024), section 45.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reconstruction.errors import UserError, nearest

NAMES: Final = {
    "d": 1,
    "u": 2,
    "s": 3,
    "c": 4,
    "b": 5,
    "t": 6,
    "g": 21,
    "gamma": 22,
    "Z": 23,
    "W": 24,
    "e": 11,
    "nu_e": 12,
    "mu": 13,
    "nu_mu": 14,
    "tau": 15,
    "nu_tau": 16,
    "h": 25,
    "H": 35,
    "A": 36,
    "H+": 37,
}
"""Names that configurations may use in place of codes."""

INVISIBLE: Final = frozenset({12, 14, 16, 18, 1000022, 1000012, 1000014, 1000016, 39})
"""Neutrinos, and what new physics adds: neutralino, sneutrinos, graviton."""
TOP_CODE_OF_A_LEPTON: Final = 18
SMALLEST_HADRON: Final = 100


def code_of(particle: str) -> int:
    """Return the PDG code of a name or of a number in words. Raises UserError for what is neither."""
    if particle in NAMES:
        return NAMES[particle]
    try:
        code = int(particle)
    except ValueError:
        raise UserError(
            f"there is no particle {particle!r}{nearest(particle, NAMES)}: give a PDG code or one of {', '.join(NAMES)}"
        ) from None
    if code <= 0:
        raise UserError(f"particle {code} is meant with its antiparticle: give the positive PDG code")
    return code


def charge_of(code: int) -> int:
    """Return the charge in units of e; 0 for quarks, whose charges are thirds and which nobody sees."""
    size = abs(code)
    thirds = _thirds(size)
    return int(np.sign(code)) * (thirds // 3 if thirds % 3 == 0 else 0)


def _thirds(size: int) -> int:
    """Return three times the charge of a positive code."""
    if size >= 1_000_000_000:  # nuclei are ±10LZZZAAAI
        return 3 * ((size // 10_000) % 1000)
    if size in (24, 34, 37):
        return 3
    if 11 <= size <= TOP_CODE_OF_A_LEPTON:
        return -3 if size % 2 else 0
    if size <= 8:
        return _quark_thirds(size)
    if size < SMALLEST_HADRON:
        return 0
    first, second, third = quarks_of(size)
    if first:
        return sum(map(_quark_thirds, (first, second, third)))
    # a meson's heavier quark comes first; where it is of type d, the positive code has its antiquark
    charge = _quark_thirds(second) - _quark_thirds(third)
    return charge if second % 2 == 0 else -charge


def _quark_thirds(quark: int) -> int:
    return 0 if quark == 0 else (2 if quark % 2 == 0 else -1)


def quarks_of(code: int) -> tuple[int, int, int]:
    """Return the three digits that name the quarks of a hadron, the first 0 for a meson; zeros for other particles."""
    size = abs(code)
    if size < SMALLEST_HADRON or size >= 1_000_000_000 or 1_000_000 <= size < 9_000_000:
        return (0, 0, 0)
    return (size // 1000) % 10, (size // 100) % 10, (size // 10) % 10


def is_hadron(code: int) -> bool:
    """Whether a particle is made of quarks: a meson, a baryon or a nucleus, and no diquark."""
    if abs(code) >= 1_000_000_000:
        return True
    first, second, third = quarks_of(code)
    return second != 0 and (third != 0 or first == 0) and not (first and third == 0)


def has_quark(code: int, quark: int) -> bool:
    """Whether a hadron holds a quark, or its antiquark, of this flavour."""
    return is_hadron(code) and quark in quarks_of(code)


def is_visible(code: int) -> bool:
    """Whether a detector may see a particle."""
    return abs(code) not in INVISIBLE


def mapped(function: Callable[..., Any], codes: ArrayLike, *more: Any) -> NDArray[Any]:
    """Return what a function of one code says of each of many."""
    given = np.asarray(codes, dtype=np.int64)
    distinct, place = np.unique(given, return_inverse=True)
    if not distinct.size:
        return np.zeros(given.shape, dtype=bool if function is not charge_of else np.int64)
    return np.array([function(int(code), *more) for code in distinct])[place.reshape(given.shape)]
