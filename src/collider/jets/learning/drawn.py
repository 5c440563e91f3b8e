"""Jets that a network drew, as arrays and as files with the columns of all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

import collider
from collider.generation.pieces import Columns, write_columns
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.drawing import DrawnJets
from collider.jets.learning.generation import PT, JetGeneration
from collider.jets.learning.module import JetModule
from collider.jets.learning.super_resolution import JetSuperResolution
from collider.jets.making.classes import KINDS
from collider.jets.quantities import JetArrays, axis_quantities, substructure_quantities
from collider.jets.schema import CLASS, COLUMNS, IDENTITY, PARTICLE_COLUMNS
from reconstruction.errors import UserError, nearest
from reconstruction.provenance import ancestry, git_commit
from reconstruction.records.rows import Rows

DRAWN_FOR: Final = "drawn_for"
"""Column of the content hash of the jet whose class and pT a drawn one has, or that was completed."""
WHOLE: Final = {"part_charge", *IDENTITY}


@dataclass(frozen=True)
class DrawnFile:
    """A file of drawn jets, from number 0 to `stop`."""

    path: Path
    stop: int
    start: int = 0


def drawn_like(module: JetModule, data: JetDataModule, rows: Rows, seed: int = 0) -> JetArrays:
    """Return a jet for each of these rows: drawn for its class and pT, or all of its particles from the hardest ones.

    Which of the two, the training of the module decides. Raises UserError where it learned neither, or the data lack
    class or pT.
    """
    records, device = data.records, next(module.parameters()).device
    if isinstance(module.super_resolution, JetSuperResolution):
        particles, lengths = (torch.from_numpy(held[rows]).to(device) for held in (records.particles, records.lengths))
        return _as_arrays(module.super_resolution.complete(particles, lengths, seed))
    return _as_arrays(generation_of(module).draw(_asked(module, data, rows), seed))


def learned_rows(module: JetModule, data: JetDataModule, rows: Rows) -> Rows:
    """Return those of these rows for which a jet is drawn: of a class and a pT that the training had; all of others.

    Raises UserError as `drawn_like`.
    """
    if isinstance(module.super_resolution, JetSuperResolution):
        return rows
    return rows[generation_of(module).learned(_asked(module, data, rows)).cpu().numpy()]


def _asked(module: JetModule, data: JetDataModule, rows: Rows) -> torch.Tensor:
    """Return class and pT of rows where the module lies."""
    for name in (CLASS, PT):
        if name not in data.records.columns:
            raise UserError(f"the data have no column {name}, for which jets are drawn: name a class and a pT instead")
    code, pt = (np.asarray(data.records.scalar(name))[rows] for name in (CLASS, PT))
    return targets_of(module, code, pt).to(next(module.parameters()).device)


def _as_arrays(made: DrawnJets) -> JetArrays:
    return JetArrays(made.particles.cpu().numpy().astype(np.float32), made.lengths.cpu().numpy())


def drawn_of(module: JetModule, name: str, pt_gev: float, count: int, seed: int = 0) -> JetArrays:
    """Return drawn jets of a class, by its name, and of one pT. Raises UserError for what was not learned."""
    codes = {kind.name: kind.code for kind in KINDS}
    if name not in codes:
        raise UserError(f"there is no class of jets {name!r}{nearest(name, codes)}: ours are {', '.join(codes)}")
    targets = targets_of(module, np.full(count, codes[name]), np.full(count, pt_gev))
    return _as_arrays(generation_of(module).draw(targets.to(next(module.parameters()).device), seed))


def generation_of(module: JetModule) -> JetGeneration:
    """Return what draws jets in a module. Raises UserError where nothing does."""
    if not isinstance(module.generation, JetGeneration):
        raise UserError(
            f"{module.card.get('name', 'this model')!r} draws no jets: train one with configs/jets/generate.yaml or "
            "configs/jets/superresolve.yaml"
        )
    return module.generation


def super_resolution_of(module: JetModule) -> JetSuperResolution:
    """Return what completes jets in a module. Raises UserError where nothing does."""
    if not isinstance(module.super_resolution, JetSuperResolution):
        raise UserError(
            f"{module.card.get('name', 'this model')!r} completes no jets: train one with "
            "configs/jets/superresolve.yaml"
        )
    return module.super_resolution


def targets_of(module: JetModule, code: NDArray[Any], pt_gev: NDArray[Any]) -> torch.Tensor:
    """Return targets (jet, target) in the order of a module's own."""
    columns = {CLASS: np.asarray(code, np.float64), PT: np.asarray(pt_gev, np.float64)}
    missing = [name for name in module.targets if name not in columns]
    if missing:
        raise UserError(f"jets are drawn for {CLASS} and {PT} alone, and this model was also told {missing[0]}")
    return torch.from_numpy(np.stack([columns[name] for name in module.targets], axis=1))


def write_drawn(
    path: Path,
    jets: JetArrays,
    code: NDArray[Any] | None,
    made_by: Mapping[str, Any],
    more: Columns | None = None,
    seed: int = 0,
) -> Path:
    """Write drawn jets with the columns of JetClass, as `scripts/jets.py` writes simulated ones; `more` columns beside.

    code: their classes, None where they are not known. made_by: what their numbers depend on. What only a simulation
    knows is not there: the particle that decayed, and the jet of the particles themselves.
    """
    columns: Columns = {}
    for place, name in enumerate(PARTICLE_COLUMNS):
        columns[name] = jets.particles[..., place].astype(np.int8 if name in WHOLE else np.float32)
    quantities = axis_quantities(jets) | substructure_quantities(jets)
    columns |= {name: values.astype(np.float32) for name, values in quantities.items()}
    columns["jet_nparticles"] = jets.lengths.astype(np.int32)
    if code is not None:
        columns |= {kind.label: (np.asarray(code) == kind.code).astype(np.int8) for kind in KINDS}
    columns |= {"event_id": np.arange(len(jets.lengths), dtype=np.int64)} | (more or {})
    facts = ancestry(f"collider {collider.__version__}", git_commit(Path(__file__)), dict(made_by), seed)
    units = {name: COLUMNS[name].unit for name in columns if name in COLUMNS}
    write_columns(
        DrawnFile(path, len(jets.lengths)), columns, units, facts | {"particles": jets.particles.shape[1]}, ""
    )
    return path
