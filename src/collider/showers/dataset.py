"""Data sets: HDF5 in the layout of the CaloChallenge, in shards that can be made apart, and small ones as JSON too.

A shard is a file of a split's events from one id to another. What is complete is not made again; a million events are
an array job of many shards, and equal whoever makes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import h5py
import numpy as np

import collider
from collider.showers.config import ShowerConfig
from collider.showers.events import Observables, observables, ring_edges_cm, simulate_events
from collider.showers.grid import CylindricalGrid
from collider.showers.particles import NAMES, PDG_CODES
from collider.showers.simulation import Showers, joined
from reconstruction.errors import UserError
from reconstruction.files import atomic_path, write_whole
from reconstruction.provenance import ancestry, git_commit

MEV_PER_GEV: Final = 1000.0
SHARD_EVENTS: Final = 10_000
JSON_EVENTS: Final = 20_000
"""Splits of more events have no JSON file: it would be larger than the HDF5 file by far."""

PIECE_CELLS: Final = 2**23
"""Cells in memory together: a shard of many is written in pieces."""

LAYOUT: Final = "CaloChallenge 2022: showers (event, cell) and incident_energies (event, 1) in MeV"
BINNING: Final = "binning.xml"


@dataclass(frozen=True)
class Shard:
    """A file of events: ids from `start` to `stop` of a split."""

    split: str
    start: int
    stop: int
    path: Path


def shards_of(split: str, events: int, folder: Path, shard_events: int = SHARD_EVENTS) -> list[Shard]:
    """Return the shards of a split: one file, or numbered ones where there are more events than one holds."""
    if events <= shard_events:
        return [Shard(split, 0, events, folder / f"{split}_dataset.hdf5")]
    starts = range(0, events, shard_events)
    digits = max(4, len(str(len(starts) - 1)))
    return [
        Shard(split, start, min(start + shard_events, events), folder / f"{split}_dataset_{i:0{digits}}.hdf5")
        for i, start in enumerate(starts)
    ]


def write_shard(shard: Shard, config: ShowerConfig, device: str = "numpy") -> bool:
    """Simulate a shard and write it; return whether that was needed. Raises UserError where other showers lie there."""
    if shard.path.exists():
        require_same(shard, config)
        return False
    try:
        with atomic_path(shard.path) as temporary, h5py.File(temporary, "w", locking=False) as file:
            for start in range(shard.start, shard.stop, piece_events(config)):
                stop = min(start + piece_events(config), shard.stop)
                showers = simulate_events(config, np.arange(start, stop), shard.split, device)
                _write(file, showers, config, shard, start - shard.start)
    except OSError as error:
        raise UserError(f"{shard.path} cannot be written: {error.strerror or error}") from error
    return True


def piece_events(config: ShowerConfig) -> int:
    """Return how many events are in memory together."""
    return max(1, PIECE_CELLS // config.cells.cells)


def require_same(shard: Shard, config: ShowerConfig) -> None:
    """Raise UserError where a file does not hold exactly these events of this configuration."""
    try:
        with h5py.File(shard.path, "r", locking=False) as file:
            found = (file.attrs.get("config"), file.attrs.get("first_event"), file.attrs.get("events"))
    except OSError as error:
        raise UserError(f"{shard.path} cannot be read as HDF5: remove it, or choose another --output") from error
    if found != (_config_text(config), shard.start, shard.stop - shard.start):
        raise UserError(
            f"{shard.path} holds other showers (another configuration, seed or number of events): remove it, or choose "
            "another --output"
        )


def _config_text(config: ShowerConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True, default=str)


def _write(file: h5py.File, showers: Showers, config: ShowerConfig, shard: Shard, first: int) -> None:
    """Write events from row `first` on; the first ones make the columns."""
    grid, events = config.cells, shard.stop - shard.start
    made = observables(showers, grid, config.medium.radiation_length_cm)
    cells = showers.cells_gev.reshape(len(showers), -1) * np.float32(MEV_PER_GEV)
    columns = {
        "incident_energies": (showers.energy_gev[:, None] * MEV_PER_GEV, "MeV"),
        "showers": (cells, "MeV"),
        "particle": (showers.particle, ""),
        "event_id": (showers.event_id, ""),
        "absorbed_energies": (showers.absorbed_gev * MEV_PER_GEV, "MeV"),
        "true_depth_of_maximum": (showers.t, "X0"),
        "true_alpha": (showers.alpha, ""),
        "start_depth": (showers.start_x0, "X0"),
        "depth_of_maximum": (made.depth_of_maximum_x0, "X0"),
    }
    for name, (values, unit) in columns.items():
        if first == 0:
            rows = max(1, min(events, 2**20 // values[:1].nbytes))
            shape, chunk = (events, *values.shape[1:]), (rows, *values.shape[1:])
            options = {"chunks": chunk, "compression": "gzip", "compression_opts": 4, "fletcher32": True}
            file.create_dataset(name, shape, values.dtype, **options).attrs["units"] = unit
        file[name][first : first + len(showers)] = values
    if first == 0:
        _describe(file, config, shard)


def _describe(file: h5py.File, config: ShowerConfig, shard: Shard) -> None:
    """Write what the file is and what made it."""
    grid = config.cells
    made_by = ancestry(f"collider {collider.__version__}", git_commit(Path(__file__)), config.to_dict(), config.seed)
    facts: dict[str, Any] = {
        "layout": LAYOUT,
        "grid": config.grid.kind,
        "grid_shape": grid.shape,
        "depth_edges_cm": grid.depth_edges_cm,
        "ring_edges_cm": ring_edges_cm(grid),
        "radiation_length_cm": config.medium.radiation_length_cm,
        "moliere_radius_cm": config.medium.moliere_radius_cm,
        "split": shard.split,
        "first_event": shard.start,
        "events": shard.stop - shard.start,
    }
    for name, value in {**made_by, **facts, "config": _config_text(config)}.items():
        file.attrs[name] = value


def read_showers(paths: Path | Sequence[Path]) -> Showers:
    """Read files of showers, those of the CaloChallenge too, as one set; a folder stands for its HDF5 files.

    Columns that a foreign file lacks are NaN, its particles electrons; its cells stay flat, (event, cells, 1, 1).
    Raises UserError for what is no such file.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    files = [file for path in given for file in (sorted(path.glob("*.hdf5")) if path.is_dir() else [path])]
    if not files:
        raise UserError(f"there is no HDF5 file of showers in {', '.join(map(str, given))}")
    return joined([_read(path) for path in files])


def _read(path: Path) -> Showers:
    try:
        with h5py.File(path, "r", locking=False) as file:
            missing = {"incident_energies", "showers"} - set(file)
            if missing:
                raise UserError(f"{path} has no {' and no '.join(sorted(missing))}: it is no file of showers")
            count = len(file["showers"])
            shape = tuple(file.attrs["grid_shape"]) if "grid_shape" in file.attrs else (file["showers"].shape[1], 1, 1)
            blank = np.full(count, np.nan)
            column = lambda name, default: file[name][:] if name in file else default  # noqa: E731
            return Showers(
                energy_gev=np.asarray(file["incident_energies"][:, 0], dtype=np.float64) / MEV_PER_GEV,
                particle=column("particle", np.full(count, PDG_CODES["electron"])),
                event_id=column("event_id", np.arange(count)),
                cells_gev=(file["showers"][:] / MEV_PER_GEV).astype(np.float32).reshape(count, *shape),
                absorbed_gev=column("absorbed_energies", blank) / MEV_PER_GEV,
                t=column("true_depth_of_maximum", blank),
                alpha=column("true_alpha", blank),
                start_x0=column("start_depth", blank),
            )
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else "it is no HDF5 file, or damaged"
        raise UserError(f"{path} cannot be read: {why}") from error


def write_json(path: Path, showers: Showers, config: ShowerConfig) -> Path:
    """Write events as a list of plain records, energies in GeV, depths in X0."""
    made = observables(showers, config.cells, config.medium.radiation_length_cm)
    areas = np.diff(ring_edges_cm(config.cells) ** 2)
    records = [_record(showers, made, areas, i) for i in range(len(showers))]
    return write_whole(path, json.dumps(records, separators=(",", ":")).encode())


def _record(showers: Showers, made: Observables, areas: Any, i: int) -> dict[str, Any]:
    density = made.rings_gev[i] / areas
    return {
        "energy": round(float(showers.energy_gev[i]), 6),
        "particle_type": NAMES[int(showers.particle[i])],
        "depth_profile": np.round(made.depth_gev[i], 6).tolist(),
        # density by ring, over that of the innermost one
        "lateral_profile": np.round(density / density[0] if density[0] > 0 else density, 6).tolist(),
        "total_energy_deposited": round(float(made.deposited_gev[i]), 6),
        "shower_max_depth": round(float(made.depth_of_maximum_x0[i]), 4),
        "containment_fraction": round(float(made.containment[i]), 6),
        "event_id": int(showers.event_id[i]),
    }


def write_binning(path: Path, config: ShowerConfig) -> Path | None:
    """Write the cells as the CaloChallenge's binning file, radii in mm; None for grids that it has no words for."""
    grid = config.cells
    if not isinstance(grid, CylindricalGrid):
        return None
    edges = ",".join(f"{10 * edge:.6g}" for edge in grid.radius_edges_cm)
    layers = "\n".join(
        f'      <Layer id="{i}" r_edges="{edges}" n_bin_alpha="{grid.sectors}"/>' for i in range(grid.shape[0])
    )
    parts = [
        f'  <Particle name={quoteattr(name)}>\n    <Bin pid="{PDG_CODES[name]}" etaMin="0" etaMax="1" '
        f'name="pid{PDG_CODES[name]}">\n{layers}\n    </Bin>\n  </Particle>'
        for name in config.particle_names
    ]
    return write_whole(path, "\n".join(["<Bins>", *parts, "</Bins>", ""]).encode())


def write_dataset(
    config: ShowerConfig,
    folder: Path,
    events: dict[str, int],
    *,
    shard_events: int = SHARD_EVENTS,
    task: tuple[int, int] | None = None,
    device: str = "numpy",
    said: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write the splits of a data set, or those shards that a task of an array job makes; return all their paths.

    events: number by split. What lies there complete is kept. `said` is told what was made.
    """
    shards = [shard for split, count in events.items() for shard in shards_of(split, count, folder, shard_events)]
    mine = shards if task is None else shards[task[0] :: task[1]]
    for shard in mine:
        made = write_shard(shard, config, device)
        said(f"{shard.path}: {shard.stop - shard.start} events{'' if made else ', there already'}")
    write_binning(folder / BINNING, config)
    return [shard.path for shard in mine]
