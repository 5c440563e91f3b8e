"""Captions of the report's pictures that only electrons in a trap have."""

from __future__ import annotations

CAPTIONS: dict[str, tuple[str, str]] = {
    "resolution": (
        "resolution",
        "σ68 in bins of equal numbers: markers with 68 % bootstrap bars for resolved electrons, dotted lines for all. "
        "Good: flat and low, close to the dashed bound where there is one. It must rise where little signal is left: "
        "on the axis and at the wall, and near 90°, where the sidebands vanish.",
    ),
    "map": (
        "resolution over pitch angle and radius",
        "All electrons, one scale of colours; grey cells hold fewer than 12. Good: as dark as the map of the bound, "
        "brighter only where coupling or sidebands vanish (radius near zero and near the wall, pitch angle near 90°).",
    ),
    "bound": (
        "how far from the bound",
        "Median of |residual|/bound over 0.6745, event by event; markers: resolved electrons, dotted: all. Good: 1, "
        "the Cramér–Rao bound, which no unbiased estimator passes; it cannot be reached where the sidebands drown in "
        "noise.",
    ),
}
"""What only electrons in a trap have, in place of the general ones."""
