"""What the configuration of a simulation says of its apparatus, under the names that columns of settings have."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

NOISE_TEMPERATURE: Final = "noise_temperature_k"
WALL_LENGTH: Final = "trap_wall_length_m"

SETTINGS: Final = {
    "field_t": "trap.field_t",
    "trap_flat_length_m": "trap.flat_length_m",
    WALL_LENGTH: "trap.gradient_length_m",
    "cavity_radius_m": "cavity.radius_m",
    "cavity_length_m": "cavity.length_m",
    "cavity_resonance_hz": "cavity.resonance_hz",
    "cavity_loaded_q": "cavity.loaded_q",
    NOISE_TEMPERATURE: "readout.noise_temperature_k",
    "gain": "readout.gain",
}
"""Name of a setting → where a configuration says it, dotted."""
_OF_KIND: Final = {"trap_flat_length_m": ("bathtub",), WALL_LENGTH: ("bathtub", "harmonic")}
"""Settings that only traps of these kinds have."""
CONFIGURATIONS: Final = "configurations"
"""Root attribute of a file that was prepared from simulations of several configurations: how many. `config` is then
that of the first, and says nothing of the others."""


def setting_name(dotted: str) -> str:
    """Return the name of the column of a setting: trap.gradient_length_m → trap_wall_length_m."""
    known = {place: name for name, place in SETTINGS.items()}
    return known.get(dotted, dotted.rpartition(".")[2])


def settings_of_config(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings that a simulation's configuration (nested mappings) says; a density is no temperature.

    Whatever else stands there, as in a configuration of somebody else's, is passed over.
    """
    found: dict[str, float] = {}
    kind = section_of(config, "trap").get("kind")
    for name, place in SETTINGS.items():
        section, _, key = place.partition(".")
        value = number(section_of(config, section).get(key))
        if value is not None and kind in _OF_KIND.get(name, (kind,)):
            found[name] = value
    return found | _coils(section_of(config, "trap"))


def section_of(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of a configuration; {} where it is none."""
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def number(value: Any) -> float | None:
    """Return a finite number; None for anything else, such as texts and truth values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def _coils(trap: Mapping[str, Any]) -> dict[str, float]:
    """Return the current of each coil, [radius, axial, current]: coil_1_current_a …"""
    coils = trap.get("coils")
    if trap.get("kind") != "coils" or not isinstance(coils, list | tuple):
        return {}
    found = {}
    for place, coil in enumerate(coils, 1):
        numbers = [number(value) for value in coil] if isinstance(coil, list | tuple) else []
        if len(numbers) == 3 and None not in numbers:
            found[f"coil_{place}_current_a"] = float(coil[2])
    return found
