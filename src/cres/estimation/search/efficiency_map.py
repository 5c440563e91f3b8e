"""Detection efficiency of the matched filter over radius and pitch angle: HDF5 and picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from cres.estimation.apparatus import Apparatus
from cres.estimation.search.matched_filter import FALSE_ALARM_PROBABILITY, MatchedFilter
from cres.progress import track
from cres.provenance import ancestry
from cres.simulation.config import SimulationConfig
from cres.simulation.parameters import parameter_rows

Array = NDArray[np.float64]
ELECTRONS = 32
POINTS = 12
SEED = 0


@dataclass(frozen=True)
class EfficiencyMap:
    """Fraction of electrons above the threshold on a grid; their energies and phases are drawn evenly."""

    radius_m: Array
    pitch_angle_deg: Array
    efficiency: Array
    """(radius, pitch angle)"""
    statistic: Array
    """Median detection statistic, the same shape."""
    threshold: float
    false_alarm_probability: float
    electrons: int
    """For each point: the efficiency's error is at most ½/√electrons."""

    def write(self, path: Path, config: SimulationConfig) -> Path:
        """Write axes, values and ancestry to HDF5."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w", locking=False) as file:
            for name, unit in (("radius_m", "m"), ("pitch_angle_deg", "deg"), ("efficiency", ""), ("statistic", "")):
                file[name] = getattr(self, name)
                file[name].attrs["units"] = unit
            numbers = {name: getattr(self, name) for name in ("threshold", "false_alarm_probability", "electrons")}
            file.attrs.update({**numbers, **ancestry(config.to_dict())})
        return path

    def draw(self, path: Path) -> Path:
        """Draw the map."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        picture = axes.pcolormesh(
            self.pitch_angle_deg,
            self.radius_m * 1e3,
            self.efficiency,
            vmin=0,
            vmax=1,
            shading="nearest",
            cmap="viridis",
        )
        axes.set(xlabel="pitch angle, °", ylabel="radius, mm")
        axes.set_title(f"false-alarm probability {self.false_alarm_probability:g} a record", loc="left", fontsize=10)
        figure.colorbar(picture, label="detection efficiency")
        figure.savefig(path, dpi=150)
        plt.close(figure)
        return path


def efficiency_map(
    apparatus: Apparatus,
    search: MatchedFilter,
    radius_m: Sequence[float],
    pitch_angle_deg: Sequence[float],
    *,
    threshold: float,
    false_alarm_probability: float = FALSE_ALARM_PROBABILITY,
    electrons: int = ELECTRONS,
) -> EfficiencyMap:
    """Simulate electrons at each point of a grid, add noise, search; records are those of the forward model.

    threshold: of the detection statistic, that of `false_alarm_probability` (`MatchedFilter.threshold`).
    """
    generator = torch.Generator().manual_seed(SEED)
    found = []
    points = list(itertools.product(radius_m, pitch_angle_deg))
    for radius, pitch in track(points, "detection efficiency", len(points), "points"):
        drawn = torch.rand(electrons, 3, dtype=torch.float64, generator=generator)
        low, high = apparatus.energies_ev
        phases = 2 * torch.pi * drawn[:, 1:]
        clean = apparatus.model(parameter_rows(low + (high - low) * drawn[:, 0], pitch, radius, *phases.T))
        noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=generator) * apparatus.noise_std_volt
        found.append(search.statistic(clean + torch.view_as_complex(noise)))
    shape = (len(radius_m), len(pitch_angle_deg), electrons)
    statistic = torch.stack(found).reshape(shape).numpy()
    return EfficiencyMap(
        np.asarray(radius_m, np.float64),
        np.asarray(pitch_angle_deg, np.float64),
        np.mean(statistic > threshold, axis=2),
        np.median(statistic, axis=2),
        threshold,
        false_alarm_probability,
        electrons,
    )


def write_efficiency_map(
    config: SimulationConfig, folder: Path, noise_scale: float, false_alarm_probability: float
) -> list[Path]:
    """Write the map of an apparatus as HDF5 and PNG into a folder."""
    apparatus = Apparatus.from_config(config, noise_scale)
    low, high = apparatus.pitch_angles_deg
    radius = np.linspace(0.1e-3, apparatus.largest_radius_m, POINTS).tolist()
    pitch = np.linspace(low, min(high, 89.95), POINTS).tolist()
    search = MatchedFilter(apparatus)
    found = efficiency_map(
        apparatus,
        search,
        radius,
        pitch,
        threshold=search.threshold(false_alarm_probability),
        false_alarm_probability=false_alarm_probability,
    )
    return [found.write(folder / "efficiency.hdf5", config), found.draw(folder / "efficiency.png")]
