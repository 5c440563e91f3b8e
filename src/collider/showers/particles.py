"""Particles that start a shower, by name and by the number of the Particle Data Group's numbering scheme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reconstruction.errors import UserError, nearest

PDG_CODES: Final = {"electron": 11, "positron": -11, "photon": 22, "pi+": 211, "pi-": -211}
PHOTON: Final = PDG_CODES["photon"]
HADRONS: Final = (PDG_CODES["pi+"], PDG_CODES["pi-"])
NAMES: Final = {code: name for name, code in PDG_CODES.items()}


def pdg_codes(particle: str | int | Sequence[Any] | NDArray[Any], events: int) -> NDArray[np.int64]:
    """Return the code of each event's particle, from one name or code for all or one for each.

    Raises UserError for an unknown particle and for another number of them than of events.
    """
    given = [particle] * events if isinstance(particle, str | int) else list(particle)
    if len(given) != events:
        raise UserError(f"{len(given)} particles are given for {events} energies: give one for all, or one for each")
    return np.array([_code(one) for one in given], dtype=np.int64).reshape(events)


def _code(particle: Any) -> int:
    if isinstance(particle, str) and particle in PDG_CODES:
        return PDG_CODES[particle]
    if not isinstance(particle, str) and int(particle) in NAMES:
        return int(particle)
    known = ", ".join(f"{name} ({code})" for name, code in PDG_CODES.items())
    hint = nearest(particle, PDG_CODES) if isinstance(particle, str) else ""
    raise UserError(f"there is no shower of particle {particle!r}{hint}; there are {known}")
