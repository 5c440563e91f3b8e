"""What the four detectors measure of single particles, and the Z peak: python benchmarks/detector_response.py

Photons: response and width of the ECAL's cluster beside the Cramér–Rao bound of cells whose shape is known, and a fit
a/√E ⊕ b/E ⊕ c. Pions: response and width beside what ⟨f_em⟩ says. Muons: segments in how many stations.
Z → ee, μμ from Pythia, tracks and clusters. Writes OUTPUT/response.json and .png.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from collider.detectors.calorimeters.clusters import Topology, cluster_cells
from collider.detectors.calorimeters.config import Calorimeters
from collider.detectors.calorimeters.hadrons import mean_electromagnetic_fraction
from collider.detectors.calorimeters.shapes import shapes_of
from collider.detectors.calorimeters.showering import Shower, shower
from collider.detectors.calorimeters.signals import read_cells
from collider.detectors.events import EventSlice, RaggedTable
from collider.detectors.gun import shot
from collider.detectors.making.config import DetectorSample
from collider.detectors.making.events import event_columns
from collider.detectors.muons.config import MuonStations
from collider.detectors.muons.hits import find_segments, measured_hits
from collider.detectors.muons.passing import arrivals
from collider.detectors.particles import Particles
from collider.detectors.schema import TABLES
from collider.generation import EventGenerator, Process, Resonance
from collider.showers.pictures import BLUE, GREEN, GREY, ORANGE, STYLE
from reconstruction.command import Parser

PARTS, FIELD_T = Calorimeters(), 3.8
ETA = 0.4
PHOTONS_GEV = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
PIONS_GEV = (3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
MUONS_GEV = (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0)
NEAR = 0.1
"""ΔR around a track's place at the ECAL within which clusters are the electron's."""
Z = Process(
    "z", ("WeakSingleBoson:ffbar2gmZ",), resonances={"Z": Resonance(only=("e", "mu"))}, settings={"WeakZ0:gmZmode": "2"}
)


def central(kind: str, energy_gev: float, count: int) -> Particles:
    """Return particles of about one energy, one an event, around one η; of several η cells are not hit alike."""
    pt = energy_gev / np.cosh(ETA)
    return shot(kind, count, pt_gev=(pt, pt), eta=(ETA - 0.05, ETA + 0.05), seed=int(10 * energy_gev))


def width(values: NDArray[Any]) -> float:
    """Return half of the interval that holds the middle 68 %."""
    low, high = np.percentile(values, (15.865, 84.135))
    return float((high - low) / 2)


def measured(particles: Particles, parts: Calorimeters = PARTS) -> tuple[NDArray[Any], NDArray[Any], Shower]:
    """Return the energy of all clusters of each event, (event,), in the ECAL and in the HCAL."""
    count = len(particles)
    made = shower(particles, np.arange(count), parts, FIELD_T, 1)
    random, found = np.random.default_rng(1), []
    for part, deposits in ((parts.ecal, made.ecal), (parts.hcal, made.hcal)):
        cells = read_cells(deposits, part, count, random, 1)
        label = cluster_cells(cells, part.grid, part.readout.noise_gev, Topology())
        shapes = shapes_of(cells, label, deposits, part.grid)
        real = shapes.particle >= 0
        found.append(np.bincount(shapes.event[real], shapes.energy_gev[real], count))
    return found[0], found[1], made


def bound(made: Shower, energy_gev: NDArray[Any]) -> float:
    """Return the mean Cramér–Rao bound of ln E from cells whose shares s_i of the energy are known.

    Cells are Gaussian around E s_i with variance c² E s_i + σ² + (k E s_i)²: I = Σ s_i²/variance, and each event has
    its own shares, those that it deposited.
    """
    part = PARTS.ecal
    mean = made.ecal.energy_gev
    variance = part.stochastic_term**2 * mean + part.readout.noise_gev**2 + (part.readout.constant_term * mean) ** 2
    information = np.bincount(made.ecal.event, mean**2 / variance, len(energy_gev))
    return float(np.mean(1 / np.sqrt(information)))


def photons(count: int) -> dict[str, Any]:
    rows = []
    for energy in PHOTONS_GEV:
        particles = central("photon", energy, count)
        ecal, _, made = measured(particles)
        true = particles.energy_gev
        rows.append(
            {
                "energy_gev": energy,
                "response": float(np.mean(ecal / true)),
                "width": width(ecal / true) / float(np.median(ecal / true)),
                "bound": bound(made, true),
            }
        )
        print(
            "photon {energy_gev:6g} GeV: response {response:.4f}, σ/E {width:.4f}, bound {bound:.4f}".format(**rows[-1])
        )
    energy, widths = (np.array([row[name] for row in rows]) for name in ("energy_gev", "width"))
    terms, _ = curve_fit(resolution, energy, widths, p0=(0.03, 0.1, 0.005), sigma=widths)
    print("photons: σ/E = {:.1f} %/√E ⊕ {:.2f} GeV/E ⊕ {:.2f} %".format(*(np.abs(terms) * [100, 1, 100])))
    return {"rows": rows, "stochastic": abs(terms[0]), "noise_gev": abs(terms[1]), "constant": abs(terms[2])}


def resolution(energy: Any, stochastic: Any, noise: Any, constant: Any) -> Any:
    return np.sqrt(stochastic**2 / energy + (noise / energy) ** 2 + constant**2)


def pions(count: int) -> dict[str, Any]:
    rows = []
    for energy in PIONS_GEV:
        particles = central("pion", energy, count)
        ecal, hcal, made = measured(particles)
        seen = made.passage.visible_gev / particles.energy_gev
        both = (ecal + hcal) / particles.energy_gev
        mean = float(mean_electromagnetic_fraction(energy, False, PARTS.hadrons))
        rows.append(
            {
                "energy_gev": energy,
                "response": float(np.mean(both)),
                "width": float(np.std(both) / np.mean(both)),
                "visible": float(np.mean(seen)),
                "visible_width": float(np.std(seen) / np.mean(seen)),
                "fraction": float(np.nanmean(made.passage.fraction)),
                "mean_fraction": mean,
                "hcal_alone": mean + PARTS.hcal.hadronic_response * (1 - mean),
            }
        )
        print(
            "pion {energy_gev:6g} GeV: ⟨f_em⟩ {fraction:.3f} ({mean_fraction:.3f}), clusters {response:.3f}, σ/E "
            "{width:.3f}; in cells {visible:.3f}, {visible_width:.3f}; all in HCAL {hcal_alone:.3f}".format(**rows[-1])
        )
    energy, widths = (np.array([row[name] for row in rows]) for name in ("energy_gev", "visible_width"))
    terms, _ = curve_fit(lambda e, a, c: resolution(e, a, 0.0, c), energy, widths, p0=(0.9, 0.05), sigma=widths)
    print("pions in cells: σ/E = {:.0f} %/√E ⊕ {:.1f} %".format(*(100 * np.abs(terms))))
    return {"rows": rows, "stochastic": abs(terms[0]), "constant": abs(terms[1])}


def muons(count: int) -> dict[str, Any]:
    stations, rows = MuonStations(), []
    for energy in MUONS_GEV:
        row: dict[str, Any] = {"energy_gev": energy}
        for name, kind, many in (("efficiency", "muon", count), ("punch_through", "pion", 4 * count)):
            particles = central(kind, energy, many)
            made = shower(particles, np.arange(many), PARTS, FIELD_T, 1)
            random = np.random.default_rng(2)
            reached = arrivals(particles, made.passage, PARTS, stations, FIELD_T, random)
            segments = find_segments(measured_hits(reached, stations, many, random), stations)
            found = np.bincount(segments.particle[segments.particle >= 0], minlength=many)
            row[name] = float(np.mean(found >= 2))
        rows.append(row)
        print("muon {energy_gev:6g} GeV: two segments {efficiency:.3f}; pions {punch_through:.4f}".format(**row))
    return {"rows": rows}


def z_events(events: int) -> EventSlice:
    """Return events of Z bosons with all tables, as a file would hold them."""
    sample, parts = DetectorSample((Z,)), []
    generator = EventGenerator(sample.pythia(Z), 11)
    for start in range(0, events, 25):
        ids = np.arange(start, min(start + 25, events))
        parts.append(event_columns(generator.batch(len(ids)), ids, sample))
    tables = {}
    for name, own in TABLES.items():
        counts = np.concatenate([np.diff(part[f"{name}/offsets"]) for part in parts])
        columns = {column.name: np.concatenate([part[f"{name}/{column.name}"] for part in parts]) for column in own}
        tables[name] = RaggedTable(name, np.concatenate([[0], np.cumsum(counts)]), columns)
    return EventSlice({"event_id": np.arange(events)}, tables)


def masses(events: EventSlice, found: dict[str, Any]) -> dict[str, Any]:
    """Return masses of the two leptons of each Z whose tracks were found, momenta by tracks or by clusters.

    Which tracks are theirs is told by the truth, for muons by segments in two stations besides. The clusters of an
    electron are those around its track at the ECAL, times the inverse of the photons' response.
    """
    particles, tracks = events["particles"], events["tracks"]
    segments = np.bincount(*_of(events["segments"], particles), minlength=len(particles))
    whose = tracks.place(particles, "particle")
    size = np.abs(particles["pdg_id"])
    lepton = (whose >= 0) & (particles["origin"][whose] == 23)
    result: dict[str, Any] = {}
    for name, code in (("mumu", 13), ("ee", 11)):
        of = np.flatnonzero(lepton & (size[whose] == code) & ((code == 11) | (segments[whose] >= 2)))
        vectors = momenta(tracks, of)
        result[f"{name}_tracks"] = pair_masses(tracks.event[of], whose[of], vectors)
        if code == 11:
            energy = electron_energy(events, of, found)
            scaled = vectors * (energy / np.linalg.norm(vectors, axis=1))[:, None]
            result["ee_clusters"] = pair_masses(tracks.event[of], whose[of], scaled)
    for name, values in result.items():
        print(
            f"Z → {name}: {len(values)} pairs, median {np.median(values):.2f} GeV, half width {width(values):.2f} GeV"
        )
    return {name: values.tolist() for name, values in result.items()}


def _of(rows: RaggedTable, particles: RaggedTable) -> tuple[NDArray[Any]]:
    place = rows.place(particles, "particle")
    return (place[place >= 0],)


def momenta(tracks: RaggedTable, of: NDArray[Any]) -> NDArray[Any]:
    pt = 1 / np.abs(tracks["q_over_pt_per_gev"][of].astype(float))
    phi, slope = tracks["phi_rad"][of], tracks["cot_theta"][of]
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * slope], axis=1)


def electron_energy(events: EventSlice, of: NDArray[Any], found: dict[str, Any]) -> NDArray[Any]:
    tracks, clusters = events["tracks"], events["clusters"]
    energy = np.array([row["energy_gev"] for row in found["rows"]])
    response = np.array([row["response"] for row in found["rows"]])
    sums = np.zeros(len(of))
    ecal = clusters["detector"] == 0
    for i, track in enumerate(of):
        eta, phi = tracks["ecal_eta"][track], tracks["ecal_phi_rad"][track]
        away = np.hypot(clusters["eta"] - eta, np.angle(np.exp(1j * (clusters["phi_rad"] - phi))))
        near = ecal & (clusters.event == tracks.event[track]) & (away < NEAR)
        sums[i] = clusters["energy_gev"][near].sum()
    return sums / np.interp(sums, energy * response, response)


def pair_masses(event: NDArray[Any], whose: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
    """Return the mass of the two particles of each event that has just two, one track each."""
    _, first = np.unique(whose, return_index=True)
    event, vectors = event[first], vectors[first]
    _, begins, counts = np.unique(event, return_index=True, return_counts=True)
    begins = begins[counts == 2]
    one, other = vectors[begins], vectors[begins + 1]
    energy = np.linalg.norm(one, axis=1) + np.linalg.norm(other, axis=1)
    return np.sqrt(np.maximum(energy**2 - ((one + other) ** 2).sum(1), 0))


def draw(found: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt

    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(2, 2, figsize=(9.6, 7.0), layout="constrained")
        _draw_photons(panels[0, 0], found["photons"])
        _draw_pions(panels[0, 1], found["pions"])
        _draw_muons(panels[1, 0], found["muons"])
        _draw_masses(panels[1, 1], found.get("masses", {}))
        figure.savefig(path)
        plt.close(figure)


def _columns(found: dict[str, Any], *names: str) -> list[NDArray[Any]]:
    return [np.array([row[name] for row in found["rows"]]) for name in names]


def _logarithmic(axes: Any, label: str, energies: tuple[float, ...]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(energies, [f"{energy:g}" for energy in energies])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)


def _draw_photons(axes: Any, found: dict[str, Any]) -> None:
    energy, widths, bounds = _columns(found, "energy_gev", "width", "bound")
    fine = np.geomspace(energy[0], energy[-1], 100)
    terms = found["stochastic"], found["noise_gev"], found["constant"]
    words = f"{100 * terms[0]:.1f} %/√E ⊕ {terms[1]:.2f} GeV/E ⊕ {100 * terms[2]:.2f} %"
    axes.plot(fine, 100 * resolution(fine, *terms), color=BLUE, label=words)
    axes.plot(energy, 100 * widths, "o", color=BLUE, label="sum of the cluster")
    axes.plot(energy, 100 * bounds, "s--", color=ORANGE, label="bound, shape known")
    axes.set(title="Photons in the ECAL", ylabel="σ/E in %", ylim=(0, None))
    _logarithmic(axes, "E in GeV", PHOTONS_GEV)
    axes.legend()


def _draw_pions(axes: Any, found: dict[str, Any]) -> None:
    energy, seen, widths, alone = _columns(found, "energy_gev", "visible", "visible_width", "hcal_alone")
    axes.plot(energy, seen, "o-", color=BLUE, label="response of both calorimeters")
    axes.plot(energy, alone, "--", color=GREY, label="⟨f_em⟩ + h/e (1 − ⟨f_em⟩) of the HCAL")
    axes.plot(energy, widths, "s-", color=ORANGE, label="σ/E of the response")
    axes.set(title="Charged pions", ylim=(0, 1))
    _logarithmic(axes, "E in GeV", PIONS_GEV)
    axes.legend(loc="center right")


def _draw_muons(axes: Any, found: dict[str, Any]) -> None:
    energy, efficiency, punch = _columns(found, "energy_gev", "efficiency", "punch_through")
    axes.plot(energy, efficiency, "o-", color=GREEN, label="muons")
    axes.plot(energy, punch, "s-", color=ORANGE, label="pions")
    axes.set(title="Segments in two stations or more", ylim=(0, 1.05))
    _logarithmic(axes, "E in GeV", MUONS_GEV)
    axes.legend(loc="center right")


def _draw_masses(axes: Any, found: dict[str, Any]) -> None:
    edges = np.linspace(70, 110, 41)
    for (name, label), colour in zip(
        {"mumu_tracks": "μμ, tracks", "ee_tracks": "ee, tracks", "ee_clusters": "ee, clusters"}.items(),
        (GREEN, GREY, BLUE),
        strict=True,
    ):
        if found.get(name):
            axes.hist(found[name], edges, histtype="step", color=colour, label=f"{label} ({len(found[name])})")
    axes.axvline(91.19, color=ORANGE, linewidth=1)
    axes.set(title="Z bosons", xlabel="mass in GeV", ylabel="pairs in 1 GeV")
    if found:
        axes.legend()


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=1000, help="of each kind and energy")
    parser.add_argument("--z", type=int, default=1000, help="Z bosons; 0 leaves them out, and Pythia")
    parser.add_argument("--output", type=Path, default=Path("runs/detector_response"), help="folder")
    arguments = parser.parse_args()
    start = time.process_time()
    found: dict[str, Any] = {
        "photons": photons(arguments.particles),
        "pions": pions(arguments.particles),
        "muons": muons(arguments.particles),
    }
    if arguments.z:
        found["masses"] = masses(z_events(arguments.z), found["photons"])
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "response.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, arguments.output / "response.png")
    print(f"{arguments.output / 'response.png'}: {time.process_time() - start:.0f} s of processor")


if __name__ == "__main__":
    main()
