"""Showers a second of the parametrisation beside the cascade, in one run on one core: python benchmarks/showers.py

Processor time, so that a busy machine changes little; the first call of each is not counted.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import platform
import time
from collections.abc import Callable

import numpy as np

from collider.showers import CylindricalGrid, SamplingMaterial, material, simulate_cascades, simulate_showers
from reconstruction.command import Parser

TARGET_PER_SECOND = 2500


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--showers", type=int, default=3000, help="parametrised showers at 10 GeV")
    parser.add_argument("--cascades", type=int, default=20, help="cascades of 10 GeV")
    arguments = parser.parse_args()
    lead = material("Pb")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    media = {"Pb": lead, "Pb/LAr": SamplingMaterial(lead, material("LAr"), 0.2, 0.4)}
    for name, medium in media.items():
        grid = CylindricalGrid(
            tuple(medium.radiation_length_cm * np.arange(46)),
            tuple(medium.moliere_radius_cm * np.array([0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5])),
            16,
        )
        for energy in (1.0, 10.0, 100.0):
            count = max(20, int(arguments.showers * min(1, 10 / energy)))
            energies = np.full(count, energy)
            simulate_showers(energies[:20], medium, grid)
            rate = count / seconds(lambda e=energies, m=medium, g=grid: simulate_showers(e, m, g))
            print(f"{name:8s}{energy:6g} GeV: {rate:8.0f} parametrised showers/s into {grid.cells} cells")
            if name == "Pb" and energy == 10:
                reference = rate
    simulate_cascades([1.0], lead)
    cascade = arguments.cascades / seconds(lambda: simulate_cascades(np.full(arguments.cascades, 10.0), lead))
    ratio = reference / cascade
    print(f"{'Pb':8s}{10:6g} GeV: {cascade:8.1f} cascades/s; the parametrisation is {ratio:.0f} times as fast")
    verdict = "met" if reference >= TARGET_PER_SECOND else "MISSED"
    print(f"target: {TARGET_PER_SECOND} showers of 10 GeV a second on one core: {verdict}")


if __name__ == "__main__":
    main()
