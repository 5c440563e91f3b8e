"""What a person gets: the lines on the terminal, the figures and the JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cres.endpoint import plots
from cres.endpoint.analysis import Analysis, final_states_name
from cres.endpoint.limits import MassLimits
from cres.endpoint.sensitivity import Sensitivity
from reconstruction.files import atomic_path
from reconstruction.judging.measures.numbers import minus, signed
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section, file_name
from reconstruction.judging.tables.table import PredictionTable

NOT_VALID = "the fit is not valid: do not use its endpoint or its uncertainty"
MEANINGS = {
    "electrons in the fit": "those within the window whose stated uncertainty passes the cut",
    "goodness of fit": "of the binned spectrum; good: p not far below 0.05",
    "fitted endpoint": "unbinned, each electron with its own resolution",
    "nuisances profiled": "the same with the systematic uncertainties as free parameters; good: the same value",
    "from true energies": "the same electrons, measured perfectly; good: nearly the same error",
    "true endpoint": "what was simulated; the fit was not told",
    "final states": "of the daughter: they move the endpoint by electronvolts where they are wrong",
    "squared mass": "endpoint free; may be negative",
    "neutrino mass": "three constructions; good: near one another",
}


def summary_rows(analysis: Analysis) -> dict[str, str]:
    """Return the result in plain words: what → figure with its uncertainty and unit."""
    fit, window, interval = analysis.fit, analysis.likelihood.window, analysis.interval
    made = f" ({interval.toys} pseudo-experiments; bias {signed(interval.bias_ev, 2)} eV)" if interval.toys else ""
    statistic, degrees, probability = analysis.goodness
    rows = {
        "estimator": analysis.estimator,
        "electrons in the fit": f"{fit.electrons} between {window.low_ev:.1f} and {window.high_ev:.1f} eV, "
        f"σ ≤ {analysis.response.max_std_ev:.2f} eV",
        "goodness of fit": f"χ²/ndf = {statistic:.1f}/{degrees}, p = {probability:.2f}",
        "final states": final_states_name(analysis.likelihood.physics),
        "fitted endpoint": f"{fit.endpoint_ev:.3f} ± {analysis.statistical_ev:.3f} (stat) "
        f"± {analysis.systematic_ev:.3f} (syst) eV,  68 %: {interval.low_ev:.3f} to {interval.high_ev:.3f} eV{made}",
        "nuisances profiled": f"{analysis.full_fit.endpoint_ev:.3f} ± {analysis.full_fit.endpoint_error_ev:.3f} eV",
    }
    if (true := analysis.true_fit) is not None:
        rows["from true energies"] = (
            f"{true.endpoint_ev:.3f} ± {true.endpoint_error_ev:.3f} eV ({true.electrons} electrons)"
        )
    if analysis.true_endpoint_ev is not None and analysis.deviation is not None:
        rows["true endpoint"] = (
            f"{analysis.true_endpoint_ev:.3f} eV: the fit is {signed(analysis.deviation, 2)} "
            "of its standard deviations away"
        )
    if (limit := analysis.limit) is not None:
        rows["squared mass"] = squared_mass_text(limit)
        rows["neutrino mass"] = mass_text(limit)
    return rows


def systematics_lines(analysis: Analysis) -> list[str]:
    """Return the table of systematic uncertainties: shifts one by one, then what each adds in the common fit."""
    lines = ["moved by its uncertainty       endpoint (eV)", "-" * 44]
    for shift in analysis.shifts:
        note = "" if shift.counted else "   (not counted)"
        lines.append(f"{shift.label:<30} {signed(shift.endpoint_ev, 3):>9}{note}")
    lines += [f"{'quadratic sum':<30} {analysis.systematic_ev:>9.3f}", ""]
    if analysis.added:
        lines += ["free in the common fit         known to  after the fit  adds (eV)", "-" * 66]
        for row in analysis.added:
            label = row.name.removesuffix("_ev").replace("_", " ")
            lines.append(f"{label:<30} {row.std:>8.3g} {row.after:>14.3g} {row.adds_ev:>10.3f}")
        lines.append(f"{'all, and the electrons':<30} {'':>8} {'':>14} {analysis.full_fit.endpoint_error_ev:>10.3f}")
    return lines


def squared_mass_text(limit: MassLimits) -> str:
    """Return the best m² with both of its errors."""
    upper, lower = (
        f"{sign}{abs(error):.0f}" if np.isfinite(error) else f"{sign}∞"
        for sign, error in (("+", limit.upper_ev2), ("−", limit.lower_ev2))
    )
    return f"m² = {minus(f'{limit.best_ev2:.0f}')} ({upper} {lower}) eV², 68 % of the profile likelihood"


def mass_text(limit: MassLimits) -> str:
    """Return the three upper limits on the mass."""
    made = {"Feldman–Cousins": limit.neyman, "profile": limit.profile, "Bayesian": limit.bayesian}
    said = [
        f"m < {found.limit_ev:.1f} eV ({name})" if np.isfinite(found.high_ev2) else f"no limit ({name})"
        for name, found in made.items()
        if found is not None
    ]
    without = "; Feldman–Cousins: not made (--mass-toys)" if limit.neyman is None else ""
    return f"{', '.join(said)} at {100 * limit.confidence:.0f} %{without}"


def warning_lines(analysis: Analysis) -> list[str]:
    """Return all warnings, and first that the fit is of no use where it is."""
    said = list(analysis.warnings) if analysis.valid else [NOT_VALID, *analysis.warnings]
    return [f"WARNING: {sentence}" for sentence in said]


def summary_lines(analysis: Analysis) -> list[str]:
    """Return the result in plain words, a line each."""
    lines = [f"{name:<20} {text}" for name, text in summary_rows(analysis).items()]
    return [*lines, *(f"{'note':<20} {note}" for note in analysis.notes), *warning_lines(analysis)]


def sensitivity_lines(points: Sequence[Sensitivity]) -> list[str]:
    """Return the sensitivity study as a table in text."""
    head = "electrons  resolution  background    endpoint (expected)        m² (expected)     mass limit 90 %"
    return [
        head,
        *(
            f"{p.electrons:9.0f} {p.resolution_ev:8.2f} eV {p.background_fraction:11.2%}"
            f" {p.endpoint_ev:8.3f} ({p.endpoint_expected_ev:.3f}) eV {p.mass_squared_ev2:8.2f}"
            f" ({p.mass_squared_expected_ev2:.2f}) eV² {p.mass_limit_ev:9.2f} eV"
            for p in points
        ),
    ]


def figures(analysis: Analysis, calibration: PredictionTable) -> dict[str, Figure]:
    """Return the figures of an analysis by name."""
    drawn = {
        "spectrum": plots.spectrum_figure(analysis),
        "kurie": plots.kurie_figure(analysis),
        "regression_to_the_prior": plots.regression_figure(calibration, analysis.response),
        "pulls_and_efficiency": plots.pull_figure(calibration, analysis.response),
        "profile": plots.profile_figure(analysis.likelihood, analysis.fit, "endpoint_ev", "endpoint (eV)"),
    }
    if analysis.shifts:
        drawn["systematic_shifts"] = plots.shifts_figure(analysis.shifts)
    if analysis.limit is not None:
        drawn["neutrino_mass"] = plots.mass_figure(analysis.limit)
    return drawn


CAPTIONS = {
    "spectrum": (
        "Spectrum and fit",
        "Reconstructed energies of the tritium electrons, corrected for the estimator's regression to its training "
        "window, with the spectrum of the unbinned fit. Below: residuals in standard deviations. "
        "Good: they scatter about zero, without a slope or a wave, two thirds of them within one.",
    ),
    "kurie": ("Kurie plot", "Good: a straight line down to the endpoint, rounded by the resolution near it."),
    "regression_to_the_prior": (
        "Regression to the prior",
        "A network trained on a flat window pulls electrons that it cannot measure to the window's middle. The pull is "
        "measured on electrons of known energy against their stated uncertainty, and removed. Good: little pull where "
        "the electrons of the fit lie.",
    ),
    "pulls_and_efficiency": (
        "Resolution and efficiency",
        "How far the stated uncertainties are true, and which part of the electrons passes the quality cut. "
        "Good: pulls follow the unit Gaussian, and an efficiency that does not depend on the energy.",
    ),
    "profile": ("Profile likelihood", "Its width at 1 is the 68 % interval of the endpoint. Good: one smooth valley."),
    "neutrino_mass": (
        "Neutrino mass",
        "Three constructions of a limit. Left: masses are accepted where the likelihood lies below the critical value; "
        "Feldman–Cousins measures it on pseudo-experiments, the profile construction takes it from χ². Right: the "
        "posterior that is flat in m² ≥ 0. Good: three limits near one another; where not, Feldman–Cousins covers.",
    ),
    "systematic_shifts": (
        "Systematic shifts",
        "The fitted endpoint's change when one assumption at a time moves by its uncertainty. Blue counts as "
        "systematic uncertainty; grey does not: it only shows what an assumption is worth, or is contained in the "
        "calibration statistics. Good: each below the statistical error.",
    ),
}


def section(analysis: Analysis, calibration: PredictionTable) -> Section:
    """Return the analysis as a part of the evaluation report."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td><td>{escape(MEANINGS.get(name, ""))}</td></tr>'
        for name, text in summary_rows(analysis).items()
    )
    warning = "".join(f'<p class="note">{escape(line)}</p>' for line in [*warning_lines(analysis), *analysis.notes])
    table = f'{warning}<div class="scroll"><table class="wrap">{rows}</table></div>'
    pictures = tuple(
        Illustration(*CAPTIONS[name], (Panel(f"endpoint-{analysis.estimator}-{name}", figure, CAPTIONS[name][0]),))
        for name, figure in figures(analysis, calibration).items()
    )
    numbers = json.dumps(_finite(analysis.to_dict()), indent=2, default=str, allow_nan=False)
    name = f"endpoint-{file_name(analysis.estimator)}.json"
    return Section(
        f"The tritium endpoint: {analysis.estimator}",
        table,
        pictures,
        {name: numbers + "\n"},
        headline=headline(analysis),
        first=f"endpoint-{analysis.estimator}-spectrum",
    )


def headline(analysis: Analysis) -> str:
    """Return the result in one sentence."""
    start = f"Tritium endpoint from {analysis.estimator}:"
    if not analysis.valid:
        return f"{start} {NOT_VALID}."
    errors = f"± {analysis.statistical_ev:.2f} (stat) ± {analysis.systematic_ev:.2f} (syst)"
    result = f"{analysis.fit.endpoint_ev:.2f} {errors} eV"
    if analysis.true_endpoint_ev is None or analysis.deviation is None:
        return f"{start} {result}."
    away = f"{signed(analysis.deviation, 1)} of its standard deviations"
    return f"{start} {result}, {away} from the true {analysis.true_endpoint_ev:.2f} eV."


def write_json(content: dict[str, Any], path: Path) -> Path:
    """Write a result as JSON, atomically; numbers that are not finite become null."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_finite(content), indent=2, default=str, allow_nan=False) + "\n")
    return path


def write_figures(drawn: dict[str, Figure], folder: Path) -> list[Path]:
    """Write figures as PNG, atomically."""
    paths = []
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png")
        paths.append(path)
    return paths


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
