"""How well trained models resolve electrons, each within a time budget: the standard set, all encoders, ablations.

    python benchmarks/accuracy.py                              about two and a half hours on two cores
    python benchmarks/accuracy.py --minutes 20 --small-minutes 3 --models s4d s4d_time convnet
    python benchmarks/accuracy.py --endless --models           the default alone, also straight from the simulator
    python benchmarks/accuracy.py --ablations --small-minutes 4 --parallel 2        short trainings, 3 seeds
    python benchmarks/accuracy.py --simulation configs/simulation/coils.yaml --folder runs/standard_coils --models
    python benchmarks/accuracy.py --budget gpu             every model alike, in both apparatuses, on endless electrons

The standard set: 40 000 electrons to train on, 4 000 to validate, 4 000 to test, default apparatus, nominal noise,
fixed seeds. Every model is trained with its own configuration for the small budget, the default also for two minutes
and for the full budget; how many epochs fit is measured before each training. Interrupted runs go on where they
stopped; a training that is done is not done again. Results are appended to FOLDER/accuracy.jsonl; FOLDER/accuracy.md
and FOLDER/report.html show all of them.

`--budget gpu` is fair to all: each model trains on electrons that never come twice until its validation has stopped
improving or its time is over, ten minutes of a GPU where there is one, else an hour of one core; the rows say which.
The default apparatus comes first, in FOLDER/cavity_26ghz, then the coils, in FOLDER/coils.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import torch
import yaml

from cres import errors
from cres.provenance import git_commit
from reconstruction.command import Parser
from reconstruction.judging.measures.comparison import Row, compare, summarise
from reconstruction.judging.measures.numbers import in_brackets, with_unit
from reconstruction.judging.pictures.illustrations import Section
from reconstruction.judging.report.page import write_comparison, write_whole
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.runs.loading import load_module
from reconstruction.workers import available_cpus

ROOT = Path(__file__).parents[1]
SEED = 20261
"""Of the simulated electrons; their split is decided by the data module's own default."""
DEFAULT = "s4d"
MODELS = ("s4d", "s4d_time", "linoss", "fusion", "lstm", "conformer", "convnet")
QUICK_MINUTES = 2.0
SMALL_MINUTES = 10.0
FEWEST_EPOCHS = 10
WATCHED_BATCHES = 32
"""Validation batches that are looked at each epoch; uncertainties are calibrated on all of them at the end."""
PROBES = (20, 120)
"""Steps of the two short trainings that tell what a step and the start cost."""
VALIDATION_COST = 0.4
"""A validation step in units of a training step."""

APPARATUSES = ("cavity_26ghz", "coils")
GPU_MINUTES, CORE_MINUTES = 10.0, 60.0
"""Of each model with --budget gpu: on a GPU, and on one core."""
STOPPED = 10
"""Validations without improvement after which a training with that budget ends."""

SPECTRUM = {"spectrum": {"class_path": "cres.transforms.SpectrumView", "init_args": {"band_hz": [-80e6, -45e6]}}}
POOLING = "--model.encoders.spectrum.init_args.pooling"
NO_POINTING = "--model.landmark=null"
HEAD = {"class_path": "reconstruction.models.GaussianHead", "init_args": {"covariance": "full"}}
ONE_GAUSSIAN = f"--model.head={json.dumps(HEAD)}"
ABLATIONS: dict[str, tuple[str, ...]] = {
    "default": (),
    "noise curriculum from 0.1": ("--curriculum.noise_scale.start=0.1",),
    "one Gaussian instead of two": (ONE_GAUSSIAN,),
    "one Gaussian, β-NLL (β = 0.5)": (ONE_GAUSSIAN, "--model.loss.init_args.beta=0.5"),
    "mean pooling, so nothing to point with": (NO_POINTING, f"{POOLING}=mean"),
    "no alignment": (NO_POINTING, f"--model.views={json.dumps(SPECTRUM)}"),
    "fresh electrons every epoch": (
        "--data.stream.class_path=cres.simulation.SimulatedElectrons",
        "--data.stream.init_args.config=cavity_26ghz",
    ),
}


@dataclass(frozen=True)
class Job:
    """One training: `config` with `options`, as many epochs as fit into `minutes`."""

    name: str
    config: str
    minutes: float
    options: tuple[str, ...] = ()
    seed: int = 0
    group: str = "models"
    patience: int = 1_000_000
    """Validations without improvement that end it."""


@dataclass(frozen=True)
class Result:
    """What a training gave; figures as [value, low, high] by group of electrons and metric."""

    job: dict[str, Any]
    parameters: int
    epochs: int
    steps: int
    step_seconds: float
    minutes: float
    threads: int
    commit: str
    figures: dict[str, dict[str, list[float]]]
    hardware: str = ""


class Bench:
    """A standard set, its bound, and the trainings on it, all in one folder."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.folder: Path = arguments.folder
        self.simulation: Path = arguments.simulation
        self.electrons: tuple[int, int, int] = tuple(arguments.electrons)
        self.threads = 1 if arguments.budget == "gpu" else max(1, available_cpus() // arguments.parallel)
        self.hardware = hardware() if arguments.budget == "gpu" else f"{self.threads} cores"
        self.data = self.folder / "cres.hdf5"
        self.results = self.folder / "accuracy.jsonl"

    def make_set(self) -> None:
        """Simulate, prepare and bound the standard set; what is there stays."""
        raw, bound = self.folder / "raw", self.folder / "bound.hdf5"
        if not self.data.exists():
            total = str(sum(self.electrons))
            simulated = ("--events", total, "--seed", str(SEED), "--output", str(raw), "-c", str(self.simulation))
            self._run(["scripts/simulate.py", *simulated])
            self._run(["scripts/data_prep.py", "--input", str(raw), "--output", str(self.data)])
        if not bound.exists():
            options = ["--method", "bound", "--data", str(self.data), "--output", str(bound)]
            self._run(["scripts/estimate.py", *options, "--fractions", *self._fractions()])

    def train(self, job: Job) -> Result:
        """Train and test; an interrupted training goes on, a finished one is read again."""
        run = self.run_folder(job)
        plan = self.plan(job)
        clock = run / "seconds.txt"
        predictions = run / "predictions.hdf5"
        if not predictions.exists():
            options = [f"--trainer.max_epochs={plan['epochs']}", f"--trainer.limit_train_batches={plan['batches']}"]
            resume = ["--resume"] if (run / "checkpoints").exists() else []
            start = time.perf_counter()
            try:
                self._fit(job, run, [*options, *resume])
            finally:
                # the time of an interrupted piece counts too
                with clock.open("a") as stream:
                    stream.write(f"{time.perf_counter() - start:.1f}\n")
            self._run(["cli.py", "test", f"--run={run}"], run / "test.log")
        return Result(
            job=asdict(job),
            parameters=sum(weights.numel() for weights in load_module(run / "checkpoints/best.ckpt").parameters()),
            epochs=plan["epochs"],
            steps=plan["epochs"] * plan["batches"],
            step_seconds=plan["step_seconds"],
            minutes=sum(float(line) for line in clock.read_text().split()) / 60,
            threads=self.threads,
            commit=git_commit() or "",
            figures=figures(summarise(compare([PredictionTable.read(predictions)], self.bound()))),
            hardware=self.hardware,
        )

    def known(self) -> list[Result]:
        """Return the results so far."""
        if not self.results.exists():
            return []
        return [Result(**json.loads(line)) for line in self.results.read_text().splitlines()]

    def append(self, result: Result) -> None:
        """Keep a result."""
        with self.results.open("a") as stream:
            stream.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")

    def run_folder(self, job: Job) -> Path:
        """Return the folder of a training."""
        return self.folder / job.group / "".join(c if c.isalnum() else "_" for c in job.name)

    def bound(self) -> PredictionTable:
        """Return the bound of each test electron."""
        return PredictionTable.read(self.folder / "bound.hdf5")

    def table(self, result: Result) -> PredictionTable:
        """Return the test electrons as a model sees them."""
        folder = self.run_folder(Job(**result.job))
        return PredictionTable.read(folder / "predictions.hdf5").renamed(result.job["name"])

    def plan(self, job: Job) -> dict[str, Any]:
        """Return how many epochs of how many batches fit into the budget; decided once for each run.

        Ablations take as many steps as the first of them, so that only what is varied differs.
        """
        run = self.run_folder(job)
        run.mkdir(parents=True, exist_ok=True)
        path = (run.parent if job.group == "ablations" else run) / "plan.json"
        if path.exists():
            plan: dict[str, Any] = json.loads(path.read_text())
            return plan
        seconds = []
        for steps in PROBES:
            start = time.perf_counter()
            self._fit(job, run / "probe", ["--trainer.max_epochs=100000", f"--trainer.max_steps={steps}"])
            seconds.append(time.perf_counter() - start)
        # on a busy machine the short one can take as long as the long one
        step = max(seconds[1] / PROBES[1] / 4, (seconds[1] - seconds[0]) / (PROBES[1] - PROBES[0]))
        settings = yaml.safe_load((run / "probe/config.yaml").read_text())
        plan = within(60 * job.minutes - seconds[0], step, settings["data"]["batch_size"], self.electrons)
        write_whole(path, json.dumps(plan).encode())
        return plan

    def _fit(self, job: Job, run: Path, options: Sequence[str]) -> None:
        shared = [f"--data.data={self.data}", f"--data.fractions=[{','.join(self._fractions())}]"]
        watched = [f"--trainer.limit_val_batches={WATCHED_BATCHES}", f"--early_stopping.patience={job.patience}"]
        command = ["cli.py", "fit", "-c", f"configs/{job.config}.yaml", f"--run={run}", f"--seed_everything={job.seed}"]
        self._run([*command, *shared, *watched, *job.options, *options], run.parent / f"{run.name}.log")

    def _fractions(self) -> list[str]:
        return [repr(part / sum(self.electrons)) for part in self.electrons]

    def _run(self, command: Sequence[str], log: Path | None = None) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "WANDB_MODE": "disabled"}
        into = None if log is None else log.open("a")
        try:
            done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, stdout=into, stderr=into)
        finally:
            if into is not None:
                into.close()
        if done.returncode:
            told = f"; {log} says why" if log else ""
            raise errors.UserError(f"`python {' '.join(command[:2])} …` ended with {done.returncode}{told}")


def within(seconds: float, step_seconds: float, batch: int, electrons: Sequence[int]) -> dict[str, Any]:
    """Return the epochs, and batches an epoch, that fit into a time: at least FEWEST_EPOCHS, so that the best can show.

    An epoch is the training set, or that part of it which leaves room for so many; each epoch draws another part.
    """
    step, watched = step_seconds, VALIDATION_COST * WATCHED_BATCHES
    batches = -(-electrons[0] // batch)
    room = seconds / step / FEWEST_EPOCHS - watched
    batches = max(1, min(batches, int(room)))
    epochs = max(1, int(seconds / step / (batches + watched)))
    return {"epochs": epochs, "batches": batches, "step_seconds": step}


def figures(rows: Sequence[Row]) -> dict[str, dict[str, list[float]]]:
    """Return the figures of a table's rows: "energy_ev resolved" → metric → [value, low, high]."""
    return {
        f"{row.target} {row.group}": {name: [one.value, one.low, one.high] for name, one in row.figures.items()}
        for row in rows
    }


# Tables ------------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("energy σ68 (eV)", "energy_ev", "sigma68"),
    ("core (eV)", "energy_ev", "core_sigma"),
    ("rms (eV)", "energy_ev", "rms"),
    ("over bound", "energy_ev", "bound_ratio"),
    ("within 3 eV (%)", "energy_ev", "near_fraction"),
    ("> 5 core σ (%)", "energy_ev", "tail_fraction"),
    ("1σ (%)", "energy_ev", "coverage1"),
    ("2σ (%)", "energy_ev", "coverage2"),
    ("NLL", "energy_ev", "nll"),
    ("pitch σ68 (°)", "pitch_angle_deg", "sigma68"),
)
"""Heading, target, metric."""
COMPARED = tuple(COLUMNS[place] for place in (0, 3, 4))
"""What an ablation shows."""


def models_table(results: Sequence[Result], rows: Sequence[Row]) -> str:
    """Return Markdown: one table for the resolved electrons, one for all; a line a training."""
    parts = []
    for group in dict.fromkeys(row.group for row in rows):
        heads = [
            f"model, {group}",
            *(text for text, *_ in COLUMNS),
            "parameters",
            "ms a step",
            "steps",
            "minutes",
            "on",
        ]
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
        mine = {(row.estimator, row.target): row for row in rows if row.group == group}
        for result in results:
            model = result.job["name"]
            cells = [_cell(mine.get((model, target)), name) for _, target, name in COLUMNS]
            cost = [f"{result.parameters:,}", f"{1e3 * result.step_seconds:.0f}", f"{result.steps:,}"]
            lines.append([model, *cells, *cost, f"{result.minutes:.1f}", result.hardware])
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def ablation_table(results: Sequence[Result]) -> str:
    """Return Markdown: mean over the seeds, and half the range between the best and the worst seed."""
    groups = dict.fromkeys(key.split(" ", 1)[1] for result in results for key in result.figures)
    heads = ["variant", *(f"{text}, {group}" for group in groups for text, *_ in COMPARED), "seeds"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for variant in dict.fromkeys(map(_variant, results)):
        mine = [result for result in results if _variant(result) == variant]
        cells = []
        for group in groups:
            for _, target, name in COMPARED:
                scale = 100.0 if with_unit(name, target) == "%" else 1.0
                found = [scale * result.figures[f"{target} {group}"][name][0] for result in mine]
                cells.append(f"{sum(found) / len(found):.3g} (±{(max(found) - min(found)) / 2:.2g})")
        lines.append([variant, *cells, str(len(mine))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _variant(result: Result) -> str:
    return str(result.job["name"]).rpartition(" seed ")[0]


def _cell(row: Row | None, name: str) -> str:
    return "" if row is None else in_brackets(row.figures.get(name), with_unit(name, row.target))


def as_html(markdown: str) -> str:
    """Return the tables as markup for the report."""
    parts = []
    for table in markdown.split("\n\n"):
        head, _, *body = [[escape(cell.strip()) for cell in line.strip("| ").split("|")] for line in table.splitlines()]
        rows = "".join(f'<tr><th scope="row">{row[0]}</th><td>{"</td><td>".join(row[1:])}</td></tr>' for row in body)
        names = "".join(f'<th scope="col">{cell}</th>' for cell in head)
        parts.append(f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>')
    return "".join(parts)


# The whole run -----------------------------------------------------------------------------------------------------


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    """Return the trainings that were asked for, the short ones first."""
    if arguments.ablations:
        return [
            Job(f"{name} seed {seed}", DEFAULT, arguments.small_minutes, options, seed, "ablations")
            for seed in range(arguments.seeds)
            for name, options in ABLATIONS.items()
        ]
    if arguments.budget == "gpu":
        return [fair_job(name, arguments) for name in arguments.models]
    small = [
        Job(f"{name}, {arguments.small_minutes:g} min", name, arguments.small_minutes) for name in arguments.models
    ]
    budgets = dict.fromkeys((QUICK_MINUTES, arguments.minutes))
    full = [Job(f"{DEFAULT}, {minutes:g} min", DEFAULT, minutes) for minutes in budgets]
    if arguments.endless:
        options = endless(arguments.simulation, arguments.electrons[0])
        full.append(Job(f"{DEFAULT} endless, {arguments.minutes:g} min", DEFAULT, arguments.minutes, options))
    return [*small, *full]


def fair_job(name: str, arguments: argparse.Namespace) -> Job:
    """Return the training of a model with the budget that is the same for all."""
    options = endless(arguments.simulation, arguments.electrons[0])
    minutes = CORE_MINUTES
    if torch.cuda.is_available():
        minutes = GPU_MINUTES
        source = "--data.stream.class_path=cres.simulation.DeviceElectrons"
        options = (source, *options[1:], "--data.stream.init_args.device=cuda", "--data.batch_size=256")
    minutes = arguments.small_minutes if arguments.small_minutes != SMALL_MINUTES else minutes
    return Job(f"{name}, at most {minutes:g} min", name, minutes, options, patience=STOPPED)


def hardware() -> str:
    """Return what a training with that budget runs on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "one core"


def endless(simulation: Path, electrons: int) -> tuple[str, ...]:
    """Return the options of a training on electrons that never come twice, as many an epoch."""
    source = "--data.stream.class_path=cres.simulation.SimulatedElectrons"
    return source, f"--data.stream.init_args.config={simulation}", f"--data.stream_electrons={electrons}"


def write_tables(bench: Bench, results: Sequence[Result]) -> None:
    """Write accuracy.md, and the report over the tables of all models."""
    models = [result for result in results if result.job["group"] == "models"]
    ablations = [result for result in results if result.job["group"] == "ablations"]
    comparison = compare([bench.table(result) for result in models or ablations], bench.bound())
    rows = summarise(comparison)
    texts = [models_table(models, rows)] if models else []
    texts += [ablation_table(ablations)] if ablations else []
    text = "\n\n".join(texts)
    write_whole(bench.folder / "accuracy.md", f"{text}\n".encode())
    section = Section("What the models cost", as_html(text), [])
    write_comparison(comparison, rows, bench.folder, sections=[section], title="Trained models")
    print(text)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/standard"), help="everything goes here")
    default = ROOT / "configs/simulation/cavity_26ghz.yaml"
    parser.add_argument("--simulation", type=Path, default=default, help="apparatus and ensemble of the set")
    electrons = {"metavar": ("TRAIN", "VALIDATION", "TEST"), "help": "electrons of the set"}
    parser.add_argument("--electrons", type=int, nargs=3, default=(40_000, 4_000, 4_000), **electrons)
    parser.add_argument("--minutes", type=float, default=60.0, help="budget of the default model")
    parser.add_argument("--budget", choices=["minutes", "gpu"], default="minutes", help="gpu: the same for every model")
    parser.add_argument(
        "--small-minutes", type=float, default=SMALL_MINUTES, help="budget of each model, and of each ablation"
    )
    parser.add_argument("--models", nargs="*", choices=MODELS, default=MODELS, help="trained for the small budget")
    parser.add_argument("--endless", action="store_true", help="also the default on electrons that never come twice")
    parser.add_argument("--ablations", action="store_true", help="train the variants of the default model instead")
    parser.add_argument("--seeds", type=int, default=3, help="of the ablations")
    parser.add_argument("--parallel", type=int, default=1, help="trainings at a time; they share the cores")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    arguments.folder = arguments.folder.resolve()
    if arguments.budget != "gpu":
        work(arguments)
        return
    whole = arguments.folder
    for apparatus in APPARATUSES:
        arguments.folder = whole / apparatus
        arguments.simulation = ROOT / "configs" / "simulation" / f"{apparatus}.yaml"
        work(arguments)


def work(arguments: argparse.Namespace) -> None:
    """Make the set, train what is not trained yet, write the tables."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    bench.make_set()
    known = {json.dumps(result.job): result for result in bench.known()}
    jobs = [job for job in jobs_of(arguments) if json.dumps(asdict(job)) not in known]
    for job in jobs[:1] if arguments.ablations else jobs:
        bench.plan(job)
    with ThreadPoolExecutor(arguments.parallel) as pool:
        for future in [pool.submit(bench.train, job) for job in jobs]:
            bench.append(future.result())
            if arguments.budget == "gpu":  # what is known so far, should the rest be interrupted
                write_tables(bench, bench.known())
    write_tables(bench, bench.known())


if __name__ == "__main__":
    errors.run(main)
