"""Records that a tiny network learns in seconds: one tone, its frequency and amplitude linear in the targets."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

SAMPLES = 512


def write_records(path: Path, count: int = 192, labelled: bool = True, seed: int = 0, **attributes: float) -> Path:
    """Write `count` electrons in the plain column layout."""
    generator = np.random.default_rng(seed)
    energy = generator.uniform(18_500, 18_700, count)
    pitch = generator.uniform(88, 90, count)
    frequency = -60e6 - (energy - 18_600) * 5e4
    turns = frequency[:, None] * np.arange(SAMPLES) / 403e6 + generator.random(count)[:, None]
    record = (1.0 + (pitch - 89))[:, None] * 0.1 * np.exp(2j * np.pi * turns)
    columns = {
        "output_ts_I": record.real.astype(np.float32),
        "output_ts_Q": record.imag.astype(np.float32),
        "event_id": np.arange(count, dtype=np.int64) + 10_000 * seed,
        "avg_axial_frequency_Hz": generator.uniform(7e6, 8.5e6, count),
    }
    if labelled:
        columns |= {"energy_eV": energy, "pitch_angle_deg": pitch, "radius_m": generator.uniform(0, 6e-3, count)}
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        file.attrs.update({"schema_version": 1, "sampling_rate_hz": 403e6, "lo_frequency_hz": 25.9702e9} | attributes)
    return path


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("data") / "records.hdf5")
