"""One small set of simulated electrons of the default apparatus, in memory and as a prepared file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres import schema
from cres.estimation.apparatus import Apparatus
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import parameters_of

ELECTRONS = 240


@dataclasses.dataclass(frozen=True)
class Simulated:
    """Truth and records, noiseless and with nominal noise."""

    apparatus: Apparatus
    parameters: torch.Tensor
    clean: torch.Tensor
    noisy: torch.Tensor
    columns: dict[str, np.ndarray]

    @property
    def resolved(self) -> np.ndarray:
        return self.columns["sideband_snr"] >= 25


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    config = SimulationConfig.default()
    apparatus = Apparatus.from_config(config)
    electrons = sample_electrons(config, ELECTRONS, seed=17)
    columns = simulate_columns(config, electrons)
    clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=generator) * apparatus.noise_std_volt
    return Simulated(apparatus, parameters_of(electrons), clean, clean + torch.view_as_complex(noise), columns)


@pytest.fixture(scope="session")
def data_file(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "cres.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in simulated.columns.items():
            file[name] = values
        file.attrs["sampling_rate_hz"] = simulated.apparatus.reception.sampling_rate_hz
        file.attrs["lo_frequency_hz"] = simulated.apparatus.reception.lo_frequency_hz
        file.attrs["config"] = json.dumps(SimulationConfig.default().to_dict())
    return path
