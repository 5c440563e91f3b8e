"""Resolution and coverage against track length: windows of long records through a network of short ones, combined.

    python benchmarks/tracks.py                                        the network that comes with the package
    python benchmarks/tracks.py --run runs/demo --electrons 200 --calibrating 100 --windows 8
    python benchmarks/tracks.py --bound-windows 1 4 16 64 --bound-electrons 100      a slow bound to the end
    python benchmarks/tracks.py --folds 5         every track judged, by a calibration on the other four fifths

Simulates long tracks of the default apparatus, lets the network read their windows, and prints a Markdown table for
resolved electrons (sideband SNR of 25 or more in a single window) and for all: the first --calibrating tracks calibrate
the combination (as `cli.py test --windows` does), the others are judged. No record is kept: blocks of tracks become
tables of windows in --folder, and the same command after an interruption goes on from there. The bound, tied, is that
of the whole record of that length, coherent from end to end, for the first --bound-electrons of the judged; combined
windows know nothing of each other's phase and cannot reach it.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import cres
from cres import errors, schema
from cres.api import Model
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import electron_bounds
from cres.evaluation.resolved import resolved_mask
from cres.evaluation.window_calibration import fit_combination
from cres.evaluation.windows import ELECTRON, WINDOW, WINDOW_START, Combination, combine_windows, tracks_of
from cres.progress import track
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import parameters_of
from cres.transforms import FROZEN_EPOCH, KeyedRandom, WhiteNoise
from reconstruction.command import Parser
from reconstruction.judging.measures.metrics import coverage, gaussian_core, sigma68
from reconstruction.judging.pictures.plots import in_style
from reconstruction.judging.tables.columns import SIDEBAND_SNR
from reconstruction.judging.tables.table import PredictionTable

SEED = 20777
SAMPLES = 8192
BLOCK = 20
TARGET = "energy_ev"


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=None, help="folder of a trained run (default: the shipped model)")
    parser.add_argument("--folder", type=Path, default=Path("runs/tracks"), help="where everything is kept")
    parser.add_argument("--electrons", type=int, default=2000, help="tracks that are judged (default 2000)")
    parser.add_argument("--calibrating", type=int, default=1000, help="tracks that calibrate (default 1000)")
    parser.add_argument("--folds", type=int, default=None, help="judge all tracks, calibrated on the other folds")
    parser.add_argument("--windows", type=int, default=64, help="windows of 8192 samples in a track (default 64)")
    parser.add_argument("--bound-windows", type=int, nargs="*", default=[1, 4, 16], help="lengths for the bound")
    parser.add_argument("--bound-electrons", type=int, default=24, help="electrons for the bound (default 24)")
    parser.add_argument("--picture", type=Path, default=None, help="PNG to write; default tracks.png in the folder")
    return parser.parse_args()


def apparatus_of(windows: int) -> SimulationConfig:
    """Return the default apparatus with records of so many windows."""
    config = SimulationConfig.default()
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=SAMPLES * windows))


def make_windows(arguments: argparse.Namespace) -> PredictionTable:
    """Return the table of all windows, by blocks of tracks, those in the folder first."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = cres.load(arguments.run) if arguments.run else cres.pretrained("cavity_26ghz")
    wanted = arguments.calibrating + arguments.electrons
    blocks = []
    for first in track(range(0, wanted, BLOCK), "tracks", -(-wanted // BLOCK), "blocks"):
        path = arguments.folder / f"windows_{first:05d}.hdf5"
        if not path.exists():
            windows_of_tracks(model, arguments.windows, first, BLOCK).write(path)
        blocks.append(PredictionTable.read(path))
    columns = {name: np.concatenate([block.column(name) for block in blocks]) for name in blocks[0].columns}
    return PredictionTable(columns, blocks[0].attributes)


def windows_of_tracks(model: Model, windows: int, first: int, count: int) -> PredictionTable:
    """Return what the model says of the windows of the tracks `first` to `first + count`; every window has noise."""
    config = apparatus_of(windows)
    columns = simulate_columns(config, sample_electrons(config, count, SEED, first))
    volts = np.stack([columns[name].reshape(-1, SAMPLES) for name in schema.SERIES_COLUMNS], axis=-1)
    electron = np.repeat(first + np.arange(count), windows)
    window = np.tile(np.arange(windows), count)
    rows = electron * windows + window
    random = KeyedRandom(SEED, FROZEN_EPOCH, torch.from_numpy(rows))
    noisy = WhiteNoise(config.readout.sampling_rate_hz)(torch.from_numpy(volts), random, 1.0)
    single = {name: v for name, v in columns.items() if v.ndim == 1 and name != schema.EVENT_ID}
    table = model(noisy, event_id=rows, truth={name: np.repeat(v, windows) for name, v in single.items()}).table
    start_s = window * SAMPLES / config.readout.sampling_rate_hz
    return table.with_columns({ELECTRON: electron, WINDOW: window, WINDOW_START: start_s})


def bounds(arguments: argparse.Namespace, table: PredictionTable) -> dict[int, tuple[float, float]]:
    """Return the median bounds of resolved and of all electrons by the number of windows, kept in the folder."""
    count = min(arguments.bound_electrons, arguments.electrons)
    judged = tracks_of(table, arguments.calibrating + np.arange(count))
    snr = judged.column(SIDEBAND_SNR)[judged.column(WINDOW) == 0] / arguments.windows
    electrons = sample_electrons(apparatus_of(1), count, SEED, arguments.calibrating)
    parameters = parameters_of(electrons)
    found = {}
    for windows in arguments.bound_windows:
        path = arguments.folder / f"bound_{windows}_{arguments.calibrating}_{count}.npy"
        if not path.exists():
            config = apparatus_of(windows)
            apparatus = Apparatus.from_config(config)
            parts = [electron_bounds(apparatus, config, parameters[i : i + 4]) for i in range(0, count, 4)]
            np.save(path, np.concatenate([part.std[schema.ENERGY] for part in parts]))
        std = np.load(path)
        found[windows] = (float(np.median(std[resolved_mask(snr)])), float(np.median(std)))
    return found


def combined_tracks(
    table: PredictionTable, parts: list[tuple[np.ndarray, np.ndarray]], lengths: list[int]
) -> tuple[list[PredictionTable], Combination]:
    """Return the judged tracks for each length, combined as their part's calibrating ones say, and the last part's.

    A part: event ids of calibrating and of judged tracks.
    """
    found: list[list[PredictionTable]] = [[] for _ in lengths]
    for calibrating, judged in track(parts, "calibrations", len(parts), "calibrations"):
        combination, windows = fit_combination(tracks_of(table, calibrating)), tracks_of(table, judged)
        for place, count in zip(found, lengths, strict=True):
            place.append(combine_windows(windows, combination, first=count))
    columns = [{n: np.concatenate([t.column(n) for t in place]) for n in place[0].columns} for place in found]
    return [PredictionTable(part, table.attributes) for part in columns], combination


def main() -> None:
    """Make what is missing, print the table, draw the picture."""
    arguments = parse_arguments()
    table = make_windows(arguments)
    electrons = np.arange(arguments.calibrating + arguments.electrons)
    parts = [(electrons[: arguments.calibrating], electrons[arguments.calibrating :])]
    if arguments.folds:
        fold = electrons % arguments.folds
        parts = [(electrons[fold != number], electrons[fold == number]) for number in range(arguments.folds)]
    lengths = [2**i for i in range(int(np.log2(arguments.windows)) + 1)]
    tables, combination = combined_tracks(table, parts, lengths)
    bound = bounds(arguments, table)
    drawn: dict[str, list[float]] = {"resolved": [], "all": []}
    print("| windows | track (µs) | group | electrons | σ68 (eV) | core σ (eV) | within 3 eV | 1σ coverage | "
          "pitch σ68 (°) | median bound (eV) |\n|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")  # fmt: skip
    for count, combined in zip(lengths, tables, strict=True):
        mask = resolved_mask(combined.column(SIDEBAND_SNR) / arguments.windows)
        for place, (group, chosen) in enumerate({"resolved": mask, "all": np.ones(len(mask), bool)}.items()):
            part = combined.select(chosen)
            residual = part.residual(TARGET)
            drawn[group].append(sigma68(residual))
            limit = f"{bound[count][place]:.4f}" if count in bound else "–"
            print(f"| {count} | {count * SAMPLES / 403:.0f} | {group} | {len(part)} | {drawn[group][-1]:.4f} | "
                  f"{gaussian_core(residual)[1]:.4f} | {100 * np.mean(np.abs(residual) < 3):.1f} % | "
                  f"{100 * coverage(residual, part.std(TARGET)):.1f} % | "
                  f"{sigma68(part.residual('pitch_angle_deg')):.5f} | {limit} |")  # fmt: skip
    mean, std = combination.drift_per_s[TARGET]
    print(f"\nslopes: {mean:.0f} eV/s in the middle, foretold to {std:.0f} eV/s by the first windows")
    picture = arguments.picture or arguments.folder / "tracks.png"
    draw(lengths, drawn, bound).savefig(picture, dpi=110)
    print(picture)


def draw(lengths: list[int], drawn: dict[str, list[float]], bound: dict[int, tuple[float, float]]) -> Figure:
    """Draw resolution against the length of the track, both logarithmic."""
    with in_style():
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figure.subplots()
        for (group, values), marker in zip(drawn.items(), "os", strict=True):
            axes.plot(lengths, values, marker=marker, label=f"{group} electrons")
        axes.plot(lengths, drawn["resolved"][0] / np.sqrt(lengths), color="0.5", linestyle=":", label="1/√windows")
        if bound:
            axes.plot(list(bound), [pair[0] for pair in bound.values()], "k--", marker=".", label="bound (resolved)")
        axes.set(xscale="log", yscale="log", xlabel="windows of 20.3 µs", ylabel="energy σ68 (eV)")
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.legend()
    return figure


if __name__ == "__main__":
    errors.run(main)
