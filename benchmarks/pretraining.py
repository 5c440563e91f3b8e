"""What records without truth are worth: resolution against the number of labels, pre-trained and from scratch.

    python benchmarks/pretraining.py                    short records, 100 and 1 000 labels, 10 000 once; one core
    python benchmarks/pretraining.py --full             whole records and longer trainings: a GPU's work
    python benchmarks/pretraining.py --networks s4d_time --labels 1000

Records are simulated once: without truth and with their noise to pre-train on, with truth to fine-tune on (a fifth of
the labels validates), and fresh ones to judge by. Short records have a quarter of the samples and of the noise density,
so that an electron has the signal-to-noise ratio of the default's whole record. Every training of a network takes the
same number of steps, whatever its start; seeds differ in initial weights, noise and labels. Results are appended to
FOLDER/results.jsonl, one that is there is not made again; the table is printed at the end.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from cres import errors, schema
from cres.evaluation.resolved import resolved_mask
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ, channel_std_volt
from reconstruction.command import Parser
from reconstruction.files import atomic_path
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main as command

ROOT = Path(__file__).parents[1]
NAMES = ("unlabelled", "labelled", "test")
NOISE_K = 5.8843
"""System temperature of the default apparatus, whose whole records are 8 192 samples."""
SPECTRUM = {"class_path": "cres.transforms.SpectrumView", "init_args": {"band_hz": [-80e6, -45e6]}}
NETWORKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "s4d": ("spectrum", ()),
    "s4d, not aligned": ("spectrum", (f"--model.views={json.dumps({'spectrum': SPECTRUM})}", "--model.landmark=null")),
    "s4d_time": ("time", ()),
}
"""The view that is masked, and what a network changes of its configuration, the name up to a comma."""
STARTS = ("from scratch", "pre-trained", "pre-trained, frozen")
HIDDEN: dict[str, tuple[str, dict[str, float]]] = {
    "s4d": ("samples", {"share": 0.5, "length": 16}),
    "s4d, not aligned": ("samples", {"share": 0.5, "length": 16}),
    "s4d_time": ("spans", {"share": 0.3, "length": 16}),
}
"""What is hidden of a network's view."""


@dataclass(frozen=True)
class Size:
    """How large the comparison is."""

    samples: int
    unlabelled: int
    labels: tuple[int, ...]
    test: int
    pretraining_steps: int
    steps: int
    seeds: int
    seeds_of_most: int
    """Of the largest number of labels, and of frozen encoders."""


BATCH = 32
SMALL = Size(2048, 20_000, (1_000, 100, 10_000), 2_000, 1_200, 600, 3, 1)
FULL = Size(8192, 200_000, (100, 1_000, 10_000), 4_000, 60_000, 20_000, 3, 3)


@dataclass(frozen=True)
class Job:
    """One training."""

    network: str
    start: str
    labels: int
    seed: int


class Bench:
    """The records, the pre-trained encoders and the trainings, all in one folder."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        self.results = folder / "results.jsonl"

    # Records -----------------------------------------------------------------------------------------------------

    def make_records(self) -> None:
        """Simulate, prepare and part the records; what is there stays."""
        if all(self.data(name).exists() for name in NAMES):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        whole, raw, config = (self.folder / name for name in ("all.hdf5", "raw", "simulation.yaml"))
        temperature = NOISE_K * self.size.samples / 8192
        text = yaml.safe_dump({"readout": {"samples": self.size.samples, "noise_temperature_k": temperature}})
        if whole.exists() and config.read_text() != text:
            raise errors.UserError(f"{self.folder} holds records of another length: choose another --folder")
        config.write_text(text)
        if not whole.exists():
            counts = self.size.unlabelled + max(self.size.labels) + self.size.test
            made = ("--events", str(counts), "--seed", "20261", "-c", str(config), "--output", str(raw))
            for step in (
                ("scripts/simulate.py", *made),
                ("scripts/data_prep.py", "--input", str(raw), "--output", str(whole)),
            ):
                subprocess.run([sys.executable, *step], cwd=ROOT, check=True)
        with h5py.File(whole) as file:
            edges = np.cumsum([0, self.size.unlabelled, max(self.size.labels), self.size.test])
            for name, (start, end) in zip(NAMES, itertools.pairwise(edges), strict=True):
                _write(
                    file, self.data(name), np.arange(start, end), self.noise_std_volt if name == "unlabelled" else None
                )

    @property
    def noise_std_volt(self) -> float:
        """Noise of a channel of these records."""
        return channel_std_volt(NOMINAL_DENSITY_W_PER_HZ * self.size.samples / 8192, 403e6)

    def data(self, name: str) -> Path:
        """Return the file of a part of the records."""
        return self.folder / f"{name}.hdf5"

    def labels(self, job: Job) -> Path:
        """Return the file of a training's labels: each seed has its own."""
        path = self.folder / f"labelled_{job.labels}_{job.seed}.hdf5"
        if not path.exists():
            chosen = np.random.default_rng(job.seed).permutation(max(self.size.labels))[: job.labels]
            with h5py.File(self.data("labelled")) as file:
                _write(file, path, np.sort(chosen))
        return path

    # Trainings ---------------------------------------------------------------------------------------------------

    def pretrained(self, network: str) -> Path:
        """Return the checkpoint of a network's pre-training; it is made where it is not there."""
        run = self.folder / f"pretrain_{_plain(network)}"
        if not (run / "metrics.csv").exists() or not (run / "done").exists():
            view, options = NETWORKS[network]
            kind, much = HIDDEN[network]
            spans = f"--model.masking.{kind}={json.dumps({view: much})}"
            epochs = _epochs(self.size.pretraining_steps, self.size.unlabelled, BATCH)
            how = [
                spans,
                "--model.masking.alone=true",
                "--model.noise=[]",
                "--model.landmark=null",
                "--data.fractions=[0.95,0.05,0]",
            ]
            self._fit(network, run, self.data("unlabelled"), [*options, *how, f"--trainer.max_epochs={epochs}"])
            (run / "done").touch()
        return run / "checkpoints" / "best.ckpt"

    def train(self, job: Job) -> dict[str, object]:
        """Train, judge, and return the figures."""
        run = self.folder / "_".join([_plain(job.network), _plain(job.start), str(job.labels), str(job.seed)])
        options = list(NETWORKS[job.network][1])
        if job.start != STARTS[0]:
            options.append(f"--fine_tune.checkpoint={self.pretrained(job.network)}")
        if job.start == STARTS[2]:
            options.append("--fine_tune.trainable_layers=0")
        epochs = _epochs(self.size.steps, 0.8 * job.labels, BATCH)
        every = max(1, epochs // 30)
        shown = [
            f"--trainer.max_epochs={epochs}",
            f"--trainer.check_val_every_n_epoch={every}",
            "--data.fractions=[0.8,0.2,0]",
        ]
        begun = time.process_time()
        self._fit(job.network, run, self.labels(job), [*options, *shown, f"--seed_everything={job.seed}"])
        table = run / "test.hdf5"
        _run(["predict", f"--run={run}", f"--data.data={self.data('test')}", f"--predictions={table}", *QUIET])
        return asdict(job) | {"cpu_s": time.process_time() - begun} | figures(PredictionTable.read(table))

    def _fit(self, network: str, run: Path, data: Path, options: Sequence[str]) -> None:
        config = ROOT / "configs" / f"{network.partition(',')[0]}.yaml"
        once = [f"--data.batch_size={BATCH}", "--figures.every_epochs=0", "--early_stopping.patience=100000"]
        _run(["fit", "-c", str(config), f"--run={run}", f"--data.data={data}", *once, *QUIET, *options])

    def known(self) -> list[dict[str, object]]:
        """Return the results so far."""
        return [json.loads(line) for line in self.results.read_text().splitlines()] if self.results.exists() else []

    def jobs(self, networks: Sequence[str], labels: Sequence[int]) -> Iterator[Job]:
        """Yield the trainings, the quickest answers first."""
        for count, seed, network, start in itertools.product(labels, range(self.size.seeds), networks, STARTS):
            most, frozen = count == max(self.size.labels), start == STARTS[2]
            if seed < (self.size.seeds_of_most if most or frozen else self.size.seeds):
                yield Job(network, start, count, seed)


QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=auto")


def figures(table: PredictionTable) -> dict[str, float]:
    """Return σ68 of the energy and of the pitch angle, and how many are within 3 eV, of resolved ones and of all."""
    resolved = resolved_mask(table.column("sideband_snr"))
    found: dict[str, float] = {}
    for group, chosen in (("resolved", resolved), ("all", resolved | True)):
        residual = table.residual("energy_ev")[chosen]
        found[f"energy_ev {group}"] = float(sigma68(residual))
        found[f"pitch_angle_deg {group}"] = float(sigma68(table.residual("pitch_angle_deg")[chosen]))
        found[f"within 3 eV {group}"] = float(np.mean(np.abs(residual) < 3))
        found[f"coverage {group}"] = float(np.mean(np.abs(residual) < table.std("energy_ev")[chosen]))
    return found


def table_of(results: Sequence[Mapping[str, object]]) -> str:
    """Return Markdown: the median over the seeds, with the range; and what pre-training gains at equal labels."""
    heads = [
        "network",
        "labels",
        "start",
        "σ68 resolved (eV)",
        "σ68 all (eV)",
        "within 3 eV, all (%)",
        "1σ (%)",
        "seeds",
        "gain",
    ]
    lines = [heads, ["---", "---:", "---", *["---:"] * 6]]
    keys = dict.fromkeys((one["network"], one["labels"], one["start"]) for one in results)
    for network, labels, start in sorted(
        keys, key=lambda key: (list(NETWORKS).index(str(key[0])), key[1], STARTS.index(str(key[2])))
    ):
        mine, scratch = (
            [one for one in results if (one["network"], one["labels"], one["start"]) == (network, labels, wanted)]
            for wanted in (start, STARTS[0])
        )
        gain = (
            ""
            if start == STARTS[0] or not scratch
            else f"{_middle(scratch, 'energy_ev all') / _middle(mine, 'energy_ev all'):.2f}"
        )
        cells = [
            _cell(mine, "energy_ev resolved"),
            _cell(mine, "energy_ev all"),
            _cell(mine, "within 3 eV all", 100),
            _cell(mine, "coverage all", 100),
        ]
        lines.append([str(network), f"{labels:,}", str(start), *cells, str(len(mine)), gain])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _middle(results: Sequence[Mapping[str, object]], name: str) -> float:
    return float(np.median([float(str(one[name])) for one in results]))


def _cell(results: Sequence[Mapping[str, object]], name: str, scale: float = 1.0) -> str:
    values = [scale * float(str(one[name])) for one in results]
    spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
    return f"{np.median(values):.3g}{spread}"


def _write(file: h5py.File, path: Path, rows: NDArray[np.int64], noise_std_volt: float | None = None) -> None:
    """Write rows of a data set; with noise, no more of them than a measurement knows."""
    names = list(file) if noise_std_volt is None else [*schema.SERIES_COLUMNS, schema.EVENT_ID]
    generator = np.random.default_rng(7)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as made:
        made.attrs.update({name: value for name, value in file.attrs.items() if name != "sources"})
        for name in names:
            values = file[name][rows[0] : rows[-1] + 1][rows - rows[0]]
            if noise_std_volt is not None and name in schema.SERIES_COLUMNS:
                values += noise_std_volt * generator.standard_normal(values.shape, np.float32)
            made[name] = values
            made[name].attrs.update(file[name].attrs)


def _run(arguments: list[str]) -> None:
    """Run a command of the program; one that was stopped stops the comparison."""
    if command(arguments):
        raise errors.UserError("a training was stopped: the same command goes on with the next one")


def _epochs(steps: int, rows: float, batch: int) -> int:
    return max(1, round(steps / -(-rows // batch)))


def _plain(name: str) -> str:
    return "".join(one if one.isalnum() else "_" for one in name)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="whole records and long trainings")
    parser.add_argument("--folder", type=Path, help="where everything goes (default runs/pretraining, or …_full)")
    parser.add_argument("--networks", nargs="+", default=["s4d", "s4d_time"], choices=list(NETWORKS))
    parser.add_argument("--labels", type=int, nargs="+", help="numbers of labels (default: all)")
    arguments = parser.parse_args()
    size = FULL if arguments.full else SMALL
    bench = Bench((arguments.folder or ROOT / "runs" / f"pretraining{'_full' * arguments.full}").resolve(), size)
    torch.set_num_threads(1)
    bench.make_records()
    done = {tuple(one[name] for name in asdict(Job("", "", 0, 0))) for one in bench.known()}
    for job in bench.jobs(arguments.networks, arguments.labels or size.labels):
        if tuple(asdict(job).values()) not in done:
            result = bench.train(job)
            with bench.results.open("a") as stream:
                stream.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
    print(table_of(bench.known()))


if __name__ == "__main__":
    errors.run(main)
