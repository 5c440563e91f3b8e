"""Pictures of jets: where their particles are, what a class looks like on average, what is rebuilt of hidden ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from collider.jets.judging.rebuilding import Rebuilt
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.pictures.axes import INK
from reconstruction.judging.pictures.plots import styled

REACH: Final = 0.8
"""Of Δη and Δφ that is drawn: the radius of the jets of JetClass."""
KINDS_SHOWN: Final = {
    "part_isChargedHadron": ("charged hadron", "#0072B2"),
    "part_isNeutralHadron": ("neutral hadron", "#009E73"),
    "part_isPhoton": ("photon", "#E69F00"),
    "part_isElectron": ("electron", "#CC79A7"),
    "part_isMuon": ("muon", "#D55E00"),
}
CELLS: Final = 32
_PLACE: Final = {name: place for place, name in enumerate(PARTICLE_COLUMNS)}
_NEAR: Final = ((1.0, 400.0), (-0.8, 0.8), (-0.8, 0.8), (1.0, 1000.0))
"""Of pT, Δη, Δφ and E; what lies beyond is drawn at the edge."""


@styled
def jet_displays(particles: NDArray[Any], titles: Sequence[str], hidden: NDArray[np.bool_] | None = None) -> Figure:
    """Draw jets (jet, particle, PARTICLE_COLUMNS) side by side: areas are pT, colours types, hidden ones are empty."""
    figure = Figure(figsize=(3.1 * len(particles), 4.0), layout="constrained")
    for row, axes in enumerate(np.atleast_1d(figure.subplots(1, len(particles), sharey=True))):
        _draw_jet(axes, particles[row], None if hidden is None else hidden[row])
        axes.set_title(titles[row], pad=8)
        axes.set_xlabel("Δη")
    figure.axes[0].set_ylabel("Δφ")
    marks = [
        Line2D([], [], marker="o", linestyle="none", color=colour, label=name) for name, colour in KINDS_SHOWN.values()
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))
    return figure


def _draw_jet(axes: Axes, jet: NDArray[Any], hidden: NDArray[np.bool_] | None) -> None:
    there = jet[:, _PLACE["part_energy"]] > 0
    pt = np.hypot(jet[:, _PLACE["part_px"]], jet[:, _PLACE["part_py"]])
    area = 8 + 900 * pt / max(float(pt[there].sum()), 1e-6)
    for column, (_, colour) in KINDS_SHOWN.items():
        mine = there & (jet[:, _PLACE[column]] > 0)
        for rows, fill in ((mine if hidden is None else mine & ~hidden, colour),
                           (mine & False if hidden is None else mine & hidden, "none")):  # fmt: skip
            axes.scatter(jet[rows, _PLACE["part_deta"]], jet[rows, _PLACE["part_dphi"]], s=area[rows], facecolors=fill,
                         edgecolors=colour, linewidths=1, alpha=0.75)  # fmt: skip
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")


@styled
def mean_images(particles: NDArray[Any], codes: NDArray[Any], names: Sequence[str]) -> Figure:
    """Draw the mean share of pT over (Δη, Δφ) of the jets of each class, whose codes are the places of the names."""
    columns = min(len(names), 5)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.5 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        mine = particles[codes == place] if place < len(names) else particles[:0]
        axes.grid(False)
        axes.set(xticks=(), yticks=(), title=names[place] if place < len(names) else "")
        if len(mine):
            axes.imshow(np.maximum(_mean_image(mine), 1e-5).T, origin="lower", norm=LogNorm(1e-5, 1e-1))
        else:
            axes.set_axis_off()
    return figure


def _mean_image(particles: NDArray[Any]) -> Array:
    """Return the mean share of pT in cells of Δη and Δφ, (cell, cell)."""
    pt = np.hypot(particles[..., _PLACE["part_px"]], particles[..., _PLACE["part_py"]]).astype(np.float64)
    share = pt / np.maximum(pt.sum(axis=1, keepdims=True), 1e-9)
    edges = np.linspace(-REACH, REACH, CELLS + 1)
    deta, dphi = (particles[..., _PLACE[name]].ravel() for name in ("part_deta", "part_dphi"))
    image, *_ = np.histogram2d(deta, dphi, bins=[edges, edges], weights=share.ravel())
    return np.asarray(image / len(particles))


@styled
def rebuilt_maps(found: Rebuilt) -> Figure:
    """Draw rebuilt against true pT, Δη, Δφ (from the jet's axis) and E of hidden particles; on the line both are equal.

    η and φ themselves are next to those of the jet, whoever rebuilds them.
    """
    figure = Figure(figsize=(13.2, 3.5), layout="constrained")
    labels = ("pT (GeV)", "η − η of the jet", "φ − φ of the jet", "E (GeV)")
    true, made = (_from_axis(one, found) for one in (found.true, found.made))
    for place, (axes, label) in enumerate(zip(figure.subplots(1, 4), labels, strict=True)):
        low, high = _NEAR[place]
        scale, spaced = ("linear", np.linspace) if low < 0 else ("log", np.geomspace)
        edges = spaced(low, high, 41)
        axes.grid(False)
        axes.hist2d(np.clip(true[:, place], low, high), np.clip(made[:, place], low, high), bins=(edges, edges),
                    norm=LogNorm(), cmap="cividis")  # fmt: skip
        axes.plot((low, high), (low, high), color=INK, linewidth=0.8)
        axes.set(xlabel=f"true {label}", ylabel=f"rebuilt {label}", xscale=scale, yscale=scale)
    return figure


def _from_axis(particles: Array, found: Rebuilt) -> Array:
    """Return pT, Δη, Δφ, E with the directions from the axes of the true jets."""
    px, py, pz, _ = found.whole[found.row].T
    away = particles.copy()
    away[:, 1] -= np.arcsinh(pz / np.hypot(px, py))
    away[:, 2] = (away[:, 2] - np.arctan2(py, px) + np.pi) % (2 * np.pi) - np.pi
    return away
