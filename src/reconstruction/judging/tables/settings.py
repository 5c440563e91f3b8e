"""What a table of predictions says of the settings that its model is told."""

from __future__ import annotations

from typing import Final

OUTSIDE_SETTINGS: Final = "outside_settings"
"""Flag of rows whose settings lie outside of those that the model has met."""
SETTINGS: Final = "settings"
"""Attribute of a table whose model is told settings: names, range and the different ones of its training, as JSON."""
