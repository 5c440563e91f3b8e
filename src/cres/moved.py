"""Where modules of former versions are now."""

from __future__ import annotations

MOVED = {
    f"cres.estimation.{old}": f"cres.estimation.{new}"
    for old, new in {
        "bank": "search.templates",
        "bounds": "bound.electrons",
        "calibration": "simple.local_spread",
        "carrier": "simple.carrier",
        "detection": "search.efficiency_map",
        "filter_estimator": "simple.filter_estimator",
        "gain": "fit.gain",
        "goodness": "fit.goodness",
        "information": "bound.information",
        "least_squares": "fit.least_squares",
        "likelihood": "fit.likelihood",
        "maps": "bound.maps",
        "matched_filter": "search.detection",
        "model_methods": "methods.model",
        "modes": "fit.modes",
        "origin": "methods.table",
        "peak_estimator": "simple.peak_estimator",
        "peaks": "search.peaks",
        "periodogram": "search.periodogram",
        "products": "fit.products",
        "radial_grid": "radial.grid",
        "radial_posterior": "radial.posterior",
        "recordings": "methods.recordings",
        "seeded": "fit.seeded",
        "spectral_methods": "methods.spectral",
        "starts": "fit.starts",
        "tables": "estimates",
        "task": "methods.task",
        "tones": "bound.tones",
    }.items()
}
