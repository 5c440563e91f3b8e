"""What the landmark's map adds between the wall lengths that it met, without any network.

    python benchmarks/landmark_map.py

Fits the map of `model.landmark` to the true places of the lines and to the scalars of noiseless records of a few walls,
and prints the median and σ68 of its energy residual at walls between, for resolved electrons. Two minutes on a core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cres import errors, schema
from cres.evaluation.resolved import resolved_mask
from cres.resources import simulation_config
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.transforms import AlignedSpectrum
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.models import PolynomialMap

ELECTRONS = 1500
THREE, FIVE = (0.30, 0.36, 0.44), (0.30, 0.33, 0.36, 0.40, 0.44)
WALLS = (0.30, 0.32, 0.33, 0.34, 0.36, 0.38, 0.40, 0.42, 0.44)
DEGREES = (9, 2, 2)
"""Of the line's place and of the view's two scalars, as in configs/many_apparatus.yaml."""
CASES = ((THREE, 2, False), (THREE, 2, True), (FIVE, 2, False), (FIVE, 3, False), (FIVE, 4, False))

Electrons = dict[str, NDArray[np.float64]]


def electrons_of(wall_m: float) -> Electrons:
    """Return truth and noiseless scalars of electrons of a trap with such walls."""
    config = SimulationConfig.from_yaml(simulation_config("cavity_26ghz"), {"trap.gradient_length_m": wall_m})
    columns = simulate_columns(config, sample_electrons(config, ELECTRONS, seed=round(1000 * wall_m)))
    series = torch.from_numpy(np.stack([columns[name] for name in schema.SERIES_COLUMNS], axis=-1))
    view = AlignedSpectrum(config.readout.sampling_rate_hz)
    scalars = torch.cat([view(part).scalars for part in series.split(200)]).numpy().T
    kept = (schema.ENERGY, schema.PITCH_ANGLE, schema.AXIAL_FREQUENCY, "sideband_snr")
    return {name: columns[name] for name in kept} | dict(zip(("carrier", "amplitude"), scalars, strict=True))


def coordinates(electrons: Electrons, wall_m: float, inverse: bool) -> torch.Tensor:
    """Return what the map reads: the line's place in MHz, the scalars, and the wall or its inverse."""
    wall = np.full(ELECTRONS, 1 / wall_m if inverse else wall_m)
    line_mhz = 2 * electrons[schema.AXIAL_FREQUENCY] / 1e6
    return torch.from_numpy(np.stack([line_mhz, electrons["carrier"], electrons["amplitude"], wall], axis=1))


def fitted(known: dict[float, Electrons], walls: Sequence[float], order: int, inverse: bool) -> PolynomialMap:
    """Return the map of these walls."""
    found = PolynomialMap((*DEGREES, order), 2)
    truth = [np.stack([known[wall][name] for name in schema.DEFAULT_TARGETS], axis=1) for wall in walls]
    met = [coordinates(known[wall], wall, inverse) for wall in walls]
    found.fit(torch.cat(met), torch.from_numpy(np.concatenate(truth)))
    return found


def main() -> None:
    """Print the table."""
    known = {wall: electrons_of(wall) for wall in WALLS}
    print(f"| walls | order | {' | '.join(f'{wall:g} m' for wall in WALLS)} |\n|{'---|' * (2 + len(WALLS))}")
    for walls, order, inverse in CASES:
        polynomial = fitted(known, walls, order, inverse)
        cells = []
        for wall, electrons in known.items():
            said = polynomial(coordinates(electrons, wall, inverse))[:, 0].numpy()
            residual = (said - electrons[schema.ENERGY])[resolved_mask(electrons["sideband_snr"])]
            cells.append(f"{np.median(residual):+.4f}, {sigma68(residual):.4f}")
        print(f"| {len(walls)}{' (1/length)' if inverse else ''} | {order} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    errors.run(main)
