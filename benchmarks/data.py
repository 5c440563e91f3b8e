"""Data rates against a plain implementation, both in this run: preparation, reading, electrons into a training step.

    python benchmarks/data.py [--electrons 4000] [--samples 8192] [--workers 2] [--rounds 3]

The plain implementation is what a first version does: two passes of pandas over the pickles (count, then copy row by
row); a dataset that reads one row of each column at a time, adds NumPy noise and takes NumPy's FFT electron by
electron, in worker processes. Ours reads whole batches and does noise and spectra on the device in batches: of whole
records as the plain one does; of the band alone, selected before batching (`data.band_hz`), with noise of the same
density in it, so that the encoder sees the same spectrum; and of the band kept in memory (`data.cache=ram`). Rates are
the best of some rounds, so that other load on the machine does not decide; ratios are of the same run.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from cres import schema
from cres.data.module import CresDataModule
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.transforms import SpectrumView, WhiteNoise
from reconstruction.command import Parser
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.loader import ResumableLoader

RATE_HZ = schema.DEFAULT_SAMPLING_RATE_HZ
BAND_HZ = (-80e6, -45e6)
NOISE_VOLT = np.sqrt(25.0 * 2.2e-13 * RATE_HZ)
SCRIPT = Path(__file__).parents[1] / "scripts" / "data_prep.py"
FILES = 8
BATCH = 128


def make_pickles(folder: Path, electrons: int, samples: int) -> None:
    """Write chirped tones in the collaboration's columns."""
    rng = np.random.default_rng(1)
    time_s = np.arange(samples) / RATE_HZ
    for number, count in enumerate(np.diff(np.linspace(0, electrons, FILES + 1).astype(int))):
        carrier = rng.uniform(-72e6, -58e6, (count, 1))
        volts = 0.03 * np.exp(2j * np.pi * (carrier * time_s + 1.6e8 * time_s**2 + rng.uniform(size=(count, 1))))
        frame = pd.DataFrame(
            {
                schema.EVENT_ID: np.arange(count) + 100_000 * number,
                schema.ENERGY: rng.uniform(18500, 18700, count),
                schema.PITCH_ANGLE: rng.uniform(88, 90, count),
                schema.RADIUS: rng.uniform(0, 6.5e-3, count),
                schema.SERIES_I: list(volts.real.astype(np.float32)),
                schema.SERIES_Q: list(volts.imag.astype(np.float32)),
            }
        )
        (folder / f"electrons_{number:05d}.pkl.gz").write_bytes(gzip.compress(pickle.dumps(frame), 1))


def plain_prepare(folder: Path, output: Path) -> None:
    """Two full passes through pandas: count, then copy row by row."""
    paths = sorted(folder.glob("*.pkl.gz"))
    rows = sum(len(pd.read_pickle(path)) for path in paths)
    with h5py.File(output, "w") as file:
        position = 0
        for path in paths:
            for _, electron in pd.read_pickle(path).iterrows():
                for name, value in electron.items():
                    if position == 0:
                        file.create_dataset(str(name), (rows, *np.shape(value)), np.asarray(value).dtype)
                    file[str(name)][position] = value
                position += 1


class PlainDataset(Dataset[dict[str, Any]]):
    """One row of each column at a time, noise and spectrum in NumPy."""

    def __init__(self, path: Path, transform: bool) -> None:
        self.path = path
        self.transform = transform
        with h5py.File(path, "r") as file:
            self.rows = len(file[schema.ENERGY])

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        with h5py.File(self.path, "r") as file:
            values = {name: file[name][row] for name in file}
        if not self.transform:
            return values
        series = values.pop(schema.SERIES_I) + 1j * values.pop(schema.SERIES_Q)
        noise = np.random.normal(0, NOISE_VOLT, series.shape) + 1j * np.random.normal(0, NOISE_VOLT, series.shape)  # noqa: NPY002
        spectrum = np.fft.fftshift(np.fft.fft(series + noise))
        frequency = np.fft.fftshift(np.fft.fftfreq(len(series), 1 / RATE_HZ))
        band = spectrum[(frequency >= BAND_HZ[0]) & (frequency <= BAND_HZ[1])]
        values["spectrum"] = np.stack([band.real, band.imag], axis=-1).astype(np.float32)
        return values


def plain_batches(path: Path, workers: int) -> Iterator[int]:
    """Yield the sizes of batches as they reach the training step."""
    for batch in DataLoader(PlainDataset(path, True), BATCH, shuffle=True, num_workers=workers):
        yield len(batch["spectrum"])


def our_batches(module: CresDataModule, loader: ResumableLoader) -> Iterator[int]:
    """Yield the sizes of batches as they reach the training step."""
    rate_hz = module.file_facts()["sampling_rate_hz"]
    noise, view = WhiteNoise(rate_hz), SpectrumView(rate_hz, None if module.band_hz else BAND_HZ)
    for batch in loader:
        random = KeyedRandom(0, 0, batch["event_id"], torch.device("cpu"))
        yield len(view(noise(batch["inputs"]["series"], random)).series)


def plain_rows(path: Path) -> int:
    """Read some rows in random order, one by one; return how many."""
    dataset = PlainDataset(path, False)
    rows = np.random.default_rng(1).permutation(len(dataset))[:300]
    for row in rows:
        dataset[int(row)]
    return len(rows)


def our_rows(path: Path) -> int:
    """Read all rows in random order, batch by batch; return how many."""
    records = open_records(path)
    rows = np.random.default_rng(1).permutation(len(records))
    for start in range(0, len(rows), BATCH):
        records.read_series(rows[start : start + BATCH])
    return len(rows)


def best_rate(work: Callable[[], int], rounds: int) -> float:
    """Return the highest rate of some rounds."""
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        count = work()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def best_seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the shortest time of some rounds."""
    return 1 / best_rate(lambda: (work(), 1)[1], rounds)


def peak_megabytes(work: Callable[..., object], *arguments: object) -> float:
    """Return by how much the peak memory of a fresh process grows when it does this."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=_measure, args=(sender, work, arguments))
    process.start()
    peak = float(receiver.recv())
    process.join()
    return peak


def _measure(sender: Any, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    before = _high_water_kilobytes()
    work(*arguments)
    sender.send((_high_water_kilobytes() - before) / 1024)


def _high_water_kilobytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def prepare_alone(folder: Path, output: Path) -> None:
    """Prepare in this process."""
    prepare([folder], output)


def our_prepare(folder: Path, output: Path, workers: int) -> None:
    """Run the script as a user does: its start and that of its workers count."""
    options = ["--input", str(folder), "--output", str(output), "--workers", str(workers)]
    subprocess.run([sys.executable, str(SCRIPT), *options], check=True, capture_output=True)


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electrons", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, torch {torch.__version__} (CPU)")
    print(f"{arguments.electrons} electrons of {arguments.samples} samples in {FILES} files, batches of {BATCH}")
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print one line a measurement."""
    raw, ours, plain = folder / "raw", folder / "ours.hdf5", folder / "plain.hdf5"
    raw.mkdir()
    make_pickles(raw, arguments.electrons, arguments.samples)
    workers, rounds = arguments.workers, arguments.rounds
    row("", "plain", "ours", "ratio")
    seconds = [
        best_seconds(lambda: plain_prepare(raw, plain), rounds),
        best_seconds(lambda: our_prepare(raw, ours, workers), rounds),
    ]
    row("preparation, s", f"{seconds[0]:.2f}", f"{seconds[1]:.2f}", f"{seconds[0] / seconds[1]:.1f}")
    memory = [peak_megabytes(plain_prepare, raw, plain), peak_megabytes(prepare_alone, raw, ours)]
    row("memory that preparation adds, MB", f"{memory[0]:.0f}", f"{memory[1]:.0f}", f"{memory[0] / memory[1]:.1f}")
    rates = [best_rate(lambda: plain_rows(plain), rounds), best_rate(lambda: our_rows(ours), 3 * rounds)]
    row("reading alone, electrons/s", f"{rates[0]:.0f}", f"{rates[1]:.0f}", f"{rates[1] / rates[0]:.1f}")
    measure_steps(plain, ours, workers, rounds)


def measure_steps(plain: Path, ours: Path, workers: int, rounds: int) -> None:
    """Print the rates into a training step, noise and spectrum included."""
    options: dict[str, Any] = {"batch_size": BATCH, "fractions": (1.0, 0.0, 0.0)}
    modules = {
        "whole records": CresDataModule(str(ours), **options),
        "band selected first": CresDataModule(str(ours), band_hz=BAND_HZ, **options),
        "band kept in memory": CresDataModule(str(ours), band_hz=BAND_HZ, cache="ram", **options),
    }
    plain_rate = best_rate(lambda: sum(plain_batches(plain, workers)), rounds)
    plain_cpu = cpu_rate(lambda: sum(plain_batches(plain, 0)))
    print("into a training step, electrons/s (and electrons/CPU second)")
    for name, module in modules.items():
        loader = module.train_dataloader()
        rate = best_rate(lambda loader=loader, module=module: sum(our_batches(module, loader)), 2 * rounds)
        cpu = cpu_rate(lambda loader=loader, module=module: sum(our_batches(module, loader)))
        row(f"  {name}", f"{plain_rate:.0f}", f"{rate:.0f}", f"{rate / plain_rate:.1f}")
        row("    a CPU second", f"{plain_cpu:.0f}", f"{cpu:.0f}", f"{cpu / plain_cpu:.1f}")


def cpu_rate(work: Callable[[], int]) -> float:
    """Return a rate a second of processor time, which other load on the machine disturbs little."""
    start = time.process_time()
    count = work()
    return count / (time.process_time() - start)


def row(*cells: str) -> None:
    """Print one line of the table."""
    print(f"{cells[0]:36}" + "".join(f"{cell:>10}" for cell in cells[1:]))


if __name__ == "__main__":
    main()
