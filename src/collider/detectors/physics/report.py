"""Physics as one page that needs no network, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import collider
from collider.detectors.learning.columns import CLASSES
from collider.detectors.physics import pictures
from collider.detectors.physics.chain import NETWORK, RULES, TRUTH
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.fits import BACKGROUND, MASS, SIGMA, SIGNAL
from collider.detectors.physics.markup import percent, said, table
from collider.detectors.physics.measures import (
    ASKED_JETS_GEV,
    ETA_EDGES,
    IDENTIFIED_ETA,
    IDENTIFIED_FROM_GEV,
    PT_EDGES_GEV,
    Efficiency,
    IdentifiedKinds,
    JetFigures,
    PeakFigures,
    listed,
    plain,
)
from collider.detectors.physics.tagging.figures import TaggingFigures
from collider.detectors.physics.tagging.section import tagging_in_words, tagging_section, tagging_summary
from reconstruction.files import write_whole
from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.pictures.class_plots import confusion_matrix, roc_curves
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section
from reconstruction.judging.report.page import FIGURES, standalone_page
from reconstruction.provenance import ancestry, git_commit

PAGE: Final = "report.html"
DATA: Final = "physics.json"
TITLE: Final = "Four detectors read as one: what they measure"
ASKED_RATIO, ASKED_MACRO = 0.9, 0.95
SYMBOLS: Final = ("e", "γ", "μ", "h±", "h⁰")
NAMES: Final = tuple(name.replace("_", " ") for name in CLASSES)
PLACES: Final = {RULES: 0, NETWORK: 1}


@dataclass(frozen=True)
class Findings:
    """Everything that was measured, and of what."""

    events: int
    source: str
    tables: tuple[str, ...]
    config: PhysicsConfig
    jets: Sequence[JetFigures]
    missing: Mapping[str, Mapping[str, Figure]]
    identified: Mapping[str, IdentifiedKinds]
    efficiencies: Mapping[str, Mapping[str, Efficiency]]
    masses: Sequence[PeakFigures]
    tagged: TaggingFigures


def write_report(findings: Findings, folder: Path) -> Path:
    """Write report.html, physics.json and figures/*.png, each whole or not at all; return the page's path."""
    words = in_words(findings)
    lead = "".join(f"<p>{escape(line)}</p>" for line in words)
    data = json.dumps(summary_of(findings) | {"in_words": words}, indent=1, allow_nan=False) + "\n"
    page, drawn = standalone_page(TITLE, lead, notes_of(findings), sections_of(findings), (), {DATA: data})
    for name, content in drawn.items():
        write_whole(folder / FIGURES / name, content)
    write_whole(folder / DATA, data.encode())
    return write_whole(folder / PAGE, page.encode())


def summary_of(findings: Findings) -> dict[str, Any]:
    """Return what the JSON holds."""
    told = {"data": findings.source, "tables": list(findings.tables), "cuts": asdict(findings.config)}
    edges = {"pt_gev": list(PT_EDGES_GEV), "abs_eta": list(ETA_EDGES)}
    return {
        **ancestry(f"collider {collider.__version__}", git_commit(Path(__file__)), told, 0),
        "events": findings.events,
        "jets": [_of_jets(one) for one in findings.jets],
        "missing_momentum_gev": {
            name: {flow: plain(figure) for flow, figure in own.items()} for name, own in findings.missing.items()
        },
        "identification": {flow: _of_identified(one) for flow, one in findings.identified.items()},
        "efficiency": edges | {
            name: {flow: _of_efficiency(one) for flow, one in own.items()}
            for name, own in findings.efficiencies.items()
        },
        "masses": {one.study.name: _of_masses(one) for one in findings.masses},
        "large_jets": tagging_summary(findings.tagged),
    }  # fmt: skip


def _of_jets(one: JetFigures) -> dict[str, Any]:
    flows = {
        flow: {
            "found": one.found[flow] if math.isfinite(one.found[flow]) else None,
            "response": plain(one.response[flow]),
            "resolution": plain(one.resolution[flow]),
        }
        for flow in one.response
    }
    return {"true_pt_gev": list(one.pt_gev), "jets": one.jets, "network_over_rules": plain(one.ratio), **flows}


def _of_identified(one: IdentifiedKinds) -> dict[str, Any]:
    return {
        "candidates": len(one.told.truth),
        "macro": plain(one.macro),
        "efficiency": {name: plain(figure) for name, figure in one.efficiency.items()},
        "classes": list(CLASSES),
        "confusion_true_told": one.told.confusion().tolist() if len(one.told.truth) else [],
    }


def _of_efficiency(one: Efficiency) -> dict[str, Any]:
    low, high = one.interval
    return {"particles": one.total.tolist(), "found": one.passed.tolist(), "share": listed(one.share),
            "low": listed(low), "high": listed(high)}  # fmt: skip


def _of_masses(one: PeakFigures) -> dict[str, Any]:
    found: dict[str, Any] = {"of": one.study.words, "true_mass_gev": one.study.mass_gev}
    found["fits"] = {flow: fit.to_dict() for flow, fit in one.fits.items()}
    found["over_true_mass_gev"] = {
        flow: {"median": plain(one.shift[flow]), "sigma68": plain(one.width[flow])} for flow in one.shift
    }
    return found


def in_words(findings: Findings) -> list[str]:
    """Return what came of it, a sentence each."""
    asked = findings.jets[-1]
    lines = [f"{findings.events} events; {_and([f'particle flow by {flow}' for flow in asked.response])}."]
    if findings.tables:
        lines[0] = f"{lines[0][:-1]} ({', '.join(findings.tables)}): events that none of the networks was trained on."
    widths = "; ".join(f"{flow} {percent(figure)}" for flow, figure in asked.resolution.items())
    lines.append(
        f"Jets with {ASKED_JETS_GEV[0]:g} to {ASKED_JETS_GEV[1]:g} GeV ({asked.jets}), σ68 of pT over its median: "
        f"{widths}."
    )
    if asked.ratio is not None:
        lines.append(f"Network over rules {said(asked.ratio, 3)} (asked: at most {ASKED_RATIO:g}).")
    if "all" in findings.missing:
        widths = "; ".join(f"{flow} {said(figure, 2)} GeV" for flow, figure in findings.missing["all"].items())
        lines.append(f"Missing momentum, σ68 of a component: {widths}.")
    for flow, one in findings.identified.items():
        lines.append(
            f"Identification above {IDENTIFIED_FROM_GEV:g} GeV by {flow}, mean of the classes: {percent(one.macro)} "
            f"(asked: at least {100 * ASKED_MACRO:g} %)."
        )
    for figures in findings.masses:
        for flow, fit in figures.fits.items():
            if flow == TRUTH:
                continue
            if fit.said:
                lines.append(f"{figures.study.title}, {flow}: no fit, {fit.said}.")
            else:
                shift, width = (said(one[flow], 2) or "unknown" for one in (figures.shift, figures.width))
                lines.append(
                    f"{figures.study.title}, {flow}: m = {fit.values[MASS]:.2f} ± {fit.errors[MASS]:.2f} GeV"
                    f"{'' if fit.valid else ' (not converged)'}; less that of true particles: median {shift} GeV, σ68 "
                    f"{width} GeV."
                )
    return [*lines, *tagging_in_words(findings.tagged)]


def _and(parts: Sequence[str]) -> str:
    return " and ".join(parts)


def notes_of(findings: Findings) -> list[str]:
    """Return what has to be known beside the figures."""
    notes = [
        "Processes stand side by side as they were generated: backgrounds below the peaks are those of this sample, "
        "not those of a collider, where QCD is a million times more frequent.",
        "True particles are those that are followed through the detectors (pT above 0.2 GeV, |η| up to 3.2, without "
        "neutrinos). Their flow goes the same way as the others: what it lacks, no reconstruction can have.",
        "Intervals are 68 %: of widths, medians, identification and tagging by resampling events, of efficiencies "
        "those of Clopper and Pearson, of fits HESSE's.",
    ]
    if NETWORK in findings.jets[-1].response:
        notes.append(
            "The network's flow is the rules' with the kinds and momenta that the tables state. Tables made of "
            "simulated events hold candidates that have a truth: noise and pieces of showers, which have none, are by "
            "rules. Of a table of jets the network's jets are those of the rules with the pT that it states."
        )
    return notes


def sections_of(findings: Findings) -> list[Section]:
    """Return the parts of the page."""
    return [
        _mass_section(findings.masses),
        _jet_section(findings.jets),
        _missing_section(findings.missing),
        *([_identified_section(findings.identified)] if findings.identified else []),
        tagging_section(findings.tagged),
        _efficiency_section(findings.efficiencies),
    ]


def _mass_section(masses: Sequence[PeakFigures]) -> Section:
    heads = ["", "flow", "events", "mass (GeV)", "resolution σ (GeV)", "signal", "background", "χ²/ndf", "p",
             "median over true (GeV)", "σ68 over true (GeV)"]  # fmt: skip
    rows = [row for one in masses for row in _mass_rows(one)]
    pictures_of = []
    for one in masses:
        panels = tuple(
            Panel(f"{one.study.name}-{flow}", partial(pictures.peak_picture, one, flow), f"{one.study.title} of {flow}")
            for flow in one.fits
            if flow != TRUTH
        )
        caption = (
            f"Made of {one.study.words}. Grey: the same from true particles. Line: the fit, dashed its background; "
            "below are the pulls, (counted − expected)/√expected."
        )
        pictures_of.append(Illustration(one.study.title, caption, panels))
    html = (
        "<p>Unbinned extended likelihood. Z: a Breit–Wigner distribution of Γ = 2.4952 GeV, smeared by a double-sided "
        "Crystal Ball function; H and W: that function alone; top: a Gaussian distribution over a polynomial. The mass "
        "of true particles has no radiation from the first quarks and none outside of the jets, and leptons have the "
        "photons around them: jets' peaks lie below the masses of W and top for this reason. The last columns compare "
        "event by event with the true particles' mass, where the natural width cancels.</p>"
    )
    return Section("Invariant masses", html + table(heads, rows), tuple(pictures_of))


def _mass_rows(one: PeakFigures) -> list[list[str]]:
    rows = []
    for flow, fit in one.fits.items():
        first = [one.study.title if flow == RULES else "", flow, str(fit.events)]
        if fit.said:
            rows.append([*first, fit.said, *[""] * 7])
            continue
        numbers = [_pm(fit.values[name], fit.errors[name], digits)
                   for name, digits in ((MASS, 3), (SIGMA, 2), (SIGNAL, 0), (BACKGROUND, 0))]  # fmt: skip
        goodness = [f"{fit.chi2:.1f}/{fit.ndof}", f"{fit.probability:.2f}"] if fit.ndof > 0 else ["", ""]
        over = [said(found[flow], 3) if flow in found else "" for found in (one.shift, one.width)]
        rows.append([*first, *numbers, *goodness, *over])
    return rows


def _pm(value: float, error: float, digits: int) -> str:
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if math.isfinite(error) else "")


def _jet_section(jets: Sequence[JetFigures]) -> Section:
    heads = ["true pT (GeV)", "jets", "flow", "found", "response", "resolution", "network over rules"]
    rows = []
    for one in jets:
        for flow in one.response:
            ratio = said(one.ratio, 3) if flow == NETWORK and one.ratio is not None else ""
            found = f"{100 * one.found[flow]:.1f} %" if math.isfinite(one.found[flow]) else ""
            rows.append([f"{one.pt_gev[0]:g} to {one.pt_gev[1]:g}", str(one.jets), flow, found,
                         percent(one.response[flow]), percent(one.resolution[flow]), ratio])  # fmt: skip
    caption = "Median of the reconstructed pT over the true one, and half of its central 68 % over that median."
    panels = tuple(
        Panel(f"jets-{what}", partial(pictures.jet_picture, jets, what, label), f"{what} of jets against true pT")
        for what, label in (("resolution", "σ68(pT)/median"), ("response", "median of pT over true"))
    )
    return Section("Jets", table(heads, rows), (Illustration("Response and resolution", caption, panels),))


def _missing_section(missing: Mapping[str, Mapping[str, Figure]]) -> Section:
    if not missing:
        return Section("Missing momentum", "<p>Too few events.</p>")
    flows = list(next(iter(missing.values())))
    rows = [[name, *(said(own[flow], 2) for flow in flows)] for name, own in missing.items()]
    caption = (
        "Width of the components px and py against the neutrinos'. What true particles lack are those that are too "
        "soft or too near to the beam to be followed."
    )
    panel = Panel(
        "missing", partial(pictures.missing_picture, missing), "resolution of the missing momentum by process"
    )
    heads = ["process", *(f"{flow} (GeV)" for flow in flows)]
    return Section("Missing momentum", table(heads, rows), (Illustration("Resolution", caption, (panel,)),))


def _identified_section(identified: Mapping[str, IdentifiedKinds]) -> Section:
    heads = ["flow", "candidates", *NAMES, "mean"]
    rows = []
    for flow, one in identified.items():
        shares = [percent(one.efficiency[name]) if name in one.efficiency else "none" for name in CLASSES]
        rows.append([flow, str(len(one.told.truth)), *shares, percent(one.macro)])
    confusions = tuple(
        Panel(f"confusion-{flow}", partial(confusion_matrix, one.told, SYMBOLS, flow), f"who is what for {flow}")
        for flow, one in identified.items()
    )
    tellers = [(flow, PLACES[flow], one.told) for flow, one in identified.items()]
    curves = tuple(
        Panel(f"roc-{name}", partial(roc_curves, tellers, place, name.replace("_", " ")), f"ROC curve of {name}")
        for place, name in enumerate(CLASSES)
        if name in next(iter(identified.values())).efficiency
    )
    words = (
        f"Candidates of true particles above {IDENTIFIED_FROM_GEV:g} GeV and within |η| of {IDENTIFIED_ETA:g}. Each "
        "line is a true kind. Particles of which nothing was found are in the efficiencies below."
    )
    return Section(
        "Identification",
        table(heads, rows),
        (
            Illustration("Who is taken for whom", words, confusions),
            Illustration("ROC curves", "Rules say yes or no: their one point is joined with both ends.", curves),
        ),
    )


def _efficiency_section(efficiencies: Mapping[str, Mapping[str, Efficiency]]) -> Section:
    caption = (
        "Share of true particles that were found; of kinds: and taken for what they are. Photons that share a cluster "
        "with a track or with another photon count as lost, though their energy is not. Bars: Clopper and Pearson."
    )
    panels = tuple(
        Panel(f"efficiency-{name}", partial(pictures.efficiency_picture, name, own), f"efficiency of {name} against pT")
        for name, own in efficiencies.items()
    )
    bins = [f"{low:g} to {high:g}" for low, high in pairwise(PT_EDGES_GEV)]
    heads = ["", "by", "|η|", *(f"{one} GeV" for one in bins)]
    rows = []
    for name, own in efficiencies.items():
        for by, one in own.items():
            low, high = one.interval
            for eta, (first, last) in enumerate(pairwise(ETA_EDGES)):
                cells = [_share(one, low, high, pt, eta) for pt in range(len(bins))]
                rows.append([name, by, f"{first:g} to {last:g}", *cells])
    return Section("Efficiencies", table(heads, rows), (Illustration("Against pT", caption, panels),))


def _share(one: Efficiency, low: Any, high: Any, pt: int, eta: int) -> str:
    if not one.total[pt, eta]:
        return ""
    share = 100 * one.share[pt, eta]
    return f"{share:.1f} +{100 * high[pt, eta] - share:.1f} −{share - 100 * low[pt, eta]:.1f} %"
