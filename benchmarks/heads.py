"""What the benchmarks of heads share: records that are made once, trainings that go on where they were stopped."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from cres import errors
from cres.resources import simulation_config
from cres.simulation import SimulationConfig
from reconstruction.command import Parser
from reconstruction.training.command_line.cli import main as command

ROOT = Path(__file__).parents[1]
WHOLE, SHORT = 8192, 2048
"""Samples of a record of the default apparatus, and of short ones."""
BATCH = 32
QUIET = ("--trainer.enable_progress_bar=false", "--figures.every_epochs=0", "--early_stopping.patience=100000")
PLAIN = "cavity_26ghz"


def make_records(folder: Path, name: str, count: int, seed: int, samples: int = WHOLE, apparatus: str = PLAIN) -> Path:
    """Simulate and prepare; what is there stays.

    Shorter records have as much less noise than the apparatus, so that an electron has the signal-to-noise ratio of a
    whole one. Raises UserError where the folder has short records of another apparatus.
    """
    data, raw = folder / f"{name}_{count}.hdf5", folder / f"raw_{name}_{count}"
    made = ["--events", str(count), "--seed", str(seed), "--output", str(raw)]
    if samples == WHOLE:
        made += ["-c", apparatus]
    else:
        config, text = simulation_of(folder), yaml.safe_dump(shortened(apparatus, samples).to_dict())
        if config.exists() and config.read_text() != text:
            raise errors.UserError(f"{folder} holds records of another apparatus: choose another --folder")
        config.write_text(text)
        made += ["-c", str(config)]
    if not data.exists():
        for step in (
            ("scripts/simulate.py", *made),
            ("scripts/data_prep.py", "--input", str(raw), "--output", str(data)),
        ):
            subprocess.run([sys.executable, *step], cwd=ROOT, check=True)
    return data


def shortened(apparatus: str, samples: int) -> SimulationConfig:
    """Return an apparatus with shorter records, whose noise is less by as much."""
    config = SimulationConfig.from_yaml(simulation_config(apparatus))
    readout, part = config.readout, samples / config.readout.samples
    if readout.noise_temperature_k is None:
        less = {"noise_density_w_per_hz": readout.density_w_per_hz * part}
    else:
        less = {"noise_temperature_k": readout.noise_temperature_k * part}
    return replace(config, readout=replace(readout, samples=samples, **less))


def simulation_of(folder: Path) -> Path:
    """Return the configuration of short records."""
    return folder / "simulation.yaml"


def fit(config: str, run: Path, data: Path, steps: int, records: int, options: Sequence[str] = ()) -> Path:
    """Train, and return the best checkpoint; a training that is done is not done again."""
    if not (run / "done").exists():
        epochs = max(1, round(steps / (0.95 * records / BATCH)))
        size = [f"--trainer.max_epochs={epochs}", f"--data.batch_size={BATCH}", "--data.fractions=[0.95,0.05,0]"]
        given = [f"--data.data={data}", f"--run={run}", *size, *QUIET, *options]
        begun = ["--resume"] if (run / "checkpoints" / "last.ckpt").exists() else []
        if command(["fit", "-c", str(ROOT / "configs" / f"{config}.yaml"), *given, *begun]):
            raise errors.UserError("the training was stopped: the same command goes on")
        (run / "done").touch()
    return run / "checkpoints" / "best.ckpt"


def parser_of(description: str | None, folder: str, records: int, judged: int, steps: int) -> argparse.ArgumentParser:
    """Return a parser of how large a benchmark is, and where it goes."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=records, help="records to train on (default %(default)s)")
    parser.add_argument("--judged", type=int, default=judged, help="records to judge by (default %(default)s)")
    parser.add_argument("--steps", type=int, default=steps, help="steps of each training (default %(default)s)")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / folder, help="default: %(default)s")
    return parser


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add options of the encoder that a training begins with."""
    parser.add_argument("--pretrained", help="checkpoint whose encoder is fine-tuned")
    parser.add_argument("--trainable_layers", type=int, help="how many of its layers learn; default: all")


def start_of(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the name of a training of these sizes, and its options."""
    options, name = [], "from_scratch"
    if arguments.pretrained:
        options.append(f"--fine_tune.checkpoint={arguments.pretrained}")
        name = f"pre_trained_{arguments.trainable_layers}"
    if arguments.trainable_layers is not None:
        options.append(f"--fine_tune.trainable_layers={arguments.trainable_layers}")
    return f"{name}_{arguments.records}_{arguments.steps}", options


def made_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of a benchmark, which is there."""
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
