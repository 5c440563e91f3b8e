"""What the configuration of a simulation says of its apparatus, under the names that columns of settings have."""

from __future__ import annotations

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
    """Return the settings that a simulation's configuration (nested mappings) says; a density is no temperature."""
    found: dict[str, float] = {}
    for name, place in SETTINGS.items():
        section, _, key = place.partition(".")
        value = config.get(section, {}).get(key)
        if isinstance(value, int | float) and config.get("trap", {}).get("kind") in _OF_KIND.get(
            name, (_kind(config),)
        ):
            found[name] = float(value)
    found |= _coils(config)
    return found


def _kind(config: Mapping[str, Any]) -> Any:
    return config.get("trap", {}).get("kind")


def _coils(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the current of each coil: coil_1_current_a …"""
    if _kind(config) != "coils":
        return {}
    return {f"coil_{i}_current_a": float(coil[2]) for i, coil in enumerate(config["trap"].get("coils", []), 1)}
