"""Resolution against track length: windows of long records, each through a network of short ones, combined.

    python benchmarks/tracks.py --run runs/standard/models/s4d__55_min
    python benchmarks/tracks.py --run runs/demo --electrons 200 --windows 8
    python benchmarks/tracks.py --run RUN --bound-windows 1 4 16 64 --bound-electrons 100      a slow bound to the end

Simulates long tracks of the default apparatus, reconstructs them with `cli.py test --windows`, and prints a Markdown
table for resolved electrons (sideband SNR of 25 or more in a single window) and for all: every second electron
calibrates the combination, the others are judged. The bound is that of the whole record of that length, coherent from
end to end, for the first --bound-electrons of the judged; combined windows know nothing of each other's phase and
cannot reach it. What is there in --folder is not made again, except the picture and the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cres import errors
from cres.estimation.apparatus import Apparatus
from cres.estimation.bounds import electron_bounds
from cres.estimation.model_methods import true_parameters
from cres.estimation.recordings import Recordings
from cres.evaluation.metrics import coverage, gaussian_core, resolved_mask, sigma68
from cres.evaluation.plots import in_style
from cres.evaluation.table import SIDEBAND_SNR, PredictionTable
from cres.evaluation.windows import ELECTRON, combine_windows, fit_combination, tracks_of
from cres.simulation import SimulationConfig

ROOT = Path(__file__).parents[1]
SEED = 20777
SAMPLES = 8192
TARGET = "energy_ev"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--folder", type=Path, default=Path("runs/tracks"), help="where everything is kept")
    parser.add_argument("--electrons", type=int, default=480, help="tracks (default 480)")
    parser.add_argument("--windows", type=int, default=64, help="windows of 8192 samples in a track (default 64)")
    parser.add_argument("--bound-windows", type=int, nargs="*", default=[1, 4, 16], help="lengths for the bound")
    parser.add_argument("--bound-electrons", type=int, default=24, help="electrons for the bound (default 24)")
    parser.add_argument("--picture", type=Path, default=None, help="PNG to write; default tracks.png in the folder")
    return parser.parse_args()


def run(*words: str | Path) -> None:
    subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=True)


def make_windows(arguments: argparse.Namespace) -> PredictionTable:
    """Simulate, prepare and reconstruct what is not there yet; return the table of windows."""
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data, predictions = folder / "tracks.hdf5", folder / "predictions.hdf5"
    windows = folder / "predictions_windows.hdf5"
    if not data.exists():
        config = folder / "simulation.yaml"
        config.write_text(f"readout:\n  samples: {SAMPLES * arguments.windows}\n")
        raw = ("--events", str(arguments.electrons), "--seed", str(SEED), "--output", folder / "raw")
        run("scripts/simulate.py", "-c", config, *raw)
        run("scripts/data_prep.py", "--input", folder / "raw", "--output", data)
        shutil.rmtree(folder / "raw")
    if not windows.exists():
        options = [f"--data.data={data}", f"--windows={SAMPLES}", f"--predictions={predictions}"]
        run("cli.py", "predict", f"--run={arguments.run.resolve()}", *options)
    return PredictionTable.read(windows)


def bounds(arguments: argparse.Namespace, electrons: np.ndarray) -> dict[int, tuple[float, float]]:
    """Return the median bounds of resolved and of all electrons by the number of windows, kept in the folder."""
    recordings = Recordings(str(arguments.folder / "tracks.hdf5"))
    rows = np.flatnonzero(np.isin(recordings.records.event_ids, electrons))[: arguments.bound_electrons]
    snr = recordings.truth(SIDEBAND_SNR, rows) / arguments.windows
    found = {}
    for count in arguments.bound_windows:
        path = arguments.folder / f"bound_{count}_{len(rows)}.npy"
        if not path.exists():
            config = SimulationConfig.default()
            config = dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=SAMPLES * count))
            apparatus = Apparatus.from_config(config)
            parts = [electron_bounds(apparatus, config, true_parameters(recordings, rows[i : i + 4]))
                     for i in range(0, len(rows), 4)]  # fmt: skip
            np.save(path, np.concatenate([part.std["energy_eV"] for part in parts]))
        std = np.load(path)
        found[count] = (float(np.median(std[resolved_mask(snr)])), float(np.median(std)))
    return found


def main() -> None:
    """Make what is missing, print the table, draw the picture."""
    arguments = parse_arguments()
    table = make_windows(arguments)
    electrons = np.unique(table.column(ELECTRON))
    combination = fit_combination(tracks_of(table, electrons[::2]))
    judged = tracks_of(table, electrons[1::2])
    bound = bounds(arguments, electrons[1::2])
    lengths = [2**i for i in range(int(np.log2(arguments.windows)) + 1)]
    drawn: dict[str, list[float]] = {"resolved": [], "all": []}
    print("| windows | track (µs) | group | electrons | σ68 (eV) | core σ (eV) | within 3 eV | 1σ coverage | "
          "pitch σ68 (°) | median bound (eV) |\n|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")  # fmt: skip
    for count in lengths:
        combined = combine_windows(judged, combination, first=count)
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
    shares = ", ".join(f"{share:.2f} at {std:.3g} eV" for std, share in combination.common_share[TARGET])
    print(f"\ncommon share of a window's variance: {shares}")
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
