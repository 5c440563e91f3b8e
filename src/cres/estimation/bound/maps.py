"""Maps of the Cramér–Rao bound over energy, pitch angle and radius, track length and noise: HDF5 and pictures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import bound_of, freedom
from cres.progress import track
from cres.provenance import ancestry
from cres.simulation.config import SimulationConfig
from cres.simulation.parameters import parameter_rows

Array = NDArray[np.float64]
PHASES = 4
"""Axial start phases that a map's value is the median of."""


@dataclasses.dataclass(frozen=True)
class BoundMap:
    """Bounds of the energy's standard deviation, eV, on a grid; the axes in the order of `names`."""

    names: tuple[str, str]
    axes: tuple[Array, Array]
    energy_std_ev: Array

    def write(self, path: Path, config: SimulationConfig) -> Path:
        """Write axes, values and ancestry to HDF5."""
        with h5py.File(path, "w", locking=False) as file:
            for name, axis in zip(self.names, self.axes, strict=True):
                file[name] = axis
            file["energy_std_ev"] = self.energy_std_ev
            file["energy_std_ev"].attrs["units"] = "eV"
            file.attrs.update(ancestry(config.to_dict()))
        return path

    def draw(self, path: Path) -> Path:
        """Draw the map on a logarithmic colour scale."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        picture = axes.pcolormesh(*self.axes, self.energy_std_ev.T, norm="log", shading="nearest", cmap="viridis")
        axes.set(xlabel=LABELS[self.names[0]], ylabel=LABELS[self.names[1]])
        figure.colorbar(picture, label="bound of the energy, eV")
        figure.savefig(path, dpi=150)
        plt.close(figure)
        return path


LABELS = {
    "energy_ev": "energy, eV",
    "pitch_angle_deg": "pitch angle, °",
    "radius_m": "radius, m",
    "samples": "samples",
    "noise_scale": "noise power over nominal",
}
CENTRE = {"energy_ev": 18_600.0, "pitch_angle_deg": 89.0, "radius_m": 3.4e-3}


def electron_map(
    config: SimulationConfig, names: tuple[str, str], axes: tuple[Sequence[float], Sequence[float]]
) -> BoundMap:
    """Return the bound over two of energy, pitch angle and radius; the third is at the centre of its range."""
    apparatus = Apparatus.from_config(config)
    grid = list(itertools.product(*axes))
    values = [
        energy_bound(apparatus, config, {**CENTRE, **dict(zip(names, point, strict=True))})
        for point in track(grid, f"bound over {LABELS[names[0]]} and {LABELS[names[1]]}", len(grid), "points")
    ]
    return _map(names, axes, values)


def record_map(config: SimulationConfig, samples: Sequence[int], noise_scales: Sequence[float]) -> BoundMap:
    """Return the bound of the central electron over track length and noise."""
    values = []
    for count in track(samples, "bound over track length", len(samples), "lengths"):
        longer = dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=count))
        values += [energy_bound(Apparatus.from_config(longer, scale), longer, CENTRE) for scale in noise_scales]
    return _map(("samples", "noise_scale"), (samples, noise_scales), values)


def energy_bound(apparatus: Apparatus, config: SimulationConfig, electron: dict[str, float]) -> float:
    """Return the median bound of the energy over axial start phases, eV."""
    phases = torch.arange(PHASES, dtype=torch.float64) * torch.pi / PHASES
    given: dict[str, Any] = {**electron, "axial_phase_rad": phases}
    rows = parameter_rows(**given)
    return float(bound_of(apparatus, freedom(config), rows).std_of("energy_ev").median())


def _map(
    names: tuple[str, str], axes: tuple[Sequence[float] | Sequence[int], Sequence[float]], values: list[float]
) -> BoundMap:
    first, second = (np.asarray(axis, np.float64) for axis in axes)
    return BoundMap(names, (first, second), np.array(values).reshape(len(first), len(second)))


def write_maps(config: SimulationConfig, folder: Path, points: int = 12) -> list[Path]:
    """Write all maps as HDF5 and PNG into a folder; `points` a side."""
    folder.mkdir(parents=True, exist_ok=True)
    ensemble = config.ensemble
    energy = np.linspace(*ensemble.energy_ev, max(2, points // 2)).tolist()
    # at 90° there are no sidebands, on the axis and at the wall no signal: the grid stays off them
    pitch = np.linspace(ensemble.pitch_angle_deg[0], min(ensemble.pitch_angle_deg[1], 89.9), points).tolist()
    radius = np.linspace(max(ensemble.radius_m[0], 0.4e-3), ensemble.radius_m[1], points).tolist()
    nominal = config.readout.samples
    maps = {
        "pitch_radius": electron_map(config, ("pitch_angle_deg", "radius_m"), (pitch, radius)),
        "energy_pitch": electron_map(config, ("energy_ev", "pitch_angle_deg"), (energy, pitch)),
        "length_noise": record_map(config, [nominal // 4, nominal // 2, nominal, 2 * nominal], [0.1, 0.3, 1.0, 3.0]),
    }
    paths = []
    for name, found in maps.items():
        paths += [found.write(folder / f"bound_{name}.hdf5", config), found.draw(folder / f"bound_{name}.png")]
    return paths
