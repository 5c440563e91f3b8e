"""How records were taken, as files state it: sampling rate and oscillator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from cres import schema
from cres.errors import UserError

DEFAULTS: Final = {
    "sampling_rate_hz": schema.DEFAULT_SAMPLING_RATE_HZ,
    "lo_frequency_hz": schema.DEFAULT_LO_FREQUENCY_HZ,
}

FACTS: Final = frozenset((*DEFAULTS, "seed", "config"))
"""What a file may say of all its records at once."""


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes of HDF5 with their texts as such: those of fixed length come as bytes."""
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in attributes.items()
    }


def stated_facts(attributes: Mapping[str, Any], where: object) -> dict[str, float]:
    """Return those of the facts that a file states. Raises UserError where one is no positive number."""
    return {name: _positive(name, attributes[name], where) for name in DEFAULTS if name in attributes}


def _positive(name: str, value: Any, where: object) -> float:
    try:
        (number,) = np.ravel(value).astype(np.float64)  # other people's attributes may be arrays of one number
    except (TypeError, ValueError):
        number = np.nan
    if not 0 < number < np.inf:
        raise UserError(f"{where} says {name} = {str(value)[:40]}, which is no positive number")
    return float(number)
