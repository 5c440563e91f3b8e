"""The Cramér–Rao bound of a data set's energies, as a table beside those of estimators.

`collider.showers.information` says what the layers of each shower hold: its own energy, T and α, sampling fluctuation
and noise. Whoever compares takes the electrons alone that both tables have: photons have no such bound here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collider.showers.config import ShowerConfig
from collider.showers.information import LayerModel, shapes_of
from collider.showers.learning.files import ShowerFile
from collider.showers.particles import PDG_CODES
from collider.showers.system import SYSTEM
from reconstruction.configuration import build
from reconstruction.errors import UserError
from reconstruction.files import stored_config
from reconstruction.judging.tables.table import PredictionTable

NAME = "Cramér–Rao bound of the layers"


def bound_table(paths: Sequence[Path]) -> PredictionTable:
    """Return the least σ of the energy of every electron and positron of files, a table of kind "bound".

    Raises UserError for files without what the bound is made of: their simulation, showers along the axis, noise.
    """
    parts = [_bounds(ShowerFile(path)) for path in paths]
    ids, energy, least = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(ids):
        raise UserError(f"there is no electron in {', '.join(map(str, paths))}: the bound is of electrons")
    return PredictionTable.from_estimates(
        ids,
        {"energy_gev": energy},
        estimator=NAME,
        std={"energy_gev": least},
        truth={"energy_gev": energy},
        kind="bound",
        sources=paths,
        system=SYSTEM,
    )


def _bounds(file: ShowerFile) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return identities, energies in GeV and least σ in GeV of a file's electrons."""
    config = config_of(file)
    model = layer_model(config, file.path)
    electrons = np.isin(file.showers.particle, [PDG_CODES["electron"], PDG_CODES["positron"]])
    energy, t, alpha = (
        np.asarray(values, dtype=np.float64)[electrons]
        for values in (file.showers.energy_gev, file.showers.t, file.showers.alpha)
    )
    least = energy * model.bound(energy, shapes_of(energy, t, alpha, config.medium)) if len(energy) else energy
    return file.event_ids[electrons], energy, least


def layer_model(config: ShowerConfig, where: Path | str) -> LayerModel:
    """Return what the layers of a calorimeter hold. Raises UserError where the model of them says nothing."""
    what = ""
    if not config.readout.noise_gev > 0:
        what = "no noise (readout.noise_gev), and without any an empty layer would say everything"
    elif config.particles.angle_deg or config.particles.position_spread_cm or config.dead_material_x0:
        what = "inclined or displaced showers or dead material, and the bound is of showers along the axis"
    if what:
        raise UserError(f"the bound of {where} cannot be given: its simulation has {what}")
    cells = config.cells
    return LayerModel(
        config.medium,
        tuple(edge / config.medium.radiation_length_cm for edge in cells.depth_edges_cm),
        config.readout.noise_gev * float(np.sqrt(cells.cells / cells.shape[0])),
        config.readout.stochastic_term,
    )


def config_of(file: ShowerFile) -> ShowerConfig:
    """Return the simulation of a file. Raises UserError where it does not say it."""
    stored = stored_config(file.attributes)
    if not stored:
        raise UserError(
            f"{file.path} does not say how it was simulated, so its bound is not known: it needs files of "
            "scripts/showers.py"
        )
    return build(ShowerConfig, stored, f"the configuration in {file.path}")
