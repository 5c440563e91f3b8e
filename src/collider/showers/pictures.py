"""Pictures of showers and of their validation, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collider.showers.config import ShowerConfig
from collider.showers.events import observables, ring_edges_cm
from collider.showers.expectation import expected_profile, expected_radius
from collider.showers.grid import CylindricalGrid
from collider.showers.materials import SamplingMaterial
from collider.showers.parameters import shower_parameters
from collider.showers.particles import NAMES
from collider.showers.simulation import Showers
from collider.showers.validation import DEPTHS_X0, RADII_RM, RADIUS_DEPTH_X0, Validation, maxima, mean_of_maxima, shapes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#5a6675"
"""Okabe and Ito's, told apart by the colour blind: simulation, cascade, formula, other."""

STYLE: Final[Any] = {
    "figure.dpi": 130,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
SYMBOLS: Final = {"electron": "e⁻", "positron": "e⁺", "photon": "γ", "pi+": "π⁺", "pi-": "π⁻"}


@contextmanager
def _figure(width: float, height: float, columns: int = 1) -> Iterator[tuple[Figure, Any]]:
    """Give a figure and its axes in our style; nothing is left open."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(1, columns)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def sample_picture(showers: Showers, i: int, config: ShowerConfig) -> bytes:
    """Draw one shower: energy against depth, and its cells seen along and across the axis."""
    grid, medium = config.cells, config.medium
    found = observables(showers, grid, medium.radiation_length_cm)
    edges = np.asarray(grid.depth_edges_cm) / medium.radiation_length_cm
    with _figure(10.5, 3.3, 3) as (figure, axes):
        symbol = SYMBOLS[NAMES[int(showers.particle[i])]]
        figure.suptitle(
            f"{symbol} of {showers.energy_gev[i]:.3g} GeV in {medium.name}: {found.deposited_gev[i]:.3g} GeV seen, "
            f"maximum at {found.depth_of_maximum_x0[i]:.1f} X0",
            fontsize=11,
            x=0.01,
            ha="left",
        )
        axes[0].stairs(found.depth_gev[i] / np.diff(edges), edges, color=BLUE, fill=True, alpha=0.25)
        axes[0].stairs(found.depth_gev[i] / np.diff(edges), edges, color=BLUE, label="this shower")
        if abs(int(showers.particle[i])) == 11:
            behind = edges + config.dead_material_x0
            mean = showers.energy_gev[i] * expected_profile(behind, float(showers.energy_gev[i]), medium)
            axes[0].stairs(mean / np.diff(edges), edges, color=GREEN, ls="--", label="mean of such showers")
            axes[0].legend(loc="upper right")
        axes[0].set(xlabel="depth (X0)", ylabel="GeV per X0", title="along the axis", ylim=(0, None))
        cells = showers.cells_gev[i].astype(float)
        _side(axes[1], cells, edges, config)
        _front(axes[2], cells.sum(0), config)
        return _png(figure)


def _log(values: Any) -> Any:
    return np.ma.log10(np.ma.masked_less_equal(values * 1e3, 1e-3))


def _side(axis: Any, cells: Any, edges: Any, config: ShowerConfig) -> None:
    """Layers against radius or x."""
    grid, scale = config.cells, config.medium.moliere_radius_cm
    across = np.asarray(ring_edges_cm(grid) if isinstance(grid, CylindricalGrid) else grid.x_edges_cm) / scale
    energy = cells.sum(1) if isinstance(grid, CylindricalGrid) else cells.sum(2)
    image = axis.pcolormesh(edges, across, _log(energy).T, cmap="cividis", rasterized=True)
    axis.figure.colorbar(image, ax=axis, label="log₁₀ MeV")
    name = "radius (R_M)" if isinstance(grid, CylindricalGrid) else "x (R_M)"
    axis.set(xlabel="depth (X0)", ylabel=name, title="from the side")
    axis.grid(False)


def _front(axis: Any, cells: Any, config: ShowerConfig) -> None:
    """All layers together, from the front."""
    grid, scale = config.cells, config.medium.moliere_radius_cm
    if isinstance(grid, CylindricalGrid):
        radius, angle = np.meshgrid(np.asarray(grid.radius_edges_cm) / scale, _turns(grid.sectors))
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        energy = np.repeat(cells, max(1, 48 // grid.sectors), axis=0) / max(1, 48 // grid.sectors)
    else:
        x, y = np.meshgrid(np.asarray(grid.x_edges_cm) / scale, np.asarray(grid.y_edges_cm) / scale, indexing="ij")
        energy = cells
    image = axis.pcolormesh(x, y, _log(energy), cmap="cividis", rasterized=True)
    axis.figure.colorbar(image, ax=axis, label="log₁₀ MeV")
    axis.set(xlabel="x (R_M)", ylabel="y (R_M)", title="from the front", aspect="equal")
    axis.grid(False)


def _turns(sectors: int) -> Any:
    return np.linspace(0, 2 * np.pi, sectors * max(1, 48 // sectors) + 1)


def profile_picture(validation: Validation) -> bytes:
    """Draw mean profiles of three energies: simulation, formula and cascade."""
    middle = (DEPTHS_X0[1:] + DEPTHS_X0[:-1]) / 2
    width = float(np.diff(DEPTHS_X0)[0])
    count = len(validation.samples[:3])
    with _figure(10.5, 3.3, count) as (figure, axes):
        for i, (axis, sample) in enumerate(zip(np.atleast_1d(axes), validation.samples, strict=False)):
            if i < len(validation.cascades):
                mean = validation.cascades[i].depth_gev.mean(0) / sample.energy_gev / width
                axis.plot(middle, mean, color=ORANGE, label="cascade")
            expected = expected_profile(DEPTHS_X0, sample.energy_gev, validation.config.medium) / width
            axis.plot(middle, expected, color=GREEN, ls="--", label="formula, with its fluctuations")
            axis.plot(middle, sample.depth_gev.mean(0) / sample.energy_gev / width, ".", color=BLUE, label="simulation")
            axis.set(xlabel="depth (X0)", title=f"{sample.energy_gev:.3g} GeV", xlim=(0, 30), ylim=(0, None))
        np.atleast_1d(axes)[0].set(ylabel="share of the energy per X0")
        np.atleast_1d(axes)[0].legend()
        return _png(figure)


def maximum_picture(validation: Validation) -> bytes:
    """Draw the depth of the maximum against ln y: simulation, formula, and the Particle Data Group's line."""
    log_y, depth, error = maxima(validation.config, validation.samples)
    wanted = [mean_of_maxima(validation.config, sample.energy_gev) for sample in validation.samples]
    with _figure(5.2, 3.6) as (figure, axis):
        axis.plot(log_y, wanted, color=GREEN, ls="--", label="formula: mean of single showers")
        axis.plot(log_y, log_y - 0.5, color=GREY, ls=":", label="PDG: ln y − 0.5 (homogeneous)")
        axis.errorbar(log_y, depth, error, fmt="o", ms=4, color=BLUE, label="simulation")
        axis.set(xlabel="ln y = ln E/E_c", ylabel="depth of the maximum (X0)", title="Deeper with the logarithm")
        axis.legend()
        return _png(figure)


def fluctuation_picture(validation: Validation) -> bytes:
    """Draw ln T against ln α of single showers over the ellipses of the formula."""
    sample, medium = validation.samples[len(validation.samples) // 2], validation.config.medium
    log_t, log_alpha = shapes(sample, isinstance(medium, SamplingMaterial))
    wanted = shower_parameters(sample.energy_gev, medium)
    turn = np.linspace(0, 2 * np.pi, 200)
    common, opposite = np.sqrt((1 + wanted.rho) / 2) * np.cos(turn), np.sqrt((1 - wanted.rho) / 2) * np.sin(turn)
    with _figure(5.2, 3.6) as (figure, axis):
        axis.plot(log_t, log_alpha, ".", ms=3, color=BLUE, label="single showers")
        for i, (size, share) in enumerate(((1.515, "68 %"), (2.486, "95 %"))):
            first = wanted.mean_ln_t + wanted.sigma_ln_t * size * (common + opposite)
            second = wanted.mean_ln_alpha + wanted.sigma_ln_alpha * size * (common - opposite)
            axis.plot(first, second, color=GREEN, ls=("--", "-")[i], label=f"formula, {share}")
        title = f"Fluctuations at {sample.energy_gev:.3g} GeV"
        axis.set(xlabel="ln T", ylabel="ln α", title=title)
        axis.legend()
        return _png(figure)


def radius_picture(validation: Validation) -> bytes:
    """Draw the share of the energy within a radius: simulation, formula, cascade."""
    index = len(validation.samples) // 2
    sample = validation.samples[index]
    radii = RADII_RM[1:-1]
    fine = np.geomspace(0.1, radii[-1], 60)
    with _figure(5.2, 3.6) as (figure, axis):
        expected = expected_radius(fine, sample.energy_gev, validation.config.medium, RADIUS_DEPTH_X0)
        total = expected_radius(np.array([1e6]), sample.energy_gev, validation.config.medium, RADIUS_DEPTH_X0)[0]
        axis.plot(fine, expected / total, color=GREEN, ls="--", label="formula, with its fluctuations")
        if index < len(validation.cascades):
            rings = validation.cascades[index].radius_gev.sum(0)
            axis.plot(radii, (np.cumsum(rings) / rings.sum())[:-1], "s", ms=4, color=ORANGE, label="cascade")
        mine = sample.rings_gev.sum(0)
        axis.plot(radii, (np.cumsum(mine) / mine.sum())[:-1], "o", ms=4, color=BLUE, label="simulation")
        axis.plot(1, 0.9, "x", color=GREY, ms=8, label="PDG: about 90 %")
        title = f"Within a radius at {sample.energy_gev:.3g} GeV"
        axis.set(xscale="log", xlabel="radius (R_M)", ylabel="share of the energy", title=title, ylim=(0, 1.02))
        axis.legend()
        return _png(figure)
