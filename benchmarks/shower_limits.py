"""What a calorimeter's layers hold: python benchmarks/shower_limits.py [--picture docs/images/showers.png]

First the energy of electrons in lead and liquid argon: the sum of the layers, maximum likelihood, and the Cramér–Rao
bound of the same showers, in a deep calorimeter and in one that leaks. Then electron or photon against the thickness of
the layers. Everything is simulated here; no detector is meant.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import numpy as np

from collider.showers import CylindricalGrid, Readout, SamplingMaterial, material, simulate_showers
from collider.showers.information import LayerModel, over_bound, shapes_of
from collider.showers.pictures import BLUE, GREEN, GREY, ORANGE, STYLE
from collider.showers.separation import separations
from reconstruction.command import Parser
from reconstruction.files import write_whole

MEDIUM = SamplingMaterial(material("Pb"), material("LAr"), 0.2, 0.4)
NOISE_GEV = 0.016
ENERGIES_GEV = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
DEPTHS_X0 = (25, 16)
LAYERS_X0 = (0.25, 0.5, 1.0, 2.5, 5.0)


def resolution(depth_x0: int, energy: float, events: int, first: int) -> dict[str, float]:
    """Return σ/E of sum, likelihood and bound of the same showers."""
    edges = tuple(float(edge) for edge in range(depth_x0 + 1))
    model = LayerModel(MEDIUM, edges, NOISE_GEV)
    grid = CylindricalGrid(tuple(np.array(edges) * MEDIUM.radiation_length_cm), (0, 2000 * MEDIUM.moliere_radius_cm))
    noise = Readout(noise_gev=NOISE_GEV)
    ids = first + np.arange(events)
    showers = simulate_showers(np.full(events, energy), MEDIUM, grid, seed=5, event_id=ids, readout=noise)
    layers = showers.cells_gev[:, :, 0, 0].astype(float)
    fitted, stated, converged = model.fit(layers)
    bound = model.bound(showers.energy_gev, shapes_of(showers.energy_gev, showers.t, showers.alpha, MEDIUM))
    total = layers.sum(1)
    ratio, error = over_bound(fitted / energy - 1, bound)
    return {
        "energy": energy,
        "sum": float(np.std(total / total.mean())),
        "likelihood": float(np.std(fitted / energy)),
        "bias": float(np.mean(fitted / energy) - 1),
        "bound": float(np.sqrt(np.mean(bound**2))),
        "ratio": ratio,
        "error": error,
        "covered": float(np.mean(np.abs(fitted / energy - 1) < stated)),
        "converged": float(converged.mean()),
    }


def picture(rows: dict[int, list[dict[str, float]]], told: dict[str, list[Any]], path: Path) -> None:
    """Draw both tables."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for depth, style in zip(DEPTHS_X0, ("-", "--"), strict=True):
            energy = [row["energy"] for row in rows[depth]]
            for name, colour in (("sum", ORANGE), ("likelihood", BLUE), ("bound", GREEN)):
                values = [100 * row[name] for row in rows[depth]]
                marks = {"marker": "o", "ls": "none", "ms": 4, "mfc": BLUE if depth == DEPTHS_X0[0] else "white"}
                look = marks if name == "likelihood" else {"ls": style}
                words = {"sum": "sum of layers", "likelihood": "maximum likelihood", "bound": "Cramér–Rao bound"}
                left.plot(energy, values, color=colour, label=f"{words[name]}, {depth} X0", **look)
        left.axhline(5, color=GREY, lw=0.8, ls=":")
        left.set(
            xscale="log", yscale="log", xlabel="energy (GeV)", ylabel="σ/E (%)", title="Pb/LAr: energy of electrons"
        )
        left.legend(fontsize=7.5)
        for (name, found), colour in zip(told.items(), (GREEN, BLUE, ORANGE), strict=True):
            x = [one.layer_x0 for one in found]
            y = [100 * one.accuracy for one in found]
            right.errorbar(x, y, [100 * one.uncertainty for one in found], color=colour, marker="o", ms=4, label=name)
        right.set(xscale="log", xlabel="thickness of a layer (X0)", ylabel="right (%)", ylim=(50, 100))
        right.set(title="Electron or photon of 10 GeV")
        right.set_xticks(LAYERS_X0, [f"{x:g}" for x in LAYERS_X0])
        right.minorticks_off()
        right.legend()
        import io

        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    write_whole(path, stream.getvalue())


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--events", type=int, default=1500, help="electrons at each energy")
    parser.add_argument("--separation-events", type=int, default=12000, help="electrons and photons")
    parser.add_argument("--picture", type=Path, help="PNG file")
    arguments = parser.parse_args()
    rows: dict[int, list[dict[str, float]]] = {}
    print("| depth | GeV | sum | likelihood | bound | rms over bound | bias | 1σ coverage |")
    print("|---" * 8 + "|")
    for depth in DEPTHS_X0:
        rows[depth] = []
        for i, energy in enumerate(ENERGIES_GEV):
            row = resolution(depth, energy, arguments.events, 100_000 * i)
            rows[depth].append(row)
            print(
                f"| {depth} X0 | {energy:g} | {row['sum']:.2%} | {row['likelihood']:.2%} | {row['bound']:.2%} | "
                f"{row['ratio']:.3f} ± {row['error']:.3f} | {row['bias']:+.2%} | {row['covered']:.1%} |"
            )
    told = {}
    print("\n| electron or photon, 10 GeV |" + "".join(f" {x:g} X0 |" for x in LAYERS_X0))
    print("|---" * (len(LAYERS_X0) + 1) + "|")
    for name, medium, term in (
        ("PbWO4, no fluctuation", material("PbWO4"), 0.0),
        ("PbWO4, 2.8 %/√E", material("PbWO4"), 0.028),
        ("Pb/LAr, 11.8 %/√E", MEDIUM, 0.0),
    ):
        told[name] = separations(medium, 10.0, LAYERS_X0, arguments.separation_events, sampling_term=term)
        print(f"| {name} |" + "".join(f" {one.accuracy:.1%} ± {one.uncertainty:.1%} |" for one in told[name]))
    if arguments.picture:
        picture(rows, told, arguments.picture)


if __name__ == "__main__":
    main()
