"""An endless sequence of simulated electrons, for a training set that never repeats."""

from __future__ import annotations

import hashlib
from typing import Any

from numpy.typing import NDArray

from cres.resources import simulation_config
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import sample_electrons
from cres.simulation.generate import simulate_columns


class SimulatedElectrons:
    """Electrons of a simulation's configuration, made when they are asked for: `data.stream` of a training.

    Electron i of a seed is always the same. The seeds are set apart from those of files, so that a stream never repeats
    the electrons of a file that was simulated with the same small number.

    Args:
        config: file of the simulation's configuration (configs/simulation/), or the name of one of ours; that of
            `simulate.py` when empty.

    """

    def __init__(self, config: str | None = None) -> None:
        self.config = SimulationConfig.from_yaml(simulation_config(config))
        self.sampling_rate_hz = self.config.readout.sampling_rate_hz
        self.lo_frequency_hz = self.config.readout.lo_frequency_hz
        self.samples = self.config.readout.samples

    def __call__(self, seed: int, start: int, count: int) -> dict[str, NDArray[Any]]:
        """Return the columns of electrons `start` to `start + count`, (count, …) in the names of the schema."""
        return simulate_columns(self.config, sample_electrons(self.config, count, stream_seed(seed), start))


def stream_seed(seed: int) -> int:
    """Return a seed that no file's small seed is equal to."""
    digest = hashlib.blake2b(f"stream {seed}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little") | 1 << 40
