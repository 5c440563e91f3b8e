"""Records that a tiny network learns in seconds: one tone, its frequency and amplitude linear in the targets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.watching.quiet import QUIET

SAMPLES = 512
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The command line leaves these warnings out; here they would be errors."""
    for item in items:
        if HERE in item.path.parents:
            for text in QUIET:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{text}"))


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


TINY = """
seed_everything: 3
trainer:
  max_epochs: 3
  accelerator: cpu
  enable_progress_bar: false
  log_every_n_steps: 1
data:
  batch_size: 32
model:
  views:
    spectrum: {class_path: cres.transforms.SpectrumView, init_args: {band_hz: [-70.0e+6, -50.0e+6]}}
  encoders:
    spectrum: {class_path: reconstruction.models.S4DEncoder, init_args: {width: 6, state: 4, depth: 1, dropout: 0.2}}
  head: {class_path: reconstruction.models.GaussianHead, init_args: {hidden_width: 8}}
  augmentations: [{class_path: cres.transforms.RandomPhase}]
  schedule: {class_path: reconstruction.training.schedules.Plateau, init_args: {patience: 0, threshold: 0.5}}
  ema_decay: 0.9
curriculum: {noise_scale: {shape: linear, start: 0.1}}
checkpoint: {every_minutes: 0.0}
figures: {every_epochs: 0}
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that trains in a second or two."""
    path = tmp_path_factory.mktemp("configs") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def fit(tiny: Path, records: Path) -> Callable[..., None]:
    """Train in this process: fit(folder, *options)."""

    def train(folder: Path, *options: str) -> None:
        CommandLine("fit", ["-c", str(tiny), f"--data.data={records}", f"--run={folder}", *options]).execute()

    return train


@pytest.fixture(scope="session")
def trained(fit: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("trained")
    fit(folder, "--figures.every_epochs=5")
    return folder


@pytest.fixture(scope="session")
def make_records() -> Callable[..., Path]:
    """Write records: make_records(path, count, labelled, seed, **attributes)."""
    return write_records


@pytest.fixture(scope="session")
def late_gloo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes gloo's threads come late in a program, from when the file is there that it finds in LATE_FROM.

    Nothing where there is no C compiler, or no Linux: what is tested then hangs once in a thousand times, not always.
    """
    compiler, folder = shutil.which("cc"), tmp_path_factory.mktemp("late")
    if compiler is None or not Path("/proc/self/stat").exists():
        return {}
    library = folder / "late_gloo.so"
    source = HERE.parent / "helpers" / "late_gloo.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}
